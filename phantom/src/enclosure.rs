//! An enclosure: a network namespace of one's own whose only link leads to phantoms. Nothing that happens in it leaves the
//! machine, and it is gone with the process, however that ends.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use halfopen::link::Tap;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::isolation::{Isolation, forbidden_by, unshare_thread_network};
use crate::netlink::{self, Route, VethEnd};
use crate::phantoms::{Medium, Phantoms};
use crate::responder::Responder;
use crate::scenario::Scenario;

/// The phantoms' end of the link.
const FAR: &str = "phantom0";

/// Why there is no enclosure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnclosureError {
    /// The system gives this process no network of its own.
    #[error("this system gives you no network namespace of your own: {why}")]
    Forbidden {
        /// What forbids it, as far as it is known.
        why: String,
        /// What an administrator would do to allow it, if that is known.
        remedy: Option<&'static str>,
    },
    /// It could be entered, and not be set up.
    #[error("cannot {operation} in a network of its own: {source}")]
    Setup {
        /// What was being done.
        operation: String,
        /// The system's word.
        source: io::Error,
    },
    /// The phantoms cannot listen on their end.
    #[error(transparent)]
    Tap(#[from] halfopen::Error),
}

/// A network of one's own, with one link and nobody at its end yet.
#[derive(Debug)]
pub struct Enclosure {
    device: String,
    far: OwnedFd,
}

impl Enclosure {
    /// Moves this process, which must have one thread, into a network of its own with one link, called `device`. As root, or
    /// as an ordinary user where the system lets those have namespaces. There is no way back.
    ///
    /// # Errors
    /// The system forbids it, or the link cannot be made.
    pub fn enter(device: &str) -> Result<Enclosure, EnclosureError> {
        Isolation::new().enter().map_err(|error| forbidden(&error))?;
        let (near, far) = (own_namespace()?, new_namespace()?);
        // A namespace without rights in it is what some systems give an ordinary user.
        netlink::set_up("lo", true).map_err(|source| forbidden_or("bring up the loopback", source))?;
        let end = |name, namespace| VethEnd { name, namespace, mac: None, queues: 1 };
        let (ours, theirs) = (end(device, near.as_fd()), end(FAR, far.as_fd()));
        netlink::make_veth(&ours, &theirs).map_err(|source| forbidden_or("make a veth pair", source))?;
        let enclosure = Enclosure { device: device.into(), far };
        enclosure.at_the_far_end(|| {
            // The kernel is to be silent there; where it may not be told, the phantoms hear a few words more.
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{FAR}/disable_ipv6"), "1");
            netlink::set_up(FAR, true).map_err(|source| failed("bring up the far end", source))
        })?;
        netlink::set_up(device, true).map_err(|source| failed("bring up the link", source))?;
        Ok(enclosure)
    }

    /// Gives our end an address, with the length of its prefix.
    ///
    /// # Errors
    /// The kernel's: a kernel without IPv6 takes no such address.
    pub fn add_address(&self, address: IpAddr, length: u8) -> Result<(), EnclosureError> {
        let added = netlink::add_address(&self.device, address, length);
        added.map_err(|source| failed(&format!("add the address {address}"), source))
    }

    /// Has everything of its family that is not on the link go through this router.
    ///
    /// # Errors
    /// The kernel's: there is no address in the router's network yet.
    pub fn add_router(&self, router: IpAddr) -> Result<(), EnclosureError> {
        let everything: IpAddr =
            if router.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let added = netlink::add_route(everything, 0, Route::Via(router));
        added.map_err(|source| failed(&format!("add the router {router}"), source))
    }

    /// Puts the hosts of a scenario at the far end. They answer until they are dropped.
    ///
    /// # Errors
    /// Their end cannot be listened on.
    pub fn populate(&self, scenario: Scenario) -> Result<Responder, EnclosureError> {
        let tap = self.at_the_far_end(|| {
            let interfaces = halfopen::interfaces()?;
            let far = interfaces.iter().find(|interface| interface.name == FAR);
            let far = far.ok_or_else(|| failed("find the far end", io::ErrorKind::NotFound.into()))?;
            Ok(Tap::open(far)?)
        })?;
        // What this kernel sends by itself leaves its checksums to a device that is none.
        let phantoms = Phantoms::new(scenario, Medium::Ethernet).trusting_checksums();
        Responder::start(phantoms, Box::new(tap)).map_err(|source| failed("start the phantoms", source))
    }

    /// Runs `work` on a thread in the far end's namespace.
    fn at_the_far_end<R: Send>(
        &self,
        work: impl FnOnce() -> Result<R, EnclosureError> + Send,
    ) -> Result<R, EnclosureError> {
        on_a_thread(|| {
            move_into_link_name_space(self.far.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| failed("enter the far end", error.into()))?;
            work()
        })
    }
}

fn own_namespace() -> Result<OwnedFd, EnclosureError> {
    let opened = fs::File::open("/proc/thread-self/ns/net");
    opened.map(OwnedFd::from).map_err(|source| failed("open /proc/thread-self/ns/net", source))
}

fn new_namespace() -> Result<OwnedFd, EnclosureError> {
    on_a_thread(|| {
        unshare_thread_network().map_err(|error| forbidden(&error))?;
        own_namespace()
    })
}

fn on_a_thread<R: Send>(work: impl FnOnce() -> Result<R, EnclosureError> + Send) -> Result<R, EnclosureError> {
    let ended =
        thread::scope(|scope| thread::Builder::new().spawn_scoped(scope, work).map(thread::ScopedJoinHandle::join));
    match ended {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(failed("set up the link", io::Error::other("a thread failed"))),
        Err(source) => Err(failed("start a thread", source)),
    }
}

fn failed(operation: &str, source: io::Error) -> EnclosureError {
    EnclosureError::Setup { operation: operation.into(), source }
}

fn forbidden_or(operation: &str, source: io::Error) -> EnclosureError {
    match source.kind() {
        io::ErrorKind::PermissionDenied => forbidden(&source),
        _ => failed(operation, source),
    }
}

fn forbidden(error: &io::Error) -> EnclosureError {
    match forbidden_by() {
        Some((why, remedy)) => EnclosureError::Forbidden { why, remedy: Some(remedy) },
        None => EnclosureError::Forbidden {
            why: format!("{error}; a container's or a sandbox's rules, most likely"),
            remedy: None,
        },
    }
}
