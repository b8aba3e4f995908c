//! Which pass comes next: probes go where evidence says that answers are missing, and stop when too few of them are.
//!
//! After every pass the ledger (`loss.rs`) says what came of it, and `outlook.rs` how many targets can be expected to answer
//! that have not yet. When, for the open ones and for all, a tenth of what the asked completeness allows (a two-hundredth, once losses were seen) is expected and the
//! upper end of the 95 % interval is within it (or is a single one), that was the last pass. Else the next one takes the
//! groups of targets where most is missing, as many as it takes to leave little.
//!
//! Two refinements:
//! - *Limited networks* (`limits.rs`) get a leg of their own at the end of the pass, at the rate that is due to them; so do
//!   groups that ration ICMP errors (`rationed.rs`).
//! - *Vouching.* When nothing was lost, and it is only the number of canaries that does not suffice, it is cheaper to
//!   probe those again than all that is silent.
//!
//! Without any answer there is no evidence at all: then everything is probed twice, and nobody vouches for it.

mod group;
mod limits;
mod outlook;
mod rationed;

use std::collections::VecDeque;

use self::group::Group;
use self::limits::{Limits, usual_loss};
use self::outlook::Outlook;
use self::rationed::Rationed;
use crate::loss::{Evidence, Kind, Ledger, Missing};
use crate::summary::{Completeness, Ended};
use crate::time::Time;

/// Passes over what never answers at all: one more, as nmap does.
const UNHEARD: u8 = 2;
/// The share of what may be missing that is expected to be when passes end: chance may then take several times as much.
const MARGIN: f64 = 0.1;
/// The same where losses were seen: by so few as say that little is missing, twice as much may be; and of two thousand found, two
/// missing are too many already, which has to be rarer than one run in a hundred.
const MARGIN_OF_LOSSY: f64 = 0.005;
/// Less than this is as good as nothing, however little was found.
const LITTLE: f64 = 0.01;
/// The share of that which may be left out of a pass.
const LEFT_OUT: f64 = 0.25;
/// Canaries that are worth sending just to be sure.
const VOUCHERS: u64 = 20_000;
/// They may take longer than a pass if they are so many times fewer, and if it is no longer than this, in seconds.
const CHEAP: u64 = 10;
const PATIENCE: f64 = 0.5;

/// Part of a pass: which groups are walked, and how fast at most.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leg {
    pub(crate) pass: u8,
    /// None: all of them.
    pub(crate) groups: Option<Vec<usize>>,
    pub(crate) rate: Option<f64>,
}

/// What comes after a leg.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    Leg(Leg),
    /// So many canaries, and no probes.
    Vouch(u64),
    /// The stripe is done with.
    End(Ended),
}

/// What a leg was, and what is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walked {
    /// When it began, and when its last probe left.
    pub(crate) began: Time,
    pub(crate) ended: Time,
    /// The rate at present, in probes a second.
    pub(crate) rate: f64,
    /// Targets that have not answered.
    pub(crate) unanswered: u64,
    /// Canaries that can be sent in a second.
    pub(crate) canaries: f64,
}

/// The passes over a stripe, and what all stripes until now have missed.
#[derive(Debug)]
pub(crate) struct Passes {
    completeness: f64,
    most: u8,
    pass: u8,
    waiting: VecDeque<Leg>,
    leg: Option<Leg>,
    /// By group.
    groups: Vec<Group>,
    limits: Limits,
    rationed: Rationed,
    vouched: bool,
    account: Account,
}

/// What all stripes say.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Account {
    pub(crate) missing_open: Missing,
    pub(crate) missing: Missing,
    pub(crate) later: Evidence,
    pub(crate) heard: bool,
    /// Groups that had stopped to answer at the end.
    pub(crate) gone: u64,
    pub(crate) passes: u8,
    pub(crate) ended: Option<Ended>,
}

impl Passes {
    /// At most so many passes, for this completeness: a share of the answers.
    pub(crate) fn new(completeness: f64, most: u8, ledger: &Ledger) -> Self {
        Passes {
            completeness,
            most,
            pass: 0,
            waiting: VecDeque::new(),
            leg: None,
            groups: vec![Group::default(); ledger.len()],
            limits: Limits::new(ledger.groups.networks.len()),
            rationed: Rationed::new(ledger.len()),
            vouched: false,
            account: Account::default(),
        }
    }

    /// The first leg of a stripe.
    pub(crate) fn begin(&mut self, ledger: &Ledger) -> Leg {
        (self.pass, self.vouched) = (0, false);
        self.groups.fill(Group::default());
        self.limits.begin();
        self.rationed.begin();
        self.waiting.clear();
        self.enter(Leg { pass: 0, groups: None, rate: None }, ledger)
    }

    /// The rest of a leg of a stripe that was begun in another run.
    pub(crate) fn go_on(&mut self, leg: Leg, ledger: &Ledger) -> Leg {
        self.begin(ledger);
        self.pass = leg.pass.min(self.most - 1);
        self.enter(Leg { pass: self.pass, ..leg }, ledger)
    }

    /// What all stripes until now say.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Counts in what stripes in another run say. One that was stopped is not, any more.
    pub(crate) fn set_account(&mut self, account: &Account) {
        let ended = account.ended.filter(|&ended| ended != Ended::Stopped);
        self.account = Account { ended, ..account.clone() };
    }

    /// What comes next, now that the last leg is over and its answers have had their time.
    pub(crate) fn next(&mut self, walked: Walked, ledger: &Ledger) -> Next {
        self.conclude(&walked, ledger);
        if let Some(leg) = self.waiting.pop_front() {
            return Next::Leg(self.enter(leg, ledger));
        }
        if walked.unanswered == 0 {
            return self.end(Ended::Answered, ledger);
        }
        let outlook = Outlook::of(ledger, &self.groups, &self.limits, self.account.passes == 0);
        let enough = self.enough(&outlook);
        if enough.is_none()
            && let Some(canaries) = self.vouchers(&outlook, &walked)
        {
            (self.vouched, self.leg) = (true, None);
            return Next::Vouch(canaries);
        }
        if self.pass + 1 < self.most {
            self.plan(enough.is_none().then_some(&outlook), ledger);
        }
        match self.waiting.pop_front() {
            Some(leg) => {
                self.pass = leg.pass;
                Next::Leg(self.enter(leg, ledger))
            }
            None => self.end(enough.unwrap_or(Ended::Complete), ledger),
        }
    }

    /// The scan was stopped.
    pub(crate) fn stop(&mut self, ledger: &Ledger) -> Next {
        self.end(Ended::Stopped, ledger)
    }

    fn enter(&mut self, leg: Leg, ledger: &Ledger) -> Leg {
        let members = leg.members(ledger);
        for &group in &members {
            ledger.enter(group, leg.pass);
            self.groups[group].enter(group, ledger);
            self.rationed.enter(group, ledger);
        }
        self.leg = Some(leg.clone());
        leg
    }

    /// Notes what the leg has shown of each of its groups.
    fn conclude(&mut self, walked: &Walked, ledger: &Ledger) {
        let Some(leg) = self.leg.take() else { return };
        let members = leg.members(ledger);
        for &group in &members {
            self.groups[group].conclude(group, ledger);
            self.rationed.conclude(&leg, walked, group, ledger);
        }
        self.limits.conclude(walked.seconds(), &members, &mut self.groups, ledger);
    }

    /// Why no more is to be asked for, if so.
    fn enough(&self, outlook: &Outlook) -> Option<Ended> {
        let is_heard = self.is_heard(outlook);
        let most = if is_heard || self.completeness >= 1.0 { self.most } else { self.most.min(UNHEARD) };
        match () {
            () if self.is_enough(outlook) => Some(Ended::Complete),
            () if self.pass + 1 >= most => Some(if is_heard { Ended::Passes } else { Ended::Unheard }),
            () => None,
        }
    }

    /// Whether what is missing is within what is allowed: much less is expected to be, and no more is, as surely as 39 in
    /// 40.
    fn is_enough(&self, outlook: &Outlook) -> bool {
        let margin = margin(outlook);
        let within = |missing: Missing, found: f64| {
            let allowed = self.allowed(missing, found);
            missing.mean <= (allowed * margin).max(LITTLE) && missing.quantile(0.975) <= allowed.floor().max(1.0)
        };
        let [open, closed] = outlook.by_kind;
        self.is_heard(outlook)
            && self.completeness < 1.0
            && within(open, outlook.found[0])
            && within(open + closed, outlook.found[0] + outlook.found[1])
    }

    /// Whether anything has answered, here or in a stripe before.
    fn is_heard(&self, outlook: &Outlook) -> bool {
        self.account.heard || outlook.found[0] + outlook.found[1] > 0.0
    }

    /// How many may be missing, of so many found.
    fn allowed(&self, missing: Missing, found: f64) -> f64 {
        (1.0 - self.completeness) * (found + missing.mean)
    }

    /// How many canaries would do instead of a pass, if that is cheaper and nothing speaks against it.
    fn vouchers(&self, outlook: &Outlook, walked: &Walked) -> Option<u64> {
        if self.vouched || self.completeness >= 1.0 || outlook.has_losses() || walked.canaries <= 0.0 {
            return None;
        }
        let enough = |more: u64| {
            let more = Evidence { answered: more as f64 / 2.0, lost: 0.0 };
            self.is_enough(&outlook.with(more))
        };
        let canaries = (5..).map(|bits| 1u64 << bits).take_while(|&n| n <= VOUCHERS).find(|&n| enough(n))?;
        let time = canaries as f64 / walked.canaries.min(walked.rate);
        let pass = walked.unanswered as f64 / walked.rate;
        let is_cheap = canaries < walked.unanswered / CHEAP && time < PATIENCE;
        (time < pass && canaries < walked.unanswered || is_cheap).then_some(canaries)
    }

    /// Plans the legs of the next pass: over what is missing, if anything is by the outlook, and over errors that were
    /// not sent.
    fn plan(&mut self, outlook: Option<&Outlook>, ledger: &Ledger) {
        let pass = self.pass + 1;
        let leg = |groups, rate| Leg { pass, groups, rate };
        let is_for_all = |outlook: &Outlook| self.completeness >= 1.0 || outlook.found == [0.0; 2];
        if outlook.is_some_and(is_for_all) {
            return self.waiting.push_back(leg(None, None));
        }
        let mut chosen = outlook.map_or_else(Vec::new, |outlook| self.missing(outlook, ledger));
        chosen.extend(self.rationed.due(ledger));
        chosen.sort_unstable();
        chosen.dedup();
        let (limited, free): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|&group| self.is_limited(group, ledger));
        if !free.is_empty() {
            self.waiting.push_back(leg(Some(free), None));
        }
        if !limited.is_empty() {
            let rate = self.limited_rate(&limited, ledger);
            self.waiting.push_back(leg(Some(limited), Some(rate)));
        }
    }

    /// The groups where most is missing, slowed down where they ration.
    fn missing(&mut self, outlook: &Outlook, ledger: &Ledger) -> Vec<usize> {
        let chosen = self.chosen(outlook);
        let usually = (usual_loss(ledger), outlook.evidence[Kind::Open as usize]);
        self.limits.adjust(&chosen, usually, &self.groups, ledger);
        chosen
    }

    fn is_limited(&self, group: usize, ledger: &Ledger) -> bool {
        self.limits.is_limited(group, ledger) || self.rationed.limit(group).is_some()
    }

    /// The groups where most is missing, as many as leave little.
    fn chosen(&self, outlook: &Outlook) -> Vec<usize> {
        let missing = &outlook.by_group;
        let mut groups: Vec<usize> = (0..missing.len()).filter(|&group| missing[group] > 0.0).collect();
        groups.sort_by(|&a, &b| missing[a].total_cmp(&missing[b]));
        let [open, closed] = outlook.by_kind;
        let allowed = self.allowed(open + closed, outlook.found[0] + outlook.found[1]);
        let (margin, mut left_out) = (margin(outlook), 0.0);
        let first = groups.iter().position(|&group| {
            left_out += missing[group];
            left_out > (allowed * margin).max(LITTLE) * LEFT_OUT
        });
        // With everything within bounds, it is the sum of chances that is not: take the half where more is missing.
        groups.split_off(first.unwrap_or(groups.len() / 2))
    }

    /// The rate of a leg over limited groups. The order mixes them evenly, so that each gets its share of the silent
    /// targets; none should get more than its due.
    fn limited_rate(&self, groups: &[usize], ledger: &Ledger) -> f64 {
        let silent = |group: usize| ledger.silent(group).max(1) as f64;
        let all: f64 = groups.iter().map(|&group| silent(group)).sum();
        let by_network = self.limits.seconds(groups, &self.groups, ledger);
        let by_group = groups.iter().filter_map(|&group| Some(silent(group) / self.rationed.limit(group)?));
        (all / by_group.fold(by_network, f64::max)).max(1.0)
    }

    fn end(&mut self, ended: Ended, ledger: &Ledger) -> Next {
        let outlook = Outlook::of(ledger, &self.groups, &self.limits, self.account.passes == 0);
        let account = &mut self.account;
        account.passes = account.passes.max(self.pass + 1);
        // What is not heard in one stripe may be in another.
        let known = account.ended.filter(|&known| known != Ended::Unheard || ended == Ended::Unheard);
        account.ended = known.max(Some(ended));
        account.heard |= outlook.found[0] + outlook.found[1] > 0.0;
        account.later = account.later + later(ledger);
        account.gone += self.groups.iter().filter(|group| group.is_gone()).count() as u64;
        if ended != Ended::Answered {
            account.missing_open = account.missing_open + outlook.stated(&[Kind::Open], ledger);
            account.missing = account.missing + outlook.stated(&Kind::ALL, ledger);
        }
        Next::End(ended)
    }

    /// What can be said of the scan so far.
    pub(crate) fn completeness(&self, ledger: &Ledger) -> Completeness {
        let account = &self.account;
        let canaries: Evidence = all(ledger).map(|(kind, group)| ledger.canaries(kind, group)).sum();
        let seen = canaries + account.later;
        let said = account.heard.then_some(());
        Completeness {
            asked: self.completeness,
            loss: said.filter(|()| seen.probes() > 0.0).map(|()| seen.interval()),
            missing_open: said.map(|()| account.missing_open.interval()),
            missing: said.map(|()| account.missing.interval()),
            gone: account.gone,
            passes: account.passes,
            ended: account.ended.unwrap_or(Ended::Stopped),
            canaries: canaries.probes() as u64,
            canaries_lost: canaries.lost as u64,
        }
    }
}

fn margin(outlook: &Outlook) -> f64 {
    if outlook.has_losses() { MARGIN_OF_LOSSY } else { MARGIN }
}

fn all(ledger: &Ledger) -> impl Iterator<Item = (Kind, usize)> + '_ {
    Kind::ALL.into_iter().flat_map(|kind| (0..ledger.len()).map(move |group| (kind, group)))
}

fn later(ledger: &Ledger) -> Evidence {
    all(ledger).map(|(kind, group)| ledger.later_answers(kind, group)).sum()
}

impl Walked {
    /// How long the leg took.
    fn seconds(&self) -> f64 {
        self.ended.since(self.began).as_secs_f64().max(0.001)
    }
}

impl Leg {
    fn members(&self, ledger: &Ledger) -> Vec<usize> {
        self.groups.clone().unwrap_or_else(|| (0..ledger.len()).collect())
    }
}

#[cfg(test)]
mod tests;
