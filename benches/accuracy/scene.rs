//! The networks that are played: each a plan, and hosts and a way from a seed.

use std::time::Duration;

use halfopen::Plan;
use halfopen_lab::{Change, HostKind, Scenario, Spread, Stretch};

/// A network to scan.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// On the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    targets: &'static str,
    ports: &'static str,
    /// Whether what matters is the rate that is found, and so the time after [`SETTLED`].
    pub(crate) narrow: bool,
    build: fn(Scenario) -> Scenario,
}

/// When a scanner should have found its rate.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);

/// A thousand hosts.
const HOSTS: &str = "10.65.0.0-10.65.3.231";
const PREFIX: &str = "10.65.0.0/22";
const MILLISECOND: Duration = Duration::from_millis(1);
/// One in four answers, as behind firewalls that drop.
const OPEN: f64 = 0.02;
const CLOSED: f64 = 0.23;

impl Scene {
    /// All of them.
    pub(crate) fn all() -> Vec<Scene> {
        let hundred = |name, title, build| Scene { name, title, targets: HOSTS, ports: "1-100", narrow: false, build };
        let narrow = |name, title, build| Scene { ports: "1-1000", narrow: true, ..hundred(name, title, build) };
        vec![
            hundred("lan", "no loss, a LAN", |scenario| {
                common(scenario, Stretch::new().delay(MILLISECOND / 5).jitter(MILLISECOND / 10, Spread::Uniform))
            }),
            hundred("loss-0.1", "0.1 % loss each way", |scenario| common(scenario, lossy(0.001))),
            hundred("loss-1", "1 % loss each way", |scenario| common(scenario, lossy(0.01))),
            hundred("loss-5", "5 % loss each way", |scenario| common(scenario, lossy(0.05))),
            hundred("loss-10", "10 % loss each way", |scenario| common(scenario, lossy(0.10))),
            hundred("bursts-0.1", "0.1 % loss each way in bursts of 10", |scenario| common(scenario, bursts(0.001))),
            hundred("bursts-1", "1 % loss each way in bursts of 10", |scenario| common(scenario, bursts(0.01))),
            hundred("bursts-5", "5 % loss each way in bursts of 10", |scenario| common(scenario, bursts(0.05))),
            hundred("bursts-10", "10 % loss each way in bursts of 10", |scenario| common(scenario, bursts(0.10))),
            narrow("bottleneck", "a link of 50,000 probes/s with a queue of 100", |scenario| {
                common(scenario, wide_area().bandwidth(50_000, 100))
            }),
            narrow("bottleneck-falls", "the same, and after 5 s a quarter of it", |scenario| {
                let fall = Change::at(SETTLED).bandwidth(12_500);
                common(scenario, wide_area().bandwidth(50_000, 100).change(fall))
            }),
            Scene {
                targets: "10.65.0.1",
                ports: "-",
                ..hundred("one-host", "one host, all ports, 1 % loss each way, 500 RSTs/s", |scenario| {
                    let scenario = scenario.network(lossy(0.01)).router("gateway", "10.7.0.1");
                    scenario.hosts("10.65.0.1", HostKind::population(0.002, 0.998).echo().rst_rate(500))
                })
            },
            hundred("prefix", "one /24 of four behind a path with 20 % loss each way", |scenario| {
                common(scenario, wide_area()).path("10.65.1.0/24", Stretch::new().loss(0.2, 0.2))
            }),
            hundred("rate-limits", "one /25 of hosts that notice 100 SYNs/s and send 20 RSTs/s", |scenario| {
                let limited = HostKind::population(OPEN, CLOSED).echo().syn_rate(100).rst_rate(20);
                common(scenario.hosts("10.65.1.0/25", limited), wide_area())
            }),
            hundred("firewall", "one /24 behind a firewall with room for 5,000 flows, each for 5 s", |scenario| {
                common(scenario, wide_area()).firewall("10.65.2.0/24", 5_000, Duration::from_secs(5))
            }),
            hundred(
                "long-tail",
                "hosts 80 ms away in the median, jitter 20 ms, both log-normal; 1 % loss",
                |scenario| {
                    let way = Stretch::new().loss(0.01, 0.01).distance(80 * MILLISECOND, Spread::LongTailed);
                    common(scenario, way.jitter(20 * MILLISECOND, Spread::LongTailed))
                },
            ),
            hundred("disorder", "20 % of replies 50 ms late, 5 % doubled each way, 1 % loss", |scenario| {
                common(scenario, lossy(0.01).reorder(0.2, 50 * MILLISECOND).duplicates(0.05, 0.05))
            }),
        ]
    }

    /// Its hosts and its way with this chance.
    pub(crate) fn scenario(&self, seed: u64) -> Scenario {
        (self.build)(Scenario::seeded(seed))
    }

    /// What is to be scanned.
    pub(crate) fn plan(&self) -> Plan {
        halfopen_lab::plan(self.targets, self.ports)
    }
}

/// The usual hosts, behind the scanner's gateway.
fn common(scenario: Scenario, way: Stretch) -> Scenario {
    scenario.network(way).router("gateway", "10.7.0.1").hosts(PREFIX, HostKind::population(OPEN, CLOSED).echo())
}

fn wide_area() -> Stretch {
    Stretch::new().delay(20 * MILLISECOND).jitter(2 * MILLISECOND, Spread::Uniform)
}

fn lossy(share: f64) -> Stretch {
    wide_area().loss(share, share)
}

fn bursts(share: f64) -> Stretch {
    lossy(share).bursts(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_plans_have_their_size() {
        let all = Scene::all();
        let names: std::collections::HashSet<_> = all.iter().map(|scene| scene.name).collect();
        assert_eq!(names.len(), all.len());
        for scene in all {
            let expected = if scene.narrow { 1_000_000 } else { 100_000 };
            assert_eq!(scene.plan().len(), if scene.name == "one-host" { 65_535 } else { expected }, "{}", scene.name);
        }
    }
}
