//! `halfopen listeners` in a network that another scans: what listens, who reached it, what a firewall kept, what may not.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use halfopen_lab::{End, Namespace, lab_test, link, skip};
use serde_json::Value;

use super::{run, text};

/// The lab is the machine that is looked at, 10.1.0.1; the other scans it.
fn joined(lab: &Namespace) -> Namespace {
    let far = Namespace::new("far");
    let (near, other) = (End::new(lab, "near0").address("10.1.0.1/24"), End::new(&far, "far0").address("10.1.0.2/24"));
    link(&near.address("2001:db8::1/64"), &other.address("2001:db8::2/64"));
    far
}

/// What is found in this network namespace; as root, others on this machine are visible, too.
fn own(line: &str) -> Vec<Value> {
    let output = run(line);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let object: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let all = object["listeners"].as_array().expect("a list").clone();
    all.into_iter().filter(|listener| listener["own_namespace"] == true).collect()
}

/// `tcp 127.0.0.1 22`, by what is asked for.
fn sockets(listeners: &[Value]) -> BTreeSet<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown = |it: &Value| ["protocol", "address", "port"].map(|key| word(&it[key])).join(" ");
    listeners.iter().map(shown).collect()
}

fn set(sockets: &[&str]) -> BTreeSet<String> {
    sockets.iter().map(|&socket| socket.to_owned()).collect()
}

lab_test!(what_listens_is_found_with_its_process, |lab| {
    let _far = joined(lab);
    let _tcp = ["127.0.0.1:22", "0.0.0.0:23", "[::1]:80", "[::]:443"].map(|address| lab.listen(address));
    let _udp = lab.run(|| UdpSocket::bind("127.0.0.1:53")).unwrap();
    let all = own("listeners --json");
    let tcp = ["tcp 127.0.0.1 22", "tcp 0.0.0.0 23", "tcp ::1 80", "tcp :: 443"];
    assert_eq!(sockets(&all), set(&[&tcp[..], &["udp 127.0.0.1 53"]].concat()));
    for listener in &all {
        let pids: Vec<_> =
            listener["processes"].as_array().unwrap().iter().map(|it| it["pid"].as_u64().unwrap()).collect();
        assert_eq!(pids, [u64::from(std::process::id())], "{listener}");
    }
    let https = all.iter().find(|it| it["port"] == 443).unwrap();
    assert_eq!((&https["also_ipv4"], &https["service"]["name"]), (&"yes".into(), &"https".into()));
    let telnet = all.iter().find(|it| it["port"] == 23).unwrap();
    assert_eq!((&telnet["service"]["plaintext"], &telnet["service"]["instead"]), (&true.into(), &"ssh".into()));
    assert_eq!((&telnet["reach"], &telnet["why"]), (&"unknown".into(), &"no-scan".into()));
    for (options, expected) in [
        ("--tcp", &tcp[..]),
        ("-tln", &tcp[..]),
        ("--udp", &["udp 127.0.0.1 53"][..]),
        ("--ipv6", &tcp[2..]),
        ("-t --ipv4", &[tcp[0], tcp[1], tcp[3]][..]),
        ("-p ssh,8000-8100", &tcp[..1]),
        ("--exposed", &[tcp[1], tcp[3]][..]),
        ("--process nobody-s", &[][..]),
    ] {
        let options: &str = options;
        assert_eq!(sockets(&own(&format!("listeners --json {options}"))), set(expected), "{options}");
    }
    let own_name = fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(own(&format!("listeners --json --process {own_name}")).len(), 5);
});

lab_test!(a_table_for_people, |lab| {
    let _far = joined(lab);
    let _listeners = ["127.0.0.1:22", "0.0.0.0:23", "0.0.0.0:445"].map(|address| lab.listen(address));
    let output = run("listeners -p 22,23,445");
    let lines = text(&output.stdout);
    let pid = std::process::id().to_string();
    assert!(lines.starts_with("PROTO  LISTENS ON"), "{lines}");
    let ssh = lines.lines().find(|line| line.contains("127.0.0.1:22 ") && line.contains(&pid)).expect("its line");
    assert!(ssh.contains("local only") && !ssh.contains("…"), "{ssh}");
    assert!(lines.contains("plaintext: 23 telnet, use ssh"), "{lines}");
    assert!(lines.contains("high risk if strangers reach it: 445 "), "{lines}");
    assert!(lines.contains("; --against FILE says who can reach them\n"), "{lines}");
    let wide = text(&run("listeners --wide -p 22").stdout);
    assert!(wide.lines().next().unwrap().ends_with("SERVICE  COMMAND"), "{wide}");
    assert!(wide.contains(&std::env::args().next().unwrap()), "{wide}");
});

// The same sockets as ss shows. It writes dual [::] as *, and devices after addresses.
lab_test!(as_ss_shows_them, |lab| {
    if Command::new("ss").arg("-V").output().is_err() {
        return skip("ss is not installed");
    }
    let _tcp = ["127.0.0.1:22", "0.0.0.0:23", "[::1]:80", "[::]:443"].map(|address| lab.listen(address));
    let _udp = ["127.0.0.1:53", "[::]:5353"].map(|address| lab.run(|| UdpSocket::bind(address)).unwrap());
    let connected = lab.run(|| UdpSocket::bind("127.0.0.1:9999")).unwrap();
    connected.connect("127.0.0.1:53").unwrap();
    let shown = text(&lab.run(|| Command::new("ss").arg("-tulnH").output()).unwrap().stdout);
    let socket = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (address, port) = words[4].rsplit_once(':').expect("an address and a port");
        let address = address.trim_matches(['[', ']']).split('%').next().unwrap().replace('*', "::");
        format!("{} {address} {port}", words[0])
    };
    let theirs: BTreeSet<_> = shown.lines().map(socket).collect();
    assert_eq!(theirs.len(), 6, "{shown}");
    assert_eq!(sockets(&own("listeners --json")), theirs);
});

lab_test!(what_another_machine_reached, |lab| {
    let far = joined(lab);
    let listeners = ["0.0.0.0:22", "127.0.0.1:5432", "[::]:80", "10.1.0.1:8080"].map(|address| lab.listen(address));
    far.reach(&[lab.listen("10.1.0.1:9"), lab.listen("[2001:db8::1]:9")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scan.jsonl");
    let firewall = closed_by_a_firewall();
    let scan = format!(
        "scan 10.1.0.1 2001:db8::1 -p 1-100,5432,8080 --max-passes 2 --show all --quiet -o jsonl={}",
        file.display()
    );
    let scanned = far.run(|| run(&scan));
    assert!(scanned.status.success(), "{}", text(&scanned.stderr));
    let output = run(&format!("listeners --json --against {}", file.display()));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let reach = |port: u16| {
        let all = object["listeners"].as_array().unwrap().iter();
        let it = all.filter(|it| it["own_namespace"] == true).find(|it| it["port"] == port).expect("it listens");
        (it["reach"].as_str().unwrap().to_owned(), it.clone())
    };
    assert_eq!([22, 80, 5432].map(|port| reach(port).0), ["reachable", "reachable", "local"]);
    assert!(reach(22).1["verified"].is_string());
    assert_eq!(reach(80).1["sights"].as_array().unwrap().len(), 2, "over IPv4 and IPv6");
    let reachable = sockets(&own(&format!("listeners --json --reachable --against {}", file.display())));
    let said = text(&run(&format!("listeners --against {} --exposed", file.display())).stdout);
    if firewall {
        assert_eq!(reach(8080).0, "blocked");
        assert_eq!(reachable, set(&["tcp 0.0.0.0 22", "tcp :: 80"]));
        assert!(said.contains("blocked: filtered ("), "{said}");
        // What a rule passes on, nothing listens on.
        let unexplained = object["unexplained"].as_array().unwrap();
        assert_eq!(unexplained.iter().map(|it| it["port"].as_u64().unwrap()).collect::<Vec<_>>(), [81]);
        assert!(said.contains("10.1.0.1:81") && said.contains("reachable, nothing listens here"), "{said}");
    } else {
        assert_eq!(reach(8080).0, "reachable");
    }
    drop(listeners);
});

/// Drops what comes for port 8080, and passes port 81 on to 22.
fn closed_by_a_firewall() -> bool {
    if !["/usr/sbin/nft", "/sbin/nft"].iter().any(|path| Path::new(path).exists()) {
        eprintln!("skipped: nft is not installed, so nothing is blocked here");
        return false;
    }
    let rules = "table ip f { chain i { type filter hook input priority 0; tcp dport 8080 drop; }; \
        chain p { type nat hook prerouting priority -100; tcp dport 81 redirect to :22; }; }";
    let status = Command::new("nft").env("PATH", "/usr/sbin:/sbin").arg(rules).status().unwrap();
    assert!(status.success(), "nft does not take {rules}");
    true
}

// A scan of oneself passes no firewall; one of others is about others.
lab_test!(what_a_scan_is_no_good_for, |lab| {
    let _far = joined(lab);
    let _listener = lab.listen("0.0.0.0:22");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scan.jsonl");
    assert!(run(&format!("scan 10.1.0.1 -p 22 --quiet -o jsonl={}", file.display())).status.success());
    let output = run(&format!("listeners -p 22 --against {}", file.display()));
    assert!(text(&output.stdout).contains("not asked from outside"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("was made by a machine of itself (over lo)"), "{}", text(&output.stderr));
    assert!(run(&format!("scan 127.0.0.1 -p 22 --quiet -o jsonl={}", file.display())).status.success());
    let output = run(&format!("listeners --against {}", file.display()));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("has nothing about this machine") && said.contains("10.1.0.1"), "{said}");
    let by_nat = run(&format!("listeners --against {} --address 127.0.0.1", file.display()));
    assert_eq!(by_nat.status.code(), Some(0), "{}", text(&by_nat.stderr));
});

lab_test!(what_may_not_listen, |lab| {
    let _listeners = ["127.0.0.1:22", "0.0.0.0:23"].map(|address| lab.listen(address));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    let check = |text: &str, options: &str| {
        fs::write(&file, text).unwrap();
        let output = run(&format!("listeners --check {} {options}", file.display()));
        (output.status.code(), super::text(&output.stdout) + &super::text(&output.stderr))
    };
    let all =
        "version = 1\n[listeners]\nallow = [\n{ port = 22, bind = \"loopback\" },\n{ port = 23 },\n{ port = 99 }]\n";
    let (code, said) = check(all, "");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("policy: everything that listens here is allowed\npolicy: nothing listens for line 6\n"),
        "{said}"
    );
    let wrong = "[listeners]\nallow = [{ proto = \"tcp\", port = 22, process = \"sshd\" }]\n";
    let (code, said) = check(wrong, "");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("not allowed: 127.0.0.1:22/tcp (") && said.contains("may be sshd's only (line 2)\n"),
        "{said}"
    );
    assert!(said.contains("not allowed: 0.0.0.0:23/tcp (") && said.contains("is not in the policy\n"), "{said}");
    assert_eq!(check(wrong, "--udp").0, Some(0), "only what was asked for counts");
    let (code, said) = check("[listeners]\nallow = [{ port = 22, proces = 1 }]\n", "");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("policy.toml:2: unknown field `proces`"), "{said}");
});
