//! A chart as SVG to stand in the page: colours and font come from the page's style sheet by class, so that a dark page
//! has dark charts. It has a title and a description for those who cannot see it.

use std::fmt::Write;

use super::scene::{Anchor, Point, Scene, Shape, WIDTH};
use crate::text::escaped;

/// The element. `name` is part of its ids and must be unique in the page.
pub(super) fn element(scene: &Scene, name: &str, title: &str, description: &str) -> String {
    let height = number(scene.height);
    let (title, description) = (escaped(title), escaped(description));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-labelledby=\"{name}-title {name}-desc\"><title id=\"{name}-title\">{title}</title>\
         <desc id=\"{name}-desc\">{description}</desc>"
    );
    for shape in &scene.shapes {
        // Writing to a String does not fail.
        let _ = draw(shape, &mut svg);
    }
    svg + "</svg>"
}

fn draw(shape: &Shape, svg: &mut String) -> std::fmt::Result {
    match shape {
        Shape::Bar { x, y, width, height, ink, meaning } => write!(
            svg,
            "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>",
            ink.class(),
            number(*x),
            number(*y),
            number(*width),
            number(*height),
            escaped(meaning)
        ),
        Shape::Line { from, to, ink } => {
            write!(svg, "<path class=\"line {}\" d=\"{}\"/>", ink.class(), path(&[*from, *to]))
        }
        Shape::Curve { points, ink } => {
            write!(svg, "<path class=\"curve {}\" d=\"{}\"/>", ink.class(), path(points))
        }
        Shape::Area { points, ink } => write!(svg, "<path class=\"{}\" d=\"{}z\"/>", ink.class(), path(points)),
        Shape::Text { at, anchor, ink, text } => write!(
            svg,
            "<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>",
            ink.class(),
            number(at.x),
            number(at.y),
            anchor_name(*anchor),
            escaped(text)
        ),
    }
}

fn anchor_name(anchor: Anchor) -> &'static str {
    match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    }
}

/// `M0 10L5 7.5`.
fn path(points: &[Point]) -> String {
    points.iter().enumerate().fold(String::new(), |mut path, (place, point)| {
        let letter = if place == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{} {}", number(point.x), number(point.y));
        path
    })
}

/// To a hundredth of a unit: nobody sees more.
fn number(length: f32) -> f32 {
    (length * 100.0).round() / 100.0
}
