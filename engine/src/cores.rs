//! Which core each thread of a fast scan stays on: the receiver one, each sender another, so that none waits for its turn
//! behind another and no cache is left behind.
//!
//! All or none: where there are fewer cores than threads, senders that had to share would leave the receiver's core idle
//! while it has nothing to do, and the scheduler does better. (Two senders on two cores, at the highest rate before a
//! silent network over a veth pair: 1.07 million probes a second when they share one, 2.04 million unpinned.)
//!
//! Only an optimisation, and only where it helps: a slow scan's threads mostly sleep, and many slow scans in one process
//! should not sleep on the same core. Where the kernel does not pin a thread, it runs wherever it may, and nobody is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::pace::{Pps, Rate};

/// From this rate on, in probes a second, threads are pinned: below it a core is idle for most of the time.
const FAST: u64 = 100_000;

/// Cores left to others: who reads the events, first of all. A pinned thread cannot make way, and a receiver that waits
/// for its only core while others sit on it is what pinning is meant to prevent.
const SPARE: usize = 1;

/// Where the threads of a scan stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores {
    receiver: usize,
    /// By sender.
    senders: Vec<usize>,
}

/// How many threads of this process were given a core: the next scan begins where the last one ended.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Cores {
    /// For a scan at this rate, on the cores that the calling thread may use; none where pinning does not help.
    pub(crate) fn of(rate: Rate, senders: usize) -> Option<Cores> {
        if matches!(rate, Rate::Fixed(Pps(pps)) if pps < FAST) {
            return None;
        }
        Cores::assign(&allowed()?, senders, TAKEN.fetch_add(senders + 1, Ordering::Relaxed))
    }

    /// The receiver on one of these cores, `from` counted round, and the senders on those that follow. None if there are
    /// not enough, with one to spare.
    fn assign(allowed: &[usize], senders: usize, from: usize) -> Option<Cores> {
        if allowed.len() < senders + 1 + SPARE {
            return None;
        }
        let core = |nth: usize| allowed[(from % allowed.len() + nth) % allowed.len()];
        Some(Cores { receiver: core(0), senders: (1..=senders).map(core).collect() })
    }

    /// Where the receiver stays.
    pub(crate) fn receiver(cores: Option<&Cores>) -> Option<usize> {
        cores.map(|cores| cores.receiver)
    }

    /// Where a sender stays.
    pub(crate) fn sender(cores: Option<&Cores>, number: usize) -> Option<usize> {
        cores.and_then(|cores| cores.senders.get(number).copied())
    }
}

/// A core for the nth of a scan's threads that spin in the kernel, which cannot make way for others: each its own, and
/// one at least left over. None where there are too few.
pub(crate) fn to_spin_on(nth: usize) -> Option<usize> {
    static FROM: AtomicUsize = AtomicUsize::new(0);
    let allowed = allowed()?;
    let from = if nth == 0 { FROM.fetch_add(1, Ordering::Relaxed) } else { FROM.load(Ordering::Relaxed) - 1 };
    (nth + SPARE < allowed.len()).then(|| allowed[(from + nth) % allowed.len()])
}

/// Has the calling thread run on other cores than these, if there are any.
pub(crate) fn keep_off(taken: &[usize]) {
    let Some(allowed) = allowed() else { return };
    let mut others = CpuSet::new();
    allowed.iter().filter(|core| !taken.contains(core)).for_each(|&core| others.set(core));
    if others.count() > 0 {
        // It runs all the same.
        let _ = sched_setaffinity(None, &others);
    }
}

/// The cores that the calling thread may use.
pub(crate) fn allowed() -> Option<Vec<usize>> {
    let allowed = sched_getaffinity(None).ok()?;
    Some((0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
}

/// Pins the calling thread to a core, if it has one.
pub(crate) fn stay_on(core: Option<usize>) {
    let Some(core) = core.filter(|&core| core < CpuSet::MAX_CPU) else { return };
    let mut only = CpuSet::new();
    only.set(core);
    // It runs all the same.
    let _ = sched_setaffinity(None, &only);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(allowed: &[usize], senders: usize, from: usize) -> (usize, Vec<usize>) {
        let cores = Cores::assign(allowed, senders, from).unwrap();
        (cores.receiver, cores.senders)
    }

    #[test]
    fn the_receiver_has_a_core_and_each_sender_another() {
        assert_eq!(assigned(&[0, 1, 2], 1, 0), (0, vec![1]));
        assert_eq!(assigned(&[2, 3, 7, 9], 2, 0), (2, vec![3, 7]));
    }

    #[test]
    fn the_next_scan_begins_where_the_last_one_ended() {
        assert_eq!(assigned(&[0, 1, 2, 3], 1, 2), (2, vec![3]));
        assert_eq!(assigned(&[0, 1, 2, 3], 2, 3), (3, vec![0, 1]));
        assert_eq!(assigned(&[0, 1, 2], 1, usize::MAX), (0, vec![1]), "usize::MAX is divisible by 3");
    }

    #[test]
    fn no_two_threads_share_a_core() {
        for (cores, senders, from) in (3..9).flat_map(|c| (1..c - 1).flat_map(move |s| (0..9).map(move |f| (c, s, f))))
        {
            let allowed: Vec<usize> = (0..cores).map(|core| core * 3).collect();
            let (receiver, mut taken) = assigned(&allowed, senders, from);
            taken.push(receiver);
            assert!(taken.iter().all(|core| allowed.contains(core)));
            taken.sort();
            taken.dedup();
            assert_eq!(taken.len(), senders + 1);
        }
    }

    #[test]
    fn too_few_cores_or_a_slow_scan_are_left_alone() {
        assert_eq!(Cores::assign(&[5], 1, 0), None);
        assert_eq!(Cores::assign(&[], 1, 0), None);
        assert_eq!(Cores::assign(&[0, 1], 1, 0), None);
        assert_eq!(Cores::assign(&[0, 1, 2], 2, 0), None);
        assert_eq!(Cores::of(Rate::Fixed(Pps(99_999)), 1), None);
    }

    #[test]
    fn a_thread_stays_where_it_was_put() {
        std::thread::spawn(|| {
            let allowed = sched_getaffinity(None).unwrap();
            let last = (0..CpuSet::MAX_CPU).rfind(|&core| allowed.is_set(core)).unwrap();
            stay_on(Some(last));
            let now = sched_getaffinity(None).unwrap();
            assert!(now.count() == 1 && now.is_set(last));
            stay_on(Some(usize::MAX));
            stay_on(None);
        })
        .join()
        .unwrap();
    }
}
