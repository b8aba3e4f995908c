//! Right checksums, which a fuzzer would never find. Written apart from the engine's.

/// Ethernet's header without VLAN tags.
const ETHERNET: usize = 14;

/// The frame with right checksums. Where an IP packet follows an Ethernet header, or stands alone: the IPv4 header's checksum and those of TCP, ICMP
/// and ICMPv6, if they are where they are in a packet without fragments and extension headers.
pub fn put_right(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    let start = match frame.get(12..ETHERNET) {
        Some([0x08, 0x00] | [0x86, 0xdd]) => ETHERNET,
        _ => 0,
    };
    let packet = &mut frame[start..];
    match packet.first().map(|first| first >> 4) {
        Some(4) => put_ipv4_right(packet),
        Some(6) if packet.len() > 40 => {
            let (length, protocol) = (usize::from(u16::from_be_bytes([packet[4], packet[5]])), packet[6]);
            let (header, message) = packet.split_at_mut(40);
            let length = length.min(message.len());
            put_message_right(protocol, &header[8..40], &mut message[..length]);
        }
        _ => {}
    }
    frame
}

fn put_ipv4_right(packet: &mut [u8]) {
    let header = 4 * usize::from(packet[0] & 0x0f);
    if header < 20 || packet.len() < header {
        return;
    }
    let (header, message) = packet.split_at_mut(header);
    put(header, 10, 0);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]])).saturating_sub(header.len());
    let length = length.min(message.len());
    put_message_right(header[9], &header[12..20], &mut message[..length]);
}

fn put_message_right(protocol: u8, addresses: &[u8], message: &mut [u8]) {
    let pseudo = sum(addresses) + u64::from(protocol) + message.len() as u64;
    match protocol {
        1 => put(message, 2, 0),
        6 => put(message, 16, pseudo),
        58 => put(message, 2, pseudo),
        _ => {}
    }
}

/// Writes the checksum of `message`, on top of `before`, at `at`.
fn put(message: &mut [u8], at: usize, before: u64) {
    let Some(field) = message.get_mut(at..at + 2) else { return };
    field.fill(0);
    let mut total = before + sum(message);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    message[at..at + 2].copy_from_slice(&(!(total as u16)).to_be_bytes());
}

fn sum(bytes: &[u8]) -> u64 {
    let word = |word: &[u8]| u64::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u64::from(low));
    bytes.chunks(2).map(word).sum()
}
