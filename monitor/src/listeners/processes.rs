//! The processes that are visible: in which network namespace each lives, and which sockets it holds. The details are read only
//! of those that hold a listener. Processes end while they are read; then they are left out.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use procfs::process::Stat;
use procfs::{FromRead, ProcessCGroups};

use super::place;
use super::users::Users;
use super::{Error, NamespaceId, Process};

/// Who is there.
#[derive(Debug)]
pub(super) struct Processes {
    root: PathBuf,
    /// The namespace that we are in.
    pub(super) own: NamespaceId,
    /// Folders through which each namespace can be read.
    pub(super) namespaces: BTreeMap<NamespaceId, Vec<PathBuf>>,
    /// How many processes do not show their files.
    pub(super) hidden: usize,
    holders: HashMap<u64, Vec<i32>>,
    boot: Option<Timestamp>,
}

/// So many folders of a namespace are kept: some process of them will last until the tables were read.
const FOLDERS: usize = 8;
/// No such process (asm-generic/errno-base.h).
const ESRCH: i32 = 3;

impl Processes {
    /// Of a tree like /proc.
    pub(super) fn read(root: &Path) -> Result<Processes, Error> {
        let own = root.join("self");
        let wrong = |path: PathBuf| move |error: io::Error| Error { path, problem: error.to_string() };
        let link = own.join("ns/net");
        let id = namespace(&link).map_err(wrong(link))?;
        let mut processes = Processes {
            root: root.into(),
            own: id,
            namespaces: BTreeMap::from([(id, vec![own])]),
            hidden: 0,
            holders: HashMap::new(),
            boot: boot(root),
        };
        for entry in fs::read_dir(root).map_err(wrong(root.into()))?.flatten() {
            if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                processes.add(pid);
            }
        }
        processes.holders.values_mut().for_each(|pids| pids.sort_unstable());
        Ok(processes)
    }

    fn add(&mut self, pid: i32) {
        let folder = self.folder(pid);
        match sockets(&folder) {
            Ok(inodes) => inodes.into_iter().for_each(|inode| self.hold(inode, pid)),
            // The kernel's own threads show nothing, and have nothing.
            Err(error) if is_gone(&error) || is_kernel(&folder) => return,
            Err(_) => self.hidden += 1,
        }
        if let Ok(id) = namespace(&folder.join("ns/net")) {
            let folders = self.namespaces.entry(id).or_default();
            if folders.len() < FOLDERS {
                folders.push(folder);
            }
        }
    }

    fn hold(&mut self, inode: u64, pid: i32) {
        let pids = self.holders.entry(inode).or_default();
        if pids.last() != Some(&pid) {
            pids.push(pid);
        }
    }

    /// Who holds a socket, the oldest number first.
    pub(super) fn holders(&self, inode: u64, users: &Users) -> Vec<Process> {
        let pids = self.holders.get(&inode).into_iter().flatten();
        pids.filter_map(|&pid| self.process(pid, users)).collect()
    }

    fn process(&self, pid: i32, users: &Users) -> Option<Process> {
        let folder = self.folder(pid);
        let user = users.user(user(&folder)?);
        let name = String::from_utf8_lossy(&fs::read(folder.join("comm")).ok()?).trim_end().to_owned();
        let place = ProcessCGroups::from_file(folder.join("cgroup")).ok().and_then(|groups| place::of(&groups));
        Some(Process { pid, name, command: command(&folder), user, place, started: self.started(&folder) })
    }

    fn started(&self, folder: &Path) -> Option<Timestamp> {
        let ticks = Stat::from_file(folder.join("stat")).ok()?.starttime;
        let after_boot = SignedDuration::from_millis(i64::try_from(ticks * 1000 / procfs::ticks_per_second()).ok()?);
        self.boot?.checked_add(after_boot).ok()
    }

    fn folder(&self, pid: i32) -> PathBuf {
        self.root.join(pid.to_string())
    }
}

/// `net:[4026531992]`.
fn namespace(link: &Path) -> io::Result<NamespaceId> {
    let target = fs::read_link(link)?;
    let number = target.to_str().and_then(|target| target.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
    number.map(NamespaceId).ok_or_else(|| io::Error::other(format!("{} is no namespace", target.display())))
}

/// The inodes of a process's sockets.
fn sockets(folder: &Path) -> io::Result<Vec<u64>> {
    let files = fs::read_dir(folder.join("fd"))?;
    let target = |file: fs::DirEntry| fs::read_link(file.path()).ok();
    Ok(files.flatten().filter_map(target).filter_map(|target| socket(target.to_str()?)).collect())
}

/// `socket:[12345]`.
fn socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn is_gone(error: &io::Error) -> bool {
    // No such file, no such process: which of them depends on the moment.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// Kernel threads have no command line; neither have processes that have ended and were not waited for.
fn is_kernel(folder: &Path) -> bool {
    fs::read(folder.join("cmdline")).is_ok_and(|line| line.is_empty())
}

/// Words as they were given, with spaces between.
fn command(folder: &Path) -> String {
    let bytes = fs::read(folder.join("cmdline")).unwrap_or_default();
    let words = bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// The effective user, from `Uid:` of status: real, effective, saved, file system. The folder's owner would be root for
/// programs that were given rights by their file.
fn user(folder: &Path) -> Option<u32> {
    let status = fs::read(folder.join("status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok().or_else(|| Some(fs::metadata(folder).ok()?.uid()))
}

/// When the machine was started: `btime` of /proc/stat.
fn boot(root: &Path) -> Option<Timestamp> {
    let stat = fs::read_to_string(root.join("stat")).ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}
