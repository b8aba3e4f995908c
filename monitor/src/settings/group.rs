//! A group: targets that are scanned together, and when. What its words mean is for `halfopen scan`, which gets them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Check, Placed, Table, detection, values};
use crate::detect::Detection;
use crate::document::Error;
use crate::schedule::{Schedule, Times};

/// Targets that are scanned together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What people call it.
    pub name: String,
    /// As `halfopen scan` takes them, as are the next five.
    pub targets: Vec<String>,
    /// What is left out.
    pub exclude: Vec<String>,
    /// Ports.
    pub ports: Vec<String>,
    /// How many of the ranked ports.
    pub top_ports: Option<u64>,
    /// Ports that are left out.
    pub exclude_ports: Vec<String>,
    /// Further options.
    pub options: Vec<String>,
    /// When it is scanned.
    pub schedule: Schedule,
    /// A scan that takes longer hangs.
    pub deadline: Duration,
    /// How sure one must be of a change.
    pub detection: Detection,
    late_after: Option<Duration>,
}

/// A scan more often than that is never idle.
const SHORTEST: Duration = Duration::from_secs(1);
/// Nobody waits longer than that for a scan that has no deadline of its own.
const USUAL_DEADLINE: Duration = Duration::from_secs(6 * 3600);
/// What is late by more than a scan's own time, and by less than anybody would wait.
const MARGIN: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(6 * 3600));
const MOST_TOP_PORTS: u64 = 10_000;

impl Group {
    /// Without a scan for that long, somebody is told: as it is set, or the longest time between two scans, and some more.
    pub fn late_after(&self, now: Timestamp) -> Duration {
        let (least, most) = MARGIN;
        let margin = |gap: Duration| gap.saturating_add(gap.clamp(least, most));
        self.late_after.unwrap_or_else(|| margin(self.schedule.longest_gap(now)))
    }

    /// The words for `halfopen scan`, targets last.
    pub fn words(&self) -> Vec<String> {
        self.options_then(&self.ports).chain(["--".into()]).chain(self.targets.iter().cloned()).collect()
    }

    /// The same for some of its targets only, which are read from standard input.
    pub fn words_for_some(&self) -> Vec<String> {
        let input = ["--input", "-"].map(String::from);
        let without = Group { top_ports: None, ..self.clone() };
        without.options_then(&[]).chain(input).collect()
    }

    fn options_then(&self, ports: &[String]) -> impl Iterator<Item = String> + use<> {
        let each = |option: &'static str, values: &[String]| {
            values.iter().flat_map(|value| [option.to_owned(), value.clone()]).collect::<Vec<_>>()
        };
        let top = self.top_ports.map(|count| ["--top-ports".to_owned(), count.to_string()]);
        let options = self.options.clone();
        let (exclude, ports) = (each("--exclude", &self.exclude), each("--ports", ports));
        let without = each("--exclude-ports", &self.exclude_ports);
        exclude.into_iter().chain(ports).chain(top.into_iter().flatten()).chain(without).chain(options)
    }
}

/// Reads one.
pub(super) fn read(mut table: Table<'_>, zone: &TimeZone, usual: &Detection, check: Check<'_>) -> Result<Group, Error> {
    let name = table.parsed("name", values::name)?.ok_or_else(|| table.lacking("name is missing"))?.value;
    let targets = Placed::values(table.texts("targets")?);
    if targets.is_empty() {
        return Err(table.lacking("targets are missing; give addresses, networks or names, as for halfopen scan"));
    }
    let exclude = Placed::values(table.texts("exclude")?);
    let ports = Placed::values(table.texts("ports")?);
    let top_ports = table.number("top-ports", 1..MOST_TOP_PORTS + 1)?;
    let exclude_ports = Placed::values(table.texts("exclude-ports")?);
    let options = Placed::values(table.texts("options")?);
    let schedule = schedule(&mut table, zone)?;
    let deadline = table.time("deadline")?.unwrap_or(USUAL_DEADLINE);
    let late_after = late_after(&mut table, &schedule)?;
    let detection = table.table("detection")?.map_or(Ok(usual.clone()), |table| detection::read(table, usual))?;
    let group = Group {
        name,
        targets,
        exclude,
        ports,
        top_ports,
        exclude_ports,
        options,
        schedule,
        deadline,
        detection,
        late_after,
    };
    check(&group).map_err(|(key, what)| table.wrong(table.place_of(key), &format!("{key}: {what}")))?;
    table.finish().map(|()| group)
}

/// Sooner than the next scan is due, none can be late.
fn late_after(table: &mut Table<'_>, schedule: &Schedule) -> Result<Option<Duration>, Error> {
    let gap = schedule.longest_gap(Timestamp::now());
    let late = table.parsed("late-after", |text| match values::time(text)? {
        time if time <= gap => {
            Err(format!("expected more than the longest time between two scans, {}", values::told(gap)))
        }
        time => Ok(time),
    })?;
    Ok(late.map(|late| late.value))
}

fn schedule(table: &mut Table<'_>, zone: &TimeZone) -> Result<Schedule, Error> {
    let every = table.parsed("every", |text| match values::time(text)? {
        time if time < SHORTEST => Err("expected at least a second".to_owned()),
        time => Ok(time),
    })?;
    let now = Timestamp::now();
    let cron = table.parsed("cron", |text| Times::new(text, zone.clone(), now))?;
    let schedule = match (every, cron) {
        (Some(every), None) => Schedule::every(every.value),
        (None, Some(cron)) => Schedule::cron(cron.value),
        (Some(_), Some(cron)) => {
            return Err(table.wrong(cron.place, "cron: there is `every` already; one of them goes"));
        }
        (None, None) => return Err(table.lacking("it is never scanned; give every = \"5m\" or a cron line")),
    };
    let period = schedule.period(now);
    let jitter = table.parsed("jitter", |text| match values::time(text)? {
        time if time >= period => {
            Err(format!("expected less than the time between two scans, {}", values::told(period)))
        }
        time => Ok(time),
    })?;
    Ok(jitter.map_or_else(|| schedule.clone(), |jitter| schedule.clone().jitter(jitter.value)))
}
