//! Who the program is while it scans. Root becomes the person who called it (`sudo`), or nobody, if that user can write
//! what is to be written; else it stays root, without capabilities. In any case capabilities go, from all five sets.
//!
//! In a user namespace where nobody else is known, root is an ordinary user already, and stays what it is.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use halfopen_results::disk;
use rustix::fs::{Access, AtFlags, CWD, Gid, Uid, accessat};
use rustix::process::{geteuid, getgid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::{Account, Keep};

/// The user that owns nothing (systemd.io/UIDS-GIDS).
pub(super) const NOBODY: u32 = 65_534;

/// A user, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Gives up capabilities, and the user's rights where that is root. What is kept for want of a way says so in the account.
pub(crate) fn become_nobody(keep: &Keep) -> Account {
    become_this(caller(env_number), keep)
}

/// The user that root becomes, if it can: whose the files are that a scan has left.
pub(crate) fn becomes() -> Option<u32> {
    geteuid().is_root().then(|| caller(env_number).uid)
}

/// Who the program is and why, where that is root still, although somebody else called it.
pub(crate) fn stays_root(account: &Account) -> Option<&String> {
    account.in_force.first().filter(|_| becomes().is_some_and(|uid| uid != NOBODY))
}

/// Does something as the user that root becomes, who then owns what is made. Whether that could be done; never by somebody else.
pub(crate) fn as_caller(attempt: impl FnOnce() -> bool + Send) -> bool {
    geteuid().is_root() && tried(|| caller(env_number).take().map(|()| attempt())) == Ok(true)
}

pub(super) fn become_this(user: User, keep: &Keep) -> Account {
    let mut account = Account::default();
    let spared = if geteuid().is_root() {
        empty_bounding_set();
        let (told, spared) = change_user(user, keep);
        account.in_force.push(told);
        spared
    } else {
        account.in_force.push(format!("user {}", geteuid().as_raw()));
        CapabilitySet::empty()
    };
    account.note(give_up_capabilities(spared));
    account
}

/// Becomes another user, where that can be, and keeps of the capabilities only these.
pub(super) fn keep_only(kept: CapabilitySet) -> rustix::io::Result<()> {
    let had = capabilities(None)?.permitted;
    if geteuid().is_root() {
        empty_bounding_set();
        set_keep_capabilities(true)?;
        // Where nobody else is known, it stays what it is, with as few capabilities.
        let _ = caller(env_number).take();
    }
    clear_ambient_capability_set()?;
    let kept = kept & had;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
}

/// What no program that is started later can ever have again. It takes CAP_SETPCAP; without it, no_new_privs alone will do.
fn empty_bounding_set() {
    // Numbers rise without a gap; the kernel refuses the first that it does not know.
    for number in 0..u64::BITS {
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_err() {
            break;
        }
    }
}

/// From all sets but the bounding set.
fn give_up_capabilities(spared: CapabilitySet) -> Result<String, String> {
    let failed = |error| format!("capabilities ({error})");
    clear_ambient_capability_set().map_err(failed)?;
    let sets = CapabilitySets { effective: spared, permitted: spared, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed)?;
    match spared.is_empty() {
        true => Ok("no capabilities".into()),
        false => Ok("no capability but CAP_DAC_OVERRIDE, because the results go where only that can write".into()),
    }
}

/// Becomes somebody else, if there is one who will do. What to say of it, and the capabilities that are needed still.
fn change_user(user: User, keep: &Keep) -> (String, CapabilitySet) {
    let writes = &keep.writes;
    match tried(|| user.take().map(|()| all_writable(writes, user.uid) && all_readable(keep.reads()))) {
        Ok(true) => match user.take() {
            Ok(()) => (format!("user {}, group {}", user.uid, user.gid), CapabilitySet::empty()),
            Err(error) => stay(writes, &format!("because it cannot become user {} ({error})", user.uid)),
        },
        Ok(false) => stay(writes, &format!("because user {} cannot {}", user.uid, keep.task())),
        Err(error) => stay(writes, &format!("because it cannot become user {} ({error})", user.uid)),
    }
}

fn stay(writes: &[PathBuf], why: &str) -> (String, CapabilitySet) {
    let bare = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let suffices = tried(|| set_capabilities(None, bare).map(|()| all_writable(writes, 0)));
    let spared = if suffices == Ok(false) { CapabilitySet::DAC_OVERRIDE } else { CapabilitySet::empty() };
    (format!("user 0 still, {why}"), spared)
}

/// Tries something with rights that are a thread's own, in one that is gone afterwards.
fn tried(attempt: impl FnOnce() -> rustix::io::Result<bool> + Send) -> rustix::io::Result<bool> {
    let ended = thread::scope(|scope| scope.spawn(attempt).join());
    ended.unwrap_or(Err(rustix::io::Errno::PERM))
}

/// Who called: an ordinary user, else whom sudo names, else nobody.
fn caller(number: impl Fn(&str) -> Option<u32>) -> User {
    if !getuid().is_root() {
        return User { uid: getuid().as_raw(), gid: getgid().as_raw() };
    }
    match (number("SUDO_UID"), number("SUDO_GID")) {
        (Some(uid), Some(gid)) if uid != 0 => User { uid, gid },
        _ => User { uid: NOBODY, gid: NOBODY },
    }
}

fn env_number(name: &str) -> Option<u32> {
    env::var(name).ok()?.parse().ok()
}

impl User {
    /// The calling thread becomes this user, without any further groups.
    fn take(self) -> rustix::io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    }
}

/// Whether the calling thread, which is this user's, can open all of these, or make them anew and put them in place.
fn all_writable(paths: &[PathBuf], uid: u32) -> bool {
    paths.iter().all(|path| is_writable(path, uid))
}

fn all_readable(paths: &[PathBuf]) -> bool {
    paths.iter().all(|path| accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).is_ok())
}

fn is_writable(path: &Path, uid: u32) -> bool {
    let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS).is_ok();
    let directory = directory_of(path);
    let beside = may(directory, Access::WRITE_OK | Access::EXEC_OK);
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => may(path, Access::WRITE_OK) || disk::inherited(path).is_some(),
        Ok(found) => beside && may(path, Access::WRITE_OK) && is_replaceable(&found, directory, uid),
        Err(_) => beside,
    }
}

/// Whether another file can be put in this one's place: in a directory like /tmp only their owners may.
fn is_replaceable(file: &fs::Metadata, directory: &Path, uid: u32) -> bool {
    let sticky = |found: fs::Metadata| found.mode() & libc::S_ISVTX != 0 && found.uid() != uid && file.uid() != uid;
    !fs::metadata(directory).is_ok_and(sticky)
}

/// The directory that a file is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_directory_is_in_this_one() {
        assert_eq!(directory_of(Path::new("out.xml")), Path::new("."));
        assert_eq!(directory_of(Path::new("/out.xml")), Path::new("/"));
        assert_eq!(directory_of(Path::new("a/b/out.xml")), Path::new("a/b"));
    }

    #[test]
    fn sudo_says_who_called_unless_that_was_root() {
        if !getuid().is_root() {
            return;
        }
        let called = |uid, gid| {
            caller(|name| match name {
                "SUDO_UID" => uid,
                "SUDO_GID" => gid,
                _ => None,
            })
        };
        assert_eq!(called(Some(1000), Some(100)), User { uid: 1000, gid: 100 });
        let nobody = User { uid: NOBODY, gid: NOBODY };
        assert_eq!([called(Some(0), Some(0)), called(None, None), called(Some(7), None)], [nobody; 3]);
    }
}
