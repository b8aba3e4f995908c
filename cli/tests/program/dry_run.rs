//! Dry runs: every probe once, in an order that the seed alone decides.

use std::collections::BTreeSet;

use super::{run, run_with_input, text};

/// The probes of a dry run.
fn probes(line: &str) -> Vec<String> {
    let output = run(&format!("scan --dry-run {line}"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn every_target_once() {
    let sent = probes("127.0.0.0/30 -p 1-1000 --seed 1");
    let expected = (0..4).flat_map(|host| (1..=1000).map(move |port| format!("127.0.0.{host} {port}")));
    assert_eq!(sent.len(), 4000);
    assert_eq!(sent.into_iter().collect::<BTreeSet<_>>(), expected.collect());
}

#[test]
fn all_ports_by_a_hyphen() {
    assert_eq!(probes("::1 -p-").len(), 65_535);
}

#[test]
fn the_seed_decides_the_order() {
    let order = |seed: &str| probes(&format!("127.0.0.1 -p 1-1000 {seed}"));
    let sorted: Vec<_> = (1..=1000).map(|port| format!("127.0.0.1 {port}")).collect();
    // Not assert_eq: a thousand lines twice tell nobody anything.
    assert!(order("--seed 42") == order("--seed 0x2a"), "the same seed, another order");
    assert!(order("--seed 42") != order("--seed 43"), "another seed, the same order");
    assert!(order("") != order(""), "the drawn seeds give the same order");
    assert!(order("--seed 42") != sorted, "the order is no secret");
}

#[test]
fn the_seed_is_told() {
    let output = run("scan --dry-run 127.0.0.1 ::1 -p 1-512 --seed 42");
    let said = "dry run: 1,024 probes to 2 hosts in the first pass, seed 42; nothing was sent\n";
    assert_eq!(text(&output.stderr), said);
    assert!(run("scan --dry-run 127.0.0.1 -p 1-512 --quiet").stderr.is_empty());
}

#[test]
fn arguments_and_files_add_up() {
    let args = ["scan", "--dry-run", "127.0.0.1", "-i", "-", "-p", "80"];
    let output = run_with_input(args, "127.0.0.2\n[::1]:443\n");
    let sent: BTreeSet<_> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(sent, ["127.0.0.1 80", "127.0.0.2 80", "::1 443"].map(str::to_owned).into());
}

#[test]
fn pairs_need_no_ports() {
    assert_eq!(probes("127.0.0.1:80"), ["127.0.0.1 80"]);
}

#[test]
fn exclusions_are_left_out() {
    assert_eq!(probes("127.0.0.1 127.0.0.2 -p 80 --exclude 127.0.0.1"), ["127.0.0.2 80"]);
}
