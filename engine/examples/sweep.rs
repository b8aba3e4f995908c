//! A whole scan with the library: plan it, start it, read what it finds, sum it up.
//!
//! ```text
//! cargo run --release -p halfopen --example sweep -- 127.0.0.1 1-1024
//! ```
//!
//! Without the right to open raw sockets it falls back to connect(2), and says so.

use halfopen::{Event, Plan, Pps, Rate, Scan, State};

fn main() -> Result<(), halfopen::Error> {
    let mut arguments = std::env::args().skip(1);
    let targets = arguments.next().unwrap_or("127.0.0.1".into());
    let ports = arguments.next().unwrap_or("1-1024".into());

    let plan = Plan::builder().targets(&targets)?.ports(&ports)?.build()?;
    println!("{} targets on {} hosts", plan.len(), plan.hosts());

    let running = Scan::builder(plan).rate(Rate::Fixed(Pps(20_000))).report(&[State::Open]).start()?;
    for event in running.events() {
        match event {
            Event::Verdict(verdict) => println!("{:30} {} ({})", verdict.target, verdict.state, verdict.reason),
            Event::HostDown { address, reason } => println!("{address:30} down ({reason})"),
            Event::Warning(text) => eprintln!("warning: {text}"),
            _ => {}
        }
    }
    let summary = running.wait()?;
    println!(
        "{} open, {} closed, {} filtered in {:.2?} at {:.0} probes a second",
        summary.open,
        summary.closed,
        summary.filtered,
        summary.elapsed,
        summary.rate()
    );
    Ok(())
}
