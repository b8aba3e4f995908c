//! What else matters: the clock, and other scanners that run.

use std::fs;
use std::io;
use std::process;

use halfopen::machine;

use super::finding::{Finding, Grade};

/// Programs that send as scanners do, by their names in /proc (at most 15 letters).
const SCANNERS: [&str; 8] = ["halfopen", "masscan", "naabu", "nmap", "rustscan", "sx", "unicornscan", "zmap"];

pub(super) fn findings() -> Vec<Finding> {
    [clock(machine::clock_is_synchronised())].into_iter().chain(others(&running())).collect()
}

fn clock(synchronised: io::Result<bool>) -> Finding {
    match synchronised {
        Ok(true) => Finding::new(Grade::Ok, "clock", "synchronised"),
        Ok(false) => Finding::new(
            Grade::Note,
            "clock",
            "nobody keeps it right: times in results may be wrong, round-trip times are not",
        )
        .advise("run a time service (chrony, systemd-timesyncd)"),
        Err(error) => Finding::new(Grade::Unknown, "clock", error.to_string()),
    }
}

/// Numbers and names of the processes that can be seen, but for this one.
fn running() -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let name = |number| Some((number, fs::read_to_string(format!("/proc/{number}/comm")).ok()?.trim_end().to_owned()));
    processes.filter_map(number).filter(|&number| number != process::id()).filter_map(name).collect()
}

fn others(running: &[(u32, String)]) -> Option<Finding> {
    let scanners = running.iter().filter(|(_, name)| SCANNERS.contains(&name.as_str()));
    let named: Vec<_> = scanners.map(|(number, name)| format!("{name} ({number})")).collect();
    (!named.is_empty()).then(|| {
        let text = format!("running now: {}; they share the link, and what it drops", named.join(", "));
        Finding::new(Grade::Note, "other scanners", text).advise("wait for them, or scan at a fixed lower --rate")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanners_are_known_by_name() {
        let running = [(1, "init".into()), (7, "masscan".into()), (8, "nmap".into()), (9, "nmapper".into())];
        let found = others(&running).unwrap();
        assert_eq!(found.found, "running now: masscan (7), nmap (8); they share the link, and what it drops");
        assert_eq!(others(&running[..1]), None);
    }

    #[test]
    fn a_clock_that_nobody_keeps() {
        assert_eq!(clock(Ok(true)).grade, Grade::Ok);
        assert_eq!(
            (clock(Ok(false)).grade, clock(Err(io::ErrorKind::Other.into())).grade),
            (Grade::Note, Grade::Unknown)
        );
    }
}
