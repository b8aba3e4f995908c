//! Gives up rights. Once a scan has opened what it takes, it only sends, receives and writes what it found: what it no
//! longer needs for that, whoever sends it a malicious reply cannot have either.
//!
//! | what | whose business | takes effect |
//! |---|---|---|
//! | user and groups, capabilities | `identity` | in [`become_nobody`] |
//! | no_new_privs | here | in [`confine`] |
//! | files, TCP (Landlock) | `files` | in [`confine`] |
//! | system calls (seccomp) | `syscalls` | in [`confine`] |
//!
//! Files for results are opened between the two: they belong to whoever the program has become, and are opened before
//! their names go out of reach.
//!
//! While targets may still come in, two threads beside the scan keep some: one reads and resolves ([`become_reader`]), one opens
//! what the next batch takes ([`become_opener`]). Neither reads a packet. As threads share their memory, that is no wall against
//! who has taken over the program, but none of the code that packets reach has those rights.
//!
//! Who has to start programs has another process for it, started before (`then::runner`, `monitor::runner`).
//!
//! All of it holds for the calling thread and for those that it starts afterwards, so it is done while there is no other.
//! What the kernel cannot do is no failure; [`Account`] says what came of it.

mod files;
mod identity;
mod syscalls;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rustix::process::{getegid, geteuid, getgid, getuid};
use rustix::thread::{CapabilitySet, set_no_new_privs};

use crate::failure::Failure;

pub(crate) use identity::{as_caller, become_nobody, becomes, stays_root};

/// A program that is set-user-ID or set-group-ID would read and write files, and run commands, for anybody as its owner.
pub(crate) fn check_lent() -> Result<(), Failure> {
    let is_lent = getuid() != geteuid() || getgid() != getegid();
    let instead = "take that off (chmod ug-s), and for SYN scans grant what they take (setcap cap_net_raw+ep)";
    let refused =
        || Failure::Setting(format!("the program is set-user-ID, which would lend its owner's rights; {instead}"));
    if is_lent { Err(refused()) } else { Ok(()) }
}

/// What the program still has to do when it has given up the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keep {
    /// Files that are written: opened, replaced under their names, or made anew beside them under another name.
    pub(crate) writes: Vec<PathBuf>,
    /// Files beside which others are made if that takes no more rights.
    pub(crate) beside: Vec<PathBuf>,
    /// Makes TCP connections of its own.
    pub(crate) connects: bool,
    /// Is a service: reads what its user can read, these files among it, and makes what system calls it likes.
    pub(crate) service: Option<Vec<PathBuf>>,
}

/// What came of it, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// What is in force.
    pub(crate) in_force: Vec<String>,
    /// What this system cannot do.
    pub(crate) missing: Vec<String>,
}

impl Account {
    /// Both together.
    pub(crate) fn and(mut self, other: Account) -> Account {
        self.in_force.extend(other.in_force);
        self.missing.extend(other.missing);
        self
    }

    fn note(&mut self, what: Result<String, String>) {
        match what {
            Ok(text) => self.in_force.push(text),
            Err(text) => self.missing.push(text),
        }
    }

    /// What is said when it was asked for.
    pub(crate) fn told(&self) -> String {
        format!("rights while scanning: {}", self.in_force.join("; "))
    }

    /// What is said where more is kept than would be needed.
    pub(crate) fn warning(&self) -> Option<String> {
        let missing = self.missing.join("; ");
        (!missing.is_empty()).then(|| format!("some rights are kept that are not needed: {missing}"))
    }
}

impl Keep {
    /// What somebody else must be able to do.
    fn task(&self) -> &'static str {
        if self.service.is_some() {
            "write the store or read the settings and what they name"
        } else {
            "write the results"
        }
    }

    fn reads(&self) -> &[PathBuf] {
        self.service.as_deref().unwrap_or_default()
    }
}

/// Confines what is left of the program: no rights by way of other programs, and no files, connections and system calls
/// but those that are needed.
pub(crate) fn confine(keep: &Keep) -> Account {
    let mut account = Account::default();
    account.note(seal());
    account.note(files::confine(keep));
    if keep.service.is_none() {
        account.note(syscalls::confine(keep.connects));
    }
    account
}

/// For the process that runs the commands of a service: the service's user, no capability, and no way to any other right. What
/// ordinary programs of that user can do, they can.
pub(crate) fn become_runner(keep: &Keep) -> Account {
    let mut account = become_nobody(keep);
    account.note(seal());
    account
}

fn seal() -> Result<String, String> {
    let sealed = set_no_new_privs(true).map_err(|error| format!("new ones can be had (no_new_privs: {error})"));
    sealed.map(|()| "no new ones (no_new_privs)".into())
}

/// What opening sockets, rings and programs takes (`capabilities.md` says which needs what).
const OPENING: CapabilitySet = CapabilitySet::NET_RAW
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::IPC_LOCK);

/// For the thread that opens what is scanned later: those rights, if it has them, and no others. What this system cannot take
/// away stays; the thread reads no packet.
pub(crate) fn become_opener() {
    beside(OPENING);
}

/// For the thread that reads targets and resolves names while the scan runs: no rights but an ordinary user's to read.
pub(crate) fn become_reader() {
    beside(CapabilitySet::empty());
}

/// What both come to, in words.
pub(crate) fn beside_the_scan() -> Account {
    let told =
        "for targets to come, one thread that reads no packet may open what they take, and one reads and resolves them";
    Account { in_force: vec![told.into()], missing: Vec::new() }
}

fn beside(kept: CapabilitySet) {
    // Without effect where it fails: then there is less to be given up, or no way to.
    let _ = identity::keep_only(kept);
    let _ = set_no_new_privs(true);
    let _ = files::write_nothing();
}
