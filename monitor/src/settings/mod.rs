//! The file of the monitor, `halfopen.toml`: read as a whole and checked as a whole, so that a file with a mistake in it changes
//! nothing. What is wrong is said with file, line and reason. Each part reads the keys of its own table (`table`).

mod detection;
mod group;
mod metrics;
mod places;
pub mod table;
pub mod values;
mod window;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::alert::Alerting;
use crate::channel::secret::Environment;
use crate::detect::Detection;
use crate::document::{Document, Error};
use crate::hours;
use crate::policy::{self, Policy, Resolve};
use crate::windows::Window;

pub use group::Group;
pub use table::{Placed, Table};

/// All that a file says.
#[derive(Debug)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Where the history is.
    pub store: PathBuf,
    /// What may be scanned.
    pub scope: Option<PathBuf>,
    /// The file that says what is expected.
    pub policy: Option<PathBuf>,
    /// What it says, once it was read.
    pub expected: Option<Policy>,
    /// In which hours, cron lines and messages are.
    pub zone: TimeZone,
    /// Put into messages.
    pub link: Option<String>,
    /// How many scans may run at a time.
    pub parallel: usize,
    /// What is scanned.
    pub groups: Vec<Group>,
    /// When people are not to be disturbed, or changes are expected.
    pub windows: Vec<Window>,
    /// For how long what is kept.
    pub retention: Retention,
    /// Who is told, and by what.
    pub alerting: Alerting,
    /// Where the numbers are, if somewhere.
    pub metrics: Option<crate::metrics::Settings>,
    document: Document,
}

/// For how long what is kept; none for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Scans.
    pub scans: Option<Duration>,
    /// What ports were.
    pub states: Option<Duration>,
    /// Incidents that are over, and the feed of events.
    pub incidents: Option<Duration>,
    /// What was sent.
    pub deliveries: Option<Duration>,
}

/// A year and some weeks, so that the year before can be seen.
const KEPT: Duration = Duration::from_secs(400 * 86_400);
const DELIVERIES_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// Scans share the machine and its network.
const MOST_PARALLEL: u64 = 16;
/// Where the history is, in the directory for state.
const STORE: &str = "monitor.db";

/// Settings that are sound, and what is to be said of them all the same.
#[derive(Debug)]
pub struct Sound {
    /// What the file says.
    pub settings: Settings,
    /// What is dangerous, of no use, or cannot be told yet.
    pub warnings: Vec<String>,
}

/// Reads the file, and looks at all that it names: the same at the start, for a check, and when it is read again.
pub type Load<'a> = &'a dyn Fn() -> Result<Sound, Error>;

/// What somebody else knows of a group: whether `halfopen scan` takes its words. The error is the key and the reason.
pub type Check<'a> = &'a dyn Fn(&Group) -> Result<(), (&'static str, String)>;

impl Settings {
    /// Reads a file. `check` is asked about each group.
    pub fn read(path: &Path, check: Check<'_>) -> Result<Settings, Error> {
        Settings::of(Document::read(path)?, path, check)
    }

    fn of(document: Document, path: &Path, check: Check<'_>) -> Result<Settings, Error> {
        let tables = document.table()?;
        let mut top = Table::new(&document, "settings", 0..0, &tables);
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut file = |key| Ok(top.text(key)?.map(|named: Placed<String>| folder.join(named.value)));
        let (store, scope, policy) = (file("store")?, file("scope")?, file("policy")?);
        let zone = top.parsed("time-zone", hours::zone)?.map_or_else(TimeZone::system, |zone| zone.value);
        let link = top.parsed("link", link)?.map(|link| link.value);
        let parallel = top.number("parallel", 1..MOST_PARALLEL + 1)?.unwrap_or(1);
        let usual = Detection::default();
        let detection = top.table("detection")?.map_or(Ok(usual.clone()), |table| detection::read(table, &usual))?;
        let groups = groups(&mut top, &zone, &detection, check)?;
        let windows = windows(&mut top, &zone, &groups)?;
        let retention = top.table("retention")?.map_or(Ok(Retention::default()), retention)?;
        let metrics = top.table("metrics")?.map(metrics::read).transpose()?;
        // The part that is about these reads its tables by itself.
        ALERTING.iter().for_each(|key| _ = top.value(key));
        top.finish()?;
        let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
        let alerting = Alerting::read_in(document.text(), &zone, folder)
            .and_then(|alerting| Alerting::check_groups(document.text(), &names).map(|()| alerting))
            .map_err(|it| document.wrong(it.place, &it.what))?;
        let store = store.or_else(usual_store).ok_or_else(|| document.wrong(0..0, NO_STORE))?;
        let (path, parallel) = (path.to_owned(), parallel as usize);
        Ok(Settings {
            path,
            store,
            scope,
            policy,
            expected: None,
            zone,
            link,
            parallel,
            groups,
            windows,
            retention,
            alerting,
            metrics,
            document,
        })
    }

    /// Where the history is, by a file of which nothing else need be sound.
    pub fn store_of(path: &Path) -> Result<PathBuf, Error> {
        let document = Document::read(path)?;
        let tables = document.table()?;
        let named = Table::new(&document, "settings", 0..0, &tables).text("store")?;
        let named = named.map(|named| path.parent().unwrap_or(Path::new("")).join(named.value));
        named.or_else(usual_store).ok_or_else(|| document.wrong(0..0, NO_STORE))
    }

    /// Reads the policy, if one is named. Names in it are looked up by `resolve`.
    pub fn read_policy(&mut self, resolve: Resolve<'_>) -> Result<(), policy::Error> {
        let read = self.policy.as_deref().map(|path| Policy::read(path, resolve)).transpose();
        self.expected = read.map_err(|error| match error {
            policy::Error::File(Error::Open { name, source }) => {
                let instead = "`halfopen policy init` drafts one";
                self.wrong("policy", &format!("cannot open {name}: {source}; {instead}")).into()
            }
            other => other,
        })?;
        Ok(())
    }

    /// Looks for the files, variables and programs that channels name. What cannot be told from here is a warning.
    pub fn look(&self, environment: &Environment<'_>) -> Result<Vec<String>, Error> {
        places::check(self, environment)
    }

    /// What is wrong with the value of a key at the top.
    pub fn wrong(&self, key: &str, what: &str) -> Error {
        let tables = self.document.table().unwrap_or_default();
        let value = tables.get(key);
        let written = value.map_or_else(String::new, |value| format!(" = {}", self.document.written(value)));
        self.document.wrong(value.map(toml::Spanned::span).unwrap_or_default(), &format!("{key}{written}: {what}"))
    }

    /// The file again, for whoever looks for more in it.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The group of that name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }
}

const NO_STORE: &str = "store: there is neither STATE_DIRECTORY nor a home for a default; name a file";

/// Tables that are for `alert`.
const ALERTING: [&str; 3] = ["alert", "channel", "dead-man"];

impl Default for Retention {
    fn default() -> Retention {
        Retention { scans: Some(KEPT), states: Some(KEPT), incidents: Some(KEPT), deliveries: Some(DELIVERIES_KEPT) }
    }
}

fn retention(mut table: Table<'_>) -> Result<Retention, Error> {
    let kept = |table: &mut Table<'_>, key, usual| {
        let time = |text: &str| if text == "forever" { Ok(None) } else { values::time(text).map(Some) };
        Ok(table.parsed(key, time)?.map_or(usual, |time| time.value))
    };
    let usual = Retention::default();
    let retention = Retention {
        scans: kept(&mut table, "scans", usual.scans)?,
        states: kept(&mut table, "states", usual.states)?,
        incidents: kept(&mut table, "incidents", usual.incidents)?,
        deliveries: kept(&mut table, "deliveries", usual.deliveries)?,
    };
    table.finish().map(|()| retention)
}

fn groups(top: &mut Table<'_>, zone: &TimeZone, detection: &Detection, check: Check<'_>) -> Result<Vec<Group>, Error> {
    let tables = top.tables("group")?;
    if tables.is_empty() {
        return Err(
            top.lacking("there is no group to watch; give one under [[group]], with name, targets, ports and every")
        );
    }
    let mut names = BTreeMap::new();
    let mut groups = Vec::new();
    for table in tables {
        let place = table.place();
        let group = group::read(table, zone, detection, check)?;
        if names.insert(group.name.clone(), ()).is_some() {
            return Err(top.wrong(place, &format!("there are two groups named {:?}; names must differ", group.name)));
        }
        groups.push(group);
    }
    Ok(groups)
}

fn windows(top: &mut Table<'_>, zone: &TimeZone, groups: &[Group]) -> Result<Vec<Window>, Error> {
    let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
    let now = Timestamp::now();
    top.tables("window")?.into_iter().map(|table| window::read(table, zone, &names, now)).collect()
}

/// A group's name as another table has it.
pub fn known_group(name: &str, names: &[&str]) -> Result<String, String> {
    match names.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("there is no such group; groups: {}", names.join(", "))),
    }
}

fn link(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let sound = rest.is_some_and(|rest| !rest.is_empty() && !text.chars().any(char::is_whitespace));
    sound.then(|| text.to_owned()).ok_or("expected an address of the web such as https://example.org/halfopen")
}

/// As systemd gives it, else as the XDG Base Directory Specification says.
fn usual_store() -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Several are separated by colons.
    let first = |path: PathBuf| path.to_str()?.split(':').next().map(PathBuf::from);
    let systemd = folder("STATE_DIRECTORY").and_then(first);
    let state = || folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    systemd.or_else(|| Some(state()?.join("halfopen"))).map(|folder| folder.join(STORE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
store = "/var/lib/halfopen/monitor.db"
scope = "scope.toml"
policy = "/etc/policy.toml"
time-zone = "UTC"
link = "https://example.org/halfopen"
parallel = 2

[[group]]
name = "dmz"
targets = ["192.0.2.0/28", "www.example.org"]
exclude = ["192.0.2.5"]
ports = ["1-1024", "https"]
every = "5m"
jitter = "10s"
deadline = "1h"
options = ["--max-rate", "1k"]
[group.detection]
open-after = 3

[[group]]
name = "lan"
targets = "10.0.0.0/24"
top-ports = 100
cron = "*/5 8-18 * * Mon-Fri"

[detection]
open-after = 2
close-after = 4

[[window]]
name = "patch night"
kind = "maintenance"
groups = ["dmz"]
hours = ["Sat 22:00-04:00"]

[[window]]
name = "holidays"
kind = "quiet"
from = 2026-12-24
until = "2027-01-02 06:00"

[[window]]
name = "backup"
kind = "quiet"
cron = "0 3 * * *"
lasts = "30m"

[[alert]]
to = ["ops"]

[channel]
ops = { kind = "webhook", url = "https://hooks.example.org/x" }

[retention]
scans = "30d"
states = "forever"
"#;

    fn read(text: &str) -> Result<Settings, String> {
        let check = |group: &Group| match group.options.iter().any(|word| word == "--bad") {
            true => Err(("options", "--bad is no option".to_owned())),
            false => Ok(()),
        };
        Settings::of(Document::new("f", text), Path::new("/etc/halfopen/f"), &check).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_file() {
        let settings = read(WHOLE).unwrap();
        assert_eq!(settings.store, Path::new("/var/lib/halfopen/monitor.db"));
        assert_eq!(settings.scope.as_deref(), Some(Path::new("/etc/halfopen/scope.toml")));
        assert_eq!(settings.policy.as_deref(), Some(Path::new("/etc/policy.toml")));
        assert_eq!((settings.link.as_deref(), settings.parallel), (Some("https://example.org/halfopen"), 2));
        let [dmz, lan] = &settings.groups[..] else { panic!() };
        assert_eq!(
            (&*dmz.name, dmz.schedule.to_string(), dmz.deadline),
            ("dmz", "every 5m".into(), Duration::from_secs(3600))
        );
        assert_eq!((lan.top_ports, lan.schedule.to_string()), (Some(100), "at */5 8-18 * * Mon-Fri".into()));
        let expected = "--exclude 192.0.2.5 --ports 1-1024 --ports https --max-rate 1k -- 192.0.2.0/28 www.example.org";
        assert_eq!(dmz.words().join(" "), expected);
        assert_eq!((dmz.detection.open_after, lan.detection.open_after), (3, 2));
        assert_eq!((dmz.detection.close_after, lan.detection.close_after), (4, 4));
        assert_eq!(lan.words().join(" "), "--top-ports 100 -- 10.0.0.0/24");
        assert_eq!(
            settings.windows.iter().map(|window| &*window.name).collect::<Vec<_>>(),
            ["patch night", "holidays", "backup"]
        );
        let retention = settings.retention;
        assert_eq!(
            (retention.scans, retention.states, retention.incidents),
            (Some(Duration::from_secs(30 * 86_400)), None, Some(KEPT))
        );
        assert_eq!(settings.alerting.channels.len(), 1);
        assert!(settings.group("lan").is_some() && settings.group("wan").is_none());
    }

    /// The file with one line in place of another, and what is said of it.
    fn said(line: &str, instead: &str) -> String {
        assert!(WHOLE.contains(line), "{line}");
        read(&WHOLE.replacen(line, instead, 1)).unwrap_err()
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (line, instead, expected) in [
            (
                "time-zone = \"UTC\"",
                "timezone = \"UTC\"",
                "f:5: settings: no such key: timezone; did you mean time-zone?",
            ),
            (
                "time-zone = \"UTC\"",
                "time-zone = \"Middle-earth\"",
                "f:5: time-zone = \"Middle-earth\": no such time zone",
            ),
            (
                "link = \"https:",
                "link = \"ftp:",
                "f:6: link = \"ftp://example.org/halfopen\": expected an address of the web",
            ),
            ("parallel = 2", "parallel = 0", "f:7: parallel = 0: expected a number from 1 to 16"),
            ("name = \"dmz\"", "", "f:9: [[group]]: name is missing"),
            ("name = \"dmz\"", "name = \"a/b\"", "f:10: name = \"a/b\": expected a name"),
            ("name = \"lan\"", "name = \"dmz\"", "f:21: there are two groups named \"dmz\""),
            ("targets = \"10.0.0.0/24\"", "", "f:21: [[group]]: targets are missing"),
            ("top-ports = 100", "top-ports = 0", "f:24: top-ports = 0: expected a number from 1 to"),
            ("every = \"5m\"", "evry = \"5m\"", "f:14: [[group]]: no such key: evry; did you mean every?"),
            ("every = \"5m\"", "", "f:9: [[group]]: it is never scanned; give every = \"5m\" or a cron line"),
            ("every = \"5m\"", "every = \"5\"", "f:14: every = \"5\": expected a time with its unit"),
            ("every = \"5m\"", "every = \"500ms\"", "f:14: every = \"500ms\": expected at least a second"),
            ("every = \"5m\"", "every = \"5m\"\ncron = \"* * * * *\"", "f:15: cron: there is `every` already"),
            (
                "jitter = \"10s\"",
                "jitter = \"6m\"",
                "f:15: jitter = \"6m\": expected less than the time between two scans, 5m",
            ),
            ("\"--max-rate\", \"1k\"", "\"--bad\"", "f:17: options: --bad is no option"),
            (
                "deadline = \"1h\"",
                "late-after = \"5m\"",
                "f:16: late-after = \"5m\": expected more than the longest time between two scans, 5m",
            ),
            ("cron = \"*/5 8-18", "cron = \"*/5 8-28", "f:25: cron = \"*/5 8-28 * * Mon-Fri\": "),
            ("kind = \"maintenance\"", "kind = \"silent\"", "f:33: kind = \"silent\": expected quiet or maintenance"),
            (
                "groups = [\"dmz\"]",
                "groups = [\"dmz\", \"wan\"]",
                "f:34: groups = \"wan\": there is no such group; groups: dmz, lan",
            ),
            (
                "[[alert]]",
                "[[alert]]\ngroups = [\"wan\"]",
                "f:50: alert: groups = \"wan\": there is no such group; groups: dmz, lan",
            ),
            (
                "hours = [\"Sat 22:00-04:00\"]",
                "hours = [\"Sat 22-04\"]",
                "f:35: hours = \"Sat 22-04\": expected days and hours",
            ),
            (
                "hours = [\"Sat 22:00-04:00\"]",
                "",
                "f:31: [[window]]: when is it open? give hours, from and until, or cron and lasts",
            ),
            (
                "until = \"2027-01-02 06:00\"",
                "until = \"2026-01-02 06:00\"",
                "f:41: until = \"2026-01-02 06:00\": expected a time after `from`",
            ),
            ("until = \"2027-01-02 06:00\"", "", "f:37: [[window]]: from and until go together"),
            ("lasts = \"30m\"", "", "f:43: [[window]]: cron and lasts go together"),
            ("close-after = 4", "close-after = 0", "f:29: close-after = 0: expected a number from 1 to 10"),
            ("close-after = 4", "stable-below = 120", "f:29: stable-below = 120: expected a percentage from 0 to 100"),
            ("close-after = 4", "stable-below = 50", "f:27: stable-below (50) must not be above unstable-above (20)"),
            ("open-after = 3", "open-afer = 3", "f:19: [detection]: no such key: open-afer; did you mean open-after?"),
            (
                "[retention]",
                "[metrics]\nlisten = \"0.0.0.0:9464\"\n[retention]",
                "f:56: listen = \"0.0.0.0:9464\": expected an address of the loopback, such as 127.0.0.1:9464: the numbers",
            ),
            ("[retention]", "[metrics]\n[retention]", "f:55: [metrics]: listen is missing"),
            ("scans = \"30d\"", "scan = \"30d\"", "f:56: [retention]: no such key: scan; did you mean scans?"),
        ] {
            let said = said(line, instead);
            assert!(said.starts_with(expected), "{said}\nexpected: {expected}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        assert!(read("").unwrap_err().starts_with("f:1: settings: there is no group to watch"));
        assert!(read("[[group]\n").unwrap_err().starts_with("f:1: "));
    }
}
