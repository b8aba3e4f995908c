use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const WAIT: Duration = Duration::from_millis(100);
/// So that a thousand control probes may leave a second.
const RATE: u64 = 4000;
const ALL_OPEN: Sample = Sample { answered: 10, open: 10 };
const MOSTLY_CLOSED: Sample = Sample { answered: 60, open: 12 };
const OPEN: Said = Said::Open { is_bare: false };
const BARE: Said = Said::Open { is_bare: true };

/// Impostors, and a world in which every host's control ports say the same.
struct Bench {
    impostors: Impostors,
    now: Time,
    asked: Vec<Target>,
    told: Vec<Suspicion>,
}

fn bench() -> Bench {
    let impostors = Impostors::new(1 << 20, 7, true);
    Bench { impostors, now: Time(1), asked: Vec::new(), told: Vec::new() }
}

fn host(number: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + number).into())
}

impl Bench {
    fn answer(&mut self, number: u32, port: u16, ttl: u8, is_bare: bool, sample: Sample) -> Option<Suspect> {
        let target = Target { address: host(number), port };
        self.impostors.open(&OpenAnswer { target, ttl, is_bare }, || sample)
    }

    fn open(&mut self, number: u32, ports: std::ops::Range<u16>, sample: Sample) -> Vec<Option<Suspect>> {
        ports.map(|port| self.answer(number, port, 60, false, sample)).collect()
    }

    /// One look; whatever is asked is answered by `says` at once.
    fn poll(&mut self, says: impl Fn(Target) -> Option<Said>) -> Time {
        let (mut asked, told) = (Vec::new(), &mut self.told);
        let next = self.impostors.poll(Timing::of(self.now, WAIT, RATE), |_| Fitness::Good, &mut |act| match act {
            Act::Ask { host, port } => asked.push(Target { port, ..host }),
            Act::Tell(suspicion) => told.push(suspicion),
        });
        for target in asked {
            self.asked.push(target);
            says(target).into_iter().for_each(|said| self.impostors.control(target, said));
        }
        next
    }

    /// Looks until there is nothing left to do.
    fn run(&mut self, says: impl Fn(Target) -> Option<Said>) {
        for _ in 0..100_000 {
            let next = self.poll(&says);
            if !self.impostors.is_busy() {
                self.poll(&says);
                return;
            }
            self.now = Time(next.0.max(self.now.0 + 1_000_000).min(self.now.0 + 50_000_000));
        }
        panic!("it never ends");
    }

    fn reasons(&self) -> Vec<(IpAddr, Suspect, Option<u8>)> {
        self.told.iter().map(|told| (told.address, told.reason, told.usual_ttl)).collect()
    }
}

#[test]
fn open_control_ports_tell_a_host_that_accepts_everything() {
    let mut bench = bench();
    assert!(bench.open(1, 0..8, ALL_OPEN).iter().all(Option::is_none));
    bench.run(|_| Some(OPEN));
    assert_eq!(bench.asked.len(), CONTROLS);
    assert!(bench.asked.iter().all(|target| target.address == host(1) && target.port >= LOWEST), "{:?}", bench.asked);
    assert_eq!(bench.asked.iter().collect::<BTreeSet<_>>().len(), CONTROLS);
    assert_eq!(bench.reasons(), [(host(1), Suspect::EveryPort, None)]);
    assert_eq!(bench.open(1, 8..1000, ALL_OPEN), vec![Some(Suspect::EveryPort); 992]);
    bench.run(|_| Some(OPEN));
    assert_eq!((bench.told.len(), bench.impostors.suspects()), (1, 1), "once");
}

#[test]
fn two_of_three_are_enough_and_one_is_not() {
    for (opens, suspect) in [(1, false), (2, true)] {
        let mut bench = bench();
        bench.open(1, 0..8, ALL_OPEN);
        bench.poll(|_| None);
        let ports: Vec<Target> = bench.asked.clone();
        for (number, &target) in ports.iter().enumerate() {
            bench.impostors.control(target, if number < opens { OPEN } else { Said::NotOpen });
        }
        bench.run(|_| None);
        assert_eq!(!bench.told.is_empty(), suspect, "{opens}");
    }
}

#[test]
fn few_open_ports_or_many_closed_ones_raise_no_question() {
    let mut bench = bench();
    bench.open(1, 0..7, ALL_OPEN);
    bench.open(2, 0..200, MOSTLY_CLOSED);
    bench.run(|_| Some(OPEN));
    assert_eq!((bench.asked.len(), bench.told.len()), (0, 0));
    bench.open(2, 200..256, ALL_OPEN);
    bench.run(|_| Some(OPEN));
    assert_eq!((bench.asked.len(), bench.told.len()), (3, 1), "looked at again when its open ports have doubled");
}

#[test]
fn an_honest_host_that_is_all_open_is_asked_twice_and_cleared() {
    for silent in [true, false] {
        let mut bench = bench();
        bench.open(1, 0..100, ALL_OPEN);
        bench.run(|_| (!silent).then_some(Said::NotOpen));
        assert_eq!((bench.asked.len(), bench.told.len()), (if silent { 6 } else { 3 }, 0));
        bench.open(1, 100..2000, ALL_OPEN);
        bench.run(|_| Some(OPEN));
        assert_eq!(bench.asked.len(), if silent { 6 } else { 3 }, "and never again");
    }
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut bench = bench();
    bench.open(1, 0..8, ALL_OPEN);
    bench.poll(|_| None);
    bench.now = bench.now + WAIT;
    bench.run(|_| Some(OPEN));
    assert_eq!((bench.asked.len(), bench.told.len()), (6, 1));
}

#[test]
fn a_forged_answer_is_marked_at_once_and_its_host_only_if_its_control_ports_answer_so() {
    for (says, told) in [(Said::NotOpen, None), (OPEN, Some(Suspect::EveryPort)), (BARE, Some(Suspect::EveryPort))] {
        let mut bench = bench();
        assert_eq!(bench.answer(1, 80, 60, true, MOSTLY_CLOSED), Some(Suspect::Forged));
        bench.run(|_| Some(says));
        assert_eq!(bench.told.first().map(|told| told.reason), told, "{says:?}");
        assert_eq!(bench.answer(1, 81, 60, false, MOSTLY_CLOSED), told);
        assert_eq!(bench.answer(1, 82, 60, true, MOSTLY_CLOSED), Some(Suspect::Forged));
        assert_eq!(bench.impostors.suspects(), 1);
    }
    let mut bench = bench();
    bench.answer(1, 80, 60, true, MOSTLY_CLOSED);
    bench.poll(|_| None);
    bench.impostors.control(bench.asked[0], BARE);
    bench.impostors.control(bench.asked[1], Said::NotOpen);
    bench.run(|_| None);
    assert_eq!(bench.reasons(), [(host(1), Suspect::Forged, None)], "one of three");
}

#[test]
fn a_ttl_that_departs_from_most_is_told_at_the_end_or_when_it_is_clear() {
    let mut early = bench();
    early.answer(1, 1, 128, false, MOSTLY_CLOSED);
    early.open(1, 2..4, MOSTLY_CLOSED);
    early.run(|_| Some(Said::NotOpen));
    assert!(early.told.is_empty(), "two against one may still turn");
    early.impostors.conclude();
    early.run(|_| None);
    assert_eq!(early.reasons(), [(host(1), Suspect::Ttl, Some(60))], "whichever came first");
    let mut clear = bench();
    clear.open(1, 2..20, MOSTLY_CLOSED);
    clear.answer(1, 1, 128, false, MOSTLY_CLOSED);
    clear.run(|_| Some(Said::NotOpen));
    assert_eq!(clear.reasons(), [(host(1), Suspect::Ttl, Some(60))]);
    assert_eq!(clear.answer(1, 21, 128, false, MOSTLY_CLOSED), Some(Suspect::Ttl));
    assert_eq!(clear.answer(1, 22, 61, false, MOSTLY_CLOSED), None);
    assert_eq!(clear.impostors.suspects(), 1);
}

#[test]
fn as_many_of_one_ttl_as_of_another_speak_against_nobody() {
    let mut bench = bench();
    for port in 0..40 {
        bench.answer(1, port, if port % 2 == 0 { 60 } else { 120 }, false, MOSTLY_CLOSED);
    }
    bench.run(|_| Some(Said::NotOpen));
    bench.impostors.conclude();
    bench.run(|_| None);
    assert_eq!((bench.told.len(), bench.impostors.suspects()), (0, 0));
}

#[test]
fn a_departing_ttl_of_a_host_that_accepts_everything_is_the_lesser_finding() {
    let mut bench = bench();
    bench.open(1, 0..20, MOSTLY_CLOSED);
    bench.answer(1, 20, 128, false, MOSTLY_CLOSED);
    bench.run(|_| Some(OPEN));
    bench.impostors.conclude();
    bench.run(|_| None);
    assert_eq!(bench.reasons(), [(host(1), Suspect::EveryPort, None)]);
}

#[test]
fn control_ports_are_outside_the_plan_where_there_are_such_and_never_unfit() {
    let drawn = |fitness: &dyn Fn(Target) -> Fitness| {
        let drawn = bench().impostors.draw(host(1), fitness);
        drawn.into_iter().map(|(port, _)| port).collect::<Vec<_>>()
    };
    let odd = |good, other| move |target: Target| if target.port % 2 == 1 { good } else { other };
    assert!(drawn(&odd(Fitness::Good, Fitness::Fair)).iter().all(|port| port % 2 == 1));
    assert!(drawn(&odd(Fitness::Fair, Fitness::Unfit)).iter().all(|port| port % 2 == 1));
    assert_eq!(drawn(&odd(Fitness::Fair, Fitness::Fair)).len(), CONTROLS);
    assert!(drawn(&|_| Fitness::Unfit).is_empty());
}

#[test]
fn a_host_without_ports_to_ask_is_left_alone() {
    let mut bench = bench();
    bench.open(1, 0..8, ALL_OPEN);
    bench.impostors.poll(Timing::of(bench.now, WAIT, RATE), |_| Fitness::Unfit, &mut |act| panic!("{act:?}"));
    assert!(!bench.impostors.is_busy());
}

#[test]
fn without_control_probes_nobody_is_asked_and_the_look_of_answers_decides() {
    let mut bench = Bench { impostors: Impostors::new(8, 7, false), ..bench() };
    bench.open(1, 0..20, ALL_OPEN);
    bench.answer(1, 20, 128, false, ALL_OPEN);
    assert_eq!(bench.answer(2, 20, 128, true, ALL_OPEN), Some(Suspect::Forged));
    bench.impostors.conclude();
    bench.run(|target| panic!("{target} was asked"));
    assert_eq!(bench.reasons(), [(host(1), Suspect::Ttl, Some(60))]);
}

#[test]
fn control_probes_keep_their_pace() {
    let mut bench = bench();
    (0..2000).for_each(|number| drop(bench.open(number, 0..8, ALL_OPEN)));
    let mut at: BTreeMap<u64, usize> = BTreeMap::new();
    while bench.impostors.is_busy() {
        let before = bench.asked.len();
        let next = bench.poll(|_| Some(OPEN));
        *at.entry(bench.now.0 / 1_000_000_000).or_default() += bench.asked.len() - before;
        bench.now = Time(next.0.clamp(bench.now.0 + 100_000, bench.now.0 + 5_000_000));
    }
    assert_eq!((bench.asked.len(), bench.told.len()), (6000, 2000));
    assert!(at.values().all(|&probes| probes <= 1003), "{at:?}");
}

#[test]
fn giving_up_leaves_no_question() {
    let mut bench = bench();
    (0..2000).for_each(|number| drop(bench.open(number, 0..8, ALL_OPEN)));
    bench.poll(|_| None);
    assert!(bench.impostors.is_busy());
    bench.impostors.give_up();
    assert!(!bench.impostors.is_busy());
}

/// A million hosts with an open port or two do not push out the few with many, and take no more room than there is.
#[test]
fn hosts_with_many_open_ports_stay_among_a_crowd() {
    let mut bench = bench();
    for round in 0..40_u16 {
        for number in 0..25_000 {
            bench.answer(1000 + u32::from(round) * 25_000 + number, 80, 60, false, MOSTLY_CLOSED);
        }
        for tarpit in 0..50 {
            bench.answer(tarpit, round, 60, false, ALL_OPEN);
        }
    }
    assert_eq!(bench.impostors.hosts.places.len(), MOST);
    bench.run(|_| Some(OPEN));
    assert!(bench.told.len() >= 45, "{} of 50", bench.told.len());
    assert!(bench.told.iter().all(|told| (0..50).any(|number| told.address == host(number))));
}

#[test]
fn where_suspects_fill_all_places_the_others_are_told_by_their_look_alone() {
    let mut bench = Bench { impostors: Impostors::new(1, 7, false), ..bench() };
    bench.impostors.hosts.places = vec![None; WAYS].into();
    for number in 0..WAYS as u32 {
        bench.answer(number, 1, 60, true, MOSTLY_CLOSED);
    }
    assert_eq!(bench.answer(99, 1, 60, true, MOSTLY_CLOSED), Some(Suspect::Forged));
    assert_eq!(bench.answer(99, 2, 60, false, MOSTLY_CLOSED), None);
    assert_eq!(bench.impostors.suspects(), WAYS as u64);
}

proptest! {
    /// Hosts whose SYN-ACKs look like a stack's, whose paths differ by three hops at most, and whose high ports are not
    /// open, are never marked, however many of their ports are.
    #[test]
    fn honest_hosts_are_never_marked(
        answers in prop::collection::vec((0u32..40, 0u16..1000, 0u8..=3), 1..2000),
        sample in (0u32..64, 0u32..64),
        silent: bool,
    ) {
        let mut bench = bench();
        let sample = Sample { answered: sample.0.max(sample.1), open: sample.1 };
        for (at, (number, port, hops)) in answers.into_iter().enumerate() {
            let marked = bench.answer(number, port, 50 + (number % 7) as u8 * 20 + hops, false, sample);
            prop_assert_eq!(marked, None);
            if at % 50 == 0 {
                bench.poll(|_| (!silent).then_some(Said::NotOpen));
            }
        }
        bench.run(|_| (!silent).then_some(Said::NotOpen));
        bench.impostors.conclude();
        bench.run(|_| None);
        prop_assert!(bench.told.is_empty() && bench.impostors.suspects() == 0);
    }

    /// Whatever comes, memory is bounded, a host is told of once, and it ends.
    #[test]
    fn memory_is_bounded_and_each_host_is_told_of_once(
        hosts in 1u128..5000,
        answers in prop::collection::vec((0u32..5000, 0u16..30, 0u8..255, any::<bool>()), 1..4000),
        says in 0u8..4,
    ) {
        let mut bench = Bench { impostors: Impostors::new(hosts, 7, true), ..bench() };
        let says = [None, Some(OPEN), Some(BARE), Some(Said::NotOpen)][usize::from(says)];
        for (number, port, ttl, is_bare) in answers {
            bench.answer(number, port, ttl, is_bare, ALL_OPEN);
            prop_assert!(bench.impostors.queue.len() <= bench.impostors.hosts.places.len());
        }
        let places = bench.impostors.hosts.places.len();
        prop_assert!(places <= MOST && places as u128 <= (8 * hosts).max(LEAST as u128));
        bench.run(|_| says);
        bench.impostors.conclude();
        bench.run(|_| says);
        let told: BTreeSet<IpAddr> = bench.told.iter().map(|told| told.address).collect();
        prop_assert_eq!(told.len(), bench.told.len());
        prop_assert!(bench.impostors.suspects() <= places as u64 && told.len() as u64 <= bench.impostors.suspects());
    }
}
