//! An AF_PACKET socket and the options of packet(7) that socket2 has no name for.

#![expect(unsafe_code, reason = "setsockopt, getsockopt and sockaddr_ll of AF_PACKET")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::wire::reply::Layer;

/// An EtherType for local experiments (IEEE 802, "Local Experimental Ethertype 1").
const LOCAL_EXPERIMENT: u16 = 0x88b5;

/// An AF_PACKET socket.
#[derive(Debug)]
pub(crate) struct PacketSocket(Socket);

impl PacketSocket {
    /// A socket whose frames begin at `layer`. It receives nothing before it is bound to a protocol, so a filter that is
    /// attached before sees every frame.
    pub(crate) fn new(layer: Layer) -> io::Result<Self> {
        let kind = match layer {
            Layer::Ethernet => Type::RAW,
            Layer::Ip => Type::DGRAM,
        };
        Ok(PacketSocket(Socket::new(Domain::PACKET, kind, Some(Protocol::from(0)))?))
    }

    /// The same socket once more.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(PacketSocket)
    }

    /// Binds to a device, and starts to receive what it receives, of every protocol.
    pub(crate) fn bind_to_receive(&self, index: u32) -> io::Result<()> {
        self.bind(index, (libc::ETH_P_ALL as u16).to_be())
    }

    /// Binds to a device to send through it; nothing is received.
    pub(crate) fn bind_to_send(&self, index: u32) -> io::Result<()> {
        self.bind(index, 0)
    }

    /// Binds to a device to be told when it goes down: a socket that receives nothing at all is not told
    /// (net/packet/af_packet.c, `packet_notifier`), so this one is for frames of a kind that nobody sends.
    pub(crate) fn bind_to_watch(&self, index: u32) -> io::Result<()> {
        self.bind(index, LOCAL_EXPERIMENT.to_be())
    }

    fn bind(&self, index: u32, protocol: u16) -> io::Result<()> {
        let link = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol,
            sll_ifindex: index as c_int,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let fill = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
            // SAFETY: the storage is valid for writes and as large as any socket address; sockaddr_ll is one.
            unsafe { storage.cast::<libc::sockaddr_ll>().write(link) };
            // SAFETY: `len` is valid for writes.
            unsafe { len.write(size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
            Ok(())
        };
        // SAFETY: `fill` writes a whole sockaddr_ll and its length.
        let ((), address) = unsafe { SockAddr::try_init(fill) }?;
        self.0.bind(&address)
    }

    /// Lets the kernel drop what the program does not accept. To be called before the socket is bound.
    pub(crate) fn filter(&self, program: &[SockFilter]) -> io::Result<()> {
        self.0.attach_filter(program)
    }

    /// Hands frames straight to the driver, past the queueing discipline.
    pub(crate) fn bypass_qdisc(&self) -> io::Result<()> {
        self.set_option(libc::PACKET_QDISC_BYPASS, &1)
    }

    /// Does not receive what this machine sends (Linux 4.20).
    pub(crate) fn ignore_outgoing(&self) -> io::Result<()> {
        self.set_option(libc::PACKET_IGNORE_OUTGOING, &1)
    }

    /// Asks for a send buffer of so many bytes; the system's limit may make it less.
    pub(crate) fn send_buffer(&self, bytes: usize) -> io::Result<()> {
        self.0.set_send_buffer_size(bytes)
    }

    /// Sends one frame.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }

    /// Frames dropped because the ring or buffer was full, since the last call: the kernel counts from zero again.
    pub(crate) fn take_drops(&self) -> io::Result<u64> {
        // linux/if_packet.h: tp_packets, tp_drops, tp_freeze_q_cnt.
        let mut stats = [0u32; 3];
        let mut len = size_of_val(&stats) as libc::socklen_t;
        // SAFETY: `stats` is valid for writes of `len` bytes, and any bytes are valid u32s.
        let result = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                stats.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result == 0 { Ok(stats[1].into()) } else { Err(io::Error::last_os_error()) }
    }

    /// Takes a pending error off the socket (`SO_ERROR`): a device that went down would otherwise wake every poll.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.0.take_error()
    }

    /// Sets an option of the level SOL_PACKET.
    pub(super) fn set_option<T: Copy>(&self, name: c_int, value: &T) -> io::Result<()> {
        // SAFETY: `value` is valid for reads of its own size; the kernel checks the size against the option.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                name,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl IntoRawFd for PacketSocket {
    fn into_raw_fd(self) -> i32 {
        self.0.into_raw_fd()
    }
}
