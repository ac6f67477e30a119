//! Errors in units in the last place, summed up.

use serde::{Deserialize, Serialize};

use crate::check::CaseReport;
use crate::number::Number;

/// Of some cases, each of which counts by its worst settled element
/// ([`Accuracy::ulps`](crate::check::Accuracy::ulps)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulps {
    /// Half of the cases are no worse: the lower of the middle two where their number is even.
    pub median: Number,
    /// The worst of all.
    pub worst: Number,
}

impl Ulps {
    /// None where no case has a settled element.
    pub fn of<'a>(cases: impl Iterator<Item = &'a CaseReport>) -> Option<Ulps> {
        Ulps::of_errors(cases.filter_map(|case| case.accuracy.as_ref()?.ulps).collect())
    }

    fn of_errors(mut errors: Vec<f64>) -> Option<Ulps> {
        errors.sort_by(f64::total_cmp);
        let worst = Number(*errors.last()?);
        Some(Ulps { median: Number(errors[(errors.len() - 1) / 2]), worst })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_cases_are_no_worse_than_the_median() {
        let ulps = |errors: &[f64]| Ulps::of_errors(errors.to_vec());
        assert_eq!(ulps(&[]), None);
        assert_eq!(ulps(&[2.0]), Some(Ulps { median: Number(2.0), worst: Number(2.0) }));
        let four = ulps(&[9.0, 0.5, f64::INFINITY, 1.0]);
        assert_eq!(four, Some(Ulps { median: Number(1.0), worst: Number(f64::INFINITY) }));
    }
}
