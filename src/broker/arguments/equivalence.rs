//! Whether a redeclaration says the same as what exists. (rabbit_amqqueue: assert_equivalence.)

use super::{QueueKind, kind_of, known};
use crate::{
    broker::{
        profile::Profile,
        queue::QueueOptions,
        refusal::{Difference, Refusal, Subject},
    },
    data::value::{Table, Value},
};

/// Whether a redeclared queue is the one that exists, which is of that kind.
///
/// # Errors
/// [`Refusal::Inequivalent`] naming the first difference, properties first.
pub fn equivalent(
    name: &str,
    kind: QueueKind,
    received: &QueueOptions,
    current: &QueueOptions,
    profile: &Profile,
) -> Result<(), Refusal> {
    property("durable", name, received.survives(), current.survives())?;
    property("auto_delete", name, received.auto_delete, current.auto_delete)?;
    arguments(name, kind, &received.arguments, &current.arguments, profile)
}

fn property(arg: &str, queue: &str, received: bool, current: bool) -> Result<(), Refusal> {
    if received == current {
        return Ok(());
    }
    let difference =
        Box::new(Difference::Property { received: received.to_string(), current: current.to_string() });
    Err(Refusal::Inequivalent { arg: arg.to_owned(), on: Subject::queue(queue), difference })
}

/// Only what the queue's type knows is compared.
pub(super) fn arguments(
    queue: &str,
    kind: QueueKind,
    received: &Table,
    current: &Table,
    profile: &Profile,
) -> Result<(), Refusal> {
    for arg in known::of_queues(kind, profile) {
        // A type that is named where it need not be makes no difference (3.10, too).
        let named = [received, current].map(|table| table.field(arg).is_some());
        if arg == "x-queue-type" && named != [true, true] && kind_of(received) == kind_of(current) {
            continue;
        }
        argument(arg, Subject::queue(queue), received.field(arg), current.field(arg))?;
    }
    Ok(())
}

/// Whether one argument is the same on both sides.
///
/// # Errors
/// [`Refusal::Inequivalent`].
pub fn argument(
    arg: &str,
    on: Subject,
    received: Option<&Value>,
    current: Option<&Value>,
) -> Result<(), Refusal> {
    let same = match (received, current) {
        (None, None) => true,
        (Some(a), Some(b)) => a.equivalent(b),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if same {
        return Ok(());
    }
    let difference =
        Box::new(Difference::Argument { received: received.cloned(), current: current.cloned() });
    Err(Refusal::Inequivalent { arg: arg.to_owned(), on, difference })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::profile::V4_2;

    const ARGS: &[&str] = &["x-message-ttl", "x-overflow", "x-delivery-limit", "x-max-age", "x-unknown"];

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            (0i8..3).prop_map(Value::I8),
            (0i64..3).prop_map(Value::I64),
            (0u16..3).prop_map(Value::U16),
            prop_oneof![Just("a"), Just("b")].prop_map(|s| Value::LongStr(s.into())),
            any::<bool>().prop_map(Value::Bool),
        ]
    }

    fn table() -> impl Strategy<Value = Table> {
        let fields = proptest::collection::btree_map(proptest::sample::select(ARGS), value(), 0..4);
        fields.prop_map(|fields| Table(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
    }

    fn kind() -> impl Strategy<Value = QueueKind> {
        proptest::sample::select(QueueKind::ALL.as_slice())
    }

    /// Only what the type knows, whole numbers by value, the rest as it is.
    fn meaning(table: &Table, kind: QueueKind) -> Vec<(String, String)> {
        let known: Vec<_> = known::of_queues(kind, &V4_2).collect();
        let of = |value: &Value| value.integer().map_or_else(|| format!("{value:?}"), |n| n.to_string());
        let fields = table.0.iter().filter(|(name, _)| known.contains(&&**name));
        let mut fields: Vec<_> = fields.map(|(name, value)| (name.clone(), of(value))).collect();
        fields.sort();
        fields
    }

    proptest! {
        #[test]
        fn tables_are_equivalent_when_they_mean_the_same_to_the_type(
            kind in kind(), a in table(), b in table()
        ) {
            let same = meaning(&a, kind) == meaning(&b, kind);
            prop_assert_eq!(arguments("q", kind, &a, &b, &V4_2).is_ok(), same);
            prop_assert_eq!(arguments("q", kind, &b, &a, &V4_2).is_ok(), same);
        }

        #[test]
        fn order_and_repetition_of_arguments_do_not_matter(kind in kind(), a in table()) {
            let mut turned = a.clone();
            turned.0.reverse();
            prop_assert!(arguments("q", kind, &a, &turned, &V4_2).is_ok());
        }
    }
}
