//! `topic`: binding keys are patterns of dot-separated words (AMQP 0-9-1 §3.1.3.3).

use super::{Binding, Route, Target, pattern::Patterns};
use crate::data::value::Table;

#[derive(Debug, Default)]
struct TopicExchange(Patterns<Target>);

/// A topic exchange without bindings.
#[must_use]
pub fn open() -> Box<dyn Route> {
    Box::<TopicExchange>::default()
}

impl Route for TopicExchange {
    fn bind(&mut self, binding: &Binding) {
        // A second binding of the same target and key (their arguments differ) must not grow the trie.
        let id = binding.target.id();
        self.0.remove(&binding.routing_key, |target| target.id() == id);
        self.0.insert(&binding.routing_key, binding.target.clone());
    }

    fn unbind(&mut self, binding: &Binding, last: bool) {
        let id = binding.target.id();
        if last {
            self.0.remove(&binding.routing_key, |target| target.id() == id);
        }
    }

    fn route(&self, routing_key: &str, _: Option<&Table>, targets: &mut Vec<Target>) {
        self.0.matches(routing_key, targets);
    }
}
