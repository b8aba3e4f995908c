//! Ending a system call of another thread: by a signal that does nothing else.

#![expect(unsafe_code, reason = "sigaction, pthread_sigmask and tgkill have no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Urgent data on a socket: ignored by default, so one that comes late, or when nobody waits for it, harms nothing.
const SIGNAL: libc::c_int = libc::SIGURG;

/// A thread whose system calls can be ended from other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interruptible {
    process: libc::pid_t,
    thread: libc::pid_t,
}

impl Interruptible {
    /// Makes the calling thread one: it takes this one signal, and leaves all others to the rest of the process. A
    /// handler that the program has for it stays; any handler will do.
    pub(crate) fn here() -> io::Result<Self> {
        have_handler()?;
        mask_all_others()?;
        let process = rustix::process::getpid().as_raw_nonzero().get();
        Ok(Interruptible { process, thread: rustix::thread::gettid().as_raw_nonzero().get() })
    }

    /// The kernel's number of the thread.
    pub(crate) fn thread(&self) -> u32 {
        self.thread.unsigned_abs()
    }

    /// Has a handler be there again, if somebody has taken it away.
    pub(crate) fn renew(&self) {
        // Without one, the next interruption fails like this one did.
        let _ = have_handler();
    }

    /// Ends the system call that the thread is in, if it is in one.
    pub(crate) fn interrupt(&self) {
        // SAFETY: no memory is passed; a thread that is gone is an error and no harm, and its number is not used again
        // for another process's thread because the process's number is given too.
        unsafe { libc::syscall(libc::SYS_tgkill, self.process, self.thread, SIGNAL) };
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// Only a signal with a handler ends a system call.
fn have_handler() -> io::Result<()> {
    let mut present = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only asks; `present` is valid for writes.
    check(unsafe { libc::sigaction(SIGNAL, ptr::null(), present.as_mut_ptr()) })?;
    // SAFETY: all-zero bytes were a valid sigaction, and the kernel has filled it in.
    let present = unsafe { present.assume_init() };
    if present.sa_sigaction != libc::SIG_DFL && present.sa_sigaction != libc::SIG_IGN {
        return Ok(());
    }
    // SAFETY: an all-zero sigaction is valid: no flags (so no SA_RESTART), an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does nothing, which is safe at any moment.
    check(unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) })
}

fn mask_all_others() -> io::Result<()> {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `mask` is valid for writes.
    unsafe { libc::sigfillset(mask.as_mut_ptr()) };
    // SAFETY: as above.
    unsafe { libc::sigdelset(mask.as_mut_ptr(), SIGNAL) };
    // SAFETY: `mask` was filled in above; it changes the calling thread only.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut()) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_is_ended_from_outside() {
        let (known, waiting) = channel();
        let thread = std::thread::spawn(move || {
            known.send(Interruptible::here().expect("a handler can be installed")).expect("somebody listens");
            let hour = rustix::event::Timespec { tv_sec: 3600, tv_nsec: 0 };
            rustix::event::poll(&mut [], Some(&hour))
        });
        let sleeper = waiting.recv().expect("it starts");
        // A signal that comes before the wait begins is lost: again, until it has worked.
        while !thread.is_finished() {
            sleeper.interrupt();
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(thread.join().expect("it ends"), Err(rustix::io::Errno::INTR));
    }
}
