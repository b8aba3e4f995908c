//! Frames as bytes. This folder knows offsets, lengths and checksums; no sockets, clocks, threads or heap.

pub(crate) mod checksum;
mod mac;
pub(crate) mod syn;
pub(crate) mod arp;
mod mac;
pub(crate) mod ndp;

pub use mac::MacAddr;
