//! Leaving the network: a process moves into a network namespace that has nothing but a loopback. As root, or, for an
//! ordinary user, as root of a new user namespace (user_namespaces(7)). What fails there is told with its reason, as far as
//! the system gives one away.

use std::ffi::CStr;
use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};

/// What makes this user root inside a new user namespace. Made beforehand, so that entering is nothing but system calls.
#[derive(Debug)]
pub struct Isolation {
    users: String,
    groups: String,
}

impl Isolation {
    /// For the user that this process runs as.
    #[expect(clippy::new_without_default, reason = "it asks the system who runs this process")]
    pub fn new() -> Isolation {
        Isolation {
            users: format!("0 {} 1", rustix::process::geteuid().as_raw()),
            groups: format!("0 {} 1", rustix::process::getegid().as_raw()),
        }
    }

    /// Moves this process, which must have one thread, into a new network namespace; it lasts as long as the process and its
    /// children. Makes nothing but system calls, and so may be used between fork and exec.
    ///
    /// # Errors
    /// The system forbids it; [`forbidden_by`] knows more.
    pub fn enter(&self) -> io::Result<()> {
        if unshare(CloneFlags::CLONE_NEWNET).is_ok() {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
        // user_namespaces(7): an unprivileged process must give up setgroups before it may map its group.
        write_file(c"/proc/self/setgroups", b"deny")?;
        write_file(c"/proc/self/gid_map", self.groups.as_bytes())?;
        write_file(c"/proc/self/uid_map", self.users.as_bytes())
    }
}

/// Moves the calling thread alone into a new network namespace. It takes CAP_SYS_ADMIN.
///
/// # Errors
/// The system forbids it.
pub fn unshare_thread_network() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

fn write_file(path: &CStr, text: &[u8]) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text)?;
    Ok(())
}

/// Switches by which systems forbid unprivileged users a namespace of their own: where it stands, the value that forbids,
/// and what an administrator would do.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
];

/// What forbids this process a network namespace of its own, in words, and what would allow it; none where no switch of the
/// system does (a container's seccomp profile does not tell).
pub fn forbidden_by() -> Option<(String, &'static str)> {
    forbidden_in(|path| fs::read_to_string(format!("/proc/sys/{path}")).ok())
}

fn forbidden_in(read: impl Fn(&str) -> Option<String>) -> Option<(String, &'static str)> {
    let set = |&&(path, value, _): &&(&str, &str, &str)| read(path).is_some_and(|text| text.trim() == value);
    let (path, value, remedy) = SWITCHES.iter().find(set)?;
    Some((format!("{} is {value}", path.replace('/', ".")), remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_forbids_is_named() {
        let system = |set: &'static str, value: &'static str| {
            forbidden_in(move |path| (path == set).then(|| format!("{value}\n"))).map(|(what, _)| what)
        };
        assert_eq!(system("none", "0"), None);
        assert_eq!(system("user/max_user_namespaces", "96343"), None);
        assert_eq!(system("user/max_user_namespaces", "0").as_deref(), Some("user.max_user_namespaces is 0"));
        let debian = system("kernel/unprivileged_userns_clone", "0");
        assert_eq!(debian.as_deref(), Some("kernel.unprivileged_userns_clone is 0"));
        assert!(system("kernel/apparmor_restrict_unprivileged_userns", "1").is_some());
    }
}
