//! The monitor, as commands.

pub(crate) mod policy;
