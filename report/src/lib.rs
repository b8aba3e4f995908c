//! Scans as one page that can be handed to somebody: what was found in plain words, what needs attention and what to do
//! about it, hosts, ports, charts, settings. The page is a single file that loads nothing and runs nothing; the charts are
//! also to be had as PNG.
//!
//! ```text
//!  scans ──▶ subject ──▶ tally ──▶ view ──▶ page (HTML)
//!                          │        ▲
//!                          └▶ chart ┘ ──▶ SVG, PNG
//! ```
//!
//! Pure: reading files is for `halfopen-results`, writing them for the command. What is said of a service comes from
//! `halfopen-services`.

mod advice;
mod chart;
mod page;
#[cfg(test)]
mod samples;
mod subject;
mod tally;
mod text;
mod view;

pub use chart::Chart;
pub use subject::Source;

use subject::Subject;
use view::View;

/// A report on scans.
#[derive(Debug)]
pub struct Report {
    view: View,
}

impl Report {
    /// Of the scans in these files. Scans of different targets, and shards of one scan, are shown as a whole; of scans
    /// with targets in common the last is shown, and what has changed since the first.
    pub fn of(sources: &[Source<'_>]) -> Report {
        Report { view: View::of(&Subject::of(sources)) }
    }

    /// The page.
    pub fn html(&self) -> String {
        page::html(&self.view)
    }

    /// The charts of the page.
    pub fn charts(&self) -> &[Chart] {
        &self.view.charts
    }
}
