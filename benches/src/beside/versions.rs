//! With which programs a run was made. Where and when, the library's `machine` says.

use std::path::Path;
use std::process::{Command, Stdio};

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
