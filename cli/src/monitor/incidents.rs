//! `halfopen incidents`, `ack`, `mute`, `resolve`: what is going on, and what people say of it. What they say is passed on
//! by the service.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use halfopen_monitor::docket::Docket;
use halfopen_monitor::incident::{Incident, IncidentId};
use halfopen_monitor::message::Occasion;
use halfopen_monitor::store;
use halfopen_monitor::wording::{said as said_by, title};
use jiff::Timestamp;

use super::{PAGE, StoreArgs, json, moment, print_pages, shown};
use crate::failure::{self, DONE, Failure};
use crate::{screen, values};

const INCIDENTS_HELP: &str = "\
Examples:
  halfopen incidents
  halfopen incidents --since 7d --json

Exit codes: 0 nothing is going on, 5 something is (as `halfopen watch --once`), 1 runtime error, 2 usage error.";

const ACK_HELP: &str = "\
Examples:
  halfopen ack 17
  halfopen ack 17 --by alex --note 'looking into it'
  halfopen ack 17-46

Whoever was told of the incident is told that somebody takes care of it, and is not reminded any more.

Exit codes: 0 done, 1 runtime error, 2 usage error (no open incident of that number is one).";

const MUTE_HELP: &str = "\
Examples:
  halfopen mute 17 --for 4h

Nobody is told anything of the incident for so long, not even that it is over. Programs that were told of it (Alertmanager,
PagerDuty, webhooks, commands) are told that it is over.

Exit codes: 0 done, 1 runtime error, 2 usage error (no open incident of that number is one).";

const RESOLVE_HELP: &str = "\
Examples:
  halfopen resolve 17
  halfopen resolve 17 --why 'the new mail server, ticket 4711'

What the incident is about counts as normal from now on: only the next change is news.

Exit codes: 0 done, 1 runtime error, 2 usage error (no open incident of that number is one).";

/// `halfopen incidents`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = INCIDENTS_HELP)]
pub(crate) struct IncidentsArgs {
    /// Those that ended after this, too: how long ago (1d), or a time (2026-01-31T12:00)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,

    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// `halfopen ack`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = ACK_HELP)]
pub(crate) struct AckArgs {
    /// Its number; of several, their numbers, or the first and the last: 17-46
    #[arg(value_name = "INCIDENT", required = true, num_args = 1..)]
    incidents: Vec<Numbers>,

    /// Who takes care of it; else the user's name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    /// What there is to say
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,

    #[command(flatten)]
    store: StoreArgs,
}

/// `halfopen mute`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = MUTE_HELP)]
pub(crate) struct MuteArgs {
    /// Its number; of several, their numbers, or the first and the last: 17-46
    #[arg(value_name = "INCIDENT", required = true, num_args = 1..)]
    incidents: Vec<Numbers>,

    /// For how long: 30m, 4h
    #[arg(long = "for", value_name = "TIME", value_parser = values::time, default_value = "4h")]
    time: Duration,

    /// Who says so; else the user's name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    #[command(flatten)]
    store: StoreArgs,
}

/// `halfopen resolve`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = RESOLVE_HELP)]
pub(crate) struct ResolveArgs {
    /// Its number; of several, their numbers, or the first and the last: 17-46
    #[arg(value_name = "INCIDENT", required = true, num_args = 1..)]
    incidents: Vec<Numbers>,

    /// Who says so; else the user's name
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    /// Why
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,

    #[command(flatten)]
    store: StoreArgs,
}

/// The exit code for "something is going on".
const GOING_ON: u8 = super::watch::INCIDENTS;

/// Lists them.
pub(crate) fn run(args: &IncidentsArgs) -> Result<u8, Failure> {
    let store = args.store.read()?;
    let (mut last, mut is_calm) = (IncidentId(0), true);
    let page = || {
        let incidents = store::incidents_after(store.connection(), last, args.since, PAGE)?;
        is_calm &= !incidents.iter().any(Incident::is_open);
        last = incidents.last().map_or(last, |incident| incident.id);
        Ok(incidents)
    };
    let count = print_pages(page, if args.json { json } else { |page: &[Incident]| text(page, Timestamp::now()) })?;
    if count == 0 && !args.json {
        screen::print("nothing is going on\n").map_err(failure::stdout)?;
    }
    Ok(if is_calm { DONE } else { GOING_ON })
}

/// Somebody takes care of it.
pub(crate) fn ack(args: &AckArgs) -> Result<u8, Failure> {
    let by = args.by.clone().unwrap_or_else(user);
    let done = |docket: &mut Docket<'_>, id| docket.acknowledge(id, &by, &args.note);
    said(&args.store, &args.incidents, Some(Occasion::Acknowledged), done)
}

/// Nobody is told for some time.
pub(crate) fn mute(args: &MuteArgs) -> Result<u8, Failure> {
    let until = Timestamp::now() + args.time;
    let by = args.by.clone().unwrap_or_else(user);
    said(&args.store, &args.incidents, None, |docket, id| docket.mute(id, until, &by))
}

/// It is over, or is to be so.
pub(crate) fn resolve(args: &ResolveArgs) -> Result<u8, Failure> {
    let by = args.by.clone().unwrap_or_else(user);
    let why = args.why.as_ref().map_or_else(|| format!("accepted by {by}"), |why| format!("accepted by {by}: {why}"));
    said(&args.store, &args.incidents, Some(Occasion::Resolved), |docket, id| docket.settle(id, &why))
}

/// An incident, or all from one to another that are open.
#[derive(Debug, Clone)]
struct Numbers(RangeInclusive<i64>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Numbers, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Numbers(first..=last)),
            _ => Err("expected the number of an incident, or the first and the last of several: 17-46".into()),
        }
    }
}

impl Numbers {
    /// Those that are meant: the one, or those of a range that are open.
    fn among(&self, open: &[Incident]) -> Result<Vec<IncidentId>, Failure> {
        let (first, last) = (*self.0.start(), *self.0.end());
        if first == last {
            return Ok(vec![IncidentId(first)]);
        }
        let ids: Vec<_> = open.iter().map(|incident| incident.id).filter(|id| self.0.contains(&id.0)).collect();
        let none = || Failure::Setting(format!("no incident from {first} to {last} is open; {LISTS_THEM}"));
        if ids.is_empty() { Err(none()) } else { Ok(ids) }
    }
}

const LISTS_THEM: &str = "`halfopen incidents` lists those that are open";

/// It is said of all of them, or of none.
fn said(
    store: &StoreArgs,
    numbers: &[Numbers],
    occasion: Option<Occasion>,
    does: impl Fn(&mut Docket<'_>, IncidentId) -> Result<bool, store::Error>,
) -> Result<u8, Failure> {
    let mut store = store.write()?;
    let transaction = store.transaction()?;
    let open = store::open_incidents(&transaction)?;
    let mut docket = Docket::new(&transaction, Timestamp::now());
    let ids = numbers.iter().map(|numbers| numbers.among(&open)).collect::<Result<Vec<_>, _>>()?;
    for id in ids.into_iter().flatten().collect::<BTreeSet<_>>() {
        if !does(&mut docket, id)? {
            let known = store::find(&transaction, id)?;
            let why = if known.is_some() { "is over already" } else { "is not known" };
            return Err(Failure::Setting(format!("incident {} {why}; {LISTS_THEM}", id.0)));
        }
        if let Some(occasion) = occasion {
            store::leave_word(&transaction, id, occasion)?;
        }
    }
    transaction.commit().map_err(store::Error::from)?;
    Ok(DONE)
}

fn user() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".into())
}

fn text(incidents: &[Incident], now: Timestamp) -> String {
    let mut out = String::new();
    for incident in incidents {
        let muted = incident.muted_until.filter(|&until| incident.is_open() && now < until);
        let status = match incident {
            Incident { resolved: Some(_), .. } => "over",
            _ if muted.is_some() => "muted",
            Incident { acknowledged: Some(_), .. } => "in hand",
            _ => "open",
        };
        let words = title(incident, Occasion::Opened, incident.opened);
        let _ = writeln!(
            out,
            "{:>5}  {:<8}  {status:<7}  {}  {:<12}  {words}{}",
            incident.id.0,
            incident.severity,
            shown(incident.since),
            incident.group,
            remarks(incident, muted),
        );
    }
    out
}

/// ` (muted until 2026-01-31 12:00:00 by kim; in hand: alex, looking into it)`.
fn remarks(incident: &Incident, muted: Option<Timestamp>) -> String {
    let by = incident.muted_by.as_ref().map_or_else(String::new, |by| format!(" by {by}"));
    let muted = muted.map(|until| format!("muted until {}{by}", shown(until)));
    let in_hand = incident.acknowledged.as_ref().map(|it| format!("in hand: {}", said_by(it)));
    let over = incident.resolution.clone();
    let remarks: Vec<String> = [muted, in_hand, over].into_iter().flatten().collect();
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) }
}
