//! `[metrics]`: where Prometheus may ask. The numbers name hosts and what is open there, so they are for this machine alone.

use std::net::SocketAddr;

use super::Table;
use crate::document::Error;
use crate::metrics::{MOST_PORT_SERIES, Settings};

/// More are no help, and hold up who reads them.
const MANY: u64 = 1_000_001;

/// What a table says.
pub(super) fn read(mut table: Table<'_>) -> Result<Settings, Error> {
    let listen = table
        .parsed("listen", listen)?
        .ok_or_else(|| table.lacking("listen is missing, such as \"127.0.0.1:9464\""))?
        .value;
    let most = table.number("max-port-series", 0..MANY)?.and_then(|most| usize::try_from(most).ok());
    table.finish().map(|()| Settings { listen, most_port_series: most.unwrap_or(MOST_PORT_SERIES) })
}

fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    let address: SocketAddr =
        text.parse().map_err(|_| "expected an address of the loopback and a port, such as 127.0.0.1:9464")?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(
            "expected an address of the loopback, such as 127.0.0.1:9464: the numbers are not for the network; let a proxy that asks \
                      for a password pass them on",
        ),
    }
}
