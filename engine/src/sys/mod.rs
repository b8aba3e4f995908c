//! Every `unsafe` line of the engine: packet sockets and AF_XDP sockets, their rings, sendmmsg, a device's
//! channels, the signal that ends a system call, the state of the system's clock. Each file wraps one thing
//! into an interface that cannot be misused from safe code; only `link`, `route` and start-up code import it.

mod batch;
mod channels;
mod clock;
mod interrupt;
mod mapping;
mod packet;
mod ring;
mod xdp;
mod xdp_ring;

pub(crate) use batch::SendBatch;
pub(crate) use channels::{Channels, driver, rings};
pub(crate) use clock::is_synchronised;
pub(crate) use interrupt::Interruptible;
pub(crate) use packet::PacketSocket;
pub(crate) use ring::RxRing;
pub(crate) use xdp::{CHUNK, XdpQueue, XdpRequest, XdpRxRing, XdpTxRing, is_no_queue};
