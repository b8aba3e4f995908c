//! Which system calls are left: those by which open sockets and rings are used, results written, threads started and
//! ended, and time told. Not among them: running programs, opening raw or packet sockets, anything by which processes
//! look into each other, mounting, keys, modules, new BPF programs.
//!
//! What is not on the list fails with EPERM, and ends nothing: a C library that goes another way tomorrow may cost a
//! convenience, and should not cost somebody's results. To a break-in both are worth the same.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use rustix::process::getpid;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// The calls that are allowed whatever their arguments.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // Memory.
    libc::SYS_brk, libc::SYS_madvise, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_munmap,
    // Threads: to start, place, await and end them. A new process could not run another program.
    libc::SYS_clone, libc::SYS_clone3, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex, libc::SYS_gettid,
    libc::SYS_membarrier, libc::SYS_rseq, libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield, libc::SYS_set_robust_list, libc::SYS_set_tid_address,
    // Signals to this very process.
    libc::SYS_restart_syscall, libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time.
    libc::SYS_clock_getres, libc::SYS_clock_gettime, libc::SYS_clock_nanosleep, libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // What descriptors are there.
    libc::SYS_close, libc::SYS_dup, libc::SYS_dup3, libc::SYS_fcntl, libc::SYS_pipe2, libc::SYS_read, libc::SYS_readv,
    libc::SYS_write, libc::SYS_writev,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2,
    libc::SYS_ppoll, libc::SYS_pselect6,
    libc::SYS_connect, libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_recvfrom,
    libc::SYS_recvmmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_sendmsg, libc::SYS_sendto,
    libc::SYS_setsockopt, libc::SYS_shutdown,
    // Files, as far as Landlock and their owners allow it.
    libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_fallocate, libc::SYS_fchmod, libc::SYS_fchown,
    libc::SYS_fdatasync, libc::SYS_flock, libc::SYS_fstat, libc::SYS_fsync, libc::SYS_ftruncate, libc::SYS_getcwd,
    libc::SYS_getdents64, libc::SYS_lseek, libc::SYS_newfstatat, libc::SYS_openat, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_readlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_statx,
    libc::SYS_sync_file_range, libc::SYS_unlinkat, libc::SYS_utimensat,
    // Who and where one is, and chance.
    libc::SYS_getegid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getpid, libc::SYS_getrandom,
    libc::SYS_getrusage, libc::SYS_getuid, libc::SYS_prlimit64, libc::SYS_sysinfo, libc::SYS_uname,
];

/// Older forms of the same, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[libc::c_long] = &[
    libc::SYS_access, libc::SYS_dup2, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_getdents,
    libc::SYS_lstat, libc::SYS_open, libc::SYS_pipe, libc::SYS_poll, libc::SYS_readlink, libc::SYS_rename,
    libc::SYS_select, libc::SYS_stat, libc::SYS_time, libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

/// Confines the calling thread. With `connects`, it may make TCP sockets.
pub(super) fn confine(connects: bool) -> Result<String, String> {
    let failed = |error: String| format!("all system calls can be made (seccomp: {error})");
    let rules = rules(connects).map_err(|error| failed(error.to_string()))?;
    let calls = rules.len();
    let program = program(rules).map_err(|error| failed(error.to_string()))?;
    seccompiler::apply_filter(&program).map_err(|error| failed(error.to_string()))?;
    Ok(format!("{calls} system calls (seccomp)"))
}

/// By call the arguments that are allowed; none for any.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(rules: Rules) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, ARCH.try_into()?)?.try_into()
}

fn rules(connects: bool) -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED.iter().chain(OLDER).map(|&call| (call, Vec::new())).collect();
    let this = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
    let terminal = [libc::TIOCGWINSZ, libc::TCGETS, libc::FIONBIO, libc::FIONREAD].map(|ask| vec![equal(1, ask)]);
    let thread = [libc::PR_SET_NAME, libc::PR_SET_TIMERSLACK].map(|what| vec![equal(0, number(what))]);
    // What the devices count, and the routing tables.
    let netlink = vec![equal(0, number(libc::AF_NETLINK)), equal(2, number(libc::NETLINK_ROUTE))];
    let sockets = if connects { vec![netlink, stream(libc::AF_INET), stream(libc::AF_INET6)] } else { vec![netlink] };
    only(&mut rules, libc::SYS_socket, sockets)?;
    only(&mut rules, libc::SYS_socketpair, [vec![equal(0, number(libc::AF_UNIX))]])?;
    only(&mut rules, libc::SYS_tgkill, [vec![equal(0, this)]])?;
    // xdp_live: its program is in the kernel, and sends while it is run.
    only(&mut rules, libc::SYS_bpf, [vec![equal(0, BPF_PROG_TEST_RUN)]])?;
    only(&mut rules, libc::SYS_ioctl, terminal)?;
    only(&mut rules, libc::SYS_prctl, thread)?;
    if connects {
        rules.insert(libc::SYS_bind, Vec::new());
    }
    Ok(rules)
}

/// `enum bpf_cmd` (linux/bpf.h).
const BPF_PROG_TEST_RUN: u64 = 10;

type Condition = Result<SeccompCondition, BackendError>;

/// Allows a call with any of these sets of arguments.
fn only(
    rules: &mut Rules,
    call: libc::c_long,
    sets: impl IntoIterator<Item = Vec<Condition>>,
) -> Result<(), BackendError> {
    let rule = |set: Vec<Condition>| SeccompRule::new(set.into_iter().collect::<Result<_, _>>()?);
    rules.insert(call, sets.into_iter().map(rule).collect::<Result<_, _>>()?);
    Ok(())
}

fn equal(argument: u8, value: u64) -> Condition {
    SeccompCondition::new(argument, Length::Dword, Op::Eq, value)
}

/// A TCP socket of this family.
fn stream(family: libc::c_int) -> Vec<Condition> {
    let kind = Op::MaskedEq(number(!(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)));
    vec![equal(0, number(family)), SeccompCondition::new(1, Length::Dword, kind, number(libc::SOCK_STREAM))]
}

/// A C `int` as the kernel's 32 bits have it.
fn number(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_can_be_made_and_no_call_is_named_twice() {
        for connects in [false, true] {
            assert!(!program(rules(connects).unwrap()).unwrap().is_empty());
        }
        let mut calls: Vec<_> = ALLOWED.iter().chain(OLDER).collect();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), ALLOWED.len() + OLDER.len());
    }

    #[test]
    fn calls_with_arguments_are_never_allowed_with_any() {
        let with = [libc::SYS_socket, libc::SYS_socketpair, libc::SYS_tgkill, libc::SYS_bpf, libc::SYS_ioctl];
        for rules in [rules(false).unwrap(), rules(true).unwrap()] {
            // No rules at all would mean any arguments.
            assert!(with.iter().chain([&libc::SYS_prctl]).all(|call| !rules[call].is_empty()));
            let dangerous = [libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_mount, libc::SYS_keyctl];
            assert!(dangerous.iter().all(|call| !rules.contains_key(call)));
        }
    }
}
