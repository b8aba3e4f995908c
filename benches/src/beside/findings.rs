//! What the programs say they found: each one's format, read to the open and the closed targets.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use halfopen::Target;
use halfopen_lab::NmapReport;

/// What a program said. What is not in its format is passed over: it then counts as not found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Targets that it calls open.
    pub open: HashSet<Target>,
    /// Targets that it calls closed, where it says so.
    pub closed: HashSet<Target>,
}

impl Findings {
    /// halfopen's list: `10.0.0.1:80`, open alone.
    pub fn of_list(text: &str) -> Findings {
        let open = text.lines().filter_map(|line| line.parse::<SocketAddr>().ok().map(Target::from));
        Findings { open: open.collect(), ..Findings::default() }
    }

    /// halfopen's JSONL. A later verdict on a target stands in the place of an earlier one.
    pub fn of_jsonl(text: &str) -> Findings {
        let mut findings = Findings::default();
        for (target, state) in text.lines().filter_map(verdict) {
            findings.closed.remove(&target);
            findings.add(target, state);
        }
        findings
    }

    /// `masscan -oL`: `open tcp 80 10.0.0.1 1795233922`. A target that is called both is open.
    pub fn of_masscan(text: &str) -> Findings {
        text.lines().filter_map(masscan).collect()
    }

    /// zmap's CSV: `10.0.0.1,80`, and what it was where that is asked for: `10.0.0.1,80,rst`.
    pub fn of_zmap(text: &str) -> Findings {
        text.lines().filter_map(zmap).collect()
    }

    /// `nmap -oX`.
    pub fn of_nmap(xml: &str) -> Findings {
        let report = NmapReport::read(xml).unwrap_or_default();
        report.findings.iter().map(|(&target, finding)| (target, finding.state.as_str())).collect()
    }

    fn add(&mut self, target: Target, state: &str) {
        match state {
            "open" | "synack" => self.open.insert(target),
            "closed" | "rst" if !self.open.contains(&target) => self.closed.insert(target),
            _ => false,
        };
    }
}

impl<'a> FromIterator<(Target, &'a str)> for Findings {
    fn from_iter<I: IntoIterator<Item = (Target, &'a str)>>(said: I) -> Findings {
        let mut findings = Findings::default();
        said.into_iter().for_each(|(target, state)| findings.add(target, state));
        findings.closed.retain(|target| !findings.open.contains(target));
        findings
    }
}

/// The fields that matter of `{"type":"verdict","address":"10.0.0.1","port":80,...,"state":"open",...}`.
fn verdict(line: &str) -> Option<(Target, &str)> {
    (field(line, "type")? == "verdict").then_some(())?;
    Some((target(field(line, "address")?, field(line, "port")?)?, field(line, "state")?))
}

/// The value of a key in one record of halfopen's, which has no escapes in what is asked for here.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let key = format!("\"{key}\":");
    let value = &line[line.find(&key)? + key.len()..];
    let end = value.find([',', '}'])?;
    Some(value[..end].trim_matches('"'))
}

fn masscan(line: &str) -> Option<(Target, &str)> {
    let mut words = line.split(' ');
    let (state, _protocol) = (words.next()?, words.next()?);
    let (port, address) = (words.next()?, words.next()?);
    Some((target(address, port)?, state))
}

fn zmap(line: &str) -> Option<(Target, &str)> {
    let mut words = line.split(',');
    let (address, port) = (words.next()?, words.next()?);
    Some((target(address, port)?, words.next().unwrap_or("open")))
}

fn target(address: &str, port: &str) -> Option<Target> {
    let address: IpAddr = address.parse().ok()?;
    Some(Target { address, port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read() {
        let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(address, port)| target(address, port).unwrap()).collect();
        let open: HashSet<Target> = of(&[("10.0.0.1", "80"), ("10.0.0.9", "443")]);
        let only_open = Findings { open: open.clone(), closed: HashSet::new() };
        let both = Findings { open, closed: of(&[("10.0.0.2", "1"), ("10.0.0.2", "2")]) };

        assert_eq!(Findings::of_list("10.0.0.1:80\n10.0.0.9:443\n"), only_open);
        assert_eq!(Findings::of_zmap("saddr,sport\n10.0.0.1,80\n10.0.0.9,443\n10.0.0.9,443\n"), only_open);
        assert_eq!(
            Findings::of_zmap("10.0.0.1,80,synack\n10.0.0.2,1,rst\n10.0.0.2,2,rst\n10.0.0.9,443,synack\n"),
            both
        );
        let masscan = "#masscan\nopen tcp 80 10.0.0.1 1\nclosed tcp 443 10.0.0.9 2\nopen tcp 443 10.0.0.9 2\n\
            closed tcp 1 10.0.0.2 3\nclosed tcp 2 10.0.0.2 3\n# end";
        assert_eq!(Findings::of_masscan(masscan), both);
    }

    #[test]
    fn nmap_is_read_with_what_it_sums_up() {
        let nmap = r#"<nmaprun><host><status state="up"/><address addr="10.0.0.1"/><ports>
            <extraports state="closed" count="2"><extrareasons reason="reset" count="2" proto="tcp" ports="1,3"/>
            </extraports><port portid="80"><state state="open" reason="syn-ack"/></port>
            </ports></host><host><status state="up"/><address addr="10.0.0.9"/><ports>
            <port portid="443"><state state="filtered" reason="no-response"/></port>
            <port portid="444"><state state="closed" reason="reset"/></port></ports></host></nmaprun>"#;
        let found = Findings::of_nmap(nmap);
        assert_eq!((found.open.len(), found.closed.len()), (1, 3), "{found:?}");
    }

    #[test]
    fn a_verdict_that_is_taken_back_does_not_count() {
        let line = |port, state: &str| {
            format!(r#"{{"type":"verdict","address":"10.0.0.1","port":{port},"protocol":"tcp","state":"{state}"}}"#)
        };
        let lines = [line(80, "closed"), line(80, "open"), line(81, "closed"), "{\"type\":\"summary\"}".into()];
        let found = Findings::of_jsonl(&lines.join("\n"));
        assert_eq!((found.open.len(), found.closed.len()), (1, 1), "{found:?}");
    }
}
