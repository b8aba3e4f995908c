//! The colours of charts, listed once: the page gets them as CSS for light and dark, a PNG has the light ones. They are of
//! the Okabe-Ito palette, which people with any kind of colour vision tell apart, darkened where they lie on white; no
//! chart says anything by colour alone.

use std::fmt::Write;

/// What something is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Labels.
    Text,
    /// Ticks and axis names.
    Muted,
    /// Lines behind the data.
    Grid,
    /// The zero line.
    Axis,
    /// Open ports, and data that is neither good nor bad.
    Open,
    /// The area under a line of that colour.
    OpenArea,
    /// Closed ports.
    Closed,
    /// Filtered ports.
    Filtered,
    /// No answer at all.
    Silent,
    /// What needs attention.
    Attention,
}

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

impl Ink {
    const ALL: [Ink; 10] = [
        Ink::Text,
        Ink::Muted,
        Ink::Grid,
        Ink::Axis,
        Ink::Open,
        Ink::OpenArea,
        Ink::Closed,
        Ink::Filtered,
        Ink::Silent,
        Ink::Attention,
    ];

    /// Its class in SVG.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Ink::Text => "c-text",
            Ink::Muted => "c-muted",
            Ink::Grid => "c-grid",
            Ink::Axis => "c-axis",
            Ink::Open => "c-open",
            Ink::OpenArea => "c-open-area",
            Ink::Closed => "c-closed",
            Ink::Filtered => "c-filtered",
            Ink::Silent => "c-silent",
            Ink::Attention => "c-attention",
        }
    }

    /// On white.
    pub(crate) fn light(self) -> Rgb {
        match self {
            Ink::Text => [0x1f, 0x24, 0x2b],
            Ink::Muted => [0x59, 0x62, 0x6d],
            Ink::Grid => [0xe3, 0xe6, 0xea],
            Ink::Axis => [0x8b, 0x94, 0x9e],
            Ink::Open => [0x00, 0x72, 0xb2],
            Ink::OpenArea => [0xd9, 0xea, 0xf4],
            Ink::Closed => [0x7c, 0x87, 0x92],
            Ink::Filtered => [0xc9, 0x86, 0x00],
            Ink::Silent => [0xb8, 0xbf, 0xc7],
            Ink::Attention => [0xc4, 0x4e, 0x00],
        }
    }

    fn dark(self) -> Rgb {
        match self {
            Ink::Text => [0xe6, 0xe9, 0xed],
            Ink::Muted => [0xa3, 0xac, 0xb7],
            Ink::Grid => [0x30, 0x36, 0x3e],
            Ink::Axis => [0x6b, 0x74, 0x80],
            Ink::Open => [0x56, 0xb4, 0xe9],
            Ink::OpenArea => [0x1d, 0x3a, 0x4d],
            Ink::Closed => [0x8f, 0x99, 0xa4],
            Ink::Filtered => [0xe6, 0x9f, 0x00],
            Ink::Silent => [0x5b, 0x65, 0x70],
            Ink::Attention => [0xff, 0x8a, 0x3d],
        }
    }
}

/// The rules by which a page colours its charts, on white.
pub(crate) fn light_css() -> String {
    css(Ink::light)
}

/// The same on a dark page.
pub(crate) fn dark_css() -> String {
    css(Ink::dark)
}

fn css(colour: fn(Ink) -> Rgb) -> String {
    Ink::ALL.iter().fold(String::new(), |mut css, &ink| {
        let [red, green, blue] = colour(ink);
        // Writing to a String does not fail.
        let _ = write!(css, ".{}{{--ink:#{red:02x}{green:02x}{blue:02x}}}", ink.class());
        css
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2, relative luminance.
    fn luminance(colour: Rgb) -> f64 {
        let linear = colour.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    /// WCAG 2.2: 4.5 for text (1.4.3), 3 for what graphics are understood by (1.4.11). Bars of `Silent` are background.
    #[test]
    fn contrast_suffices_on_both_papers() {
        let papers = [(Ink::light as fn(Ink) -> Rgb, [0xff; 3]), (Ink::dark, [0x15, 0x18, 0x1c])];
        for (colour, paper) in papers {
            for ink in [Ink::Text, Ink::Muted] {
                assert!(contrast(colour(ink), paper) >= 4.5, "{ink:?} {:.1}", contrast(colour(ink), paper));
            }
            for ink in [Ink::Open, Ink::Closed, Ink::Filtered, Ink::Attention, Ink::Axis] {
                assert!(contrast(colour(ink), paper) >= 3.0, "{ink:?} {:.1}", contrast(colour(ink), paper));
            }
        }
    }

    #[test]
    fn every_ink_has_a_rule() {
        for ink in Ink::ALL {
            assert!(light_css().contains(&format!(".{}{{", ink.class())), "{ink:?}");
        }
        assert_ne!(light_css(), dark_css());
    }
}
