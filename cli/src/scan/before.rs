//! What earlier runs of the engine have come to, for a scan that has several: progress and account are about all of them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Instant;

use halfopen::{Event, Progress};

use crate::output::account::Account;

/// The runs that are over; none, as long as the first is under way.
#[derive(Debug)]
pub(super) struct Before {
    began: Instant,
    /// Their progress and their account, all together.
    sum: Option<(Progress, Account)>,
}

impl Before {
    /// Of a scan that begins now.
    pub(super) fn new() -> Before {
        Before { began: Instant::now(), sum: None }
    }

    /// A run is over, and another one follows.
    pub(super) fn add(&mut self, account: Account, last: &Progress) {
        self.sum = Some((self.overall(last), self.account(account)));
    }

    /// The account of the scan, when this is that of its last run.
    pub(super) fn account(&self, last: Account) -> Account {
        let Some((_, sum)) = &self.sum else { return last };
        let mut sum = sum.clone();
        sum.extend(&last);
        sum
    }

    /// How far the scan is, when this is how far its last run is.
    pub(super) fn overall(&self, run: &Progress) -> Progress {
        let Some((before, _)) = &self.sum else { return run.clone() };
        let mut all = run.clone();
        let done = before.targets as f64 + run.done * run.targets as f64;
        all.done = done / before.targets.saturating_add(run.targets).max(1) as f64;
        all.elapsed = self.began.elapsed();
        all.targets = before.targets.saturating_add(run.targets);
        all.sent += before.sent;
        all.again += before.again;
        all.open += before.open;
        all.closed += before.closed;
        all.filtered += before.filtered;
        all.hosts_down += before.hosts_down;
        all.drops += before.drops;
        all.replies += before.replies;
        all
    }

    /// The same while nothing is known that could be scanned.
    pub(super) fn idle(&self, run: &Progress) -> Progress {
        let mut all = self.overall(run);
        all.elapsed = self.began.elapsed();
        all
    }
}

/// What is said once, whichever run says it: a host that comes again, with other ports, is no other host.
#[derive(Debug, Default)]
pub(super) struct Said {
    down: HashSet<IpAddr>,
    suspect: HashSet<IpAddr>,
    warnings: HashSet<String>,
    /// How many hosts the run under way has counted that had been before.
    down_again: u64,
    suspect_again: u64,
}

impl Said {
    /// Takes note of what a run has told; whether it is news.
    pub(super) fn is_news(&mut self, event: &Event) -> bool {
        match event {
            Event::HostDown { address, .. } => first(self.down.insert(*address), &mut self.down_again),
            Event::Suspect(suspicion) => first(self.suspect.insert(suspicion.address), &mut self.suspect_again),
            Event::Warning(text) => self.warnings.insert(text.clone()),
            _ => true,
        }
    }

    /// The account of the run that is over, with each host counted once; the next one begins.
    pub(super) fn once(&mut self, account: Account) -> Account {
        let (down, suspect) = (std::mem::take(&mut self.down_again), std::mem::take(&mut self.suspect_again));
        let hosts_down = account.hosts_down.saturating_sub(down);
        let suspect_hosts = account.suspect_hosts.saturating_sub(suspect);
        Account { hosts_down, suspect_hosts, ..account }
    }
}

fn first(is_new: bool, again: &mut u64) -> bool {
    *again += u64::from(!is_new);
    is_new
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::output::samples;

    fn run(targets: u64, open: u64, done: f64) -> Progress {
        let mut progress = Progress::default();
        (progress.targets, progress.open, progress.done) = (targets, open, done);
        progress.elapsed = Duration::from_secs(5);
        progress
    }

    #[test]
    fn progress_is_that_of_all_runs() {
        let mut before = Before::new();
        assert_eq!(before.overall(&run(100, 1, 0.5)), run(100, 1, 0.5), "there is one only");
        before.add(samples::account(), &run(100, 3, 1.0));
        before.add(samples::account(), &run(200, 4, 1.0));
        let all = before.overall(&run(100, 1, 0.0));
        assert_eq!((all.targets, all.open, all.done), (400, 8, 0.75));
        assert_ne!(all.elapsed, Duration::from_secs(5), "it is the scan's, not the run's");
        assert_eq!(before.account(samples::account()).counts.open, 9);
    }

    #[test]
    fn what_two_runs_say_is_said_once() {
        let mut said = Said::default();
        let account = Account { hosts_down: 1, suspect_hosts: 1, ..samples::account() };
        let events = [samples::down(), samples::suspect(), Event::Warning("no rights".into())];
        for expected in [1, 0, 0] {
            assert!(events.iter().all(|event| said.is_news(event) == (expected == 1)));
            let once = said.once(account.clone());
            assert_eq!((once.hosts_down, once.suspect_hosts), (expected, expected));
        }
        let finding = Event::Verdict(samples::open());
        assert!(said.is_news(&finding) && said.is_news(&finding), "a correction is news");
    }
}
