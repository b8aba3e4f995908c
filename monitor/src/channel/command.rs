//! A command of one's own: the message as JSON on its standard input, and in short in its environment. No shell reads it
//! unless settings ask for one, and what the message says is never part of a command line. It has a bounded time, and none of our
//! environment but what finds programs and names places.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

use super::answer::{excerpt, one_line};
use super::payload::Payload;
use super::secret::Environment;
use super::{Answer, Attempt, Channel, Checked};
use crate::message::Message;

const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
const LONGEST: SignedDuration = SignedDuration::from_mins(10);
/// Between looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// What is kept of what it prints.
const READ_BYTES: u64 = 800;
/// Of our own environment.
const KEPT: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ"];

/// `[channel.NAME]` of `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The program and its arguments.
    command: Option<Vec<String>>,
    /// A line for `/bin/sh -c` instead.
    shell: Option<String>,
    #[serde(default = "patience")]
    timeout: SignedDuration,
}

fn patience() -> SignedDuration {
    PATIENCE
}

impl Settings {
    fn line(&self) -> Vec<String> {
        let by_shell = |line: &String| ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        self.command.clone().or(self.shell.as_ref().map(by_shell)).unwrap_or_default()
    }

    /// What makes processes of messages.
    pub fn command(&self, environment: &Environment<'_>) -> Command {
        let kept = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), environment(name)?)));
        Command { line: self.line(), kept: kept.collect(), timeout: self.timeout.try_into().unwrap_or_default() }
    }
}

impl Checked for Settings {
    fn check(&self) -> Result<(), String> {
        match (&self.command, &self.shell) {
            (Some(_), Some(_)) => return Err("has both command and shell: one is enough".into()),
            (None, None) => return Err("needs command, a list of a program and its arguments".into()),
            (Some(line), None) if line.first().is_none_or(|program| !Path::new(program).is_absolute()) => {
                return Err("command: the program's whole path is needed, such as /usr/local/bin/notify".into());
            }
            _ => {}
        }
        match self.timeout.is_positive() && self.timeout <= LONGEST {
            true => Ok(()),
            false => Err("timeout is more than nothing and at most 10m".into()),
        }
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn open(&self, environment: &Environment<'_>) -> Result<Box<dyn Channel>, String> {
        Ok(Box::new(self.command(environment)))
    }
}

/// A command that messages can be given to.
#[derive(Debug)]
pub struct Command {
    line: Vec<String>,
    kept: Vec<(String, String)>,
    timeout: Duration,
}

/// A process, before there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments: nothing of the message.
    pub line: Vec<String>,
    /// All of its environment.
    pub environment: Vec<(String, String)>,
    /// What it reads.
    pub input: Vec<u8>,
}

impl Command {
    /// What is run.
    pub fn invocation(&self, message: &Message, attempt: Attempt) -> Invocation {
        let short = short(message, attempt).into_iter().map(|(name, value)| (format!("HALFOPEN_{name}"), value));
        Invocation {
            line: self.line.clone(),
            environment: self.kept.iter().cloned().chain(short).collect(),
            // Strings, numbers and lists of them: nothing in a message can fail to be JSON.
            input: serde_json::to_vec(&Payload::of(message)).unwrap_or_default(),
        }
    }
}

impl Channel for Command {
    fn send(&self, message: &Message, attempt: Attempt) -> Answer {
        self.send_unless(message, attempt, &|| false)
    }
}

impl Command {
    /// The same, and its end comes sooner when nobody wants it any more.
    pub(crate) fn send_unless(&self, message: &Message, attempt: Attempt, is_over: &dyn Fn() -> bool) -> Answer {
        let invocation = self.invocation(message, attempt);
        let name = invocation.line.first().cloned().unwrap_or_default();
        match run(&invocation, self.timeout, is_over) {
            Ok((None, said)) if is_over() => {
                Answer::Later(labelled(&format!("{name}: ended with the monitor"), &said), None)
            }
            Ok((Some(status), said)) if status.success() => Answer::Accepted(labelled("exit code 0", &said)),
            Ok((Some(status), said)) => Answer::Later(labelled(&format!("{name}: {status}"), &said), None),
            Ok((None, said)) => Answer::Later(labelled(&format!("{name}: not done in time, and killed"), &said), None),
            Err(error) => Answer::Later(format!("{name}: {error}"), None),
        }
    }
}

fn labelled(label: &str, said: &str) -> String {
    let said = excerpt(said);
    if said.is_empty() { label.to_owned() } else { format!("{label}: {said}") }
}

/// What the environment says: each value one line.
fn short(message: &Message, attempt: Attempt) -> Vec<(&'static str, String)> {
    let first = message.incidents.first();
    let ports: Vec<_> = message.incidents.iter().flat_map(|it| &it.changes).map(|it| it.endpoint.to_string()).collect();
    let incidents: Vec<_> = message.incidents.iter().map(|incident| incident.id.0.to_string()).collect();
    let values = [
        ("MESSAGE_ID", message.id.clone()),
        ("ATTEMPT", attempt.number.to_string()),
        ("OCCASION", message.occasion.name().into()),
        ("SEVERITY", message.severity.name().into()),
        ("TITLE", message.title.clone()),
        ("THREAD", message.thread.clone()),
        ("LINK", message.link.clone().unwrap_or_default()),
        ("TRIGGER", message.trigger().map(|it| it.name().to_owned()).unwrap_or_default()),
        ("GROUP", first.map(|it| it.group.clone()).unwrap_or_default()),
        ("HOST", first.and_then(|it| it.host).map(|it| it.to_string()).unwrap_or_default()),
        // An environment has limits, the standard input has not.
        ("PORTS", ports.into_iter().take(100).collect::<Vec<_>>().join(" ")),
        ("INCIDENTS", incidents.into_iter().take(100).collect::<Vec<_>>().join(" ")),
    ];
    values.map(|(name, value)| (name, one_line(&value))).to_vec()
}

/// Runs it to its end, or to that of our patience; with it go the processes that it began. What it printed last on standard error,
/// or on standard output.
fn run(
    invocation: &Invocation,
    timeout: Duration,
    is_over: &dyn Fn() -> bool,
) -> io::Result<(Option<ExitStatus>, String)> {
    let mut child = started(invocation)?;
    let deadline = Instant::now() + timeout;
    feed(&mut child, invocation.input.clone());
    let (errors, output) = (listen(child.stderr.take()), listen(child.stdout.take()));
    let status = wait(&mut child, deadline, is_over)?;
    if status.is_none() {
        kill(&mut child);
    }
    // Somebody it began may hold its output open: what was read until then is enough.
    let hear = |from: Receiver<Vec<u8>>| {
        let mut said = Vec::new();
        while let Ok(some) = from.recv_timeout(LOOK * 10) {
            said.extend(some);
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    };
    let said = [hear(errors), hear(output)].into_iter().find(|said| !said.is_empty());
    Ok((status, said.unwrap_or_default()))
}

fn started(invocation: &Invocation) -> io::Result<Child> {
    let (program, arguments) = invocation.line.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Process::new(program)
        .args(arguments)
        .env_clear()
        .envs(invocation.environment.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// In a thread: it may never read it.
fn feed(child: &mut Child, input: Vec<u8>) {
    let stdin = child.stdin.take();
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
}

/// What is printed, the beginning of it; the rest is read so that nobody waits, and dropped.
fn listen(from: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let Some(mut from) = from else { return };
        let (mut kept, mut some) = (0, [0; 512]);
        while let Ok(length @ 1..) = from.read(&mut some) {
            if kept < READ_BYTES {
                kept += length as u64;
                let _ = send.send(some[..length].to_vec());
            }
        }
    });
    receive
}

fn wait(child: &mut Child, deadline: Instant, is_over: &dyn Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    while Instant::now() < deadline && !is_over() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(LOOK);
    }
    Ok(None)
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::tests::{first, message, nothing};
    use crate::channel::{Kind, tests};
    use crate::message::Occasion;

    fn command(text: &str) -> Command {
        match tests::settings(&format!("kind='command'\n{text}")).unwrap().kind {
            Kind::Command(settings) => {
                settings.command(&|name| (name == "PATH").then(|| "/usr/bin:/bin".into()).or(nothing(name)))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_invocation_has_nothing_of_the_message_in_its_line() {
        let mut message = message(Occasion::Opened);
        message.title = "$(reboot)\n; x\0".into();
        let invocation = command("command=['/usr/local/bin/notify', '--now']").invocation(&message, first());
        assert_eq!(invocation.line, ["/usr/local/bin/notify", "--now"]);
        let value =
            |name: &str| invocation.environment.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        assert_eq!(value("HALFOPEN_TITLE"), Some("$(reboot) ; x"));
        assert_eq!((value("HALFOPEN_PORTS"), value("HALFOPEN_HOST")), (Some("192.0.2.10:23/tcp"), Some("192.0.2.10")));
        assert_eq!((value("HALFOPEN_OCCASION"), value("HALFOPEN_INCIDENTS")), (Some("opened"), Some("7")));
        assert_eq!((value("PATH"), invocation.environment.len()), (Some("/usr/bin:/bin"), 13));
        let input: serde_json::Value = serde_json::from_slice(&invocation.input).unwrap();
        assert_eq!(input["type"], "port.opened");
    }

    #[test]
    fn it_is_run_and_asked_how_it_went() {
        let send = |text: &str| command(text).send(&message(Occasion::Opened), first());
        let kept = r#"shell='read -r json; test "${json#*port.opened}" != "$json" && echo "$HALFOPEN_SEVERITY"'"#;
        assert_eq!(send(kept), Answer::Accepted("exit code 0: critical".into()));
        assert_eq!(send("command=['/bin/true']"), Answer::Accepted("exit code 0".into()));
        let Answer::Later(why, None) = send("shell='echo no luck >&2; exit 3'") else { panic!() };
        assert_eq!(why, "/bin/sh: exit status: 3: no luck");
        let Answer::Later(why, None) = send("command=['/nowhere/notify']") else { panic!() };
        assert!(why.starts_with("/nowhere/notify: No such file"), "{why}");
    }

    #[test]
    fn time_is_bounded_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join("left");
        let began = Instant::now();
        let shell = format!("shell='(sleep 2; touch {}) & sleep 60'\ntimeout='100ms'", left.display());
        let Answer::Later(why, None) = command(&shell).send(&message(Occasion::Opened), first()) else { panic!() };
        assert_eq!(why, "/bin/sh: not done in time, and killed");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn one_that_reads_nothing_and_prints_much_is_no_trouble() {
        let mut message = message(Occasion::Opened);
        message.incidents = (0..500).map(tests::incident).collect();
        let answer = command("shell='exec <&-; yes | head -c 1000000'").send(&message, first());
        assert!(matches!(&answer, Answer::Accepted(said) if said.len() < 400), "{answer:?}");
    }

    #[test]
    fn wrong_settings() {
        let wrong = |text: &str| tests::settings(&format!("kind='command'\n{text}")).unwrap_err();
        assert!(wrong("command=['notify']").contains("whole path"));
        assert!(wrong("command=[]").contains("whole path"));
        assert!(wrong("command=['/x']\nshell='x'").contains("one is enough"));
        assert!(wrong("command=['/x']\ntimeout='1h'").contains("at most 10m"));
    }
}
