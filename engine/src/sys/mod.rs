//! Every `unsafe` line of the engine: packet sockets, the receive ring, sendmmsg. Each file wraps one thing into an
//! interface that cannot be misused from safe code; only `link`, `route` and start-up code import it.

mod batch;
mod interrupt;
mod packet;
mod ring;

pub(crate) use batch::SendBatch;
pub(crate) use interrupt::Interruptible;
pub(crate) use packet::PacketSocket;
pub(crate) use ring::RxRing;
