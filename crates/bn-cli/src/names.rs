//! "Did you mean": the names nearest to one that is not known.

use anyhow::anyhow;

/// Below this Jaro-Winkler similarity two names have little in common; 1 is equality.
const SIMILAR: f64 = 0.75;

/// The error for an unknown name: what it is, what was meant perhaps, and where
/// the whole list is.
pub fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    list: &str,
) -> anyhow::Error {
    let near = nearest(name, known);
    match near.as_slice() {
        [] => anyhow!("no {what} {name:?}; {list}"),
        near => anyhow!("no {what} {name:?}; near it: {}; {list}", near.join(", ")),
    }
}

/// At most five names that are similar or contain the given one, the nearest first.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let similarity = |other: &str| {
        // A case is often remembered by the part after the slash.
        let tail = other.split_once('/').map_or(other, |(_, tail)| tail);
        let similar = strsim::jaro_winkler(name, other).max(strsim::jaro_winkler(name, tail));
        if other.contains(name) { similar.max(SIMILAR) } else { similar }
    };
    let mut near: Vec<(f64, &str)> = known.map(|other| (similarity(other), other)).collect();
    near.retain(|(similarity, _)| *similarity >= SIMILAR);
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter().take(5).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_and_a_part_are_both_found() {
        let known = ["running-stats/var-unbiased", "momentum/cumulative", "ranks/four"];
        assert_eq!(nearest("momentum/cumulativ", known.into_iter()), ["momentum/cumulative"]);
        assert_eq!(nearest("unbiased", known.into_iter()), ["running-stats/var-unbiased"]);
        assert_eq!(nearest("var-unbiassed", known.into_iter()), ["running-stats/var-unbiased"]);
        assert!(nearest("zzz", known.into_iter()).is_empty());
    }
}
