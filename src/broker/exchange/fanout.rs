//! `fanout`: every binding gets every message (AMQP 0-9-1 §3.1.3.2).

use std::collections::BTreeMap;

use super::{Binding, Route, Target, TargetId};
use crate::data::value::Table;

/// Targets with the number of bindings to each (their keys differ, and do not matter).
#[derive(Debug, Default)]
struct Fanout(BTreeMap<TargetId, (Target, usize)>);

/// A fanout exchange without bindings.
#[must_use]
pub fn open() -> Box<dyn Route> {
    Box::<Fanout>::default()
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

    fn route(&self, _: &str, _: Option<&Table>, targets: &mut Vec<Target>) {
        targets.extend(self.0.values().map(|(target, _)| target.clone()));
    }
}
