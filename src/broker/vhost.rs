//! One vhost: its exchanges, queues and topics. How exchanges hang together is in `topology.rs`, how they route in
//! `routing.rs`.
//!
//! The tables are read from everywhere and changed under `topology`, one change at a time. No map guard outlives the
//! line it is taken in. What lasts is in the store before the request is answered: every change returns the Ticket
//! to wait for. (AMQP 0-9-1 §1.6, §1.7; RabbitMQ 4.2.)

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dashmap::DashMap;
use parking_lot::Mutex;

use super::{
    Core, Pending, arguments,
    arguments::QueueKind,
    channels::Channels,
    definition,
    exchange::{EVENT, Exchange, ExchangeOptions, PREDECLARED, TargetId},
    keyspace::Keyspace,
    policy::{Object, apply::kind_of},
    queue::{ConnectionId, Queue, QueueOptions, state::State},
    refusal::{Kind, Refusal, Subject},
    stream,
    topic::{Topic, VhostName},
    topology::Topology,
    vhost_settings::VhostSettings,
};

/// A vhost.
#[derive(Debug)]
pub struct Vhost {
    pub name: Arc<str>,
    pub core: Arc<Core>,
    pub settings: VhostSettings,
    /// What clients have here that know no exchanges.
    pub keyspace: Arc<Keyspace>,
    /// Who listens to what is published to `redis.pubsub`.
    pub channels: Channels,
    pub(super) exchanges: DashMap<Arc<str>, Arc<Exchange>>,
    queues: DashMap<Arc<str>, Arc<Queue>>,
    pub(super) topology: Mutex<Topology>,
    pub(super) me: Weak<Self>,
    /// What is published and delivered is copied to `amq.rabbitmq.trace`.
    tracing: AtomicBool,
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
        let events = (name == "/").then_some((EVENT, "topic", true));
        for (exchange, kind, internal) in PREDECLARED.iter().copied().chain(events) {
            let options = ExchangeOptions { internal, ..ExchangeOptions::durable(kind) };
            if let Ok(exchange) = Exchange::new(exchange, options) {
                exchanges.insert(exchange.name.clone(), exchange);
            }
        }
        let (queues, tracing) = (DashMap::new(), settings.metadata().tracing);
        let name: Arc<str> = name.into();
        Arc::new_cyclic(|me| Self {
            keyspace: Keyspace::new(&core, name.clone(), me.clone()),
            channels: Channels::default(),
            name,
            core,
            settings,
            exchanges,
            queues,
            topology: Mutex::default(),
            me: me.clone(),
            tracing: AtomicBool::new(tracing),
        })
    }

    /// Whether messages are traced.
    #[must_use]
    pub fn tracing(&self) -> bool {
        self.tracing.load(Ordering::Relaxed)
    }

    /// Traces messages from now on, or no more.
    pub fn set_tracing(&self, on: bool) {
        self.tracing.store(on, Ordering::Relaxed);
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

    /// Declares a classic or quorum queue, whose arguments name its type ([`Vhost::arguments_of`]): makes it, or finds an equivalent one. An empty name asks for one made by the server.
    ///
    /// # Errors
    /// Everything that RabbitMQ refuses, in its order.
    pub fn declare_queue(
        &self,
        name: &str,
        connection: ConnectionId,
        options: QueueOptions,
    ) -> Result<Declared, Refusal> {
        self.core.meters.queues_declared.increment();
        let mut topology = self.topology.lock();
        self.check_alive()?;
        let (profile, kind) = (self.core.profile, arguments::kind_of(&options.arguments));
        if name.is_empty() && kind != QueueKind::Classic {
            return Err(Refusal::ServerNamed(kind.word()));
        }
        if let Some(stream) = self.find_stream(name).filter(|topic| topic.stream_arguments.is_some()) {
            return Err(stream::other_type(&stream.name, QueueKind::Stream, &options.arguments, profile));
        }
        if let Some(queue) = self.find_queue(name) {
            let queue_is_mine = queue.options.exclusive.is_none_or(|owner| owner == connection);
            if !queue_is_mine || queue.options.exclusive.is_some() != options.exclusive.is_some() {
                return Err(Refusal::Locked(name.to_owned()));
            }
            arguments::equivalent(name, queue.kind, &options, &queue.options, profile)?;
            let pending = queue.survives().then(|| self.done_before()).flatten();
            // Here, so that it does not expire before its declarer hears of it.
            queue.with_state(|state| state.used(self.core.clock.now_ms()));
            return Ok(Declared { queue, created: false, pending });
        }
        if name.starts_with("amq.") {
            return Err(Refusal::ReservedName { kind: Kind::Queue, name: name.to_owned() });
        }
        arguments::check(name, kind, &options, profile)?;
        self.check_queues_max(name)?;
        let name: Arc<str> = if name.is_empty() { server_name("amq.gen-").into() } else { name.into() };
        let queue = self.make_queue(&mut topology, self.core.ids.queue(), name, options);
        self.tell_queue_created(&queue);
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
        let asked = arguments::settings(&applied.arguments(&options.arguments), self.core.profile);
        let mut state = State::new(options.survives(), &asked);
        state.used(self.core.clock.now_ms());
        let home = (self.me.clone(), self.name.clone());
        let queue = Queue::new(self.core.clone(), id, home, name.clone(), options, state);
        // Its time begins, though nobody may ever come.
        queue.look();
        if let Some(effects) = queue.apply(applied) {
            queue.follow(effects);
        }
        self.queues.insert(name, queue.clone());
        // A policy that changed meanwhile saw the queue, or is seen here.
        self.apply_policies_to(&queue);
        if self.find_stream(&queue.name).is_some() {
            self.names_changed();
        }
        self.core.meters.queues_created.increment();
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
        for (asked, flag) in [(if_unused, "if-unused"), (if_empty, "if-empty")] {
            if asked && queue.kind == QueueKind::Quorum {
                return Err(Refusal::DeleteCondition { flag, queue: queue.name.to_string() });
            }
        }
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
            return Ok((count, self.done_before()));
        }
        self.names_changed();
        self.core.meters.queues_deleted.increment();
        let mut keys = Vec::new();
        if queue.survives() {
            keys.push(definition::queue_key(&self.name, &queue.name));
        }
        self.unbind_target(&mut topology, &TargetId::Queue(queue.id), &mut keys);
        self.tell_queue_deleted(&queue.name);
        Ok((count, self.forget(keys)))
    }

    /// Somebody else has done it already, perhaps a moment ago: it must be durable before this one hears of it, too.
    #[must_use]
    pub fn done_before(&self) -> Pending {
        let all = self.core.store.promised_to();
        (all > self.core.store.durable_to()).then_some(all)
    }
}

/// A name made by the server: the prefix and 22 characters that nobody guesses.
#[must_use]
pub fn server_name(prefix: &str) -> String {
    let random: [u8; 16] = rand::random();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random))
}
