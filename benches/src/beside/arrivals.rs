//! What arrived at a far end that only counts, reckoned from looks at its count.

use std::time::{Duration, Instant};

/// What arrived at the far end.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// SYNs.
    pub probes: u64,
    /// A second while they came.
    pub rate: Option<f64>,
}

/// As the XDP program has it: a pause is no time of sending.
const PAUSE: Duration = Duration::from_millis(50);

/// By the count at several times.
pub fn counted(samples: &[(Instant, u64)]) -> Arrived {
    let steps = samples.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1));
    let (mut sending, mut probes, mut still) = (Duration::ZERO, 0, Duration::ZERO);
    for (time, arrived) in steps {
        still = if arrived == 0 { still + time } else { Duration::ZERO };
        probes += arrived;
        if probes > 0 && still < PAUSE {
            sending += time;
        }
    }
    let rate = (!sending.is_zero()).then(|| probes as f64 / sending.as_secs_f64());
    Arrived { probes, rate }
}
