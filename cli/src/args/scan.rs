//! The options of a scan: what `halfopen scan` takes, `halfopen config` shows, and environment and files can set.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use halfopen::{HostRate, MacAddr, Pps, Rate, Shard};
use halfopen_results::{Field, Filter, Form};
use halfopen_services::RANKED;

use crate::permit::PermitArgs;
use crate::then::ThenArgs;
use crate::values;

const SHORT_EXAMPLES: &str = "\
Examples:
  halfopen scan 192.0.2.0/24 -p 22,80,443
  halfopen scan 127.0.0.1 -p- --show open,closed

`halfopen scan --help` explains every option and gives more examples.";

const LONG_EXAMPLES: &str = "\
Examples:
  All ports of this machine:
    halfopen scan 127.0.0.1 ::1 -p-
  Three ports of a network without its gateway, at 50,000 probes a second:
    halfopen scan 192.0.2.0/24 -p 22,80,443 --exclude 192.0.2.1 --rate 50k
  The hundred ports most worth asking, and two services by name:
    halfopen scan 192.0.2.0/24 --top-ports 100 -p ssh,postgres
  Pairs from another program, every verdict as JSON:
    inventory | halfopen scan -i - --show all -o jsonl > scan.jsonl
  Names as they are found, findings as they come:
    subfinder -silent -d example.org | halfopen scan -i - -p 80,443 -o jsonl | jq .address
  For people here, for nmap's tools there:
    halfopen scan 192.0.2.0/24 -p 1-1024 -o xml=scan.xml -o list=open.txt
  A scan that an authorisation covers, and that is recorded:
    halfopen scan 192.0.2.0/24 -p- --scope scope.toml
  What nmap says of the services on what is open:
    halfopen scan 192.0.2.0/24 -p- --then 'nmap -sV -Pn -p {ports} {host}'
  What would be sent, in sending order, without sending it:
    halfopen scan 2001:db8::/120 -p 1-1024 --seed 42 --dry-run

Exit codes: 0 done, 1 runtime error (or a command of --then failed, or a line of a pipe that stayed open could not be \
read or scanned), 2 usage error, 3 not permitted (by the scope, or \
nobody confirmed it), 4 stopped at the end of the scope's hours, 130 interrupted (143 by SIGTERM), 141 when the reader \
of the results went away.

Rights: raw sockets need CAP_NET_RAW. Run as root (sudo halfopen ...), or grant it once with \
`sudo setcap cap_net_raw+ep $(command -v halfopen)`. Without it, --method auto falls back to connect(). XDP \
and xdp_live need CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON, too.";

/// `halfopen scan`, as typed.
#[derive(Debug, Args)]
#[command(after_help = SHORT_EXAMPLES, after_long_help = LONG_EXAMPLES, disable_help_flag = true)]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    pub(crate) targets: TargetArgs,
    #[command(flatten)]
    pub(crate) probing: ProbingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) permit: PermitArgs,
    #[command(flatten)]
    pub(crate) then: ThenArgs,
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
    /// Print help: -h in short, --help with everything
    #[arg(short, long, action = ArgAction::Help, help_heading = "Help")]
    help: Option<bool>,
}

/// What is scanned.
#[derive(Debug, Args)]
#[command(next_help_heading = "Targets")]
pub(crate) struct TargetArgs {
    /// Addresses, prefixes, ranges, host names, or address:port pairs
    ///
    /// 192.0.2.7, 192.0.2.0/24, 192.0.2.1-192.0.2.99, 10.0.0-3.1-254 (octet ranges), 2001:db8::/120, www.example.org,
    /// 192.0.2.7:443, [2001:db8::7]:https. Overlaps are merged: every target is probed once.
    #[arg(value_name = "TARGETS", help_heading = None::<&'static str>)]
    pub(crate) targets: Vec<String>,

    /// Ports: 22,http,8000-8100; - is all of 1-65535
    ///
    /// Ports, ranges of ports and names of services, separated by commas: 22,http,8000-8100. A name stands for all its TCP
    /// ports; `halfopen explain NAME` says which. `-p-` is all of 1-65535. Needed, or --top-ports, unless every target is
    /// an address:port pair.
    #[arg(short, long, value_name = "PORTS", allow_hyphen_values = true)]
    pub(crate) ports: Vec<String>,

    /// The N ports most worth asking: curated, not measured; adds to -p
    #[arg(long, value_name = "N", long_help = top_ports_help(), value_parser = clap::value_parser!(u16).range(1..=RANKED as i64))]
    pub(crate) top_ports: Option<u16>,

    /// Leave these ports out, of every target (repeatable)
    ///
    /// Same grammar as --ports. Wins over --ports, --top-ports and ports of address:port pairs; such ports are not asked
    /// by discovery either.
    #[arg(long, value_name = "PORTS", allow_hyphen_values = true)]
    pub(crate) exclude_ports: Vec<String>,

    /// Read targets from a file, - for standard input (repeatable)
    ///
    /// One or more targets a line, in the same grammar as on the command line; from # to the end of a line is a
    /// comment. - reads standard input. May be given several times and together with targets on the command line.
    /// Where standard input is a pipe that is still open after a second, the scan begins with what is known, and goes on with other
    /// targets as they come; a line that cannot be read is then left out (exit code 1). With --shard and --dry-run, and
    /// from a file or a terminal, it is read to its end first.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Vec<PathBuf>,

    /// Leave these targets out (repeatable)
    ///
    /// Same grammar as targets. What is excluded is never probed, however it was named.
    #[arg(long, value_name = "TARGETS")]
    pub(crate) exclude: Vec<String>,

    /// Leave out the targets of a file (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_file: Vec<PathBuf>,

    /// Also scan addresses that are never unicast hosts
    ///
    /// Without this, 0.0.0.0/8, multicast, broadcast and reserved addresses are left out. Private and loopback
    /// addresses are always scanned when asked for.
    #[arg(long)]
    pub(crate) no_blocklist: bool,

    /// Scan one of n equal parts of the targets: i/n, from 1/n to n/n
    ///
    /// The parts have no target in common and together all of them, whatever their seeds. They are cut by address, so that
    /// a host is in one part, and what it gets at most holds for all shells together.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,

    /// Which addresses of a host name are scanned
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = ResolveArg::All)]
    pub(crate) resolve: ResolveArg,
}

fn top_ports_help() -> String {
    format!(
        "The N ports most worth asking: curated, not measured; adds to -p\n\nThe first N of {RANKED} TCP ports in \
         halfopen's own order: a judgement of what is in use and of what matters to whoever is responsible for a \
         network, not a measured frequency. -p adds to them, --exclude-ports takes away."
    )
}

/// How it is probed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Probing")]
pub(crate) struct ProbingArgs {
    /// Probes a second: auto, 500, 10k, 1.5M, or max
    ///
    /// auto begins slowly, grows for as long as nothing is lost, and stays just under what the way there and back can take.
    /// It measures loss by probing again, now and then, targets that have answered. A number is kept whatever is lost, but that hosts
    /// which ration their answers are asked more slowly in later passes; max is as fast as this machine can.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, default_value = "auto", value_parser = values::rate)]
    pub(crate) rate: Rate,

    /// The highest rate that auto tries [default: what packet sockets can do]
    ///
    /// Beyond 500k, --link auto has the kernel send (see --link).
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::pps)]
    pub(crate) max_rate: Option<Pps>,

    /// The lowest rate that auto falls to
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::pps)]
    pub(crate) min_rate: Option<Pps>,

    /// Probes a second that any single host gets at most: auto, a number, or none
    ///
    /// auto is 1k with --rate auto, which home routers survive, and no bound for plans of nothing but loopback addresses or
    /// where a rate is given.
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, default_value = "auto", value_parser = values::host_rate)]
    pub(crate) host_rate: HostRate,

    /// How many threads send, each its share of the targets and of the rate
    ///
    /// 1 to 16. More than one helps where one cannot fill the wire, and where there are processors to spare; xdp_live uses at
    /// most one less than there are processors.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) senders: u8,

    /// The share of all answers to be found: passes end when it is, by the measured loss
    ///
    /// As a percentage or a share: 99.9% or 0.999. Later passes probe only what has not answered, where answers are missing,
    /// and not before an answer could have come. 100% never ends them before --max-passes, as long as anything is silent.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, default_value = "99.9%", value_parser = values::share)]
    pub(crate) completeness: f64,

    /// How often a target is probed at most
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=15))]
    pub(crate) max_passes: u8,

    /// Find the hosts that answer anything first, and scan only those
    ///
    /// Asks every host that is not on this link for an echo and for a few telling ports (22, 25, 53, 80, 443, 445, 3389, 8080,
    /// 40125), twice. The summary says how many hosts were skipped; a host that answers nothing but other ports is among
    /// them, and off finds it. Ports that --exclude names are never asked. No effect with --method connect.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = DiscoverArg::Auto)]
    pub(crate) discover: DiscoverArg,

    /// Do not ask questionable hosts at random high ports
    ///
    /// A host on which nearly every port is open, or whose answers look forged, is asked at three random ports from 49152
    /// on: where these are open too, so is everything, and its ports are marked as suspect. Ports that --exclude names
    /// are never asked.
    #[arg(long)]
    pub(crate) no_control_probes: bool,

    /// Fix the order of probes: the same seed gives the same order [default: drawn anew]
    ///
    /// A number, decimal or 0x hexadecimal. The seed in use is in the summary.
    #[arg(long, value_name = "SEED", allow_negative_numbers = true, value_parser = values::seed)]
    pub(crate) seed: Option<u64>,

    /// Wait for late replies: auto, or a time such as 500ms or 2s
    ///
    /// auto goes by the round-trip times that the scan has measured.
    #[arg(long, value_name = "TIME", default_value = "auto", value_parser = values::cooldown)]
    pub(crate) cooldown: CooldownArg,

    /// SYN probes, the system's connect(), or SYN where the rights suffice
    #[arg(long, value_name = "METHOD", value_enum, default_value_t = MethodArg::Auto)]
    pub(crate) method: MethodArg,

    /// Memory for the table of verdicts; larger plans are scanned in stripes
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = values::size)]
    pub(crate) memory_limit: u64,

    /// Print each probe as `address port` in sending order and send nothing
    ///
    /// Needs no rights. Prints the probes of the first pass.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What is written, and where.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write findings in this form, to a file or standard output (repeatable) [default: human]
    ///
    /// human: a table on a terminal, one line a finding elsewhere. jsonl: one JSON record a line. json: an array of them. csv: a
    /// table of verdicts. list: address:port of what is open, one a line. grepable and xml: as nmap writes them, by host. sqlite: a
    /// database, to which the scan is added. Without a file, or with a hyphen or /dev/stdout for it, it goes to standard output,
    /// where one of them can; if none does, human is there. Files that are there are replaced: jsonl, csv and list grow while the scan runs; json,
    /// grepable and xml replace it when it ends, and until then what was found is in FILE.part, as JSON records (of standard output, too,
    /// where that is a file; for a pipe it waits in memory, and is lost if the scan is killed).
    #[arg(short, long, value_name = "FORMAT[=FILE]", value_parser = values::output)]
    pub(crate) output: Vec<OutputArg>,

    /// Write every form to a file: BASE.jsonl, .json, .csv, .list, .gnmap, .xml, .sqlite
    #[arg(long, value_name = "BASE")]
    pub(crate) output_all: Option<PathBuf>,

    /// Which findings are written, separated by commas [default: open; with jsonl, json, sqlite: open,down]
    ///
    /// Counts in the summary are complete whatever is shown.
    #[arg(long, value_name = "STATES", value_enum, value_delimiter = ',')]
    pub(crate) show: Vec<ShowArg>,

    /// Which findings of these are written: an expression such as `port < 1024`
    ///
    /// Compares fields (see --fields) with == != < <= > >= and in [..], joined by and, or, not and parentheses:
    /// `state == open and port < 1024`, `address in [192.0.2.0/24, 2001:db8::/32]`, `suspect == none`. Numbers may be ranges
    /// (80-89), addresses prefixes or ranges. One that speaks of `state` needs no --show. --then, too, gets only what is chosen.
    /// Counts in the summary are complete.
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<Filter>,

    /// Which fields of a finding jsonl, json and csv have, separated by commas [default: all]
    ///
    /// address, port, protocol, state, reason, sender, ttl, rtt_us, pass, probes, time, supersedes, suspect.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub(crate) fields: Vec<Field>,

    /// Leave out open ports that something speaks against, and count them in the summary
    ///
    /// Those are marked otherwise: every-port (the host accepts connections on any port), forged (a SYN-ACK that no TCP
    /// stack sends), ttl (the answer comes from elsewhere than the host's others). What speaks against a host may become
    /// known late, so with this option open ports are printed at the end of the scan.
    #[arg(long)]
    pub(crate) hide_suspect: bool,

    /// Keep the scan in this file, for `halfopen resume FILE` after Ctrl-C, a kill or a power cut
    ///
    /// Written every few seconds, beside it a journal of what was found since; both are removed when the scan has come to
    /// its end. No finding is lost, and none stands twice in a file that -o names. Not with --hide-suspect, which
    /// keeps findings back until the end.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hide_suspect", "dry_run"])]
    pub(crate) checkpoint: Option<PathBuf>,

    /// How often that is
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = values::interval)]
    pub(crate) checkpoint_every: Duration,

    /// Print findings, warnings and errors only: no progress, no summary
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Also say which rights the scan keeps
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Show the progress bar also when results go into a pipe
    ///
    /// There is a bar when standard error is a terminal; not when standard output is a pipe, because what reads the
    /// pipe may be writing to the same terminal.
    #[arg(long)]
    pub(crate) progress: bool,

    /// Show no progress bar
    #[arg(long, conflicts_with = "progress")]
    pub(crate) no_progress: bool,

    /// Write how the scan goes to a file: one JSON line a second, and one at the end
    ///
    /// cli/STATS.md documents every field. A FIFO that nobody reads, or a full disk, never holds up the scan; /dev/fd/3 is a
    /// descriptor that the caller has opened. Standard output is for results.
    #[arg(long, value_name = "FILE", value_parser = values::beside_results)]
    pub(crate) stats_json: Option<PathBuf>,
}

/// Through what it leaves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Send through this interface [default: by the routing table]
    #[arg(short = 'e', long, value_name = "NAME")]
    pub(crate) interface: Option<String>,

    /// Send from this address of this machine (once per address family)
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    pub(crate) source_ip: Vec<IpAddr>,

    /// First source port; each pass uses the next one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) source_port: Option<u16>,

    /// Link address of the gateway, instead of asking for it
    #[arg(long, value_name = "MAC")]
    pub(crate) gateway_mac: Option<MacAddr>,

    /// How packets are put on the wire
    #[arg(long, value_name = "LINK", value_enum, default_value_t = LinkArg::Auto)]
    pub(crate) link: LinkArg,

    /// How replies are received; xdp attaches a program to the interface
    ///
    /// auto goes by --link. An XDP program takes the replies, and nothing else, before the system sees them; it is gone
    /// when the scan ends, however it ends, and never replaces one that is there. Where XDP cannot be had, replies are
    /// received by af_packet, with a warning.
    #[arg(long, value_name = "WAY", value_enum, default_value_t = ReceiveArg::Auto)]
    pub(crate) receive: ReceiveArg,

    /// Keep all rights while scanning
    ///
    /// Without this, once everything is open and before the first reply is read, the scan gives up its user (root becomes who
    /// called sudo, or nobody), all capabilities, and all files and system calls that it has no use for.
    #[arg(long)]
    pub(crate) no_drop: bool,
}

/// From where settings come that are not typed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct LayerArgs {
    /// Read settings from this file, or none [default: ~/.config/halfopen/config.toml]
    ///
    /// Its keys are the options' long names, such as `rate = "50k"`, `exclude = ["192.0.2.1", "192.0.2.9"]` or `quiet = true`.
    /// What is typed counts more than the environment (HALFOPEN_RATE and so on), that more than the file, the file more than
    /// the defaults; exclusions add up. A flag is turned off by `--flag=false`. `halfopen config` shows what counts and why.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Use a named set of settings: lan, internet, gentle, or one of your own
    ///
    /// Your own are tables [profiles.NAME] in the file of settings. A profile counts a little less than the place that
    /// chooses it: when it is typed, more than the environment and the file. `halfopen config --profile NAME` shows it.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

/// `--resolve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResolveArg {
    /// All addresses, IPv4 and IPv6
    All,
    /// The resolver's first address
    First,
}

/// `--cooldown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CooldownArg {
    /// By measured round-trip times.
    Auto,
    /// Always this long.
    Fixed(Duration),
}

/// `--discover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiscoverArg {
    /// For at least 64 hosts that are not on this link, and 32 ports a host: where it saves probes
    Auto,
    /// Always
    On,
    /// Never: every port of every host is probed
    Off,
}

/// `--method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// syn, or connect with a warning where raw sockets are not permitted
    Auto,
    /// Half-open probes through raw sockets
    Syn,
    /// Full connections through the system; needs no rights
    Connect,
}

/// `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputArg {
    /// In which form.
    pub(crate) form: FormArg,
    /// Where; none is standard output.
    pub(crate) file: Option<PathBuf>,
}

/// A form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormArg {
    /// For people: a table on a terminal, one line a finding elsewhere.
    Human,
    /// For programs.
    Of(Form),
}

/// `--show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowArg {
    /// Something accepts connections
    Open,
    /// The host answers, nothing listens
    Closed,
    /// No answer, or an ICMP error
    Filtered,
    /// Hosts of this link that do not answer ARP or NDP
    Down,
    /// All of these
    All,
}

/// `--link`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkArg {
    /// af_packet; at more than 500,000 probes a second the fastest that the interface can do
    Auto,
    /// Packet sockets with a receive ring; Ethernet only
    #[value(name = "af_packet")]
    AfPacket,
    /// AF_XDP sockets, past more of the system; Ethernet only
    #[value(name = "af_xdp")]
    AfXdp,
    /// A program in the kernel that sends XDP frames: the fastest, takes a processor of its own
    #[value(name = "xdp_live")]
    XdpLive,
    /// Raw IP sockets; loopback, tunnels, any interface
    #[value(name = "raw_ip")]
    RawIp,
    /// The portable datalink channel
    Pnet,
}

/// `--receive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReceiveArg {
    /// XDP with af_xdp and xdp_live (in the driver; in the generic path on an interface with a default route, or a socket where --link is auto), else a socket
    Auto,
    /// A packet socket; attaches nothing
    #[value(name = "af_packet")]
    AfPacket,
    /// An XDP program in the system's generic path
    #[value(name = "xdp_generic")]
    XdpGeneric,
    /// An XDP program in the driver; some drivers take the link down for seconds
    #[value(name = "xdp_native")]
    XdpNative,
}
