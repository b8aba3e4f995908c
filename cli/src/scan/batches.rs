//! The targets of a scan that begins before it knows all of them: what has come in is a plan, in which nothing is that a plan
//! before had. When enough has come in is for `intake`, whether it may be scanned for `permit`, how for `underway`.

use std::time::Duration;

use halfopen::{Error, Plan, PlanBuilder, Targets, Unreachable};
use halfopen_results::address::{Addresses, Range};

use super::Extent;
use super::opener::Opener;
use crate::failure::Failure;
use crate::intake::{First, Intake, NAME, Next, Waker};
use crate::privileges;
use crate::screen::Screen;
use crate::settings::Settings;

/// Batches to come.
pub(super) struct Batches {
    pub(super) intake: Intake,
    pub(super) opener: Opener,
    /// What they have in common; it knows what has been scanned.
    builder: PlanBuilder,
    /// Addresses that have been in a batch.
    hosts: Addresses,
    /// Targets so far.
    pub(super) targets: u64,
}

/// How a scan with a standard input begins.
pub(super) enum Beginning {
    /// With all of its targets.
    Whole(Plan),
    /// With those that are known.
    Batch(Plan, Box<Batches>),
}

/// How long to wait for a first target at a time; there is nothing else to do.
const LONG: Duration = Duration::from_secs(3600);

impl Batches {
    /// Reads standard input until there is something to scan.
    pub(super) fn begin(settings: &Settings, screen: &Screen) -> Result<Beginning, Failure> {
        let rules = settings.rules()?;
        let builder = settings.plan_without_stdin(rules.clone())?;
        let list = builder.list(NAME, std::io::BufReader::new(std::io::stdin()));
        let keeps_rights = settings.args.network.no_drop;
        let prepare = move || {
            if !keeps_rights {
                privileges::become_reader();
            }
        };
        let intake =
            Intake::start(list, settings.has_other_targets(), screen.clone(), prepare).map_err(Failure::Thread)?;
        let first = match intake.first()? {
            First::Whole(targets) => return Ok(Beginning::Whole(builder.with(targets).build()?)),
            First::Batch(targets) => builder.with(targets).build(),
        };
        let prepare = move || {
            if !keeps_rights {
                privileges::become_opener();
            }
        };
        let opener = Opener::start(prepare).map_err(Failure::Thread)?;
        let mut batches = Batches { intake, opener, builder: rules, hosts: Addresses::default(), targets: 0 };
        let plan = batches.first_of(first, screen)?;
        Ok(Beginning::Batch(plan, Box::new(batches)))
    }

    /// The first plan that has a target: what is excluded or blocked may come before one that is not.
    fn first_of(&mut self, mut plan: Result<Plan, Error>, screen: &Screen) -> Result<Plan, Failure> {
        loop {
            match plan {
                Ok(plan) => return Ok(plan),
                Err(error @ Error::EmptyPlan(_)) => match self.intake.next(LONG) {
                    Next::Batch(targets) => {
                        screen.note(&format!("{NAME}: {error}"));
                        plan = self.plan(targets);
                    }
                    Next::Quiet => plan = Err(error),
                    Next::Over | Next::Halted => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The plan of a batch.
    pub(super) fn plan(&self, targets: Targets) -> Result<Plan, Error> {
        self.builder.clone().with(targets).build()
    }

    /// The plan of a batch, without what cannot be reached.
    pub(super) fn plan_without(&self, targets: Targets, lost: Vec<Unreachable>) -> Result<Plan, Error> {
        let lost = lost.into_iter().flat_map(|lost| lost.ranges);
        self.builder.clone().with(targets).without_addresses(lost).build()
    }

    /// Targets so far, and those of a plan.
    pub(super) fn total_with(&self, plan: &Plan) -> u64 {
        self.targets.saturating_add(plan.len())
    }

    /// From now on these have been scanned. What they add: their extent, of which addresses that had been in a batch before do not
    /// count as hosts.
    pub(super) fn add(&mut self, plan: &Plan, extent: &mut Extent) {
        let ranges = plan.ranges().filter_map(|range| Range::new(range.first(), range.last()));
        let before = self.hosts.len();
        self.hosts = self.hosts.ranges().iter().copied().chain(ranges).collect();
        extent.size.hosts = u64::try_from(self.hosts.len() - before).unwrap_or(u64::MAX);
        self.targets = self.targets.saturating_add(extent.size.targets);
        let builder = std::mem::replace(&mut self.builder, Plan::builder());
        self.builder = builder.without(plan);
    }

    /// What ends the wait for targets.
    pub(super) fn waker(&self) -> Waker {
        self.intake.waker()
    }
}
