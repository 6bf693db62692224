//! From a channel's publishes to queues and topics: routes remembered, batches kept together.
//!
//! A [`Publisher`] gathers what one read of the socket brought into one [`Draft`] and hands it on in
//! [`Publisher::flush`] (`flush.rs`): one lock, one Change and one wake-up per queue and batch.

mod flush;

use std::sync::Arc;

pub use flush::{Ahead, Kept, Refused};

use super::{
    Core,
    exchange::{Envelope, Exchange, Target},
    holding::{self, Holding},
    message::{Draft, Publish},
    refusal::Refusal,
    routing::Route,
    stream,
    topic::{Topic, mapping::Message},
    trace::{self, Origin},
    vhost::Vhost,
};
use crate::{data::value::Table, store::Ticket};

#[derive(Debug)]
struct Remembered {
    exchange: Box<str>,
    routing_key: Box<str>,
    route: Arc<Route>,
}

impl Remembered {
    #[inline]
    fn holds(&self, exchange: &str, routing_key: &str) -> bool {
        same(&self.exchange, exchange) && same(&self.routing_key, routing_key) && self.route.current()
    }
}

/// Whether two names are the same. The default exchange's name is empty, and so is a fan-out's routing key: an empty box
/// points nowhere, and comparing no bytes there costs glibc's masked loads a microcode assist, a quarter of a server's CPU
/// at 100 bytes a message.
#[inline]
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// A message's body on its way in.
#[derive(Debug)]
pub enum Body<'a> {
    Copied(&'a [u8]),
    /// A large one, gathered in a batch of its own that becomes the channel's.
    Gathered(Draft),
}

impl Body<'_> {
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Gathered(draft) => draft.gathered(),
        }
    }

    #[inline]
    fn put(&mut self, draft: &mut Draft, publish: &Publish<'_>, now_ms: i64) {
        if let Self::Gathered(gathered) = self
            && draft.adopt(gathered, publish, now_ms)
        {
            return;
        }
        let bytes = self.bytes();
        draft.open(publish, now_ms, bytes.len());
        draft.body(bytes);
    }
}

/// A message's headers, for what must look at them.
#[derive(Debug, Clone, PartialEq)]
pub struct Headers {
    pub table: Table,
    /// The message has no other properties.
    pub alone: bool,
}

/// Whether anything will take a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed {
    Taken,
    /// By delayed exchanges and nobody else: where it will go nobody knows yet.
    Delayed,
    Unroutable,
}

/// The publishing side of one channel.
#[derive(Debug)]
pub struct Publisher {
    vhost: Arc<Vhost>,
    draft: Draft,
    /// Ordinals in the draft by their routes: as many as come one after another.
    by_route: Vec<(Arc<Route>, Vec<u32>)>,
    last: Option<Remembered>,
    records: Records,
    /// Topics published to since the last flush, while there are jobs that producers wait for.
    followed: Vec<Arc<Topic>>,
    delayed: Delayed,
    /// Whose publishes these are, for a traced vhost.
    origin: Option<Arc<Origin>>,
    ahead: Option<Ahead>,
}

/// Messages for delayed exchanges: they come in batches of their own, as each is written by itself.
#[derive(Debug, Default)]
struct Delayed {
    draft: Draft,
    /// By ordinal: when it is due, and where.
    due: Vec<(Arc<Holding>, u32, i64)>,
}

/// What becomes of publishes to topics.
#[derive(Debug)]
enum Records {
    /// Appended when they come; durable with this, if there were any since the last flush.
    Appended(Option<Ticket>),
    /// Held back until the channel's transaction commits.
    Held(Vec<(Arc<Topic>, Message)>),
}

impl Publisher {
    #[must_use]
    pub fn new(vhost: Arc<Vhost>) -> Self {
        Self {
            vhost,
            draft: Draft::default(),
            by_route: Vec::new(),
            last: None,
            records: Records::Appended(None),
            followed: Vec::new(),
            delayed: Delayed::default(),
            origin: None,
            ahead: None,
        }
    }

    /// As [`Publisher::new`], for a channel that traces name.
    #[must_use]
    pub fn of(vhost: Arc<Vhost>, origin: Arc<Origin>) -> Self {
        Self { origin: Some(origin), ..Self::new(vhost) }
    }

    /// Whether the route of the last publish holds for this one: then its permission does, too.
    #[must_use]
    #[inline]
    pub fn remembers(&self, exchange: &str, routing_key: &str) -> bool {
        self.last.as_ref().is_some_and(|last| last.holds(exchange, routing_key))
    }

    /// Forgets the route of the last publish, and the permission that goes with it.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Adds a publish to the batch. `headers` is asked where an exchange on the way routes by headers, and for topics.
    ///
    /// # Errors
    /// [`Refusal::NoExchange`], [`Refusal::InternalExchange`].
    pub fn publish(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        headers: impl Fn() -> Option<Headers>,
        body: &mut Body<'_>,
    ) -> Result<Routed, Refusal> {
        // Put aside, not cloned: that would be two atomic operations for each message.
        match self.last.take() {
            Some(last) if last.holds(publish.exchange, publish.routing_key) => {
                let routed = self.place(now_ms, publish, &[], &last.route, headers, body);
                self.last = Some(last);
                Ok(routed)
            }
            Some(_) | None => {
                let route = self.route(publish, &headers)?;
                self.not_in_transaction(&route)?;
                Ok(self.place(now_ms, publish, &[], &route, headers, body))
            }
        }
    }

    /// As [`Publisher::publish`], for a message that is routed by more keys than its own (`CC`, `BCC`): still one copy
    /// per queue. Those that nobody is to see are `hidden` among them.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_copies(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        (keys, hidden): (&[String], &[String]),
        headers: impl Fn() -> Option<Headers>,
        body: &mut Body<'_>,
    ) -> Result<Routed, Refusal> {
        let exchange = self.exchange(publish)?;
        let table = headers();
        let table = table.as_ref().map(|headers| &headers.table);
        let all = [keys, hidden].concat();
        let route = route_copies(&self.vhost, &exchange, publish, &all, table);
        self.not_in_transaction(&route)?;
        let placed = self.draft.len();
        let routed = self.place(now_ms, publish, &all, &Arc::new(route), headers, body);
        if self.draft.len() > placed {
            self.draft.hide(hidden);
        }
        Ok(routed)
    }

    /// Sends on what an exchange held back, from that exchange.
    pub(super) fn send_on(
        &mut self,
        now_ms: i64,
        exchange: &Arc<Exchange>,
        publish: &Publish<'_>,
        keys: &[String],
        table: Table,
        body: &[u8],
    ) -> Routed {
        let route = route_copies(&self.vhost, exchange, publish, keys, Some(&table));
        let headers = Headers { table, alone: false };
        let body = &mut Body::Copied(body);
        self.place(now_ms, publish, keys, &Arc::new(route), || Some(headers.clone()), body)
    }

    /// Gives a message to one target.
    pub(super) fn give(
        &mut self,
        now_ms: i64,
        target: &Target,
        publish: &Publish<'_>,
        keys: &[String],
        headers: &Headers,
        body: &[u8],
    ) {
        let route = match target {
            Target::Exchange(exchange) => {
                route_copies(&self.vhost, exchange, publish, keys, Some(&headers.table))
            }
            Target::Queue(queue) => Route::to_queue(queue.clone()),
            Target::Topic(topic) => Route::to_topic(topic.clone()),
        };
        let body = &mut Body::Copied(body);
        self.place(now_ms, publish, keys, &Arc::new(route), || Some(headers.clone()), body);
    }

    #[inline]
    fn place(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        keys: &[String],
        route: &Arc<Route>,
        headers: impl Fn() -> Option<Headers>,
        body: &mut Body<'_>,
    ) -> Routed {
        if self.vhost.tracing() {
            let body = body.bytes();
            trace::published(&self.vhost, now_ms, self.origin.as_deref(), publish, keys, route, body);
        }
        for exchange in &route.kept_by {
            let ticket = exchange.keep(&self.vhost, now_ms, publish, body.bytes());
            if let Records::Appended(last) = &mut self.records {
                *last = ticket.or(*last);
            }
        }
        let heard = route.heard && self.vhost.channels.tell(publish.routing_key.as_bytes(), body.bytes()) > 0;
        let heard = heard | self.tell(publish, route, body);
        if route.is_empty() {
            return if heard { Routed::Taken } else { Routed::Unroutable };
        }
        if !route.delayed.is_empty() {
            self.delay(now_ms, publish, keys, route, body.bytes());
        }
        if route.reaches_nobody() {
            return Routed::Delayed;
        }
        for topic in &route.topics {
            let message = stream::message(publish, headers(), body.bytes());
            match &mut self.records {
                Records::Appended(last) => {
                    *last = topic.publish(now_ms, &message).or(*last);
                    if self.vhost.core.followers.any() && !self.followed.iter().any(|t| Arc::ptr_eq(t, topic))
                    {
                        self.followed.push(topic.clone());
                    }
                }
                Records::Held(held) => held.push((topic.clone(), message)),
            }
        }
        let pushed = self.push_to_lists(route, body.bytes());
        if route.queues.is_empty() && route.replies.is_empty() {
            let taken = pushed || !route.topics.is_empty() || !route.delayed.is_empty();
            return if taken { Routed::Taken } else { Routed::Unroutable };
        }
        let ordinal = u32::try_from(self.draft.len()).unwrap_or(u32::MAX);
        body.put(&mut self.draft, publish, now_ms);
        match self.by_route.last_mut() {
            Some((last, ordinals)) if Arc::ptr_eq(last, route) => ordinals.push(ordinal),
            Some(_) | None => self.by_route.push((route.clone(), vec![ordinal])),
        }
        Routed::Taken
    }

    /// Tells the subscribers on the way; whether one heard it.
    #[inline]
    fn tell(&self, publish: &Publish<'_>, route: &Route, body: &Body<'_>) -> bool {
        let mut heard = 0;
        for exchange in &route.told {
            let hearers = exchange.subscribers.tell(publish, body.bytes());
            heard += hearers.heard;
            self.vhost.core.meters.subscribers_missed.add(hearers.missed as u64);
        }
        heard > 0
    }

    /// Whether a list took it.
    fn push_to_lists(&mut self, route: &Route, body: &[u8]) -> bool {
        let mut pushed = false;
        for list in &route.lists {
            let Ok(ticket) = list.push(body) else { continue };
            pushed = true;
            if let Records::Appended(last) = &mut self.records {
                *last = ticket.or(*last);
            }
        }
        pushed
    }

    /// A transaction is one Change of the log, and what happens to a list is in another.
    fn not_in_transaction(&self, route: &Route) -> Result<(), Refusal> {
        match (&self.records, route.lists.first()) {
            (Records::Held(_), Some(list)) => {
                Err(Refusal::UnsupportedByList { what: "tx.select", queue: list.name.to_string() })
            }
            (Records::Held(_), None) | (Records::Appended(_), _) => Ok(()),
        }
    }

    fn route(
        &mut self,
        publish: &Publish<'_>,
        headers: &impl Fn() -> Option<Headers>,
    ) -> Result<Arc<Route>, Refusal> {
        let exchange = self.exchange(publish)?;
        let headers = headers();
        let table = headers.as_ref().map(|headers| &headers.table);
        let route = Arc::new(route_copies(&self.vhost, &exchange, publish, &[], table));
        // What the default exchange cannot place now, a queue declared later may take.
        self.last = (route.remember && !route.is_empty()).then(|| Remembered {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            route: route.clone(),
        });
        Ok(route)
    }

    /// The last message is a dead letter.
    pub(super) fn died(&mut self, own_key_only: bool) {
        self.draft.died(own_key_only);
    }

    fn exchange(&self, publish: &Publish<'_>) -> Result<Arc<Exchange>, Refusal> {
        let exchange = self.vhost.exchange(publish.exchange)?;
        if exchange.options.internal {
            return Err(Refusal::InternalExchange(publish.exchange.to_owned()));
        }
        Ok(exchange)
    }

    fn delay(&mut self, now_ms: i64, publish: &Publish<'_>, keys: &[String], route: &Route, body: &[u8]) {
        let Delayed { draft, due } = &mut self.delayed;
        let ordinal = u32::try_from(draft.len()).unwrap_or(u32::MAX);
        let held = holding::held_properties(publish, keys);
        let publish = Publish { properties: held.as_deref().unwrap_or(publish.properties), ..*publish };
        draft.open(&publish, now_ms, body.len());
        draft.body(body);
        for (holding, delay_ms) in &route.delayed {
            let at_ms = now_ms.saturating_add(i64::try_from(*delay_ms).unwrap_or(i64::MAX));
            due.push((holding.clone(), ordinal, at_ms));
        }
    }

    /// Messages waiting for [`Publisher::flush`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.draft.is_empty()
            && self.delayed.due.is_empty()
            && !matches!(self.records, Records::Appended(Some(_)))
    }

    /// Bytes waiting for [`Publisher::flush`].
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.draft.bytes_len() + self.delayed.draft.bytes_len()
    }

    /// Where the last flushes went, if whoever publishes had better wait.
    pub fn take_ahead(&mut self) -> Option<Ahead> {
        self.ahead.take()
    }

    /// From now on everything waits for a commit.
    pub fn hold_back(&mut self) {
        self.records = Records::Held(Vec::new());
    }

    /// Forgets everything that waits.
    pub fn discard(&mut self) {
        drop(self.take_records());
        if !self.draft.is_empty() {
            drop(self.draft.seal());
        }
        self.delayed = Delayed::default();
        self.by_route.clear();
    }

    pub(super) fn take_records(&mut self) -> Vec<(Arc<Topic>, Message)> {
        match &mut self.records {
            Records::Appended(_) => Vec::new(),
            Records::Held(held) => std::mem::take(held),
        }
    }

    /// Bytes held back for topics.
    #[must_use]
    pub fn records_bytes(&self) -> usize {
        match &self.records {
            Records::Appended(_) => 0,
            Records::Held(held) => held.iter().map(|(_, message)| message.body.len()).sum(),
        }
    }

    #[must_use]
    pub fn core(&self) -> &Arc<Core> {
        &self.vhost.core
    }
}

/// The route of a message by all its keys.
fn route_copies(
    vhost: &Vhost,
    exchange: &Arc<Exchange>,
    publish: &Publish<'_>,
    keys: &[String],
    headers: Option<&Table>,
) -> Route {
    let (first, more) = ([publish.routing_key], keys.iter().map(String::as_str));
    let properties = publish.properties;
    if keys.is_empty() {
        return vhost.route(exchange, &Envelope { keys: &first, headers, properties });
    }
    let keys: Vec<_> = first.into_iter().chain(more).collect();
    vhost.route(exchange, &Envelope { keys: &keys, headers, properties })
}
