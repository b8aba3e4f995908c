//! What scans found, as data: the records that every output of halfopen is made of, the forms in which they are written,
//! the readers of those forms and of nmap's XML, and the comparison of two scans.
//!
//! ```text
//!  engine's events ──▶ records ──▶ sinks ──▶ jsonl csv list | json grepable xml | sqlite
//!                                                                    │
//!                     difference ◀── two scans ◀── records ◀── readers
//! ```
//!
//! Which events there are is the engine's business (`halfopen`), what a terminal shows the command's.

// What is said.
pub mod record;
mod engine;
pub mod address;
pub mod coverage;
pub mod time;
pub mod scan;
mod total;
// What of it is wanted.
pub mod field;
pub mod filter;
// Where it goes.
pub mod disk;
pub mod sink;
pub mod write;
// Where it comes from, and what became of it.
pub mod diff;
pub mod read;

pub use coverage::Coverage;
pub use diff::Difference;
pub use field::Field;
pub use filter::Filter;
pub use record::Record;
pub use scan::Scan;
pub use sink::{Choice, Destination, Sinks};
pub use write::Form;
