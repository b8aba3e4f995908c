//! What people are told: text that needs no knowledge of networks, with what a machine wants to know beside it. Made once,
//! when something happens, and kept with the delivery, so that what is sent again is the same.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::incident::{Incident, Severity, Trigger};

/// What a message says of its incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Occasion {
    /// They have begun.
    Opened,
    /// More is known of them: a worse severity, further ports.
    Updated,
    /// They are still going on.
    Reminder,
    /// Somebody takes care of them.
    Acknowledged,
    /// They are over.
    Resolved,
    /// Nothing happened: somebody tries a channel.
    Test,
}

impl Occasion {
    /// `opened`, `resolved`, ...
    pub fn name(self) -> &'static str {
        match self {
            Occasion::Opened => "opened",
            Occasion::Updated => "updated",
            Occasion::Reminder => "reminder",
            Occasion::Acknowledged => "acknowledged",
            Occasion::Resolved => "resolved",
            Occasion::Test => "test",
        }
    }
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Which: the same whenever it is sent, so that who receives it twice can know. `msg_` and 26 characters.
    pub id: String,
    /// When it was made.
    pub at: Timestamp,
    /// What it says of the incidents.
    pub occasion: Occasion,
    /// What tells messages about the same apart from others: later ones of the same thread replace or follow the first.
    pub thread: String,
    /// How much it matters: the most of its incidents.
    pub severity: Severity,
    /// At most 60 characters or so, most important first: `Port 23 (Telnet) opened on printer-2`.
    pub title: String,
    /// What, since when, expected or not, why it matters, what to do: each a name and a sentence or two.
    pub lines: Vec<Line>,
    /// What it is about: one incident, or those of one scan that are told together.
    pub incidents: Vec<Incident>,
    /// Where more is to be seen, if there is such a place.
    pub link: Option<String>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// `What`, `Since`, `Expected`, `Why it matters`, `What to do`.
    pub name: String,
    /// The sentence.
    pub text: String,
}

impl Message {
    /// What its first incident is about; none of a test.
    pub fn trigger(&self) -> Option<Trigger> {
        self.incidents.first().map(|incident| incident.trigger)
    }

    /// All of it as plain text, without the title.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{}: {}\n", line.name, line.text)).collect()
    }
}
