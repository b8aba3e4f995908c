//! Takes the events of a scan to its results: told in batches while more are waiting, flushed as soon as none is. What the
//! results make of them is for `output`, what is kept of them for `keeper`.

use std::io::Write;
use std::time::{Duration, Instant};

use halfopen::{Event, Progress, Quiet, Running};
use halfopen_results::sink::Error;

use crate::keeper::Keeper;
use crate::output::Output;
use crate::screen::Screen;
use crate::stats::Stats;

/// How long to wait for an event when there is nothing left to write: it wakes up by itself when one comes.
const LONG: Duration = Duration::from_secs(3600);
/// Events that are told together.
const TOGETHER: usize = 256;

/// Writes in batches while events are waiting, and everything as soon as none is.
pub(super) fn drain<W: Write>(
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

/// The next event, if one comes within this time; statistics are written meanwhile.
pub(super) fn next(
    running: &Running,
    stats: Option<&mut Stats>,
    progress: impl Fn() -> Progress,
    screen: &Screen,
    wait: Duration,
) -> Result<Option<Event>, Quiet> {
    let event = match stats {
        Some(stats) => next_beside(stats, running, &progress, screen, wait),
        None => running.next_event(wait),
    };
    // What has come is about to be written.
    if event.is_err() && wait.is_zero() {
        screen.catch_up(progress);
    }
    event
}

fn next_beside(
    stats: &mut Stats,
    running: &Running,
    progress: impl Fn() -> Progress,
    screen: &Screen,
    wait: Duration,
) -> Result<Option<Event>, Quiet> {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let event = running.next_event(left.min(stats.due_in()));
        if stats.due_in().is_zero() {
            stats.tick(&progress()).iter().for_each(|text| screen.warn(text));
        }
        if event.is_ok() || left.is_zero() {
            return event;
        }
    }
}

/// Writes events down where the scan is kept, and then to the results.
fn tell<W: Write>(events: &mut Vec<Event>, output: &mut Output<W>, keeper: &mut Option<Keeper>) -> Result<(), Error> {
    keeper.iter_mut().for_each(|keeper| keeper.note(events));
    events.drain(..).try_for_each(|event| output.event(&event))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

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
        let result = drain(script(steps), &mut samples::output(&mut pipe), &mut None, |_| {});
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
        drain(next, &mut samples::output(io::sink()), &mut None, |_| {}).unwrap();
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, LONG, Duration::ZERO, LONG]);
    }

    #[test]
    fn a_broken_pipe_ends_it() {
        let (result, writes) = consumed((0..10_000).map(|_| finding()), true);
        assert!(result.unwrap_err().is_reader_gone());
        assert_eq!(writes, 1);
    }
}
