//! The one door through which lock-free code gets its atomics, so that loom's can stand in for the machine's when the
//! model checker runs (`RUSTFLAGS="--cfg loom" cargo test -p halfopen --lib --release loom`).

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
