//! What scans that are kept leave to each other and to those who resume them, and what nobody is to have written over:
//! locks, leftovers, links, the account of the whole, and the scope that holds when a scan goes on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use halfopen_lab::lab_test;
use rustix::process::Signal;
use serde_json::Value;

use super::resuming::{interrupt, kill, resumed};
use super::{Scan, halfopen, listeners, records, run, text};

const SCAN: &str = "scan 127.0.0.1 ::1 -p 1-2000 --show all --rate 300 --checkpoint-every 100ms";

/// One clear line and nothing printed.
fn refused(output: &Output, code: i32, says: &str) {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), &text(&output.stdout)[..]), (Some(code), ""), "{said}");
    let errors = said.lines().filter(|line| line.starts_with("error: "));
    assert!(errors.count() == 1 && said.contains(says), "{said}");
}

lab_test!(the_account_of_a_resumed_scan_is_of_the_whole, |lab| {
    let _listeners = listeners(lab);
    let _telnet = lab.listen("127.0.0.1:23");
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let scan = "scan 127.0.0.1 ::1 -p 1-200 --show all --rate 20 --seed 48 --checkpoint-every 100ms";
    let mut first = Scan::start_held(&format!("{scan} --checkpoint {}", kept.display()));
    while !first.line().starts_with("127.0.0.1 23/tcp open") {}
    first.signal(Signal::INT);
    let (_, said, status) = first.end();
    assert_eq!(status.code(), Some(130), "{said}");
    // Before its first checkpoint as well.
    let before = fs::read(&kept).unwrap();
    kill(&resumed(&kept, "--rate 20"), 1, &kept);
    fs::write(&kept, before).unwrap();
    let output = run(&resumed(&kept, "--rate 20k"));
    let said = text(&output.stderr);
    assert!(!text(&output.stdout).contains("127.0.0.1 23/tcp"), "it was found before");
    assert!(said.contains("127.0.0.1: 3 open, 197 closed; answers in "), "{said}");
    assert!(said.contains("::1: 1 open, 199 closed; answers in "), "{said}");
    assert!(said.contains("plaintext: 23 telnet on 1 host"), "{said}");
    assert!(said.contains("\nat least "), "after a kill: {said}");
});

lab_test!(a_full_disk_has_no_heap_of_empty_parts, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    // No file can grow, as on a full disk; who ignores the signal is told so by the system.
    let line = "trap '' XFSZ; ulimit -f 0; exec \"$0\" scan 127.0.0.1 -p 1-2000 --show all --rate 300 \
                --checkpoint-every 100ms --checkpoint \"$1\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).arg(env!("CARGO_BIN_EXE_halfopen")).arg(directory.path().join("kept"));
    let mut scan = Scan::printing_to(std::io::pipe().unwrap(), &mut shell);
    // It holds the pipe open, too.
    drop(shell);
    // A second's worth.
    for _ in 0..300 {
        assert!(scan.line().contains("closed"));
    }
    let parts = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let parts: Vec<_> = parts.filter(|name| name.to_string_lossy().contains("journal")).collect();
    scan.signal(Signal::KILL);
    let (_, said, _) = scan.end();
    assert_eq!(said.matches("warning: cannot write a checkpoint").count(), 1, "{said}");
    assert!(parts.len() <= 2, "{parts:?}");
});

lab_test!(one_program_at_a_time_has_a_checkpoint, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let scan = format!("{SCAN} --checkpoint {}", kept.display());
    let again = resumed(&kept, "--rate 300");
    for line in [&scan, &again, &again] {
        let mut first = Scan::start_held(line);
        first.line();
        for second in [&scan, &again] {
            refused(&run(second), 2, "kept is in use: another halfopen keeps its scan there");
        }
        first.signal(Signal::INT);
        assert_eq!(first.end().2.code(), Some(130));
    }
    refused(&run(&scan), 2, "kept is there already");
    assert!(run(&resumed(&kept, "--rate 20k")).status.success());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
});

lab_test!(what_cannot_be_gone_on_with_is_left_as_it_is, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let outputs = format!("-o jsonl={} -o sqlite={}", at("scan.jsonl").display(), at("scan.sqlite").display());
    let line = format!("{SCAN} {outputs} -o list --checkpoint {}", at("kept").display());
    assert_eq!(interrupt(&line).2, 130);
    for gone in ["scan.jsonl", "scan.sqlite"] {
        let before = fs::read(at(gone)).unwrap();
        fs::remove_file(at(gone)).unwrap();
        let said = run(&resumed(&at("kept"), ""));
        assert!(!said.status.success() && said.stdout.is_empty(), "{}", text(&said.stderr));
        assert_eq!(text(&said.stderr).lines().count(), 1, "{}", text(&said.stderr));
        assert!(!at(gone).exists(), "no empty file is left in its place");
        fs::write(at(gone), before).unwrap();
    }
    assert!(run(&resumed(&at("kept"), "--rate 20k")).status.success());
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["scan.jsonl", "scan.sqlite"]);
});

// Root becomes somebody else while it scans, whose the files are; in a folder like /tmp that matters.
lab_test!(what_a_scan_has_left_in_a_shared_folder_can_be_gone_on_with, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o1777)).tempdir().unwrap();
    let kept = directory.path().join("kept");
    kill(&format!("{SCAN} --checkpoint {}", kept.display()), 20, &kept);
    assert_eq!(interrupt(&resumed(&kept, "--rate 300")).2, 130);
    let output = run(&resumed(&kept, "--rate 20k"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
});

fn scope(path: &Path, networks: &str, more: &str) {
    let head = format!("reference = \"R-1\"\ncontact = \"soc@example.org\"\nnetworks = {networks}\n{more}\n");
    fs::write(path, head).unwrap();
}

fn events(log: &Path) -> Vec<String> {
    let log = fs::read_to_string(log).unwrap_or_default();
    records(&log).iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect()
}

lab_test!(a_scope_that_is_set_now_binds_a_resumed_scan, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (then, now) = (at("then.toml"), at("now.toml"));
    scope(&then, "[\"127.0.0.1\", \"::1\"]", "max-rate = 20000");
    let line = format!("{SCAN} --scope {} --checkpoint {}", then.display(), at("kept").display());
    assert_eq!(interrupt(&line).2, 130);
    let go_on = |more: &str| halfopen(&resumed(&at("kept"), more)).env("HALFOPEN_SCOPE", &now).output().unwrap();
    scope(&now, "[\"127.0.0.1\"]", "");
    refused(&go_on("--rate 20k"), 3, "now.toml does not allow 1 of 2 addresses; outside its networks: ::1");
    scope(&now, "[\"127.0.0.0/8\", \"::1\"]", "max-rate = 5000");
    refused(&go_on("--rate 20k"), 3, "now.toml allows 5,000 probes/s at most");
    scope(&now, "[\"127.0.0.0/8\", \"::1\"]", "");
    refused(&go_on("--rate 25k"), 3, "then.toml allows 20,000 probes/s at most");
    let output = go_on("--rate 20k");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(events(&at("now.audit.jsonl")), ["refused", "refused", "refused", "start", "end"]);
    let both = ["start", "end", "refused", "refused", "refused", "start", "end"];
    assert_eq!(events(&at("then.audit.jsonl")), both);
});

/// A file that nobody is to write, and links to it under the names that are made up.
fn with_links(directory: &Path, names: &[&str]) {
    fs::write(directory.join("victim"), "victim\n").unwrap();
    names.iter().for_each(|name| symlink("victim", directory.join(name)).unwrap());
}

fn untouched(directory: &Path) {
    assert_eq!(fs::read_to_string(directory.join("victim")).unwrap(), "victim\n");
}

lab_test!(an_output_in_no_folder_is_named_as_it_was_typed, |_lab| {
    for form in ["xml", "json", "jsonl", "sqlite"] {
        let output = run(&format!("scan 127.0.0.1 -p 80 -o {form}=/nonexistent/scan.out"));
        refused(&output, 2, "cannot open /nonexistent/scan.out for writing: No such file");
    }
});

lab_test!(links_under_names_that_can_be_foreseen_are_not_followed, |lab| {
    let _listeners = listeners(lab);
    for (link, outputs, code, says) in [
        ("scan.json.part", "-o json=HERE/scan.json -o list", 2, "scan.json.part for writing: it is a symbolic link"),
        ("scan.json.tmp", "-o json=HERE/scan.json -o list", 1, "scan.json.tmp: it is a symbolic link"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        with_links(directory.path(), &[link]);
        let here = directory.path().display().to_string();
        let output = run(&format!("scan 127.0.0.1 -p 80 {outputs}").replace("HERE", &here));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
        untouched(directory.path());
        assert!(!directory.path().join("scan.json").exists(), "{said}");
    }
    let directory = tempfile::tempdir().unwrap();
    with_links(directory.path(), &["kept.tmp", "kept.journal-0", "kept.journal-1", "kept.journal-7"]);
    let kept = directory.path().join("kept");
    let output = run(&format!("scan 127.0.0.1 -p 80 --checkpoint {}", kept.display()));
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("cannot write a checkpoint to "), "{said}");
    untouched(directory.path());
    // The journals' names are the program's own, and were taken away.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "victim and kept.tmp");
    symlink("victim", &kept).unwrap();
    refused(&run(&format!("scan 127.0.0.1 -p 80 --checkpoint {}", kept.display())), 2, "it is a symbolic link");
    untouched(directory.path());
});

lab_test!(what_a_scan_reads_is_not_written_over, |_lab| {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("targets"), "127.0.0.1\n").unwrap();
    scope(Path::new(&at("scope.toml")), "[\"127.0.0.1\"]", "");
    fs::write(at("scope.audit.jsonl"), "").unwrap();
    fs::hard_link(at("targets"), at("other-name")).unwrap();
    for (options, file) in [
        ("-i HERE/targets -o jsonl=HERE/targets", "targets"),
        ("-i HERE/targets -o human=HERE/other-name", "targets"),
        ("127.0.0.1 --exclude-file HERE/targets --stats-json HERE/targets", "targets"),
        ("127.0.0.1 --scope HERE/scope.toml -o json=HERE/scope.toml", "scope.toml"),
        ("127.0.0.1 --scope HERE/scope.toml -o csv=HERE/scope.audit.jsonl", "scope.audit.jsonl"),
    ] {
        let before = fs::read(at(file)).unwrap();
        let options = options.replace("HERE", &directory.path().display().to_string());
        let says = format!("{file} would be written over: this scan needs it; name another output");
        refused(&run(&format!("scan -p 80 {options}")), 2, &says);
        assert_eq!(fs::read(at(file)).unwrap(), before, "{options}");
    }
    fs::write(at("scope.audit.jsonl"), "127.0.0.1\n").unwrap();
    let output = run(&format!("scan 127.0.0.1 -p 80 --scope {}", at("scope.toml")));
    refused(&output, 1, "scope.audit.jsonl: it has something else in it; name another file, or remove it");
    assert_eq!(fs::read_to_string(at("scope.audit.jsonl")).unwrap(), "127.0.0.1\n");
});

lab_test!(after_its_end_a_scope_permits_nothing, |lab| {
    let _listeners = listeners(lab);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scope.toml");
    let line = format!("scan 127.0.0.1 -p 80 --scope {}", path.display());
    scope(&path, "[\"127.0.0.1\"]", "expires = 2026-01-31");
    refused(&run(&line), 3, "scope.toml has expired: it held until 2026-01-31\nhint: have it renewed; its contact is");
    refused(&run(&format!("{line} --dry-run")), 3, "has expired");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(30);
    scope(&path, "[\"127.0.0.1\"]", &format!("expires = {soon}"));
    let output = run(&line);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("scope.toml expires in 2 days ("), "{}", text(&output.stderr));
    let log = fs::read_to_string(directory.path().join("scope.audit.jsonl")).unwrap();
    let said: Vec<Value> = records(&log);
    assert_eq!(
        said.iter().map(|line| line["event"].as_str().unwrap()).collect::<Vec<_>>(),
        ["refused", "refused", "start", "end"]
    );
    assert_eq!(said[0]["expires"], "2026-01-31");
    assert!(said[0]["reason"].as_str().unwrap().contains("has expired"));
});

// Large enough to be asked about as a whole, and in parts too small for it.
lab_test!(every_shard_asks_about_the_whole_plan, |_lab| {
    let output = run("scan 11.0.0.0/15 -p 80 --shard 2/1000");
    refused(&output, 3, "131,072 public addresses (131,072 targets) in 1,000 shards, this and the others");
});
