//! Scans read back, one file a form: everything that halfopen writes for programs, and nmap's XML and grepable output. The
//! form is recognised by the content. A stream whose last line was cut off by a kill is read without it.

mod csv;
mod grepable;
mod jsonl;
mod list;
mod sqlite;
mod xml;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::scan::{CUT, Scan};

/// What went wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// It is of no form that there is.
    #[error("{name} is no scan: expected jsonl, json, csv, list, grepable, xml or sqlite of halfopen's, or nmap's XML")]
    Unknown {
        /// The file.
        name: String,
    },
    /// A number was asked for, and it has one scan.
    #[error("{file} is one scan: only a database has several with numbers, so leave #{number} out")]
    NoNumbers {
        /// The file.
        file: String,
        /// What followed it.
        number: i64,
    },
    /// It does not keep to its form.
    #[error("{name}: {problem}")]
    Malformed {
        /// The file.
        name: String,
        /// What, and where.
        problem: Malformed,
    },
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if *line > 0 { format!("line {line}: ") } else { String::new() })]
pub struct Malformed {
    /// From 1; 0 where there is none.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl Malformed {
    #[expect(clippy::needless_pass_by_value, reason = "what is told is not needed any more")]
    fn at(line: usize, problem: impl ToString) -> Malformed {
        Malformed { line, problem: problem.to_string() }
    }
}

/// Reads a scan from a file, or standard input for `-`. Of a database with several scans it is the last, or the one whose
/// number follows `#`; no other form has several.
pub fn load(path: &Path) -> Result<Scan, Error> {
    let name = path.display().to_string();
    let opened = |source| Error::Open { name: name.clone(), source };
    if path == Path::new("-") {
        return named("standard input".into(), parse(&mut io::stdin().lock()));
    }
    let (path, number) = numbered(path, &name);
    let mut file = BufReader::new(File::open(path).map_err(opened)?);
    if file.fill_buf().map_err(opened)?.starts_with(sqlite::MAGIC) {
        return named(name.clone(), sqlite::load(path, number).map(Some));
    }
    match number {
        Some(number) => Err(Error::NoNumbers { file: path.display().to_string(), number }),
        None => named(name, parse(&mut file)),
    }
}

/// The file, and the number behind it, if there is one and it is no part of the file's name.
fn numbered<'a>(path: &'a Path, name: &'a str) -> (&'a Path, Option<i64>) {
    let parts = name.rsplit_once('#').filter(|_| !path.exists());
    let parts = parts.and_then(|(file, number)| Some((Path::new(file), number.parse().ok()?)));
    parts.map_or((path, None), |(file, number)| (file, Some(number)))
}

fn named(name: String, read: Result<Option<Scan>, Malformed>) -> Result<Scan, Error> {
    match read {
        Ok(Some(scan)) => Ok(scan),
        Ok(None) => Err(Error::Unknown { name }),
        Err(problem) => Err(Error::Malformed { name, problem }),
    }
}

/// Reads a scan of any form but a database; none if it is of no form that there is.
pub fn parse(from: &mut dyn BufRead) -> Result<Option<Scan>, Malformed> {
    let start = from.fill_buf().map_err(|error| Malformed::at(0, error))?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let first_line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match start.first() {
        Some(b'{') => jsonl::lines(from).map(Some),
        Some(b'[') if !list::is_target(first_line) => jsonl::array(from).map(Some),
        Some(b'<') => xml::read(from).map(Some),
        Some(b'#') => grepable::read(from).map(Some),
        _ if start.starts_with(b"Host:") => grepable::read(from).map(Some),
        None => Err(Malformed::at(0, "it is empty: nobody can tell of what form it is, or what was covered")),
        _ if list::is_target(first_line) => list::read(from).map(Some),
        _ if csv::is_header(first_line) => csv::read(from).map(Some),
        _ => Ok(None),
    }
}

/// Lines with their numbers, without those that say nothing; and whether the last one has its line break.
fn each_line(
    from: &mut dyn BufRead,
    mut take: impl FnMut(usize, &[u8], bool) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if from.read_until(b'\n', &mut line).map_err(|error| Malformed::at(number, error))? == 0 {
            break;
        }
        let whole = line.ends_with(b"\n");
        let text = line.trim_ascii();
        if !text.is_empty() {
            take(number, text, whole)?;
        }
    }
    Ok(())
}

fn cut(scan: &mut Scan) {
    scan.warnings.push(CUT.into());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Difference;
    use crate::record::{Record, Show, State};
    use crate::scan::samples;
    use crate::sink::{Choice, Destination, Sinks, Wanted};
    use crate::write::Form;

    /// The sample scan, written to a file of this form.
    fn written(form: Form, directory: &Path) -> std::path::PathBuf {
        let path = directory.join(form.name());
        let choice = Choice { form, to: Destination::File(path.clone()) };
        let wanted = Wanted { show: Some(Show::ALL), ..Wanted::default() };
        let mut sinks = Sinks::open(&[choice], &wanted, |_| None, || Box::new(io::sink())).unwrap();
        sinks.begin(&samples::header()).unwrap();
        for record in samples::records() {
            match record {
                Record::Scan(_) => {}
                Record::Verdict(verdict) => sinks.verdict(&verdict).unwrap(),
                Record::Summary(_) => sinks.end(&record).unwrap(),
                other => sinks.record(&other).unwrap(),
            }
        }
        path
    }

    #[test]
    fn whole_records_come_back_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let expected = Scan::from_records(samples::records().into_iter().map(Ok)).unwrap();
        for form in [Form::Jsonl, Form::Json, Form::Sqlite] {
            assert_eq!(load(&written(form, directory.path())).unwrap(), expected, "{form}");
        }
    }

    #[test]
    fn what_comes_in_batches_is_covered_as_if_it_had_been_known_before() {
        let directory = tempfile::tempdir().unwrap();
        let whole = samples::header();
        let part = |range: &str| -> crate::Coverage { [(range.parse().unwrap(), whole_ports())].into_iter().collect() };
        let begun = crate::record::Header { targets: 7, hosts: 1, coverage: part("2001:db8::7"), ..whole.clone() };
        let coverage = part("192.0.2.0/24");
        let batch = crate::record::Batch { targets: 256 * 7, hosts: 256, coverage, ..Default::default() };
        for form in Form::ALL.into_iter().filter(|form| form.has_summary()) {
            let path = directory.path().join(form.name());
            let choice = Choice { form, to: Destination::File(path.clone()) };
            let wanted = Wanted { show: Some(Show::ALL), ..Wanted::default() };
            let mut sinks = Sinks::open(&[choice], &wanted, |_| None, || Box::new(io::sink())).unwrap();
            sinks.begin(&begun).unwrap();
            sinks.verdict(&samples::open()).unwrap();
            sinks.record(&Record::Batch(Box::new(batch.clone()))).unwrap();
            sinks.end(&Record::Summary(Box::new(samples::summary()))).unwrap();
            let read = load(&path).unwrap().header.unwrap();
            assert_eq!(read, crate::record::Header { settings: read.settings.clone(), ..whole.clone() }, "{form}");
        }
    }

    fn whole_ports() -> std::sync::Arc<crate::coverage::Ports> {
        std::sync::Arc::new("22-26,443-444".parse().unwrap())
    }

    #[test]
    fn every_form_keeps_targets_and_states() {
        let directory = tempfile::tempdir().unwrap();
        let expected = Scan::from_records(samples::records().into_iter().map(Ok)).unwrap();
        for form in Form::ALL {
            let scan = load(&written(form, directory.path())).unwrap();
            let known = |scan: &Scan| -> Vec<_> {
                let hosts = scan.hosts.values().flat_map(|host| host.ports.values());
                let kept = hosts.filter(|verdict| form != Form::List || verdict.state == State::Open);
                kept.map(|verdict| (verdict.address, verdict.port, verdict.state)).collect()
            };
            assert_eq!(known(&scan), known(&expected), "{form}");
            if form.has_summary() {
                assert_eq!(scan.header, expected.header, "{form}");
                assert_eq!(scan.summary, expected.summary, "{form}");
            }
        }
    }

    #[test]
    fn xml_keeps_what_it_has_a_place_for() {
        let directory = tempfile::tempdir().unwrap();
        let scan = load(&written(Form::Xml, directory.path())).unwrap();
        let host = &scan.hosts[&samples::open().address];
        assert_eq!(host.ports[&443].reason, "syn-ack");
        assert_eq!((&*host.ports[&444].reason, host.ports[&444].ttl), ("rst", Some(63)));
        assert_eq!(host.suspect.as_ref().unwrap().reason, "every-port");
        assert_eq!(scan.hosts[&samples::full().address].ports[&25].sender, samples::full().sender);
        assert_eq!(scan.hosts[&"192.0.2.77".parse().unwrap()].down.as_deref(), Some("no-arp"));
    }

    #[test]
    fn a_cut_line_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        for form in [Form::Jsonl, Form::Csv, Form::List] {
            let bytes = std::fs::read(written(form, directory.path())).unwrap();
            let mut before = None;
            for end in 0..=bytes.len() {
                let scan = parse(&mut &bytes[..end]).ok().flatten();
                let findings = scan.map(|scan| scan.hosts.values().map(|host| host.ports.len()).sum::<usize>());
                let lines = bytes[..end].iter().filter(|&&byte| byte == b'\n').count();
                if let Some(findings) = findings {
                    assert!(findings <= lines + usize::from(form == Form::Jsonl), "{form} at {end}: {findings}");
                    before = before.max(Some(findings));
                }
            }
            assert_eq!(before, Some(if form == Form::List { 2 } else { 5 }), "{form}");
        }
    }

    /// Ports 22-26,443-444 of a host: 443 open, the others closed and filtered, and the database's second scan.
    fn counted(form: Form, directory: &Path, show: Show) -> std::path::PathBuf {
        let path = directory.join(form.name());
        let choice = Choice { form, to: Destination::File(path.clone()) };
        let wanted = Wanted { show: Some(show), ..Wanted::default() };
        let mut sinks = Sinks::open(&[choice], &wanted, |_| None, || Box::new(io::sink())).unwrap();
        let address = samples::open().address;
        let settings = crate::record::Settings { filter: None, ..samples::settings() };
        let ports = std::sync::Arc::new("22-26,443-444".parse().unwrap());
        let coverage = [(crate::address::Range::single(address), ports)].into_iter().collect();
        sinks.begin(&crate::record::Header { settings, coverage, ..samples::header() }).unwrap();
        let filtered = [25, 26].map(|port| crate::record::Verdict::bare(address, port, State::Filtered));
        let closed = [22, 23, 24, 444].map(|port| crate::record::Verdict::bare(address, port, State::Closed));
        filtered.iter().chain(&closed).chain([&samples::open()]).for_each(|verdict| sinks.verdict(verdict).unwrap());
        let summary = crate::record::Summary { unprobed: Default::default(), discovery: None, ..samples::summary() };
        sinks.end(&Record::Summary(Box::new(summary))).unwrap();
        path
    }

    /// What is counted and not listed is known by all its states.
    #[test]
    fn counts_are_no_changes() {
        let directory = tempfile::tempdir().unwrap();
        let all = load(&counted(Form::Jsonl, directory.path(), Show::ALL)).unwrap();
        for form in [Form::Grepable, Form::Xml] {
            let open = load(&counted(form, directory.path(), Show::OPEN)).unwrap();
            let host = &open.hosts[&samples::open().address];
            assert_eq!([State::Closed, State::Filtered].map(|state| host.counted(state)), [4, 2], "{form}");
            let difference = Difference::between(&all, &open);
            assert!(difference.same == Some(true) && difference.unknown_in_b == 0, "{form}: {difference:?}");
        }
    }

    /// Values are the engine's words, but a file can have any.
    #[test]
    fn a_line_break_in_a_value_breaks_no_line() {
        let text = r#"{"type":"scan","version":"0\n1","command":["a\r\nb"]}
{"type":"verdict","address":"192.0.2.1","port":22,"state":"open","reason":"syn\nack","protocol":"x\n\ty/, z","suspect":"\"\r\n"}
"#;
        let scan = parse(&mut text.as_bytes()).unwrap().unwrap();
        let directory = tempfile::tempdir().unwrap();
        for form in [Form::Csv, Form::Grepable] {
            let path = directory.path().join(form.name());
            let choice = Choice { form, to: Destination::File(path.clone()) };
            let mut sinks = Sinks::open(&[choice], &Wanted::default(), |_| None, || Box::new(io::sink())).unwrap();
            sinks.begin(scan.header.as_ref().unwrap()).unwrap();
            scan.hosts
                .values()
                .flat_map(|host| host.ports.values())
                .for_each(|verdict| sinks.verdict(verdict).unwrap());
            sinks.end(&samples::error()).unwrap();
            assert!(load(&path).is_ok(), "{form}: {:?}", load(&path));
        }
    }

    #[test]
    fn only_a_database_has_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let with = |form: Form, number: &str| {
            let file = written(form, directory.path());
            load(Path::new(&format!("{}#{number}", file.display()))).map_err(|error| error.to_string())
        };
        assert!(with(Form::Sqlite, "1").is_ok());
        assert!(with(Form::Sqlite, "9").unwrap_err().ends_with("it has no scan 9"));
        for form in [Form::Xml, Form::Jsonl] {
            let error = with(form, "3").unwrap_err();
            assert!(
                error.ends_with(" is one scan: only a database has several with numbers, so leave #3 out"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_scan() {
        let error = |bytes: &[u8]| named("x".into(), parse(&mut &bytes[..])).unwrap_err().to_string();
        assert!(error(b"hello\n").starts_with("x is no scan: expected jsonl, "), "{}", error(b"hello\n"));
        assert_eq!(error(b"{\"type\":\"verdict\"}\n"), "x: line 1: missing field `address`");
        assert!(error(b"{\"type\":\"warning\",\"message\":\"\"}\n\n{]\n").starts_with("x: line 3: "));
        assert!(error(b"<html></html>").contains("expected nmaprun, found html"), "{}", error(b"<html></html>"));
        assert_eq!(error(b"192.0.2.7:80\n192.0.2.7\n"), "x: line 2: expected address:port, found 192.0.2.7");
        let numbered = load(Path::new("/nonexistent#x")).unwrap_err().to_string();
        assert!(numbered.starts_with("cannot open /nonexistent#x: "), "{numbered}");
        assert!(load(Path::new("/nonexistent")).unwrap_err().to_string().starts_with("cannot open /nonexistent: "));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), start in prop::sample::select(vec![
            "{", "[", "<", "# ", "Host: 1.2.3.4 ()\tPorts: ", "address,port,state\n", "1.2.3.4:5\n", "",
            "<nmaprun><host><status state=\"up\"/>", "# halfopen: {\"type\":\"scan\",",
        ])) {
            let input = [start.as_bytes(), &bytes].concat();
            let _ = parse(&mut &input[..]);
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_damage_panics(form in prop::sample::select(Form::ALL.to_vec()), cut in 0.0..1.0_f64, at in 0.0..1.0_f64, byte: u8) {
            let directory = tempfile::tempdir().unwrap();
            let mut bytes = std::fs::read(written(form, directory.path())).unwrap();
            bytes.truncate((bytes.len() as f64 * cut) as usize);
            let place = (bytes.len() as f64 * at) as usize;
            if let Some(damaged) = bytes.get_mut(place) {
                *damaged = byte;
            }
            let _ = parse(&mut &bytes[..]);
            let path = directory.path().join("damaged");
            std::fs::write(&path, &bytes).unwrap();
            let _ = load(&path);
        }
    }
}
