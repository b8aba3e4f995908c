//! The way from a scan to the process that runs its commands, and back: two pipes. It is started while the scan still has its
//! rights, which the commands are to have, and hears of hosts when the scan is over.

use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use halfopen_results::Coverage;
use halfopen_results::record::Commands;

use super::job::Ended;
use super::protocol::{self, Order, Setup};
use super::{Host, Hosts, Hurry, Template, ThenArgs};
use crate::failure::Failure;

/// Looks so often whether it has become hurried.
const GLANCE: Duration = Duration::from_millis(20);
/// The program itself, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";
const NAME: &str = "halfopen";

/// A runner that waits for hosts.
#[derive(Debug)]
pub(crate) struct Link {
    template: Template,
    // Dropped, it ends: there is nobody to give orders.
    orders: ChildStdin,
    words: ChildStdout,
    _child: Child,
}

impl Link {
    /// Starts one, with the rights of this moment, if there is something to run. It takes only hosts and ports of these
    /// targets, if they are known.
    pub(crate) fn start(args: &ThenArgs, targets: Option<&Coverage>) -> Result<Option<Link>, Failure> {
        let Some(template) = args.command.clone() else { return Ok(None) };
        let started = Link::of(template, args, targets);
        started.map(Some).map_err(|error| Failure::Machine(format!("cannot start the process for --then: {error}")))
    }

    fn of(template: Template, args: &ThenArgs, targets: Option<&Coverage>) -> io::Result<Link> {
        let mut command = Command::new(PROGRAM);
        command.arg0(NAME).arg("then-runner").stdin(Stdio::piped()).stdout(Stdio::piped());
        // A terminal's Ctrl-C is for the scan, which ends everything in order.
        let mut child = command.process_group(0).spawn()?;
        let (Some(mut orders), Some(words)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let setup = Setup {
            command: template.text().to_owned(),
            jobs: args.then_jobs,
            timeout: args.then_timeout,
            targets: targets.cloned(),
        };
        protocol::send(&mut orders, &setup)?;
        Ok(Link { template, orders, words, _child: child })
    }

    /// Has the commands for these hosts run, and tells of each as it ends. With the tally comes why there should have been more.
    pub(crate) fn run(
        mut self,
        hosts: Hosts,
        hide_suspect: bool,
        hurry: &dyn Fn() -> Hurry,
        tell: &mut dyn FnMut(&Ended),
    ) -> (Commands, Option<String>) {
        let hosts = hosts.handed(hide_suspect);
        let left = hosts.iter().map(|host| self.template.commands(host).len() as u64).sum();
        let mut tally = Commands { left, ..Commands::default() };
        let trouble = match self.hand_over(hosts) {
            _ if left == 0 => None,
            // Why it does not take them, it may still have said.
            handed => self.follow(&mut tally, hurry, tell).and(handed).err(),
        };
        let told = trouble.map(|error| format!("not all commands were run: {}", reason(&error)));
        (tally, told.filter(|_| tally.left > 0))
    }

    fn hand_over(&mut self, hosts: Vec<Host>) -> io::Result<()> {
        hosts.into_iter().try_for_each(|host| protocol::send(&mut self.orders, &Order::Host(host)))?;
        protocol::send(&mut self.orders, &Order::Run)
    }

    fn follow(self, tally: &mut Commands, hurry: &dyn Fn() -> Hurry, tell: &mut dyn FnMut(&Ended)) -> io::Result<()> {
        let Link { mut orders, words, .. } = self;
        let heard = listen(words)?;
        let mut hurried = Hurry::Not;
        loop {
            match heard.recv_timeout(GLANCE) {
                Ok(ended) => {
                    let ended = ended?;
                    tally.run += 1;
                    tally.left = tally.left.saturating_sub(1);
                    tally.failed += u64::from(!ended.end.is_success());
                    tell(&ended);
                }
                Err(RecvTimeoutError::Disconnected) if tally.left > 0 && hurried == Hurry::Not => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = hurry();
            if now > hurried {
                hurried = now;
                // Where it is gone already, that is heard next.
                let _ = protocol::send(&mut orders, &Order::Hurry(now));
            }
        }
    }
}

/// Commands as they end; what cannot be understood is the last.
fn listen(words: ChildStdout) -> io::Result<Receiver<io::Result<Ended>>> {
    let (ended, heard) = sync_channel(1);
    let listen = move || {
        let mut words = BufReader::new(words);
        // Until nobody listens any more.
        while let Some(word) = protocol::hear(&mut words).transpose() {
            let over = word.is_err();
            if ended.send(word).is_err() || over {
                return;
            }
        }
    };
    thread::Builder::new().name("commands".into()).spawn(listen)?;
    Ok(heard)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => "the process that runs them was killed".into(),
        _ => error.to_string(),
    }
}
