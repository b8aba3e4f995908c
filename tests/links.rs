//! Every kind of link says the same of the same network; one that is lost ends the scan in time; and the way out for
//! events holds back the scan rather than lose one.

use std::time::{Duration, Instant};

use halfopen::{Error, Event, LinkKind, Plan, Pps, Rate, Scan, ScanBuilder};
use halfopen_lab::{Found, Namespace, Scenario, lab_test, neighbours, phantoms, plan, scan};

fn builder(plan: Plan, pps: u64) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(pps)))
}

const PORTS: &str = "1-28,80,100-107,120-127";
const HOSTS: &str = "10.7.0.2-10.7.0.3 10.7.0.9 fd07::2-fd07::3 fd07::9";

fn small_network(lab: &Namespace, kind: LinkKind) -> Found {
    let scenario = Scenario::named("verdicts");
    let responder = neighbours(lab, &scenario);
    let found = scan(builder(plan(HOSTS, PORTS), 5_000).link(kind));
    found.assert_is(&scenario.expected_all(PORTS));
    assert!(found.down.keys().copied().eq(scenario.down()));
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    assert!(found.reported.iter().filter(|verdict| verdict.ttl.is_some()).all(|verdict| verdict.rtt.is_some()));
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks + tally.split_syns);
    assert_eq!((tally.bad_checksum, tally.malformed, tally.wrong_mac, tally.syns_without_mss), (0, 0, 0, 0));
    assert_eq!(tally.syns, found.summary.syns());
    found
}

lab_test!(af_packet, |lab| {
    assert_eq!(small_network(lab, LinkKind::AfPacket).summary.links, ["af_packet@scan0"]);
});

lab_test!(raw_ip_on_an_ethernet_device, |lab| {
    assert_eq!(small_network(lab, LinkKind::RawIp).summary.links, ["raw_ip@scan0"]);
});

lab_test!(pnet, |lab| {
    assert_eq!(small_network(lab, LinkKind::Pnet).summary.links, ["pnet@scan0"]);
});

lab_test!(a_kind_that_cannot_be_is_an_error, |_lab| {
    for kind in [LinkKind::AfPacket, LinkKind::Pnet] {
        let refused = builder(plan("127.0.0.1", "80"), 1_000).link(kind).start().map(drop);
        assert!(matches!(refused, Err(Error::Setting { setting: "link", .. })), "{refused:?}");
    }
});

/// Far longer than it may take to notice.
const PATIENCE: Duration = Duration::from_secs(20);

fn loses_its_link(lab: &Namespace, kind: LinkKind) {
    let _responder = phantoms(lab, &Scenario::named("prefix16"));
    let running = builder(plan("10.64.0.0/16", "80"), 2_000).link(kind).start().unwrap();
    let first = running.events().find(|event| matches!(event, Event::Verdict(_)));
    assert!(first.is_some());
    lab.down("scan0");
    let down = Instant::now();
    match running.wait() {
        Err(Error::LinkLost { link, sent, .. }) => {
            assert_eq!(link, format!("{kind}@scan0"));
            assert!((1..65_536).contains(&sent), "{sent}");
        }
        other => panic!("{other:?}"),
    }
    assert!(down.elapsed() < PATIENCE, "{:?}", down.elapsed());
}

lab_test!(af_packet_is_lost, |lab| loses_its_link(lab, LinkKind::AfPacket));
lab_test!(raw_ip_is_lost, |lab| loses_its_link(lab, LinkKind::RawIp));
lab_test!(pnet_is_lost, |lab| loses_its_link(lab, LinkKind::Pnet));

lab_test!(a_link_that_is_lost_while_neighbours_are_asked_ends_the_scan, |lab| {
    let _responder = neighbours(lab, &Scenario::named("verdicts"));
    // A request a second: only the loss can end it in time.
    let running = builder(plan("10.7.0.0/24", "80"), 1).start().unwrap();
    lab.down("scan0");
    let down = Instant::now();
    let ended = running.wait();
    assert!(matches!(ended, Err(Error::LinkLost { sent: 0, .. })), "{ended:?}");
    assert!(down.elapsed() < PATIENCE, "{:?}", down.elapsed());
});

/// Events that the channel holds; with half of them unread the sender pauses.
const CHANNEL: u64 = 1 << 14;
/// Of those, what may be reports of progress.
const PROGRESS: u64 = 100;
/// What may still come in while it pauses: a batch, and the answers under way.
const UNDER_WAY: u64 = 2_000;

lab_test!(a_slow_reader_slows_the_scan_and_loses_nothing, |_lab| {
    let running = builder(plan("127.0.0.1", "-"), 100_000).start().unwrap();
    let (mut events, mut most) = (Vec::new(), 0);
    let begun = Instant::now();
    loop {
        // Read only when the scan has run ahead as far as it can: a reader that is always too slow.
        let progress = running.progress();
        let ahead = (progress.closed + progress.open).saturating_sub(events.len() as u64);
        most = most.max(ahead);
        if progress.closed + progress.open == progress.targets {
            break;
        }
        assert!(begun.elapsed() < 6 * PATIENCE, "stuck at {progress:?}");
        if ahead > CHANNEL / 2 - PROGRESS {
            events.extend(running.events().take(200));
        } else {
            std::thread::yield_now();
        }
    }
    events.extend(running.events());
    let found = Found::of(events, running.wait().unwrap());
    assert_eq!((found.summary.closed, found.summary.unclassified), (65_535, 0));
    assert!(most < CHANNEL / 2 + UNDER_WAY, "the sender ran ahead by {most}");
});

lab_test!(without_a_reader_the_scan_ends_all_the_same, |_lab| {
    let running = builder(plan("127.0.0.1", "-"), 100_000).start().unwrap();
    let summary = running.wait().unwrap();
    assert_eq!((summary.closed, summary.open, summary.unclassified), (65_535, 0, 0));
});
