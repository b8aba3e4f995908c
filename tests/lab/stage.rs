//! The usual stage of a scan over a real link: the scanner on one end of a veth pair, phantoms on the other, and the
//! scenario's router between them and the rest of the world.

use crate::link::{End, phantom_link};
use crate::namespace::{Namespace, Route};
use crate::responder::Responder;
use crate::scenario::Scenario;

/// Joins `lab` by `scan0`, 10.7.0.100/24 and fd07::100/64, to the hosts of a scenario; all others are behind 10.7.0.1
/// and fd07::1. Counts for every target are kept.
pub fn phantoms(lab: &Namespace, scenario: &Scenario) -> Responder {
    let responder = neighbours(lab, scenario);
    lab.route("default", Route::Via([10, 7, 0, 1].into()));
    lab.route("default6", Route::Via([0xfd07, 0, 0, 0, 0, 0, 0, 1].into()));
    responder
}

/// The same without any router: the scenario's hosts are neighbours, or cannot be reached.
pub fn neighbours(lab: &Namespace, scenario: &Scenario) -> Responder {
    let far = Namespace::new("phantoms");
    phantom_link(&End::new(lab, "scan0").address("10.7.0.100/24").address("fd07::100/64"), &far, "phantom0");
    Responder::recording_on_veth(&far, "phantom0", scenario.clone())
}
