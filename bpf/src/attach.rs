//! Where programs are attached: by links that are gone with their descriptor, so with the process, however it ends.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, failed};
use crate::program::Program;
use crate::sys;

/// Where on the receive path a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// In the kernel's generic path, after the packet's memory was made; any device can (`XDP_FLAGS_SKB_MODE`).
    Generic = 1 << 1,
    /// In the driver (`XDP_FLAGS_DRV_MODE`). Some drivers reset the device for it, which costs its link for seconds.
    Native = 1 << 2,
}

/// An XDP program on a device.
#[derive(Debug)]
pub struct XdpLink {
    _link: OwnedFd,
}

impl XdpLink {
    /// Attaches a program to a device by its index. What is there already is never replaced.
    ///
    /// # Errors
    /// `EBUSY` or `EEXIST`: another program is there. `EOPNOTSUPP`: the driver has no native XDP. Others: the driver
    /// cannot just now (`EINVAL`, `ERANGE`: MTU or offload settings).
    pub fn attach(program: &Program, device: u32, mode: Mode) -> Result<Self, Error> {
        let link =
            sys::create_xdp_link(program.as_fd(), device, mode as u32).map_err(failed("attach an XDP program"))?;
        Ok(XdpLink { _link: link })
    }
}

/// A program at a tracepoint of the kernel.
#[derive(Debug)]
pub struct Tracepoint {
    _link: OwnedFd,
}

impl Tracepoint {
    /// Attaches a program of [`Kind::RawTracepoint`](crate::Kind::RawTracepoint) to a tracepoint by its name.
    ///
    /// # Errors
    /// No right to (CAP_PERFMON), or there is none of this name.
    pub fn attach(program: &Program, name: &str) -> Result<Self, Error> {
        let link = sys::open_raw_tracepoint(program.as_fd(), name).map_err(failed("attach to a tracepoint"))?;
        Ok(Tracepoint { _link: link })
    }
}
