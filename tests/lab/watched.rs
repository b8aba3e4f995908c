//! A simulated network that the engine scans while the test looks on: the engine's `Network` over a [`SimNetwork`] that
//! both of them hold, and a record of what was handed over to the scanner.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use halfopen::link::sim::Network;
use halfopen::{Target, Time};

use halfopen_phantom::{Medium, Phantoms, Scenario, SimNetwork};

/// The network of a scenario, shared by the engine and the test.
#[derive(Debug, Clone)]
pub struct Watched(Arc<Mutex<Watch>>);

#[derive(Debug)]
struct Watch {
    network: SimNetwork,
    answered: BTreeSet<Target>,
    delivered: u64,
}

impl Watched {
    /// The network of a scenario; counts for every target are kept.
    pub fn new(scenario: &Scenario) -> Watched {
        let network = SimNetwork::of(Phantoms::new(scenario.clone(), Medium::Ethernet).recording());
        Watched(Arc::new(Mutex::new(Watch { network, answered: BTreeSet::new(), delivered: 0 })))
    }

    /// A look at the network.
    pub fn with<R>(&self, look: impl FnOnce(&SimNetwork) -> R) -> R {
        look(&self.lock().network)
    }

    /// The targets of which at least one TCP answer reached the scanner.
    pub fn answered(&self) -> BTreeSet<Target> {
        self.lock().answered.clone()
    }

    /// How many frames reached the scanner.
    pub fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network for Watched {
    fn send(&mut self, now: Time, frame: &[u8]) {
        self.lock().network.send(now.0, frame);
    }

    fn next_arrival(&self) -> Option<Time> {
        self.lock().network.next_arrival().map(Time)
    }

    fn receive(&mut self, now: Time, sink: &mut dyn FnMut(Time, &[u8])) {
        let mut watch = self.lock();
        while let Some((at, frame)) = watch.network.receive(now.0) {
            watch.delivered += 1;
            watch.answered.extend(tcp_sender(&frame));
            sink(Time(at), &frame);
        }
    }
}

/// Who sent a TCP segment.
fn tcp_sender(frame: &[u8]) -> Option<Target> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
    let address = match packet.net? {
        NetSlice::Ipv4(ip) => ip.header().source_addr().into(),
        NetSlice::Ipv6(ip) => ip.header().source_addr().into(),
        NetSlice::Arp(_) => return None,
    };
    Some(Target { address, port: tcp.source_port() })
}
