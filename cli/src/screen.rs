//! Standard error: the progress bar, notes, warnings and errors; and standard output where both are one terminal, so
//! that lines of results go above the bar. What the results say is for `output`.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anstyle::{AnsiColor, Style as Ansi};
use halfopen::{Phase, Progress, RateBound};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::text::{duration, grouped};
use crate::terminal::{self, Terminal};

/// How standard error is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Say nothing but warnings and errors.
    pub(crate) quiet: bool,
    /// Draw a progress bar.
    pub(crate) bar: bool,
    /// Use colours.
    pub(crate) colours: bool,
    /// A person reads it, and may like to know what to try next.
    pub(crate) person: bool,
}

/// Standard error while a scan runs. Clones are the same screen.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    style: Style,
    bar: ProgressBar,
    /// What the bar says is open.
    open: Arc<AtomicU64>,
}

/// Redraws a second: enough to look alive, little enough for slow terminals.
const REDRAWS: u8 = 10;
/// The bar counts in thousandths of the work.
const BAR_LENGTH: u64 = 1000;
const BAR: &str = "{bar:20} {percent:>3}%  {wide_msg}";
/// Without the bar itself, where there is no room for it.
const NARROW: &str = "{percent:>3}%  {wide_msg}";
/// What both take beside the message, and the width from which there is room for a bar.
const BESIDE_BAR: usize = 28;
const BESIDE_PERCENT: usize = 7;
const ROOMY: usize = 80;

impl Screen {
    /// A screen; the bar appears with the first progress.
    pub(crate) fn new(style: Style) -> Screen {
        let on_terminal = || ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::default()), REDRAWS);
        let target = if style.bar { on_terminal() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), target);
        bar.set_style(shape(BAR));
        Screen { style, bar, open: Arc::default() }
    }

    /// Says something in passing; not when quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.style.quiet {
            self.line(text);
        }
    }

    /// Says what could be tried next, to a person.
    pub(crate) fn hint(&self, text: &str) {
        if self.style.person {
            self.note(&format!("hint: {text}"));
        }
    }

    /// Warns.
    pub(crate) fn warn(&self, text: &str) {
        let style = paint(self.style.colours, AnsiColor::Yellow.on_default().bold());
        self.line(&format!("{style}warning:{style:#} {text}"));
    }

    /// What another program has printed, whole, behind a line that says whose it is.
    pub(crate) fn printed(&self, heading: &str, text: &[u8]) {
        self.bar.suspend(|| {
            let mut stderr = io::stderr().lock();
            let end: &[u8] = if text.is_empty() || text.ends_with(b"\n") { b"" } else { b"\n" };
            let _ = writeln!(stderr, "== {heading}");
            let _ = stderr.write_all(&[text, end].concat());
        });
    }

    /// Draws how far the scan is if more is open than the bar says: what is about to be written above it counts.
    pub(crate) fn catch_up(&self, progress: impl FnOnce() -> Progress) {
        let progress = self.style.bar.then(progress);
        let news = progress.filter(|progress| progress.open != self.open.load(Ordering::Relaxed));
        news.iter().for_each(|progress| self.progress(progress));
    }

    /// Draws how far the scan is.
    pub(crate) fn progress(&self, progress: &Progress) {
        if self.style.bar {
            self.open.store(progress.open, Ordering::Relaxed);
            let (template, beside) =
                if terminal::width() < ROOMY { (NARROW, BESIDE_PERCENT) } else { (BAR, BESIDE_BAR) };
            self.bar.set_style(shape(template));
            self.bar.set_message(self.status(progress, terminal::room().saturating_sub(beside)));
            self.bar.set_position((progress.done.clamp(0.0, 1.0) * BAR_LENGTH as f64) as u64);
        }
    }

    /// Draws that all is done that is known.
    pub(crate) fn idle(&self, progress: &Progress) {
        if self.style.bar {
            let found = format!("{} open", grouped(progress.open));
            self.bar.set_message(format!("waiting for targets{GAP}{found}"));
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Standard output for results.
    pub(crate) fn results(&self) -> Results {
        let shared = self.style.bar && io::stdout().is_terminal();
        Results { bar: shared.then(|| self.bar.clone()) }
    }

    /// One line above the bar. A standard error that is closed is no reason to stop.
    fn line(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    /// What is said beside the bar, in at most so many columns: what matters most, in a fixed order.
    fn status(&self, progress: &Progress, columns: usize) -> String {
        let paint = |text: &str| {
            let style = paint(self.style.colours, AnsiColor::Yellow.on_default());
            format!("{style}{text}{style:#}")
        };
        let shown = fitting(parts(progress), columns).into_iter();
        let texts = shown.map(|part| if part.alarms { paint(&part.text) } else { part.text });
        texts.collect::<Vec<_>>().join(GAP)
    }
}

/// Something that the bar says.
struct Part {
    text: String,
    /// What is left out first has the highest.
    rank: u8,
    /// Whether it is to catch the eye.
    alarms: bool,
}

const GAP: &str = "  ";

/// All there is to say, in order.
fn parts(progress: &Progress) -> Vec<Part> {
    let part = |rank, text| Some(Part { text, rank, alarms: false });
    let some = |rank, count: u64, what: &str| (count > 0).then(|| part(rank, format!("{} {what}", grouped(count))));
    let parts = [
        part(2, phase(progress.phase)),
        part(1, format!("{}/s", grouped(progress.rate.round() as u64))),
        bound(progress.bound).and_then(|text| part(7, text.into())),
        progress.loss.and_then(|loss| part(5, format!("{:.1} % lost", loss * 100.0))),
        some(3, progress.drops, "dropped here").flatten().map(|part| Part { alarms: true, ..part }),
        part(0, format!("{} open", grouped(progress.open))),
        some(6, progress.hosts_down, "down").flatten(),
        progress.remaining.filter(|left| !left.is_zero()).and_then(|left| part(4, format!("ETA {}", duration(left)))),
    ];
    parts.into_iter().flatten().collect()
}

/// Those that fit into so many columns, the important ones first; in their order.
fn fitting(mut parts: Vec<Part>, columns: usize) -> Vec<Part> {
    let width = |part: &Part| part.text.chars().count() + GAP.len();
    while parts.iter().map(width).sum::<usize>() > columns + GAP.len() && parts.len() > 1 {
        let last = parts.iter().map(|part| part.rank).max();
        parts.retain(|part| Some(part.rank) != last);
    }
    parts
}

/// What keeps the rate from being higher, where that is news.
fn bound(bound: RateBound) -> Option<&'static str> {
    match bound {
        RateBound::Asked => Some("as asked"),
        RateBound::Hosts => Some("no more for a host"),
        RateBound::Blind => Some("no answers to go by"),
        RateBound::Growing => Some("growing"),
        RateBound::Loss => Some("more would be lost"),
        RateBound::Rationing => Some("hosts ration answers"),
        RateBound::Machine => Some("this machine's limit"),
        _ => None,
    }
}

fn shape(template: &str) -> ProgressStyle {
    let shape = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    shape.progress_chars("━╸─")
}

/// Standard output, written above the progress bar where both are on one terminal.
#[derive(Debug)]
pub(crate) struct Results {
    bar: Option<ProgressBar>,
}

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.bar {
            Some(bar) => bar.suspend(|| io::stdout().write(bytes)),
            None => io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Says an error, and what to do about it, when no screen is up.
pub(crate) fn error(text: &str, hint: Option<&str>) {
    let mut stderr = anstream::stderr();
    let style = AnsiColor::Red.on_default().bold();
    let _ = writeln!(stderr, "{style}error:{style:#} {text}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// Prints a text that is no finding: what somebody asked this program about itself.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Warns when no screen is up.
pub(crate) fn warning(text: &str) {
    let style = AnsiColor::Yellow.on_default().bold();
    let _ = writeln!(anstream::stderr(), "{style}warning:{style:#} {text}");
}

/// A style, or none where there are no colours.
pub(crate) fn paint(colours: bool, style: Ansi) -> Ansi {
    if colours { style } else { Ansi::new() }
}

fn phase(phase: Phase) -> String {
    match phase {
        Phase::Neighbours => "asking for link addresses".into(),
        Phase::Discovery => "looking for hosts".into(),
        Phase::Probing { pass } => format!("pass {}", u16::from(pass) + 1),
        Phase::Spacing { .. } => "waiting for answers".into(),
        Phase::Cooldown => "waiting for late replies".into(),
        _ => "done".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn screen() -> Screen {
        Screen::new(Style { quiet: false, bar: false, colours: false, person: false })
    }

    #[test]
    fn status_of_a_quiet_beginning() {
        assert_eq!(screen().status(&Progress::default(), 100), "asking for link addresses  0/s  0 open");
    }

    fn busy() -> Progress {
        let mut progress = Progress::default();
        progress.phase = Phase::Probing { pass: 1 };
        (progress.rate, progress.remaining) = (9_998.4, Some(Duration::from_secs(75)));
        (progress.open, progress.hosts_down, progress.drops) = (1_234, 5, 6);
        (progress.loss, progress.bound) = (Some(0.0594), RateBound::Loss);
        progress
    }

    #[test]
    fn status_with_everything() {
        let said = "pass 2  9,998/s  more would be lost  5.9 % lost  6 dropped here  1,234 open  5 down  ETA 1m15s";
        assert_eq!(screen().status(&busy(), 100), said);
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters() {
        let said = |columns| screen().status(&busy(), columns);
        assert_eq!(said(70), "pass 2  9,998/s  5.9 % lost  6 dropped here  1,234 open  ETA 1m15s");
        assert_eq!(said(40), "pass 2  9,998/s  1,234 open");
        for columns in 10..120 {
            assert!(said(columns).chars().count() <= columns, "{columns}: {}", said(columns));
        }
        assert_eq!(said(3), "1,234 open");
    }

    #[test]
    fn drops_catch_the_eye() {
        let screen = Screen::new(Style { quiet: false, bar: false, colours: true, person: false });
        assert!(screen.status(&busy(), 100).contains("\x1b[33m6 dropped here\x1b[0m"));
    }
}
