//! Open ports that are not what they seem are marked, with the reason; those of honest hosts are not, however many; and
//! what decides it, the control probes, touches nothing that was excluded.

use std::collections::{BTreeMap, BTreeSet};

use halfopen::{LinkKind, Plan, PlanBuilder, Pps, Rate, Receive, Scan, ScanBuilder, Suspect, Target};
use halfopen_lab::{
    Found, Scenario, Watched, lab_test, needs_xdp, neighbours, plan, scan, simulated, simulated_on_link,
};

const HOSTS: &str = "10.7.0.2-10.7.0.8 fd07::2-fd07::8";
/// Eleven, so that hosts with eight open ones are not open nearly everywhere.
const PORTS: &str = "1-11";

fn builder(plan: Plan) -> ScanBuilder {
    Scan::builder(plan).seed(1).rate(Rate::Fixed(Pps(5_000)))
}

fn watched() -> Watched {
    Watched::new(&Scenario::named("impostors"))
}

/// What is wrong with the ports 1-11 of the scenario.
fn expected() -> BTreeMap<Target, Suspect> {
    let of = |host: u8, ports: std::ops::RangeInclusive<u16>, reason| {
        let addresses = [format!("10.7.0.{host}"), format!("fd07::{host}")].map(|text| text.parse().unwrap());
        let targets = addresses.into_iter().flat_map(move |address| ports.clone().map(move |port| (address, port)));
        targets.map(move |(address, port)| (Target { address, port }, reason)).collect::<Vec<_>>()
    };
    let tarpit = of(2, 1..=11, Suspect::EveryPort);
    let one = of(5, 7..=7, Suspect::Forged);
    let all = of(6, 1..=11, Suspect::Forged);
    let far = of(7, 7..=7, Suspect::Ttl);
    [tarpit, one, all, far].into_iter().flatten().collect()
}

fn assert_impostors_are_marked(found: &Found) {
    found.assert_is(&Scenario::named("impostors").expected_all(PORTS));
    assert_eq!(found.suspects(), expected());
    assert_eq!(found.summary.suspect_hosts, 8, "four of each family");
    assert_eq!(found.summary.strays.total(), 0, "{:?}", found.summary.strays);
    let hosts: BTreeSet<_> =
        found.suspicions.iter().map(|told| (told.address.to_string(), told.reason.name())).collect();
    let told = [("10.7.0.2", "every-port"), ("10.7.0.6", "every-port"), ("10.7.0.7", "ttl")].map(|(v4, reason)| {
        let v6 = v4.replace("10.7.0.", "fd07::");
        [(v4.to_owned(), reason), (v6, reason)]
    });
    assert_eq!(hosts, told.into_iter().flatten().collect());
}

/// Every SYN that a scan accounts for.
fn sent(found: &Found) -> u64 {
    found.summary.syns()
}

/// The SYNs to ports that the plan does not have, by host.
fn controls(network: &Watched, plan: &Plan) -> BTreeMap<String, BTreeSet<u16>> {
    let mut controls: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    network.with(|network| {
        let outside = network.phantoms().target_tallies().filter(|(target, _)| !plan.contains(**target));
        for (target, _) in outside.filter(|(_, tally)| !tally.syns.is_empty()) {
            controls.entry(target.address.to_string()).or_default().insert(target.port);
        }
    });
    controls
}

#[test]
fn impostors_are_marked_and_honest_hosts_are_not() {
    let network = watched();
    let found = simulated(builder(plan(HOSTS, PORTS)), &network);
    assert_impostors_are_marked(&found);
    let controls = controls(&network, &plan(HOSTS, PORTS));
    assert!(
        controls.values().all(|ports| ports.len() == 3 && ports.iter().all(|port| *port >= 49_152)),
        "{controls:?}"
    );
    let asked: Vec<_> = controls.keys().map(String::as_str).filter(|host| host.contains('.')).collect();
    let questionable = ["10.7.0.2", "10.7.0.3", "10.7.0.4", "10.7.0.5", "10.7.0.6", "10.7.0.7"];
    assert_eq!(asked, questionable, "the ordinary host is not asked");
    let probes = 2 * (5 * 3 + 6);
    assert_eq!(found.summary.controls, probes, "once, but twice where nothing came");
    assert_eq!(network.with(|network| network.phantoms().tally().syns), sent(&found));
}

#[test]
fn on_their_link_too() {
    assert_impostors_are_marked(&simulated_on_link(builder(plan(HOSTS, PORTS)), &watched()));
}

#[test]
fn with_several_senders_and_stripes() {
    let several = builder(plan(HOSTS, PORTS)).senders(3).memory_limit(16);
    let found = simulated(several, &watched());
    found.assert_is(&Scenario::named("impostors").expected_all(PORTS));
    let (found, expected) = (found.suspects(), expected());
    let of = |reason| move |(target, told): (&Target, &Suspect)| (*told == reason).then_some(*target);
    for reason in [Suspect::EveryPort, Suspect::Forged] {
        let told: BTreeSet<_> = found.iter().filter_map(of(reason)).collect();
        assert_eq!(told, expected.iter().filter_map(of(reason)).collect(), "{reason}");
    }
}

#[test]
fn three_open_ports_are_no_reason_to_ask() {
    let (network, plan) = (watched(), plan("10.7.0.2-10.7.0.3", "80-82"));
    let found = simulated(builder(plan.clone()), &network);
    assert_eq!((found.summary.open, found.suspects().len(), found.summary.controls), (6, 0, 0));
    assert!(controls(&network, &plan).is_empty());
}

#[test]
fn all_ports_of_a_tarpit() {
    let found = simulated(builder(plan("10.7.0.2 10.7.0.3", "-")).rate(Rate::Fixed(Pps(200_000))), &watched());
    assert_eq!(found.suspects().len(), 65_535);
    assert!(found.suspects().values().all(|reason| *reason == Suspect::EveryPort));
    assert_eq!(found.summary.suspect_hosts, 1);
    let marked = found.reported.iter().filter(|verdict| verdict.suspect.is_some()).count();
    assert!(marked > 60_000, "{marked} already when they were reported");
}

#[test]
fn what_was_excluded_is_not_asked_even_for_control() {
    let plan = || {
        let excluded = "10.7.0.2:49152-60000";
        let plan = Plan::builder().targets(HOSTS).and_then(|plan| plan.ports(PORTS));
        plan.and_then(|plan| plan.exclude(excluded)).and_then(PlanBuilder::build).unwrap()
    };
    let network = watched();
    let found = simulated(builder(plan()), &network);
    let controls = controls(&network, &plan());
    assert!(!controls.is_empty() && controls.values().flatten().all(|port| *port > 60_000), "{controls:?}");
    assert_eq!(found.suspects(), expected());
}

#[test]
fn without_control_probes_nothing_else_is_asked_and_forgeries_are_still_marked() {
    let network = watched();
    let found = simulated(builder(plan(HOSTS, PORTS)).controls(false), &network);
    assert_eq!((found.summary.controls, controls(&network, &plan(HOSTS, PORTS)).len()), (0, 0));
    let wanted: BTreeMap<_, _> = expected().into_iter().filter(|(_, reason)| *reason != Suspect::EveryPort).collect();
    assert_eq!(found.suspects(), wanted);
}

#[test]
fn with_loss_it_is_seldom_missed() {
    let scenario = |seed| {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../phantom/scenarios/impostors.toml"))
            .unwrap();
        let network = "[network]\nloss_out = 0.1\nloss_back = 0.1\ndelay = \"20ms\"\njitter = \"30ms\"\n";
        Scenario::parse(&format!("{network}{text}")).unwrap().with_seed(seed)
    };
    let mut found = [0; 2];
    for seed in 0..20 {
        let scan = simulated(builder(plan(HOSTS, PORTS)).seed(seed).passes(4), &Watched::new(&scenario(seed)));
        let suspects = scan.suspects();
        assert!(suspects.keys().all(|target| expected().contains_key(target)), "{suspects:?}");
        let told = |host: &str| usize::from(suspects.keys().any(|target| target.address.to_string() == host));
        found = [found[0] + told("10.7.0.2"), found[1] + told("fd07::6")];
    }
    assert!(found[0] >= 19 && found[1] == 20, "{found:?}");
}

lab_test!(from_the_wire, |lab| {
    let responder = neighbours(lab, &Scenario::named("impostors"));
    let found = scan(builder(plan(HOSTS, PORTS)));
    assert_impostors_are_marked(&found);
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks);
    assert_eq!(tally.syns, sent(&found));
    assert_eq!((tally.rsts, tally.syns_without_mss), (tally.syn_acks, 0), "control ports are closed again, too");
});

lab_test!(control_probes_are_answered_by_way_of_xdp_and_closed_too, |lab| {
    needs_xdp();
    let responder = neighbours(lab, &Scenario::named("impostors"));
    let found = scan(builder(plan(HOSTS, PORTS)).link(LinkKind::AfPacket).receive(Receive::XdpGeneric));
    assert_impostors_are_marked(&found);
    let tally = responder.wait_for(|tally| tally.rsts >= tally.syn_acks);
    assert_eq!(tally.rsts, tally.syn_acks, "by ourselves, for the kernel does not see them");
});

lab_test!(a_real_listener_on_every_scanned_port_is_no_impostor, |lab| {
    let listeners: Vec<_> = (1..=12).map(|port| lab.listen(&format!("127.0.0.1:{}", 2000 + port))).collect();
    let found = scan(builder(plan("127.0.0.1", "2001-2012")));
    assert_eq!((found.summary.open, found.summary.controls), (12, 3));
    assert_eq!((found.suspects().len(), found.summary.strays.wrong_port), (0, 0));
    drop(listeners);
});
