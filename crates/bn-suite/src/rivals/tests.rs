//! What the rivals' tests share: engines that are wrong by one thing, and what
//! holds for every rival.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::*;
use crate::engine::{About, EngineError};
use crate::engines::{self, batchnorm::BatchnormEngine};

/// Our engine, asked another question or answering something else.
pub(super) struct Wrong {
    engine: BatchnormEngine,
    ask: fn(&mut Case),
    answer: fn(&mut BTreeMap<Field, Tensor>),
}

/// An engine that does not hear the question right.
pub(super) fn asked_otherwise(ask: fn(&mut Case)) -> Wrong {
    Wrong { engine: BatchnormEngine::default(), ask, answer: |_| {} }
}

/// An engine that changes every step's answer.
pub(super) fn answering_otherwise(answer: fn(&mut BTreeMap<Field, Tensor>)) -> Wrong {
    Wrong { engine: BatchnormEngine::default(), ask: |_| {}, answer }
}

impl Engine for Wrong {
    fn about(&self) -> &About {
        self.engine.about()
    }

    fn run(&mut self, case: &Case) -> Result<Vec<Outcome>, EngineError> {
        let mut case = case.clone();
        (self.ask)(&mut case);
        let mut outcomes = self.engine.run(&case)?;
        outcomes.iter_mut().for_each(|outcome| (self.answer)(&mut outcome.fields));
        Ok(outcomes)
    }
}

static RIVALS: LazyLock<Vec<Rival>> = LazyLock::new(|| all().expect("the recorded vectors are sound"));

/// Every rival takes our engine and the textbook's, but for ONNX's to the letter.
#[test]
fn right_engines_are_accepted() {
    for rival in RIVALS.iter().filter(|rival| rival.name != "onnx") {
        for name in engines::names() {
            let engine = &mut engines::by_name(name).unwrap();
            assert_eq!(rival.objection(engine.as_mut()), None, "{} and {name}", rival.name);
        }
    }
}

#[test]
fn no_answer_is_no_agreement() {
    let mut refusing = asked_otherwise(|case| case.layer.eps = -1.0);
    let mut silent = answering_otherwise(BTreeMap::clear);
    for rival in &*RIVALS {
        let objection = rival.objection(&mut refusing).unwrap();
        assert!(objection.contains("refused: "), "{}: {objection}", rival.name);
        let objection = rival.objection(&mut silent).unwrap();
        assert!(objection.contains("missing"), "{}: {objection}", rival.name);
    }
}

#[test]
fn names_and_vectors_are_unique() {
    let names: BTreeSet<_> = RIVALS.iter().map(|rival| rival.name).collect();
    assert_eq!(names.len(), RIVALS.len());
    for Rival { name, vectors, .. } in &*RIVALS {
        let cases: BTreeSet<_> = vectors.iter().map(|vector| &vector.case.name).collect();
        assert_eq!(cases.len(), vectors.len(), "{name}");
    }
}
