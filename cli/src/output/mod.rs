//! The results of a scan on their way out: what is held back, what people get on standard output, and what the outputs of
//! `halfopen-results` get besides. The forms for people are in the files beside this one; standard error is for `screen`.

pub(crate) mod account;
mod plaintext;
mod hosts;
mod human;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod summary;
pub(crate) mod text;
pub(crate) mod told;
mod withheld;

use std::io::Write;
use std::net::IpAddr;

use halfopen::{Checkpoint, DownReason, Event, State, Suspicion, Verdict};
use halfopen_results::address::{Addresses, Range};
use halfopen_results::record::{self, HostDown, Message, Record, Show};
use halfopen_results::sink::{Error, Mark};
use halfopen_results::{Filter, Sinks};
use halfopen_services::tcp_name;

use crate::failure;
use crate::screen::Screen;
use crate::settings::{Human, Settings};
use account::Account;
use hosts::Hosts;
use plaintext::Plaintext;
use told::Told;
use withheld::Withheld;

/// A form for people. Each function appends to `out` what the form has to say, or nothing.
trait Format {
    /// A verdict that is to be printed.
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>);

    /// A verdict that is not to be printed, for forms that count.
    fn hidden(&mut self, _verdict: &Verdict) {}

    /// A host that is down, and is to be printed.
    fn host_down(&mut self, _address: IpAddr, _reason: DownReason, _out: &mut Vec<u8>) {}

    /// What speaks against a host, where open ports are printed.
    fn suspect(&mut self, _suspicion: &Suspicion, _out: &mut Vec<u8>) {}

    /// The end of the scan.
    fn end(&mut self, _account: &Account, _out: &mut Vec<u8>) {}

    /// A line about each host for the summary, if the results have no place for it.
    fn by_host(&self) -> Option<String> {
        None
    }

    /// What it has gathered by host, if it does.
    fn hosts(&self) -> Option<&Hosts>;

    /// Goes on from what another run has gathered by host; none where that was too much.
    fn recall(&mut self, hosts: Option<Hosts>);
}

/// Results on their way to people and sinks.
pub(crate) struct Output<W> {
    people: Option<People<W>>,
    show: Show,
    filter: Option<Filter>,
    sinks: Sinks,
    /// With `--hide-suspect`.
    withheld: Option<Withheld>,
    /// Addresses of which no port is probed.
    unprobed: Vec<Range>,
    plaintext: Plaintext,
    /// What was counted by host is not of all that was scanned.
    half_counted: bool,
}

/// What people get on standard output.
struct People<W> {
    format: Box<dyn Format>,
    waiting: Vec<u8>,
    out: W,
    failed: bool,
}

/// Lines are written together when there are many; more than this does not wait.
const BATCH: usize = 1 << 16;

impl Output<Box<dyn Write>> {
    /// The output of a scan of so many targets: all files are open, and none is touched yet.
    pub(crate) fn open(settings: &Settings, targets: u64, screen: &Screen) -> Result<Output<Box<dyn Write>>, Error> {
        let stdout = || -> Box<dyn Write> { Box::new(screen.results()) };
        let mut sinks = Sinks::open(&settings.outputs, &settings.wanted, tcp_name, stdout)?;
        sinks.warnings().iter().for_each(|warning| screen.warn(warning));
        for file in &settings.human_files {
            sinks.add(Box::new(human::FileLines), file, settings.show)?;
        }
        let people = settings.human.map(|human| (human, stdout()));
        let mut output = Output::of(people, settings.show, settings.counts_by_host(targets), sinks);
        output.filter.clone_from(&settings.wanted.filter);
        Ok(if settings.args.output.hide_suspect { output.hiding_suspects() } else { output })
    }
}

impl<W: Write> Output<W> {
    fn of(people: Option<(Human, W)>, show: Show, counts: bool, sinks: Sinks) -> Output<W> {
        let people = people.map(|(human, out)| {
            let format: Box<dyn Format> = match human {
                Human::Table { colours } => Box::new(human::Table::new(colours)),
                Human::Lines => Box::new(human::Lines::new(counts)),
            };
            People { format, waiting: Vec::new(), out, failed: false }
        });
        Output {
            people,
            show,
            filter: None,
            sinks,
            withheld: None,
            unprobed: Vec::new(),
            plaintext: Plaintext::default(),
            half_counted: false,
        }
    }

    /// The same without what is suspect; what is open waits until the end.
    pub(crate) fn hiding_suspects(self) -> Output<W> {
        Output { withheld: Some(Withheld::default()), ..self }
    }

    /// How many findings were left out because they are suspect.
    pub(crate) fn left_out(&self) -> u64 {
        self.withheld.as_ref().map_or(0, Withheld::left_out)
    }

    /// Addresses of which no port was probed: those that the account names, and the hosts that are down.
    pub(crate) fn unprobed(&self, account: &Account) -> Addresses {
        self.unprobed.iter().chain(account.unprobed.ranges()).copied().collect()
    }

    /// A line about each host for the summary, if the results have no place for it.
    pub(crate) fn by_host(&self) -> Option<String> {
        let people = self.people.as_ref().filter(|_| !self.half_counted);
        people.and_then(|people| people.format.by_host())
    }

    /// A line about plaintext services, if some seem to be open.
    pub(crate) fn plaintext(&self) -> Option<String> {
        self.plaintext.line()
    }

    /// What the account will say of what was found until now.
    pub(crate) fn told(&self) -> Told {
        let hosts = self.people.as_ref().and_then(|people| people.format.hosts()?.kept());
        Told { hosts, plaintext: self.plaintext.clone() }
    }

    /// Begins the results of a scan that has begun.
    pub(crate) fn begin(&mut self, header: impl FnOnce() -> record::Header) -> Result<(), Error> {
        if self.sinks.is_empty() { Ok(()) } else { self.sinks.begin(&header()) }
    }

    /// Whether the files are those that a scan has left with these marks.
    pub(crate) fn check(&self, marks: &[Mark]) -> Result<(), Error> {
        self.sinks.check(marks)
    }

    /// Goes on with results as they were, and leaves out what is behind these marks.
    pub(crate) fn resume(&mut self, marks: &[Mark]) -> Result<(), Error> {
        self.sinks.resume(marks)
    }

    /// More targets are scanned from here on.
    pub(crate) fn batch(&mut self, batch: impl FnOnce() -> record::Batch) -> Result<(), Error> {
        if self.sinks.is_empty() { Ok(()) } else { self.sinks.record(&Record::Batch(Box::new(batch()))) }
    }

    /// From now on not everything is heard of that could be counted by host: half a count says what is not so.
    pub(crate) fn stop_counting(&mut self) {
        self.half_counted = true;
        self.sinks.stop_counting();
    }

    /// What an earlier run has found is part of the account.
    pub(crate) fn recall(&mut self, told: Told, checkpoint: &Checkpoint) {
        self.people.iter_mut().for_each(|people| people.format.recall(told.hosts.clone()));
        self.plaintext = told.plaintext;
        self.unprobed.extend(checkpoint.down().filter_map(|range| Range::new(range.first(), range.last())));
    }

    /// How far the results have come, those in files.
    pub(crate) fn marks(&mut self) -> Result<Vec<Mark>, Error> {
        self.flush()?;
        self.sinks.marks()
    }

    /// Whether one of them could not be written.
    pub(crate) fn has_failed(&self) -> bool {
        self.sinks.has_failed()
    }

    /// Ends the results of a scan that will be resumed.
    pub(crate) fn pause(&mut self, account: &Account) -> Result<(), Error> {
        self.sinks.keep_spools();
        self.end(account)
    }

    /// Takes an event. What it says may wait until `flush`.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), Error> {
        self.plaintext.event(event);
        match (event, &mut self.withheld) {
            (Event::Verdict(verdict), Some(withheld)) if verdict.state == State::Open => {
                withheld.hold(verdict);
                Ok(())
            }
            (Event::Verdict(verdict), _) => self.verdict(verdict),
            (Event::Suspect(suspicion), withheld) => {
                withheld.iter_mut().for_each(|withheld| withheld.tell(*suspicion));
                self.suspect(suspicion)
            }
            (Event::HostDown { address, reason }, _) => self.host_down(*address, *reason),
            (Event::Warning(text), _) => self.warning(text),
            _ => Ok(()),
        }
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Error> {
        if self.filter.is_none() && self.sinks.is_empty() {
            return self.tell(shows(self.show, verdict), verdict);
        }
        let record = record::Verdict::from(verdict);
        let wanted = self.filter.as_ref().is_none_or(|filter| filter.accepts(&record));
        let told = self.tell(wanted && self.show.verdict(&record), verdict);
        told.and(self.sinks.verdict(&record))
    }

    /// Prints a verdict for people, or counts it.
    fn tell(&mut self, shown: bool, verdict: &Verdict) -> Result<(), Error> {
        self.people(|people| match shown {
            true => people.format.verdict(verdict, &mut people.waiting),
            false => people.format.hidden(verdict),
        })
    }

    fn suspect(&mut self, suspicion: &Suspicion) -> Result<(), Error> {
        let told = match self.show.open {
            true => self.people(|people| people.format.suspect(suspicion, &mut people.waiting)),
            false => Ok(()),
        };
        told.and(self.sinks.record(&Record::Suspect(suspicion.into())))
    }

    fn host_down(&mut self, address: IpAddr, reason: DownReason) -> Result<(), Error> {
        self.unprobed.push(Range::single(address));
        let told = match self.show.down {
            true => self.people(|people| people.format.host_down(address, reason, &mut people.waiting)),
            false => Ok(()),
        };
        told.and(self.sinks.record(&Record::HostDown(HostDown::from((address, reason)))))
    }

    /// A command that has followed the scan, for programs.
    pub(crate) fn command(&mut self, command: record::Command) -> Result<(), Error> {
        self.sinks.record(&Record::Command(command)).and(self.flush())
    }

    /// A warning for programs; people have it on standard error.
    pub(crate) fn warning(&mut self, text: &str) -> Result<(), Error> {
        self.sinks.record(&Record::Warning(Message { message: text.into() }))
    }

    fn people(&mut self, say: impl FnOnce(&mut People<W>)) -> Result<(), Error> {
        let Some(people) = self.people.as_mut().filter(|people| !people.failed) else { return Ok(()) };
        say(people);
        if people.waiting.len() < BATCH { Ok(()) } else { people.flush() }
    }

    /// Lets go what was held back and nothing speaks against: there will be no more events.
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        let held = self.withheld.as_mut().map(Withheld::release).unwrap_or_default();
        held.iter().map(|verdict| self.verdict(verdict)).fold(Ok(()), Result::and)
    }

    /// Writes what waits; what people see is in the files then, whatever happens next.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let written = self.sinks.flush();
        self.people.as_mut().map_or(Ok(()), People::flush).and(written)
    }

    /// Ends the results of a scan.
    pub(crate) fn end(&mut self, account: &Account) -> Result<(), Error> {
        let told = self.people(|people| people.format.end(account, &mut people.waiting));
        let ended = self.sinks.end(&Record::Summary(Box::new(account.clone())));
        told.and(self.flush()).and(ended)
    }

    /// Ends the results of a scan that failed.
    pub(crate) fn failure(&mut self, text: &str) -> Result<(), Error> {
        let released = self.release();
        let ended = self.sinks.end(&Record::Error(Message { message: text.into() }));
        released.and(self.flush()).and(ended)
    }
}

impl<W: Write> People<W> {
    fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() || self.failed {
            return Ok(());
        }
        let written = self.out.write_all(&self.waiting).and_then(|()| self.out.flush());
        self.waiting.clear();
        self.failed = written.is_err();
        written.map_err(failure::stdout)
    }
}

/// A correction is printed when what it corrects was.
fn shows(show: Show, verdict: &Verdict) -> bool {
    show.state(verdict.state.into()) || verdict.supersedes.is_some_and(|before| show.state(before.into()))
}

/// Appends formatted text; a vector takes everything.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use std::io;

    use halfopen::State;

    use super::*;

    #[test]
    fn only_what_is_shown() {
        let ports = |show| {
            let lines = samples::printed(Human::Lines, show, &samples::events());
            lines.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ports("open"), ["443/tcp", "22/tcp"]);
        assert_eq!(ports("filtered"), ["25/tcp", "26/tcp"]);
    }

    #[test]
    fn a_correction_of_something_shown_is_shown() {
        let corrected = Verdict { supersedes: Some(State::Filtered), ..samples::open() };
        let lines = |show| samples::printed(Human::Lines, show, &[Event::Verdict(corrected.clone())]);
        assert_eq!(lines("filtered"), "192.0.2.7 443/tcp open syn-ack https was=filtered\n");
        assert_eq!(lines("closed"), "");
    }

    /// What is printed before the end, and all in all, without what is no port; and how many findings were left out.
    fn hiding(show: &str, events: &[Event]) -> (Vec<String>, Vec<String>, u64) {
        let people = Some((Human::Lines, Vec::new()));
        let mut output = Output::of(people, samples::show(show), true, Sinks::default()).hiding_suspects();
        events.iter().try_for_each(|event| output.event(event)).unwrap();
        output.flush().unwrap();
        let before = output.people.as_ref().unwrap().out.clone();
        output.release().unwrap();
        output.flush().unwrap();
        let ports = |written: &[u8]| {
            let lines = std::str::from_utf8(written).unwrap().lines().filter(|line| line.contains("/tcp"));
            lines.map(|line| line.split_once("/tcp").unwrap().0.to_owned()).collect()
        };
        (ports(&before), ports(&output.people.as_ref().unwrap().out), output.left_out())
    }

    #[test]
    fn suspects_are_left_out_whenever_they_become_known() {
        let marked = Verdict { suspect: Some(halfopen::Suspect::Forged), ..samples::open_v6() };
        let later = Event::Verdict(samples::open());
        let clear = Event::Verdict(samples::open_v6());
        let events = [later.clone(), Event::Verdict(marked), clear.clone(), samples::suspect(), later];
        let (before, all, left_out) = hiding("open", &events);
        assert_eq!((before, all, left_out), (vec![], vec!["2001:db8::7 22".to_owned()], 3));
        // The one that has the usual TTL stays.
        let usual = Verdict { ttl: Some(51), ..samples::open_v6() };
        let (_, all, left_out) = hiding("open", &[clear, Event::Verdict(usual), samples::suspect_ttl()]);
        assert_eq!((all.len(), left_out), (1, 1), "{all:?}");
    }

    #[test]
    fn what_is_not_open_is_not_held_back() {
        let (before, all, _) = hiding("all", &samples::events());
        assert_eq!(before, ["192.0.2.7 444", "192.0.2.9 25", "192.0.2.9 26"]);
        assert_eq!(all[3..], ["192.0.2.7 443", "2001:db8::7 22"]);
    }

    #[test]
    fn a_filter_is_for_people_too() {
        let mut written = Vec::new();
        let mut output = Output::of(Some((Human::Lines, &mut written)), samples::show("all"), true, Sinks::default());
        output.filter = Some("port < 26 and state != open".parse().unwrap());
        samples::events().iter().try_for_each(|event| output.event(event)).unwrap();
        output.flush().unwrap();
        let text = String::from_utf8(written).unwrap();
        assert_eq!(
            text,
            "192.0.2.9 25/tcp filtered admin-prohibited smtp from=192.0.2.254\n192.0.2.77 - down no-arp -\n"
        );
    }

    #[test]
    fn hosts_that_are_down_are_unprobed() {
        let mut output = samples::output(io::sink());
        output.event(&samples::down()).unwrap();
        assert_eq!(output.unprobed(&samples::account()).ranges(), ["192.0.2.77".parse().unwrap()]);
    }
}
