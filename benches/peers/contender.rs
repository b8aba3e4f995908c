//! Who takes part: the command line of each program, at full speed and with its defaults otherwise, and where its
//! results go. A link of halfopen's more is a line in [`LINKS`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use halfopen_lab::{GATEWAY_MAC, SCANNER_MAC};

use crate::bare::Loop;
use crate::plan::Plan;
use crate::stage::{DEVICE, SCANNER};

/// A way for halfopen to send and receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: &'static str,
    options: &'static [&'static str],
}

/// All that are tried; what the program at hand does not know is left out.
pub(crate) const LINKS: [Link; 5] = [
    Link { name: "af_packet", options: &["--link", "af_packet"] },
    Link { name: "af_xdp", options: &["--link", "af_xdp"] },
    Link { name: "af_xdp+af_packet", options: &["--link", "af_xdp", "--receive", "af_packet"] },
    Link { name: "xdp_live", options: &["--link", "xdp_live"] },
    Link { name: "xdp_live+af_packet", options: &["--link", "xdp_live", "--receive", "af_packet"] },
];

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Halfopen(Link),
    Masscan,
    Zmap,
    Nmap,
    Bare(Loop),
}

impl Contender {
    /// All, in the order of the tables.
    pub(crate) fn all() -> Vec<Contender> {
        let bare = [Loop::Sendmmsg, Loop::AfXdp, Loop::LiveFrames].map(Contender::Bare);
        let peers = [Contender::Masscan, Contender::Zmap, Contender::Nmap];
        LINKS.map(Contender::Halfopen).into_iter().chain(peers).chain(bare).collect()
    }

    /// Its name in the tables.
    pub(crate) fn name(self) -> String {
        match self {
            Contender::Halfopen(link) => format!("halfopen {}", link.name),
            Contender::Masscan => "masscan".into(),
            Contender::Zmap => "zmap".into(),
            Contender::Nmap => "nmap".into(),
            Contender::Bare(Loop::Sendmmsg) => "bare sendmmsg loop".into(),
            Contender::Bare(Loop::AfXdp) => "bare AF_XDP loop".into(),
            Contender::Bare(Loop::LiveFrames) => "bare live frames loop".into(),
        }
    }

    /// Whether it is another scanner.
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Contender::Masscan | Contender::Zmap | Contender::Nmap)
    }

    /// Whether it looks for anything, and does not only send.
    pub(crate) fn is_scanner(self) -> bool {
        !matches!(self, Contender::Bare(_))
    }
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) halfopen: PathBuf,
    /// This one, for the bare loops.
    pub(crate) own: PathBuf,
}

impl Programs {
    /// Whether a program is there and can what is asked of it.
    pub(crate) fn have(&self, contender: Contender) -> bool {
        let mut command = match contender {
            Contender::Halfopen(link) => self.halfopen_scan("127.0.0.1", "1", link),
            Contender::Bare(_) => return true,
            peer => Command::new(peer.name()),
        };
        command.arg(if contender.is_peer() { "--version" } else { "--dry-run" });
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        // masscan says its version with an exit code of 1.
        status.is_ok_and(|status| status.success() || contender == Contender::Masscan)
    }

    fn halfopen_scan(&self, targets: &str, ports: &str, link: Link) -> Command {
        let mut command = Command::new(&self.halfopen);
        // Every target is probed, as by the others.
        let all = ["--discover", "off"];
        command.args(["scan", targets, "-p", ports, "--rate", "max", "--output", "list"]).args(all).args(link.options);
        command
    }

    /// The command line for a plan; findings go to `results`.
    pub(crate) fn command(&self, contender: Contender, plan: &Plan, results: &Path) -> io::Result<Command> {
        let (prefix, ports) = (plan.prefix(), plan.ports());
        let mut command = match contender {
            Contender::Halfopen(link) => {
                let mut command = self.halfopen_scan(&prefix, &ports, link);
                command.stdout(File::create(results)?);
                return Ok(command);
            }
            Contender::Masscan => masscan(&prefix, &ports, results),
            Contender::Zmap => zmap(&prefix, &ports, results),
            Contender::Nmap => nmap(&prefix, &ports, results),
            Contender::Bare(means) => self.bare(means, plan),
        };
        command.stdout(Stdio::null());
        Ok(command)
    }

    fn bare(&self, means: Loop, plan: &Plan) -> Command {
        let mut command = Command::new(&self.own);
        command.arg("--bare").arg(means.to_string()).arg("--targets").arg(plan.len().to_string());
        command
    }
}

fn masscan(prefix: &str, ports: &str, results: &Path) -> Command {
    let mut command = Command::new("masscan");
    command.args([prefix, "--ports", ports, "--rate", "100000000", "--interface", DEVICE]);
    command.arg("--adapter-ip").arg(SCANNER.to_string()).arg("--adapter-mac").arg(mac(SCANNER_MAC, "-"));
    command.arg("--router-mac").arg(mac(GATEWAY_MAC, "-")).arg("-oL").arg(results);
    command
}

fn zmap(prefix: &str, ports: &str, results: &Path) -> Command {
    let mut command = Command::new("zmap");
    // Its own list of networks not to be scanned has 10.0.0.0/8 on it.
    command.args([prefix, "--target-port", ports, "--rate", "0", "--interface", DEVICE]);
    // At full speed a queue is full now and then, and 2.1.1 ends at the first time.
    command.args(["--max-sendto-failures", "1000000000"]);
    command.args(["--config", "/dev/null", "--blacklist-file", "/dev/null"]);
    command.arg("--source-ip").arg(SCANNER.to_string()).arg("--gateway-mac").arg(mac(GATEWAY_MAC, ":"));
    // As csv it prints closed ports and repetitions too.
    command.args(["--output-filter", "success = 1 && repeat = 0"]);
    command.args(["--output-module", "csv", "--output-fields", "saddr,sport", "--output-file"]).arg(results);
    command
}

fn nmap(prefix: &str, ports: &str, results: &Path) -> Command {
    let mut command = Command::new("nmap");
    command.args(["-sS", "-T4", "-n", "-Pn", "-p", ports, prefix, "-oX"]).arg(results);
    command
}

fn mac(address: [u8; 6], between: &str) -> String {
    address.map(|byte| format!("{byte:02x}")).join(between)
}
