//! The kernel's tables of sockets, of one network namespace: which of them wait for whoever comes. TCP that listens, and UDP
//! that is not connected; among the latter are clients that wait for an answer, which nothing tells from servers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use halfopen_services::Port;
use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries, UdpState};
use procfs::{FromBufReadSI, FromReadSI, ProcError};

use super::Error;

/// A socket that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    /// Its port,
    pub(super) port: Port,
    /// and address.
    pub(super) address: IpAddr,
    /// Who made it.
    pub(super) uid: u32,
    /// By which it is found among the files of processes.
    pub(super) inode: u64,
}

/// Those of the namespace of a process, by its folder.
pub(super) fn listening(folder: &Path) -> Result<Vec<Socket>, Error> {
    let net = folder.join("net");
    let mut all = Vec::new();
    for name in ["tcp", "tcp6"] {
        let table: Vec<_> = entries::<TcpNetEntries>(&net.join(name))?.map_or_else(Vec::new, |table| table.0);
        let listen = table.into_iter().filter(|entry| entry.state == TcpState::Listen);
        all.extend(listen.map(|entry| socket(Port::tcp, entry.local_address, entry.uid, entry.inode)));
    }
    for name in ["udp", "udp6"] {
        let table: Vec<_> = entries::<UdpNetEntries>(&net.join(name))?.map_or_else(Vec::new, |table| table.0);
        let waiting =
            table.into_iter().filter(|entry| entry.state == UdpState::Close && entry.local_address.port() > 0);
        all.extend(waiting.map(|entry| socket(Port::udp, entry.local_address, entry.uid, entry.inode)));
    }
    Ok(all)
}

fn socket(port: impl Fn(u16) -> Port, local: SocketAddr, uid: u32, inode: u64) -> Socket {
    Socket { port: port(local.port()), address: local.ip(), uid, inode }
}

/// A table; none where the kernel lacks the protocol (no IPv6). The first of a namespace's tables is always there.
fn entries<T: FromBufReadSI>(path: &Path) -> Result<Option<T>, Error> {
    match T::from_file(path, procfs::current_system_info()) {
        Ok(table) => Ok(Some(table)),
        Err(error) if is_missing(&error) && !path.ends_with("net/tcp") => Ok(None),
        Err(error) => Err(Error { path: path.into(), problem: error.to_string() }),
    }
}

fn is_missing(error: &ProcError) -> bool {
    match error {
        ProcError::NotFound(_) => true,
        ProcError::Io(error, _) => error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}
