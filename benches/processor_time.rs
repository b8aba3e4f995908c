//! What benches are measured in: the processor time of their thread, so that what else the machine does is not counted.

use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// Processor time of the thread, shown as times are.
pub(crate) struct ProcessorTime;

impl ProcessorTime {
    /// What this thread has used so far.
    pub(crate) fn used() -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().expect("not before zero")
    }
}

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        ProcessorTime::used()
    }

    fn end(&self, start: Duration) -> Duration {
        ProcessorTime::used() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

/// As wall time is, but throughput as the time an element takes: what is asked of an engine is nanoseconds a probe.
impl ValueFormatter for ProcessorTime {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(&self, _: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        let Throughput::Elements(elements) = *throughput else { unreachable!("all benches count elements") };
        values.iter_mut().for_each(|value| *value /= elements as f64);
        "ns each"
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
