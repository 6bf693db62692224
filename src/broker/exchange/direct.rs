//! `direct`: the binding key equals the routing key (AMQP 0-9-1 §3.1.3.1).

use std::{collections::HashMap, sync::Arc};

use super::{Binding, Route, Target};
use crate::data::value::Table;

#[derive(Debug, Default)]
struct Direct(HashMap<Arc<str>, Vec<Target>>);

/// A direct exchange without bindings.
#[must_use]
pub fn open() -> Box<dyn Route> {
    Box::<Direct>::default()
}

impl Route for Direct {
    fn bind(&mut self, binding: &Binding) {
        let targets = self.0.entry(binding.routing_key.clone()).or_default();
        if !targets.iter().any(|t| t.id() == binding.target.id()) {
            targets.push(binding.target.clone());
        }
    }

    fn unbind(&mut self, binding: &Binding, last: bool) {
        let Some(targets) = self.0.get_mut(&binding.routing_key).filter(|_| last) else { return };
        targets.retain(|t| t.id() != binding.target.id());
        if targets.is_empty() {
            self.0.remove(&binding.routing_key);
        }
    }

    fn route(&self, routing_key: &str, _: Option<&Table>, targets: &mut Vec<Target>) {
        targets.extend(self.0.get(routing_key).into_iter().flatten().cloned());
    }
}
