//! What the programs say they found: each one's format, read to the set of open targets.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use halfopen::Target;
use halfopen_lab::NmapReport;

use crate::contender::Contender;

/// The open targets in a program's results. What is not in its format is passed over: it then counts as not found.
pub(crate) fn opens(contender: Contender, text: &str) -> HashSet<Target> {
    match contender {
        Contender::Halfopen(_) => text.lines().filter_map(pair).collect(),
        Contender::Masscan => text.lines().filter_map(masscan).collect(),
        Contender::Zmap => text.lines().filter_map(zmap).collect(),
        Contender::Nmap => nmap(text),
        Contender::Bare(_) => HashSet::new(),
    }
}

/// `10.0.0.1:80`
fn pair(line: &str) -> Option<Target> {
    line.parse::<SocketAddr>().ok().map(Target::from)
}

/// `open tcp 80 10.0.0.1 1795233922`
fn masscan(line: &str) -> Option<Target> {
    let mut words = line.split(' ');
    (words.next() == Some("open")).then_some(())?;
    let (_protocol, port, address) = (words.next()?, words.next()?, words.next()?);
    target(address, port)
}

/// `10.0.0.1,80`
fn zmap(line: &str) -> Option<Target> {
    let (address, port) = line.split_once(',')?;
    target(address, port)
}

fn target(address: &str, port: &str) -> Option<Target> {
    let address: IpAddr = address.parse().ok()?;
    Some(Target { address, port: port.parse().ok()? })
}

fn nmap(text: &str) -> HashSet<Target> {
    let report = NmapReport::read(text).unwrap_or_default();
    let open = report.findings.into_iter().filter(|(_, finding)| finding.state == "open");
    open.map(|(target, _)| target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::LINKS;

    #[test]
    fn every_format_is_read() {
        let expected = HashSet::from([target("10.0.0.1", "80").unwrap(), target("10.0.0.9", "443").unwrap()]);
        let nmap = r#"<nmaprun><host><status state="up"/><address addr="10.0.0.1"/><ports>
            <extraports state="closed" count="255"/><port portid="80"><state state="open" reason="syn-ack"/></port>
            </ports></host><host><status state="up"/><address addr="10.0.0.9"/><ports>
            <port portid="443"><state state="open" reason="syn-ack"/></port>
            <port portid="444"><state state="closed" reason="reset"/></port></ports></host></nmaprun>"#;
        for (contender, text) in [
            (Contender::Halfopen(LINKS[0]), "10.0.0.1:80\n10.0.0.9:443\n"),
            (
                Contender::Masscan,
                "#masscan\nopen tcp 80 10.0.0.1 1\nopen tcp 443 10.0.0.9 2\nclosed tcp 1 10.0.0.2 3\n# end",
            ),
            (Contender::Zmap, "saddr,sport\n10.0.0.1,80\n10.0.0.9,443\n10.0.0.9,443\n"),
            (Contender::Nmap, nmap),
        ] {
            assert_eq!(opens(contender, text), expected, "{contender:?}");
        }
    }
}
