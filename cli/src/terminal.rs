//! The terminal that the progress bar is drawn on: standard error, taken for somewhat narrower than it is. A terminal echoes
//! `^C` where the cursor is, and the cursor stands behind the bar; in the last column the echo would begin a new line, and the
//! bar above it could not be taken away any more. What the bar says is for `screen`.

use std::io::{self, Write};
use std::mem;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;

/// Room for two of them: a second Ctrl-C ends at once.
const ECHO: usize = "^C^C".len();
/// Assumed where the terminal does not say how wide it is.
const USUAL: usize = 80;

/// How many columns standard error has.
pub(crate) fn width() -> usize {
    rustix::termios::tcgetwinsize(io::stderr())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|&n| n > 0)
        .unwrap_or(USUAL)
}

/// How many of them the bar may take.
pub(crate) fn room() -> usize {
    width().saturating_sub(ECHO).max(1)
}

/// Standard error, for a bar. What is drawn at once is written at once.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    drawn: Mutex<String>,
}

impl Terminal {
    fn add(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    /// By ECMA-48, sections 8.3.18 to 8.3.22.
    fn go(&self, cells: usize, direction: char) -> io::Result<()> {
        if cells == 0 { Ok(()) } else { self.add(&format!("\x1b[{cells}{direction}")) }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        u16::try_from(room()).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.add(s)?;
        self.add("\n")
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.add(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        io::stderr().write_all(drawn.as_bytes())
    }
}
