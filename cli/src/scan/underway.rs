//! A scan from its first packet on: its events are drained to the results, its account is closed, and from that comes the
//! exit code. Whatever goes wrong on the way, the results are brought to an end.

use std::io::Write;
use std::mem;
use std::time::Duration;

use halfopen::{Method, Outcome, Progress, Ready, Running, Summary};
use halfopen_results::record::{Commands, Header};
use halfopen_results::sink::Error;

use super::audience::Audience;
use super::{Extent, Files, Task, drain};
use crate::args::MethodArg;
use crate::failure::{self, DONE, Failure};
use crate::keeper::Keeper;
use crate::output::account::{self, Account};
use crate::output::{Output, summary};
use crate::permit::Session;
use crate::resume::Past;
use crate::screen::Screen;
use crate::settings::Settings;
use crate::signals::{self, Watch};
use crate::stats::{Stats, StatsFile};
use crate::then::{self, Hurry, ThenArgs};

/// The exit code when the scan went well, and a command that followed it did not.
const COMMANDS_FAILED: u8 = 1;
/// Ended before its end after less than this, a scan is simply made again.
const WORTH_RESUMING: Duration = Duration::from_secs(30);
const NEXT_TIME: &str = "with --checkpoint FILE, a scan that is interrupted can be resumed";

/// Scans what is open.
pub(super) fn run(
    task: Task,
    ready: Ready,
    files: Files,
    extent: Extent,
    session: &mut Session,
) -> Result<u8, Failure> {
    let Task { settings, screen, observer, past, .. } = task;
    let place = files.place;
    let stats = files.stats.map(StatsFile::start).transpose()?;
    let running = ready.start()?;
    let watch = signals::watch(running.stopper(), screen.clone(), place.is_some()).map_err(Failure::Signals)?;
    session.watch(running.stopper(), screen.clone(), place.is_some())?;
    let header = account::header(settings, running.settings(), extent.size, extent.coverage);
    let header = session.authorise(header);
    let keeper = place.map(|place| Keeper::new(place, running.checkpointer(), screen.clone())).transpose();
    let keeper = keeper.map_err(Failure::Signals)?;
    let audience = Audience::new(settings, &screen, observer);
    let mut scan = Underway { settings, screen, session, header, output: files.output, stats, keeper, watch, audience };
    let drained = scan.begin(past).and_then(|()| scan.drain(&running));
    scan.conclude(running, drained)
}

/// All that is around the engine while it scans.
struct Underway<'a> {
    settings: &'a Settings,
    screen: Screen,
    session: &'a mut Session,
    header: Header,
    output: Output<Box<dyn Write>>,
    stats: Option<Stats>,
    keeper: Option<Keeper>,
    watch: Watch,
    audience: Audience<'a>,
}

impl Underway<'_> {
    /// Begins the results, or goes on with them: what was found after their marks is told again.
    fn begin(&mut self, past: Option<Past>) -> Result<(), Error> {
        let (output, header) = (&mut self.output, &self.header);
        let Some(Past { checkpoint, marks, told, events }) = past else { return output.begin(|| header.clone()) };
        output.recall(told, &checkpoint);
        if marks.is_empty() {
            output.begin(|| header.clone())?;
        } else {
            output.resume(&marks)?;
        }
        events.iter().try_for_each(|event| output.event(event))?;
        output.flush()
    }

    /// Takes every event until the scan is over.
    fn drain(&mut self, running: &Running) -> Result<(), Error> {
        let Underway { screen, output, stats, keeper, audience, .. } = self;
        let next = |wait| drain::next(running, stats.as_mut(), screen, wait);
        drain::drain(next, output, keeper, |event| audience.hear(event))
    }

    /// Closes the account, and gives the exit code.
    fn conclude(mut self, running: Running, drained: Result<(), Error>) -> Result<u8, Failure> {
        self.screen.clear();
        let last = running.progress();
        let account = self.close(running, drained);
        self.end_stats(&last, account.as_ref().map_or("failed", |account| &account.outcome));
        let failed = account?.commands.is_some_and(|commands| commands.failed > 0);
        if self.settings.summary {
            self.output.plaintext().iter().for_each(|line| self.screen.note(line));
        }
        let interrupted = self.watch.code().or_else(|| self.session.code());
        Ok(interrupted.unwrap_or(if failed { COMMANDS_FAILED } else { DONE }))
    }

    fn end_stats(&mut self, last: &Progress, outcome: &str) {
        let trouble = self.stats.as_mut().and_then(|stats| stats.end(last, outcome));
        trouble.iter().for_each(|text| self.screen.warn(text));
    }

    /// Closes the account: in the results, and for people on standard error. Results that cannot be written end the scan
    /// at once; those that can be are brought to their end all the same.
    fn close(&mut self, running: Running, drained: Result<(), Error>) -> Result<Account, Failure> {
        let method = running.settings().method;
        if let Err(error) = &drained {
            running.stopper().abort();
            // Outputs that have failed are left alone; this is for the others.
            let _ = self.output.warning(&error.to_string());
        }
        match running.wait() {
            Ok(summary) => self.end(&summary, method, drained),
            Err(error) => self.fail(error, drained),
        }
    }

    /// The scan has come to an end, its own or an early one.
    fn end(&mut self, summary: &Summary, method: Method, drained: Result<(), Error>) -> Result<Account, Failure> {
        let stopped = summary.outcome == Outcome::Stopped;
        let interrupted = stopped || drained.is_err();
        let released = self.output.release().and(self.output.flush());
        let written = drained.and(released);
        // Whoever cannot have the results does not get anything done with them.
        let followed = if written.is_ok() { self.follow() } else { Ok(None) };
        let account = self.account(summary, followed.as_ref().ok().copied().flatten());
        // A scan is kept until its results are whole.
        let kept = if interrupted { self.keep(true) } else { Ok(None) };
        let ended = match kept {
            Ok(Some(_)) => self.output.pause(&account),
            _ => self.output.end(&account),
        };
        written.and(followed.map(drop)).and(ended)?;
        if !interrupted {
            self.keep(false)?;
        }
        self.report(&account, method);
        match kept? {
            Some(file) => self.invite(&file),
            None if stopped && summary.elapsed > WORTH_RESUMING => self.screen.hint(NEXT_TIME),
            None => {}
        }
        Ok(account)
    }

    /// The scan has died.
    fn fail(&mut self, error: halfopen::Error, drained: Result<(), Error>) -> Result<Account, Failure> {
        // The error itself matters more than whether it could be written.
        let kept = self.keep(true).unwrap_or_default();
        kept.iter().for_each(|file| self.invite(file));
        let _ = self.output.failure(&error.to_string());
        drained?;
        Err(error.into())
    }

    /// The account, which the scope's record gets without what came after the scan.
    fn account(&mut self, summary: &Summary, commands: Option<Commands>) -> Account {
        let account = Account::from((&self.header, summary));
        let (suspects_hidden, unprobed) = (self.output.left_out(), self.output.unprobed(&account));
        let account = Account { suspects_hidden, unprobed, ..account };
        self.session.account(&account);
        Account { commands, ..account }
    }

    /// Keeps a scan that was interrupted, and clears up after one that was not; the file to resume from, if there is one.
    fn keep(&mut self, interrupted: bool) -> Result<Option<String>, Failure> {
        match self.keeper.take() {
            Some(keeper) if interrupted => {
                keeper.suspend(&mut self.output).map(|path| Some(path.display().to_string()))
            }
            Some(keeper) => {
                keeper.complete();
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Runs the commands that are to follow the scan, if there are any.
    fn follow(&mut self) -> Result<Option<Commands>, Error> {
        let ThenArgs { command: Some(template), then_jobs: jobs, then_timeout: timeout } = &self.settings.args.then
        else {
            return Ok(None);
        };
        self.watch.follow();
        let hide_suspect = self.settings.args.output.hide_suspect;
        let manner = then::Manner { template, jobs: *jobs, timeout: *timeout, hide_suspect };
        let Underway { screen, output, watch, audience, session, .. } = self;
        let mut written = Ok(());
        let tally = then::run(audience.take_hosts(), manner, &|| hurry(watch, session), &mut |ended| {
            screen.printed(&ended.to_string(), &ended.printed);
            let told = output.command(ended.into());
            written = mem::replace(&mut written, Ok(())).and(told);
        });
        written.map(|()| Some(tally))
    }

    /// What people get to know in the end.
    fn report(&self, account: &Account, method: Method) {
        if self.settings.summary {
            self.output.by_host().iter().for_each(|hosts| self.screen.note(hosts));
            self.screen.note(&summary::text(account));
            summary::hint(account).iter().for_each(|hint| self.screen.hint(hint));
        }
        // The library has warned; how this very program gets the right is for the program to say.
        if self.settings.args.probing.method == MethodArg::Auto && method == Method::Connect {
            self.screen.note(&format!("hint: {}", failure::grant()));
        }
    }

    fn invite(&self, file: &str) {
        self.screen.note(&format!("to go on with this scan: halfopen resume {}", failure::shell_word(file)));
    }
}

/// Commands ask hosts, too: they end with the hours of the scope.
fn hurry(watch: &Watch, session: &Session) -> Hurry {
    match watch.hurry() {
        Hurry::Not if session.code().is_some() => Hurry::Soon,
        hurry => hurry,
    }
}
