//! What the account says in the end of all that was found, by host and by service, in the form in which it outlives the
//! program: part of a checkpoint, so that a resumed scan speaks of the whole. Bounded, as what it is made of.

use std::net::IpAddr;

use halfopen::{State, Suspect, Suspicion};
use halfopen_results::record;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hosts::Hosts;
use super::plaintext::Plaintext;
use crate::journal::suspect_of;

/// All of it.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    /// None where there is too much, or nobody to be told.
    pub(super) hosts: Option<Hosts>,
    pub(super) plaintext: Plaintext,
}

/// A state, by its name.
pub(super) mod state {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(state: &State, to: S) -> Result<S::Ok, S::Error> {
        record::State::from(*state).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<State, D::Error> {
        record::State::deserialize(from).map(State::from)
    }
}

/// What speaks against a port, by its name.
pub(super) mod suspect {
    use super::*;

    pub(in super::super) fn serialize<S: Serializer>(suspect: &Option<Suspect>, to: S) -> Result<S::Ok, S::Error> {
        suspect.map(Suspect::name).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Suspect>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.as_deref().and_then(suspect_of))
    }
}

/// What speaks against a host: reason and usual TTL.
pub(super) mod suspicion {
    use super::*;

    type Form = (IpAddr, String, Option<u8>);

    pub(in super::super) fn serialize<S: Serializer>(told: &Option<Suspicion>, to: S) -> Result<S::Ok, S::Error> {
        let form = |told: Suspicion| -> Form { (told.address, told.reason.name().into(), told.usual_ttl) };
        told.map(form).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Suspicion>, D::Error> {
        let of =
            |(address, reason, usual_ttl): Form| Some(Suspicion { address, reason: suspect_of(&reason)?, usual_ttl });
        Ok(Option::<Form>::deserialize(from)?.and_then(of))
    }
}
