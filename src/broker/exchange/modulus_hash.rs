//! `x-modulus-hash`: a message goes to the binding whose number is its key's hash modulo the bindings (RabbitMQ's
//! sharding plugin; in the core from 4.3). Messages of one key go one way, until a binding comes or goes.

use xxhash_rust::xxh3::xxh3_64;

use super::{Binding, Envelope, Route, Target, members::Members};
use crate::{broker::refusal::Refusal, data::value::Table};

#[derive(Debug, Default)]
struct ModulusHash(Members);

/// A modulus hash exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Box::<ModulusHash>::default())
}

impl Route for ModulusHash {
    fn bind(&mut self, binding: &Binding) {
        self.0.insert(binding);
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        self.0.remove(binding);
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        let all = self.0.all();
        let hash = xxh3_64(envelope.routing_key().as_bytes());
        let chosen = hash.checked_rem(all.len() as u64).and_then(|n| usize::try_from(n).ok());
        targets.extend(chosen.and_then(|n| all.get(n)).cloned());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::broker::exchange::testing::Bound;

    #[test]
    fn a_key_goes_one_way_and_keys_spread_evenly() {
        let bound = Bound::new("x-modulus-hash", &[]).bind("a", "").bind("b", "").bind("c", "").bind("d", "");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for n in 0..4_000 {
            let key = n.to_string();
            let found = bound.route(&key);
            assert_eq!(found, bound.route(&key));
            let [one] = &found[..] else { panic!("{found:?}") };
            *counts.entry(one.clone()).or_default() += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|n| (800..1_200).contains(n)), "{counts:?}");
        assert!(Bound::new("x-modulus-hash", &[]).route("k").is_empty());
    }
}
