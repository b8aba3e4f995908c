//! What the page shows, in the words and the order in which it shows it: everything is text or a number ready to be
//! printed, counted from the scans and capped where a page would become too long. The template only arranges it. Each
//! section of the page has a file here.

mod changes;
mod concerns;
mod facts;
mod figures;
mod hosts;
mod ports;
mod settings;

use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) use changes::Changes;
pub(crate) use concerns::Concerns;
pub(crate) use hosts::Hosts;
pub(crate) use ports::Ports;
pub(crate) use settings::Group;

use crate::chart::Chart;
use crate::subject::Subject;
use crate::tally::Tally;
use crate::text::{count, foreign};

/// A page's worth.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// The result in a sentence.
    pub(crate) lead: String,
    pub(crate) facts: Vec<Fact>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) concerns: Concerns,
    pub(crate) changes: Option<Changes>,
    pub(crate) hosts: Hosts,
    pub(crate) ports: Ports,
    pub(crate) charts: Vec<Chart>,
    /// Why a chart is missing.
    pub(crate) absent_charts: Vec<&'static str>,
    pub(crate) suspects: Suspects,
    pub(crate) warnings: Vec<String>,
    pub(crate) settings: Vec<Group>,
    pub(crate) footer: String,
}

/// A question and what there is to say to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) term: &'static str,
    pub(crate) sentences: Vec<String>,
}

/// A number worth a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    pub(crate) number: String,
    pub(crate) meaning: String,
    pub(crate) alarming: bool,
}

/// Hosts whose open ports need not be real.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspects {
    pub(crate) rows: Vec<Suspect>,
    pub(crate) more: Option<String>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) address: IpAddr,
    pub(crate) reason: String,
}

const MOST_SUSPECTS: usize = 500;
const MOST_WARNINGS: usize = 50;

impl View {
    /// What there is to show of the scans.
    pub(crate) fn of(subject: &Subject<'_>) -> View {
        let tally = Tally::of(&subject.scans());
        let hosts = Hosts::of(&tally, subject);
        let listed: BTreeSet<IpAddr> = hosts.rows.iter().map(|host| host.address).collect();
        let concerns = Concerns::of(&tally, &listed);
        let ports = Ports::of(&tally, &concerns);
        let (charts, absent_charts) = figures::charts(&tally, subject);
        View {
            title: facts::title(subject, &tally),
            subtitle: facts::subtitle(subject),
            lead: facts::lead(&tally, &concerns),
            facts: facts::all(subject, &tally),
            figures: figures::key(subject, &tally, &concerns),
            changes: Changes::of(subject),
            suspects: Suspects::of(&tally),
            warnings: warnings(subject),
            settings: settings::groups(subject),
            footer: facts::footer(subject),
            concerns,
            hosts,
            ports,
            charts,
            absent_charts,
        }
    }
}

impl Suspects {
    fn of(tally: &Tally) -> Suspects {
        let all: Vec<_> =
            tally.hosts.iter().filter_map(|(&address, host)| Some((address, host.suspect.as_ref()?))).collect();
        let row = |&(address, suspect): &(IpAddr, &halfopen_results::record::Suspect)| Suspect {
            address,
            reason: suspicion(&suspect.reason, suspect.usual_ttl),
        };
        Suspects {
            rows: all.iter().take(MOST_SUSPECTS).map(row).collect(),
            more: left_out(all.len(), MOST_SUSPECTS, "hosts"),
        }
    }
}

/// What speaks against a host, in a sentence.
fn suspicion(reason: &str, usual_ttl: Option<u8>) -> String {
    let ttl = usual_ttl.map_or(String::new(), |ttl| format!(" (a time to live near {ttl})"));
    match reason {
        "every-port" => {
            "Nearly every port is open, even random high ones: a tarpit, or a proxy that answers for others. \
                         What really listens there cannot be told from outside."
                .into()
        }
        "forged" => {
            "Its answers are such as no ordinary system sends: somebody on the way may answer in its place.".into()
        }
        "ttl" => format!(
            "Some answers come from elsewhere than the host's others{ttl}: another system may answer for these ports."
        ),
        other => foreign(other),
    }
}

fn warnings(subject: &Subject<'_>) -> Vec<String> {
    let scans = subject.scans();
    let said: Vec<String> = scans
        .iter()
        .flat_map(|scan| {
            scan.error.iter().map(|error| format!("The scan failed: {error}")).chain(scan.warnings.iter().cloned())
        })
        .map(|warning| foreign(&warning))
        .collect();
    let more = left_out(said.len(), MOST_WARNINGS, "warnings");
    said.into_iter().take(MOST_WARNINGS).chain(more).collect()
}

/// What is said where a list is cut.
fn left_out(all: usize, most: usize, what: &str) -> Option<String> {
    let more = all.saturating_sub(most) as u64;
    (more > 0).then(|| format!("{} more {what} are left out of this page; the file of the scan has them.", count(more)))
}
