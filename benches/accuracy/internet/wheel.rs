//! Answers on their way, in slots of time: putting one in and taking one out cost the same however many there are, which
//! a heap's do not.

/// Nanoseconds a slot: what comes within one comes at its end.
const SLOT: u64 = 100_000;
/// A power of two, for more time than any answer takes.
const SLOTS: u64 = 8192;

/// What arrives when.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// The first slot, counted from time zero, that may have something.
    next: u64,
    len: usize,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Wheel<T> {
        Wheel { slots: (0..SLOTS).map(|_| Vec::new()).collect(), next: 0, len: 0 }
    }

    /// Arrives at this time, rounded up to the end of its slot; no earlier than what was taken, and within 0.8 s of it.
    pub(super) fn put(&mut self, at: u64, what: T) {
        let slot = (at / SLOT).clamp(self.next, self.next + SLOTS - 1);
        self.slots[(slot % SLOTS) as usize].push(what);
        self.len += 1;
    }

    /// When the first arrives.
    pub(super) fn first(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let slot = (self.next..).find(|slot| !self.slots[(slot % SLOTS) as usize].is_empty())?;
        Some((slot + 1) * SLOT)
    }

    /// Takes all that has arrived, in order.
    pub(super) fn take(&mut self, now: u64, mut take: impl FnMut(u64, T)) {
        while (self.next + 1) * SLOT <= now {
            let slot = &mut self.slots[(self.next % SLOTS) as usize];
            self.len -= slot.len();
            slot.drain(..).for_each(|what| take((self.next + 1) * SLOT, what));
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_out_in_order_at_the_end_of_its_slot() {
        let mut wheel = Wheel::new();
        for at in [250_000, 50_000, 199_999, 200_000, 700_000_000] {
            wheel.put(at, at);
        }
        assert_eq!(wheel.first(), Some(100_000));
        let mut taken = Vec::new();
        wheel.take(99_999, |_, _| panic!("nothing has arrived"));
        wheel.take(300_000, |at, what| taken.push((at, what)));
        assert_eq!(taken, [(100_000, 50_000), (200_000, 199_999), (300_000, 250_000), (300_000, 200_000)]);
        assert_eq!(wheel.first(), Some(700_100_000));
        wheel.take(1_000_000_000, |at, _| assert_eq!(at, 700_100_000));
        assert_eq!(wheel.first(), None);
    }
}
