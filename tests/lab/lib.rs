//! Networks to scan. Everything here is the independent side of a test: it shares the engine's words (target, state,
//! reason) and none of its code that builds or reads frames.
//!
//! ```text
//!   halfopen_phantom ---> responder        phantom hosts on a veth end or a tun device, real time
//!                    \--> SimNetwork       in memory, virtual time
//!
//!   xdp_responder                          answers in the kernel, as fast as any scanner can ask
//!
//!   isolate ---> namespace ---> link       real Linux stacks behind veth pairs
//!
//!   stage | watched ---> found             a scan of one of them, and what it said
//! ```
//!
//! A test is declared with [`lab_test!`]: it then runs in a process of its own whose network namespace has nothing but
//! a loopback, so that no packet can leave the machine.

mod found;
mod isolate;
mod link;
mod namespace;
mod nmap;
mod responder;
mod stage;
mod sys;
mod watched;
mod xdp_responder;

pub use found::{
    Found, gateway_place, plan, read, refused, scan, simulated, simulated_events, simulated_on, simulated_on_link,
    simulated_on_until, simulated_until, target,
};
pub use halfopen_phantom::netlink::Route;
pub use halfopen_phantom::{
    Behaviour, Change, Effects, EffectsTally, Expected, Forgery, Garbage, HostKind, Medium, Phantoms, Scenario,
    ScenarioError, SimNetwork, Spread, Stretch, Tally, TargetTally, mac_of,
};
pub use isolate::{enter_isolation, isolated, isolated_for, needs_xdp, skip, skip_without_root};
pub use link::{End, Tun, link, phantom_link, polling_phantom_link};
pub use namespace::Namespace;
pub use nmap::{Finding, NmapReport, nmap, nmap_installed};
pub use responder::Responder;
pub use stage::{GATEWAY_MAC, SCANNER_MAC, neighbours, phantoms, polling_neighbours, xdp_phantoms};
pub use watched::Watched;
pub use xdp_responder::{Answering, XdpResponder, XdpTally};

/// Declares a test that runs in a network of its own: `lab_test!(name, |lab| { ... });`, where `lab` is the
/// [`Namespace`] that the test's own threads live in. Attributes may stand before the name.
#[macro_export]
macro_rules! lab_test {
    ($(#[$attribute:meta])* $name:ident, $body:expr) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::isolated(concat!(module_path!(), "::", stringify!($name)), $body);
        }
    };
}
