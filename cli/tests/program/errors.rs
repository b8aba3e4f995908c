//! Errors: one clear line each, word for word, on standard error alone, with the right exit code. Those that need a
//! network of a certain kind are among the tests of scans.

use std::fs;

use super::{run, run_with_input, text};

/// The text of a usage error.
fn usage(line: &str) -> String {
    let output = run(line);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}: {said}");
    assert!(output.stdout.is_empty(), "{line}");
    said
}

#[test]
fn nothing_to_scan() {
    insta::assert_snapshot!(usage("scan -p 80"), @r"
    error: nothing to scan: give targets, or a file of them with -i
    hint: for example: halfopen scan 192.0.2.0/24 -p 22,80,443
    ");
}

#[test]
fn bad_rates() {
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --rate 0"), @"error: invalid value '0' for '--rate <RATE>': no probe would ever be sent; the smallest rate is 1");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --rate fast"), @"error: invalid value 'fast' for '--rate <RATE>': expected probes a second such as 500, 10k or 1.5M, auto, or max");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --rate -1"), @"error: invalid value '-1' for '--rate <RATE>': expected probes a second such as 500, 10k or 1.5M, auto, or max");
}

#[test]
fn bad_values() {
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --seed 0x2g"), @"error: invalid value '0x2g' for '--seed <SEED>': expected a number of at most 64 bits, decimal or 0x hexadecimal");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --cooldown 2"), @"error: invalid value '2' for '--cooldown <TIME>': expected auto, or a time with its unit such as 500ms or 2s");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --memory-limit 1MB"), @"error: invalid value '1MB' for '--memory-limit <SIZE>': expected a size such as 64MiB or 1GiB (units: B, KiB, MiB, GiB)");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --max-passes 0"), @"error: invalid value '0' for '--max-passes <N>': 0 is not in 1..=15");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --gateway-mac 02:00"), @"error: invalid value '02:00' for '--gateway-mac <MAC>': expected a link address such as 02:00:5e:10:00:01");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --source-ip localhost"), @"error: invalid value 'localhost' for '--source-ip <ADDRESS>': expected an address of this machine such as 192.0.2.7 or 2001:db8::7");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --show shut"), @"error: invalid value 'shut' for '--show <STATES>'; expected one of open, closed, filtered, down, all");
}

#[test]
fn unknown_words() {
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --retries 3"), @"error: unexpected argument '--retries' found; see `halfopen scan --help`");
    insta::assert_snapshot!(usage("scna 127.0.0.1 -p 80"), @"error: halfopen has no command 'scna'; did you mean scan?");
}

#[test]
fn a_file_that_is_not_there() {
    let expected = "error: cannot open /no/such/file: No such file or directory (os error 2)\n";
    assert_eq!(usage("scan -i /no/such/file -p 80"), expected);
    assert_eq!(usage("scan 127.0.0.1 -p 80 --exclude-file /no/such/file"), expected);
}

#[test]
fn a_directory_is_no_file_of_targets() {
    assert_eq!(usage("scan -i / -p 80"), "error: cannot open /: is a directory\n");
}

#[test]
fn a_bad_target_is_named() {
    let said = usage("scan 127.0.0.1 10.0.0.300 -p 80 --dry-run");
    insta::assert_snapshot!(said, @r#"error: targets: cannot read "10.0.0.300": octet "300" is above 255; expected four octets 0-255, each a number, a list or a range, such as 192.0.2.7, 192.0.2.1,5,7-9, 192.0.0-3.* or 192.0.2.128-"#);
}

#[test]
fn a_bad_port_is_named() {
    let said = usage("scan 127.0.0.1 -p 22,65536 --dry-run");
    insta::assert_snapshot!(said, @r#"error: ports: cannot read "22,65536": port "65536" is above 65535; expected ports such as 22,80,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)"#);
}

#[test]
fn no_ports() {
    insta::assert_snapshot!(usage("scan 127.0.0.1 --dry-run"), @"error: ports: none given for 127.0.0.1; name the ports to scan, or put them behind the target (127.0.0.1:80)");
}

#[test]
fn a_bad_line_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("targets.txt");
    fs::write(&file, "127.0.0.1\n127.0.0.2\n127.0.0.999\n").unwrap();
    let said = usage(&format!("scan -p 80 --dry-run -i {}", file.display()));
    assert!(said.contains(&format!("{}:3: cannot read \"127.0.0.999\"", file.display())), "{said}");
}

#[test]
fn a_bad_line_of_standard_input_is_named() {
    let output = run_with_input(["scan", "-p", "80", "--dry-run", "-i", "-"], "127.0.0.1\n127.0.0.999\n");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: standard input:2: cannot read \"127.0.0.999\""), "{said}");
}

#[test]
fn an_interface_that_is_not_there() {
    let said = usage("scan 127.0.0.1 -p 9 --interface nosuch0");
    assert!(said.starts_with("error: no such interface: nosuch0; this machine has "), "{said}");
}

#[test]
fn what_an_output_has_no_place_for() {
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 -o jsonl --fields port,address,port"), @"error: --fields names port twice");
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 -o list --show closed,down"), @"error: a list is of open ports, and --show or --filter leaves those out; add open, or take a form that has states, such as -o csv");
}

#[test]
fn no_commands_at_one_time() {
    insta::assert_snapshot!(usage("scan 127.0.0.1 -p 80 --then true --then-jobs 0"), @"error: invalid value '0' for '--then-jobs <N>': expected a number from 1 to 255");
}
