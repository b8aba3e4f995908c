//! `data/services.txt`: records of `key: value` under a `[name]`. Every record has every key that it must have, and no
//! port or name is in two of them: else the build stops.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

/// A record, and the line on which it begins.
struct Record<'a> {
    line: usize,
    name: &'a str,
    values: HashMap<&'a str, String>,
}

const REQUIRED: [&str; 8] = ["title", "ports", "wire", "risk", "for", "lan", "net", "do"];
const OPTIONAL: [&str; 3] = ["also", "names", "instead"];
/// What a record says where there is nothing to change to.
const NOTHING: &str = "nothing";

/// `SERVICES`, `BY_PORT` and `BY_ALIAS` as code.
pub(crate) fn tables(text: &str) -> String {
    let records = records(text);
    let mut code = format!("static SERVICES: [Service; {}] = [\n", records.len());
    for record in &records {
        code.push_str(&record.code());
    }
    code.push_str("];\n");
    code.push_str(&by_port(&records));
    code.push_str(&by_alias(&records));
    code
}

fn records(text: &str) -> Vec<Record<'_>> {
    let mut records: Vec<Record<'_>> = Vec::new();
    let mut key = "";
    for (line, text) in (1..).zip(text.lines()) {
        let record = records.last_mut();
        match (text, record) {
            ("", _) => key = "",
            (text, _) if text.starts_with('#') => {}
            (text, _) if text.starts_with('[') => records.push(Record::begun(line, text)),
            (text, Some(record)) if text.starts_with(' ') => record.go_on(line, key, text),
            (text, Some(record)) => key = record.take(line, text),
            (_, None) => fail(line, "stands before the first [name]"),
        }
    }
    records.iter().for_each(Record::check);
    records
}

impl<'a> Record<'a> {
    fn begun(line: usize, text: &'a str) -> Record<'a> {
        let name = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        Record { line, name: name.unwrap_or_else(|| fail(line, "is no [name]")), values: HashMap::new() }
    }

    fn take(&mut self, line: usize, text: &'a str) -> &'a str {
        let (key, value) = text.split_once(": ").unwrap_or_else(|| fail(line, "is not `key: value`"));
        if !REQUIRED.contains(&key) && !OPTIONAL.contains(&key) {
            fail(line, "has an unknown key")
        }
        if self.values.insert(key, value.trim().into()).is_some() {
            fail(line, "has a key for the second time")
        }
        key
    }

    fn go_on(&mut self, line: usize, key: &str, text: &str) {
        let value = self.values.get_mut(key).unwrap_or_else(|| fail(line, "goes on with nothing"));
        value.push(' ');
        value.push_str(text.trim());
    }

    fn check(&self) {
        if let Some(missing) = REQUIRED.iter().find(|&&key| !self.values.contains_key(key)) {
            fail(self.line, &format!("begins a service without `{missing}:`"))
        }
        if self.text("wire") == "plaintext" && !self.values.contains_key("instead") {
            fail(self.line, "begins a plaintext service without `instead:`; say `nothing` if so it is")
        }
    }

    fn text(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        self.text(key).split(", ").filter(|word| !word.is_empty())
    }

    fn ports(&self, key: &str) -> Vec<(u16, bool)> {
        self.list(key)
            .map(|word| port(word).unwrap_or_else(|| fail(self.line, &format!("{word:?} is no port"))))
            .collect()
    }

    fn code(&self) -> String {
        let instead = Some(self.text("instead")).filter(|text| !text.is_empty() && *text != NOTHING);
        let ports = |key| self.ports(key).into_iter().map(port_code).collect::<Vec<_>>().join(", ");
        let mut code = format!("Service {{ name: {:?}, title: {:?}, ", self.name, self.text("title"));
        let _ = write!(code, "ports: &[{}], alternates: &[{}], ", ports("ports"), ports("also"));
        let _ = write!(code, "aliases: &{:?}, ", self.list("names").collect::<Vec<_>>());
        let _ = write!(code, "wire: Wire::{}, risk: Risk::{}, ", self.wire(), self.risk());
        let _ = write!(code, "instead: {instead:?}, purpose: {:?}, ", self.text("for"));
        let _ = writeln!(
            code,
            "locally: {:?}, exposed: {:?}, advice: {:?} }},",
            self.text("lan"),
            self.text("net"),
            self.text("do")
        );
        code
    }

    fn wire(&self) -> &'static str {
        match self.text("wire") {
            "plaintext" => "Plaintext",
            "optional" => "Optional",
            "encrypted" => "Encrypted",
            _ => fail(self.line, "begins a service whose wire is not plaintext, optional or encrypted"),
        }
    }

    fn risk(&self) -> &'static str {
        match self.text("risk") {
            "low" => "Low",
            "medium" => "Medium",
            "high" => "High",
            _ => fail(self.line, "begins a service whose risk is not low, medium or high"),
        }
    }
}

/// A port, and whether it is UDP.
fn port(word: &str) -> Option<(u16, bool)> {
    let (number, protocol) = word.split_once('/')?;
    let is_udp = match protocol {
        "tcp" => false,
        "udp" => true,
        _ => return None,
    };
    Some((number.parse().ok()?, is_udp))
}

fn port_code((number, is_udp): (u16, bool)) -> String {
    format!("Port::{}({number})", if is_udp { "udp" } else { "tcp" })
}

fn by_port(records: &[Record<'_>]) -> String {
    let mut places = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        for port in record.ports("ports").into_iter().chain(record.ports("also")) {
            if places.insert(port, at).is_some() {
                fail(record.line, &format!("begins a service with a port that another has: {}", port_code(port)))
            }
        }
    }
    let entries: Vec<_> = places.iter().map(|(&port, at)| format!("({}, {at})", port_code(port))).collect();
    format!("static BY_PORT: [(Port, u16); {}] = [{}];\n", entries.len(), entries.join(", "))
}

fn by_alias(records: &[Record<'_>]) -> String {
    let mut places = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        for name in [record.name].into_iter().chain(record.list("names")) {
            if places.insert(name, at).is_some() {
                fail(record.line, &format!("begins a service with a name that another has: {name}"))
            }
        }
    }
    let entries: Vec<_> = places.iter().map(|(name, at)| format!("({name:?}, {at})")).collect();
    format!("static BY_ALIAS: [(&str, u16); {}] = [{}];\n", entries.len(), entries.join(", "))
}

fn fail(line: usize, what: &str) -> ! {
    panic!("services.txt:{line} {what}")
}
