//! How far a scan is, from its counters.

use std::time::Duration;

use crate::canary::{EPOCH, epoch};
use crate::counters::{Shared, load};
use crate::event::{Phase, Progress};
use crate::loss::{Evidence, Kind};
use crate::time::Time;

/// The loss that is told is that of so many epochs: ten seconds.
const RECENT: u64 = 10_000 / EPOCH.as_millis() as u64;
/// Of fewer canaries a share says nothing.
const ENOUGH: f64 = 20.0;

/// A snapshot of the counters of a scan of so many targets.
pub(crate) fn snapshot(shared: &Shared, targets: u64, now: Time) -> Progress {
    let receiver = &shared.receiver;
    let phase = shared.phase();
    let past = past(shared);
    let sent = shared.total_sent();
    let rate = load(&receiver.recent_rate) as f64 / 1000.0;
    let left = probes_left(shared, targets);
    let done = if phase == Phase::Done { 1.0 } else { share(past.0 + sent, left) };
    Progress {
        phase,
        targets,
        done,
        sent: past.0 + sent,
        again: shared.sum(|walker| &walker.again),
        open: load(&receiver.open),
        closed: load(&receiver.closed),
        filtered: load(&receiver.filtered),
        hosts_down: load(&shared.sender.hosts_down),
        drops: shared.dropped() + shared.sum(|walker| &walker.send_errors),
        elapsed: past.1 + now.since(Time::ZERO),
        replies: past.2 + load(&receiver.replies),
        rate,
        bound: shared.sender.bound(),
        loss: loss(shared, now),
        remaining: match phase {
            Phase::Done => Some(Duration::ZERO),
            _ => time_left(left, rate).and_then(|time| time.checked_add(shared.wait())),
        },
    }
}

/// What became of the canaries of the last seconds, but for those that can still be answered.
fn loss(shared: &Shared, now: Time) -> Option<f64> {
    let (now, answer) = (epoch(now), shared.answer().as_millis() / EPOCH.as_millis());
    let (from, to) = (now.saturating_sub(RECENT), now.saturating_sub(answer as u64 + 1));
    let seen: Evidence = Kind::ALL.into_iter().map(|kind| shared.canaries.epochs.between(kind, from, to)).sum();
    (seen.probes() >= ENOUGH).then(|| seen.loss())
}

/// Probes of earlier runs, how long those took, and replies.
fn past(shared: &Shared) -> (u64, Duration, u64) {
    let basis = shared.basis.lock();
    basis.past.as_ref().map_or((0, Duration::ZERO, 0), |past| (past.total_sent(), past.elapsed, past.replies))
}

/// None where there is nothing to estimate from, or no end in sight.
fn time_left(probes: f64, rate: f64) -> Option<Duration> {
    (rate >= 1.0).then(|| Duration::try_from_secs_f64(probes / rate).ok()).flatten()
}

/// Probes that are still needed for the passes that have been begun, and for what no pass has come to yet. Whether there
/// will be more passes is known when these are over.
fn probes_left(shared: &Shared, targets: u64) -> f64 {
    let skipped = shared.sum(|walker| &walker.skipped);
    let planned = load(&shared.sender.planned);
    let unbegun = targets.saturating_sub(load(&shared.sender.begun) + load(&shared.sender.spared)) as f64;
    let left = planned.saturating_sub(skipped).saturating_sub(shared.total_sent()) as f64;
    left + unbegun
}

fn share(sent: u64, left: f64) -> f64 {
    let all = sent as f64 + left;
    if all > 0.0 { (sent as f64 / all).min(0.999) } else { 0.0 }
}

/// Measures the rate over the last second or so.
#[derive(Debug, Default)]
pub(crate) struct RateMeter {
    /// (time, probes sent), oldest first.
    marks: std::collections::VecDeque<(Time, u64)>,
}

impl RateMeter {
    /// Notes the count, and gives the rate since about a second ago, in thousandths of a probe a second.
    pub(crate) fn mark(&mut self, now: Time, sent: u64) -> u64 {
        self.marks.push_back((now, sent));
        while self.marks.len() > 2 && now.since(self.marks[0].0) > Duration::from_secs(1) {
            self.marks.pop_front();
        }
        let (then, before) = self.marks[0];
        let seconds = now.since(then).as_secs_f64();
        if seconds > 0.0 { ((sent - before) as f64 * 1000.0 / seconds) as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{add, set};

    #[test]
    fn expects_what_has_been_begun_and_what_has_not() {
        let shared = Shared::new(1000, 2);
        let begin = snapshot(&shared, 1000, Time::ZERO);
        assert_eq!((begin.done, begin.remaining), (0.0, None));
        [&shared.sender.planned, &shared.sender.begun].into_iter().for_each(|counter| set(counter, 1000));
        add(&shared.walkers[0].sent[0], 500);
        set(&shared.receiver.recent_rate, 500_000);
        let half = snapshot(&shared, 1000, Time::ZERO);
        assert_eq!(half.done, 0.5);
        assert_eq!(half.remaining, Some(Duration::from_secs(1) + shared.wait()));
        set(&shared.sender.planned, 2000);
        assert_eq!(snapshot(&shared, 1000, Time::ZERO).done, 0.25);
        set(&shared.sender.begun, 500);
        assert_eq!(snapshot(&shared, 1000, Time::ZERO).done, 0.2);
        shared.sender.set_phase(Phase::Done);
        let end = snapshot(&shared, 1000, Time::ZERO);
        assert_eq!((end.done, end.remaining), (1.0, Some(Duration::ZERO)));
    }

    #[test]
    fn tells_the_loss_of_canaries_that_can_no_longer_be_answered() {
        let shared = Shared::new(1000, 2);
        let second = |s: u64| Time::from(Duration::from_secs(s));
        let canary = |at, is_answered: bool| {
            shared.canaries.epochs.sent(Kind::Open, at);
            is_answered.then(|| shared.canaries.epochs.answered(Kind::Open, at, at));
        };
        (0..19).for_each(|_| canary(second(20), true));
        assert_eq!(snapshot(&shared, 1000, second(25)).loss, None, "too few");
        (0..6).for_each(|lost| canary(second(21), lost > 0));
        assert_eq!(snapshot(&shared, 1000, second(25)).loss, Some(0.04));
        (0..10).for_each(|_| canary(second(25), false));
        assert_eq!(snapshot(&shared, 1000, second(25)).loss, Some(0.04), "these may be answered yet");
        assert_eq!(snapshot(&shared, 1000, second(60)).loss, None, "long ago");
    }

    #[test]
    fn no_end_in_sight_is_no_panic() {
        let shared = Shared::new(1000, 2);
        set(&shared.receiver.recent_rate, 5000);
        assert!(snapshot(&shared, u64::MAX, Time::ZERO).remaining.is_some());
        assert_eq!(time_left(f64::MAX, 1.0), None);
        assert_eq!(time_left(10.0, 5.0), Some(Duration::from_secs(2)));
    }

    #[test]
    fn meters_the_last_second() {
        let mut meter = RateMeter::default();
        let second = |s: u64| Time::from(Duration::from_secs(s));
        assert_eq!(meter.mark(second(0), 0), 0);
        assert_eq!(meter.mark(second(1), 1000), 1_000_000);
        assert_eq!(meter.mark(second(2), 1500), 500_000);
    }
}
