//! Several runs of one program: least, middle and greatest of a figure, and how a table's cell says them.

/// Several runs of one program.
#[derive(Debug, Clone)]
pub struct Series<C, M> {
    /// Whose.
    pub contender: C,
    /// What each came to.
    pub runs: Vec<M>,
}

/// Least, middle and greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: f64,
    /// The middle one; of an even number, between the two.
    pub median: f64,
    /// The greatest.
    pub greatest: f64,
}

impl<C, M> Series<C, M> {
    /// Of a figure; none if no run has it.
    pub fn spread(&self, figure: impl Fn(&M) -> Option<f64>) -> Option<Spread> {
        let mut values: Vec<f64> = self.runs.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (&least, &greatest) = (values.first()?, values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { least, median: (low + high) / 2.0, greatest })
    }

    /// The middle one.
    pub fn median(&self, figure: impl Fn(&M) -> Option<f64>) -> Option<f64> {
        Some(self.spread(figure)?.median)
    }

    /// What runs say of themselves, each thing once.
    pub fn remarks<'a>(&'a self, remark: impl Fn(&'a M) -> Option<&'a str>) -> Vec<&'a str> {
        let mut remarks: Vec<&str> = self.runs.iter().filter_map(remark).collect();
        remarks.sort_unstable();
        remarks.dedup();
        remarks
    }

    /// A figure with so many digits: `2.0 (1.0–3.0)`, or one number when all are alike.
    pub fn cell(&self, digits: usize, figure: impl Fn(&M) -> Option<f64>) -> String {
        self.spread(figure).map_or_else(nothing, |spread| spread.text(digits))
    }
}

impl Spread {
    fn text(self, digits: usize) -> String {
        let [least, median, greatest] =
            [self.least, self.median, self.greatest].map(|value| format!("{value:.digits$}"));
        if least == greatest { median } else { format!("{median} ({least}–{greatest})") }
    }
}

/// One number with so many digits.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(nothing, |value| format!("{value:.digits$}"))
}

/// A share in percent with two digits, cut off and not rounded: 100 means all.
pub fn percent(share: f64) -> f64 {
    (share * 10_000.0).floor() / 100.0
}

fn nothing() -> String {
    "–".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_series() {
        let series = |values: &[f64]| {
            let runs = values.iter().copied().map(Some).chain([None]).collect();
            Series { contender: (), runs }
        };
        let spread = |values| series(values).spread(|&run: &Option<f64>| run);
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, greatest: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { least: 1.0, median: 2.5, greatest: 4.0 }));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn all_is_not_said_of_nearly_all() {
        assert_eq!((percent(0.99999), percent(1.0)), (99.99, 100.0));
    }
}
