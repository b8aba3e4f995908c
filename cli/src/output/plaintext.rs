//! What of the open ports is usually plaintext, and what to use instead: a line for the account of a scan. Taken are the
//! usual ports of services that have a better one; by number alone, which proves nothing. Which these are is known to
//! `halfopen_services`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use halfopen::{Event, State, Suspect, Suspicion, Verdict};
use halfopen_services::{Port, Service, plaintext};
use serde::{Deserialize, Serialize};

use super::text::count;

/// The hosts on which a plaintext service seems to be open, by port.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Plaintext {
    hosts: BTreeMap<u16, BTreeSet<IpAddr>>,
    taken: usize,
}

/// More than these are said to be more.
const MOST: usize = 1 << 16;
/// How many services a line names.
const NAMED: usize = 3;

impl Plaintext {
    /// Takes what a scan found.
    pub(crate) fn event(&mut self, event: &Event) {
        match event {
            Event::Verdict(Verdict { state: State::Open, suspect: None, target, .. }) => {
                self.open(target.address, target.port);
            }
            Event::Suspect(Suspicion { address, reason: Suspect::EveryPort | Suspect::Forged, .. }) => {
                for hosts in self.hosts.values_mut() {
                    hosts.remove(address);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, address: IpAddr, port: u16) {
        if self.taken < MOST && service(port).is_some() {
            self.taken += usize::from(self.hosts.entry(port).or_default().insert(address));
        }
    }

    /// `plaintext: 23 telnet on 2 hosts, use ssh; see halfopen explain 23`; the worst first.
    pub(crate) fn line(&self) -> Option<String> {
        let mut found: Vec<_> = self.hosts.iter().filter(|(_, hosts)| !hosts.is_empty()).collect();
        found.sort_by_key(|&(&port, hosts)| (service(port).map(|service| Reverse(service.risk)), Reverse(hosts.len())));
        let named: Vec<_> =
            found.iter().take(NAMED).filter_map(|&(&port, hosts)| self.item(port, hosts.len())).collect();
        let ports: Vec<_> = found.iter().take(NAMED).map(|(port, _)| port.to_string()).collect();
        let more = found.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; {}", count(more as u64, "more such port")) } else { String::new() };
        (!named.is_empty())
            .then(|| format!("plaintext: {}{more}; see halfopen explain {}", named.join("; "), ports.join(" ")))
    }

    fn item(&self, port: u16, hosts: usize) -> Option<String> {
        let service = service(port)?;
        let least = if self.taken < MOST { "" } else { "at least " };
        let hosts = count(hosts as u64, "host");
        Some(format!("{port} {} on {least}{hosts}, use {}", service.name, service.instead?))
    }
}

fn service(port: u16) -> Option<&'static Service> {
    plaintext(Port::tcp(port))
}

#[cfg(test)]
mod tests {
    use halfopen::Target;

    use super::super::samples;
    use super::*;

    fn open(host: u8, port: u16) -> Event {
        Event::Verdict(Verdict { target: Target { address: IpAddr::from([192, 0, 2, host]), port }, ..samples::open() })
    }

    fn line(events: impl IntoIterator<Item = Event>) -> Option<String> {
        let mut plaintext = Plaintext::default();
        events.into_iter().for_each(|event| plaintext.event(&event));
        plaintext.line()
    }

    #[test]
    fn a_service_on_several_hosts() {
        let said = line([open(1, 23), open(2, 23), open(2, 23), open(1, 22)]).unwrap();
        assert_eq!(said, "plaintext: 23 telnet on 2 hosts, use ssh; see halfopen explain 23");
    }

    #[test]
    fn the_worst_first_and_not_too_many() {
        let said = line([open(1, 143), open(1, 21), open(2, 21), open(1, 23), open(1, 110), open(1, 512)]).unwrap();
        insta::assert_snapshot!(said, @"plaintext: 21 ftp on 2 hosts, use sftp or ftps; 23 telnet on 1 host, use ssh; 512 exec on 1 host, use ssh; 2 more such ports; see halfopen explain 21 23 512");
    }

    #[test]
    fn the_web_without_encryption_comes_last() {
        let said = line([open(1, 80), open(2, 80), open(1, 23)]).unwrap();
        assert_eq!(
            said,
            "plaintext: 23 telnet on 1 host, use ssh; 80 http on 2 hosts, use https; see halfopen explain 23 80"
        );
    }

    /// Other ports than the usual ones say too little.
    #[test]
    fn what_is_not_worth_a_word() {
        let closed =
            Event::Verdict(Verdict { target: Target { port: 23, ..samples::closed().target }, ..samples::closed() });
        assert_eq!(line([open(1, 443), open(1, 2323), open(1, 4), closed]), None);
    }

    #[test]
    fn tarpits_offer_everything() {
        let every = samples::suspect();
        let Event::Suspect(Suspicion { address, .. }) = every else { panic!("an event of suspicion") };
        let tarpit = Event::Verdict(Verdict { target: Target { address, port: 23 }, ..samples::open() });
        let forged = Event::Verdict(Verdict {
            suspect: Some(Suspect::Forged),
            target: Target { address: IpAddr::from([192, 0, 2, 9]), port: 23 },
            ..samples::open()
        });
        assert_eq!(line([tarpit, forged, every]), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut plaintext = Plaintext::default();
        for host in 0..=MOST as u32 {
            plaintext.open(IpAddr::from(host.to_be_bytes()), 23);
        }
        assert_eq!(plaintext.hosts[&23].len(), MOST);
        assert!(plaintext.line().unwrap().contains("on at least 65,536 hosts"));
    }
}
