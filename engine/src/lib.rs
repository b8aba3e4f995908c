//! halfopen: a half-open (SYN) scanning engine.

mod error;
mod event;
mod plan;
mod summary;
mod target;
mod time;
mod verdict;
mod wire;

pub use error::{Error, Place};
pub use event::{Event, Phase, Progress};
pub use plan::{AddressRange, Block, EgressId, Located, Plan, PlanBuilder, PortSet, Resolve};
pub use summary::{Drops, Outcome, Strays, Summary};
pub use target::{Index, Position, Seq, Target};
pub use time::Time;
pub use verdict::{DownReason, Reason, State, Verdict};
pub use wire::MacAddr;
