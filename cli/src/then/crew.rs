//! Runs commands, a few at a time. How one runs is `job`'s.

use std::num::NonZeroU8;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::Hurry;
use super::job::{self, Ended};
use super::template::Command;

/// Runs these, and tells of each as it ends. Those that have not begun when it gets hurried are left.
pub(super) fn run(
    commands: Vec<Command>,
    jobs: NonZeroU8,
    timeout: Option<Duration>,
    hurry: &(dyn Fn() -> Hurry + Sync),
    tell: &mut dyn FnMut(Ended),
) {
    let workers = usize::from(jobs.get()).min(commands.len());
    let queue = Mutex::new(commands.into_iter());
    let (ended, endings) = channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, ended) = (&queue, ended.clone());
            scope.spawn(move || work(queue, timeout, hurry, &ended));
        }
        drop(ended);
        endings.into_iter().for_each(tell);
    });
}

fn work(
    queue: &Mutex<impl Iterator<Item = Command>>,
    timeout: Option<Duration>,
    hurry: &(dyn Fn() -> Hurry + Sync),
    ended: &Sender<Ended>,
) {
    while hurry() == Hurry::Not {
        let next = queue.lock().ok().and_then(|mut queue| queue.next());
        let Some(command) = next else { return };
        // Whoever listens goes on to the end.
        let _ = ended.send(job::run(command, timeout, hurry));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Host, Template};
    use super::*;

    /// What the commands printed, in the order of the hosts; and how many failed.
    fn ran(command: &str, jobs: u8, hurry: &(dyn Fn() -> Hurry + Sync)) -> (Vec<String>, usize) {
        let template = Template::parse(command).unwrap();
        let host = |number| Host { address: [192, 0, 2, number].into(), ports: vec![80] };
        let commands = (1..=6).flat_map(|number| template.commands(&host(number))).collect();
        let (mut printed, mut failed) = (Vec::new(), 0);
        run(commands, NonZeroU8::new(jobs).unwrap(), None, hurry, &mut |ended| {
            printed.push(String::from_utf8_lossy(&ended.printed).into_owned());
            failed += usize::from(!ended.end.is_success());
        });
        printed.sort();
        (printed, failed)
    }

    #[test]
    fn every_host_once_and_failures_are_told() {
        for jobs in [1, 3, 100] {
            let (printed, failed) = ran("echo {host}:{ports}", jobs, &|| Hurry::Not);
            assert_eq!((printed.len(), printed[0].as_str(), failed), (6, "192.0.2.1:80\n", 0));
        }
        assert_eq!(ran("test {host} = 192.0.2.3", 2, &|| Hurry::Not).1, 5);
    }

    #[test]
    fn an_interruption_leaves_the_rest() {
        assert_eq!(ran("echo {host}", 2, &|| Hurry::Soon), (Vec::new(), 0));
    }
}
