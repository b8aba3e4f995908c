//! What changed between two scans, as far as both know. A target counts where each scan says what it is, or at least what it
//! is not: one that was covered and is not among the findings has a state that was not shown. What a scan did not probe it
//! knows nothing of: hosts that were down or skipped, what was not reached before a stop, what another shard had (the plan of a shard is its own).
//! A form that has no place for the plan (list, csv) has none for its end either: nobody can tell whether it is whole, so it
//! is known by what it lists. Who knows that it is whole can say so ([`Difference::of_wholes`]).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::address::Range;
use crate::coverage::{Coverage, Ports};
use crate::record::{Name, Show, State};
use crate::scan::{CUT, Host, Scan};

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whether nothing did; unknown where there was nothing to compare.
    pub same: Option<bool>,
    /// By host, in their order.
    pub hosts: Vec<HostChange>,
    /// How many targets were compared; none where neither scan says what it covered.
    pub compared: Option<u64>,
    /// Findings of the first scan of which the second knows nothing,
    pub unknown_in_b: u64,
    /// and the other way round.
    pub unknown_in_a: u64,
    /// What is to be said of it, in sentences.
    pub notes: Vec<String>,
}

/// What changed at a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostChange {
    /// The host.
    pub address: IpAddr,
    /// Whether it was down in one of the scans, and not in the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<UpOrDown>,
    /// Its ports.
    pub ports: Vec<PortChange>,
}

/// A host that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpOrDown {
    /// Appeared, or gone.
    pub change: Change,
    /// Why it is known to be down in the one.
    pub reason: Name,
    /// Its open ports in the other.
    pub open: Vec<u16>,
}

/// What changed at a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortChange {
    /// The port.
    pub port: u16,
    /// What became of it.
    pub change: Change,
    /// What it may have been; one state, if it was a finding,
    pub before: Vec<State>,
    /// and what it may be now.
    pub after: Vec<State>,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is open now, and was not; or the host is up.
    Appeared,
    /// It was open, and is not any more; or the host is down.
    Gone,
    /// It is something else, neither open before nor now.
    Changed,
}

impl Difference {
    /// From one scan to another.
    ///
    /// ```
    /// use halfopen_results::diff::{Change, Difference};
    /// use halfopen_results::read::{self, Malformed};
    ///
    /// let mut monday = &b"address,port,state\n192.0.2.1,22,open\n192.0.2.1,443,closed\n"[..];
    /// let mut tuesday = &b"address,port,state\n192.0.2.1,22,open\n192.0.2.1,443,open\n"[..];
    /// let (before, after) = (read::parse(&mut monday)?, read::parse(&mut tuesday)?);
    /// let difference = Difference::between(&before.expect("a csv"), &after.expect("a csv"));
    /// assert_eq!(difference.same, Some(false));
    /// let port = &difference.hosts[0].ports[0];
    /// assert_eq!((port.port, port.change), (443, Change::Appeared));
    /// # Ok::<(), Malformed>(())
    /// ```
    pub fn between(a: &Scan, b: &Scan) -> Difference {
        Difference::of(&View::new(a), &View::new(b))
    }

    /// The same where what does not say what it covered is known to be whole, and to have covered what the other did.
    pub fn of_wholes(a: &Scan, b: &Scan) -> Difference {
        Difference::of(&View::new(a).whole(), &View::new(b).whole())
    }

    fn of(one: &View<'_>, other: &View<'_>) -> Difference {
        let (a, b) = (one.scan, other.scan);
        let addresses: BTreeSet<_> = a.hosts.keys().chain(b.hosts.keys()).copied().collect();
        let mut unknown = (0, 0);
        let hosts = addresses.into_iter().filter_map(|address| host(address, one, other, &mut unknown));
        let hosts: Vec<_> = hosts.collect();
        let compared = compared(one, other);
        let known = !hosts.is_empty() || compared != Some(0) || have_met(one, other);
        Difference {
            same: known.then_some(hosts.is_empty()),
            hosts,
            compared,
            unknown_in_b: unknown.1,
            unknown_in_a: unknown.0,
            notes: notes(one, other),
        }
    }

    /// How many ports appeared, went, and changed otherwise.
    pub fn ports(&self) -> [usize; 3] {
        let of = |change| self.hosts.iter().flat_map(|host| &host.ports).filter(|port| port.change == change).count();
        [Change::Appeared, Change::Gone, Change::Changed].map(of)
    }

    /// How many hosts came up and went down.
    pub fn hosts(&self) -> [usize; 2] {
        let of =
            |change| self.hosts.iter().filter(|host| host.host.as_ref().is_some_and(|it| it.change == change)).count();
        [Change::Appeared, Change::Gone].map(of)
    }
}

/// What a scan knows: of each target, what it may be.
#[derive(Debug)]
pub struct View<'a> {
    scan: &'a Scan,
    covers: Covers,
    show: Show,
    /// Hosts with ports that were counted, each of whose ports is either listed or counted.
    accounted: BTreeSet<IpAddr>,
}

#[derive(Debug)]
enum Covers {
    /// The plan without what was not probed.
    Plan(Coverage),
    /// Nothing but what it has found, and why.
    Findings(&'static str),
    /// What the other did.
    AsTheOther,
}

/// Of a scan that has no place for what it covered.
const UNSAID: &str = "does not say what it covered, nor whether it is whole";

impl<'a> View<'a> {
    /// Of a scan.
    pub fn new(scan: &'a Scan) -> View<'a> {
        let Some(header) = &scan.header else {
            let shown = |state| state == State::Open || scan.count(state) > 0;
            let [open, closed, filtered] = State::ALL.map(shown);
            let show = Show { open, closed, filtered, down: false };
            return View { scan, covers: Covers::Findings(UNSAID), show, accounted: BTreeSet::new() };
        };
        let covers = match &scan.summary {
            _ if header.settings.filter.is_some() => Covers::Findings("was filtered"),
            Some(summary) if summary.outcome == "complete" => {
                let plan = header.coverage.without(&summary.unprobed);
                Covers::Plan(if summary.names_unprobed() { plan } else { heard(&plan, scan) })
            }
            Some(_) => Covers::Findings("was stopped"),
            None => Covers::Findings("did not end"),
        };
        View { scan, accounted: accounted(scan, &header.coverage), covers, show: header.settings.show }
    }

    /// The same of a scan that does not say what it covered, but is known to be whole.
    fn whole(self) -> View<'a> {
        match self.covers {
            Covers::Findings(UNSAID) if !self.scan.is_cut() => View { covers: Covers::AsTheOther, ..self },
            _ => self,
        }
    }

    fn host(&self, address: IpAddr) -> Option<&'a Host> {
        self.scan.hosts.get(&address)
    }

    /// What a target may be; nothing if nobody knows.
    pub fn states(&self, address: IpAddr, port: u16) -> Vec<State> {
        let host = self.host(address);
        if let Some(verdict) = host.and_then(|host| host.ports.get(&port)) {
            return vec![verdict.state];
        }
        let covered = match &self.covers {
            Covers::Plan(plan) => plan.contains(address, port),
            Covers::Findings(_) => false,
            Covers::AsTheOther => true,
        };
        if !covered || host.is_some_and(|host| host.down.is_some()) { Vec::new() } else { self.others(address, host) }
    }

    /// What those ports of a host may be that were covered and are not among the findings: what was counted, or if that are
    /// not all of them (nmap's grepable form counts one state only), whatever is not shown.
    fn others(&self, address: IpAddr, host: Option<&Host>) -> Vec<State> {
        let counted = |state: State| host.is_some_and(|host| host.counted(state) > 0);
        let all = self.accounted.contains(&address);
        let hidden = self.scan.summary.as_ref().is_some_and(|summary| summary.suspects_hidden > 0);
        let may = |&state: &State| {
            let unlisted = counted(state) || (!all && !self.show.state(state));
            unlisted || (hidden && state == State::Open)
        };
        State::ALL.into_iter().filter(may).collect()
    }

    /// Whether something of it was heard.
    fn is_up(&self, address: IpAddr) -> bool {
        let answers = |host: &Host| host.ports.values().any(|verdict| verdict.state != State::Filtered);
        self.host(address).is_some_and(answers)
    }

    fn down(&self, address: IpAddr) -> Option<&'a Name> {
        self.host(address).and_then(|host| host.down.as_ref())
    }

    fn findings(&self) -> Coverage {
        self.scan
            .hosts
            .iter()
            .flat_map(|(&address, host)| host.ports.keys().map(move |&port| (address, port)))
            .collect()
    }
}

/// The hosts with counted ports of which no port of the plan is left that is neither listed nor counted.
fn accounted(scan: &Scan, plan: &Coverage) -> BTreeSet<IpAddr> {
    let is_accounted = |&(&address, host): &(&IpAddr, &Host)| {
        let counted: u64 = State::ALL.into_iter().map(|state| host.counted(state)).sum();
        let ports = plan.ports(address).filter(|_| counted > 0);
        ports.is_some_and(|ports| u64::from(ports.len()) <= counted + listed(host, ports))
    };
    scan.hosts.iter().filter(is_accounted).map(|(&address, _)| address).collect()
}

/// How many of these ports are among a host's findings.
fn listed(host: &Host, ports: &Ports) -> u64 {
    host.ports.keys().filter(|&&port| ports.contains(port)).count() as u64
}

/// The hosts that something is known of: where a scan does not say which hosts it skipped, any other may be among them.
fn heard(plan: &Coverage, scan: &Scan) -> Coverage {
    let ports = |&address: &IpAddr| Some((Range::single(address), Arc::new(plan.ports(address)?.clone())));
    scan.hosts.keys().filter_map(ports).collect()
}

fn host(address: IpAddr, a: &View<'_>, b: &View<'_>, unknown: &mut (u64, u64)) -> Option<HostChange> {
    let ports = |view: &View<'_>| {
        view.host(address).into_iter().flat_map(|host| host.ports.keys().copied()).collect::<BTreeSet<_>>()
    };
    let up_or_down = up_or_down(address, a, b);
    let mut changes = Vec::new();
    for port in &ports(a) | &ports(b) {
        let (before, after) = (a.states(address, port), b.states(address, port));
        match (before.is_empty(), after.is_empty()) {
            _ if up_or_down.is_some() => {}
            (true, _) => unknown.0 += 1,
            (_, true) => unknown.1 += 1,
            _ => changes.extend(change(port, before, after)),
        }
    }
    let changed = up_or_down.is_some() || !changes.is_empty();
    changed.then_some(HostChange { address, host: up_or_down, ports: changes })
}

fn up_or_down(address: IpAddr, a: &View<'_>, b: &View<'_>) -> Option<UpOrDown> {
    let (change, reason, other) = match (a.down(address), b.down(address)) {
        (Some(reason), None) if b.is_up(address) => (Change::Appeared, reason, b),
        (None, Some(reason)) if a.is_up(address) => (Change::Gone, reason, a),
        _ => return None,
    };
    let open = other.host(address).into_iter().flat_map(|host| host.ports.values());
    let open = open.filter(|verdict| verdict.state == State::Open).map(|verdict| verdict.port).collect();
    Some(UpOrDown { change, reason: reason.clone(), open })
}

/// It has changed if it cannot be what it was.
fn change(port: u16, before: Vec<State>, after: Vec<State>) -> Option<PortChange> {
    if before.iter().any(|state| after.contains(state)) {
        return None;
    }
    let change = match () {
        () if after == [State::Open] => Change::Appeared,
        () if before == [State::Open] => Change::Gone,
        () => Change::Changed,
    };
    Some(PortChange { port, change, before, after })
}

/// Whether both were to look at some target and were at it to the end, even if all of it was down.
fn have_met(a: &View<'_>, b: &View<'_>) -> bool {
    let plan = |view: &View<'_>| match view.covers {
        Covers::Plan(_) => view.scan.header.as_ref().map(|header| header.coverage.clone()),
        _ => None,
    };
    plan(a).zip(plan(b)).is_some_and(|(a, b)| a.intersection(&b).targets() > 0)
}

/// How many targets both scans know something of.
fn compared(a: &View<'_>, b: &View<'_>) -> Option<u64> {
    let of = |view: &View<'_>, other: &View<'_>| match (&view.covers, &other.covers) {
        (Covers::Plan(plan), _) | (Covers::AsTheOther, Covers::Plan(plan)) => Some(plan.clone()),
        (Covers::Findings(_), _) => Some(view.findings()),
        (Covers::AsTheOther, Covers::Findings(_)) => Some(other.findings()),
        (Covers::AsTheOther, Covers::AsTheOther) => None,
    };
    let both = of(a, b)?.intersection(&of(b, a)?);
    Some(u64::try_from(both.targets()).unwrap_or(u64::MAX))
}

fn notes(a: &View<'_>, b: &View<'_>) -> Vec<String> {
    let of = |(view, name): (&View<'_>, &str)| match &view.covers {
        Covers::Plan(_) => None,
        Covers::Findings(why) => Some(format!("{name} {why}: it is compared only in what it has found")),
        Covers::AsTheOther => Some(format!("{name} is taken to be whole, and to have covered what the other did")),
    };
    let warned = |(view, name): (&View<'_>, &str)| view.scan.is_cut().then(|| format!("{name}: {CUT}"));
    let views = [(a, "the first scan"), (b, "the second scan")];
    views.into_iter().filter_map(of).chain(views.into_iter().filter_map(warned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Discovery, Header, HostDown, Record, Rest, Settings, Summary, Verdict};

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// A scan of some hosts by ports 1-10 that shows this, complete.
    fn scan(hosts: &str, show: Show, findings: &[(u8, u16, State)]) -> Scan {
        let ports = Arc::new("1-10".parse().unwrap());
        let coverage = [(hosts.parse().unwrap(), ports)].into_iter().collect();
        let settings = Settings { show, ..Settings::default() };
        let summary = Summary { outcome: "complete".into(), ..Summary::default() };
        let mut scan = Scan::default();
        scan.add(Record::Scan(Box::new(Header { settings, coverage, ..Header::default() })));
        findings
            .iter()
            .for_each(|&(host, port, state)| scan.add(Record::Verdict(Verdict::bare(address(host), port, state))));
        scan.add(Record::Summary(Box::new(summary)));
        scan
    }

    fn list(findings: &[(u8, u16)]) -> Scan {
        let mut scan = Scan::default();
        findings.iter().for_each(|&(host, port)| scan.add(Record::Verdict(Verdict::bare(address(host), port, Open))));
        scan
    }

    fn shown(difference: &Difference) -> Vec<String> {
        let of = |host: &HostChange| {
            let it = host.host.iter().map(|it| format!("{} {:?} {} {:?}", host.address, it.change, it.reason, it.open));
            let ports = host
                .ports
                .iter()
                .map(|p| format!("{}:{} {:?} {:?} {:?}", host.address, p.port, p.change, p.before, p.after));
            it.chain(ports).collect::<Vec<_>>()
        };
        difference.hosts.iter().flat_map(of).collect()
    }

    use State::{Closed, Filtered, Open};
    const NET: &str = "192.0.2.0/24";

    #[test]
    fn a_scan_is_the_same_as_itself() {
        let one = scan(NET, Show::ALL, &[(1, 1, Open), (1, 2, Closed), (2, 3, Filtered)]);
        let difference = Difference::between(&one, &one);
        assert!(difference.same == Some(true) && difference.hosts.is_empty());
        assert_eq!((difference.compared, difference.unknown_in_a, difference.unknown_in_b), (Some(2560), 0, 0));
        assert!(difference.notes.is_empty());
    }

    #[test]
    fn what_appeared_went_and_changed() {
        let before = scan(NET, Show::ALL, &[(1, 1, Open), (1, 2, Closed), (1, 3, Closed), (1, 4, Open)]);
        let after = scan(NET, Show::ALL, &[(1, 1, Closed), (1, 2, Open), (1, 3, Filtered), (1, 4, Open)]);
        let difference = Difference::between(&before, &after);
        let expected = [
            "192.0.2.1:1 Gone [Open] [Closed]",
            "192.0.2.1:2 Appeared [Closed] [Open]",
            "192.0.2.1:3 Changed [Closed] [Filtered]",
        ];
        assert_eq!(shown(&difference), expected);
        assert_eq!((difference.ports(), difference.same), ([1, 1, 1], Some(false)));
    }

    #[test]
    fn what_is_not_shown_is_known_not_to_be_open() {
        let before = scan(NET, Show::OPEN, &[(1, 1, Open), (2, 2, Open)]);
        let after = scan(NET, Show::OPEN, &[(1, 1, Open), (3, 3, Open)]);
        let expected = ["192.0.2.2:2 Gone [Open] [Closed, Filtered]", "192.0.2.3:3 Appeared [Closed, Filtered] [Open]"];
        assert_eq!(shown(&Difference::between(&before, &after)), expected);
        // Closed is one of the things that it may have been.
        let closed = scan(NET, Show::ALL, &[(1, 1, Open), (2, 2, Open), (9, 9, Closed)]);
        assert_eq!(Difference::between(&before, &closed).same, Some(true));
    }

    #[test]
    fn only_where_both_covered_it() {
        let before = scan("192.0.2.0/25", Show::OPEN, &[(1, 1, Open), (2, 2, Open)]);
        let after = scan("192.0.2.2-192.0.2.255", Show::OPEN, &[(200, 1, Open)]);
        let difference = Difference::between(&before, &after);
        assert_eq!(shown(&difference), ["192.0.2.2:2 Gone [Open] [Closed, Filtered]"]);
        assert_eq!((difference.compared, difference.unknown_in_a, difference.unknown_in_b), (Some(1260), 1, 1));
    }

    #[test]
    fn a_host_that_is_down_is_unknown_or_gone() {
        let up = scan(NET, Show::ALL, &[(1, 1, Open), (1, 2, Closed), (2, 1, Filtered)]);
        let mut down = scan(NET, Show::ALL, &[]);
        for host in [1, 2, 3] {
            down.add(Record::HostDown(HostDown { address: address(host), reason: "no-arp".into() }));
        }
        let unprobed = ["192.0.2.1-192.0.2.3".parse().unwrap()].into_iter().collect();
        down.summary = down.summary.map(|summary| Summary { unprobed, ..summary });
        let difference = Difference::between(&up, &down);
        assert_eq!(shown(&difference), ["192.0.2.1 Gone no-arp [1]"]);
        assert_eq!((difference.hosts(), difference.unknown_in_b, difference.compared), ([0, 1], 1, Some(2530)));
        assert_eq!(shown(&Difference::between(&down, &up)), ["192.0.2.1 Appeared no-arp [1]"]);
    }

    #[test]
    fn a_scan_that_did_not_end_knows_what_it_found() {
        let before = scan(NET, Show::OPEN, &[(1, 1, Open), (2, 2, Open)]);
        for outcome in [Some("stopped"), None] {
            let mut after = scan(NET, Show::ALL, &[(1, 1, Closed), (3, 3, Open)]);
            after.summary = outcome.map(|outcome| Summary { outcome: outcome.into(), ..Summary::default() });
            let difference = Difference::between(&before, &after);
            let expected = ["192.0.2.1:1 Gone [Open] [Closed]", "192.0.2.3:3 Appeared [Closed, Filtered] [Open]"];
            assert_eq!(shown(&difference), expected);
            assert_eq!((difference.compared, difference.unknown_in_b), (Some(2), 1));
            assert_eq!(difference.notes.len(), 1);
        }
    }

    #[test]
    fn filters_cover_what_they_found() {
        let before = scan(NET, Show::OPEN, &[(1, 1, Open)]);
        let mut filtered = scan(NET, Show::OPEN, &[]);
        filtered.header = filtered.header.map(|header| {
            let settings = Settings { filter: Some("port > 1".into()), ..header.settings };
            Header { settings, ..header }
        });
        let difference = Difference::between(&before, &filtered);
        // The filter may have left out anything.
        assert_eq!((difference.same, difference.compared, difference.unknown_in_b), (None, Some(0), 1));
    }

    #[test]
    fn where_nothing_was_compared_nobody_knows_whether_anything_changed() {
        let one = scan("192.0.2.0/25", Show::OPEN, &[(1, 1, Open)]);
        let other = scan("192.0.2.128/25", Show::OPEN, &[(200, 1, Open)]);
        let apart = Difference::between(&one, &other);
        assert_eq!((apart.same, apart.compared, apart.unknown_in_a, apart.unknown_in_b), (None, Some(0), 1, 1));
        assert_eq!(Difference::between(&list(&[]), &list(&[])).same, None);
        assert_eq!(Difference::of_wholes(&list(&[]), &list(&[])).same, Some(true));
        // A network that was down both times is as it was.
        let mut down = scan("192.0.2.7", Show::OPEN, &[]);
        let unprobed = [("192.0.2.7".parse().unwrap())].into_iter().collect();
        down.summary = down.summary.map(|summary| Summary { unprobed, ..summary });
        let difference = Difference::between(&down, &down);
        assert_eq!((difference.same, difference.compared), (Some(true), Some(0)));
    }

    #[test]
    fn lists_that_are_whole_cover_what_the_other_did() {
        let difference = Difference::of_wholes(&list(&[(1, 1), (2, 2)]), &list(&[(1, 1), (3, 3)]));
        assert_eq!((difference.ports(), difference.compared), ([1, 1, 0], None));
        assert_eq!(difference.notes.len(), 2);
        let narrow = scan("192.0.2.1", Show::OPEN, &[]);
        let difference = Difference::of_wholes(&list(&[(1, 1), (2, 2)]), &narrow);
        assert_eq!(shown(&difference), ["192.0.2.1:1 Gone [Open] [Closed, Filtered]"]);
        assert_eq!((difference.compared, difference.unknown_in_b), (Some(10), 1));
    }

    #[test]
    fn a_list_may_be_half_of_one() {
        let before = scan(NET, Show::OPEN, &[(1, 1, Open), (2, 2, Open)]);
        let difference = Difference::between(&before, &list(&[(1, 1), (3, 3)]));
        assert_eq!(shown(&difference), ["192.0.2.3:3 Appeared [Closed, Filtered] [Open]"]);
        assert_eq!((difference.compared, difference.unknown_in_b), (Some(2), 1));
        let expected = "the second scan does not say what it covered, nor whether it is whole: it is compared only in what it has found";
        assert_eq!(difference.notes, [expected]);
        // One that is known to be cut off is not whole, whatever is said.
        let mut cut = list(&[(1, 1)]);
        cut.add(Record::Warning(crate::record::Message { message: CUT.into() }));
        let difference = Difference::of_wholes(&before, &cut);
        assert_eq!((difference.same, difference.unknown_in_b, difference.notes.len()), (Some(true), 1, 2));
    }

    #[test]
    fn what_was_counted_is_known() {
        let before = scan(NET, Show::ALL, &[(1, 1, Filtered)]);
        let mut after = scan(NET, Show::ALL, &[(1, 2, Open)]);
        after.add(Record::Rest(Rest { address: address(1), state: Closed, reason: "rst".into(), count: 9 }));
        assert_eq!(shown(&Difference::between(&before, &after)), ["192.0.2.1:1 Changed [Filtered] [Closed]"]);
    }

    #[test]
    fn what_was_counted_in_part_is_not_all_there_is() {
        let before = scan(NET, Show::ALL, &[(1, 1, Filtered), (1, 3, Open)]);
        let mut after = scan(NET, Show::OPEN, &[(1, 2, Open)]);
        after.add(Record::Rest(Rest { address: address(1), state: Closed, reason: "".into(), count: 8 }));
        let difference = Difference::between(&before, &after);
        assert_eq!(shown(&difference), ["192.0.2.1:3 Gone [Open] [Closed, Filtered]"]);
    }

    #[test]
    fn hosts_that_were_skipped_are_unknown() {
        let before = scan(NET, Show::OPEN, &[(1, 1, Open), (2, 1, Open)]);
        let mut after = scan(NET, Show::OPEN, &[(1, 2, Open)]);
        let discovery = Some(Discovery { skipped_hosts: 254, ..Discovery::default() });
        after.summary = after.summary.map(|summary| Summary { discovery, ..summary });
        let difference = Difference::between(&before, &after);
        let expected = ["192.0.2.1:1 Gone [Open] [Closed, Filtered]", "192.0.2.1:2 Appeared [Closed, Filtered] [Open]"];
        assert_eq!(shown(&difference), expected);
        assert_eq!((difference.compared, difference.unknown_in_b), (Some(10), 1));
        // Of those that are not among the named ones more is known.
        let unprobed = ["192.0.2.0".parse().unwrap(), "192.0.2.3-192.0.2.255".parse().unwrap()].into_iter().collect();
        after.summary = after.summary.map(|summary| Summary { unprobed, ..summary });
        let difference = Difference::between(&before, &after);
        assert_eq!(shown(&difference)[2..], ["192.0.2.2:1 Gone [Open] [Closed, Filtered]"]);
        assert_eq!((difference.compared, difference.unknown_in_b), (Some(20), 0));
    }

    #[test]
    fn what_was_left_out_as_suspect_may_be_open() {
        let before = scan(NET, Show::OPEN, &[(1, 1, Open)]);
        let mut after = scan(NET, Show::OPEN, &[]);
        after.summary = after.summary.map(|summary| Summary { suspects_hidden: 1, ..summary });
        assert_eq!(Difference::between(&before, &after).same, Some(true));
    }
}
