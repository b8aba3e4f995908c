//! A far end in user space: the lab's phantoms behind a gateway, and whatever their scenario does to packets on the way.

use std::cell::RefCell;
use std::fs;
use std::time::Instant;

use halfopen::Target;
use halfopen_lab::{Behaviour, End, GATEWAY_MAC, Namespace, Responder, Route, SCANNER_MAC, Scenario, phantom_link};

use super::arrivals::{Arrived, counted};
use super::place::{DEVICE, FAR_DEVICE};

/// Phantoms at the far end, and looks at their count.
pub struct Userland {
    namespace: Namespace,
    responder: Responder,
    scenario: Box<Scenario>,
    samples: RefCell<Vec<(Instant, u64)>>,
}

/// The part of a scenario that says who the gateway is, in TOML.
pub const GATEWAY: &str = "[[router]]\nname = \"gateway\"\naddresses = [\"10.99.0.1\"]\n";

impl Userland {
    /// Joins the scanners to a scenario in which [`GATEWAY`] is. Its hosts are in 10.0.0.0/8, and none in 10.99.0.0/24.
    pub fn new(scanner: &Namespace, scenario: Scenario) -> Userland {
        let far = Namespace::new("phantoms");
        phantom_link(&End::new(scanner, DEVICE).address("10.99.0.100/24").mac(SCANNER_MAC), &far, FAR_DEVICE);
        scanner.neighbour(DEVICE, "10.99.0.1", GATEWAY_MAC);
        scanner.route("default", Route::Via([10, 99, 0, 1].into()));
        let responder = Responder::on_veth(&far, FAR_DEVICE, scenario.clone());
        Userland { namespace: far, responder, scenario: Box::new(scenario), samples: RefCell::default() }
    }

    /// Where they are.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Who answers.
    pub fn responder(&self) -> &Responder {
        &self.responder
    }

    /// Replies that the scanners' end of the link did not take.
    pub fn refused(&self) -> u64 {
        let devices = self.namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev"));
        devices.ok().and_then(|devices| dropped_in_sending(&devices)).unwrap_or_default()
    }

    /// What a target does with a SYN that reaches it.
    pub fn behaviour(&self, target: Target) -> Option<Behaviour> {
        self.scenario.behaviour(target)
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        self.samples.replace(vec![(Instant::now(), self.responder.tally().syns)]);
    }

    /// To be called now and then while a program runs.
    pub fn tick(&self) {
        self.samples.borrow_mut().push((Instant::now(), self.responder.tally().syns));
    }

    /// What arrived since [`Userland::reset`].
    pub fn arrived(&self) -> Arrived {
        counted(&self.samples.borrow())
    }
}

/// Of our end, in the words of proc(5): after the name eight figures of receiving, then bytes, packets, errors, drops.
fn dropped_in_sending(devices: &str) -> Option<u64> {
    let line = devices.lines().find_map(|line| line.trim_start().strip_prefix(FAR_DEVICE)?.strip_prefix(':'))?;
    line.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_in_sending_are_read_from_the_list_of_devices() {
        let devices = "Inter-|   Receive  |  Transmit\n face |bytes packets errs\n    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n\
            phantom0: 779128 14085 1 2 3 4 5 6 4495758 81797 7 8 9 0 0 0\n";
        assert_eq!(dropped_in_sending(devices), Some(8));
        assert_eq!(dropped_in_sending("lo: 0"), None);
    }
}
