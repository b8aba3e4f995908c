//! Discovery before detail: where a plan has many hosts and many ports, first finds the hosts that answer anything, then
//! only those are scanned. This file decides whether that is worth it, runs the survey, and takes the dark hosts out of
//! the plan; what is asked, and what counts as an answer, is `survey`'s; the links that it takes on a real machine are
//! `party`'s.
//!
//! A dark host costs the survey 20 probes (ten questions in two rounds) where nothing is lost, a host that is there one or
//! two. Below 32 ports a host there is little to save, and hosts that drop all that is asked here and answer elsewhere
//! would be missed for it; below 64 hosts the scan is short anyway. On-link hosts have been asked by ARP or NDP, which no
//! firewall drops, and this machine's own addresses need no asking.

pub(crate) mod party;
pub(crate) mod survey;

use std::time::Duration;

use crate::drive::{Outlet, Timekeeper};
use crate::link::{Clock, LinkRx, LinkTx};
use crate::pace::{Pps, Rate};
use crate::plan::{EgressId, Plan};
use crate::scan::Settings;
use crate::summary::Discovery;
use crate::walker::Lost;
use survey::{PLACE, Step, Survey};

/// Whether the hosts that answer are looked for before all ports are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Discover {
    /// Where it saves probes: for plans of at least 64 hosts that are not on-link, with 32 ports a host or more.
    #[default]
    Auto,
    /// Always, for all hosts that are neither on-link nor this machine.
    On,
    /// Never: every port of every host is probed.
    Off,
}

impl Discover {
    /// `auto`, `on`, `off`.
    pub fn name(self) -> &'static str {
        match self {
            Discover::Auto => "auto",
            Discover::On => "on",
            Discover::Off => "off",
        }
    }
}

/// The fewest hosts that [`Discover::Auto`] looks for.
const HOSTS: u64 = 64;
/// The fewest ports a host, on average: half as many again as the survey asks of a dark one.
const PORTS: u128 = 32;
/// Probes a second where the rate is to be found while scanning: what a survey loses it asks for once more, but it does not
/// measure, so it keeps to what nearly every way can take.
const UNMEASURED: Pps = Pps(20_000);
/// Probes a second at most: what a packet socket sends frame by frame.
const FASTEST: u64 = 300_000;

/// The hosts to be looked for, with one port each, if that is to be done. `far` says which egresses they leave through.
pub(crate) fn wanted(discover: Discover, plan: &Plan, far: impl Fn(EgressId) -> bool) -> Option<Plan> {
    if discover == Discover::Off {
        return None;
    }
    let hosts = plan.hosts_through(far, PLACE)?;
    let pays = hosts.len() >= HOSTS && u128::from(plan.len()) >= plan.hosts().saturating_mul(PORTS);
    (discover == Discover::On || pays).then_some(hosts)
}

/// Probes a second.
pub(crate) fn rate(settings: &Settings) -> u64 {
    let Pps(pps) = match settings.rate {
        Rate::Fixed(rate) => rate,
        Rate::Max => Pps(FASTEST),
        Rate::Auto => {
            let least = settings.min_rate.map_or(UNMEASURED.0, |Pps(least)| least.max(UNMEASURED.0));
            Pps(settings.max_rate.map_or(least, |Pps(most)| most.min(least)))
        }
    };
    pps.min(FASTEST)
}

/// Runs a survey to its end, or until `watch`, which is called in between, wants no more. An error means that a link is
/// gone.
pub(crate) fn run(
    survey: &mut Survey,
    tx: &mut [Box<dyn LinkTx>],
    rx: &mut [Box<dyn LinkRx>],
    (time, clock): (&impl Timekeeper, &Clock),
    watch: &mut dyn FnMut(&Survey) -> bool,
) -> Result<(), Lost> {
    let mut outlets: Vec<_> = tx.iter().map(|_| Outlet::new(time.now())).collect();
    loop {
        take_in(survey, rx, clock)?;
        let now = time.now();
        let step = survey.poll(now, &mut |link, frame| outlets[link].take(tx[link].frame(frame), now));
        if let Some((link, source)) = outlets.iter_mut().enumerate().find_map(|(link, out)| Some((link, out.lost()?))) {
            return Err(Lost { link, source });
        }
        match step {
            Step::Until(until) if watch(survey) => time.wait(rx, until),
            _ => return Ok(()),
        }
    }
}

fn take_in(survey: &mut Survey, rx: &mut [Box<dyn LinkRx>], clock: &Clock) -> Result<(), Lost> {
    for (link, rx) in rx.iter_mut().enumerate() {
        let layer = rx.layer();
        let taken = rx.receive(clock, &mut |got| survey.frame(got.at, layer, got.frame, got.checksum));
        taken.map_err(|source| Lost { link, source })?;
    }
    Ok(())
}

/// What a survey came to: the account of it, and the plan without the hosts that kept silent. One that was stopped has
/// not asked everybody, and takes nobody out. None where nobody is left.
pub(crate) fn conclude(
    survey: Survey,
    plan: &Plan,
    (stopped, elapsed): (bool, Duration),
    far: impl Fn(EgressId) -> bool,
) -> (Discovery, Option<Plan>) {
    let (hosts, probes) = (survey.hosts(), survey.probes());
    let alive = survey.into_alive();
    let mut discovery =
        Discovery { hosts, alive: alive.hosts(), skipped_hosts: 0, skipped_targets: 0, probes, elapsed };
    if stopped {
        return (discovery, Some(plan.clone()));
    }
    let left = plan.restricted(&alive, |egress| !far(egress));
    discovery.skipped_hosts = hosts - alive.hosts();
    discovery.skipped_targets = plan.len() - left.as_ref().map_or(0, Plan::len);
    (discovery, left)
}

/// What is said when nobody is left to be scanned.
pub(crate) fn nobody(discovery: &Discovery) -> String {
    let hosts = discovery.hosts;
    let whom = if hosts == 1 { "the only host".to_owned() } else { format!("none of {hosts} hosts") };
    let answers = if hosts == 1 { "does not answer" } else { "answers" };
    format!(
        "{whom} {answers}, neither echo requests nor probes of a few telling ports, so that no port was probed; hosts \
         behind firewalls may be there all the same: discovery can be turned off"
    )
}
