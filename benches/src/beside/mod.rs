//! What the benches share that put halfopen beside other scanners: the stage, the command lines, what the programs say,
//! and figures of several runs. Which networks, and what counts, is each bench's own.

pub mod arrivals;
pub mod child;
pub mod commands;
pub mod findings;
pub mod place;
pub mod plan;
pub mod series;
pub mod sys;
pub mod userland;
pub mod versions;
