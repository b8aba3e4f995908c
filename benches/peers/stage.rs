//! The stage of one table: a namespace for scanners, a veth pair, and the far end behind which every target is.

use std::io;

use halfopen::{State, Target};
use halfopen_bench::beside::arrivals::Arrived;
use halfopen_bench::beside::place::Murmur;
use halfopen_bench::beside::userland::{GATEWAY, Userland};
use halfopen_lab::{Answering, Behaviour, Namespace, Scenario, XdpResponder, xdp_phantoms};

/// Scanners on one side, targets on the other.
pub(crate) struct Stage {
    answering: Answering,
    far: Far,
    murmur: Murmur,
}

enum Far {
    Xdp(XdpResponder),
    Userland(Userland),
}

impl Stage {
    /// Builds it, and moves the calling thread among the scanners. What cannot be had of XDP is replaced by the lab's
    /// slower phantoms, with a word on standard error. `home` is a namespace in which there is nothing.
    ///
    /// # Errors
    /// The far end refuses a packet socket.
    pub(crate) fn new(home: &Namespace, answering: Answering) -> io::Result<Stage> {
        // Of an earlier stage a device of the same name may still be going away.
        home.enter();
        let scanner = Namespace::new("scanner");
        match xdp_phantoms(&scanner, answering) {
            Ok(responder) => Stage::with(answering, &scanner, Far::Xdp(responder)),
            Err(error) => {
                eprintln!("no XDP ({error}): phantoms in user space answer, and are the limit of what is measured");
                let scanner = Namespace::new("scanner");
                let far = Far::Userland(Userland::new(&scanner, alike(answering)));
                Stage::with(answering, &scanner, far)
            }
        }
    }

    fn with(answering: Answering, scanner: &Namespace, far: Far) -> io::Result<Stage> {
        let murmur = Murmur::from(match &far {
            Far::Xdp(responder) => responder.namespace(),
            Far::Userland(phantoms) => phantoms.namespace(),
        })?;
        scanner.enter();
        Ok(Stage { answering, far, murmur })
    }

    /// What answers, in a few words.
    pub(crate) fn responder(&self) -> &'static str {
        match self.far {
            Far::Xdp(_) => "an XDP program",
            Far::Userland(_) => "phantoms in user space, for want of XDP; they are the limit of what is measured",
        }
    }

    /// Whether a target is open.
    pub(crate) fn is_open(&self, target: Target) -> bool {
        match &self.far {
            Far::Xdp(_) => self.answering.answer(target) == Some(State::Open),
            Far::Userland(phantoms) => phantoms.behaviour(target) == Some(Behaviour::Open),
        }
    }

    /// Counts from zero again.
    pub(crate) fn reset(&self) {
        match &self.far {
            Far::Xdp(responder) => responder.reset(),
            Far::Userland(phantoms) => phantoms.reset(),
        }
    }

    /// To be called now and then while a program runs.
    pub(crate) fn tick(&self) {
        self.murmur.utter();
        if let Far::Userland(phantoms) = &self.far {
            phantoms.tick();
        }
    }

    /// What arrived since [`Stage::reset`].
    pub(crate) fn arrived(&self) -> Arrived {
        match &self.far {
            Far::Xdp(responder) => {
                let tally = responder.tally();
                Arrived { probes: tally.syns, rate: tally.rate() }
            }
            Far::Userland(phantoms) => phantoms.arrived(),
        }
    }
}

/// A scenario whose hosts do as the XDP program does, for other targets.
fn alike(answering: Answering) -> Scenario {
    let (open, closed) = match answering {
        Answering::Silent => (0.0, 0.0),
        Answering::Percent => (0.01, 0.0),
        Answering::Every => (0.01, 0.99),
    };
    let scenario = Scenario::parse(&format!(
        "seed = 1\n{GATEWAY}[[host]]\naddresses = \"10.0.0.0/8\"\n\
         rules = [{{ ports = \"-\", behaviour = \"population\", open = {open}, closed = {closed} }}]"
    ));
    scenario.unwrap_or_else(|error| panic!("the scenario cannot be read: {error}"))
}
