//! What the way does to packets: loss, delay, jitter, duplicates, a narrow link. The one place where this is decided;
//! the responder and the simulator both ask it. All delay lies on the way back, where the scanner can see it.

use crate::random::Random;
use crate::scenario::Scenario;

/// The settings, as a scenario gives them. Times in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct EffectsSetting {
    pub(crate) loss_out: f64,
    pub(crate) loss_back: f64,
    pub(crate) duplicate_out: f64,
    pub(crate) duplicate_back: f64,
    pub(crate) delay: u64,
    pub(crate) jitter: u64,
    /// Frames a second that fit through on the way out.
    pub(crate) bandwidth: Option<u32>,
    /// Frames that may wait for the narrow link.
    pub(crate) queue: u32,
}

/// What was done to packets, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EffectsTally {
    /// Lost on the way out by chance.
    pub lost_out: u64,
    /// Lost on the way out because the narrow link's queue was full.
    pub queue_full: u64,
    /// Lost on the way back.
    pub lost_back: u64,
    /// Sent once more on the way out.
    pub duplicated_out: u64,
    /// Sent once more on the way back.
    pub duplicated_back: u64,
}

/// The way between scanner and phantoms.
#[derive(Debug)]
pub struct Effects {
    setting: EffectsSetting,
    out: Random,
    back: Random,
    /// When the narrow link will have sent all that waits for it.
    link_free: u64,
    tally: EffectsTally,
}

impl Effects {
    /// The way that a scenario describes.
    pub(crate) fn of(scenario: &Scenario) -> Effects {
        let seed = scenario.seed;
        // Streams of their own: the number of replies must not change which probes are lost.
        let (out, back) = (Random::new(seed ^ 0x0075_7400), Random::new(seed ^ 0x6261_636B));
        Effects { setting: scenario.network.clone(), out, back, link_free: 0, tally: EffectsTally::default() }
    }

    /// A frame leaves the scanner: calls `deliver` for each copy that arrives, with how long it waited.
    pub(crate) fn outward(&mut self, now: u64, mut deliver: impl FnMut(u64)) {
        let Some(waited) = self.narrow_link(now) else { return };
        if self.out.chance(self.setting.loss_out) {
            self.tally.lost_out += 1;
            return;
        }
        deliver(waited);
        if self.out.chance(self.setting.duplicate_out) {
            self.tally.duplicated_out += 1;
            deliver(waited);
        }
    }

    /// A frame leaves for the scanner: calls `deliver` with each copy that arrives, and its delay.
    pub(crate) fn backward(&mut self, frame: Vec<u8>, mut deliver: impl FnMut(u64, Vec<u8>)) {
        if self.back.chance(self.setting.loss_back) {
            self.tally.lost_back += 1;
            return;
        }
        let first = self.delay();
        if self.back.chance(self.setting.duplicate_back) {
            self.tally.duplicated_back += 1;
            deliver(self.delay(), frame.clone());
        }
        deliver(first, frame);
    }

    /// What was done so far.
    pub fn tally(&self) -> EffectsTally {
        self.tally
    }

    fn delay(&mut self) -> u64 {
        self.setting.delay + self.back.below(self.setting.jitter)
    }

    /// How long a frame waits for the narrow link; none if the queue is full.
    fn narrow_link(&mut self, now: u64) -> Option<u64> {
        let Some(bandwidth) = self.setting.bandwidth else { return Some(0) };
        let each = 1_000_000_000 / u64::from(bandwidth);
        let wait = self.link_free.saturating_sub(now);
        if wait > each * u64::from(self.setting.queue) {
            self.tally.queue_full += 1;
            return None;
        }
        self.link_free = now + wait + each;
        Some(wait)
    }
}
