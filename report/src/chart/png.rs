//! A chart as PNG, on white, with its title above it: for documents that take pictures only. Drawn by tiny-skia with the
//! built-in font, so that it is the same on any machine.

use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};
use ttf_parser::OutlineBuilder;

use super::font::Font;
use super::ink::Ink;
use super::scene::{Anchor, Point, Scene, Shape, TEXT_SIZE, WIDTH, point};

/// Pixels for a unit of the chart: 1332 wide, enough for a printed page.
const SCALE: f32 = 3.0;
const TITLE_SIZE: f32 = 15.0;
/// Around the chart.
const MARGIN: f32 = 12.0;
/// For the title.
const HEAD: f32 = 30.0;

/// The picture's bytes.
pub(super) fn bytes(scene: &Scene, title: &str) -> Vec<u8> {
    let (width, height) = size(scene);
    let mut canvas = Canvas::new(width, height);
    canvas.text(point(0.0, TITLE_SIZE - HEAD), Anchor::Start, Ink::Text, title, TITLE_SIZE);
    for shape in &scene.shapes {
        canvas.draw(shape);
    }
    canvas.pixmap.encode_png().expect("a picture in memory can be encoded")
}

/// Width and height in pixels.
pub(super) fn size(scene: &Scene) -> (u32, u32) {
    let pixels = |units: f32| (units * SCALE).round() as u32;
    (pixels(WIDTH + 2.0 * MARGIN), pixels(scene.height + HEAD + 2.0 * MARGIN))
}

/// Paper, and what is needed to draw on it.
struct Canvas {
    pixmap: Pixmap,
    font: Font,
    /// From units of the chart to pixels.
    place: Transform,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Canvas {
        let mut pixmap = Pixmap::new(width, height).expect("a chart has an area");
        pixmap.fill(Color::WHITE);
        let place = Transform::from_scale(SCALE, SCALE).pre_translate(MARGIN, MARGIN + HEAD);
        Canvas { pixmap, font: Font::built_in(), place }
    }

    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Bar { x, y, width, height, ink, .. } => {
                let bar = Rect::from_xywh(*x, *y, *width, *height).map(PathBuilder::from_rect);
                self.fill(bar, *ink, self.place);
            }
            Shape::Line { from, to, ink } => self.stroke(path(&[*from, *to], false), 1.0, *ink),
            Shape::Curve { points, ink } => self.stroke(path(points, false), 2.0, *ink),
            Shape::Area { points, ink } => self.fill(path(points, true), *ink, self.place),
            Shape::Text { at, anchor, ink, text } => self.text(*at, *anchor, *ink, text, TEXT_SIZE),
        }
    }

    /// None is a shape without extent: nothing to see.
    fn fill(&mut self, path: Option<Path>, ink: Ink, place: Transform) {
        if let Some(path) = path {
            self.pixmap.fill_path(&path, &paint(ink), FillRule::Winding, place, None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, width: f32, ink: Ink) {
        if let Some(path) = path {
            self.pixmap.stroke_path(&path, &paint(ink), &Stroke { width, ..Stroke::default() }, self.place, None);
        }
    }

    fn text(&mut self, at: Point, anchor: Anchor, ink: Ink, text: &str, size: f32) {
        let width = self.font.width(text, size);
        let begin = match anchor {
            Anchor::Start => at.x,
            Anchor::Middle => at.x - width / 2.0,
            Anchor::End => at.x - width,
        };
        let scale = self.font.scale(size);
        // The font's y grows upwards.
        let place = self.place.pre_translate(begin, at.y).pre_scale(scale, -scale);
        self.fill(outline(&self.font, text), ink, place);
    }
}

/// A line of text in units of the font.
fn outline(font: &Font, text: &str) -> Option<Path> {
    let mut pen = Pen { path: PathBuilder::new(), at: 0.0 };
    for letter in text.chars() {
        let glyph = font.glyph(letter);
        font.outline(glyph, &mut pen);
        pen.at += font.advance(glyph);
    }
    pen.path.finish()
}

fn path(points: &[Point], closed: bool) -> Option<Path> {
    let (first, rest) = points.split_first()?;
    let mut path = PathBuilder::new();
    path.move_to(first.x, first.y);
    for next in rest {
        path.line_to(next.x, next.y);
    }
    if closed {
        path.close();
    }
    path.finish()
}

fn paint(ink: Ink) -> Paint<'static> {
    let [red, green, blue] = ink.light();
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

/// Draws letters where the last one ended.
struct Pen {
    path: PathBuilder,
    at: f32,
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(self.at + x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(self.at + x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(self.at + x1, y1, self.at + x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(self.at + x1, y1, self.at + x2, y2, self.at + x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::bars::{self, Row};
    use crate::chart::{growth, histogram};

    /// How many pixels have this colour.
    fn painted(picture: &Pixmap, [red, green, blue]: [u8; 3]) -> usize {
        let is =
            |pixel: &&tiny_skia::PremultipliedColorU8| [pixel.red(), pixel.green(), pixel.blue()] == [red, green, blue];
        picture.pixels().iter().filter(is).count()
    }

    #[test]
    fn pictures_have_their_size_and_are_not_blank() {
        let rows = [("22 ssh", 100, Ink::Open), ("23 telnet", 50, Ink::Attention), ("25 smtp", 0, Ink::Open)];
        let rows = rows.map(|(label, value, ink)| Row { label: label.into(), value, ink, note: "" });
        let scenes = [bars::draw(&rows), histogram::draw(&[400, 500, 20_000]), growth::draw(&[0, 900, 4_000], 5_000)];
        for scene in scenes {
            let picture = Pixmap::decode_png(&bytes(&scene, "Title")).expect("a PNG");
            assert_eq!((picture.width(), picture.height()), size(&scene));
            assert!(painted(&picture, Ink::Open.light()) > 1_000, "data");
            assert!(painted(&picture, Ink::Text.light()) > 300, "the title");
            assert!(painted(&picture, [0xff; 3]) > picture.pixels().len() / 3, "paper");
        }
    }

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let row = |value, ink| Row { label: "x".into(), value, ink, note: "" };
        let scene = bars::draw(&[row(100, Ink::Open), row(50, Ink::Attention)]);
        let picture = Pixmap::decode_png(&bytes(&scene, "")).unwrap();
        let (long, short) = (painted(&picture, Ink::Open.light()), painted(&picture, Ink::Attention.light()));
        assert!((1.9..2.1).contains(&(long as f64 / short as f64)), "{long} {short}");
    }

    #[test]
    fn charts_of_nothing() {
        for scene in [bars::draw(&[]), histogram::draw(&[]), growth::draw(&[], 0)] {
            assert!(Pixmap::decode_png(&bytes(&scene, "Nothing")).is_ok());
        }
    }
}
