//! Doors for the fuzzer (`fuzz/`) to readers that are private; built with `--cfg fuzzing` only.

use super::arp::Arp;
use super::ndp::Advertisement;

/// Reads an ARP frame; what can be read is emitted as it was, but for the padding.
pub fn arp(frame: &[u8]) {
    if let Ok(arp) = Arp::parse(frame) {
        assert!(frame.starts_with(&arp.emit()), "{arp}");
    }
}

/// Reads a neighbour advertisement; what is valid speaks of no group.
pub fn advertisement(frame: &[u8]) {
    if let Ok(advertisement) = Advertisement::parse(frame) {
        assert!(!advertisement.target.is_multicast(), "{advertisement}");
    }
}
