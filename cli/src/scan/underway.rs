//! A scan from its first packet on: its events are drained to the results, its account is closed, and from that comes the
//! exit code. Whatever goes wrong on the way, the results are brought to an end.

use std::io::Write;
use std::mem;
use std::time::{Duration, SystemTime};

use halfopen::{Event, Method, Outcome, Plan, Pps, Progress, Quiet, Ready, Running, ScanBuilder, Summary, Targets};
use halfopen_results::record::{Batch, Commands, Header};
use halfopen_results::sink::Error;
use halfopen_results::time;

use super::audience::Audience;
use super::batches::Batches;
use super::before::{Before, Said};
use super::{Extent, Files, Task, drain};
use crate::args::MethodArg;
use crate::failure::{self, DONE, Failure};
use crate::halt::Halt;
use crate::intake::{NAME, Next};
use crate::keeper::Keeper;
use crate::output::account::{self, Account, PlanSize};
use crate::output::{Output, summary};
use crate::permit::Session;
use crate::resume::Past;
use crate::screen::Screen;
use crate::settings::Settings;
use crate::signals::{self, Watch};
use crate::stats::{Stats, StatsFile};
use crate::then::{self, Hurry};

/// The exit code when something of standard input could not be read, or not be scanned.
const INCOMPLETE: u8 = 1;
/// How long to wait for targets at a time when there is nothing else to do.
const LONG: Duration = Duration::from_secs(3600);
/// The exit code when the scan went well, and a command that followed it did not.
const COMMANDS_FAILED: u8 = 1;
/// Ended before its end after less than this, a scan is simply made again.
const WORTH_RESUMING: Duration = Duration::from_secs(30);
const NEXT_TIME: &str = "with --checkpoint FILE, a scan that is interrupted can be resumed";

/// Scans what is open, and what comes in meanwhile.
pub(super) fn run(
    task: Task,
    ready: Ready,
    files: Files,
    extent: Extent,
    session: &mut Session,
) -> Result<u8, Failure> {
    let Task { settings, screen, observer, past, batches, commands, .. } = task;
    let place = files.place;
    let stats = files.stats.map(StatsFile::start).transpose()?;
    let running = ready.start()?;
    let halt = Halt::of(running.stopper(), batches.as_ref().map(Batches::waker));
    let watch = signals::watch(halt.clone(), screen.clone(), place.is_some()).map_err(Failure::Signals)?;
    session.watch(halt.clone(), screen.clone(), place.is_some())?;
    let header = account::header(settings, &running, extent.size, extent.coverage);
    let header = session.authorise(header);
    let keeper = place.map(|place| Keeper::new(place, running.checkpointer(), screen.clone())).transpose();
    let keeper = keeper.map_err(Failure::Signals)?;
    let audience = Audience::new(settings, &screen, observer);
    let (before, output, ended) = (Before::new(), files.output, Ended::default());
    let said = batches.as_ref().map(|_| Said::default());
    let mut scan = Underway {
        settings,
        screen,
        session,
        header,
        output,
        stats,
        keeper,
        watch,
        audience,
        halt,
        batches,
        commands,
        before,
        said,
        ended,
    };
    let begun = scan.begin(past);
    let mut run = scan.finish(running, begun);
    while let Some((running, begun)) = scan.next(&run) {
        run = scan.finish(running, begun);
    }
    scan.conclude(run)
}

/// All that is around the engine while it scans.
struct Underway<'a> {
    settings: &'a Settings,
    screen: Screen,
    session: &'a mut Session,
    /// Of the run under way.
    header: Header,
    output: Output<Box<dyn Write>>,
    stats: Option<Stats>,
    keeper: Option<Keeper>,
    watch: Watch,
    audience: Audience<'a>,
    halt: Halt,
    /// Targets that are still to come.
    batches: Option<Batches>,
    /// Who runs the commands that are to follow.
    commands: Option<then::Link>,
    before: Before,
    /// Of a scan that may have several runs.
    said: Option<Said>,
    ended: Ended,
}

/// What became of targets that were to come.
struct Ended {
    /// They were not waited for any longer.
    early: bool,
    /// Why they may not be scanned.
    refused: Option<Failure>,
    /// Some could not be.
    incomplete: bool,
    /// Whether what there was to say between two runs could be written.
    written: Result<(), Error>,
}

impl Default for Ended {
    fn default() -> Ended {
        Ended { early: false, refused: None, incomplete: false, written: Ok(()) }
    }
}

/// A run of the engine that is over.
struct Run {
    summary: Result<Summary, halfopen::Error>,
    drained: Result<(), Error>,
    last: Progress,
    method: Method,
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

    /// Brings a run to its end, unless its results could not even be begun. Results that cannot be written end it at once; those
    /// that can be are brought to their end all the same.
    fn finish(&mut self, running: Running, begun: Result<(), Error>) -> Run {
        let drained = begun.and_then(|()| self.drain(&running));
        let (last, method) = (running.progress(), running.settings().method);
        if let Err(error) = &drained {
            running.stopper().abort();
            // Outputs that have failed are left alone; this is for the others.
            let _ = self.output.warning(&error.to_string());
        }
        let summary = running.wait();
        let released = self.output.release().and(self.output.flush());
        Run { summary, drained: drained.and(released), last, method }
    }

    /// Takes every event until the run is over.
    fn drain(&mut self, running: &Running) -> Result<(), Error> {
        let Underway { screen, output, stats, keeper, audience, before, said, .. } = self;
        let progress = || before.overall(&running.progress());
        let next = |wait| match drain::next(running, stats.as_mut(), progress, screen, wait) {
            Ok(Some(event)) if said.as_mut().is_some_and(|said| !said.is_news(&event)) => Err(Quiet),
            next => next,
        };
        drain::drain(next, output, keeper, |event| match event {
            Event::Progress(run) => audience.hear(&Event::Progress(before.overall(run))),
            event => audience.hear(event),
        })
    }

    /// The run after this one, and whether its results could be begun; none if there is nothing left to scan, or if the scan is
    /// to end.
    fn next(&mut self, run: &Run) -> Option<(Running, Result<(), Error>)> {
        let summary = run.summary.as_ref().ok().filter(|summary| summary.outcome == Outcome::Complete)?;
        while run.drained.is_ok() && self.ended.written.is_ok() {
            let patience = self.stats.as_ref().map_or(LONG, Stats::due_in);
            let next = self.batches.as_ref()?.intake.next(patience);
            self.note_lines();
            match next {
                Next::Batch(targets) => {
                    let Some((running, batch)) = self.open(targets) else { continue };
                    let account = self.run_account(summary);
                    self.before.add(account, &run.last);
                    self.header.settings.links.clone_from(&running.settings().links);
                    return Some((running, self.begin_batch(batch)));
                }
                Next::Quiet => self.idle(&run.last),
                Next::Over => return None,
                Next::Halted => {
                    self.ended.early = true;
                    return None;
                }
            }
        }
        None
    }

    /// Begins to scan a batch, if it can and may be scanned.
    fn open(&mut self, targets: Targets) -> Option<(Running, Extent)> {
        let batches = self.batches.as_ref()?;
        let plan = match batches.plan(targets.clone()) {
            Ok(plan) => plan,
            Err(halfopen::Error::NothingNew) => return None,
            Err(error) => return self.leave_out(&error),
        };
        let scan = self.settings.scan(plan.clone()).report(&self.settings.reported(batches.total_with(&plan)));
        let scan = match self.session.admit(&plan, scan) {
            Ok(scan) => scan,
            Err(refused) => return self.refuse(refused),
        };
        let ceiling = scan.settings().max_rate;
        match self.batches.as_ref()?.opener.open(scan).and_then(Ready::start) {
            Ok(running) => Some(self.go_on(running, &plan)),
            Err(error) => self.open_rest(targets, &plan, ceiling, &error),
        }
    }

    /// Begins to scan what is left of a batch without those that cannot be reached, if it is those that keep it from being scanned.
    fn open_rest(
        &mut self,
        targets: Targets,
        whole: &Plan,
        ceiling: Option<Pps>,
        error: &halfopen::Error,
    ) -> Option<(Running, Extent)> {
        let lost = self.settings.scan(whole.clone()).unreachable().unwrap_or_default();
        if lost.is_empty() {
            return self.leave_out(error);
        }
        lost.iter().for_each(|lost| _ = self.leave_out::<()>(&lost.error));
        let batches = self.batches.as_ref()?;
        let plan = batches.plan_without(targets, lost).ok()?;
        let scan = self.settings.scan(plan.clone()).report(&self.settings.reported(batches.total_with(&plan)));
        let scan = ceiling.into_iter().fold(scan, ScanBuilder::max_rate);
        match batches.opener.open(scan).and_then(Ready::start) {
            Ok(running) => Some(self.go_on(running, &plan)),
            Err(error) => self.leave_out(&error),
        }
    }

    /// A further run is under way.
    fn go_on(&mut self, running: Running, plan: &Plan) -> (Running, Extent) {
        self.halt.follow(running.stopper());
        let mut extent = Extent::of(plan, self.settings);
        let batches = self.batches.as_mut();
        let total = batches.map_or(0, |batches| {
            batches.add(plan, &mut extent);
            batches.targets
        });
        if !self.settings.counts_by_host(total) {
            self.output.stop_counting();
        }
        (running, extent)
    }

    /// Says in the results what is scanned from here on.
    fn begin_batch(&mut self, Extent { size, coverage }: Extent) -> Result<(), Error> {
        let PlanSize { targets, hosts, blocked, excluded } = size;
        (self.header.hosts, self.header.blocked, self.header.excluded) = (hosts, blocked, excluded);
        let started = time::timestamp(SystemTime::now());
        self.output.batch(|| Batch { started, targets, hosts, blocked, excluded, coverage })?;
        self.output.flush()
    }

    /// Targets that may not be scanned end the scan.
    fn refuse<T>(&mut self, refused: Failure) -> Option<T> {
        self.ended.refused = Some(refused);
        self.halt.stop();
        None
    }

    /// Targets that cannot be scanned cost themselves alone, and the exit code.
    fn leave_out<T>(&mut self, error: &halfopen::Error) -> Option<T> {
        let text = format!("some targets of {NAME} were not scanned: {error}");
        self.screen.warn(&text);
        self.ended.incomplete |= !matches!(error, halfopen::Error::EmptyPlan(_));
        self.note(&text);
        None
    }

    /// Puts what was said of lines into the results, too.
    fn note_lines(&mut self) {
        let told = self.batches.as_ref().map(|batches| batches.intake.told()).unwrap_or_default();
        told.iter().for_each(|text| self.note(text));
    }

    fn note(&mut self, text: &str) {
        let written = self.output.warning(text).and_then(|()| self.output.flush());
        self.ended.written = mem::replace(&mut self.ended.written, Ok(())).and(written);
    }

    /// Everything that is known is scanned.
    fn idle(&mut self, last: &Progress) {
        let progress = self.before.idle(last);
        self.screen.idle(&progress);
        let trouble = self.stats.as_mut().and_then(|stats| stats.tick_idle(&progress));
        trouble.iter().for_each(|text| self.screen.warn(text));
    }

    /// Closes the account, and gives the exit code.
    fn conclude(mut self, mut run: Run) -> Result<u8, Failure> {
        self.screen.clear();
        self.note_lines();
        self.ended.incomplete |= self.batches.as_ref().is_some_and(|batches| batches.intake.conclude());
        run.drained = run.drained.and(mem::replace(&mut self.ended.written, Ok(())));
        let last = self.before.overall(&run.last);
        let account = self.close(run);
        self.end_stats(&last, account.as_ref().map_or("failed", |account| &account.outcome));
        let failed = account?.commands.is_some_and(|commands| commands.failed + commands.left > 0);
        if self.settings.summary {
            self.output.plaintext().iter().for_each(|line| self.screen.note(line));
        }
        let interrupted = self.watch.code().or_else(|| self.session.code());
        match (interrupted, self.ended.refused) {
            (Some(code), _) => Ok(code),
            (None, Some(refused)) => Err(refused),
            (None, None) if self.ended.incomplete => Ok(INCOMPLETE),
            (None, None) => Ok(if failed { COMMANDS_FAILED } else { DONE }),
        }
    }

    fn end_stats(&mut self, last: &Progress, outcome: &str) {
        let trouble = self.stats.as_mut().and_then(|stats| stats.end(last, outcome));
        trouble.iter().for_each(|text| self.screen.warn(text));
    }

    /// Closes the account: in the results, and for people on standard error.
    fn close(&mut self, run: Run) -> Result<Account, Failure> {
        let Run { summary, drained, method, .. } = run;
        match summary {
            Ok(summary) => self.end(&summary, method, drained),
            Err(error) => self.fail(error, drained),
        }
    }

    /// The scan has come to an end, its own or an early one.
    fn end(&mut self, summary: &Summary, method: Method, written: Result<(), Error>) -> Result<Account, Failure> {
        let stopped = summary.outcome == Outcome::Stopped || self.ended.early;
        let interrupted = stopped || written.is_err();
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
            None if stopped && self.batches.is_none() && summary.elapsed > WORTH_RESUMING => {
                self.screen.hint(NEXT_TIME);
            }
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
        let last = self.run_account(summary);
        let account = self.before.account(last);
        let outcome = if self.ended.early { "stopped".into() } else { account.outcome.clone() };
        let (suspects_hidden, unprobed) = (self.output.left_out(), self.output.unprobed(&account));
        let account = Account { outcome, suspects_hidden, unprobed, ..account };
        self.session.account(&account);
        Account { commands, ..account }
    }

    /// That of the run that is over.
    fn run_account(&mut self, summary: &Summary) -> Account {
        let account = Account::from((&self.header, summary));
        match &mut self.said {
            Some(said) => said.once(account),
            None => account,
        }
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
        let Some(commands) = self.commands.take() else { return Ok(None) };
        self.watch.follow();
        let hide_suspect = self.settings.args.output.hide_suspect;
        let Underway { screen, output, watch, audience, session, .. } = self;
        let mut written = Ok(());
        let hurry = || hurry(watch, session);
        let (tally, trouble) = commands.run(audience.take_hosts(), hide_suspect, &hurry, &mut |ended| {
            screen.printed(&ended.to_string(), &ended.printed);
            let told = output.command(ended.into());
            written = mem::replace(&mut written, Ok(())).and(told);
        });
        trouble.iter().for_each(|text| screen.warn(text));
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
