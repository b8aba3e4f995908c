//! What TCP and UDP ports are for: the names of IANA's registry, a ranking of the TCP ports most worth asking, and plain
//! words on the services that matter. Data and look-ups alone: no sockets, no files, nothing to be set up; everything
//! lies in the program as static tables, made at build time from the texts in `data/`.
//!
//! **A port number is a convention and not proof.** That a port is registered for something, or usually has it, does not
//! say what listens there; only speaking to it does.
//!
//! ```
//! use halfopen_services::{Port, Risk, by_port, registered, tcp_name, tcp_ports, top_ports};
//!
//! assert_eq!(tcp_name(22), Some("ssh"));
//! assert_eq!(registered(Port::udp(123)).map(|entry| entry.description), Some("Network Time Protocol"));
//! assert_eq!(tcp_ports("HTTP-alt"), [591, 8008, 8080]);
//! assert_eq!(top_ports(3), [80, 443, 22]);
//!
//! let telnet = by_port(Port::tcp(23)).expect("it matters");
//! assert!(telnet.is_plaintext() && telnet.risk == Risk::High);
//! assert_eq!(telnet.instead, Some("ssh"));
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `port` | a port number with its protocol, as text and back |
//! | `registry` | IANA's names and descriptions, by port and by name |
//! | `service` | own texts: what it is for, encrypted or not, what an open one means, what to do |
//! | `ranking` | the ports most worth asking |
//! | `lookup` | from a word that somebody typed to ports and services |
//! | `near` | which name was meant |

mod port;
mod registry;
mod service;
mod ranking;
mod lookup;
mod near;

pub use lookup::{Answer, explain, tcp_ports};
pub use near::near;
pub use port::{BadPort, Port, Protocol};
pub use ranking::{RANKED, top_ports};
pub use registry::{Registered, registered, registered_as, registry, tcp_name};
pub use service::{Risk, Service, Wire, by_port, named, plaintext, services};

/// What every reader of a port's name should know.
pub const CONVENTION: &str = "A port number is a convention, not proof: any program can listen on any port. Only speaking to it shows what it is.";
