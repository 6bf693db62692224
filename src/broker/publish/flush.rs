//! A batch of publishes on its way from a channel to queues, topics and delayed exchanges, and what is refused there.

use std::sync::Arc;

use super::{Body, Publisher, Records, Routed, route_copies};
use crate::{
    broker::{
        dead_letter::Moves,
        holding::Holding,
        message::{Blob, Draft, Hold, Publish, Traits},
        outlet::Outlet,
        queue::{Gone, Queue, taking::Overflow},
        receipt::Receipt,
        refusal::Refusal,
        routing::{self, Route},
        stream,
        vhost::Vhost,
    },
    data::field::Properties,
    store::Change,
};

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
        self.offer_by(outlet, |queue, blob, ordinals| queue.publish(now_ms, blob, ordinals, None, None))
    }

    /// As [`Kept::offer`], but what must last is added to `changes`.
    pub(in crate::broker) fn offer_into(
        &mut self,
        now_ms: i64,
        outlet: &Arc<Outlet>,
        changes: &mut Vec<Box<dyn Change>>,
    ) -> bool {
        self.offer_by(outlet, |queue, blob, ordinals| queue.publish_into(now_ms, blob, ordinals, changes))
    }

    fn offer_by(
        &mut self,
        outlet: &Arc<Outlet>,
        mut publish: impl FnMut(&Arc<Queue>, &Arc<Blob>, &[u32]) -> Result<Overflow, Gone>,
    ) -> bool {
        loop {
            match publish(&self.queue, &self.blob, &self.ordinals) {
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

/// What was published to a queue that is ahead of its consumers.
#[derive(Debug)]
pub struct Ahead {
    pub queue: Arc<Queue>,
    pub messages: usize,
}

/// Ordinals with the times at which they are due.
type Ordinals = Vec<(u32, i64)>;

impl Publisher {
    /// As [`Publisher::publish`], for what has been heard in the channels of the vhost already.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn publish_heard(
        &mut self,
        now_ms: i64,
        publish: &Publish<'_>,
        body: &mut Body<'_>,
    ) -> Result<Routed, Refusal> {
        let exchange = self.exchange(publish)?;
        let mut route = route_copies(&self.vhost, &exchange, publish, &[], None);
        route.heard = false;
        self.not_in_transaction(&route)?;
        Ok(self.place(now_ms, publish, &[], &Arc::new(route), || None, body))
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
    pub(in crate::broker) fn flush_between(
        &mut self,
        now_ms: i64,
        receipt: &Arc<Receipt>,
        between: impl Fn(),
    ) {
        self.between(now_ms, Sink::Inbox(Some(receipt), None), between);
    }

    /// As [`Publisher::flush`], but what must last is added to `changes` and not put into the inbox. What was held back
    /// until now is published now: else it would expire earlier once it is read back from the log.
    pub(in crate::broker) fn flush_into(
        &mut self,
        now_ms: i64,
        changes: &mut Vec<Box<dyn Change>>,
    ) -> Refused {
        self.draft.published(now_ms);
        self.hand_over(now_ms, Sink::Changes(changes))
    }

    /// As [`Publisher::flush_into`], for what is submitted without waiting for anything.
    pub(in crate::broker) fn flush_with(&mut self, now_ms: i64, moves: &mut Moves) -> Refused {
        self.draft.published(now_ms);
        self.hand_over(now_ms, Sink::Moves(moves))
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
        let mut by_route = std::mem::take(&mut self.by_route);
        if by_route.len() > 1 {
            join_routes(&mut by_route);
        }
        if let Sink::Inbox(_, hold) = &mut sink
            && by_route.iter().map(|(route, _)| route.queues.len()).sum::<usize>() > 1
        {
            *hold = Some(Hold::new(blob.clone(), self.vhost.core.store.clone()));
        }
        // One queue that is served well is reason enough to go on: others of a fan-out must not wait for the slowest.
        let (mut behind, mut served) = (None, false);
        for (route, ordinals) in &by_route {
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
        by_route.clear();
        self.by_route = by_route;
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
                Sink::Moves(moves) => moves.changes.push(holding.hold(&blob, &messages, None)),
            }
        }
    }
}

/// Where that goes which must last.
enum Sink<'a> {
    /// The hold, when the batch goes to several queues.
    Inbox(Option<&'a Arc<Receipt>>, Option<Hold>),
    Changes(&'a mut Vec<Box<dyn Change>>),
    Moves(&'a mut Moves),
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
            Self::Moves(moves) => moves.put(now_ms, queue, blob, ordinals),
        }
    }
}

/// Publishes that alternate between a few keys come as many short lists: one per route is as good, as long as the order
/// within each queue stays. So no list is joined to one before another that shares a queue with it.
fn join_routes(by_route: &mut Vec<(Arc<Route>, Vec<u32>)>) {
    let mut joined: Vec<(Arc<Route>, Vec<u32>)> = Vec::new();
    for (route, ordinals) in by_route.drain(..) {
        let meets = |other: &&mut (Arc<Route>, Vec<u32>)| shares_queue(&other.0, &route);
        match joined.iter_mut().rev().take(JOINED_ROUTES_MAX).find(meets) {
            Some((other, list)) if same_queues(other, &route) => list.extend(ordinals),
            Some(_) | None => joined.push((route, ordinals)),
        }
    }
    *by_route = joined;
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
