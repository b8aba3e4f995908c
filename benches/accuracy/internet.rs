//! One plan of the IPv4 Internet's size through the engine's own state machines, on one core: what the engine takes for
//! each probe when nothing is left out but the wire.

mod network;
mod wheel;

use std::fmt::{self, Display};
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use halfopen::{Discover, Plan, PlanBuilder, Pps, Rate, Scan, SimPlace, Summary, simulate};
use halfopen_bench::machine;

use network::Internet;

/// The virtual rate: what 10 Gbit/s Ethernet carries of the smallest frames.
const LINE_RATE: u64 = 14_880_000;
const RATES: [(u64, &str); 2] = [(1_000_000, "1 M"), (LINE_RATE, "14.88 M")];
const SEED: u64 = 32;

/// A scan, and what it took.
pub(crate) struct Played {
    bits: u32,
    summary: Summary,
    /// Open targets, by the network's own rule.
    open: u64,
    took: Duration,
    /// Processor time: others may have been at work on the same core.
    used: Duration,
    /// The largest resident set, in bytes.
    memory: u64,
}

/// Scans 2^bits addresses less the blocklist.
pub(crate) fn play(bits: u32, passes: u8) -> io::Result<Played> {
    let plan = plan(bits).map_err(io::Error::other)?;
    let open = network::open(SEED, &plan);
    let (start, used) = (Instant::now(), machine::processor_time());
    // Nothing is reported one by one: 40 million verdicts kept in memory would be what is measured.
    let builder = Scan::builder(plan)
        .rate(Rate::Fixed(Pps(LINE_RATE)))
        .passes(passes)
        .seed(SEED)
        .discover(Discover::Off)
        .report(&[]);
    let (_, summary) = simulate(builder, SimPlace::default(), Internet::new(SEED)).map_err(io::Error::other)?;
    let (took, used) = (start.elapsed(), machine::processor_time() - used);
    Ok(Played { bits, summary, open, took, used, memory: machine::peak_memory()? })
}

fn plan(bits: u32) -> Result<Plan, halfopen::Error> {
    // Clear of the blocklist as long as there is room.
    let first = Ipv4Addr::from_bits((32_u64 << 24 >> bits << bits) as u32);
    Plan::builder().targets(&format!("{first}/{}", 32 - bits))?.ports("443").and_then(PlanBuilder::build)
}

impl Played {
    fn probes(&self) -> u64 {
        self.summary.sent.iter().sum::<u64>() + self.summary.again
    }

    fn on_the_wire(&self, rate: u64) -> Duration {
        let waits =
            self.summary.elapsed.saturating_sub(Duration::from_secs_f64(self.probes() as f64 / LINE_RATE as f64));
        waits + Duration::from_secs_f64(self.probes() as f64 / rate as f64)
    }
}

impl Display for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (summary, seconds, used) = (&self.summary, self.took.as_secs_f64(), self.used.as_secs_f64());
        writeln!(f, "# 2^{} addresses x 1 port, 1 % answering, 5 to 400 ms away\n", self.bits)?;
        writeln!(f, "- machine: {}, one of them used", machine::machine())?;
        writeln!(f, "- targets: {} (less the blocklist), passes: {}", summary.targets, summary.sent.len())?;
        writeln!(f, "- probes: {}, replies: {}", self.probes(), summary.replies)?;
        writeln!(f, "- open: {} found of {}, {} strays", summary.open, self.open, summary.strays.total())?;
        let each = used * 1e9 / self.probes() as f64;
        writeln!(f, "- took {seconds:.1} s, {used:.1} s of processor time: {each:.1} ns a probe, network included")?;
        writeln!(f, "- peak memory: {} MiB", self.memory >> 20)?;
        for (rate, name) in RATES {
            let minutes = self.on_the_wire(rate).as_secs_f64() / 60.0;
            writeln!(f, "- on the wire at {name} probes/s, waits included: {minutes:.1} min")?;
        }
        Ok(())
    }
}
