//! Standard error: the progress bar, notes, warnings and errors; and standard output where both are one terminal, so
//! that lines of results go above the bar. What the results say is for `output`.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style as Ansi};
use halfopen::{Phase, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::text::{duration, grouped};

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
}

/// Redraws a second: enough to look alive, little enough for slow terminals.
const REDRAWS: u8 = 10;
/// The bar counts in thousandths of the work.
const BAR_LENGTH: u64 = 1000;
const BAR: &str = "{bar:20} {percent:>3}%  {wide_msg}";

impl Screen {
    /// A screen; the bar appears with the first progress.
    pub(crate) fn new(style: Style) -> Screen {
        let target = if style.bar { ProgressDrawTarget::stderr_with_hz(REDRAWS) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), target);
        let shape = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(shape.progress_chars("━╸─"));
        Screen { style, bar }
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

    /// Draws how far the scan is.
    pub(crate) fn progress(&self, progress: &Progress) {
        if self.style.bar {
            self.bar.set_message(self.status(progress));
            self.bar.set_position((progress.done.clamp(0.0, 1.0) * BAR_LENGTH as f64) as u64);
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

    fn status(&self, progress: &Progress) -> String {
        let mut parts = vec![phase(progress.phase), format!("{}/s", grouped(progress.rate.round() as u64))];
        parts.push(format!("{} open", grouped(progress.open)));
        if progress.hosts_down > 0 {
            parts.push(format!("{} down", grouped(progress.hosts_down)));
        }
        if progress.drops > 0 {
            let style = paint(self.style.colours, AnsiColor::Yellow.on_default());
            parts.push(format!("{style}{} lost{style:#}", grouped(progress.drops)));
        }
        parts.extend(progress.remaining.map(|left| format!("ETA {}", duration(left))));
        parts.join("  ")
    }
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
        assert_eq!(screen().status(&Progress::default()), "asking for link addresses  0/s  0 open");
    }

    #[test]
    fn status_with_everything() {
        let mut progress = Progress::default();
        progress.phase = Phase::Probing { pass: 1 };
        (progress.rate, progress.remaining) = (9_998.4, Some(Duration::from_secs(75)));
        (progress.open, progress.hosts_down, progress.drops) = (1_234, 5, 6);
        assert_eq!(screen().status(&progress), "pass 2  9,998/s  1,234 open  5 down  6 lost  ETA 1m15s");
    }
}
