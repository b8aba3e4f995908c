//! Open ports by how many hosts have them.

use super::concerns::Concerns;
use super::left_out;
use crate::advice::{self, Grade};
use crate::tally::Tally;
use crate::text::count;

/// The most frequent first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) rows: Vec<Row>,
    pub(crate) more: Option<String>,
}

/// A port that is open somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) port: u16,
    pub(crate) service: &'static str,
    pub(crate) hosts: String,
    pub(crate) grade: Option<Grade>,
    /// The service under which there is advice on this page.
    pub(crate) concern: Option<&'static str>,
}

const MOST: usize = 200;

impl Ports {
    pub(super) fn of(tally: &Tally, concerns: &Concerns) -> Ports {
        let ranked = ranked(tally);
        let row = |&(port, hosts): &(u16, u64)| Row {
            port,
            service: advice::name(port).unwrap_or_default(),
            hosts: count(hosts),
            grade: advice::grade(port),
            concern: advice::service(port)
                .map(|service| service.name)
                .filter(|name| concerns.rows.iter().any(|row| row.name == *name)),
        };
        Ports { rows: ranked.iter().take(MOST).map(row).collect(), more: left_out(ranked.len(), MOST, "ports") }
    }
}

/// Ports by the number of hosts, the greatest first, then by port.
pub(super) fn ranked(tally: &Tally) -> Vec<(u16, u64)> {
    let mut ranked: Vec<(u16, u64)> = tally.ports.iter().map(|(&port, &hosts)| (port, hosts)).collect();
    ranked.sort_by_key(|&(port, hosts)| (std::cmp::Reverse(hosts), port));
    ranked
}
