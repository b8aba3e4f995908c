//! Scans of a small network, one after the other, and what is sure after each.

use std::sync::Arc;

use super::*;
use crate::ledger::Ledger;

const OPEN: State = State::Open;
const CLOSED: State = State::Closed;
const SILENT: State = State::Filtered;

fn host(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn fact(state: State) -> Fact {
    Fact { state, reason: "x".into(), ttl: None, rtt_us: None }
}

/// Hosts with the states of ports 20, 21, 22, ...
fn known(hosts: &[(u8, &[State])]) -> Known {
    let of = |&(last, states): &(u8, &[State])| {
        let mut tcp = Ledger::default();
        for (port, &state) in (20..).zip(states) {
            tcp.set(port, port, Some(fact(state)), at(0));
        }
        (host(last), KnownHost { up: true, since: at(0), tcp })
    };
    hosts.iter().map(of).collect()
}

fn seen(hosts: &[(u8, &[State])]) -> Snapshot {
    let of = |&(last, states): &(u8, &[State])| {
        let ports = (20..).zip(states).map(|(port, &state)| (port, port, fact(state))).collect();
        (host(last), Seen(ports))
    };
    let asked = [("192.0.2.0/24".parse().unwrap(), Arc::new("20-30".parse().unwrap()))].into_iter().collect();
    Snapshot { asked, hosts: hosts.iter().map(of).collect(), absent: Vec::new(), complete: true, probes: 1 }
}

fn asked(memory: &Memory, known: &Known) -> Vec<(IpAddr, String)> {
    let questions = memory.questions(known, &seen(&[]).asked, &Detection::default());
    questions.spans().iter().map(|span| (span.addresses.first(), span.ports.to_string())).collect()
}

#[test]
fn an_open_port_is_asked_again_and_then_sure() {
    let before = known(&[(1, &[CLOSED, OPEN, SILENT])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    let now = seen(&[(1, &[OPEN, OPEN, SILENT])]);
    memory.regular(&before, &now, &settings, at(10));
    assert!(memory.is_undecided(&settings));
    // 21 shows that the host is there, as does 20.
    assert_eq!(asked(&memory, &before), [(host(1), "20-21".to_owned())]);
    memory.confirmation(&before, &now, at(12));
    assert!(!memory.is_undecided(&settings));
    let findings = memory.conclude(&before, &settings);
    let [sure] = &findings.changes[..] else { panic!("{findings:?}") };
    assert_eq!((sure.change.was, sure.change.is, sure.since, sure.sights), (Some(CLOSED), OPEN, at(10), 2));
    assert_eq!(memory.conclude(&before, &settings), Findings::default());
}

#[test]
fn what_is_as_before_when_asked_again_only_blinked() {
    let before = known(&[(1, &[OPEN, OPEN])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    memory.regular(&before, &seen(&[(1, &[SILENT, OPEN])]), &settings, at(10));
    memory.confirmation(&before, &seen(&[(1, &[OPEN, OPEN])]), at(12));
    assert!(!memory.is_undecided(&settings));
    let findings = memory.conclude(&before, &settings);
    assert!(findings.changes.is_empty());
    assert_eq!(findings.blinked.len(), 1);
}

#[test]
fn a_change_that_changes_is_counted_anew() {
    let before = known(&[(1, &[OPEN, OPEN])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    memory.regular(&before, &seen(&[(1, &[SILENT, OPEN])]), &settings, at(10));
    for second in 0..2 {
        memory.confirmation(&before, &seen(&[(1, &[CLOSED, OPEN])]), at(12 + second));
        assert!(memory.is_undecided(&settings));
    }
    let last = seen(&[(1, &[CLOSED, OPEN])]);
    memory.confirmation(&before, &last, at(14));
    let findings = memory.conclude(&before, &settings);
    assert_eq!((findings.changes[0].change.is, findings.changes[0].since), (CLOSED, at(12)));
}

#[test]
fn what_never_settles_is_given_up() {
    let before = known(&[(1, &[OPEN, OPEN])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    memory.regular(&before, &seen(&[(1, &[SILENT, OPEN])]), &settings, at(10));
    for round in 0..MOST_ROUNDS {
        assert!(memory.is_undecided(&settings));
        let state = if round % 2 == 0 { CLOSED } else { SILENT };
        memory.confirmation(&before, &seen(&[(1, &[state, OPEN])]), at(11));
    }
    assert!(!memory.is_undecided(&settings));
    assert!(memory.conclude(&before, &settings).changes.is_empty());
}

#[test]
fn a_silent_host_is_a_matter_of_the_host() {
    let before = known(&[(1, &[OPEN, CLOSED]), (2, &[OPEN])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    let gone = seen(&[(2, &[OPEN])]);
    memory.regular(&before, &gone, &settings, at(10));
    // 2 tells whether the way is there.
    assert_eq!(asked(&memory, &before), [(host(1), "20-21".to_owned()), (host(2), "20".to_owned())]);
    for second in [12, 14] {
        assert!(memory.is_undecided(&settings));
        memory.confirmation(&before, &gone, at(second));
    }
    let findings = memory.conclude(&before, &settings);
    assert_eq!(findings.down, [(host(1), at(10))]);
    assert!(findings.changes.is_empty() && findings.blinked.is_empty());
}

#[test]
fn a_way_that_is_cut_while_something_is_confirmed_says_nothing_of_hosts() {
    let before = known(&[(1, &[OPEN, OPEN]), (2, &[OPEN]), (3, &[CLOSED]), (4, &[SILENT, OPEN]), (5, &[OPEN])]);
    let (mut memory, settings) = (Memory::default(), Detection::default());
    let others: [(u8, &[State]); 4] = [(2, &[OPEN]), (3, &[CLOSED]), (4, &[SILENT, OPEN]), (5, &[OPEN])];
    let suspicious = seen(&[(1, &[SILENT, OPEN]), others[0], others[1], others[2], others[3]]);
    memory.regular(&before, &suspicious, &settings, at(10));
    let (one, few) = ((host(1), "20-21".to_owned()), |last, port: &str| (host(last), port.to_owned()));
    assert_eq!(asked(&memory, &before), [one.clone(), few(2, "20"), few(4, "21")], "of 2 and 3, and not of 5");
    let nobody = seen(&[]);
    while memory.is_undecided(&settings) {
        memory.confirmation(&before, &nobody, at(12));
    }
    assert_eq!(memory.conclude(&before, &settings), Findings::default(), "nothing is sure, and nothing only blinked");
    // The next regular scan is one sight more.
    memory.regular(&before, &suspicious, &settings, at(300));
    memory.confirmation(&before, &suspicious, at(302));
    let findings = memory.conclude(&before, &settings);
    assert_eq!((findings.changes[0].sights, findings.changes[0].since), (3, at(10)));
    // A host is another matter than the way to all.
    memory.regular(&before, &seen(&others), &settings, at(600));
    assert_eq!(asked(&memory, &before)[..2], [one, few(2, "20")]);
    memory.confirmation(&before, &nobody, at(602));
    for second in [604, 606] {
        assert!(memory.is_undecided(&settings));
        memory.confirmation(&before, &seen(&others[1..2]), at(second));
    }
    assert_eq!(memory.conclude(&before, &settings).down, [(host(1), at(600))]);
}

#[test]
fn a_host_that_answers_when_asked_again_is_not_down() {
    let before = known(&[(1, &[OPEN])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    memory.regular(&before, &seen(&[]), &settings, at(10));
    memory.confirmation(&before, &seen(&[(1, &[OPEN])]), at(12));
    assert!(!memory.is_undecided(&settings));
    assert!(memory.conclude(&before, &settings).down.is_empty());
}

#[test]
fn ports_that_were_not_asked_are_not_looked_at() {
    let before = known(&[(1, &[OPEN, OPEN, OPEN])]);
    let mut memory = Memory::default();
    let settings = Detection::default();
    let mut part = seen(&[(1, &[OPEN])]);
    memory.regular(&before, &part, &settings, at(10));
    assert!(!memory.is_undecided(&settings));
    part.hosts.clear();
    part.asked = Coverage::default();
    memory.regular(&before, &part, &settings, at(20));
    assert!(!memory.is_undecided(&settings), "a scan that was cut says nothing of silent hosts");
}

#[test]
fn a_restless_port_becomes_unstable_and_calms_down() {
    let settings = Detection::default();
    let mut memory = Memory::default();
    let endpoint = Endpoint::tcp(host(1), 20);
    let mut state = OPEN;
    for scan in 0..4 {
        let before = known(&[(1, &[state, OPEN])]);
        state = if state == OPEN { CLOSED } else { OPEN };
        memory.regular(&before, &seen(&[(1, &[state, OPEN])]), &settings, at(scan));
        memory.conclude(&before, &settings);
    }
    assert!(memory.is_unstable(endpoint));
    let before = known(&[(1, &[state, OPEN])]);
    for scan in 0..19 {
        memory.regular(&before, &seen(&[(1, &[state, OPEN])]), &settings, at(10 + scan));
    }
    assert!(!memory.is_unstable(endpoint));
}

mod causes {
    use super::super::causes::{Cause, of_changes, of_silence};
    use super::*;

    fn changes(before: &Known, after: &[(u8, &[State])]) -> Vec<Cause> {
        let (mut memory, settings, now) = (Memory::default(), Detection::default(), seen(after));
        memory.regular(before, &now, &settings, at(10));
        while memory.is_undecided(&settings) {
            memory.confirmation(before, &now, at(12));
        }
        let findings = memory.conclude(before, &settings);
        of_changes(before, findings, &settings)
    }

    #[test]
    fn many_ports_that_fall_silent_together_are_a_firewall() {
        let before = known(&[(1, &[OPEN, CLOSED, CLOSED, CLOSED, OPEN, CLOSED, OPEN])]);
        let after: &[State] = &[SILENT, SILENT, SILENT, SILENT, OPEN, SILENT, CLOSED];
        let causes = changes(&before, &[(1, after)]);
        let [Cause::Port(port), Cause::Firewall { host: Some(at), changes }] = &causes[..] else {
            panic!("{causes:?}")
        };
        assert_eq!((port.change.endpoint.port.number, *at, changes.len()), (26, host(1), 5));
    }

    #[test]
    fn the_same_on_many_hosts_is_one_matter() {
        let states: &[State] = &[OPEN, CLOSED, CLOSED, OPEN];
        let before = known(&[(1, states), (2, states), (3, states), (4, states)]);
        let walled: &[State] = &[SILENT, SILENT, SILENT, OPEN];
        let causes = changes(&before, &[(1, walled), (2, walled), (3, walled), (4, states)]);
        let [Cause::Firewall { host: None, changes }] = &causes[..] else { panic!("{causes:?}") };
        assert_eq!(changes.len(), 9);
    }

    #[test]
    fn a_few_of_many_are_single_ports() {
        let before = known(&[(1, &[OPEN; 11])]);
        let mut after = [OPEN; 11];
        after[0] = SILENT;
        after[1] = SILENT;
        after[2] = CLOSED;
        assert!(changes(&before, &[(1, &after)]).iter().all(|cause| matches!(cause, Cause::Port(_))));
    }

    #[test]
    fn a_group_that_falls_silent_is_no_matter_of_its_hosts() {
        let before = known(&[(1, &[OPEN]), (2, &[OPEN])]);
        let mut nobody = seen(&[]);
        assert_eq!(of_silence(&before, &nobody.asked, &nobody, &[host(1), host(2)]), Some(Cause::GatewayGone));
        nobody.absent = vec![host(1), host(2)];
        assert_eq!(of_silence(&before, &nobody.asked, &nobody, &[host(1), host(2)]), Some(Cause::Offline));
        assert_eq!(of_silence(&before, &nobody.asked, &nobody, &[host(1)]), None);
        let alone = known(&[(1, &[OPEN])]);
        assert_eq!(of_silence(&alone, &nobody.asked, &nobody, &[host(1)]), None, "a single host is a host");
    }
}
