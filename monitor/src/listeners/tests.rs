//! A tree like /proc with two network namespaces, containers, and processes that show nothing; and this machine's own.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::sync::Arc;

use halfopen_results::Scan;
use halfopen_results::record::{Header, Name, Record, Settings, Show, State, Summary, Verdict};

use super::*;

const OWN: u64 = 4026531840;
const OTHER: u64 = 4026532999;
const CONTAINER: &str =
    "0::/system.slice/docker-aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd.scope\n";
const HEADING: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const USERS: &str = "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n";

/// A table of sockets, of local address, state, user and inode each.
fn table(rows: &[(&str, &str, u32, u64)]) -> String {
    let remote = |local: &str| if local.len() > 13 { "0".repeat(32) + ":0000" } else { "00000000:0000".into() };
    let row = |&(local, state, uid, inode): &(&str, &str, u32, u64)| {
        let remote = remote(local);
        format!(
            "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:5} 0 {inode} 1 0 100 0 0 10 0\n"
        )
    };
    rows.iter().map(row).fold(HEADING.to_owned(), |text, row| text + &row)
}

/// A process: its files, and the inodes of its sockets.
struct Made<'a> {
    pid: i32,
    name: &'a str,
    command: &'a str,
    uid: u32,
    group: &'a str,
    namespace: u64,
    sockets: &'a [u64],
}

impl Made<'_> {
    fn write(&self, root: &Path) {
        let folder = root.join(self.pid.to_string());
        fs::create_dir_all(folder.join("fd")).unwrap();
        fs::create_dir_all(folder.join("ns")).unwrap();
        symlink("../nets/".to_owned() + &self.namespace.to_string(), folder.join("net")).unwrap();
        symlink(format!("net:[{}]", self.namespace), folder.join("ns/net")).unwrap();
        symlink("/dev/null", folder.join("fd/0")).unwrap();
        for (number, inode) in self.sockets.iter().enumerate() {
            symlink(format!("socket:[{inode}]"), folder.join(format!("fd/{}", number + 3))).unwrap();
        }
        let (name, uid, zeros) = (self.name, self.uid, "0 ".repeat(30));
        // Started 100 s after the machine.
        let ticks = 100 * procfs::ticks_per_second();
        let stat = format!("{} ({name}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} {zeros}\n", self.pid);
        let status = format!("Name:\t{name}\nUid:\t0\t{uid}\t{uid}\t{uid}\n");
        let files = [
            ("comm", format!("{name}\n")),
            ("cmdline", self.command.replace(' ', "\0") + "\0"),
            ("cgroup", self.group.to_owned()),
            ("stat", stat),
            ("status", status),
        ];
        files.iter().for_each(|(file, text)| fs::write(folder.join(file), text).unwrap());
    }
}

fn net(root: &Path, namespace: u64, tables: &[(&str, String)]) {
    let folder = root.join("nets").join(namespace.to_string());
    fs::create_dir_all(&folder).unwrap();
    tables.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
}

fn trie(addresses: &[&str]) -> String {
    addresses.iter().map(|address| format!("  |-- {address}\n     /32 host LOCAL\n")).collect()
}

/// 192.0.2.2 and 2001:db8::2, with a container at 172.17.0.2.
fn machine() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("stat"), "cpu 0 0\nbtime 1700000000\n").unwrap();
    let any6 = |port: &str| format!("{}:{port}", "0".repeat(32));
    let (http, proxied) = (any6("0050"), any6("1F90"));
    let tcp6 = [(&*http, "0A", 0, 30), (&*proxied, "0A", 0, 31)];
    let tables = [
        (
            "tcp",
            table(&[
                ("00000000:0016", "0A", 0, 10),
                ("0100007F:1538", "0A", 33, 11),
                ("00000000:1F90", "0A", 0, 12),
                ("020200C0:0016", "01", 0, 13),
                ("00000000:0017", "0A", 0, 14),
                ("00000000:0017", "0A", 0, 15),
            ]),
        ),
        ("tcp6", table(&tcp6)),
        ("udp", table(&[("00000000:0044", "07", 101, 20), ("020200C0:9C40", "01", 0, 21)])),
        ("fib_trie", trie(&["127.0.0.1", "192.0.2.2", "172.17.0.1"])),
        ("if_inet6", "20010db8000000000000000000000002 02 40 00 80 eth0\n".into()),
    ];
    net(root, OWN, &tables);
    let inside = [("tcp", table(&[("00000000:0050", "0A", 33, 40)])), ("fib_trie", trie(&["127.0.0.1", "172.17.0.2"]))];
    net(root, OTHER, &inside);
    let service = "0::/system.slice/ssh.service\n";
    let proxy = "/usr/bin/docker-proxy -proto tcp -host-port 8080 -container-ip 172.17.0.2 -container-port 80";
    let made = |pid, name, command, uid, group, namespace, sockets| {
        Made { pid, name, command, uid, group, namespace, sockets }.write(root);
    };
    made(1, "self", "halfopen listeners", 0, "0::/\n", OWN, &[]);
    made(812, "sshd", "sshd: /usr/sbin/sshd -D", 0, service, OWN, &[10, 13]);
    made(900, "docker-proxy", proxy, 0, "0::/system.slice/docker.service\n", OWN, &[12, 31]);
    made(950, "nginx", "nginx: worker", 33, CONTAINER, OTHER, &[40]);
    made(960, "telnetd", "telnetd", 0, "0::/\n", OWN, &[14]);
    made(961, "telnetd", "telnetd", 0, "0::/\n", OWN, &[15, 15]);
    // Of somebody else: what would be the folder of files cannot be listed.
    fs::create_dir_all(root.join("970")).unwrap();
    fs::write(root.join("970/fd"), "").unwrap();
    fs::write(root.join("970/cmdline"), "postgres\0").unwrap();
    symlink("1", root.join("self")).unwrap();
    folder
}

fn listening() -> Listening {
    let folder = machine();
    let passwd = folder.path().join("passwd");
    fs::write(&passwd, USERS).unwrap();
    Listening::under(folder.path(), &Users::read(&passwd), &HashMap::from([(30, false), (31, true)])).unwrap()
}

fn line(listener: &Listener) -> String {
    let pids: Vec<_> = listener.processes.iter().map(|process| format!("{}/{}", process.name, process.pid)).collect();
    let place = listener.place().map_or("-".into(), ToString::to_string);
    let to = listener.published.as_ref().and_then(|it| it.to).map_or(String::new(), |to| format!(" -> {to}"));
    let (socket, user) = (listener.socket(), listener.user.shown());
    format!(
        "{} {socket} {:?} {} [{}] {user} {place}{to}",
        listener.port.protocol,
        listener.also_v4,
        listener.namespace.0,
        pids.join(",")
    )
}

#[test]
fn what_listens() {
    let listening = listening();
    let lines: Vec<_> = listening.listeners.iter().map(line).collect();
    let expected = [
        "tcp 0.0.0.0:22 No 4026531840 [sshd/812] root ssh.service",
        "tcp 0.0.0.0:23 No 4026531840 [telnetd/960,telnetd/961] root -",
        "tcp [::]:80 Yes 4026531840 [] root -",
        "tcp 0.0.0.0:80 No 4026532999 [nginx/950] www-data docker aaaabbbbcccc",
        "tcp 127.0.0.1:5432 No 4026531840 [] www-data -",
        "tcp 0.0.0.0:8080 No 4026531840 [docker-proxy/900] root docker.service -> 172.17.0.2:80",
        "tcp [::]:8080 No 4026531840 [docker-proxy/900] root docker.service -> 172.17.0.2:80",
        "udp 0.0.0.0:68 No 4026531840 [] 101 -",
    ];
    assert_eq!(lines, expected);
    assert_eq!((listening.own, listening.hidden_processes, listening.without_process()), (NamespaceId(OWN), 1, 3));
    let sshd = &listening.listeners[0].processes[0];
    assert_eq!(sshd.command, "sshd: /usr/sbin/sshd -D");
    assert_eq!(sshd.started.unwrap().as_second(), 1_700_000_100);
}

#[test]
fn who_is_asked_for_an_address() {
    let listening = listening();
    let at = |place: usize, address: &str| listening.listeners[place].serves(address.parse().unwrap());
    assert!(at(0, "192.0.2.2") && !at(0, "2001:db8::2"), "0.0.0.0 is IPv4 only");
    assert!(at(2, "192.0.2.2") && at(2, "2001:db8::2"), "[::] without IPV6_V6ONLY is both");
    assert!(!at(6, "192.0.2.2") && at(6, "2001:db8::2"), "[::] with it is IPv6 only");
    let local: Vec<_> =
        listening.listeners.iter().filter(|it| listening.is_local(it)).map(|it| it.port.number).collect();
    assert_eq!(local, [5432]);
    let addresses: Vec<_> = listening.addresses_of(&listening.listeners[3]).iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["172.17.0.2"]);
}

fn verdict(address: &str, port: u16, state: State, at: &str) -> Record {
    let time = at.parse().unwrap();
    Record::Verdict(Verdict { time, reason: "x".into(), ..Verdict::bare(address.parse().unwrap(), port, state) })
}

const LATER: &str = "2024-01-01T00:00:00Z";
const EARLIER: &str = "2020-01-01T00:00:00Z";

fn scan(link: &str, verdicts: &[(&str, u16, State)], at: &str) -> Scan {
    let ports = Arc::new("1-100,8080-8081".parse().unwrap());
    let coverage = [("192.0.2.0/24".parse().unwrap(), ports)].into_iter().collect();
    let show = Show { open: true, ..Show::default() };
    let settings = Settings { show, links: vec![link.into()], ..Settings::default() };
    let started = at.parse().unwrap();
    let mut scan = Scan::default();
    scan.add(Record::Scan(Box::new(Header { coverage, started, settings, ..Header::default() })));
    verdicts.iter().for_each(|&(address, port, state)| scan.add(verdict(address, port, state, at)));
    let outcome = Name::from("complete");
    scan.add(Record::Summary(Box::new(Summary { outcome, started, ..Summary::default() })));
    scan
}

/// As it is read from a file.
fn outside(scan: &Scan) -> Outside {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: String = scan.records().map(|record| serde_json::to_string(&record).unwrap() + "\n").collect();
    fs::write(file.path(), lines).unwrap();
    Outside::load(file.path()).unwrap()
}

fn named(listening: &Listening, outside: Option<&Outside>) -> Vec<String> {
    let reaches = reach::reaches(listening, outside);
    let shown = |(listener, reach): (&Listener, &Reach)| {
        let why = if let Reach::Unknown(why) = reach { why.words() } else { reach.name() };
        format!("{} {why}", listener.socket())
    };
    listening.listeners.iter().zip(&reaches).map(shown).collect()
}

#[test]
fn against_a_scan_from_outside() {
    let listening = listening();
    let open = [("192.0.2.2", 22, State::Open), ("192.0.2.2", 80, State::Open), ("192.0.2.2", 81, State::Open)];
    let outside = outside(&scan("af_packet@eth0", &open, LATER));
    outside.require(&listening).unwrap();
    let expected = [
        "0.0.0.0:22 reachable",
        "0.0.0.0:23 blocked",
        "[::]:80 reachable",
        "0.0.0.0:80 not asked (not in the scan)",
        "127.0.0.1:5432 local",
        "0.0.0.0:8080 blocked",
        "[::]:8080 not asked (not in the scan)",
        "0.0.0.0:68 not asked (UDP)",
    ];
    assert_eq!(named(&listening, Some(&outside)), expected);
    let reaches = reach::reaches(&listening, Some(&outside));
    assert_eq!(reaches[1].sights()[0].state, reach::Sighted::NotOpen);
    assert_eq!(reaches[0].verified().unwrap().to_string(), LATER);
    let unexplained = reach::unexplained(&listening, &outside);
    let endpoints: Vec<_> = unexplained.iter().map(|it| it.endpoint.to_string()).collect();
    assert_eq!(endpoints, ["192.0.2.2:81/tcp"]);
    assert_eq!(unexplained[0].candidates, [0; 0]);
}

/// Without docker-proxy, a rule of the kernel passes the port on.
#[test]
fn a_port_without_a_listener_may_be_a_container_s() {
    let mut listening = listening();
    listening.listeners.retain(|listener| listener.port.number != 80 || listener.namespace != listening.own);
    let outside = outside(&scan("af_packet@eth0", &[("192.0.2.2", 80, State::Open)], LATER));
    let unexplained = reach::unexplained(&listening, &outside);
    let candidate = &listening.listeners[unexplained[0].candidates[0]];
    assert_eq!((candidate.place().unwrap().to_string(), unexplained.len()), ("docker aaaabbbbcccc".into(), 1));
}

#[test]
fn what_a_scan_cannot_tell() {
    let listening = listening();
    let first = |outside: Option<&Outside>| named(&listening, outside)[0].clone();
    let open = [("192.0.2.2", 22, State::Open)];
    assert_eq!(first(None), "0.0.0.0:22 not asked");
    let itself = outside(&scan("raw_ip@lo", &open, LATER));
    assert!(itself.from_itself && reach::unexplained(&listening, &itself).is_empty());
    assert_eq!(first(Some(&itself)), "0.0.0.0:22 not asked from outside");
    let early = outside(&scan("af_packet@eth0", &[], EARLIER));
    assert_eq!(first(Some(&early)), "0.0.0.0:22 not asked (started after the scan)");
    let mut lying = scan("af_packet@eth0", &open, LATER);
    let every = halfopen_results::record::Suspect {
        address: "192.0.2.2".parse().unwrap(),
        reason: "every-port".into(),
        usual_ttl: None,
    };
    lying.add(Record::Suspect(every));
    assert_eq!(first(Some(&outside(&lying))), "0.0.0.0:22 not asked (not in the scan)");
}

#[test]
fn a_scan_of_others_is_refused_unless_one_of_them_is_us() {
    let listening = listening();
    let mut others = scan("af_packet@eth0", &[], LATER);
    let header = others.header.as_mut().unwrap();
    header.coverage = [("198.51.100.0/24".parse().unwrap(), Arc::new("22".parse().unwrap()))].into_iter().collect();
    others.add(verdict("198.51.100.7", 22, State::Open, LATER));
    let error = outside(&others).require(&listening).unwrap_err().to_string();
    assert!(error.contains("192.0.2.2") && error.contains("--address"), "{error}");
    let by_nat = outside(&others).also(["198.51.100.7".parse().unwrap()]);
    by_nat.require(&listening).unwrap();
    assert_eq!(named(&listening, Some(&by_nat))[0], "0.0.0.0:22 reachable");
    assert!(reach::unexplained(&listening, &by_nat).is_empty());
}

#[test]
fn against_the_history() {
    use crate::ledger::{Fact, Ledger};
    use crate::store::{self, Account, Store};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor.db");
    let (store, host, at) = (Store::open(&path).unwrap(), "192.0.2.2".parse().unwrap(), LATER.parse().unwrap());
    let fact = |state| Some(Fact { state, reason: "x".into(), ttl: None, rtt_us: None });
    let mut ledger = Ledger::default();
    for (first, last, state) in [(1, 100, State::Filtered), (22, 22, State::Open)] {
        store::write_runs(store.connection(), host, &ledger.set(first, last, fact(state), at), at).unwrap();
    }
    store::write_presence(store.connection(), host, true, at).unwrap();
    let coverage = [("192.0.2.2".parse().unwrap(), Arc::new("1-100".parse().unwrap()))].into_iter().collect();
    let (group, purpose, outcome) = ("dmz".to_owned(), "regular".into(), "complete".into());
    let ended = "2024-02-02T00:00:00Z".parse().unwrap();
    let account =
        Account { group, purpose, started: at, ended, outcome, probes: 1, hosts_up: 1, open_ports: 1, error: None };
    store::add_scan(store.connection(), &account, Some(&coverage)).unwrap();
    store::remember_coverage(store.connection(), "dmz", &coverage).unwrap();
    drop(store);
    let (outside, listening) = (Outside::load(&path).unwrap(), listening());
    outside.require(&listening).unwrap();
    let named = named(&listening, Some(&outside));
    assert_eq!(named[..2], ["0.0.0.0:22 reachable", "0.0.0.0:23 blocked"]);
    assert_eq!(reach::reaches(&listening, Some(&outside))[0].verified(), Some(ended));
    assert!(reach::unexplained(&listening, &outside).is_empty());
}

const POLICY: &str = r#"
version = 1
[[rule]]
id = "others read this"
[listeners]
allow = [
  { proto = "tcp", port = 22, process = "sshd", bind = "any", user = "root" },
  { port = "8000-8080", process = "nginx" },
  { proto = "tcp", port = 5432, bind = "loopback", process = "postgres" },
  { proto = "udp", port = 68 },
  { proto = "tcp", port = 80, bind = "192.0.2.2" },
  { proto = "tcp", port = 4711 },
]
"#;

#[test]
fn against_a_policy() {
    let listening = listening();
    let expectation = Expectation::parse("policy.toml", POLICY).unwrap();
    let told = |expectation: &Expectation| -> Vec<String> {
        let violations = expectation.violations(&listening);
        let shown = |it: &expectation::Violation| {
            format!("{} {} {:?}", listening.listeners[it.listener].socket(), it.why, it.line)
        };
        violations.iter().map(shown).collect()
    };
    let others = [
        "[::]:80 is bound to ::, and may be to 192.0.2.2 only Some(11)",
        "127.0.0.1:5432 may be postgres's only, and its process cannot be seen (root can) Some(9)",
        "0.0.0.0:8080 is docker-proxy's, and may be nginx's only Some(8)",
        "[::]:8080 is docker-proxy's, and may be nginx's only Some(8)",
    ];
    let all: Vec<_> = ["0.0.0.0:23 is not in the policy None"].into_iter().chain(others).collect();
    assert_eq!(told(&expectation), all);
    let lenient = Expectation { unlisted: expectation::Unlisted::Ignore, ..expectation.clone() };
    assert_eq!(told(&lenient), others);
    let idle: Vec<_> = expectation.idle(&listening).map(|allowed| allowed.line).collect();
    assert_eq!(idle, [8, 9, 11, 12]);
}

#[test]
fn a_policy_that_is_wrong_says_where() {
    let cases = [
        ("version = 1\n", ":1: has no table [listeners]"),
        ("[listeners]\nallow = [\n{ port = 70000 }]", ":3: expected a port"),
        ("[listeners]\nallow = [\n{ port = \"22-\" }]", ":3: \"22-\" is no list of ports"),
        ("[listeners]\nallow = [{ port = 22, proto = \"sctp\" }]", ":2: \"sctp\": expected \"tcp\" or \"udp\""),
        ("[listeners]\nallow = [{ port = 22, bind = \"eth0\" }]", ":2: \"eth0\": expected an address"),
        ("[listeners]\nallow = [{ port = 22, proces = \"a\" }]", ":2: unknown field `proces`"),
        ("[listeners]\nallow = []\nunlisted = \"fail\"", ":3: unknown variant `fail`"),
        ("[listeners]\nallow = [{ process = \"sshd\" }]", ":2: missing field `port`"),
    ];
    for (text, expected) in cases {
        let error = Expectation::parse("policy.toml", text).unwrap_err().to_string();
        assert!(error.starts_with("policy.toml:") && error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_tree_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Listening::under(folder.path(), &Users::default(), &HashMap::new()).unwrap_err().to_string();
    assert!(error.contains("self/ns/net") && error.contains("No such file"), "{error}");
}

/// What this test has opened itself is found in the machine's own tree, with this process's number.
#[test]
fn this_process_listens() {
    let (v4, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let v6 = TcpListener::bind("[::1]:0").ok();
    let listening = Listening::now().unwrap();
    let sockets = [v4.local_addr().unwrap(), udp.local_addr().unwrap()];
    let own = i32::try_from(std::process::id()).unwrap();
    for socket in sockets.into_iter().chain(v6.map(|it| it.local_addr().unwrap())) {
        let found = listening.listeners.iter().find(|it| it.socket() == socket && it.namespace == listening.own);
        let found = found.unwrap_or_else(|| panic!("{socket} is not there"));
        assert!(found.processes.iter().any(|process| process.pid == own), "{found:?}");
        assert!(listening.is_local(found));
    }
}

/// The kernel tells which sockets take IPv4, too: the standard library's do.
#[test]
fn the_kernel_knows_who_serves_both() {
    let Ok(both) = TcpListener::bind("[::]:0") else {
        return eprintln!("skipped: no IPv6 here");
    };
    let listening = Listening::now().unwrap();
    let port = Port::tcp(both.local_addr().unwrap().port());
    let found = listening.listeners.iter().find(|it| it.port == port && it.namespace == listening.own).unwrap();
    let expected = match fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap().trim() {
        "0" => AlsoV4::Yes,
        _ => AlsoV4::No,
    };
    assert_eq!(found.also_v4, expected);
}
