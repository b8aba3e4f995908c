//! The frame of a chart with two axes: counts upwards, something else to the right. It knows where a value lies and draws
//! the grid, the ticks and what the axes mean.

use super::axis::{count_label, count_ticks};
use super::ink::Ink;
use super::scene::{Anchor, Point, Scene, WIDTH, point, text_width};

const HEIGHT: f32 = 230.0;
/// For what the counts mean.
const TOP: f32 = 26.0;
/// For ticks and what the axis to the right means.
const BOTTOM: f32 = 40.0;
/// For half of the last tick's label.
const RIGHT: f32 = 24.0;
const GAP: f32 = 8.0;
/// Steps upwards.
const STEPS: u64 = 5;

/// Where values lie.
pub(crate) struct Frame {
    left: f32,
    greatest: u64,
    ticks: Vec<u64>,
}

impl Frame {
    /// Room for counts up to the greatest.
    pub(crate) fn new(greatest: u64) -> Frame {
        let ticks = count_ticks(greatest, STEPS);
        let left = ticks.iter().map(|&tick| text_width(&count_label(tick))).fold(0.0, f32::max) + GAP;
        Frame { left, greatest: ticks.last().copied().unwrap_or(1), ticks }
    }

    /// Grid, zero line, and what is counted.
    pub(crate) fn scene(&self, counted: &str) -> Scene {
        let mut scene = Scene::new(HEIGHT);
        for &tick in &self.ticks {
            let y = self.at(0.0, tick).y;
            scene.line(point(self.left, y), point(WIDTH - RIGHT, y), if tick == 0 { Ink::Axis } else { Ink::Grid });
            scene.text(point(self.left - GAP, y + 4.0), Anchor::End, Ink::Muted, count_label(tick));
        }
        scene.text(point(0.0, 11.0), Anchor::Start, Ink::Muted, counted);
        scene
    }

    /// A tick of the axis to the right, at a place from 0 to 1.
    pub(crate) fn tick(&self, scene: &mut Scene, place: f64, label: String) {
        let at = self.at(place, 0);
        scene.line(at, point(at.x, at.y + 4.0), Ink::Axis);
        scene.text(point(at.x, at.y + 17.0), Anchor::Middle, Ink::Muted, label);
    }

    /// What the axis to the right means.
    pub(crate) fn meaning(&self, scene: &mut Scene, text: &str) {
        scene.text(point(WIDTH - RIGHT, HEIGHT - 5.0), Anchor::End, Ink::Muted, text);
    }

    /// The place of a value.
    pub(crate) fn at(&self, place: f64, value: u64) -> Point {
        let (room, floor) = (WIDTH - RIGHT - self.left, HEIGHT - BOTTOM);
        let share = value as f32 / self.greatest as f32;
        point(self.left + place as f32 * room, floor - share * (floor - TOP))
    }
}
