//! The fields of a verdict by name: what `--fields` chooses from and filters speak of.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;

use crate::record::{State, Verdict};
use crate::time;

/// A field of a verdict. The names are those of the JSON records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "`record::Verdict` says what each is")]
pub enum Field {
    Address,
    Port,
    Protocol,
    State,
    Reason,
    Sender,
    Ttl,
    RttUs,
    Pass,
    Probes,
    Time,
    Supersedes,
    Suspect,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An address.
    Address,
    /// A number.
    Number,
    /// `open`, `closed`, `filtered`.
    State,
    /// A word.
    Word,
    /// A time of day.
    Time,
}

/// What a field of some verdict holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `Kind`")]
pub enum Value<'a> {
    Address(IpAddr),
    Number(u64),
    State(State),
    Word(&'a str),
    Time(Timestamp),
}

impl Field {
    /// All of them, in the order of the JSON records.
    pub const ALL: [Field; 13] = [
        Field::Address,
        Field::Port,
        Field::Protocol,
        Field::State,
        Field::Reason,
        Field::Sender,
        Field::Ttl,
        Field::RttUs,
        Field::Pass,
        Field::Probes,
        Field::Time,
        Field::Supersedes,
        Field::Suspect,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Field::Address => "address",
            Field::Port => "port",
            Field::Protocol => "protocol",
            Field::State => "state",
            Field::Reason => "reason",
            Field::Sender => "sender",
            Field::Ttl => "ttl",
            Field::RttUs => "rtt_us",
            Field::Pass => "pass",
            Field::Probes => "probes",
            Field::Time => "time",
            Field::Supersedes => "supersedes",
            Field::Suspect => "suspect",
        }
    }

    /// What it holds.
    pub fn kind(self) -> Kind {
        match self {
            Field::Address | Field::Sender => Kind::Address,
            Field::Port | Field::Ttl | Field::RttUs | Field::Pass | Field::Probes => Kind::Number,
            Field::State | Field::Supersedes => Kind::State,
            Field::Protocol | Field::Reason | Field::Suspect => Kind::Word,
            Field::Time => Kind::Time,
        }
    }

    /// What it holds of this verdict, if anything.
    pub fn of(self, verdict: &Verdict) -> Option<Value<'_>> {
        match self {
            Field::Address => Some(Value::Address(verdict.address)),
            Field::Port => Some(Value::Number(verdict.port.into())),
            Field::Protocol => Some(Value::Word(&verdict.protocol)),
            Field::State => Some(Value::State(verdict.state)),
            Field::Reason => Some(Value::Word(&verdict.reason)),
            Field::Sender => verdict.sender.map(Value::Address),
            Field::Ttl => verdict.ttl.map(|ttl| Value::Number(ttl.into())),
            Field::RttUs => verdict.rtt_us.map(Value::Number),
            Field::Pass => Some(Value::Number(verdict.pass.into())),
            Field::Probes => Some(Value::Number(verdict.probes.into())),
            Field::Time => Some(Value::Time(verdict.time)),
            Field::Supersedes => verdict.supersedes.map(Value::State),
            Field::Suspect => verdict.suspect.as_deref().map(Value::Word),
        }
    }

    /// All names, for messages.
    pub(crate) fn listed() -> String {
        Field::ALL.map(Field::name).join(", ")
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(name: &str) -> Result<Field, String> {
        let found = Field::ALL.into_iter().find(|field| field.name() == name);
        found.ok_or_else(|| format!("there is no field {name:?}; there are {}", Field::listed()))
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Address(address) => address.fmt(f),
            Value::Number(number) => number.fmt(f),
            Value::State(state) => state.fmt(f),
            Value::Word(word) => f.write_str(word),
            Value::Time(at) => f.write_str(&time::text(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::samples;

    #[test]
    fn every_field_of_the_record_by_its_name() {
        let json = serde_json::to_value(samples::full()).unwrap();
        assert_eq!(json.as_object().unwrap().len(), Field::ALL.len());
        for field in Field::ALL {
            assert_eq!(field.name().parse(), Ok(field));
            let value = field.of(&samples::full()).unwrap().to_string();
            let expected = &json[field.name()];
            assert_eq!(
                value,
                expected.as_str().map_or_else(|| expected.to_string(), str::to_owned),
                "{}",
                field.name()
            );
        }
        let error = "prot".parse::<Field>().unwrap_err();
        assert!(error.starts_with("there is no field \"prot\"; there are address, port, "), "{error}");
    }
}
