//! `halfopen demo`: a private network of phantom hosts, scanned for real by this very program. The process moves into a
//! network namespace of its own (which takes no rights where the system lets ordinary users have one), so nothing leaves the
//! machine and nothing is left behind. What is scanned is `scene`'s, what was true of it `truth`'s; the scan is `scan`'s.

mod scene;
mod truth;

use clap::Args;
use halfopen_phantom::{Enclosure, Responder};

use crate::args;
use crate::failure::{DONE, Failure};
use crate::output::text::{count, grouped};
use crate::scan;
use crate::screen::{Screen, Style};
use crate::settings::Settings;
use scene::{CHARACTERS, DOWN, Scene};
use truth::{Comparison, Said, Truth};

const EXAMPLES: &str = "\
Examples:
  halfopen demo
  halfopen demo --hosts 4096 -p 1-100
  halfopen demo -- --show all --output jsonl

Exit codes: 0 when the scan found exactly the ports that are open, 1 when it did not; else as of `halfopen scan`.

Rights: none where the system gives ordinary users network namespaces (most do), else root's.";

/// `halfopen demo`, as typed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Addresses behind the lossy line; one in sixteen is a host
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    hosts: u32,

    /// Ports to scan, as `halfopen scan` takes them
    #[arg(short, long, value_name = "PORTS", allow_hyphen_values = true, default_value = "1-1024")]
    ports: Vec<String>,

    /// Options of `halfopen scan` for this scan, after --
    #[arg(last = true, value_name = "SCAN OPTIONS")]
    options: Vec<String>,
}

/// Our end of the demo's only link.
const DEVICE: &str = "demo0";
/// More targets are no demo: what is true of each is looked up before.
const MOST: u64 = 1 << 24;
/// A failed comparison's exit code.
const MISSED: u8 = 1;

/// Builds the network, scans it and says what was true.
pub(crate) fn run(args: &DemoArgs) -> Result<u8, Failure> {
    let scene = Scene::new(args.hosts);
    let enclosure = Enclosure::enter(DEVICE).map_err(Failure::Demo)?;
    let ipv6 = Scene::furnish(&enclosure).map_err(Failure::Demo)?;
    let settings = Settings::new(args::scan(words(args, &scene, ipv6))?)?.observed();
    let plan = settings.plan()?;
    if plan.len() > MOST {
        return Err(Failure::DemoTooLarge { targets: plan.len(), most: MOST });
    }
    let phantoms = enclosure.populate(scene.scenario.clone()).map_err(Failure::Demo)?;
    let truth = Truth::of(&scene.scenario, &plan, Scene::suspicious());
    // The scan has a screen of its own, and the only bar.
    let screen = Screen::new(Style { bar: false, ..settings.style });
    screen.note(&introduction(&scene, ipv6));
    let mut said = Said::default();
    let code = scan::observed(&settings, plan, &mut |event| said.hear(event))?;
    if code != DONE || settings.args.probing.dry_run {
        return Ok(code);
    }
    let comparison = truth.compare(&said);
    screen.note(&conclusion(&comparison, &phantoms));
    Ok(if comparison.is_the_truth() { DONE } else { MISSED })
}

/// The command line of the scan.
fn words(args: &DemoArgs, scene: &Scene, ipv6: bool) -> Vec<String> {
    let ports = args.ports.iter().map(|ports| format!("--ports={ports}"));
    // The phantoms live in the same process, and still have their work to do.
    let manner = ["--hide-suspect", "--no-drop"].map(String::from);
    let own = scene.targets(ipv6).into_iter().chain(ports).chain(manner);
    own.chain(args.options.iter().cloned()).collect()
}

fn introduction(scene: &Scene, ipv6: bool) -> String {
    let lossy = format!(
        "{}  behind a line that loses {:.1} % of probes or their answers; one address in sixteen is a host",
        scene.lossy(),
        Scene::loss() * 100.0
    );
    let down = format!("{DOWN:<15}  an address on this link that nobody has");
    let shown = CHARACTERS.iter().filter(|host| ipv6 || !host.address.contains(':'));
    let hosts = shown.map(|host| format!("{:<15}  {}", host.address, host.does));
    let lines = [lossy].into_iter().chain(hosts).chain([down]).map(|line| format!("  {line}\n"));
    format!(
        "A private network of phantom hosts, in a namespace of its own: nothing leaves this machine.\n{}",
        lines.collect::<String>()
    )
}

/// What was true, and what to do next.
fn conclusion(comparison: &Comparison, phantoms: &Responder) -> String {
    let Comparison { open, found, invented, suspicious, marked } = comparison;
    let effects = phantoms.effects_tally();
    let lost = count(effects.lost_out + effects.lost_back, "packet");
    let late = match phantoms.drops() {
        0 => String::new(),
        drops => format!("; the phantoms themselves were too slow for {}", count(drops, "packet")),
    };
    let [open, found] = [open, found].map(|&number| grouped(number as u64));
    format!(
        "\nHeld against the truth, which the phantoms know:\n  \
         found {found} of {open} open ports, and {} that is not open\n  \
         the network lost {lost} on purpose; what they asked or answered was asked again{late}\n  \
         marked {marked} of {suspicious} hosts whose open ports are not worth much (suspect), and left those out\n\n\
         open: something accepts connections. closed: the host answers, nothing listens. filtered: silence, or an ICMP\n\
         error. down: nobody has the address. The summary above says how many open ports may have been missed.\n\
         Next: `halfopen scan 127.0.0.1 -p-` scans this machine, `halfopen scan --help` explains every option.",
        if *invented == 0 { "none".into() } else { grouped(*invented as u64) },
    )
}
