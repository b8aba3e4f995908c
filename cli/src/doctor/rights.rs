//! What this process may do, whence, what that allows, and what a scan would keep of it.

use std::fs;
use std::thread;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::system::uname;
use rustix::thread::CapabilitySet;

use super::finding::{Finding, Grade};
use crate::failure;
use crate::privileges::{self, Keep};

/// What the kernel tells of this process.
#[derive(Debug, Clone, Default)]
struct Told {
    /// /proc/self/status
    status: String,
    /// /proc/self/uid_map
    users: String,
    /// Where a container's runtime left its mark.
    container: bool,
}

pub(super) fn findings() -> Vec<Finding> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let marks = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"];
    let container = marks.iter().any(|mark| fs::metadata(mark).is_ok());
    let told = Told { status: read("/proc/self/status"), users: read("/proc/self/uid_map"), container };
    let mut findings = judge(&told);
    findings.push(packet_sockets(socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop)));
    findings.push(xdp_sockets(socket(AddressFamily::XDP, SocketType::RAW, None).map(drop)));
    findings.push(kernel(&uname().release().to_string_lossy()));
    findings
}

fn judge(told: &Told) -> Vec<Finding> {
    let Some(have) = field(&told.status, "CapEff").and_then(|text| u64::from_str_radix(text, 16).ok()) else {
        return vec![Finding::new(Grade::Unknown, "rights", "/proc/self/status does not tell")];
    };
    let have = CapabilitySet::from_bits_retain(have);
    let mut findings = vec![allows(have, &whence(told), is_first_namespace(&told.users))];
    if told.container {
        let text =
            "this is a container: interfaces, routes and firewall are its own, and what it may do is decided outside";
        findings.push(Finding::new(Grade::Note, "container", text));
    }
    if field(&told.status, "Seccomp").is_some_and(|mode| mode != "0") {
        let text = "system calls are filtered already (seccomp): what else fails may fail because of that";
        findings.push(Finding::new(Grade::Note, "seccomp", text));
    }
    findings
}

fn whence(told: &Told) -> String {
    let root = field(&told.status, "Uid").and_then(|ids| ids.split_whitespace().nth(1)) == Some("0");
    let none = |name| field(&told.status, name).is_none_or(|set| set.bytes().all(|digit| digit == b'0'));
    match (root, none("CapEff"), none("CapAmb")) {
        (true, _, _) if is_first_namespace(&told.users) => "root".into(),
        (true, _, _) => "root of a user namespace".into(),
        (false, true, _) => "an ordinary user".into(),
        (false, false, true) => "an ordinary user with file capabilities".into(),
        (false, false, false) => "an ordinary user with ambient capabilities".into(),
    }
}

/// user_namespaces(7): only the first user namespace has every user in it.
fn is_first_namespace(users: &str) -> bool {
    users.split_whitespace().eq(["0", "0", "4294967295"])
}

fn allows(have: CapabilitySet, whence: &str, first: bool) -> Finding {
    let programs = CapabilitySet::NET_ADMIN | CapabilitySet::BPF | CapabilitySet::PERFMON;
    if !have.contains(CapabilitySet::NET_RAW) {
        let text = format!("{whence}: connect scans only, which are slower and see less (no CAP_NET_RAW)");
        return Finding::new(Grade::Warning, "rights", text).advise(failure::grant());
    }
    match (have.contains(programs), first) {
        (true, true) => Finding::new(Grade::Ok, "rights", format!("{whence}: every kind of link")),
        (true, false) => Finding::new(
            Grade::Note,
            "rights",
            format!("{whence}: SYN scans by packet sockets; XDP takes rights in the initial user namespace"),
        ),
        (false, _) => {
            let text =
                format!("{whence}: SYN scans by packet sockets; XDP wants CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON too");
            Finding::new(Grade::Note, "rights", text).advise("give them for more than 500,000 probes a second")
        }
    }
}

fn packet_sockets(opened: Result<(), Errno>) -> Finding {
    match opened {
        Ok(()) => Finding::new(Grade::Ok, "packet sockets", "can be opened"),
        Err(Errno::PERM | Errno::ACCESS) => {
            Finding::new(Grade::Warning, "packet sockets", "may not be opened: connect scans only").advise("see rights")
        }
        Err(error) => Finding::new(Grade::Warning, "packet sockets", format!("cannot be opened: {error}"))
            .advise("load af_packet (CONFIG_PACKET), or let this sandbox have AF_PACKET"),
    }
}

fn xdp_sockets(opened: Result<(), Errno>) -> Finding {
    match opened {
        Ok(()) => Finding::new(Grade::Ok, "AF_XDP", "sockets can be opened"),
        Err(Errno::AFNOSUPPORT) => Finding::new(Grade::Note, "AF_XDP", "this kernel has none (CONFIG_XDP_SOCKETS)")
            .advise("packet sockets do up to 500,000 probes a second"),
        Err(error) => {
            Finding::new(Grade::Note, "AF_XDP", format!("sockets may not be opened: {error}")).advise("see rights")
        }
    }
}

/// What this release of the kernel has, by the versions in capabilities.md.
fn kernel(release: &str) -> Finding {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let wants = [((5, 18), "xdp_live"), ((5, 11), "receiving by XDP"), ((5, 13), "Landlock"), ((5, 4), "AF_XDP")];
    let lacks: Vec<_> = wants.iter().filter(|(since, _)| version < *since).map(|(_, what)| *what).collect();
    match lacks.is_empty() {
        true => Finding::new(Grade::Ok, "kernel", format!("Linux {release}")),
        false => Finding::new(Grade::Note, "kernel", format!("Linux {release} is too old for {}", lacks.join(", "))),
    }
}

/// What a scan would give up: it is done, in a thread that is gone afterwards.
pub(super) fn confinement() -> Vec<Finding> {
    let keep = Keep::default();
    let account = thread::scope(|scope| {
        let give_up = || privileges::become_nobody(&keep).and(privileges::confine(&keep));
        scope.spawn(give_up).join().unwrap_or_default()
    });
    let mut findings = vec![Finding::new(Grade::Ok, "while scanning", account.in_force.join("; "))];
    let missing = account.missing.join("; ");
    if !missing.is_empty() {
        let text = format!("rights are kept that are not needed: {missing}");
        findings.push(Finding::new(Grade::Warning, "while scanning", text).advise("a newer kernel does better"));
    }
    findings
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::lines;

    const FIRST: &str = "         0          0 4294967295\n";

    fn judged(status: &str, users: &str, container: bool) -> String {
        let findings = judge(&Told { status: status.into(), users: users.into(), container });
        lines(&findings).replace(&failure::grant(), "GRANT")
    }

    #[test]
    fn who_may_what() {
        let status = |uid: u32, effective: &str, ambient: &str| {
            format!("Name:\tx\nUid:\t0\t{uid}\t0\t0\nCapEff:\t{effective}\nCapAmb:\t{ambient}\nSeccomp:\t0\n")
        };
        let (none, all) = ("0000000000000000", "000001ffffffffff");
        assert_eq!(judged(&status(0, all, none), FIRST, false), "ok       rights: root: every kind of link\n");
        assert_eq!(
            judged(&status(1000, none, none), FIRST, false),
            "warning  rights: an ordinary user: connect scans only, which are slower and see less (no CAP_NET_RAW); GRANT\n"
        );
        assert_eq!(
            judged(&status(1000, "0000000000002000", none), FIRST, false),
            "note     rights: an ordinary user with file capabilities: SYN scans by packet sockets; XDP wants \
             CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON too; give them for more than 500,000 probes a second\n"
        );
        assert!(judged(&status(1000, "2000", "2000"), FIRST, false).contains("with ambient capabilities"));
        let inside = judged(&status(0, all, none), "0 1000 1\n", true);
        assert!(inside.contains("note     rights: root of a user namespace: SYN scans by packet sockets"), "{inside}");
        assert!(inside.contains("note     container: "), "{inside}");
        assert_eq!(judged("", FIRST, false), "unknown  rights: /proc/self/status does not tell\n");
    }

    #[test]
    fn a_filter_that_is_there_already() {
        let said = judged("Uid:\t0\t0\t0\t0\nCapEff:\t0\nSeccomp:\t2\n", FIRST, false);
        assert!(said.contains("note     seccomp: system calls are filtered already"), "{said}");
    }

    #[test]
    fn what_kernels_lack() {
        let found = |release| kernel(release).found;
        assert_eq!(found("6.18.44-fc-v445"), "Linux 6.18.44-fc-v445");
        assert_eq!(
            found("5.10.0-28-amd64"),
            "Linux 5.10.0-28-amd64 is too old for xdp_live, receiving by XDP, Landlock"
        );
        assert_eq!(found("5.4.0"), "Linux 5.4.0 is too old for xdp_live, receiving by XDP, Landlock");
        assert_eq!(found("4.19.0").matches(',').count(), 3);
    }

    #[test]
    fn sockets_that_cannot_be_had() {
        assert_eq!(packet_sockets(Ok(())).grade, Grade::Ok);
        assert_eq!(packet_sockets(Err(Errno::PERM)).found, "may not be opened: connect scans only");
        assert!(packet_sockets(Err(Errno::AFNOSUPPORT)).advice.unwrap().contains("CONFIG_PACKET"));
        assert!(xdp_sockets(Err(Errno::AFNOSUPPORT)).found.contains("CONFIG_XDP_SOCKETS"));
    }
}
