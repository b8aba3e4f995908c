//! One stretch of the way: what it does to packets, and when that changes. The settings are a builder, so that networks
//! can be made in code as well as read from a scenario's file.

use std::time::Duration;

use super::EffectsTally;
use super::delay::{Delay, Spread};
use super::loss::{Burst, Loss};
use crate::frames::Flow;
use crate::random::{Random, address_part, hash};

/// As deep as a common device's.
pub(crate) const QUEUE: u32 = 1000;

/// What a stretch of the way does to packets: nothing, until it is told to. `out` is what the scanner sends, `back` what
/// comes to it.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    pub(crate) loss_out: Loss,
    pub(crate) loss_back: Loss,
    pub(crate) duplicate_out: f64,
    pub(crate) duplicate_back: f64,
    pub(crate) delay: Delay,
    /// How far each host is by itself.
    pub(crate) distance: Delay,
    /// The share of replies that are held back, and for how long.
    pub(crate) reorder: f64,
    pub(crate) reorder_by: u64,
    /// Frames a second that fit through on the way out, and how many may wait.
    pub(crate) bandwidth: Option<u32>,
    pub(crate) queue: Option<u32>,
    /// In order of time.
    pub(crate) changes: Vec<Change>,
}

/// What becomes of a stretch at some time; what it does not name stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Nanoseconds since the first frame.
    pub(crate) at: u64,
    pub(crate) loss_out: Option<f64>,
    pub(crate) loss_back: Option<f64>,
    pub(crate) delay: Option<u64>,
    pub(crate) bandwidth: Option<u32>,
    pub(crate) queue: Option<u32>,
}

impl Stretch {
    /// One that does nothing.
    pub fn new() -> Stretch {
        Stretch::default()
    }

    /// Loses these shares, each packet by itself.
    pub fn loss(mut self, out: f64, back: f64) -> Stretch {
        (self.loss_out.mean, self.loss_back.mean) = (out, back);
        self.checked()
    }

    /// What is lost goes in bursts of so many packets on average, both ways.
    pub fn bursts(mut self, packets: f64) -> Stretch {
        (self.loss_out.burst, self.loss_back.burst) = (Some(packets), Some(packets));
        self.checked()
    }

    /// Sends these shares twice.
    pub fn duplicates(mut self, out: f64, back: f64) -> Stretch {
        (self.duplicate_out, self.duplicate_back) = (out, back);
        self
    }

    /// Replies take so long.
    pub fn delay(mut self, delay: Duration) -> Stretch {
        self.delay.least = nanoseconds(delay);
        self
    }

    /// And more or less by this much, each by itself.
    pub fn jitter(mut self, jitter: Duration, spread: Spread) -> Stretch {
        (self.delay.jitter, self.delay.spread) = (nanoseconds(jitter), spread);
        self
    }

    /// And each host by this much, drawn once for its address.
    pub fn distance(mut self, distance: Duration, spread: Spread) -> Stretch {
        (self.distance.jitter, self.distance.spread) = (nanoseconds(distance), spread);
        self
    }

    /// Holds back this share of the replies, so that others overtake them.
    pub fn reorder(mut self, share: f64, by: Duration) -> Stretch {
        (self.reorder, self.reorder_by) = (share, nanoseconds(by));
        self
    }

    /// Lets so many probes a second through; so many may wait, more are lost.
    pub fn bandwidth(mut self, rate: u32, queue: u32) -> Stretch {
        (self.bandwidth, self.queue) = (Some(rate.max(1)), Some(queue));
        self
    }

    /// Changes, later than all changes before.
    pub fn change(mut self, change: Change) -> Stretch {
        self.changes.push(change);
        self
    }

    fn checked(self) -> Stretch {
        assert!(self.loss_out.is_possible() && self.loss_back.is_possible(), "no such loss: {self:?}");
        self
    }

    fn apply(&mut self, change: &Change) {
        self.loss_out.mean = change.loss_out.unwrap_or(self.loss_out.mean);
        self.loss_back.mean = change.loss_back.unwrap_or(self.loss_back.mean);
        self.delay.least = change.delay.unwrap_or(self.delay.least);
        self.bandwidth = change.bandwidth.or(self.bandwidth);
        self.queue = change.queue.or(self.queue);
    }
}

impl Change {
    /// A change so long after the first frame.
    pub fn at(since_start: Duration) -> Change {
        Change { at: nanoseconds(since_start), ..Change::default() }
    }

    /// To these losses.
    pub fn loss(mut self, out: f64, back: f64) -> Change {
        (self.loss_out, self.loss_back) = (Some(out), Some(back));
        self
    }

    /// To this delay.
    pub fn delay(mut self, delay: Duration) -> Change {
        self.delay = Some(nanoseconds(delay));
        self
    }

    /// To so many probes a second.
    pub fn bandwidth(mut self, rate: u32) -> Change {
        self.bandwidth = Some(rate.max(1));
        self
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

/// A stretch at work.
#[derive(Debug)]
pub(crate) struct Walked {
    /// As it is now.
    setting: Stretch,
    /// How many changes are behind it.
    changed: usize,
    seed: u64,
    // Streams of their own: the number of replies must not change which probes are lost, nor may their order.
    out: Random,
    back: Random,
    order: Random,
    burst_out: Burst,
    burst_back: Burst,
    /// When the narrow link will have sent all that waits for it.
    link_free: u64,
}

impl Walked {
    pub(crate) fn new(setting: Stretch, seed: u64) -> Walked {
        let stream = |salt: u64| Random::new(seed ^ salt);
        Walked {
            setting,
            changed: 0,
            seed,
            out: stream(0x0075_7400),
            back: stream(0x6261_636B),
            order: stream(0x6F72_6465),
            burst_out: Burst::default(),
            burst_back: Burst::default(),
            link_free: 0,
        }
    }

    /// Whether it asks whom a packet is for.
    pub(crate) fn minds_hosts(&self) -> bool {
        self.setting.distance != Delay::default()
    }

    /// So much time has passed since the first frame.
    pub(crate) fn advance(&mut self, elapsed: u64) {
        while let Some(change) = self.setting.changes.get(self.changed).copied().filter(|change| change.at <= elapsed) {
            self.setting.apply(&change);
            self.changed += 1;
        }
    }

    /// A frame leaves the scanner: calls `deliver` for each copy that arrives, with how long it waited.
    pub(crate) fn outward(
        &mut self,
        now: u64,
        tally: &mut EffectsTally,
        mut deliver: impl FnMut(&mut EffectsTally, u64),
    ) {
        let Some(waited) = self.narrow_link(now) else {
            tally.queue_full += 1;
            return;
        };
        if self.burst_out.takes(&self.setting.loss_out, &mut self.out) {
            tally.lost_out += 1;
            return;
        }
        deliver(tally, waited);
        if self.out.chance(self.setting.duplicate_out) {
            tally.duplicated_out += 1;
            deliver(tally, waited);
        }
    }

    /// A frame leaves for the scanner: calls `deliver` with the delay of each copy that arrives.
    pub(crate) fn backward(
        &mut self,
        flow: Option<&Flow>,
        tally: &mut EffectsTally,
        mut deliver: impl FnMut(&mut EffectsTally, u64),
    ) {
        if self.burst_back.takes(&self.setting.loss_back, &mut self.back) {
            tally.lost_back += 1;
            return;
        }
        let distance = self.distance(flow);
        let first = distance + self.delay(tally);
        if self.back.chance(self.setting.duplicate_back) {
            tally.duplicated_back += 1;
            let second = distance + self.delay(tally);
            deliver(tally, second);
        }
        deliver(tally, first);
    }

    fn delay(&mut self, tally: &mut EffectsTally) -> u64 {
        let held = self.order.chance(self.setting.reorder);
        tally.held_back += u64::from(held);
        self.setting.delay.draw(&mut self.back) + if held { self.setting.reorder_by } else { 0 }
    }

    fn distance(&self, flow: Option<&Flow>) -> u64 {
        let Some(flow) = flow.filter(|_| self.minds_hosts()) else { return 0 };
        self.setting.distance.draw(&mut Random::new(hash(&[self.seed, address_part(flow.target.address)])))
    }

    /// How long a frame waits for the narrow link; none if the queue is full.
    fn narrow_link(&mut self, now: u64) -> Option<u64> {
        let Some(bandwidth) = self.setting.bandwidth else { return Some(0) };
        let each = 1_000_000_000 / u64::from(bandwidth);
        let wait = self.link_free.saturating_sub(now);
        if wait > each * u64::from(self.setting.queue.unwrap_or(QUEUE)) {
            return None;
        }
        self.link_free = now + wait + each;
        Some(wait)
    }
}
