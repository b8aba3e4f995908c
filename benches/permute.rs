//! Permutation: position to index at random and, as the sender does, in sequence; and back.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use halfopen::permute::{Permutation, Walk};
use halfopen::{Index, Position};
use halfopen_bench::{INPUTS, SEED, numbers};

use crate::processor_time::ProcessorTime;

pub(crate) fn permutation(c: &mut Criterion<ProcessorTime>) {
    let mut group = c.benchmark_group("permutation");
    group.throughput(Throughput::Elements(INPUTS as u64));
    for bits in [16, 32, 48] {
        let permutation = Permutation::new(1 << bits, SEED);
        let places = numbers(permutation.len());
        group.bench_function(format!("index/2^{bits}"), |b| {
            b.iter(|| places.iter().fold(0, |sum, &at| sum ^ black_box(&permutation).index(Position(at)).0));
        });
        group.bench_function(format!("walk/2^{bits}"), |b| {
            let all = 0..INPUTS as u64;
            b.iter(|| {
                let (walk, permutation) = (&mut Walk::default(), black_box(&permutation));
                all.clone().fold(0, |sum, at| sum ^ walk.index(permutation, Position(at)).0)
            });
        });
        group.bench_function(format!("position/2^{bits}"), |b| {
            b.iter(|| places.iter().fold(0, |sum, &at| sum ^ black_box(&permutation).position(Index(at)).0));
        });
    }
    group.finish();
}
