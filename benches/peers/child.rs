//! One run of a program: started where the caller is, bounded in time, and what it cost.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::stage::Stage;
use crate::sys::{self, Usage};

/// A program that takes longer hangs, or is of no use here.
const LIMIT: Duration = Duration::from_secs(600);
/// How often the stage may do what it does now and then.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// How a run went.
pub(crate) struct Run {
    /// None: it took too long and was ended.
    pub(crate) status: Option<ExitStatus>,
    /// From its start to its end.
    pub(crate) wall: Duration,
    pub(crate) usage: Usage,
}

/// Runs a program while the stage goes on; what it says on standard error goes to a file.
pub(crate) fn run(stage: &Stage, command: &mut Command, errors: &Path) -> io::Result<Run> {
    // A group of its own, so that what it starts can be ended with it.
    command.stdin(Stdio::null()).stderr(File::create(errors)?).process_group(0);
    sys::end_with_us(command);
    let began = Instant::now();
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let in_time = wait_until(stage, pid, began + LIMIT)?;
    let wall = began.elapsed();
    if !in_time {
        kill_process_group(pid, Signal::KILL)?;
    }
    let (status, usage) = sys::wait(child.id())?;
    Ok(Run { status: in_time.then_some(status), wall, usage })
}

/// False if it has not ended by then.
fn wait_until(stage: &Stage, pid: Pid, deadline: Instant) -> io::Result<bool> {
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    while Instant::now() < deadline {
        match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&TICK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => stage.tick(),
            Ok(_) => {
                stage.tick();
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
