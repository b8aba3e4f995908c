//! How many open ports were known when: a rising line over the time since the scan's start.

use super::axis::{time_label, time_ticks_ms};
use super::frame::Frame;
use super::ink::Ink;
use super::scene::{Point, Scene, Shape};

/// A screen shows no more.
const POINTS: usize = 240;
const STEPS: u64 = 5;

/// The line through sorted moments, in milliseconds since the start, until the end.
pub(crate) fn draw(sorted_ms: &[u64], end_ms: u64) -> Scene {
    let end = end_ms.max(sorted_ms.last().copied().unwrap_or(0)).max(1);
    let frame = Frame::new(sorted_ms.len() as u64);
    let mut scene = frame.scene("open ports known");
    let line = line(&frame, sorted_ms, end);
    let floor = [frame.at(1.0, 0), frame.at(0.0, 0)];
    scene.shapes.push(Shape::Area { points: line.iter().copied().chain(floor).collect(), ink: Ink::OpenArea });
    scene.shapes.push(Shape::Curve { points: line, ink: Ink::Open });
    for tick in time_ticks_ms(end, STEPS) {
        frame.tick(&mut scene, tick as f64 / end as f64, time_label(tick, end));
    }
    frame.meaning(&mut scene, "since the start of the scan");
    scene
}

/// The count at evenly spaced moments.
fn line(frame: &Frame, sorted_ms: &[u64], end: u64) -> Vec<Point> {
    let moments = (0..=POINTS).map(|point| point as f64 / POINTS as f64);
    moments
        .map(|place| {
            let until = (place * end as f64).floor() as u64;
            frame.at(place, sorted_ms.partition_point(|&ms| ms <= until) as u64)
        })
        .collect()
}
