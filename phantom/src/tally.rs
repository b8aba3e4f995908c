//! What phantoms saw and did, counted: the lab's own evidence about the scanner.

/// Counts over all targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Well-formed SYNs, to whatever address.
    pub syns: u64,
    /// Of `syns`, those to an address that no host of the scenario has, or to one that is down.
    pub syns_to_nobody: u64,
    /// Of `syns`, those without an MSS option (real stacks send one).
    pub syns_without_mss: u64,
    /// SYN-ACKs that answer a SYN truly, sent.
    pub syn_acks: u64,
    /// Bare SYNs of split handshakes sent.
    pub split_syns: u64,
    /// RSTs received (a SYN-ACK should draw exactly one).
    pub rsts: u64,
    /// RST-ACKs sent.
    pub rsts_sent: u64,
    /// ICMP errors sent.
    pub icmp_sent: u64,
    /// Forged and unreadable replies sent.
    pub forged: u64,
    /// SYNs or RSTs not answered because of a host's rate limit.
    pub rate_limited: u64,
    /// ICMP and ICMPv6 echo requests received,
    pub echo_requests: u64,
    /// and those answered.
    pub echo_replies: u64,
    /// Other TCP segments received (what a real stack sends after its handshake).
    pub other_tcp: u64,
    /// ARP requests received for addresses of the scenario.
    pub arp_requests: u64,
    /// Neighbour solicitations received for addresses of the scenario.
    pub solicitations: u64,
    /// ARP requests and neighbour solicitations for addresses that nobody has.
    pub neighbours_not_found: u64,
    /// Frames to a host's address and to a link address that is neither its own nor a router's.
    pub wrong_mac: u64,
    /// Frames whose lengths do not fit together.
    pub malformed: u64,
    /// Frames with a wrong IP, TCP or ICMPv6 checksum.
    pub bad_checksum: u64,
    /// Frames of no kind that phantoms know.
    pub other: u64,
}

/// Counts of one target, kept where recording is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetTally {
    /// The SYNs that came: source port and sequence number, in order.
    pub syns: Vec<(u16, u32)>,
    /// SYN-ACKs sent.
    pub syn_acks: u32,
    /// RSTs received that fit a SYN-ACK: same ports, and the number that the SYN-ACK acknowledged.
    pub rsts: u32,
    /// RSTs received that fit none.
    pub stray_rsts: u32,
}
