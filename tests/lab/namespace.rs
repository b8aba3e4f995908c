//! Network namespaces, as values: what runs inside one, its sysctls, routes, neighbours and listeners. Links between
//! them are made in `link.rs`. A lab that cannot be built is a failed test, so these functions panic, and say at what.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use halfopen_phantom::netlink::{self, Route};
use halfopen_phantom::unshare_thread_network;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace. It lasts as long as this value, and longer if a thread or a socket still lives in it.
pub struct Namespace {
    name: String,
    handle: OwnedFd,
}

impl Namespace {
    /// The namespace of the calling thread.
    pub fn current(name: &str) -> Namespace {
        Namespace { name: name.into(), handle: open_current() }
    }

    /// A new namespace: its loopback is up, duplicate address detection is off, and ICMP errors are not rate-limited.
    pub fn new(name: &str) -> Namespace {
        let handle = thread::scope(|scope| {
            let made = scope.spawn(|| unshare_thread_network().map(|()| open_current())).join();
            made.expect("the thread that makes a namespace ends")
        });
        let handle = handle.unwrap_or_else(|error| panic!("cannot make a network namespace for {name}: {error}"));
        let namespace = Namespace { name: name.into(), handle };
        namespace.prepare();
        namespace
    }

    /// What [`Namespace::new`] promises, for a namespace made otherwise.
    pub(crate) fn prepare(&self) {
        // Interfaces made later take these defaults over; the machine's own may differ.
        self.sysctl("net/ipv6/conf/default/disable_ipv6", "0");
        self.sysctl("net/ipv6/conf/default/accept_dad", "0");
        self.sysctl("net/ipv6/conf/lo/disable_ipv6", "0");
        self.sysctl("net/ipv4/conf/all/rp_filter", "0");
        self.sysctl("net/ipv4/conf/default/rp_filter", "0");
        self.sysctl("net/ipv4/icmp_ratelimit", "0");
        self.sysctl("net/ipv4/icmp_ratemask", "0");
        self.sysctl("net/ipv6/icmp/ratelimit", "0");
        // The mask of limited types cannot be empty: name one that nobody sends.
        self.sysctl("net/ipv6/icmp/ratemask", "255");
        self.up("lo");
    }

    /// Its name, in messages only.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread inside, and waits for it. Sockets opened and threads started by it belong here.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            self.enter();
            work()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) {
        let entered = move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network));
        entered.unwrap_or_else(|error| panic!("cannot enter namespace {}: {error}", self.name));
    }

    /// Listens for TCP connections; `[2001:db8::1]:80` for IPv6, port 0 for one of the kernel's choice.
    pub fn listen(&self, address: &str) -> TcpListener {
        let parsed: SocketAddr = address.parse().unwrap_or_else(|_| panic!("not an address and port: {address:?}"));
        let listener = self.run(|| TcpListener::bind(parsed));
        listener.unwrap_or_else(|error| panic!("cannot listen on {address} in {}: {error}", self.name))
    }

    /// Listens on several ports of one address.
    pub fn listen_all(&self, address: &str, ports: impl IntoIterator<Item = u16>) -> Vec<TcpListener> {
        let address: IpAddr = address.parse().unwrap_or_else(|_| panic!("not an address: {address:?}"));
        ports.into_iter().map(|port| self.listen(&SocketAddr::new(address, port).to_string())).collect()
    }

    /// Waits until listeners elsewhere can be reached from here. A stack that has just come up may miss the first
    /// neighbour solicitation, and Linux sends the next one a second later.
    pub fn reach(&self, listeners: &[TcpListener]) {
        for listener in listeners {
            let address = listener.local_addr().expect("a listener has an address");
            let reached = self.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(10)));
            reached.unwrap_or_else(|error| panic!("cannot reach {address} from {}: {error}", self.name));
        }
    }

    /// Sets a kernel parameter, by its path under `/proc/sys`.
    pub fn sysctl(&self, path: &str, value: &str) {
        let written = self.run(|| fs::write(format!("/proc/sys/{path}"), value));
        written.unwrap_or_else(|error| panic!("cannot set {path} to {value} in {}: {error}", self.name));
    }

    /// Passes packets on between its interfaces, IPv4 and IPv6.
    pub fn forward(&self) {
        self.sysctl("net/ipv4/ip_forward", "1");
        self.sysctl("net/ipv6/conf/all/forwarding", "1");
    }

    /// Adds a route; `destination` is an address, a prefix, `default` or `default6`.
    pub fn route(&self, destination: &str, route: Route<'_>) {
        let (address, length) = parse_destination(destination);
        let made = self.run(|| netlink::add_route(address, length, route));
        made.unwrap_or_else(|error| panic!("cannot route {destination} by {route:?} in {}: {error}", self.name));
    }

    /// Enters a neighbour's link address, for good.
    pub fn neighbour(&self, device: &str, address: &str, mac: [u8; 6]) {
        let parsed = parse_address(address);
        let made = self.run(|| netlink::add_neighbour(device, parsed, mac));
        made.unwrap_or_else(|error| panic!("cannot enter neighbour {address} in {}: {error}", self.name));
    }

    /// Brings an interface up.
    pub fn up(&self, device: &str) {
        self.set_up(device, true);
    }

    /// Takes an interface down.
    pub fn down(&self, device: &str) {
        self.set_up(device, false);
    }

    /// The index of an interface.
    pub fn index(&self, device: &str) -> u32 {
        let index = self.run(|| netlink::index_of(device));
        index.unwrap_or_else(|error| panic!("no {device} in {}: {error}", self.name))
    }

    /// The XDP program on an interface, by its number in the kernel.
    pub fn xdp_program(&self, device: &str) -> Option<u32> {
        let told = self.run(|| xdp_program(netlink::index_of(device)?));
        told.unwrap_or_else(|error| panic!("cannot ask for {device} in {}: {error}", self.name))
    }

    fn set_up(&self, device: &str, up: bool) {
        let set = self.run(|| netlink::set_up(device, up));
        set.unwrap_or_else(|error| panic!("cannot bring {device} up or down in {}: {error}", self.name));
    }

    /// What netlink messages of this process name it by.
    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.name)
    }
}

fn open_current() -> OwnedFd {
    fs::File::open("/proc/thread-self/ns/net").expect("a thread may open its own namespace").into()
}

pub(crate) fn parse_address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("not an address: {text:?}"))
}

/// `10.0.0.1/24`; without a length, the whole address.
pub(crate) fn parse_prefix(text: &str) -> (IpAddr, u8) {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address = parse_address(address);
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(whole, |length| length.parse().unwrap_or_else(|_| panic!("not a prefix: {text:?}")));
    (address, length)
}

fn parse_destination(text: &str) -> (IpAddr, u8) {
    match text {
        "default" => parse_prefix("0.0.0.0/0"),
        "default6" => parse_prefix("::/0"),
        _ => parse_prefix(text),
    }
}

/// The XDP program on an interface, by its number in the kernel.
fn xdp_program(index: u32) -> io::Result<Option<u32>> {
    let mut question = LinkMessage::default();
    question.header.index = index;
    let RouteNetlinkMessage::NewLink(link) = netlink::ask(RouteNetlinkMessage::GetLink(question))? else {
        return Err(io::Error::other("the kernel answered something else than was asked"));
    };
    let number = |xdp: &LinkXdp| if let LinkXdp::ProgId(number) = xdp { Some(*number) } else { None };
    let of = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::Xdp(told) => told.iter().find_map(number),
        _ => None,
    };
    Ok(link.attributes.iter().find_map(of))
}
