//! Who is told what, and when. Rules say who (`rules`), the desk makes messages of what happened and puts them into the
//! outbox, in the transaction in which it happened (`desk`); the post office takes them from there to the channels, whenever these
//! are there to take them (`post_office`); commands are run by another process (`runner`, and `errands` the way there). The dead man's ping goes the other way round: it is missed when all of this is gone.

mod dead_man;
mod desk;
mod errands;
mod post_office;
mod rules;
pub mod runner;
mod settings;

pub use dead_man::DeadMan;
pub use desk::{Desk, Quiet, message_id, trial};
pub use errands::Errands;
pub use post_office::{PostOffice, Speaker, deliver};
pub use rules::{Ports, Rule, recipients};
pub(crate) use settings::place;
pub use settings::{Alerting, DeadManSettings, Wrong};
