//! Frames as bytes. This folder knows offsets, lengths and checksums; no sockets, clocks, threads or heap.

pub mod arp;
mod checksum;
pub mod echo;
#[cfg(fuzzing)]
pub mod fuzzing;
mod mac;
pub mod ndp;
pub(crate) mod plain;
pub mod reply;
pub mod rst;
pub mod syn;

pub use mac::MacAddr;
