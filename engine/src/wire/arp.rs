//! ARP for IPv4 over Ethernet (RFC 826), as whole Ethernet frames: the request that asks who has an address, and any
//! ARP frame read back. Whether an answer was asked for, and what to believe of it, is the sweep's business.
//!
//! A request is emitted without padding: 42 octets, and the driver or the device pads to the 60 of Ethernet.

use std::fmt;
use std::net::Ipv4Addr;

use super::MacAddr;

/// The length of an Ethernet frame that carries an ARP packet, without padding.
pub(crate) const FRAME_LEN: usize = field::TARGET_IP.end;

/// Where the fields lie, from the start of the Ethernet frame (RFC 826 "Packet format").
mod field {
    use std::ops::Range;

    pub(super) const ETHERNET_DESTINATION: Range<usize> = 0..6;
    pub(super) const ETHERNET_SOURCE: Range<usize> = 6..12;
    pub(super) const ETHERTYPE: Range<usize> = 12..14;
    /// Hardware type, protocol type, and both address lengths: one constant for IPv4 over Ethernet.
    pub(super) const KIND: Range<usize> = 14..20;
    pub(super) const OPERATION: Range<usize> = 20..22;
    pub(super) const SENDER_MAC: Range<usize> = 22..28;
    pub(super) const SENDER_IP: Range<usize> = 28..32;
    pub(super) const TARGET_MAC: Range<usize> = 32..38;
    pub(super) const TARGET_IP: Range<usize> = 38..42;
}

/// The EtherType of ARP.
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Hardware type 1 (Ethernet), protocol type 0x0800 (IPv4), lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// Why a frame is no ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArpError {
    /// Fewer octets than the packet has.
    #[error("ARP: needed {needed} octets, got {got}")]
    Truncated {
        /// Octets of a whole frame.
        needed: usize,
        /// Octets there were.
        got: usize,
    },
    /// Another EtherType.
    #[error("not ARP: EtherType {0:#06x}")]
    NotArp(u16),
    /// Not IPv4 over Ethernet.
    #[error("ARP, but not for IPv4 over Ethernet")]
    Kind,
    /// Neither request nor reply.
    #[error("ARP operation {0}")]
    Operation(u16),
}

/// An ARP packet for IPv4 over Ethernet, with the Ethernet header it travels under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    /// The frame's destination.
    pub(crate) ethernet_destination: MacAddr,
    /// The frame's source; real senders put `sender_mac` here too.
    pub(crate) ethernet_source: MacAddr,
    /// Request or reply.
    pub(crate) operation: Operation,
    /// Who speaks: in a reply, the address that was asked for.
    pub(crate) sender_mac: MacAddr,
    /// Who speaks.
    pub(crate) sender_ip: Ipv4Addr,
    /// Who is meant; zero in a request.
    pub(crate) target_mac: MacAddr,
    /// Who is meant: in a request, the address that is asked for.
    pub(crate) target_ip: Ipv4Addr,
}

impl Arp {
    /// The broadcast question of `mac` and `ip`: who has `asked`?
    pub(crate) fn request(mac: MacAddr, ip: Ipv4Addr, asked: Ipv4Addr) -> Arp {
        Arp {
            ethernet_destination: MacAddr::BROADCAST,
            ethernet_source: mac,
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: MacAddr::ZERO,
            target_ip: asked,
        }
    }

    /// Reads an Ethernet frame; what follows the packet is padding.
    pub(crate) fn parse(frame: &[u8]) -> Result<Arp, ArpError> {
        let view = View::new(frame)?;
        let operation = match view.operation() {
            1 => Operation::Request,
            2 => Operation::Reply,
            other => return Err(ArpError::Operation(other)),
        };
        Ok(Arp {
            ethernet_destination: view.mac(field::ETHERNET_DESTINATION),
            ethernet_source: view.mac(field::ETHERNET_SOURCE),
            operation,
            sender_mac: view.mac(field::SENDER_MAC),
            sender_ip: view.ip(field::SENDER_IP),
            target_mac: view.mac(field::TARGET_MAC),
            target_ip: view.ip(field::TARGET_IP),
        })
    }

    /// The frame's octets.
    pub(crate) fn emit(&self) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        frame[field::ETHERNET_DESTINATION].copy_from_slice(&self.ethernet_destination.0);
        frame[field::ETHERNET_SOURCE].copy_from_slice(&self.ethernet_source.0);
        frame[field::ETHERTYPE].copy_from_slice(&ETHERTYPE);
        frame[field::KIND].copy_from_slice(&ETHERNET_IPV4);
        frame[field::OPERATION].copy_from_slice(&self.operation.number().to_be_bytes());
        frame[field::SENDER_MAC].copy_from_slice(&self.sender_mac.0);
        frame[field::SENDER_IP].copy_from_slice(&self.sender_ip.octets());
        frame[field::TARGET_MAC].copy_from_slice(&self.target_mac.0);
        frame[field::TARGET_IP].copy_from_slice(&self.target_ip.octets());
        frame
    }
}

impl Operation {
    /// Its number on the wire.
    fn number(self) -> u16 {
        match self {
            Operation::Request => 1,
            Operation::Reply => 2,
        }
    }
}

/// `who has 192.0.2.7? tell 192.0.2.1 (02:00:00:00:00:01)`, `192.0.2.7 is at 02:00:00:00:00:07`.
impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Operation::Request => {
                write!(f, "who has {}? tell {} ({})", self.target_ip, self.sender_ip, self.sender_mac)
            }
            Operation::Reply => write!(f, "{} is at {}", self.sender_ip, self.sender_mac),
        }
    }
}

/// An Ethernet frame known to hold an ARP packet for IPv4 over Ethernet.
struct View<'a>(&'a [u8; FRAME_LEN]);

impl<'a> View<'a> {
    /// Checks the length, the EtherType (first, so that other traffic is told apart from broken ARP) and the kind.
    fn new(frame: &'a [u8]) -> Result<View<'a>, ArpError> {
        let truncated = ArpError::Truncated { needed: FRAME_LEN, got: frame.len() };
        let ethertype = frame.get(field::ETHERTYPE).ok_or(truncated)?;
        if ethertype != ETHERTYPE {
            return Err(ArpError::NotArp(u16::from_be_bytes([ethertype[0], ethertype[1]])));
        }
        let view = View(frame.first_chunk().ok_or(truncated)?);
        if view.0[field::KIND] == ETHERNET_IPV4 { Ok(view) } else { Err(ArpError::Kind) }
    }

    fn operation(&self) -> u16 {
        u16::from_be_bytes(self.octets(field::OPERATION))
    }

    fn mac(&self, at: std::ops::Range<usize>) -> MacAddr {
        MacAddr(self.octets(at))
    }

    fn ip(&self, at: std::ops::Range<usize>) -> Ipv4Addr {
        Ipv4Addr::from(self.octets::<4>(at))
    }

    /// The octets of a field, whose length is its type's.
    fn octets<const N: usize>(&self, at: std::ops::Range<usize>) -> [u8; N] {
        std::array::from_fn(|i| self.0[at.start + i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
    const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const THEM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_request_is_these_octets() {
        let golden = hex("ffffffffffff 020000000001 0806
             0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000207");
        assert_eq!(Arp::request(OURS, US, THEM).emit().as_slice(), golden);
    }

    #[test]
    fn a_padded_reply_is_read() {
        let mut frame = hex("020000000001 020000000007 0806
             0001 0800 06 04 0002 020000000007 c0000207 020000000001 c0000201");
        frame.resize(60, 0);
        let expected = Arp {
            ethernet_destination: OURS,
            ethernet_source: THEIRS,
            operation: Operation::Reply,
            sender_mac: THEIRS,
            sender_ip: THEM,
            target_mac: OURS,
            target_ip: US,
        };
        assert_eq!(Arp::parse(&frame), Ok(expected));
        assert_eq!(expected.to_string(), "192.0.2.7 is at 02:00:00:00:00:07");
    }

    #[test]
    fn what_is_not_arp_for_ipv4_over_ethernet() {
        let frame = Arp::request(OURS, US, THEM).emit();
        let with = |at: usize, octet: u8| {
            let mut other = frame;
            other[at] = octet;
            Arp::parse(&other)
        };
        assert_eq!(with(13, 0x00), Err(ArpError::NotArp(0x0800)));
        assert_eq!(with(15, 6), Err(ArpError::Kind));
        assert_eq!(with(16, 0x86), Err(ArpError::Kind));
        assert_eq!(with(18, 8), Err(ArpError::Kind));
        assert_eq!(with(19, 16), Err(ArpError::Kind));
        assert_eq!(with(21, 3), Err(ArpError::Operation(3)));
        assert_eq!(Arp::parse(&frame[..41]), Err(ArpError::Truncated { needed: 42, got: 41 }));
        assert_eq!(Arp::parse(&[]), Err(ArpError::Truncated { needed: 42, got: 0 }));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(macs: [[u8; 6]; 4], ips: [[u8; 4]; 2], reply: bool) {
            let arp = Arp {
                ethernet_destination: MacAddr(macs[0]),
                ethernet_source: MacAddr(macs[1]),
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: MacAddr(macs[2]),
                sender_ip: ips[0].into(),
                target_mac: MacAddr(macs[3]),
                target_ip: ips[1].into(),
            };
            prop_assert_eq!(Arp::parse(&arp.emit()), Ok(arp));
        }

        #[test]
        fn no_octets_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..100), arp: bool) {
            if arp && octets.len() >= 14 {
                octets[field::ETHERTYPE].copy_from_slice(&ETHERTYPE);
            }
            let _ = Arp::parse(&octets);
        }
    }
}
