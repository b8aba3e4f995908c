//! Where a value stands that turned out to be wrong only when it was used: when the plan was made, or the interface was looked
//! for. What its own reader refuses is told by `stack`, with its place.

use super::{Effective, Origin};
use crate::failure::Failure;

/// The failure with the line or variable that it is owed to; as it is where that was typed, or is not known.
pub(crate) fn located(failure: Failure, settings: &[Effective]) -> Failure {
    let places: Vec<_> = suspects(&failure).iter().filter_map(|suspect| suspect.place(settings)).collect();
    if places.is_empty() { failure } else { Failure::At { place: places.join(", "), failure: Box::new(failure) } }
}

/// A setting that may be to blame.
#[derive(Debug, Clone)]
struct Suspect {
    name: &'static str,
    /// A part of the value that was complained of.
    part: String,
}

impl Suspect {
    /// Where it was set; nowhere, if it was typed.
    fn place(&self, settings: &[Effective]) -> Option<String> {
        let has = |one: &&Effective| one.values.iter().any(|value| value.contains(&self.part));
        let origin = &settings.iter().filter(|one| one.name == self.name).find(has)?.origin;
        (!matches!(origin, Origin::CommandLine | Origin::Default)).then(|| origin.to_string())
    }
}

fn suspects(failure: &Failure) -> Vec<Suspect> {
    let of = |name, part: &str| vec![Suspect { name, part: part.to_owned() }];
    match failure {
        Failure::Open { name, .. } => of("exclude-file", name),
        Failure::Engine(error) => match error {
            halfopen::Error::Parse { place, token, .. } => read_from(&place.source, token).into_iter().collect(),
            halfopen::Error::Resolve { place, name, .. } => read_from(&place.source, name).into_iter().collect(),
            halfopen::Error::NoSuchInterface { name, .. }
            | halfopen::Error::InterfaceDown { name }
            | halfopen::Error::NoCarrier { name } => of("interface", name),
            halfopen::Error::SourceNotOurs { address, .. } => of("source-ip", &address.to_string()),
            halfopen::Error::Setting { setting: "rate", .. } => [of("min-rate", ""), of("max-rate", "")].concat(),
            halfopen::Error::Setting { setting, .. } => of(setting, ""),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// By the names that the engine has for what it reads.
fn read_from(source: &str, token: &str) -> Option<Suspect> {
    let name = match source {
        "ports" => "ports",
        "excluded ports" => "exclude-ports",
        "exclusions" => "exclude",
        _ => return None,
    };
    Some(Suspect { name, part: token.to_owned() })
}
