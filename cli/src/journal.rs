//! What a scan has found since its last checkpoint, written down before it goes to any output: JSON records, one a line, in
//! parts (FILE.journal-0, -1, ..), one for each checkpoint. A part's last line may be torn; then no output has it. A part of a
//! number that is needed anew is a leftover, and removed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use halfopen::{DownReason, Event, Reason, Suspect, Suspicion, Target, Verdict};
use halfopen_results::disk;
use halfopen_results::record::{self, Record};

use crate::checkpoint::with_suffix;
use crate::privileges;

/// A part that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    length: u64,
}

impl Journal {
    /// An empty part.
    pub(crate) fn create(path: &Path, generation: u64) -> io::Result<Journal> {
        Ok(Journal { file: disk::anew(&part(path, generation))?, length: 0 })
    }

    /// Writes events down.
    pub(crate) fn append(&mut self, events: &[Event]) -> io::Result<()> {
        let mut lines = Vec::new();
        for record in events.iter().filter_map(record) {
            serde_json::to_writer(&mut lines, &record)?;
            lines.push(b'\n');
        }
        let written = self.file.write_all(&lines);
        match written {
            Ok(()) => self.length += lines.len() as u64,
            // A full disk takes half a line.
            Err(_) => drop(self.file.set_len(self.length)),
        }
        written
    }

    /// Whether nothing has been written down.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The same file, for who waits until it is on the disk.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// The file of a part.
pub(crate) fn part(path: &Path, generation: u64) -> PathBuf {
    with_suffix(path, &format!(".journal-{generation}"))
}

/// What the parts from this one on say, and the number that the next one will have. A part is missing where it could not be
/// made.
pub(crate) fn read(path: &Path, from: u64) -> io::Result<(Vec<Event>, u64)> {
    let (mut events, mut next) = (Vec::new(), from);
    for generation in parts(path)?.into_iter().filter(|&generation| generation >= from) {
        let part = part(path, generation);
        let bytes = disk::read(&part, privileges::becomes())
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", part.display())))?;
        events.extend(whole_lines(&bytes).map_while(event));
        next = generation.saturating_add(1);
    }
    Ok((events, next))
}

/// The numbers of the parts that are there, ascending.
fn parts(path: &Path) -> io::Result<Vec<u64>> {
    let prefix = format!("{}.journal-", path.file_name().unwrap_or_default().to_string_lossy());
    let directory = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        parts.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    parts.sort_unstable();
    Ok(parts)
}

/// Removes a part.
pub(crate) fn remove(path: &Path, generation: u64) {
    let _ = fs::remove_file(part(path, generation));
}

/// Removes all parts: those that another scan may have left under this name, or this one when it is over.
pub(crate) fn remove_all(path: &Path) {
    remove_before(path, u64::MAX);
}

/// Removes the parts before this one. Where the folder may not be read, that is the last one.
pub(crate) fn remove_before(path: &Path, generation: u64) {
    let parts = parts(path).unwrap_or_else(|_| vec![generation.saturating_sub(1)]);
    parts.into_iter().filter(|&part| part < generation).for_each(|old| remove(path, old));
}

fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

fn record(event: &Event) -> Option<Record> {
    match event {
        Event::Verdict(verdict) => Some(Record::Verdict(verdict.into())),
        Event::HostDown { address, reason } => Some(Record::HostDown((*address, *reason).into())),
        Event::Suspect(suspicion) => Some(Record::Suspect(suspicion.into())),
        Event::Warning(text) => Some(Record::Warning(record::Message { message: text.clone() })),
        _ => None,
    }
}

fn event(line: &[u8]) -> Option<Event> {
    match serde_json::from_slice(line).ok()? {
        Record::Verdict(verdict) => verdict_of(&verdict).map(Event::Verdict),
        Record::HostDown(down) => Some(Event::HostDown { address: down.address, reason: down_reason(down.address) }),
        Record::Suspect(suspect) => {
            let record::Suspect { address, reason, usual_ttl } = suspect;
            Some(Event::Suspect(Suspicion { address, reason: suspect_of(&reason)?, usual_ttl }))
        }
        Record::Warning(warning) => Some(Event::Warning(warning.message)),
        _ => None,
    }
}

fn verdict_of(verdict: &record::Verdict) -> Option<Verdict> {
    Some(Verdict {
        target: Target { address: verdict.address, port: verdict.port },
        state: verdict.state.into(),
        reason: reason_of(&verdict.reason, verdict.address)?,
        sender: verdict.sender,
        ttl: verdict.ttl,
        rtt: verdict.rtt_us.map(Duration::from_micros),
        pass: verdict.pass,
        probes: verdict.probes,
        time: SystemTime::from(verdict.time),
        supersedes: verdict.supersedes.map(Into::into),
        suspect: verdict.suspect.as_deref().map(suspect_of).map(|suspect| suspect.ok_or(())).transpose().ok()?,
    })
}

pub(crate) fn suspect_of(name: &str) -> Option<Suspect> {
    [Suspect::EveryPort, Suspect::Forged, Suspect::Ttl].into_iter().find(|suspect| suspect.name() == name)
}

fn down_reason(address: IpAddr) -> DownReason {
    if address.is_ipv4() { DownReason::NoArp } else { DownReason::NoNd }
}

/// The reason of that name. Two of them share some names; those are told apart nowhere after this.
fn reason_of(name: &str, address: IpAddr) -> Option<Reason> {
    const PLAIN: [Reason; 8] = [
        Reason::SynAck,
        Reason::Syn,
        Reason::Rst,
        Reason::NoResponse,
        Reason::Refused,
        Reason::HostUnreachable,
        Reason::NetUnreachable,
        Reason::Prohibited,
    ];
    let v4 = [(3, 16), (11, 1)].into_iter().flat_map(|(kind, codes)| (0..codes).map(move |code| (kind, code)));
    let v6 = [(1, 8), (3, 1)].into_iter().flat_map(|(kind, codes)| (0..codes).map(move |code| (kind, code)));
    let errors: Vec<Reason> = match address {
        IpAddr::V4(_) => v4.map(|(kind, code)| Reason::Icmp { kind, code }).collect(),
        IpAddr::V6(_) => v6.map(|(kind, code)| Reason::Icmpv6 { kind, code }).collect(),
    };
    errors.into_iter().chain(PLAIN).find(|reason| reason.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn what_is_written_down_is_read_and_a_torn_line_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scan");
        let events: Vec<Event> =
            samples::events().into_iter().filter(Event::counts).chain([Event::Warning("text".into())]).collect();
        let (first, second) = events.split_at(3);
        Journal::create(&path, 7).unwrap().append(first).unwrap();
        Journal::create(&path, 8).unwrap().append(second).unwrap();
        let records = |events: &[Event]| events.iter().map(|event| record(event).unwrap()).collect::<Vec<_>>();
        let (read_back, next) = read(&path, 7).unwrap();
        assert_eq!((records(&read_back), next), (records(&events), 9));
        assert_eq!(read(&path, 8).unwrap().0.len(), second.len());
        let torn = part(&path, 8);
        let length = fs::metadata(&torn).unwrap().len();
        File::options().write(true).open(&torn).unwrap().set_len(length - 1).unwrap();
        assert_eq!(read(&path, 7).unwrap().0.len(), events.len() - 1);
        remove_before(&path, 8);
        assert_eq!(read(&path, 8).unwrap().0.len(), second.len() - 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    /// Where the disk was full, or the program killed just then.
    #[test]
    fn parts_behind_one_that_is_missing_are_read_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scan");
        let events = [samples::down(), Event::Warning("text".into())];
        for generation in [3, 5, 12] {
            Journal::create(&path, generation).unwrap().append(&events).unwrap();
        }
        assert_eq!(read(&path, 5).map(|(events, next)| (events.len(), next)).unwrap(), (4, 13));
        assert_eq!(read(&path, 13).map(|(events, next)| (events.len(), next)).unwrap(), (0, 13));
        remove_before(&path, 12);
        assert_eq!(parts(&path).unwrap(), [12]);
        remove_all(&path);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_reason_is_found_by_its_name() {
        let (v4, v6) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([0u16; 8]));
        for name in ["syn-ack", "rst", "no-response", "admin-prohibited", "time-exceeded", "conn-refused"] {
            assert_eq!([v4, v6].map(|address| reason_of(name, address).unwrap().name()), [name; 2]);
        }
        assert_eq!(reason_of("reject-route", v6), Some(Reason::Icmpv6 { kind: 1, code: 6 }));
        assert_eq!(reason_of("nonsense", v4), None);
    }
}
