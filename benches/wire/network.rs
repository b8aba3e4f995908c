//! The networks: hosts, what the way does to packets, and what is scanned of it.

use std::fmt::{self, Display};

use clap::ValueEnum;
use halfopen_bench::beside::plan::Plan;
use halfopen_bench::beside::userland::GATEWAY;
use halfopen_lab::Scenario;

use crate::contender::Contender;

/// Its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// 1 % of packets lost each way
    #[value(name = "loss-1")]
    Loss1,
    /// 5 %
    #[value(name = "loss-5")]
    Loss5,
    /// 10 %
    #[value(name = "loss-10")]
    Loss10,
    /// 5 %, in bursts of ten
    Bursts,
    /// A narrow link with a short queue
    Queue,
    /// One host that limits its resets
    Resets,
    /// A LAN
    Clean,
}

/// A network, and what is scanned of it.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) key: Key,
    plan: Plan,
    /// What the way does, as a scenario has it.
    way: &'static str,
    /// The same in words.
    words: &'static str,
    /// Shares of open and closed ports.
    open: f64,
    closed: f64,
    /// Resets a second that a host is willing to send.
    rst_rate: Option<u32>,
}

/// Resets a second of the host that limits them.
const RESETS: u32 = 500;

impl Network {
    /// The network of a name.
    pub(crate) fn of(key: Key) -> Network {
        let (way, words) = way(key);
        let (plan, open, closed) = match key {
            Key::Resets => (Plan { hosts: 1, ports: 1..=u16::MAX }, 0.0005, 0.9995),
            Key::Clean => (Plan::small(), 0.05, 0.15),
            _ => (Plan { hosts: hosts(key), ports: 1..=100 }, 0.05, 0.15),
        };
        Network { key, plan, way, words, open, closed, rst_rate: (key == Key::Resets).then_some(RESETS) }
    }

    /// What somebody scans of it: the same for all but zmap, which takes one port, so it has that of about as many hosts
    /// more. None for whom there is nothing alike.
    pub(crate) fn plan_of(&self, contender: Contender) -> Option<Plan> {
        match contender {
            Contender::Zmap(_) if self.plan.hosts == 1 => None,
            Contender::Zmap(_) => Some(Plan::wide(1 << self.plan.len().ilog2())),
            _ => Some(self.plan.clone()),
        }
    }

    /// The scenario, with chance decided by `seed`.
    pub(crate) fn scenario(&self, seed: u64) -> Scenario {
        let Network { way, open, closed, .. } = self;
        let limit = self.rst_rate.map(|rate| format!("rst_rate = {rate}\n")).unwrap_or_default();
        let scenario = Scenario::parse(&format!(
            "seed = {seed}\n[network]\n{way}\n{GATEWAY}[[host]]\naddresses = \"10.0.0.0/8\"\n{limit}\
             rules = [{{ ports = \"-\", behaviour = \"population\", open = {open}, closed = {closed} }}]"
        ));
        scenario.unwrap_or_else(|error| panic!("the scenario cannot be read: {error}"))
    }

    /// The least time in which every closed port can answer, in seconds, where a limit forces one.
    pub(crate) fn forced(&self) -> Option<f64> {
        let closed = f64::from(self.plan.len()) * self.closed;
        self.rst_rate.map(|rate| closed / f64::from(rate))
    }

    /// Its heading.
    pub(crate) fn title(&self) -> String {
        let Network { plan, words, .. } = self;
        format!("{words}: {} targets ({}, ports {})", plan.len(), plan.prefix(), plan.ports())
    }

    /// What its hosts are, and who has another plan.
    pub(crate) fn remark(&self) -> String {
        let percent = |share: f64| format!("{}", (share * 10_000.0).round() / 100.0);
        let mut remark = format!("{} % of targets are open, {} % closed", percent(self.open), percent(self.closed));
        if hosts(self.key) < WIDE {
            remark = format!(
                "{} hosts, because nmap would take a quarter of an hour and more for {WIDE}. {remark}",
                hosts(self.key)
            );
        }
        remark += if self.open + self.closed < 1.0 { ", the others silent." } else { "." };
        if let Some(plan) = self.plan_of(Contender::Zmap(0)) {
            remark +=
                &format!(" zmap takes one port: it scans {}, port {}, of the same kind.", plan.prefix(), plan.ports());
        }
        remark
    }
}

/// Hosts of the networks that are many.
const WIDE: u32 = 1 << 10;

/// A quarter of them where much is lost: on 1,024 nmap took 560 s with bursts and 850 s with 5 %.
fn hosts(key: Key) -> u32 {
    if matches!(key, Key::Loss5 | Key::Loss10 | Key::Bursts) { WIDE / 4 } else { WIDE }
}

/// What the way does, as a scenario has it and in words. All delay lies on the way back; it is the round trip's.
fn way(key: Key) -> (&'static str, &'static str) {
    match key {
        Key::Loss1 => ("delay = \"20ms\"\nloss_out = 0.01\nloss_back = 0.01", "20 ms, 1 % lost each way"),
        Key::Loss5 => ("delay = \"20ms\"\nloss_out = 0.05\nloss_back = 0.05", "20 ms, 5 % lost each way"),
        Key::Loss10 => ("delay = \"20ms\"\nloss_out = 0.1\nloss_back = 0.1", "20 ms, 10 % lost each way"),
        Key::Bursts => (
            "delay = \"20ms\"\nloss_out = 0.05\nloss_back = 0.05\nburst_out = 10\nburst_back = 10",
            "20 ms, 5 % lost each way in bursts of ten on average",
        ),
        Key::Queue => (
            "delay = \"20ms\"\nbandwidth = 50000\nqueue = 100",
            "20 ms, a narrow link for 50,000 probes a second with a queue of 100, nothing lost elsewhere",
        ),
        Key::Resets => (
            "delay = \"20ms\"\nloss_out = 0.01\nloss_back = 0.01",
            "One host that sends at most 500 resets a second, 20 ms, 1 % lost each way",
        ),
        Key::Clean => ("", "A clean LAN, no delay, no loss"),
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_a_scenario_with_the_shares_it_says() {
        for &key in Key::value_variants() {
            let network = Network::of(key);
            let (scenario, plan) = (network.scenario(1), network.plan.clone());
            let open = plan.targets().filter(|&target| scenario.expected(target).state == halfopen::State::Open);
            let share = open.count() as f64 / f64::from(plan.len());
            assert!((share / network.open - 1.0).abs() < 0.5, "{key}: {share}");
        }
    }

    #[test]
    fn a_limit_of_resets_forces_a_time() {
        let forced = Network::of(Key::Resets).forced().unwrap();
        assert!((131.0..131.01).contains(&forced), "{forced}");
        assert_eq!(Network::of(Key::Loss1).forced(), None);
    }
}
