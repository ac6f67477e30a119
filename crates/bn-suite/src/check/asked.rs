//! What an engine is asked: the case as it stands, or without what the engine does not
//! have and the case does not turn on.
//!
//! Nearly every case carries PyTorch's counter of batches, and most are put to a
//! `BatchNorm1d`. A framework that counts nothing, or whose one layer takes any rank, would
//! be asked next to nothing. It is asked the same with `num_batches_tracked` null, and with
//! the rank `any`, where neither decides an answer: not where momentum is null, and not
//! where the rank, or the counter, has to be refused.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::capability::Capability;
use crate::case::Rank;
use crate::golden::Golden;
use crate::outcome::RefusalKind;

/// The case as an engine with these claims is asked it, and what is right then.
pub fn asked<'a>(golden: &'a Golden, claims: &BTreeSet<Capability>) -> Cow<'a, Golden> {
    let mut asked = Cow::Borrowed(golden);
    if !claims.contains(&Capability::Counter) && counter_is_idle(golden) {
        let golden = asked.to_mut();
        golden.case.state.num_batches_tracked = None;
        golden.expected.iter_mut().for_each(|expected| expected.num_batches_tracked = None);
    }
    if claims.contains(&Capability::RankAny) && !claims.contains(&rank(golden)) && rank_is_idle(golden) {
        asked.to_mut().case.layer.rank = Rank::Any;
    }
    asked
}

fn rank(golden: &Golden) -> Capability {
    match golden.case.layer.rank {
        Rank::One => Capability::Rank1d,
        Rank::Two => Capability::Rank2d,
        Rank::Three => Capability::Rank3d,
        Rank::Any => Capability::RankAny,
    }
}

fn counter_is_idle(golden: &Golden) -> bool {
    golden.case.state.num_batches_tracked.is_some() && golden.case.layer.momentum.is_some()
}

fn rank_is_idle(golden: &Golden) -> bool {
    golden.expected.iter().all(|expected| expected.refused != Some(RefusalKind::Rank))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Expected;
    use crate::{catalogue, fixtures, truth};

    /// What is asked with less is answered with less, and otherwise the same: the truth of
    /// the smaller case, solved anew, is what it is checked against.
    #[test]
    fn the_truth_of_the_smaller_case_is_the_smaller_truth() {
        let claims: BTreeSet<Capability> = Capability::all()
            .into_iter()
            .filter(|claim| !matches!(claim, Capability::Counter | Capability::Rank1d | Capability::Rank2d))
            .collect();
        let entries = catalogue::all();
        let stored = entries.iter().filter(|entry| entry.stored);
        let (mut changed, mut left) = (0, 0);
        for golden in stored.map(fixtures::solve) {
            match asked(&golden, &claims) {
                Cow::Borrowed(_) => left += 1,
                Cow::Owned(asked) => {
                    changed += 1;
                    // As text, in which NaN equals NaN.
                    let text = |expected: &[Expected]| serde_json::to_string(expected).unwrap();
                    assert_eq!(
                        text(&truth::solve(&asked.case)),
                        text(&asked.expected),
                        "{}",
                        asked.case.name
                    );
                    let needs = asked.case.requires();
                    let lacks: Vec<_> = needs.difference(&claims).collect();
                    let is_needed = |lack: &&&Capability| match lack {
                        Capability::Counter => asked.case.layer.momentum.is_none(),
                        _ => asked.expected.iter().any(|step| step.refused == Some(RefusalKind::Rank)),
                    };
                    assert!(lacks.iter().all(|lack| is_needed(&lack)), "{}: {lacks:?}", asked.case.name);
                }
            }
        }
        assert!(changed > 400 && left > 0, "{changed} {left}");
    }

    #[test]
    fn who_claims_everything_is_asked_everything() {
        let entries = catalogue::all();
        let golden = entries.iter().find(|entry| entry.stored).map(fixtures::solve).unwrap();
        assert!(matches!(asked(&golden, &Capability::all()), Cow::Borrowed(_)));
    }
}
