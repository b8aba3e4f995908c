//! Where and when a run was made, and where it is kept.

use std::time::Duration;
use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

/// One line: processor, cores, kernel.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name| info.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": "));
    let model = field("model name").map_or("unknown processor", |(_, model)| model.trim());
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

/// The date, in UTC: `2026-11-21`.
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Keeps a report among the recorded runs, under this name and today's date.
///
/// # Errors
/// The file cannot be written.
pub fn record(name: &str, report: &str) -> io::Result<()> {
    let path = format!("{}/runs/{}-{name}.md", env!("CARGO_MANIFEST_DIR"), date());
    fs::write(&path, report)?;
    eprintln!("written to {path}");
    Ok(())
}

/// The largest resident set of this process so far, in bytes.
///
/// # Errors
/// There is no such line in `/proc/self/status`.
pub fn peak_memory() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(kib.ok_or_else(|| io::Error::other("no VmHWM in /proc/self/status"))? << 10)
}

/// Processor time that this thread has used so far.
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}
