//! `halfopen alert`: channels that are commands, and a database with deliveries in it.

use std::path::Path;

use halfopen_monitor::alert;
use halfopen_monitor::channel::Answer;
use halfopen_monitor::store::{Store, outbox};
use halfopen_monitor::wording::Reader;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::{run, text};

const SETTINGS: &str = "
[channel.ops]
kind = 'command'
shell = 'cat > FOLDER/said'

[channel.deaf]
kind = 'command'
shell = 'echo nobody home >&2; exit 1'
";

fn settings(folder: &Path) -> String {
    let path = folder.join("halfopen.toml");
    std::fs::write(&path, SETTINGS.replace("FOLDER", folder.to_str().unwrap())).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Two deliveries: one taken by ops, one given up by deaf, which is disabled.
fn database(folder: &Path) -> String {
    let path = folder.join("monitor.db");
    let mut store = Store::open(&path).unwrap();
    let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let reader = Reader { zone: TimeZone::UTC, link: None };
    let transaction = store.transaction().unwrap();
    for (channel, answer) in [("ops", Answer::Accepted("200 OK".into())), ("deaf", Answer::Gone("410 Gone".into()))] {
        let channel = channel.parse().unwrap();
        outbox::enqueue(&transaction, &channel, &alert::trial(&channel, &reader, now), now).unwrap();
        let delivery = outbox::due(&transaction, &channel, now).unwrap().unwrap();
        let took = std::time::Duration::from_millis(20);
        outbox::answered(&transaction, &outbox::Channels::new(), &delivery, &answer, took, now).unwrap();
    }
    transaction.commit().unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_channel_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, db) = (settings(folder.path()), folder.path().join("none.db"));
    let done = run(&format!("alert test ops --settings {settings} --db {}", db.display()));
    assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(0), "ops took it: exit code 0\n"));
    let said: Value = serde_json::from_str(&std::fs::read_to_string(folder.path().join("said")).unwrap()).unwrap();
    assert_eq!((&said["type"], &said["data"]["occasion"]), (&"test".into(), &"test".into()));
    assert!(!db.exists(), "nothing is made for a test");
    let failed = run(&format!("alert test deaf -c {settings}"));
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(text(&failed.stdout), "deaf did not take it: /bin/sh: exit status: 1: nobody home\n");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let unknown = run(&format!("alert test pager -c {settings}"));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no channel is named pager; there are deaf, ops"), "{unknown:?}");
    std::fs::write(&settings, "[channel.ops]\nkind = 'webhook'\nurll = 'x'\n").unwrap();
    let wrong = text(&run(&format!("alert test ops -c {settings}")).stderr);
    assert!(wrong.contains("halfopen.toml:3: channel.ops: unknown field `urll`"), "{wrong}");
    let missing = text(&run("alert test ops -c /nowhere/halfopen.toml").stderr);
    assert!(missing.contains("cannot open /nowhere/halfopen.toml: No such file"), "{missing}");
    assert_eq!(run("alert log --db /nowhere/monitor.db").status.code(), Some(2));
}

#[test]
fn the_log_says_what_became_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let all = run(&format!("alert log --db {db}"));
    let said = text(&all.stdout);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("ops          sent      halfopen: a test of ops"), "{said}");
    assert!(
        said.contains("deaf         dead      halfopen: a test of deaf\n      after 1 attempt: 410 Gone\n"),
        "{said}"
    );
    assert!(text(&all.stderr).contains("`halfopen alert test deaf` enables it"), "{all:?}");
    let lines = |options: &str| {
        let said = text(&run(&format!("alert log --json --db {db} {options}")).stdout);
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let failed = lines("--failed --since 2026-01-31T12:00:00Z");
    assert_eq!(
        (failed.len(), &failed[0]["channel"], &failed[0]["attempts"][0]["answer"]),
        (1, &"deaf".into(), &"410 Gone".into())
    );
    assert_eq!((lines("--channel ops").len(), lines("--since 1h").len()), (1, 0));
}

#[test]
fn what_was_given_up_is_delivered_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(folder.path());
    let replay = |words: &str| run(&format!("alert replay {words} --db {db}"));
    assert_eq!(text(&replay("--dead --channel ops").stdout), "0 messages will be delivered once more\n");
    assert_eq!(text(&replay("--dead").stdout), "1 message will be delivered once more\n");
    assert_eq!(text(&replay("1").stdout), "1 message will be delivered once more\n");
    let pending = Store::open(Path::new(&db)).unwrap();
    assert_eq!(outbox::backlog(pending.connection()).unwrap().0, 2);
    let unknown = replay("99");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no delivery 99"), "{unknown:?}");
    assert_eq!(replay("").status.code(), Some(2), "which?");
}

#[test]
fn a_test_that_is_taken_enables_a_channel() {
    let folder = tempfile::tempdir().unwrap();
    let (db, settings) = (database(folder.path()), settings(folder.path()));
    let deaf = std::fs::read_to_string(&settings).unwrap().replace("exit 1", "exit 0");
    std::fs::write(&settings, deaf).unwrap();
    let said = text(&run(&format!("alert test deaf -c {settings} --db {db}")).stdout);
    assert_eq!(said, "deaf is used again\ndeaf took it: exit code 0: nobody home\n");
    assert_eq!(outbox::disabled(Store::open(Path::new(&db)).unwrap().connection()).unwrap(), []);
}

#[test]
fn each_part_has_help_of_its_own() {
    for (part, option) in [("test", "--settings"), ("log", "--failed"), ("replay", "--dead")] {
        let help = text(&run(&format!("alert {part} --help")).stdout);
        assert!(help.contains(option), "{help}");
    }
}
