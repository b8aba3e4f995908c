//! The account of a scan as text for people: a few lines on standard error, with what went wrong only if it did.

use std::collections::BTreeMap;
use std::time::Duration;

use super::account::{Account, PlanSize};
use super::text::{count, duration, grouped, round_trip};

/// Our own probes seen again on the loopback, and probes that left at the second attempt: normal, not worth a line.
const NO_NEWS: [&str; 2] = ["own", "send_retries"];

/// The summary of a scan, without a last line break.
pub(crate) fn text(account: &Account) -> String {
    let lines = [Some(found(account)), Some(sent(account)), Some(how(account)), not_probed(account), left_out(account)];
    let troubles = [("lost on this side", &account.drops), ("not ours", &account.strays)];
    let troubles = troubles.into_iter().map(|(title, counts)| listed(title, counts));
    lines.into_iter().chain(troubles).flatten().collect::<Vec<_>>().join("\n")
}

/// What a dry run says at its end.
pub(crate) fn dry_run(targets: u64, size: PlanSize, seed: u64) -> String {
    let (probes, hosts) = (count(targets, "probe"), count(size.hosts, "host"));
    format!("dry run: {probes} to {hosts} in the first pass, seed {seed}; nothing was sent")
}

fn found(account: &Account) -> String {
    let (targets, hosts) = (count(account.targets, "target"), count(account.hosts, "host"));
    let took = duration(Duration::from_micros(account.elapsed_us));
    let counts = &account.counts;
    let [open, closed, filtered] = [counts.open, counts.closed, counts.filtered].map(grouped);
    let silent = if counts.silent > 0 { format!(" ({} silent)", grouped(counts.silent)) } else { String::new() };
    let stopped = if account.outcome == "stopped" { "stopped early: " } else { "" };
    format!("{stopped}{targets} on {hosts} in {took}: {open} open, {closed} closed, {filtered} filtered{silent}")
}

fn sent(account: &Account) -> String {
    let mut parts =
        vec![format!("{} at {}/s", count(account.probes.total, "probe"), grouped(account.rate.round() as u64))];
    parts.push(if account.replies == 1 { "1 reply".into() } else { format!("{} replies", grouped(account.replies)) });
    if account.duplicates > 0 {
        parts.push(count(account.duplicates, "duplicate"));
    }
    parts.extend(account.srtt_us.map(|rtt| format!("round trip {}", round_trip(Duration::from_micros(rtt)))));
    parts.join(", ")
}

fn how(account: &Account) -> String {
    let settings = &account.settings;
    let method = if settings.method == "connect" { "connect()".into() } else { settings.links.join(" ") };
    [method, format!("seed {}", settings.seed)]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

fn not_probed(account: &Account) -> Option<String> {
    let down = count(account.hosts_down, "host");
    match (account.counts.not_probed, account.hosts_down) {
        (0, 0) => None,
        (targets, 0) => Some(format!("without a verdict: {}", count(targets, "target"))),
        (targets, _) => Some(format!("without a verdict: {} ({down} down)", count(targets, "target"))),
    }
}

fn left_out(account: &Account) -> Option<String> {
    let by = [(account.blocked, "by the blocklist"), (account.excluded, "excluded")];
    let parts: Vec<_> =
        by.into_iter().filter(|&(n, _)| n > 0).map(|(n, by)| format!("{} {by}", count(n, "address"))).collect();
    (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
}

fn listed(title: &str, counts: &BTreeMap<&str, u64>) -> Option<String> {
    let told = counts.iter().filter(|&(name, &n)| n > 0 && !NO_NEWS.contains(name));
    let parts: Vec<_> = told.map(|(name, &n)| format!("{} {}", grouped(n), name.replace('_', " "))).collect();
    (!parts.is_empty()).then(|| format!("{title}: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::account::Counts;
    use super::super::samples;
    use super::*;

    #[test]
    fn an_easy_scan() {
        insta::assert_snapshot!(text(&samples::account()), @r"
        65,535 targets on 1 host in 6.6 s: 3 open, 65,532 closed, 0 filtered
        65,540 probes at 9,999/s, 65,535 replies, round trip 312 µs
        raw_ip@lo, seed 18446744073709551615
        ");
    }

    #[test]
    fn a_hard_scan() {
        let account = Account {
            outcome: "stopped",
            hosts: 256,
            hosts_down: 3,
            blocked: 1,
            excluded: 7,
            counts: Counts { open: 1, closed: 2, filtered: 30, silent: 20, not_probed: 4_000 },
            duplicates: 2,
            strays: [("bad_ack", 5), ("wrong_port", 1), ("own", 9)].into(),
            drops: [("ring", 1_200), ("send_retries", 8)].into(),
            ..samples::account()
        };
        insta::assert_snapshot!(text(&account), @r"
        stopped early: 65,535 targets on 256 hosts in 6.6 s: 1 open, 2 closed, 30 filtered (20 silent)
        65,540 probes at 9,999/s, 65,535 replies, 2 duplicates, round trip 312 µs
        raw_ip@lo, seed 18446744073709551615
        without a verdict: 4,000 targets (3 hosts down)
        left out: 1 address by the blocklist, 7 addresses excluded
        lost on this side: 1,200 ring
        not ours: 5 bad ack, 1 wrong port
        ");
    }

    #[test]
    fn dry() {
        let size = PlanSize { hosts: 1, blocked: 0, excluded: 0 };
        let said = "dry run: 1,024 probes to 1 host in the first pass, seed 42; nothing was sent";
        assert_eq!(dry_run(1_024, size, 42), said);
    }
}
