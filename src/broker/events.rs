//! What happens to the broker, told to whoever listens: messages to the topic exchange `amq.rabbitmq.event` of vhost `/`
//! (RabbitMQ's event exchange plugin; names and headers as RabbitMQ 3.10 sends them).
//!
//! The key is what happened (`queue.created`), the headers say to what; there is no body. Nothing is made up while
//! nothing is bound.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;

use super::{
    exchange::{Binding, EVENT, Exchange},
    queue::Queue,
    vhost::Vhost,
};
use crate::{
    clock::Clock,
    data::{
        field::Properties,
        term,
        value::{Table, Value},
    },
};

/// The headers of an event.
pub type Fields = Vec<(&'static str, Value)>;

/// Where events go.
#[derive(Debug, Default)]
pub struct Events(OnceLock<(Weak<Vhost>, Arc<Exchange>)>);

impl Events {
    /// They go through that vhost from now on.
    pub(super) fn open(&self, vhost: &Arc<Vhost>) {
        if let Some(exchange) = vhost.find_exchange(EVENT) {
            // A second vhost `/` there is not.
            let _ = self.0.set((Arc::downgrade(vhost), exchange));
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn watched(&self) -> bool {
        self.0.get().is_some_and(|(_, exchange)| exchange.is_bound())
    }

    /// Tells what happened; `fields` is asked only if anybody listens.
    pub fn tell(&self, clock: &Clock, key: &str, fields: impl FnOnce() -> Fields) {
        let Some((vhost, exchange)) = self.0.get() else { return };
        if !exchange.is_bound() {
            return;
        }
        let Some(vhost) = vhost.upgrade() else { return };
        let now_ms = clock.now_ms();
        let mut fields = fields();
        fields.push(("timestamp_in_ms", Value::I64(now_ms)));
        let headers = Table(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let properties = Properties {
            delivery_mode: Some(2),
            timestamp: Some(u64::try_from(now_ms / 1_000).unwrap_or(0)),
            ..Properties::default()
        };
        vhost.announce(now_ms, exchange, key, &properties, headers, &[]);
    }
}

/// A string in an event.
#[must_use]
pub fn text(text: &str) -> Value {
    Value::LongStr(Bytes::copy_from_slice(text.as_bytes()))
}

/// A table in an event: as the plugin shows it, each field as Erlang prints it.
#[must_use]
pub fn arguments(table: &Table) -> Value {
    let field = |(name, value): &(String, Value)| {
        let (name, value_term) = (term::binary(name.as_bytes()), term::value_term(value));
        text(&format!("{{{name},{},{value_term}}}", value.type_name()))
    };
    Value::Array(table.0.iter().map(field).collect())
}

impl Vhost {
    fn named(&self, name: &str) -> Fields {
        vec![("name", text(name)), ("vhost", text(&self.name))]
    }

    pub(super) fn tell(&self, key: &str, fields: impl FnOnce() -> Fields) {
        self.core.events.tell(&self.core.clock, key, fields);
    }

    pub(super) fn tell_queue_created(&self, queue: &Queue) {
        self.tell("queue.created", || {
            let options = &queue.options;
            let mut fields = self.named(&queue.name);
            fields.extend([
                ("durable", Value::Bool(options.survives())),
                ("auto_delete", Value::Bool(options.auto_delete)),
                ("arguments", arguments(&options.arguments)),
                ("exclusive", Value::Bool(options.exclusive.is_some())),
            ]);
            fields
        });
    }

    pub(super) fn tell_queue_deleted(&self, name: &str) {
        self.tell("queue.deleted", || self.named(name));
    }

    pub(super) fn tell_exchange_created(&self, exchange: &Exchange) {
        self.tell("exchange.created", || {
            let options = &exchange.options;
            let mut fields = self.named(&exchange.name);
            fields.extend([
                ("type", text(&options.kind)),
                ("durable", Value::Bool(options.durable)),
                ("auto_delete", Value::Bool(options.auto_delete)),
                ("internal", Value::Bool(options.internal)),
                ("arguments", arguments(&options.arguments)),
            ]);
            fields
        });
    }

    pub(super) fn tell_exchange_deleted(&self, name: &str) {
        self.tell("exchange.deleted", || self.named(name));
    }

    /// A binding was made (`binding.created`) or removed (`binding.deleted`).
    pub(super) fn tell_binding(&self, key: &str, source: &Exchange, binding: &Binding) {
        self.tell(key, || {
            vec![
                ("source_name", text(&source.name)),
                ("source_kind", text("exchange")),
                ("destination_name", text(binding.target.name())),
                ("destination_kind", text(binding.target.word())),
                ("routing_key", text(&binding.routing_key)),
                ("arguments", arguments(&binding.arguments)),
                ("vhost", text(&self.name)),
            ]
        });
    }
}
