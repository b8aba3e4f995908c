//! Horizontal bars, one a row: a label, a bar from zero, its number. The number stands beside the bar, so there is no axis.

use super::ink::Ink;
use super::scene::{Anchor, Scene, WIDTH, fitted, point, text_width};
use crate::text::count;

/// One row.
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) value: u64,
    pub(crate) ink: Ink,
    /// Stands behind the number.
    pub(crate) note: &'static str,
}

const ROW: f32 = 24.0;
const BAR: f32 = 15.0;
/// Between label, bar and number.
const GAP: f32 = 8.0;
/// Labels beyond it are cut.
const LONGEST_LABEL: f32 = 160.0;
/// What is not nothing is seen.
const THINNEST: f32 = 1.5;

/// The rows, one below the other.
pub(crate) fn draw(rows: &[Row]) -> Scene {
    let labels = rows.iter().map(|row| text_width(&row.label)).fold(0.0, f32::max).min(LONGEST_LABEL);
    let numbers = rows.iter().map(|row| text_width(&number(row))).fold(0.0, f32::max);
    let (left, room) = (labels + GAP, WIDTH - labels - numbers - 2.0 * GAP);
    let greatest = rows.iter().map(|row| row.value).max().unwrap_or(0).max(1);
    let mut scene = Scene::new(rows.len() as f32 * ROW);
    for (place, row) in rows.iter().enumerate() {
        let share = row.value as f32 / greatest as f32;
        let length = if row.value == 0 { 0.0 } else { (share * room).max(THINNEST) };
        draw_row(&mut scene, row, place as f32 * ROW, left, length);
    }
    scene.line(point(left, 0.0), point(left, scene.height), Ink::Axis);
    scene
}

fn draw_row(scene: &mut Scene, row: &Row, top: f32, left: f32, length: f32) {
    let baseline = top + ROW / 2.0 + 4.0;
    let meaning = format!("{}: {}", row.label, count(row.value));
    scene.text(point(left - GAP, baseline), Anchor::End, Ink::Text, fitted(&row.label, LONGEST_LABEL));
    scene.bar((left, top + (ROW - BAR) / 2.0), (length, BAR), row.ink, meaning);
    scene.text(point(left + length + GAP, baseline), Anchor::Start, Ink::Text, number(row));
}

fn number(row: &Row) -> String {
    format!("{} {}", count(row.value), row.note).trim_end().into()
}
