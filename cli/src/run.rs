//! Drives a scan from its settings to its exit code: plan, start, events to the output, account. What is printed and
//! how is for `output` and `screen`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use halfopen::{Event, Method, Plan, Quiet, Running, ScanBuilder};
use halfopen_results::Coverage;
use halfopen_results::record::Header;
use halfopen_results::sink::Error;

use crate::args::{Command, MethodArg};
use crate::config;
use crate::demo;
use crate::explain;
use crate::failure::{self, DONE, Failure};
use crate::layers::Effective;
use crate::output::account::{self, Account, PlanSize};
use crate::output::plaintext::Plaintext;
use crate::output::{Output, summary};
use crate::report;
use crate::screen::Screen;
use crate::settings::Settings;
use crate::signals;
use crate::stats::Stats;

/// How long to wait for an event when there is nothing left to write: it wakes up by itself when one comes.
const LONG: Duration = Duration::from_secs(3600);

/// Does what was asked and gives the exit code.
pub(crate) fn command(command: Command, effective: &[Effective]) -> Result<u8, Failure> {
    match command {
        Command::Scan(args) => scan(&Settings::new(*args)?),
        Command::Config(args) => config::run(&args, effective),
        Command::Demo(args) => demo::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Report(args) => report::run(&args),
    }
}

fn scan(settings: &Settings) -> Result<u8, Failure> {
    announce_input(settings);
    observed(settings, settings.plan()?, &mut |_| {})
}

/// Scans a plan, and has `observer` see every event.
pub(crate) fn observed(settings: &Settings, plan: Plan, observer: &mut dyn FnMut(&Event)) -> Result<u8, Failure> {
    let size = PlanSize::of(&plan);
    let targets = plan.len();
    let coverage = if settings.outputs.is_empty() { Coverage::default() } else { Coverage::from(&plan) };
    let builder = settings.scan(plan);
    if settings.args.probing.dry_run {
        return dry_run(settings, &builder, size, targets);
    }
    let screen = Screen::new(settings.style);
    let mut stats = settings.args.output.stats_json.as_deref().map(Stats::open).transpose()?;
    // Files that cannot be written are no reason to have sent anything.
    let mut output = Output::open(settings, targets, &screen)?;
    let running = builder.start()?;
    let watch = signals::watch(running.stopper(), screen.clone()).map_err(Failure::Signals)?;
    let header = account::header(settings, running.settings(), (size, targets), coverage);
    let mut plaintext = Plaintext::default();
    let mut also = |event: &Event| {
        plaintext.event(event);
        observer(event);
    };
    let drained =
        output.begin(|| header.clone()).and_then(|()| drain(&running, &mut output, &screen, &mut stats, &mut also));
    screen.clear();
    let last = running.progress();
    let concluded = conclude(settings, running, &header, (&mut output, drained), &screen);
    let outcome = concluded.as_ref().map_or("failed", |account| &account.outcome);
    stats.and_then(|mut stats| stats.end(&last, outcome)).iter().for_each(|text| screen.warn(text));
    concluded?;
    if settings.summary {
        plaintext.line().iter().for_each(|line| screen.note(line));
    }
    Ok(watch.code().unwrap_or(DONE))
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
    screen: &Screen,
    stats: &mut Option<Stats>,
    observer: &mut dyn FnMut(&Event),
) -> Result<(), Error> {
    let next = |wait| next(running, stats.as_mut(), screen, wait);
    consume(next, output, |event| {
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

/// Writes in batches while events are waiting, and everything as soon as none is.
fn consume<W: Write>(
    mut next: impl FnMut(Duration) -> Result<Option<Event>, Quiet>,
    output: &mut Output<W>,
    mut also: impl FnMut(&Event),
) -> Result<(), Error> {
    let mut wait = Duration::ZERO;
    loop {
        match next(wait) {
            Ok(Some(event)) => {
                also(&event);
                output.event(&event)?;
                wait = Duration::ZERO;
            }
            Ok(None) => return output.flush(),
            Err(Quiet) => {
                output.flush()?;
                wait = LONG;
            }
        }
    }
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
    (output, drained): (&mut Output<Box<dyn Write>>, Result<(), Error>),
    screen: &Screen,
) -> Result<Account, Failure> {
    let method = running.settings().method;
    if let Err(error) = &drained {
        running.stopper().abort();
        // Outputs that have failed are left alone; this is for the others.
        let _ = output.warning(&error.to_string());
    }
    match running.wait() {
        Ok(summary) => {
            let released = output.release();
            let account = Account::from((header, &summary));
            let account = Account { suspects_hidden: output.left_out(), unprobed: output.unprobed(), ..account };
            let ended = output.end(&account);
            drained.and(released).and(ended)?;
            if settings.summary {
                tell(&account, output.by_host().as_deref(), screen);
            }
            // The library has warned; how this very program gets the right is for the program to say.
            if settings.args.probing.method == MethodArg::Auto && method == Method::Connect {
                screen.note(&format!("hint: {}", failure::grant()));
            }
            Ok(account)
        }
        Err(error) => {
            // The error itself matters more than whether it could be written.
            let _ = output.failure(&error.to_string());
            drained?;
            Err(error.into())
        }
    }
}

/// What people get to know in the end.
fn tell(account: &Account, by_host: Option<&str>, screen: &Screen) {
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
            Ok(account)
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
        let result = consume(script(steps), &mut samples::output(&mut pipe), |_| {});
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
        consume(next, &mut samples::output(io::sink()), |_| {}).unwrap();
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, LONG, Duration::ZERO, LONG]);
    }

    #[test]
    fn a_broken_pipe_ends_it() {
        let (result, writes) = consumed((0..10_000).map(|_| finding()), true);
        assert!(result.unwrap_err().is_reader_gone());
        assert_eq!(writes, 1);
    }
}
