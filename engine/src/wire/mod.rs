//! Frames as bytes. This folder knows offsets, lengths and checksums; no sockets, clocks, threads or heap.

pub(crate) mod checksum;
mod mac;
pub(crate) mod syn;

pub use mac::MacAddr;
