//! A scan from its settings to its exit code, in the order of its work. A [`Task`] is what comes before the first packet:
//! the permission, what is opened, and the rights that are given up then. From there it is [`underway`]'s. What is printed
//! and how is for `output` and `screen`.

mod audience;
mod batches;
mod before;
mod drain;
mod dry_run;
mod opener;
mod underway;

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use halfopen::{Event, Method, Plan, Ready, ScanBuilder};
use halfopen_results::Coverage;

use crate::args::ScanArgs;
use crate::failure::Failure;
use crate::keeper::{Place, Wish};
use crate::layers::Effective;
use crate::output::Output;
use crate::output::account::PlanSize;
use crate::output::text::count;
use crate::permit::{Permit, Question, Session};
use crate::privileges::{self, Keep};
use crate::resume::{self, Past};
use crate::screen::Screen;
use crate::settings::Settings;
use crate::stats::StatsFile;
use crate::then::Link;
use audience::Observer;
use batches::{Batches, Beginning};

/// `halfopen scan`.
pub(crate) fn run(args: ScanArgs, effective: &[Effective]) -> Result<u8, Failure> {
    let settings = Settings::new(args)?;
    let wish = if settings.args.probing.dry_run { None } else { resume::wish(&settings, effective)? };
    announce_input(&settings);
    if settings.may_stream() {
        return from_pipe(&settings);
    }
    let plan = settings.plan()?;
    Task { wish, ..Task::new(&settings, &mut |_| {}) }.run(plan)
}

/// Scans what comes from standard input, if need be before all of it is there.
fn from_pipe(settings: &Settings) -> Result<u8, Failure> {
    let mut nobody = |_: &Event| {};
    let task = Task::new(settings, &mut nobody);
    match Batches::begin(settings, &task.screen)? {
        Beginning::Whole(plan) => task.run(plan),
        Beginning::Batch(plan, batches) => {
            let known = count(plan.len(), "target");
            task.screen
                .note(&format!("standard input is still open: scanning {known} so far, and others as they come"));
            Task { batches: Some(*batches), ..task }.run(plan)
        }
    }
}

/// Goes on with a scan.
pub(crate) fn go_on(settings: &Settings, wish: Wish, past: Past) -> Result<u8, Failure> {
    announce_input(settings);
    let plan = settings.plan()?;
    Task { wish: Some(wish), past: Some(past), ..Task::new(settings, &mut |_| {}) }.run(plan)
}

/// Scans a plan, and has `observer` see every event.
pub(crate) fn observed(settings: &Settings, plan: Plan, observer: Observer) -> Result<u8, Failure> {
    Task::new(settings, observer).run(plan)
}

/// A person who typed `-i -` should not wonder what the program is waiting for.
fn announce_input(settings: &Settings) {
    let reads = settings.args.targets.input.iter().any(|file| file == Path::new("-"));
    if reads && io::stdin().is_terminal() {
        Screen::new(settings.style).note("reading targets from standard input; end with Ctrl-D");
    }
}

/// A scan that is to be made.
struct Task<'a> {
    settings: &'a Settings,
    screen: Screen,
    observer: Observer<'a>,
    /// Where it is kept, if it is to be.
    wish: Option<Wish>,
    /// What it goes on from.
    past: Option<Past>,
    /// Targets that are still to come.
    batches: Option<Batches>,
    /// Who runs the commands that are to follow.
    commands: Option<Link>,
}

/// What is written, opened before anything is sent.
struct Files {
    output: Output<Box<dyn Write>>,
    stats: Option<StatsFile>,
    place: Option<Place>,
}

impl Files {
    /// What cannot be opened, or gone on with, is found out here, and leaves all files as they were.
    fn open(task: &Task, wish: Option<Wish>, targets: u64) -> Result<Files, Failure> {
        let Task { settings, screen, past, .. } = task;
        let place = wish.map(Wish::open).transpose()?;
        let output = Output::open(settings, targets, screen)?;
        past.iter().filter(|past| !past.marks.is_empty()).try_for_each(|past| output.check(&past.marks))?;
        let stats = settings.args.output.stats_json.as_deref().map(StatsFile::open).transpose()?;
        Ok(Files { output, stats, place })
    }
}

/// What the results say of a plan, which is the engine's once the scan has begun.
struct Extent {
    size: PlanSize,
    coverage: Coverage,
}

impl Extent {
    fn of(plan: &Plan, settings: &Settings) -> Extent {
        let told = !settings.outputs.is_empty() || settings.args.then.command.is_some();
        Extent { size: PlanSize::of(plan), coverage: if told { Coverage::from(plan) } else { Coverage::default() } }
    }
}

impl<'a> Task<'a> {
    fn new(settings: &'a Settings, observer: Observer<'a>) -> Task<'a> {
        Task {
            settings,
            screen: Screen::new(settings.style),
            observer,
            wish: None,
            past: None,
            batches: None,
            commands: None,
        }
    }

    /// Makes it, if it may be made.
    fn run(mut self, whole: Plan) -> Result<u8, Failure> {
        let question = Question::about(&whole, self.settings.args.targets.shard);
        let plan = self.settings.part(whole)?;
        let permit = Permit::of(&self.settings.args.permit, &plan, question)?;
        self.settings.spares(permit.logs())?;
        permit.warnings().iter().for_each(|warning| self.screen.warn(warning));
        let mut extent = Extent::of(&plan, self.settings);
        self.batches.iter_mut().for_each(|batches| batches.add(&plan, &mut extent));
        let builder = permit.bound(self.settings.scan(plan), &self.screen)?;
        let builder = self.resume(builder)?;
        if self.settings.args.probing.dry_run {
            return dry_run::run(&builder, extent.size, &self.screen);
        }
        let mut session = permit.begin(builder.settings())?;
        let result = self.scan(builder, extent, &mut session);
        session.end(result)
    }

    fn resume(&self, builder: ScanBuilder) -> Result<ScanBuilder, Failure> {
        match &self.past {
            Some(past) => Ok(builder.resume(past.checkpoint.clone())?),
            None => Ok(builder),
        }
    }

    fn scan(mut self, builder: ScanBuilder, extent: Extent, session: &mut Session) -> Result<u8, Failure> {
        // What is still to come is not known yet.
        let targets = self.batches.is_none().then_some(&extent.coverage);
        self.commands = Link::start(&self.settings.args.then, targets)?;
        let ready = match &self.batches {
            Some(batches) => batches.opener.open(builder)?,
            None => builder.open()?,
        };
        // Files that cannot be written are no reason to have sent anything.
        let wish = self.wish.take();
        let files = self.give_up_rights(&ready, || Files::open(&self, wish, extent.size.targets))?;
        underway::run(self, ready, files, extent, session)
    }

    /// Gives up what the scan does not need any more, before any other thread is started: rights are a thread's own.
    /// Results are opened in between, by whom they are to belong to, and before what they are not written to goes out of
    /// reach.
    fn give_up_rights<T>(&self, ready: &Ready, open: impl FnOnce() -> T) -> T {
        if self.settings.args.network.no_drop {
            return open();
        }
        let keep = self.keep(ready);
        let account = privileges::become_nobody(&keep);
        let opened = open();
        let account = account.and(privileges::confine(&keep));
        let account = if self.batches.is_some() { account.and(privileges::beside_the_scan()) } else { account };
        if self.settings.args.output.verbose {
            self.screen.note(&account.told());
        }
        account.warning().iter().for_each(|warning| self.screen.warn(warning));
        opened
    }

    fn keep(&self, ready: &Ready) -> Keep {
        Keep {
            writes: self.settings.writes(),
            beside: self.settings.beside_stdout(),
            connects: ready.settings().method == Method::Connect,
            service: None,
        }
    }
}
