//! The process that scans. It keeps the rights that the monitor gives up, and does nothing but run `halfopen scan` for groups
//! of the settings, which it reads by itself: whoever takes over the monitor can have scanned what the file names, within
//! its scope, and nothing else. Each scan gives up its own rights, as ever. When the monitor is gone, so are its scans.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use halfopen_results::record::Record;
use halfopen_results::{Coverage, address};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::protocol::{Order, Word, tagged};
use crate::document::Error;
use crate::settings::{Group, Settings};

/// How scans are made.
#[derive(Debug)]
pub struct Scanner {
    /// The program,
    pub program: PathBuf,
    /// and what comes before a scan's own words.
    pub words: Vec<String>,
}

/// More targets are no suspicion to be confirmed, but a scan.
const MOST_PAIRS: u128 = 1 << 20;
/// A few targets are asked quickly.
const SOME_DEADLINE: Duration = Duration::from_secs(15 * 60);
/// From the wish that a scan ends to its end.
const GRACE: Duration = Duration::from_secs(5);
/// More is not kept of what a scan says on standard error.
const MOST_SAID: u64 = 64 << 10;
/// What processes are called, and what stands in records and audit logs, wherever the program lies.
pub const NAME: &str = "halfopen";
/// What every scan is asked for: all that it finds, as records.
pub const MANNER: [&str; 6] = ["--output", "jsonl", "--show", "all", "--quiet", "--no-progress"];

type Load<'a> = dyn Fn() -> Result<Settings, Error> + 'a;

impl Scanner {
    /// Takes orders until there are no more.
    pub fn serve(self, orders: impl BufRead, words: impl Write + Send + 'static, load: &Load<'_>) -> Result<(), Error> {
        let settings = load()?;
        let shared = Shared { words: Mutex::new(Box::new(words)), state: Mutex::new(State::new(settings)) };
        let mut desk = Desk { scanner: self, shared: Arc::new(shared), scans: Vec::new() };
        for line in orders.lines() {
            let Ok(line) = line else { break };
            desk.take(&line, load);
        }
        desk.close();
        Ok(())
    }
}

/// Where orders come in.
struct Desk {
    scanner: Scanner,
    shared: Arc<Shared>,
    /// Those under way: dropped, they end.
    scans: Vec<(Sender<()>, thread::JoinHandle<()>)>,
}

struct Shared {
    words: Mutex<Box<dyn Write + Send>>,
    state: Mutex<State>,
}

/// What may be scanned.
struct State {
    settings: Settings,
    /// What the last scan of each group was about.
    covered: BTreeMap<String, Coverage>,
}

/// A scan that is to be made.
struct Job {
    id: u64,
    group: Group,
    words: Vec<String>,
    /// Targets for its standard input.
    input: Option<String>,
    deadline: Duration,
}

impl Desk {
    fn take(&mut self, line: &str, load: &Load<'_>) {
        self.scans.retain(|(_, thread)| !thread.is_finished());
        match serde_json::from_str(line) {
            Ok(Order::Reload) => self.reload(load),
            Ok(Order::Scan { id, group, targets }) => {
                let job = self.shared.state().job(id, &group, targets);
                match job {
                    Ok(job) => self.begin(job),
                    Err(why) => self.shared.say(&Word::End { id, failed: Some(why) }),
                }
            }
            Err(error) => self.shared.say(&Word::Refused { why: format!("an order that is none: {error}") }),
        }
    }

    fn reload(&self, load: &Load<'_>) {
        match load() {
            Ok(settings) => self.shared.state().change(settings),
            Err(error) => self.shared.say(&Word::Refused { why: error.to_string() }),
        }
    }

    fn begin(&mut self, job: Job) {
        let id = job.id;
        let (quit, wait) = channel();
        let mut command = Command::new(&self.scanner.program);
        command.arg0(NAME).args(&self.scanner.words).args(&job.words);
        let shared = Arc::clone(&self.shared);
        let body = move || {
            let failed = match start(&mut command, job.input.is_some()) {
                Ok(child) => follow(child, &job, &shared, wait),
                Err(error) => Some(format!("the scan could not be started: {error}")),
            };
            shared.say(&Word::End { id, failed });
        };
        match thread::Builder::new().name(format!("scan {id}")).spawn(body) {
            Ok(thread) => self.scans.push((quit, thread)),
            Err(error) => self.shared.say(&Word::End { id, failed: Some(format!("no thread for the scan: {error}")) }),
        }
    }

    /// Ends what is under way.
    fn close(self) {
        let (quits, threads): (Vec<_>, Vec<_>) = self.scans.into_iter().unzip();
        drop(quits);
        for thread in threads {
            // A panic of its own has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn say(&self, word: &Word) {
        self.send(&word.line());
    }

    /// Whoever does not listen any more ends this process by closing the other pipe.
    fn send(&self, line: &str) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = words.write_all(line.as_bytes()).and_then(|()| words.flush());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(settings: Settings) -> State {
        State { settings, covered: BTreeMap::new() }
    }

    /// What was covered by other words says nothing.
    fn change(&mut self, settings: Settings) {
        let same = |name: &str| self.settings.group(name).map(Group::words) == settings.group(name).map(Group::words);
        self.covered.retain(|name, _| same(name));
        self.settings = settings;
    }

    /// The scan that was ordered, if the settings allow it.
    fn job(&self, id: u64, group: &str, targets: Option<Coverage>) -> Result<Job, String> {
        let group = self.settings.group(group).ok_or_else(|| format!("there is no group named {group:?}"))?.clone();
        let manner = MANNER.iter().map(|&word| word.to_owned());
        let scope = self.settings.scope.iter().flat_map(|path| ["--scope".to_owned(), path.display().to_string()]);
        let head: Vec<_> = manner.chain(scope).collect();
        let Some(targets) = targets else {
            let (words, deadline) = (head.into_iter().chain(group.words()).collect(), group.deadline);
            return Ok(Job { id, words, input: None, deadline, group });
        };
        let input = Some(pairs(&self.within(&group, targets)?));
        let (words, deadline) = (head.into_iter().chain(group.words_for_some()).collect(), group.deadline);
        Ok(Job { id, words, input, deadline: deadline.min(SOME_DEADLINE), group })
    }

    /// Targets that the group's last scan was about.
    fn within(&self, group: &Group, targets: Coverage) -> Result<Coverage, String> {
        let name = &group.name;
        let covered = self.covered.get(name).ok_or_else(|| {
            format!("nothing is known of the targets of {name:?} until it has been scanned as a whole")
        })?;
        let asked = targets.targets();
        match covered.intersection(&targets).targets() {
            within if within < asked => Err(format!("{} targets are not among those of {name:?}", asked - within)),
            _ if asked > MOST_PAIRS => Err(format!("{asked} targets are too many to be asked by themselves")),
            _ => Ok(targets),
        }
    }
}

/// One a line: `192.0.2.1:22`, `[2001:db8::1]:22`.
fn pairs(targets: &Coverage) -> String {
    let ports = |address: IpAddr, runs: &[(u16, u16)]| -> String {
        let each = runs.iter().flat_map(|&(first, last)| first..=last);
        each.map(|port| format!("{}\n", SocketAddr::new(address, port))).collect()
    };
    let span = |span: &halfopen_results::coverage::Span| -> String {
        let addresses = addresses(span.addresses);
        addresses.map(|address| ports(address, span.ports.runs())).collect()
    };
    targets.spans().iter().map(span).collect()
}

fn addresses(range: address::Range) -> impl Iterator<Item = IpAddr> {
    let (first, last) = (range.first(), range.last());
    let next = move |at: &IpAddr| match (*at, last) {
        (at, last) if at == last => None,
        (IpAddr::V4(at), _) => Some(IpAddr::V4((at.to_bits() + 1).into())),
        (IpAddr::V6(at), _) => Some(IpAddr::V6((at.to_bits() + 1).into())),
    };
    std::iter::successors(Some(first), next)
}

fn start(command: &mut Command, input: bool) -> io::Result<Child> {
    let stdin = if input { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Passes on what a scan says until it ends; why it failed, if it did.
fn follow(mut child: Child, job: &Job, shared: &Shared, quit: std::sync::mpsc::Receiver<()>) -> Option<String> {
    let began = Instant::now();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let said = scope.spawn(|| stderr.map(said).unwrap_or_default());
        scope.spawn(move || {
            // One that ends before it has read them says why.
            let _ = stdin.zip(job.input.as_ref()).map(|(mut pipe, text)| pipe.write_all(text.as_bytes()));
        });
        let (over, gone) = channel();
        let pid = Pid::from_child(&child);
        let timer = scope.spawn(move || end_in_time(pid, job.deadline, &quit, &gone));
        let passed = stdout.map_or(Ok(()), |stdout| pass_on(stdout, job, shared));
        // It is waited for before it is gone, so that nobody else has its number while it may be killed.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        drop(over);
        let killed = timer.join().unwrap_or_default();
        let status = child.wait();
        let said = said.join().unwrap_or_default();
        let broken = passed.err().map(|error| format!("its records could not be read: {error}"));
        killed.map(|why| why.told(job.deadline, began)).or_else(|| failure(status, &said)).or(broken)
    })
}

/// Why a scan had to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Deadline,
    Quit,
}

impl Killed {
    fn told(self, deadline: Duration, began: Instant) -> String {
        match self {
            Killed::Deadline => {
                format!("it took longer than {} (deadline) and was ended", crate::settings::values::told(deadline))
            }
            Killed::Quit => format!("it was ended after {:.0} s, with the monitor", began.elapsed().as_secs_f64()),
        }
    }
}

/// Ends a scan when its time is up or nobody wants it any more, first kindly.
fn end_in_time(
    pid: Pid,
    deadline: Duration,
    quit: &std::sync::mpsc::Receiver<()>,
    gone: &std::sync::mpsc::Receiver<()>,
) -> Option<Killed> {
    const LOOK: Duration = Duration::from_millis(50);
    let until = Instant::now() + deadline;
    let why = loop {
        match quit.try_recv() {
            Err(std::sync::mpsc::TryRecvError::Disconnected) => break Killed::Quit,
            _ if Instant::now() >= until => break Killed::Deadline,
            _ => {}
        }
        let wait = until.saturating_duration_since(Instant::now()).min(LOOK);
        if gone.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            return None;
        }
    };
    // It has not been waited for, so the number is its own. Who is gone already is no news.
    let _ = kill_process(pid, Signal::TERM);
    if gone.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
        let _ = kill_process(pid, Signal::KILL);
    }
    Some(why)
}

fn pass_on(stdout: impl Read, job: &Job, shared: &Shared) -> io::Result<()> {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    let mut first = true;
    while lines.read_line(&mut line)? > 0 {
        if std::mem::take(&mut first) && job.input.is_none() {
            remember(&line, job, shared);
        }
        // A line that was cut off belongs to a scan that was killed, which is told by itself.
        tagged(job.id, &line).iter().for_each(|line| shared.send(line));
        line.clear();
    }
    Ok(())
}

/// What a group's scan is about stands in its first record.
fn remember(line: &str, job: &Job, shared: &Shared) {
    if let Ok(Record::Scan(header)) = serde_json::from_str(line) {
        shared.state().covered.insert(job.group.name.clone(), header.coverage);
    }
}

fn said(stderr: impl Read) -> String {
    let mut stderr = stderr;
    let mut text = Vec::new();
    let _ = stderr.by_ref().take(MOST_SAID).read_to_end(&mut text);
    // The rest is not kept, and must not hold up the scan.
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&text).into_owned()
}

/// Exit code of a scan that the hours of its scope have cut short: what it found counts.
const CUT_SHORT: i32 = 4;

fn failure(status: io::Result<ExitStatus>, said: &str) -> Option<String> {
    let status = match status {
        Ok(status) if status.success() || status.code() == Some(CUT_SHORT) => return None,
        Ok(status) => status,
        Err(error) => return Some(format!("it was lost sight of: {error}")),
    };
    let error = said.lines().find_map(|line| line.strip_prefix("error: "));
    let last = error.or_else(|| said.lines().rev().find(|line| !line.trim().is_empty()));
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    };
    Some(last.map_or_else(|| how.clone(), |last| format!("{last} ({how})")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::PipeReader;
    use std::path::Path;

    use super::*;

    const SETTINGS: &str = "store = \"s\"\nscope = \"scope.toml\"\n[[group]]\nname = \"dmz\"\ntargets = \"192.0.2.0/29\"\nports = \"22\"\n\
                            every = \"5m\"\nexclude = \"192.0.2.5\"\n";

    /// Stands in for the program: prints what it was given, as a scan's records.
    const SCRIPT: &str = r#"
echo "{\"type\":\"scan\",\"command\":[\"$*\"],\"coverage\":[{\"addresses\":[\"192.0.2.0-192.0.2.7\"],\"ports\":\"22\"}]}"
case "$*" in *"--input -"*) while read -r line; do echo "{\"type\":\"warning\",\"message\":\"$line\"}"; done ;; esac
"#;

    struct Bench {
        orders: Option<io::PipeWriter>,
        words: BufReader<PipeReader>,
        folder: tempfile::TempDir,
        served: Option<thread::JoinHandle<()>>,
    }

    impl Bench {
        fn new(script: &str, settings: &str) -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let (path, file) = (folder.path().join("program"), folder.path().join("halfopen.toml"));
            fs::write(&path, script).unwrap();
            fs::write(&file, settings).unwrap();
            let (orders_out, orders) = io::pipe().unwrap();
            let (words, words_in) = io::pipe().unwrap();
            let scanner = Scanner { program: "/bin/sh".into(), words: vec![path.display().to_string()] };
            let load = move || Settings::read(&file, &|_| Ok(()));
            let served = thread::spawn(move || scanner.serve(BufReader::new(orders_out), words_in, &load).unwrap());
            Bench { orders: Some(orders), words: BufReader::new(words), folder, served: Some(served) }
        }

        fn order(&mut self, order: &Order) {
            self.orders.as_mut().unwrap().write_all(order.line().as_bytes()).unwrap();
        }

        fn scan(&mut self, id: u64, group: &str, targets: Option<&str>) {
            let targets = targets.map(|text| {
                text.split(' ')
                    .map(|pair| pair.parse::<SocketAddr>().unwrap())
                    .map(|pair| (pair.ip(), pair.port()))
                    .collect()
            });
            self.order(&Order::Scan { id, group: group.into(), targets });
        }

        fn word(&mut self) -> Word {
            let mut line = String::new();
            self.words.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
        }

        /// What a scan says, and why it failed.
        fn until_end(&mut self, of: u64) -> (Vec<String>, Option<String>) {
            let mut said = Vec::new();
            loop {
                match self.word() {
                    Word::Record { id, record } if id == of => match *record {
                        Record::Scan(header) => said.push(header.command.join(" ")),
                        Record::Warning(warning) => said.push(warning.message),
                        other => panic!("{other:?}"),
                    },
                    Word::End { id, failed } if id == of => return (said, failed),
                    other => panic!("{other:?}"),
                }
            }
        }

        fn path(&self, name: &str) -> String {
            Path::new(self.folder.path()).join(name).display().to_string()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            drop(self.orders.take());
            self.served.take().unwrap().join().unwrap();
        }
    }

    #[test]
    fn a_group_is_scanned_with_its_own_words_and_in_its_scope() {
        let mut bench = Bench::new(SCRIPT, SETTINGS);
        bench.scan(7, "dmz", None);
        let (said, failed) = bench.until_end(7);
        let expected = format!(
            "--output jsonl --show all --quiet --no-progress --scope {} --exclude 192.0.2.5 --ports 22 -- 192.0.2.0/29",
            bench.path("scope.toml")
        );
        assert_eq!((said, failed), (vec![expected], None));
    }

    #[test]
    fn nothing_but_targets_of_the_group_is_asked_again() {
        let mut bench = Bench::new(SCRIPT, SETTINGS);
        bench.scan(1, "wan", None);
        assert_eq!(bench.until_end(1).1.unwrap(), "there is no group named \"wan\"");
        bench.scan(2, "dmz", Some("192.0.2.1:22"));
        assert!(bench.until_end(2).1.unwrap().ends_with("until it has been scanned as a whole"));
        bench.scan(3, "dmz", None);
        bench.until_end(3);
        bench.scan(4, "dmz", Some("192.0.2.1:22 192.0.2.9:22 192.0.2.2:23"));
        assert_eq!(bench.until_end(4).1.unwrap(), "2 targets are not among those of \"dmz\"");
        bench.scan(5, "dmz", Some("192.0.2.1:22 192.0.2.2:22"));
        let (said, failed) = bench.until_end(5);
        assert!(said[0].ends_with("--exclude 192.0.2.5 --input -"), "{}", said[0]);
        assert_eq!((&said[1..], failed), (&["192.0.2.1:22".to_owned(), "192.0.2.2:22".into()][..], None));
    }

    #[test]
    fn settings_are_read_again_and_bad_ones_are_not_taken() {
        let mut bench = Bench::new(SCRIPT, SETTINGS);
        bench.scan(1, "dmz", None);
        bench.until_end(1);
        fs::write(bench.path("halfopen.toml"), "[[group]]\n").unwrap();
        bench.order(&Order::Reload);
        let Word::Refused { why } = bench.word() else { panic!() };
        assert!(why.contains("halfopen.toml:1: [[group]]: name is missing"), "{why}");
        fs::write(bench.path("halfopen.toml"), SETTINGS.replace("/29", "/30")).unwrap();
        bench.order(&Order::Reload);
        bench.scan(2, "dmz", Some("192.0.2.1:22"));
        // The group is another one now.
        assert!(bench.until_end(2).1.unwrap().contains("nothing is known"));
        bench.scan(3, "dmz", None);
        assert!(bench.until_end(3).0[0].ends_with("192.0.2.0/30"));
    }

    #[test]
    fn failures_are_told_in_the_scans_own_words() {
        let mut bench =
            Bench::new("echo 'warning: slow' >&2; echo 'error: no route' >&2; echo 'hint: x' >&2; exit 1", SETTINGS);
        bench.scan(1, "dmz", None);
        assert_eq!(bench.until_end(1).1.unwrap(), "no route (exit code 1)");
        let mut bench = Bench::new("kill -9 $$", SETTINGS);
        bench.scan(1, "dmz", None);
        assert_eq!(bench.until_end(1).1.unwrap(), "killed by signal 9");
        let mut bench = Bench::new("exit 4", SETTINGS);
        bench.scan(1, "dmz", None);
        assert_eq!(bench.until_end(1).1, None);
    }

    #[test]
    fn what_hangs_is_ended() {
        let settings = SETTINGS.replace("exclude", "deadline = \"100ms\"\nexclude");
        let mut bench = Bench::new("exec sleep 60", &settings);
        bench.scan(1, "dmz", None);
        assert_eq!(bench.until_end(1).1.unwrap(), "it took longer than 100ms (deadline) and was ended");
    }

    #[test]
    fn scans_end_with_the_monitor() {
        let mut bench = Bench::new("exec sleep 60", SETTINGS);
        bench.scan(1, "dmz", None);
        drop(bench.orders.take());
        assert!(bench.until_end(1).1.unwrap().ends_with("with the monitor"));
    }

    #[test]
    fn targets_as_lines() {
        let spans = [("192.0.2.254-192.0.3.1", "22,80-81"), ("2001:db8::ffff", "443")];
        let coverage: Coverage =
            spans.iter().map(|(range, ports)| (range.parse().unwrap(), Arc::new(ports.parse().unwrap()))).collect();
        let text = pairs(&coverage);
        assert_eq!(text.lines().count(), 13);
        assert!(
            text.starts_with("192.0.2.254:22\n192.0.2.254:80\n")
                && text.ends_with("192.0.3.1:81\n[2001:db8::ffff]:443\n")
        );
    }
}
