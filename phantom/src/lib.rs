//! Phantom hosts: a network to scan that exists only as rules. It costs no word of memory for each of its hosts, so there
//! may be millions; it knows what is true of every port; and what its way does to packets (loss, delay, narrow links, rate
//! limits, firewalls) is decided by a seed.
//!
//! ```text
//!   scenario ---> phantoms ---> responder   behind a port (a tap on a veth end, for instance), in real time
//!  (TOML, code)   (sans-IO)  \-> network     in memory, in virtual time
//!
//!   isolation, netlink ---> enclosure        a network namespace of one's own, with phantoms at the end of its only link
//! ```
//!
//! It shares the engine's words (target, state, reason) and none of its code that builds or reads frames: what it says of a
//! scanner is independent of the scanner.

mod effects;
mod enclosure;
mod frames;
mod isolation;
pub mod netlink;
mod network;
mod phantoms;
mod port;
mod random;
mod replies;
mod responder;
mod scenario;
mod schedule;
mod tally;

pub use effects::{Change, Effects, EffectsTally, Spread, Stretch};
pub use enclosure::{Enclosure, EnclosureError};
pub use isolation::{Isolation, forbidden_by, unshare_thread_network};
pub use network::SimNetwork;
pub use phantoms::{Medium, Phantoms, mac_of};
pub use port::Port;
pub use responder::Responder;
pub use scenario::{Behaviour, Expected, Forgery, Garbage, HostKind, Scenario, ScenarioError};
pub use tally::{Tally, TargetTally};
