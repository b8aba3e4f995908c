//! `--then`: a command for every host with open ports, after the scan.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use halfopen_lab::lab_test;
use rustix::process::Signal;

use super::{Scan, halfopen, listeners, records, run, sorted, text};

const SCAN: [&str; 6] = ["scan", "127.0.0.1", "::1", "-p", "1-500", "--then"];

fn then(command: &str, options: &[&str]) -> std::process::Output {
    halfopen("").args(SCAN).arg(command).args(options).output().unwrap()
}

lab_test!(every_host_is_handed_over_with_its_ports, |lab| {
    let _listeners = listeners(lab);
    let output = then("echo '{host} has' {ports}", &["-o", "list"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = |line: &str| said.contains(&format!(": exit code 0\n{line}\n"));
    assert!(printed("127.0.0.1 has 22,80,443") && printed("::1 has 80"), "{said}");
    assert!(said.contains("\ncommands: 2 run"), "{said}");
    assert_eq!(sorted(&text(&output.stdout)).len(), 4, "results stay what they are");
});

lab_test!(what_is_handed_over_is_what_is_chosen, |lab| {
    let _listeners = listeners(lab);
    let said =
        text(&then("echo '{host} has' {ports}", &["-q", "--filter", "port in [22, 80] and not address == ::1"]).stderr);
    assert!(said.contains("\n127.0.0.1 has 22,80\n") && !said.contains("::1"), "{said}");
    for options in [["--show", "closed"], ["--filter", "state == closed"]] {
        let output = then("echo {host}", &options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(text(&output.stderr).contains("--then hands over open ports, and "), "{}", text(&output.stderr));
    }
});

lab_test!(a_command_for_each_port_and_its_exit_code_in_the_records, |lab| {
    let _listeners = listeners(lab);
    let output = then("test {port} = 80", &["-o", "jsonl", "--then-jobs", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let records = records(&text(&output.stdout));
    let commands: Vec<_> = records.iter().filter(|record| record["type"] == "command").collect();
    assert_eq!(commands.len(), 4);
    assert!(
        commands.iter().all(|command| command["exit_code"] == i32::from(command["ports"][0] != 80)),
        "{commands:?}"
    );
    let summary = records.last().unwrap();
    assert_eq!(summary["commands"], serde_json::json!({"run": 4, "failed": 2, "left": 0}));
});

lab_test!(a_command_that_takes_too_long_or_does_not_start_has_failed, |lab| {
    let _listeners = listeners(lab);
    let output = then("sleep 60", &["--then-timeout", "100ms", "--exclude", "::1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("== 127.0.0.1: sleep 60: ended: its time was up\n"));
    let output = then("/nonexistent/program {host}", &["--exclude", "::1"]);
    assert!(text(&output.stderr).contains("could not be started: No such file or directory"));
});

lab_test!(an_interrupt_ends_the_commands, |lab| {
    let _listeners = listeners(lab);
    // Standard output has the finding before the command begins.
    let place = tempfile::tempdir().unwrap();
    let fifo = place.path().join("begun");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let script = place.path().join("script");
    std::fs::write(&script, format!("#!/bin/sh\necho begun > {}\nsleep 60\n", fifo.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scan = Scan::start(&format!("scan 127.0.0.1 -p 80 --then-jobs 1 --then {}", script.display()));
    // Reading ends when the command has begun.
    assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "begun\n");
    scan.signal(Signal::INT);
    let (_, said, status) = scan.end();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("stopping: the commands are to end; another Ctrl-C kills them"), "{said}");
    assert!(said.contains(": ended by the interruption\n"), "{said}");
});

lab_test!(commands_have_what_halfopen_was_started_with, |lab| {
    let _listeners = listeners(lab);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let wanted = ["Uid:", "CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"];
    let output = then("cat /proc/self/status", &["-p", "80", "--exclude", "::1", "-q"]);
    let said = text(&output.stderr);
    for name in wanted {
        let line = |text: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        assert_eq!(line(&said), line(&own), "{said}");
    }
});

lab_test!(a_set_user_id_program_lends_nothing, |_lab| {
    if std::fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(2) == Some("1") {
        return eprintln!("skipped: there is only one user here");
    }
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("halfopen");
    // By another process: of a file that this one has open to write, a test that forks just then would keep it busy.
    let mut install = std::process::Command::new("install");
    assert!(install.args(["-m", "4755", env!("CARGO_BIN_EXE_halfopen")]).arg(&program).status().unwrap().success());
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut scan = std::process::Command::new(&program);
    scan.args(["scan", "-i", "/etc/shadow", "--dry-run"]).uid(65_534).gid(65_534);
    let output = scan.output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: the program is set-user-ID") && said.lines().count() == 1, "{said}");
});

lab_test!(who_kills_the_scan_ends_its_commands, |lab| {
    let _listeners = listeners(lab);
    let place = tempfile::tempdir().unwrap();
    let fifo = place.path().join("alive");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let script = place.path().join("script");
    std::fs::write(&script, format!("#!/bin/sh\nexec > {}\necho begun\nexec sleep 600\n", fifo.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let scan = Scan::start(&format!("scan 127.0.0.1 -p 80 --then {}", script.display()));
    let mut alive = BufReader::new(std::fs::File::open(&fifo).unwrap());
    let mut begun = String::new();
    alive.read_line(&mut begun).unwrap();
    assert_eq!(begun, "begun\n");
    scan.signal(Signal::KILL);
    // Until nobody has it open any more: the command has ended.
    assert_eq!(alive.read_line(&mut begun).unwrap(), 0);
    // Nor standard error: who ran it has, too.
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&scan.end().2), Some(9));
});

lab_test!(who_kills_what_runs_the_commands_is_told_of, |lab| {
    let _listeners = listeners(lab);
    let output = then("sh -c 'kill -9 $PPID' sh {host}", &["--then-jobs", "1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("warning: not all commands were run: the process that runs them was killed"), "{said}");
    assert!(said.contains("\ncommands: none run, 2 not begun\n"), "{said}");
});

#[test]
fn a_command_that_cannot_be_meant_is_a_usage_error() {
    for (command, told) in [("nmap {hosts}", "nothing is known to put in for {hosts}"), ("echo 'x", "has no end")] {
        let output = then(command, &[]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
    assert_eq!(run("scan 127.0.0.1 -p 1 --then-jobs 2").status.code(), Some(2), "there is nothing to run");
}
