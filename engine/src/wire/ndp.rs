//! IPv6 neighbour discovery (RFC 4861) over Ethernet (RFC 2464), as whole frames: the solicitation that asks for a
//! neighbour's link address, and the advertisement that tells it, with every check of RFC 4861 section 7.1.2.
//! Whether an advertisement was asked for is the sweep's business.

use std::fmt;
use std::net::Ipv6Addr;
use std::ops::Range;

use super::MacAddr;

/// The length of a solicitation's frame: Ethernet, IPv6, neighbour solicitation, source link-layer address option.
pub(crate) const SOLICITATION_LEN: usize = MESSAGE + 24 + 8;

/// Where ICMPv6 begins: after the headers of Ethernet and IPv6. Extension headers are not looked through; no stack
/// puts any before an advertisement.
const MESSAGE: usize = 14 + 40;

/// Where the fields lie, from the start of the Ethernet frame (RFC 8200 section 3, RFC 4861 sections 4.3, 4.4).
mod field {
    use std::ops::Range;

    pub(super) const ETHERNET_DESTINATION: Range<usize> = 0..6;
    pub(super) const ETHERNET_SOURCE: Range<usize> = 6..12;
    pub(super) const ETHERTYPE: Range<usize> = 12..14;
    pub(super) const VERSION: usize = 14;
    pub(super) const PAYLOAD_LENGTH: Range<usize> = 18..20;
    pub(super) const NEXT_HEADER: usize = 20;
    pub(super) const HOP_LIMIT: usize = 21;
    pub(super) const SOURCE: Range<usize> = 22..38;
    pub(super) const DESTINATION: Range<usize> = 38..54;
    pub(super) const TYPE: usize = 54;
    pub(super) const CODE: usize = 55;
    pub(super) const CHECKSUM: Range<usize> = 56..58;
    pub(super) const FLAGS: usize = 58;
    pub(super) const TARGET: Range<usize> = 62..78;
    pub(super) const OPTIONS: usize = 78;
}

const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// A router lowers the hop limit, so a packet that still has the highest one comes from this link (RFC 4861 section 3).
const HOP_LIMIT: u8 = 255;
/// The S flag, in the first octet of an advertisement's flags.
const SOLICITED: u8 = 0x40;
/// The shortest advertisement: no options.
const ADVERTISEMENT_LEN: usize = 24;

/// Why a frame is no valid neighbour advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NdpError {
    /// Another protocol or another ICMPv6 type: nothing wrong, only nothing for us.
    #[error("not a neighbour advertisement")]
    Other,
    /// Fewer octets than the message has.
    #[error("neighbour advertisement: needed {needed} octets, got {got}")]
    Truncated {
        /// Octets of the shortest whole frame.
        needed: usize,
        /// Octets there were.
        got: usize,
    },
    /// It came through a router, so nobody on this link vouches for it.
    #[error("neighbour advertisement with hop limit {0}")]
    HopLimit(u8),
    /// The checksum is wrong.
    #[error("neighbour advertisement with a wrong checksum")]
    Checksum,
    /// The code is not 0.
    #[error("neighbour advertisement with code {0}")]
    Code(u8),
    /// The target is a multicast address.
    #[error("neighbour advertisement for a multicast address")]
    MulticastTarget,
    /// The solicited flag is set although the packet was sent to a group.
    #[error("solicited neighbour advertisement to a multicast address")]
    SolicitedMulticast,
    /// An option has length zero or runs over the end.
    #[error("neighbour advertisement with a broken option")]
    Options,
}

/// The question: who has `target`?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Solicitation {
    /// The asking interface.
    pub(crate) source_mac: MacAddr,
    /// An address of the asking interface.
    pub(crate) source: Ipv6Addr,
    /// The address asked for.
    pub(crate) target: Ipv6Addr,
}

impl Solicitation {
    /// The frame's octets: to the target's solicited-node group, with our link address as an option.
    pub(crate) fn emit(&self) -> [u8; SOLICITATION_LEN] {
        let group = solicited_node(self.target);
        let mut frame = [0; SOLICITATION_LEN];
        frame[field::ETHERNET_DESTINATION].copy_from_slice(&group_mac(group).0);
        frame[field::ETHERNET_SOURCE].copy_from_slice(&self.source_mac.0);
        frame[field::ETHERTYPE].copy_from_slice(&ETHERTYPE);
        frame[field::VERSION] = 6 << 4;
        frame[field::PAYLOAD_LENGTH].copy_from_slice(&((SOLICITATION_LEN - MESSAGE) as u16).to_be_bytes());
        frame[field::NEXT_HEADER] = ICMPV6;
        frame[field::HOP_LIMIT] = HOP_LIMIT;
        frame[field::SOURCE].copy_from_slice(&self.source.octets());
        frame[field::DESTINATION].copy_from_slice(&group.octets());
        frame[field::TYPE] = NEIGHBOUR_SOLICITATION;
        frame[field::TARGET].copy_from_slice(&self.target.octets());
        frame[field::OPTIONS] = SOURCE_LINK_LAYER_ADDRESS;
        frame[field::OPTIONS + 1] = 1; // in units of 8 octets
        frame[field::OPTIONS + 2..].copy_from_slice(&self.source_mac.0);
        let checksum = !sum(&frame, MESSAGE..SOLICITATION_LEN);
        frame[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        frame
    }
}

impl fmt::Display for Solicitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "who has {}? tell {} ({})", self.target, self.source, self.source_mac)
    }
}

/// A valid neighbour advertisement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// To whom it was sent: the asker, or a group when it was not asked for.
    pub(crate) destination: Ipv6Addr,
    /// Whose link address it tells.
    pub(crate) target: Ipv6Addr,
    /// The link address: the option's, or the frame's source where the option is missing.
    pub(crate) mac: MacAddr,
    /// It claims to answer a solicitation.
    pub(crate) solicited: bool,
}

impl Advertisement {
    /// Reads an Ethernet frame and checks all that RFC 4861 section 7.1.2 asks for.
    pub(crate) fn parse(frame: &[u8]) -> Result<Advertisement, NdpError> {
        let view = View::new(frame)?;
        view.check()?;
        Ok(Advertisement {
            destination: view.address(field::DESTINATION),
            target: view.address(field::TARGET),
            mac: view.link_address()?.unwrap_or_else(|| MacAddr(view.octets(field::ETHERNET_SOURCE))),
            solicited: view.solicited(),
        })
    }
}

impl fmt::Display for Advertisement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is at {}", self.target, self.mac)
    }
}

/// The group that an address's owner listens to (RFC 4291 section 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The link address of an IPv6 group (RFC 2464 section 7).
fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// An Ethernet frame that says it holds a neighbour advertisement, and is long enough for one; cut to its IPv6 length.
struct View<'a>(&'a [u8]);

impl<'a> View<'a> {
    fn new(frame: &'a [u8]) -> Result<View<'a>, NdpError> {
        if !claims_advertisement(frame) {
            return Err(NdpError::Other);
        }
        let length = usize::from(u16::from_be_bytes([frame[field::PAYLOAD_LENGTH.start], frame[19]]));
        let needed = MESSAGE + length.max(ADVERTISEMENT_LEN);
        let whole = frame.get(..MESSAGE + length).filter(|whole| whole.len() >= needed);
        whole.map(View).ok_or(NdpError::Truncated { needed, got: frame.len().min(MESSAGE + length) })
    }

    /// Everything but the options.
    fn check(&self) -> Result<(), NdpError> {
        if self.0[field::HOP_LIMIT] != HOP_LIMIT {
            return Err(NdpError::HopLimit(self.0[field::HOP_LIMIT]));
        }
        if sum(self.0, MESSAGE..self.0.len()) != 0xffff {
            return Err(NdpError::Checksum);
        }
        if self.0[field::CODE] != 0 {
            return Err(NdpError::Code(self.0[field::CODE]));
        }
        if self.address(field::TARGET).is_multicast() {
            return Err(NdpError::MulticastTarget);
        }
        if self.solicited() && self.address(field::DESTINATION).is_multicast() {
            return Err(NdpError::SolicitedMulticast);
        }
        Ok(())
    }

    /// The target link-layer address option, after a check of all options (RFC 4861 section 4.6).
    fn link_address(&self) -> Result<Option<MacAddr>, NdpError> {
        let mut options = &self.0[field::OPTIONS..];
        let mut found = None;
        while !options.is_empty() {
            let units = options.get(1).copied().filter(|&units| units > 0).ok_or(NdpError::Options)?;
            let (option, rest) = options.split_at_checked(8 * usize::from(units)).ok_or(NdpError::Options)?;
            if let [TARGET_LINK_LAYER_ADDRESS, 1, mac @ ..] = option {
                found = mac.first_chunk().copied().map(MacAddr);
            }
            options = rest;
        }
        Ok(found)
    }

    fn solicited(&self) -> bool {
        self.0[field::FLAGS] & SOLICITED != 0
    }

    fn address(&self, at: Range<usize>) -> Ipv6Addr {
        Ipv6Addr::from(self.octets::<16>(at))
    }

    fn octets<const N: usize>(&self, at: Range<usize>) -> [u8; N] {
        std::array::from_fn(|i| self.0[at.start + i])
    }
}

/// IPv6 over Ethernet, ICMPv6 right behind it, type 136.
fn claims_advertisement(frame: &[u8]) -> bool {
    frame.len() > field::TYPE
        && frame[field::ETHERTYPE] == ETHERTYPE
        && frame[field::VERSION] >> 4 == 6
        && frame[field::NEXT_HEADER] == ICMPV6
        && frame[field::TYPE] == NEIGHBOUR_ADVERTISEMENT
}

/// The ones' complement sum of the ICMPv6 message and its pseudo-header (RFC 8200 section 8.1): all ones over a message
/// whose checksum is right.
fn sum(frame: &[u8], message: Range<usize>) -> u16 {
    let pseudo = message.len() as u64 + u64::from(ICMPV6);
    let addresses = &frame[field::SOURCE.start..field::DESTINATION.end];
    let words = addresses.chunks(2).chain(frame[message].chunks(2));
    let mut total = words.fold(pseudo, |total, word| {
        total + u64::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]))
    });
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Frames that a neighbour would send, for the tests here and of the sweep.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    impl Solicitation {
        /// Reads what `emit` wrote.
        pub(crate) fn parse(frame: &[u8]) -> Option<Solicitation> {
            let frame: &[u8; SOLICITATION_LEN] = frame.try_into().ok()?;
            let whole = frame[field::ETHERTYPE] == ETHERTYPE
                && frame[field::TYPE] == NEIGHBOUR_SOLICITATION
                && frame[field::HOP_LIMIT] == HOP_LIMIT
                && sum(frame, MESSAGE..SOLICITATION_LEN) == 0xffff;
            let view = View(frame);
            whole.then(|| Solicitation {
                source_mac: MacAddr(view.octets(field::ETHERNET_SOURCE)),
                source: view.address(field::SOURCE),
                target: view.address(field::TARGET),
            })
        }

        /// The answer of `mac`.
        pub(crate) fn answer(&self, mac: MacAddr) -> Vec<u8> {
            advertisement(self, mac, Some(mac))
        }
    }

    /// A solicited advertisement, with the option or without.
    pub(crate) fn advertisement(asked: &Solicitation, from: MacAddr, option: Option<MacAddr>) -> Vec<u8> {
        let mut frame = vec![0; MESSAGE + ADVERTISEMENT_LEN];
        frame[field::ETHERNET_DESTINATION].copy_from_slice(&asked.source_mac.0);
        frame[field::ETHERNET_SOURCE].copy_from_slice(&from.0);
        frame[field::ETHERTYPE].copy_from_slice(&ETHERTYPE);
        frame[field::VERSION] = 0x60;
        frame[field::NEXT_HEADER] = ICMPV6;
        frame[field::HOP_LIMIT] = HOP_LIMIT;
        frame[field::SOURCE].copy_from_slice(&asked.target.octets());
        frame[field::DESTINATION].copy_from_slice(&asked.source.octets());
        frame[field::TYPE] = NEIGHBOUR_ADVERTISEMENT;
        frame[field::FLAGS] = 0x60; // solicited, override
        frame[field::TARGET].copy_from_slice(&asked.target.octets());
        if let Some(mac) = option {
            frame.extend_from_slice(&[TARGET_LINK_LAYER_ADDRESS, 1]);
            frame.extend_from_slice(&mac.0);
        }
        seal(&mut frame);
        frame
    }

    /// Sets the length and the checksum right.
    pub(crate) fn seal(frame: &mut [u8]) {
        let length = (frame.len() - MESSAGE) as u16;
        frame[field::PAYLOAD_LENGTH].copy_from_slice(&length.to_be_bytes());
        frame[field::CHECKSUM].fill(0);
        let checksum = !sum(frame, MESSAGE..frame.len());
        frame[field::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{advertisement, seal};
    use super::*;
    use proptest::prelude::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn question() -> Solicitation {
        Solicitation {
            source_mac: OURS,
            source: "fe80::1".parse().unwrap(),
            target: "2001:db8::12:3456".parse().unwrap(),
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_solicitation_is_these_octets() {
        let golden = hex("3333ff123456 020000000001 86dd
             60000000 0020 3a ff fe800000000000000000000000000001 ff0200000000000000000001ff123456
             87 00 e292 00000000 20010db8000000000000000000123456 01 01 020000000001");
        assert_eq!(question().emit().as_slice(), golden);
    }

    #[test]
    fn an_advertisement_is_read() {
        let frame = hex("020000000001 020000000007 86dd
             60000000 0020 3a ff 20010db8000000000000000000123456 fe800000000000000000000000000001
             88 00 50d8 60000000 20010db8000000000000000000123456 02 01 020000000007");
        let read = Advertisement::parse(&frame).unwrap();
        assert_eq!(read.target, question().target);
        assert_eq!(read.destination, question().source);
        assert_eq!(read.mac, THEIRS);
        assert!(read.solicited);
        assert_eq!(question().answer(THEIRS), frame);
    }

    #[test]
    fn the_option_names_the_link_address_and_without_it_the_frame_does() {
        let proxy = advertisement(&question(), OURS, Some(THEIRS));
        assert_eq!(Advertisement::parse(&proxy).unwrap().mac, THEIRS);
        let bare = advertisement(&question(), THEIRS, None);
        assert_eq!(Advertisement::parse(&bare).unwrap().mac, THEIRS);
    }

    #[test]
    fn other_options_are_stepped_over_and_padding_is_left_out() {
        let mut frame = advertisement(&question(), OURS, None);
        frame.extend_from_slice(&[14, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // a nonce
        frame.extend_from_slice(&[2, 1, 2, 0, 0, 0, 0, 7]);
        seal(&mut frame);
        frame.extend_from_slice(&[0; 5]);
        assert_eq!(Advertisement::parse(&frame).unwrap().mac, THEIRS);
    }

    /// Changes one octet, keeps the checksum right, and tells what the reader says.
    fn spoiled(at: usize, octet: u8) -> Result<Advertisement, NdpError> {
        let mut frame = question().answer(THEIRS);
        frame[at] = octet;
        seal(&mut frame);
        Advertisement::parse(&frame)
    }

    #[test]
    fn what_rfc_4861_tells_to_discard() {
        assert_eq!(spoiled(field::HOP_LIMIT, 254), Err(NdpError::HopLimit(254)));
        assert_eq!(spoiled(field::CODE, 1), Err(NdpError::Code(1)));
        assert_eq!(spoiled(field::TARGET.start, 0xff), Err(NdpError::MulticastTarget));
        assert_eq!(spoiled(field::DESTINATION.start, 0xff), Err(NdpError::SolicitedMulticast));
        assert_eq!(spoiled(field::OPTIONS + 1, 0), Err(NdpError::Options));
        assert_eq!(spoiled(field::OPTIONS + 1, 2), Err(NdpError::Options));
        let mut wrong = question().answer(THEIRS);
        wrong[field::CHECKSUM.start] ^= 1;
        assert_eq!(Advertisement::parse(&wrong), Err(NdpError::Checksum));
    }

    #[test]
    fn an_unsolicited_advertisement_to_everybody_is_valid_but_says_so() {
        let mut frame = question().answer(THEIRS);
        frame[field::DESTINATION].copy_from_slice(&"ff02::1".parse::<Ipv6Addr>().unwrap().octets());
        frame[field::FLAGS] = 0x20;
        seal(&mut frame);
        assert!(!Advertisement::parse(&frame).unwrap().solicited);
    }

    #[test]
    fn other_traffic_and_cut_frames() {
        for (at, octet) in [(12, 0x08), (14, 0x45), (20, 6), (54, 135)] {
            assert_eq!(spoiled(at, octet), Err(NdpError::Other), "octet {at}");
        }
        let frame = question().answer(THEIRS);
        assert_eq!(Advertisement::parse(&frame[..80]), Err(NdpError::Truncated { needed: 86, got: 80 }));
        let mut short = frame;
        short[field::PAYLOAD_LENGTH].copy_from_slice(&[0, 20]);
        assert_eq!(Advertisement::parse(&short), Err(NdpError::Truncated { needed: 78, got: 74 }));
    }

    proptest! {
        #[test]
        fn emit_then_parse_is_identity(mac: [u8; 6], source: u128, target: u128) {
            let asked = Solicitation { source_mac: MacAddr(mac), source: source.into(), target: target.into() };
            prop_assert_eq!(Solicitation::parse(&asked.emit()), Some(asked));
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..120), length: u8, like: bool) {
            let mut frame = octets;
            if like && frame.len() > MESSAGE {
                let whole = question().answer(THEIRS);
                let kept = field::TARGET.start.min(frame.len());
                frame[..kept].copy_from_slice(&whole[..kept]);
                frame[field::PAYLOAD_LENGTH].copy_from_slice(&[0, length]);
                if usize::from(length) == frame.len() - MESSAGE && length > 3 {
                    seal(&mut frame);
                }
            }
            let _ = Advertisement::parse(&frame);
        }
    }
}
