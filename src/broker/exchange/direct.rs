//! `direct`: a binding gets what is published with its key (AMQP 0-9-1 §3.1.3.1).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Binding, Envelope, Route, Target, TargetId};
use crate::{broker::refusal::Refusal, data::value::Table};

/// Targets by key. A second binding of the same target and key (their arguments differ) changes nothing.
#[derive(Debug, Default)]
struct Direct(HashMap<Arc<str>, BTreeMap<TargetId, Target>>);

/// A direct exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Box::<Direct>::default())
}

impl Route for Direct {
    fn bind(&mut self, binding: &Binding) {
        let targets = self.0.entry(binding.routing_key.clone()).or_default();
        targets.insert(binding.target.id(), binding.target.clone());
    }

    fn unbind(&mut self, binding: &Binding, last: bool) {
        if !last {
            return;
        }
        if let Some(targets) = self.0.get_mut(&binding.routing_key) {
            targets.remove(&binding.target.id());
            if targets.is_empty() {
                self.0.remove(&binding.routing_key);
            }
        }
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        for key in envelope.keys {
            targets.extend(self.0.get(*key).into_iter().flat_map(BTreeMap::values).cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::exchange::testing::Bound;

    #[test]
    fn the_whole_key_must_match() {
        let bound = Bound::new("direct", &[]).bind("a", "k1").bind("b", "k1").bind("b", "k2");
        for (key, expected) in [("k1", &["a", "b"][..]), ("k2", &["b"]), ("k", &[]), ("", &[])] {
            assert_eq!(bound.route(key), expected, "{key}");
        }
    }

    #[test]
    fn bindings_that_differ_in_arguments_go_one_by_one() {
        let (none, one): (&[_], &[_]) = (&[], &[("n", 1)]);
        let mut bound = Bound::new("direct", &[]).bind_with("a", "k", none).bind_with("a", "k", one);
        bound.unbind("a", "k", none);
        assert_eq!(bound.route("k"), ["a"]);
        bound.unbind("a", "k", one);
        assert!(bound.route("k").is_empty());
    }
}
