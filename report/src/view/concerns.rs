//! Open ports that need attention, by service, the gravest first: what the service is, what to do about it, and where it
//! is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen_services::{Port, Service};

use super::{Fact, left_out};
use crate::advice::{self, Grade, is_local};
use crate::tally::Tally;
use crate::text::{count, counted, few};

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Concerns {
    pub(crate) rows: Vec<Concern>,
    pub(crate) more: Option<String>,
    /// Open ports that need attention,
    pub(crate) ports: u64,
    /// and how many services they belong to.
    pub(crate) services: u64,
}

/// A service that needs attention wherever its port is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Concern {
    /// Unique among services.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) grade: Grade,
    /// Which of its ports, on how many hosts.
    pub(crate) extent: String,
    /// What it is for, and what can be read on the way.
    pub(crate) what: String,
    pub(crate) facts: Vec<Fact>,
    pub(crate) hosts: Vec<Place>,
    pub(crate) more_hosts: Option<String>,
}

/// A host where it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    /// Whether the host is in the table.
    pub(crate) linked: bool,
    /// Which ports, where the service is open at several.
    pub(crate) ports: Option<String>,
}

/// Where a service is: ports by host.
type Places = BTreeMap<IpAddr, Vec<u16>>;

const MOST: usize = 80;
const MOST_HOSTS: usize = 48;
const MOST_PORTS: usize = 12;

impl Concerns {
    /// `listed` are the hosts of the table.
    pub(super) fn of(tally: &Tally, listed: &BTreeSet<IpAddr>) -> Concerns {
        let mut grave = grave(tally);
        grave
            .sort_by_key(|(service, places)| (Reverse(advice::grade_of(service)), Reverse(places.len()), service.name));
        let (services, ports) =
            (grave.len(), grave.iter().flat_map(|(_, places)| places.values()).map(|ports| ports.len() as u64).sum());
        let rows = grave.iter().take(MOST).map(|(service, places)| Concern::of(service, places, listed));
        Concerns { rows: rows.collect(), more: left_out(services, MOST, "services"), ports, services: services as u64 }
    }
}

/// Services that need attention, and where they are.
fn grave(tally: &Tally) -> Vec<(&'static Service, Places)> {
    let mut grave: BTreeMap<&str, (&'static Service, Places)> = BTreeMap::new();
    let alarming = |port| advice::service(port).filter(|service| advice::grade_of(service).is_alarming());
    for (&address, host) in &tally.hosts {
        for (port, service) in host.trusted().filter_map(|port| Some((port, alarming(port)?))) {
            let (_, places) = grave.entry(service.name).or_insert_with(|| (service, Places::new()));
            places.entry(address).or_default().push(port);
        }
    }
    grave.into_values().collect()
}

impl Concern {
    fn of(service: &'static Service, places: &Places, listed: &BTreeSet<IpAddr>) -> Concern {
        let ports: BTreeSet<u16> = places.values().flatten().copied().collect();
        let several = ports.len() > 1;
        let place = |(&address, ports): (&IpAddr, &Vec<u16>)| Place {
            address,
            linked: listed.contains(&address),
            ports: several.then(|| numbers(ports.iter().copied())),
        };
        Concern {
            name: service.name,
            title: service.title,
            grade: advice::grade_of(service),
            extent: format!("{}/tcp on {}", numbers(ports.iter().copied()), counted(places.len() as u64, "host")),
            what: [Some(service.purpose), advice::in_plain(service)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            facts: facts(service, places, &ports),
            hosts: places.iter().take(MOST_HOSTS).map(place).collect(),
            more_hosts: more_hosts(places.len()),
        }
    }
}

/// Advice for where it was found.
fn facts(service: &Service, places: &Places, ports: &BTreeSet<u16>) -> Vec<Fact> {
    let (local, public): (Vec<&IpAddr>, Vec<&IpAddr>) = places.keys().partition(|&&address| is_local(address));
    let unusual: Vec<u16> = ports.iter().copied().filter(|&port| !service.is_usual_at(Port::tcp(port))).collect();
    let facts = [
        ("Private address", (!local.is_empty()).then(|| service.locally.to_owned())),
        ("Public address", (!public.is_empty()).then(|| service.exposed.to_owned())),
        ("Instead", service.instead.map(|instead| format!("Use {instead}."))),
        ("What to do", Some(service.advice.to_owned())),
        (
            "Not its usual port",
            (!unusual.is_empty()).then(|| format!("{}: often found there, but less telling.", numbers(unusual))),
        ),
    ];
    facts.into_iter().filter_map(|(term, said)| Some(Fact { term, sentences: vec![said?] })).collect()
}

fn numbers(ports: impl IntoIterator<Item = u16>) -> String {
    let ports: Vec<String> = ports.into_iter().map(|port| port.to_string()).collect();
    few(&ports, MOST_PORTS)
}

fn more_hosts(hosts: usize) -> Option<String> {
    let more = hosts.saturating_sub(MOST_HOSTS) as u64;
    (more > 0).then(|| format!("and {} more, in the table of hosts", count(more)))
}
