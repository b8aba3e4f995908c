//! Limits: of the kernel's memory that may be locked, of descriptors, of what sockets hold, and the ports that local
//! programs are given.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::finding::{Finding, Grade, numbers};

/// What receiving by XDP wants at most (capabilities.md): 64 MiB a device.
const LOCKED: u64 = 64 << 20;
/// What a connect scan uses at most, with the rest of the program.
const DESCRIPTORS: u64 = 1064;
/// What a packet socket asks for to send from, at most.
const SEND: u64 = 208 << 10;
/// Where source ports are taken from (Linux's default range).
pub(super) const PORTS: (u64, u64) = (32_768, 60_999);

pub(super) fn findings() -> Vec<Finding> {
    let free = capabilities(None).is_ok_and(|have| have.effective.contains(CapabilitySet::IPC_LOCK));
    let read = |path: &str| fs::read_to_string(format!("/proc/sys/net/{path}")).ok().map(|text| numbers(&text));
    vec![
        locked(getrlimit(Resource::Memlock).current, free),
        descriptors(getrlimit(Resource::Nofile).current),
        socket_memory(
            read("core/wmem_max").as_deref(),
            read("core/rmem_max").as_deref(),
            read("core/optmem_max").as_deref(),
        ),
        ports(read("ipv4/ip_local_port_range").as_deref()),
    ]
}

fn locked(limit: Option<u64>, free: bool) -> Finding {
    match limit {
        _ if free => Finding::new(Grade::Ok, "locked memory", "no limit (CAP_IPC_LOCK)"),
        None => Finding::new(Grade::Ok, "locked memory", "no limit"),
        Some(limit) if limit >= LOCKED => Finding::new(Grade::Ok, "locked memory", size(limit)),
        Some(limit) => {
            let text = format!("{} at most, and AF_XDP and receiving by XDP want up to 64 MiB a device", size(limit));
            Finding::new(Grade::Warning, "locked memory", text)
                .advise("raise it (ulimit -l 262144, LimitMEMLOCK=, limits.conf) or use packet sockets")
        }
    }
}

fn descriptors(limit: Option<u64>) -> Finding {
    match limit {
        Some(limit) if limit < DESCRIPTORS => {
            let text = format!(
                "{limit} at most: connect scans make {} connections at a time and not 1000",
                limit.saturating_sub(64).max(1)
            );
            Finding::new(Grade::Note, "descriptors", text).advise("raise it (ulimit -n 4096)")
        }
        Some(limit) => Finding::new(Grade::Ok, "descriptors", limit.to_string()),
        None => Finding::new(Grade::Ok, "descriptors", "no limit"),
    }
}

fn socket_memory(send: Option<&[u64]>, receive: Option<&[u64]>, options: Option<&[u64]>) -> Finding {
    let first = |numbers: Option<&[u64]>| numbers.and_then(|numbers| numbers.first().copied());
    let (Some(send), Some(receive), options) = (first(send), first(receive), first(options)) else {
        return Finding::new(Grade::Unknown, "socket memory", "/proc/sys/net/core does not tell");
    };
    let options = options.map_or("unknown".into(), size);
    let text = format!(
        "to send {}, to receive {}, for options {options}; a packet ring has 4 to 64 MiB of its own, by the rate",
        size(send),
        size(receive)
    );
    if send < SEND {
        return Finding::new(Grade::Note, "socket memory", text)
            .advise("raise net.core.wmem_max to 212992 for fast scans");
    }
    Finding::new(Grade::Ok, "socket memory", text)
}

/// Firewalls let answers to this machine's own range in; source ports elsewhere may be treated otherwise.
fn ports(range: Option<&[u64]>) -> Finding {
    let Some(&[first, last]) = range else {
        return Finding::new(Grade::Unknown, "source ports", "/proc/sys/net/ipv4/ip_local_port_range does not tell");
    };
    let text = format!("from {} to {}; this machine's own programs use {first} to {last}", PORTS.0, PORTS.1);
    match first <= PORTS.0 && PORTS.1 <= last {
        true => Finding::new(Grade::Ok, "source ports", text),
        false => Finding::new(Grade::Note, "source ports", text)
            .advise("if a firewall goes by that range, choose a port in it with --source-port"),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::lines;

    #[test]
    fn too_little_memory_to_lock() {
        let said = lines(&[locked(Some(0), false)]);
        assert!(said.starts_with("warning  locked memory: 0 B at most, and AF_XDP"), "{said}");
        assert_eq!(locked(Some(0), true).grade, Grade::Ok);
        assert_eq!((locked(None, false).grade, locked(Some(LOCKED), false).found.as_str()), (Grade::Ok, "64 MiB"));
    }

    #[test]
    fn few_descriptors_make_few_connections() {
        assert!(descriptors(Some(256)).found.contains("192 connections at a time"));
        assert_eq!(descriptors(Some(1 << 20)).grade, Grade::Ok);
    }

    #[test]
    fn memory_of_sockets() {
        let (small, usual) = ([4096], [212_992]);
        let found = socket_memory(Some(&usual), Some(&usual), Some(&small));
        assert_eq!(
            found.found,
            "to send 208 KiB, to receive 208 KiB, for options 4 KiB; a packet ring has 4 to 64 MiB of its own, by the rate"
        );
        assert_eq!(socket_memory(Some(&small), Some(&usual), None).grade, Grade::Note);
        assert_eq!(socket_memory(None, Some(&usual), None).grade, Grade::Unknown);
    }

    #[test]
    fn ports_in_and_out_of_the_range() {
        assert_eq!(ports(Some(&[32_768, 60_999])).grade, Grade::Ok);
        assert_eq!(ports(Some(&[1024, 30_000])).grade, Grade::Note);
        assert_eq!(ports(None).grade, Grade::Unknown);
    }
}
