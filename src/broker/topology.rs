//! Exchanges and bindings of a vhost: declaring, binding, deleting, and what goes with what is deleted.
//!
//! What a change costs does not grow with the bindings it does not touch. What lasts is in the store before the request
//! is answered. (AMQP 0-9-1 §1.6; RabbitMQ's e2e bindings and auto-delete exchanges.)

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::{
    Pending, arguments,
    definition::{self, TargetKind},
    exchange::{Binding, BindingId, Exchange, ExchangeOptions, Keeps, Target, TargetId, is_type},
    holding::Holding,
    message::{Publish, Traits},
    publish::{Headers, Publisher},
    queue::QueueId,
    refusal::{Difference, Kind, Refusal, Subject},
    routing,
    vhost::Vhost,
};
use crate::data::{field::Properties, value::Table};

/// How many bindings from each exchange lead to a target: what must be told when the target goes.
#[derive(Debug, Default)]
pub(super) struct Topology {
    sources: HashMap<TargetId, HashMap<Arc<str>, usize>>,
}

impl Topology {
    pub(super) fn bound(&mut self, target: TargetId, source: &Exchange) {
        *self.sources.entry(target).or_default().entry(source.name.clone()).or_default() += 1;
    }

    fn unbound(&mut self, target: &TargetId, source: &Exchange) {
        let Some(sources) = self.sources.get_mut(target) else { return };
        if let Some(bindings) = sources.get_mut(&source.name) {
            *bindings -= 1;
            if *bindings == 0 {
                sources.remove(&source.name);
            }
        }
        if sources.is_empty() {
            self.sources.remove(target);
        }
    }
}

/// How many keys one Change removes: more would not fit into a segment, and a binding of nothing is dropped at the
/// next start.
const FORGOTTEN_MAX: usize = 10_000;

impl Vhost {
    /// Declares an exchange: makes it, or finds an equivalent one.
    ///
    /// # Errors
    /// Everything that RabbitMQ refuses, in its order.
    pub fn declare_exchange(&self, name: &str, options: ExchangeOptions) -> Result<Pending, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        if !is_type(&options.kind, self.core.profile) {
            return Err(Refusal::UnknownExchangeType(options.kind));
        }
        let mut topology = self.topology.lock();
        self.check_alive()?;
        let made = Exchange::new(name, options)?;
        if let Some(exchange) = self.find_exchange(name) {
            return same_exchange(&made.options, &exchange).map(|()| self.done_before());
        }
        if name.starts_with("amq.") {
            return Err(Refusal::ReservedName { kind: Kind::Exchange, name: name.to_owned() });
        }
        if let Some(value) = made.options.arguments.field("alternate-exchange")
            && made.options.alternate().is_none()
        {
            return Err(Refusal::ArgumentType {
                arg: "alternate-exchange".to_owned(),
                on: Subject::exchange(name),
                type_name: value.type_name(),
            });
        }
        let id = (made.keeps() == Keeps::Delayed).then(|| self.core.ids.queue());
        self.put_exchange(made.clone(), id);
        self.tell_exchange_created(&made);
        let bindings = self.bind_partitions(&made, &mut topology);
        Ok(made.options.durable.then(|| {
            let key = definition::exchange_key(&self.name, name);
            let mut puts = vec![(key, definition::exchange_value(&made.options))];
            puts.extend(
                id.map(|id| (definition::holding_key(&self.name, name), definition::holding_value(id))),
            );
            puts.extend(bindings);
            definition::put_all(&self.core.store, puts)
        }))
    }

    fn put_exchange(&self, exchange: Arc<Exchange>, id: Option<QueueId>) {
        if let Some(id) = id {
            let vhost = Weak::clone(&self.me);
            let holding = Holding::new(self.core.clone(), id, vhost, exchange.name.clone());
            // It was made a moment ago and has none.
            let _ = exchange.holding.set(holding);
        }
        self.exchanges.insert(exchange.name.clone(), exchange.clone());
        self.apply_policies_to_exchange(&exchange);
    }

    /// Puts an exchange back that recovery found, with what it holds, if it does.
    pub(super) fn restore_exchange(
        &self,
        name: &str,
        options: ExchangeOptions,
        id: Option<QueueId>,
    ) -> Result<Option<Arc<Holding>>, Refusal> {
        let exchange = Exchange::new(name, options)?;
        self.put_exchange(exchange.clone(), id);
        Ok(exchange.holding.get().cloned())
    }

    /// Deletes an exchange; one that is not there is deleted already.
    ///
    /// # Errors
    /// [`Refusal::DefaultExchange`], [`Refusal::SystemExchange`], [`Refusal::InUse`] when asked to mind that.
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<Pending, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        if name.starts_with("amq.") {
            return Err(Refusal::SystemExchange(name.to_owned()));
        }
        let mut topology = self.topology.lock();
        let Some(exchange) = self.find_exchange(name) else { return Ok(self.done_before()) };
        if if_unused && exchange.is_bound() {
            return Err(Refusal::InUse(Subject::exchange(name)));
        }
        let mut keys = Vec::new();
        self.remove_exchange(&mut topology, &exchange, &mut keys);
        Ok(self.forget(keys))
    }

    /// Deletes every exchange with its bindings, the predeclared ones too: the vhost is gone.
    pub(super) fn forget_exchanges(&self) -> Pending {
        let mut topology = self.topology.lock();
        let mut keys = Vec::new();
        for exchange in self.exchanges() {
            self.remove_exchange(&mut topology, &exchange, &mut keys);
        }
        self.forget(keys)
    }

    /// Removes every binding to a target, and the auto-delete exchanges that lose their last one by it.
    pub(super) fn unbind_target(&self, topology: &mut Topology, target: &TargetId, keys: &mut Vec<Vec<u8>>) {
        for source in topology.sources.remove(target).unwrap_or_default().into_keys() {
            let Some(exchange) = self.find_exchange(&source) else { continue };
            for binding in exchange.unbind_target(target) {
                self.tell_binding("binding.deleted", &exchange, &binding);
                keys.extend(self.stored_binding(&exchange, &binding));
            }
            self.perhaps_auto_delete(topology, &exchange, keys);
        }
    }

    fn perhaps_auto_delete(
        &self,
        topology: &mut Topology,
        exchange: &Arc<Exchange>,
        keys: &mut Vec<Vec<u8>>,
    ) {
        if exchange.options.auto_delete && !exchange.is_bound() {
            self.remove_exchange(topology, exchange, keys);
        }
    }

    fn remove_exchange(&self, topology: &mut Topology, exchange: &Arc<Exchange>, keys: &mut Vec<Vec<u8>>) {
        self.exchanges.remove(&exchange.name);
        exchange.retire();
        exchange.subscribers.end();
        if exchange.options.durable {
            keys.push(definition::exchange_key(&self.name, &exchange.name));
        }
        if let Some(holding) = exchange.holding.get() {
            keys.push(definition::holding_key(&self.name, &exchange.name));
            holding.end();
        }
        if let Some(history) = &exchange.history {
            let kept = history.end(self, &exchange.name);
            keys.extend(kept.into_iter().filter(|_| exchange.options.durable));
        }
        for binding in exchange.bindings() {
            // Whoever has found the exchange a moment ago must not remember where it led.
            exchange.unbind(&binding.id());
            self.tell_binding("binding.deleted", exchange, &binding);
            keys.extend(self.stored_binding(exchange, &binding));
            topology.unbound(&binding.target.id(), exchange);
        }
        self.unbind_target(topology, &TargetId::Exchange(exchange.name.clone()), keys);
        self.tell_exchange_deleted(&exchange.name);
    }

    /// The key of a binding that lasts.
    pub(super) fn stored_binding(&self, source: &Exchange, binding: &Binding) -> Option<Vec<u8>> {
        let kind = match binding.target {
            Target::Exchange(_) => TargetKind::Exchange,
            Target::Queue(_) => TargetKind::Queue,
            Target::Topic(_) => TargetKind::Topic,
        };
        let target = binding.target.name();
        (source.options.durable && binding.target.survives()).then(|| {
            definition::binding_key(
                &self.name,
                &source.name,
                kind,
                target,
                &binding.routing_key,
                &binding.arguments,
            )
        })
    }

    /// Binds a target to an exchange.
    ///
    /// # Errors
    /// [`Refusal::NoExchange`], [`Refusal::DefaultExchange`], and what the exchange's type says.
    pub fn bind(&self, source: &str, binding: Binding) -> Result<Pending, Refusal> {
        if source.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let mut topology = self.topology.lock();
        self.check_alive()?;
        let exchange = self.exchange(source)?;
        self.check_target(&binding.target)?;
        self.check_wildcards(&exchange, &binding.routing_key)?;
        let key = self.stored_binding(&exchange, &binding);
        if !exchange.bind(binding.clone())? {
            return Ok(self.done_before());
        }
        topology.bound(binding.target.id(), &exchange);
        self.tell_binding("binding.created", &exchange, &binding);
        self.replay(&exchange, &binding.target);
        Ok(key.map(|key| definition::put(&self.core.store, key, Vec::new())))
    }

    /// RabbitMQ 4.3 takes so many `#` in a pattern and no more; here any number costs little.
    fn check_wildcards(&self, exchange: &Exchange, routing_key: &str) -> Result<(), Refusal> {
        let Some(count_max) = self.core.profile.topic_wildcards_max else { return Ok(()) };
        let count = routing_key.split('.').filter(|word| *word == "#").count();
        if exchange.options.kind == "topic" && count > count_max {
            return Err(Refusal::TopicWildcards { key: routing_key.to_owned(), count, count_max });
        }
        Ok(())
    }

    /// Gives a target that was bound a moment ago what the exchange has kept.
    fn replay(&self, exchange: &Exchange, target: &Target) {
        let (Some(history), Some(me)) = (&exchange.history, self.me.upgrade()) else { return };
        let mut publisher = Publisher::new(me);
        let now_ms = self.core.clock.now_ms();
        for message in history.messages() {
            let properties = Properties::decode(message.properties()).unwrap_or_default();
            let table = properties.header_table().unwrap_or_default();
            let publish = Publish {
                exchange: message.exchange(),
                routing_key: message.routing_key(),
                properties: message.properties(),
                traits: Traits {
                    persistent: message.persistent(),
                    priority: message.priority(),
                    expiration_ms: message.expiration_ms(),
                },
            };
            let keys = routing::more_keys(&table);
            let headers = Headers { table, alone: false };
            publisher.give(now_ms, target, &publish, &keys, &headers, message.body());
        }
        publisher.flush(now_ms, None);
    }

    /// A target that was looked up before the topology was locked may be gone, or have been made anew, meanwhile.
    fn check_target(&self, target: &Target) -> Result<(), Refusal> {
        match target {
            Target::Exchange(exchange) => match self.find_exchange(&exchange.name) {
                Some(found) if Arc::ptr_eq(&found, exchange) => Ok(()),
                Some(_) | None => Err(Refusal::NoExchange(exchange.name.to_string())),
            },
            Target::Queue(queue) if queue.is_gone() => Err(Refusal::NoQueue(queue.name.to_string())),
            Target::Queue(_) => Ok(()),
            Target::Topic(topic) => match self.find_stream(&topic.name) {
                Some(found) if found.id == topic.id => Ok(()),
                Some(_) | None => Err(Refusal::NoQueue(topic.name.to_string())),
            },
        }
    }

    /// Puts a binding back that recovery found.
    pub(super) fn restore_binding(&self, source: &str, binding: Binding) -> Result<(), Refusal> {
        let mut topology = self.topology.lock();
        let exchange = self.exchange(source)?;
        let target = binding.target.id();
        if exchange.bind(binding)? {
            topology.bound(target, &exchange);
        }
        Ok(())
    }

    /// Removes a binding; one that is not there is removed already.
    ///
    /// # Errors
    /// [`Refusal::DefaultExchange`].
    pub fn unbind(&self, source: &str, id: &BindingId) -> Result<Pending, Refusal> {
        if source.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let mut topology = self.topology.lock();
        let Some(exchange) = self.find_exchange(source) else { return Ok(self.done_before()) };
        let Some(binding) = exchange.unbind(id) else { return Ok(self.done_before()) };
        let mut keys: Vec<_> = self.stored_binding(&exchange, &binding).into_iter().collect();
        topology.unbound(id.target(), &exchange);
        self.tell_binding("binding.deleted", &exchange, &binding);
        self.perhaps_auto_delete(&mut topology, &exchange, &mut keys);
        Ok(self.forget(keys))
    }

    /// Removes definitions.
    pub(super) fn forget(&self, keys: Vec<Vec<u8>>) -> Pending {
        let (mut keys, mut pending) = (keys.into_iter(), None);
        loop {
            let part: Vec<_> = keys.by_ref().take(FORGOTTEN_MAX).collect();
            if part.is_empty() {
                return pending;
            }
            pending = Some(definition::delete(&self.core.store, part));
        }
    }

    /// Publishes something of the broker's own to an exchange that clients cannot publish to.
    pub(super) fn announce(
        self: &Arc<Self>,
        now_ms: i64,
        exchange: &Arc<Exchange>,
        routing_key: &str,
        properties: &Properties<'_>,
        headers: Table,
        body: &[u8],
    ) {
        let encoded = properties.with_headers(&headers);
        let publish = Publish {
            exchange: &exchange.name,
            routing_key,
            properties: &encoded,
            traits: Traits { persistent: properties.persistent(), priority: None, expiration_ms: None },
        };
        let mut publisher = Publisher::new(self.clone());
        publisher.send_on(now_ms, exchange, &publish, &[], headers, body);
        publisher.flush(now_ms, None);
    }
}

/// Whether a redeclared exchange is the one that exists.
fn same_exchange(received: &ExchangeOptions, exchange: &Exchange) -> Result<(), Refusal> {
    let current = &exchange.options;
    let property = |arg: &str, received: String, current: String| {
        if received == current {
            return Ok(());
        }
        let difference = Box::new(Difference::Property { received, current });
        Err(Refusal::Inequivalent { arg: arg.to_owned(), on: Subject::exchange(&exchange.name), difference })
    };
    property("type", received.kind.clone(), current.kind.clone())?;
    property("durable", received.durable.to_string(), current.durable.to_string())?;
    property("auto_delete", received.auto_delete.to_string(), current.auto_delete.to_string())?;
    property("internal", received.internal.to_string(), current.internal.to_string())?;
    let arg = "alternate-exchange";
    let on = Subject::exchange(&exchange.name);
    arguments::argument(arg, on, received.arguments.field(arg), current.arguments.field(arg))
}
