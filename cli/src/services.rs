//! Names of TCP ports, from the IANA registry. `services/README.md` says how the table was made. A name says what a
//! port is registered for, not what listens there.

use std::sync::OnceLock;

static REGISTRY: &str = include_str!("services.tsv");

/// The registered name of a TCP port.
pub(crate) fn name(port: u16) -> Option<&'static str> {
    let table = table();
    table.binary_search_by_key(&port, |&(port, _)| port).ok().map(|at| table[at].1)
}

/// The registry as (port, name), sorted by port; read at first use.
fn table() -> &'static [(u16, &'static str)] {
    static TABLE: OnceLock<Vec<(u16, &'static str)>> = OnceLock::new();
    TABLE.get_or_init(|| REGISTRY.lines().filter_map(entry).collect())
}

fn entry(line: &'static str) -> Option<(u16, &'static str)> {
    let (port, name) = line.split_once('\t')?;
    Some((port.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_names() {
        for (port, service) in [(22, "ssh"), (80, "http"), (443, "https"), (6010, "x11"), (8080, "http-alt")] {
            assert_eq!(name(port), Some(service));
        }
        assert_eq!(name(0), None);
        assert_eq!(name(65535), None);
    }

    #[test]
    fn every_line_is_read_and_sorted() {
        assert_eq!(table().len(), REGISTRY.lines().count());
        assert!(table().len() > 5_900);
        assert!(table().windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    /// RFC 6335 section 5.1: at most 15 letters, digits and hyphens. Columns are made for that.
    #[test]
    fn every_name_is_legal() {
        for (port, name) in table() {
            let legal = (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            assert!(legal, "{port} {name}");
        }
    }
}
