//! `halfopen doctor` in networks where something is wrong.

use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use halfopen_lab::{End, Namespace, Route, lab_test, link, needs_xdp, skip};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;

use super::{Scan, run, text};

/// Its lines about something, and its exit code.
fn about(output: &Output, what: &str) -> (Vec<String>, i32) {
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    let about = lines.lines().filter(|line| line.split_whitespace().nth(1) == Some(&format!("{what}:")));
    (about.map(str::to_owned).collect(), output.status.code().expect("it ends by itself"))
}

/// The one line about something.
fn line(output: &Output, what: &str) -> String {
    let (lines, _) = about(output, what);
    let [line] = &lines[..] else { panic!("{what}: {lines:?} of {}", text(&output.stdout)) };
    line.clone()
}

fn joined(lab: &Namespace) -> Namespace {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0").address("10.1.0.2/24"));
    far
}

lab_test!(ways_there_are_and_ways_there_are_not, |lab| {
    let _far = joined(lab);
    let (none, code) = about(&run("doctor 192.0.2.1 10.1.0.2"), "route");
    assert_eq!(code, 1, "{none:?}");
    assert!(none[0].starts_with("problem  route: no route to 192.0.2.1: "), "{none:?}");
    assert_eq!(
        none[1],
        "ok       route: 10.1.0.2 through scan0 from 10.1.0.1, on this link: asked for by ARP or NDP first"
    );
    lab.route("default", Route::Via([10, 1, 0, 254].into()));
    let (unknown, code) = about(&run("doctor 192.0.2.1"), "route");
    assert_eq!(code, 0);
    assert!(
        unknown[0].starts_with("note     route: 192.0.2.1 through scan0 from 10.1.0.1 by gateway 10.1.0.254, whose")
    );
    lab.neighbour("scan0", "10.1.0.254", [2, 0, 0, 0, 0, 9]);
    let (known, _) = about(&run("doctor"), "route");
    let expected =
        "ok       route: all IPv4 through scan0 from 10.1.0.1 by gateway 10.1.0.254, which is 02:00:00:00:00:09";
    assert_eq!(known[0], expected);
    assert!(known[1].starts_with("note     route: none for IPv6 "), "{known:?}");
});

lab_test!(interfaces_as_they_are, |lab| {
    let far = joined(lab);
    assert!(
        line(&run("doctor"), "scan0").starts_with("ok       scan0: up, MTU 1500, driver veth, queues 1 in, 1 out, ")
    );
    far.down("far0");
    assert_eq!(line(&run("doctor"), "scan0"), "note     scan0: no carrier; plug it in, or see to its other end");
    lab.down("scan0");
    assert!(line(&run("doctor"), "scan0").starts_with("note     scan0: down; "));
    lab.down("lo");
    let (none, code) = about(&run("doctor"), "interfaces");
    assert_eq!((&none[0][..], code), ("problem  interfaces: none is up; bring one up (ip link set NAME up)", 1));
});

lab_test!(links_are_tried_where_that_is_asked_for, |lab| {
    let _far = joined(lab);
    let (lo, _) = about(&run("doctor --try-links lo"), "lo");
    assert_eq!(lo[1], "ok       lo: raw_ip with af_packet: works, as raw_ip@lo");
    needs_xdp();
    let (tried, code) = about(&run("doctor --try-links scan0"), "scan0");
    assert_eq!(tried[1], "ok       scan0: af_packet with af_packet: works, as af_packet@scan0");
    assert_eq!(tried[3], "ok       scan0: af_xdp with xdp_native: works, as af_xdp(copy)+xdp(native)@scan0");
    let live = "note     scan0: xdp_live with xdp_native: becomes af_xdp(copy)+xdp(native)@scan0, because ";
    assert!(tried[4].starts_with(live) && code == 0, "the peer does not poll: {tried:?}");
    assert_eq!(lab.xdp_program("scan0"), None, "nothing is left behind");
    let unknown = run("doctor --try-links nosuch0");
    assert_eq!(text(&unknown.stderr), "error: no such interface: nosuch0; this machine has lo, scan0\n");
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(2), 0));
});

lab_test!(another_scan_and_its_program, |lab| {
    needs_xdp();
    let _far = joined(lab);
    let mut scan = Scan::start("scan 10.1.0.2 -p- --rate 100 --show all --link af_xdp");
    assert!(scan.line().contains("10.1.0.2"));
    let found = run("doctor");
    let (scan0, _) = about(&found, "scan0");
    let program = lab.xdp_program("scan0").unwrap();
    assert!(scan0[1].starts_with(&format!("warning  scan0: the XDP program {program} is attached to it")), "{scan0:?}");
    let other = format!("halfopen ({})", scan.child.id());
    assert!(
        text(&found.stdout).lines().any(|line| line.starts_with("note     other scanners: ") && line.contains(&other))
    );
    scan.signal(Signal::KILL);
    scan.end();
});

lab_test!(rules_that_drop_replies, |_lab| {
    if !["/usr/sbin/nft", "/sbin/nft"].iter().any(|path| Path::new(path).exists()) {
        return skip("nft is not installed");
    }
    assert_eq!(line(&run("doctor"), "firewall"), "ok       firewall: no rule of this machine drops TCP");
    let nft = |rule: &str| {
        let status = Command::new("nft").env("PATH", "/usr/sbin:/sbin").args(rule.split_whitespace()).status().unwrap();
        assert!(status.success(), "{rule}");
    };
    nft("add table inet f");
    nft("add chain inet f in { type filter hook input priority 0 ; policy drop ; }");
    nft("add rule inet f in ct state established accept");
    let found = run("doctor");
    assert!(line(&found, "firewall").starts_with("warning  firewall: policy of inet f in may drop replies: "));
    assert!(line(&found, "conntrack").contains(" connections in the table, and rules add every probe"));
    assert_eq!(found.status.code(), Some(0), "packet sockets see replies all the same");
});

lab_test!(no_memory_to_lock_and_few_descriptors, |_lab| {
    let low = |resource, least| {
        let limit = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(least), maximum: limit.maximum }).unwrap();
    };
    low(Resource::Memlock, 0);
    low(Resource::Nofile, 128);
    let output = thread::scope(|scope| {
        let run = || {
            remove_capability_from_bounding_set(CapabilitySet::IPC_LOCK).unwrap();
            run("doctor --json")
        };
        scope.spawn(run).join().unwrap()
    });
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let about = |what: &str| {
        let findings = told["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["about"] == what).unwrap_or_else(|| panic!("{what} in {told}"))
    };
    assert_eq!(about("locked memory")["grade"], "warning");
    assert!(about("locked memory")["do"].as_str().unwrap().contains("ulimit -l"));
    assert!(about("descriptors")["found"].as_str().unwrap().contains("64 connections at a time"));
    assert_eq!(told["can_scan"], true);
});

lab_test!(without_rights_it_says_what_it_cannot_see, |_lab| {
    let output = thread::scope(|scope| {
        let run = || {
            for right in [CapabilitySet::NET_RAW, CapabilitySet::NET_ADMIN] {
                remove_capability_from_bounding_set(right).unwrap();
            }
            run("doctor 127.0.0.1")
        };
        scope.spawn(run).join().unwrap()
    });
    assert!(line(&output, "rights").contains("connect scans only"), "{}", text(&output.stdout));
    assert!(line(&output, "firewall").starts_with("unknown  firewall: "), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(0), "a connect scan works");
});
