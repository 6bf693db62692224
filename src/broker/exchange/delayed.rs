//! `x-delayed-message`: a message with the header `x-delay` is routed so many milliseconds later, as an exchange of the
//! type `x-delayed-type` would route it now (RabbitMQ's plugin of that name, 4.2 its last version).
//!
//! As there, a delayed message goes nowhere when it is published: `mandatory` returns it (312), and an alternate
//! exchange gets it at once, though it is delivered when it is due. Clients know that of the plugin (Spring's
//! listeners are told to ignore such returns), so a test that passes here must find it here. Here is what the header
//! means; `holding.rs` keeps the messages.

use super::{Binding, Envelope, Keeps, Route, Target};
use crate::{
    broker::refusal::Refusal,
    data::value::{Table, Value},
};

/// Longer delays are none, to the plugin: Erlang has no longer timers.
pub const DELAY_MS_MAX: i64 = 4_294_967_295;

/// The header's name.
pub const HEADER: &str = "x-delay";

const KIND: &str = "x-delayed-message";

#[derive(Debug)]
struct Delayed(Box<dyn Route>);

/// A delayed message exchange without bindings.
///
/// # Errors
/// When the arguments name no type that there is.
pub fn open(arguments: &Table) -> Result<Box<dyn Route>, Refusal> {
    let kind = arguments.field("x-delayed-type").and_then(Value::octets);
    match kind.and_then(|kind| std::str::from_utf8(kind).ok()) {
        // The plugin would ask itself for ever.
        None | Some(KIND) => Err(Refusal::DelayedType),
        Some(kind) => Ok(Box::new(Delayed(super::open(kind, arguments)?))),
    }
}

impl Route for Delayed {
    fn check(&self, binding: &Binding) -> Result<(), Refusal> {
        self.0.check(binding)
    }

    fn bind(&mut self, binding: &Binding) {
        self.0.bind(binding);
    }

    fn unbind(&mut self, binding: &Binding, last: bool) {
        self.0.unbind(binding, last);
    }

    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        self.0.route(envelope, targets);
    }

    /// Headers decide whether a message is routed now.
    fn by_key(&self) -> bool {
        false
    }

    fn delay_ms(&self, envelope: &Envelope<'_>) -> Option<u64> {
        delay_ms(envelope.headers?)
            .filter(|ms| (1..=DELAY_MS_MAX).contains(ms))
            .and_then(|ms| ms.try_into().ok())
    }

    fn keeps(&self) -> Keeps {
        Keeps::Delayed
    }
}

/// What the header says: any number, or a string that is one.
fn delay_ms(headers: &Table) -> Option<i64> {
    let value = headers.field(HEADER)?;
    if let Some(ms) = value.integer() {
        return Some(ms);
    }
    if let Value::F64(ms) = *value {
        return Some(ms as i64);
    }
    if let Value::F32(ms) = *value {
        return Some(ms as i64);
    }
    std::str::from_utf8(value.octets()?).ok()?.parse().ok()
}

/// The headers as they are delivered: the delay negated, so that nobody delays the message again. The plugin makes a
/// 32-bit number of it; what does not fit into one is a 64-bit number here.
pub fn negate(headers: &mut Table) {
    let Some(ms) = delay_ms(headers).map(|ms| ms.saturating_neg()) else { return };
    let negated = i32::try_from(ms).map_or(Value::I64(ms), Value::I32);
    if let Some((_, value)) = headers.0.iter_mut().find(|(name, _)| name == HEADER) {
        *value = negated;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::testing::Bound;

    fn text(s: &'static str) -> Value {
        Value::LongStr(s.into())
    }

    #[test]
    fn the_header_delays_when_it_is_a_number_within_the_limits() {
        let router = open(&Table(vec![("x-delayed-type".to_owned(), text("fanout"))])).unwrap();
        let delay = |value: Value| {
            let headers = Table(vec![(HEADER.to_owned(), value)]);
            router.delay_ms(&Envelope { keys: &[""], headers: Some(&headers), properties: &[0, 0] })
        };
        for (value, expected) in [
            (Value::I32(5_000), Some(5_000)),
            (Value::I8(1), Some(1)),
            (Value::U16(60_000), Some(60_000)),
            (Value::I64(DELAY_MS_MAX), Some(4_294_967_295)),
            (Value::I64(DELAY_MS_MAX + 1), None),
            (Value::I32(0), None),
            (Value::I32(-5_000), None),
            (Value::F64(12.9), Some(12)),
            (text("250"), Some(250)),
            (text("soon"), None),
            (Value::Bool(true), None),
        ] {
            assert_eq!(delay(value.clone()), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_delivered_has_the_delay_negated() {
        for (value, expected) in [
            (Value::I32(5_000), Value::I32(-5_000)),
            (Value::U8(7), Value::I32(-7)),
            (Value::I64(DELAY_MS_MAX), Value::I64(-DELAY_MS_MAX)),
            (text("250"), Value::I32(-250)),
        ] {
            let mut headers = Table(vec![("a".to_owned(), Value::Void), (HEADER.to_owned(), value)]);
            negate(&mut headers);
            assert_eq!(headers.field(HEADER), Some(&expected));
        }
    }

    #[test]
    fn the_type_behind_it_must_exist() {
        let open = |value: Option<Value>| {
            let arguments = value.map(|value| ("x-delayed-type".to_owned(), value)).into_iter().collect();
            open(&Table(arguments)).map(|_| ())
        };
        assert_eq!(open(Some(text("topic"))), Ok(()));
        assert_eq!(open(Some(text("x-consistent-hash"))), Ok(()));
        assert_eq!(open(None), Err(Refusal::DelayedType));
        assert_eq!(open(Some(Value::I32(5))), Err(Refusal::DelayedType));
        assert_eq!(open(Some(text("x-delayed-message"))), Err(Refusal::DelayedType));
        assert_eq!(open(Some(text("foo"))), Err(Refusal::UnknownExchangeType("foo".to_owned())));
    }

    #[test]
    fn what_is_not_delayed_is_routed_as_its_type_does() {
        let bound = Bound::new("x-delayed-message", &[("x-delayed-type", "topic")]).bind("a", "x.#");
        assert_eq!(bound.route("x.y"), ["a"]);
        assert!(bound.route("y").is_empty());
    }
}
