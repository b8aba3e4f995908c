//! The links of a scan: opened for every interface that it leaves through, and asked for the gateways there. What is sent
//! through them, and which halves go to which thread, is for those who take them.

use std::net::IpAddr;
use std::sync::Arc;

use halfopen_bpf::Mode;

use super::SWEEP_RATE;
use crate::drive;
use crate::error::Error;
use crate::link::{self, Clock, Halves, LinkKind, LinkRx, LinkSettings, LinkTx, Opened, Receive};
use crate::plan::AddressRange;
use crate::route::{self, Asker, Egress, Interface, InterfaceKind, NextHop, Routed, Sweep};
use crate::scan::Settings;
use crate::wire::MacAddr;
use crate::wire::syn::LinkHeader;

/// The links of a scan, one for each interface.
#[derive(Default)]
pub(super) struct Links {
    pub(super) interfaces: Vec<(Arc<Interface>, LinkKind)>,
    pub(super) names: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// By interface, then by sender.
    pub(super) tx: Vec<Vec<Box<dyn LinkTx>>>,
    pub(super) rx: Vec<Box<dyn LinkRx>>,
    /// What asks for neighbours and gateways in the link's stead, until that is done.
    pub(super) asking: Vec<Option<Halves>>,
}

impl Links {
    pub(super) fn open(routed: &Routed, settings: &Settings, first: u16) -> Result<Self, Error> {
        let ports = (first, first + settings.ports() - 1);
        let mut links = Links::default();
        for egress in &routed.egresses {
            if links.find(&egress.interface).is_none() {
                let kind = settings.link.on(&egress.interface, settings.highest_rate())?;
                let sources = sources_through(routed, &egress.interface);
                let by_name = settings.link != LinkKind::Auto || settings.receive != Receive::Auto;
                let xdp = modes(&egress.interface, kind, settings)?;
                let senders = settings.senders.into();
                let asked = LinkSettings {
                    ports,
                    rate: settings.highest_rate(),
                    senders,
                    sources: &sources,
                    by_name,
                    echo: false,
                    xdp,
                };
                let Opened { halves: Halves { tx, rx }, name, warnings } = link::open(kind, &egress.interface, asked)?;
                links.interfaces.push((Arc::clone(&egress.interface), kind));
                links.names.push(format!("{name}@{}", egress.interface.name));
                links.warnings.extend(warnings);
                links.tx.push(tx);
                links.rx.push(rx);
            }
        }
        Ok(links)
    }

    /// Opens what asks for neighbours and gateways where the link itself does not and there is somebody to ask for.
    pub(super) fn open_asking(
        &mut self,
        routed: &Routed,
        gateways: &[Option<MacAddr>],
        port: u16,
        settings: &Settings,
    ) -> Result<(), Error> {
        let unknown = |(egress, known): (&Egress, &Option<MacAddr>)| {
            let asked = egress.next_hop == NextHop::OnLink
                || (matches!(egress.next_hop, NextHop::Gateway(_)) && known.is_none());
            asked.then_some(egress.interface.index)
        };
        let unknown: Vec<u32> = routed.egresses.iter().zip(gateways).filter_map(unknown).collect();
        let asking = self.interfaces.iter().map(|(interface, kind)| {
            let needed = unknown.contains(&interface.index);
            if needed { asking(interface, *kind, port, settings) } else { Ok(None) }
        });
        self.asking = asking.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// The halves that ask for neighbours on a link.
    pub(super) fn asking(&mut self, link: usize) -> (&mut dyn LinkTx, &mut Box<dyn LinkRx>) {
        match &mut self.asking[link] {
            Some(Halves { tx, rx }) => (&mut *tx[0], rx),
            None => (&mut *self.tx[link][0], &mut self.rx[link]),
        }
    }

    /// As many as the least of the links has sending halves for.
    pub(super) fn senders(&self) -> u8 {
        self.tx.iter().map(|halves| halves.len() as u8).min().unwrap_or(1)
    }

    /// The sending halves of each sender, one of every link.
    pub(super) fn by_sender(tx: Vec<Vec<Box<dyn LinkTx>>>, senders: u8) -> Vec<Vec<Box<dyn LinkTx>>> {
        let mut links: Vec<_> = tx.into_iter().map(Vec::into_iter).collect();
        (0..senders).map(|_| links.iter_mut().filter_map(Iterator::next).collect()).collect()
    }

    pub(super) fn find(&self, interface: &Interface) -> Option<usize> {
        self.interfaces.iter().position(|(own, _)| own.index == interface.index)
    }

    /// The link header of every egress; asks for gateways that nobody knows.
    pub(super) fn headers(
        &mut self,
        routed: &Routed,
        gateways: &[Option<MacAddr>],
        clock: &Clock,
    ) -> Result<Vec<LinkHeader>, Error> {
        let egresses = routed.egresses.iter().zip(gateways);
        egresses.map(|(egress, &known)| self.header(egress, known, clock)).collect()
    }

    fn header(&mut self, egress: &Egress, known: Option<MacAddr>, clock: &Clock) -> Result<LinkHeader, Error> {
        let link = self.find(&egress.interface).unwrap_or(0);
        let (interface, kind) = &self.interfaces[link];
        let Some(source) = interface.mac.filter(|_| *kind != LinkKind::RawIp) else { return Ok(LinkHeader::None) };
        let destination = match (egress.next_hop, known) {
            (NextHop::Gateway(_), Some(mac)) => mac,
            (NextHop::Gateway(gateway), None) => self.ask(link, egress, gateway, clock)?,
            (NextHop::OnLink | NextHop::Direct, _) => MacAddr::ZERO,
        };
        Ok(LinkHeader::Ethernet { source, destination })
    }

    fn ask(&mut self, link: usize, egress: &Egress, gateway: IpAddr, clock: &Clock) -> Result<MacAddr, Error> {
        let asker = Asker::on(&egress.interface, &[egress.source]);
        let mut sweep = Sweep::new(asker, AddressRange::new(gateway, gateway).into_iter(), SWEEP_RATE as u32);
        let (tx, rx) = self.asking(link);
        drive::sweep(&mut sweep, tx, rx, clock, clock, &|| false)
            .map_err(|source| Error::System { operation: format!("ask for gateway {gateway}"), source })?;
        sweep.neighbours().lookup(gateway).ok_or_else(|| Error::GatewaySilent {
            gateway,
            interface: egress.interface.name.clone(),
            protocol: if gateway.is_ipv4() { "ARP" } else { "NDP" },
        })
    }
}

/// A link that asks for neighbours, beside one that sends nothing but probes, or does not hear the answers.
fn asking(interface: &Interface, kind: LinkKind, port: u16, settings: &Settings) -> Result<Option<Halves>, Error> {
    let can =
        matches!(kind, LinkKind::AfPacket | LinkKind::Pnet) && settings.receive.modes(kind, false, false).is_empty();
    if can || interface.kind != InterfaceKind::Ethernet {
        return Ok(None);
    }
    let (ports, rate) = ((port, port), settings.highest_rate());
    let asked = LinkSettings { ports, rate, senders: 1, sources: &[], by_name: false, echo: false, xdp: &[] };
    link::open(LinkKind::AfPacket, interface, asked).map(|opened| Some(opened.halves))
}

/// The addresses that are probed from through an interface.
fn sources_through(routed: &Routed, interface: &Interface) -> Vec<IpAddr> {
    let egresses = routed.egresses.iter().filter(|egress| egress.interface.index == interface.index);
    let mut sources: Vec<_> = egresses.map(|egress| egress.source).collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// The modes of XDP by which a link may receive. Where a default route leads is asked only where it matters.
fn modes(interface: &Interface, kind: LinkKind, settings: &Settings) -> Result<&'static [Mode], Error> {
    let modes = |default| settings.receive.modes(kind, settings.link == LinkKind::Auto, default);
    let matters = modes(true) != modes(false);
    Ok(modes(matters && route::carries_default(interface.index)?))
}
