//! The unit that is shipped, run by a real systemd: one that is the first process of namespaces of its own, in a cgroup of its own,
//! and sees of the machine's files what a service needs, and folders that are gone with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use halfopen_lab::lab_test;

use super::{listeners, text};

/// Makes the place: $1 is the cgroup, $2 the program, $3 the folder with the units and what is to be said.
const BOOT: &str = r#"
set -e
echo $$ >"$1/cgroup.procs"
exec unshare --cgroup --mount --pid --uts --ipc --fork --kill-child sh -ec '
    mount --make-rprivate /
    mount -t proc proc /proc
    mount -t tmpfs tmpfs /mnt
    touch /mnt/halfopen
    mkdir /mnt/place
    mount --bind "$1" /mnt/halfopen
    mount --bind "$2" /mnt/place
    for folder in /run /tmp /var/tmp /var/lib; do mount -t tmpfs tmpfs $folder; done
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    export container=lab SYSTEMD_UNIT_PATH=/mnt/place
    exec /lib/systemd/systemd --unit=lab.target --log-target=console --show-status=no
' boot "$2" "$3"
"#;

const TARGET: &str = "[Unit]\nDefaultDependencies=no\nWants=halfopen-watch.service ask.service\n";

/// Begins when the service has said that it is ready.
const ASK: &str = "[Unit]\nDefaultDependencies=no\nAfter=halfopen-watch.service\n[Service]\nType=oneshot\n\
    StandardOutput=file:/mnt/place/said\nStandardError=file:/mnt/place/said\nExecStart=/bin/sh -e /mnt/place/ask\n";

const QUESTIONS: &str = r#"
show() { systemctl show halfopen-watch --property="$1"; }
count() { grep -c 'here: scanned in' /mnt/place/log || true; }
another_scan() { before=$(count); until [ "$(count)" -gt "$before" ]; do sleep 0.05; done; }
main() { kill -s "$1" "$(systemctl show halfopen-watch --property=MainPID --value)"; }
becomes() { until [ "$(show "$1")" = "$1=$2" ]; do sleep 0.05; done; echo "$1=$2"; }
trap 'echo END' EXIT
another_scan
show ActiveState
pid=$(systemctl show halfopen-watch --property=MainPID --value)
grep -E '^(NoNewPrivs|CapEff|Seccomp):' /proc/$pid/status
[ "$(stat -c %u /proc/$pid)" != 0 ] && echo 'not root'
systemctl reload halfopen-watch
until grep -q 'was read again: SIGHUP' /mnt/place/log; do sleep 0.05; done
another_scan
# Killed, it is started again, and goes on with the history that it has.
main KILL
becomes NRestarts 1
another_scan
# One that hangs gives no sign of life any more.
main STOP
becomes Result watchdog
becomes NRestarts 2
another_scan
systemctl stop halfopen-watch
show ActiveState
show Result
ls /var/lib/private/halfopen
"#;

/// Where cgroups of the second version are, and a new one there.
fn cgroup() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let place = fields.find(|fields| fields.get(2) == Some(&"cgroup2"))?[1].to_owned();
    let own = Path::new(&place).join(format!("halfopen-lab-{}", std::process::id()));
    fs::create_dir(&own).ok().map(|()| own)
}

fn remove(cgroup: &Path) {
    let folders = fs::read_dir(cgroup).into_iter().flatten().flatten().filter(|it| it.path().is_dir());
    folders.for_each(|it| remove(&it.path()));
    let _ = fs::remove_dir(cgroup);
}

lab_test!(the_unit_serves_under_a_real_systemd, |lab| {
    let (systemd, cgroup) = (Path::new("/lib/systemd/systemd"), cgroup());
    let (true, Some(cgroup)) = (systemd.exists(), &cgroup) else {
        cgroup.iter().for_each(|cgroup| remove(cgroup));
        return eprintln!("SKIPPED: there is no systemd, or no cgroup can be made for it");
    };
    let _listeners = listeners(lab);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, what: &str| fs::write(folder.path().join(name), what).unwrap();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/halfopen-watch.service");
    let unit = fs::read_to_string(unit).unwrap().replace("/usr/bin/halfopen", "/mnt/halfopen");
    let unit = unit.replace("/etc/halfopen/halfopen.toml", "/mnt/place/halfopen.toml");
    // Times that a test can wait for; and there is no journal here.
    let unit = unit.replace("RestartSec=5", "RestartSec=2").replace("WatchdogSec=60", "WatchdogSec=2");
    write("halfopen-watch.service", &unit.replace("[Service]", "[Service]\nStandardError=append:/mnt/place/log"));
    write("lab.target", TARGET);
    // Others that it names, without which it would not be started a second time.
    for name in ["sysinit", "basic", "shutdown", "network-online", "time-sync"] {
        write(&format!("{name}.target"), "[Unit]\nDefaultDependencies=no\n");
    }
    write("ask.service", ASK);
    write("ask", QUESTIONS);
    write("log", "");
    write(
        "halfopen.toml",
        "[[group]]\nname = \"here\"\ntargets = [\"127.0.0.1\", \"::1\"]\nports = [\"1-1024\"]\nevery = \"1s\"\n",
    );
    // Another user reads it.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), everybody).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", BOOT, "boot"]).arg(cgroup).arg(env!("CARGO_BIN_EXE_halfopen")).arg(folder.path());
    let mut manager = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    while !read("said").ends_with("END\n") && manager.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let _ = manager.kill();
    let said = text(&manager.wait_with_output().unwrap().stderr);
    while cgroup.exists() {
        // As soon as the last of them is gone.
        remove(cgroup);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let expected = "ActiveState=active\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nnot root\n\
                    NRestarts=1\nResult=watchdog\nNRestarts=2\nActiveState=inactive\nResult=success\nmonitor.db\nEND\n";
    let heard: Vec<String> =
        read("said").lines().filter(|line| !line.starts_with("monitor.db.")).map(str::to_owned).collect();
    assert_eq!(heard.join("\n") + "\n", expected, "{said}\n{}", read("log"));
});
