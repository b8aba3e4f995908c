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
use halfopen::{Plan, Pps, Rate, ScanBuilder, Settings};
use halfopen_results::disk;
use halfopen_results::record::Header;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::failure::{CUT_SHORT, Failure};
use crate::halt::Halt;
use crate::output::account::Account;
use crate::output::text::grouped;
use crate::screen::Screen;
use audit::Log;
pub(crate) use consent::Question;
use curfew::Curfew;
use networks::Networks;
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

/// A scope that is looked at without a scan: by whoever checks settings that name it.
#[derive(Debug)]
pub(crate) struct Examined(Scope);

impl Examined {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Examined, Failure> {
        Scope::read(path).map(Examined)
    }

    /// Why it does not allow a plan's addresses, if it does not.
    pub(crate) fn refusal(&self, plan: &Plan) -> Option<String> {
        self.0.allows_targets(plan).err().map(|refusal| refusal.what)
    }

    /// That it has ended, or will soon.
    pub(crate) fn notices(&self) -> Vec<String> {
        let now = Timestamp::now();
        let ended = self.0.holds(now).err().map(|refusal| refusal.what);
        ended.or_else(|| self.0.notice(now)).into_iter().collect()
    }
}

/// What allows a scan.
#[derive(Debug)]
pub(crate) struct Permit {
    by: By,
    /// Addresses for which a word is needed when they are many, unless there is a scope, or the word was said.
    public: Option<Networks>,
    recorded: Recorded,
    targets: u64,
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

/// A scan that has been allowed to begin, and what allows targets that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Session {
    logs: Vec<Log>,
    scopes: Vec<Scope>,
    public: Option<Networks>,
    targets: u64,
    /// When it must end, and why, as people read it.
    end: Option<(Timestamp, String)>,
    curfew: Option<Curfew>,
    account: Option<Map<String, Value>>,
}

/// The addresses of a plan as the record has them.
#[derive(Debug)]
struct Recorded {
    targets: Vec<String>,
    more_ranges: u64,
}

/// Ranges of targets in the record.
const RECORDED: usize = 1000;

impl Recorded {
    fn of(plan: &Plan) -> Recorded {
        let mut ranges = plan.ranges().map(|range| range.to_string());
        let targets = ranges.by_ref().take(RECORDED).collect();
        Recorded { targets, more_ranges: ranges.count() as u64 }
    }

    fn fields(&self) -> Map<String, Value> {
        map(json!({ "targets": self.targets, "more_ranges": self.more_ranges }))
    }
}

impl Permit {
    /// What allows the scan of a plan; the error is why nothing does. The question is about the whole of which it may be a
    /// part.
    pub(crate) fn of(args: &PermitArgs, plan: &Plan, question: Option<Question>) -> Result<Permit, Failure> {
        let scopes = scopes(args)?;
        let public = (scopes.is_empty() && !args.yes).then(|| networks::public(plan.ranges()));
        let by = match scopes.is_empty() {
            false => By::Scopes(scopes),
            true => question.filter(|_| !args.yes).map_or(By::Nobody, By::Answer),
        };
        let (recorded, scan) = (Recorded::of(plan), RandomState::new().build_hasher().finish());
        let permit = Permit { by, public, recorded, targets: plan.len(), scan };
        let now = Timestamp::now();
        let allows = |scope: &Scope| scope.holds(now).and_then(|()| scope.allows_targets(plan));
        let allowed = permit.scopes().iter().try_for_each(allows);
        allowed.map_err(|refusal| permit.refused(refusal)).map(|()| permit)
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
        let most = bound(self.scopes(), scan.settings()).map_err(|refusal| self.refused(refusal))?;
        if let Some(most) = most.filter(|_| scan.settings().max_rate.is_none()) {
            screen.note(&format!("the scope allows {} probes/s at most", grouped(most.0)));
        }
        Ok(most.into_iter().fold(scan, ScanBuilder::max_rate))
    }

    /// Asks who must be asked, looks at the clock, and records the beginning. From here on the scan takes place.
    pub(crate) fn begin(self, settings: &Settings) -> Result<Session, Failure> {
        let targets = self.targets;
        let scopes = match self.by {
            By::Scopes(ref scopes) => scopes,
            By::Answer(question) => {
                question.clone().at_rate_of(settings).ask().map_err(Refusal::into_failure)?;
                return Ok(Session { public: self.public, targets, ..Session::default() });
            }
            By::Nobody => return Ok(Session { public: self.public, targets, ..Session::default() }),
        };
        let now = Timestamp::now();
        let ends = scopes.iter().map(|scope| scope.allows_time(now).map(|end| end.map(|end| (end, scope.ending(end)))));
        let ends = ends.collect::<Result<Vec<_>, _>>().map_err(|refusal| self.refused(refusal))?;
        let open = |scope| Log::open(scope, self.scan);
        let mut logs = scopes.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        logs.iter_mut().try_for_each(|log| log.write("start", self.beginning(settings)))?;
        let (scopes, end) = (scopes.clone(), ends.into_iter().flatten().min());
        Ok(Session { logs, scopes, end, targets, ..Session::default() })
    }

    /// A refusal is recorded, too, where that can be done; it stands in any case.
    fn refused(&self, refusal: Refusal) -> Failure {
        let fields = refusal.fields(&self.recorded);
        let record = |scope: &Scope| Log::open(scope, self.scan)?.write("refused", fields.clone());
        refusal.after(self.scopes().iter().map(record).fold(Ok(()), Result::and))
    }

    fn beginning(&self, settings: &Settings) -> Map<String, Value> {
        let rate = |rate: Option<Pps>| rate.map(|rate| rate.0);
        let fixed = match settings.rate {
            Rate::Fixed(rate) => json!(rate.0),
            Rate::Max => "max".into(),
            _ => "auto".into(),
        };
        let mut fields = self.recorded.fields();
        fields.extend(map(json!({
            "pairs": self.targets,
            "rate": fixed,
            "max_rate": rate(settings.max_rate),
            "seed": settings.seed,
        })));
        fields
    }
}

/// The bound of all scopes for a rate that is found while scanning, if there is one.
fn bound(scopes: &[Scope], settings: &Settings) -> Result<Option<Pps>, Refusal> {
    let bounds = scopes.iter().map(|scope| scope.allows_rate(settings)).collect::<Result<Vec<_>, _>>()?;
    Ok(bounds.into_iter().flatten().min().filter(|_| settings.rate == Rate::Auto))
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
        Header { authorisation: self.scopes.first().map(Scope::authorisation), ..header }
    }

    /// Whether targets that have come in since may be scanned, too; they are recorded before.
    pub(crate) fn admit(&mut self, plan: &Plan, scan: ScanBuilder) -> Result<ScanBuilder, Failure> {
        let recorded = Recorded::of(plan);
        let bound = self.allows(plan, scan.settings()).map_err(|refusal| self.refused(refusal, &recorded))?;
        let mut fields = recorded.fields();
        fields.insert("pairs".into(), plan.len().into());
        self.record("batch", &fields)?;
        Ok(bound.into_iter().fold(scan, ScanBuilder::max_rate))
    }

    /// What a large scan is does not depend on how it comes in.
    fn allows(&mut self, plan: &Plan, settings: &Settings) -> Result<Option<Pps>, Refusal> {
        self.targets = self.targets.saturating_add(plan.len());
        if let Some(public) = &mut self.public {
            *public = Networks::new(public.ranges().chain(networks::public(plan.ranges()).ranges()));
            if let Some(question) = Question::of(public, self.targets) {
                return Err(question.at_rate_of(settings).unanswered());
            }
        }
        self.scopes.iter().try_for_each(|scope| scope.allows_targets(plan))?;
        bound(&self.scopes, settings)
    }

    fn refused(&mut self, refusal: Refusal, recorded: &Recorded) -> Failure {
        let written = self.record("refused", &refusal.fields(recorded));
        refusal.after(written)
    }

    /// In every log, also where one of them fails.
    fn record(&mut self, event: &str, fields: &Map<String, Value>) -> Result<(), Failure> {
        self.logs.iter_mut().map(|log| log.write(event, fields.clone())).fold(Ok(()), Result::and)
    }

    /// Has the scan stopped when the scope's hours end; one that will be resumed calls nothing silent.
    pub(crate) fn watch(&mut self, halt: Halt, screen: Screen, resumable: bool) -> Result<(), Failure> {
        let Some((end, why)) = self.end.take() else { return Ok(()) };
        let stop = move || {
            screen.warn(&format!("{why}: stopping, and waiting for late replies"));
            if resumable { halt.suspend() } else { halt.stop() }
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
        let recorded = self.record("end", &fields);
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

    /// When it has been recorded, or could not be.
    fn after(self, recorded: Result<(), Failure>) -> Failure {
        match recorded {
            Err(failure) => Failure::Refused { what: format!("{} ({failure})", self.what), instead: self.instead },
            Ok(()) => self.into_failure(),
        }
    }

    fn fields(&self, recorded: &Recorded) -> Map<String, Value> {
        let mut fields = recorded.fields();
        fields.insert("reason".into(), self.what.clone().into());
        fields
    }
}

fn map(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}
