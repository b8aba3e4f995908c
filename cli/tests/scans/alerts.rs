//! `halfopen watch` before a network that changes: what it tells, to the last message, how soon, and what becomes of it when it is
//! killed. The network is real Linux stacks in namespaces of their own; the receiver of the messages is here.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use halfopen_lab::{End, Namespace, Route, lab_test, link, skip};
use rustix::process::Signal;
use serde_json::Value;

use super::watch::{Place, Service};
use super::{records, run, text};

/// Whoever is told, over HTTP.
struct Hook {
    came: Receiver<(String, String)>,
    ids: BTreeSet<String>,
    /// What was told, in its order; what came again under the same id is there once.
    told: Vec<String>,
}

/// Nothing that is waited for takes as long.
const PATIENCE: Duration = Duration::from_secs(25);

impl Hook {
    /// At this port of the lab's loopback.
    fn listen(lab: &Namespace, port: u16) -> Hook {
        let listener = lab.listen(&format!("127.0.0.1:{port}"));
        let (send, came) = channel();
        thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| take(stream, &send)));
        Hook { came, ids: BTreeSet::new(), told: Vec::new() }
    }

    /// Takes one message more, and is told this.
    fn hears(&mut self, expected: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok((id, said)) = self.came.recv_timeout(left) else {
                panic!("nobody said {expected:?}; before: {:?}", self.told);
            };
            if self.ids.insert(id) {
                self.told.push(said);
                assert_eq!(self.told.last().map(String::as_str), Some(expected), "{:?}", self.told);
                return;
            }
        }
    }

    /// Nothing else came.
    fn hears_no_more(&mut self) {
        let more: Vec<_> = self.came.try_iter().filter(|(id, _)| !self.ids.contains(id)).collect();
        assert_eq!(more, [], "{:?}", self.told);
    }
}

fn take(mut stream: TcpStream, send: &Sender<(String, String)>) -> Option<()> {
    let mut reader = BufReader::new(&mut stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value)
    };
    let length = header("content-length:").parse().unwrap_or(0);
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    // Who was killed in the middle of it has said nothing.
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return Some(()) };
    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let message = &body["data"];
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let said = format!("{} {}", word(&message["occasion"]), word(&message["incidents"][0]["cause"]));
    send.send((word(&message["id"]), said)).ok()
}

/// What the event stream says of incidents.
fn incidents(place: &Place) -> Vec<String> {
    let output = run(&format!("events --db {}", place.path("monitor.db").display()));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = records(&text(&output.stdout)).into_iter().filter_map(|event| {
        let occasion = event["type"].as_str()?.strip_prefix("incident.")?.to_owned();
        Some(format!("{occasion} {}", event["incident"]["cause"].as_str()?))
    });
    told.collect()
}

fn settings(group: &str, port: u16) -> String {
    format!(
        "{group}\n[[alert]]\nto = [\"hook\"]\n[channel.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/\"\n"
    )
}

/// Three hosts behind a router, 10.9.1.1 to 10.9.3.1. The scanner's uplink is `up0`.
struct Lan {
    router: Namespace,
    hosts: Vec<Namespace>,
}

const UPLINK: &str = "up0";

impl Lan {
    fn beyond(lab: &Namespace) -> Lan {
        let router = Namespace::new("router");
        router.forward();
        link(
            &End::new(lab, UPLINK).address("10.9.0.2/24").silent(),
            &End::new(&router, "lab0").address("10.9.0.1/24").silent(),
        );
        let host = |number: u8| {
            let host = Namespace::new(&format!("host{number}"));
            link(
                &End::new(&router, &format!("to{number}")).address(&format!("10.9.{number}.254/24")).silent(),
                &End::new(&host, "eth0").address(&format!("10.9.{number}.1/24")).silent(),
            );
            host.route("default", Route::Via([10, 9, number, 254].into()));
            host
        };
        let lan = Lan { hosts: (1..=3).map(host).collect(), router };
        lan.uplink(lab);
        lan
    }

    /// Routes go with their interface, and do not come back with it.
    fn uplink(&self, lab: &Namespace) {
        lab.up(UPLINK);
        lab.route("10.9.0.0/16", Route::Via([10, 9, 0, 1].into()));
    }

    fn listen(&self, host: usize, port: u16) -> TcpListener {
        self.hosts[host - 1].listen(&format!("10.9.{host}.1:{port}"))
    }

    /// What a packet filter of a host is to do from now on.
    fn filter(&self, host: usize, rules: &str) {
        let filter = || Command::new("nft").env("PATH", "/usr/sbin:/sbin:/usr/bin").arg(rules).status();
        let status = self.hosts[host - 1].run(filter).expect("nft was there");
        assert!(status.success(), "nft does not take {rules}");
    }
}

lab_test!(each_change_of_a_network_is_told_once_and_nothing_else_is, |lab| {
    if !["/usr/sbin/nft", "/sbin/nft"].iter().any(|path| Path::new(path).exists()) {
        skip("nft is not installed, and a firewall belongs to this network");
    }
    let lan = Lan::beyond(lab);
    let mut open: Vec<_> =
        [(1, 7001), (1, 7002), (2, 7001), (3, 7001)].map(|(host, port)| lan.listen(host, port)).into();
    lab.reach(&open);
    let mut hook = Hook::listen(lab, 9000);
    let group = "[[group]]\nname = \"lan\"\ntargets = [\"10.9.1.1\", \"10.9.2.1\", \"10.9.3.1\"]\n\
                 ports = [\"7001-7008\"]\nevery = \"1s\"\n[detection]\nconfirm-every = \"50ms\"\nunstable-above = 12\n";
    // Three changes among 21 scans are more than 12 percent, however quickly they come, and two never are.
    let place = Place::new(&settings(group, 9000));
    let mut service = Service::start(&place);
    service.wait_for("lan: scanned in");
    let began = Instant::now();
    let note = |what: &str| eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());

    note("a port opens and closes");
    let listener = lan.listen(1, 7003);
    hook.hears("opened port/10.9.1.1:7003/tcp");
    drop(listener);
    hook.hears("resolved port/10.9.1.1:7003/tcp");

    note("a service goes and comes back");
    drop(open.remove(0));
    hook.hears("opened port/10.9.1.1:7001/tcp");
    open.push(lan.listen(1, 7001));
    hook.hears("resolved port/10.9.1.1:7001/tcp");

    note("a firewall");
    lan.filter(1, "table ip f { chain i { type filter hook input priority 0; tcp dport 7002-7008 drop; }; }");
    hook.hears("opened firewall/10.9.1.1");
    lan.filter(1, "delete table ip f");
    hook.hears("resolved firewall/10.9.1.1");

    note("a host vanishes, with its ports");
    lan.router.down("to2");
    hook.hears("opened host/10.9.2.1");
    lan.router.up("to2");
    hook.hears("resolved host/10.9.2.1");

    note("the uplink");
    lab.down(UPLINK);
    hook.hears("opened scan/lan");
    lan.uplink(lab);
    hook.hears("resolved scan/lan");

    note("a port flaps");
    let listener = lan.listen(3, 7005);
    hook.hears("opened port/10.9.3.1:7005/tcp");
    drop(listener);
    hook.hears("resolved port/10.9.3.1:7005/tcp");
    let _listener = lan.listen(3, 7005);
    hook.hears("opened unstable/10.9.3.1:7005/tcp");

    note("quiet");
    (0..3).for_each(|_| _ = service.wait_for("lan: scanned in"));
    let (rest, code) = service.end();
    assert_eq!(code, Some(0), "{rest}");
    hook.hears_no_more();
    assert_eq!(incidents(&place), hook.told);
    note("end");
});

lab_test!(a_change_is_told_within_the_interval_and_ten_seconds, |lab| {
    const INTERVAL: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(2 + 10);
    let _ssh = lab.listen("127.0.0.1:22");
    let mut hook = Hook::listen(lab, 9000);
    // How sure it must be is as a user has it who has said nothing of that.
    let every = INTERVAL.as_secs();
    let group =
        format!("[[group]]\nname = \"here\"\ntargets = \"127.0.0.1\"\nports = [\"1-1024\"]\nevery = \"{every}s\"");
    let place = Place::new(&settings(&group, 9000));
    let mut service = Service::start(&place);
    service.wait_for("here: scanned in");
    let mut listener = None;
    for expected in ["opened port/127.0.0.1:80/tcp", "resolved port/127.0.0.1:80/tcp"] {
        let changed = Instant::now();
        listener = if listener.is_none() { Some(lab.listen("127.0.0.1:80")) } else { None };
        hook.hears(expected);
        let took = changed.elapsed();
        eprintln!("{expected}: told after {:.1} s", took.as_secs_f64());
        assert!(took < LONGEST, "{expected}: told after {took:?}");
    }
    service.end();
});

lab_test!(many_ports_at_once_are_told_in_one_message_and_one_end, |lab| {
    let _ssh = lab.listen("127.0.0.1:22");
    let mut hook = Hook::listen(lab, 9000);
    let group = "[[group]]\nname = \"here\"\ntargets = \"127.0.0.1\"\nports = [\"22\", \"7001-7030\"]\nevery = \"1h\"\n\
                 [detection]\nconfirm-every = \"50ms\"\n";
    let place = Place::new(&settings(group, 9000));
    let once = |incidents_are_open: bool| {
        let code = if incidents_are_open { 5 } else { 0 };
        assert_eq!(run(&place.line("--once")).status.code(), Some(code));
    };
    once(false);
    let mut open: Vec<_> = (7001..=7030).map(|port| lab.listen(&format!("127.0.0.1:{port}"))).collect();
    once(true);
    hook.hears("opened port/127.0.0.1:7001/tcp");
    open.drain(..10);
    once(true);
    hook.hears("updated port/127.0.0.1:7001/tcp");
    drop(open);
    once(false);
    hook.hears("resolved port/127.0.0.1:7001/tcp");
    hook.hears_no_more();
    assert_eq!(incidents(&place).len(), 60, "each has its own beginning and end");
});

lab_test!(a_service_that_is_killed_tells_each_change_once, |lab| {
    let _ssh = lab.listen("127.0.0.1:22");
    let mut hook = Hook::listen(lab, 9000);
    let group = "[[group]]\nname = \"here\"\ntargets = \"127.0.0.1\"\nports = [\"1-1024\"]\nevery = \"1s\"\n\
                 [detection]\nconfirm-every = \"50ms\"\n";
    let place = Place::new(&settings(group, 9000));
    let mut service = Service::start(&place);
    service.wait_for("here: scanned in");
    let mut listener = None;
    // From before the scan that sees the change until after it was told.
    for (port, after_ms) in [(80, 0), (80, 150), (443, 400), (443, 700), (993, 1000), (993, 1500)] {
        let opens = listener.is_none();
        listener = opens.then(|| lab.listen(&format!("127.0.0.1:{port}")));
        thread::sleep(Duration::from_millis(after_ms));
        service.signal(Signal::KILL);
        service.wait();
        service = Service::start(&place);
        let occasion = if opens { "opened" } else { "resolved" };
        hook.hears(&format!("{occasion} port/127.0.0.1:{port}/tcp"));
    }
    service.wait_for("here: scanned in");
    let (rest, code) = service.end();
    assert_eq!(code, Some(0), "{rest}");
    hook.hears_no_more();
    assert_eq!(incidents(&place), hook.told);
});
