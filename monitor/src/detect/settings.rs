//! How sure one must be before something counts as a change.

use std::time::Duration;

/// Thresholds of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// How often in a row a port must be seen open until it counts as open.
    pub open_after: u8,
    /// How often in a row an open port must be seen closed or silent until it counts as that.
    pub close_after: u8,
    /// How often in a row a host must be seen silent until it counts as down.
    pub down_after: u8,
    /// The time between two sights of what seems to have changed.
    pub confirm_every: Duration,
    /// So many changes of a host in one scan, towards silence or out of it, are the work of a firewall and no matter of single ports,
    pub firewall_ports: u32,
    /// and so many hosts on which that happens together are one matter, too.
    pub firewall_hosts: u32,
    /// So many changes in one scan are marked as many.
    pub many: u32,
    /// The share of changes among the last 21 scans, in percent, from which a port counts as unstable,
    pub unstable_above: f64,
    /// and below which it does not any more.
    pub stable_below: f64,
    /// So many scans in a row must fail until that is an incident.
    pub fail_after: u32,
}

impl Default for Detection {
    fn default() -> Detection {
        Detection {
            open_after: 2,
            close_after: 3,
            down_after: 3,
            confirm_every: Duration::from_secs(2),
            firewall_ports: 5,
            firewall_hosts: 3,
            many: 5,
            // Nagios's defaults for services.
            unstable_above: 20.0,
            stable_below: 5.0,
            fail_after: 2,
        }
    }
}

impl Detection {
    /// How often in a row that must be seen.
    pub(super) fn sights(&self, is_open: bool) -> u8 {
        if is_open { self.open_after } else { self.close_after }
    }
}
