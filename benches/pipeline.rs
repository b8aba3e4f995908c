//! The whole pipeline over the in-memory link, on one core: sender, network, receiver and table, with nothing left out
//! but the kernel. Every iteration is one scan of 2^20 targets, set-up and closing walk included.
//!
//! - `probe`: before a silent network; what a probe costs, less what the network takes to hear it.
//! - `reply`: before a network that answers every probe, less the same scan before a silent one, less what the network
//!   takes to answer: what a reply costs. Nothing is reported but the open ports, 1 in 128.
//! - `reply, all reported`: the same with an event for every verdict.
//! - `scan`: probes a second of the whole, the network's own share included, with 0, 1 and 100 % answering.
//! - `network`: that share alone, in the sim link's own calls.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use halfopen::link::sim::Network;
use halfopen::wire::syn::{LinkHeader, Probe, SynTemplate};
use halfopen::{Discover, Event, Index, MacAddr, Plan, PlanBuilder, Rate, Scan, Seq, SimPlace, State, Time, simulate};
use halfopen_bench::{Answering, Answers, SEED};

use crate::processor_time::ProcessorTime;

const TARGETS: u64 = 1 << 20;
/// The sim link's batch.
const BATCH: u64 = 64;

/// A plan of 2^16 hosts and 16 ports.
struct Family {
    name: &'static str,
    plan: Plan,
}

impl Family {
    fn both() -> [Family; 2] {
        [("v4", "10.1.0.0/16"), ("v6", "2001:db8:1::/112")].map(|(name, hosts)| {
            let builder = Plan::builder().targets(hosts).and_then(|plan| plan.ports("1-16"));
            let plan = builder.and_then(PlanBuilder::build).expect("a plan that parses");
            assert_eq!(plan.len(), TARGETS);
            Family { name, plan }
        })
    }

    /// How long a scan takes.
    fn scan(&self, answers: Answers, report: &[State]) -> Duration {
        let scan = Scan::builder(self.plan.clone())
            .rate(Rate::Max)
            .passes(1)
            .seed(SEED)
            .discover(Discover::Off)
            .report(report);
        let start = ProcessorTime::used();
        let (events, summary) = simulate(scan, SimPlace::default(), Answering::new(answers)).expect("sound settings");
        let time = ProcessorTime::used() - start;
        let reported = events.iter().filter(|event| matches!(event, Event::Verdict(_))).count() as u64;
        let expected: u64 =
            report.iter().map(|state| if *state == State::Open { summary.open } else { summary.closed }).sum();
        assert_eq!((summary.sent[0], reported, summary.strays.total()), (TARGETS, expected, 0));
        assert_eq!(summary.replies == TARGETS, answers == Answers::Every);
        time
    }

    /// How long the network takes for such a scan's probes and answers by itself.
    fn network(&self, answers: Answers) -> Duration {
        let place = SimPlace::default();
        let header = LinkHeader::Ethernet { source: place.mac, destination: MacAddr::ZERO };
        let target = self.plan.target(Index(TARGETS / 3)).expect("in the plan");
        let source = if target.address.is_ipv4() { place.v4.into() } else { place.v6.into() };
        let template = SynTemplate::new(header, source, 40_000);
        let probe = |i: u32| Probe { target, seq: Seq(i.wrapping_mul(0x9e37_79b9)), mac: None };
        let frames: Vec<Vec<u8>> = (0..BATCH as u32)
            .map(|i| {
                let mut frame = template.frame().to_vec();
                template.patch(&mut frame, &probe(i));
                frame
            })
            .collect();
        let mut network: Box<dyn Network> = Box::new(Answering::new(answers));
        let start = ProcessorTime::used();
        for _ in 0..TARGETS / BATCH {
            for frame in &frames {
                network.send(Time::ZERO, frame);
            }
            network.receive(Time::ZERO, &mut |_, frame| _ = black_box(frame));
        }
        ProcessorTime::used() - start
    }
}

type Group<'a> = BenchmarkGroup<'a, ProcessorTime>;

pub(crate) fn pipeline(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(TARGETS)).sample_size(20);
    for family in &Family::both() {
        cost(&mut group, family);
        whole(&mut group, family);
    }
    group.finish();
}

/// Probe and reply by themselves. The scans that are subtracted from one another are run in turn, so that whatever else
/// the machine does meets them alike.
fn cost(group: &mut Group<'_>, family: &Family) {
    let silent = || family.scan(Answers::Silent, &[State::Open]);
    let every = |report| family.scan(Answers::Every, report);
    let network = |answers| family.network(answers);
    let hearing = || network(Answers::Silent);
    let mut bench = |name, once: &dyn Fn() -> Duration| {
        group.bench_function(format!("{name}/{}", family.name), |b| b.iter_custom(|n| (0..n).map(|_| once()).sum()));
    };
    bench("probe", &|| silent().saturating_sub(hearing()));
    let reply = |report| every(report).saturating_sub(silent() + network(Answers::Every).saturating_sub(hearing()));
    bench("reply", &|| reply(&[State::Open]));
    bench("reply, all reported", &|| reply(&[State::Open, State::Closed]));
}

fn whole(group: &mut Group<'_>, family: &Family) {
    for (name, answers) in [("0 %", Answers::Silent), ("1 %", Answers::Percent), ("100 %", Answers::Every)] {
        group.bench_function(format!("scan, {name} answer/{}", family.name), |b| {
            b.iter_custom(|n| (0..n).map(|_| family.scan(answers, &[State::Open])).sum());
        });
        group.bench_function(format!("network, {name} answer/{}", family.name), |b| {
            b.iter_custom(|n| (0..n).map(|_| family.network(answers)).sum());
        });
    }
}
