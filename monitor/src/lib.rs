//! Watches ports: scans again and again, keeps the history, tells what changed from what only looked like it, holds it
//! against what the owner expects, and tells people once.
//!
//! ```text
//!  schedule ─▶ scan ─▶ snapshot ─▶ suspicions ─▶ confirmed by probing again ─▶ history, incidents ─▶ outbox ─▶ channels
//!                                                     policy, habits, causes ──────┘
//! ```
//!
//! Whoever decides is a state machine: time, scans and answers come in as arguments, so that a year of a network plays in
//! seconds. Only `watch` has clocks, threads and processes. Nothing here needs rights: scans are made by another process.

// What is watched, and what is said of it.
pub mod endpoint;
pub mod incident;
pub mod message;

// From what is seen to what is sure.
pub mod snapshot;
pub mod detect;
// What is made of it.
pub mod docket;
pub mod wording;
pub mod watch;
// What is kept.
pub mod ledger;
pub mod store;
// Who is told, and how.
pub mod alert;
pub mod channel;

// What the owner wants, and when it is time for it.
pub mod document;
pub mod settings;
pub mod hours;
pub mod schedule;
pub mod windows;
pub mod agenda;
pub mod service;
// What listens on this machine.
pub mod listeners;
// What the owner expects.
pub mod policy;
// What others read of it.
pub mod metrics;
pub mod subscription;

// In whose types the API speaks, in the versions that it means.
pub use {jiff, rusqlite, toml};

pub use endpoint::Endpoint;
pub use incident::{Incident, Severity, Trigger};
pub use message::Message;
pub use policy::Policy;
pub use store::Store;
pub use subscription::Subscription;
