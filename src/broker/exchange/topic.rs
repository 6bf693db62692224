//! `topic`: binding keys are patterns of dot-separated words (AMQP 0-9-1 §3.1.3.3).

use super::{Binding, Envelope, Route, Target, TargetId, pattern::Patterns};
use crate::{broker::refusal::Refusal, data::value::Table};

/// A second binding of the same target and key (their arguments differ) changes nothing.
#[derive(Debug, Default)]
struct TopicExchange(Patterns<TargetId, Target>);

/// A topic exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Box::<TopicExchange>::default())
}

impl Route for TopicExchange {
    fn bind(&mut self, binding: &Binding) {
        self.0.insert(&binding.routing_key, binding.target.id(), binding.target.clone());
    }

    fn unbind(&mut self, binding: &Binding, last: bool) {
        if last {
            self.0.remove(&binding.routing_key, &binding.target.id());
        }
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        for key in envelope.keys {
            self.0.matches(key, |target| targets.push(target.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::exchange::testing::Bound;

    #[test]
    fn a_target_with_two_patterns_leaves_with_the_second() {
        let mut bound = Bound::new("topic", &[]).bind("a", "x.#").bind("a", "*.y").bind("b", "x.*");
        assert_eq!(bound.route("x.y"), ["a", "b"], "one each, however many patterns match");
        bound.unbind("a", "x.#", &[]);
        assert_eq!(bound.route("x.y"), ["a", "b"]);
        assert_eq!(bound.route("x.z"), ["b"]);
        bound.unbind("a", "*.y", &[]);
        assert_eq!(bound.route("x.y"), ["b"]);
    }
}
