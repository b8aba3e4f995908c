//! What the way does to packets: the network that all of them cross, the paths that lead on to some of the targets, and
//! the firewalls before them. The one place where this is decided; the responder and the simulator both ask it. All delay
//! lies on the way back, where the scanner can see it.

mod delay;
mod firewall;
mod loss;
mod stretch;

pub(crate) use delay::Delay;
pub use delay::Spread;
pub(crate) use firewall::FirewallSetting;
pub(crate) use loss::Loss;
pub use stretch::{Change, Stretch};

use crate::frames::Flow;
use crate::random::hash;
use crate::scenario::{Prefix, Scenario};
use firewall::Firewall;
use stretch::Walked;

/// What a scenario says of the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct EffectsSetting {
    pub(crate) network: Stretch,
    /// The first that leads to a target is the one.
    pub(crate) paths: Vec<(Vec<Prefix>, Stretch)>,
    pub(crate) firewalls: Vec<FirewallSetting>,
}

/// What was done to packets, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EffectsTally {
    /// Lost on the way out by chance.
    pub lost_out: u64,
    /// Lost on the way out because a narrow link's queue was full.
    pub queue_full: u64,
    /// Lost on the way out because a firewall's table was full.
    pub table_full: u64,
    /// Lost on the way back.
    pub lost_back: u64,
    /// Sent once more on the way out.
    pub duplicated_out: u64,
    /// Sent once more on the way back.
    pub duplicated_back: u64,
    /// Held back so that others overtake them.
    pub held_back: u64,
}

/// The way between scanner and phantoms.
#[derive(Debug)]
pub struct Effects {
    network: Walked,
    paths: Vec<(Vec<Prefix>, Walked)>,
    firewalls: Vec<Firewall>,
    /// When the first frame came.
    start: Option<u64>,
    tally: EffectsTally,
}

impl Effects {
    /// The way that a scenario describes.
    pub(crate) fn of(scenario: &Scenario) -> Effects {
        let EffectsSetting { network, paths, firewalls } = scenario.effects.clone();
        let network = Walked::new(network, scenario.seed);
        // Every path has chances of its own.
        let paths = paths
            .into_iter()
            .zip(1..)
            .map(|((targets, stretch), number)| (targets, Walked::new(stretch, hash(&[scenario.seed, number]))));
        let firewalls = firewalls.into_iter().map(Firewall::new).collect();
        Effects { network, paths: paths.collect(), firewalls, start: None, tally: EffectsTally::default() }
    }

    /// Whether it asks for whom a frame is; where not, nobody needs to look.
    pub(crate) fn minds_targets(&self) -> bool {
        !self.paths.is_empty() || !self.firewalls.is_empty() || self.network.minds_hosts()
    }

    /// A frame leaves the scanner: calls `deliver` for each copy that arrives, with how long it waited. Frames that are
    /// no segments have no flow and cross the network alone.
    pub(crate) fn outward(&mut self, now: u64, flow: Option<Flow>, mut deliver: impl FnMut(u64)) {
        self.advance(now);
        let Effects { network, paths, firewalls, tally, .. } = self;
        let mut path = flow.and_then(|flow| paths.iter_mut().find(|(targets, _)| leads_to(targets, &flow)));
        let mut firewall = flow.and_then(|flow| firewalls.iter_mut().find(|firewall| firewall.guards(&flow)));
        let mut arrive = |tally: &mut EffectsTally, waited| {
            let guard = firewall.as_mut().zip(flow);
            match guard.is_none_or(|(firewall, flow)| firewall.passes(now + waited, flow)) {
                true => deliver(waited),
                false => tally.table_full += 1,
            }
        };
        network.outward(now, tally, |tally, waited| match &mut path {
            Some((_, path)) => path.outward(now + waited, tally, |tally, more| arrive(tally, waited + more)),
            None => arrive(tally, waited),
        });
    }

    /// An answer of this flow leaves for the scanner: calls `deliver` with each copy that arrives, and its delay.
    pub(crate) fn backward(&mut self, flow: Option<Flow>, frame: Vec<u8>, mut deliver: impl FnMut(u64, Vec<u8>)) {
        let Effects { network, paths, tally, .. } = self;
        let mut frame = Some(frame);
        let mut copies = Copies::default();
        match flow.and_then(|flow| paths.iter_mut().find(|(targets, _)| leads_to(targets, &flow))) {
            Some((_, path)) => path.backward(flow.as_ref(), tally, |tally, delay| {
                network.backward(flow.as_ref(), tally, |_, more| copies.add(delay + more));
            }),
            None => network.backward(flow.as_ref(), tally, |_, delay| copies.add(delay)),
        }
        // The last copy takes the frame along.
        while let Some(delay) = copies.next() {
            let copy = if copies.is_empty() { frame.take() } else { frame.clone() };
            copy.into_iter().for_each(|copy| deliver(delay, copy));
        }
    }

    /// What was done so far.
    pub fn tally(&self) -> EffectsTally {
        self.tally
    }

    fn advance(&mut self, now: u64) {
        let elapsed = now - *self.start.get_or_insert(now);
        self.network.advance(elapsed);
        self.paths.iter_mut().for_each(|(_, path)| path.advance(elapsed));
    }
}

fn leads_to(targets: &[Prefix], flow: &Flow) -> bool {
    targets.iter().any(|prefix| prefix.contains(flow.target.address))
}

/// Times at which copies of a frame arrive, in the order in which they were made: two stretches make four at most.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    times: [u64; 4],
    made: usize,
    taken: usize,
}

impl Copies {
    pub(crate) fn add(&mut self, time: u64) {
        self.times[self.made] = time;
        self.made += 1;
    }

    fn is_empty(&self) -> bool {
        self.made == self.taken
    }
}

impl Iterator for Copies {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let next = (!self.is_empty()).then(|| self.times[self.taken]);
        self.taken += usize::from(next.is_some());
        next
    }
}
