//! Conversations with the kernel over netlink (RFC 3549, netlink(7)): one question with one answer, and dumps, which
//! come in many parts and may be interrupted. What is asked, and what the answers mean, is `kernel`'s business.
//!
//! A conversation is blocking and bounded: every receive has a timeout, every dump a number of attempts.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{self, Timeout};

/// How long the kernel may take for one datagram. It answers from memory; only a lock held by a huge change delays it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a dump is begun again when the table changed under it or a part did not fit.
const ATTEMPTS: usize = 5;
/// The kernel fills at most 32 KiB of a dump at a time (net/netlink/af_netlink.c, `netlink_recvmsg`), more only for a
/// single larger message.
const BUFFER: usize = 64 << 10;
/// The most a datagram may grow the buffer to; the kernel has no message near this size.
const BUFFER_LIMIT: usize = 16 << 20;

/// Why a conversation failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The kernel refused, with this errno.
    Refused(i32),
    /// The conversation itself broke.
    Broken(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Broken(error)
    }
}

impl Failure {
    /// As an error of the system, whichever it is.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Failure::Refused(errno) => io::Error::from_raw_os_error(errno),
            Failure::Broken(error) => error,
        }
    }
}

/// A socket to the kernel's routing family.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens it. Connected to the kernel, it takes datagrams from nobody else.
    pub(super) fn open() -> io::Result<Netlink> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Netlink { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Asks one question and gives the payload of its one answer to `read`.
    pub(super) fn ask<T>(
        &mut self,
        question: RouteNetlinkMessage,
        read: impl FnOnce(&[u8]) -> io::Result<T>,
    ) -> Result<T, Failure> {
        self.send(question, NLM_F_REQUEST)?;
        let payload = loop {
            self.receive()?;
            if let Some(found) = answer(&self.buffer, self.sequence)? {
                break found;
            }
        };
        Ok(read(payload)?)
    }

    fn send(&mut self, question: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0).map(drop)
    }

    /// Reads one whole datagram into the buffer.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => return Err(self.grow(length)),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(silent()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes room for a datagram of this length, of which the end is lost.
    fn grow(&mut self, length: usize) -> io::Error {
        self.buffer.clear();
        self.buffer.reserve(length.next_power_of_two().min(BUFFER_LIMIT));
        io::Error::new(io::ErrorKind::FileTooLarge, "the kernel's answer did not fit")
    }
}

/// Asks for a whole table; `read` puts each entry's payload into the list.
///
/// A dump under which the table changed is begun again, on a new socket (the old one may still hold its rest). A table
/// that changes under every attempt, as a full BGP table may, is taken as it was read last: no reading is more exact.
pub(super) fn dump<T>(question: &RouteNetlinkMessage, read: impl Fn(&[u8], &mut Vec<T>)) -> Result<Vec<T>, Failure> {
    let mut entries = Vec::new();
    let mut room = BUFFER;
    for attempt in 1..=ATTEMPTS {
        entries.clear();
        let mut netlink = Netlink::open()?;
        netlink.buffer.reserve(room);
        match netlink.dump_once(question.clone(), &mut entries, &read) {
            Ok(Consistent(true)) => break,
            Ok(Consistent(false)) => {}
            Err(Failure::Broken(error)) if attempt < ATTEMPTS && is_lost(&error) => room = netlink.buffer.capacity(),
            Err(failure) => return Err(failure),
        }
    }
    Ok(entries)
}

/// Whether a dump shows the table as it was at one time.
struct Consistent(bool);

impl Netlink {
    fn dump_once<T>(
        &mut self,
        question: RouteNetlinkMessage,
        entries: &mut Vec<T>,
        read: &impl Fn(&[u8], &mut Vec<T>),
    ) -> Result<Consistent, Failure> {
        self.send(question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let mut consistent = true;
        loop {
            self.receive()?;
            for part in parts(&self.buffer) {
                let part = part?;
                if part.sequence_number() != self.sequence {
                    continue;
                }
                consistent &= part.flags() & NLM_F_DUMP_INTR == 0;
                match part.message_type() {
                    NLMSG_DONE => return done(part.payload()).map(|()| Consistent(consistent)),
                    NLMSG_ERROR => refused(part.payload())?,
                    NLMSG_OVERRUN => return Err(io::Error::from_raw_os_error(libc::ENOBUFS).into()),
                    _ => read(part.payload(), entries),
                }
            }
        }
    }
}

/// A part of a dump was lost, and another attempt may go better.
fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The payload of the message in a datagram that answers question `sequence`.
fn answer(datagram: &[u8], sequence: u32) -> Result<Option<&[u8]>, Failure> {
    for part in parts(datagram) {
        let part = part?;
        if part.sequence_number() != sequence {
            continue;
        }
        match part.message_type() {
            NLMSG_ERROR => refused(part.payload())?,
            _ => return Ok(Some(part.payload())),
        }
    }
    Ok(None)
}

/// The messages of a datagram, one after the other, each aligned to four octets (netlink(3)).
fn parts(mut rest: &[u8]) -> impl Iterator<Item = io::Result<NetlinkBuffer<&[u8]>>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = NetlinkBuffer::new_checked(rest).map_err(garbled);
        let length = part.as_ref().map_or(rest.len(), |part| (part.length() as usize).next_multiple_of(4));
        rest = rest.get(length..).unwrap_or(&[]);
        Some(part)
    })
}

/// An error message is a refusal, unless its number is zero: then it acknowledges.
fn refused(payload: &[u8]) -> Result<(), Failure> {
    let code = ErrorBuffer::new_checked(payload).map_err(garbled)?.code();
    code.map_or(Ok(()), |code| Err(Failure::Refused(code.get().saturating_abs())))
}

/// The end of a dump carries an error number too; old kernels leave it out.
fn done(payload: &[u8]) -> Result<(), Failure> {
    match payload.first_chunk().map(|octets| i32::from_ne_bytes(*octets)) {
        Some(code) if code < 0 => Err(Failure::Refused(code.saturating_abs())),
        _ => Ok(()),
    }
}

/// The kernel sent what cannot be read.
pub(super) fn garbled(problem: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_string())
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message with a payload, padded to four octets.
    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; 16];
        octets.extend_from_slice(payload);
        let mut view = NetlinkBuffer::new(&mut octets);
        view.set_length(16 + payload.len() as u32);
        view.set_message_type(kind);
        view.set_flags(flags);
        view.set_sequence_number(sequence);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    #[test]
    fn a_datagram_is_read_message_by_message() {
        let datagram = [message(24, 0, 7, b"abc"), message(24, 0, 7, b"defg")].concat();
        let payloads: Vec<_> = parts(&datagram).map(|part| part.unwrap().payload()).collect();
        assert_eq!(payloads, [b"abc".as_slice(), b"defg"]);
    }

    #[test]
    fn an_answer_to_an_older_question_is_passed_over() {
        let datagram = [message(24, 0, 6, b"old"), message(24, 0, 7, b"new")].concat();
        assert_eq!(answer(&datagram, 7).unwrap(), Some(b"new".as_slice()));
        assert_eq!(answer(&datagram, 8).unwrap(), None);
    }

    #[test]
    fn refusals_carry_their_number_and_zero_is_none() {
        let refusal = message(NLMSG_ERROR, 0, 1, &(-libc::ENETUNREACH).to_ne_bytes());
        assert!(matches!(answer(&refusal, 1), Err(Failure::Refused(libc::ENETUNREACH))));
        let acknowledgement = message(NLMSG_ERROR, 0, 1, &0i32.to_ne_bytes());
        assert!(matches!(answer(&acknowledgement, 1), Ok(None)));
        assert!(matches!(done(&(-libc::EINTR).to_ne_bytes()), Err(Failure::Refused(libc::EINTR))));
        assert!(done(&[]).is_ok());
    }

    #[test]
    fn the_kernel_lists_loopback() {
        let question = RouteNetlinkMessage::GetLink(Default::default());
        let links = dump(&question, |payload, list| list.push(payload.len())).unwrap();
        assert!(!links.is_empty());
    }

    proptest! {
        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..100), length in 0u32..100) {
            let mut octets = octets;
            if octets.len() >= 16 {
                NetlinkBuffer::new(&mut octets).set_length(length);
            }
            let _ = parts(&octets).count();
            let _ = answer(&octets, 0);
            let _ = (refused(&octets), done(&octets));
        }
    }
}
