//! A checkpoint as bytes, for whoever keeps it: stable over versions of the library that know the same [`VERSION`], the same
//! on every machine, and recognised when torn.
//!
//! ```text
//! "halfopen checkpoint" 0x0a | version, a byte | fields of `Checkpoint` in their order | checksum of all before, 8 bytes
//! ```
//! Numbers are LEB128, lists have their length first, floating-point numbers and the checksum are 8 bytes, the lowest
//! first. What an option does not hold is a 0, what it holds follows a 1.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::cells::Cells;
use super::{AtWork, Checkpoint, Identity, Leg, Note, Tally};
use crate::loss::{Missing, Row};
use crate::passes::Account;
use crate::permute::splitmix64;
use crate::plan::{AddressRange, Shard};
use crate::summary::{Discovery, Ended};
use crate::table::{code_of, of_code};
use crate::target::{Family, Target};
use crate::verdict::{Suspect, Suspicion};

const MAGIC: &[u8] = b"halfopen checkpoint\n";
/// What this library writes, and all that it reads.
const VERSION: u8 = 2;

/// Bytes are not, or no longer, a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Why bytes cannot be resumed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCheckpoint {
    /// They are something else.
    #[error("this is no checkpoint of a scan")]
    Foreign,
    /// They were written by another version.
    #[error(
        "this checkpoint has format {found}, and only format {VERSION} can be read; resume with the version that wrote it"
    )]
    Version {
        /// The format that was found.
        found: u8,
    },
    /// Some of it is missing or has changed.
    #[error("this checkpoint is damaged: it was cut short or altered")]
    Damaged,
}

/// Adds a number as LEB128.
pub(crate) fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads what was written.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { left: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    pub(crate) fn word(&mut self) -> Result<u64, Malformed> {
        let (word, left) = self.left.split_first_chunk::<8>().ok_or(Malformed)?;
        self.left = left;
        Ok(u64::from_le_bytes(*word))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, left) = self.left.split_first().ok_or(Malformed)?;
        self.left = left;
        Ok(*byte)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (bytes, left) = self.left.split_at_checked(len).ok_or(Malformed)?;
        self.left = left;
        Ok(bytes)
    }
}

/// What has a byte form.
trait Form: Sized {
    fn write(&self, bytes: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
}

impl Checkpoint {
    /// As bytes, to be kept and read by [`Checkpoint::from_bytes`] in another process, by another version that knows the
    /// format, on another machine.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC, &[VERSION]].concat();
        self.write(&mut bytes);
        let sum = checksum(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Reads what [`Checkpoint::to_bytes`] has written.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, NoCheckpoint> {
        let (&found, _) = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first).ok_or(NoCheckpoint::Foreign)?;
        if found != VERSION {
            return Err(NoCheckpoint::Version { found });
        }
        let (body, sum) = bytes.split_last_chunk::<8>().ok_or(NoCheckpoint::Damaged)?;
        if checksum(body) != u64::from_le_bytes(*sum) {
            return Err(NoCheckpoint::Damaged);
        }
        let mut reader = Reader::new(body.get(MAGIC.len() + 1..).ok_or(NoCheckpoint::Damaged)?);
        let checkpoint: Checkpoint = Form::read(&mut reader).map_err(|Malformed| NoCheckpoint::Damaged)?;
        if reader.is_empty() { Ok(checkpoint) } else { Err(NoCheckpoint::Damaged) }
    }
}

/// Finds what is torn, not what was forged.
fn checksum(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = splitmix64(&mut (state ^ u64::from_le_bytes(word)));
    }
    state
}

/// A struct whose fields are written one after the other.
macro_rules! fields {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl Form for $name {
            fn write(&self, bytes: &mut Vec<u8>) {
                $(self.$field.write(bytes);)+
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok($name { $($field: Form::read(reader)?),+ })
            }
        }
    };
}

fields!(Identity { fingerprint, targets, seed, shard });
fields!(Checkpoint { identity, events, last, tally, kept, discovery, down, suspects, account, at_work, ahead, notes });
fields!(AtWork { start, len, cells, leg, ledger });
fields!(Leg { pass, groups, most, todo });
fields!(Note { target, state, silent });
fields!(Tally {
    started,
    elapsed,
    sending,
    sent,
    again,
    controls,
    replies,
    duplicates,
    strays,
    drops,
    open,
    closed,
    filtered,
    silent,
    at_least,
});
fields!(Row { group, targets, errors, passes, answers, canaries });
fields!(Missing { mean, variance, least_high });
fields!(Account { missing_open, missing, later, heard, gone, passes, ended });
fields!(Discovery { hosts, alive, skipped_hosts, skipped_targets, probes, elapsed });
fields!(Suspicion { address, reason, usual_ttl });

macro_rules! numbers {
    ($($name:ty),+) => {
        $(impl Form for $name {
            fn write(&self, bytes: &mut Vec<u8>) {
                number(bytes, u64::from(*self));
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                <$name>::try_from(reader.number()?).map_err(|_| Malformed)
            }
        })+
    };
}

numbers!(u8, u16, u32, u64);

impl Form for bool {
    fn write(&self, bytes: &mut Vec<u8>) {
        u8::from(*self).write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(u8::read(reader)? != 0)
    }
}

impl Form for f64 {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.to_bits().to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let value = f64::from_bits(reader.word()?);
        if value.is_nan() { Err(Malformed) } else { Ok(value) }
    }
}

impl<T: Form> Form for Option<T> {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.is_some().write(bytes);
        self.iter().for_each(|value| value.write(bytes));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(if bool::read(reader)? { Some(T::read(reader)?) } else { None })
    }
}

impl<T: Form> Form for Vec<T> {
    fn write(&self, bytes: &mut Vec<u8>) {
        number(bytes, self.len() as u64);
        self.iter().for_each(|value| value.write(bytes));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = reader.number()?;
        (0..len).map(|_| T::read(reader)).collect()
    }
}

impl<T: Form> Form for std::sync::Arc<[T]> {
    fn write(&self, bytes: &mut Vec<u8>) {
        number(bytes, self.len() as u64);
        self.iter().for_each(|value| value.write(bytes));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Vec::read(reader)?.into())
    }
}

impl<T: Form, const N: usize> Form for [T; N] {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.iter().for_each(|value| value.write(bytes));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let values: Vec<T> = (0..N).map(|_| T::read(reader)).collect::<Result<_, _>>()?;
        values.try_into().map_err(|_| Malformed)
    }
}

impl<A: Form, B: Form> Form for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

impl Form for Duration {
    fn write(&self, bytes: &mut Vec<u8>) {
        number(bytes, u64::try_from(self.as_nanos()).unwrap_or(u64::MAX));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.number().map(Duration::from_nanos)
    }
}

/// Since 1970.
impl Form for SystemTime {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::read(reader)?).ok_or(Malformed)
    }
}

/// 4 or 6, then the address as a number.
impl Form for IpAddr {
    fn write(&self, bytes: &mut Vec<u8>) {
        let (family, address) = Family::number(*self);
        number(bytes, if family == Family::V4 { 4 } else { 6 });
        number(bytes, (address >> 64) as u64);
        number(bytes, address as u64);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let family = if reader.number()? == 4 { Family::V4 } else { Family::V6 };
        let (high, low) = (reader.number()?, reader.number()?);
        Ok(family.address(u128::from(high) << 64 | u128::from(low)))
    }
}

impl Form for AddressRange {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.first(), self.last()).write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        AddressRange::new(IpAddr::read(reader)?, IpAddr::read(reader)?).ok_or(Malformed)
    }
}

impl Form for Target {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.address, self.port).write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Target { address: Form::read(reader)?, port: Form::read(reader)? })
    }
}

impl Form for Shard {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.number(), self.of()).write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Shard::new(reader.number()?, reader.number()?).ok_or(Malformed)
    }
}

impl Form for crate::verdict::State {
    fn write(&self, bytes: &mut Vec<u8>) {
        number(bytes, code_of(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        of_code(reader.number()?).ok_or(Malformed)
    }
}

const SUSPECTS: [Suspect; 3] = [Suspect::EveryPort, Suspect::Forged, Suspect::Ttl];
const ENDS: [Ended; 5] = [Ended::Answered, Ended::Complete, Ended::Unheard, Ended::Passes, Ended::Stopped];

/// By its place in a list that only ever grows.
macro_rules! listed {
    ($name:ty, $list:ident) => {
        impl Form for $name {
            fn write(&self, bytes: &mut Vec<u8>) {
                number(bytes, $list.iter().position(|known| known == self).unwrap_or($list.len()) as u64);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                $list.get(reader.number()? as usize).copied().ok_or(Malformed)
            }
        }
    };
}

listed!(Suspect, SUSPECTS);
listed!(Ended, ENDS);

impl Form for crate::loss::Evidence {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.answered, self.lost).write(bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(crate::loss::Evidence { answered: Form::read(reader)?, lost: Form::read(reader)? })
    }
}

impl Form for Cells {
    fn write(&self, bytes: &mut Vec<u8>) {
        number(bytes, self.bytes().len() as u64);
        bytes.extend(self.bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let cells = Cells::from_bytes(reader.bytes()?.to_vec());
        cells.check(u64::MAX)?;
        Ok(cells)
    }
}
