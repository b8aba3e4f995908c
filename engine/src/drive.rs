//! The two drivers' common ground, and the real one: threads, sockets and the monotonic clock around the state machines.
//! (The other driver is `simulate.rs`: a virtual network under a virtual clock.)

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender as Channel, TrySendError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::counters::{Shared, Turn, add, load, set};
use crate::event::Event;
use crate::link::{Clock, LinkRx, LinkTx, STUCK, is_fatal};
use crate::progress::{self, RateMeter};
use crate::receiver::Receiver;
use crate::route::{self, Sweep};
use crate::sender::{Lost, Sender, Step};
use crate::time::Time;

/// Nobody sleeps longer than this: it is how soon a wish to stop is noticed.
const NAP: Duration = Duration::from_millis(5);
/// How often progress is reported.
pub(crate) const REPORT: Duration = Duration::from_millis(250);
/// Silent targets reported between two looks at the links.
const CLOSING: usize = 4096;
/// The same when nobody reads, so that nothing has to be waited for.
const UNREAD: usize = 1 << 20;

/// A time, and the way to wait for one.
pub(crate) trait Timekeeper {
    /// The time.
    fn now(&self) -> Time;
    /// Waits until something may have arrived at one of these links, or `until`, or a little while.
    fn wait(&self, links: &[Box<dyn LinkRx>], until: Time);
}

impl Timekeeper for Clock {
    fn now(&self) -> Time {
        Clock::now(self)
    }

    fn wait(&self, links: &[Box<dyn LinkRx>], until: Time) {
        let nap = until.since(Clock::now(self)).min(NAP);
        let mut descriptors: Vec<_> = links
            .iter()
            .filter_map(|link| link.descriptor())
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::try_from(nap.as_nanos()).unwrap_or(0) };
        // An interrupted or failed poll is a short one.
        let _ = poll(&mut descriptors, Some(&timeout));
    }
}

/// Runs a sweep on one link to its end. Stops early when the scan is stopped; fails when the device is gone, or takes
/// nothing for a long time.
pub(crate) fn sweep(
    sweep: &mut Sweep,
    tx: &mut dyn LinkTx,
    rx: &mut Box<dyn LinkRx>,
    time: &impl Timekeeper,
    clock: &Clock,
    stopped: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut refused: Option<(Time, io::Error)> = None;
    loop {
        rx.receive(clock, &mut |received| sweep.frame(received.at, received.frame))?;
        let now = time.now();
        let step = sweep.poll(now, &mut |frame| {
            let since = refused.take().map_or(now, |(since, _)| since);
            refused = tx.frame(frame).err().map(|error| (since, error));
            refused.is_none()
        });
        if let Some((_, error)) = refused.take_if(|(since, error)| is_fatal(error) || now.since(*since) >= STUCK) {
            return Err(error);
        }
        match step {
            route::Step::Until(until) if !stopped() => time.wait(std::slice::from_ref(rx), until),
            _ => return Ok(()),
        }
    }
}

/// Runs the sender until it is done.
pub(crate) fn send(
    sender: &mut Sender,
    links: &mut [Box<dyn LinkTx>],
    clock: &Clock,
    shared: &Shared,
) -> Result<(), Lost> {
    loop {
        let step = sender.poll(clock.now(), links);
        let losses = links.iter().map(|link| link.losses());
        let (errors, retries) = losses.fold((0, 0), |(errors, retries), l| (errors + l.errors, retries + l.retries));
        set(&shared.sender.send_errors, errors);
        set(&shared.sender.send_retries, retries);
        match step? {
            Step::Until(until) => nap(until.since(clock.now()).min(NAP)),
            Step::Done => return Ok(()),
        }
    }
}

fn nap(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

/// Runs the receiver until the sender is done.
pub(crate) fn receive(
    receiver: &mut Receiver,
    links: &mut [Box<dyn LinkRx>],
    clock: &Clock,
    shared: &Shared,
    outbox: &mut Outbox,
) {
    let mut reporter = Reporter::default();
    loop {
        let turn = receiver.turn();
        if turn == Turn::Done || shared.aborted() {
            break;
        }
        take_off(receiver, links, clock, outbox);
        if turn == Turn::Closing {
            receiver.close(clock.now(), outbox.room().min(CLOSING), |verdict| outbox.send(Event::Verdict(verdict)));
        }
        outbox.flush();
        shared.set_congested(outbox.congested());
        reporter.tick(clock.now(), links, shared, outbox);
        if turn != Turn::Closing || outbox.room() == 0 {
            clock.wait(links, clock.now() + if outbox.backlog.is_empty() { NAP } else { NAP / 5 });
        }
    }
    reporter.count_drops(links, shared);
}

/// Takes off what has arrived at every link. A link whose socket reports an error (its device went down) yields nothing;
/// the sender finds out and ends the scan.
pub(crate) fn take_off(receiver: &mut Receiver, links: &mut [Box<dyn LinkRx>], clock: &Clock, outbox: &mut Outbox) {
    for link in links {
        let layer = link.layer();
        let _ = link.receive(clock, &mut |received| {
            if let Some(verdict) = receiver.frame(received.at, layer, received.frame, received.verify) {
                outbox.send(Event::Verdict(verdict));
            }
        });
    }
}

/// Reports progress now and then.
#[derive(Default)]
struct Reporter {
    next: Time,
    meter: RateMeter,
}

impl Reporter {
    fn tick(&mut self, now: Time, links: &mut [Box<dyn LinkRx>], shared: &Shared, outbox: &mut Outbox) {
        if now < self.next {
            return;
        }
        self.next = now + REPORT;
        set(&shared.receiver.recent_rate, self.meter.mark(now, shared.sender.total_sent()));
        self.count_drops(links, shared);
        outbox.progress(shared, now);
    }

    fn count_drops(&self, links: &mut [Box<dyn LinkRx>], shared: &Shared) {
        let drops = links.iter_mut().map(|link| link.drops()).sum::<u64>();
        let counter = &shared.receiver.ring_drops;
        add(counter, drops.saturating_sub(load(counter)));
    }
}

/// The way out for events: a bounded channel, and behind it a backlog for what the channel does not take. While there is
/// a backlog the sender pauses, so that it can only grow by answers to probes that are already under way.
pub(crate) struct Outbox {
    channel: Channel<Event>,
    capacity: usize,
    backlog: VecDeque<Event>,
    unread: bool,
    targets: u64,
    passes: u8,
}

impl Outbox {
    pub(crate) fn new(channel: Channel<Event>, targets: u64, passes: u8) -> Self {
        let capacity = channel.capacity().unwrap_or(usize::MAX);
        Outbox { channel, capacity, backlog: VecDeque::new(), unread: false, targets, passes }
    }

    /// Queues an event; it is never lost while somebody reads.
    pub(crate) fn send(&mut self, event: Event) {
        if self.unread {
            return;
        }
        self.backlog.push_back(event);
        self.flush();
    }

    /// Queues a report of progress, if there is room for it.
    pub(crate) fn progress(&mut self, shared: &Shared, now: Time) {
        if self.room() > 0 {
            self.send(Event::Progress(progress::snapshot(shared, self.targets, self.passes, now)));
        }
    }

    /// Moves the backlog into the channel, as far as it goes.
    pub(crate) fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.channel.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.backlog.push_front(event),
                Err(TrySendError::Disconnected(_)) => {
                    self.unread = true;
                    self.backlog.clear();
                }
            }
        }
    }

    /// How many events can be queued without a backlog.
    pub(crate) fn room(&self) -> usize {
        match (self.unread, self.backlog.is_empty()) {
            (true, _) => UNREAD,
            (false, true) => self.capacity - self.channel.len().min(self.capacity),
            (false, false) => 0,
        }
    }

    /// Whether the reader is behind.
    pub(crate) fn congested(&self) -> bool {
        self.room() < self.capacity / 2
    }

    /// Delivers everything that is queued and the last event, waiting for the reader.
    pub(crate) fn finish(mut self, shared: &Arc<Shared>, now: Time) {
        let last = Event::Progress(progress::snapshot(shared, self.targets, self.passes, now));
        self.backlog.push_back(last);
        for event in self.backlog {
            if self.channel.send(event).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(text: &str) -> Event {
        Event::Warning(text.into())
    }

    #[test]
    fn a_slow_reader_loses_nothing_and_congests() {
        let (tx, rx) = crossbeam_channel::bounded(4);
        let mut outbox = Outbox::new(tx, 1, 1);
        assert!(!outbox.congested());
        (0..10).for_each(|i| outbox.send(warning(&i.to_string())));
        assert_eq!((outbox.room(), outbox.congested()), (0, true));
        outbox.progress(&Shared::new(1, 1), Time::ZERO);
        let mut read = Vec::new();
        while let Ok(event) = rx.try_recv() {
            read.push(event);
            outbox.flush();
        }
        let expected: Vec<_> = (0..10).map(|i| warning(&i.to_string())).collect();
        assert_eq!(read, expected);
        assert!(!outbox.congested());
    }

    #[test]
    fn without_a_reader_nothing_waits() {
        let (tx, rx) = crossbeam_channel::bounded(1);
        drop(rx);
        let mut outbox = Outbox::new(tx, 1, 1);
        (0..10).for_each(|_| outbox.send(warning("x")));
        assert!(outbox.backlog.is_empty() && outbox.room() > 1000 && !outbox.congested());
        outbox.finish(&Arc::new(Shared::new(1, 1)), Time::ZERO);
    }
}
