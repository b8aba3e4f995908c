//! The stage of one table: a namespace for scanners, a veth pair, and the far end behind which every target is. Nothing
//! on it can leave: neither namespace has any other device, and the gateway's link address is entered by hand.
//!
//! Now and then a frame arrives that is nobody's, as on any link: masscan 1.3.2 does not end while nothing at all arrives.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use halfopen::{State, Target};
use halfopen_lab::{
    Answering, Behaviour, End, GATEWAY_MAC, Namespace, Responder, Route, Scenario, XdpResponder, phantom_link,
    xdp_phantoms,
};
use socket2::Socket;

use crate::sys::packet_socket;

/// The scanners' device.
pub(crate) const DEVICE: &str = "scan0";
/// The other end, as the lab names it.
const FAR_DEVICE: &str = "phantom0";
/// The scanners' address.
pub(crate) const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);

/// Scanners on one side, targets on the other.
pub(crate) struct Stage {
    answering: Answering,
    far: Far,
    /// Sends from the far end to the scanners.
    murmur: Socket,
}

enum Far {
    Xdp(XdpResponder),
    Userland {
        namespace: Namespace,
        responder: Responder,
        scenario: Box<Scenario>,
        samples: RefCell<Vec<(Instant, u64)>>,
    },
}

/// What arrived at the far end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    /// SYNs.
    pub(crate) probes: u64,
    /// A second while they came.
    pub(crate) rate: Option<f64>,
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
                let far = userland(&scanner, answering);
                Stage::with(answering, &scanner, far)
            }
        }
    }

    fn with(answering: Answering, scanner: &Namespace, far: Far) -> io::Result<Stage> {
        let namespace = match &far {
            Far::Xdp(responder) => responder.namespace(),
            Far::Userland { namespace, .. } => namespace,
        };
        let murmur = namespace.run(|| packet_socket(interface(FAR_DEVICE)?))?;
        scanner.enter();
        Ok(Stage { answering, far, murmur })
    }

    /// What answers, in a few words.
    pub(crate) fn responder(&self) -> &'static str {
        match self.far {
            Far::Xdp(_) => "an XDP program",
            Far::Userland { .. } => "phantoms in user space, for want of XDP; they are the limit of what is measured",
        }
    }

    /// Whether a target is open.
    pub(crate) fn is_open(&self, target: Target) -> bool {
        match &self.far {
            Far::Xdp(_) => self.answering.answer(target) == Some(State::Open),
            Far::Userland { scenario, .. } => scenario.behaviour(target) == Some(Behaviour::Open),
        }
    }

    /// Counts from zero again.
    pub(crate) fn reset(&self) {
        match &self.far {
            Far::Xdp(responder) => responder.reset(),
            Far::Userland { responder, samples, .. } => {
                samples.replace(vec![(Instant::now(), responder.tally().syns)]);
            }
        }
    }

    /// To be called now and then while a program runs.
    pub(crate) fn tick(&self) {
        // A frame that is lost is as good.
        let _ = self.murmur.send(&nobodys());
        if let Far::Userland { responder, samples, .. } = &self.far {
            samples.borrow_mut().push((Instant::now(), responder.tally().syns));
        }
    }

    /// What arrived since [`Stage::reset`].
    pub(crate) fn arrived(&self) -> Arrived {
        match &self.far {
            Far::Xdp(responder) => {
                let tally = responder.tally();
                Arrived { probes: tally.syns, rate: tally.rate() }
            }
            Far::Userland { samples, .. } => counted(&samples.borrow()),
        }
    }
}

/// The index of an interface in the caller's namespace.
pub(crate) fn interface(name: &str) -> io::Result<u32> {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// A broadcast of the type that IEEE 802 keeps for experiments.
fn nobodys() -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&GATEWAY_MAC);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

/// Phantoms that do as the XDP program does, for other targets.
fn userland(scanner: &Namespace, answering: Answering) -> Far {
    let (open, closed) = match answering {
        Answering::Silent => (0.0, 0.0),
        Answering::Percent => (0.01, 0.0),
        Answering::Every => (0.01, 0.99),
    };
    let scenario = Scenario::parse(&format!(
        "seed = 1\nrouter = [{{ name = \"gateway\", addresses = [\"10.99.0.1\"] }}]\n[[host]]\naddresses = \"10.0.0.0/8\"\n\
         rules = [{{ ports = \"-\", behaviour = \"population\", open = {open}, closed = {closed} }}]"
    ));
    let scenario = scenario.unwrap_or_else(|error| panic!("the scenario cannot be read: {error}"));
    let far = Namespace::new("phantoms");
    phantom_link(&End::new(scanner, DEVICE).address("10.99.0.100/24"), &far, FAR_DEVICE);
    scanner.neighbour(DEVICE, "10.99.0.1", GATEWAY_MAC);
    scanner.route("default", Route::Via([10, 99, 0, 1].into()));
    let responder = Responder::on_veth(&far, FAR_DEVICE, scenario.clone());
    Far::Userland { namespace: far, responder, scenario: Box::new(scenario), samples: RefCell::default() }
}

/// As the XDP program has it: a pause is no time of sending.
const PAUSE: Duration = Duration::from_millis(50);

fn counted(samples: &[(Instant, u64)]) -> Arrived {
    let steps = samples.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1));
    let (mut sending, mut probes, mut still) = (Duration::ZERO, 0, Duration::ZERO);
    for (time, arrived) in steps {
        still = if arrived == 0 { still + time } else { Duration::ZERO };
        probes += arrived;
        if probes > 0 && still < PAUSE {
            sending += time;
        }
    }
    let rate = (!sending.is_zero()).then(|| probes as f64 / sending.as_secs_f64());
    Arrived { probes, rate }
}
