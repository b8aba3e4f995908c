//! A process of its own for every lab test, in a network of its own. The test starts its own binary again, asking for
//! itself alone; the child is born into a network namespace with nothing but a loopback, as root or, for an ordinary
//! user, as root of a new user namespace. What the network looks like is left to the test.

use std::env;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::process::{Child, Command, ExitStatus, Stdio, exit};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use halfopen_bpf::SocketMap;
use halfopen_phantom::Isolation;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::namespace::Namespace;
use crate::sys;

/// Tells the child which test it is.
const CHILD: &str = "HALFOPEN_LAB_CHILD";
/// Set where the lab must work: what would be skipped fails.
const REQUIRED: &str = "HALFOPEN_LAB_REQUIRED";
/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// The child's exit code for a skipped test; libtest itself uses 0 and 101.
const SKIPPED: i32 = 77;

/// Runs `body` in a process and a network of its own, for at most a minute. `name` is the test's path, crate first,
/// as `concat!(module_path!(), "::", "name")` gives it; [`lab_test!`](crate::lab_test) does that. False if the test
/// was skipped.
pub fn isolated(name: &str, body: impl FnOnce(&Namespace)) -> bool {
    isolated_for(LIMIT, name, body)
}

/// As [`isolated`], with another limit.
pub fn isolated_for(limit: Duration, name: &str, body: impl FnOnce(&Namespace)) -> bool {
    let name = name.split_once("::").map_or(name, |(_crate, path)| path);
    if env::var(CHILD).is_ok_and(|child| child == name) {
        run_body(body);
        true
    } else {
        run_child(limit, name)
    }
}

/// Says aloud that something cannot be tested here, and why; fails where the lab is required. Ends the test's process
/// when it is a lab test's own.
pub fn skip(why: &str) {
    assert!(env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and this cannot be tested: {why}");
    say_skipped(why);
}

/// As [`skip`], for what only the machine's own root can do (XDP): for an ordinary user, whose lab is complete without
/// it, this never fails.
pub fn skip_without_root(why: &str) {
    // user_namespaces(7): only the first user namespace has every user in it.
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    match users.split_whitespace().eq(["0", "0", "4294967295"]) {
        true => skip(why),
        false => say_skipped(why),
    }
}

fn say_skipped(why: &str) {
    // Past libtest's capture: a skipped test must be seen.
    let _ = writeln!(io::stderr(), "skipped: {why}");
    if env::var_os(CHILD).is_some() {
        exit(SKIPPED);
    }
}

/// Skips a test that needs XDP where programs may not be loaded: they need CAP_BPF outside every user namespace.
pub fn needs_xdp() {
    if let Err(error) = SocketMap::new(1) {
        skip_without_root(&format!("XDP needs root's rights in the initial user namespace: {error}"));
    }
}

/// Moves this process into a new network of its own, for programs (benches, a person's experiments) that still have
/// one thread. An error where the system forbids it.
pub fn enter_isolation() -> io::Result<Namespace> {
    Isolation::new().enter()?;
    Ok(prepared())
}

fn prepared() -> Namespace {
    let namespace = Namespace::current("scanner");
    namespace.prepare();
    namespace
}

fn run_body(body: impl FnOnce(&Namespace)) {
    match catch_unwind(prepared) {
        Ok(namespace) => body(&namespace),
        // A namespace without rights in it: some systems give an ordinary user one.
        Err(_) => skip("a new network namespace cannot be set up here"),
    }
}

fn run_child(limit: Duration, name: &str) -> bool {
    match command(name).spawn() {
        Ok(child) => report(name, limit, &wait(child, limit)),
        Err(error) => {
            skip(&format!("{name}: cannot make network namespaces: {error}"));
            false
        }
    }
}

fn command(name: &str) -> Command {
    let program = env::current_exe().expect("a test knows its own program");
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture", "--test-threads=1", "--include-ignored"]);
    command.env(CHILD, name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what the test itself starts can be ended with it.
    command.process_group(0);
    sys::isolate_command(&mut command);
    command
}

struct Outcome {
    /// None: it took too long and was ended.
    status: Option<ExitStatus>,
    output: String,
}

fn wait(mut child: Child, limit: Duration) -> Outcome {
    let group = Pid::from_child(&child);
    let (finished, output) = collect_output(&mut child);
    let deadline = Instant::now() + limit;
    let in_time = wait_closed(&finished, deadline);
    if !in_time {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().ok().filter(|_| in_time);
    let output = output.into_iter().map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>().join("");
    Outcome { status, output }
}

/// One thread for each of the child's outputs; the channel closes when both have ended.
fn collect_output(child: &mut Child) -> (Receiver<()>, Vec<thread::JoinHandle<String>>) {
    let (open, finished) = channel::<()>();
    let out = child.stdout.take().map(|pipe| read_all(pipe, open.clone()));
    let err = child.stderr.take().map(|pipe| read_all(pipe, open));
    (finished, out.into_iter().chain(err).collect())
}

fn read_all(mut pipe: impl Read + Send + 'static, open: Sender<()>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        drop(open);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait_closed(finished: &Receiver<()>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    finished.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
}

/// Fails if the child did; false if it was skipped.
fn report(name: &str, limit: Duration, outcome: &Outcome) -> bool {
    print!("{}", outcome.output);
    let status = outcome.status.unwrap_or_else(|| panic!("{name} did not end within {limit:?} and was ended"));
    if status.code() == Some(SKIPPED) {
        let reasons = outcome.output.lines().filter_map(|line| Some(&line[line.find("skipped: ")?..]));
        reasons.for_each(|reason| drop(writeln!(io::stderr(), "{name}: {reason}")));
        return false;
    }
    assert!(status.success(), "{name} failed in its own network: {status}");
    // Exit code 0 alone could mean that no test of this name was found.
    assert!(outcome.output.contains("1 passed"), "{name} was not run; is that its name?");
    true
}
