//! The command lines of the programs, with their defaults but for the rate, and where halfopen itself is.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use halfopen_lab::{GATEWAY_MAC, SCANNER_MAC};

use super::place::{DEVICE, SCANNER};
use super::plan::Plan;

/// masscan, so many probes a second.
pub fn masscan(plan: &Plan, rate: u32, results: &Path) -> Command {
    let mut command = Command::new("masscan");
    command.args([&plan.prefix(), "--ports", &plan.ports(), "--rate", &rate.to_string(), "--interface", DEVICE]);
    command.arg("--adapter-ip").arg(SCANNER.to_string()).arg("--adapter-mac").arg(mac(SCANNER_MAC, "-"));
    command.arg("--router-mac").arg(mac(GATEWAY_MAC, "-")).arg("-oL").arg(results);
    command
}

/// zmap, so many probes a second; it takes one port. What it writes, `filter` and `fields` say.
pub fn zmap(plan: &Plan, rate: u32, filter: &str, fields: &str, results: &Path) -> Command {
    let mut command = Command::new("zmap");
    let (prefix, port) = (plan.prefix(), plan.ports());
    command.args([&prefix, "--target-port", &port, "--rate", &rate.to_string(), "--interface", DEVICE]);
    // At full speed a queue is full now and then, and 2.1.1 ends at the first time.
    command.args(["--max-sendto-failures", "1000000000"]);
    // Its own list of networks not to be scanned has 10.0.0.0/8 on it.
    command.args(["--config", "/dev/null", "--blacklist-file", "/dev/null"]);
    command.arg("--source-ip").arg(SCANNER.to_string()).arg("--gateway-mac").arg(mac(GATEWAY_MAC, ":"));
    command.args(["--output-filter", filter]);
    command.args(["--output-module", "csv", "--output-fields", fields, "--output-file"]).arg(results);
    command
}

/// nmap's SYN scan.
pub fn nmap(plan: &Plan, results: &Path) -> Command {
    let mut command = Command::new("nmap");
    command.args(["-sS", "-T4", "-n", "-Pn", "-p", &plan.ports(), &plan.prefix(), "-oX"]).arg(results);
    command
}

fn mac(address: [u8; 6], between: &str) -> String {
    address.map(|byte| format!("{byte:02x}")).join(between)
}

/// Whether a program is there, asked for its version.
pub fn is_there(name: &str) -> bool {
    let mut command = Command::new(name);
    let status = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // masscan says its version with an exit code of 1.
    status.is_ok_and(|status| status.success() || name == "masscan")
}

/// The program `halfopen` that stands beside this one; cargo, if it started us, brings it up to date.
///
/// # Errors
/// It cannot be built, or this is no release build.
pub fn halfopen() -> io::Result<PathBuf> {
    if cfg!(debug_assertions) {
        return Err(io::Error::other("this measures: run it with --release"));
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built =
            Command::new(cargo).args(["build", "--release", "--quiet", "--package", "halfopen-cli"]).status()?;
        built.success().then_some(()).ok_or_else(|| io::Error::other("halfopen cannot be built"))?;
    }
    let program = std::env::current_exe()?.with_file_name("halfopen");
    match program.exists() {
        true => Ok(program),
        false => Err(io::Error::other(format!("no {}: build it with cargo build --release", program.display()))),
    }
}
