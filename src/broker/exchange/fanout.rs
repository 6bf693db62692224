//! `fanout`: every binding gets every message (AMQP 0-9-1 §3.1.3.2).

use std::collections::BTreeMap;

use super::{Binding, Envelope, Route, Target, TargetId};
use crate::{broker::refusal::Refusal, data::value::Table};

/// Targets with the number of bindings to each (their keys differ, and do not matter).
#[derive(Debug, Default)]
pub(super) struct Fanout(BTreeMap<TargetId, (Target, usize)>);

/// A fanout exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Box::<Fanout>::default())
}

impl Route for Fanout {
    fn bind(&mut self, binding: &Binding) {
        self.0.entry(binding.target.id()).or_insert_with(|| (binding.target.clone(), 0)).1 += 1;
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        let id = binding.target.id();
        if let Some((_, bindings)) = self.0.get_mut(&id) {
            *bindings -= 1;
            if *bindings == 0 {
                self.0.remove(&id);
            }
        }
    }

    fn route(&self, _: &Envelope<'_>, targets: &mut Vec<Target>) {
        targets.extend(self.0.values().map(|(target, _)| target.clone()));
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::exchange::testing::Bound;

    #[test]
    fn a_target_stays_until_its_last_binding_goes() {
        let mut bound = Bound::new("fanout", &[]).bind("a", "1").bind("a", "2").bind("b", "");
        assert_eq!(bound.route("zzz"), ["a", "b"]);
        bound.unbind("a", "1", &[]);
        assert_eq!(bound.route(""), ["a", "b"]);
        bound.unbind("a", "2", &[]);
        assert_eq!(bound.route(""), ["b"]);
    }
}
