//! A chart as shapes: what SVG and PNG are both made from. Lengths are in units of a chart that is 420 wide, y grows
//! downwards.

use super::font::Font;
use super::ink::Ink;

/// How wide every chart is.
pub(crate) const WIDTH: f32 = 420.0;
/// How large letters are.
pub(crate) const TEXT_SIZE: f32 = 12.0;

/// Shapes on paper, the first lowest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    pub(crate) height: f32,
    pub(crate) shapes: Vec<Shape>,
}

/// One mark.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A filled rectangle; what it stands for is told by a mouse that rests on it.
    Bar { x: f32, y: f32, width: f32, height: f32, ink: Ink, meaning: String },
    /// A straight line, one unit thick.
    Line { from: Point, to: Point, ink: Ink },
    /// A line through points.
    Curve { points: Vec<Point>, ink: Ink },
    /// What points enclose, filled.
    Area { points: Vec<Point>, ink: Ink },
    /// A line of text on its baseline.
    Text { at: Point, anchor: Anchor, ink: Ink, text: String },
}

/// A place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f32,
    pub(crate) y: f32,
}

/// Which part of a text its place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A place.
pub(crate) fn point(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Scene {
    /// Nothing yet.
    pub(crate) fn new(height: f32) -> Scene {
        Scene { height, shapes: Vec::new() }
    }

    pub(crate) fn bar(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), ink: Ink, meaning: String) {
        self.shapes.push(Shape::Bar { x, y, width, height, ink, meaning });
    }

    pub(crate) fn line(&mut self, from: Point, to: Point, ink: Ink) {
        self.shapes.push(Shape::Line { from, to, ink });
    }

    pub(crate) fn text(&mut self, at: Point, anchor: Anchor, ink: Ink, text: impl Into<String>) {
        self.shapes.push(Shape::Text { at, anchor, ink, text: text.into() });
    }
}

/// How wide a label is in the widest font that a reader's browser may have: a fifth wider than ours.
pub(crate) fn text_width(text: &str) -> f32 {
    Font::built_in().width(text, TEXT_SIZE) * 1.2
}

/// The label, or as much of its beginning as has room.
pub(crate) fn fitted(text: &str, room: f32) -> String {
    if text_width(text) <= room {
        return text.into();
    }
    let mut kept: String = text.into();
    while !kept.is_empty() && text_width(&kept) + text_width("…") > room {
        kept.pop();
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_cut_to_fit() {
        assert_eq!(fitted("22 ssh", 100.0), "22 ssh");
        let cut = fitted("8080 an-exceedingly-long-service-name", 100.0);
        assert!(cut.starts_with("8080 an-") && cut.ends_with('…') && text_width(&cut) <= 100.0, "{cut}");
    }
}
