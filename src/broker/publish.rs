//! From a channel's publishes to queues and topics: routes remembered, batches kept together.
//!
//! A [`Publisher`] gathers what one read of the socket brought into one [`Draft`] and hands it on in
//! [`Publisher::flush`]: one lock, one Change and one wake-up per queue and batch.

use std::sync::Arc;

use super::{
    Core,
    exchange::{Envelope, Exchange, Target},
    holding::{self, Holding},
    message::{Blob, Draft, Hold, Publish, Traits},
    outlet::Outlet,
    queue::{Gone, Queue, state::Overflow},
    receipt::Receipt,
    refusal::Refusal,
    routing::{self, Route},
    stream,
    topic::{Topic, mapping::Message},
    trace::{self, Origin},
    vhost::Vhost,
};
use crate::{
    data::{field::Properties, value::Table},
    store::{Change, Ticket},
};

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

/// What a flush could not place.
#[derive(Debug, Default)]
pub struct Refused {
    /// Ordinals in the batch that a full queue refused (`x-overflow` = `reject-publish`).
    pub rejected: Vec<u32>,
    /// The same by the queues that refused them, for whoever does not give up.
    pub by_queue: Vec<(Arc<Queue>, Vec<u32>)>,
    /// The batch, when it was refused by one.
    pub blob: Option<Arc<Blob>>,
}

/// Messages that one queue refused, in a batch of their own: they are offered until it takes them.
#[derive(Debug)]
pub struct Kept {
    pub queue: Arc<Queue>,
    blob: Arc<Blob>,
    ordinals: Vec<u32>,
}

impl Refused {
    /// What the queues refused, to be offered again. Copied: the batch that it came in may be gone from the log when it
    /// is taken at last.
    #[must_use]
    pub fn keep(self) -> Vec<Kept> {
        let Some(blob) = self.blob else { return Vec::new() };
        let copy = |(queue, ordinals): (Arc<Queue>, Vec<u32>)| {
            let mut draft = Draft::default();
            let messages = ordinals.iter().filter_map(|&ordinal| blob.message(ordinal));
            messages.for_each(|message| draft.copy(&message));
            let ordinals = (0..).take(draft.len()).collect();
            Kept { queue, blob: draft.seal(), ordinals }
        };
        self.by_queue.into_iter().map(copy).collect()
    }
}

impl Kept {
    /// Offers the messages again, until the queue takes no more: then `outlet` hears of room. True when all are taken, or
    /// their queue is gone.
    #[must_use]
    pub fn offer(&mut self, now_ms: i64, outlet: &Arc<Outlet>) -> bool {
        loop {
            match self.queue.publish(now_ms, &self.blob, &self.ordinals, None, None) {
                Ok(Overflow::None) | Err(Gone) => return true,
                Ok(Overflow::Rejected(rest)) => self.ordinals = rest,
            }
            let first = self.ordinals.first().and_then(|&ordinal| self.blob.message(ordinal));
            let body_bytes = first.map_or(0, |message| message.body_len());
            if self.queue.wait_for_room(outlet, body_bytes) {
                return false;
            }
        }
    }
}

/// The publishing side of one channel.
#[derive(Debug)]
pub struct Publisher {
    vhost: Arc<Vhost>,
    draft: Draft,
    runs: Vec<(Arc<Route>, Vec<u32>)>,
    last: Option<Remembered>,
    records: Records,
    /// Topics published to since the last flush, while there are jobs that producers wait for.
    followed: Vec<Arc<Topic>>,
    delayed: Delayed,
    /// Whose publishes these are, for a traced vhost.
    origin: Option<Arc<Origin>>,
    ahead: Option<Ahead>,
}

/// What was published to a queue that is ahead of its consumers.
#[derive(Debug)]
pub struct Ahead {
    pub queue: Arc<Queue>,
    pub messages: usize,
}

/// Ordinals with the times at which they are due.
type Ordinals = Vec<(u32, i64)>;

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
            runs: Vec::new(),
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
        match self.runs.last_mut() {
            Some((last, ordinals)) if Arc::ptr_eq(last, route) => ordinals.push(ordinal),
            Some(_) | None => self.runs.push((route.clone(), vec![ordinal])),
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

    /// Hands the batch to its queues and topics. The receipt, if any, waits for all that must be durable.
    pub fn flush(&mut self, now_ms: i64, receipt: Option<&Arc<Receipt>>) -> Refused {
        if let Records::Appended(last) = &mut self.records
            && last.take().is_some()
            && let Some(receipt) = receipt
        {
            receipt.expect();
            let (receipt, core) = (receipt.clone(), self.vhost.core.clone());
            let followed = std::mem::take(&mut self.followed);
            self.vhost.core.store.submit(Box::new(stream::Appended { receipt, followed, core }));
        }
        self.hand_over(now_ms, Sink::Inbox(receipt, None))
    }

    /// As [`Publisher::flush`], with something happening before each queue's turn.
    #[cfg(test)]
    pub(super) fn flush_between(&mut self, now_ms: i64, receipt: &Arc<Receipt>, between: impl Fn()) {
        self.between(now_ms, Sink::Inbox(Some(receipt), None), between);
    }

    /// As [`Publisher::flush`], but what must last is added to `changes` and not put into the inbox. What was held back
    /// until now is published now: else it would expire earlier once it is read back from the log.
    pub(super) fn flush_into(&mut self, now_ms: i64, changes: &mut Vec<Box<dyn Change>>) -> Refused {
        self.draft.published(now_ms);
        self.hand_over(now_ms, Sink::Changes(changes))
    }

    fn hand_over(&mut self, now_ms: i64, sink: Sink<'_>) -> Refused {
        self.between(now_ms, sink, || {})
    }

    /// Hands the batch to one queue after the other; other threads may do anything `between`.
    fn between(&mut self, now_ms: i64, mut sink: Sink<'_>, between: impl Fn()) -> Refused {
        let mut refused = Refused::default();
        self.hold_delayed(&mut sink);
        if self.draft.is_empty() {
            return refused;
        }
        let blob = self.draft.seal();
        self.vhost.core.meters.routed.add(blob.len() as u64);
        let mut runs = std::mem::take(&mut self.runs);
        if runs.len() > 1 {
            join_runs(&mut runs);
        }
        if let Sink::Inbox(_, hold) = &mut sink
            && runs.iter().map(|(route, _)| route.queues.len()).sum::<usize>() > 1
        {
            *hold = Some(Hold::new(blob.clone(), self.vhost.core.store.clone()));
        }
        // One queue that is served well is reason enough to go on: others of a fan-out must not wait for the slowest.
        let (mut behind, mut served) = (None, false);
        for (route, ordinals) in &runs {
            for reply_to in &route.replies {
                let messages = ordinals.iter().filter_map(|&ordinal| blob.message(ordinal));
                messages.for_each(|message| reply_to.deliver(message));
            }
            for queue in &route.queues {
                between();
                let mut batch =
                    Batch { vhost: &self.vhost, now_ms, blob: &blob, sink: &mut sink, refused: &mut refused };
                batch.queue(queue, route, ordinals);
                let waits = queue.behind();
                served |= waits.is_none();
                behind = behind.or(waits);
            }
        }
        if let Some(queue) = behind.filter(|_| !served) {
            let messages = blob.len() + self.ahead.take().map_or(0, |ahead| ahead.messages);
            self.ahead = Some(Ahead { queue, messages });
        }
        runs.clear();
        self.runs = runs;
        // Several queues may have refused the same one.
        refused.rejected.sort_unstable();
        refused.rejected.dedup();
        refused
    }

    /// Hands over what delayed exchanges hold, to one after the other.
    fn hold_delayed(&mut self, sink: &mut Sink<'_>) {
        if self.delayed.due.is_empty() {
            return;
        }
        let blob = self.delayed.draft.seal();
        let mut batches: Vec<(Arc<Holding>, Ordinals)> = Vec::new();
        for (holding, ordinal, at_ms) in self.delayed.due.drain(..) {
            match batches.iter_mut().find(|(other, _)| other.id == holding.id) {
                Some((_, messages)) => messages.push((ordinal, at_ms)),
                None => batches.push((holding, vec![(ordinal, at_ms)])),
            }
        }
        for (holding, messages) in batches {
            match sink {
                Sink::Inbox(receipt, _) => {
                    receipt.iter().for_each(|receipt| receipt.expect());
                    self.vhost.core.store.submit(holding.hold(&blob, &messages, *receipt));
                }
                Sink::Changes(changes) => changes.push(holding.hold(&blob, &messages, None)),
            }
        }
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
        self.runs.clear();
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

/// Where that goes which must last.
enum Sink<'a> {
    /// The hold, when the batch goes to several queues.
    Inbox(Option<&'a Arc<Receipt>>, Option<Hold>),
    Changes(&'a mut Vec<Box<dyn Change>>),
}

impl Sink<'_> {
    fn publish(
        &mut self,
        queue: &Arc<Queue>,
        now_ms: i64,
        blob: &Arc<Blob>,
        ordinals: &[u32],
    ) -> Result<Overflow, Gone> {
        match self {
            Self::Inbox(receipt, hold) => queue.publish(now_ms, blob, ordinals, *receipt, hold.as_ref()),
            Self::Changes(changes) => queue.publish_into(now_ms, blob, ordinals, changes),
        }
    }
}

/// Publishes that alternate between a few keys come as many short runs: one per route is as good, as long as the order
/// within each queue stays. So no run is joined to one before another that shares a queue with it.
fn join_runs(runs: &mut Vec<(Arc<Route>, Vec<u32>)>) {
    let mut joined: Vec<(Arc<Route>, Vec<u32>)> = Vec::new();
    for (route, ordinals) in runs.drain(..) {
        let meets = |other: &&mut (Arc<Route>, Vec<u32>)| shares_queue(&other.0, &route);
        match joined.iter_mut().rev().take(JOINED_ROUTES_MAX).find(meets) {
            Some((other, list)) if same_queues(other, &route) => list.extend(ordinals),
            Some(_) | None => joined.push((route, ordinals)),
        }
    }
    *runs = joined;
}

const JOINED_ROUTES_MAX: usize = 64;

fn shares_queue(a: &Arc<Route>, b: &Arc<Route>) -> bool {
    Arc::ptr_eq(a, b)
        || !a.replies.is_empty()
        || !b.replies.is_empty()
        || a.queues.iter().any(|queue| b.queues.iter().any(|other| other.id == queue.id))
}

/// Topics have been served already.
fn same_queues(a: &Route, b: &Route) -> bool {
    a.replies.is_empty()
        && b.replies.is_empty()
        && a.queues.len() == b.queues.len()
        && a.queues.iter().zip(&b.queues).all(|(a, b)| a.id == b.id)
}

struct Batch<'a, 'b> {
    vhost: &'a Vhost,
    now_ms: i64,
    blob: &'a Arc<Blob>,
    sink: &'a mut Sink<'b>,
    refused: &'a mut Refused,
}

impl Batch<'_, '_> {
    fn queue(&mut self, queue: &Arc<Queue>, route: &Route, ordinals: &[u32]) {
        match self.sink.publish(queue, self.now_ms, self.blob, ordinals) {
            Ok(Overflow::None) => {}
            Ok(Overflow::Rejected(list)) => self.reject(queue, list),
            Err(Gone) => self.again(route, ordinals),
        }
    }

    fn reject(&mut self, queue: &Arc<Queue>, ordinals: Vec<u32>) {
        self.refused.blob.get_or_insert_with(|| self.blob.clone());
        self.refused.rejected.extend(&ordinals);
        self.refused.by_queue.push((queue.clone(), ordinals));
    }

    /// The queue was deleted under our hands: route again, to what was not in the old route.
    fn again(&mut self, old: &Route, ordinals: &[u32]) {
        for &ordinal in ordinals {
            let Some(message) = self.blob.message(ordinal) else { continue };
            let Some(exchange) = self.vhost.find_exchange(message.exchange()) else { continue };
            let properties = Properties::decode(message.properties()).unwrap_or_default();
            let headers = properties.header_table().unwrap_or_default();
            let publish = Publish {
                exchange: message.exchange(),
                routing_key: message.routing_key(),
                properties: message.properties(),
                traits: Traits::default(),
            };
            let keys = routing::more_keys(&headers);
            let route = route_copies(self.vhost, &exchange, &publish, &keys, Some(&headers));
            for queue in route.queues.iter().filter(|q| !old.queues.iter().any(|o| o.id == q.id)) {
                match self.sink.publish(queue, self.now_ms, self.blob, &[ordinal]) {
                    Ok(Overflow::Rejected(list)) => self.reject(queue, list),
                    Ok(Overflow::None) | Err(Gone) => {}
                }
            }
        }
    }
}
