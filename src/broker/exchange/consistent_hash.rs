//! `x-consistent-hash`: a message goes to one target by a hash of its key, a header or a property; a binding's key is
//! its weight (RabbitMQ's plugin of that name).
//!
//! Targets are chosen by weighted rendezvous: each target draws a number from the key and its own name, scaled by its
//! weight, and the lowest wins. A target that comes or goes moves its own share and nothing else, weights are exact
//! however large, and nothing but the targets is kept. As in RabbitMQ a second binding of a target changes nothing.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Binding, BindingId, Envelope, Route, Target, TargetId};
use crate::{
    broker::refusal::Refusal,
    data::{
        field::Properties,
        term,
        value::{Table, Value},
    },
};

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hashed {
    RoutingKey,
    Header(String),
    CorrelationId,
    MessageId,
    Timestamp,
}

#[derive(Debug)]
struct ConsistentHash {
    hashed: Hashed,
    targets: BTreeMap<TargetId, Weighed>,
}

#[derive(Debug)]
struct Weighed {
    target: Target,
    seed: u64,
    /// The oldest binding's weight counts.
    bindings: Vec<(BindingId, f64)>,
}

/// A consistent hash exchange without bindings.
///
/// # Errors
/// When the arguments name a property that cannot be hashed, or both a header and a property.
pub fn open(arguments: &Table) -> Result<Box<dyn Route>, Refusal> {
    let hashed = match (named(arguments, "hash-header")?, named(arguments, "hash-property")?) {
        (None, None) => Hashed::RoutingKey,
        (Some(header), None) => Hashed::Header(header),
        (None, Some(property)) => match property.as_str() {
            "correlation_id" => Hashed::CorrelationId,
            "message_id" => Hashed::MessageId,
            "timestamp" => Hashed::Timestamp,
            _ => return Err(Refusal::Binding(format!("Unsupported property: {property}"))),
        },
        (Some(_), Some(_)) => {
            let text = "hash-header and hash-property are mutually exclusive";
            return Err(Refusal::Binding(text.to_owned()));
        }
    };
    Ok(Box::new(ConsistentHash { hashed, targets: BTreeMap::new() }))
}

fn named(arguments: &Table, arg: &str) -> Result<Option<String>, Refusal> {
    match arguments.field(arg) {
        None => Ok(None),
        Some(Value::LongStr(name)) => Ok(Some(term::text(name))),
        Some(other) => {
            Err(Refusal::Binding(format!("Invalid type {} of {arg}; expected longstr", other.type_name())))
        }
    }
}

/// The weight that a binding key says.
fn weight(key: &str) -> Result<f64, Refusal> {
    let digits = key.strip_prefix(['+', '-']).unwrap_or(key);
    let is_whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match key.parse::<f64>() {
        Ok(weight) if is_whole && weight >= 1.0 => Ok(weight),
        Ok(_) if is_whole => Err(Refusal::Binding("The binding key must be greater than 0".to_owned())),
        Ok(_) | Err(_) => {
            let key = term::binary(key.as_bytes());
            Err(Refusal::Binding(format!("The binding key must be an integer: {key}")))
        }
    }
}

impl Route for ConsistentHash {
    fn check(&self, binding: &Binding) -> Result<(), Refusal> {
        weight(&binding.routing_key).map(|_| ())
    }

    fn bind(&mut self, binding: &Binding) {
        let Ok(weight) = weight(&binding.routing_key) else { return };
        let weighed = self.targets.entry(binding.target.id()).or_insert_with(|| Weighed {
            target: binding.target.clone(),
            seed: xxh3_64(binding.target.name().as_bytes()),
            bindings: Vec::new(),
        });
        weighed.bindings.push((binding.id(), weight));
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        let (target, id) = (binding.target.id(), binding.id());
        if let Some(weighed) = self.targets.get_mut(&target) {
            weighed.bindings.retain(|(other, _)| *other != id);
            if weighed.bindings.is_empty() {
                self.targets.remove(&target);
            }
        }
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        let hash = self.hash(envelope);
        let drawn = self.targets.values().map(|weighed| (weighed.draw(hash), &weighed.target));
        targets.extend(drawn.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, target)| target.clone()));
    }

    fn by_key(&self) -> bool {
        self.hashed == Hashed::RoutingKey
    }
}

impl ConsistentHash {
    /// What is absent is one value like any other: all messages without it go one way.
    fn hash(&self, envelope: &Envelope<'_>) -> u64 {
        let properties = || Properties::decode(envelope.properties).unwrap_or_default();
        let octets = |octets: Option<&[u8]>| octets.map_or(0, xxh3_64);
        match &self.hashed {
            Hashed::RoutingKey => xxh3_64(envelope.routing_key().as_bytes()),
            Hashed::CorrelationId => octets(properties().correlation_id),
            Hashed::MessageId => octets(properties().message_id),
            Hashed::Timestamp => properties().timestamp.map_or(0, |seconds| xxh3_64(&seconds.to_be_bytes())),
            Hashed::Header(name) => match envelope.header(name) {
                None => 0,
                Some(Value::LongStr(text)) => xxh3_64(text),
                Some(other) => match other.integer() {
                    Some(n) => xxh3_64(&n.to_be_bytes()),
                    None => xxh3_64(term::value_term(other).as_bytes()),
                },
            },
        }
    }
}

impl Weighed {
    /// An exponentially distributed number with the weight as its rate: the lowest of all is this one's with a chance
    /// of its weight in the sum of weights.
    fn draw(&self, hash: u64) -> f64 {
        let bits = xxh3_64_with_seed(&hash.to_be_bytes(), self.seed) >> 11;
        let chance = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
        let weight = self.bindings.first().map_or(1.0, |(_, weight)| *weight);
        -chance.ln() / weight
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::broker::exchange::testing::Bound;

    fn ways(bound: &Bound, keys: usize) -> Vec<String> {
        let way = |n: usize| {
            let found = bound.route(&n.to_string());
            let [one] = &found[..] else { panic!("{found:?}") };
            one.clone()
        };
        (0..keys).map(way).collect()
    }

    fn shares(ways: &[String]) -> BTreeMap<&str, usize> {
        let mut shares = BTreeMap::new();
        ways.iter().for_each(|way| *shares.entry(way.as_str()).or_default() += 1);
        shares
    }

    #[test]
    fn shares_follow_the_weights() {
        let bound = Bound::new("x-consistent-hash", &[]).bind("a", "1").bind("b", "2").bind("c", "5");
        let ways = ways(&bound, 8_000);
        let shares = shares(&ways);
        for (target, weight) in [("a", 1), ("b", 2), ("c", 5)] {
            let (share, fair) = (shares[target], weight * 1_000);
            assert!((fair * 9 / 10..fair * 11 / 10 + 50).contains(&share), "{shares:?}");
        }
    }

    #[test]
    fn a_binding_that_comes_or_goes_moves_only_its_own_share() {
        let bound = Bound::new("x-consistent-hash", &[]).bind("a", "1").bind("b", "1").bind("c", "1");
        let before = ways(&bound, 3_000);
        let mut bound = bound.bind("d", "1");
        let with = ways(&bound, 3_000);
        assert!(before.iter().zip(&with).all(|(old, new)| old == new || new == "d"));
        bound.unbind("d", "1", &[]);
        assert_eq!(ways(&bound, 3_000), before);
    }

    #[test]
    fn a_second_binding_of_a_target_changes_nothing() {
        let mut bound = Bound::new("x-consistent-hash", &[]).bind("a", "1").bind("b", "1");
        let before = ways(&bound, 500);
        bound = bound.bind("a", "1000");
        assert_eq!(ways(&bound, 500), before);
        bound.unbind("a", "1000", &[]);
        assert_eq!(ways(&bound, 500), before);
    }

    #[test]
    fn what_is_hashed_is_what_the_arguments_say() {
        let header = Bound::new("x-consistent-hash", &[("hash-header", "h")]).bind("a", "1").bind("b", "1");
        let table = |n: i64| Table(vec![("h".to_owned(), Value::I64(n))]);
        let ways: Vec<_> = (0..64).map(|n| header.route_headers(&table(n))).collect();
        assert!(ways.iter().any(|way| way == &["a"]) && ways.iter().any(|way| way == &["b"]));
        assert!((0..64).all(|n| header.route(&n.to_string()) == header.route("")), "the key does not matter");
        let property = Bound::new("x-consistent-hash", &[("hash-property", "message_id")]);
        let property = property.bind("a", "1").bind("b", "1");
        let by_id = |id: &str| {
            let properties = Properties { message_id: Some(id.as_bytes()), ..Properties::default() };
            property.route_properties(&properties)
        };
        let ways: Vec<_> = (0..64).map(|n| by_id(&n.to_string())).collect();
        assert!(ways.iter().any(|way| way == &["a"]) && ways.iter().any(|way| way == &["b"]));
        assert_eq!(by_id("7"), by_id("7"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_the_plugins_words() {
        let bind = |key: &str| Bound::new("x-consistent-hash", &[]).bind_table("a", key, &Table::default());
        for (key, text) in [
            ("abc", "The binding key must be an integer: <<\"abc\">>"),
            ("", "The binding key must be an integer: <<>>"),
            ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
            ("1e3", "The binding key must be an integer: <<\"1e3\">>"),
            ("0", "The binding key must be greater than 0"),
            ("-3", "The binding key must be greater than 0"),
        ] {
            assert_eq!(bind(key).unwrap_err(), Refusal::Binding(text.to_owned()), "{key}");
        }
        assert!(bind("+12").is_ok() && bind("99999999999999999999999999").is_ok());
        let open = |arguments: &[(&str, &str)]| {
            let field = |(name, value): &(&str, &str)| {
                ((*name).to_owned(), Value::LongStr(value.as_bytes().to_vec().into()))
            };
            open(&Table(arguments.iter().map(field).collect())).map(|_| ())
        };
        for (arguments, text) in [
            (&[("hash-property", "zz")][..], "Unsupported property: zz"),
            (
                &[("hash-header", "h"), ("hash-property", "message_id")],
                "hash-header and hash-property are mutually exclusive",
            ),
        ] {
            assert_eq!(open(arguments), Err(Refusal::Binding(text.to_owned())));
        }
    }
}
