//! One run of a program: started where the caller is, bounded in time, and what it cost.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::sys::{self, Usage};

/// How often the caller may do what it does now and then.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How a run went.
pub struct Run {
    /// None: it took too long and was ended.
    pub status: Option<ExitStatus>,
    /// From its start to its end.
    pub wall: Duration,
    /// What it has used, its children included.
    pub usage: Usage,
}

impl Run {
    /// Why it is of no use: it was ended, or has failed, with the last line that it said on standard error.
    pub fn failure(&self, errors: &Path) -> Option<String> {
        let said = fs::read_to_string(errors).unwrap_or_default();
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        match self.status {
            None => Some("took too long and was ended".into()),
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{status}: {last}")),
        }
    }
}

/// Runs a program for at most so long, and calls `tick` now and then; what it says on standard error goes to a file.
///
/// # Errors
/// It cannot be started, or the file cannot be made.
pub fn run(command: &mut Command, errors: &Path, limit: Duration, tick: &dyn Fn()) -> io::Result<Run> {
    // A group of its own, so that what it starts can be ended with it.
    command.stdin(Stdio::null()).stderr(File::create(errors)?).process_group(0);
    sys::end_with_us(command);
    let began = Instant::now();
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let in_time = wait_until(pid, began + limit, tick)?;
    let wall = began.elapsed();
    if !in_time {
        kill_process_group(pid, Signal::KILL)?;
    }
    let (status, usage) = sys::wait(child.id())?;
    Ok(Run { status: in_time.then_some(status), wall, usage })
}

/// False if it has not ended by then.
fn wait_until(pid: Pid, deadline: Instant, tick: &dyn Fn()) -> io::Result<bool> {
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    while Instant::now() < deadline {
        match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => tick(),
            Ok(_) => {
                tick();
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 50 & sleep 50"]).stdout(writer);
        let errors = tempfile::NamedTempFile::new().unwrap();
        let began = Instant::now();
        let run = run(&mut command, errors.path(), Duration::from_millis(100), &|| ()).unwrap();
        drop(command);
        // Ends when nobody can write to it any more.
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert!(run.status.is_none() && began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[test]
    fn a_childs_child_counts() {
        let errors = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done'; exit 3"]);
        let run = run(&mut command, errors.path(), Duration::from_secs(60), &|| ()).unwrap();
        assert_eq!(run.status.and_then(|status| status.code()), Some(3));
        assert!(run.usage.processor > Duration::from_millis(1) && run.usage.memory > 100_000, "{:?}", run.usage);
    }
}
