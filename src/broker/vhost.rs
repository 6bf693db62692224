//! One vhost: its exchanges, queues and topics, and how they hang together.
//!
//! The tables are read from everywhere and changed under `topology`, one change at a time. No map guard outlives the
//! line it is taken in. What lasts is in the store before the request is answered: every change returns the Ticket
//! to wait for. (AMQP 0-9-1 §1.6, §1.7; RabbitMQ 4.2.)

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dashmap::DashMap;
use parking_lot::Mutex;

use super::{
    Core, Pending, arguments,
    arguments::QueueKind,
    definition::{self, TargetKind},
    exchange::{Binding, BindingId, Exchange, ExchangeOptions, PREDECLARED, Target, TargetId},
    policy::{Object, apply::kind_of},
    publish::Route,
    queue::{ConnectionId, Queue, QueueOptions, state::State},
    refusal::{Difference, Kind, Refusal, Subject},
    stream,
    topic::{Topic, VhostName},
    vhost_settings::VhostSettings,
};
use crate::data::value::Table;

/// A vhost.
#[derive(Debug)]
pub struct Vhost {
    pub name: Arc<str>,
    pub core: Arc<Core>,
    /// For what lives in it and must find it again.
    me: Weak<Self>,
    pub settings: VhostSettings,
    exchanges: DashMap<Arc<str>, Arc<Exchange>>,
    queues: DashMap<Arc<str>, Arc<Queue>>,
    pub(super) topology: Mutex<Topology>,
}

/// Which exchanges have a binding to a target: what must be told when the target goes.
#[derive(Debug, Default)]
pub(super) struct Topology {
    sources: HashMap<TargetId, BTreeSet<Arc<str>>>,
}

/// A declared queue, with what `declare-ok` says of it.
#[derive(Debug)]
pub struct Declared {
    pub queue: Arc<Queue>,
    pub created: bool,
    pub pending: Pending,
}

impl Vhost {
    /// A vhost with nothing but the predeclared exchanges.
    #[must_use]
    pub fn new(core: Arc<Core>, name: &str, settings: VhostSettings) -> Arc<Self> {
        let exchanges = DashMap::new();
        for &(exchange, kind, internal) in PREDECLARED {
            let options = ExchangeOptions {
                kind: kind.to_owned(),
                durable: true,
                auto_delete: false,
                internal,
                arguments: Table::default(),
            };
            if let Ok(exchange) = Exchange::new(exchange, options) {
                exchanges.insert(exchange.name.clone(), exchange);
            }
        }
        let queues = DashMap::new();
        Arc::new_cyclic(|me| Self {
            name: name.into(),
            core,
            me: me.clone(),
            settings,
            exchanges,
            queues,
            topology: Mutex::default(),
        })
    }

    /// The exchange of that name.
    ///
    /// # Errors
    /// [`Refusal::NoExchange`].
    pub fn exchange(&self, name: &str) -> Result<Arc<Exchange>, Refusal> {
        self.find_exchange(name).ok_or_else(|| Refusal::NoExchange(name.to_owned()))
    }

    #[must_use]
    pub fn find_exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        self.exchanges.get(name).map(|e| e.value().clone())
    }

    #[must_use]
    pub fn find_queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues.get(name).map(|q| q.value().clone())
    }

    #[must_use]
    pub fn find_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.core.topics.find(&VhostName(self.name.clone()), name)
    }

    #[must_use]
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        self.exchanges.iter().map(|e| e.value().clone()).collect()
    }

    #[must_use]
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.iter().map(|q| q.value().clone()).collect()
    }

    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.queues.len()
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

    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.core.topics.list(&VhostName(self.name.clone()))
    }

    /// The queue of that name, if the connection may touch it.
    ///
    /// # Errors
    /// [`Refusal::NoQueue`]; [`Refusal::Locked`] when it is another connection's exclusive queue.
    pub fn queue(&self, name: &str, connection: ConnectionId) -> Result<Arc<Queue>, Refusal> {
        let queue = self.find_queue(name).ok_or_else(|| Refusal::NoQueue(name.to_owned()))?;
        match queue.options.exclusive {
            Some(owner) if owner != connection => Err(Refusal::Locked(name.to_owned())),
            Some(_) | None => Ok(queue),
        }
    }

    /// Declares a classic queue: makes it, or finds an equivalent one. An empty name asks for one made by the server.
    ///
    /// # Errors
    /// Everything that RabbitMQ refuses, in its order.
    pub fn declare_queue(
        &self,
        name: &str,
        connection: ConnectionId,
        options: QueueOptions,
    ) -> Result<Declared, Refusal> {
        self.core.meters.queues_declared.add(1);
        let mut topology = self.topology.lock();
        self.check_alive()?;
        if let Some(stream) = self.find_topic(name).filter(|topic| topic.stream_arguments.is_some()) {
            return Err(stream::other_type(&stream.name, QueueKind::Classic, &options.arguments));
        }
        if let Some(queue) = self.find_queue(name) {
            let queue_is_mine = queue.options.exclusive.is_none_or(|owner| owner == connection);
            if !queue_is_mine || queue.options.exclusive.is_some() != options.exclusive.is_some() {
                return Err(Refusal::Locked(name.to_owned()));
            }
            arguments::check(name, QueueKind::Classic, &options.arguments)?;
            arguments::equivalent(name, &options, &queue.options)?;
            let pending = queue.survives().then(|| self.done_before()).flatten();
            return Ok(Declared { queue, created: false, pending });
        }
        if name.starts_with("amq.") {
            return Err(Refusal::ReservedName { kind: Kind::Queue, name: name.to_owned() });
        }
        arguments::check(name, QueueKind::Classic, &options.arguments)?;
        self.check_queues_max(name)?;
        let name: Arc<str> = if name.is_empty() { server_name("amq.gen-").into() } else { name.into() };
        let queue = self.make_queue(&mut topology, self.core.ids.queue(), name, options);
        let pending = queue.survives().then(|| {
            let key = definition::queue_key(&self.name, &queue.name);
            definition::put(&self.core.store, key, definition::queue_value(queue.id, &queue.options))
        });
        Ok(Declared { queue, created: true, pending })
    }

    fn make_queue(
        &self,
        _: &mut Topology,
        id: super::queue::QueueId,
        name: Arc<str>,
        options: QueueOptions,
    ) -> Arc<Queue> {
        let applied = self.policies_for(Object::Queue(&name, kind_of(&options.arguments)));
        let asked = arguments::classic(&applied.arguments(&options.arguments));
        let mut state = State::new(options.survives(), asked.limits, asked.single_active_consumer);
        state.configure(&asked);
        state.used(self.core.clock.now_ms());
        let home = (self.me.clone(), self.name.clone());
        let queue = Queue::new(self.core.clone(), id, home, name.clone(), options, state);
        // Its time begins, though nobody may ever come.
        queue.look();
        self.queues.insert(name, queue.clone());
        queue.apply(applied);
        // A policy that changed meanwhile saw the queue, or is seen here.
        self.apply_policies_to(&queue);
        if self.find_stream(&queue.name).is_some() {
            self.names_changed();
        }
        self.core.meters.queues_created.add(1);
        queue
    }

    /// What a name means to the default exchange has changed: who remembers a route through it routes again.
    pub(super) fn names_changed(&self) {
        if let Some(default) = self.find_exchange("") {
            default.retire();
        }
    }

    /// Puts a queue back that recovery found.
    pub(super) fn restore_queue(
        &self,
        id: super::queue::QueueId,
        name: &str,
        options: QueueOptions,
    ) -> Arc<Queue> {
        self.make_queue(&mut self.topology.lock(), id, name.into(), options)
    }

    /// Deletes a queue; returns the ready messages that went with it.
    ///
    /// # Errors
    /// [`Refusal::InUse`] and [`Refusal::NotEmpty`], when asked to mind them.
    pub fn delete_queue(
        &self,
        queue: &Arc<Queue>,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<(usize, Pending), Refusal> {
        self.delete_queue_when(queue, |state| {
            if if_unused && !state.consumers.is_empty() {
                return Err(Refusal::InUse(Subject::queue(&queue.name)));
            }
            if if_empty && !state.ready.is_empty() {
                return Err(Refusal::NotEmpty(queue.name.to_string()));
            }
            Ok(())
        })
    }

    /// `x-expires`: deletes a queue that nobody has used for long enough, with its messages.
    pub(super) fn delete_unused(&self, queue: &Arc<Queue>, now_ms: i64) {
        let deleted = self.delete_queue_when(queue, |state| match state.unused(now_ms) {
            true => Ok(()),
            false => Err(Refusal::InUse(Subject::queue(&queue.name))),
        });
        if deleted.is_err() {
            // Somebody came at the last moment: a new deadline.
            queue.look();
        }
    }

    fn delete_queue_when(
        &self,
        queue: &Arc<Queue>,
        check: impl FnOnce(&State) -> Result<(), Refusal>,
    ) -> Result<(usize, Pending), Refusal> {
        let mut topology = self.topology.lock();
        let count = queue.end(check)?;
        if self.queues.remove_if(&queue.name, |_, q| Arc::ptr_eq(q, queue)).is_none() {
            // Somebody else was first.
            return Ok((count, None));
        }
        self.names_changed();
        self.core.meters.queues_deleted.add(1);
        let mut keys = Vec::new();
        if queue.survives() {
            keys.push(definition::queue_key(&self.name, &queue.name));
        }
        self.unbind_target(&mut topology, &TargetId::Queue(queue.id), &mut keys);
        Ok((count, self.forget(keys)))
    }

    pub(super) fn forget(&self, keys: Vec<Vec<u8>>) -> Pending {
        (!keys.is_empty()).then(|| definition::delete(&self.core.store, keys))
    }

    /// Somebody else has done it already, perhaps a moment ago: it must be durable before this one hears of it, too.
    #[must_use]
    pub fn done_before(&self) -> Pending {
        let all = self.core.store.promised_to();
        (all > self.core.store.durable_to()).then_some(all)
    }

    /// Removes every binding to a target, and the auto-delete exchanges that lose their last one by it.
    pub(super) fn unbind_target(&self, topology: &mut Topology, target: &TargetId, keys: &mut Vec<Vec<u8>>) {
        for source in topology.sources.remove(target).unwrap_or_default() {
            let Some(exchange) = self.find_exchange(&source) else { continue };
            for binding in exchange.unbind_target(target) {
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
        if exchange.options.durable {
            keys.push(definition::exchange_key(&self.name, &exchange.name));
        }
        for binding in exchange.bindings() {
            keys.extend(self.stored_binding(exchange, &binding));
            if let Some(sources) = topology.sources.get_mut(&binding.target.id()) {
                sources.remove(&exchange.name);
            }
        }
        self.unbind_target(topology, &TargetId::Exchange(exchange.name.clone()), keys);
    }

    /// The key of a binding that lasts.
    fn stored_binding(&self, source: &Exchange, binding: &Binding) -> Option<Vec<u8>> {
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

    /// Declares an exchange: makes it, or finds an equivalent one.
    ///
    /// # Errors
    /// Everything that RabbitMQ refuses, in its order.
    pub fn declare_exchange(&self, name: &str, options: ExchangeOptions) -> Result<Pending, Refusal> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let _topology = self.topology.lock();
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
        self.exchanges.insert(made.name.clone(), made.clone());
        made.apply(self.policies_for(Object::Exchange(name)));
        Ok(made.options.durable.then(|| {
            let key = definition::exchange_key(&self.name, name);
            definition::put(&self.core.store, key, definition::exchange_value(&made.options))
        }))
    }

    /// Puts an exchange back that recovery found.
    pub(super) fn restore_exchange(&self, name: &str, options: ExchangeOptions) -> Result<(), Refusal> {
        let exchange = Exchange::new(name, options)?;
        exchange.apply(self.policies_for(Object::Exchange(name)));
        self.exchanges.insert(exchange.name.clone(), exchange);
        Ok(())
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
        let (target, key) = (binding.target.id(), self.stored_binding(&exchange, &binding));
        if !exchange.bind(binding)? {
            return Ok(self.done_before());
        }
        topology.sources.entry(target).or_default().insert(exchange.name.clone());
        Ok(key.map(|key| definition::put(&self.core.store, key, Vec::new())))
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
            Target::Topic(topic) => match self.find_topic(&topic.name) {
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
            topology.sources.entry(target).or_default().insert(exchange.name.clone());
        }
        Ok(())
    }

    /// Removes a binding; one that is not there is removed already.
    ///
    /// # Errors
    /// [`Refusal::DefaultExchange`].
    pub fn unbind(&self, source: &str, id: &BindingId, target: &TargetId) -> Result<Pending, Refusal> {
        if source.is_empty() {
            return Err(Refusal::DefaultExchange);
        }
        let mut topology = self.topology.lock();
        let Some(exchange) = self.find_exchange(source) else { return Ok(None) };
        let Some(binding) = exchange.unbind(id) else { return Ok(self.done_before()) };
        let mut keys: Vec<_> = self.stored_binding(&exchange, &binding).into_iter().collect();
        if !exchange.bindings().iter().any(|b| b.target.id() == *target)
            && let Some(sources) = topology.sources.get_mut(target)
        {
            sources.remove(&exchange.name);
        }
        self.perhaps_auto_delete(&mut topology, &exchange, &mut keys);
        Ok(self.forget(keys))
    }

    /// Where a message goes.
    #[must_use]
    pub fn route(&self, exchange: &Arc<Exchange>, routing_key: &str, headers: Option<&Table>) -> Route {
        let mut route = Route::default();
        let mut waiting = vec![exchange.clone()];
        let mut seen = BTreeSet::new();
        let mut targets = Vec::new();
        while let Some(exchange) = waiting.pop() {
            if !seen.insert(exchange.name.clone()) {
                continue;
            }
            route.pass(&exchange);
            if exchange.name.is_empty() {
                targets.extend(self.find_queue(routing_key).map(Target::Queue));
                if targets.is_empty() {
                    targets.extend(self.find_stream(routing_key).map(Target::Topic));
                }
            } else {
                exchange.route(routing_key, headers, &mut targets);
            }
            if targets.is_empty() {
                let named = exchange.alternate();
                let alternate = named.as_deref().and_then(|name| self.find_exchange(name));
                route.remember &= named.is_none() || alternate.is_some();
                waiting.extend(alternate);
            }
            for target in targets.drain(..) {
                match target {
                    Target::Exchange(next) => waiting.push(next),
                    Target::Queue(queue) => route.add_queue(queue),
                    Target::Topic(topic) => route.add_topic(topic),
                }
            }
        }
        route
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

/// A name made by the server: the prefix and 22 characters that nobody guesses.
#[must_use]
pub fn server_name(prefix: &str) -> String {
    let random: [u8; 16] = rand::random();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random))
}
