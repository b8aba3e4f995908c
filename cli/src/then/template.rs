//! The command of `--then`: words with places in them. Words are split first, places filled afterwards, so that nothing that is
//! filled in can become more than a part of its word. Pure.

use std::net::IpAddr;

use serde_json::json;

use super::Host;

/// A command with places for what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// As it was typed.
    text: String,
    words: Vec<Word>,
}

type Word = Vec<Piece>;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Host,
    Ports,
    Port,
    Json,
}

/// A command, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) address: IpAddr,
    /// The ports that it is about.
    pub(crate) ports: Vec<u16>,
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
}

impl Template {
    /// Reads a command as it was typed.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let words = shlex::split(text).ok_or("a quotation mark or a backslash has no end")?;
        let words = words.iter().map(|word| read(word)).collect::<Result<Vec<_>, _>>()?;
        match words.first().map(Vec::as_slice) {
            None => Err("no command; expected something such as 'nmap -sV -p {ports} {host}'".into()),
            Some([Piece::Text(_)]) => Ok(Template { text: text.to_owned(), words }),
            Some(_) => Err("the program itself cannot be filled in; begin with its name".into()),
        }
    }

    /// As it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The commands for a host: one, or one for each of its open ports.
    pub(super) fn commands(&self, host: &Host) -> Vec<Command> {
        let is_by_port = self.words.iter().flatten().any(|piece| *piece == Piece::Port);
        match is_by_port {
            true => host.ports.iter().map(|&port| self.filled(host, vec![port])).collect(),
            false => vec![self.filled(host, host.ports.clone())],
        }
    }

    fn filled(&self, host: &Host, ports: Vec<u16>) -> Command {
        let fill = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Host => host.address.to_string(),
            Piece::Ports => listed(&host.ports),
            Piece::Port => listed(&ports),
            Piece::Json => json!({ "host": host.address, "ports": host.ports }).to_string(),
        };
        let mut words = self.words.iter().map(|word| word.iter().map(fill).collect::<String>());
        let program = words.next().unwrap_or_default();
        Command { address: host.address, program, arguments: words.collect(), ports }
    }
}

fn listed(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// Reads a word: `{name}` is a place if it is one word of small letters, `{{` and `}}` are the braces themselves.
fn read(word: &str) -> Result<Word, String> {
    let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), word);
    while let Some(first) = rest.chars().next() {
        let taken = match (place(rest), rest.get(..2)) {
            (_, Some(double @ ("{{" | "}}"))) => {
                text.push_str(&double[1..]);
                2
            }
            (Some(name), _) => {
                pieces.extend(Some(std::mem::take(&mut text)).filter(|text| !text.is_empty()).map(Piece::Text));
                pieces.push(named(name)?);
                name.len() + 2
            }
            _ => {
                text.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// The name of the place that a text begins with.
fn place(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    (!name.is_empty() && name.bytes().all(|letter| letter.is_ascii_lowercase())).then_some(name)
}

fn named(name: &str) -> Result<Piece, String> {
    match name {
        "host" => Ok(Piece::Host),
        "ports" => Ok(Piece::Ports),
        "port" => Ok(Piece::Port),
        "json" => Ok(Piece::Json),
        _ => Err(format!(
            "nothing is known to put in for {{{name}}}; expected {{host}}, {{ports}}, {{port}} or {{json}}, or {{{{{name}}}}} for the text itself"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str) -> Host {
        Host { address: address.parse().unwrap(), ports: vec![22, 80] }
    }

    fn filled(template: &str) -> Vec<String> {
        let commands = Template::parse(template).unwrap().commands(&host("192.0.2.7"));
        let joined = |command: &Command| {
            let words = [&command.program].into_iter().chain(&command.arguments);
            words.map(|word| format!("[{word}]")).collect::<String>()
        };
        commands.iter().map(joined).collect()
    }

    #[test]
    fn words_are_split_before_they_are_filled() {
        assert_eq!(filled("nmap -sV -p {ports} {host}"), ["[nmap][-sV][-p][22,80][192.0.2.7]"]);
        assert_eq!(
            filled("curl -s 'http://{host}:{port}/a b'"),
            ["[curl][-s][http://192.0.2.7:22/a b]", "[curl][-s][http://192.0.2.7:80/a b]"]
        );
        assert_eq!(filled(r#"echo {json} '' "x"y"#), [r#"[echo][{"host":"192.0.2.7","ports":[22,80]}][][xy]"#]);
        assert_eq!(filled("sh -c 'echo $1' sh {host}"), ["[sh][-c][echo $1][sh][192.0.2.7]"]);
    }

    #[test]
    fn a_command_knows_its_ports() {
        let ports = |template: &str| {
            let commands = Template::parse(template).unwrap().commands(&host("2001:db8::7"));
            commands.into_iter().map(|command| command.ports).collect::<Vec<_>>()
        };
        assert_eq!(ports("x {host}"), [[22, 80]]);
        assert_eq!(ports("x {port}"), [[22], [80]]);
    }

    #[test]
    fn braces_that_are_none_of_ours_stay() {
        assert_eq!(filled("awk '{print $1}' {{host}} {} {A} } ü{"), ["[awk][{print $1}][{host}][{}][{A}][}][ü{]"]);
    }

    #[test]
    fn slips_are_told() {
        for (text, told) in [
            ("", "no command"),
            ("  ", "no command"),
            ("echo 'x", "has no end"),
            ("{host} x", "begin with its name"),
            ("nmap {hosts}", "nothing is known to put in for {hosts}"),
            ("nmap {hosts}", "or {{hosts}} for the text itself"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
