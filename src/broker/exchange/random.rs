//! `x-random`: each message goes to one binding, chosen by chance; keys do not matter (RabbitMQ's plugin of that name).

use super::{Binding, Envelope, Route, Target, members::Members};
use crate::{broker::refusal::Refusal, data::value::Table};

#[derive(Debug, Default)]
struct Random(Members);

/// A random exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Box::<Random>::default())
}

impl Route for Random {
    fn bind(&mut self, binding: &Binding) {
        self.0.insert(binding);
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        self.0.remove(binding);
    }

    fn route(&self, _: &Envelope<'_>, targets: &mut Vec<Target>) {
        targets.extend(self.0.any().cloned());
    }

    fn by_key(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::broker::exchange::testing::Bound;

    #[test]
    fn each_message_goes_to_one_and_none_is_left_out() {
        let mut bound = Bound::new("x-random", &[]).bind("a", "1").bind("b", "2").bind("c", "");
        let mut seen = BTreeSet::new();
        for _ in 0..1_000 {
            let found = bound.route("zzz");
            assert_eq!(found.len(), 1);
            seen.extend(found);
        }
        assert_eq!(seen.len(), 3);
        bound.unbind("a", "1", &[]);
        bound.unbind("c", "", &[]);
        assert_eq!(bound.route(""), ["b"]);
        bound.unbind("b", "2", &[]);
        assert!(bound.route("").is_empty());
    }
}
