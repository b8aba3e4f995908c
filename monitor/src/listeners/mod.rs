//! What listens on this machine, seen from inside, and held against what was seen from outside.
//!
//! ```text
//!  /proc ─▶ processes, tables of sockets ─▶ listeners ──┬─▶ reach ◀── a saved scan, or the monitor's history
//!  sock_diag ─▶ which [::] serve IPv4, too ─┘           └─▶ expectation: [listeners] of policy.toml
//! ```
//!
//! Nothing here needs rights; without them the processes of other users are not visible, and that is counted. Nothing is
//! sent: what is reachable is known from scans that were made elsewhere.

mod addresses;
pub mod expectation;
mod place;
mod processes;
pub mod reach;
mod sock_diag;
mod sockets;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use halfopen_services::{Port, Service, by_port};
use jiff::Timestamp;
use serde::Serialize;

pub use expectation::Expectation;
pub use place::{Manager, Place, Published};
pub use reach::{Outside, Reach, Sight, Unasked, Unexplained};

use processes::Processes;
use sockets::Socket;
use users::Users;

/// A network namespace, by the number of its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NamespaceId(pub u64);

/// What listens, in all network namespaces that are visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Our own namespace.
    pub own: NamespaceId,
    /// The addresses of each namespace, those of its loopback among them.
    pub namespaces: BTreeMap<NamespaceId, BTreeSet<IpAddr>>,
    /// By protocol, port and address.
    pub listeners: Vec<Listener>,
    /// Processes whose sockets may not be looked at.
    pub hidden_processes: usize,
}

/// A port that something listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Which port.
    pub port: Port,
    /// At which address; unspecified (`0.0.0.0`, `::`) is all of them.
    pub address: IpAddr,
    /// Whether one that listens on `::` serves IPv4, too.
    pub also_v4: AlsoV4,
    /// In which namespace.
    pub namespace: NamespaceId,
    /// Who holds the socket; nobody if that is not visible, or if it is the kernel itself.
    pub processes: Vec<Process>,
    /// Whose it is: the first process's user, else the socket's.
    pub user: User,
    /// What it is there for, if it only passes on.
    pub published: Option<Published>,
}

/// Whether a socket of IPv6 takes IPv4 as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlsoV4 {
    /// No: it is bound to an address, or has IPV6_V6ONLY.
    No,
    /// Yes: the kernel says that it has not.
    Yes,
    /// The kernel does not say (a socket of another namespace); without IPV6_V6ONLY, which is rare, it does.
    Usually,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The first 15 bytes of its name, as the kernel keeps them.
    pub name: String,
    /// Its arguments.
    pub command: String,
    /// As whom it runs.
    pub user: User,
    /// In which container, or as which unit of systemd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
}

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// By number.
    pub id: u32,
    /// By name, if /etc/passwd has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be read: {problem}; what listens is known from /proc only", path.display())]
pub struct Error {
    /// Of which file or folder,
    path: PathBuf,
    /// and why.
    problem: String,
}

impl Listening {
    /// What listens on this machine now.
    pub fn now() -> Result<Listening, Error> {
        Listening::under(Path::new("/proc"), &Users::read(Path::new("/etc/passwd")), &sock_diag::only_v6())
    }

    /// The same of any tree; `only_v6` has what is known of sockets of our own namespace.
    fn under(proc: &Path, users: &Users, only_v6: &HashMap<u64, bool>) -> Result<Listening, Error> {
        let processes = Processes::read(proc)?;
        let mut listening = Listening {
            own: processes.own,
            namespaces: BTreeMap::new(),
            listeners: Vec::new(),
            hidden_processes: processes.hidden,
        };
        for (&namespace, folders) in &processes.namespaces {
            let Some((folder, sockets)) = first_readable(folders, namespace == processes.own)? else { continue };
            listening.namespaces.insert(namespace, addresses::of(&folder));
            for socket in sockets {
                let also_v4 = also_v4(&socket, only_v6);
                listening.add(namespace, &socket, also_v4, &processes, users);
            }
        }
        listening.sort();
        Ok(listening)
    }

    /// Sockets that share a port (SO_REUSEPORT) are one listener of several processes.
    fn add(&mut self, namespace: NamespaceId, socket: &Socket, also_v4: AlsoV4, processes: &Processes, users: &Users) {
        let held = processes.holders(socket.inode, users);
        let same = |listener: &&mut Listener| {
            (listener.port, listener.address, listener.namespace, listener.also_v4)
                == (socket.port, socket.address, namespace, also_v4)
        };
        if let Some(listener) = self.listeners.iter_mut().find(same) {
            listener.processes.extend(held);
            listener.processes.sort_by_key(|process| process.pid);
            listener.processes.dedup_by_key(|process| process.pid);
            return;
        }
        let owner = || users.user(socket.uid);
        let user = held.first().map_or_else(owner, |process| process.user.clone());
        let published = held.iter().find_map(place::published);
        let (port, address) = (socket.port, socket.address);
        self.listeners.push(Listener { port, address, also_v4, namespace, processes: held, user, published });
    }

    fn sort(&mut self) {
        let own = self.own;
        self.listeners
            .sort_by_key(|it| (it.port.protocol, it.port.number, it.namespace != own, it.namespace, it.address));
    }

    /// The namespace that has an address: our own, if it has it, too.
    pub fn namespace_of(&self, address: IpAddr) -> Option<NamespaceId> {
        let has = |id: &&NamespaceId| self.namespaces.get(id).is_some_and(|addresses| addresses.contains(&address));
        [&self.own].into_iter().chain(self.namespaces.keys()).find(has).copied()
    }

    /// The addresses at which others might reach a listener.
    pub fn addresses_of(&self, listener: &Listener) -> Vec<IpAddr> {
        let all = self.namespaces.get(&listener.namespace).into_iter().flatten().copied();
        let meant = |address: &IpAddr| listener.serves(*address) && !address.is_loopback();
        all.filter(meant).filter(|&address| self.namespace_of(address) == Some(listener.namespace)).collect()
    }

    /// Whether only the machine itself, or only its namespace, can reach a listener.
    pub fn is_local(&self, listener: &Listener) -> bool {
        let address = listener.address.to_canonical();
        let all = self.namespaces.get(&listener.namespace).into_iter().flatten();
        address.is_loopback() || address.is_unspecified() && all.clone().all(IpAddr::is_loopback)
    }

    /// How many listeners have no visible process.
    pub fn without_process(&self) -> usize {
        self.listeners.iter().filter(|listener| listener.processes.is_empty()).count()
    }
}

impl Listener {
    /// Whether it is asked when something comes for this address.
    pub fn serves(&self, address: IpAddr) -> bool {
        let (own, address) = (self.address.to_canonical(), address.to_canonical());
        let family = own.is_ipv4() == address.is_ipv4() || (own.is_ipv6() && self.also_v4 != AlsoV4::No);
        own == address || own.is_unspecified() && family
    }

    /// What is usually on its port; a number proves nothing.
    pub fn service(&self) -> Option<&'static Service> {
        by_port(self.port)
    }

    /// Where its first process runs.
    pub fn place(&self) -> Option<&Place> {
        self.processes.iter().find_map(|process| process.place.as_ref())
    }

    /// Since when it may have been there: its oldest process.
    fn since(&self) -> Option<Timestamp> {
        self.processes.iter().filter_map(|process| process.started).min()
    }

    /// As sockets are written.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.number)
    }
}

impl User {
    /// Its name, or its number.
    pub fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// Processes come and go: the first of a namespace that is still there shows its tables. Our own must be readable.
fn first_readable(folders: &[PathBuf], required: bool) -> Result<Option<(PathBuf, Vec<Socket>)>, Error> {
    let mut failed = None;
    for folder in folders {
        match sockets::listening(folder) {
            Ok(sockets) => return Ok(Some((folder.clone(), sockets))),
            Err(error) => failed = Some(error),
        }
    }
    failed.filter(|_| required).map_or(Ok(None), Err)
}

fn also_v4(socket: &Socket, only_v6: &HashMap<u64, bool>) -> AlsoV4 {
    match only_v6.get(&socket.inode) {
        _ if socket.address.is_ipv4() || !socket.address.is_unspecified() => AlsoV4::No,
        Some(true) => AlsoV4::No,
        Some(false) => AlsoV4::Yes,
        None => AlsoV4::Usually,
    }
}

#[cfg(test)]
mod tests;
