//! The file of a policy: its keys, and that what it says makes sense. What cannot be checked is refused, so that nobody
//! believes it was. `policy.schema.json` describes the same keys for editors.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use halfopen_results::address::{Addresses, Range};
use halfopen_results::coverage::Ports;
use jiff::Timestamp;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::{Error, Exception, Expectation, Hosts, MOST_HOSTS, Policy, Resolve, Rule, UNLISTED, hosts, ports};
use crate::document::{self, Document};
use crate::incident::Severity;

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    version: Spanned<i64>,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    groups: BTreeMap<String, Spanned<Group>>,
    #[serde(default)]
    rule: Vec<Spanned<WrittenRule>>,
    #[serde(default)]
    exception: Vec<Spanned<WrittenException>>,
    listeners: Option<toml::Table>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Defaults {
    unlisted: Option<Unlisted>,
    severity: Option<Severity>,
    source: Option<Spanned<String>>,
}

/// What is expected of ports that no rule names.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unlisted {
    NotOpen,
    Filtered,
    Closed,
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Group {
    hosts: Spanned<Texts>,
    #[serde(default)]
    exclude: Texts,
}

type Texts = Vec<Spanned<String>>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenRule {
    id: Spanned<String>,
    group: Option<Spanned<String>>,
    hosts: Option<Spanned<Texts>>,
    #[serde(default)]
    open: Texts,
    #[serde(default)]
    closed: Texts,
    #[serde(default)]
    filtered: Texts,
    #[serde(default)]
    not_open: Texts,
    severity: Option<Severity>,
    why: Option<Spanned<String>>,
    #[serde(default)]
    may_be_down: bool,
    source: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenException {
    id: Spanned<String>,
    rule: Spanned<String>,
    hosts: Spanned<Texts>,
    ports: Spanned<Texts>,
    expect: Expectation,
    until: Spanned<Datetime>,
    owner: Spanned<String>,
    reason: Spanned<String>,
}

/// The version of the file that this program reads.
const VERSION: i64 = 1;
/// The only place to look from that there is.
const OUTSIDE: &str = "outside";
/// Names that are less alike are no slips of one another.
const ALIKE: f64 = 0.75;
/// Keys that others have or that are elsewhere, and why they are not here.
const REFUSED: [(&str, &str); 4] = [
    ("service", "what speaks on a port is not checked; leave it out, a scan knows ports and no services"),
    ("tls", "whether a port speaks TLS is not checked; leave it out, a scan knows ports and no services"),
    ("confirm", "how often a change must be seen is `open-after` under [detection] in halfopen.toml"),
    ("resolve", "how often a change must be seen is `close-after` under [detection] in halfopen.toml"),
];

/// Reads it all, or says what is wrong first.
pub(super) fn read(document: &Document, resolve: Resolve<'_>) -> Result<Policy, Error> {
    let written: Written = toml::from_str(document.text()).map_err(|error| unreadable(document, &error))?;
    let reader = Reader { document, resolve };
    if *written.version.get_ref() != VERSION {
        let what = format!("version = {}: this program reads version {VERSION}", written.version.get_ref());
        return Err(document.wrong(written.version.span(), &what).into());
    }
    reader.outside(written.defaults.source.as_ref())?;
    let severity = written.defaults.severity.unwrap_or(Severity::Warning);
    let groups = reader.groups(&written.groups)?;
    let mut rules = reader.rules(&written.rule, &groups, severity)?;
    rules.splice(0..0, unruled(&written, &groups, severity));
    if rules.is_empty() {
        return Err(document.wrong(0..0, "there are neither rules nor groups: nothing is expected of any host").into());
    }
    let unlisted = match written.defaults.unlisted {
        None | Some(Unlisted::NotOpen) => Some(Expectation::NotOpen),
        Some(Unlisted::Filtered) => Some(Expectation::Filtered),
        Some(Unlisted::Closed) => Some(Expectation::Closed),
        Some(Unlisted::Ignore) => None,
    };
    let exceptions = reader.exceptions(&written.exception, &rules)?;
    let policy = Policy { name: document.name().to_owned(), unlisted, rules, exceptions, listeners: written.listeners };
    match policy.hosts().len() {
        hosts if hosts > MOST_HOSTS => {
            let what = format!("{hosts} addresses are too many to be judged one by one; at most {MOST_HOSTS}");
            Err(document.wrong(0..0, &what).into())
        }
        _ => Ok(policy),
    }
}

/// The rule of hosts that stand in groups only.
fn unruled(written: &Written, groups: &BTreeMap<&str, Hosts>, severity: Severity) -> Option<Rule> {
    let ruled: BTreeSet<_> = written.rule.iter().filter_map(|rule| rule.get_ref().group.as_ref()).collect();
    let ruled: BTreeSet<&str> = ruled.into_iter().map(|group| group.get_ref().as_str()).collect();
    let left = groups.iter().filter(|(name, _)| !ruled.contains(**name)).map(|(_, hosts)| hosts);
    let ranges: Vec<Range> = left.flat_map(|hosts| hosts.addresses().ranges().to_vec()).collect();
    let hosts = Hosts::new(ranges, Addresses::default());
    let rule =
        Rule { id: UNLISTED.to_owned(), hosts, ports: Vec::new(), severity, why: None, may_be_down: false, line: 1 };
    (!rule.hosts.ranges().is_empty()).then_some(rule)
}

/// What the parts of a file have in common while they are read.
struct Reader<'a> {
    document: &'a Document,
    resolve: Resolve<'a>,
}

impl Reader<'_> {
    fn wrong<T>(&self, at: &Spanned<T>, what: &str) -> Error {
        self.document.wrong(at.span(), what).into()
    }

    fn groups<'w>(&self, written: &'w BTreeMap<String, Spanned<Group>>) -> Result<BTreeMap<&'w str, Hosts>, Error> {
        let each = |(name, group): (&'w String, &Spanned<Group>)| {
            let Group { hosts, exclude } = group.get_ref();
            Ok((name.as_str(), self.hosts(hosts, exclude)?))
        };
        written.iter().map(each).collect()
    }

    fn hosts(&self, hosts: &Spanned<Texts>, exclude: &[Spanned<String>]) -> Result<Hosts, Error> {
        if hosts.get_ref().is_empty() {
            return Err(self.wrong(hosts, "hosts: an empty list is about nobody"));
        }
        let exclude: Addresses = self.ranges(exclude)?.into_iter().collect();
        let hosts_of = Hosts::new(self.ranges(hosts.get_ref())?, exclude);
        match hosts_of.addresses().is_empty() {
            true => Err(self.wrong(hosts, "hosts: exclude leaves none of them")),
            false => Ok(hosts_of),
        }
    }

    fn ranges(&self, texts: &[Spanned<String>]) -> Result<Vec<Range>, Error> {
        Ok(texts.iter().map(|text| self.range(text)).collect::<Result<Vec<_>, Error>>()?.concat())
    }

    /// A name without an address is no mistake of the file: it may have one tomorrow.
    fn range(&self, text: &Spanned<String>) -> Result<Vec<Range>, Error> {
        let unknown = Cell::new(false);
        let resolve = |name: &str| (self.resolve)(name).inspect_err(|_| unknown.set(true));
        hosts::parse(text.get_ref(), &resolve).map_err(|what| match unknown.get() {
            true => Error::Resolve(self.wrong(text, &format!("{:?}: {what}", text.get_ref())).to_string()),
            false => self.wrong(text, &what),
        })
    }

    fn ports(&self, texts: &[Spanned<String>]) -> Result<Ports, Error> {
        let each = |text: &Spanned<String>| {
            ports::parse(text.get_ref()).map_err(|what| self.wrong(text, &format!("{:?}: {what}", text.get_ref())))
        };
        let all = texts.iter().map(each).collect::<Result<Vec<_>, Error>>()?;
        Ok(all.iter().fold(Ports::default(), |all, ports| all.union(ports)))
    }

    fn text(&self, key: &str, text: &Spanned<String>) -> Result<String, Error> {
        match text.get_ref().trim() {
            "" => Err(self.wrong(text, &format!("{key}: expected a text that is not empty"))),
            text => Ok(text.to_owned()),
        }
    }

    /// A name that is one word, and not taken yet.
    fn id(&self, id: &Spanned<String>, taken: &[&str]) -> Result<String, Error> {
        let text = self.text("id", id)?;
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(self.wrong(id, &format!("id = {text:?}: expected one word, such as web-public")));
        }
        if taken.contains(&text.as_str()) {
            return Err(self.wrong(id, &format!("id = {text:?}: is taken by another")));
        }
        Ok(text)
    }

    fn outside(&self, source: Option<&Spanned<String>>) -> Result<(), Error> {
        match source {
            Some(source) if source.get_ref() != OUTSIDE => {
                let what = "this program looks from where it runs, and cannot check from elsewhere; \"outside\" is all there is";
                Err(self.wrong(source, &format!("source = {:?}: {what}", source.get_ref())))
            }
            _ => Ok(()),
        }
    }

    fn rules(
        &self,
        written: &[Spanned<WrittenRule>],
        groups: &BTreeMap<&str, Hosts>,
        severity: Severity,
    ) -> Result<Vec<Rule>, Error> {
        let mut rules: Vec<Rule> = Vec::new();
        for rule in written {
            let rule = self.rule(rule, groups, severity, &rules)?;
            rules.push(rule);
        }
        Ok(rules)
    }

    fn rule(
        &self,
        spanned: &Spanned<WrittenRule>,
        groups: &BTreeMap<&str, Hosts>,
        severity: Severity,
        others: &[Rule],
    ) -> Result<Rule, Error> {
        let written = spanned.get_ref();
        let taken: Vec<_> = others.iter().map(|rule| rule.id.as_str()).chain([UNLISTED]).collect();
        self.outside(written.source.as_ref())?;
        let rule = Rule {
            id: self.id(&written.id, &taken)?,
            hosts: self.whose(written, groups)?,
            ports: self.expectations(written)?,
            severity: written.severity.unwrap_or(severity),
            why: written.why.as_ref().map(|why| self.text("why", why)).transpose()?,
            may_be_down: written.may_be_down,
            line: self.document.line(spanned.span().start),
        };
        match others.iter().find_map(|other| disagreement(other, &rule)) {
            Some(what) => Err(self.wrong(&written.id, &what)),
            None => Ok(rule),
        }
    }

    fn whose(&self, written: &WrittenRule, groups: &BTreeMap<&str, Hosts>) -> Result<Hosts, Error> {
        match (&written.group, &written.hosts) {
            (None, Some(hosts)) => self.hosts(hosts, &[]),
            (Some(group), None) => groups.get(group.get_ref().as_str()).cloned().ok_or_else(|| {
                let known = Vec::from_iter(groups.keys().copied());
                self.wrong(
                    group,
                    &format!("group = {:?}: {}", group.get_ref(), no_such("group", group.get_ref(), &known)),
                )
            }),
            (Some(group), Some(_)) => Err(self.wrong(group, "a rule has either a group or hosts, and not both")),
            (None, None) => Err(self.wrong(&written.id, "a rule needs a group, or hosts")),
        }
    }

    fn expectations(&self, written: &WrittenRule) -> Result<Vec<(Ports, Expectation)>, Error> {
        let lists = [&written.open, &written.closed, &written.filtered, &written.not_open];
        let mut expectations: Vec<(Ports, Expectation)> = Vec::new();
        for (texts, expectation) in lists.into_iter().zip(Expectation::ALL) {
            let ports = self.ports(texts)?;
            for (others, other) in &expectations {
                if let Some(&(port, _)) = others.intersection(&ports).runs().first() {
                    let what = format!("tcp/{port} is to be {other} and {expectation} by the same rule");
                    return Err(self.wrong(&written.id, &what));
                }
            }
            expectations.extend((!ports.is_empty()).then_some((ports, expectation)));
        }
        Ok(expectations)
    }

    fn exceptions(&self, written: &[Spanned<WrittenException>], rules: &[Rule]) -> Result<Vec<Exception>, Error> {
        let mut exceptions: Vec<Exception> = Vec::new();
        for exception in written {
            let taken: Vec<_> = exceptions.iter().map(|exception| exception.id.as_str()).collect();
            let exception = self.exception(exception, rules, &taken)?;
            exceptions.push(exception);
        }
        Ok(exceptions)
    }

    fn exception(
        &self,
        spanned: &Spanned<WrittenException>,
        rules: &[Rule],
        taken: &[&str],
    ) -> Result<Exception, Error> {
        let written = spanned.get_ref();
        let known: Vec<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
        if !known.contains(&written.rule.get_ref().as_str()) {
            let rule = written.rule.get_ref();
            return Err(self.wrong(&written.rule, &format!("rule = {rule:?}: {}", no_such("rule", rule, &known))));
        }
        if written.ports.get_ref().is_empty() {
            return Err(self.wrong(&written.ports, "ports: an empty list excepts nothing"));
        }
        Ok(Exception {
            id: self.id(&written.id, taken)?,
            rule: written.rule.get_ref().clone(),
            hosts: self.hosts(&written.hosts, &[])?,
            ports: self.ports(written.ports.get_ref())?,
            expect: written.expect,
            until: self.moment(&written.until)?,
            owner: self.text("owner", &written.owner)?,
            reason: self.text("reason", &written.reason)?,
            line: self.document.line(spanned.span().start),
        })
    }

    fn moment(&self, until: &Spanned<Datetime>) -> Result<Timestamp, Error> {
        let what = "expected a date and a time with its offset from UTC, such as 2026-12-31T00:00:00Z";
        let text = until.get_ref().to_string();
        text.parse().map_err(|_| self.wrong(until, &format!("until = {text}: {what}")))
    }
}

/// What two rules say differently of the same ports of the same hosts, if there is such a thing.
fn disagreement(earlier: &Rule, later: &Rule) -> Option<String> {
    let host = earlier.hosts.rival(&later.hosts)?;
    let pairs = earlier.ports.iter().flat_map(|one| later.ports.iter().map(move |other| (one, other)));
    let mut differing = pairs.filter(|((_, one), (_, other))| one != other);
    differing.find_map(|((ports, one), (others, other))| {
        let (port, _) = *ports.intersection(others).runs().first()?;
        Some(format!(
            "rules {} (line {}) and {} name the same hosts and disagree: tcp/{port} of {host} is to be {one} by the \
             one and {other} by the other; take it out of one of them",
            earlier.id, earlier.line, later.id
        ))
    })
}

/// `there is no group wbe; did you mean web?`.
fn no_such(kind: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no such {kind}; did you mean {near}?"),
        None if known.is_empty() => format!("there is no such {kind}; there is none at all"),
        None => format!("there is no such {kind}; there are {}", known.join(", ")),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.map(|known| (strsim::jaro(known, name), known)).filter(|&(alike, _)| alike >= ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, near)| near)
}

/// What the reader of the format says, in our words where a key is unknown.
fn unreadable(document: &Document, error: &toml::de::Error) -> document::Error {
    let Some((key, known)) = unknown_key(error.message()) else { return document.unreadable(error) };
    let refused = REFUSED.iter().find(|(refused, _)| *refused == key).map(|(_, why)| (*why).to_owned());
    let instead = refused.unwrap_or_else(|| match nearest(key, known.iter().copied()) {
        Some(near) => format!("no such key; did you mean {near}?"),
        None => format!("no such key; known here: {}", known.join(", ")),
    });
    document.wrong(error.span().unwrap_or_default(), &format!("{key}: {instead}"))
}

/// The key that nobody knows, and those that are known in its place.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const HEAD: &str = "version = 1\n[groups.web]\nhosts = [\"192.0.2.0/28\"]\n";

    fn read(text: &str) -> Result<Policy, String> {
        let resolve: Resolve<'_> = &|name: &str| match name {
            "www.example.org" => Ok(vec![IpAddr::from([192, 0, 2, 80])]),
            _ => Err("the name cannot be resolved: nobody knows it".to_owned()),
        };
        super::read(&Document::new("p.toml", text), resolve).map_err(|error| error.to_string())
    }

    fn rule(more: &str) -> Result<Policy, String> {
        read(&format!("{HEAD}[[rule]]\nid = \"a\"\n{more}\n"))
    }

    #[test]
    fn a_small_one() {
        let policy = rule("group = \"web\"\nopen = [\"tcp/80\", \"tcp/443\"]").unwrap();
        assert_eq!((policy.rules().len(), policy.rules()[0].line), (1, 4));
        assert_eq!(policy.unlisted(), Some(Expectation::NotOpen));
        let named = rule("hosts = [\"www.example.org\"]").unwrap();
        assert_eq!(named.rules()[1].hosts.ranges(), ["192.0.2.80".parse().unwrap()]);
        assert_eq!(named.rules()[0].id, UNLISTED);
    }

    #[test]
    fn bad_files_are_told_with_line_and_remedy() {
        let group = "group = \"web\"\n";
        let second = |more: &str| format!("{group}open = [\"tcp/80\"]\n[[rule]]\nid = \"b\"\n{more}");
        let exception = |more: &str| format!("{group}[[exception]]\nid = \"E\"\nhosts = [\"192.0.2.1\"]\n{more}");
        let whole = "rule = \"a\"\nports = [\"tcp/1\"]\nexpect = \"open\"\nowner = \"x\"\nreason = \"y\"\n";
        for (more, expected) in [
            (format!("{group}opn = []"), "p.toml:7: opn: no such key; did you mean open?"),
            (format!("{group}zzz = 1"), "p.toml:7: zzz: no such key; known here: id, group, hosts"),
            (format!("{group}tls = [\"tcp/443\"]"), "p.toml:7: tls: whether a port speaks TLS is not checked"),
            (format!("{group}service = {{}}"), "p.toml:7: service: what speaks on a port is not checked"),
            (format!("{group}source = \"inside:vpn\""), "p.toml:7: source = \"inside:vpn\": this program looks from"),
            (format!("{group}open = [\"udp/53\"]"), "p.toml:7: \"udp/53\": UDP ports cannot be checked"),
            (format!("{group}open = [\n\"tcp/80\",\n\"tcp/0\"]"), "p.toml:9: \"tcp/0\": \"0\" is no port"),
            (format!("{group}severity = \"high\""), "p.toml:7: unknown variant `high`, expected one of `info`"),
            (format!("{group}why = \" \""), "p.toml:7: why: expected a text that is not empty"),
            ("group = \"webs\"".into(), "p.toml:6: group = \"webs\": there is no such group; did you mean web?"),
            ("group = \"q\"".into(), "p.toml:6: group = \"q\": there is no such group; there are web"),
            (String::new(), "p.toml:5: a rule needs a group, or hosts"),
            (format!("{group}hosts = [\"::1\"]"), "p.toml:6: a rule has either a group or hosts"),
            ("hosts = []".into(), "p.toml:6: hosts: an empty list is about nobody"),
            ("hosts = [\"192.0.2\"]".into(), "p.toml:6: \"192.0.2\" is no address, prefix or range"),
            ("hosts = [\"nobody\"]".into(), "p.toml:6: \"nobody\": the name cannot be resolved"),
            ("hosts = [\"10.0.0.0/8\"]".into(), "p.toml:1: 16777232 addresses are too many"),
            (format!("{group}open = [\"tcp/1-9\"]\nclosed = [\"tcp/9\"]"), "p.toml:5: tcp/9 is to be open and closed"),
            (
                second(&format!("{group}closed = [\"tcp/80\"]")),
                "p.toml:9: rules a (line 4) and b name the same hosts and disagree: tcp/80 of 192.0.2.0 is to be open by the one and closed by the other",
            ),
            (second("group = \"web\"").replace("\"b\"", "\"a\""), "p.toml:9: id = \"a\": is taken by another"),
            (second("group = \"web\"").replace("\"b\"", "\"a b\""), "p.toml:9: id = \"a b\": expected one word"),
            (second("group = \"web\"").replace("\"b\"", "\"unlisted\""), "p.toml:9: id = \"unlisted\": is taken"),
            (
                exception(&format!("{whole}until = 2027-01-01")),
                "p.toml:15: until = 2027-01-01: expected a date and a time",
            ),
            (exception(&whole.replace("rule = \"a\"", "rule = \"A-\"")), "p.toml:7: missing field `until`"),
            (
                exception(&format!("{}until = 2027-01-01T00:00:00Z", whole.replace("\"a\"", "\"c\""))),
                "p.toml:10: rule = \"c\": there is no such rule; there are a",
            ),
            (
                exception(&format!("{}until = 2027-01-01T00:00:00Z", whole.replace("\"x\"", "\"\""))),
                "p.toml:13: owner: expected a text",
            ),
            (exception(&whole.replace("owner", "onwer")), "p.toml:13: onwer: no such key; did you mean owner?"),
        ] {
            let said = rule(&more).unwrap_err();
            assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}\nexpected: {expected}");
        }
        for (text, expected) in [
            ("", "p.toml:1: missing field `version`"),
            ("version = 2", "p.toml:1: version = 2: this program reads version 1"),
            ("version = 1", "p.toml:1: there are neither rules nor groups"),
            (
                "version = 1\n[defaults]\nconfirm = 2",
                "p.toml:3: confirm: how often a change must be seen is `open-after`",
            ),
            ("version = 1\n[defaults]\nunlisted = \"open\"", "p.toml:3: unknown variant `open`"),
            ("version = 1\n[groups.a]\nhosts = [\"::1\"]\nexclude = [\"::1\"]", "p.toml:3: hosts: exclude leaves none"),
            ("version = 1\n[group.a]", "p.toml:2: group: no such key; did you mean groups?"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}\nexpected: {expected}");
        }
    }

    #[test]
    fn listeners_are_kept_for_whom_they_are_for() {
        let policy = read(&format!("{HEAD}[listeners]\nunlisted = \"warn\"\nallow = [{{ port = 22 }}]\n")).unwrap();
        assert!(policy.listeners().is_some_and(|table| table.contains_key("allow")));
    }

    /// The keys that the schema has are those that are read.
    #[test]
    fn the_schema_has_the_same_keys() {
        let schema: serde_json::Value = serde_json::from_str(include_str!("../../policy.schema.json")).unwrap();
        let known = |text: &str| {
            let error = toml::from_str::<Written>(text).unwrap_err();
            let (_, known) = unknown_key(error.message()).unwrap_or_else(|| panic!("{error}"));
            known.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let keys = |at: &str| {
            let table = schema.pointer(at).unwrap_or_else(|| panic!("{at}"));
            assert_eq!(table["additionalProperties"], false, "{at}");
            table["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>()
        };
        for (text, at) in [
            ("zz = 1", ""),
            ("[defaults]\nzz = 1", "/properties/defaults"),
            ("[groups.a]\nzz = 1", "/properties/groups/additionalProperties"),
            ("[[rule]]\nzz = 1", "/properties/rule/items"),
            ("[[exception]]\nzz = 1", "/properties/exception/items"),
        ] {
            assert_eq!(known(text), keys(at), "{at}");
        }
        let names = Expectation::ALL.map(|of| of.name().to_owned());
        assert_eq!(
            schema.pointer("/properties/exception/items/properties/expect/enum").unwrap(),
            &serde_json::json!(names)
        );
    }
}
