//! The two drivers' common ground, and the real one: threads, sockets and the monotonic clock around the state machines.
//! (The other driver is `simulate.rs`: a virtual network under a virtual clock.)

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver as Outgoing, Sender as Channel, TrySendError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::counters::{Shared, Turn, load, raise, set};
use crate::event::{Event, Phase, Progress};
use crate::link::{Clock, LinkRx, LinkTx, PATIENCE, is_busy, is_fatal, stuck};
use crate::progress::{self, RateMeter};
use crate::receiver::Receiver;
use crate::route::{self, Sweep};
use crate::sender::{Sender, Step};
use crate::time::Time;
use crate::walker::{Lost, Walker};
use crate::wire::rst::Rst;

/// Nobody sleeps longer than this: it is how soon a wish to stop is noticed.
const NAP: Duration = Duration::from_millis(5);
/// How often progress is reported.
pub(crate) const REPORT: Duration = Duration::from_millis(250);
/// How soon to look again at a device's drops that are new: by then a sender has counted those that it knows of.
const CONFIRM: Duration = Duration::from_millis(20);
/// How often drops are looked for: each look asks the kernel for the state of all its devices.
const LOOK: Duration = Duration::from_millis(100);
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
        let patience = links.iter().filter_map(|link| link.patience()).fold(NAP, Duration::min);
        let nap = until.since(Clock::now(self)).min(patience);
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

/// Runs a sweep on one link to its end. Stops early when the scan is stopped. An error means that the link is gone.
pub(crate) fn sweep(
    sweep: &mut Sweep,
    tx: &mut dyn LinkTx,
    rx: &mut Box<dyn LinkRx>,
    time: &impl Timekeeper,
    clock: &Clock,
    stopped: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut outlet = Outlet::new(time.now());
    loop {
        rx.receive(clock, &mut |received| sweep.frame(received.at, received.frame))?;
        let now = time.now();
        let step = sweep.poll(now, &mut |frame| outlet.take(tx.frame(frame), now));
        if let Some(lost) = outlet.lost() {
            return Err(lost);
        }
        match step {
            route::Step::Until(until) if !stopped() => time.wait(std::slice::from_ref(rx), until),
            _ => return Ok(()),
        }
    }
}

/// Watches whether a link still takes frames that are no probes.
pub(crate) struct Outlet {
    lost: Option<io::Error>,
    /// When it last took one.
    taken: Time,
}

impl Outlet {
    /// One that nothing has been sent through.
    pub(crate) fn new(now: Time) -> Self {
        Outlet { lost: None, taken: now }
    }

    /// What has become of the link, if it is gone.
    pub(crate) fn lost(&mut self) -> Option<io::Error> {
        self.lost.take()
    }

    /// Whether the frame is out of our hands. A full queue is tried again, for a while; what is refused for itself is not.
    pub(crate) fn take(&mut self, result: io::Result<()>, now: Time) -> bool {
        match result {
            Err(error) if is_fatal(&error) => self.lost = Some(error),
            Err(error) if is_busy(&error) && now.since(self.taken) > PATIENCE => self.lost = Some(stuck()),
            Err(error) if is_busy(&error) => return false,
            _ => self.taken = now,
        }
        true
    }
}

/// Runs a walker until it is done, and in the same thread the sender, if it is this one's business.
pub(crate) fn send(
    mut sender: Option<Sender>,
    walker: &mut Walker,
    links: &mut [Box<dyn LinkTx>],
    resets: &mut Resets,
    clock: &Clock,
) -> Result<(), Lost> {
    let mut closed = Time::ZERO;
    loop {
        let now = clock.now();
        if resets.send(links)? {
            closed = now;
        }
        let led = sender.as_mut().map_or(Step::Until(Time::NEVER), |sender| sender.poll(now));
        match (led, walker.poll(now, links)?) {
            (Step::Until(led), Step::Until(until)) => {
                let longest = if now.since(closed) < CLOSING_TIME { GLANCE } else { NAP };
                nap(until.min(led).since(clock.now()).min(longest));
            }
            _ => return resets.finish(links),
        }
    }
}

fn nap(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

/// Milliseconds that the last RSTs may take to leave.
const FAREWELL: u32 = 500;
/// For so long after a RST more are looked for, every so often: a half-open connection costs its host memory.
const CLOSING_TIME: Duration = Duration::from_millis(20);
const GLANCE: Duration = Duration::from_micros(200);

/// RSTs on their way from the receiver to the first sender, each with the link that it leaves through: one thread alone
/// sends through a link, and the device's queues stay on that thread's core.
pub(crate) struct Resets {
    /// None where the kernel closes what is half open, or another sender does it.
    pub(crate) arriving: Option<Outgoing<(usize, Rst)>>,
    /// One that a link did not take yet.
    pub(crate) waiting: Option<(usize, Rst)>,
}

impl Resets {
    /// Sends what has arrived, as far as the links take it. Whether there was any.
    fn send(&mut self, links: &mut [Box<dyn LinkTx>]) -> Result<bool, Lost> {
        let Some(arriving) = &self.arriving else { return Ok(false) };
        let mut touched = false;
        while let Some((link, rst)) = self.waiting.take().or_else(|| arriving.try_recv().ok()) {
            touched = true;
            match links[link].frame(rst.frame()) {
                Err(error) if is_busy(&error) => {
                    self.waiting = Some((link, rst));
                    break;
                }
                // Politeness that fails is not missed; a lost link says so to the walker, too.
                _ => {}
            }
        }
        let flush =
            |(link, tx): (usize, &mut Box<dyn LinkTx>)| tx.flush().map(drop).map_err(|source| Lost { link, source });
        if touched {
            links.iter_mut().enumerate().try_for_each(flush)?;
        }
        Ok(touched)
    }
}

impl Resets {
    /// Sends what is left, at the end of a scan; for a moment, if the links do not take it.
    fn finish(&mut self, links: &mut [Box<dyn LinkTx>]) -> Result<(), Lost> {
        for _ in 0..FAREWELL {
            self.send(links)?;
            let is_empty = self.waiting.is_none() && links.iter_mut().all(|link| matches!(link.flush(), Ok(true)));
            if self.arriving.is_none() || is_empty {
                break;
            }
            nap(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Runs the receiver until the sender is done, or until a link is lost.
pub(crate) fn receive(
    receiver: &mut Receiver,
    links: &mut [Box<dyn LinkRx>],
    clock: &Clock,
    shared: &Shared,
    outbox: &mut Outbox,
    lookout: &mut Lookout,
    closing: &mut dyn FnMut(usize, Rst),
) -> Result<(), Lost> {
    let mut reporter = Reporter::default();
    loop {
        lookout.look(clock.now(), links, shared);
        let turn = receiver.turn();
        if turn == Turn::Done || shared.aborted() {
            break;
        }
        take_off(receiver, links, clock, outbox, closing)?;
        if turn == Turn::Closing {
            receiver.close(clock.now(), outbox.room().min(CLOSING), |verdict| outbox.send(Event::Verdict(verdict)));
        }
        receiver.examine(clock.now(), &mut |event| outbox.send(event));
        outbox.flush();
        shared.set_congested(outbox.congested());
        reporter.tick(clock.now(), links, shared, outbox);
        if turn != Turn::Closing || outbox.room() == 0 {
            clock.wait(links, clock.now() + if outbox.backlog.is_empty() { NAP } else { NAP / 5 });
        }
    }
    receiver.examine(clock.now(), &mut |event| outbox.send(event));
    count_drops(links, shared);
    doubts(shared).into_iter().for_each(|warning| outbox.send(warning));
    Ok(())
}

/// Takes off what has arrived at every link. A socket whose device went down says so, also while nothing is sent. What
/// closes a half-open connection that the kernel does not see goes to `closing`, with the link that it came by.
pub(crate) fn take_off(
    receiver: &mut Receiver,
    links: &mut [Box<dyn LinkRx>],
    clock: &Clock,
    outbox: &mut Outbox,
    closing: &mut dyn FnMut(usize, Rst),
) -> Result<(), Lost> {
    for (link, rx) in links.iter_mut().enumerate() {
        let (layer, takes_away) = (rx.layer(), rx.takes_away());
        let mut sink = |verdict| outbox.send(Event::Verdict(verdict));
        let taken = rx.receive(clock, &mut |received| {
            if takes_away {
                receiver.reset(received.frame, received.checksum).into_iter().for_each(|rst| closing(link, rst));
            }
            receiver.frame(received.at, layer, received.frame, received.checksum, &mut sink);
        });
        receiver.settle(&mut sink);
        match taken {
            Err(source) if is_fatal(&source) => return Err(Lost { link, source }),
            _ => {}
        }
    }
    Ok(())
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
        set(
            &shared.receiver.recent_rate,
            self.meter.mark(now, shared.total_sent() + shared.sum(|walker| &walker.again)),
        );
        count_drops(links, shared);
        outbox.progress(shared, now);
    }
}

fn count_drops(links: &mut [Box<dyn LinkRx>], shared: &Shared) {
    raise(&shared.receiver.ring_drops, links.iter_mut().map(|link| link.drops()).sum());
}

/// Frames that a device may count as dropped on receipt between two looks without meaning it: Linux counts there what no
/// protocol wants, too, of which there is some on any network. A device that is overrun drops more.
const UNWANTED: u64 = 16;

/// What devices have counted as dropped.
#[derive(Debug, Clone, Copy)]
struct Counted {
    received: u64,
    sent: u64,
}

impl Counted {
    /// A full queue's refusal is a drop to some drivers; what was refused is sent later. The sender counts its refusals a
    /// little later than the device does.
    fn less(self, refused: u64) -> u64 {
        self.received + self.sent.saturating_sub(refused)
    }
}

/// Looks for what our own side drops, so that it can be probed again.
pub(crate) struct Lookout {
    next: Time,
    /// What the devices had counted as dropped on receipt, and how much of it was meant.
    received: (u64, u64),
    /// Drops of the devices that were seen and may turn out to be refusals that the sender has not counted yet.
    unconfirmed: Option<(Counted, Time)>,
    /// Drops of the devices since the scan began: received, and to be sent. None if the kernel does not say just now.
    device: Box<dyn FnMut() -> Option<(u64, u64)> + Send>,
}

impl Lookout {
    pub(crate) fn new(device: impl FnMut() -> Option<(u64, u64)> + Send + 'static) -> Self {
        Lookout { next: Time::ZERO, received: (0, 0), unconfirmed: None, device: Box::new(device) }
    }

    /// Looks, if it is time to, or if somebody waits for it.
    pub(crate) fn look(&mut self, now: Time, links: &mut [Box<dyn LinkRx>], shared: &Shared) {
        let is_confirming = self.unconfirmed.is_some();
        if now < self.next && (is_confirming || !shared.is_look_wanted(now)) {
            return;
        }
        count_drops(links, shared);
        let Some((received, sent)) = (self.device)() else {
            self.next = now + LOOK;
            // No news is none: who waits for the count must not wait for ever.
            shared.set_looked(now);
            return;
        };
        let counted = Counted { received: self.meant(received), sent };
        let refused = shared.sum(|walker| &walker.send_retries);
        let (first, at) = self.unconfirmed.unwrap_or((counted, now));
        let drops = first.less(refused);
        if drops > load(&shared.receiver.device_drops) && self.unconfirmed.is_none() {
            self.unconfirmed = Some((counted, now));
            self.next = now + CONFIRM;
            return;
        }
        self.next = now + LOOK;
        self.unconfirmed = None;
        raise(&shared.receiver.device_drops, drops);
        shared.set_looked(at);
    }

    /// How many of the frames dropped on receipt were dropped for want of room.
    fn meant(&mut self, received: u64) -> u64 {
        let (before, meant) = self.received;
        let risen = received.saturating_sub(before);
        self.received = (received, meant + if risen < UNWANTED { 0 } else { risen });
        self.received.1
    }
}

/// What is to be said at the end where our own drops did not end.
pub(crate) fn doubts(shared: &Shared) -> Option<Event> {
    let doubtful = shared.sum(|walker| &walker.doubtful);
    let verb = if doubtful == 1 { "target is" } else { "targets are" };
    (doubtful > 0).then(|| {
        Event::Warning(format!(
            "this machine or its device dropped packets to the end, although what they may have concerned was probed again \
             more slowly: {doubtful} {verb} called filtered that may have answered; scan with a lower rate"
        ))
    })
}

/// The way out for events: a bounded channel, and behind it a backlog for what the channel does not take. While there is
/// a backlog the sender pauses, so that it can only grow by answers to probes that are already under way.
pub(crate) struct Outbox {
    channel: Channel<Event>,
    capacity: usize,
    backlog: VecDeque<Event>,
    unread: bool,
    targets: u64,
}

impl Outbox {
    pub(crate) fn new(channel: Channel<Event>, targets: u64) -> Self {
        let capacity = channel.capacity().unwrap_or(usize::MAX);
        Outbox { channel, capacity, backlog: VecDeque::new(), unread: false, targets }
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
            self.send(Event::Progress(progress::snapshot(shared, self.targets, now)));
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
        let end = Progress { phase: Phase::Done, ..progress::snapshot(shared, self.targets, now) };
        let last = Event::Progress(end);
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
        let mut outbox = Outbox::new(tx, 1);
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
    fn a_sweep_bears_with_a_full_queue_but_not_for_ever() {
        let mut outlet = Outlet { lost: None, taken: Time::ZERO };
        let fails = |code| Err(io::Error::from_raw_os_error(code));
        assert!(!outlet.take(fails(libc::ENOBUFS), Time::from(PATIENCE)));
        assert!(outlet.take(Ok(()), Time::from(PATIENCE)));
        assert!(outlet.take(fails(libc::EPERM), Time::from(PATIENCE)), "refused for itself");
        assert!(!outlet.take(fails(libc::ENOBUFS), Time::from(PATIENCE * 2)));
        assert!(outlet.lost.is_none());
        outlet.take(fails(libc::ENOBUFS), Time::from(PATIENCE * 3));
        assert_eq!(outlet.lost.take().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
        outlet.take(fails(libc::ENETDOWN), Time::ZERO);
        assert!(outlet.lost.is_some());
    }

    #[test]
    fn devices_that_cannot_be_asked_hold_nobody_up() {
        let (shared, mut lookout) = (Shared::new(1, 1), Lookout::new(|| None));
        lookout.look(Time(7), &mut [], &shared);
        assert_eq!((shared.looked(), shared.dropped()), (Time(7), 0));
    }

    #[test]
    fn without_a_reader_nothing_waits() {
        let (tx, rx) = crossbeam_channel::bounded(1);
        drop(rx);
        let mut outbox = Outbox::new(tx, 1);
        (0..10).for_each(|_| outbox.send(warning("x")));
        assert!(outbox.backlog.is_empty() && outbox.room() > 1000 && !outbox.congested());
        outbox.finish(&Arc::new(Shared::new(1, 1)), Time::ZERO);
    }
}
