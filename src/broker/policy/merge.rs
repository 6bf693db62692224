//! Whose word counts: the argument's, the policy's or the operator policy's.
//!
//! | key | policy and operator policy | argument and the result |
//! |---|---|---|
//! | expires, message-ttl, max-length, max-length-bytes, max-in-memory-… | the smaller | the smaller |
//! | delivery-limit | the smaller, but the larger when one is negative (no limit) | likewise |
//! | target-group-size | the larger | the argument |
//! | max-age | the operator's | the shorter |
//! | consumer-timeout | the operator's | the smaller |
//! | delayed-retry-type | the operator's | the policy |
//! | delayed-retry-min | the larger | the smaller |
//! | delayed-retry-max | the smaller | the smaller |
//! | overflow | the operator's | the argument; of a quorum queue, the policy |
//! | queue-version and everything else | the operator's | the argument |

use super::Applied;
use crate::{
    broker::arguments::{QueueKind, age_ms, kind_of},
    data::value::{Table, Value},
};

/// How two values of one key become one: `a` is the argument or the policy, `b` the policy or the operator policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Smaller,
    /// A negative one is no limit, and counts.
    SmallerLimit,
    ShorterAge,
    Larger,
    First,
    Second,
}

fn between_policies(key: &str) -> Rule {
    match key {
        "delayed-retry-max"
        | "expires"
        | "max-in-memory-bytes"
        | "max-in-memory-length"
        | "max-length"
        | "max-length-bytes"
        | "message-ttl" => Rule::Smaller,
        "delivery-limit" => Rule::SmallerLimit,
        "delayed-retry-min" | "target-group-size" => Rule::Larger,
        _ => Rule::Second,
    }
}

fn with_argument(key: &str, kind: QueueKind) -> Rule {
    match key {
        "consumer-timeout"
        | "delayed-retry-max"
        | "delayed-retry-min"
        | "expires"
        | "max-in-memory-bytes"
        | "max-in-memory-length"
        | "max-length"
        | "max-length-bytes"
        | "message-ttl" => Rule::Smaller,
        "delivery-limit" => Rule::SmallerLimit,
        "max-age" => Rule::ShorterAge,
        "delayed-retry-type" => Rule::Second,
        "overflow" if kind == QueueKind::Quorum => Rule::Second,
        _ => Rule::First,
    }
}

fn resolve(rule: Rule, a: &Value, b: &Value) -> Value {
    let numbers = a.integer().zip(b.integer());
    let a_first = match (rule, numbers) {
        (Rule::First, _) => true,
        (Rule::Second, _) => false,
        (Rule::Smaller, Some((a, b))) => a <= b,
        (Rule::SmallerLimit, Some((a, b))) if a < 0 || b < 0 => a >= b,
        (Rule::SmallerLimit, Some((a, b))) => a <= b,
        (Rule::Larger, Some((a, b))) => a >= b,
        (Rule::ShorterAge, _) => {
            let age = |value: &Value| value.octets().and_then(age_ms).unwrap_or(u64::MAX);
            age(a) <= age(b)
        }
        // Arguments that nobody checks may be no number: RabbitMQ has numbers before everything else.
        (Rule::Smaller | Rule::SmallerLimit | Rule::Larger, None) => b.integer().is_none(),
    };
    if a_first { a.clone() } else { b.clone() }
}

impl Applied {
    /// The definition that counts, of both policies together.
    #[must_use]
    pub fn definition(&self) -> Table {
        let of = |policy: &Option<std::sync::Arc<super::Policy>>| {
            policy.as_ref().map(|policy| policy.definition.clone()).unwrap_or_default()
        };
        let (mut definition, operator) = (of(&self.policy), of(&self.operator));
        for (key, value) in operator.0 {
            match definition.0.iter_mut().find(|(name, _)| *name == key) {
                Some((_, own)) => *own = resolve(between_policies(&key), own, &value),
                None => definition.0.push((key, value)),
            }
        }
        definition.0.sort_by(|a, b| a.0.cmp(&b.0));
        definition
    }

    /// A queue's arguments as they count: with what the policies say, under the arguments' names.
    #[must_use]
    pub fn arguments(&self, arguments: &Table) -> Table {
        let (mut effective, kind) = (arguments.clone(), kind_of(arguments));
        for (key, value) in self.definition().0 {
            let argument = format!("x-{key}");
            match effective.0.iter_mut().find(|(name, _)| *name == argument) {
                Some((_, own)) => *own = resolve(with_argument(&key, kind), own, &value),
                None => effective.0.push((argument, value)),
            }
        }
        effective
    }

    /// The alternate exchange that the policies name.
    #[must_use]
    pub fn alternate_exchange(&self) -> Option<String> {
        let definition = self.definition();
        let name = definition.field("alternate-exchange")?.octets()?;
        std::str::from_utf8(name).ok().map(str::to_owned)
    }
}
