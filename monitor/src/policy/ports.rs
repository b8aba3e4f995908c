//! Ports as policies have them: `tcp/80`, `tcp/6000-6063`, `tcp/https`.

use halfopen_results::coverage::Ports;
use halfopen_services::{near, tcp_ports};

/// The TCP ports of a text.
pub fn parse(text: &str) -> Result<Ports, String> {
    match text.split_once('/') {
        Some(("tcp", ports)) => tcp(ports),
        Some(("udp", _)) => Err("UDP ports cannot be checked: a SYN scan says nothing of them; leave them out".into()),
        Some((other, _)) => Err(format!("{other:?} is no protocol; expected ports such as tcp/80 or tcp/6000-6063")),
        None => Err(format!("expected a protocol before the port: tcp/{text}")),
    }
}

fn tcp(text: &str) -> Result<Ports, String> {
    let wrong = || format!("{text:?} is no port or range of ports from 1 to 65535, such as 80 or 6000-6063");
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let ports: Ports = text.parse().map_err(|_| wrong())?;
        return if text.contains(',') || ports.contains(0) { Err(wrong()) } else { Ok(ports) };
    }
    match tcp_ports(text).as_slice() {
        [] => Err(match near(text).as_slice() {
            [] => wrong(),
            names => format!("{text:?} is no port and no service; did you mean tcp/{}?", names.join(" or tcp/")),
        }),
        ports => Ok(ports.iter().map(|&port| (port, port)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let said = |text: &str| parse(text).map(|ports| ports.to_string());
        assert_eq!(said("tcp/80"), Ok("80".into()));
        assert_eq!(said("tcp/6000-6063"), Ok("6000-6063".into()));
        assert_eq!(said("tcp/https"), Ok("443".into()));
        for (text, expected) in [
            ("80", "expected a protocol before the port: tcp/80"),
            ("udp/53", "UDP ports cannot be checked"),
            ("sctp/80", "\"sctp\" is no protocol"),
            ("tcp/0", "\"0\" is no port or range of ports from 1 to 65535"),
            ("tcp/70000", "\"70000\" is no port"),
            ("tcp/9-1", "\"9-1\" is no port"),
            ("tcp/80,81", "\"80,81\" is no port"),
            ("tcp/htpps", "\"htpps\" is no port and no service; did you mean tcp/https"),
            ("tcp/", "\"\" is no port"),
        ] {
            assert!(said(text).unwrap_err().starts_with(expected), "{text}: {:?}", said(text));
        }
    }
}
