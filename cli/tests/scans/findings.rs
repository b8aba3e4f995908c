//! What is found, in every form, while the scan runs, and what the account says of it.

use std::collections::BTreeMap;

use halfopen_lab::{End, Namespace, Scenario, lab_test, link, neighbours};
use rustix::process::Signal;

use super::{OPEN, Scan, assert_adds_up, listeners, number, records, run, sorted, text};

lab_test!(a_line_for_each_finding, |lab| {
    let _listeners = listeners(lab);
    let output = run("scan 127.0.0.1 ::1 -p 1-1024 --seed 7");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let expected = [
        "127.0.0.1 22/tcp open syn-ack ssh",
        "127.0.0.1 443/tcp open syn-ack https",
        "127.0.0.1 80/tcp open syn-ack http",
        "::1 80/tcp open syn-ack http",
    ];
    assert_eq!(sorted(&text(&output.stdout)), expected);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("127.0.0.1: 3 open, 1,021 closed; answers in "), "{said}");
    assert!(lines[1].starts_with("::1: 1 open, 1,023 closed; answers in "), "{said}");
    assert!(lines[2].starts_with("2,048 targets on 2 hosts in "), "{said}");
    assert!(lines[2].ends_with(" s: 4 open, 2,044 closed"), "{said}");
    assert!(lines[3].contains(" of them to measure the loss") && lines[3].contains(", 2,048 replies"), "{said}");
    let plaintext = "plaintext: 80 http on 2 hosts, use https; see halfopen explain 80";
    assert_eq!(lines[4..], ["SYN scan over raw_ip@lo, seed 7", plaintext], "{said}");
});

lab_test!(what_is_plaintext_is_said, |lab| {
    let _listeners = ["127.0.0.1:22", "127.0.0.1:23", "127.0.0.1:80", "[::1]:23"].map(|address| lab.listen(address));
    let said = text(&run("scan 127.0.0.1 ::1 -p 1-1024").stderr);
    let line = "plaintext: 23 telnet on 2 hosts, use ssh; 80 http on 1 host, use https; see halfopen explain 23 80";
    assert!(said.lines().any(|said| said == line), "{said}");
    let quiet = run("scan 127.0.0.1 ::1 -p 1-1024 --quiet");
    assert_eq!(text(&quiet.stderr), "");
});

lab_test!(nothing_open_is_said_too, |_lab| {
    let output = run("scan 127.0.0.1 -p 1-1024");
    assert!(output.status.success() && output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(said.starts_with("127.0.0.1: no open port: 1,024 closed; answers in "), "{said}");
    assert!(said.contains(" s: 0 open, 1,024 closed\n"), "{said}");
    assert!(!said.contains("hint:"), "nobody is there to take a hint: {said}");
});

lab_test!(quiet_means_findings_only, |lab| {
    let _listeners = listeners(lab);
    let output = run("scan ::1 -p 1-100 --quiet");
    assert_eq!(text(&output.stdout), "::1 80/tcp open syn-ack http\n");
    assert_eq!(text(&output.stderr), "");
});

lab_test!(a_list, |lab| {
    let _listeners = listeners(lab);
    let output = run("scan 127.0.0.1 ::1 -p 1-1024 --output list");
    assert!(output.status.success());
    assert_eq!(sorted(&text(&output.stdout)), OPEN);
});

const IMPOSTORS: &str = "scan 10.7.0.2 fd07::3 10.7.0.5-10.7.0.8 -p 1-11 --rate 5000";

lab_test!(suspects_are_marked, |lab| {
    let _responder = neighbours(lab, &Scenario::named("impostors"));
    let output = run(&format!("{IMPOSTORS} --output jsonl"));
    let records = records(&text(&output.stdout));
    let of = |kind: &str| records.iter().filter(|record| record["type"] == kind).collect::<Vec<_>>();
    let hosts: BTreeMap<_, _> =
        of("suspect").iter().map(|record| (record["address"].as_str(), record["reason"].as_str())).collect();
    let expected = [("10.7.0.2", "every-port"), ("10.7.0.6", "every-port"), ("10.7.0.7", "ttl")];
    assert_eq!(hosts, expected.map(|(address, reason)| (Some(address), Some(reason))).into());
    let forged = of("verdict").into_iter().filter(|record| record["suspect"] == "forged").count();
    assert_eq!(forged, 11 + 1, "{records:?}");
    let summary = records.last().unwrap();
    assert_adds_up(summary);
    assert_eq!((number(&summary["suspect_hosts"]), number(&summary["suspects_hidden"])), (4, 0));
    assert!(number(&summary["probes"]["controls"]) >= 15, "{summary}");
    let said = text(&run(IMPOSTORS).stderr);
    assert!(said.contains("10.7.0.2: 11 open; answers in ") && said.contains("; suspect: every-port\n"), "{said}");
    assert!(said.contains("\nsuspect: open ports of 4 hosts"), "{said}");
});

lab_test!(suspects_are_left_out_of_every_output, |lab| {
    let _responder = neighbours(lab, &Scenario::named("impostors"));
    let honest = |hosts: [&str; 4]| {
        let ports = hosts.into_iter().zip([11, 8, 8, 8]);
        let open = ports.flat_map(|(host, last)| (1..=last).map(move |port| format!("{host}:{port}")));
        let mut open: Vec<_> = open.filter(|open| open != "10.7.0.5:7" && open != "10.7.0.7:7").collect();
        open.sort_unstable();
        open
    };
    let expected = honest(["[fd07::3]", "10.7.0.5", "10.7.0.7", "10.7.0.8"]);
    let output = run(&format!("{IMPOSTORS} --hide-suspect --output list"));
    assert_eq!(sorted(&text(&output.stdout)), expected);
    assert!(text(&output.stderr).contains("; left out: 24 ports\n"), "{}", text(&output.stderr));
    let output = run(&format!("{IMPOSTORS} --hide-suspect --output jsonl"));
    let records = records(&text(&output.stdout));
    let verdicts = records.iter().filter(|record| record["type"] == "verdict");
    assert_eq!(verdicts.count(), expected.len());
    assert_eq!(number(&records.last().unwrap()["suspects_hidden"]), 24);
    let lines = text(&run(&format!("{IMPOSTORS} --hide-suspect")).stdout);
    assert_eq!(lines.lines().filter(|line| line.contains("/tcp open")).count(), expected.len());
    assert!(!lines.contains("suspect="), "{lines}");
});

lab_test!(only_the_states_asked_for, |lab| {
    let _listeners = listeners(lab);
    let output = run("scan 127.0.0.1 -p 79-81 --show closed --output csv --fields address,port");
    assert_eq!(sorted(&text(&output.stdout)), ["127.0.0.1,79", "127.0.0.1,81", "address,port"]);
    assert!(text(&output.stderr).contains("3 targets on 1 host"), "the account is complete");
});

lab_test!(json_records_and_the_summary_last, |lab| {
    let _listeners = listeners(lab);
    let output = run("scan 127.0.0.1 ::1 -p 1-1024 --output jsonl --show all --seed 18446744073709551615");
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "", "the summary is among the records");
    let mut records = records(&text(&output.stdout));
    let (summary, header) = (records.pop().unwrap(), records.remove(0));
    assert_adds_up(&summary);
    assert_eq!((&header["type"], &header["targets"]), (&"scan".into(), &2048.into()));
    assert_eq!(header["settings"], summary["settings"]);
    assert_eq!(header["coverage"], serde_json::json!([{"addresses": ["127.0.0.1", "::1"], "ports": "1-1024"}]));
    assert_eq!(summary["outcome"], "complete");
    assert_eq!(summary["settings"]["seed"], "18446744073709551615");
    assert_eq!(summary["settings"]["links"][0], "raw_ip@lo");

    let mut states = BTreeMap::new();
    for record in &records {
        assert_eq!((&record["type"], &record["protocol"]), (&"verdict".into(), &"tcp".into()), "{record}");
        let state = record["state"].as_str().unwrap();
        assert_eq!(record["reason"], if state == "open" { "syn-ack" } else { "rst" }, "{record}");
        assert_eq!(record["ttl"], 64, "{record}");
        number(&record["rtt_us"]);
        let target = (record["address"].to_string(), number(&record["port"]));
        assert_eq!(states.insert(target, state), None, "a second verdict: {record}");
    }
    assert_eq!(states.len(), 2048);
    for state in ["open", "closed", "filtered"] {
        let found = states.values().filter(|&&found| found == state).count() as u64;
        assert_eq!(found, number(&summary["counts"][state]), "{state}");
    }
    assert_eq!(number(&summary["counts"]["open"]), OPEN.len() as u64);
});

lab_test!(json_shows_what_is_open_unless_told, |lab| {
    let _listeners = listeners(lab);
    let records = records(&text(&run("scan ::1 -p 1-1024 --output jsonl").stdout));
    assert_eq!(records.len(), 3, "the settings, one finding and the summary: {records:?}");
    assert_eq!((&records[1]["address"], &records[1]["port"]), (&"::1".into(), &80.into()));
    assert_adds_up(&records[2]);
});

lab_test!(all_ports_as_fast_as_it_goes, |lab| {
    let _listeners = listeners(lab);
    let records = records(&text(&run("scan 127.0.0.1 ::1 -p- --rate max --output jsonl --show all").stdout));
    let summary = records.last().unwrap();
    assert_adds_up(summary);
    // The lab's own connections and the scan's source ports are among the ports: what is open is not counted here.
    assert_eq!(records.len() as u64 - 2, 2 * 65_535);
    assert_eq!(number(&summary["counts"]["unclassified"]), 0);
    assert_eq!(summary["settings"]["rate"], "max");
});

lab_test!(every_kind_of_link_finds_the_same, |lab| {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0").address("10.1.0.2/24"));
    let _listener = far.listen("10.1.0.2:80");
    for kind in ["af_packet", "raw_ip", "pnet"] {
        let output = run(&format!("scan 10.1.0.2 -p 79-81 --show all --seed 1 --link {kind}"));
        let found = text(&output.stdout);
        let expected =
            ["10.1.0.2 79/tcp closed rst finger", "10.1.0.2 80/tcp open syn-ack http", "10.1.0.2 81/tcp closed rst -"];
        assert_eq!(sorted(&found), expected, "{kind}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&format!("SYN scan over {kind}@scan0")), "{kind}");
    }
});

lab_test!(a_finding_is_printed_while_the_scan_runs, |lab| {
    let _listeners = listeners(lab);
    for format in ["human", "jsonl", "list"] {
        let mut scan = Scan::start(&format!("scan 127.0.0.1 -p 80 --cooldown 1h --output {format}"));
        if format == "jsonl" {
            assert!(scan.line().contains(r#""type":"scan""#));
        }
        assert!(scan.line().contains("80"), "{format}");
        assert!(scan.is_running(), "{format}: its cooldown has hardly begun");
        scan.signal(Signal::INT);
        scan.wait_for_note("stopping: ");
        scan.signal(Signal::INT);
        assert_eq!(scan.end().2.code(), Some(130), "{format}");
    }
});
