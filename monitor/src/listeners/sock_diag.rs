//! What the tables of /proc do not say: whether a socket of IPv6 has IPV6_V6ONLY. The kernel tells it by netlink (sock_diag(7))
//! of sockets of our own network namespace, without rights. Where it cannot be asked, nothing is known.

use std::collections::HashMap;
use std::io;

use netlink_sys::{Socket, SocketAddr};

/// Netlink's family (linux/netlink.h).
const NETLINK_SOCK_DIAG: isize = 4;
/// Types of messages (linux/sock_diag.h, linux/netlink.h) and flags of a request for all.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x0001 | 0x0300;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// States, as bits: TCP_LISTEN is 10, TCP_CLOSE (UDP that is not connected) 7.
const WAITING: u32 = 1 << 10 | 1 << 7;
/// The attribute (linux/inet_diag.h).
const INET_DIAG_SKV6ONLY: u16 = 11;
/// Lengths of nlmsghdr, inet_diag_req_v2, inet_diag_msg; where the latter has the inode.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const MESSAGE: usize = 72;
const INODE: usize = 68;

/// By inode: whether a socket of IPv6 takes IPv6 only.
pub(super) fn only_v6() -> HashMap<u64, bool> {
    [TCP, UDP].into_iter().filter_map(|protocol| ask(protocol).ok()).flatten().collect()
}

fn ask(protocol: u8) -> io::Result<Vec<(u64, bool)>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.send_to(&request(protocol), &SocketAddr::new(0, 0), 0)?;
    let mut found = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        if !take(&answer, &mut found) {
            return Ok(found);
        }
    }
}

fn request(protocol: u8) -> Vec<u8> {
    let length = (HEADER + REQUEST) as u32;
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Sequence and port: one question a socket.
    bytes.extend([0; 8]);
    bytes.extend([AF_INET6, protocol, 0, 0]);
    bytes.extend(WAITING.to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Takes what a datagram says; false if it was the last.
fn take(mut datagram: &[u8], found: &mut Vec<(u64, bool)>) -> bool {
    while let (Some(length), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let length = (length as usize).max(HEADER);
        if kind == NLMSG_DONE || kind == NLMSG_ERROR {
            return false;
        }
        if kind == SOCK_DIAG_BY_FAMILY {
            found.extend(datagram.get(HEADER..length).and_then(socket));
        }
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    true
}

fn socket(message: &[u8]) -> Option<(u64, bool)> {
    let inode = u32_at(message, INODE)?;
    let mut rest = message.get(MESSAGE..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        if kind == INET_DIAG_SKV6ONLY {
            return Some((inode.into(), *rest.get(4)? != 0));
        }
        rest = rest.get(aligned(usize::from(length).max(4))..).unwrap_or_default();
    }
    None
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = (HEADER + body.len()) as u32;
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    /// An answer as linux/inet_diag.h has it, with another attribute before the one that counts.
    fn answer(inode: u32, only_v6: u8) -> Vec<u8> {
        let mut body = vec![0; INODE];
        body.extend(inode.to_ne_bytes());
        body.extend([&5u16.to_ne_bytes()[..], &8u16.to_ne_bytes(), &[3, 0, 0, 0]].concat());
        body.extend([&5u16.to_ne_bytes()[..], &INET_DIAG_SKV6ONLY.to_ne_bytes(), &[only_v6, 0, 0, 0]].concat());
        message(SOCK_DIAG_BY_FAMILY, &body)
    }

    #[test]
    fn answers() {
        let mut found = Vec::new();
        assert!(take(&[answer(7, 1), answer(9, 0)].concat(), &mut found));
        assert_eq!(found, [(7, true), (9, false)]);
        assert!(!take(&message(NLMSG_DONE, &[0; 4]), &mut found));
        assert!(!take(&message(NLMSG_ERROR, &[0; 4]), &mut found));
    }

    #[test]
    fn what_is_cut_says_nothing() {
        let whole = answer(7, 1);
        for length in 0..whole.len() - 4 {
            let mut found = Vec::new();
            take(&whole[..length], &mut found);
            assert_eq!(found, [], "{length}");
        }
    }
}
