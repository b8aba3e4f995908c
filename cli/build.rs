//! What `halfopen version` says of the build: the target, and the commit where that can be known. Neither a missing git nor a
//! missing repository fails a build.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    // Packagers who build from an archive can say it themselves.
    println!("cargo::rerun-if-env-changed=HALFOPEN_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let commit = env::var("HALFOPEN_COMMIT").ok().or_else(|| {
        // Grows with every commit, whatever the branch.
        let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
        if Path::new(&log).exists() {
            println!("cargo::rerun-if-changed={log}");
        }
        git(&["rev-parse", "--short=12", "HEAD"])
    });
    println!("cargo::rustc-env=HALFOPEN_COMMIT={}", commit.unwrap_or_default());
    println!("cargo::rustc-env=HALFOPEN_TARGET={}", env::var("TARGET").unwrap_or_default());
}

/// The one line that git answers, if it does.
fn git(question: &[&str]) -> Option<String> {
    let output = Command::new("git").args(question).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(line).filter(|line| !line.is_empty())
}
