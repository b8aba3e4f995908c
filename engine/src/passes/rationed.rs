//! ICMP errors that are rationed: hosts and routers send only so many a second, and what they leave out looks like silence.
//!
//! That says nothing of loss, for the errors come from elsewhere, and nothing is missing without them but the reason of a
//! verdict: what draws one is filtered with it and without. So they get what is over: a group that sent some is asked once
//! more at the usual rate, and if that draws more of them, as slowly as it sends them, for as long as that helps and takes no
//! longer than [`LONGEST`] in all. (A Linux host sends one a second to each destination, after six at once: a thousand of its
//! ports would take a quarter of an hour, and are left silent.)
//!
//! How many it is willing to send lies between two figures: those that a leg drew over the time since the leg before (too
//! few where it does not save up so many), and over the time of the leg itself (too many where it does). The first decides
//! whether there is time for it, the second how fast it is asked.

use super::Leg;
use super::Walked;
use crate::loss::Ledger;
use crate::time::Time;

/// What a scan spends on them, in seconds.
const LONGEST: f64 = 60.0;
/// A slow leg that draws fewer errors, of all that were silent, has not helped.
const HELPED: f64 = 0.1;

/// The errors of all groups.
#[derive(Debug)]
pub(super) struct Rationed {
    groups: Vec<Group>,
    /// Seconds that slow legs were to take, in all stripes.
    spent: f64,
}

/// What is known of a group's errors.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// Errors, and targets that were silent, when its last leg began.
    before: u64,
    silent: u64,
    /// When that was over.
    ended: Time,
    /// Errors a second in that leg, and what it is willing to send at least: none while it was asked but once.
    drawn: f64,
    willing: Option<f64>,
    /// What it gets at most in its next leg, in probes a second.
    limit: Option<f64>,
    in_vain: bool,
}

impl Rationed {
    pub(super) fn new(groups: usize) -> Self {
        Rationed { groups: vec![Group::default(); groups], spent: 0.0 }
    }

    /// A stripe begins.
    pub(super) fn begin(&mut self) {
        self.groups.fill(Group::default());
    }

    /// A leg over this group begins.
    pub(super) fn enter(&mut self, group: usize, ledger: &Ledger) {
        let state = &mut self.groups[group];
        (state.before, state.silent) = (ledger.errors(group), ledger.silent(group));
    }

    /// Notes what a leg over this group has drawn.
    pub(super) fn conclude(&mut self, leg: &Leg, walked: &Walked, group: usize, ledger: &Ledger) {
        let state = &mut self.groups[group];
        let errors = ledger.errors(group).saturating_sub(state.before) as f64;
        let since = walked.ended.since(state.ended).as_secs_f64().max(walked.seconds());
        state.drawn = errors / walked.seconds();
        if leg.pass > 0 {
            let has_helped = errors > 0.0 && (state.limit.is_none() || errors >= HELPED * state.silent as f64);
            state.in_vain |= !has_helped;
            state.willing = Some(state.willing.unwrap_or(0.0).max(errors / since));
        }
        (state.ended, state.limit) = (walked.ended, None);
    }

    /// The groups that are to be asked again for what they did not send, each with its limit set, if it has one.
    pub(super) fn due(&mut self, ledger: &Ledger) -> Vec<usize> {
        let left = LONGEST - self.spent;
        let due: Vec<usize> = (0..ledger.len()).filter(|&group| self.is_due(group, left, ledger)).collect();
        let mut longest = 0.0f64;
        for &group in &due {
            let state = &mut self.groups[group];
            state.limit = state.willing.map(|willing| willing.max(state.drawn));
            longest = longest.max(state.limit.map_or(0.0, |limit| ledger.silent(group) as f64 / limit));
        }
        self.spent += longest;
        due
    }

    fn is_due(&self, group: usize, seconds: f64, ledger: &Ledger) -> bool {
        let state = &self.groups[group];
        let willing = state.willing.unwrap_or(state.drawn);
        let silent = ledger.silent(group) as f64;
        ledger.errors(group) > 0 && !state.in_vain && silent > 0.0 && silent <= willing * seconds
    }

    /// What a group gets at most in its next leg.
    pub(super) fn limit(&self, group: usize) -> Option<f64> {
        self.groups[group].limit
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::counters::MAX_PASSES;
    use crate::prefix::Prefixes;

    /// A host with so many ports, which saves up this many errors and sends so many a second, asked a thousand times a
    /// second. How long slow legs took, how often it was asked, and the ports that drew no error.
    fn play(ports: u64, depth: f64, rate: f64, silent: u64) -> (f64, u8, u64) {
        let ledger = Ledger::new(Prefixes::new(1), MAX_PASSES);
        let mut rationed = Rationed::new(1);
        ledger.probed(0, ports);
        let (mut now, mut tokens, mut left, mut slow) = (0.0, depth, ports, 0.0);
        for pass in 0..MAX_PASSES {
            if pass > 0 && rationed.due(&ledger).is_empty() {
                return (slow, pass, left - silent);
            }
            let limit = rationed.limit(0);
            rationed.enter(0, &ledger);
            let (seconds, willing) = (left as f64 / limit.unwrap_or(1000.0), left - silent);
            let earned = f64::min(tokens + rate * seconds, willing as f64);
            tokens = f64::min(depth, tokens + rate * (seconds + 1.0) - earned);
            (0..earned as u64).for_each(|_| ledger.error(0));
            left -= earned as u64;
            let [began, ended] = [now, now + seconds].map(|at| Time::from(Duration::from_secs_f64(at)));
            let leg = Leg { pass, groups: None, rate: limit };
            rationed.conclude(&leg, &Walked { began, ended, rate: 1e3, unanswered: left, canaries: 0.0 }, 0, &ledger);
            now += seconds + 1.0;
            slow += if limit.is_some() { seconds } else { 0.0 };
        }
        panic!("asked to the end");
    }

    #[test]
    fn who_sends_fifty_a_second_is_asked_as_slowly() {
        let (slow, _, left) = play(1000, 5.0, 50.0, 0);
        assert!(left <= 20 && slow < 40.0, "{left} in {slow} s");
        let (slow, _, left) = play(1000, 50.0, 50.0, 400);
        assert!(left <= 20 && slow < 60.0, "{left} in {slow} s");
    }

    #[test]
    fn what_would_take_too_long_is_not_asked_for() {
        assert_eq!(play(1000, 6.0, 1.0, 0).1, 1, "a second each");
        let (slow, asked, _) = play(100, 6.0, 1.0, 0);
        assert!((slow, asked) == (0.0, 2), "{asked} times, {slow} s");
    }

    #[test]
    fn who_has_sent_all_is_asked_once_more() {
        assert_eq!(play(1000, 100.0, 1e6, 900), (0.0, 2, 0));
        assert_eq!(play(1000, 100.0, 1e6, 1000), (0.0, 1, 0), "who sends none is not");
    }
}
