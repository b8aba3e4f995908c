//! Names of services where ports are asked for: what `halfopen_services` knows, in the form in which the engine's plans
//! ask for it.

use halfopen::PortNames;
use halfopen_services::{explain, near, tcp_ports};

/// Every name of the registry, and the usual ones beside it.
pub(crate) struct ServiceNames;

impl PortNames for ServiceNames {
    fn ports(&self, name: &str) -> Option<Vec<u16>> {
        Some(tcp_ports(name)).filter(|ports| !ports.is_empty())
    }

    fn objection(&self, name: &str) -> String {
        if explain(name).is_some() {
            return "is a service over UDP, and a scan is of TCP ports".into();
        }
        if is_range(name) {
            return "is no service name; ranges are written in numbers, such as 20-23".into();
        }
        match near(name).as_slice() {
            [] => "is no port and no service name".into(),
            names => format!("is no port and no service name (did you mean {}?)", names.join(" or ")),
        }
    }
}

fn is_range(text: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok() || !tcp_ports(text).is_empty();
    text.split_once('-').is_some_and(|(first, last)| is_port(first) && is_port(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_is_none() {
        assert_eq!(ServiceNames.ports("https"), Some(vec![443]));
        assert_eq!(ServiceNames.ports("HTTP-alt"), Some(vec![591, 8008, 8080]));
        for (name, objection) in [
            ("htpp", "is no port and no service name (did you mean http"),
            ("wireguard", "is a service over UDP"),
            ("ssh-telnet", "is no service name; ranges are written in numbers"),
            ("20-telnet", "is no service name; ranges are written in numbers"),
            ("qqqqqqqq", "is no port and no service name"),
        ] {
            assert_eq!(ServiceNames.ports(name), None, "{name}");
            assert!(ServiceNames.objection(name).starts_with(objection), "{}", ServiceNames.objection(name));
        }
    }
}
