//! Findings on standard output: which ones, in which form, and when they are written. The forms are in the files
//! beside this one; standard error is for `screen`.

pub(crate) mod account;
mod hosts;
mod human;
mod jsonl;
mod list;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod summary;
pub(crate) mod text;
mod withheld;

use std::io::{self, Write};
use std::net::IpAddr;

use halfopen::{DownReason, Event, State, Suspicion, Verdict};

use crate::settings::{Form, Settings, Show};
use account::Account;
use withheld::Withheld;

/// A form of the results. Each function appends to `out` what the form has to say, or nothing.
trait Format {
    /// A verdict that is to be printed.
    fn verdict(&mut self, verdict: &Verdict, out: &mut Vec<u8>);

    /// A verdict that is not to be printed, for forms that count.
    fn hidden(&mut self, _verdict: &Verdict) {}

    /// A host that is down, and is to be printed.
    fn host_down(&mut self, _address: IpAddr, _reason: DownReason, _out: &mut Vec<u8>) {}

    /// What speaks against a host, where open ports are printed.
    fn suspect(&mut self, _suspicion: &Suspicion, _out: &mut Vec<u8>) {}

    /// A warning; it also goes to standard error.
    fn warning(&mut self, _text: &str, _out: &mut Vec<u8>) {}

    /// The end of the scan.
    fn end(&mut self, _account: &Account, _out: &mut Vec<u8>) {}

    /// The end of a scan that failed.
    fn failure(&mut self, _text: &str, _out: &mut Vec<u8>) {}

    /// A line about each host for the summary, if the results have no place for it.
    fn by_host(&self) -> Option<String> {
        None
    }
}

/// Results on their way to `sink`.
pub(crate) struct Output<W> {
    format: Box<dyn Format>,
    show: Show,
    waiting: Vec<u8>,
    /// With `--hide-suspect`.
    withheld: Option<Withheld>,
    sink: W,
}

/// Lines are written together when there are many; more than this does not wait.
const BATCH: usize = 1 << 16;

impl<W: Write> Output<W> {
    /// The output of a scan of so many targets.
    pub(crate) fn new(settings: &Settings, targets: u64, sink: W) -> Output<W> {
        let counts = settings.counts_by_host(targets);
        let output = Output::of(settings.form, settings.show, counts, sink);
        if settings.args.output.hide_suspect { output.hiding_suspects() } else { output }
    }

    fn of(form: Form, show: Show, counts: bool, sink: W) -> Output<W> {
        let format: Box<dyn Format> = match form {
            Form::Table { colours } => Box::new(human::Table::new(colours)),
            Form::Lines => Box::new(human::Lines::new(counts)),
            Form::Jsonl => Box::new(jsonl::Jsonl),
            Form::List => Box::new(list::List { show }),
        };
        Output { format, show, waiting: Vec::new(), withheld: None, sink }
    }

    /// The same without what is suspect; what is open waits until the end.
    pub(crate) fn hiding_suspects(self) -> Output<W> {
        Output { withheld: Some(Withheld::default()), ..self }
    }

    /// How many findings were left out because they are suspect.
    pub(crate) fn left_out(&self) -> u64 {
        self.withheld.as_ref().map_or(0, Withheld::left_out)
    }

    /// A line about each host for the summary, if the results have no place for it.
    pub(crate) fn by_host(&self) -> Option<String> {
        self.format.by_host()
    }

    /// Takes an event. What it says may wait until `flush`.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        let out = &mut self.waiting;
        match (event, &mut self.withheld) {
            (Event::Verdict(verdict), Some(withheld)) if verdict.state == State::Open => withheld.hold(verdict),
            (Event::Verdict(verdict), _) => self.verdict(verdict),
            (Event::Suspect(suspicion), withheld) => {
                withheld.iter_mut().for_each(|withheld| withheld.tell(*suspicion));
                if self.show.state(State::Open) {
                    self.format.suspect(suspicion, out);
                }
            }
            (Event::HostDown { address, reason }, _) if self.show.down => self.format.host_down(*address, *reason, out),
            (Event::Warning(text), _) => self.format.warning(text, out),
            _ => {}
        }
        if self.waiting.len() < BATCH { Ok(()) } else { self.flush() }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        if shows(self.show, verdict) {
            self.format.verdict(verdict, &mut self.waiting);
        } else {
            self.format.hidden(verdict);
        }
    }

    /// Lets go what was held back and nothing speaks against: there will be no more events.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        for verdict in self.withheld.as_mut().map(Withheld::release).unwrap_or_default() {
            self.verdict(&verdict);
            if self.waiting.len() >= BATCH {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.sink.write_all(&self.waiting)?;
        self.waiting.clear();
        self.sink.flush()
    }

    /// Ends the results of a scan.
    pub(crate) fn end(&mut self, account: &Account) -> io::Result<()> {
        self.format.end(account, &mut self.waiting);
        self.flush()
    }

    /// Ends the results of a scan that failed.
    pub(crate) fn failure(&mut self, text: &str) -> io::Result<()> {
        self.release()?;
        self.format.failure(text, &mut self.waiting);
        self.flush()
    }
}

/// A correction is printed when what it corrects was.
fn shows(show: Show, verdict: &Verdict) -> bool {
    show.state(verdict.state) || verdict.supersedes.is_some_and(|before| show.state(before))
}

/// Appends formatted text; a vector takes everything.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use halfopen::State;

    use super::*;

    fn printed(form: Form, show: Show, events: &[Event]) -> String {
        let mut written = Vec::new();
        let mut output = Output::of(form, show, true, &mut written);
        events.iter().try_for_each(|event| output.event(event)).unwrap();
        output.flush().unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn only_what_is_shown() {
        let list = |show| printed(Form::List, show, &samples::events());
        assert_eq!(list(samples::show("open")), "192.0.2.7:443\n[2001:db8::7]:22\n");
        assert_eq!(list(samples::show("filtered")), "192.0.2.9:25\n192.0.2.9:26\n");
    }

    #[test]
    fn a_correction_of_something_shown_is_shown() {
        let corrected = Verdict { supersedes: Some(State::Filtered), ..samples::open() };
        let lines = |show| printed(Form::Lines, samples::show(show), &[Event::Verdict(corrected.clone())]);
        assert_eq!(lines("filtered"), "192.0.2.7 443/tcp open syn-ack https was=filtered\n");
        assert_eq!(lines("closed"), "");
    }

    /// What is printed before the end, and all in all; and how many findings were left out.
    fn hiding(form: Form, show: Show, events: &[Event]) -> (String, String, u64) {
        let mut output = Output::of(form, show, true, Vec::new()).hiding_suspects();
        events.iter().try_for_each(|event| output.event(event)).unwrap();
        output.flush().unwrap();
        let before = output.sink.clone();
        output.release().unwrap();
        output.flush().unwrap();
        let [before, all] = [before, output.sink.clone()].map(|written| String::from_utf8(written).unwrap());
        (before, all, output.left_out())
    }

    #[test]
    fn suspects_are_left_out_whenever_they_become_known() {
        let marked = Verdict { suspect: Some(halfopen::Suspect::Forged), ..samples::open_v6() };
        let later = Event::Verdict(samples::open());
        let clear = Event::Verdict(samples::open_v6());
        let events = [later.clone(), Event::Verdict(marked), clear.clone(), samples::suspect(), later];
        let (before, all, left_out) = hiding(Form::List, samples::show("open"), &events);
        assert_eq!((before.as_str(), all.as_str(), left_out), ("", "[2001:db8::7]:22\n", 3));
        // The one that has the usual TTL stays.
        let usual = Verdict { ttl: Some(51), ..samples::open_v6() };
        let (_, all, left_out) =
            hiding(Form::Lines, samples::show("open"), &[clear, Event::Verdict(usual), samples::suspect_ttl()]);
        assert_eq!(all.lines().filter(|line| line.contains("/tcp")).count(), 1, "{all}");
        assert_eq!(left_out, 1);
    }

    #[test]
    fn what_is_not_open_is_not_held_back() {
        let (before, all, _) = hiding(Form::List, samples::show("all"), &samples::events());
        assert_eq!(before, "192.0.2.7:444\n192.0.2.9:25\n192.0.2.9:26\n");
        assert_eq!(all, format!("{before}192.0.2.7:443\n[2001:db8::7]:22\n"));
    }

    #[test]
    fn a_list_has_every_target_once() {
        let filtered = Verdict { state: State::Filtered, ..samples::open() };
        let corrected = Verdict { supersedes: Some(State::Filtered), ..samples::open() };
        let events = [filtered, corrected].map(Event::Verdict);
        for show in ["open", "filtered", "open,filtered"] {
            assert_eq!(printed(Form::List, samples::show(show), &events), "192.0.2.7:443\n", "{show}");
        }
    }
}
