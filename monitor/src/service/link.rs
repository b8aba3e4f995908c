//! The way from the monitor to the process that scans, and back: two pipes, of which the guard hands on its ends.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::protocol::{Order, Word};
use super::{Event, notify};
use crate::watch::{Purpose, Request};

/// A running guard, with what it keeps.
#[derive(Debug)]
pub struct Link {
    child: Child,
    orders: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
}

/// Scans are ended within their grace; whoever takes longer is left to the system.
const PATIENCE: Duration = Duration::from_secs(8);

impl Link {
    /// Starts it, with the rights of this moment.
    pub fn start(mut command: Command) -> io::Result<Link> {
        // A terminal's Ctrl-C is for the monitor, which ends everything in order.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        notify::VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        Ok(Link { child, orders, reader: None })
    }

    /// What is said from now on, as events.
    pub(super) fn listen(&mut self, events: SyncSender<Event>) -> io::Result<()> {
        let Some(words) = self.child.stdout.take() else { return Ok(()) };
        let read = move || {
            let heard = BufReader::new(words).lines().map_while(Result::ok).filter(|line| !line.trim().is_empty());
            // What is no word was cut off when somebody died, which is told next.
            let words = heard.filter_map(|line| serde_json::from_str::<Word>(&line).ok());
            let gone = words.map(Event::Word).chain([Event::ScannerGone]).try_for_each(|event| events.send(event));
            // Nobody listens any more: the monitor ends.
            let _ = gone;
        };
        self.reader = Some(thread::Builder::new().name("words".into()).spawn(read)?);
        Ok(())
    }

    /// Has something scanned.
    pub fn scan(&mut self, id: u64, request: &Request) -> io::Result<()> {
        let targets = (request.purpose == Purpose::Confirmation).then(|| request.targets.clone());
        self.send(&Order::Scan { id, group: request.group.clone(), targets })
    }

    /// Has the settings read again there, too.
    pub fn reload(&mut self) -> io::Result<()> {
        self.send(&Order::Reload)
    }

    fn send(&mut self, order: &Order) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(order.line().as_bytes())
    }

    /// No more orders: it ends its scans, and then itself. False if it does not.
    pub fn close(mut self) -> bool {
        drop(self.orders.take());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }
}
