//! Frames as bytes. This folder knows offsets, lengths and checksums; no sockets, clocks, threads or heap.

mod mac;

pub use mac::MacAddr;
