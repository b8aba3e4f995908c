//! Which files are within reach: by Landlock, those that results are written to, and what is beside them, because a
//! document is made under another name and put in place. Nothing else can be opened, neither for reading; what is open
//! stays open. Where the kernel can, TCP connections and signals to others go, too.
//!
//! Landlock is taken as far as the kernel has it (5.13; TCP 6.7, signals 6.12).

use std::fs;
use std::path::{Path, PathBuf};

use halfopen_results::disk;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::Keep;
use super::identity::directory_of;

/// What is taken away if the kernel can; what a newer one could besides stays.
const KNOWN: ABI = ABI::V6;

/// Confines the calling thread.
pub(super) fn confine(keep: &Keep) -> Result<String, String> {
    match restrict(keep) {
        Ok(RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. }) => {
            Err("files can be opened (this kernel has no Landlock; Linux 5.13 and later have it)".into())
        }
        Ok(status) => Ok(told(keep, status.landlock)),
        Err(error) => Err(format!("files can be opened (Landlock: {error})")),
    }
}

/// Takes away from the calling thread the writing of files; what it has open stays.
pub(super) fn write_nothing() -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default().handle_access(AccessFs::from_write(KNOWN))?.create()?.restrict_self()
}

fn told(keep: &Keep, landlock: LandlockStatus) -> String {
    let which = if named(keep).next().is_none() { "no files".into() } else { list(keep) };
    match landlock {
        LandlockStatus::Available { effective_abi, .. } => {
            format!("{which} within reach (Landlock {})", effective_abi as i32)
        }
        _ => format!("{which} within reach (Landlock)"),
    }
}

fn list(keep: &Keep) -> String {
    let names: Vec<_> = named(keep).map(|path| reach(path).0.display().to_string()).collect();
    format!("no files but in {}", names.join(", "))
}

fn restrict(keep: &Keep) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?;
    if !keep.connects {
        rules = rules.handle_access(AccessNet::from_all(KNOWN))?;
    }
    let mut created = rules.scope(Scope::from_all(KNOWN))?.create()?;
    if keep.service.is_some()
        && let Ok(root) = PathFd::new("/")
    {
        created = created.add_rule(PathBeneath::new(root, AccessFs::from_read(KNOWN)))?;
    }
    for path in named(keep) {
        let (place, access) = reach(path);
        // What is not there cannot be opened, and whoever opens it says so better.
        if let Ok(open) = PathFd::new(place) {
            created = created.add_rule(PathBeneath::new(open, access))?;
        }
    }
    created.restrict_self()
}

/// The files that can be reached by a name. The others are open already, or cannot be: no rule of Landlock can name them.
fn named(keep: &Keep) -> impl Iterator<Item = &PathBuf> {
    keep.writes.iter().chain(&keep.beside).filter(|path| !disk::is_nameless(path))
}

/// What is to be within reach for the sake of this file: its directory, or a device or pipe itself.
fn reach(path: &Path) -> (&Path, BitFlags<AccessFs>) {
    let use_it = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    if is_special {
        return (path, use_it);
    }
    let make_it = AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::ReadDir;
    (directory_of(path), use_it | make_it)
}
