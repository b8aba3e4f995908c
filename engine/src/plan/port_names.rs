//! Names of ports, for plans that are written with them (`http,ssh,8000-8100`). The engine knows none of its own: who
//! builds the plan says what they mean. What a port is for is nobody's business here.

/// Says which ports a name stands for.
pub trait PortNames: Sync {
    /// The TCP ports of a name; none if it is not the name of any.
    fn ports(&self, name: &str) -> Option<Vec<u16>>;

    /// What is wrong with a name that has no ports, as a half sentence that reads on from the name. The place for what
    /// was probably meant.
    fn objection(&self, _name: &str) -> String {
        "is no port and no name of one".into()
    }
}

/// The names in use, if there are any.
pub(crate) type Names = Option<&'static dyn PortNames>;

/// Whether a text may be a name: what is all digits and hyphens is read as ports.
pub(crate) fn is_name(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `http`, `http-alt` and `x11`.
    pub(crate) struct Few;

    impl PortNames for Few {
        fn ports(&self, name: &str) -> Option<Vec<u16>> {
            match name.to_ascii_lowercase().as_str() {
                "http" => Some(vec![80]),
                "http-alt" => Some(vec![8080, 591, 8008]),
                "x11" => Some((6000..=6063).collect()),
                _ => None,
            }
        }
    }

    pub(crate) const FEW: Names = Some(&Few);
}
