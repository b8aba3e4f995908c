//! What was asked for, as it comes in: addresses, kept apart by the ports that were named with them. One layer for each
//! distinct port set, and one for bare addresses. How layers overlap is left to `assembly`.

use super::address_range::AddressRange;
use super::ports::PortSet;
use super::ranges::{Range, RangeSet};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Addresses of both families.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressSet {
    /// IPv4.
    pub(crate) v4: RangeSet<u32>,
    /// IPv6.
    pub(crate) v6: RangeSet<u128>,
}

impl AddressSet {
    /// Adds IPv6 addresses; a range of nothing but IPv4-mapped ones (RFC 4291 section 2.5.5.2) is IPv4.
    pub(crate) fn insert_v6(&mut self, range: Range<u128>) {
        match (mapped(range.first), mapped(range.last)) {
            (Some(first), Some(last)) => self.v4.insert(Range { first, last }),
            _ => self.v6.insert(range),
        }
    }

    /// Adds one address.
    pub(crate) fn insert_ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.v4.insert(Range::single(v4.to_bits())),
            IpAddr::V6(v6) => self.insert_v6(Range::single(v6.to_bits())),
        }
    }

    /// Adds a range just as it is.
    pub(crate) fn insert_range(&mut self, range: &AddressRange) {
        range.range().into_iter().for_each(|range| self.v4.insert(range));
        range.range().into_iter().for_each(|range| self.v6.insert(range));
    }

    /// Adds all of another set.
    pub(crate) fn append(&mut self, other: AddressSet) {
        self.v4.append(other.v4);
        self.v6.append(other.v6);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Any one address, to name it in a message.
    pub(crate) fn any(&self) -> Option<IpAddr> {
        self.v4.any().map(|bits| IpAddr::V4(bits.into())).or_else(|| self.v6.any().map(|bits| IpAddr::V6(bits.into())))
    }
}

fn mapped(address: u128) -> Option<u32> {
    Ipv6Addr::from_bits(address).to_ipv4_mapped().map(u32::from)
}

/// Address sets by the ports named with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    bare: AddressSet,
    ported: Vec<(PortSet, AddressSet)>,
    places: HashMap<PortSet, usize>,
}

impl Layers {
    /// The addresses that came without ports.
    pub(crate) fn bare(&mut self) -> &mut AddressSet {
        &mut self.bare
    }

    /// The addresses that came with just this port.
    pub(crate) fn with_port(&mut self, port: u16) -> &mut AddressSet {
        let place = match self.places.get(&PortSet::key_of(port)[..]) {
            Some(&place) => place,
            None => self.place(PortSet::single(port)),
        };
        &mut self.ported[place].1
    }

    /// The addresses that came with these ports.
    pub(crate) fn with_ports(&mut self, ports: PortSet) -> &mut AddressSet {
        let place = self.place(ports);
        &mut self.ported[place].1
    }

    /// Adds what is in others, with the ports that it has there.
    pub(crate) fn append(&mut self, other: Layers) {
        self.bare.append(other.bare);
        other.ported.into_iter().for_each(|(ports, set)| self.with_ports(ports).append(set));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bare.is_empty() && self.ported.iter().all(|(_, set)| set.is_empty())
    }

    /// Bare addresses, and all others by their ports.
    pub(crate) fn into_parts(self) -> (AddressSet, Vec<(PortSet, AddressSet)>) {
        (self.bare, self.ported)
    }

    fn place(&mut self, ports: PortSet) -> usize {
        let next = self.ported.len();
        let place = *self.places.entry(ports.clone()).or_insert(next);
        if place == next {
            self.ported.push((ports, AddressSet::default()));
        }
        place
    }
}
