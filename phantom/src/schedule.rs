//! A frame's way from the scanner through the phantoms and back, and the order in which its answers arrive: what the
//! responder (real time) and the simulator (virtual time) have in common.

use crate::effects::{Copies, Effects};
use crate::phantoms::Phantoms;

/// A frame that waits for its time. Ordered by time, then by when it was made.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waiting {
    pub(crate) due: u64,
    pub(crate) sequence: u64,
    pub(crate) frame: Vec<u8>,
}

/// One frame through the way out, the phantoms, and the way back: calls `out` with each answer that arrives, and its
/// delay.
pub(crate) fn answer(
    phantoms: &mut Phantoms,
    effects: &mut Effects,
    now: u64,
    frame: &[u8],
    out: &mut impl FnMut(u64, Vec<u8>),
) {
    let flow = if effects.minds_targets() { phantoms.flow(frame) } else { None };
    let mut copies = Copies::default();
    effects.outward(now, flow, |waited| copies.add(waited));
    for waited in copies {
        phantoms.respond(now + waited, frame, &mut |held, reply| {
            effects.backward(flow, reply, |delay, reply| out(waited + held + delay, reply));
        });
    }
}
