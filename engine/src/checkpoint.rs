//! Checkpoints: what is known of a scan under way, taken at any moment without stopping anything, and enough to go on from
//! there in another process, at another rate, on another machine.
//!
//! What a checkpoint says: positions below the stripe at work are done; of that stripe, which targets have answered (two
//! bits each, `cells.rs`), which leg was under way, and which offsets its walkers had not come to, or so lately that answers
//! may have been on the way. Going on, that leg is walked over those offsets; then evidence decides as ever, and the ledger
//! with the evidence is part of the checkpoint. A later leg that was waiting is forgotten: what is missing asks for it again.
//!
//! **Nothing is lost or told twice** between scan and reader. The receiver counts an event as promised before it writes the
//! answer into the table (release), and tells it after; a checkpoint reads the table first and the count afterwards
//! (acquire). So whatever its answers are, their events are among the first [`Checkpoint::events`]; and what its taker had
//! been told before is among its answers. In between lie the events that may or may not be in it: whoever keeps a checkpoint
//! waits until it has taken that many events, and gives those that came since it asked for the checkpoint to
//! [`Checkpoint::note`].
//!
//! **Torn reads.** The sender makes `Shared::shift` odd while it changes stripe or leg (a sequence lock), and a checkpoint
//! that saw it change is taken again. How far walkers have come is read from their trails of the last seconds: what was sent
//! since an answer may take counts as not sent.

mod bytes;
pub(crate) mod cells;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, SystemTime};

use crate::counters::{MAX_PASSES, Shared, Turn, load};
use crate::error::Error;
use crate::loss::Row;
use crate::passes::Account;
use crate::permute::Permutation;
use crate::plan::{AddressRange, Plan, Shard};
use crate::summary::{Discovery, Drops, Strays, Summary};
use crate::suspects::Ranges;
use crate::target::{Position, Target};
use crate::time::Time;
use crate::verdict::{Reason, State, Suspicion, Verdict};
use crate::work::Work;
pub use bytes::NoCheckpoint;
use cells::Cells;

/// A scan under way, as far as it has come: from [`crate::Running::checkpoint`] to [`crate::ScanBuilder::resume`].
///
/// It holds what is known of targets, not settings: the resumed scan may have another rate, other senders and links. It
/// does hold the seed, the shard, and a fingerprint of the plan, so that nothing else can be resumed from it. A whole program
/// is `examples/resume.rs`; in short:
///
/// ```no_run
/// use halfopen::{Checkpoint, Event, Plan, Scan};
///
/// let plan = || Plan::builder().targets("192.0.2.0/24")?.ports("1-1024")?.build();
/// let running = Scan::builder(plan()?).start()?;
/// let (mut taken, mut pending): (u64, Option<Checkpoint>) = (0, None);
/// for event in running.events() {
///     if event.counts() {
///         taken += 1;
///         // .. keep what it says ..
///     }
///     if let (Event::Verdict(verdict), Some(checkpoint)) = (&event, &mut pending) {
///         checkpoint.note(verdict);
///     }
///     match pending.take_if(|checkpoint| taken >= checkpoint.events()) {
///         // All that it knows has been taken, and all that was taken it knows.
///         Some(complete) => std::fs::write("scan.checkpoint", complete.to_bytes()).unwrap(),
///         None if pending.is_none() && taken % 1000 == 0 => pending = Some(running.checkpoint()),
///         None => {}
///     }
/// }
///
/// // Later, and perhaps elsewhere:
/// let kept = Checkpoint::from_bytes(&std::fs::read("scan.checkpoint").unwrap()).unwrap();
/// let running = Scan::builder(plan()?).resume(kept)?.start()?;
/// # Ok::<(), halfopen::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub(crate) identity: Identity,
    events: u64,
    /// Whether the scan had come to its end, so that nothing was sent after.
    last: bool,
    pub(crate) tally: Tally,
    /// The hosts that discovery has left in the plan; none where all are.
    pub(crate) kept: Option<Arc<[AddressRange]>>,
    pub(crate) discovery: Option<Discovery>,
    /// On-link hosts that were told to be down.
    pub(crate) down: Arc<[AddressRange]>,
    /// What was told of hosts.
    pub(crate) suspects: Vec<Suspicion>,
    /// What the stripes before have missed.
    pub(crate) account: Account,
    /// None before the first stripe.
    pub(crate) at_work: Option<AtWork>,
    /// Targets noted, by position, that lie beyond the stripe at work.
    pub(crate) ahead: Vec<(u64, (State, bool))>,
    notes: Vec<Note>,
}

/// Of what scan it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    /// Of the shard's plan.
    pub(crate) fingerprint: u64,
    pub(crate) targets: u64,
    pub(crate) seed: u64,
    pub(crate) shard: Option<Shard>,
}

/// The stripe at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AtWork {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) cells: Cells,
    pub(crate) leg: Leg,
    pub(crate) ledger: Vec<Row>,
}

/// The leg under way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Leg {
    pub(crate) pass: u8,
    /// None: all of them.
    pub(crate) groups: Option<Vec<u32>>,
    /// No faster than that, in probes a second.
    pub(crate) most: Option<f64>,
    /// Offsets that it has not come to.
    pub(crate) todo: Vec<(u64, u64)>,
}

/// A verdict that was told after the checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    target: Target,
    state: State,
    silent: bool,
}

/// What a scan has come to until then, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) started: SystemTime,
    pub(crate) elapsed: Duration,
    sending: Duration,
    sent: Vec<u64>,
    again: u64,
    controls: u64,
    pub(crate) replies: u64,
    duplicates: u64,
    strays: [u64; 8],
    drops: [u64; 6],
    pub(crate) open: u64,
    pub(crate) closed: u64,
    pub(crate) filtered: u64,
    pub(crate) silent: u64,
    /// Whether more was sent than is counted, because a run was killed after its last checkpoint.
    at_least: bool,
}

/// What a checkpoint needs of a scan and nothing else does.
#[derive(Debug, Default)]
pub(crate) struct Basis {
    pub(crate) identity: Identity,
    pub(crate) started: Option<SystemTime>,
    pub(crate) kept: Option<Arc<[AddressRange]>>,
    pub(crate) discovery: Option<Discovery>,
    /// The hosts that it has skipped; none of them where they are too many to be told.
    pub(crate) skipped: Vec<AddressRange>,
    pub(crate) down: Arc<[AddressRange]>,
    pub(crate) suspects: Vec<Suspicion>,
    /// As it was when the stripe was opened.
    pub(crate) account: Account,
    /// What earlier runs have come to, if there were any.
    pub(crate) past: Option<Tally>,
    pub(crate) ahead: Vec<(u64, (State, bool))>,
    /// What is resumed, until its first stripe is opened; where none was begun, until its notes have found their places.
    pub(crate) resumed: Option<Box<Checkpoint>>,
}

impl Checkpoint {
    /// How many events, [`crate::Event::counts`] says which, have to be taken before this checkpoint claims nothing that
    /// its keeper has not been told.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Adds a verdict that was taken after this checkpoint was: it is not told again.
    pub fn note(&mut self, verdict: &Verdict) {
        let silent = verdict.reason == Reason::NoResponse;
        self.notes.push(Note { target: verdict.target, state: verdict.state, silent });
    }

    /// Adds what was told of a host after this checkpoint was taken.
    pub fn note_suspect(&mut self, suspicion: Suspicion) {
        if !self.suspects.contains(&suspicion) {
            self.suspects.push(suspicion);
        }
    }

    /// Adds an on-link host that was told to be down after this checkpoint was taken.
    pub fn note_down(&mut self, address: IpAddr) {
        if !self.down.iter().any(|range| range.contains(address)) {
            self.down = self.down.iter().copied().chain([address.into()]).collect();
        }
    }

    /// Says that a scan that was resumed from this checkpoint was killed before it had one of its own: more was sent than is
    /// counted.
    pub fn note_kill(&mut self) {
        self.last = false;
    }

    /// The seed that fixes the order.
    pub fn seed(&self) -> u64 {
        self.identity.seed
    }

    /// The part of a plan that is scanned; none for all of it.
    pub fn shard(&self) -> Option<Shard> {
        self.identity.shard
    }

    /// Targets in the plan, or in the shard.
    pub fn targets(&self) -> u64 {
        self.identity.targets
    }

    /// Targets that have been found open, notes apart.
    pub fn open(&self) -> u64 {
        self.tally.open
    }

    /// Targets that are classified or will not be, because theirs are hosts that discovery has skipped; notes apart.
    pub fn classified(&self) -> u64 {
        let skipped = self.discovery.map_or(0, |found| found.skipped_targets);
        self.tally.open + self.tally.closed + self.tally.filtered + skipped
    }

    /// On-link hosts that were told to be down, notes included.
    pub fn down(&self) -> impl Iterator<Item = AddressRange> + '_ {
        self.down.iter().copied()
    }

    /// How long the scan has run.
    pub fn elapsed(&self) -> Duration {
        self.tally.elapsed
    }

    /// Whether hosts were looked for and the first stripe was begun, so that what is left of the plan is fixed.
    pub(crate) fn has_begun(&self) -> bool {
        self.at_work.is_some()
    }

    /// What checkpoints of the resumed scan begin with.
    pub(crate) fn basis(&self, identity: Identity) -> Basis {
        let past = Tally { at_least: self.tally.at_least || !self.last, ..self.tally.clone() };
        Basis {
            identity,
            started: Some(self.tally.started),
            kept: self.kept.clone(),
            discovery: self.discovery,
            skipped: Vec::new(),
            down: Arc::clone(&self.down),
            suspects: self.suspects.clone(),
            account: self.account.clone(),
            ahead: self.ahead.clone(),
            resumed: Some(Box::new(Checkpoint { tally: past.clone(), ..self.clone() })),
            past: Some(past),
        }
    }

    /// Says whether this plan, which is the shard's, is the one.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), Error> {
        let Identity { fingerprint, targets, .. } = self.identity;
        if plan.fingerprint() == fingerprint {
            return Ok(());
        }
        Err(Error::OtherPlan { targets: plan.len(), expected: targets })
    }

    /// Takes one of a scan that has run until `now`.
    pub(crate) fn take(shared: &Shared, now: Time) -> Checkpoint {
        loop {
            let version = shared.shift.load(Ordering::Acquire);
            let last = shared.turn() == Turn::Done;
            let taken = version.is_multiple_of(2).then(|| Checkpoint::read(shared, now));
            fence(Ordering::Acquire);
            match taken {
                // The count of events last: it covers all that was read before.
                Some(taken) if shared.shift.load(Ordering::Relaxed) == version => {
                    return Checkpoint { events: load(&shared.receiver.promised), last, ..taken };
                }
                _ => std::thread::yield_now(),
            }
        }
    }

    fn read(shared: &Shared, now: Time) -> Checkpoint {
        let basis = shared.basis.lock();
        if let Some(resumed) = &basis.resumed {
            // Neighbours are asked before, and who has gone is told.
            let (down, suspects) = (Arc::clone(&basis.down), basis.suspects.clone());
            return Checkpoint { down, suspects, ..Checkpoint::clone(resumed) };
        }
        let (at_work, tally) = if shared.lap() == 0 {
            (None, Tally::of(shared, &basis, now))
        } else {
            let (at_work, counts) = AtWork::read(shared, now);
            (Some(at_work), Tally { ..counts.into_tally(Tally::of(shared, &basis, now)) })
        };
        Checkpoint {
            identity: basis.identity,
            events: 0,
            last: false,
            tally,
            kept: basis.kept.clone(),
            discovery: basis.discovery,
            down: Arc::clone(&basis.down),
            suspects: basis.suspects.clone(),
            account: basis.account.clone(),
            at_work,
            ahead: basis.ahead.clone(),
            notes: Vec::new(),
        }
    }

    /// Makes the shared state of a scan, of this plan and order, go on from here; before its threads begin.
    pub(crate) fn restore(mut self, plan: &Plan, order: &Permutation, shared: &Shared) -> Option<AtWork> {
        let position = |note: &Note| Some(order.position(plan.index(note.target)?).0);
        let noted = self.notes.iter().filter_map(|note| Some((position(note)?, (note.state, note.silent))));
        self.ahead.extend(noted);
        self.notes.clear();
        let counters = &shared.receiver;
        let Tally { open, closed, filtered, silent, .. } = self.tally;
        let counts = [&counters.open, &counters.closed, &counters.filtered, &counters.silent];
        counts
            .into_iter()
            .zip([open, closed, filtered, silent])
            .for_each(|(counter, to)| crate::counters::set(counter, to));
        let done = self.at_work.as_ref().map_or(0, |at_work| at_work.start);
        self.ahead.retain(|&(position, _)| position >= done);
        let mut basis = shared.basis.lock();
        basis.ahead.clone_from(&self.ahead);
        match self.has_begun() {
            true => basis.resumed.iter_mut().for_each(|resumed| resumed.adopt(&self)),
            // Notes that have found their places are all that there is to know.
            false => basis.resumed = None,
        }
        self.at_work
    }

    /// Is as good as that one, whose notes have found their places.
    fn adopt(&mut self, other: &Checkpoint) {
        self.ahead.clone_from(&other.ahead);
        self.notes.clear();
    }
}

/// Answered targets that are probed again to measure loss, in a scan that is resumed: as many as there can be at all.
const CANARIES: usize = 1 << 15;

impl AtWork {
    fn read(shared: &Shared, now: Time) -> (AtWork, Closed) {
        let (stripe, lap) = (shared.stripe(), shared.leg());
        let closing = shared.closing();
        let (cells, start, counts) = Cells::of(&shared.table, closing.offset, stripe.len);
        let since = now - shared.listening(lap.pass);
        let mut todo = Ranges::default();
        for range in shared.left(since) {
            todo.add(range.0.saturating_sub(start), range.1.saturating_sub(start));
        }
        let leg = Leg { pass: lap.pass, groups: shared.chosen(), most: shared.most(), todo: todo.from(0).collect() };
        let ledger = shared.ledger.rows();
        let at_work = AtWork { start: stripe.start.0 + start, len: stripe.len - start, cells, leg, ledger };
        (at_work, Closed { base: closing.base, silent: closing.silent, counts })
    }

    /// Has some of what has answered probed again now and then.
    pub(crate) fn offer_canaries(&self, work: &Work, shared: &Shared) {
        for (offset, state) in self.cells.iter().take(CANARIES) {
            work.offer(&shared.canaries, Position(self.start + offset), state);
        }
    }
}

/// What the counters come to where the table and the closing walk are looked at, and not the counters themselves: those go
/// on meanwhile.
struct Closed {
    base: [u64; 4],
    silent: u64,
    counts: cells::Counts,
}

impl Closed {
    fn into_tally(self, tally: Tally) -> Tally {
        let ([open, closed, filtered, silent], counts) = (self.base, self.counts);
        Tally {
            open: open + counts.open,
            closed: closed + counts.closed,
            filtered: filtered + counts.filtered + self.silent,
            silent: silent + self.silent,
            ..tally
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            started: SystemTime::UNIX_EPOCH,
            elapsed: Duration::ZERO,
            sending: Duration::ZERO,
            sent: Vec::new(),
            again: 0,
            controls: 0,
            replies: 0,
            duplicates: 0,
            strays: [0; 8],
            drops: [0; 6],
            open: 0,
            closed: 0,
            filtered: 0,
            silent: 0,
            at_least: false,
        }
    }
}

impl Tally {
    /// Of earlier runs and this one.
    fn of(shared: &Shared, basis: &Basis, now: Time) -> Tally {
        let (none, receiver) = (Tally::default(), &shared.receiver);
        let past = basis.past.as_ref().unwrap_or(&none);
        let sum = |counter: fn(&crate::counters::WalkerCounters) -> &std::sync::atomic::AtomicU64| shared.sum(counter);
        let sent = (0..MAX_PASSES).map(|pass| past.sent(pass) + shared.sent(pass)).collect();
        let drops = Drops {
            ring: load(&receiver.ring_drops),
            device_rx: load(&receiver.device_drops),
            device_tx: 0,
            send_drops: sum(|walker| &walker.send_drops),
            send_errors: sum(|walker| &walker.send_errors),
            send_retries: sum(|walker| &walker.send_retries),
        };
        Tally {
            started: basis.started.unwrap_or(SystemTime::UNIX_EPOCH),
            elapsed: past.elapsed + now.since(Time::ZERO),
            sending: past.sending + shared.sending(),
            sent,
            again: past.again + sum(|walker| &walker.again),
            controls: past.controls + sum(|walker| &walker.controls),
            replies: past.replies + load(&receiver.replies),
            duplicates: past.duplicates + load(&receiver.duplicates),
            strays: added(past.strays, receiver.strays.snapshot().by_kind()),
            drops: added(past.drops, drops.by_layer()),
            open: load(&receiver.open),
            closed: load(&receiver.closed),
            filtered: load(&receiver.filtered),
            silent: load(&receiver.silent),
            at_least: past.at_least,
        }
    }

    fn sent(&self, pass: u8) -> u64 {
        self.sent.get(usize::from(pass)).copied().unwrap_or(0)
    }

    /// Probes of all passes.
    pub(crate) fn total_sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// How long so many probes took, about; nothing where nothing is known.
    pub(crate) fn seconds(&self, probes: u64) -> f64 {
        let rate = self.total_sent() as f64 / self.sending.as_secs_f64().max(1e-3);
        if rate > 0.0 { probes as f64 / rate } else { 0.0 }
    }

    /// The summary of all runs, of that of the last. (Verdicts are counted over all as it is.)
    pub(crate) fn before(&self, mut last: Summary) -> Summary {
        let passes = self.sent.iter().rposition(|&sent| sent > 0).map_or(0, |pass| pass + 1).max(last.sent.len());
        last.sent.resize(passes, 0);
        last.sent.iter_mut().zip(0..).for_each(|(sent, pass)| *sent += self.sent(pass));
        last.again += self.again;
        last.controls += self.controls;
        last.replies += self.replies;
        last.duplicates += self.duplicates;
        last.strays = Strays::of_kinds(added(self.strays, last.strays.by_kind()));
        last.drops = Drops::of_layers(added(self.drops, last.drops.by_layer()));
        last.started = self.started;
        last.elapsed += self.elapsed;
        last.sending += self.sending;
        last.sent_at_least = self.at_least;
        last
    }
}

fn added<const N: usize>(past: [u64; N], more: [(&'static str, u64); N]) -> [u64; N] {
    std::array::from_fn(|at| past[at] + more[at].1)
}

/// Neighbouring addresses as ranges.
pub(crate) fn runs(addresses: impl Iterator<Item = IpAddr>) -> Vec<AddressRange> {
    let mut runs: Vec<AddressRange> = Vec::new();
    for address in addresses {
        match runs.last_mut() {
            Some(run) if follows(run.last(), address) => {
                *run = AddressRange::new(run.first(), address).unwrap_or(*run);
            }
            _ => runs.push(address.into()),
        }
    }
    runs
}

fn follows(one: IpAddr, next: IpAddr) -> bool {
    let (one, next) = (crate::target::Family::number(one), crate::target::Family::number(next));
    one.0 == next.0 && one.1.checked_add(1) == Some(next.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_begun() -> Checkpoint {
        Checkpoint::take(&Shared::new(64, 1), Time::ZERO)
    }

    /// Neighbours are asked before the first stripe is opened again.
    #[test]
    fn hosts_that_have_gone_meanwhile_are_known_at_once() {
        let resumed = nothing_begun();
        let shared = Shared::new(64, 1);
        shared.basis.lock().resumed = Some(Box::new(resumed));
        let gone: IpAddr = "10.0.0.7".parse().unwrap();
        assert_eq!(shared.news_of_down([gone].into_iter()), [gone]);
        let taken = Checkpoint::take(&shared, Time::ZERO);
        assert_eq!((taken.events(), taken.down().collect::<Vec<_>>()), (1, vec![AddressRange::from(gone)]));
    }

    /// The threads of a scan begin later than a checkpoint of it may be taken.
    #[test]
    fn notes_are_not_lost_before_they_have_found_their_places() {
        let mut resumed = nothing_begun();
        let target = Target { address: "10.0.0.7".parse().unwrap(), port: 80 };
        resumed.notes.push(Note { target, state: State::Open, silent: false });
        let shared = Shared::new(64, 1);
        *shared.basis.lock() = resumed.basis(Identity::default());
        assert_eq!(Checkpoint::take(&shared, Time::ZERO).notes.len(), 1);
    }

    #[test]
    fn what_was_sent_after_the_last_look_is_not_counted() {
        let at_least = |checkpoint: &Checkpoint| checkpoint.basis(Identity::default()).past.unwrap().at_least;
        let mut killed = nothing_begun();
        assert!(at_least(&killed));
        killed.last = true;
        assert!(!at_least(&killed), "nothing came after");
        let mut resumed = killed.clone();
        resumed.note_kill();
        assert!(at_least(&resumed), "before it had a checkpoint of its own");
        killed.tally.at_least = true;
        assert!(at_least(&killed), "of an earlier run");
    }
}
