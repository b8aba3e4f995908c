//! A ping to somebody who misses it when it does not come: sent as long as scans succeed. When this machine, this program or
//! its network is gone, nobody here could say so.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::settings::DeadManSettings;
use crate::channel::Answer;
use crate::channel::http::{self, Client, Method, Request, Way};
use crate::channel::secret::Environment;

/// Patience with whoever misses us: less than with others, nothing is lost by a ping.
const PATIENCE: Duration = Duration::from_secs(10);

/// When to ping.
#[derive(Debug, Clone)]
pub struct DeadMan {
    every: SignedDuration,
    next: Timestamp,
    /// Some scan has succeeded,
    alive: bool,
    /// and these groups do not do well.
    failing: BTreeSet<String>,
}

impl DeadMan {
    /// One who pings so often. The first ping goes out after the first scan.
    pub fn new(every: SignedDuration) -> DeadMan {
        DeadMan { every, next: Timestamp::MIN, alive: false, failing: BTreeSet::new() }
    }

    /// A scan of a group ended well or badly, or is late: which is as bad.
    pub fn scanned(&mut self, group: &str, is_well: bool) {
        match is_well {
            true => {
                self.failing.remove(group);
                self.alive = true;
            }
            false => _ = self.failing.insert(group.to_owned()),
        }
    }

    /// A group is not scanned any more.
    pub fn forget(&mut self, group: &str) {
        self.failing.remove(group);
    }

    /// Whether to ping now; the next time is a while later.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        let due = self.alive && self.failing.is_empty() && now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

/// Pings.
pub(super) fn ping(settings: &DeadManSettings, environment: &Environment<'_>, now: Timestamp) -> Answer {
    let way = Way { ca_file: settings.ca_file.clone(), proxy: settings.proxy.clone(), patience: Some(PATIENCE) };
    let asked = http::address(settings.url.as_ref(), settings.place(), environment).and_then(|to| {
        let method = if settings.post { Method::Post } else { Method::Get };
        Ok((Client::new(&way)?, Request { method, to, headers: Vec::new(), body: Vec::new() }))
    });
    match asked {
        Ok((client, request)) => client.send(&request, now),
        Err(why) => Answer::Never(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::{at, noon};

    #[test]
    fn pings_while_scans_succeed() {
        let mut dead_man = DeadMan::new(SignedDuration::from_mins(5));
        assert!(!dead_man.is_due(noon()), "nothing was scanned");
        dead_man.scanned("dmz", true);
        assert!(dead_man.is_due(noon()) && !dead_man.is_due(noon()));
        assert!(!dead_man.is_due(at("2026-03-01T12:04:59Z")) && dead_man.is_due(at("2026-03-01T12:05:00Z")));
        dead_man.scanned("lan", false);
        assert!(!dead_man.is_due(at("2026-03-01T13:00:00Z")), "one group is not well");
        dead_man.forget("lan");
        assert!(dead_man.is_due(at("2026-03-01T13:00:00Z")));
    }
}
