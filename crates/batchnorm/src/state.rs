//! What a layer remembers, under PyTorch's names and in its order: weight, bias,
//! running_mean, running_var, num_batches_tracked.

use ndarray::{Array1, ArrayView1};

use crate::admit::Signature;
use crate::config::Config;
use crate::dtype::Element;
use crate::error::Error;

/// The parameters and buffers of a layer. Each may be absent on its own; what an
/// absence means for a forward pass is in [`crate::admit`]'s table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State<P> {
    /// γ, of length C.
    pub weight: Option<Array1<P>>,
    /// β, of length C.
    pub bias: Option<Array1<P>>,
    /// The running mean, of length C.
    pub running_mean: Option<Array1<P>>,
    /// The running unbiased variance, of length C.
    pub running_var: Option<Array1<P>>,
    /// Training batches seen. An i64 whatever the dtype of the rest.
    pub num_batches_tracked: Option<i64>,
}

/// One entry of a state dictionary.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<P> {
    /// A parameter or a running statistic.
    Vector(Array1<P>),
    /// The counter.
    Counter(i64),
}

impl<P> Entry<P> {
    fn kind(&self) -> &'static str {
        match self {
            Entry::Vector(_) => "a vector",
            Entry::Counter(_) => "an integer",
        }
    }
}

/// The counter's name, the only entry that is no vector.
const COUNTER: &str = "num_batches_tracked";

impl<P: Element> State<P> {
    /// A fresh layer's: weight 1, bias 0, and where statistics are tracked,
    /// running_mean 0, running_var 1 and num_batches_tracked 0.
    pub fn new(config: &Config) -> Self {
        let filled =
            |wanted: bool, value| wanted.then(|| Array1::from_elem(config.num_features, P::from_f64(value)));
        let tracked = config.track_running_stats;
        State {
            weight: filled(config.weight, 1.0),
            bias: filled(config.bias, 0.0),
            running_mean: filled(tracked, 0.0),
            running_var: filled(tracked, 1.0),
            num_batches_tracked: tracked.then_some(0),
        }
    }

    /// Running statistics and counter as new, parameters as they are.
    pub fn reset_running_stats(&mut self) {
        fill(&mut self.running_mean, 0.0);
        fill(&mut self.running_var, 1.0);
        self.num_batches_tracked = self.num_batches_tracked.map(|_| 0);
    }

    /// Weight 1 and bias 0, where present.
    pub fn reset_affine(&mut self) {
        fill(&mut self.weight, 1.0);
        fill(&mut self.bias, 0.0);
    }

    /// The entries that are present, in PyTorch's order.
    pub fn to_entries(&self) -> Vec<(&'static str, Entry<P>)> {
        let vectors = self.vectors().into_iter();
        let vectors = vectors.filter_map(|(name, v)| Some((name, Entry::Vector(v?.to_owned()))));
        vectors.chain(self.num_batches_tracked.map(|count| (COUNTER, Entry::Counter(count)))).collect()
    }

    /// Takes over `entries`, in any order: exactly those that are present here,
    /// each with the length that it has here. On an error nothing is taken over.
    ///
    /// # Errors
    /// [`Error::UnexpectedEntry`] for a name that is absent here or comes twice,
    /// [`Error::MissingEntry`], [`Error::EntryKind`], and [`Error::NumFeatures`]
    /// for another length.
    pub fn load_entries<N: AsRef<str>>(
        &mut self,
        entries: impl IntoIterator<Item = (N, Entry<P>)>,
    ) -> Result<(), Error> {
        let expected: Vec<&'static str> = self.to_entries().into_iter().map(|(name, _)| name).collect();
        let mut loaded = State::default();
        for (name, entry) in entries {
            let unexpected = |times| {
                let name = name.as_ref().to_owned();
                Err(Error::UnexpectedEntry { expected: expected.clone(), name, times })
            };
            let Some(&known) = expected.iter().find(|&&known| known == name.as_ref()) else {
                return unexpected("besides");
            };
            if loaded.holds(known) {
                return unexpected("twice");
            }
            loaded.put(known, entry)?;
        }
        for name in expected {
            if !loaded.holds(name) {
                return Err(Error::MissingEntry { name });
            }
        }
        for ((name, old), (_, new)) in self.vectors().into_iter().zip(loaded.vectors()) {
            if let (Some(old), Some(new)) = (old, new) {
                check_length(name, old.len(), Some(new))?;
            }
        }
        *self = loaded;
        Ok(())
    }

    /// The dtype and lengths of what is present.
    pub fn signature(&self) -> Signature {
        let [weight, bias, running_mean, running_var] =
            self.vectors().map(|(_, vector)| vector.map(|vector| (P::DTYPE, vector.len())));
        Signature { weight, bias, running_mean, running_var }
    }

    fn vectors(&self) -> [(&'static str, Option<ArrayView1<'_, P>>); 4] {
        [
            ("weight", view(&self.weight)),
            ("bias", view(&self.bias)),
            ("running_mean", view(&self.running_mean)),
            ("running_var", view(&self.running_var)),
        ]
    }

    fn holds(&self, name: &str) -> bool {
        match name {
            COUNTER => self.num_batches_tracked.is_some(),
            _ => self.vectors().iter().any(|(known, vector)| *known == name && vector.is_some()),
        }
    }

    fn put(&mut self, name: &'static str, entry: Entry<P>) -> Result<(), Error> {
        let slot = match name {
            "weight" => &mut self.weight,
            "bias" => &mut self.bias,
            "running_mean" => &mut self.running_mean,
            "running_var" => &mut self.running_var,
            _ => return self.put_counter(name, entry),
        };
        match entry {
            Entry::Vector(vector) => *slot = Some(vector),
            other => return Err(Error::EntryKind { name, expected: "a vector", actual: other.kind() }),
        }
        Ok(())
    }

    fn put_counter(&mut self, name: &'static str, entry: Entry<P>) -> Result<(), Error> {
        match entry {
            Entry::Counter(count) => self.num_batches_tracked = Some(count),
            other => return Err(Error::EntryKind { name, expected: "an integer", actual: other.kind() }),
        }
        Ok(())
    }
}

/// The vector, if present, as a view.
pub(crate) fn view<P>(vector: &Option<Array1<P>>) -> Option<ArrayView1<'_, P>> {
    vector.as_ref().map(|vector| vector.view())
}

fn fill<P: Element>(vector: &mut Option<Array1<P>>, value: f64) {
    if let Some(vector) = vector {
        vector.fill(P::from_f64(value));
    }
}

/// Refuses a parameter or buffer whose length is not the channel count.
pub(crate) fn check_length<P>(
    name: &'static str,
    expected: usize,
    vector: Option<ArrayView1<'_, P>>,
) -> Result<(), Error> {
    match vector {
        Some(vector) if vector.len() != expected => {
            Err(Error::NumFeatures { name, expected, actual: vector.len() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn trained() -> State<f32> {
        State {
            weight: Some(array![2.0, 3.0]),
            bias: Some(array![4.0, 5.0]),
            running_mean: Some(array![6.0, 7.0]),
            running_var: Some(array![8.0, 9.0]),
            num_batches_tracked: Some(10),
        }
    }

    #[test]
    fn entries_come_in_pytorchs_order_and_only_those_present() {
        let names = |state: State<f32>| state.to_entries().iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let all = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        assert_eq!(names(State::new(&Config::new(2))), all);
        assert_eq!(names(State::new(&Config::new(2).affine(false))), all[2..]);
        let untracked = Config { track_running_stats: false, bias: false, ..Config::new(2) };
        assert_eq!(names(State::new(&untracked)), ["weight"]);
    }

    #[test]
    fn a_state_survives_the_way_out_and_in_whatever_the_order() {
        let mut fresh = State::new(&Config::new(2));
        fresh.load_entries(trained().to_entries().into_iter().rev()).unwrap();
        assert_eq!(fresh, trained());
    }

    #[test]
    fn resets_are_pytorchs() {
        let mut state = trained();
        state.reset_running_stats();
        let expected =
            State { weight: trained().weight, bias: trained().bias, ..State::new(&Config::new(2)) };
        assert_eq!(state, expected);
        state.reset_affine();
        assert_eq!(state, State::new(&Config::new(2)));
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused_by_name_and_leaves_the_old() {
        let refusal = |change: fn(&mut Vec<(&'static str, Entry<f32>)>)| {
            let mut entries = State::new(&Config::new(2)).to_entries();
            change(&mut entries);
            let mut state = trained();
            let error = state.load_entries(entries).unwrap_err().to_string();
            assert_eq!(state, trained(), "changed although refused: {error}");
            error
        };
        assert_eq!(refusal(|e| drop(e.remove(3))), "expected \"running_var\" in the state, got none");
        assert_eq!(
            refusal(|e| e[1] = ("bias", Entry::Vector(array![1.0, 2.0, 3.0]))),
            "bias should contain 2 elements not 3"
        );
        assert_eq!(
            refusal(|e| e[4].1 = Entry::Vector(array![1.0])),
            "expected num_batches_tracked to be an integer, got a vector"
        );
        assert_eq!(refusal(|e| e[0].1 = Entry::Counter(1)), "expected weight to be a vector, got an integer");
        assert!(refusal(|e| e.push(("gamma", Entry::Counter(1)))).ends_with("got \"gamma\" besides"));
        assert!(refusal(|e| e.push(("weight", Entry::Counter(1)))).ends_with("got \"weight\" twice"));
    }
}
