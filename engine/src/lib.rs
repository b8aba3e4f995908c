//! halfopen: a half-open (SYN) TCP scanning engine.
//!
//! It sends a SYN to every (address, port) of a [`Plan`], reads what comes back, and says of each: open, closed or
//! filtered, and why. [`Scan::builder`] is where to begin; `examples/sweep.rs` is a whole program,
//! `examples/resume.rs` one whose scan goes on after an interruption.
//!
//! ```text
//!  Plan ──▶ Permutation ──▶ Walker ──▶ LinkTx ─┐
//!   │ which    │ in which     │ when, under    ▼
//!   │ targets  │ order        │ which cookie  network
//!   │          │              │                │
//!   │          └─────┐   VerdictTable          │
//!   ▼                ▼        │                │
//!  Summary ◀── events ◀── Receiver ◀── LinkRx ◀┘
//!                             ours? then what does it mean?
//! ```
//!
//! Sender (which leads the walkers), walkers and receiver are state machines without clock, thread or socket. Two drivers
//! run them: threads on real links
//! (`launch`, `crew`, `drive`), and a virtual network under a virtual clock ([`simulate`]).
//!
//! The engine never prints, never reads arguments or the environment, and does not serialise. Opening raw sockets takes
//! CAP_NET_RAW; without it [`Method::Auto`] falls back to connect(2) and says so.

// In the order of the data path.
pub mod plan;
pub mod permute;
pub mod cookie;
pub mod pace;
mod rate;
mod governor;
mod work;
pub mod wire;
mod sender;
mod passes;
mod walker;
mod suspects;
mod trail;
mod controls;
pub mod link;
mod receiver;
mod impostors;
pub mod table;
pub mod rtt;
mod prefix;
mod loss;
mod canary;
mod counters;
// Around it.
pub mod machine;
mod route;
mod source_ports;
mod connect;
mod checkpoint;
mod discover;
mod launch;
mod crew;
mod cores;
mod drive;
mod simulate;
mod scan;
mod progress;
// Words and small things.
mod error;
mod event;
mod random;
mod summary;
mod sync;
mod sys;
mod target;
mod time;
mod verdict;

pub use checkpoint::{Checkpoint, NoCheckpoint};
pub use discover::Discover;
pub use error::{Error, Place};
pub use event::{Event, Phase, Progress, RateBound};
pub use link::{LinkKind, Receive};
pub use pace::{Pps, Rate};
pub use plan::{
    AddressRange, Block, EgressId, Located, NoShard, Plan, PlanBuilder, PortNames, PortSet, Resolve, Shard, TargetList,
    Targets,
};
pub use route::{Interface, InterfaceAddress, InterfaceKind, Unreachable, interfaces};
pub use scan::{Checkpointer, HostRate, Method, Order, Quiet, Ready, Running, Scan, ScanBuilder, Settings, Stopper};
pub use sender::Cooldown;
pub use simulate::{Interruption, Place as SimPlace, simulate, simulate_interrupted, simulate_until};
pub use summary::{Completeness, Discovery, Drops, Ended, Interval, Outcome, Strays, Summary};
pub use target::{Index, Position, Seq, Target};
pub use time::Time;
pub use verdict::{DownReason, Reason, State, Suspect, Suspicion, Verdict};
pub use wire::MacAddr;
