//! `halfopen then-runner`, which only `halfopen scan --then` starts: the process that runs the commands. It keeps the rights
//! that the scan gives up, reads no packet, and is told the template before the scan reads one. From then on it takes nothing
//! but addresses and ports, and only those that the scan is about: whoever takes over the scan can have the commands run
//! that were asked for, for targets that were asked for, and nothing else. When the scan is gone, its commands end.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;

use clap::Args;
use halfopen_results::Coverage;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::protocol::{self, Order, Setup, Word};
use super::template::Command;
use super::{Host, Hurry, Template, crew};
use crate::failure::{DONE, Failure};

/// `halfopen then-runner`, which is told everything on its standard input.
#[derive(Debug, Args)]
pub(crate) struct RunnerArgs {}

/// Serves one scan.
pub(crate) fn run(_: &RunnerArgs) -> Result<u8, Failure> {
    // When to end is for the scan to say, which gets the same signals; without it there are no more orders.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).map_err(Failure::Signals)?;
    }
    // Whoever does not listen any more is gone, and nothing is left to be done.
    let _ = serve(BufReader::new(io::stdin()), &mut io::stdout());
    Ok(DONE)
}

/// Runs what it is told to, once, and says what came of it.
fn serve(mut orders: impl BufRead + Send + 'static, words: &mut impl Write) -> io::Result<()> {
    let Some(setup) = Setup::read(&mut orders)? else { return Ok(()) };
    let (template, jobs, timeout) = match Template::parse(&setup.command) {
        Ok(template) => (template, setup.jobs, setup.timeout),
        Err(why) => return protocol::send(words, &Word::Refused(why)),
    };
    let commands = match hosts(&mut orders, setup.targets.as_ref()) {
        Ok(Some(hosts)) => hosts.iter().flat_map(|host| template.commands(host)).collect::<Vec<Command>>(),
        Ok(None) => return Ok(()),
        Err(why) => return protocol::send(words, &Word::Refused(why)),
    };
    let hurried = Arc::new(AtomicU8::new(Hurry::Not as u8));
    let shared = Arc::clone(&hurried);
    thread::Builder::new().name("orders".into()).spawn(move || obey(&mut orders, &shared))?;
    let mut told = Ok(());
    crew::run(commands, jobs, timeout, &|| Hurry::of(hurried.load(Ordering::Relaxed)), &mut |ended| {
        if told.is_ok() {
            told = protocol::tell(words, &ended);
        }
    });
    told
}

/// The hosts, once it is time; none if it never is.
fn hosts(orders: &mut impl BufRead, targets: Option<&Coverage>) -> Result<Option<Vec<Host>>, String> {
    let mut hosts: BTreeMap<IpAddr, Host> = BTreeMap::new();
    loop {
        match Order::read(orders) {
            Ok(Some(Order::Host(host))) => {
                check(&host, targets)?;
                if let Some(twice) = hosts.insert(host.address, host) {
                    return Err(format!("{} was handed over twice", twice.address));
                }
            }
            Ok(Some(Order::Run)) => return Ok(Some(hosts.into_values().collect())),
            Ok(Some(Order::Hurry(Hurry::Not))) => {}
            Ok(Some(Order::Hurry(_)) | None) => return Ok(None),
            Err(error) => return Err(format!("an order that is none: {error}")),
        }
    }
}

/// Whether these are targets of the scan.
fn check(host: &Host, targets: Option<&Coverage>) -> Result<(), String> {
    let is_target = |port: u16| targets.is_none_or(|targets| targets.contains(host.address, port));
    match host.ports.iter().find(|&&port| port == 0 || !is_target(port)) {
        Some(port) => Err(format!("{} port {port} is no target of this scan", host.address)),
        None if host.ports.is_empty() => Err(format!("{} was handed over without a port", host.address)),
        None => Ok(()),
    }
}

/// Hears how hurried it is, until nobody is there to say so: then it is very.
fn obey(orders: &mut impl BufRead, hurried: &AtomicU8) {
    // Relaxed: the number alone is read, nothing is published by it.
    while let Ok(Some(order)) = Order::read(orders) {
        if let Order::Hurry(hurry) = order {
            hurried.fetch_max(hurry as u8, Ordering::Relaxed);
        }
    }
    hurried.store(Hurry::Now as u8, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::super::job::{End, Ended};
    use super::*;

    fn setup(command: &str) -> Setup {
        let targets = (1..=6).map(|host| (IpAddr::from([192, 0, 2, host]), 80)).collect();
        Setup { command: command.into(), jobs: NonZeroU8::MIN, timeout: None, targets: Some(targets) }
    }

    fn host(address: &str, ports: &[u16]) -> Order {
        Order::Host(Host { address: address.parse().unwrap(), ports: ports.into() })
    }

    /// What comes of these orders.
    fn served(setup: &Setup, orders: &[Order]) -> Vec<io::Result<Ended>> {
        let (from, mut to) = io::pipe().unwrap();
        protocol::send(&mut to, setup).unwrap();
        orders.iter().for_each(|order| protocol::send(&mut to, order).unwrap());
        let mut words = Vec::new();
        serve(BufReader::new(from), &mut words).unwrap();
        drop(to);
        let mut words = &words[..];
        std::iter::from_fn(|| protocol::hear(&mut words).transpose()).collect()
    }

    fn refused(setup: &Setup, orders: &[Order]) -> String {
        match &served(setup, orders)[..] {
            [Err(why)] => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn its_commands_are_run_and_told_of() {
        let ended =
            served(&setup("echo {host}:{ports}"), &[host("192.0.2.3", &[80]), host("192.0.2.1", &[80]), Order::Run]);
        let printed: Vec<_> = ended.into_iter().map(|ended| ended.unwrap().printed).collect();
        assert_eq!(printed, [b"192.0.2.1:80\n", b"192.0.2.3:80\n"]);
    }

    #[test]
    fn nothing_is_run_that_is_no_target_of_the_scan() {
        let run = |order| refused(&setup("touch /nonexistent/{host}"), &[host("192.0.2.1", &[80]), order, Order::Run]);
        assert_eq!(run(host("192.0.2.7", &[80])), "192.0.2.7 port 80 is no target of this scan");
        assert_eq!(run(host("192.0.2.2", &[80, 81])), "192.0.2.2 port 81 is no target of this scan");
        assert_eq!(run(host("192.0.2.2", &[])), "192.0.2.2 was handed over without a port");
        assert_eq!(run(host("192.0.2.1", &[80])), "192.0.2.1 was handed over twice");
        let open = Setup { targets: None, ..setup("true") };
        assert_eq!(
            refused(&open, &[host("192.0.2.7", &[0]), Order::Run]),
            "192.0.2.7 port 0 is no target of this scan"
        );
        assert!(refused(&setup("echo {x}"), &[]).contains("nothing is known to put in for {x}"));
    }

    #[test]
    fn the_template_is_settled_once() {
        let again = serde_json::to_vec(&setup("false")).unwrap();
        let mut said = [serde_json::to_vec(&setup("true")).unwrap(), again].join(&b'\n');
        said.extend(b"\n\"run\"\n");
        let mut words = Vec::new();
        serve(io::Cursor::new(said), &mut words).unwrap();
        assert!(protocol::hear(&mut &words[..]).unwrap_err().to_string().starts_with("an order that is none"));
    }

    #[test]
    fn without_a_scan_nothing_begins_and_what_has_begun_ends() {
        assert_eq!(
            served(
                &setup("true"),
                &[host("192.0.2.1", &[80])][..0]
                    .iter()
                    .chain(&[Order::Hurry(Hurry::Soon)])
                    .cloned()
                    .collect::<Vec<_>>()
            )
            .len(),
            0
        );
        let (from, mut to) = io::pipe().unwrap();
        let (mut heard, words) = io::pipe().unwrap();
        let served = thread::spawn(move || serve(BufReader::new(from), &mut { words }));
        protocol::send(&mut to, &setup("sleep 600")).unwrap();
        [host("192.0.2.1", &[80]), Order::Run].iter().for_each(|order| protocol::send(&mut to, order).unwrap());
        // The scan has died.
        drop(to);
        let mut said = Vec::new();
        io::Read::read_to_end(&mut heard, &mut said).unwrap();
        served.join().unwrap().unwrap();
        let ended = protocol::hear(&mut &said[..]).unwrap();
        assert!(ended.is_none_or(|ended| ended.end == End::Interrupted));
    }
}
