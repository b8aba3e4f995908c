//! With which programs a run was made. Where and when, the library's `machine` says.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::contender::{Contender, LINKS, Programs};

/// One line: every program's version.
pub(crate) fn versions(programs: &Programs) -> String {
    let of = |contender: Contender| match contender {
        Contender::Halfopen(_) => (contender.name(), version(&programs.halfopen)),
        _ => (contender.name(), version(Path::new(&contender.name()))),
    };
    let all = [Contender::Halfopen(LINKS[0]), Contender::Masscan, Contender::Zmap, Contender::Nmap];
    let one = |(name, version): (String, Option<String>)| {
        let name = name.split(' ').next().unwrap_or_default().to_string();
        format!("{name} {}", version.unwrap_or_else(|| "(not installed)".into()))
    };
    all.map(|contender| one(of(contender))).join(", ")
}

/// The first word that begins with a digit of what a program says to `--version`.
fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let number = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    number.map(str::to_string)
}
