//! The usual stage of a scan over a real link: the scanner on one end of a veth pair, phantoms on the other, and the
//! scenario's router between them and the rest of the world.

use crate::link::{End, phantom_link, polling_phantom_link};
use crate::namespace::Namespace;
use crate::responder::Responder;
use crate::xdp_responder::{Answering, XdpResponder};
use halfopen_phantom::Scenario;
use halfopen_phantom::netlink::Route;

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
    phantom_link(&near(lab), &far, "phantom0");
    Responder::recording_on_veth(&far, "phantom0", scenario.clone())
}

/// The same neighbours at the end of a link that takes XDP frames.
pub fn polling_neighbours(lab: &Namespace, scenario: &Scenario) -> Responder {
    let far = Namespace::new("phantoms");
    polling_phantom_link(&near(lab), &far, "phantom0");
    Responder::recording_on_veth(&far, "phantom0", scenario.clone())
}

fn near(lab: &Namespace) -> End<'_> {
    End::new(lab, "scan0").address("10.7.0.100/24").address("fd07::100/64")
}

/// The link address of the scanner on [`xdp_phantoms`].
pub const SCANNER_MAC: [u8; 6] = [2, 4, 10, 99, 0, 100];

/// The link address of the gateway of [`xdp_phantoms`], as [`mac_of`](crate::mac_of) has it.
pub const GATEWAY_MAC: [u8; 6] = [2, 4, 10, 99, 0, 1];

/// Joins `lab` by `scan0`, 10.99.0.100/24, to a gateway, 10.99.0.1, whose link address is known and behind which every
/// address of 10.0.0.0/8 answers at the speed of XDP. An error where XDP cannot be had.
pub fn xdp_phantoms(lab: &Namespace, answering: Answering) -> Result<XdpResponder, halfopen_bpf::Error> {
    let far = Namespace::new("phantoms");
    let near = End::new(lab, "scan0").address("10.99.0.100/24").mac(SCANNER_MAC).polling().silent();
    phantom_link(&near, &far, "phantom0");
    lab.neighbour("scan0", "10.99.0.1", GATEWAY_MAC);
    lab.route("10.0.0.0/8", Route::Via([10, 99, 0, 1].into()));
    XdpResponder::on_veth(far, "phantom0", answering)
}
