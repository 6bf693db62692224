//! Exchanges: where a message goes, by type.
//!
//! An exchange is its bindings and a router made from them, one file per type, listed in [`KINDS`]. Every bind and
//! unbind raises the exchange's version, so that a publisher's remembered route is dropped when, and only when, an
//! exchange on its way has changed. (AMQP 0-9-1 §3.1.3; RabbitMQ's e2e bindings and alternate exchanges.)

pub mod direct;
pub mod fanout;
pub mod headers;
pub mod pattern;
pub mod topic;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use super::{
    policy::Applied,
    queue::{Queue, QueueId},
    refusal::Refusal,
    topic::Topic,
};
use crate::data::value::{Table, Value};

/// What a binding leads to.
#[derive(Debug, Clone)]
pub enum Target {
    Exchange(Arc<Exchange>),
    Queue(Arc<Queue>),
    Topic(Arc<Topic>),
}

/// A target's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetId {
    Exchange(Arc<str>),
    Queue(QueueId),
    Topic(Arc<str>),
}

impl Target {
    #[must_use]
    pub fn id(&self) -> TargetId {
        match self {
            Self::Exchange(exchange) => TargetId::Exchange(exchange.name.clone()),
            Self::Queue(queue) => TargetId::Queue(queue.id),
            Self::Topic(topic) => TargetId::Topic(topic.name.clone()),
        }
    }

    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Exchange(exchange) => &exchange.name,
            Self::Queue(queue) => &queue.name,
            Self::Topic(topic) => &topic.name,
        }
    }

    /// Whether a binding to it can survive a restart.
    #[must_use]
    pub fn survives(&self) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.options.durable,
            Self::Queue(queue) => queue.survives(),
            Self::Topic(_) => true,
        }
    }
}

/// A binding, seen from its source.
#[derive(Debug, Clone)]
pub struct Binding {
    pub target: Target,
    pub routing_key: Arc<str>,
    pub arguments: Table,
}

/// A binding's identity: target, key and arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingId(TargetId, Arc<str>, String);

impl Binding {
    #[must_use]
    pub fn id(&self) -> BindingId {
        let arguments =
            if self.arguments.is_empty() { String::new() } else { format!("{:?}", self.arguments) };
        BindingId(self.target.id(), self.routing_key.clone(), arguments)
    }
}

/// How one type of exchange routes.
pub trait Route: Send + Sync + std::fmt::Debug {
    /// Whether such a binding makes sense.
    ///
    /// # Errors
    /// [`Refusal::Binding`] with RabbitMQ's text.
    fn check(&self, arguments: &Table) -> Result<(), Refusal> {
        let _ = arguments;
        Ok(())
    }

    fn bind(&mut self, binding: &Binding);

    /// Removes the binding; `last` when no other has the same target and key.
    fn unbind(&mut self, binding: &Binding, last: bool);

    /// Adds the targets of a message; the same target may be added twice.
    fn route(&self, routing_key: &str, headers: Option<&Table>, targets: &mut Vec<Target>);

    /// Whether the routing key alone decides, so that a route may be remembered by it.
    fn by_key(&self) -> bool {
        true
    }
}

/// Makes a router with no bindings.
pub type Open = fn() -> Box<dyn Route>;

/// The exchange types there are.
pub const KINDS: &[(&str, Open)] =
    &[("direct", direct::open), ("fanout", fanout::open), ("headers", headers::open), ("topic", topic::open)];

/// The exchanges that every vhost has from the start: name, type, internal.
pub const PREDECLARED: &[(&str, &str, bool)] = &[
    ("", "direct", false),
    ("amq.direct", "direct", false),
    ("amq.fanout", "fanout", false),
    ("amq.headers", "headers", false),
    ("amq.match", "headers", false),
    ("amq.rabbitmq.trace", "topic", true),
    ("amq.topic", "topic", false),
];

/// What an exchange was declared with.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeOptions {
    pub kind: String,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    pub arguments: Table,
}

impl ExchangeOptions {
    /// Where messages go that this exchange cannot route.
    #[must_use]
    pub fn alternate(&self) -> Option<&str> {
        match self.arguments.field("alternate-exchange") {
            Some(Value::LongStr(name)) => std::str::from_utf8(name).ok(),
            _ => None,
        }
    }
}

/// An exchange.
#[derive(Debug)]
pub struct Exchange {
    pub name: Arc<str>,
    pub options: ExchangeOptions,
    version: AtomicU64,
    inner: RwLock<Inner>,
    applied: RwLock<Arc<Applied>>,
}

#[derive(Debug)]
struct Inner {
    bindings: BTreeMap<BindingId, Binding>,
    router: Box<dyn Route>,
}

impl Exchange {
    /// An exchange without bindings.
    ///
    /// # Errors
    /// [`Refusal::UnknownExchangeType`].
    pub fn new(name: &str, options: ExchangeOptions) -> Result<Arc<Self>, Refusal> {
        let (_, open) = KINDS
            .iter()
            .find(|(kind, _)| *kind == options.kind)
            .ok_or_else(|| Refusal::UnknownExchangeType(options.kind.clone()))?;
        let inner = RwLock::new(Inner { bindings: BTreeMap::new(), router: open() });
        Ok(Arc::new(Self {
            name: name.into(),
            options,
            version: AtomicU64::new(0),
            inner,
            applied: RwLock::default(),
        }))
    }

    /// Takes on what policies say of it, live.
    pub fn apply(&self, applied: Applied) {
        if **self.applied.read() != applied {
            *self.applied.write() = Arc::new(applied);
            self.retire();
        }
    }

    /// What policies say of it.
    #[must_use]
    pub fn applied(&self) -> Arc<Applied> {
        self.applied.read().clone()
    }

    /// Where messages go that this exchange cannot route: its argument says, or else a policy.
    #[must_use]
    pub fn alternate(&self) -> Option<String> {
        match self.options.alternate() {
            Some(name) => Some(name.to_owned()),
            None => self.applied.read().alternate_exchange(),
        }
    }

    /// Rises with every change that could change a route.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The exchange is deleted: whoever remembers a route through it routes again.
    pub fn retire(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Whether remembered routes by key are right for it.
    #[must_use]
    pub fn by_key(&self) -> bool {
        self.inner.read().router.by_key()
    }

    /// Adds a binding; false when it is there already.
    ///
    /// # Errors
    /// What the type says of its arguments.
    pub fn bind(&self, binding: Binding) -> Result<bool, Refusal> {
        let mut inner = self.inner.write();
        inner.router.check(&binding.arguments)?;
        let id = binding.id();
        if inner.bindings.contains_key(&id) {
            return Ok(false);
        }
        inner.router.bind(&binding);
        inner.bindings.insert(id, binding);
        self.version.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Removes a binding; what it was, if it was.
    pub fn unbind(&self, id: &BindingId) -> Option<Binding> {
        let mut inner = self.inner.write();
        let binding = inner.bindings.remove(id)?;
        let BindingId(target, key, _) = id;
        let same = BindingId(target.clone(), key.clone(), String::new());
        let twin = inner.bindings.range(same..).next();
        let last = twin.is_none_or(|(BindingId(t, k, _), _)| t != target || k != key);
        inner.router.unbind(&binding, last);
        self.version.fetch_add(1, Ordering::Release);
        Some(binding)
    }

    /// Removes every binding to a target.
    pub fn unbind_target(&self, target: &TargetId) -> Vec<Binding> {
        let ids: Vec<_> = {
            let inner = self.inner.read();
            let from = BindingId(target.clone(), "".into(), String::new());
            inner.bindings.range(from..).map(|(id, _)| id).take_while(|id| id.0 == *target).cloned().collect()
        };
        ids.iter().filter_map(|id| self.unbind(id)).collect()
    }

    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        self.inner.read().bindings.values().cloned().collect()
    }

    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.inner.read().bindings.is_empty()
    }

    /// Adds the targets of a message to `targets`.
    pub fn route(&self, routing_key: &str, headers: Option<&Table>, targets: &mut Vec<Target>) {
        self.inner.read().router.route(routing_key, headers, targets);
    }
}
