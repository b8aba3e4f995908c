//! halfopen: a half-open (SYN) scanning engine.

mod cookie;
mod error;
mod event;
mod pace;
mod permute;
mod rtt;
mod route;
mod summary;
mod sync;
mod table;
mod target;
mod time;
mod verdict;
mod wire;

pub use error::{Error, Place};
pub use event::{Event, Phase, Progress};
pub use route::{Egress, Interface, InterfaceAddress, InterfaceKind, NextHop, interfaces};
pub use summary::{Drops, Outcome, Strays, Summary};
pub use target::{Index, Position, Seq, Target};
pub use time::Time;
pub use verdict::{DownReason, Reason, State, Verdict};
pub use wire::MacAddr;
