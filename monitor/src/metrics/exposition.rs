//! Prometheus's text format, version 0.0.4: families with HELP and TYPE, each once, and samples whose labels are escaped. (Prometheus
//! documentation, "Exposition formats".)

use std::fmt::Write;

/// What is written of it so far.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// What the values of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up, until the service starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Exposition {
    /// A family begins. It may have no samples.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) -> Family<'_> {
        let kind = if kind == Kind::Counter { "counter" } else { "gauge" };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { exposition: self, name }
    }

    /// All of it.
    pub(super) fn text(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Text in memory takes whatever there is.
        let _ = self.0.write_fmt(line);
    }
}

/// A family under way.
#[derive(Debug)]
pub(super) struct Family<'a> {
    exposition: &'a mut Exposition,
    name: &'static str,
}

impl Family<'_> {
    /// One of its values.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let written: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if written.is_empty() { String::new() } else { format!("{{{}}}", written.join(",")) };
        self.exposition.line(format_args!("{}{labels} {value}\n", self.name));
        self
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_labels() {
        let mut all = Exposition::default();
        all.family("a_total", Kind::Counter, "Things.").sample(&[], 3.0).sample(&[("x", "a\"b\\c\nd"), ("y", "")], 0.5);
        let expected =
            "# HELP a_total Things.\n# TYPE a_total counter\na_total 3\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 0.5\n";
        assert_eq!(all.text(), expected);
    }
}
