//! The demo: it makes a network of its own, so these tests need none of the lab's; what may not have one skips aloud.

use std::process::{Command, Output};

use halfopen_lab::{lab_test, skip};
use rustix::process::Signal;

use super::{Scan, halfopen, records, run, text};

fn interfaces() -> Vec<String> {
    let mut names: Vec<_> = halfopen::interfaces().unwrap().into_iter().map(|interface| interface.name).collect();
    names.sort();
    names
}

lab_test!(the_demo_finds_what_is_true_and_leaves_nothing_behind, |_lab| {
    let before = interfaces();
    let output = run("demo --hosts 32 -p 1-64 -- --output list");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    // Of two web servers, two mail servers and a host that rations, those ports that are below 65.
    let open = text(&output.stdout);
    assert!(open.contains("192.0.2.10:22\n") && open.contains("[2001:db8:1::25]:25\n"), "{open}");
    assert!(
        said.contains(&format!("  found {0} of {0} open ports, and none that is not open\n", open.lines().count()))
    );
    assert!(said.contains("  marked 2 of 2 hosts"), "{said}");
    assert!(!open.contains("192.0.2.50:"), "the tarpit's ports are left out: {open}");
    assert_eq!(interfaces(), before);
});

lab_test!(the_demo_takes_the_options_of_a_scan, |_lab| {
    let output = run("demo --hosts 1 -p 22 --ports 80 -- --output jsonl --exclude 192.0.2.50,192.0.2.60 --seed 5");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let records = records(&text(&output.stdout));
    let summary = records.last().unwrap();
    assert_eq!((&summary["settings"]["seed"], &summary["suspect_hosts"]), (&"5".into(), &0.into()));
    assert_eq!(summary["targets"], 16);
});

lab_test!(an_interrupted_demo_says_so, |_lab| {
    let mut demo = Scan::start("demo --hosts 1 -p- -- --rate 100 --show closed");
    assert!(demo.line().contains("closed"));
    demo.signal(Signal::INT);
    let (_, said, status) = demo.end();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(!said.contains("Held against the truth"), "{said}");
});

#[test]
fn a_demo_with_wrong_options_says_which() {
    for (line, what) in [
        ("demo --hosts 0", "0 is not in 1..=65536"),
        ("demo -- --nope", "unexpected argument '--nope'"),
        ("demo -p 70000", "70000"),
        ("demo --hosts 65536 -p-", "are too many: at most 16777216"),
    ] {
        let output = run(line);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(what), "{line}: {said}");
    }
}

/// In a user namespace in which there may be no further ones, and without rights. The limit is that namespace's own.
fn where_namespaces_are_forbidden(program: &str) -> Option<Output> {
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && \
         exec setpriv --inh-caps=-all --bounding-set=-all {program} demo"
    );
    let output = Command::new("unshare").args(["--user", "--map-root-user", "sh", "-c", &script]).output().ok()?;
    (!text(&output.stderr).contains("Permission denied")).then_some(output)
}

#[test]
fn where_there_are_no_namespaces_the_demo_says_what_forbids_them() {
    let program = halfopen("").get_program().to_owned().into_string().unwrap();
    let Some(output) = where_namespaces_are_forbidden(&program) else {
        return skip("a user namespace with a limit of its own cannot be made here");
    };
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @r"
    error: this system gives you no network namespace of your own: user.max_user_namespaces is 0
    hint: run `sudo halfopen demo`, or scan this machine itself: `halfopen scan 127.0.0.1 -p 1-1024`; root would allow it by `sysctl -w user.max_user_namespaces=10000`
    ");
}
