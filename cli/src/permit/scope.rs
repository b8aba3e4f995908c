//! The file of a scope: what may be scanned, how fast and when, by whose authorisation. `SCOPE.md` documents it. Checks
//! give the reason of a refusal; whether a scan then takes place is for `permit`.

use std::path::{Path, PathBuf};

use halfopen::{AddressRange, Plan, Pps, Rate, Settings};
use halfopen_results::record::Authorisation;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::{Spanned, Value};

use super::expiry::Expiry;
use super::hours::{self, Hours, Moment};
use super::networks::{self, Networks};
use crate::document::Document;
use crate::failure::Failure;
use crate::output::text::grouped;
use crate::values;

/// What may be scanned, how fast and when.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// The file, as it was named.
    pub(crate) path: PathBuf,
    /// Of the authorisation.
    pub(crate) reference: String,
    /// Whom to ask.
    pub(crate) contact: String,
    /// Where scans are recorded.
    pub(crate) audit_log: PathBuf,
    networks: Networks,
    never: Networks,
    max_rate: Option<Pps>,
    hours: Option<Hours>,
    expires: Option<Expiry>,
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    reference: Spanned<String>,
    contact: Spanned<String>,
    networks: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    never: Vec<Spanned<String>>,
    max_rate: Option<Spanned<Value>>,
    hours: Option<Spanned<Vec<Spanned<String>>>>,
    time_zone: Option<Spanned<String>>,
    expires: Option<Spanned<Value>>,
    audit_log: Option<PathBuf>,
}

/// Why a scan may not be made, and what would mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is not allowed.
    pub(crate) what: String,
    /// What to do instead.
    pub(crate) instead: String,
}

/// Ranges that are named in a refusal.
const NAMED: usize = 8;

impl Scope {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Scope, Failure> {
        let document = Document::read(path)?;
        let written: Written = toml::from_str(document.text()).map_err(|error| document.unreadable(&error))?;
        let networks = networks_of(&document, written.networks.get_ref())?;
        if networks.is_empty() {
            return Err(document.wrong(written.networks.span(), "networks: an empty list allows no scan at all"));
        }
        Ok(Scope {
            path: path.to_owned(),
            reference: not_empty(&document, "reference", written.reference)?,
            contact: not_empty(&document, "contact", written.contact)?,
            audit_log: log_path(path, written.audit_log),
            networks,
            never: networks_of(&document, &written.never)?,
            max_rate: written.max_rate.map(|rate| rate_of(&document, &rate)).transpose()?,
            expires: expiry_of(&document, written.expires.as_ref(), written.time_zone.as_ref())?,
            hours: written.hours.map(|hours| hours_of(&document, &hours, written.time_zone)).transpose()?,
        })
    }

    /// Whether every address of a plan is in scope.
    pub(crate) fn allows_targets(&self, plan: &Plan) -> Result<(), Refusal> {
        let never = self.never.within(plan.ranges());
        let outside = self.networks.beyond(self.never.beyond(plan.ranges()).ranges());
        match never.len().saturating_add(outside.len()) {
            0 => Ok(()),
            count => Err(self.out_of_scope(count, plan.hosts(), &never, &outside)),
        }
    }

    /// The bound for a rate that is found while scanning; a rate that is fixed must be within it.
    pub(crate) fn allows_rate(&self, settings: &Settings) -> Result<Option<Pps>, Refusal> {
        let Some(most) = self.max_rate else { return Ok(None) };
        let above = |rate: Option<Pps>| rate.is_some_and(|rate| rate.0 > most.0);
        let (option, asked) = match settings.rate {
            Rate::Max => ("rate", None),
            Rate::Fixed(rate) if rate.0 > most.0 => ("rate", Some(rate)),
            _ if above(settings.max_rate) => ("max-rate", settings.max_rate),
            _ if above(settings.min_rate) => ("min-rate", settings.min_rate),
            _ => return Ok(Some(settings.max_rate.unwrap_or(most))),
        };
        Err(self.too_fast(option, asked, most))
    }

    /// Whether the scope has not expired.
    pub(crate) fn holds(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.expires.as_ref().filter(|expires| expires.at() <= now) {
            Some(expires) => Err(Refusal {
                what: format!("the scope {} has expired: it held until {}", self.path.display(), expires.text()),
                instead: format!("have it renewed; its contact is {}", self.contact),
            }),
            None => Ok(()),
        }
    }

    /// That it expires soon.
    pub(crate) fn notice(&self, now: Timestamp) -> Option<String> {
        let expires = self.expires.as_ref()?;
        let soon = expires.soon(now)?;
        Some(format!("the scope {} expires {soon} ({})", self.path.display(), expires.text()))
    }

    /// Until when scans may be made, if they may now; none for no end.
    pub(crate) fn allows_time(&self, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        self.holds(now)?;
        let expires = self.expires.as_ref().map(Expiry::at);
        Ok(self.within_hours(now)?.into_iter().chain(expires).min())
    }

    /// Why a scan has to end at that moment.
    pub(crate) fn ending(&self, at: Timestamp) -> String {
        match self.expires.as_ref().filter(|expires| expires.at() == at) {
            Some(expires) => format!("the scope expires ({})", expires.text()),
            None => format!("the scope's hours end at {}", self.local(at)),
        }
    }

    fn within_hours(&self, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        let Some(hours) = &self.hours else { return Ok(None) };
        match hours.at(now) {
            Moment::Open(until) => Ok(until),
            Moment::Closed(next) => Err(Refusal {
                what: format!("the scope {} does not allow scans at {}", self.path.display(), hours.local(now)),
                instead: next.map_or_else(String::new, |next| format!("its next hours begin at {}", hours.local(next))),
            }),
        }
    }

    /// Until when it holds, as it was written.
    pub(crate) fn expires(&self) -> Option<&str> {
        self.expires.as_ref().map(Expiry::text)
    }

    /// By whose authorisation it is scanned.
    pub(crate) fn authorisation(&self) -> Authorisation {
        Authorisation { reference: self.reference.clone(), contact: self.contact.clone() }
    }

    /// A moment, in the time zone of the hours.
    fn local(&self, at: Timestamp) -> String {
        self.hours.as_ref().map_or_else(|| at.to_string(), |hours| hours.local(at))
    }

    fn out_of_scope(&self, count: u128, of: u128, never: &Networks, outside: &Networks) -> Refusal {
        let parts = [(never, "never to be touched"), (outside, "outside its networks")];
        let parts = parts.iter().filter(|(networks, _)| !networks.is_empty());
        let parts: Vec<_> = parts.map(|(networks, why)| format!("{why}: {}", listed(networks))).collect();
        let excluded = never.ranges().chain(outside.ranges()).take(NAMED).map(|range| format!("--exclude {range}"));
        let all = never.ranges().chain(outside.ranges()).nth(NAMED).is_none();
        let file = if all { "" } else { " and so on, or name only what is in scope" };
        Refusal {
            what: format!(
                "the scope {} does not allow {} of {} addresses; {}",
                self.path.display(),
                large(count),
                large(of),
                parts.join("; ")
            ),
            instead: format!("leave them out with {}{file}", excluded.collect::<Vec<_>>().join(" ")),
        }
    }

    fn too_fast(&self, option: &str, asked: Option<Pps>, most: Pps) -> Refusal {
        let asked =
            asked.map_or_else(|| "as fast as this machine can".into(), |rate| format!("{} probes/s", grouped(rate.0)));
        let (path, most) = (self.path.display(), most.0);
        Refusal {
            what: format!("the scope {path} allows {} probes/s at most; --{option} asks for {asked}", grouped(most)),
            instead: format!("--{option} {most}"),
        }
    }
}

fn networks_of(document: &Document, texts: &[Spanned<String>]) -> Result<Networks, Failure> {
    let read = |text: &Spanned<String>| {
        networks::parse(text.get_ref())
            .map_err(|what| document.wrong(text.span(), &format!("{:?}: {what}", text.get_ref())))
    };
    let ranges = texts.iter().map(read).collect::<Result<Vec<AddressRange>, _>>()?;
    Ok(Networks::new(ranges))
}

fn not_empty(document: &Document, name: &str, text: Spanned<String>) -> Result<String, Failure> {
    match text.get_ref().trim() {
        "" => Err(document.wrong(text.span(), &format!("{name}: expected a text that is not empty"))),
        _ => Ok(text.into_inner()),
    }
}

fn rate_of(document: &Document, rate: &Spanned<Value>) -> Result<Pps, Failure> {
    let text = match rate.get_ref() {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    values::pps(&text).map_err(|what| document.wrong(rate.span(), &format!("max-rate = {}: {what}", rate.get_ref())))
}

fn hours_of(
    document: &Document,
    hours: &Spanned<Vec<Spanned<String>>>,
    zone: Option<Spanned<String>>,
) -> Result<Hours, Failure> {
    let wrong =
        |text: &Spanned<String>, what: String| document.wrong(text.span(), &format!("{:?}: {what}", text.get_ref()));
    let Some(zone) = zone else {
        let what = "hours need a time-zone beside them, such as \"Europe/Berlin\", \"UTC\" or \"+02:00\"";
        return Err(document.wrong(hours.span(), what));
    };
    if hours.get_ref().is_empty() {
        return Err(document.wrong(hours.span(), "hours: an empty list allows no scan at all"));
    }
    let window = |text: &Spanned<String>| hours::window(text.get_ref()).map_err(|what| wrong(text, what));
    let windows = hours.get_ref().iter().map(window).collect::<Result<_, _>>()?;
    Ok(Hours::new(windows, hours::zone(zone.get_ref()).map_err(|what| wrong(&zone, what))?))
}

fn expiry_of(
    document: &Document,
    expires: Option<&Spanned<Value>>,
    zone: Option<&Spanned<String>>,
) -> Result<Option<Expiry>, Failure> {
    let Some(expires) = expires else { return Ok(None) };
    let wrong_zone =
        |zone: &Spanned<String>, what| document.wrong(zone.span(), &format!("{:?}: {what}", zone.get_ref()));
    let zone = zone.map(|zone| hours::zone(zone.get_ref()).map_err(|what| wrong_zone(zone, what))).transpose()?;
    let expiry = Expiry::read(expires.get_ref(), &zone.unwrap_or(TimeZone::UTC));
    let wrong = |what| document.wrong(expires.span(), &format!("expires = {}: {what}", expires.get_ref()));
    expiry.map(Some).map_err(wrong)
}

/// Relative to the scope's file; beside it if it says nothing.
fn log_path(scope: &Path, named: Option<PathBuf>) -> PathBuf {
    let folder = scope.parent().unwrap_or(Path::new(""));
    named.map_or_else(|| scope.with_extension("audit.jsonl"), |log| folder.join(log))
}

/// Some of the ranges, and how many more there are.
fn listed(networks: &Networks) -> String {
    let named: Vec<_> = networks.ranges().take(NAMED).map(|range| range.to_string()).collect();
    match networks.ranges().skip(NAMED).count() {
        0 => named.join(", "),
        1 => format!("{}, and 1 more range", named.join(", ")),
        more => format!("{}, and {} more ranges", named.join(", "), grouped(more as u64)),
    }
}

fn large(number: u128) -> String {
    u64::try_from(number).map_or_else(|_| format!("{:.1e}", number as f64), grouped)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use halfopen::Scan;

    use super::*;

    const SCOPE: &str = "reference = \"R-1\"\ncontact = \"soc@example.org\"\nnetworks = [\"127.0.0.0/28\", \"::1\"]\n";

    fn read(more: &str) -> Result<Scope, String> {
        written(&format!("{SCOPE}{more}"))
    }

    fn written(text: &str) -> Result<Scope, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scope.toml");
        fs::write(&path, text).unwrap();
        let shorter = |error: Failure| error.to_string().replace(&*path.to_string_lossy(), "FILE");
        Scope::read(&path).map(|scope| Scope { path: "FILE".into(), ..scope }).map_err(shorter)
    }

    fn plan(targets: &str) -> Plan {
        Plan::builder().targets(targets).unwrap().ports("80").unwrap().build().unwrap()
    }

    #[test]
    fn targets_are_in_scope_or_named() {
        let scope = read("never = [\"127.0.0.1\", \"127.0.0.4/31\"]").unwrap();
        assert_eq!(scope.allows_targets(&plan("127.0.0.2-127.0.0.3 ::1")), Ok(()));
        let refusal = scope.allows_targets(&plan("127.0.0.0/27 ::2")).unwrap_err();
        let what = "the scope FILE does not allow 20 of 33 addresses; never to be touched: 127.0.0.1, 127.0.0.4/31; \
                    outside its networks: 127.0.0.16/28, ::2";
        assert_eq!(refusal.what, what);
        let exclude = "--exclude 127.0.0.1 --exclude 127.0.0.4/31 --exclude 127.0.0.16/28 --exclude ::2";
        assert_eq!(refusal.instead, format!("leave them out with {exclude}"));
    }

    #[test]
    fn long_lists_are_cut() {
        let odd: Vec<_> = (0..20).map(|n| format!("127.0.1.{}", 2 * n)).collect();
        let refusal = read("").unwrap().allows_targets(&plan(&odd.join(" "))).unwrap_err();
        assert!(refusal.what.ends_with("127.0.1.12, 127.0.1.14, and 12 more ranges"), "{}", refusal.what);
        assert!(refusal.instead.ends_with("--exclude 127.0.1.14 and so on, or name only what is in scope"));
    }

    #[test]
    fn the_highest_rate_bounds_every_other() {
        let scope = read("max-rate = \"10k\"").unwrap();
        let allows = |change: fn(halfopen::ScanBuilder) -> halfopen::ScanBuilder| {
            scope.allows_rate(change(Scan::builder(plan("::1"))).settings()).map_err(|refusal| refusal.instead)
        };
        assert_eq!(allows(|scan| scan), Ok(Some(Pps(10_000))));
        assert_eq!(allows(|scan| scan.max_rate(Pps(5))), Ok(Some(Pps(5))));
        assert_eq!(allows(|scan| scan.rate(Rate::Fixed(Pps(10_000)))), Ok(Some(Pps(10_000))));
        assert_eq!(allows(|scan| scan.rate(Rate::Fixed(Pps(10_001)))), Err("--rate 10000".into()));
        assert_eq!(allows(|scan| scan.rate(Rate::Max)), Err("--rate 10000".into()));
        assert_eq!(allows(|scan| scan.max_rate(Pps(10_001))), Err("--max-rate 10000".into()));
        assert_eq!(allows(|scan| scan.min_rate(Pps(10_001))), Err("--min-rate 10000".into()));
        assert_eq!(read("").unwrap().allows_rate(Scan::builder(plan("::1")).rate(Rate::Max).settings()), Ok(None));
    }

    #[test]
    fn hours_are_kept() {
        let scope = read("hours = [\"Mon-Fri 22:00-06:00\"]\ntime-zone = \"+01:00\"").unwrap();
        let at = |text: &str| scope.allows_time(text.parse().unwrap());
        assert_eq!(at("2026-11-20T21:00:00Z"), Ok(Some("2026-11-21T05:00:00Z".parse().unwrap())));
        let refusal = at("2026-11-20T20:59:59Z").unwrap_err();
        assert_eq!(refusal.what, "the scope FILE does not allow scans at Fri 2026-11-20 21:59:59 +01");
        assert_eq!(refusal.instead, "its next hours begin at Fri 2026-11-20 22:00:00 +01");
        assert_eq!(read("").unwrap().allows_time(Timestamp::MIN), Ok(None));
    }

    #[test]
    fn after_its_end_nothing_is_permitted() {
        let scope = read("expires = 2027-01-31\nhours = [\"Sun 20:00-06:00\"]\ntime-zone = \"+01:00\"").unwrap();
        let at = |text: &str| scope.allows_time(text.parse().unwrap());
        // A Sunday: the hours would go on until Monday.
        assert_eq!(at("2027-01-31T22:59:59Z"), Ok(Some("2027-01-31T23:00:00Z".parse().unwrap())));
        assert_eq!(scope.ending("2027-01-31T23:00:00Z".parse().unwrap()), "the scope expires (2027-01-31)");
        let refusal = at("2027-01-31T23:00:00Z").unwrap_err();
        assert_eq!(refusal.what, "the scope FILE has expired: it held until 2027-01-31");
        assert_eq!(refusal.instead, "have it renewed; its contact is soc@example.org");
        assert_eq!(read("").unwrap().holds(Timestamp::MAX), Ok(()));
        let error = read("expires = 5").unwrap_err();
        assert_eq!(
            error,
            "FILE:4: expires = 5: expected a day such as 2027-01-31, or a moment such as 2027-01-31T18:00:00Z"
        );
    }

    #[test]
    fn the_log_is_beside_the_scope() {
        assert_eq!(log_path(Path::new("/etc/a/scope.toml"), None), Path::new("/etc/a/scope.audit.jsonl"));
        assert_eq!(log_path(Path::new("scope.toml"), None), Path::new("scope.audit.jsonl"));
        assert_eq!(log_path(Path::new("/etc/a/scope.toml"), Some("log".into())), Path::new("/etc/a/log"));
        assert_eq!(log_path(Path::new("/etc/a/scope.toml"), Some("/var/log/x".into())), Path::new("/var/log/x"));
    }

    #[test]
    fn bad_files_are_told_with_line_and_remedy() {
        let zone = "no such time zone on this machine; expected a name";
        for (more, said) in [
            ("never = [\"example.org\"]", "FILE:4: \"example.org\": expected an address, a prefix"),
            ("never = [\n\"127.0.0.1\",\n\"127.0.0.1/8\"]", "FILE:6: \"127.0.0.1/8\": there are bits set"),
            ("max-rate = 0", "FILE:4: max-rate = 0: no probe would ever be sent"),
            ("max-rate = \"fast\"", "FILE:4: max-rate = \"fast\": expected probes a second such as 500, 10k or 1.5M"),
            ("hours = [\"Mon\"]", "FILE:4: hours need a time-zone beside them"),
            ("hours = []\ntime-zone = \"UTC\"", "FILE:4: hours: an empty list allows no scan at all"),
            ("hours = [\"Noon\"]\ntime-zone = \"UTC\"", "FILE:4: \"Noon\": expected days and hours"),
            ("hours = [\"Mon\"]\ntime-zone = \"Nowhere/City\"", &format!("FILE:5: \"Nowhere/City\": {zone}")),
            ("max_rate = 3", "FILE:4: unknown field `max_rate`, expected one of"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.starts_with(said), "{more}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let error = written("contact = \"x\"\nnetworks = [\"::1\"]").unwrap_err();
        assert!(error.contains("missing field `reference`"), "{error}");
        let error = written(&SCOPE.replace("R-1", " ")).unwrap_err();
        assert_eq!(error, "FILE:1: reference: expected a text that is not empty");
        let error = written(&SCOPE.replace("\"127.0.0.0/28\", \"::1\"", "")).unwrap_err();
        assert_eq!(error, "FILE:3: networks: an empty list allows no scan at all");
    }
}
