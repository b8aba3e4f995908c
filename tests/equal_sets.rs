//! A whole /16 by three ports behind a gateway, over a real link: what is reported open, closed and silent is what the
//! hosts are, no more and no less; and the probes are such as a real stack sends.

use halfopen::{Plan, Pps, Rate, Scan, ScanBuilder, State};
use halfopen_lab::{Found, Responder, Scenario, TargetTally, lab_test, phantoms, plan, scan};

/// What the responder, a user's program that shares two cores with the scan, can follow in the test profile.
fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(16).rate(Rate::Fixed(Pps(40_000)))
}

const PORTS: &str = "22,80,443";

fn assert_equal_sets(plan: &Plan, found: &Found, responder: &Responder) {
    let mut expected = Scenario::named("prefix16").expected_all(PORTS);
    expected.retain(|target, _| plan.contains(*target));
    assert_eq!(expected.len() as u64, plan.len());
    // Were there any, the test would be void: the loss would be the lab's.
    assert_eq!(responder.drops(), 0, "frames that the responder was too slow for");
    found.assert_is(&expected);
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    assert!(State::ALL.iter().all(|&state| !found.targets(state).is_empty()));
}

fn assert_probes_are_right(found: &Found, responder: &Responder) {
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks);
    assert_eq!(tally.syns, found.summary.syns(), "every probe counted is a probe sent");
    assert_eq!((tally.malformed, tally.bad_checksum, tally.wrong_mac, tally.syns_to_nobody), (0, 0, 0, 0));
    assert_eq!(tally.syns_without_mss, 0, "real stacks send the MSS option");
    assert_eq!(tally.rsts, tally.syn_acks, "one RST closes each half-open connection");
    responder.with(|phantoms| {
        // Those that answered are asked again as canaries, from a port of their own.
        let base = found.summary.source_port.unwrap();
        let passes = base..base + found.summary.sent.len() as u16;
        let asked = |times| {
            let probes = |tally: &TargetTally| tally.syns.iter().filter(|(port, _)| passes.contains(port)).count();
            phantoms.target_tallies().filter(|(_, tally)| probes(tally) >= times).count() as u64
        };
        assert_eq!(asked(1), found.summary.targets, "each target once");
        // At least each silent one: where this machine was slow to hear an answer, its target was asked again too.
        assert!(asked(2) >= found.summary.silent && asked(2) == found.summary.sent[1], "each silent one twice");
        assert_eq!(asked(3), 0);
        assert!(phantoms.target_tallies().all(|(_, tally)| tally.rsts == tally.syn_acks && tally.stray_rsts == 0));
    });
}

lab_test!(a_slash_16_by_three_ports_and_as_many_ipv6_hosts_as_fit_the_time, |lab| {
    let responder = phantoms(lab, &Scenario::named("prefix16"));
    let plan = plan("10.64.0.0/16 fd64::/115", PORTS);
    assert_eq!(plan.len(), (65_536 + 8_192) * 3);
    let found = scan(builder(plan.clone()).passes(2));
    assert_equal_sets(&plan, &found, &responder);
    assert_probes_are_right(&found, &responder);
});
