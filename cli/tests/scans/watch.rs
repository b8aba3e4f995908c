//! `halfopen watch` on a network of its own: the service, its scanner, and what happens when either is disturbed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use halfopen_lab::lab_test;
use halfopen_monitor::Store;
use halfopen_monitor::alert::trial;
use halfopen_monitor::store::{Account, last_scans, open_incidents, outbox};
use halfopen_monitor::wording::Reader;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{halfopen, listeners, text};

const GROUP: &str = "[[group]]\nname = \"here\"\ntargets = [\"127.0.0.1\", \"::1\"]\nports = [\"1-1024\"]\n";

/// A folder with settings.
pub(super) struct Place(TempDir);

impl Place {
    pub(super) fn new(settings: &str) -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write(settings);
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, settings: &str) {
        // Put in place as a whole, as a careful editor does.
        fs::write(self.path("new"), format!("store = \"monitor.db\"\n{settings}")).unwrap();
        fs::rename(self.path("new"), self.path("halfopen.toml")).unwrap();
    }

    pub(super) fn line(&self, more: &str) -> String {
        format!("watch -c {} {more}", self.path("halfopen.toml").display())
    }

    fn scans(&self) -> Vec<Account> {
        last_scans(Store::read_only(&self.path("monitor.db")).unwrap().connection(), None, 100).unwrap()
    }
}

/// A service under way.
pub(super) struct Service {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Service {
    pub(super) fn start(place: &Place) -> Service {
        Service::with(place, |_| {})
    }

    fn with(place: &Place, change: impl Fn(&mut std::process::Command)) -> Service {
        let mut command = halfopen(&place.line(""));
        change(command.stderr(Stdio::piped()));
        let mut child = command.spawn().expect("it starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        Service { child, stderr }
    }

    /// Reads as far as a line with this in it.
    pub(super) fn wait_for(&mut self, what: &str) -> String {
        let mut all = String::new();
        loop {
            let before = all.len();
            assert_ne!(self.stderr.read_line(&mut all).expect("it prints UTF-8"), 0, "it never said {what:?}:\n{all}");
            if all[before..].contains(what) {
                return all;
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Waits for its end.
    pub(super) fn wait(mut self) {
        self.child.wait().unwrap();
    }

    /// Ends it; the rest of what it says, and its exit code.
    pub(super) fn end(mut self) -> (String, Option<i32>) {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

/// The processes that a process has started.
fn children(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    entries.filter(|&pid: &u32| parent(pid) == Some(of)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/stat")).ok()?.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Of these, the guard of the process that scans, or of the one that runs commands.
fn guard(of: u32, kind: &str) -> Option<u32> {
    let is_it = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(kind));
    children(of).into_iter().find(is_it)
}

/// A line of /proc/PID/status.
fn status(pid: u32, name: &str) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    all.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

lab_test!(once_every_group_is_scanned_and_recorded, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!(
        "parallel = 2\n{GROUP}every = \"1h\"\n{}cron = \"0 0 1 1 *\"\n",
        GROUP.replace("here", "there")
    ));
    let output = halfopen(&place.line("--once")).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(" here: scanned in ") && said.contains(" there: scanned in "), "{said}");
    assert_eq!(said.matches(": 4 ports open").count(), 2, "{said}");
    let scans = place.scans();
    assert_eq!(scans.len(), 2);
    assert!(
        scans.iter().all(|scan| scan.outcome == "complete" && scan.open_ports == 4 && scan.probes >= 2048),
        "{scans:?}"
    );
});

lab_test!(once_tells_by_its_code_that_a_scan_failed, |_lab| {
    let settings = "[[group]]\nname = \"nowhere\"\ntargets = \"192.0.2.1\"\nports = \"80\"\nevery = \"1h\"\n";
    let place = Place::new(settings);
    let output = halfopen(&place.line("--once --no-drop")).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: nowhere: the scan failed: ") && said.contains("192.0.2.1"), "{said}");
    let scans = place.scans();
    assert_eq!((scans.len(), &*scans[0].outcome), (1, "failed"));
});

lab_test!(the_policy_is_held_against_what_is_found_and_read_again, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!(
        "policy = \"policy.toml\"\n{GROUP}every = \"1s\"\n[metrics]\nlisten = \"127.0.0.1:9464\"\n"
    ));
    let expect = |open: &str| {
        let rule = format!(
            "version = 1\n[[rule]]\nid = \"us\"\nhosts = [\"127.0.0.1\"]\nopen = [{open}]\nseverity = \"critical\"\n"
        );
        fs::write(place.path("other"), rule).unwrap();
        fs::rename(place.path("other"), place.path("policy.toml")).unwrap();
    };
    // That one is open, as well as others.
    expect("\"tcp/22\"");
    let output = halfopen(&place.line("--once")).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let incidents = open_incidents(Store::read_only(&place.path("monitor.db")).unwrap().connection()).unwrap();
    let [incident] = &incidents[..] else { panic!("{incidents:?}") };
    assert_eq!((incident.trigger.name(), incident.severity.name()), ("policy-violated", "critical"), "{incident:?}");
    let all = "\"tcp/22\", \"tcp/80\", \"tcp/443\"";
    let mut service = Service::start(&place);
    service.wait_for("here: scanned in");
    let violations = "halfopen_policy_violations{host=\"127.0.0.1\",policy=\"us\",severity=\"critical\"} 2\n";
    assert!(numbers().contains(violations), "{}", numbers());
    expect("\"tcp/0\"");
    service.wait_for("policy.toml:5: ");
    service.wait_for("here: scanned in");
    expect(all);
    let said = service.wait_for("resolved: Over after");
    assert!(said.contains("Against policy: "), "{said}");
    assert!(!numbers().contains("halfopen_policy_violations{"));
    let (rest, code) = service.end();
    assert_eq!(code, Some(0), "{rest}");
});

/// What Prometheus would get.
fn numbers() -> String {
    let mut stream = TcpStream::connect("127.0.0.1:9464").expect("the service listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

lab_test!(a_service_scans_on_schedule_reloads_and_ends, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!("{GROUP}every = \"1s\"\n"));
    let mut service = Service::start(&place);
    service.wait_for("here: scanned in");
    service.wait_for("here: scanned in");
    // A second one is told who the first is.
    let other = halfopen(&place.line("")).output().unwrap();
    let said = text(&other.stderr);
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("another halfopen watch (process {})", service.child.id())), "{said}");
    // What is not sound is refused, and what was before goes on.
    place.write("[[group]]\nname = \"here\"\n");
    service.signal(Signal::HUP);
    let said = service.wait_for("the settings before stay in force");
    assert!(said.contains("halfopen.toml:2: [[group]]: targets are missing"), "{said}");
    service.wait_for("here: scanned in");
    // So is what names a file that is not there.
    place.write(&format!("{GROUP}every = \"1s\"\n[channel.ops]\nkind = \"slack\"\nurl-file = \"none\"\n"));
    let said = service.wait_for("halfopen.toml:9: channel.ops: url-file ");
    assert!(said.contains("the settings before stay in force"), "{said}");
    // A change is noticed without a signal.
    place.write(&format!("{}every = \"1s\"\n", GROUP.replace("here", "renamed")));
    service.wait_for("was read again: it has changed");
    service.wait_for("renamed: scanned in");
    let (rest, code) = service.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(place.scans().iter().any(|scan| scan.group == "renamed" && scan.outcome == "complete"));
});

lab_test!(a_scanner_that_is_killed_is_replaced, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!("{GROUP}every = \"1s\"\n"));
    let mut service = Service::start(&place);
    service.wait_for("here: scanned in");
    let guard = guard(service.child.id(), "watch-scanner").expect("it has one");
    let [scanner] = children(guard)[..] else { panic!("the guard has one child") };
    kill_process(Pid::from_raw(scanner.cast_signed()).unwrap(), Signal::KILL).unwrap();
    service.wait_for("the scanner died (killed by signal 9); another one takes its place");
    let said = service.wait_for("here: scanned in");
    assert!(said.contains(": 4 ports open"), "{said}");
    let [other] = children(guard)[..] else { panic!("the guard has one child") };
    assert_ne!(other, scanner);
    let (rest, code) = service.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(!Path::new(&format!("/proc/{guard}")).exists() && !Path::new(&format!("/proc/{other}")).exists());
});

lab_test!(who_kills_the_monitor_ends_its_scans, |_lab| {
    // Slow enough to be under way whenever that is.
    let place = Place::new(&format!("{GROUP}every = \"1h\"\noptions = [\"--rate\", \"10\"]\n"));
    let mut service = Service::with(&place, |_| {});
    let guard = loop {
        if let Some(guard) = guard(service.child.id(), "watch-scanner") {
            break guard;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let scan = loop {
        let scanner = children(guard).first().copied();
        if let Some(scan) = scanner.and_then(|scanner| children(scanner).first().copied()) {
            break scan;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    while Path::new(&format!("/proc/{guard}")).exists()
        && parent(guard).is_some_and(|_| !status(guard, "State:").starts_with('Z'))
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let gone = !Path::new(&format!("/proc/{scan}")).exists() || status(scan, "State:").starts_with('Z');
    assert!(gone, "{}", status(scan, "State:"));
});

lab_test!(the_monitor_keeps_no_rights_and_the_scanner_does, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!("{GROUP}every = \"1h\"\n"));
    let mut service = Service::start(&place);
    service.wait_for("here: scanned in");
    let monitor = service.child.id();
    let guard = guard(monitor, "watch-scanner").expect("it has one");
    assert_eq!(
        (status(monitor, "CapEff:"), status(monitor, "CapPrm:")),
        ("0000000000000000".into(), "0000000000000000".into())
    );
    assert_eq!(status(monitor, "NoNewPrivs:"), "1");
    assert_ne!(status(guard, "CapEff:"), "0000000000000000");
    service.end();
});

/// A channel whose command writes down what it may do, and what it was given.
fn witness(name: &str, place: &Path) -> String {
    let file = place.join(name).display().to_string();
    format!(
        "[channel.{name}]\nkind = \"command\"\nshell = \"grep -E '^(Uid|Cap|NoNewPrivs)' /proc/self/status > {file}.new; \
         cat >> {file}.new; (: < /etc/shadow) 2>/dev/null && echo shadow >> {file}.new; mv {file}.new {file}\"\n"
    )
}

/// What it wrote, once somebody has told the channel.
fn testimony(place: &Path, name: &str) -> String {
    testimony_of(place, name, name)
}

fn testimony_of(place: &Path, name: &str, file: &str) -> String {
    let store = Store::open(&place.join("monitor.db")).unwrap();
    let (channel, now) = (name.parse().unwrap(), Timestamp::now());
    let message = trial(&channel, &Reader { zone: TimeZone::UTC, link: None }, now);
    outbox::enqueue(store.connection(), &channel, &message, now).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match fs::read_to_string(place.join(file)) {
            Ok(text) => return text,
            Err(_) => assert!(Instant::now() < deadline, "the command of {name} was never run"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Who called sudo: somebody else, where there is one.
fn caller() -> u32 {
    let users = fs::read_to_string("/proc/self/uid_map").unwrap();
    if users.split_whitespace().eq(["0", "0", "4294967295"]) { 12_345 } else { 0 }
}

lab_test!(a_new_folder_of_the_store_is_the_callers, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new("");
    fs::write(place.path("halfopen.toml"), format!("store = \"a/b/monitor.db\"\n{GROUP}every = \"1h\"\n")).unwrap();
    let user = caller();
    chown(place.0.path(), Some(user), Some(user)).unwrap();
    let mut once = halfopen(&place.line("--once"));
    let output = once.env("SUDO_UID", user.to_string()).env("SUDO_GID", user.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for name in ["a", "a/b", "a/b/monitor.db"] {
        let made = fs::metadata(place.path(name)).unwrap();
        assert_eq!((name, made.uid(), made.mode() & 0o077), (name, user, 0));
    }
    assert!(!text(&output.stderr).contains("the monitor is user 0"), "{}", text(&output.stderr));
});

lab_test!(what_who_called_sudo_cannot_read_is_read_by_root_who_says_so, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!("scope = \"scope.toml\"\n{GROUP}every = \"1h\"\n"));
    let scope = "reference = \"A 1\"\ncontact = \"soc@example.org\"\nnetworks = [\"127.0.0.0/8\", \"::1\"]\n";
    fs::write(place.path("scope.toml"), scope).unwrap();
    fs::set_permissions(place.path("scope.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let user = caller();
    chown(place.0.path(), Some(user), Some(user)).unwrap();
    let mut once = halfopen(&place.line("--once"));
    let output = once.env("SUDO_UID", user.to_string()).env("SUDO_GID", user.to_string()).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let warning =
        format!("the monitor is user 0 still, because user {user} cannot write the store or read the settings");
    assert!(user == 0 || said.contains(&warning), "{said}");
});

lab_test!(commands_have_no_rights_at_the_start_or_after_a_reload, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new("");
    let folder = place.0.path().to_owned();
    let settings = format!("{GROUP}every = \"1h\"\n{}", witness("early", &folder));
    place.write(&settings);
    drop(Store::open(&place.path("monitor.db")).unwrap());
    let user = caller();
    for path in [folder.clone(), place.path("monitor.db")] {
        chown(path, Some(user), Some(user)).unwrap();
    }
    let mut service = Service::with(&place, |command| {
        command.env("SUDO_UID", user.to_string()).env("SUDO_GID", user.to_string()).env("PATH", "/usr/bin:/bin");
    });
    service.wait_for("here: scanned in");
    let check = |said: &str| {
        assert!(said.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}\n")), "{said}");
        assert_eq!(said.matches("\t0000000000000000\n").count(), 5, "{said}");
        assert!(said.contains("NoNewPrivs:\t1\n") && said.contains("\"type\":\"test\""), "{said}");
        assert!(user == 0 || !said.contains("shadow"), "{said}");
    };
    check(&testimony(&folder, "early"));
    place.write(&format!("{settings}{}", witness("late", &folder)));
    service.wait_for("was read again");
    check(&testimony(&folder, "late"));
    // One that dies is replaced, and ends with the monitor.
    let guard = guard(service.child.id(), "watch-runner").expect("it has one");
    let [runner] = children(guard)[..] else { panic!("the guard has one child") };
    kill_process(Pid::from_raw(runner.cast_signed()).unwrap(), Signal::KILL).unwrap();
    service.wait_for("the process that runs commands died (killed by signal 9); another one takes its place");
    fs::remove_file(folder.join("early")).unwrap();
    check(&testimony(&folder, "early"));
    let (rest, code) = service.end();
    assert_eq!(code, Some(0), "{rest}");
    assert!(!Path::new(&format!("/proc/{guard}")).exists());
});

lab_test!(who_kills_the_monitor_ends_its_commands, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new("");
    let begun = place.path("begun");
    let channel = format!(
        "[channel.ops]\nkind = \"command\"\ntimeout = \"10m\"\nshell = \"echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600\"\n",
        begun.display()
    );
    place.write(&format!("{GROUP}every = \"1h\"\n{channel}"));
    let mut service = Service::with(&place, |command| _ = command.env("PATH", "/usr/bin:/bin"));
    service.wait_for("here: scanned in");
    let said = testimony_of(place.0.path(), "ops", "begun");
    let command: u32 = said.trim().parse().unwrap();
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    // Nobody says anything any more: all that it has started is gone.
    service.stderr.read_to_string(&mut String::new()).unwrap();
    assert!(!Path::new(&format!("/proc/{command}")).exists() || status(command, "State:").starts_with('Z'));
});

lab_test!(systemd_is_told, |lab| {
    let _listeners = listeners(lab);
    let place = Place::new(&format!("{GROUP}every = \"1h\"\n"));
    let socket = UnixDatagram::bind(place.path("notify")).unwrap();
    let mut service = Service::with(&place, |command| {
        command.env("NOTIFY_SOCKET", place.path("notify")).env("WATCHDOG_USEC", "200000").env("JOURNAL_STREAM", "8:1");
    });
    let heard = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        text(&buffer[..length])
    };
    let wait_for = |what: &str| while !heard().starts_with(what) {};
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    assert!(service.wait_for("here: scanned in").contains("<6>here: scanned in"));
    service.signal(Signal::HUP);
    wait_for("RELOADING=1\nMONOTONIC_USEC=");
    wait_for("READY=1");
    wait_for("STATUS=1 group; next: here at ");
    assert_eq!(service.end().1, Some(0));
    wait_for("STOPPING=1");
});
