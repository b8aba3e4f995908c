//! Ctrl-C and SIGTERM: the first one stops the sending and keeps the cooldown, the second one ends the scan at once,
//! the third one the program (for a standard output that nobody reads any more). Which code the program then leaves
//! with is the shell's convention: 128 + signal.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::halt::Halt;
use crate::screen::Screen;
use crate::then::Hurry;

/// Watches for signals until dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Seen>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

/// What has come so far.
#[derive(Debug, Default)]
struct Seen {
    first: AtomicI32,
    count: AtomicUsize,
    /// Whether commands run that were to follow the scan.
    following: AtomicBool,
}

const NONE: i32 = 0;

/// From now on signals stop this scan instead of ending the program; one that will be resumed calls nothing silent.
pub(crate) fn watch(halt: Halt, screen: Screen, resumable: bool) -> io::Result<Watch> {
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    let thread = thread::Builder::new()
        .name("signals".into())
        .spawn(move || obey(signals, &shared, &halt, (&screen, resumable)))?;
    Ok(Watch { seen, handle, thread: Some(thread) })
}

impl Watch {
    /// The exit code of an interrupted program, if there was a signal.
    pub(crate) fn code(&self) -> Option<u8> {
        // Relaxed: the number alone is read, nothing is published by it.
        match self.seen.first.load(Ordering::Relaxed) {
            NONE => None,
            signal => Some(code(signal)),
        }
    }

    /// The scan is over: from now on signals are for the commands that follow it.
    pub(crate) fn follow(&self) {
        self.seen.following.store(true, Ordering::Relaxed);
    }

    /// How hurried it is, for these commands.
    pub(crate) fn hurry(&self) -> Hurry {
        match self.seen.count.load(Ordering::Relaxed) {
            0 => Hurry::Not,
            1 => Hurry::Soon,
            _ => Hurry::Now,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell, and a panic of its own has been printed.
            let _ = thread.join();
        }
    }
}

fn obey(mut signals: Signals, seen: &Seen, halt: &Halt, (screen, resumable): (&Screen, bool)) {
    for (count, signal) in signals.forever().enumerate() {
        if count == 0 {
            seen.first.store(signal, Ordering::Relaxed);
        }
        seen.count.store(count + 1, Ordering::Relaxed);
        match count {
            0 if seen.following.load(Ordering::Relaxed) => {
                screen.note(&format!("stopping: the commands are to end; {} kills them", again(signal)));
            }
            0 => {
                if resumable {
                    halt.suspend();
                } else {
                    halt.stop();
                }
                screen.note(&format!("stopping: waiting for late replies; {} stops at once", again(signal)));
            }
            1 => halt.abort(),
            _ => process::exit(i32::from(code(signal))),
        }
    }
}

fn again(signal: i32) -> &'static str {
    if signal == SIGINT { "another Ctrl-C" } else { "another signal" }
}

fn code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
