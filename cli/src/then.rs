//! `--then`: hands over what was found. Once a scan is over, a command is run for every host with open ports (or for every
//! open port), a few at a time. Which ports are handed over, in which order, is decided here.
//!
//! The scan has given up its rights by then, so that another process runs them: it is started before (`link`), told the
//! template at once, and addresses and ports when the scan is over (`protocol`). There `runner` checks what it is told, `template`
//! makes commands of it, `crew` runs them, and `job` each of them.
//!
//! Why not sooner: probes go to all hosts in a shuffled order, so that no host is done much before the scan is, and what
//! speaks against a host is often known last.

mod crew;
mod job;
mod link;
mod protocol;
pub(crate) mod runner;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use clap::Args;
use halfopen::{Event, State, Suspicion, Verdict};
use halfopen_results::Filter;
use serde::{Deserialize, Serialize};

use crate::values;
pub(crate) use link::Link;
pub(crate) use template::Template;

/// The options, as typed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hand-off")]
pub(crate) struct ThenArgs {
    /// Run this command for every host with open ports, once the scan is over: 'nmap -sV -p {ports} {host}'
    ///
    /// {host} is the address, {ports} its open ports with commas, {port} one of them (the command is run for each), {json} both
    /// as an object. The words are split as a shell would; no shell runs them, so what is put in cannot become anything else
    /// than part of its word (for a shell, say so: sh -c '...' name {host}). Ports that --filter or
    /// --hide-suspect leaves out are not handed over. What a command prints goes to standard error, whole, behind a line that names the host. A command that
    /// fails makes the exit code 1.
    ///
    /// The scan itself gives up its rights as ever. Commands have those that halfopen was started with, as from a shell; under sudo
    /// root's, which they can lay down themselves: 'setpriv --reuid nobody --clear-groups nmap -sV {host}'. They are run by a process of
    /// their own, which takes from the scan nothing but open ports among its targets.
    ///
    /// What an interrupted scan had found would be handed over by nobody, so not together with --checkpoint.
    #[arg(long = "then", value_name = "COMMAND", value_parser = Template::parse, conflicts_with = "checkpoint")]
    pub(crate) command: Option<Template>,

    /// How many of these commands run at one time
    #[arg(long, value_name = "N", default_value = "4", value_parser = values::jobs, requires = "command")]
    pub(crate) then_jobs: NonZeroU8,

    /// End a command that takes longer, such as 90s or 10m [default: never]
    #[arg(long, value_name = "TIME", value_parser = values::time, requires = "command")]
    pub(crate) then_timeout: Option<Duration>,
}

/// What was found open, by host.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Of which ports notice is taken; none for all.
    filter: Option<Filter>,
    open: BTreeMap<IpAddr, BTreeMap<u16, Option<u8>>>,
    /// Marked when they came.
    marked: BTreeSet<(IpAddr, u16)>,
    suspicions: BTreeMap<IpAddr, Suspicion>,
}

impl Hosts {
    /// Of the findings that a filter chooses.
    pub(crate) fn chosen(filter: Option<Filter>) -> Hosts {
        Hosts { filter, ..Hosts::default() }
    }

    /// Takes notice of an event.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Verdict(verdict) if verdict.state == State::Open && self.chooses(verdict) => {
                let (address, port) = (verdict.target.address, verdict.target.port);
                self.open.entry(address).or_default().insert(port, verdict.ttl);
                self.marked.extend(verdict.suspect.map(|_| (address, port)));
            }
            Event::Suspect(suspicion) => self.suspicions.extend([(suspicion.address, *suspicion)]),
            _ => {}
        }
    }

    fn chooses(&self, verdict: &Verdict) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.accepts(&verdict.into()))
    }

    /// What is handed over, by address.
    fn handed(self, hide_suspect: bool) -> Vec<Host> {
        let Hosts { open, marked, suspicions, .. } = self;
        let is_hidden = |address: IpAddr, port: u16, ttl: Option<u8>| {
            let concerns =
                suspicions.get(&address).is_some_and(|told| told.usual_ttl.is_none() || told.concerns_ttl(ttl));
            hide_suspect && (concerns || marked.contains(&(address, port)))
        };
        let shown = open.into_iter().map(|(address, ports)| Host {
            address,
            ports: ports
                .into_iter()
                .filter(|&(port, ttl)| !is_hidden(address, port, ttl))
                .map(|(port, _)| port)
                .collect(),
        });
        shown.filter(|host| !host.ports.is_empty()).collect()
    }
}

/// A host and its open ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    pub(crate) address: IpAddr,
    pub(crate) ports: Vec<u16>,
}

/// How hurried an interruption is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Hurry {
    /// There is none.
    Not,
    /// Commands are asked to end.
    Soon,
    /// They are ended.
    Now,
}

impl Hurry {
    /// The one with this number.
    fn of(number: u8) -> Hurry {
        match number {
            0 => Hurry::Not,
            1 => Hurry::Soon,
            _ => Hurry::Now,
        }
    }
}

#[cfg(test)]
mod tests {
    use halfopen::{Suspect, Target, Verdict};

    use super::*;
    use crate::output::samples;

    fn open(address: &str, port: u16) -> Event {
        let target = Target { address: address.parse().unwrap(), port };
        Event::Verdict(Verdict { target, ..samples::open() })
    }

    fn hosts(events: &[Event]) -> Hosts {
        let mut hosts = Hosts::default();
        events.iter().for_each(|event| hosts.hear(event));
        hosts
    }

    fn handed(events: &[Event], hide_suspect: bool) -> Vec<(String, Vec<u16>)> {
        let handed = hosts(events).handed(hide_suspect);
        handed.into_iter().map(|host| (host.address.to_string(), host.ports)).collect()
    }

    #[test]
    fn hosts_in_order_with_their_open_ports() {
        let closed = Event::Verdict(samples::closed());
        let events =
            [open("192.0.2.8", 443), open("192.0.2.8", 22), closed, open("192.0.2.7", 80), open("192.0.2.8", 22)];
        assert_eq!(handed(&events, false), [("192.0.2.7".into(), vec![80]), ("192.0.2.8".into(), vec![22, 443])]);
        assert_eq!(handed(&[], false), []);
    }

    #[test]
    fn what_is_hidden_is_not_handed_over() {
        let address = "192.0.2.8".parse().unwrap();
        let suspicion = Event::Suspect(Suspicion { address, reason: Suspect::EveryPort, usual_ttl: None });
        let marked = Event::Verdict(Verdict { suspect: Some(Suspect::Forged), ..samples::open() });
        let events = [open("192.0.2.8", 80), open("192.0.2.9", 80), suspicion, marked];
        assert_eq!(handed(&events, true), [("192.0.2.9".into(), vec![80])]);
        assert_eq!(handed(&events, false).len(), 3);
    }
}
