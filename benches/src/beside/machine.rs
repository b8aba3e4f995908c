//! Where and with what a run was made: machine, kernel, versions, date.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// One line: processor, cores, kernel.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name| info.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": "));
    let model = field("model name").map_or("unknown processor", |(_, model)| model.trim());
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

/// One line: the version of halfopen, where it is, and of every scanner that stands beside it.
pub fn versions(halfopen: &Path) -> String {
    let peers = ["masscan", "zmap", "nmap"].map(|name| (name, Path::new(name)));
    let one = |(name, program)| format!("{name} {}", version(program).unwrap_or_else(|| "(not installed)".into()));
    let all: Vec<String> = [("halfopen", halfopen)].into_iter().chain(peers).map(one).collect();
    all.join(", ")
}

/// The first word that begins with a digit of what a program says to `--version`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let number = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    number.map(str::to_string)
}

/// The date, in UTC: `2026-11-21`.
pub fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}
