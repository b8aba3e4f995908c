//! What is wrong with a piece of text, before anyone has said where it stood (`Error::Parse` adds the place).

/// A text that does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// What is wrong.
    pub(crate) problem: String,
    /// What would be right: "expected ...".
    pub(crate) accepted: &'static str,
}

/// Longer texts than this are cut in messages; no address or name that can be right is longer than what is left.
const LONGEST_QUOTE: usize = 100;

/// A text in quotation marks, escaped, and cut if it is long.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// A text as it is, cut if it is long.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(5000)), "é".repeat(100) + "...");
        assert_eq!(quoted("a\tb"), "\"a\\tb\"");
    }
}
