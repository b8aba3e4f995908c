//! The font of charts: how wide a text is, and the outlines of its letters. Compiled in, so that a PNG looks the same on
//! any machine; `fonts/README.md` says where it is from. Letters stand side by side without kerning.

use ttf_parser::{Face, GlyphId, OutlineBuilder};

static ROBOTO: &[u8] = include_bytes!("../../fonts/Roboto-Regular-latin.ttf");

/// A font that can be measured and drawn.
pub(crate) struct Font {
    face: Face<'static>,
}

impl Font {
    /// Roboto, as it is compiled in.
    pub(crate) fn built_in() -> Font {
        Font { face: Face::parse(ROBOTO, 0).expect("the built-in font is sound") }
    }

    /// The width of a line of text.
    pub(crate) fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().map(|letter| self.advance(self.glyph(letter))).sum::<f32>() * self.scale(size)
    }

    /// Units of the chart for a unit of the font.
    pub(crate) fn scale(&self, size: f32) -> f32 {
        size / f32::from(self.face.units_per_em())
    }

    /// Its letter, or the one that stands for unknown ones.
    pub(crate) fn glyph(&self, letter: char) -> GlyphId {
        self.face.glyph_index(letter).unwrap_or(GlyphId(0))
    }

    /// In units of the font.
    pub(crate) fn advance(&self, glyph: GlyphId) -> f32 {
        f32::from(self.face.glyph_hor_advance(glyph).unwrap_or(0))
    }

    /// Draws a letter, in units of the font, y upwards.
    pub(crate) fn outline(&self, glyph: GlyphId, into: &mut dyn OutlineBuilder) {
        // None for letters without ink, as the space.
        let _ = self.face.outline_glyph(glyph, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths() {
        let font = Font::built_in();
        assert_eq!(font.width("", 12.0), 0.0);
        assert_eq!(font.width("WW", 12.0), 2.0 * font.width("W", 12.0));
        assert!(font.width("i", 12.0) < font.width("W", 12.0));
        assert_eq!(font.width("0", 24.0), 2.0 * font.width("0", 12.0));
    }

    #[test]
    fn every_sign_that_charts_use_is_there() {
        let font = Font::built_in();
        for letter in (' '..='~').chain("µ–…·\u{a0}\u{fffd}".chars()) {
            assert_ne!(font.glyph(letter), GlyphId(0), "{letter:?}");
        }
    }
}
