//! Whether a scan may be made: by a scope, which also bounds its rate and its hours and has it recorded, or else by a
//! person's word if it is a large one of the public Internet. Nothing leaves the machine before.

mod audit;
mod consent;
mod curfew;
mod expiry;
mod networks;
mod scope;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};

use clap::Args;
use halfopen::{Plan, Rate, ScanBuilder, Settings, Stopper};
use halfopen_results::disk;
use halfopen_results::record::{Authorisation, Header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::failure::{CUT_SHORT, Failure};
use crate::output::account::Account;
use crate::output::text::grouped;
use crate::screen::Screen;
use audit::Log;
pub(crate) use consent::Question;
use curfew::Curfew;
use scope::{Refusal, Scope};

/// By what right it is scanned.
#[derive(Debug, Args)]
#[command(next_help_heading = "Permission")]
pub(crate) struct PermitArgs {
    /// Scan only what this file allows, and record it
    ///
    /// A TOML file: `networks` that may be scanned, `never` to be touched, `max-rate`, `hours` with `time-zone`, `expires`,
    /// `contact` and `reference` of the authorisation. Whatever else is asked for is refused before the first packet; every scan is
    /// recorded in its audit log (`audit-log`, by default beside it). SCOPE.md describes all of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) scope: Option<PathBuf>,

    /// The scope that is configured where a scan goes on: it has to keep to both.
    #[arg(skip)]
    pub(crate) also: Option<PathBuf>,

    /// Do not ask before probing more than 65,536 public addresses without a scope
    ///
    /// For scripts. Without a terminal to ask on, such a scan is refused.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What allows a scan.
#[derive(Debug)]
pub(crate) struct Permit {
    by: By,
    /// The addresses, for the record.
    targets: Vec<String>,
    more_ranges: u64,
    /// Of this scan, in the record.
    scan: u64,
}

#[derive(Debug)]
enum By {
    /// All of these.
    Scopes(Vec<Scope>),
    /// Whoever answers this.
    Answer(Question),
    /// It is small, or not public, or was said on the command line.
    Nobody,
}

/// A scan that has been allowed to begin.
#[derive(Debug, Default)]
pub(crate) struct Session {
    logs: Vec<Log>,
    authorisation: Option<Authorisation>,
    /// When it must end, and why, as people read it.
    end: Option<(Timestamp, String)>,
    curfew: Option<Curfew>,
    account: Option<Map<String, Value>>,
}

/// Ranges of targets in the record.
const RECORDED: usize = 1000;

impl Permit {
    /// What allows the scan of a plan; the error is why nothing does. The question is about the whole of which it may be a
    /// part.
    pub(crate) fn of(args: &PermitArgs, plan: &Plan, question: Option<Question>) -> Result<Permit, Failure> {
        let scopes = scopes(args)?;
        let by = match scopes.is_empty() {
            false => By::Scopes(scopes),
            true => question.filter(|_| !args.yes).map_or(By::Nobody, By::Answer),
        };
        let permit = Permit::new(by, plan);
        let now = Timestamp::now();
        let allows = |scope: &Scope| scope.holds(now).and_then(|()| scope.allows_targets(plan));
        let allowed = permit.scopes().iter().try_for_each(allows);
        allowed.map_err(|refusal| permit.refused(refusal)).map(|()| permit)
    }

    fn new(by: By, plan: &Plan) -> Permit {
        let mut ranges = plan.ranges().map(|range| range.to_string());
        let targets = ranges.by_ref().take(RECORDED).collect();
        Permit { by, targets, more_ranges: ranges.count() as u64, scan: RandomState::new().build_hasher().finish() }
    }

    fn scopes(&self) -> &[Scope] {
        if let By::Scopes(scopes) = &self.by { scopes } else { &[] }
    }

    /// The files in which the scan is recorded.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Path> {
        self.scopes().iter().map(|scope| scope.audit_log.as_path())
    }

    /// What its owner should know in time.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let now = Timestamp::now();
        self.scopes().iter().filter_map(|scope| scope.notice(now)).collect()
    }

    /// Keeps the scan within the scopes' rates, and says so where they bound one that is found while scanning.
    pub(crate) fn bound(&self, scan: ScanBuilder, screen: &Screen) -> Result<ScanBuilder, Failure> {
        let bounds = self.scopes().iter().map(|scope| scope.allows_rate(scan.settings()));
        let bounds = bounds.collect::<Result<Vec<_>, _>>().map_err(|refusal| self.refused(refusal))?;
        let Some(most) = bounds.into_iter().flatten().min().filter(|_| scan.settings().rate == Rate::Auto) else {
            return Ok(scan);
        };
        if scan.settings().max_rate.is_none() {
            screen.note(&format!("the scope allows {} probes/s at most", grouped(most.0)));
        }
        Ok(scan.max_rate(most))
    }

    /// Asks who must be asked, looks at the clock, and records the beginning. From here on the scan takes place.
    pub(crate) fn begin(self, settings: &Settings, targets: u64) -> Result<Session, Failure> {
        let scopes = match self.by {
            By::Scopes(ref scopes) => scopes,
            By::Answer(question) => {
                question.at_rate_of(settings).ask().map_err(Refusal::into_failure)?;
                return Ok(Session::default());
            }
            By::Nobody => return Ok(Session::default()),
        };
        let now = Timestamp::now();
        let ends = scopes.iter().map(|scope| scope.allows_time(now).map(|end| end.map(|end| (end, scope.ending(end)))));
        let ends = ends.collect::<Result<Vec<_>, _>>().map_err(|refusal| self.refused(refusal))?;
        let open = |scope| Log::open(scope, self.scan);
        let mut logs = scopes.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        logs.iter_mut().try_for_each(|log| log.write("start", self.beginning(settings, targets)))?;
        let authorisation = scopes.first().map(Scope::authorisation);
        Ok(Session { logs, authorisation, end: ends.into_iter().flatten().min(), ..Session::default() })
    }

    /// A refusal is recorded, too, where that can be done; it stands in any case.
    fn refused(&self, refusal: Refusal) -> Failure {
        let fields = Map::from_iter([
            ("reason".to_owned(), refusal.what.clone().into()),
            ("targets".to_owned(), self.targets.clone().into()),
            ("more_ranges".to_owned(), self.more_ranges.into()),
        ]);
        let record = |scope: &Scope| Log::open(scope, self.scan)?.write("refused", fields.clone());
        match self.scopes().iter().map(record).fold(Ok(()), Result::and) {
            Err(unrecorded) => refusal.unrecorded(&unrecorded),
            Ok(()) => refusal.into_failure(),
        }
    }

    fn beginning(&self, settings: &Settings, targets: u64) -> Map<String, Value> {
        let rate = |rate: Option<halfopen::Pps>| rate.map(|rate| rate.0);
        let fixed = match settings.rate {
            Rate::Fixed(rate) => json!(rate.0),
            Rate::Max => "max".into(),
            _ => "auto".into(),
        };
        map(json!({
            "targets": self.targets,
            "more_ranges": self.more_ranges,
            "pairs": targets,
            "rate": fixed,
            "max_rate": rate(settings.max_rate),
            "seed": settings.seed,
        }))
    }
}

/// The scopes that a scan has to keep to: that which was named, and that which is configured where it goes on.
fn scopes(args: &PermitArgs) -> Result<Vec<Scope>, Failure> {
    let same = |one: &Path, other: &Path| disk::behind(one).ok() == disk::behind(other).ok();
    let also = args.also.iter().filter(|also| args.scope.as_deref().is_none_or(|scope| !same(scope, also)));
    args.scope.iter().chain(also).map(|path| Scope::read(path)).collect()
}

impl Session {
    /// Says in a scan's header by whose authorisation it is made.
    pub(crate) fn authorise(&self, header: Header) -> Header {
        Header { authorisation: self.authorisation.clone(), ..header }
    }

    /// Has the scan stopped when the scope's hours end; one that will be resumed calls nothing silent.
    pub(crate) fn watch(&mut self, stopper: Stopper, screen: Screen, resumable: bool) -> Result<(), Failure> {
        let Some((end, why)) = self.end.take() else { return Ok(()) };
        let stop = move || {
            screen.warn(&format!("{why}: stopping, and waiting for late replies"));
            if resumable { stopper.suspend() } else { stopper.stop() }
        };
        self.curfew = Some(Curfew::at(end, stop).map_err(Failure::Curfew)?);
        Ok(())
    }

    /// The exit code of a scan that the hours have cut short.
    pub(crate) fn code(&self) -> Option<u8> {
        self.is_cut_short().then_some(CUT_SHORT)
    }

    /// What came of the scan, for the record.
    pub(crate) fn account(&mut self, account: &Account) {
        self.account = Some(map(json!({
            "outcome": account.outcome,
            "elapsed_us": account.elapsed_us,
            "probes": account.probes.total,
            "probes_at_least": account.probes.at_least,
            "hosts": account.hosts,
            "counts": account.counts,
        })));
    }

    /// Records the end. Whoever has no record of it must know.
    pub(crate) fn end(mut self, result: Result<u8, Failure>) -> Result<u8, Failure> {
        let cut_short = self.is_cut_short();
        let mut fields = self.account.take().unwrap_or_else(|| map(json!({ "outcome": "failed" })));
        fields.insert("hours_over".into(), cut_short.into());
        fields.insert("error".into(), result.as_ref().err().map(ToString::to_string).into());
        let recorded = self.logs.iter_mut().map(|log| log.write("end", fields.clone())).fold(Ok(()), Result::and);
        result.and_then(|code| recorded.map(|()| code))
    }

    /// A scan that was complete when they ended is not.
    fn is_cut_short(&self) -> bool {
        let complete = self.account.as_ref().is_some_and(|account| account["outcome"] == "complete");
        !complete && self.curfew.as_ref().is_some_and(Curfew::is_over)
    }
}

impl Refusal {
    fn into_failure(self) -> Failure {
        Failure::Refused { what: self.what, instead: self.instead }
    }

    fn unrecorded(self, failure: &Failure) -> Failure {
        Failure::Refused { what: format!("{} ({failure})", self.what), instead: self.instead }
    }
}

fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}
