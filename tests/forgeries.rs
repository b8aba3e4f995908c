//! Replies that prove nothing are counted by what gives them away, and never believed; true replies that contradict or
//! repeat each other are weighed as the design says.

use std::collections::BTreeMap;

use halfopen::{Plan, Pps, Rate, Scan, ScanBuilder, State, Strays};
use halfopen_lab::{
    Found, Namespace, Responder, Scenario, Watched, lab_test, neighbours, plan, scan, simulated, target,
};

const HOSTS: &str = "10.7.0.2 fd07::2";

fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(1).passes(1).rate(Rate::Fixed(Pps(1_000)))
}

fn simulate(scenario: &str, ports: &str) -> Found {
    simulated(builder(plan(HOSTS, ports)), &Watched::new(&Scenario::named(scenario)))
}

fn by_wire(lab: &Namespace, scenario: &str, ports: &str) -> (Found, Responder) {
    let responder = neighbours(lab, &Scenario::named(scenario));
    (scan(builder(plan(HOSTS, ports))), responder)
}

fn strays(found: &Found) -> BTreeMap<&'static str, u64> {
    found.summary.strays.by_kind().into_iter().filter(|(_, count)| *count > 0).collect()
}

const FORGED: &str = "1-9,11-13,80,81";

#[test]
fn forged_replies_are_counted_and_not_believed() {
    let found = simulate("forgeries", FORGED);
    found.assert_is(&Scenario::named("forgeries").expected_all(FORGED));
    // Of each family: SYN-ACK and RST with a wrong number; four quotes, two with a wrong number and two with a wrong
    // port; one to a wrong port; one from a stranger; a plain ACK; three that are no segments.
    let expected =
        [("bad_ack", 4), ("bad_quote", 8), ("wrong_port", 2), ("foreign", 2), ("unrelated", 2), ("malformed", 6)];
    assert_eq!(strays(&found), BTreeMap::from(expected));
}

lab_test!(forged_replies_from_the_wire, |lab| {
    let (found, responder) = by_wire(lab, "forgeries", FORGED);
    found.assert_is(&Scenario::named("forgeries").expected_all(FORGED));
    assert_eq!(responder.tally().forged, 24);
    // The kernel's filter keeps away what is not for our ports: the one to a wrong port, and noise.
    let expected = [("bad_ack", 4), ("bad_quote", 8), ("foreign", 2), ("unrelated", 2), ("malformed", 4)];
    assert_eq!(strays(&found), BTreeMap::from(expected));
});

fn assert_contradictions_are_weighed(found: &Found) {
    for host in ["10.7.0.4", "[fd07::4]"] {
        let of = |port| target(&format!("{host}:{port}"));
        let told = |port| -> Vec<_> {
            let verdicts = found.reported.iter().filter(|verdict| verdict.target == of(port));
            verdicts.map(|verdict| (verdict.state, verdict.supersedes)).collect()
        };
        assert_eq!(told(82), [(State::Open, None)], "three copies are one answer");
        assert_eq!(told(84), [(State::Open, None)], "a RST after the SYN-ACK takes nothing back");
        assert_eq!(told(85), [(State::Closed, None), (State::Open, Some(State::Closed))]);
    }
    let summary = &found.summary;
    assert_eq!((summary.open, summary.closed, summary.filtered), (6, 0, 0));
    // Two copies too many, and one RST too late, of each family.
    assert_eq!((summary.replies, summary.duplicates, summary.strays), (14, 6, Strays::default()));
}

const CONTRADICTING: &str = "10.7.0.4 fd07::4";

#[test]
fn contradictions_and_copies_are_weighed() {
    let network = Watched::new(&Scenario::named("limits"));
    assert_contradictions_are_weighed(&simulated(builder(plan(CONTRADICTING, "82,84,85")), &network));
}

lab_test!(contradictions_and_copies_from_the_wire, |lab| {
    let _responder = neighbours(lab, &Scenario::named("limits"));
    assert_contradictions_are_weighed(&scan(builder(plan(CONTRADICTING, "82,84,85"))));
});

/// Answers that are true although they look odd.
#[test]
fn a_split_handshake_is_open_and_a_rst_with_our_own_number_closed() {
    let found = simulate("verdicts", "26,27");
    found.assert_is(
        &Scenario::named("verdicts")
            .expected_all("26,27")
            .into_iter()
            .filter(|(target, _)| ["10.7.0.2", "fd07::2"].contains(&target.address.to_string().as_str()))
            .collect(),
    );
    for host in ["10.7.0.2", "[fd07::2]"] {
        assert_eq!(found.last(&format!("{host}:27")).reason.name(), "syn");
        assert_eq!(found.last(&format!("{host}:26")).reason.name(), "rst");
    }
    assert_eq!(found.summary.strays, Strays::default());
}
