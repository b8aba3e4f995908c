//! From a word that somebody typed (`443`, `53/udp`, `telnet`) to ports and what is known of them. What a word means:
//!
//! - a number with a protocol is that port; a number alone is the TCP port, and the UDP port of that number if only that
//!   one, or another service there, has a text;
//! - a service's name is that service; an alias, too, with whatever the registry has under the same name; a name that
//!   only the registry has is every port that has it;
//! - the names that IANA's had before RFC 6335 (`ocs_cmu`, `z39.50`, `whois++`) are aliases of those that replaced them.

use std::borrow::Cow;

use crate::port::{Port, Protocol};
use crate::registry::{Registered, registered, registered_as};
use crate::service::{Service, by_port, named};

/// What is known of one or more ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The ports that were asked about, or the usual ones of a service that was.
    pub ports: Vec<Port>,
    /// What the registry has for them; those that are not registered are left out.
    pub registered: Vec<Registered>,
    /// The texts, for a service that matters.
    pub service: Option<&'static Service>,
}

/// What is known of what a word names; none if it is neither a port nor the name of a service. At least one answer
/// otherwise.
///
/// ```
/// let answers = halfopen_services::explain("telnet").expect("a service");
/// assert_eq!(answers[0].service.and_then(|telnet| telnet.instead), Some("ssh"));
/// assert!(halfopen_services::explain("telent").is_none());
/// ```
pub fn explain(word: &str) -> Option<Vec<Answer>> {
    match word.parse::<Port>() {
        Ok(port) if word.contains('/') => Some(vec![Answer::of(port)]),
        Ok(port) => Some(of_number(port.number)),
        Err(_) => of_name(&well_formed(word)),
    }
}

/// The TCP ports that a name stands for, ascending: those that are registered under it, and the usual ones of the
/// service that is called so. Empty for a name that is not known, or only known for UDP.
pub fn tcp_ports(name: &str) -> Vec<u16> {
    let name = &*well_formed(name);
    let registered = registered_as(name, Protocol::Tcp).map(|entry| entry.port.number);
    let mut ports: Vec<u16> = registered.chain(named(name).into_iter().flat_map(Service::tcp_ports)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The name that replaced one of before RFC 6335 (section 10.1), or else the same. The registry has those with other characters
/// as aliases that are made by this very rule, so that they need no place here.
fn well_formed(name: &str) -> Cow<'_, str> {
    let odd = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    match name.contains(odd) {
        true => name.replace("++", "pp").replace(odd, "-").into(),
        false => name.into(),
    }
}

fn of_number(number: u16) -> Vec<Answer> {
    let (tcp, udp) = (Answer::of(Port::tcp(number)), Answer::of(Port::udp(number)));
    match (tcp.service, udp.service) {
        (Some(one), Some(other)) if one != other => vec![tcp, udp],
        (None, Some(_)) => vec![udp],
        _ => vec![tcp],
    }
}

fn of_name(name: &str) -> Option<Vec<Answer>> {
    let service = named(name);
    let mut answers: Vec<Answer> = service.map(Answer::of_service).into_iter().collect();
    if service.is_some_and(|service| service.name.eq_ignore_ascii_case(name)) {
        return Some(answers);
    }
    for entry in registrations(name) {
        if !answers.iter().any(|answer| answer.covers(entry.port)) {
            answers.push(Answer::of(entry.port));
        }
    }
    (!answers.is_empty()).then(|| together(answers))
}

/// The TCP ports of a name, or the UDP ports if it has no other.
fn registrations(name: &str) -> Vec<Registered> {
    let tcp: Vec<_> = registered_as(name, Protocol::Tcp).collect();
    if tcp.is_empty() { registered_as(name, Protocol::Udp).collect() } else { tcp }
}

/// Ports of which the same is to be said, in one answer.
fn together(answers: Vec<Answer>) -> Vec<Answer> {
    let mut joined: Vec<Answer> = Vec::new();
    for answer in answers {
        match joined.iter_mut().find(|before| before.says_the_same(&answer)) {
            Some(before) => before.take(answer),
            None => joined.push(answer),
        }
    }
    joined
}

impl Answer {
    fn of(port: Port) -> Answer {
        Answer { ports: vec![port], registered: registered(port).into_iter().collect(), service: by_port(port) }
    }

    fn of_service(service: &'static Service) -> Answer {
        let registered = service.ports.iter().filter_map(|&port| registered(port)).collect();
        Answer { ports: service.ports.to_vec(), registered, service: Some(service) }
    }

    fn covers(&self, port: Port) -> bool {
        self.ports.contains(&port)
    }

    fn says_the_same(&self, other: &Answer) -> bool {
        let text = |answer: &Answer| answer.registered.first().map(|entry| (entry.name, entry.description));
        self.service == other.service && (self.service.is_some() || text(self) == text(other))
    }

    fn take(&mut self, other: Answer) {
        self.ports.extend(other.ports);
        self.registered.extend(other.registered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(word: &str) -> String {
        let answers = explain(word).unwrap_or_else(|| panic!("{word} is not known"));
        let show = |answer: &Answer| {
            let ports: Vec<_> = answer.ports.iter().map(Port::to_string).collect();
            format!("{}={}", ports.join(","), answer.service.map_or("-", |service| service.name))
        };
        answers.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words() {
        for (word, meaning) in [
            ("443", "443/tcp=https"),
            ("53/udp", "53/udp=dns"),
            ("53", "53/tcp=dns"),
            ("514", "514/tcp=shell 514/udp=syslog"),
            ("123", "123/udp=ntp"),
            ("8443", "8443/tcp=https"),
            ("telnet", "23/tcp=telnet"),
            ("X11", "6000/tcp=x11"),
            ("Telnet", "23/tcp=telnet"),
            ("postgres", "5432/tcp=postgresql"),
            ("http-alt", "591/tcp,8008/tcp,8080/tcp=http"),
            ("rje", "5/tcp=-"),
            ("rdp", "3389/tcp,3389/udp=rdp"),
            ("4", "4/tcp=-"),
        ] {
            assert_eq!(shown(word), meaning, "{word}");
        }
    }

    /// A name that the registry gave to another port than people do: both are told.
    #[test]
    fn two_things_of_one_name() {
        assert_eq!(shown("sftp"), "22/tcp=ssh 115/tcp=-");
        assert_eq!(tcp_ports("sftp"), [22, 115]);
        assert_eq!(tcp_ports("irc"), [194, 6667]);
    }

    /// Those that IANA lists as aliases of the names that replaced them, and the ones of old `/etc/services`.
    #[test]
    fn names_of_before() {
        for (alias, port) in [("ocs_cmu", 428), ("Z39.50", 210), ("whois++", 63), ("914c/g", 211), ("ms_sql_s", 1433)] {
            assert_eq!(tcp_ports(alias), [port], "{alias}");
            assert!(explain(alias).is_some_and(|answers| answers[0].ports.contains(&Port::tcp(port))), "{alias}");
        }
        for (alias, port) in [("sink", 9), ("ttytst", 19), ("timserver", 37), ("readnews", 119), ("spooler", 515)] {
            assert_eq!(tcp_ports(alias), [port], "{alias}");
        }
    }

    #[test]
    fn what_is_unknown() {
        for word in ["", "telent", "65536", "22/sctp", "-1", "http,ssh", "*"] {
            assert_eq!(explain(word), None, "{word}");
        }
    }

    #[test]
    fn ports_of_names() {
        assert_eq!(tcp_ports("HTTPS"), [443]);
        assert_eq!(tcp_ports("www"), [80]);
        assert_eq!(tcp_ports("postgres"), [5432]);
        assert_eq!(tcp_ports("kubernetes"), [6443]);
        assert_eq!(tcp_ports("ftp"), [21]);
        assert_eq!(tcp_ports("wireguard"), [0; 0], "it is UDP");
        assert_eq!(tcp_ports("htp"), [0; 0]);
    }

    #[test]
    fn the_registry_is_told_beside_the_texts() {
        let answers = explain("6443").unwrap();
        assert_eq!(answers[0].registered.iter().map(|entry| entry.name).collect::<Vec<_>>(), ["sun-sr-https"]);
        assert_eq!(answers[0].service.map(|service| service.name), Some("kubernetes"));
    }
}
