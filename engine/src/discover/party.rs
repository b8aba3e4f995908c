//! What a survey takes on a real machine: links of its own beside the scan's, with a source port of their own, so that
//! neither hears what the other is told, and the kernel closes what the survey half opens.

use std::sync::Arc;
use std::time::Duration;

use super::survey::{Survey, Way};
use super::{rate, run};
use crate::cookie::Cookie;
use crate::counters::Shared;
use crate::drive::REPORT;
use crate::error::Error;
use crate::event::Progress;
use crate::link::{self, Clock, LinkKind, LinkRx, LinkSettings, LinkTx};
use crate::pace::{Pps, Rate};
use crate::plan::Plan;
use crate::progress::{self, RateMeter};
use crate::random;
use crate::route::Interface;
use crate::scan::Settings;
use crate::source_ports::{Families, SourcePorts};
use crate::time::Time;
use crate::walker::Lost;

/// The hosts to be asked, and the links for it.
pub(crate) struct Party {
    hosts: Plan,
    /// In the order of the scan's links.
    tx: Vec<Box<dyn LinkTx>>,
    rx: Vec<Box<dyn LinkRx>>,
    port: SourcePorts,
    /// Probes a second.
    rate: u64,
    seed: u64,
}

/// A survey that is over.
pub(crate) struct Ended {
    pub(crate) survey: Survey,
    pub(crate) elapsed: Duration,
    /// What its owner should know of it.
    pub(crate) warning: Option<String>,
}

impl Party {
    /// For these hosts, on these interfaces, each with the kind of link that the scan has there.
    pub(crate) fn open(
        hosts: Plan,
        interfaces: &[(Arc<Interface>, LinkKind)],
        settings: &Settings,
    ) -> Result<Party, Error> {
        let (port, rate) = (hold(&hosts, settings)?, rate(settings));
        let (mut tx, mut rx) = (Vec::new(), Vec::new());
        for (interface, kind) in interfaces {
            let halves = open(interface, *kind, port.first, rate)?;
            tx.extend(halves.tx);
            rx.push(halves.rx);
        }
        Ok(Party { hosts, tx, rx, port, rate, seed: settings.seed })
    }

    /// Asks them, by these ways, until it is over or the scan is stopped; `look` gets to know how far it is, every so
    /// often.
    pub(crate) fn run(
        mut self,
        ways: Vec<Way>,
        shared: &Shared,
        targets: u64,
        clock: &Clock,
        look: &mut dyn FnMut(Progress),
    ) -> Result<Ended, Lost> {
        let cookie = Cookie::new(random::number(), random::number());
        let mut survey = Survey::new(self.hosts, ways, cookie, (self.port.first, self.seed), self.rate);
        let (began, mut next, mut meter) = (clock.now(), Time::ZERO, RateMeter::default());
        let mut watch = |survey: &Survey| {
            let now = clock.now();
            if now >= next {
                next = now + REPORT;
                let rate = meter.mark(now, survey.probes()) as f64 / 1000.0;
                look(Progress { done: survey.done(), rate, ..progress::snapshot(shared, targets, now) });
            }
            !shared.stopped()
        };
        run(&mut survey, &mut self.tx, &mut self.rx, (clock, clock), &mut watch)?;
        let drops = self.rx.iter_mut().map(|rx| rx.drops()).sum();
        Ok(Ended { elapsed: clock.now().since(began), warning: doubt(drops), survey })
    }
}

/// The port after the scan's own where those were named, so that a firewall's rule for a few ports can name this one, too.
fn hold(hosts: &Plan, settings: &Settings) -> Result<SourcePorts, Error> {
    let families = Families { v4: hosts.has_v4(), v6: hosts.has_v6() };
    let after = settings.source_port.and_then(|first| first.checked_add(settings.ports()));
    SourcePorts::hold(after, 1, families, random::number)
}

/// A link that hears echo replies. What sends fast, or takes frames away from the kernel, does not.
fn open(interface: &Interface, kind: LinkKind, port: u16, pps: u64) -> Result<link::Halves, Error> {
    let kind = if kind == LinkKind::RawIp { kind } else { LinkKind::AfPacket };
    let (ports, rate) = ((port, port), Rate::Fixed(Pps(pps)));
    let asked = LinkSettings { ports, rate, senders: 1, sources: &[], by_name: false, echo: true, xdp: &[] };
    link::open(kind, interface, asked).map(|opened| opened.halves)
}

/// What is to be said where answers were lost on our own side.
fn doubt(drops: u64) -> Option<String> {
    (drops > 0).then(|| {
        format!(
            "{drops} packets were lost on this side while hosts were looked for: some that were skipped may have \
             answered; scan with a lower rate, or without discovery"
        )
    })
}
