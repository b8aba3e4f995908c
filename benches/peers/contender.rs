//! Who takes part: the command line of each program, at full speed and with its defaults otherwise, and where its
//! results go. A link of halfopen's more is a line in [`LINKS`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use halfopen_bench::beside::commands;
use halfopen_bench::beside::findings::Findings;
use halfopen_bench::beside::plan::Plan;

use crate::bare::Loop;

/// A way for halfopen to send and receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: &'static str,
    options: &'static [&'static str],
    /// With a checkpoint every second, which is what a scan can lose at most.
    is_kept: bool,
}

impl Link {
    const fn new(name: &'static str, options: &'static [&'static str]) -> Link {
        Link { name, options, is_kept: false }
    }

    /// The same, and kept.
    const fn kept(self, name: &'static str) -> Link {
        Link { name, is_kept: true, ..self }
    }
}

const AF_PACKET: Link = Link::new("af_packet", &["--link", "af_packet"]);
const XDP_LIVE: Link = Link::new("xdp_live", &["--link", "xdp_live"]);

/// All that are tried; what the program at hand does not know is left out.
pub(crate) const LINKS: [Link; 7] = [
    AF_PACKET,
    AF_PACKET.kept("af_packet, kept"),
    Link::new("af_xdp", &["--link", "af_xdp"]),
    Link::new("af_xdp+af_packet", &["--link", "af_xdp", "--receive", "af_packet"]),
    XDP_LIVE,
    XDP_LIVE.kept("xdp_live, kept"),
    Link::new("xdp_live+af_packet", &["--link", "xdp_live", "--receive", "af_packet"]),
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

    /// What its results say.
    pub(crate) fn findings(self, results: &str) -> Findings {
        match self {
            Contender::Halfopen(_) => Findings::of_list(results),
            Contender::Masscan => Findings::of_masscan(results),
            Contender::Zmap => Findings::of_zmap(results),
            Contender::Nmap => Findings::of_nmap(results),
            Contender::Bare(_) => Findings::default(),
        }
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
        match contender {
            Contender::Halfopen(link) => self.knows(link),
            Contender::Bare(_) => true,
            peer => commands::is_there(&peer.name()),
        }
    }

    fn knows(&self, link: Link) -> bool {
        let mut command = self.halfopen_scan("127.0.0.1", "1", link);
        command.arg("--dry-run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
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
        let mut command = match contender {
            Contender::Halfopen(link) => {
                let mut command = self.halfopen_scan(&plan.prefix(), &plan.ports(), link);
                if link.is_kept {
                    command.args(["--checkpoint-every", "1s", "--checkpoint"]).arg(results.with_extension("scan"));
                }
                command.stdout(File::create(results)?);
                return Ok(command);
            }
            Contender::Masscan => commands::masscan(plan, 100_000_000, results),
            // As csv it prints closed ports and repetitions too.
            Contender::Zmap => commands::zmap(plan, 0, "success = 1 && repeat = 0", "saddr,sport", results),
            Contender::Nmap => commands::nmap(plan, results),
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
