//! `x-local-random`: each message goes to one of the classic queues bound, chosen by chance (RabbitMQ 4.0). All queues
//! are local to the one node there is.

use super::{Binding, Route, Target, random::Random};
use crate::{
    broker::refusal::Refusal,
    data::{
        term,
        value::{Table, Value},
    },
};

/// A local random exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Random::of(check))
}

/// Classic queues only, and by no key.
fn check(binding: &Binding) -> Result<(), Refusal> {
    if !binding.routing_key.is_empty() {
        let key = &binding.routing_key;
        return Err(Refusal::Binding(format!("Non empty binding '{key}' key not permitted")));
    }
    let kind = match &binding.target {
        Target::Exchange(_) => return Err(Refusal::Binding("Destination not found".to_owned())),
        Target::Topic(_) => "stream".to_owned(),
        Target::Queue(queue) => {
            let kind = queue.options.arguments.field("x-queue-type").and_then(Value::octets);
            kind.map_or_else(|| "classic".to_owned(), term::text)
        }
    };
    if kind == "classic" {
        return Ok(());
    }
    Err(Refusal::Binding(format!("Queue type rabbit_{kind}_queue not valid for this exchange type")))
}

#[cfg(test)]
mod tests {
    use crate::broker::{exchange::testing::Bound, refusal::Refusal};

    #[test]
    fn only_classic_queues_and_empty_keys_are_taken() {
        let refused = |key: &str| {
            let none = crate::data::value::Table::default();
            Bound::new("x-local-random", &[]).bind_table("a", key, &none).unwrap_err()
        };
        assert_eq!(refused("k"), Refusal::Binding("Non empty binding 'k' key not permitted".to_owned()));
        assert_eq!(refused(""), Refusal::Binding("Destination not found".to_owned()));
    }
}
