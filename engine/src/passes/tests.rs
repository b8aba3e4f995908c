//! Plays passes over targets whose answers are lost by chance, group by group.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::counters::MAX_PASSES;
use crate::permute::splitmix64;
use crate::prefix::Prefixes;

/// Targets of a group: open, closed, silent, and how much of what is sent to them is lost.
#[derive(Debug, Clone, Copy)]
struct Group {
    open: u64,
    closed: u64,
    silent: u64,
    loss: f64,
}

const SECOND: Duration = Duration::from_secs(1);

struct Played {
    found: [u64; 2],
    probes: u64,
    legs: Vec<Leg>,
    vouched: u64,
    completeness: Completeness,
    ended: Ended,
}

/// Canaries for each probe of a pass.
fn play(groups: &[Group], completeness: f64, most: u8, canaries: f64, seed: u64) -> Played {
    let ledger = Ledger::new(Prefixes::new(groups.len() as u64), MAX_PASSES);
    let mut passes = Passes::new(completeness, most, &ledger);
    let mut state = seed;
    let mut draw = || splitmix64(&mut state) as f64 / u64::MAX as f64;
    let mut left: Vec<[u64; 3]> = groups.iter().map(|group| [group.open, group.closed, group.silent]).collect();
    let (mut probes, mut legs, mut vouched) = (0, Vec::new(), 0);
    let mut leg = passes.begin(&ledger);
    loop {
        let chosen = leg.groups.clone().unwrap_or_else(|| (0..groups.len()).collect());
        for group in chosen.into_iter().filter(|&group| group < groups.len()) {
            if leg.pass == 0 {
                ledger.probed(group, left[group].iter().sum::<u64>());
            }
            for kind in Kind::ALL {
                let asked = left[group][kind as usize];
                let answers = (0..asked).filter(|_| draw() >= groups[group].loss).count() as u64;
                (0..answers).for_each(|_| ledger.answered(kind, leg.pass, group));
                left[group][kind as usize] -= answers;
                probes += asked;
                let sent = (asked as f64 * canaries + draw()) as u64;
                canary(&ledger, kind, group, sent, groups[group].loss, &mut draw);
            }
            probes += left[group][2];
        }
        legs.push(leg.clone());
        let unanswered: u64 = left.iter().flatten().sum();
        let walked = Walked { began: Time::ZERO, ended: Time::from(SECOND), rate: 1e5, unanswered, canaries: 1e4 };
        let mut next = passes.next(walked, &ledger);
        if let Next::Vouch(sent) = next {
            vouched += sent;
            for (i, group) in groups.iter().enumerate() {
                let share = sent / groups.len() as u64 / 2;
                Kind::ALL.into_iter().for_each(|kind| canary(&ledger, kind, i, share, group.loss, &mut draw));
            }
            next = passes.next(walked, &ledger);
        }
        match next {
            Next::Leg(more) => leg = more,
            Next::End(ended) => {
                let found = [0, 1].map(|kind: usize| {
                    let all: u64 = groups.iter().map(|group| [group.open, group.closed][kind]).sum();
                    all - left.iter().map(|left| left[kind]).sum::<u64>()
                });
                let completeness = passes.completeness(&ledger);
                return Played { found, probes, legs, vouched, completeness, ended };
            }
            Next::Vouch(_) => panic!("vouched twice"),
        }
    }
}

fn canary(ledger: &Ledger, kind: Kind, group: usize, n: u64, loss: f64, draw: &mut impl FnMut() -> f64) {
    if ledger.found(kind, group) > 0 {
        for _ in 0..n {
            ledger.canary_sent(kind, group);
            if draw() >= loss {
                ledger.canary_answered(kind, group);
            }
        }
    }
}

fn even(groups: usize, open: u64, closed: u64, silent: u64, loss: f64) -> Vec<Group> {
    vec![Group { open, closed, silent, loss }; groups]
}

#[test]
fn without_loss_one_pass_is_enough() {
    let played = play(&even(100, 5, 20, 75, 0.0), 0.999, 10, 10.0, 1);
    assert_eq!((played.legs.len(), played.ended), (1, Ended::Complete));
    assert_eq!(played.found, [500, 2000]);
}

#[test]
fn too_few_canaries_are_topped_up_where_that_is_cheaper() {
    let played = play(&even(100, 50, 200, 75_000, 0.0), 0.999, 10, 0.001, 1);
    assert!(played.vouched > 0 && played.legs.len() == 1, "{} {:?}", played.vouched, played.ended);
    let played = play(&even(1, 50, 200, 100, 0.0), 0.999, 10, 0.0, 1);
    assert_eq!((played.vouched, played.legs.len()), (0, 2), "a pass over a hundred is cheaper");
}

#[test]
fn all_answered_ends_at_once() {
    let played = play(&even(1, 5, 995, 0, 0.0), 0.999, 10, 0.0, 1);
    assert_eq!((played.legs.len(), played.ended), (1, Ended::Answered));
    assert_eq!(played.completeness.missing.map(|missing| missing.expected), Some(0.0));
}

#[test]
fn a_few_filtered_ports_are_asked_twice() {
    for (open, silent) in [(1, 99), (5, 995), (20, 980)] {
        let played = play(&even(1, open, 0, silent, 0.0), 0.999, 10, 0.0, 1);
        assert_eq!((played.legs.len(), played.ended), (2, Ended::Complete), "{open}");
    }
}

#[test]
fn nothing_heard_is_asked_twice_and_not_vouched_for() {
    let played = play(&even(3, 0, 0, 1000, 0.0), 0.999, 10, 0.0, 1);
    assert_eq!((played.legs.len(), played.ended, played.probes), (2, Ended::Unheard, 6000));
    assert_eq!((played.completeness.missing_open, played.completeness.loss), (None, None));
}

#[test]
fn a_completeness_of_one_takes_every_pass() {
    let played = play(&even(4, 5, 20, 75, 0.0), 1.0, 3, 0.1, 1);
    assert_eq!((played.legs.len(), played.ended), (3, Ended::Passes));
    assert!(played.legs.iter().all(|leg| leg.groups.is_none()));
}

/// Of every hundred networks with this loss, so many have the completeness that was asked for.
#[test]
fn what_was_asked_for_is_found() {
    for loss in [0.002, 0.02, 0.0975, 0.19, 0.3] {
        let mut enough = 0;
        for seed in 0..100 {
            let played = play(&even(50, 100, 20, 500, loss), 0.999, 10, 0.01, seed);
            enough += usize::from(played.found[0] >= 4995);
        }
        assert!(enough >= 99, "{loss}: {enough}");
    }
}

#[test]
fn intervals_hold_the_truth() {
    for (loss, passes) in [(0.02, 1), (0.19, 1), (0.02, 10), (0.19, 10), (0.19, 2)] {
        let mut held = 0;
        for seed in 0..200 {
            let played = play(&even(20, 100, 50, 500, loss), 0.999, passes, 0.02, seed);
            let missing = played.completeness.missing_open.unwrap();
            held += usize::from(missing.contains((2000 - played.found[0]) as f64));
        }
        let least = if passes == 10 { 188 } else { 180 };
        assert!(held >= least, "{loss} {passes}: {held} of 200");
    }
}

#[test]
fn intervals_of_few_answers_hold_the_truth() {
    for (loss, most) in [(0.02, 7), (0.19, 7), (0.3, 7), (0.51, 5)] {
        for open in 2..=most {
            let (mut held, mut said) = (0, 0);
            for seed in 0..200 {
                let played = play(&even(1, open, 0, 100 - open, loss), 0.999, 10, 0.0, seed);
                let Some(missing) = played.completeness.missing_open else { continue };
                said += 1;
                held += u32::from(missing.contains((open - played.found[0]) as f64));
            }
            assert!(held * 100 >= said * 93, "{open} at {loss}: {held} of {said}");
        }
    }
}

#[test]
fn later_passes_go_where_answers_are_missing() {
    let mut groups = even(40, 20, 80, 400, 0.0);
    groups[7].loss = 0.3;
    let played = play(&groups, 0.999, 10, 1.0, 3);
    assert!(played.found[0] >= 799, "{:?}", played.found);
    let late = played.legs.iter().filter(|leg| leg.pass > 1);
    let later: u64 = late.map(|leg| leg.groups.as_ref().map_or(40, Vec::len) as u64).sum();
    assert!(later <= 25 && played.legs.len() >= 3, "{:?}", played.legs);
    let of_seven = |leg: &&Leg| leg.groups.as_ref().is_some_and(|groups| groups.contains(&7));
    let passes = played.legs.last().map_or(0, |leg| usize::from(leg.pass));
    assert_eq!(played.legs.iter().filter(of_seven).count(), passes, "{:?}", played.legs);
}

#[test]
fn prefixes_with_single_answers_are_not_forgotten() {
    // One open target in each of a thousand prefixes: what was lost lies where nothing was heard.
    let played = play(&even(1000, 1, 0, 255, 0.1), 0.999, 10, 0.05, 5);
    assert!(played.found[0] >= 999, "{:?} {:?}", played.found, played.ended);
}

#[test]
fn who_rations_refusals_is_asked_slowly_and_alone() {
    let ledger = Ledger::new(Prefixes::new(4), MAX_PASSES);
    let mut passes = Passes::new(0.999, 10, &ledger);
    passes.begin(&ledger);
    for group in 0..4 {
        ledger.probed(group, 1000);
        (0..100).for_each(|_| ledger.answered(Kind::Open, 0, group));
        (0..if group == 2 { 450 } else { 900 }).for_each(|_| ledger.answered(Kind::Closed, 0, group));
        for kind in Kind::ALL {
            let answered = if group == 2 && kind == Kind::Closed { 50 } else { 100 };
            (0..100).for_each(|_| ledger.canary_sent(kind, group));
            (0..answered).for_each(|_| ledger.canary_answered(kind, group));
        }
    }
    let walked =
        Walked { began: Time::ZERO, ended: Time::from(SECOND * 10), rate: 400.0, unanswered: 450, canaries: 0.0 };
    let Next::Leg(leg) = passes.next(walked, &ledger) else { panic!("more is missing") };
    let mut legs = vec![leg];
    while let Next::Leg(leg) = passes.next(walked, &ledger) {
        if leg.pass > 1 {
            break;
        }
        legs.push(leg);
    }
    let slow = legs.iter().find(|leg| leg.rate.is_some()).unwrap();
    assert_eq!(slow.groups, Some(vec![2]));
    let rate = slow.rate.unwrap();
    assert!((40.0..60.0).contains(&rate), "45 a second were answered: {rate}");
}

proptest! {
    #[test]
    fn passes_end_and_accounts_add_up(
        groups in prop::collection::vec((0u64..40, 0u64..40, 0u64..40, 0.0f64..1.0), 1..20),
        completeness in 0.0f64..=1.0,
        most in 1u8..=15,
        canaries in 0.0f64..0.3,
        seed: u64,
    ) {
        let groups: Vec<Group> =
            groups.into_iter().map(|(open, closed, silent, loss)| Group { open, closed, silent, loss }).collect();
        let played = play(&groups, completeness, most, canaries, seed);
        prop_assert!(played.legs.iter().all(|leg| leg.pass < most));
        prop_assert!(played.legs.windows(2).all(|pair| pair[0].pass <= pair[1].pass));
        prop_assert_eq!(played.completeness.passes, played.legs.last().map_or(0, |leg| leg.pass + 1));
        if let Some(missing) = played.completeness.missing_open {
            prop_assert!(missing.low <= missing.high && missing.expected.is_finite());
        }
    }
}
