//! One command from its start to its end: what it prints is gathered, it is ended when its time is up or on an interruption,
//! with all that it has started. A process group of its own keeps the terminal's Ctrl-C away from it, and everybody else's
//! processes out of reach.

use std::fmt;
use std::io::{PipeReader, Read, pipe};
use std::net::IpAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use halfopen_results::record;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::Hurry;
use super::template::Command;

/// Looks for its end so often.
const GLANCE: Duration = Duration::from_millis(20);
/// From the wish that it ends to its end.
const GRACE: Duration = Duration::from_secs(2);
/// For so long what it has left behind may go on printing.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// More is not kept of what one prints.
const MOST: usize = 16 << 20;

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) address: IpAddr,
    pub(crate) ports: Vec<u16>,
    /// The command with its arguments.
    pub(crate) words: Vec<String>,
    pub(crate) end: End,
    /// What it printed, on either output, in the order in which it came.
    pub(crate) printed: Vec<u8>,
    pub(crate) elapsed: Duration,
}

/// `192.0.2.7: nmap -sV 192.0.2.7: exit code 0`.
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = shlex::try_join(self.words.iter().map(String::as_str)).unwrap_or_else(|_| self.words.join(" "));
        write!(f, "{}: {words}: {}", self.address, self.end)
    }
}

impl From<&Ended> for record::Command {
    fn from(ended: &Ended) -> record::Command {
        record::Command {
            address: ended.address,
            ports: ended.ports.clone(),
            words: ended.words.clone(),
            exit_code: if let End::Code(code) = ended.end { Some(code) } else { None },
            end: ended.end.to_string(),
            elapsed_us: u64::try_from(ended.elapsed.as_micros()).unwrap_or(u64::MAX),
            printed: String::from_utf8_lossy(&ended.printed).into_owned(),
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its time was up.
    Timeout,
    /// The program was interrupted.
    Interrupted,
    /// It could not be started.
    NotStarted(String),
}

impl End {
    pub(crate) fn is_success(&self) -> bool {
        *self == End::Code(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(f, "exit code {code}"),
            End::Signal(signal) => write!(f, "ended by signal {signal}"),
            End::Timeout => f.write_str("ended: its time was up"),
            End::Interrupted => f.write_str("ended by the interruption"),
            End::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// Runs a command.
pub(super) fn run(command: Command, timeout: Option<Duration>, hurry: &dyn Fn() -> Hurry) -> Ended {
    let began = Instant::now();
    let printed = Arc::new(Mutex::new(Vec::new()));
    let end = match start(&command) {
        Ok((child, output)) => follow(child, output, &printed, timeout.map(|time| began + time), hurry),
        Err(error) => End::NotStarted(error.to_string()),
    };
    let Command { address, ports, program, arguments } = command;
    let words = [program].into_iter().chain(arguments).collect();
    let printed = std::mem::take(&mut *printed.lock().unwrap_or_else(PoisonError::into_inner));
    Ended { address, ports, words, end, printed, elapsed: began.elapsed() }
}

/// Both outputs are one pipe, so that its lines stand in the order in which it wrote them.
fn start(command: &Command) -> std::io::Result<(Child, PipeReader)> {
    let (output, writes) = pipe()?;
    let mut started = process::Command::new(&command.program);
    started.args(&command.arguments).stdin(Stdio::null()).stdout(writes.try_clone()?).stderr(writes);
    Ok((started.process_group(0).spawn()?, output))
}

fn follow(
    mut child: Child,
    output: PipeReader,
    printed: &Arc<Mutex<Vec<u8>>>,
    deadline: Option<Instant>,
    hurry: &dyn Fn() -> Hurry,
) -> End {
    let closed = gather(output, printed);
    let (status, why) = wait(&mut child, deadline, hurry);
    wait_closed(&closed);
    why.unwrap_or_else(|| ended(status))
}

fn ended(status: Option<ExitStatus>) -> End {
    let code = status.and_then(|status| status.code()).map(End::Code);
    let signal = || status.and_then(|status| status.signal()).map(End::Signal);
    code.or_else(signal).unwrap_or_else(|| End::NotStarted("it was lost sight of".into()))
}

/// Waits for its end, and sees to it where it has to end.
fn wait(child: &mut Child, deadline: Option<Instant>, hurry: &dyn Fn() -> Hurry) -> (Option<ExitStatus>, Option<End>) {
    let group = Pid::from_child(child);
    // A group of which nobody is left cannot be ended, which is no news.
    let signal = |signal| kill_process_group(group, signal).unwrap_or_default();
    let mut asked: Option<(Instant, End)> = None;
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(status) => return (status, asked.map(|(_, why)| why)),
            Err(_) => return (None, None),
        }
        let (hurried, late) = (hurry(), deadline.is_some_and(|deadline| Instant::now() >= deadline));
        match &asked {
            None if hurried > Hurry::Not || late => {
                signal(Signal::TERM);
                let why = if hurried > Hurry::Not { End::Interrupted } else { End::Timeout };
                asked = Some((Instant::now(), why));
            }
            Some((since, _)) if hurried == Hurry::Now || since.elapsed() > GRACE => signal(Signal::KILL),
            _ => {}
        }
        thread::sleep(GLANCE);
    }
}

/// Reads its output to the end, at which the channel closes.
fn gather(mut output: PipeReader, printed: &Arc<Mutex<Vec<u8>>>) -> Receiver<()> {
    let printed = Arc::clone(printed);
    let (open, closed) = channel();
    let read = move || {
        let mut part = [0; 8192];
        while let Ok(count @ 1..) = output.read(&mut part) {
            let mut printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MOST - printed.len().min(MOST);
            printed.extend_from_slice(&part[..count.min(room)]);
        }
        drop(open);
    };
    // Without a thread to read it, its output is lost, and it is not held up: the pipe closes.
    let _ = thread::Builder::new().name("then".into()).spawn(read);
    closed
}

/// Until nobody has its output open any more, or has had it open for long enough.
fn wait_closed(closed: &Receiver<()>) {
    let _ = closed.recv_timeout(LAST_WORDS);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(script: &str) -> Command {
        Command {
            address: "192.0.2.7".parse().unwrap(),
            ports: vec![80],
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
        }
    }

    fn end(script: &str, timeout: Option<Duration>, hurry: &dyn Fn() -> Hurry) -> (End, String) {
        let ended = run(job(script), timeout, hurry);
        (ended.end, String::from_utf8(ended.printed).unwrap())
    }

    #[test]
    fn how_it_ended_and_what_it_printed() {
        let calm = |script| end(script, None, &|| Hurry::Not);
        assert_eq!(calm("echo a; echo b >&2"), (End::Code(0), "a\nb\n".into()));
        assert_eq!(calm("exit 3"), (End::Code(3), String::new()));
        assert_eq!(calm("kill -9 $$").0, End::Signal(9));
        assert_eq!(calm("cat").1, "", "it has nothing to read");
        let missing = Command { program: "/nonexistent/program".into(), ..job("") };
        assert!(matches!(run(missing, None, &|| Hurry::Not).end, End::NotStarted(_)));
    }

    #[test]
    fn it_is_ended_with_all_that_it_started() {
        let began = Instant::now();
        let (ended, printed) = end("echo begun; sleep 60 | sleep 61", Some(Duration::from_millis(200)), &|| Hurry::Not);
        assert_eq!((ended, printed.as_str()), (End::Timeout, "begun\n"));
        assert!(began.elapsed() < Duration::from_secs(30));
        let (ended, _) = end("sleep 60", None, &|| Hurry::Soon);
        assert_eq!(ended, End::Interrupted);
    }

    #[test]
    fn who_does_not_want_to_end_is_ended() {
        let (ended, _) = end("trap '' TERM; sleep 60 & wait; sleep 60", None, &|| Hurry::Now);
        assert_eq!(ended, End::Interrupted);
    }

    #[test]
    fn more_than_enough_is_not_kept() {
        let (ended, printed) = end("head -c 20000000 /dev/zero", None, &|| Hurry::Not);
        assert_eq!((ended, printed.len()), (End::Code(0), MOST));
    }
}
