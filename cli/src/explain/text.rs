//! Explanations for people: a heading for each port or service, and beneath it a column of labels with a text each.

use std::fmt::Write as _;

use anstyle::Style;
use halfopen_services::{Answer, CONVENTION, Port, Registered, Service, Wire};

/// Where lines are broken: what every terminal has.
const WIDTH: usize = 80;
/// Where texts begin.
const INDENT: usize = 16;
/// From here on systems hand out ports to programs that ask for any (RFC 6335 section 6).
const DYNAMIC: u16 = 49_152;

/// Everything, and at the end what a port number is worth.
pub(super) fn page(answers: &[Answer]) -> String {
    let mut page: String = answers.iter().map(|answer| section(answer) + "\n").collect();
    page.push_str(&wrapped(CONVENTION, 0));
    page
}

fn section(answer: &Answer) -> String {
    let bold = Style::new().bold();
    let mut text = format!("{bold}{}{bold:#}\n", wrapped(&heading(answer), 0).trim_end());
    match answer.service {
        Some(service) => lines(answer, service).into_iter().for_each(|(label, line)| add(&mut text, label, &line)),
        None => unremarked(answer).into_iter().for_each(|(label, line)| add(&mut text, label, &line)),
    }
    text
}

/// `23/tcp  telnet: Telnet, remote login without encryption`.
fn heading(answer: &Answer) -> String {
    let ports = listed(&answer.ports);
    match (answer.service, answer.registered.first()) {
        (Some(service), _) => format!("{ports}  {}: {}", service.name, service.title),
        (None, Some(Registered { name, description: "", .. })) => format!("{ports}  {name}"),
        (None, Some(entry)) => format!("{ports}  {}: {}", entry.name, entry.description),
        (None, None) => format!("{ports}  not registered for anything"),
    }
}

fn lines(answer: &Answer, service: &Service) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if !answer.ports.iter().any(|&port| service.is_usual_at(port)) {
        lines.push(("Usual port", format!("{}; it is often found here, too", listed(service.ports))));
    }
    lines.extend([
        ("What for", service.purpose.to_owned()),
        ("Encrypted", encryption(service)),
        ("If open inside", service.locally.to_owned()),
        ("To the Internet", service.exposed.to_owned()),
        ("What to do", service.advice.to_owned()),
        ("Risk", format!("{}, if it can be reached from the Internet", service.risk)),
    ]);
    lines.extend(also(answer, service).map(|ports| ("Also at", ports)));
    lines.extend(by_another_name(answer, service).map(|names| ("IANA's name", names)));
    lines
}

fn encryption(service: &Service) -> String {
    let is = match service.wire {
        Wire::Encrypted => "yes",
        Wire::Optional => "only where it is switched on",
        Wire::Plaintext => "no, whoever is on the way can read it",
    };
    service.instead.map_or(is.to_owned(), |instead| format!("{is}; use {instead}"))
}

/// Where else it is found, for who asked for the service.
fn also(answer: &Answer, service: &Service) -> Option<String> {
    let others: Vec<Port> = service.alternates.iter().filter(|port| !answer.ports.contains(port)).copied().collect();
    (!others.is_empty()).then(|| listed(&others))
}

/// Where the registry has another name than people use.
fn by_another_name(answer: &Answer, service: &Service) -> Option<String> {
    let others = answer.registered.iter().filter(|entry| !entry.name.eq_ignore_ascii_case(service.name));
    let mut names: Vec<String> = others.map(registration).collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join("; "))
}

fn registration(entry: &Registered) -> String {
    match entry.description {
        "" => format!("{} {}", entry.port, entry.name),
        description => format!("{} {} ({description})", entry.port, entry.name),
    }
}

/// Of a port that has no text of its own.
fn unremarked(answer: &Answer) -> Vec<(&'static str, String)> {
    let number = answer.ports.first().map_or(0, |port| port.number);
    let what = match answer.registered.first() {
        Some(_) => "Registered with IANA under this name; no more is known of it here.",
        None if number >= DYNAMIC => "Systems give such ports to programs that ask for any port.",
        None => "No service is registered for it; any program may use it.",
    };
    vec![("What for", what.into()), ("What to do", GENERAL.into())]
}

const GENERAL: &str = "Find out which program listens (on the machine itself: ss -tulnp) and who needs it. Close it to \
                       everybody else, and stop it if nobody does.";

/// `80/tcp, 6006-6063/tcp`.
fn listed(ports: &[Port]) -> String {
    let runs =
        ports.chunk_by(|one, next| one.protocol == next.protocol && one.number.checked_add(1) == Some(next.number));
    let run = |run: &[Port]| match run {
        [first, .., last] => format!("{}-{last}", first.number),
        run => run.iter().map(Port::to_string).collect(),
    };
    runs.map(run).collect::<Vec<_>>().join(", ")
}

fn add(text: &mut String, label: &str, line: &str) {
    let _ = write!(text, "  {label:<width$}{}", wrapped(line, INDENT + 2).trim_start(), width = INDENT);
}

/// Broken into lines at spaces, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| line.is_empty() || indent + line.len() + 1 + word.len() <= WIDTH);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use halfopen_services::{explain, services};

    fn plain(word: &str) -> String {
        let text = page(&explain(word).unwrap());
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_service() {
        insta::assert_snapshot!(plain("telnet"));
    }

    #[test]
    fn a_port_where_a_service_is_found_at_times() {
        insta::assert_snapshot!(plain("8080"));
    }

    #[test]
    fn a_port_that_people_use_otherwise_than_registered() {
        insta::assert_snapshot!(plain("6443"));
    }

    #[test]
    fn ports_without_a_text() {
        insta::assert_snapshot!(["5", "4", "60123", "4/udp"].map(plain).join("\n"));
    }

    /// No text is broken in an ugly way, whatever its length.
    #[test]
    fn every_service_fits() {
        for service in services() {
            let text = plain(service.name);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert_eq!(text.matches("not proof").count(), 1, "{text}");
        }
    }

    #[test]
    fn neighbouring_ports_are_a_range() {
        let ports = [Port::tcp(80), Port::tcp(81), Port::udp(82), Port::tcp(65534), Port::tcp(65535), Port::tcp(1)];
        assert_eq!(listed(&ports), "80-81/tcp, 82/udp, 65534-65535/tcp, 1/tcp");
    }

    #[test]
    fn wrapping() {
        assert_eq!(wrapped("", 2), "  \n");
        assert_eq!(wrapped(&"a".repeat(100), 2), format!("  {}\n", "a".repeat(100)));
        let text = wrapped(&"four ".repeat(40), 10);
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("          ")), "{text}");
    }
}
