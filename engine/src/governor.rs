//! What a single host receives at most: a bucket for each host, and the time at which its next probe may leave.
//!
//! Mostly only later passes need it. In the first, the order spreads a plan's hosts evenly over time, so that a host's share of
//! the rate is its share of the targets, and a lower rate for all is the same as a cap for each. What is still silent in
//! later passes may be one host alone, and where hosts of the link are down the others get their shares, too. When a host is due too early the whole walk waits for it: the order spreads the
//! silent targets evenly, too, so that the pass lasts as long as the host with the most of them needs, in any order.
//!
//! Hosts share buckets when there are more than [`MOST`]; then the rate of each is far below any cap.
//!
//! Pure: times come in as arguments.

use std::time::Duration;

use crate::target::Family;
use crate::time::Time;

/// Buckets at most.
const MOST: u128 = 1 << 16;
/// Time worth of probes that a host may get at once: chance has some hosts' probes meet.
const BURST: Duration = Duration::from_millis(50);

/// Holds a rate for each host.
#[derive(Debug)]
pub(crate) struct Governor {
    /// By bucket: when all that was sent will have been due, in nanoseconds.
    due: Box<[u64]>,
    mask: u64,
    gap: u64,
    burst: u64,
}

impl Governor {
    /// For so many hosts, so many probes a second each.
    pub(crate) fn new(hosts: u128, rate: u64) -> Self {
        let buckets = (hosts.min(MOST) as u64 * 2).next_power_of_two().min(MOST as u64);
        let gap = 1_000_000_000 / rate.max(1);
        // Two, or a host that shares a bucket would hold the other up at once.
        let burst = (BURST.as_nanos() as u64).max(2 * gap);
        Governor { due: vec![0; buckets as usize].into_boxed_slice(), mask: buckets - 1, gap, burst }
    }

    /// Whether a probe to this host may leave now; if not, when. If so it is accounted for.
    #[inline]
    pub(crate) fn pass(&mut self, family: Family, address: u128, now: Time) -> Result<(), Time> {
        let host = match family {
            Family::V4 => address as u64 ^ address as u64 >> 16,
            Family::V6 => address as u64 ^ (address >> 64) as u64,
        };
        let due = &mut self.due[(host & self.mask) as usize];
        let earliest = due.saturating_sub(self.burst);
        if now.0 < earliest {
            return Err(Time(earliest));
        }
        *due = (*due).max(now.0) + self.gap;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_its_rate_and_no_more() {
        let mut governor = Governor::new(1, 1000);
        let (mut now, mut sent) = (Time::ZERO, 0);
        while now.0 < 2_000_000_000 {
            match governor.pass(Family::V4, 7, now) {
                Ok(()) => sent += 1,
                Err(until) => now = until,
            }
        }
        assert!((2000..=2051).contains(&sent), "{sent}");
    }

    #[test]
    fn hosts_do_not_hold_each_other_up() {
        let mut governor = Governor::new(256, 1000);
        for host in 0..256 {
            for _ in 0..51 {
                assert_eq!(governor.pass(Family::V4, 0x0a00_0000 + host, Time(1)), Ok(()));
            }
        }
        assert!(governor.pass(Family::V4, 0x0a00_0000, Time(1)).is_err());
        let mut slow = Governor::new(1, 1);
        assert!(slow.pass(Family::V6, 1, Time(0)).is_ok() && slow.pass(Family::V6, 1, Time(0)).is_ok());
    }

    #[test]
    fn buckets_are_bounded() {
        assert_eq!(Governor::new(u128::MAX, 1000).due.len(), 1 << 16);
        assert_eq!(Governor::new(0, 1000).due.len(), 1);
    }
}
