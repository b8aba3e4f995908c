//! What the engine costs, part by part in the order of the data path, and as a whole. `cargo bench -p halfopen-bench`
//! runs all; a name behind `--` runs those that contain it; `-- --test` runs each once.

mod plan;
mod permute;
mod cookie;
mod pace;
mod craft;
mod parse;
mod table;
mod pipeline;
mod size;
mod processor_time;

use criterion::{Criterion, criterion_group, criterion_main};
use processor_time::ProcessorTime;

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets =
        plan::plan,
        permute::permutation,
        cookie::cookie,
        pace::pace,
        craft::craft,
        parse::parse,
        table::table,
        pipeline::pipeline,
        size::size
}
criterion_main!(benches);
