//! Which ports a scan asks for: names, the ranking, exclusions; seen in dry runs.

use std::collections::BTreeSet;

use super::{run, run_with_input, text};

/// The ports of a dry run of 127.0.0.1, without repetition.
fn ports(line: &str) -> BTreeSet<u16> {
    planned(&format!("scan 127.0.0.1 {line} --dry-run --seed 1"))
}

fn planned(line: &str) -> BTreeSet<u16> {
    let output = run(line);
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    text(&output.stdout).lines().map(|probe| probe.split_once(' ').unwrap().1.parse().unwrap()).collect()
}

/// The first line of an error.
fn refused(line: &str) -> String {
    let output = run(line);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{line}");
    text(&output.stderr).lines().next().unwrap().to_owned()
}

fn of(ports: impl IntoIterator<Item = u16>) -> BTreeSet<u16> {
    ports.into_iter().collect()
}

#[test]
fn by_name() {
    assert_eq!(ports("-p http,SSH,10000-10002"), of([22, 80, 10000, 10001, 10002]));
    assert_eq!(ports("-p http-alt -p postgres"), of([591, 5432, 8008, 8080]));
    assert_eq!(ports("-p ms-wbt-server,rdp"), of([3389]));
    assert_eq!(ports("-p ocs_cmu,z39.50,sink"), of([9, 210, 428]));
}

#[test]
fn behind_targets_and_in_files() {
    assert_eq!(planned("scan 127.0.0.1:https,22,telnet [::1]:imaps --dry-run"), of([22, 23, 443, 993]));
    let output = run_with_input(["scan", "-i", "-", "--dry-run"], "127.0.0.1:http\n127.0.0.2:ssh,8443\n");
    let mut probes: Vec<_> = text(&output.stdout).lines().map(str::to_owned).collect();
    probes.sort();
    assert_eq!(probes, ["127.0.0.1 80", "127.0.0.2 22", "127.0.0.2 8443"]);
}

#[test]
fn a_word_that_is_no_name() {
    insta::assert_snapshot!(refused("scan 127.0.0.1 -p 22,htpp --dry-run"), @r#"error: ports: cannot read "22,htpp": "htpp" is no port and no service name (did you mean http or htcp?); expected ports and services such as 22,http,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)"#);
    insta::assert_snapshot!(refused("scan 127.0.0.1 -p wireguard --dry-run"), @r#"error: ports: cannot read "wireguard": "wireguard" is a service over UDP, and a scan is of TCP ports; expected ports and services such as 22,http,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)"#);
    insta::assert_snapshot!(refused("scan 127.0.0.1 -p ssh-telnet --dry-run"), @r#"error: ports: cannot read "ssh-telnet": "ssh-telnet" is no service name; ranges are written in numbers, such as 20-23; expected ports and services such as 22,http,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)"#);
    insta::assert_snapshot!(refused("scan 127.0.0.1:htpp --dry-run"), @r#"error: targets: cannot read "127.0.0.1:htpp": "htpp" is no port and no service name (did you mean http or htcp?); expected ports and services such as 22,http,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)"#);
    insta::assert_snapshot!(refused("scan 127.0.0.1 -p 80 --exclude-ports nosuchthing --dry-run"), @r#"error: excluded ports: cannot read "nosuchthing": "nosuchthing" is no port and no service name; expected ports and services such as 22,http,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)"#);
}

#[test]
fn the_ranking() {
    assert_eq!(ports("--top-ports 3"), of([22, 80, 443]));
    assert_eq!(ports("--top-ports 3 -p telnet,80"), of([22, 23, 80, 443]), "-p adds");
    assert_eq!(ports("--top-ports 1000").len(), 1000);
    for count in ["0", "20000", "many"] {
        let said = refused(&format!("scan 127.0.0.1 --top-ports {count} --dry-run"));
        assert!(said.contains("--top-ports"), "{said}");
    }
}

#[test]
fn excluded_ports_win() {
    assert_eq!(ports("-p 20-25 --exclude-ports ssh,24-"), of([20, 21, 23]));
    assert_eq!(ports("--top-ports 3 --exclude-ports http --exclude-ports 443"), of([22]));
    assert_eq!(planned("scan 127.0.0.1:80,443 --exclude-ports http --dry-run"), of([443]));
    let said = refused("scan 127.0.0.1:80 --exclude-ports http --dry-run");
    insta::assert_snapshot!(said, @"error: nothing to scan: the only address is excluded (everywhere: ports 80)");
}
