//! From a channel's publishes to queues and topics: routes remembered, batches kept together.
//!
//! A [`Publisher`] gathers what one read of the socket brought into one [`Draft`] and hands it on in
//! [`Publisher::flush`]: one lock, one Change and one wake-up per queue and batch.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    Core,
    exchange::Exchange,
    message::{Blob, Draft, Hold, Publish},
    queue::{Gone, Queue, state::Overflow},
    receipt::Receipt,
    refusal::Refusal,
    stream,
    topic::{Topic, mapping::Message},
    vhost::Vhost,
};
use crate::{
    data::value::Table,
    store::{Change, Ticket},
};

/// Where messages with one exchange and key go, and which exchanges decided it.
#[derive(Debug)]
pub struct Route {
    pub queues: SmallVec<[Arc<Queue>; 1]>,
    pub topics: SmallVec<[Arc<Topic>; 1]>,
    exchanges: SmallVec<[(Arc<Exchange>, u64); 1]>,
    pub(super) remember: bool,
}

impl Default for Route {
    fn default() -> Self {
        Self { queues: SmallVec::new(), topics: SmallVec::new(), exchanges: SmallVec::new(), remember: true }
    }
}

impl Route {
    /// Nothing takes the message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.topics.is_empty()
    }

    pub(super) fn pass(&mut self, exchange: &Arc<Exchange>) {
        self.remember &= exchange.by_key();
        self.exchanges.push((exchange.clone(), exchange.version()));
    }

    pub(super) fn add_queue(&mut self, queue: Arc<Queue>) {
        // One copy per queue, however many bindings lead to it.
        if !self.queues.iter().any(|q| q.id == queue.id) {
            self.queues.push(queue);
        }
    }

    pub(super) fn add_topic(&mut self, topic: Arc<Topic>) {
        if !self.topics.iter().any(|t| Arc::ptr_eq(t, &topic)) {
            self.topics.push(topic);
        }
    }

    /// Everything that the other leads to, too.
    pub(super) fn join(&mut self, other: Self) {
        other.queues.into_iter().for_each(|queue| self.add_queue(queue));
        other.topics.into_iter().for_each(|topic| self.add_topic(topic));
    }

    fn current(&self) -> bool {
        self.exchanges.iter().all(|(exchange, version)| exchange.version() == *version)
    }
}

#[derive(Debug)]
struct Remembered {
    exchange: Box<str>,
    routing_key: Box<str>,
    route: Arc<Route>,
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
    Unroutable,
}

/// What a flush could not place.
#[derive(Debug, Default)]
pub struct Refused {
    /// Ordinals in the batch that a full queue refused (`x-overflow` = `reject-publish`).
    pub rejected: Vec<u32>,
}

/// The publishing side of one channel.
#[derive(Debug)]
pub struct Publisher {
    vhost: Arc<Vhost>,
    draft: Draft,
    runs: Vec<(Arc<Route>, Vec<u32>)>,
    last: Option<Remembered>,
    records: Records,
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
        }
    }

    /// Whether the route of the last publish holds for this one: then its permission does, too.
    #[must_use]
    pub fn remembers(&self, exchange: &str, routing_key: &str) -> bool {
        self.last.as_ref().is_some_and(|last| {
            *last.exchange == *exchange && *last.routing_key == *routing_key && last.route.current()
        })
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
        body: &[u8],
    ) -> Result<Routed, Refusal> {
        let route = match &self.last {
            Some(last) if self.remembers(publish.exchange, publish.routing_key) => last.route.clone(),
            Some(_) | None => self.route(publish, &headers)?,
        };
        Ok(self.place(now_ms, publish, route, headers, body))
    }

    /// As [`Publisher::publish`], for a message that is routed by more keys than its own (`CC`, `BCC`): still one copy
    /// per queue.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_copies(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        keys: &[String],
        headers: impl Fn() -> Option<Headers>,
        body: &[u8],
    ) -> Result<Routed, Refusal> {
        let exchange = self.vhost.exchange(publish.exchange)?;
        if exchange.options.internal {
            return Err(Refusal::InternalExchange(publish.exchange.to_owned()));
        }
        let table = headers();
        let table = table.as_ref().map(|headers| &headers.table);
        let mut route = self.vhost.route(&exchange, publish.routing_key, table);
        for key in keys {
            route.join(self.vhost.route(&exchange, key, table));
        }
        Ok(self.place(now_ms, publish, Arc::new(route), headers, body))
    }

    #[inline]
    fn place(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        route: Arc<Route>,
        headers: impl Fn() -> Option<Headers>,
        body: &[u8],
    ) -> Routed {
        if route.is_empty() {
            return Routed::Unroutable;
        }
        for topic in &route.topics {
            let message = stream::message(publish, headers(), body);
            match &mut self.records {
                Records::Appended(last) => *last = topic.publish(now_ms, &message).or(*last),
                Records::Held(held) => held.push((topic.clone(), message)),
            }
        }
        if route.queues.is_empty() {
            return Routed::Taken;
        }
        let ordinal = u32::try_from(self.draft.len()).unwrap_or(u32::MAX);
        self.draft.open(publish, now_ms, body.len());
        self.draft.body(body);
        match self.runs.last_mut() {
            Some((last, ordinals)) if Arc::ptr_eq(last, &route) => ordinals.push(ordinal),
            Some(_) | None => self.runs.push((route, vec![ordinal])),
        }
        Routed::Taken
    }

    fn route(
        &mut self,
        publish: &Publish<'_>,
        headers: &impl Fn() -> Option<Headers>,
    ) -> Result<Arc<Route>, Refusal> {
        let exchange = self.vhost.exchange(publish.exchange)?;
        if exchange.options.internal {
            return Err(Refusal::InternalExchange(publish.exchange.to_owned()));
        }
        let headers = headers();
        let table = headers.as_ref().map(|headers| &headers.table);
        let route = Arc::new(self.vhost.route(&exchange, publish.routing_key, table));
        // What the default exchange cannot place now, a queue declared later may take.
        self.last = (route.remember && !route.is_empty()).then(|| Remembered {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            route: route.clone(),
        });
        Ok(route)
    }

    /// Messages waiting for [`Publisher::flush`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.draft.is_empty() && !matches!(self.records, Records::Appended(Some(_)))
    }

    /// Bytes waiting for [`Publisher::flush`].
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.draft.bytes_len()
    }

    /// Hands the batch to its queues and topics. The receipt, if any, waits for all that must be durable.
    pub fn flush(&mut self, now_ms: i64, receipt: Option<&Arc<Receipt>>) -> Refused {
        if let Records::Appended(last) = &mut self.records
            && last.take().is_some()
            && let Some(receipt) = receipt
        {
            receipt.expect();
            self.vhost.core.store.submit(Box::new(stream::Appended(receipt.clone())));
        }
        self.hand_over(now_ms, Sink::Inbox(receipt, None))
    }

    /// As [`Publisher::flush`], with something happening before each queue's turn.
    #[cfg(test)]
    pub(super) fn flush_between(&mut self, now_ms: i64, receipt: &Arc<Receipt>, between: impl Fn()) {
        self.between(now_ms, Sink::Inbox(Some(receipt), None), between);
    }

    /// As [`Publisher::flush`], but what must last is added to `changes` and not put into the inbox.
    pub(super) fn flush_into(&mut self, now_ms: i64, changes: &mut Vec<Box<dyn Change>>) -> Refused {
        self.hand_over(now_ms, Sink::Changes(changes))
    }

    fn hand_over(&mut self, now_ms: i64, sink: Sink<'_>) -> Refused {
        self.between(now_ms, sink, || {})
    }

    /// Hands the batch to one queue after the other; other threads may do anything `between`.
    fn between(&mut self, now_ms: i64, mut sink: Sink<'_>, between: impl Fn()) -> Refused {
        let mut refused = Refused::default();
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
        for (route, ordinals) in &runs {
            for queue in &route.queues {
                between();
                let mut batch =
                    Batch { vhost: &self.vhost, now_ms, blob: &blob, sink: &mut sink, refused: &mut refused };
                batch.queue(queue, route, ordinals);
            }
        }
        runs.clear();
        self.runs = runs;
        // Several queues may have refused the same one.
        refused.rejected.sort_unstable();
        refused.rejected.dedup();
        refused
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

fn shares_queue(a: &Route, b: &Route) -> bool {
    a.queues.iter().any(|queue| b.queues.iter().any(|other| other.id == queue.id))
}

/// Topics have been served already.
fn same_queues(a: &Route, b: &Route) -> bool {
    a.queues.len() == b.queues.len() && a.queues.iter().zip(&b.queues).all(|(a, b)| a.id == b.id)
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
            Ok(Overflow::Rejected(list)) => self.refused.rejected.extend(list),
            Err(Gone) => self.again(route, ordinals),
        }
    }

    /// The queue was deleted under our hands: route again, to what was not in the old route.
    fn again(&mut self, old: &Route, ordinals: &[u32]) {
        for &ordinal in ordinals {
            let Some(message) = self.blob.message(ordinal) else { continue };
            let Some(exchange) = self.vhost.find_exchange(message.exchange()) else { continue };
            let route = self.vhost.route(&exchange, message.routing_key(), None);
            for queue in route.queues.iter().filter(|q| !old.queues.iter().any(|o| o.id == q.id)) {
                let _ = self.sink.publish(queue, self.now_ms, self.blob, &[ordinal]);
            }
        }
    }
}
