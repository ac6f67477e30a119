//! What may be the matter: causes, by name.
//!
//! A cause has an id that never changes, by which records and the registry of conventions
//! name it. The causes are the suite's own mutants (`running-var-biased`, …), the poor
//! arithmetics below, what an answer does in place of what it should (`accepts-…`), and, where
//! nothing else fits, the array that is wrong (`unexplained-…`).

use std::fmt;

use bn_suite::mutants;
use serde::{Deserialize, Serialize};

use crate::arithmetic::{Arithmetic, Kept};
use crate::words::{KINDS, WORDS};

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Another function than batch norm.
    Wrong,
    /// The right function, further from the truth than allowed.
    Inaccurate,
    /// Another function, and documented.
    Convention,
    /// Claimed, and declined with an error that says so.
    Unsupported,
}

impl Severity {
    /// All, the worst first.
    pub const ALL: [Severity; 4] =
        [Severity::Wrong, Severity::Inaccurate, Severity::Convention, Severity::Unsupported];

    /// The name in JSON and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Wrong => "wrong",
            Severity::Inaccurate => "inaccurate",
            Severity::Convention => "convention",
            Severity::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A cause in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// Its id.
    pub id: String,
    /// What the engine does, in one line.
    pub title: String,
    /// What that means, and what to do about it.
    pub explanation: String,
    /// How bad it is where nobody documents it.
    pub severity: Severity,
}

/// An arithmetic that explains what is inaccurate, under its id. The first that does is
/// preferred: each loses in one way more than the one before.
pub const ARITHMETICS: [(&str, Arithmetic); 5] = [
    ("sums-term-by-term", Arithmetic { kept_in: Kept::AsExpected, serial: true, uncentred: false }),
    ("variance-uncentred", Arithmetic { kept_in: Kept::AsExpected, serial: false, uncentred: true }),
    (
        "variance-uncentred-term-by-term",
        Arithmetic { kept_in: Kept::AsExpected, serial: true, uncentred: true },
    ),
    ("kept-in-f32", Arithmetic { kept_in: Kept::F32, serial: true, uncentred: true }),
    ("kept-in-16-bits", Arithmetic { kept_in: Kept::SixteenBits, serial: true, uncentred: true }),
];

impl Cause {
    /// The same array, where it is known besides that it is 0 throughout.
    pub fn of_zeros(self) -> Cause {
        let Some(place) = self.id.strip_prefix("unexplained-") else { return self };
        let title = self.title.replace("is another function", "is 0 throughout");
        Cause::of(&format!("zero-{place}"), self.severity, &title)
    }

    /// The cause of this id; `detail` says more about one that is not among the mutants, the
    /// arithmetics and those with words of their own.
    pub fn of(id: &str, severity: Severity, detail: &str) -> Cause {
        let cause = |title: &str, explanation: &str| Cause {
            id: id.into(),
            title: title.into(),
            explanation: explanation.into(),
            severity,
        };
        if let Some((_, title, explanation)) = WORDS.iter().find(|(known, ..)| *known == id) {
            return cause(title, explanation);
        }
        if let Some(mutant) = mutants::by_name(id) {
            let explanation = format!(
                "The answers are those of the suite's mutant {id}, which is batch norm with this one thing changed. \
                 bn mutants --mutant {id} lists the cases that refuse it."
            );
            return cause(mutant.fault, &explanation);
        }
        let of_kind = KINDS.iter().find(|(beginning, _)| id.starts_with(beginning));
        cause(
            detail,
            of_kind.map_or("The form of the answer is not what the case asks for.", |(_, text)| text),
        )
    }
}
