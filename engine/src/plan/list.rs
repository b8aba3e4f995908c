//! A list of targets that is read line by line, by who cannot wait for its end: a pipe that another program writes to. A line
//! that cannot be read is an error of its own, nothing of it is added, and the next one follows. What becomes of the targets is
//! for the builder of the plan; when there are enough of them, for whoever reads.

use super::intake::{Intake, Resolve, Resolver};
use super::layers::Layers;
use super::lines::Lines;
use super::port_names::Names;
use crate::error::{Error, Place};
use std::fmt;
use std::io::BufRead;

/// What lines of a list name: addresses, with or without ports of their own; host names have been resolved.
#[derive(Clone, Default)]
pub struct Targets(pub(crate) Layers);

impl Targets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of other lines; what is there already is there once.
    pub fn append(&mut self, other: Targets) {
        self.0.append(other.0);
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").finish_non_exhaustive()
    }
}

/// Reads a list; made by [`PlanBuilder::list`](super::PlanBuilder::list). Each item is what one line names, or why it cannot be
/// read; lines without targets are passed over. [`Error::ReadTargets`] is the last item.
pub struct TargetList<R> {
    lines: Lines<'static, R>,
    resolve: (Resolve, Resolver),
    names: Names,
    name: String,
    /// Ports that all have are not known.
    needs_ports: bool,
    is_over: bool,
}

impl<R: BufRead> TargetList<R> {
    pub(super) fn new(name: &str, reader: R, resolve: (Resolve, Resolver), names: Names, needs_ports: bool) -> Self {
        let lines = Lines::new(reader, name.to_owned());
        TargetList { lines, resolve, names, name: name.into(), needs_ports, is_over: false }
    }
}

impl<R: BufRead> Iterator for TargetList<R> {
    type Item = Result<Targets, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let ((resolve, resolver), names) = (self.resolve, self.names);
            match self.lines.next() {
                Ok(Some((_, []))) => {}
                Ok(Some((number, line))) => {
                    let mut layers = Layers::default();
                    let (source, line_number) = (&*self.name, Some(number));
                    let mut intake =
                        Intake { layers: &mut layers, resolve, resolver, names, source, line: line_number };
                    let read = intake.line(line);
                    return Some(read.and_then(|()| whole(layers, self.needs_ports, source, number)));
                }
                Ok(None) => self.is_over = true,
                Err(error) => {
                    self.is_over = matches!(error, Error::ReadTargets { .. });
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// What a line names, if there is a port for each of it.
fn whole(mut layers: Layers, needs_ports: bool, source: &str, line: u64) -> Result<Targets, Error> {
    match layers.bare().any().filter(|_| needs_ports) {
        None => Ok(Targets(layers)),
        Some(address) => Err(Error::Parse {
            place: Place { source: source.into(), line: Some(line) },
            token: address.to_string(),
            problem: "it has no ports, and none were given for all targets".into(),
            accepted: "expected ports behind it, such as 192.0.2.7:443 or [2001:db8::7]:443",
        }),
    }
}

impl<R> fmt::Debug for TargetList<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetList").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;
    use std::io::{self, BufReader, Read};

    /// What is read, in order: a plan's ranges for targets, the text for errors.
    fn read(reader: impl Read) -> Vec<String> {
        let builder = Plan::builder().ports("80").unwrap();
        let told = |item: Result<Targets, Error>| match item {
            Ok(targets) => shown(&builder.clone().with(targets).build().unwrap()),
            Err(error) => format!("! {error}"),
        };
        builder.list("list", BufReader::new(reader)).map(told).collect()
    }

    fn shown(plan: &Plan) -> String {
        let part = |(range, ports): (crate::AddressRange, &crate::PortSet)| format!("{range}:{ports}");
        plan.parts().map(part).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_that_cannot_be_read_adds_nothing_and_the_next_one_follows() {
        let read = read(
            &b"\xef\xbb\xbf10.0.0.1\r\n# all\n\n10.0.0.2 10.0.0.999 10.0.0.3\n10.0.0.4:22,443 # two\n\xff\n::1"[..],
        );
        assert_eq!([&*read[0], &*read[2], &*read[4]], ["10.0.0.1:80", "10.0.0.4:22,443", "::1:80"]);
        assert!(read[1].starts_with("! list:4: cannot read \"10.0.0.999\""), "{}", read[1]);
        assert!(read[3].starts_with("! list:6: cannot read"), "{}", read[3]);
        assert_eq!(read.len(), 5);
    }

    #[test]
    fn without_ports_for_all_a_line_needs_its_own() {
        let list = Plan::builder().list("list", &b"10.0.0.1:22\n10.0.0.2:22 ::2\n[::1]:80"[..]);
        let read: Vec<_> = list.map(|item| item.map(|_| ()).map_err(|error| error.to_string())).collect();
        let expected = "list:2: cannot read \"::2\": it has no ports, and none were given for all targets; expected ports \
                        behind it, such as 192.0.2.7:443 or [2001:db8::7]:443";
        assert_eq!(read, [Ok(()), Err(expected.to_owned()), Ok(())]);
    }

    #[test]
    fn a_reader_that_fails_is_the_last_item() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        assert_eq!(read((&b"10.0.0.1\n"[..]).chain(Broken)), ["10.0.0.1:80", "! cannot read list: gone"]);
    }

    #[test]
    fn what_an_earlier_plan_has_is_left_out_and_nothing_else() {
        let builder = Plan::builder().ports("80,443").unwrap().exclude("10.0.0.9").unwrap();
        let of = |builder: &crate::PlanBuilder, text: &str| {
            let mut all = Targets::default();
            builder.list("list", text.as_bytes()).for_each(|targets| all.append(targets.unwrap()));
            builder.clone().with(all).build()
        };
        let first = of(&builder, "10.0.0.0/30 ::1").unwrap();
        let builder = builder.without(&first);
        let second = of(&builder, "10.0.0.2-10.0.0.5\n10.0.0.1:22,80\n10.0.0.9").unwrap();
        assert_eq!(shown(&second), "10.0.0.1:22 10.0.0.4/31:80,443");
        assert_eq!((second.len(), second.excluded(), second.hosts()), (5, 1, 3));
        assert!(!second.spares(80), "whoever was asked may be asked other things");
        let builder = builder.without(&second);
        assert!(matches!(of(&builder, "10.0.0.0/29:80 ::1"), Ok(plan) if shown(&plan) == "10.0.0.6/31:80"));
        assert!(matches!(of(&builder, "10.0.0.0/30\n::1\n10.0.0.1:22"), Err(Error::NothingNew)));
        assert!(matches!(of(&builder, "10.0.0.1 10.0.0.9"), Err(Error::EmptyPlan(_))));
    }
}
