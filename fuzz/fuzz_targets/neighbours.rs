//! Any frame through the readers of ARP and neighbour advertisements.
#![no_main]

mod checksums;

use halfopen::wire::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    fuzzing::arp(frame);
    fuzzing::advertisement(frame);
    fuzzing::advertisement(&checksums::put_right(frame));
});
