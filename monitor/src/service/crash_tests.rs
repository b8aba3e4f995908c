//! A monitor that is killed, again and again and wherever it is, and started again each time. It is a process of its own: the
//! watch, its database and the post office of the real service, before a network that changes by a script. In the end
//! nothing may be missing, and nothing may be there twice.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::watching::{Watcher, Watching};
use crate::channel::delivery_tests::{Received as Posted, request};
use crate::settings::Settings;
use crate::store::outbox::{self, Filter};
use crate::store::{self, Happening, Selection, Store};
use crate::watch::tests::{Site, endpoint, host};
use crate::watch::{Purpose, Request};

/// Tells a process that it is the one to be killed, and where its folder is.
const FOLDER: &str = "HALFOPEN_CRASH_FOLDER";
/// How often it is killed.
const KILLS: u64 = 200;
const GROUP: &str = "lan";
/// Somebody must have said something by then.
const PATIENCE: Duration = Duration::from_secs(30);

/// The network after so many steps: a port opens, a host goes, the port closes, the host comes back; then the next port.
fn site(step: u64) -> Site {
    let mut site = Site::new(&[(1, &[22]), (2, &[22]), (3, &[22]), (4, &[22]), (5, &[22])]);
    if let Some(last) = step.checked_sub(1) {
        let (address, port) = place(last / 4);
        if last % 4 < 2 {
            site.open.entry(host(address)).or_default().insert(port);
        }
        if matches!(last % 4, 1 | 2) {
            site.down.insert(host(5));
        }
    }
    site
}

/// Where a port opens: each place in its turn, so seldom that none counts as unstable.
fn place(turn: u64) -> (u8, u16) {
    const PORTS: [u16; 6] = [24, 25, 26, 27, 28, 29];
    (1 + (turn % 4) as u8, PORTS[(turn / 4 % 6) as usize])
}

/// What the steps up to this one are to be told as.
fn expected(steps: u64) -> Vec<String> {
    let told = |step: u64| {
        let (turn, phase) = ((step - 1) / 4, (step - 1) % 4);
        let (address, port) = place(turn);
        let occasion = if phase < 2 { "opened" } else { "resolved" };
        match phase % 2 {
            0 => format!("{occasion} port/{}", endpoint(address, port)),
            _ => format!("{occasion} host/{}", host(5)),
        }
    };
    (1..=steps).map(told).collect()
}

/// The life of the process that is killed: it goes on where the folder says that it was left.
fn live(folder: &Path) {
    let settings = Settings::read(&folder.join("halfopen.toml"), &|_| Ok(())).unwrap();
    let store = Store::open(&settings.store).unwrap();
    let mut watcher = Watcher::open(store, &settings, begin()).unwrap().with_post_office(&settings).unwrap();
    loop {
        let step = number(&folder.join("step")).unwrap_or(0);
        if number(&folder.join("last")).is_some_and(|last| step > last) {
            return watcher.deliver().unwrap();
        }
        play(&mut watcher, step);
        fs::write(folder.join("part"), (step + 1).to_string()).unwrap();
        fs::rename(folder.join("part"), folder.join("step")).unwrap();
    }
}

/// A scan of the network as it is after this step, with all that it takes to be sure; each that is kept is said.
fn play(watcher: &mut Watcher, step: u64) {
    let due = begin() + SignedDuration::from_mins(5) * i32::try_from(step).unwrap();
    let before = watcher.last_begun(GROUP).unwrap();
    // A step that is played again is played later: nothing of it can be the same by chance.
    let mut at = before.map_or(due, |before| due.max(before + SignedDuration::from_secs(30)));
    let site = site(step);
    let regular = |id| Request {
        id,
        group: GROUP.into(),
        purpose: Purpose::Regular,
        targets: site.ports.clone(),
        not_before: at,
    };
    let mut next = Some(regular(1));
    while let Some(request) = next {
        let outcome = site.scan(&request.targets, at);
        next = watcher.scanned(at, at, &request, &outcome).unwrap();
        println!("kept {}", at.as_millisecond());
        at += SignedDuration::from_secs(2);
    }
    watcher.tick(at).unwrap();
}

/// Long ago, so that whatever is due is due now by the clock of the post office, too.
fn begin() -> Timestamp {
    "2001-01-01T00:00:00Z".parse().unwrap()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whoever is told, over HTTP.
struct Hook {
    came: Receiver<Posted>,
    url: String,
    /// Take what comes, and never say so.
    is_mute: Arc<AtomicBool>,
}

impl Hook {
    fn new() -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (send, came) = channel();
        let is_mute = Arc::new(AtomicBool::new(false));
        let mute = Arc::clone(&is_mute);
        thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| take(stream, &send, &mute)));
        Hook { came, url, is_mute }
    }
}

fn take(mut stream: TcpStream, send: &Sender<Posted>, mute: &AtomicBool) -> Option<()> {
    let posted = request(&mut stream);
    // Who was killed in the middle of it has sent nothing.
    if posted.is_whole() {
        send.send(posted).ok()?;
        if mute.load(Ordering::SeqCst) {
            let _ = stream.read(&mut [0; 1]);
        } else {
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    }
    Some(())
}

/// A process under way, and the scans that it says are kept.
struct Life {
    child: Child,
    first: Receiver<()>,
    kept: JoinHandle<Vec<i64>>,
}

impl Life {
    fn begin(folder: &Path) -> Life {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let (send, first) = channel();
        let kept = thread::spawn(move || {
            let kept = said.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("kept ")?.parse().ok());
            kept.inspect(|_| _ = send.send(())).collect()
        });
        Life { child, first, kept }
    }

    /// The scans that were kept when it died.
    fn kill(mut self) -> Vec<i64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.kept.join().unwrap()
    }

    fn end(mut self) -> Vec<i64> {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        self.kept.join().unwrap()
    }
}

/// When it is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// So long after its start.
    Start(Duration),
    /// So long after the first scan that it kept.
    Work(Duration),
    /// When a message has come, before it is told that it has.
    Taken,
    /// So long after it was told.
    Told(Duration),
}

impl Moment {
    fn of(seed: u64) -> Moment {
        let within = |most: u64| Duration::from_micros(crate::schedule::seed_of("crash", seed) % most);
        match seed % 4 {
            0 => Moment::Start(within(40_000)),
            1 => Moment::Work(within(40_000)),
            2 => Moment::Taken,
            _ => Moment::Told(within(4_000)),
        }
    }
}

const NAME: &str = "service::crash_tests::whatever_kills_it_nothing_is_lost_and_nothing_is_told_twice";

#[test]
fn whatever_kills_it_nothing_is_lost_and_nothing_is_told_twice() {
    if let Some(folder) = env::var_os(FOLDER) {
        return live(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let receiver = Hook::new();
    fs::write(folder.path().join("halfopen.toml"), settings(&receiver.url)).unwrap();
    let (mut kept, mut came) = (Vec::new(), Vec::new());
    for seed in 0..KILLS {
        let moment = Moment::of(seed);
        receiver.is_mute.store(moment == Moment::Taken, Ordering::SeqCst);
        let life = Life::begin(folder.path());
        let heard = |came: &mut Vec<Posted>| came.push(receiver.came.recv_timeout(PATIENCE).expect("a message"));
        match moment {
            Moment::Start(after) => thread::sleep(after),
            Moment::Work(after) => {
                life.first.recv_timeout(PATIENCE).expect("a scan that is kept");
                thread::sleep(after);
            }
            Moment::Taken => heard(&mut came),
            Moment::Told(after) => {
                heard(&mut came);
                thread::sleep(after);
            }
        }
        kept.extend(life.kill());
        came.extend(receiver.came.try_iter());
    }
    receiver.is_mute.store(false, Ordering::SeqCst);
    let last = number(&folder.path().join("step")).expect("it came that far") + 4;
    fs::write(folder.path().join("last"), last.to_string()).unwrap();
    kept.extend(Life::begin(folder.path()).end());
    came.extend(receiver.came.try_iter());
    assert_nothing_is_lost(folder.path(), &kept, last);
    assert_told_once(folder.path(), &came, last, KILLS / 4);
}

fn settings(url: &str) -> String {
    format!(
        "store = \"monitor.db\"\ntime-zone = \"UTC\"\n[retention]\nscans = \"forever\"\nstates = \"forever\"\n\
         incidents = \"forever\"\ndeliveries = \"forever\"\n\
         [[group]]\nname = \"{GROUP}\"\ntargets = \"192.0.2.0/24\"\nports = \"20-29\"\nevery = \"5m\"\n\
         [[alert]]\nto = [\"hook\"]\n[channel.hook]\nkind = \"webhook\"\nurl = \"{url}\"\n"
    )
}

/// The database is whole, and has each scan that it said it had, and each incident once.
fn assert_nothing_is_lost(folder: &Path, kept: &[i64], last: u64) {
    let store = Store::open(&folder.join("monitor.db")).unwrap();
    assert_eq!(store.faults().unwrap(), [""; 0]);
    let scans = store::last_scans(store.connection(), None, u32::MAX).unwrap();
    let mut begun: Vec<i64> = scans.iter().map(|scan| scan.started.as_millisecond()).collect();
    begun.sort_unstable();
    assert!(begun.windows(2).all(|pair| pair[0] < pair[1]), "a scan is there twice");
    let lost: Vec<_> = kept.iter().filter(|at| begun.binary_search(at).is_err()).collect();
    assert!(lost.is_empty() && kept.len() >= last as usize, "lost: {lost:?} of {}", kept.len());
    let events = store::events(store.connection(), &Selection::default()).unwrap();
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at), "the history goes back");
    let incidents = events.iter().filter_map(|event| match &event.what {
        Happening::IncidentOpened { incident } => Some(format!("opened {}", incident.cause)),
        Happening::IncidentResolved { incident } => Some(format!("resolved {}", incident.cause)),
        Happening::IncidentUpdated { incident } => Some(format!("updated {}", incident.cause)),
        _ => None,
    });
    assert_eq!(incidents.collect::<Vec<_>>(), expected(last));
}

/// Each message came, in its order; and whatever came again came under the same id. `taken`: so often at least it must have.
fn assert_told_once(folder: &Path, came: &[Posted], last: u64, taken: u64) {
    let mut bodies = BTreeMap::new();
    let mut first = Vec::new();
    for posted in came {
        let id = posted.header("webhook-id").to_owned();
        let body: serde_json::Value = serde_json::from_slice(&posted.body).expect("it is JSON");
        assert_eq!(body["data"]["id"], id.as_str());
        let said = format!("{} {}", body["data"]["occasion"], body["data"]["incidents"][0]["cause"]).replace('"', "");
        match bodies.get(&id) {
            None => first.push(said),
            Some(before) => assert_eq!(before, &posted.body, "{id} is two messages"),
        }
        bodies.insert(id, posted.body.clone());
    }
    assert_eq!(first, expected(last));
    assert!(came.len() - first.len() >= taken as usize, "{} came again", came.len() - first.len());
    let store = Store::open(&folder.join("monitor.db")).unwrap();
    let log = outbox::log(store.connection(), &Filter::default()).unwrap();
    assert_eq!(log.len(), bodies.len());
    assert!(log.iter().all(|entry| entry.state == outbox::State::Sent && bodies.contains_key(&entry.message.id)));
}
