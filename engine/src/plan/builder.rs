//! Collects what is to be scanned and what is not, and makes the plan of it. The grammar is in `grammar` and `ports`,
//! the set arithmetic in `assembly`.

use super::Plan;
use super::address_range::AddressRange;
use super::assembly::{Assembly, Role};
use super::blocklist::BLOCKLIST;
use super::intake::{Intake, Resolve, Resolver, system_resolver};
use super::layers::{AddressSet, Layers};
use super::list::{TargetList, Targets};
use super::malformed::{Malformed, shortened};
use super::port_names::{Names, PortNames};
use super::ports::PortSet;
use super::ranges::Range;
use crate::error::{Error, Place};
use std::fmt;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};

/// Collects targets, ports and exclusions; every method tells at once what is wrong with its text.
///
/// **Targets** are separated by white space, or by commas where the comma is not part of an octet or port list:
/// addresses (`192.0.2.7`, `2001:db8::7`), networks (`192.0.2.0/24`, host bits are masked away), ranges
/// (`192.0.2.1-192.0.2.9`), octet ranges (`192.0.0-3.1,5,7-9`, `192.0.2.*`) and host names. Each may be followed by
/// ports of its own: `192.0.2.7:22,80`, `[2001:db8::7]:443`, `192.0.2.0/24:8000-8100`. An IPv4-mapped IPv6 address is
/// IPv4.
///
/// **Ports** are numbers and ranges: `22,80,8000-8100`, `-1023` (from 1), `49152-` (to 65535), `-` (1-65535). Port 0 is
/// scanned only if `0` is said. With [`port_names`](Self::port_names) there may be names among them: `http,ssh,8000-8100`.
///
/// **Files** have one or more targets a line; `#` begins a comment. Lines end in LF or CRLF and are at most 64 KiB
/// long.
///
/// **Memory**, while it is read and built: at most 32 bytes for each address of either family, duplicates not counted,
/// and no more for `address:port` lines if few different ports occur. Each distinct port set that is read costs about
/// 500 bytes, and so does each distinct combination of port sets that meet at an address; a list in which every address
/// has other ports than all others therefore costs about a kilobyte an address. Ranges and networks cost up to 64 bytes
/// each, whatever their size.
#[derive(Clone)]
pub struct PlanBuilder {
    targets: Layers,
    exclusions: Layers,
    /// Of earlier plans.
    known: Layers,
    ports: Option<PortSet>,
    excluded_ports: Option<PortSet>,
    names: Names,
    blocklist: bool,
    resolve: Resolve,
    resolver: Resolver,
}

impl PlanBuilder {
    pub(crate) fn new() -> Self {
        PlanBuilder {
            targets: Layers::default(),
            exclusions: Layers::default(),
            known: Layers::default(),
            ports: None,
            excluded_ports: None,
            names: None,
            blocklist: true,
            resolve: Resolve::default(),
            resolver: system_resolver,
        }
    }

    /// Which addresses of a host name are targets. Names are resolved when they are read, so this must come before
    /// them. A name in an exclusion always stands for all its addresses.
    #[must_use]
    pub fn resolve(mut self, resolve: Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    /// Who knows what names of ports mean, here and behind targets (`192.0.2.7:https`). Texts are read when they come,
    /// so this must come before them. Behind ports and a comma, a name that is known is a port and no host.
    #[must_use]
    pub fn port_names(mut self, names: &'static dyn PortNames) -> Self {
        self.names = Some(names);
        self
    }

    /// Adds targets. Host names are resolved now, one after the other.
    ///
    /// # Errors
    /// [`Error::Parse`] for what is no target, [`Error::Resolve`] for a host name without address.
    pub fn targets(mut self, text: &str) -> Result<Self, Error> {
        self.target_intake("targets").text(text)?;
        Ok(self)
    }

    /// Adds the targets of a file; `name` is for messages.
    ///
    /// # Errors
    /// As [`targets`](Self::targets), with the line, and [`Error::ReadTargets`] if the reader fails.
    pub fn target_lines(mut self, name: &str, reader: impl BufRead) -> Result<Self, Error> {
        self.target_intake(name).lines(reader)?;
        Ok(self)
    }

    /// Reads a list of targets line by line, for those who cannot wait for its end; `name` is for messages. Host names are
    /// resolved and ports named as in this builder; where it has no ports for all targets yet, those of the list need ports of
    /// their own.
    pub fn list<R: BufRead>(&self, name: &str, reader: R) -> TargetList<R> {
        TargetList::new(name, reader, (self.resolve, self.resolver), self.names, self.ports.is_none())
    }

    /// Adds targets of a list.
    #[must_use]
    pub fn with(mut self, targets: Targets) -> Self {
        self.targets.append(targets.0);
        self
    }

    /// Leaves out the targets of an earlier plan. Unlike exclusions they are not counted, and whatever else such an address is
    /// asked for is scanned.
    #[must_use]
    pub fn without(mut self, plan: &Plan) -> Self {
        plan.parts().for_each(|(range, ports)| self.known.with_ports(ports.clone()).insert_range(&range));
        self
    }

    /// Leaves out these addresses, whatever their ports, as [`without`](Self::without) does.
    #[must_use]
    pub fn without_addresses(mut self, ranges: impl IntoIterator<Item = AddressRange>) -> Self {
        if let Some(all) = PortSet::from_ranges(vec![(0, u16::MAX)]) {
            let known = self.known.with_ports(all);
            ranges.into_iter().for_each(|range| known.insert_range(&range));
        }
        self
    }

    /// Adds ports for all targets that have none of their own, wherever those are added.
    ///
    /// # Errors
    /// [`Error::Parse`].
    pub fn ports(mut self, text: &str) -> Result<Self, Error> {
        self.ports = Some(self.more_ports(self.ports.as_ref(), "ports", text)?);
        Ok(self)
    }

    /// Leaves out ports of every address, however they were asked for: by [`ports`](Self::ports), or behind a target.
    ///
    /// # Errors
    /// [`Error::Parse`].
    pub fn exclude_ports(mut self, text: &str) -> Result<Self, Error> {
        self.excluded_ports = Some(self.more_ports(self.excluded_ports.as_ref(), "excluded ports", text)?);
        Ok(self)
    }

    /// Leaves out addresses, in the grammar of [`targets`](Self::targets). With ports, only these ports of them.
    ///
    /// # Errors
    /// As [`targets`](Self::targets).
    pub fn exclude(mut self, text: &str) -> Result<Self, Error> {
        self.exclusion_intake("exclusions").text(text)?;
        Ok(self)
    }

    /// Leaves out what a file names; `name` is for messages.
    ///
    /// # Errors
    /// As [`target_lines`](Self::target_lines).
    pub fn exclude_lines(mut self, name: &str, reader: impl BufRead) -> Result<Self, Error> {
        self.exclusion_intake(name).lines(reader)?;
        Ok(self)
    }

    /// Whether addresses that are never a unicast destination are left out (yes unless told otherwise): 0.0.0.0/8,
    /// 224.0.0.0/4, 240.0.0.0/4, ::, ::ffff:0:0/96, ff00::/8. Private, loopback, link-local, shared, benchmarking and
    /// documentation addresses are always targets.
    #[must_use]
    pub fn blocklist(mut self, on: bool) -> Self {
        self.blocklist = on;
        self
    }

    /// Makes the plan.
    ///
    /// # Errors
    /// [`Error::EmptyPlan`] if nothing is left to scan, [`Error::NothingNew`] if earlier plans have it all, [`Error::PlanTooLarge`] above 2^63 targets, [`Error::Setting`]
    /// if an address has no ports.
    pub fn build(self) -> Result<Plan, Error> {
        let everywhere = self.excluded_ports.clone();
        let (roles, sets) = self.layers()?;
        let (v4, v6): (Vec<_>, Vec<_>) = sets.into_iter().map(|set| (set.v4, set.v6)).unzip();
        let spared = spared(&roles);
        let mut assembly = Assembly::new(roles);
        let v4 = assembly.family(v4);
        let v6 = assembly.family(v6);
        assembly.tally.check().map_err(|error| also_everywhere(error, everywhere.as_ref()))?;
        Ok(Plan::new((v4, v6), assembly.blocks, assembly.tally, spared))
    }

    fn target_intake<'a>(&'a mut self, source: &'a str) -> Intake<'a> {
        let PlanBuilder { resolve, resolver, names, .. } = *self;
        Intake { layers: &mut self.targets, resolve, resolver, names, source, line: None }
    }

    fn exclusion_intake<'a>(&'a mut self, source: &'a str) -> Intake<'a> {
        let PlanBuilder { resolver, names, .. } = *self;
        Intake { layers: &mut self.exclusions, resolve: Resolve::All, resolver, names, source, line: None }
    }

    fn more_ports(&self, before: Option<&PortSet>, source: &str, text: &str) -> Result<PortSet, Error> {
        let ports = PortSet::parse(text, self.names).map_err(|malformed| malformed_ports(source, text, malformed))?;
        Ok(before.map_or(ports.clone(), |before| before.with(&ports)))
    }

    /// Every layer that has addresses: what it does, and to which.
    fn layers(self) -> Result<(Vec<Role>, Vec<AddressSet>), Error> {
        let (bare, ported) = self.targets.into_parts();
        let (bare_exclusions, ported_exclusions) = self.exclusions.into_parts();
        let mut layers = Vec::new();
        if let Some(address) = bare.any() {
            let ports = self.ports.ok_or_else(|| no_ports(address))?;
            layers.push((Role::Scan(ports), bare));
        }
        layers.extend(ported.into_iter().map(|(ports, set)| (Role::Scan(ports), set)));
        layers.extend(self.known.into_parts().1.into_iter().map(|(ports, set)| (Role::Known(ports), set)));
        layers.push((Role::Exclude(None), bare_exclusions));
        layers.extend(ported_exclusions.into_iter().map(|(ports, set)| (Role::Exclude(Some(ports)), set)));
        layers.extend(self.excluded_ports.map(|ports| (Role::Exclude(Some(ports)), everywhere())));
        layers.extend(blocked().filter(|_| self.blocklist));
        layers.retain(|(_, set)| !set.is_empty());
        Ok(layers.into_iter().unzip())
    }
}

impl fmt::Debug for PlanBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlanBuilder")
            .field("ports", &self.ports)
            .field("blocklist", &self.blocklist)
            .finish_non_exhaustive()
    }
}

/// Every port that an exclusion names.
fn spared(roles: &[Role]) -> Option<PortSet> {
    let ports = roles.iter().filter_map(|role| match role {
        Role::Exclude(ports) => ports.as_ref(),
        _ => None,
    });
    PortSet::from_ranges(ports.flat_map(PortSet::ranges).collect())
}

/// The blocklist as layers.
fn blocked() -> impl Iterator<Item = (Role, AddressSet)> {
    BLOCKLIST.iter().enumerate().map(|(line, blocked)| {
        let mut set = AddressSet::default();
        blocked.range().iter().for_each(|range| set.insert_range(range));
        (Role::Block(line), set)
    })
}

/// All addresses of both families.
fn everywhere() -> AddressSet {
    let mut all = AddressSet::default();
    all.v4.insert(Range { first: 0, last: u32::MAX });
    all.v6.insert(Range { first: 0, last: u128::MAX });
    all
}

/// Why nothing is left, with the ports that are left out whatever the address.
fn also_everywhere(error: Error, ports: Option<&PortSet>) -> Error {
    match (error, ports) {
        (Error::EmptyPlan(why), Some(ports)) => Error::EmptyPlan(format!("{why} (everywhere: ports {ports})")),
        (error, _) => error,
    }
}

fn malformed_ports(source: &str, text: &str, Malformed { problem, accepted }: Malformed) -> Error {
    Error::Parse { place: Place { source: source.into(), line: None }, token: shortened(text), problem, accepted }
}

fn no_ports(address: IpAddr) -> Error {
    let ported = SocketAddr::new(address, 80);
    let problem = format!("none given for {address}; name the ports to scan, or put them behind the target ({ported})");
    Error::Setting { setting: "ports", problem }
}

#[cfg(test)]
mod tests {
    use super::super::port_names::tests::Few;
    use super::*;
    use proptest::prelude::*;
    use std::io;

    fn ranges(plan: &Plan) -> String {
        plan.ranges().map(|range| range.to_string()).collect::<Vec<_>>().join(" ")
    }

    fn of_lines(bytes: &[u8]) -> Result<Plan, Error> {
        Plan::builder().ports("80")?.target_lines("hosts.txt", bytes)?.build()
    }

    fn no_network(name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "two.example" => Ok(vec!["2001:db8::2".parse().unwrap(), "192.0.2.2".parse().unwrap()]),
            "none.example" => Ok(Vec::new()),
            _ => Err(io::Error::other("no such name")),
        }
    }

    fn builder() -> PlanBuilder {
        PlanBuilder { resolver: no_network, ..Plan::builder() }.ports("80").unwrap()
    }

    #[test]
    fn host_names() {
        let all = builder().targets("two.example").unwrap().build().unwrap();
        assert_eq!(ranges(&all), "192.0.2.2 2001:db8::2");
        let first = builder().resolve(Resolve::First).targets("two.example").unwrap().build().unwrap();
        assert_eq!(ranges(&first), "2001:db8::2");
        let ported = builder().targets("two.example:1-3").unwrap().build().unwrap();
        assert_eq!(ported.len(), 6);
    }

    #[test]
    fn an_excluded_name_is_excluded_with_all_its_addresses() {
        let builder = builder().resolve(Resolve::First).targets("192.0.2.0/30").unwrap();
        assert_eq!(ranges(&builder.exclude("two.example").unwrap().build().unwrap()), "192.0.2.0/31 192.0.2.3");
    }

    #[test]
    fn host_names_that_do_not_resolve() {
        let error = |name| builder().targets(name).unwrap_err().to_string();
        assert_eq!(
            error("none.example"),
            "targets: cannot resolve host name \"none.example\": the name has no address"
        );
        assert_eq!(error("www.example:80"), "targets: cannot resolve host name \"www.example\": no such name");
    }

    #[test]
    fn localhost_resolves() {
        let plan = Plan::builder().targets("localhost:80").unwrap().build().unwrap();
        assert!(plan.ranges().all(|range| range.first().is_loopback()));
    }

    #[test]
    fn files() {
        let text =
            b"\xef\xbb\xbf# networks\r\n192.0.2.1\r\n\r\n\t192.0.2.4, 192.0.2.6,7  # two\n192.0.2.9:22\n2001:db8::1";
        assert_eq!(ranges(&of_lines(text).unwrap()), "192.0.2.1 192.0.2.4 192.0.2.6/31 192.0.2.9 2001:db8::1");
    }

    #[test]
    fn errors_name_the_place() {
        let builder = || Plan::builder();
        for (result, text) in [
            (
                builder().targets("10.0.0.1 10.0.0.256"),
                "targets: cannot read \"10.0.0.256\": octet \"256\" is above 255; expected four octets 0-255, each \
                 a number, a list or a range, such as 192.0.2.7, 192.0.2.1,5,7-9, 192.0.0-3.* or 192.0.2.128-",
            ),
            (
                builder().exclude("fe80::1%eth0"),
                "exclusions: cannot read \"fe80::1%eth0\": an address with a scope (%eth0) cannot be a target; \
                 expected the address alone; name the interface with --interface",
            ),
            (
                builder().ports("http"),
                "ports: cannot read \"http\": port \"http\" is not a number; expected ports such as \
                 22,80,8000-8100, -1023 (from 1), 49152- (to 65535) or - (1-65535)",
            ),
            (
                builder().target_lines("hosts.txt", &b"10.0.0.1\n\n10.0.0.1/33\n"[..]),
                "hosts.txt:3: cannot read \"10.0.0.1/33\": prefix length \"33\" is above 32; expected a prefix \
                 length 0-32",
            ),
            (
                builder().exclude_lines("exclude.txt", &b"10.0.0.1\n\xff\xfe1"[..]),
                "exclude.txt:2: cannot read \"\u{fffd}\u{fffd}1\": it is not UTF-8; expected a text file with one \
                 or more targets a line",
            ),
        ] {
            assert_eq!(result.unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn plans_without_a_target() {
        let error = |builder: PlanBuilder| builder.build().unwrap_err().to_string();
        let multicast = || Plan::builder().ports("80").unwrap().targets("224.0.1.0/24").unwrap();
        assert_eq!(
            error(multicast()),
            "nothing to scan: all 256 addresses are on the built-in blocklist (224.0.0.0/4 multicast); \
             --no-blocklist to scan them anyway"
        );
        assert_eq!(multicast().blocklist(false).build().unwrap().hosts(), 256);
        assert_eq!(
            error(Plan::builder().targets("10.0.0.1:80").unwrap().exclude("10.0.0.0/8").unwrap()),
            "nothing to scan: the only address is excluded"
        );
        assert_eq!(
            error(Plan::builder()),
            "nothing to scan: no target was given; name addresses, networks, ranges or host names"
        );
        assert_eq!(
            error(Plan::builder().targets("10.0.0.1:80 10.0.0.2").unwrap()),
            "ports: none given for 10.0.0.2; name the ports to scan, or put them behind the target (10.0.0.2:80)"
        );
        assert_eq!(
            error(Plan::builder().targets("fd02::2:443").unwrap()),
            "ports: none given for fd02::2:443; name the ports to scan, or put them behind the target \
             ([fd02::2:443]:80)"
        );
    }

    #[test]
    fn wide_networks_lose_what_is_blocked() {
        let plan = Plan::builder().targets("0.0.0.0/0").unwrap().ports("80").unwrap().build().unwrap();
        assert_eq!(ranges(&plan), "1.0.0.0-223.255.255.255");
        assert_eq!((plan.len(), plan.blocked()), (223 << 24, 33 << 24));
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let text = "::ffff:192.0.2.7 ::ffff:198.51.100.9/120 [::ffff:203.0.113.1]-[::ffff:203.0.113.2]";
        let plan = Plan::builder().targets(text).unwrap().ports("80").unwrap().build().unwrap();
        assert_eq!(ranges(&plan), "192.0.2.7 198.51.100.0/24 203.0.113.1-203.0.113.2");
        let around =
            Plan::builder().targets("::fffe:ffff:fffe-::ffff:0.0.0.1").unwrap().ports("80").unwrap().build().unwrap();
        assert_eq!((ranges(&around).as_str(), around.blocked()), ("::fffe:ffff:fffe/127", 2));
    }

    #[test]
    fn ports_add_up() {
        let plan =
            Plan::builder().ports("80").unwrap().targets("10.0.0.1").unwrap().ports("22").unwrap().build().unwrap();
        assert_eq!(plan.blocks()[0].ports.to_string(), "22,80");
    }

    fn shown(plan: &Plan) -> String {
        let block = |block: &super::super::Block| block.ports.to_string();
        format!("{} {}", ranges(plan), plan.blocks().iter().map(block).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn excluded_ports_win_over_everything() {
        let plan = |builder: Result<PlanBuilder, Error>| builder.and_then(PlanBuilder::build);
        let wide = Plan::builder().ports("1-10").unwrap().targets("10.0.0.0/30 10.0.0.9:3,443 2001:db8::1").unwrap();
        let left = plan(wide.clone().exclude_ports("3-5").and_then(|plan| plan.exclude_ports("443,8"))).unwrap();
        assert_eq!(
            shown(&left),
            "10.0.0.0/30 2001:db8::1 1-2,6-7,9-10",
            "also of pairs, of every family, and added up"
        );
        assert!([3, 8, 443].into_iter().all(|port| left.spares(port)) && !left.spares(9), "nor for other purposes");
        let error = plan(Plan::builder().targets("10.0.0.1:80").unwrap().exclude_ports("80")).unwrap_err();
        assert_eq!(error.to_string(), "nothing to scan: the only address is excluded (everywhere: ports 80)");
        let error = wide.exclude_ports("x").unwrap_err().to_string();
        assert!(error.starts_with("excluded ports: cannot read \"x\": port \"x\" is not a number;"), "{error}");
    }

    #[test]
    fn ports_by_name() {
        let named = || Plan::builder().port_names(&Few);
        let plan = named().ports("http,22").and_then(|plan| plan.targets("10.0.0.1 10.0.0.2:http-alt,443,x11"));
        let plan = plan.and_then(|plan| plan.exclude_ports("X11")).and_then(|plan| plan.exclude("10.0.0.1:http"));
        assert_eq!(shown(&plan.unwrap().build().unwrap()), "10.0.0.1 10.0.0.2 443,591,8008,8080 22");
        let lines = named().target_lines("hosts.txt", &b"10.0.0.1\n10.0.0.2:htp\n"[..]).unwrap_err().to_string();
        let expected = "hosts.txt:2: cannot read \"10.0.0.2:htp\": \"htp\" is no port and no name of one; expected ports \
                        and services such as";
        assert!(lines.starts_with(expected), "{lines}");
    }

    #[test]
    fn a_host_with_every_port_on_a_line_of_its_own() {
        let text: String = (0..=65_535_u16).map(|port| format!("10.0.0.1:{}\n", port.wrapping_mul(40_503))).collect();
        let plan = Plan::builder().target_lines("pairs", text.as_bytes()).unwrap().build().unwrap();
        assert_eq!((plan.len(), plan.blocks()[0].ports.to_string()), (65_536, "0-65535".into()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, near in "([0-9a-f.:,/%*#\\[\\] \n-]|10\\.0\\.0\\.|2001:db8::){0,30}") {
            let _ = builder().target_lines("bytes", &bytes[..]).and_then(PlanBuilder::build);
            let _ = builder().targets(&near).and_then(PlanBuilder::build);
            let _ = builder().exclude_lines("near", near.as_bytes()).and_then(PlanBuilder::build);
        }
    }
}
