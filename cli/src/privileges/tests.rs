//! Gives up rights for real, in a thread that is gone afterwards (they are a thread's own), and tries what was given up.
//! What a running scan has left is tested from outside, in `tests/scans/rights.rs`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::thread;

use halfopen_lab::{lab_test, skip_without_root};
use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, socket};
use rustix::process::{PidfdFlags, getppid, pidfd_open, test_kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_uid};
use tempfile::TempDir;

use super::identity::{NOBODY, User, become_this};
use super::{Account, Keep, become_nobody, confine};

const ICMP: Option<Protocol> = Some(ipproto::ICMP);

fn in_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(body).join()).expect("it ends")
}

/// A directory that this user can write to and others not.
fn directory(uid: u32) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(uid), Some(uid)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

fn keeping(file: &Path) -> Keep {
    Keep { writes: vec![file.into()], ..Keep::default() }
}

fn is_refused<T>(what: &str, tried: io::Result<T>) {
    match tried {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what} is still possible"),
    }
}

lab_test!(what_was_given_up_cannot_be_done, |lab| {
    let listener = lab.listen("127.0.0.1:80");
    let (mine, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let readable = elsewhere.path().join("readable");
    fs::write(&readable, "secret").unwrap();
    let open_before = File::options().append(true).open(&readable).unwrap();
    let result = mine.path().join("out.xml");
    let parent = getppid().unwrap();
    in_a_thread(|| {
        let account = become_nobody(&keeping(&result)).and(confine(&keeping(&result)));
        if !account.missing.is_empty() {
            return skip_without_root(&account.missing.join("; "));
        }
        is_refused("reading /etc/shadow", fs::read("/etc/shadow"));
        is_refused("reading what all may read", fs::read(&readable));
        is_refused("reading another's memory", File::open(format!("/proc/{parent}/mem")));
        is_refused("listing a directory", fs::read_dir("/etc").map(drop));
        is_refused("writing elsewhere", fs::write(elsewhere.path().join("new"), ""));
        is_refused("moving files elsewhere", fs::rename(&readable, elsewhere.path().join("moved")));
        is_refused("running a program", Command::new("/bin/true").status());
        is_refused("a packet socket", socket(AddressFamily::PACKET, SocketType::RAW, None).map_err(Into::into));
        is_refused("a raw socket", socket(AddressFamily::INET, SocketType::RAW, ICMP).map_err(Into::into));
        is_refused("a socket for UDP", std::net::UdpSocket::bind("127.0.0.1:0"));
        is_refused("a connection", TcpStream::connect(listener.local_addr().unwrap()));
        is_refused("listening", TcpListener::bind("127.0.0.1:0"));
        is_refused("a grip on another process", pidfd_open(parent, PidfdFlags::empty()).map_err(Into::into));
        is_refused("a signal to another process", test_kill_process(parent).map_err(Into::into));
        is_refused("being root again", set_thread_uid(rustix::fs::Uid::ROOT).map_err(Into::into));
        let all = CapabilitySet::NET_RAW;
        let sets = CapabilitySets { effective: all, permitted: all, inheritable: CapabilitySet::empty() };
        is_refused("having capabilities again", set_capabilities(None, sets).map_err(Into::into));
        // What was open is, and so is the place for results.
        (&open_before).write_all(b" still").unwrap();
        let part = mine.path().join(".out.xml.part");
        fs::write(&part, "<done/>").unwrap();
        fs::rename(&part, &result).unwrap();
        assert_eq!(fs::read_to_string(&result).unwrap(), "<done/>");
        fs::remove_file(&result).unwrap();
        // Threads have no more rights than the one that started them.
        let started = thread::spawn(move || fs::read("/etc/shadow")).join().unwrap();
        is_refused("reading /etc/shadow in a new thread", started);
    });
    assert_eq!(fs::read_to_string(&readable).unwrap(), "secret still");
});

lab_test!(who_connects_may_connect_and_no_more, |lab| {
    let listener = lab.listen("127.0.0.1:80");
    in_a_thread(|| {
        let keep = Keep { connects: true, ..Keep::default() };
        let account = become_nobody(&keep).and(confine(&keep));
        if !account.missing.is_empty() {
            return skip_without_root(&account.missing.join("; "));
        }
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        is_refused("a raw socket", socket(AddressFamily::INET, SocketType::RAW, ICMP).map_err(Into::into));
        is_refused("a socket for UDP", socket(AddressFamily::INET, SocketType::DGRAM, None).map_err(Into::into));
        is_refused("running a program", Command::new("/bin/true").status());
    });
});

/// Whether this is the machine's own root, who can become anybody.
fn is_root() -> bool {
    let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = rustix::process::geteuid().is_root() && users.split_whitespace().eq(["0", "0", "4294967295"]);
    if !all {
        skip_without_root("only root in the initial user namespace can become somebody else");
    }
    all
}

/// Gives up what is not needed for writing this, writes it, and tells who did and with which capabilities.
fn write_as(user: User, file: &Path) -> (Account, u32, CapabilitySet) {
    in_a_thread(|| {
        let account = become_this(user, &keeping(file));
        let left = capabilities(None).unwrap().effective;
        let account = account.and(confine(&keeping(file)));
        fs::write(file, "found").unwrap();
        (account, fs::metadata(file).unwrap().uid(), left)
    })
}

const SOMEBODY: User = User { uid: 12_345, gid: 12_345 };
const NONE: CapabilitySet = CapabilitySet::empty();

#[test]
fn results_belong_to_whoever_called_where_they_can_write_them() {
    if !is_root() {
        return;
    }
    let directory = directory(SOMEBODY.uid);
    let (account, owner, left) = write_as(SOMEBODY, &directory.path().join("out.json"));
    assert_eq!((owner, left), (SOMEBODY.uid, NONE));
    assert_eq!(account.in_force[0], "user 12345, group 12345");
    // Again, over what is there.
    assert_eq!(write_as(SOMEBODY, &directory.path().join("out.json")).1, SOMEBODY.uid);
}

#[test]
fn where_only_root_can_write_root_writes_without_capabilities() {
    if !is_root() {
        return;
    }
    let directory = directory(0);
    let (account, owner, left) = write_as(SOMEBODY, &directory.path().join("out.json"));
    assert_eq!((owner, left), (0, NONE));
    assert_eq!(account.in_force[0], "user 0 still, because user 12345 cannot write the results");
}

#[test]
fn where_only_capabilities_help_one_is_kept() {
    if !is_root() {
        return;
    }
    // Root's own scan, into somebody's private directory.
    let directory = directory(SOMEBODY.uid);
    let nobody = User { uid: NOBODY, gid: NOBODY };
    let (_, owner, left) = write_as(nobody, &directory.path().join("out.json"));
    assert_eq!((owner, left), (0, CapabilitySet::DAC_OVERRIDE));
}

#[test]
fn roots_file_in_a_directory_for_all_stays_roots() {
    if !is_root() {
        return;
    }
    let directory = directory(0);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let file = directory.path().join("out.json");
    fs::write(&file, "before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    // Anybody may write it, and only root may put another in its place.
    assert_eq!(write_as(SOMEBODY, &file).1, 0);
    assert_eq!(write_as(SOMEBODY, &directory.path().join("new.json")).1, SOMEBODY.uid);
}

#[test]
fn a_device_is_within_reach_and_not_what_is_beside_it() {
    in_a_thread(|| {
        let keep = keeping(Path::new("/dev/full"));
        let account = confine(&keep);
        let written = File::options().write(true).open("/dev/full").and_then(|mut file| file.write_all(b"x"));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        if account.missing.is_empty() {
            is_refused("the device beside it", File::open("/dev/zero"));
        }
    });
    assert!(File::open("/dev/zero").is_ok(), "other threads are as before");
}

#[test]
fn what_is_missing_makes_one_warning() {
    let mut account = Account::default();
    assert_eq!(account.warning(), None);
    account.note(Ok("user 7".into()));
    account.note(Err("files can be opened (this kernel has no Landlock)".into()));
    account.note(Err("all system calls can be made (seccomp: no)".into()));
    assert_eq!(account.told(), "rights while scanning: user 7");
    assert_eq!(
        account.warning().unwrap(),
        "some rights are kept that are not needed: files can be opened (this kernel has no Landlock); \
         all system calls can be made (seccomp: no)"
    );
}
