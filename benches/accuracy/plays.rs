//! All scans that were asked for, on all cores: whoever is free takes the next.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::scene::Scene;
use crate::series::Series;
use crate::table::Table;

/// One scan: scene and contender by number, and the seed.
type Play = (usize, usize, u64);

/// Plays all, and gives a table for each network.
pub(crate) fn tables(args: &Args) -> Vec<Table> {
    let (scenes, contenders) = (args.scenes(), args.contenders());
    let plays: Vec<Play> = (0..scenes.len())
        .flat_map(|scene| (0..contenders.len()).map(move |contender| (scene, contender)))
        .flat_map(|(scene, contender)| args.seeds().map(move |seed| (scene, contender, seed)))
        .collect();
    let mut outcomes = played(&plays, |&(scene, contender, seed)| one(&scenes[scene], contenders[contender], seed));
    // In the order of the plays: the first network's first contender's seeds, and so on.
    let mut series = |contender| Series { contender, outcomes: outcomes.drain(..args.seeds as usize).collect() };
    let table = |scene| Table { scene, rows: contenders.iter().map(|&contender| series(contender)).collect() };
    scenes.iter().cloned().map(table).collect()
}

fn one(scene: &Scene, contender: Contender, seed: u64) -> Outcome {
    let start = Instant::now();
    let outcome = Outcome::of(scene, contender, seed);
    tell(scene, contender, seed, &outcome, start.elapsed());
    outcome
}

fn tell(scene: &Scene, contender: Contender, seed: u64, outcome: &Outcome, took: Duration) {
    let (found, missing, seconds) = (outcome.found() * 100.0, outcome.missing(), took.as_secs_f64());
    let stated = outcome.stated.map(|it| format!(", {:.1} to {:.1} stated", it.low, it.high)).unwrap_or_default();
    eprintln!(
        "{}, {}, seed {seed}: {found:.3} %, {missing} missed{stated}; {seconds:.2} s",
        scene.name,
        contender.name()
    );
    outcome.missed.iter().for_each(|target| eprintln!("  missed {} {}", target.address, target.port));
}

/// What each play comes to, in their order.
fn played<T: Send>(plays: &[Play], play: impl Fn(&Play) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(plays.len())));
    let work = || {
        while let Some((number, one)) = take(plays, &next) {
            let outcome = play(one);
            done.lock().expect("nobody panics while holding it").push((number, outcome));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().expect("nobody panics while holding it");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn take<'a>(plays: &'a [Play], next: &AtomicUsize) -> Option<(usize, &'a Play)> {
    // Each number is handed out once; nothing else is passed on by it.
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, plays.get(number)?))
}
