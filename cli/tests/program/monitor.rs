//! The monitor's commands on a database that tells of a small network.

use std::path::Path;

use halfopen_monitor::docket::{Docket, Draft};
use halfopen_monitor::ledger::{Fact, Ledger};
use halfopen_monitor::store::{self, Happening, Store};
use halfopen_monitor::{Endpoint, Severity, Trigger, incident::PortChange};
use halfopen_results::record::State;
use jiff::Timestamp;
use serde_json::Value;

use crate::{run, text};

const HOST: &str = "192.0.2.7";

/// Port 23 opened, and that is an incident.
fn database(folder: &Path) -> String {
    let path = folder.join("monitor.db");
    let mut store = Store::open(&path).unwrap();
    let host = HOST.parse().unwrap();
    let [first, second]: [Timestamp; 2] =
        ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z"].map(|it| it.parse().unwrap());
    let fact = |state, reason: &'static str| Fact { state, reason: reason.into(), ttl: None, rtt_us: None };
    let mut ledger = Ledger::default();
    let transaction = store.transaction().unwrap();
    store::write_presence(&transaction, host, true, first).unwrap();
    let cut = ledger.set(20, 25, Some(fact(State::Closed, "rst")), first);
    store::write_runs(&transaction, host, &cut, first).unwrap();
    let open = Fact { ttl: Some(63), rtt_us: Some(1500), ..fact(State::Open, "syn-ack") };
    let cut = ledger.set(23, 23, Some(open), second);
    store::write_runs(&transaction, host, &cut, second).unwrap();
    let change = PortChange { endpoint: Endpoint::tcp(host, 23), was: Some(State::Closed), is: State::Open };
    store::append(&transaction, second, Some("dmz"), &Happening::Port { change, since: Some(second) }).unwrap();
    let mut docket = Docket::new(&transaction, second);
    let (trigger, severity, cause) = (Trigger::Opened, Severity::Critical, "port".to_owned());
    let draft = Draft { group: "dmz", trigger, cause, severity, since: second };
    docket.begin(draft.at(second).about(vec![change])).unwrap();
    transaction.commit().unwrap();
    path.to_str().unwrap().to_owned()
}

fn lines(line: &str) -> Vec<Value> {
    let output = run(line);
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_history_is_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let all = text(&run(&format!("history {HOST} --db {db}")).stdout);
    assert_eq!(all.lines().count(), 5, "{all}");
    assert!(all.lines().next().unwrap().starts_with("host") && all.contains("20-22/tcp"), "{all}");
    let port = lines(&format!("history {HOST}:23 --json --db {db}"));
    let states: Vec<_> = port.iter().map(|it| (it["type"].as_str().unwrap(), it["state"].as_str())).collect();
    assert_eq!(states, [("host", None), ("ports", Some("closed")), ("ports", Some("open"))]);
    assert_eq!(port[2]["until"], Value::Null);
    let csv = text(&run(&format!("history {HOST}:23 --csv --since 2026-01-31T13:30Z --db {db}")).stdout);
    let last = csv.lines().last().unwrap();
    assert_eq!(last, "192.0.2.7,tcp,23,23,open,syn-ack,63,1500,2026-01-31T13:00:00Z,");
    assert_eq!(csv.lines().count(), 3);
    let never = text(&run(&format!("history {HOST}:999 --since 2026-02-01 --db {db}")).stdout);
    assert!(never.starts_with("host"), "{never}");
}

/// What nobody has heard of is a mistake, and told with what there is.
#[test]
fn what_is_not_known_is_an_error_that_names_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    for (line, expected) in [
        ("history 192.0.2.9", "error: no watched host is named 192.0.2.9; known are 192.0.2.7\n"),
        ("changes --host 192.0.2.9", "error: no watched host is named 192.0.2.9; known are 192.0.2.7\n"),
        ("changes --group lan", "error: no group is named lan; known are dmz\n"),
        ("alert log --channel ops", "error: no channel is named ops; none is known yet\n"),
    ] {
        let output = run(&format!("{line} --db {db}"));
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(2), expected), "{line}");
    }
}

/// As the service finds it: every command takes the settings for it.
#[test]
fn the_store_is_found_by_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    database(folder.path());
    let path = folder.path().join("halfopen.toml");
    // Nothing else in it need be sound.
    std::fs::write(&path, "store = \"monitor.db\"\n[channel.x]\nkind = \"nonsense\"\n").unwrap();
    for (line, expected) in [
        (format!("history {HOST}"), 0),
        ("changes --since 1d".into(), 0),
        ("events".into(), 0),
        ("incidents".into(), 5),
        ("ack 1".into(), 0),
        ("mute 1".into(), 0),
        ("alert log".into(), 0),
        ("alert replay --dead".into(), 0),
        ("db check".into(), 0),
        ("resolve 1".into(), 0),
    ] {
        for option in ["-c", "--settings", "--config"].iter().take(if line.contains('1') { 1 } else { 3 }) {
            let output = run(&format!("{line} {option} {}", path.display()));
            assert_eq!(output.status.code(), Some(expected), "{line} {option}: {}", text(&output.stderr));
        }
    }
    let missing = run("incidents -c /nowhere/halfopen.toml");
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).starts_with("error: cannot open /nowhere/halfopen.toml: "), "{missing:?}");
}

#[test]
fn changes_and_events_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let changes = text(&run(&format!("changes --since 2026-01-01 --db {db}")).stdout);
    assert!(changes.ends_with("192.0.2.7  23/tcp telnet  closed -> open\n"), "{changes}");
    let csv = text(&run(&format!("changes --since 2026-01-01 --csv --group dmz --host {HOST} --db {db}")).stdout);
    assert_eq!(csv.lines().nth(1), Some("2026-01-31T13:00:00Z,dmz,port.changed,192.0.2.7,23,closed,open"));
    let none = text(&run(&format!("changes --since 2026-02-01 --group dmz --db {db}")).stdout);
    assert!(none.starts_with("nothing changed"), "{none}");
    assert_eq!(lines(&format!("changes --since 2026-01-01 --json --db {db}")).len(), 1);
    let events = lines(&format!("events --db {db}"));
    assert_eq!((&events[0]["type"], &events[1]["type"]), (&"port.changed".into(), &"incident.opened".into()));
    assert_eq!(lines(&format!("events --after 1 --db {db}")), events[1..]);
    assert!(lines(&format!("events --since 2026-02-01 --db {db}")).is_empty());
}

/// More than is read at once.
#[test]
fn what_is_much_is_listed_to_its_end_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let mut store = Store::existing(Path::new(&db)).unwrap();
    let transaction = store.transaction().unwrap();
    let (host, mut ledger) = (HOST.parse().unwrap(), Ledger::default());
    let (trigger, severity) = (Trigger::Opened, Severity::Warning);
    for number in 0..1002 {
        let now = Timestamp::from_second(1_800_000_000 + i64::from(number)).unwrap();
        let state = if number % 2 == 0 { State::Open } else { State::Closed };
        let fact = Fact { state, reason: "x".into(), ttl: None, rtt_us: None };
        store::write_runs(&transaction, host, &ledger.set(99, 99, Some(fact), now), now).unwrap();
        let change = PortChange { endpoint: Endpoint::tcp(host, 99), was: None, is: state };
        store::append(&transaction, now, Some("dmz"), &Happening::Port { change, since: None }).unwrap();
        let draft = Draft { group: "dmz", trigger, cause: number.to_string(), severity, since: now };
        Docket::new(&transaction, now).begin(draft.at(now)).unwrap();
    }
    transaction.commit().unwrap();
    let count = |line: &str| lines(&format!("{line} --json --db {db}")).len();
    assert_eq!(count("incidents"), 1003);
    assert_eq!(count("changes --since 2026-01-01"), 1003);
    assert_eq!((count(&format!("history {HOST}:99")), count(&format!("history {HOST}"))), (1003, 1003 + 4));
    let csv = text(&run(&format!("history {HOST}:99 --csv --db {db}")).stdout);
    assert_eq!(csv.lines().filter(|line| line.starts_with("host,")).count(), 1);
    assert_eq!(csv.lines().collect::<std::collections::BTreeSet<_>>().len(), 1 + 1003);
}

#[test]
fn events_are_followed_as_they_happen() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let mut command = crate::halfopen();
    let mut child =
        command.args(["events", "--follow", "--after", "1", "--db", &db]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["id"].as_i64().unwrap()
    };
    assert_eq!(next(), 2);
    let what = Happening::ScanFailed { error: "x".into() };
    store::append(Store::existing(Path::new(&db)).unwrap().connection(), Timestamp::now(), None, &what).unwrap();
    assert_eq!(next(), 3);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn people_speak_of_incidents() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let list = run(&format!("incidents --db {db}"));
    let shown = text(&list.stdout);
    assert_eq!(list.status.code(), Some(5));
    assert!(shown.contains("critical  open") && shown.ends_with("Port 23 (Telnet) opened on 192.0.2.7\n"), "{shown}");
    assert!(run(&format!("ack 1 --by alex --note looking --db {db}")).status.success());
    assert!(run(&format!("mute 1 --for 2h --by kim --db {db}")).status.success());
    let shown = text(&run(&format!("incidents --db {db}")).stdout);
    assert!(shown.contains("critical  muted") && shown.contains(" (muted until 20"), "{shown}");
    assert!(shown.ends_with(" by kim; in hand: alex: looking)\n"), "{shown}");
    let open = lines(&format!("incidents --json --db {db}"));
    assert_eq!((&open[0]["acknowledged"]["by"], &open[0]["acknowledged"]["note"]), (&"alex".into(), &"looking".into()));
    assert!(open[0]["muted_until"].is_string() && open[0]["muted_by"] == "kim");
    assert!(run(&format!("resolve 1 --by alex --why new --db {db}")).status.success());
    let calm = run(&format!("incidents --db {db}"));
    assert_eq!((calm.status.code(), text(&calm.stdout).as_str()), (Some(0), "nothing is going on\n"));
    let over = lines(&format!("incidents --since 1h --json --db {db}"));
    assert_eq!(over[0]["resolution"], "accepted by alex: new");
    let words = store::take_words(Store::existing(Path::new(&db)).unwrap().connection()).unwrap();
    assert_eq!(words.len(), 2, "acknowledged and resolved are passed on");
    for line in ["ack 1", "mute 1", "resolve 9"] {
        let refused = run(&format!("{line} --db {db}"));
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2));
        assert!(said.contains("is over already") || said.contains("is not known"), "{said}");
    }
}

#[test]
fn several_incidents_are_spoken_of_at_once_or_none_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let mut store = Store::existing(Path::new(&db)).unwrap();
    let transaction = store.transaction().unwrap();
    let now = Timestamp::now();
    let mut docket = Docket::new(&transaction, now);
    for cause in ["second", "third", "fourth"] {
        let (trigger, severity, cause) = (Trigger::Opened, Severity::Warning, cause.to_owned());
        docket.begin(Draft { group: "dmz", trigger, cause, severity, since: now }.at(now)).unwrap();
    }
    transaction.commit().unwrap();
    let open = |db: &str| lines(&format!("incidents --json --db {db}")).len();
    assert_eq!(run(&format!("resolve 2 9 --db {db}")).status.code(), Some(2));
    assert_eq!(open(&db), 4, "one of them is not known");
    assert!(run(&format!("resolve 3 --db {db}")).status.success());
    assert!(run(&format!("ack 2-99 --by kim --db {db}")).status.success(), "those of them that are open");
    assert!(run(&format!("resolve 1 2-3 4 --db {db}")).status.success());
    assert_eq!(open(&db), 0);
    let words = store::take_words(store.connection()).unwrap();
    let said: Vec<_> = words.iter().map(|(incident, occasion)| (incident.id.0, occasion.name())).collect();
    let over = [(1, "resolved"), (2, "resolved"), (4, "resolved")];
    assert_eq!(said, [[(3, "resolved"), (2, "acknowledged"), (4, "acknowledged")], over].concat());
    assert!(words[1].0.is_open(), "as it was then");
    for (wrong, why) in [("resolve 2-4", "no incident from 2 to 4 is open"), ("ack 7-3", "17-46"), ("ack", "INCIDENT")]
    {
        let refused = run(&format!("{wrong} --db {db}"));
        assert!(refused.status.code() == Some(2) && text(&refused.stderr).contains(why), "{wrong}");
    }
}

#[test]
fn the_database_is_looked_after() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let copy = folder.path().join("copy.db");
    assert_eq!(text(&run(&format!("db check --db {db}")).stdout), "whole\n");
    assert!(run(&format!("db backup {} --db {db}", copy.display())).status.success());
    assert_eq!(text(&run(&format!("db prune --before 2026-02-01 --db {db}")).stdout), "3 rows deleted\n");
    assert!(run(&format!("db vacuum --db {db}")).status.success());
    assert!(lines(&format!("events --db {db}")).is_empty());
    assert_eq!(lines(&format!("events --db {}", copy.display())).len(), 2);
    assert_eq!(lines(&format!("history {HOST}:23 --json --db {db}")).len(), 2, "what holds is kept");
    let missing = run("db check --db /nowhere/monitor.db");
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/nowhere/monitor.db: there is no such database"));
}
