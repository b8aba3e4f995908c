//! The account of a scan as text for people: a few lines on standard error, with what went wrong only if it did.

use std::collections::BTreeMap;
use std::time::Duration;

use halfopen::State;

use halfopen_results::record::{Estimate, Name, RateLimit};

use halfopen_results::record::Commands;

use super::account::{Account, PlanSize};
use super::text::{count, counted_states, duration, grouped, round_trip};

/// Our own probes seen again on the loopback, what others say to each other, and probes that left at the second attempt:
/// normal, not worth a line.
const NO_NEWS: [&str; 3] = ["own", "unrelated", "send_retries"];
/// When so much may be lost by what is known, there was too little to go by.
const UNSURE: f64 = 0.1;
/// A rate over a shorter time says nothing.
const BRIEF: Duration = Duration::from_millis(20);
const ALL_PORTS: u64 = 65_535;

/// The summary of a scan, without a last line break.
pub(crate) fn text(account: &Account) -> String {
    let lines = [
        Some(found(account)),
        complete(account),
        Some(sent(account)),
        Some(how(account)),
        discovered(account),
        suspects(account),
        unclassified(account),
        left_out(account),
        commands(account),
    ];
    let troubles = [("lost on this side", &account.drops), ("replies not ours", &account.strays)];
    let troubles = troubles.into_iter().map(|(title, counts)| listed(title, counts));
    lines.into_iter().chain(troubles).flatten().collect::<Vec<_>>().join("\n")
}

/// What became of the commands of `--then`.
fn commands(account: &Account) -> Option<String> {
    let Commands { run, failed, left } = account.commands?;
    let of = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", grouped(number)));
    let parts = [of(run, "run").or(Some("none run".into())), of(failed, "failed"), of(left, "not begun")];
    Some(format!("commands: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", ")))
}

/// What a dry run says at its end.
pub(crate) fn dry_run(size: PlanSize, seed: u64) -> String {
    let (probes, hosts) = (count(size.targets, "probe"), count(size.hosts, "host"));
    format!("dry run: {probes} to {hosts} in the first pass, seed {seed}; nothing was sent")
}

/// What could be tried next, when there is little to see.
pub(crate) fn hint(account: &Account) -> Option<&'static str> {
    let Account { counts, hosts, hosts_down, targets, .. } = account;
    let lost = ["ring", "device_rx"].into_iter().any(|layer| account.drops.get(layer).is_some_and(|&n| n > 0));
    match () {
        () if account.outcome == "stopped" => None,
        () if is_held(account) => {
            Some("a host got at most 1,000 probes a second; --host-rate none where it can take more")
        }
        () if lost => Some("replies were lost on this side: a lower --rate loses fewer"),
        () if counts.open > 0 => None,
        () if hosts_down == hosts => Some("no host answers on this link; --show down names them"),
        () if account.discovery.as_ref().is_some_and(|found| found.alive == 0) => {
            Some("no host answers; --discover off probes all ports of all hosts")
        }
        () if counts.closed == 0 => {
            Some("nothing answered: no host, or a firewall drops the probes; --completeness 100% asks more often")
        }
        () if *targets < hosts.saturating_mul(ALL_PORTS) => {
            Some("-p- scans all 65,535 ports, --show all prints every verdict")
        }
        () => Some("--show all prints every verdict"),
    }
}

/// Whether it was the bound of what a host gets that made it long.
fn is_held(account: &Account) -> bool {
    let bound = 1_000.0 * account.hosts as f64;
    let word = |rate: &RateLimit, said| matches!(rate, RateLimit::Word(word) if word == said);
    word(&account.settings.rate, "auto")
        && word(&account.settings.host_rate, "auto")
        && account.elapsed_us > 5_000_000
        && (0.9 * bound..1.1 * bound).contains(&account.rate)
}

fn found(account: &Account) -> String {
    let (targets, hosts) = (count(account.targets, "target"), count(account.hosts, "host"));
    let took = duration(Duration::from_micros(account.elapsed_us));
    let counts = &account.counts;
    let mut found = counted_states([counts.open, counts.closed, counts.filtered]);
    if counts.open == 0 && counts.closed + counts.filtered > 0 {
        found.insert_str(0, &format!("0 {}, ", State::Open));
    }
    let silent = if counts.silent > 0 { format!(" ({} silent)", grouped(counts.silent)) } else { String::new() };
    let stopped = if account.outcome == "stopped" { "stopped early: " } else { "" };
    format!("{stopped}{targets} on {hosts} in {took}: {found}{silent}")
}

/// How complete it is, by its own measurements, in words.
fn complete(account: &Account) -> Option<String> {
    let measured = account.completeness.as_ref()?;
    let passes = count(measured.passes.into(), "pass").replace("passs", "passes");
    let after = match &*measured.ended {
        "passes" => format!("after {passes}, the limit"),
        _ => format!("after {passes}"),
    };
    Some(match (measured.missing_open, measured.loss) {
        (None, _) if account.counts.silent == 0 => return None,
        // Of targets that came in one batch after the other.
        (None, _) if account.counts.open + account.counts.closed > 0 => format!(
            "of targets that came in together at times nothing answered {after}: nobody can vouch for what is silent there"
        ),
        (None, _) => format!(
            "nothing answered {after}: there is nothing to measure loss by, so nobody can vouch for what is silent"
        ),
        (Some(_), _) if account.counts.silent == 0 || account.outcome == "stopped" => return None,
        (Some(_), _) if measured.gone > 0 => {
            let prefixes = match measured.gone {
                1 => "1 prefix".to_owned(),
                gone => count(gone, "prefix").replace("prefixs", "prefixes"),
            };
            format!("{prefixes} stopped answering in mid-scan: nobody can vouch for what is silent there")
        }
        (Some(open), Some(loss)) if loss.high > UNSURE && open.high < 1.0 => {
            format!("no open port missed {after}, as far as can be told from so few answers; {}", lost(loss.expected))
        }
        (Some(open), loss) => {
            let loss = loss.map_or(String::new(), |loss| format!("; {}", lost(loss.expected)));
            format!("{} {after}{loss}", missing(open))
        }
    })
}

fn missing(open: Estimate) -> String {
    let most = grouped(open.high as u64);
    match (open.high as u64, open.low as u64) {
        (0, _) => "no open port missed (97.5 %)".into(),
        (_, 0) => format!("open ports missed: {} expected, at most {most} (95 %)", decimal(open.expected)),
        (_, least) => {
            format!("open ports missed: {} expected, {} to {most} (95 %)", decimal(open.expected), grouped(least))
        }
    }
}

fn lost(share: f64) -> String {
    if share <= 0.0 { "no probe was seen lost".into() } else { format!("{} of probes lost", percent(share)) }
}

fn decimal(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { grouped(number.round() as u64) }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent <= 0.0 => "none".into(),
        percent if percent < 0.01 => "under 0.01 %".into(),
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent => format!("{percent:.1} %"),
    }
}

fn sent(account: &Account) -> String {
    let least = if account.probes.at_least { "at least " } else { "" };
    let mut probes = format!("{least}{}", count(account.probes.total, "probe"));
    let repeated: u64 = account.probes.by_pass.iter().skip(1).sum();
    let parts = [
        (repeated, "repeated"),
        (account.probes.again, "again after drops on this side"),
        (account.probes.controls, "to control ports"),
        (account.probes.canaries, "to measure the loss"),
    ];
    let parts: Vec<_> =
        parts.into_iter().filter(|&(n, _)| n > 0).map(|(n, why)| format!("{} of them {why}", grouped(n))).collect();
    if !parts.is_empty() {
        probes += &format!(" ({})", parts.join(", "));
    }
    if Duration::from_micros(account.sending_us) >= BRIEF {
        probes += &format!(" at {}/s", grouped(account.rate.round() as u64));
    }
    let replies = if account.replies == 1 { "1 reply".into() } else { format!("{} replies", grouped(account.replies)) };
    let duplicates = (account.duplicates > 0).then(|| count(account.duplicates, "duplicate"));
    let rtt = account.srtt_us.map(|rtt| format!("round trip {}", round_trip(Duration::from_micros(rtt))));
    [Some(probes), Some(replies), duplicates, rtt].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn how(account: &Account) -> String {
    let settings = &account.settings;
    let scan = match &*settings.method {
        "connect" => "connect() scan".into(),
        _ => format!("SYN scan over {}", settings.links.join(" and ")),
    };
    format!("{scan}, seed {}", settings.seed)
}

/// Who was left out because nothing was heard of them, and how to overrule it.
fn discovered(account: &Account) -> Option<String> {
    let found = account.discovery.as_ref()?;
    let (alive, hosts) = (grouped(found.alive), count(found.hosts, "host"));
    let answer = if found.hosts == 1 { "answers" } else { "answer" };
    let skipped = (found.skipped_hosts > 0).then(|| {
        let (hosts, targets) = (count(found.skipped_hosts, "host"), count(found.skipped_targets, "target"));
        format!("; {hosts} ({targets}) skipped, --discover off scans them too")
    });
    Some(format!("discovery: {alive} of {hosts} {answer}{}", skipped.unwrap_or_default()))
}

fn suspects(account: &Account) -> Option<String> {
    let open = format!("open ports of {}", count(account.suspect_hosts, "host"));
    let hidden = count(account.suspects_hidden, "port");
    match (account.suspect_hosts, account.suspects_hidden) {
        (0, 0) => None,
        (_, 0) => Some(format!("suspect: {open} (tarpit, proxy or forger); --hide-suspect leaves them out")),
        _ => Some(format!("suspect: {open} (tarpit, proxy or forger); left out: {hidden}")),
    }
}

/// Those that were skipped have a line of their own.
fn unclassified(account: &Account) -> Option<String> {
    let skipped = account.discovery.as_ref().map_or(0, |found| found.skipped_targets);
    let unclassified = account.counts.unclassified.saturating_sub(skipped);
    let targets = count(unclassified, "target");
    let are_down = match account.hosts_down {
        0 => None,
        1 => Some("1 host that is down".to_owned()),
        hosts => Some(format!("{} that are down", count(hosts, "host"))),
    };
    match (unclassified, &*account.outcome, are_down) {
        (0, ..) => None,
        (_, "stopped", None) => Some(format!("without a verdict: {targets}")),
        (_, "stopped", Some(hosts)) => Some(format!("without a verdict: {targets}, those of {hosts} among them")),
        (_, _, None) => Some(format!("without a verdict: {targets}")),
        (_, _, Some(hosts)) => Some(format!("not probed: {targets} of {hosts} (no answer to ARP or NDP)")),
    }
}

fn left_out(account: &Account) -> Option<String> {
    let by = [(account.blocked, "by the blocklist"), (account.excluded, "excluded")];
    let parts: Vec<_> =
        by.into_iter().filter(|&(n, _)| n > 0).map(|(n, by)| format!("{} {by}", count(n, "address"))).collect();
    (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
}

fn listed(title: &str, counts: &BTreeMap<Name, u64>) -> Option<String> {
    let told = counts.iter().filter(|&(name, &n)| n > 0 && !NO_NEWS.contains(&&**name));
    let parts: Vec<_> = told.map(|(name, &n)| format!("{} {}", grouped(n), said(name))).collect();
    (!parts.is_empty()).then(|| format!("{title}: {}", parts.join(", ")))
}

/// A layer's losses, or a kind of stray, in words.
fn said(name: &str) -> String {
    let words = match name {
        "ring" => "replies (receive buffer full)",
        "device_rx" => "packets received (device)",
        "device_tx" => "packets to send (device)",
        "send_drops" => "probes (dropped by the device)",
        "send_errors" => "probes (refused by the kernel)",
        "wrong_port" => "to a port that is not ours",
        "foreign" => "from an address or port not asked",
        "bad_ack" => "with a wrong acknowledgement",
        "bad_quote" => "with a wrong quotation (ICMP)",
        "late" => "too late",
        other => return other.replace('_', " "),
    };
    words.into()
}

#[cfg(test)]
mod tests {
    use halfopen_results::record::{Counts, Discovery, Probes, Settings};

    use super::super::samples;
    use super::*;

    #[test]
    fn an_easy_scan() {
        insta::assert_snapshot!(text(&samples::account()), @r"
        65,535 targets on 1 host in 6.6 s: 3 open, 65,532 closed
        65,540 probes (5 of them repeated) at 9,999/s, 65,535 replies, round trip 312 µs
        SYN scan over raw_ip@lo, seed 18446744073709551615
        ");
    }

    #[test]
    fn a_scan_of_a_moment() {
        let one = |open, closed| Counts { open, closed, filtered: 0, silent: 0, unclassified: 0 };
        let account = Account {
            targets: 1,
            counts: one(0, 1),
            probes: Probes { total: 1, at_least: false, by_pass: vec![1, 0], again: 0, controls: 0, canaries: 0 },
            replies: 1,
            elapsed_us: 101_000,
            sending_us: 150,
            ..samples::account()
        };
        insta::assert_snapshot!(text(&account), @r"
        1 target on 1 host in 0.1 s: 0 open, 1 closed
        1 probe, 1 reply, round trip 312 µs
        SYN scan over raw_ip@lo, seed 18446744073709551615
        ");
        let without_rights =
            Settings { method: "connect".into(), links: vec!["connect".into()], ..account.settings.clone() };
        let account = Account { settings: without_rights, counts: one(1, 0), ..account };
        insta::assert_snapshot!(text(&account), @r"
        1 target on 1 host in 0.1 s: 1 open
        1 probe, 1 reply, round trip 312 µs
        connect() scan, seed 18446744073709551615
        ");
    }

    #[test]
    fn a_link_without_hosts() {
        let account = Account {
            targets: 16,
            hosts: 8,
            hosts_down: 8,
            counts: Counts { open: 0, closed: 0, filtered: 0, silent: 0, unclassified: 16 },
            probes: Probes { total: 0, at_least: false, by_pass: vec![0, 0], again: 0, controls: 0, canaries: 0 },
            replies: 0,
            sending_us: 4,
            srtt_us: None,
            ..samples::account()
        };
        insta::assert_snapshot!(text(&account), @r"
        16 targets on 8 hosts in 6.6 s: 0 open
        0 probes, 0 replies
        SYN scan over raw_ip@lo, seed 18446744073709551615
        not probed: 16 targets of 8 hosts that are down (no answer to ARP or NDP)
        ");
        assert_eq!(hint(&account), Some("no host answers on this link; --show down names them"));
    }

    #[test]
    fn a_network_that_is_mostly_dark() {
        let discovery = Discovery {
            hosts: 1_024,
            alive: 37,
            skipped_hosts: 987,
            skipped_targets: 98_700,
            probes: 19_800,
            elapsed_us: 3_000_000,
        };
        let account = Account {
            targets: 102_400,
            hosts: 1_024,
            counts: Counts { open: 3, closed: 3_690, filtered: 7, silent: 7, unclassified: 98_700 },
            discovery: Some(discovery.clone()),
            ..samples::account()
        };
        let said = text(&account);
        let line =
            "discovery: 37 of 1,024 hosts answer; 987 hosts (98,700 targets) skipped, --discover off scans them too";
        assert!(said.lines().any(|said| said == line) && !said.contains("without a verdict"), "{said}");
        let all = Discovery { alive: 1_024, skipped_hosts: 0, skipped_targets: 0, ..discovery.clone() };
        let said = text(&Account { discovery: Some(all), ..account.clone() });
        assert!(said.contains("\ndiscovery: 1,024 of 1,024 hosts answer\n"), "{said}");
        let nobody = Discovery { alive: 0, ..discovery };
        let counts = Counts { open: 0, closed: 0, filtered: 0, silent: 0, unclassified: 102_400 };
        assert!(hint(&Account { discovery: Some(nobody), counts, ..account }).unwrap().contains("--discover off"));
    }

    #[test]
    fn hints_only_where_there_is_little_to_see() {
        let of = |open, closed, filtered, targets| Account {
            targets,
            counts: Counts { open, closed, filtered, silent: filtered, unclassified: 0 },
            ..samples::account()
        };
        assert_eq!(hint(&of(1, 9, 0, 10)), None);
        assert!(hint(&of(0, 10, 0, 10)).unwrap().contains("-p-"));
        assert!(!hint(&of(0, 65_535, 0, 65_535)).unwrap().contains("-p-"));
        assert!(hint(&of(0, 0, 10, 10)).unwrap().contains("--completeness"));
        assert_eq!(hint(&Account { outcome: "stopped".into(), ..of(0, 10, 0, 10) }), None);
        assert!(hint(&Account { drops: [("ring".into(), 1)].into(), ..of(1, 9, 0, 10) }).unwrap().contains("--rate"));
    }

    #[test]
    fn a_hard_scan() {
        let account = Account {
            outcome: "stopped".into(),
            hosts: 256,
            hosts_down: 3,
            suspect_hosts: 2,
            blocked: 1,
            excluded: 7,
            counts: Counts { open: 1, closed: 2, filtered: 30, silent: 20, unclassified: 4_000 },
            probes: Probes {
                total: 66_744,
                at_least: false,
                by_pass: vec![65_535, 5],
                again: 1_204,
                controls: 6,
                canaries: 131,
            },
            duplicates: 2,
            strays: [("bad_ack".into(), 5), ("wrong_port".into(), 1), ("malformed".into(), 2), ("own".into(), 9)]
                .into(),
            drops: [
                ("ring".into(), 1_200),
                ("send_drops".into(), 2),
                ("send_errors".into(), 3),
                ("send_retries".into(), 8),
            ]
            .into(),
            ..samples::account()
        };
        insta::assert_snapshot!(text(&account), @r"
        stopped early: 65,535 targets on 256 hosts in 6.6 s: 1 open, 2 closed, 30 filtered (20 silent)
        66,744 probes (5 of them repeated, 1,204 of them again after drops on this side, 6 of them to control ports, 131 of them to measure the loss) at 9,999/s, 65,535 replies, 2 duplicates, round trip 312 µs
        SYN scan over raw_ip@lo, seed 18446744073709551615
        suspect: open ports of 2 hosts (tarpit, proxy or forger); --hide-suspect leaves them out
        without a verdict: 4,000 targets, those of 3 hosts that are down among them
        left out: 1 address by the blocklist, 7 addresses excluded
        lost on this side: 1,200 replies (receive buffer full), 2 probes (dropped by the device), 3 probes (refused by the kernel)
        replies not ours: 5 with a wrong acknowledgement, 2 malformed, 1 to a port that is not ours
        ");
    }

    #[test]
    fn a_batch_that_nobody_vouches_for() {
        let measured = samples::account().completeness.unwrap();
        let completeness = Some(halfopen_results::record::Completeness { missing_open: None, ..measured });
        let counts = Counts { open: 1, closed: 2, filtered: 3, silent: 3, unclassified: 0 };
        let said = text(&Account { counts, completeness: completeness.clone(), ..samples::account() });
        let line = "of targets that came in together at times nothing answered after 2 passes: nobody can vouch for what \
                    is silent there";
        assert!(said.lines().any(|said| said == line), "{said}");
        let counts = Counts { filtered: 3, silent: 3, ..Counts::default() };
        let said = text(&Account { counts, completeness, ..samples::account() });
        assert!(said.contains("\nnothing answered after 2 passes: there is nothing to measure loss by"), "{said}");
    }

    #[test]
    fn suspects_that_were_left_out() {
        let account = Account { suspect_hosts: 1, suspects_hidden: 1_000, ..samples::account() };
        let said = "suspect: open ports of 1 host (tarpit, proxy or forger); left out: 1,000 ports";
        assert!(text(&account).lines().any(|line| line == said), "{}", text(&account));
    }

    #[test]
    fn dry() {
        let size = PlanSize { targets: 1_024, hosts: 1, blocked: 0, excluded: 0 };
        let said = "dry run: 1,024 probes to 1 host in the first pass, seed 42; nothing was sent";
        assert_eq!(dry_run(size, 42), said);
    }
}
