//! Drives a scan from its settings to its exit code: plan, start, events to the output, account. What is printed and
//! how is for `output` and `screen`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use halfopen::{Checkpoint, Event, Method, Outcome, Plan, Quiet, Ready, Running, ScanBuilder};
use halfopen_results::Coverage;
use halfopen_results::record::{Commands, Header};
use halfopen_results::sink::{Error, Mark};

use crate::args::{Command, MethodArg};
use crate::failure::{self, DONE, Failure};
use crate::keeper::{Keeper, Place};
use crate::layers::Effective;
use crate::output::account::{self, Account, PlanSize};
use crate::output::plaintext::Plaintext;
use crate::output::{Output, summary};
use crate::permit::{Permit, Session};
use crate::privileges::{self, Keep};
use crate::resume::{self, Resumed};
use crate::screen::Screen;
use crate::settings::Settings;
use crate::signals::{self, Watch};
use crate::stats::{Stats, StatsFile};
use crate::then::{self, Hosts, ThenArgs};
use crate::{completion, config, convert, demo, diff, doctor, explain, man, report, version};

/// How long to wait for an event when there is nothing left to write: it wakes up by itself when one comes.
const LONG: Duration = Duration::from_secs(3600);

/// The exit code when the scan went well, and a command that followed it did not.
const COMMANDS_FAILED: u8 = 1;

/// Does what was asked and gives the exit code.
pub(crate) fn command(command: Command, effective: &[Effective]) -> Result<u8, Failure> {
    match command {
        Command::Scan(args) => scan(&Settings::new(*args)?, effective),
        Command::Resume(args) => resume::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Config(args) => config::run(&args, effective),
        Command::Diff(args) => diff::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Report(args) => report::run(&args),
    }
}

fn scan(settings: &Settings, effective: &[Effective]) -> Result<u8, Failure> {
    let place = if settings.args.probing.dry_run { None } else { resume::place(settings, effective)? };
    scan_from(settings, place, None)
}

/// Goes on with a scan.
pub(crate) fn go_on(settings: &Settings, resumed: Resumed) -> Result<u8, Failure> {
    let Resumed { checkpoint, marks, events, place } = resumed;
    scan_from(settings, Some(place), Some((checkpoint, marks, events)))
}

/// What another run has left behind: its state, how far its outputs had come, and what was found since.
type Past = (Checkpoint, Vec<Mark>, Vec<Event>);

fn scan_from(settings: &Settings, place: Option<Place>, past: Option<Past>) -> Result<u8, Failure> {
    announce_input(settings);
    kept(settings, settings.plan()?, (place, past), &mut |_| {})
}

/// Scans a plan that may be scanned, and has `observer` see every event.
pub(crate) fn observed(settings: &Settings, plan: Plan, observer: &mut dyn FnMut(&Event)) -> Result<u8, Failure> {
    kept(settings, plan, (None, None), observer)
}

/// The same of a scan that is kept, and goes on from what was.
fn kept(
    settings: &Settings,
    plan: Plan,
    (place, past): (Option<Place>, Option<Past>),
    observer: &mut dyn FnMut(&Event),
) -> Result<u8, Failure> {
    let permit = Permit::of(&settings.args.permit, &plan)?;
    let size = PlanSize::of(&plan);
    let targets = plan.len();
    let coverage = if settings.outputs.is_empty() { Coverage::default() } else { Coverage::from(&plan) };
    let screen = Screen::new(settings.style);
    let builder = permit.bound(settings.scan(plan), &screen)?;
    let builder = match &past {
        Some((checkpoint, ..)) => builder.resume(checkpoint.clone())?,
        None => builder,
    };
    if settings.args.probing.dry_run {
        return dry_run(settings, &builder, size, targets);
    }
    let mut session = permit.begin(builder.settings(), targets)?;
    let about = (size, targets, coverage);
    let result = carry_out(settings, builder, about, (place, past), &screen, observer, &mut session);
    session.end(result)
}

fn carry_out(
    settings: &Settings,
    builder: ScanBuilder,
    (size, targets, coverage): (PlanSize, u64, Coverage),
    (place, past): (Option<Place>, Option<Past>),
    screen: &Screen,
    observer: &mut dyn FnMut(&Event),
    session: &mut Session,
) -> Result<u8, Failure> {
    let ready = builder.open()?;
    // Files that cannot be written are no reason to have sent anything.
    let (mut output, stats) = give_up_rights(settings, &ready, screen, || {
        let stats = settings.args.output.stats_json.as_deref().map(StatsFile::open).transpose()?;
        Ok::<_, Failure>((Output::open(settings, targets, screen)?, stats))
    })?;
    let mut stats = stats.map(StatsFile::start).transpose()?;
    let running = ready.start()?;
    let watch = signals::watch(running.stopper(), screen.clone(), place.is_some()).map_err(Failure::Signals)?;
    session.watch(running.stopper(), screen.clone(), place.is_some())?;
    let header = session.authorise(account::header(settings, running.settings(), (size, targets), coverage));
    let mut plaintext = Plaintext::default();
    let mut hosts = Hosts::default();
    let then = settings.args.then.command.is_some();
    let mut also = |event: &Event| {
        plaintext.event(event);
        observer(event);
        if then {
            hosts.hear(event);
        }
    };
    let keeper = place.map(|place| Keeper::new(place, running.checkpointer(), screen.clone())).transpose();
    let mut keeper = keeper.map_err(Failure::Signals)?;
    let begun = begin(&mut output, &header, past);
    let drained = begun.and_then(|()| drain(&running, &mut output, (&mut keeper, &mut stats), screen, &mut also));
    screen.clear();
    let last = running.progress();
    let follow = |output: &mut Output<_>| hand_over(settings, hosts, output, screen, &watch);
    let concluded = conclude(settings, running, &header, (&mut output, drained, keeper), screen, session, follow);
    let outcome = concluded.as_ref().map_or("failed", |account| &account.outcome);
    stats.and_then(|mut stats| stats.end(&last, outcome)).iter().for_each(|text| screen.warn(text));
    let failed = concluded?.commands.is_some_and(|commands| commands.failed > 0);
    if settings.summary {
        plaintext.line().iter().for_each(|line| screen.note(line));
    }
    Ok(watch.code().or_else(|| session.code()).unwrap_or(if failed { COMMANDS_FAILED } else { DONE }))
}

/// Gives up what the scan does not need any more, before any other thread is started: rights are a thread's own. Results are
/// opened in between, by whom they are to belong to, and before what they are not written to goes out of reach.
fn give_up_rights<T>(settings: &Settings, ready: &Ready, screen: &Screen, open: impl FnOnce() -> T) -> T {
    if settings.args.network.no_drop {
        return open();
    }
    let connects = ready.settings().method == Method::Connect;
    let programs = settings.args.then.command.is_some();
    let keep = Keep { writes: settings.writes(), connects, programs };
    let account = privileges::become_nobody(&keep);
    let opened = open();
    let account = account.and(privileges::confine(&keep));
    if settings.args.output.verbose {
        screen.note(&account.told());
    }
    account.warning().iter().for_each(|warning| screen.warn(warning));
    opened
}

/// Begins the results, or goes on with them: what was found after their marks is told again.
fn begin(output: &mut Output<Box<dyn Write>>, header: &Header, past: Option<Past>) -> Result<(), Error> {
    let Some((checkpoint, marks, events)) = past else { return output.begin(|| header.clone()) };
    if marks.is_empty() {
        output.begin(|| header.clone())?;
    } else {
        output.resume(&marks, &checkpoint)?;
    }
    events.iter().try_for_each(|event| output.event(event))?;
    output.flush()
}

/// A person who typed `-i -` should not wonder what the program is waiting for.
fn announce_input(settings: &Settings) {
    let reads = settings.args.targets.input.iter().any(|file| file == Path::new("-"));
    if reads && io::stdin().is_terminal() {
        Screen::new(settings.style).note("reading targets from standard input; end with Ctrl-D");
    }
}

/// Prints the probes of the first pass in sending order.
fn dry_run(settings: &Settings, scan: &ScanBuilder, size: PlanSize, targets: u64) -> Result<u8, Failure> {
    print_probes(scan).map_err(failure::stdout)?;
    Screen::new(settings.style).note(&summary::dry_run(targets, size, settings.seed));
    Ok(DONE)
}

fn print_probes(scan: &ScanBuilder) -> io::Result<()> {
    let mut stdout = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    for target in scan.order() {
        writeln!(stdout, "{} {}", target.address, target.port)?;
    }
    stdout.flush()
}

/// Takes every event of a scan until it is over.
fn drain(
    running: &Running,
    output: &mut Output<Box<dyn Write>>,
    (keeper, stats): (&mut Option<Keeper>, &mut Option<Stats>),
    screen: &Screen,
    observer: &mut dyn FnMut(&Event),
) -> Result<(), Error> {
    let next = |wait| next(running, stats.as_mut(), screen, wait);
    consume(next, output, keeper, |event| {
        on_screen(event, screen);
        observer(event);
    })
}

/// The next event, if one comes within this time; statistics are written meanwhile.
fn next(running: &Running, stats: Option<&mut Stats>, screen: &Screen, wait: Duration) -> Result<Option<Event>, Quiet> {
    let Some(stats) = stats else { return running.next_event(wait) };
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let event = running.next_event(left.min(stats.due_in()));
        if stats.due_in().is_zero() {
            stats.tick(&running.progress()).iter().for_each(|text| screen.warn(text));
        }
        if event.is_ok() || left.is_zero() {
            return event;
        }
    }
}

/// Events that are told together.
const TOGETHER: usize = 256;

/// Writes in batches while events are waiting, and everything as soon as none is.
fn consume<W: Write>(
    mut next: impl FnMut(Duration) -> Result<Option<Event>, Quiet>,
    output: &mut Output<W>,
    keeper: &mut Option<Keeper>,
    mut also: impl FnMut(&Event),
) -> Result<(), Error> {
    let (mut wait, mut waiting) = (Duration::ZERO, Vec::with_capacity(TOGETHER));
    keeper.iter_mut().try_for_each(|keeper| keeper.tick(output))?;
    loop {
        match next(wait) {
            Ok(Some(event)) => {
                also(&event);
                waiting.push(event);
                wait = Duration::ZERO;
                if waiting.len() < TOGETHER {
                    continue;
                }
                tell(&mut waiting, output, keeper)?;
            }
            Ok(None) => {
                tell(&mut waiting, output, keeper)?;
                return output.flush();
            }
            Err(Quiet) => {
                tell(&mut waiting, output, keeper)?;
                output.flush()?;
                wait = keeper.as_ref().map_or(LONG, Keeper::patience);
            }
        }
        keeper.iter_mut().try_for_each(|keeper| keeper.tick(output))?;
    }
}

/// Writes events down where the scan is kept, and then to the results.
fn tell<W: Write>(events: &mut Vec<Event>, output: &mut Output<W>, keeper: &mut Option<Keeper>) -> Result<(), Error> {
    keeper.iter_mut().for_each(|keeper| keeper.note(events));
    events.drain(..).try_for_each(|event| output.event(&event))
}

fn on_screen(event: &Event, screen: &Screen) {
    match event {
        Event::Progress(progress) => screen.progress(progress),
        Event::Warning(text) => screen.warn(text),
        _ => {}
    }
}

/// Closes the account: in the results, and for people on standard error. Results that cannot be written end the scan at
/// once; those that can be are brought to their end all the same.
fn conclude(
    settings: &Settings,
    running: Running,
    header: &Header,
    (output, drained, keeper): (&mut Output<Box<dyn Write>>, Result<(), Error>, Option<Keeper>),
    screen: &Screen,
    session: &mut Session,
    follow: impl FnOnce(&mut Output<Box<dyn Write>>) -> Result<Option<Commands>, Error>,
) -> Result<Account, Failure> {
    let method = running.settings().method;
    if let Err(error) = &drained {
        running.stopper().abort();
        // Outputs that have failed are left alone; this is for the others.
        let _ = output.warning(&error.to_string());
    }
    match running.wait() {
        Ok(summary) => {
            let released = output.release().and(output.flush());
            // Whoever cannot have the results does not get anything done with them.
            let followed = if drained.is_ok() && released.is_ok() { follow(output) } else { Ok(None) };
            let account = Account::from((header, &summary));
            let account =
                Account { suspects_hidden: output.left_out(), unprobed: output.unprobed(&account), ..account };
            session.account(&account);
            let account = Account { commands: followed.as_ref().ok().copied().flatten(), ..account };
            let stopped = summary.outcome == Outcome::Stopped;
            let kept = keep(keeper, output, stopped || drained.is_err());
            let ended = if matches!(kept, Ok(Some(_))) { output.pause(&account) } else { output.end(&account) };
            drained.and(released).and(followed.map(drop)).and(ended)?;
            if settings.summary {
                report(&account, output.by_host().as_deref(), screen);
            }
            // The library has warned; how this very program gets the right is for the program to say.
            if settings.args.probing.method == MethodArg::Auto && method == Method::Connect {
                screen.note(&format!("hint: {}", failure::grant()));
            }
            match kept? {
                Some(file) => {
                    screen.note(&format!("to go on with this scan: halfopen resume {}", failure::shell_word(&file)));
                }
                None if stopped && summary.elapsed > WORTH_RESUMING => screen.hint(NEXT_TIME),
                None => {}
            }
            Ok(account)
        }
        Err(error) => {
            // The error itself matters more than whether it could be written.
            let kept = keep(keeper, output, true).unwrap_or_default();
            if let Some(file) = kept {
                screen.note(&format!("to go on with this scan: halfopen resume {}", failure::shell_word(&file)));
            }
            let _ = output.failure(&error.to_string());
            drained?;
            Err(error.into())
        }
    }
}

/// Ended before its end after less than this, a scan is simply made again.
const WORTH_RESUMING: Duration = Duration::from_secs(30);
const NEXT_TIME: &str = "with --checkpoint FILE, a scan that is interrupted can be resumed";

/// Keeps a scan that was interrupted, and clears up after one that was not; the file to resume from, if there is one.
fn keep<W: Write>(
    keeper: Option<Keeper>,
    output: &mut Output<W>,
    interrupted: bool,
) -> Result<Option<String>, Failure> {
    match keeper {
        Some(keeper) if interrupted => keeper.suspend(output).map(|path| Some(path.display().to_string())),
        Some(keeper) => {
            keeper.complete();
            Ok(None)
        }
        None => Ok(None),
    }
}

/// Runs the commands that are to follow a scan, if there are any.
fn hand_over(
    settings: &Settings,
    hosts: Hosts,
    output: &mut Output<Box<dyn Write>>,
    screen: &Screen,
    watch: &Watch,
) -> Result<Option<Commands>, Error> {
    let ThenArgs { command: Some(template), then_jobs: jobs, then_timeout: timeout } = &settings.args.then else {
        return Ok(None);
    };
    watch.follow();
    let hide_suspect = settings.args.output.hide_suspect;
    let manner = then::Manner { template, jobs: *jobs, timeout: *timeout, hide_suspect };
    let mut written = Ok(());
    let tally = then::run(hosts, manner, &|| watch.hurry(), &mut |ended| {
        screen.printed(&ended.to_string(), &ended.printed);
        let told = output.command(ended.into());
        written = std::mem::replace(&mut written, Ok(())).and(told);
    });
    written.map(|()| Some(tally))
}

/// What people get to know in the end.
fn report(account: &Account, by_host: Option<&str>, screen: &Screen) {
    by_host.iter().for_each(|hosts| screen.note(hosts));
    screen.note(&summary::text(account));
    summary::hint(account).iter().for_each(|hint| screen.hint(hint));
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::output::samples;

    /// Fails like a pipe whose reader is gone, or counts the writes.
    struct Pipe {
        writes: usize,
        broken: bool,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            if self.broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A scan's events, with moments at which none waits.
    fn script(steps: impl IntoIterator<Item = Option<Event>>) -> impl FnMut(Duration) -> Result<Option<Event>, Quiet> {
        let mut steps: VecDeque<_> = steps.into_iter().collect();
        move |_| match steps.pop_front() {
            Some(None) => Err(Quiet),
            Some(event) => Ok(event),
            None => Ok(None),
        }
    }

    fn finding() -> Option<Event> {
        Some(Event::Verdict(samples::open()))
    }

    fn consumed(steps: impl IntoIterator<Item = Option<Event>>, broken: bool) -> (Result<(), Error>, usize) {
        let mut pipe = Pipe { writes: 0, broken };
        let result = consume(script(steps), &mut samples::output(&mut pipe), &mut None, |_| {});
        (result, pipe.writes)
    }

    #[test]
    fn waiting_findings_are_written_together() {
        let (result, writes) = consumed((0..1000).map(|_| finding()), false);
        assert!(result.is_ok());
        assert_eq!(writes, 1);
    }

    #[test]
    fn many_findings_are_written_before_they_end() {
        let (result, writes) = consumed((0..10_000).map(|_| finding()), false);
        assert!(result.is_ok());
        assert!((2..100).contains(&writes), "{writes}");
    }

    #[test]
    fn a_finding_is_written_when_no_other_waits() {
        let (result, writes) = consumed([finding(), None, None, finding(), finding(), None, finding()], false);
        assert!(result.is_ok());
        assert_eq!(writes, 3);
    }

    #[test]
    fn it_waits_only_when_everything_is_written() {
        let mut events = script([finding(), None, finding(), None]);
        let mut waits = Vec::new();
        let next = |wait| {
            waits.push(wait);
            events(wait)
        };
        consume(next, &mut samples::output(io::sink()), &mut None, |_| {}).unwrap();
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, LONG, Duration::ZERO, LONG]);
    }

    #[test]
    fn a_broken_pipe_ends_it() {
        let (result, writes) = consumed((0..10_000).map(|_| finding()), true);
        assert!(result.unwrap_err().is_reader_gone());
        assert_eq!(writes, 1);
    }
}
