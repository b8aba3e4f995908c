//! The page, read back by a parser: well-formed, whole, saying what the view says, and running nothing.

use std::collections::BTreeSet;

use halfopen_results::Scan;
use halfopen_results::record::{Counts, Record, State, Summary};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::*;
use crate::chart::Chart;
use crate::samples;
use crate::subject::{Source, Subject};

fn view(scan: &Scan) -> View {
    View::of(&Subject::of(&[Source { file: "scan.jsonl", scan }]))
}

fn page(scan: &Scan) -> String {
    html(&view(scan))
}

/// What a parser finds in a page.
#[derive(Default)]
struct Parsed {
    elements: Vec<String>,
    attributes: Vec<(String, String)>,
    text: String,
    /// Rows of all tables' bodies, as texts of their cells.
    rows: Vec<Vec<String>>,
}

impl Parsed {
    /// Panics where the page is not well-formed.
    fn of(page: &str) -> Parsed {
        let (mut parsed, mut open) = (Parsed::default(), Vec::new());
        let mut reader = Reader::from_str(page);
        reader.config_mut().check_end_names = true;
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(start) => {
                    parsed.element(&start);
                    open.push(name(&start));
                    parsed.cell(open.last().unwrap());
                }
                Event::Empty(empty) => parsed.element(&empty),
                Event::End(_) => _ = open.pop(),
                Event::Text(text) => parsed.add(&text, &open),
                Event::GeneralRef(entity) => {
                    let entity = format!("&{};", &*entity);
                    parsed.add(&quick_xml::escape::unescape(&entity).expect("a known entity"), &open);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open, [""; 0], "every element is closed");
        parsed
    }

    fn element(&mut self, start: &BytesStart<'_>) {
        self.elements.push(name(start));
        for attribute in start.attributes() {
            let attribute = attribute.expect("well-formed");
            let value =
                attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).expect("well-formed").into_owned();
            self.attributes.push((attribute.key.as_ref().to_owned(), value));
        }
    }

    fn cell(&mut self, element: &str) {
        match element {
            "tr" => self.rows.push(Vec::new()),
            "td" | "th" => self.rows.last_mut().unwrap().push(String::new()),
            _ => {}
        }
    }

    fn add(&mut self, text: &str, open: &[String]) {
        self.text.push_str(text);
        if open.iter().any(|element| element == "td" || element == "th") {
            self.rows.last_mut().and_then(|row| row.last_mut()).unwrap().push_str(text);
        }
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn name(start: &BytesStart<'_>) -> String {
    start.name().as_ref().to_owned()
}

/// The scans that every rule is tried on.
fn scans() -> Vec<Scan> {
    let hostile = samples::hostile("</p></style><script>alert(\"1\")</script>&amp;'\u{1b}\u{202e}");
    vec![samples::small(), Scan::default(), silent(), hostile, samples::large(2_000)]
}

/// Nothing answered.
fn silent() -> Scan {
    let counts = Counts { filtered: 45, silent: 45, ..Counts::default() };
    let mut summary =
        Summary { counts, replies: 0, srtt_us: None, discovery: None, hosts_down: 0, ..samples::summary() };
    summary.completeness.as_mut().unwrap().missing_open = None;
    samples::scan([Record::Scan(Box::new(samples::header())), Record::Summary(Box::new(summary))])
}

#[test]
fn a_small_scan() {
    let page = page(&samples::small());
    let (head, rest) = page.split_once("<style>").unwrap();
    let (style, body) = rest.split_once("</style>").unwrap();
    assert!(style.contains(".c-open{--ink:#0072b2}") && style.contains("@media print"));
    let body = body.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(format!("{head}<style/>{body}"));
}

#[test]
fn every_page_is_well_formed() {
    for scan in scans() {
        let parsed = Parsed::of(&page(&scan));
        assert_eq!(parsed.elements.iter().filter(|element| *element == "h1").count(), 1);
        let ids: Vec<&str> = parsed.values("id").collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "ids are unique");
        let ids: BTreeSet<&str> = ids.into_iter().collect();
        for link in parsed.values("href").filter(|link| *link != "data:,") {
            assert!(ids.contains(link.strip_prefix('#').unwrap()), "{link} leads nowhere");
        }
        for label in parsed.values("aria-labelledby").flat_map(str::split_whitespace) {
            assert!(ids.contains(label), "{label}");
        }
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    for scan in scans() {
        let page = page(&scan);
        let parsed = Parsed::of(&page);
        for element in ["script", "img", "iframe", "object", "embed", "form", "base"] {
            assert!(!parsed.elements.iter().any(|found| found == element), "{element}");
        }
        let handlers =
            parsed.attributes.iter().filter(|(key, _)| key.starts_with("on") || key == "src" || key == "style");
        assert_eq!(handlers.count(), 0);
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(page.contains("default-src 'none'"));
        let addresses = parsed.attributes.iter().filter(|(key, value)| key != "xmlns" && value.contains("//"));
        assert_eq!(addresses.count(), 0);
    }
}

#[test]
fn foreign_words_stay_words() {
    let words = "<script>alert(\"1\")</script><b onclick='x'>&amp;";
    let parsed = Parsed::of(&page(&samples::hostile(words)));
    assert!(
        !parsed
            .elements
            .iter()
            .any(|element| element == "script" || element == "b" && parsed.values("onclick").count() > 0)
    );
    // Title, heading, addresses, files, ports, shard, how, warning, error, suspect, settings.
    assert!(parsed.text.matches(words).count() >= 12, "{}", parsed.text.matches(words).count());
    let control = Parsed::of(&page(&samples::hostile("a\u{0}\u{1b}[2J\u{202e}b")));
    assert!(
        !control.text.chars().any(|letter| letter.is_control() && letter != '\n') && !control.text.contains('\u{202e}')
    );
    assert!(control.text.contains("a\u{fffd}\u{fffd}[2J\u{fffd}b"));
}

#[test]
fn the_name_of_a_file_is_foreign_too() {
    let scan = samples::small();
    let view = View::of(&Subject::of(&[Source { file: "<script>\u{1b}x", scan: &scan }]));
    let parsed = Parsed::of(&html(&view));
    assert!(parsed.text.contains("from <script>\u{fffd}x") && !parsed.elements.contains(&"script".into()));
}

#[test]
fn every_number_of_the_view_is_in_the_page() {
    for scan in scans() {
        let view = view(&scan);
        let parsed = Parsed::of(&html(&view));
        let has = |row: &[&str]| assert!(parsed.rows.iter().any(|found| found == row), "{row:?} is not in the page");
        for host in &view.hosts.rows {
            let ports = host
                .open
                .iter()
                .map(|port| format!("{}{} ", port.label, if port.doubtful { " (doubtful)" } else { "" }));
            let open: String = ports.chain(host.more_open.clone()).collect();
            has(&[&host.address.to_string(), &open, &host.closed, &host.filtered, &host.answers]);
        }
        for port in &view.ports.rows {
            has(&[&port.port.to_string(), port.service, &port.hosts, port.grade.map_or("", |grade| grade.name())]);
        }
        for suspect in &view.suspects.rows {
            has(&[&suspect.address.to_string(), &suspect.reason]);
        }
        let facts = view.facts.iter().chain(view.concerns.rows.iter().flat_map(|concern| &concern.facts));
        let sentences = facts.flat_map(|fact| &fact.sentences).chain([&view.lead, &view.title, &view.subtitle]);
        for said in sentences.chain(view.figures.iter().map(|figure| &figure.number)).chain(&view.warnings) {
            assert!(parsed.text.contains(said), "{said:?} is not in the page");
        }
        let charts: BTreeSet<&str> = view.charts.iter().map(Chart::title).collect();
        assert!(charts.iter().all(|title| parsed.text.contains(title)));
    }
}

#[test]
fn the_view_says_what_the_scan_says() {
    let view = view(&samples::small());
    let figures: Vec<(&str, &str)> =
        view.figures.iter().map(|figure| (figure.number.as_str(), figure.meaning.as_str())).collect();
    let expected =
        [("45", "targets"), ("4", "hosts with open ports"), ("6", "open ports"), ("3", "open ports need attention")];
    assert_eq!(figures, expected);
    let hosts: Vec<String> = view.hosts.rows.iter().map(|host| host.address.to_string()).collect();
    assert_eq!(hosts, ["10.0.0.5", "192.0.2.1", "192.0.2.2", "192.0.2.4", "2001:db8::7"], "by number");
    let ports: Vec<(u16, &str)> = view.ports.rows.iter().map(|port| (port.port, port.hosts.as_str())).collect();
    assert_eq!(ports, [(23, "2"), (443, "2"), (22, "1"), (445, "1")], "without those in doubt");
    let concerns: Vec<(&str, &str)> =
        view.concerns.rows.iter().map(|concern| (concern.name, concern.extent.as_str())).collect();
    assert_eq!(concerns, [("telnet", "23/tcp on 2 hosts"), ("smb", "445/tcp on 1 host")]);
    assert_eq!(view.charts.iter().map(Chart::name).collect::<Vec<_>>(), ["states", "ports", "round-trips", "found"]);
}

#[test]
fn advice_is_for_where_the_port_is() {
    let view = view(&samples::small());
    let terms = |name: &str| {
        let concern = view.concerns.rows.iter().find(|concern| concern.name == name).unwrap();
        concern.facts.iter().map(|fact| fact.term).collect::<Vec<_>>()
    };
    assert_eq!(terms("telnet"), ["Private address", "Public address", "Instead", "What to do"]);
    assert!(terms("smb").contains(&"Private address") && !terms("smb").contains(&"Public address"));
}

#[test]
fn nothing_at_all() {
    let empty = view(&Scan::default());
    assert_eq!((empty.title.as_str(), empty.lead.as_str()), ("Scan report", "No open port was found."));
    assert!(empty.charts.is_empty() && empty.hosts.rows.is_empty() && empty.figures[0].number == "0");
    let said = format!("{:?}", empty.facts);
    assert!(said.contains("does not say what was scanned") && said.contains("no account of the scan"), "{said}");
}

#[test]
fn no_answers_at_all() {
    let silent = view(&silent());
    assert_eq!(silent.lead, "No open port was found.");
    assert!(format!("{:?}", silent.facts).contains("nobody can vouch for what was silent"));
    assert_eq!(silent.charts.iter().map(Chart::name).collect::<Vec<_>>(), ["states"]);
}

#[test]
fn a_tarpit_does_not_fill_the_page() {
    let open = (1..=u16::MAX).map(|port| samples::verdict("192.0.2.9", port, State::Open, 5));
    let view = view(&samples::scan(open));
    assert_eq!(view.hosts.rows[0].more_open.as_deref(), Some("and 65,487 more"));
    assert!(html(&view).len() < 500_000, "{}", html(&view).len());
}

#[test]
fn a_large_scan_stays_a_page() {
    let view = view(&samples::large(100_000));
    let page = html(&view);
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    assert_eq!(view.figures[0].number, "20,000");
    let more = view.hosts.more.as_deref().unwrap();
    assert_eq!(more, "10,000 more hosts with open ports are left out of this page; the file of the scan has them.");
    assert!(page.contains(more));
    Parsed::of(&page);
}
