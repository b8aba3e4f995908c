//! Any text as targets, ports and exclusions. A plan that comes of it must be arithmetic that can be undone.
//!
//! Built with `--cfg fuzzing` the engine resolves no host names, so that nothing is asked of the network.
#![no_main]

use halfopen::{Error, Index, Plan};
use libfuzzer_sys::fuzz_target;

#[cfg(not(fuzzing))]
compile_error!("without `--cfg fuzzing` host names would be asked for over the network; use fuzz/run");

fuzz_target!(|bytes: &[u8]| {
    // Ports, a list of targets, a file of targets, exclusions.
    let mut parts = bytes.splitn(4, |&byte| byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    match plan(part(), part(), part(), part()) {
        Ok(plan) => check(&plan),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn plan(ports: &[u8], targets: &[u8], file: &[u8], exclusions: &[u8]) -> Result<Plan, Error> {
    let mut builder = Plan::builder().targets(&String::from_utf8_lossy(targets))?;
    if !ports.is_empty() {
        builder = builder.ports(&String::from_utf8_lossy(ports))?;
    }
    builder.target_lines("file", file)?.exclude(&String::from_utf8_lossy(exclusions))?.build()
}

fn check(plan: &Plan) {
    assert!(plan.len() > 0);
    let last = plan.len() - 1;
    for index in [0, last / 3, last / 2, last] {
        let target = plan.target(Index(index)).expect("every index below the length has a target");
        assert_eq!(plan.index(target), Some(Index(index)), "{target:?}");
    }
    assert_eq!(plan.target(Index(plan.len())), None);
}
