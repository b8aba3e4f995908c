//! `--then`: hands over what was found. Once a scan is over, a command is run for every host with open ports (or for every
//! open port), a few at a time. What is run is `template`'s business, how one runs `job`'s; which ports are handed over, in
//! which order, and what is said of it, is decided here.
//!
//! Why not sooner: probes go to all hosts in a shuffled order, so that no host is done much before the scan is, and what
//! speaks against a host is often known last.

mod job;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use halfopen::{Event, State, Suspicion, Verdict};
use halfopen_results::Filter;
use halfopen_results::record::Commands;

use crate::values;
pub(crate) use job::Ended;
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
    /// fails makes the exit code 1. Commands have the rights of whoever started halfopen; under sudo, root's.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) address: IpAddr,
    pub(crate) ports: Vec<u16>,
}

/// How to run commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner<'a> {
    pub(crate) template: &'a Template,
    pub(crate) jobs: NonZeroU8,
    pub(crate) timeout: Option<Duration>,
    pub(crate) hide_suspect: bool,
}

/// How hurried an interruption is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hurry {
    /// There is none.
    Not,
    /// Commands are asked to end.
    Soon,
    /// They are ended.
    Now,
}

/// Runs the commands for these hosts, and tells of each as it ends.
pub(crate) fn run(
    hosts: Hosts,
    manner: Manner<'_>,
    hurry: &(dyn Fn() -> Hurry + Sync),
    tell: &mut dyn FnMut(&Ended),
) -> Commands {
    let commands: Vec<_> =
        hosts.handed(manner.hide_suspect).iter().flat_map(|host| manner.template.commands(host)).collect();
    let mut tally = Commands { left: commands.len() as u64, ..Commands::default() };
    let workers = usize::from(manner.jobs.get()).min(commands.len());
    let queue = Mutex::new(commands.into_iter());
    let (ended, endings) = channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, ended) = (&queue, ended.clone());
            scope.spawn(move || work(queue, manner.timeout, hurry, &ended));
        }
        drop(ended);
        for ended in endings {
            tally.run += 1;
            tally.left -= 1;
            tally.failed += u64::from(!ended.end.is_success());
            tell(&ended);
        }
    });
    tally
}

fn work(
    queue: &Mutex<impl Iterator<Item = template::Command>>,
    timeout: Option<Duration>,
    hurry: &(dyn Fn() -> Hurry + Sync),
    ended: &Sender<Ended>,
) {
    while hurry() == Hurry::Not {
        let next = queue.lock().ok().and_then(|mut queue| queue.next());
        let Some(command) = next else { return };
        // Whoever listens goes on to the end.
        let _ = ended.send(job::run(command, timeout, hurry));
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

    /// What the commands printed, in the order of the hosts; and the tally.
    fn ran(command: &str, jobs: u8, hurry: &(dyn Fn() -> Hurry + Sync)) -> (Vec<String>, Commands) {
        let template = Template::parse(command).unwrap();
        let jobs = NonZeroU8::new(jobs).unwrap();
        let manner = Manner { template: &template, jobs, timeout: None, hide_suspect: false };
        let events: Vec<_> = (1..=6).map(|host| open(&format!("192.0.2.{host}"), 80)).collect();
        let mut printed = Vec::new();
        let tally = run(hosts(&events), manner, hurry, &mut |ended| {
            printed.push(String::from_utf8_lossy(&ended.printed).into_owned());
        });
        printed.sort();
        (printed, tally)
    }

    #[test]
    fn every_host_once_and_failures_are_counted() {
        for jobs in [1, 3, 100] {
            let (printed, tally) = ran("echo {host}:{ports}", jobs, &|| Hurry::Not);
            assert_eq!(printed.len(), 6);
            assert_eq!((printed[0].as_str(), tally), ("192.0.2.1:80\n", Commands { run: 6, failed: 0, left: 0 }));
        }
        let (_, tally) = ran("test {host} = 192.0.2.3", 2, &|| Hurry::Not);
        assert_eq!(tally, Commands { run: 6, failed: 5, left: 0 });
    }

    #[test]
    fn an_interruption_leaves_the_rest() {
        let (printed, tally) = ran("echo {host}", 2, &|| Hurry::Soon);
        assert_eq!((printed.len(), tally), (0, Commands { run: 0, failed: 0, left: 6 }));
    }
}
