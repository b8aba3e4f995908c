//! Any frame through the receive path's reader: as it is, and with its checksums put right, which chance never would.
#![no_main]

mod checksums;

use halfopen::wire::reply::{Checksum, Layer, is_neighbour_traffic, read};
use libfuzzer_sys::fuzz_target;

/// Ethernet's header without VLAN tags.
const ETHERNET: usize = 14;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&checksums::put_right(bytes));
});

fn check(frame: &[u8]) {
    for layer in [Layer::Ethernet, Layer::Ip] {
        let trusting = read(layer, frame, Checksum::Trusted);
        if let Ok(reply) = read(layer, frame, Checksum::Unknown) {
            assert_eq!(Ok(reply), trusting, "what passes the checks reads the same without them");
        }
        is_neighbour_traffic(layer, frame);
    }
    let (Some(kind), Some(packet)) = (frame.get(12..ETHERNET), frame.get(ETHERNET..)) else { return };
    if kind == [0x08, 0x00] || kind == [0x86, 0xdd] {
        let (whole, inner) =
            (read(Layer::Ethernet, frame, Checksum::Unknown), read(Layer::Ip, packet, Checksum::Unknown));
        if let Ok(reply) = whole {
            assert_eq!(Ok(reply), inner, "a reply reads the same without its Ethernet header");
        }
    }
}
