//! The charts of a report. What a chart shows is drawn once, as shapes (`scene`), and leaves as SVG in the page's colours
//! or as a PNG that is complete by itself. `bars`, `histogram` and `growth` are its kinds.

pub(crate) mod axis;
pub(crate) mod bars;
mod font;
mod frame;
pub(crate) mod growth;
pub(crate) mod histogram;
pub(crate) mod ink;
mod png;
pub(crate) mod scene;
mod svg;

use scene::Scene;

/// A chart that can be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    name: &'static str,
    title: String,
    description: String,
    scene: Scene,
}

impl Chart {
    /// A chart by its name (part of ids and file names), its title, and what it says in words.
    pub(crate) fn new(name: &'static str, title: impl Into<String>, description: String, scene: Scene) -> Chart {
        Chart { name, title: title.into(), description, scene }
    }

    /// Tells it from the report's other charts: `states`, `ports`, `round-trips`, `found`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is above it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What it says, in words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// As an SVG element whose colours come from the page's style sheet.
    pub fn svg(&self) -> String {
        svg::element(&self.scene, self.name, &self.title, &self.description)
    }

    /// As a PNG on white, with its title.
    pub fn png(&self) -> Vec<u8> {
        png::bytes(&self.scene, &self.title)
    }

    /// Width and height of the PNG in pixels.
    pub fn png_size(&self) -> (u32, u32) {
        png::size(&self.scene)
    }
}
