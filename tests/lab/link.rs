//! Links: veth pairs between two namespaces, veth pairs whose far end belongs to phantoms, and tun devices.

use std::fs::OpenOptions;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use halfopen_phantom::netlink::{self, VethEnd};

use crate::namespace::{Namespace, parse_prefix};
use crate::sys;

/// One end of a link: where it lies, and how it is to be set up.
#[derive(Debug, Clone)]
pub struct End<'a> {
    namespace: &'a Namespace,
    name: String,
    mac: Option<[u8; 6]>,
    addresses: Vec<(IpAddr, u8)>,
    ipv6: bool,
    polling: bool,
    queues: u32,
    offloads: bool,
}

impl<'a> End<'a> {
    /// An interface called `name` in `namespace`, with no address but the link-local one.
    pub fn new(namespace: &'a Namespace, name: &str) -> End<'a> {
        let addresses = Vec::new();
        End {
            namespace,
            name: name.into(),
            mac: None,
            addresses,
            ipv6: true,
            polling: false,
            queues: 1,
            offloads: false,
        }
    }

    /// Adds an address with its prefix length, `10.0.0.1/24` or `2001:db8::1/64`; usable at once.
    pub fn address(mut self, prefix: &str) -> End<'a> {
        self.addresses.push(parse_prefix(prefix));
        self
    }

    /// Sets its link address; the kernel chooses one otherwise.
    pub fn mac(mut self, mac: [u8; 6]) -> End<'a> {
        self.mac = Some(mac);
        self
    }

    /// Gives it so many queues in each direction; there is one otherwise. The other end needs as many.
    pub fn queues(mut self, queues: u32) -> End<'a> {
        self.queues = queues;
        self
    }

    /// Has it take frames off by polling, without which an XDP program at the other end cannot send any back.
    pub fn polling(mut self) -> End<'a> {
        self.polling = true;
        self
    }

    /// Leaves the checksums of what the kernel sends from this end to the device: over a veth pair they stay unfinished.
    pub fn offloading(mut self) -> End<'a> {
        self.offloads = true;
        self
    }

    /// Has the kernel say nothing by itself on this end: no IPv6.
    pub fn silent(mut self) -> End<'a> {
        self.ipv6 = false;
        self
    }

    fn veth(&self) -> VethEnd<'_> {
        VethEnd { name: &self.name, namespace: self.namespace.handle(), mac: self.mac, queues: self.queues }
    }
}

/// Joins two ends by a veth pair, and brings both up. What the kernel sends over it has complete checksums,
/// save from an end that is [`offloading`](End::offloading).
pub fn link(left: &End<'_>, right: &End<'_>) {
    make_pair(left, right)
        .unwrap_or_else(|error| panic!("cannot make the veth pair {} - {}: {error}", left.name, right.name));
    // Both before either is up: a veth that comes up looks whether its peer polls, and does not look again.
    for step in [configure, bring_up] {
        for end in [left, right] {
            let set = end.namespace.run(|| step(end));
            set.unwrap_or_else(|error| panic!("cannot set up {} in {}: {error}", end.name, end.namespace.name()));
        }
    }
}

/// Joins an end to one, `far`, on which the kernel stays silent so that phantoms can speak: give it to a
/// [`Responder`](crate::Responder).
pub fn phantom_link(near: &End<'_>, namespace: &Namespace, far: &str) {
    link(near, &End::new(namespace, far).silent());
}

/// The same with a far end that is [polling](End::polling), so that it takes XDP frames.
pub fn polling_phantom_link(near: &End<'_>, namespace: &Namespace, far: &str) {
    link(near, &End::new(namespace, far).silent().polling());
}

fn make_pair(left: &End<'_>, right: &End<'_>) -> io::Result<()> {
    netlink::make_veth(&left.veth(), &right.veth())
}

fn configure(end: &End<'_>) -> io::Result<()> {
    if !end.ipv6 {
        end.namespace.sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", end.name), "1");
    }
    if !end.offloads {
        sys::complete_checksums(&end.name)?;
    }
    if end.polling {
        sys::receive_by_polling(&end.name)?;
    }
    Ok(())
}

fn bring_up(end: &End<'_>) -> io::Result<()> {
    end.namespace.up(&end.name);
    add_addresses(&end.name, &end.addresses)
}

fn add_addresses(device: &str, addresses: &[(IpAddr, u8)]) -> io::Result<()> {
    addresses.iter().try_for_each(|&(address, length)| netlink::add_address(device, address, length))
}

/// Frames that a tun device holds for who reads it, however long that one is kept waiting for the processor. The kernel's
/// default of 500 is soon full.
const TUN_QUEUE: i32 = 1 << 16;

/// A tun device: a link without Ethernet, whose far end is a file.
#[derive(Debug)]
pub struct Tun {
    file: OwnedFd,
}

impl Tun {
    /// Makes the device, gives it its addresses and brings it up. An error where `/dev/net/tun` may not be opened:
    /// an ordinary user is often refused, which is a reason to skip and not to fail.
    pub fn open(end: &End<'_>) -> io::Result<Tun> {
        end.namespace.run(|| {
            let file: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?.into();
            sys::tun_set_name(&file, &end.name)?;
            sys::set_queue_length(&end.name, TUN_QUEUE)?;
            end.namespace.up(&end.name);
            add_addresses(&end.name, &end.addresses)?;
            Ok(Tun { file })
        })
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
