//! `halfopen events`: what happened, as JSON lines by number; with `--follow` as it happens.

use std::time::Duration;

use clap::Args;
use halfopen_monitor::Subscription;
use halfopen_monitor::store::Selection;
use jiff::Timestamp;

use super::{StoreArgs, moment};
use crate::failure::{self, DONE, Failure};
use crate::screen;

const LONG_HELP: &str = "\
Examples:
  halfopen events --since 1h
  halfopen events --follow | jq -c 'select(.type == \"incident.opened\")'
  halfopen events --after 4711 --follow

Each line has id, at, type and group, and what its type has: see monitor/EVENTS.md. Whoever keeps the last id gets, with \
--after, what came later, and nothing twice.

Exit codes: 0 done, 1 runtime error, 2 usage error (no such database is one), 141 when the reader went away.";

/// `halfopen events`, as typed.
#[derive(Debug, Args)]
#[command(after_long_help = LONG_HELP)]
pub(crate) struct EventsArgs {
    /// Go on as events happen, until interrupted
    #[arg(short, long)]
    follow: bool,

    /// Only those with higher numbers than this
    #[arg(long, value_name = "ID", conflicts_with = "since")]
    after: Option<i64>,

    /// Only after this: how long ago (1d), or a time (2026-01-31T12:00)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,

    #[command(flatten)]
    store: StoreArgs,
}

/// Waiting has no end; it only looks up now and then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints them.
pub(crate) fn run(args: &EventsArgs) -> Result<u8, Failure> {
    let store = args.store.read()?;
    let only_new = args.follow && args.after.is_none() && args.since.is_none();
    let wanted = Selection { after: args.after.unwrap_or(0), since: args.since, ..Selection::default() };
    let mut subscription =
        if only_new { Subscription::from_now(store, wanted)? } else { Subscription::new(store, wanted) };
    loop {
        let events = if args.follow { subscription.wait(PATIENCE)? } else { subscription.poll()? };
        let lines: String =
            events.iter().map(|event| serde_json::to_string(event).unwrap_or_default() + "\n").collect();
        screen::print(&lines).map_err(failure::stdout)?;
        if events.is_empty() && !args.follow {
            return Ok(DONE);
        }
    }
}
