//! A year of a network in the monitor's history: how large it becomes, how long a scan takes to be taken in, and how quickly
//! the history of a host is found.
//!
//! ```text
//!  a network that changes by chance ─▶ scans, every five minutes ─▶ the monitor, whole ─▶ a database ─▶ questions
//! ```
//!
//! The scans are made up, not sent: records as `halfopen scan` gives them, from a network whose truth is known. All else is
//! the monitor's own path: snapshot, suspicion, confirmation, incidents, one transaction on a disk for each scan. At the end
//! the history is held against the truth.

mod site;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use halfopen_monitor::docket::Notice;
use halfopen_monitor::store::{self, Error};
use halfopen_monitor::watch::{Outcome, Purpose, Request, Surroundings, Watch, Watched};
use halfopen_monitor::{Store, detect::Detection};
use halfopen_results::Coverage;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use site::Site;

/// Plays a network through the monitor and measures its history.
#[derive(Debug, Parser)]
struct Args {
    /// Days to play.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Hosts.
    #[arg(long, default_value_t = 100)]
    hosts: u8,
    /// Ports of each.
    #[arg(long, default_value_t = 250)]
    ports: u16,
    /// Changes of single ports, a host and day.
    #[arg(long, default_value_t = 2.0)]
    changes: f64,
    /// Where the database is to be; else in a temporary folder.
    #[arg(long)]
    db: Option<PathBuf>,
    /// The chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const INTERVAL: Duration = Duration::from_secs(300);
/// Scans a day.
const DAILY: u32 = 288;
const GROUP: &str = "site";

/// What the issue asks for, of a year of 100 hosts and 250 ports.
const LARGEST: u64 = 100_000_000;
const SLOWEST: Duration = Duration::from_millis(50);

/// Nobody is told.
struct Nobody;

impl Surroundings for Nobody {
    fn announce(&mut self, _: &Connection, _: &[Notice], _: Timestamp) -> Result<(), Error> {
        Ok(())
    }

    fn is_in_maintenance(&self, _: &str, _: Timestamp) -> bool {
        false
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = args.db.clone().unwrap_or_else(|| folder.path().join("monitor.db"));
    let mut site = Site::new(args.hosts, args.ports, args.seed);
    let groups = BTreeMap::from([(GROUP.to_owned(), Watched { detection: Detection::default(), late_after: None })]);
    let store = Store::open(&path).expect("a database");
    let mut watch = Watch::open(store, groups, TimeZone::UTC, Box::new(Nobody)).expect("a new database");
    let began = Instant::now();
    let (scans, confirmations, taken) = play(&mut watch, &mut site, &args);
    watch.store().vacuum().expect("a writable database");
    let size = std::fs::metadata(&path).expect("the database").len();
    let slowest = slowest_question(&watch, &site);
    let open = store::count_open(watch.store().connection()).expect("a readable database");
    let wrong = site.differs_from(watch.known());
    println!("{} days, {} hosts x {} ports, {} changes of ports", args.days, args.hosts, args.ports, site.changes);
    println!("{scans} scans, {confirmations} confirmations, played in {:.0} s", began.elapsed().as_secs_f64());
    println!("taking a scan in: {:.2} ms on average", taken.as_secs_f64() * 1e3 / f64::from(scans.max(1)));
    println!("open incidents, none of which anybody ever resolved: {open}");
    println!("database: {:.1} MB", size as f64 / 1e6);
    println!("history of a host, slowest of {}: {:.2} ms", args.hosts, slowest.as_secs_f64() * 1e3);
    println!("ports whose last state is not the true one: {wrong}");
    let is_whole = watch.store().faults().expect("a readable database").is_empty();
    let holds = wrong == 0 && is_whole && size < LARGEST && slowest < SLOWEST;
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Scans every five minutes; how many, with how many confirmations, and the time that the monitor took.
fn play(watch: &mut Watch, site: &mut Site, args: &Args) -> (u32, u32, Duration) {
    let mut now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let (mut confirmations, mut taken) = (0, Duration::ZERO);
    let mut take = |at, request: &_, outcome: &Outcome| {
        let start = Instant::now();
        let next = watch.scanned(at, at, request, outcome).expect("a disk with room");
        taken += start.elapsed();
        next
    };
    let scans = args.days * DAILY;
    let mut outcome = Outcome::Scan(Box::new(site.scan(None)));
    for scan in 0..scans {
        now += INTERVAL;
        // The last scan of all sees what the one before it saw. What is not different is said as the one before said it.
        if scan + 1 < scans {
            let different = site.change(args.changes / f64::from(DAILY));
            if let Outcome::Scan(scan) = &mut outcome {
                site.scan_again(scan, &different);
            }
        }
        let mut next = take(now, &regular(now), &outcome);
        while let Some(request) = next {
            let seen = Outcome::Scan(Box::new(site.scan(Some(&request.targets))));
            next = take(request.not_before, &request, &seen);
            confirmations += 1;
        }
    }
    (scans, confirmations, taken)
}

fn regular(now: Timestamp) -> Request {
    let (group, targets) = (GROUP.to_owned(), Coverage::default());
    Request { id: 0, group, purpose: Purpose::Regular, targets, not_before: now }
}

fn slowest_question(watch: &Watch, site: &Site) -> Duration {
    let question = |host| {
        let start = Instant::now();
        let past = store::history(watch.store().connection(), host, None, Timestamp::MIN).expect("a readable database");
        assert!(!past.is_empty(), "{host} has a history");
        start.elapsed()
    };
    site.addresses().map(question).max().unwrap_or_default()
}
