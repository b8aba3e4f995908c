//! How round-trip times are spread: bins of equal width on a logarithmic axis.

use super::axis::{LogAxis, round_trip_label};
use super::frame::Frame;
use super::ink::Ink;
use super::scene::Scene;
use crate::text::{count, millis};

/// Enough to see two networks apart, and each bin still has members in scans of a few hundred answers.
const BINS: usize = 32;
/// Between bars.
const GAP: f32 = 1.0;

/// The bins of sorted round trips in microseconds; none are drawn as an empty frame.
pub(crate) fn draw(sorted_micros: &[u64]) -> Scene {
    let (least, greatest) = (sorted_micros.first().copied().unwrap_or(1), sorted_micros.last().copied().unwrap_or(1));
    let axis = LogAxis::over(least, greatest);
    let bins = binned(axis, sorted_micros);
    let frame = Frame::new(bins.iter().copied().max().unwrap_or(0));
    let mut scene = frame.scene("answers");
    for (bin, &members) in bins.iter().enumerate().filter(|&(_, &members)| members > 0) {
        draw_bin(&mut scene, &frame, axis, bin, members);
    }
    for tick in axis.ticks() {
        frame.tick(&mut scene, axis.place(tick), round_trip_label(tick));
    }
    frame.meaning(&mut scene, "round trip (logarithmic)");
    scene
}

/// How many there are in each bin.
fn binned(axis: LogAxis, micros: &[u64]) -> [u64; BINS] {
    micros.iter().fold([0; BINS], |mut bins, &time| {
        bins[((axis.place(time) * BINS as f64) as usize).min(BINS - 1)] += 1;
        bins
    })
}

fn draw_bin(scene: &mut Scene, frame: &Frame, axis: LogAxis, bin: usize, members: u64) {
    let [from, to] = [bin, bin + 1].map(|edge| edge as f64 / BINS as f64);
    let [from_time, to_time] = [from, to].map(|place| millis(axis.value(place).round() as u64));
    let (top, floor) = (frame.at(from, members), frame.at(to, 0));
    let size = (floor.x - top.x - GAP, floor.y - top.y);
    scene.bar((top.x, top.y), size, Ink::Open, format!("{from_time} to {to_time}: {}", count(members)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_one_bin() {
        let times: Vec<u64> = (1..10_000).collect();
        let axis = LogAxis::over(1, 9_999);
        let bins = binned(axis, &times);
        assert_eq!(bins.iter().sum::<u64>(), 9_999);
        assert!(bins[0] >= 1 && bins[BINS - 1] > bins[BINS / 2], "{bins:?}");
    }
}
