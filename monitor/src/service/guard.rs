//! Keeps the process that scans alive, and the one that runs commands. The monitor has given up the rights to start another one; a guard
//! has them, and does nothing else: no requests, no settings, no network.

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::protocol::Word;

/// One that lived for so long may be replaced at once.
const SOUND: Duration = Duration::from_secs(10);
/// The longest pause before the next.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Runs the process again and again until it ends well, which it does when there are no more orders. It gets the guard's own
/// standard input and output.
pub fn keep(command: impl Fn() -> Command) -> io::Result<ExitStatus> {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let status = run(command())?;
        if status.success() {
            return Ok(status);
        }
        tell(status)?;
        pause = if began.elapsed() < SOUND { pause } else { FIRST_PAUSE };
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// From its start to its end. Scans that it has left behind end with it.
fn run(mut command: Command) -> io::Result<ExitStatus> {
    let mut child = command.process_group(0).spawn()?;
    let group = Pid::from_child(&child);
    // Before it is gone: its number is still nobody else's.
    let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()
}

/// A line of its own, whatever the dead one was about to say.
fn tell(status: ExitStatus) -> io::Result<()> {
    let why = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, code) => format!("exit code {}", code.unwrap_or_default()),
    };
    let line = Word::Restarted { why }.line();
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("\n{line}").as_bytes())?;
    stdout.flush()
}
