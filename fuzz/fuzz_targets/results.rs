//! Any bytes as a stored scan. What can be read is the same as itself, and can be written in every form and read again:
//! which ports are in which states does not change by that.
#![no_main]

use std::collections::BTreeMap;
use std::net::IpAddr;

use halfopen_results::record::{Message, Record, State};
use halfopen_results::write::{Document, Lines, csv, grepable, json, jsonl, list, xml};
use halfopen_results::{Difference, Form, Scan, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(scan)) = read::parse(&mut &bytes[..]) else { return };
    assert_ne!(Difference::between(&scan, &scan).same, Some(false), "a scan is the same as itself");
    for form in Form::ALL.into_iter().filter(|form| form.streams()) {
        let text = written(form, &scan);
        assert_eq!(known(form, &again(form, &text)), known(form, &scan), "{form}: {}", shown(&text));
    }
});

/// A list of nothing is of no form.
fn again(form: Form, text: &[u8]) -> Scan {
    if text.is_empty() {
        return Scan::default();
    }
    let read = read::parse(&mut &text[..]).unwrap_or_else(|error| panic!("{form}: {error}: {}", shown(text)));
    read.unwrap_or_else(|| panic!("{form}: of no form: {}", shown(text)))
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn written(form: Form, scan: &Scan) -> Vec<u8> {
    let mut out = Vec::new();
    match form {
        Form::Jsonl => lines(jsonl::Jsonl::new(&[]), scan, &mut out),
        Form::Csv => lines(csv::Csv::new(&[]), scan, &mut out),
        Form::List => lines(list::List, scan, &mut out),
        Form::Json => document(json::Json::new(&[]), scan, &mut out),
        Form::Grepable => document(grepable::Grepable::new(|_| None), scan, &mut out),
        Form::Xml => document(xml::Xml::new(|_| None), scan, &mut out),
        Form::Sqlite => {}
    }
    out
}

/// As a scan writes them: the header first, what ended it last.
fn records(scan: &Scan) -> impl Iterator<Item = Record> + '_ {
    let header = Record::Scan(Box::new(scan.header.clone().unwrap_or_default()));
    let unended = scan.summary.is_none() && scan.error.is_none();
    let end = unended.then(|| Record::Error(Message { message: "it did not end".into() }));
    let others = scan.records().filter(|record| !matches!(record, Record::Scan(_)));
    [header].into_iter().chain(others).chain(end)
}

fn lines(mut form: impl Lines, scan: &Scan, out: &mut Vec<u8>) {
    records(scan).for_each(|record| form.record(&record, out));
}

fn document(form: impl Document, scan: &Scan, out: &mut Vec<u8>) {
    form.write(&mut records(scan).map(Ok), out).expect("memory takes everything");
}

/// What a form keeps: lists what is open, nmap's forms no port of a host that is down, and no other protocol.
fn known(form: Form, scan: &Scan) -> BTreeMap<(IpAddr, u16), State> {
    let nmaps = matches!(form, Form::Grepable | Form::Xml);
    let hosts = scan.hosts.values().filter(|host| !nmaps || host.down.is_none());
    let verdicts = hosts.flat_map(|host| host.ports.values());
    let kept = verdicts.filter(|verdict| {
        form != Form::List || verdict.state == State::Open && verdict.supersedes != Some(State::Open)
    });
    let kept = kept.filter(|verdict| !nmaps || verdict.protocol == "tcp");
    kept.map(|verdict| ((verdict.address, verdict.port), verdict.state)).collect()
}
