//! Which pass comes next: probes go where evidence says that answers are missing, and stop when too few of them are.
//!
//! After every pass the ledger (`loss.rs`) says, for each prefix, how many targets can be expected to answer that have
//! not yet. When, for the open ones and for all, a tenth of what the asked completeness allows is expected and the upper
//! end of the 95 % interval is within it (or is a single one), that was the last pass. Else the next one takes the prefixes where most is missing, as many
//! as it takes to leave little; prefixes from which nothing was heard come last, because all of them together miss about
//! as many as there are prefixes with a single answer, times the loss (Good and Turing's estimate).
//!
//! Two refinements:
//! - *Limited prefixes.* Where much more is lost than elsewhere, or more RSTs than SYN-ACKs, hosts or a firewall may be
//!   rationing. Such prefixes get a leg of their own at the end of the pass, more slowly each time, down to the rate at
//!   which they answered. Where that changes nothing it is just a bad way, and they go with the others again.
//! - *Vouching.* When nothing was lost, and it is only the number of canaries that does not suffice, it is cheaper to
//!   probe those again than all that is silent.
//!
//! Without any answer there is no evidence at all: then everything is probed twice, and nobody vouches for it.

use std::collections::VecDeque;

use crate::counters::MAX_PASSES;
use crate::loss::{Evidence, Interval, Kind, Ledger, Missing};
use crate::summary::{Completeness, Ended};

/// Passes over what never answers at all: one more, as nmap does.
const UNHEARD: u8 = 2;
/// What the rest of the scan says of a prefix is worth so many probes to it, at least and at most.
const BORROWED: (f64, f64) = (2.0, 1e5);
/// What is known of all legs is worth so many probes of the last.
const LAST_LEG: f64 = 5.0;
/// How much groups are expected to differ: the shape of the gamma distribution around their share.
const SHAPE: f64 = 2.0;
/// Rounds in which the estimate of what is missing is taken into account for itself; it settles quickly.
const ROUNDS: u8 = 8;
/// Open ports fewer than so many probes' worth are judged by closed ones too.
const THIN: f64 = 30.0;
/// The share of what may be missing that is expected to be when passes end: chance may then take several times as much.
const MARGIN: f64 = 0.1;
/// Less than this is as good as nothing, however little was found.
const LITTLE: f64 = 0.025;
/// The share of that which may be left out of a pass.
const LEFT_OUT: f64 = 0.25;
/// How much more must be lost before a prefix is called limited: so many times as much, and so much.
const LIMITED: (f64, f64) = (3.0, 0.15);
/// Canaries in a leg, and the share of them lost, from which on a group is called gone.
const GONE: (f64, f64) = (8.0, 0.9);
/// As many probes as say what a group's loss is.
const OWN: f64 = 10.0;
/// How much more slowly a limited prefix is probed each time,
const SLOWER: f64 = 4.0;
/// but this much faster than it answered: what is lost must not slow it further.
const FASTER: f64 = 1.05;
/// A leg is not to take longer than that, in seconds.
const LONGEST: f64 = 120.0;
/// Hardly any way loses more by itself.
const HALF: f64 = 0.5;
/// How often, at most: down to a thousandth.
const SLOWED: u8 = 5;
/// When a slower leg has helped: so much of the loss is left at most, or so many times as much comes through.
const HELPED: (f64, f64) = (0.8, 1.5);
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
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
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
    vouched: bool,
    account: Account,
}

/// What a group's last leg was.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    /// Targets that were silent at its beginning.
    silent: f64,
    seconds: f64,
    /// Canaries until its beginning, and then in it, by kind.
    before: [Evidence; 2],
    canaries: [Evidence; 2],
    /// What it gets at most, in probes a second, once it was slowed down, and how often that was.
    limit: Option<f64>,
    slowed: u8,
    /// The loss before it was slowed down for the last leg, if it was, and the answers in the leg before.
    before_slowing: Option<(f64, u64)>,
    /// How often in a row slowing down did not help, and whether that was enough.
    in_vain: u8,
    immune: bool,
}

/// What all stripes say.
#[derive(Debug, Default)]
struct Account {
    missing: [Missing; 2],
    later: Evidence,
    heard: bool,
    /// Groups that had stopped to answer at the end.
    gone: u64,
    passes: u8,
    ended: Option<Ended>,
}

/// What is expected to be missing.
struct Outlook {
    by_kind: [Missing; 2],
    /// By group; of those never heard from, each its share.
    by_group: Vec<f64>,
    found: [f64; 2],
    /// Whether this is the first stripe.
    is_first: bool,
    /// What is known of each kind's loss, over all groups.
    evidence: [Evidence; 2],
}

impl Passes {
    /// At most so many passes, for this completeness: a share of the answers.
    pub(crate) fn new(completeness: f64, most: u8, groups: usize) -> Self {
        Passes {
            completeness,
            most,
            pass: 0,
            waiting: VecDeque::new(),
            leg: None,
            groups: vec![Group::default(); groups],
            vouched: false,
            account: Account::default(),
        }
    }

    /// The first leg of a stripe.
    pub(crate) fn begin(&mut self, ledger: &Ledger) -> Leg {
        (self.pass, self.vouched) = (0, false);
        self.groups.fill(Group::default());
        self.waiting.clear();
        self.enter(Leg { pass: 0, groups: None, rate: None }, ledger)
    }

    /// What comes next, now that the last leg is over and its answers have had their time.
    pub(crate) fn next(&mut self, walked: Walked, ledger: &Ledger) -> Next {
        self.conclude(walked.seconds, ledger);
        if let Some(leg) = self.waiting.pop_front() {
            return Next::Leg(self.enter(leg, ledger));
        }
        if walked.unanswered == 0 {
            return self.end(Ended::Answered, ledger);
        }
        let outlook = Outlook::of(ledger, &self.groups, self.account.passes == 0);
        if self.is_enough(&outlook) {
            return self.end(Ended::Complete, ledger);
        }
        let is_heard = self.is_heard(&outlook);
        let most = if is_heard || self.completeness >= 1.0 { self.most } else { self.most.min(UNHEARD) };
        if self.pass + 1 >= most {
            return self.end(if is_heard { Ended::Passes } else { Ended::Unheard }, ledger);
        }
        if let Some(canaries) = self.vouchers(&outlook, &walked) {
            self.vouched = true;
            self.leg = None;
            return Next::Vouch(canaries);
        }
        self.pass += 1;
        self.plan(&outlook, ledger);
        match self.waiting.pop_front() {
            Some(leg) => Next::Leg(self.enter(leg, ledger)),
            None => {
                self.pass -= 1;
                self.end(Ended::Complete, ledger)
            }
        }
    }

    /// The scan was stopped.
    pub(crate) fn stop(&mut self, ledger: &Ledger) -> Next {
        self.end(Ended::Stopped, ledger)
    }

    fn enter(&mut self, leg: Leg, ledger: &Ledger) -> Leg {
        for group in leg.members(ledger) {
            ledger.enter(group, leg.pass);
            let state = &mut self.groups[group];
            state.silent = silent(group, ledger);
            state.before = Kind::ALL.map(|kind| ledger.canaries(kind, group));
        }
        self.leg = Some(leg.clone());
        leg
    }

    /// Notes what the leg has shown of each of its groups.
    fn conclude(&mut self, seconds: f64, ledger: &Ledger) {
        let Some(leg) = self.leg.take() else { return };
        for group in leg.members(ledger) {
            let state = &mut self.groups[group];
            state.seconds = seconds.max(0.001);
            state.silent = if leg.pass == 0 { ledger.probed_targets(group) as f64 } else { state.silent };
            state.canaries = Kind::ALL.map(|kind| ledger.canaries(kind, group).since(state.before[kind as usize]));
            let loss = state.loss(group, ledger);
            let helped = |before: f64| loss < before * HELPED.0 || 1.0 - loss > (1.0 - before) * HELPED.1;
            // On a bad way, each pass draws fewer answers than the one before.
            let answered: u64 = Kind::ALL.into_iter().map(|kind| ledger.last(kind, group)).sum();
            let helped = |(before, answers): (f64, u64)| helped(before) || answered * 10 >= answers.max(1) * 9;
            match state.before_slowing.take().map(helped) {
                Some(true) => state.in_vain = 0,
                Some(false) => state.in_vain += 1,
                None => {}
            }
            // Where little comes through, little is seen of what has helped.
            if state.in_vain >= if loss < HALF { 1 } else { 2 } {
                (state.immune, state.limit) = (true, None);
            }
        }
    }

    /// Whether what is missing is within what is allowed: much less is expected to be, and no more is, as surely as 39 in
    /// 40.
    fn is_enough(&self, outlook: &Outlook) -> bool {
        let within = |missing: Missing, found: f64| {
            let allowed = self.allowed(missing, found);
            missing.mean <= (allowed * MARGIN).max(LITTLE) && missing.quantile(0.975) <= allowed.floor().max(1.0)
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
        // Half a loss is assumed of each kind.
        let lost: f64 = outlook.evidence.iter().map(|evidence| evidence.lost - 0.5).sum();
        if self.vouched || self.completeness >= 1.0 || lost > 0.5 || walked.canaries <= 0.0 {
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

    /// Plans the legs of the next pass.
    fn plan(&mut self, outlook: &Outlook, ledger: &Ledger) {
        let pass = self.pass;
        let leg = |groups, rate| Leg { pass, groups, rate };
        let found = outlook.found[0] + outlook.found[1];
        if self.completeness >= 1.0 || found == 0.0 {
            return self.waiting.push_back(leg(None, None));
        }
        let chosen = self.chosen(outlook);
        let usual = self.usual_loss(ledger);
        for &group in &chosen {
            if self.is_limited(group, usual, outlook, ledger) {
                self.slow_down(group, ledger);
            }
        }
        let (limited, free): (Vec<_>, Vec<_>) =
            chosen.into_iter().partition(|&group| self.groups[group].limit.is_some());
        if !free.is_empty() {
            self.waiting.push_back(leg(Some(free), None));
        }
        if !limited.is_empty() {
            let rate = self.limited_rate(&limited, ledger);
            self.waiting.push_back(leg(Some(limited), Some(rate)));
        }
    }

    /// The groups where most is missing, as many as leave little.
    fn chosen(&self, outlook: &Outlook) -> Vec<usize> {
        let missing = &outlook.by_group;
        let mut groups: Vec<usize> = (0..missing.len()).filter(|&group| missing[group] > 0.0).collect();
        groups.sort_by(|&a, &b| missing[a].total_cmp(&missing[b]));
        let [open, closed] = outlook.by_kind;
        let allowed = self.allowed(open + closed, outlook.found[0] + outlook.found[1]);
        let mut left_out = 0.0;
        let first = groups.iter().position(|&group| {
            left_out += missing[group];
            left_out > (allowed * MARGIN).max(LITTLE) * LEFT_OUT
        });
        // With everything within bounds, it is the sum of chances that is not: take the half where more is missing.
        groups.split_off(first.unwrap_or(groups.len() / 2))
    }

    /// A quarter of what it got in its last leg, but no less than it answered then.
    fn slow_down(&mut self, group: usize, ledger: &Ledger) {
        let state = &mut self.groups[group];
        let answers: u64 = Kind::ALL.into_iter().map(|kind| ledger.last(kind, group)).sum();
        let (sent, answered) = (state.silent / state.seconds, answers as f64 / state.seconds);
        state.limit = Some((sent / SLOWER).max(answered * FASTER).max(silent(group, ledger) / LONGEST));
        state.before_slowing = Some((state.loss(group, ledger), answers));
        state.slowed += 1;
    }

    /// The rate of a leg over limited groups. The order mixes them evenly, so that each gets its share of the silent
    /// targets; none should get more than its due.
    fn limited_rate(&self, groups: &[usize], ledger: &Ledger) -> f64 {
        let all: f64 = groups.iter().map(|&group| silent(group, ledger)).sum();
        let limit = |group: usize| self.groups[group].limit.unwrap_or(f64::INFINITY);
        let rates = groups.iter().map(|&group| limit(group) * all / silent(group, ledger));
        rates.fold(f64::INFINITY, f64::min).max(1.0)
    }

    /// The loss of a group in the middle, of those of which something is known; none where there are too few to compare.
    fn usual_loss(&self, ledger: &Ledger) -> Option<f64> {
        let known = |group: usize| {
            let seen: Evidence = Kind::ALL.into_iter().map(|kind| own(kind, group, ledger)).sum();
            (seen.probes() >= OWN).then(|| seen.loss())
        };
        let mut losses: Vec<f64> = (0..ledger.len()).filter_map(known).collect();
        losses.sort_by(f64::total_cmp);
        (losses.len() >= 3).then(|| losses[losses.len() / 2])
    }

    /// Whether much more is lost in a group than in others, or more of what refuses than of what accepts.
    fn is_limited(&self, group: usize, usual: Option<f64>, outlook: &Outlook, ledger: &Ledger) -> bool {
        let (times, more) = LIMITED;
        let state = &self.groups[group];
        let found: u64 = Kind::ALL.into_iter().map(|kind| ledger.found(kind, group)).sum();
        let [open, closed] = Kind::ALL.map(|kind| own(kind, group, ledger));
        let accepted = if open.probes() >= OWN { open } else { outlook.evidence[Kind::Open as usize] }.loss();
        let rations = closed.probes() >= OWN && closed.loss() > times * accepted + more;
        let loss = state.loss(group, ledger);
        let is_worse = loss > HALF || usual.is_some_and(|usual| loss > times * usual + more);
        found > 0 && !state.immune && state.slowed < SLOWED && (rations || is_worse)
    }

    fn end(&mut self, ended: Ended, ledger: &Ledger) -> Next {
        let outlook = Outlook::of(ledger, &self.groups, self.account.passes == 0);
        let account = &mut self.account;
        account.passes = account.passes.max(self.pass + 1);
        // What is not heard in one stripe may be in another.
        let known = account.ended.filter(|&known| known != Ended::Unheard || ended == Ended::Unheard);
        account.ended = known.max(Some(ended));
        account.heard |= outlook.found[0] + outlook.found[1] > 0.0;
        account.later = account.later + later(ledger);
        account.gone += self.groups.iter().filter(|group| group.is_gone()).count() as u64;
        if ended != Ended::Answered {
            account.missing = [0, 1].map(|kind| account.missing[kind] + outlook.by_kind[kind]);
        }
        Next::End(ended)
    }

    /// What can be said of the scan so far.
    pub(crate) fn completeness(&self, ledger: &Ledger) -> Completeness {
        let account = &self.account;
        let canaries: Evidence = all(ledger).map(|(kind, group)| ledger.canaries(kind, group)).sum();
        let seen = canaries + account.later;
        let [open, closed] = account.missing;
        let said = account.heard.then_some(());
        Completeness {
            asked: self.completeness,
            loss: said.filter(|()| seen.probes() > 0.0).map(|()| seen.interval()),
            missing_open: said.map(|()| whole(open)),
            missing: said.map(|()| whole(open + closed)),
            gone: account.gone,
            passes: account.passes,
            ended: account.ended.unwrap_or(Ended::Stopped),
            canaries: canaries.probes() as u64,
            canaries_lost: canaries.lost as u64,
        }
    }
}

fn whole(missing: Missing) -> Interval {
    missing.interval()
}

fn all(ledger: &Ledger) -> impl Iterator<Item = (Kind, usize)> + '_ {
    Kind::ALL.into_iter().flat_map(|kind| (0..ledger.len()).map(move |group| (kind, group)))
}

fn later(ledger: &Ledger) -> Evidence {
    all(ledger).map(|(kind, group)| ledger.later_answers(kind, group)).sum()
}

/// What was seen of a group itself.
fn own(kind: Kind, group: usize, ledger: &Ledger) -> Evidence {
    ledger.later_answers(kind, group) + ledger.canaries(kind, group)
}

/// Targets of a group that have not answered, about; at least one.
fn silent(group: usize, ledger: &Ledger) -> f64 {
    let found: u64 = Kind::ALL.into_iter().map(|kind| ledger.found(kind, group)).sum();
    ledger.probed_targets(group).saturating_sub(found).max(1) as f64
}

impl Leg {
    fn members(&self, ledger: &Ledger) -> Vec<usize> {
        self.groups.clone().unwrap_or_else(|| (0..ledger.len()).collect())
    }
}

impl Group {
    /// Whether nothing in it answers any more that did: a host that has gone, a cable, a ban.
    fn is_gone(&self) -> bool {
        let seen = self.canaries[0] + self.canaries[1];
        seen.probes() >= GONE.0 && seen.loss() >= GONE.1
    }

    /// The loss in the last leg, of the kind that lost more: by its canaries, or by all that is known where those are few.
    fn loss(&self, group: usize, ledger: &Ledger) -> f64 {
        let of = |kind: Kind| {
            let leg = self.canaries[kind as usize];
            if leg.probes() >= OWN { leg } else { own(kind, group, ledger) }
        };
        let losses = Kind::ALL.into_iter().map(of).filter(|seen| seen.probes() >= OWN).map(Evidence::loss);
        losses.fold(0.0, f64::max)
    }
}

impl Outlook {
    fn of(ledger: &Ledger, groups: &[Group], is_first: bool) -> Outlook {
        let sum = |kind| (0..ledger.len()).map(|group| own(kind, group, ledger)).sum::<Evidence>();
        let [open, closed] = Kind::ALL.map(sum);
        let borrowed = |own: Evidence, other: Evidence| other.worth((THIN - own.probes()).clamp(0.0, other.probes()));
        let evidence = [(open + borrowed(open, closed)).with_prior(), (closed + borrowed(closed, open)).with_prior()];
        let mut outlook = Outlook {
            by_kind: Default::default(),
            by_group: vec![0.0; ledger.len()],
            found: Kind::ALL.map(|kind| (0..ledger.len()).map(|group| ledger.found(kind, group)).sum::<u64>() as f64),
            is_first,
            evidence,
        };
        Kind::ALL.into_iter().for_each(|kind| outlook.expect(kind, ledger, groups));
        outlook
    }

    /// What is missing of a kind, by group and in all.
    fn expect(&mut self, kind: Kind, ledger: &Ledger, groups: &[Group]) {
        let scan = self.evidence[kind as usize];
        let odds = Missing::mean_after(1.0, scan);
        // Half a target is always assumed to have been there at first: what nobody has answered may still hold one.
        let passes = (0..ledger.len()).map(|group| ledger.probes(group)).max().unwrap_or(0);
        let assumed = if self.is_first { 0.5 * odds * scan.loss().powi(i32::from(passes) - 1) } else { 0.0 };
        let borrowed = scan.worth(alike(kind, scan.loss(), ledger).min(scan.probes()));
        let last = last_answers(kind, ledger);
        let (mut single, mut dark, mut sum, mut unsure) = (0u64, 0u64, 0.0, 0.0);
        for group in 0..ledger.len() {
            let found = ledger.found(kind, group);
            (single, dark) = (single + u64::from(found == 1), dark + u64::from(is_dark(group, ledger)));
            if found > 0 {
                let known = own(kind, group, ledger) + borrowed;
                let in_last = (groups[group].canaries[kind as usize] + known.worth(LAST_LEG)).loss();
                let earlier = i32::from(ledger.probes(group).saturating_sub(1));
                let never = known.loss().powi(earlier) * in_last;
                let by_all = found as f64 * never / (1.0 - never).max(0.01);
                let mut missing = Missing::mean_after(last[group], known).max(by_all);
                if groups[group].is_gone() {
                    // What is silent there may be as what has answered.
                    let share = found as f64 / ledger.probed_targets(group).max(1) as f64;
                    missing = missing.max(silent(group, ledger) * share / 2.0);
                    unsure += missing * missing;
                }
                self.by_group[group] += missing;
                sum += missing;
                // Where most is lost, little is known.
                unsure += (missing * in_last).powi(2);
            }
        }
        let unheard = single as f64 * odds;
        for group in (0..ledger.len()).filter(|&group| is_dark(group, ledger)) {
            self.by_group[group] += unheard / dark as f64;
        }
        let mean = sum + if dark > 0 { unheard } else { 0.0 } + assumed;
        let more = self.overlooked(kind, mean, last.iter().sum(), ledger);
        self.by_group.iter_mut().for_each(|missing| *missing *= more);
        let missing = Missing::scaled(mean * more, scan);
        self.by_kind[kind as usize] = Missing { variance: missing.variance + unsure, ..missing };
    }

    /// By how much more is missing than later answers say by themselves: what is missing still was lost in every pass.
    fn overlooked(&self, kind: Kind, mean: f64, last: f64, ledger: &Ledger) -> f64 {
        let scan = self.evidence[kind as usize];
        let passes = (0..ledger.len()).filter_map(|group| ledger.last_pass(group)).max().map_or(0, |last| last + 1);
        if passes < 2 || mean <= 0.0 {
            return 1.0;
        }
        let before = Missing::mean_after(1.0, scan);
        (0..ROUNDS).fold(1.0, |more, _| {
            let lost = Evidence { answered: last, lost: mean * more * f64::from(passes) };
            (Missing::mean_after(1.0, scan + lost) / before).clamp(1.0, 5.0)
        })
    }

    /// The same, if so many canaries more of each kind had been answered.
    fn with(&self, more: Evidence) -> Outlook {
        let rescaled = |kind: usize| {
            let (before, after) = (self.evidence[kind], self.evidence[kind] + more);
            let share = Missing::mean_after(1.0, after) / Missing::mean_after(1.0, before).max(1e-12);
            Missing::scaled(self.by_kind[kind].mean * share, after)
        };
        Outlook {
            by_kind: [rescaled(0), rescaled(1)],
            by_group: Vec::new(),
            found: self.found,
            is_first: self.is_first,
            evidence: self.evidence.map(|evidence| evidence + more),
        }
    }
}

/// How alike the groups' losses are: what the scan says of one is worth so many probes to it. (The precision of a beta
/// distribution of their losses, by the method of moments.)
fn alike(kind: Kind, loss: f64, ledger: &Ledger) -> f64 {
    let seen = || (0..ledger.len()).map(|group| own(kind, group, ledger)).filter(|seen| seen.probes() > 0.0);
    let (mut n, mut squares, mut spread, mut groups) = (0.0, 0.0, 0.0, 0.0);
    for group in seen() {
        let probes = group.probes();
        (n, squares, groups) = (n + probes, squares + probes * probes, groups + 1.0);
        spread += probes * (group.loss() - loss).powi(2);
    }
    if groups < 2.0 {
        return BORROWED.1;
    }
    let chance = loss * (1.0 - loss);
    let between = (spread - (groups - 1.0) * chance) / (n - squares / f64::max(n, 1.0)).max(1.0);
    if between > 0.0 { (chance / between - 1.0).clamp(BORROWED.0, BORROWED.1) } else { BORROWED.1 }
}

/// Answers to the last pass over each group, evened out: in a group that happened to have none, as many can be missing as
/// in its neighbours, in proportion to what was found there. (The mean of a gamma distribution around the group's share,
/// after what was seen; sums over the groups of the same last pass are kept.)
fn last_answers(kind: Kind, ledger: &Ledger) -> Vec<f64> {
    let groups = ledger.len();
    let seen: Vec<f64> = (0..groups).map(|group| ledger.last(kind, group) as f64).collect();
    let found: Vec<f64> = (0..groups).map(|group| ledger.found(kind, group) as f64).collect();
    let mut sums = [(0.0, 0.0, 0.0); MAX_PASSES as usize + 1];
    let sum_of = |group: usize| ledger.last_pass(group).map_or(0, |pass| pass as usize + 1);
    for group in 0..groups {
        let sum = &mut sums[sum_of(group)];
        (sum.0, sum.1) = (sum.0 + seen[group], sum.1 + found[group]);
    }
    let evened = |group: usize| {
        let (all, found_in_all, _) = sums[sum_of(group)];
        let share = if found_in_all > 0.0 { all * found[group] / found_in_all } else { 0.0 };
        if share > 0.0 { (seen[group] + SHAPE) / (1.0 + SHAPE / share) } else { 0.0 }
    };
    let evened: Vec<f64> = (0..groups).map(evened).collect();
    (0..groups).for_each(|group| sums[sum_of(group)].2 += evened[group]);
    let kept = |group: usize| {
        let (all, _, evened_in_all) = sums[sum_of(group)];
        if evened_in_all > 0.0 { evened[group] * all / evened_in_all } else { 0.0 }
    };
    (0..groups).map(kept).collect()
}

/// Whether a group has targets and none has answered.
fn is_dark(group: usize, ledger: &Ledger) -> bool {
    ledger.probed_targets(group) > 0 && Kind::ALL.into_iter().all(|kind| ledger.found(kind, group) == 0)
}

#[cfg(test)]
mod tests;
