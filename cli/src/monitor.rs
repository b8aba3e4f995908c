//! The monitor's commands: a file each. What they have in common is where its database is and how times are typed.

pub(crate) mod alert;
pub(crate) mod changes;
pub(crate) mod database;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod incidents;
pub(crate) mod listeners;
pub(crate) mod policy;
pub(crate) mod runner;
pub(crate) mod scanner;
mod sound;
mod understood;
pub(crate) mod watch;

use std::env;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use halfopen_monitor::settings::Settings;
use halfopen_monitor::{Store, store};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde::Serialize;

use crate::failure::{self, Failure};
use crate::screen;

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The monitor's database; else that of -c, $HALFOPEN_DB, or ~/.local/state/halfopen/monitor.db
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,

    /// The monitor's settings, to find its database
    #[arg(short = 'c', long, visible_alias = "config", value_name = "FILE")]
    settings: Option<PathBuf>,
}

impl StoreArgs {
    /// Which file it is.
    pub(crate) fn path(&self) -> Result<PathBuf, Failure> {
        self.path_by(self.settings.as_deref())
    }

    /// The same, by these settings.
    fn path_by(&self, settings: Option<&Path>) -> Result<PathBuf, Failure> {
        let set = || env::var_os("HALFOPEN_DB").filter(|it| !it.is_empty()).map(PathBuf::from);
        match (&self.db, settings) {
            (Some(db), _) => Ok(db.clone()),
            (None, Some(settings)) => Ok(Settings::store_of(settings)?),
            (None, None) => Ok(set().unwrap_or_else(default_path)),
        }
    }

    /// To look into.
    pub(crate) fn read(&self) -> Result<Store, Failure> {
        Ok(Store::read_only(&self.path()?)?)
    }

    /// To read it as a file, whichever version has written it.
    pub(crate) fn as_it_is(&self) -> Result<Store, Failure> {
        Ok(Store::as_it_is(&self.path()?)?)
    }

    /// To change something.
    pub(crate) fn write(&self) -> Result<Store, Failure> {
        Ok(Store::existing(&self.path()?)?)
    }
}

/// Nothing is known of what was typed: what is.
pub(crate) fn unknown(what: &str, name: &str, known: &[String]) -> Failure {
    /// More would be a wall of text.
    const NAMED: usize = 12;
    let more = known.len().checked_sub(NAMED).filter(|&more| more > 0);
    let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
    let names = known.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let there = if known.is_empty() { "none is known yet".to_owned() } else { format!("known are {names}{more}") };
    Failure::Setting(format!("no {what} is named {name}; {there}"))
}

/// Something is known of a host.
pub(crate) fn check_host(store: &Store, host: IpAddr) -> Result<(), Failure> {
    let known = store::hosts(store.connection())?;
    let names = || Vec::from_iter(known.iter().map(IpAddr::to_string));
    if known.contains(&host) { Ok(()) } else { Err(unknown("watched host", &host.to_string(), &names())) }
}

/// So many rows are held at once.
pub(crate) const PAGE: u32 = 1000;

/// Prints what there is page by page, however much: between two of them the database is let go, so that a reader that takes
/// its time keeps no log of the service from being cleared. How many rows there were.
pub(crate) fn print_pages<T>(
    mut page: impl FnMut() -> Result<Vec<T>, store::Error>,
    text: impl Fn(&[T]) -> String,
) -> Result<usize, Failure> {
    let mut count = 0;
    loop {
        let rows = page()?;
        if rows.is_empty() {
            return Ok(count);
        }
        count += rows.len();
        screen::print(&text(&rows)).map_err(failure::stdout)?;
    }
}

/// A line of JSON each.
pub(crate) fn json<T: Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).unwrap_or_default() + "\n").collect()
}

/// Where the database is if nobody says: the folder that systemd gives a service, else that of the user's state.
pub(crate) fn default_path() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let home = || set("HOME").unwrap_or_default().join(".local/state");
    let service = set("STATE_DIRECTORY");
    service.unwrap_or_else(|| set("XDG_STATE_HOME").unwrap_or_else(home).join("halfopen")).join("monitor.db")
}

/// A time of day, or how long ago: `2026-01-31`, `2026-01-31T12:00Z`, `1d`, `2h30m`.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    let zone = TimeZone::system();
    let ago = || text.parse::<Span>().ok().and_then(|span| Zoned::now().checked_sub(span.abs()).ok());
    let day = || text.parse::<jiff::civil::DateTime>().ok().and_then(|day| day.to_zoned(zone.clone()).ok());
    let moment = text.parse::<Timestamp>().ok().or_else(|| ago().or_else(day).map(|zoned| zoned.timestamp()));
    moment.ok_or_else(|| "expected how long ago, such as 1d or 2h30m, or a time such as 2026-01-31T12:00".into())
}

/// As people read it, in the zone of this machine.
pub(crate) fn shown(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now = Timestamp::now();
        let ago = |text| now.duration_since(moment(text).unwrap()).as_secs();
        assert!((ago("2h30m") - 9000).abs() < 5 && (ago("1h") - 3600).abs() < 5);
        assert_eq!(moment("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        assert!(moment("2026-01-31").is_ok() && moment("2026-01-31T12:00").is_ok());
        assert!(moment("yesterday").unwrap_err().contains("1d"));
    }
}
