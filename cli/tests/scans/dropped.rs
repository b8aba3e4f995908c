//! What a scan under way has left of the rights it was started with, seen from outside: by thread, as the kernel tells it
//! (proc_pid_status(5)). That what is gone cannot be done is tested in `src/privileges/tests.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use halfopen_lab::{End, Namespace, lab_test, link, needs_xdp};
use rustix::process::{Signal, geteuid};

use super::{Scan, halfopen, text};

/// Of each thread, its name and what is asked for in its status.
fn threads(scan: &Scan, fields: &[&str]) -> Vec<(String, Vec<String>)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", scan.child.id())).expect("it is running");
    let mut threads: Vec<_> = tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("status")).expect("its threads stay"))
        .map(|status| (field(&status, "Name"), fields.iter().map(|name| field(&status, name)).collect()))
        .collect();
    threads.sort();
    threads
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

const FIELDS: [&str; 8] = ["Groups", "Uid", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];
const NONE: &str = "0000000000000000";

/// The user that a scan started by root becomes here: nobody, or where there is none in this user namespace, root still.
fn user() -> &'static str {
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    let all = users.split_whitespace().eq(["0", "0", "4294967295"]);
    if all { "65534 65534 65534 65534" } else { "0 0 0 0" }
}

/// Runs a scan, looks at it when it has found something, and ends it. Gives the names of its threads.
fn has_dropped(line: &str) -> Vec<String> {
    assert!(geteuid().is_root(), "the lab is");
    let mut scan = Scan::start(&format!("{line} -p- --rate 200 --show all --output jsonl"));
    // The first record is about the scan, and is written before it has heard anything.
    while !scan.line().contains("\"verdict\"") {
        assert!(scan.is_running(), "{line}");
    }
    let threads = threads(&scan, &FIELDS);
    let uid = user();
    for (name, left) in &threads {
        assert_eq!(left[1..], [uid, NONE, NONE, NONE, NONE, "1", "2"], "{line}: {name}");
        assert!(uid.starts_with('0') || left[0].is_empty(), "{line}: {name} has groups {}", left[0]);
    }
    scan.signal(Signal::INT);
    let (rest, said, status) = scan.end();
    assert_eq!((status.code(), said.contains("warning")), (Some(130), false), "{line}: {said}");
    assert!(rest.lines().last().is_some_and(|last| last.contains("summary")), "{line}: {rest}");
    // The one that waits for signals may come later than the first finding.
    threads.into_iter().map(|(name, _)| name).filter(|name| name != "signals").collect()
}

fn joined(lab: &Namespace) -> Namespace {
    let far = Namespace::new("far");
    link(&End::new(lab, "scan0").address("10.1.0.1/24"), &End::new(&far, "far0").address("10.1.0.2/24").polling());
    far
}

/// Of a scan whose targets are still coming in: what opens later ones may do that, and no thread more.
pub(super) fn has_only_opener_rights(scan: &Scan) {
    let threads = threads(scan, &["Uid", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"]);
    // CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_PERFMON, CAP_BPF (linux/capability.h).
    let opening = format!("{:016x}", 1_u64 << 12 | 1 << 13 | 1 << 14 | 1 << 38 | 1 << 39);
    let uid = user();
    for (name, left) in &threads {
        let expected = match &**name {
            "opener" => [uid, &opening, &opening, NONE, "1", "0"],
            "targets" => [uid, NONE, NONE, NONE, "1", "0"],
            _ => [uid, NONE, NONE, NONE, "1", "2"],
        };
        assert_eq!(left[..], expected, "{name}");
    }
    assert_eq!(threads.iter().filter(|(name, _)| ["opener", "targets"].contains(&&**name)).count(), 2, "{threads:?}");
}

lab_test!(on_the_loopback, |_lab| {
    let threads = has_dropped("scan 127.0.0.1");
    assert_eq!(threads, ["halfopen", "halfopen-receiv", "halfopen-send"]);
});

lab_test!(with_commands_to_follow, |_lab| {
    let threads = has_dropped("scan 127.0.0.1 --then true");
    assert_eq!(threads, ["halfopen", "halfopen-receiv", "halfopen-send"]);
    assert_eq!(has_dropped("scan 127.0.0.1 --method connect --then true").len(), 2);
});

lab_test!(by_connect, |_lab| {
    assert_eq!(has_dropped("scan 127.0.0.1 --method connect"), ["halfopen", "halfopen-connec"]);
});

lab_test!(over_every_kind_of_socket, |lab| {
    let _far = joined(lab);
    for kind in ["af_packet", "af_xdp --receive af_packet", "raw_ip", "pnet"] {
        has_dropped(&format!("scan 10.1.0.2 --link {kind}"));
    }
    has_dropped("scan 10.1.0.2 --senders 2");
});

lab_test!(with_programs_in_the_kernel, |lab| {
    needs_xdp();
    let _far = joined(lab);
    has_dropped("scan 10.1.0.2 --link af_xdp --receive xdp_generic");
    let threads = has_dropped("scan 10.1.0.2 --link xdp_live --receive xdp_native");
    assert!(threads.iter().any(|name| name == "halfopen-live"), "{threads:?}");
    assert_eq!(lab.xdp_program("scan0"), None, "nothing is left behind");
});

lab_test!(everything_is_kept_where_that_is_asked_for, |_lab| {
    let mut scan = Scan::start("scan 127.0.0.1 -p- --rate 200 --show all --no-drop");
    scan.line();
    for (name, left) in threads(&scan, &["Uid", "CapEff", "NoNewPrivs", "Seccomp"]) {
        assert_eq!((&left[0][..], &left[2][..], &left[3][..]), ("0 0 0 0", "0", "0"), "{name}");
        assert_ne!(left[1], NONE, "{name}");
    }
    scan.signal(Signal::INT);
    scan.end();
});

lab_test!(who_called_sudo_is_who_scans, |_lab| {
    if user() == "0 0 0 0" {
        return halfopen_lab::skip_without_root("only root in the initial user namespace can become somebody else");
    }
    let said = |uid: &str| {
        let mut scan = halfopen("scan 127.0.0.1 -p 80 -v");
        text(&scan.env("SUDO_UID", uid).env("SUDO_GID", uid).output().unwrap().stderr)
    };
    assert!(said("12345").contains("rights while scanning: user 12345, group 12345; no capabilities; "));
    assert!(said("0").contains("rights while scanning: user 65534, group 65534; no capabilities; "));
});

lab_test!(a_pipe_that_is_open_already_takes_no_rights, |_lab| {
    for output in ["-o jsonl=/dev/stderr", "-o jsonl=/dev/fd/3", "--stats-json /dev/fd/3", "-o jsonl=/dev/stdout"] {
        let line = format!("exec \"$0\" scan 127.0.0.1 -p 80 --show all -v {output} 3>&2");
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &line]).arg(env!("CARGO_BIN_EXE_halfopen")).env_clear().output().unwrap();
        let (said, printed) = (text(&output.stderr), text(&output.stdout));
        assert!(output.status.success() && !said.contains("warning"), "{line}: {said}");
        assert!(said.contains("no files within reach (Landlock"), "{line}: {said}");
        assert_eq!(said.contains("user 0 still"), user() == "0 0 0 0", "{line}: {said}");
        let has = said.contains("\"closed\"") || printed.contains("\"closed\"");
        assert!(has, "{line}: {said}{printed}");
    }
});

/// Scans into files of every form in a directory that only this user can write to. Gives their owners.
fn written_to_a_directory_of(owner: u32) -> Vec<u32> {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(owner), Some(owner)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let base = directory.path().join("out");
    let line = format!("scan 127.0.0.1 -p 80 --show all --output-all {0} --stats-json {0}.stats", base.display());
    let output = halfopen(&line).env("SUDO_UID", "12345").env("SUDO_GID", "12345").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("warning"), "{}", text(&output.stderr));
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 3 && files.iter().all(|file| fs::metadata(file).unwrap().len() > 0), "{files:?}");
    assert!(files.iter().all(|file| file.extension().is_none_or(|end| end != "part")), "{files:?}");
    files.iter().map(|file| fs::metadata(file).unwrap().uid()).collect()
}

lab_test!(results_are_written_whoever_has_to, |lab| {
    if user() == "0 0 0 0" {
        return halfopen_lab::skip_without_root("only root in the initial user namespace can become somebody else");
    }
    // Without an open port a list is empty.
    let _listener = lab.listen("127.0.0.1:80");
    assert!(written_to_a_directory_of(12_345).iter().all(|&owner| owner == 12_345));
    // Root's own, and somebody else's, where root needs a capability.
    assert!(written_to_a_directory_of(0).iter().all(|&owner| owner == 0));
    assert!(written_to_a_directory_of(54_321).iter().all(|&owner| owner == 0));
});
