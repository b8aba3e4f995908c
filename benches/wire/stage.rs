//! The stage of one run: a namespace for the scanner, a veth pair, and at the far end the wire with the phantoms behind it.

use std::io;

use halfopen::Target;
use halfopen_bench::beside::arrivals::Arrived;
use halfopen_bench::beside::place::Murmur;
use halfopen_bench::beside::userland::Userland;
use halfopen_lab::{Behaviour, EffectsTally, Namespace, Scenario};

/// A scanner's place, and everybody it can ask.
pub(crate) struct Stage {
    phantoms: Userland,
    murmur: Murmur,
}

impl Stage {
    /// Builds it, and moves the calling thread to the scanner's place. `home` is a namespace in which there is nothing.
    ///
    /// # Errors
    /// The far end refuses a packet socket.
    pub(crate) fn new(home: &Namespace, scenario: Scenario) -> io::Result<Stage> {
        // Of an earlier stage a device of the same name may still be going away.
        home.enter();
        let scanner = Namespace::new("scanner");
        let phantoms = Userland::new(&scanner, scenario);
        let murmur = Murmur::from(phantoms.namespace())?;
        scanner.enter();
        phantoms.reset();
        Ok(Stage { phantoms, murmur })
    }

    /// To be called now and then while a program runs.
    pub(crate) fn tick(&self) {
        self.murmur.utter();
        self.phantoms.tick();
    }

    /// What a target does with a SYN that reaches it.
    pub(crate) fn is(&self, target: Target) -> Option<Behaviour> {
        self.phantoms.behaviour(target)
    }

    /// What came to the phantoms so far.
    pub(crate) fn arrived(&self) -> Arrived {
        self.phantoms.arrived()
    }

    /// What the wire did to packets so far.
    pub(crate) fn way(&self) -> EffectsTally {
        self.phantoms.responder().effects_tally()
    }

    /// Replies that the scanner's end of the link did not take.
    pub(crate) fn refused(&self) -> u64 {
        self.phantoms.refused()
    }

    /// Frames that the far end was too slow for.
    pub(crate) fn missed(&self) -> u64 {
        self.phantoms.responder().drops()
    }
}
