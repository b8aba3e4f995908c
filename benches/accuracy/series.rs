//! Several scans of one contender, together.

use crate::contender::Contender;
use crate::outcome::Outcome;

/// The scans of a contender on one network, one for each seed.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) contender: Contender,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Series {
    /// The mean of a figure over the scans that have it.
    pub(crate) fn mean(&self, figure: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.outcomes.iter().filter_map(figure).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The least of a figure.
    pub(crate) fn least(&self, figure: impl Fn(&Outcome) -> f64) -> Option<f64> {
        self.outcomes.iter().map(figure).min_by(f64::total_cmp)
    }

    /// How many stated intervals held the truth, of how many that were stated.
    pub(crate) fn held(&self) -> Option<(usize, usize)> {
        let stated: Vec<bool> = self.outcomes.iter().filter_map(Outcome::holds).collect();
        (!stated.is_empty()).then(|| (stated.iter().filter(|&&held| held).count(), stated.len()))
    }
}
