//! `headers`: a binding's arguments are compared with the message's headers (AMQP 0-9-1 §3.1.3.4; RabbitMQ's four
//! `x-match` modes).
//!
//! RabbitMQ compares values as Erlang does, without their types: numbers by value (whole or not, a timestamp is one),
//! long strings and binaries by their octets.

use std::collections::BTreeMap;

use super::{Binding, BindingId, Envelope, Route, Target};
use crate::{
    broker::refusal::Refusal,
    data::{
        term,
        value::{Table, Value},
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    All { with_x: bool },
    Any { with_x: bool },
}

impl Match {
    fn of(arguments: &Table) -> Result<Self, Refusal> {
        match arguments.field("x-match") {
            None => Ok(Self::All { with_x: false }),
            Some(Value::LongStr(s)) => match &s[..] {
                b"all" => Ok(Self::All { with_x: false }),
                b"any" => Ok(Self::Any { with_x: false }),
                b"all-with-x" => Ok(Self::All { with_x: true }),
                b"any-with-x" => Ok(Self::Any { with_x: true }),
                other => Err(Refusal::Binding(format!(
                    "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                    term::binary(other)
                ))),
            },
            Some(other) => Err(Refusal::Binding(format!(
                "Invalid x-match field type {} (value {}); expected longstr",
                other.type_name(),
                term::value_term(other)
            ))),
        }
    }

    /// Whether an argument of that name says anything.
    fn minds(self, name: &str) -> bool {
        let (Self::All { with_x } | Self::Any { with_x }) = self;
        name != "x-match" && (with_x || !name.starts_with("x-"))
    }
}

#[derive(Debug)]
struct Rule {
    target: Target,
    mode: Match,
    wanted: Vec<(String, Value)>,
}

#[derive(Debug, Default)]
struct Headers(BTreeMap<BindingId, Rule>);

/// A headers exchange without bindings.
///
/// # Errors
/// None.
pub fn open(_: &Table) -> Result<Box<dyn Route>, Refusal> {
    Ok(Box::<Headers>::default())
}

impl Route for Headers {
    fn check(&self, binding: &Binding) -> Result<(), Refusal> {
        Match::of(&binding.arguments).map(|_| ())
    }

    fn bind(&mut self, binding: &Binding) {
        let Ok(mode) = Match::of(&binding.arguments) else { return };
        let wanted = binding.arguments.0.iter().filter(|(name, _)| mode.minds(name)).cloned().collect();
        self.0.insert(binding.id(), Rule { target: binding.target.clone(), mode, wanted });
    }

    fn unbind(&mut self, binding: &Binding, _: bool) {
        self.0.remove(&binding.id());
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        let none = Table::default();
        let headers = envelope.headers.unwrap_or(&none);
        let rules = self.0.values().filter(|rule| rule.accepts(headers));
        targets.extend(rules.map(|rule| rule.target.clone()));
    }

    fn by_key(&self) -> bool {
        false
    }
}

impl Rule {
    fn accepts(&self, headers: &Table) -> bool {
        let has = |(name, value): &(String, Value)| {
            headers.field(name).is_some_and(|found| *value == Value::Void || same(value, found))
        };
        match self.mode {
            Match::All { .. } => self.wanted.iter().all(has),
            Match::Any { .. } => self.wanted.iter().any(has),
        }
    }
}

/// Erlang's `==` of two values without their types.
fn same(a: &Value, b: &Value) -> bool {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return a.equals(b);
    }
    match (a.binary(), b.binary()) {
        (Some(a), Some(b)) => a == b,
        (None, None) => match (a, b) {
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_typed(a, b))
            }
            (Value::Table(a), Value::Table(b)) => {
                let equal =
                    |((m, a), (n, b)): (&(String, Value), &(String, Value))| m == n && same_typed(a, b);
                a.0.len() == b.0.len() && a.0.iter().zip(&b.0).all(equal)
            }
            _ => a == b,
        },
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Inside arrays and tables the types are part of the values.
fn same_typed(a: &Value, b: &Value) -> bool {
    a.type_name() == b.type_name() && same(a, b)
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        if let Some(n) = value.integer() {
            return Some(Self::Whole(n.into()));
        }
        if let Value::F64(n) = *value {
            return Some(Self::Float(n));
        }
        if let Value::F32(n) = *value {
            return Some(Self::Float(n.into()));
        }
        if let Value::Timestamp(n) = *value { Some(Self::Whole(n.into())) } else { None }
    }

    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b,
            (Self::Whole(a), Self::Float(b)) | (Self::Float(b), Self::Whole(a)) => a as f64 == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::exchange::testing::Bound;

    fn text(s: &'static str) -> Value {
        Value::LongStr(s.into())
    }

    fn table(fields: &[(&str, Value)]) -> Table {
        Table(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    type Fields<'a> = &'a [(&'a str, Value)];

    fn check(binding: &[(&str, Value)], headers: &[(&str, Value)], expected: bool) {
        let bound = Bound::new("headers", &[]).bind_table("a", "", &table(binding)).unwrap();
        let found = bound.route_headers(&table(headers));
        assert_eq!(!found.is_empty(), expected, "{binding:?} against {headers:?}");
    }

    #[test]
    fn bindings_match_as_rabbitmq_matches_them() {
        let n = Value::I32;
        let (all, any) = (("x-match", text("all")), ("x-match", text("any")));
        let (all_x, any_x) = (("x-match", text("all-with-x")), ("x-match", text("any-with-x")));
        let rows: &[(Fields<'_>, Fields<'_>, bool)] = &[
            (&[], &[], true),
            (&[], &[("a", n(1))], true),
            (std::slice::from_ref(&all), &[("a", n(1))], true),
            (std::slice::from_ref(&any), &[("a", n(1))], false),
            (&[("a", n(1)), ("b", n(2))], &[("a", n(1)), ("b", n(2)), ("c", n(3))], true),
            (&[("a", n(1)), ("b", n(2))], &[("a", n(1))], false),
            (&[any.clone(), ("a", n(1)), ("b", n(2))], &[("b", n(2))], true),
            (&[any.clone(), ("a", n(1))], &[("a", n(2))], false),
            // Names that begin with x- count only where the mode says so.
            (&[all.clone(), ("x-a", n(1))], &[], true),
            (&[any.clone(), ("x-a", n(1))], &[("x-a", n(1))], false),
            (&[all_x.clone(), ("x-a", n(1))], &[], false),
            (&[all_x.clone(), ("x-a", n(1))], &[("x-a", n(1))], true),
            (&[any_x.clone(), ("x-a", n(1)), ("b", n(1))], &[("x-a", n(1))], true),
            (std::slice::from_ref(&all_x), &[], true),
            (std::slice::from_ref(&any_x), &[("x-match", text("any-with-x"))], false),
            // A void argument asks for presence, whatever the value.
            (&[("a", Value::Void)], &[("a", n(7))], true),
            (&[("a", Value::Void)], &[("a", Value::Void)], true),
            (&[("a", Value::Void)], &[], false),
            (&[("a", n(1))], &[("a", Value::Void)], false),
            // Values are equal as Erlang's are.
            (&[("a", n(1))], &[("a", text("1"))], false),
            (&[("a", n(1))], &[("a", Value::I64(1))], true),
            (&[("a", n(1))], &[("a", Value::U8(1))], true),
            (&[("a", n(1))], &[("a", Value::F64(1.0))], true),
            (&[("a", n(1))], &[("a", Value::F64(1.5))], false),
            (&[("a", n(1))], &[("a", Value::Timestamp(1))], true),
            (&[("a", Value::Bool(true))], &[("a", n(1))], false),
            (&[("a", text("s"))], &[("a", Value::Binary("s".into()))], true),
            (&[("a", Value::Array(vec![n(1)]))], &[("a", Value::Array(vec![n(1)]))], true),
            (&[("a", Value::Array(vec![n(1)]))], &[("a", Value::Array(vec![Value::I64(1)]))], false),
        ];
        rows.iter().for_each(|(binding, headers, expected)| check(binding, headers, *expected));
    }

    #[test]
    fn a_wrong_x_match_is_refused_in_rabbitmqs_words() {
        for (value, expected) in [
            (
                text("zz"),
                "Invalid x-match field value <<\"zz\">>; expected all, any, all-with-x, or any-with-x",
            ),
            (Value::I32(5), "Invalid x-match field type signedint (value 5); expected longstr"),
            (Value::Bool(true), "Invalid x-match field type bool (value true); expected longstr"),
        ] {
            let refused = Bound::new("headers", &[]).bind_table("a", "", &table(&[("x-match", value)]));
            assert_eq!(refused.unwrap_err(), Refusal::Binding(expected.to_owned()));
        }
    }

    #[test]
    fn two_bindings_of_one_target_are_two_rules() {
        let (one, two): (&[_], &[_]) = (&[("n", 1)], &[("n", 2)]);
        let mut bound = Bound::new("headers", &[]).bind_with("a", "", one).bind_with("a", "", two);
        bound.unbind("a", "", one);
        assert!(bound.route_headers(&table(&[("n", Value::I64(1))])).is_empty());
        assert_eq!(bound.route_headers(&table(&[("n", Value::I64(2))])), ["a"]);
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![(0..3_i32).prop_map(Value::I32), (0..3_i64).prop_map(Value::I64), Just(Value::Void)]
    }

    fn fields() -> impl Strategy<Value = Vec<(String, Value)>> {
        let name = proptest::sample::select(vec!["a", "b", "c", "x-a", "x-b"]);
        proptest::collection::btree_map(name.prop_map(str::to_owned), value(), 0..5)
            .prop_map(|fields| fields.into_iter().collect())
    }

    proptest! {
        /// RabbitMQ's own words: go through the arguments, skip what does not count, and see what is left.
        #[test]
        fn the_four_modes_do_what_they_say(
            wanted in fields(),
            headers in fields(),
            (any, with_x) in (any::<bool>(), any::<bool>()),
        ) {
            let word = match (any, with_x) {
                (false, false) => "all",
                (false, true) => "all-with-x",
                (true, false) => "any",
                (true, true) => "any-with-x",
            };
            let mut hits = Vec::new();
            for (name, value) in &wanted {
                if with_x || !name.starts_with("x-") {
                    let found = headers.iter().find(|(other, _)| other == name).map(|(_, found)| found);
                    hits.push(match (value, found) {
                        (_, None) => false,
                        (Value::Void, Some(_)) => true,
                        (value, Some(found)) => value.integer() == found.integer() && found.integer().is_some(),
                    });
                }
            }
            let expected = if any { hits.contains(&true) } else { !hits.contains(&false) };
            let mut arguments = Table(wanted);
            arguments.0.push(("x-match".to_owned(), Value::LongStr(word.into())));
            let bound = Bound::new("headers", &[]).bind_table("a", "", &arguments).unwrap();
            prop_assert_eq!(!bound.route_headers(&Table(headers)).is_empty(), expected);
        }
    }
}
