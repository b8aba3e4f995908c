//! Drives a scan from its settings to its exit code: plan, start, events to the output, account. What is printed and
//! how is for `output` and `screen`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use halfopen::{Event, Running, ScanBuilder};

use crate::args::Command;
use crate::failure::{DONE, Failure};
use crate::output::account::{Account, PlanSize};
use crate::output::{Output, summary};
use crate::screen::{Results, Screen};
use crate::settings::Settings;
use crate::signals;

/// Events between the library and the output: deep enough that writing goes in batches, shallow enough that a reader
/// who does not keep up is noticed soon.
const EVENTS: usize = 4096;

/// Does what was asked and gives the exit code.
pub(crate) fn command(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Scan(args) => scan(&Settings::new(*args)),
    }
}

fn scan(settings: &Settings) -> Result<u8, Failure> {
    announce_input(settings);
    let plan = settings.plan()?;
    let size = PlanSize::of(&plan);
    let targets = plan.len();
    let builder = settings.scan(plan);
    if settings.args.probing.dry_run {
        return dry_run(settings, &builder, size, targets);
    }
    let running = builder.start()?;
    let screen = Screen::new(settings.style);
    let watch = signals::watch(running.stopper(), screen.clone()).map_err(Failure::Signals)?;
    let mut output = Output::new(settings, targets, screen.results());
    let drained = drain(&running, &mut output, &screen);
    screen.clear();
    drained.map_err(Failure::Results)?;
    conclude(settings, running, size, &mut output, &screen)?;
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
    print_probes(scan).map_err(Failure::Results)?;
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

/// Takes every event of a scan until it is over. Results that cannot be written end the scan at once.
fn drain(running: &Running, output: &mut Output<Results>, screen: &Screen) -> io::Result<()> {
    let passes = running.settings().passes;
    let (sender, events) = bounded(EVENTS);
    thread::scope(|scope| {
        scope.spawn(|| relay(running, sender));
        let result = consume(events, output, |event| on_screen(event, screen, passes));
        if result.is_err() {
            running.stopper().abort();
        }
        result
    })
}

/// The library's events block; from a channel of our own it can be seen when none is waiting, and time to flush.
#[expect(clippy::needless_pass_by_value, reason = "the channel ends when this returns")]
fn relay(running: &Running, events: Sender<Event>) {
    for event in running.events() {
        if events.send(event).is_err() {
            break;
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the relay ends when this returns")]
fn consume<W: Write>(events: Receiver<Event>, output: &mut Output<W>, mut also: impl FnMut(&Event)) -> io::Result<()> {
    loop {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(TryRecvError::Disconnected) => return output.flush(),
            Err(TryRecvError::Empty) => {
                output.flush()?;
                match events.recv() {
                    Ok(event) => event,
                    Err(_) => return Ok(()),
                }
            }
        };
        also(&event);
        output.event(&event)?;
    }
}

fn on_screen(event: &Event, screen: &Screen, passes: u8) {
    match event {
        Event::Progress(progress) => screen.progress(progress, passes),
        Event::Warning(text) => screen.warn(text),
        _ => {}
    }
}

/// Closes the account: in the results, and for people on standard error.
fn conclude(
    settings: &Settings,
    running: Running,
    size: PlanSize,
    output: &mut Output<Results>,
    screen: &Screen,
) -> Result<(), Failure> {
    let effective = running.settings().clone();
    match running.wait() {
        Ok(summary) => {
            let account = Account::new(settings, &effective, size, &summary);
            output.end(&account).map_err(Failure::Results)?;
            if !output.tells_all() {
                screen.note(&summary::text(&account));
            }
            Ok(())
        }
        Err(error) => {
            // The error itself matters more than whether it could be written.
            let _ = output.failure(&error.to_string());
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn consumed(events: usize, broken: bool) -> (io::Result<()>, usize) {
        let (sender, receiver) = bounded(events);
        for _ in 0..events {
            sender.send(Event::Verdict(samples::open())).unwrap();
        }
        drop(sender);
        let mut pipe = Pipe { writes: 0, broken };
        let result = consume(receiver, &mut samples::output(&mut pipe), |_| {});
        (result, pipe.writes)
    }

    #[test]
    fn waiting_findings_are_written_together() {
        let (result, writes) = consumed(1000, false);
        assert!(result.is_ok());
        assert_eq!(writes, 1);
    }

    #[test]
    fn many_findings_are_written_before_they_end() {
        let (result, writes) = consumed(10_000, false);
        assert!(result.is_ok());
        assert!((2..100).contains(&writes), "{writes}");
    }

    /// Tells of every write.
    struct Bell(Sender<()>);

    impl Write for Bell {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_finding_is_written_when_no_other_waits() {
        let (sender, receiver) = bounded(1);
        let (bell, rung) = bounded(10);
        thread::scope(|scope| {
            scope.spawn(|| consume(receiver, &mut samples::output(Bell(bell)), |_| {}));
            sender.send(Event::Verdict(samples::open())).unwrap();
            // The scan goes on: the sender is still there.
            assert!(rung.recv_timeout(Duration::from_secs(10)).is_ok());
            drop(sender);
        });
    }

    #[test]
    fn a_broken_pipe_ends_it() {
        let (result, writes) = consumed(10_000, true);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(writes, 1);
    }
}
