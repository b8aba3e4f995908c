//! Table: recording answers as they come in, near enough in the order of the probes; and the walk of a later pass over
//! what has not answered. The walk's elements are positions passed, answered or not.

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use halfopen::State;
use halfopen::table::{Recorded, VerdictTable};
use halfopen_bench::{INPUTS, numbers};

use crate::processor_time::ProcessorTime;

const CELLS: u64 = 1 << 16;

pub(crate) fn table(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("table");
    group.throughput(Throughput::Elements(CELLS));
    record(&mut group);
    walk(&mut group);
    group.finish();
}

fn record(group: &mut BenchmarkGroup<'_, ProcessorTime>) {
    let table = VerdictTable::new(CELLS);
    let record_all =
        || (0..CELLS).filter(|&cell| table.record(black_box(cell), State::Closed) == Recorded::First).count();
    group.bench_function("record first", |b| {
        b.iter(|| {
            table.reset();
            record_all()
        });
    });
    group.bench_function("record duplicate", |b| {
        record_all();
        b.iter(record_all);
    });
}

fn walk(group: &mut BenchmarkGroup<'_, ProcessorTime>) {
    for percent in [0, 50, 99] {
        let table = VerdictTable::new(CELLS);
        let draws = numbers(100);
        let answered = |cell: u64| draws[(cell.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % INPUTS] < percent;
        (0..CELLS).filter(|&cell| answered(cell)).for_each(|cell| _ = table.record(cell, State::Closed));
        group.bench_function(format!("next unanswered/{percent} % answered"), |b| {
            b.iter(|| {
                let next = |from| black_box(&table).next_unanswered(from, CELLS);
                std::iter::successors(next(0), |&at| next(at + 1)).fold(0, |sum, at| sum ^ at)
            });
        });
    }
}
