//! A network that changes by chance: services that come and go, hosts that restart, firewalls that are loaded anew.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use halfopen_monitor::store::Known;
use halfopen_results::record::{Header, Record, Settings, Show, State, Summary, Verdict};
use halfopen_results::{Coverage, Scan};

/// What is true.
pub(crate) struct Site {
    hosts: Vec<Vec<State>>,
    walled: BTreeSet<usize>,
    down: BTreeSet<usize>,
    ports: u16,
    plan: Coverage,
    random: u64,
    /// Changes of single ports so far.
    pub(crate) changes: u64,
}

/// The lowest port.
const FIRST: u16 = 1;

impl Site {
    /// Of each host ten ports are open, a third of the others closed.
    pub(crate) fn new(hosts: u8, ports: u16, seed: u64) -> Site {
        let state = |port: u16| match port % 25 {
            0 => State::Open,
            1..9 => State::Closed,
            _ => State::Filtered,
        };
        let states: Vec<State> = (0..ports).map(state).collect();
        let all = (0..hosts).flat_map(|host| (0..ports).map(move |port| (address(host.into()), FIRST + port)));
        Site {
            hosts: vec![states; hosts.into()],
            walled: BTreeSet::new(),
            down: BTreeSet::new(),
            ports,
            plan: all.collect(),
            random: seed,
            changes: 0,
        }
    }

    /// The hosts.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        (0..self.hosts.len()).map(address)
    }

    /// Five minutes pass: that many changes of ports a host, restarts once a month, other firewall rules once a quarter. The hosts
    /// that are different now.
    pub(crate) fn change(&mut self, changes: f64) -> BTreeSet<usize> {
        let mut different = BTreeSet::new();
        for host in 0..self.hosts.len() {
            if self.chance(changes) {
                let port = (self.next() % u64::from(self.ports)) as usize;
                let states = [State::Open, State::Closed, State::Filtered];
                let state = states[(self.next() % 3) as usize];
                if self.hosts[host][port] != state {
                    self.hosts[host][port] = state;
                    self.changes += 1;
                    different.insert(host);
                }
            }
            if self.down.contains(&host) || self.chance(1.0 / (288.0 * 30.0)) {
                toggle(&mut self.down, host);
                different.insert(host);
            }
            if self.chance(1.0 / (288.0 * 90.0)) {
                toggle(&mut self.walled, host);
                different.insert(host);
            }
        }
        different
    }

    /// What a scan of the plan, or of these targets, says.
    pub(crate) fn scan(&self, targets: Option<&Coverage>) -> Scan {
        let plan = targets.unwrap_or(&self.plan);
        let mut scan = Scan::default();
        let settings = Settings { show: Show::ALL, ..Settings::default() };
        scan.add(Record::Scan(Box::new(Header { settings, coverage: plan.clone(), ..Header::default() })));
        (0..self.hosts.len()).for_each(|host| self.tell(host, plan, &mut scan));
        scan.add(Record::Summary(Box::new(Summary { outcome: "complete".into(), ..Summary::default() })));
        scan
    }

    /// A scan of the plan, made of the one before it: what it says of these hosts is not the same.
    pub(crate) fn scan_again(&self, scan: &mut Scan, different: &BTreeSet<usize>) {
        for &host in different {
            scan.hosts.remove(&address(host));
            self.tell(host, &self.plan, scan);
        }
    }

    /// What a scan says of a host.
    fn tell(&self, host: usize, plan: &Coverage, scan: &mut Scan) {
        let Some(ports) = plan.ports(address(host)) else { return };
        for port in ports.runs().iter().flat_map(|&(first, last)| first..=last) {
            let state = self.state(host, port);
            let reason = ["syn-ack", "rst", "no-response"][state as usize].into();
            let is_open = state == State::Open;
            let (ttl, rtt_us) = (is_open.then_some(63), is_open.then_some(900 + u64::from(port)));
            let verdict = Verdict { reason, ttl, rtt_us, ..Verdict::bare(address(host), port, state) };
            scan.add(Record::Verdict(verdict));
        }
    }

    /// How many ports of hosts that are up are not what is known of them.
    pub(crate) fn differs_from(&self, known: &Known) -> usize {
        let wrong = |host: usize| {
            let tcp = known.get(&address(host)).map(|known| &known.tcp);
            let is_right = |port: &u16| {
                let run = tcp.and_then(|tcp| tcp.at(*port));
                run.is_some_and(|run| run.fact.state == self.state(host, *port))
            };
            (FIRST..FIRST + self.ports).filter(|port| !is_right(port)).count()
        };
        (0..self.hosts.len()).filter(|host| !self.down.contains(host)).map(wrong).sum()
    }

    fn state(&self, host: usize, port: u16) -> State {
        // Rules let the lower half through.
        let is_walled = self.walled.contains(&host) && port > self.ports / 2;
        if self.down.contains(&host) || is_walled {
            State::Filtered
        } else {
            self.hosts[host][usize::from(port - FIRST)]
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 <= share
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

fn toggle(set: &mut BTreeSet<usize>, host: usize) {
    if !set.remove(&host) {
        set.insert(host);
    }
}

fn address(host: usize) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, host as u8).into()
}
