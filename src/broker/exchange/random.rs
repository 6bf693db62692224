//! `x-random`: each message goes to one binding, chosen by chance; keys do not matter (RabbitMQ's plugin of that name).

use super::{Binding, Envelope, Route, Target, members::Members};
use crate::{broker::refusal::Refusal, data::value::Table};

/// One of the bindings by chance, of those that its check lets in.
#[derive(Debug)]
pub(super) struct Random {
    members: Members,
    check: fn(&Binding) -> Result<(), Refusal>,
}

impl Random {
    pub(super) fn of(check: fn(&Binding) -> Result<(), Refusal>) -> Box<dyn Route> {
        Box::new(Self { members: Members::default(), check })
    }
}

/// A random exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Random::of(|_| Ok(())))
}

impl Route for Random {
    fn check(&self, binding: &Binding) -> Result<(), Refusal> {
        (self.check)(binding)
    }

    fn bind(&mut self, binding: &Binding) {
        self.members.insert(binding);
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        self.members.remove(binding);
    }

    fn route(&self, _: &Envelope<'_>, targets: &mut Vec<Target>) {
        targets.extend(self.members.any().cloned());
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
