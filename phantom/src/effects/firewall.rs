//! A firewall that remembers flows, and has room for so many: once its table is full, what would be a new flow is
//! dropped. What is remembered is passed, both ways; an entry lasts for its time, whatever becomes of the flow.

use std::collections::{HashSet, VecDeque};

use crate::frames::Flow;
use crate::scenario::Prefix;

/// The settings.
#[derive(Debug, Clone)]
pub(crate) struct FirewallSetting {
    /// What lies behind it.
    pub(crate) targets: Vec<Prefix>,
    /// Flows that it has room for.
    pub(crate) entries: usize,
    /// How long each is kept, in nanoseconds.
    pub(crate) timeout: u64,
}

/// A firewall at work.
#[derive(Debug)]
pub(crate) struct Firewall {
    setting: FirewallSetting,
    flows: HashSet<Flow>,
    /// In the order in which they end.
    ends: VecDeque<(u64, Flow)>,
}

impl Firewall {
    pub(crate) fn new(setting: FirewallSetting) -> Firewall {
        Firewall { setting, flows: HashSet::new(), ends: VecDeque::new() }
    }

    pub(crate) fn guards(&self, flow: &Flow) -> bool {
        self.setting.targets.iter().any(|prefix| prefix.contains(flow.target.address))
    }

    /// Whether a packet of this flow goes through.
    pub(crate) fn passes(&mut self, now: u64, flow: Flow) -> bool {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            self.ends.pop_front().map(|(_, flow)| self.flows.remove(&flow));
        }
        self.flows.contains(&flow) || self.enter(now, flow)
    }

    fn enter(&mut self, now: u64, flow: Flow) -> bool {
        let room = self.flows.len() < self.setting.entries;
        if room {
            self.flows.insert(flow);
            self.ends.push_back((now + self.setting.timeout, flow));
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use halfopen::Target;

    use super::*;

    #[test]
    fn a_full_table_drops_new_flows_until_old_ones_end() {
        let targets = vec![Prefix::parse("10.0.0.0/8").unwrap()];
        let mut firewall = Firewall::new(FirewallSetting { targets, entries: 2, timeout: 100 });
        let flow = |port| Flow { target: Target { address: [10, 0, 0, 1].into(), port }, source_port: 40_000 };
        assert!(firewall.guards(&flow(1)));
        let passed = [(0, 1), (50, 2), (60, 3), (60, 1), (99, 3), (100, 3), (100, 1), (150, 1)];
        let passed = passed.map(|(now, port)| firewall.passes(now, flow(port)));
        assert_eq!(passed, [true, true, false, true, false, true, false, true]);
    }
}
