//! Where scanners stand: names and addresses of every stage, and a murmur on its link. Nothing on a stage can leave: its
//! namespaces have no other device, and the gateway's link address is entered by hand.

use std::io;
use std::net::Ipv4Addr;

use halfopen_lab::{GATEWAY_MAC, Namespace};
use socket2::Socket;

use super::sys::packet_socket;

/// The scanners' device.
pub const DEVICE: &str = "scan0";
/// The other end, as the lab names it.
pub const FAR_DEVICE: &str = "phantom0";
/// The scanners' address.
pub const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);

/// Now and then a frame arrives that is nobody's, as on any link: masscan 1.3.2 does not end while nothing at all
/// arrives.
pub struct Murmur(Socket);

impl Murmur {
    /// From the far end to the scanners.
    ///
    /// # Errors
    /// The far end refuses a packet socket.
    pub fn from(far: &Namespace) -> io::Result<Murmur> {
        far.run(|| packet_socket(interface(FAR_DEVICE)?)).map(Murmur)
    }

    /// One frame.
    pub fn utter(&self) {
        // A frame that is lost is as good.
        let _ = self.0.send(&nobodys());
    }
}

/// The index of an interface in the caller's namespace.
///
/// # Errors
/// There is none of this name.
pub fn interface(name: &str) -> io::Result<u32> {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// A broadcast of the type that IEEE 802 keeps for experiments.
fn nobodys() -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&GATEWAY_MAC);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}
