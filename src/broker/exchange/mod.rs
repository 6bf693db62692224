//! Exchanges: where a message goes, by type.
//!
//! An exchange is its bindings and a router made from them, one file per type, listed in [`KINDS`]. Every bind and
//! unbind raises the exchange's version, so that a publisher's remembered route is dropped when, and only when, an
//! exchange on its way has changed. What binding and unbinding cost does not grow with the other bindings.
//! (AMQP 0-9-1 §3.1.3; RabbitMQ's e2e bindings, alternate exchanges, and the exchange types of its plugins.)

pub mod consistent_hash;
pub mod delayed;
pub mod direct;
pub mod fanout;
pub mod headers;
pub mod history;
pub mod local_random;
pub mod members;
pub mod modulus_hash;
pub mod pattern;
pub mod random;
pub mod recent_history;
pub mod subscribers;
pub mod target;
#[cfg(test)]
mod testing;
pub mod topic;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

pub use self::target::{Binding, BindingId, Target, TargetId};
use self::{history::History, subscribers::Subscribers};
use super::{
    holding::Holding, message::Publish, outlet::Outlet, policy::Applied, profile::Profile,
    queue::ConnectionId, refusal::Refusal, vhost::Vhost,
};
use crate::{
    data::value::{Table, Value},
    store::Ticket,
};

/// What an exchange may look at to route a message.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The routing key first, then those of `CC` and `BCC`.
    pub keys: &'a [&'a str],
    pub headers: Option<&'a Table>,
    /// Property flags and list as on the wire.
    pub properties: &'a [u8],
}

impl Envelope<'_> {
    /// The routing key of the publish itself.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.keys.first().copied().unwrap_or_default()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.headers?.field(name)
    }
}

/// How one type of exchange routes.
pub trait Route: Send + Sync + std::fmt::Debug {
    /// Whether such a binding makes sense.
    ///
    /// # Errors
    /// [`Refusal::Binding`] with RabbitMQ's text.
    fn check(&self, binding: &Binding) -> Result<(), Refusal> {
        let _ = binding;
        Ok(())
    }

    fn bind(&mut self, binding: &Binding);

    /// Removes the binding; `last` when no other has the same target and key.
    fn unbind(&mut self, binding: &Binding, last: bool);

    /// Adds the targets of a message; the same target may be added twice.
    fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>);

    /// Whether the routing keys alone decide, so that a route may be remembered by them.
    fn by_key(&self) -> bool {
        true
    }

    /// How long this message must wait before it is routed.
    fn delay_ms(&self, envelope: &Envelope<'_>) -> Option<u64> {
        let _ = envelope;
        None
    }

    /// What the exchange has besides its bindings.
    fn keeps(&self) -> Keeps {
        Keeps::Nothing
    }
}

/// What an exchange of some type has besides its bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    /// The last so many messages, for whoever is bound next.
    History(usize),
    /// Messages that are not due yet.
    Delayed,
}

/// Makes a router with no bindings, as the exchange's arguments ask for it.
pub type Open = fn(&Table) -> Result<Box<dyn Route>, Refusal>;

/// The exchange types there are. Those that begin with `x-` are plugins of RabbitMQ (but `x-local-random`).
pub const KINDS: &[(&str, Open)] = &[
    ("direct", direct::open),
    ("fanout", fanout::open),
    ("headers", headers::open),
    ("topic", topic::open),
    ("x-consistent-hash", consistent_hash::open),
    ("x-delayed-message", delayed::open),
    ("x-local-random", local_random::open),
    ("x-modulus-hash", modulus_hash::open),
    ("x-random", random::open),
    ("x-recent-history", recent_history::open),
];

/// A router of that type.
///
/// # Errors
/// [`Refusal::UnknownExchangeType`], and what the type says of the arguments.
pub fn open(kind: &str, arguments: &Table) -> Result<Box<dyn Route>, Refusal> {
    let (_, open) = KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .ok_or_else(|| Refusal::UnknownExchangeType(kind.to_owned()))?;
    open(arguments)
}

/// Whether exchanges of that type can be declared. Those of other versions that are there already go on.
#[must_use]
pub fn is_type(name: &str, profile: &Profile) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == name) && !profile.exchange_types_missing.contains(&name)
}

/// The exchanges that every vhost has from the start: name, type, internal.
pub const PREDECLARED: &[(&str, &str, bool)] = &[
    ("", "direct", false),
    ("amq.direct", "direct", false),
    ("amq.fanout", "fanout", false),
    ("amq.headers", "headers", false),
    ("amq.match", "headers", false),
    (TRACE, "topic", true),
    ("amq.topic", "topic", false),
];

/// Where a traced vhost's messages are copied to.
pub const TRACE: &str = "amq.rabbitmq.trace";

/// Where the broker tells what happens to it; in vhost `/` only.
pub const EVENT: &str = "amq.rabbitmq.event";

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
    /// A durable exchange with nothing special to it.
    #[must_use]
    pub fn durable(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::default(),
        }
    }

    /// Where messages go that this exchange cannot route, as its arguments say.
    #[must_use]
    pub fn alternate(&self) -> Option<&str> {
        alternate(&self.arguments)
    }
}

fn alternate(arguments: &Table) -> Option<&str> {
    arguments
        .field("alternate-exchange")
        .and_then(Value::octets)
        .and_then(|name| std::str::from_utf8(name).ok())
}

/// An exchange.
#[derive(Debug)]
pub struct Exchange {
    pub name: Arc<str>,
    pub options: ExchangeOptions,
    /// The last messages, where the type keeps them.
    pub history: Option<History>,
    /// Messages that are not due yet, where the type delays; set when the exchange is put into its vhost.
    pub(crate) holding: OnceLock<Arc<Holding>>,
    /// Who hears what is published here, besides its targets.
    pub subscribers: Subscribers,
    keeps: Keeps,
    by_key: bool,
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
    /// [`Refusal::UnknownExchangeType`], and what the type says of the arguments.
    pub fn new(name: &str, options: ExchangeOptions) -> Result<Arc<Self>, Refusal> {
        let router = open(&options.kind, &options.arguments)?;
        let (keeps, by_key) = (router.keeps(), router.by_key());
        let history = match keeps {
            Keeps::History(length) => Some(History::new(length)),
            Keeps::Nothing | Keeps::Delayed => None,
        };
        Ok(Arc::new(Self {
            name: name.into(),
            options,
            history,
            holding: OnceLock::new(),
            subscribers: Subscribers::default(),
            keeps,
            by_key,
            applied: RwLock::default(),
            version: AtomicU64::new(0),
            inner: RwLock::new(Inner { bindings: BTreeMap::new(), router }),
        }))
    }

    /// Keeps a message for whoever is bound later, where the type does that.
    pub(super) fn keep(
        &self,
        vhost: &Vhost,
        now_ms: i64,
        publish: &Publish<'_>,
        body: &[u8],
    ) -> Option<Ticket> {
        let lasts = self.options.durable;
        self.history.as_ref()?.keep((vhost, &self.name, lasts), now_ms, publish, body)
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

    /// What it has besides its bindings.
    #[must_use]
    pub fn keeps(&self) -> Keeps {
        self.keeps
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
        self.by_key
    }

    /// Adds a binding; false when it is there already.
    ///
    /// # Errors
    /// What the type says of it.
    pub fn bind(&self, binding: Binding) -> Result<bool, Refusal> {
        let mut inner = self.inner.write();
        inner.router.check(&binding)?;
        let id = binding.id();
        if inner.bindings.contains_key(&id) {
            return Ok(false);
        }
        inner.router.bind(&binding);
        inner.bindings.insert(id, binding);
        self.retire();
        Ok(true)
    }

    /// Removes a binding; what it was, if it was.
    pub fn unbind(&self, id: &BindingId) -> Option<Binding> {
        let mut inner = self.inner.write();
        let binding = inner.bindings.remove(id)?;
        let last =
            !inner.bindings.range(id.same_key()..).next().is_some_and(|(other, _)| other.is_same_key(id));
        inner.router.unbind(&binding, last);
        self.retire();
        Some(binding)
    }

    /// Removes every binding to a target.
    pub fn unbind_target(&self, target: &TargetId) -> Vec<Binding> {
        let ids: Vec<_> = {
            let inner = self.inner.read();
            let from = BindingId::first_of(target);
            inner
                .bindings
                .range(from..)
                .map(|(id, _)| id)
                .take_while(|id| id.is_to(target))
                .cloned()
                .collect()
        };
        ids.iter().filter_map(|id| self.unbind(id)).collect()
    }

    /// Adds a subscription, which is not there yet.
    pub fn subscribe(&self, prefix: &[u8], id: ConnectionId, outlet: &Arc<Outlet>, waiting_bytes_max: usize) {
        if self.subscribers.subscribe(prefix, id, outlet, waiting_bytes_max) {
            self.retire();
        }
    }

    /// Removes a subscription.
    pub fn cancel(&self, prefix: &[u8], id: ConnectionId) {
        if self.subscribers.cancel(prefix, id) {
            self.retire();
        }
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
    pub fn route(&self, envelope: &Envelope<'_>, targets: &mut Vec<Target>) {
        self.inner.read().router.route(envelope, targets);
    }

    /// How long a message must wait before it is routed.
    #[must_use]
    pub fn delay_ms(&self, envelope: &Envelope<'_>) -> Option<u64> {
        match self.keeps {
            Keeps::Delayed => self.inner.read().router.delay_ms(envelope),
            Keeps::Nothing | Keeps::History(_) => None,
        }
    }
}
