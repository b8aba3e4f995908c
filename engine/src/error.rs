//! Everything that can go wrong, as one enum: each variant names the operation and its subject, and its text says what
//! to do about it. Bad packets are not errors; they are counted (`summary::Strays`).

use std::fmt;
use std::io;
use std::net::IpAddr;

/// The engine's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A target, exclusion or port could not be read.
    #[error("{place}: cannot read {token:?}: {problem}; {accepted}")]
    Parse {
        /// Where it stood.
        place: Place,
        /// The token that was not understood.
        token: String,
        /// What is wrong with it.
        problem: String,
        /// What would be accepted instead, as a sentence's second half ("expected ...").
        accepted: &'static str,
    },
    /// A host name has no address.
    #[error("{place}: cannot resolve host name {name:?}: {source}")]
    Resolve {
        /// Where it stood.
        place: Place,
        /// The name.
        name: String,
        /// The resolver's word.
        source: io::Error,
    },
    /// A file of targets could not be read.
    #[error("cannot read {name}: {source}")]
    ReadTargets {
        /// The file.
        name: String,
        /// The system's word.
        source: io::Error,
    },
    /// The plan has no target.
    #[error("nothing to scan: {0}")]
    EmptyPlan(String),
    /// The plan has no target that is not one of the plans before it ([`crate::PlanBuilder::without`]).
    #[error("nothing to scan: every target has been scanned already")]
    NothingNew,
    /// The plan has more targets than can be numbered.
    #[error(
        "the plan is too large: {targets} targets, and at most {limit} can be numbered; split the address ranges or ports over several scans"
    )]
    PlanTooLarge {
        /// How many there are (saturating).
        targets: u128,
        /// How many there may be.
        limit: u64,
    },
    /// The kernel has no route to an address.
    #[error("no route to {address}: {hint}")]
    NoRoute {
        /// The first such address.
        address: IpAddr,
        /// What the kernel says, and what to do.
        hint: String,
    },
    /// An address can be reached, but from no address of the right family and scope.
    #[error(
        "{interface} has no {family} address from which {address} can answer back; add one (ip address add) or name one of this machine with --source-ip"
    )]
    NoSource {
        /// The first such address.
        address: IpAddr,
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Through which interface it would be reached.
        interface: String,
    },
    /// An interface was named that is not there.
    #[error("no such interface: {name}; this machine has {available}")]
    NoSuchInterface {
        /// As it was named.
        name: String,
        /// The interfaces there are, for people.
        available: String,
    },
    /// An interface cannot carry probes now.
    #[error("interface {name} is down; bring it up (ip link set {name} up) or choose another")]
    InterfaceDown {
        /// Its name.
        name: String,
    },
    /// An interface is up, and nothing is at its other end.
    #[error(
        "interface {name} has no carrier: nothing is plugged in, or the other end is down; connect it or choose another"
    )]
    NoCarrier {
        /// Its name.
        name: String,
    },
    /// A source address was named that this machine does not own.
    #[error(
        "{address} is not an address of this machine{on}; halfopen sends only from its own addresses (ip address show)"
    )]
    SourceNotOurs {
        /// As it was named.
        address: IpAddr,
        /// ` on eth0`, or empty.
        on: String,
    },
    /// A gateway does not tell its link address.
    #[error(
        "gateway {gateway} on {interface} does not answer {protocol}; check the cable and the route, or give its address with --gateway-mac"
    )]
    GatewaySilent {
        /// The gateway.
        gateway: IpAddr,
        /// Through which interface it was asked.
        interface: String,
        /// `ARP` or `NDP`.
        protocol: &'static str,
    },
    /// The process may not open raw sockets.
    #[error(
        "{operation} needs the capability CAP_NET_RAW; run as root (sudo), or grant it to the program (setcap cap_net_raw+ep)"
    )]
    Privilege {
        /// What was tried.
        operation: &'static str,
    },
    /// Source ports could not be held.
    #[error("cannot hold source ports {first}-{last}: {source}; choose another first port with --source-port")]
    SourcePorts {
        /// The first of the range.
        first: u16,
        /// The last of the range.
        last: u16,
        /// The system's word.
        source: io::Error,
    },
    /// A setting has a value that cannot be used.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A checkpoint is of another plan than the one that is to be scanned.
    #[error(
        "the checkpoint is of another plan: it has {expected} targets, this one {targets}{}; targets, ports, exclusions, \
         files of targets, host names' addresses and the shard must be as they were",
        if targets == expected { " others" } else { "" }
    )]
    OtherPlan {
        /// How many targets this plan has.
        targets: u64,
        /// How many the checkpoint's has.
        expected: u64,
    },
    /// A link went away while the scan was running.
    #[error("{link} failed after {sent} probes: {source}; what was found until then has been reported")]
    LinkLost {
        /// The link, as `kind@interface`.
        link: String,
        /// Probes sent until then.
        sent: u64,
        /// The system's word.
        source: io::Error,
    },
    /// A call to the system failed in a way that has no better name here.
    #[error("cannot {operation}: {source}")]
    System {
        /// What was tried, with its subject.
        operation: String,
        /// The system's word.
        source: io::Error,
    },
}

/// Where a token stood: on the command line, in a call, or in a line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What was being read: `targets`, `ports`, `exclusions`, a file's name, `standard input`.
    pub source: String,
    /// The line, from 1, where there are lines.
    pub line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.source),
            None => f.write_str(&self.source),
        }
    }
}
