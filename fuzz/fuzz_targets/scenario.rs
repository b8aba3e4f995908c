//! Any text as a scenario file of the lab; what can be read can be asked about any target.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};

use halfopen::Target;
use halfopen_lab::Scenario;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(scenario) = Scenario::parse(text) else { return };
    for address in [Ipv4Addr::new(10, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into()] {
        for port in [0, 80, u16::MAX] {
            let target = Target { address, port };
            let behaviour = scenario.behaviour(target);
            assert_eq!(behaviour.is_none(), scenario.is_down(address));
            scenario.expected(target);
        }
    }
});
