//! Probes and answers as bytes, for contenders that are no part of the engine: they have the engine's templates and its
//! eyes, and none of its decisions.

use std::net::IpAddr;

use halfopen::cookie::Cookie;
use halfopen::link::sim::Network;
use halfopen::wire::reply::{Checksum, Layer, Reply, Segment, read};
use halfopen::wire::syn::{LinkHeader, Probe, SynTemplate};
use halfopen::{MacAddr, SimPlace, State, Target, Time};
use halfopen_lab::gateway_place;

/// The first source port.
const PORT: u16 = 40_000;

/// Makes probes, each of a channel (a source port of its own), and reads what answers them.
pub(crate) struct Prober {
    cookie: Cookie,
    templates: Vec<SynTemplate>,
    frame: Vec<u8>,
    source: IpAddr,
}

/// An answer that proves to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) target: Target,
    /// Which of its probes it answers.
    pub(crate) channel: u16,
    /// What it says of the target; filtered by ICMP.
    pub(crate) state: State,
}

impl Prober {
    pub(crate) fn new(channels: u16, seed: u64) -> Prober {
        let SimPlace { v4, mac, gateway, .. } = gateway_place();
        let header = LinkHeader::Ethernet { source: mac, destination: gateway.unwrap_or(MacAddr::ZERO) };
        let template = |channel| SynTemplate::new(header, v4.into(), PORT + channel);
        let templates: Vec<SynTemplate> = (0..channels).map(template).collect();
        let frame = templates.first().map(|template| template.frame().to_vec()).unwrap_or_default();
        Prober { cookie: Cookie::new(seed, !seed), templates, frame, source: v4.into() }
    }

    /// Sends a probe.
    pub(crate) fn probe(&mut self, network: &mut dyn Network, now: Time, target: Target, channel: u16) {
        let template = &self.templates[usize::from(channel)];
        let seq = self.cookie.seq(self.source, PORT + channel, target);
        self.frame.copy_from_slice(template.frame());
        template.patch(&mut self.frame, &Probe { target, seq, mac: None });
        network.send(now, &self.frame);
    }

    /// What a frame says, if it answers a probe.
    pub(crate) fn read(&self, frame: &[u8]) -> Option<Answer> {
        match read(Layer::Ethernet, frame, Checksum::Trusted).ok()? {
            Reply::Tcp(tcp) => {
                let target = Target { address: tcp.source, port: tcp.source_port };
                let state = match tcp.kind {
                    Segment::SynAck | Segment::Syn => State::Open,
                    Segment::Rst => State::Closed,
                    Segment::Other => return None,
                };
                let ours = self.cookie.seq(self.source, tcp.destination_port, target).next() == tcp.ack;
                ours.then(|| answer(target, tcp.destination_port, state)).flatten()
            }
            Reply::Icmp(icmp) => {
                let quote = icmp.quote?;
                let target = Target { address: quote.destination, port: quote.destination_port };
                let ours = self.cookie.seq(self.source, quote.source_port, target) == quote.seq;
                ours.then(|| answer(target, quote.source_port, State::Filtered)).flatten()
            }
        }
    }
}

fn answer(target: Target, port: u16, state: State) -> Option<Answer> {
    Some(Answer { target, channel: port.checked_sub(PORT)?, state })
}
