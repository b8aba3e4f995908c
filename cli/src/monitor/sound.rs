//! Whether the monitor's settings are sound: the file itself, and all that it names: scope, secrets, programs, interfaces. The same at
//! the start, for `halfopen watch --check`, and when a running service reads its settings again. What one group's words mean is for
//! `watch::check`, what channels name for `halfopen_monitor`.

use std::env;
use std::path::Path;

use halfopen::Plan;
use halfopen_monitor::document::Error;
use halfopen_monitor::settings::{Group, Settings, Sound};

use super::watch;
use crate::failure::Failure;
use crate::permit::Examined;

/// Reads the file, and looks at what it names.
pub(super) fn read(path: &Path) -> Result<Sound, Error> {
    let settings = watch::read(path)?;
    let mut warnings = settings.look(&|name| env::var(name).ok())?;
    warnings.extend(check_scope(&settings)?);
    warnings.extend(settings.groups.iter().filter_map(interface));
    Ok(Sound { settings, warnings })
}

/// Whether there is a scope where one is named, and it allows what the groups are about.
fn check_scope(settings: &Settings) -> Result<Vec<String>, Error> {
    let Some(path) = &settings.scope else { return Ok(Vec::new()) };
    let scope = Examined::read(path).map_err(|failure| match failure {
        Failure::Open { .. } => settings.wrong("scope", &format!("{failure}; write one, or take the line out")),
        other => Error::Wrong(other.to_string()),
    })?;
    let plans = settings.groups.iter().filter_map(|group| Some((group, watch::plan(group)?.ok()?)));
    let refused = |(group, plan): (&Group, Plan)| {
        let why = scope.refusal(&plan)?;
        Some(settings.wrong("scope", &format!("it does not allow group {}: {why}", group.name)))
    };
    plans.filter_map(refused).next().map_or_else(|| Ok(scope.notices()), Err)
}

/// An interface that is not there now; it may come, as those of tunnels do.
fn interface(group: &Group) -> Option<String> {
    let name = watch::scan_args(group).ok()?.network.interface?;
    let all = halfopen::interfaces().ok()?;
    let is_there = all.iter().any(|interface| interface.name == name);
    (!is_there).then(|| {
        let names: Vec<_> = all.iter().map(|interface| interface.name.as_str()).collect();
        format!("group {}: there is no interface {name} now; there are {}", group.name, names.join(", "))
    })
}
