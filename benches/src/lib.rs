//! What the benches share: numbers to ask for, the network that answers in the pipeline, and what it takes to run other
//! scanners beside halfopen. The benches are the files beside this folder, one for each part of the data path; runs that
//! were recorded are in `runs/`.

pub mod beside;
pub mod machine;
pub mod network;

pub use network::{Answering, Answers};

/// How many different inputs a bench goes through in one iteration: enough that no branch is learnt by heart, few enough
/// that they stay in the first-level cache.
pub const INPUTS: usize = 1024;

/// The seed of every bench.
pub const SEED: u64 = 0x05ee_d0fb;

/// Numbers without pattern below `bound`, the same at every run (splitmix64; Steele, Lea and Flood, 2014).
pub fn numbers(bound: u64) -> [u64; INPUTS] {
    let mut state = SEED;
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    })
}
