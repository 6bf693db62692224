//! Messages that wait until they are due: what a delayed exchange holds.
//!
//! A message lies in the log as a chunk of its own, under a key of its own; in memory there is only when it is due and
//! where it lies. It is known here once that is durable. When it is due it is read back, routed, and given to its
//! queues by one Change that also removes it here: after a crash it is in its queues or still waiting. Messages go on
//! in the order in which they are due, those of one millisecond in the order in which they came.
//!
//! ```text
//! y | holding u64 | due (ms) u64 | number u64 → segment u32 | offset u32 | len u32
//! ```

mod change;
#[cfg(test)]
pub(in crate::broker) mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use self::change::{Hold, Move, Remove};
use super::{
    Core, ReadBack,
    exchange::{Exchange, delayed},
    message::{Blob, Message, Publish, Traits},
    publish::Publisher,
    queue::{QueueId, Seq, deadline::Earlier},
    receipt::Receipt,
    routing,
    vhost::Vhost,
};
use crate::{
    data::{field::Properties, value::Value},
    store::{Change, Place},
};

/// What a message costs in memory while it waits, in the alarm's figure.
const ENTRY_BYTES: usize = 64;

/// How many messages go on by one Change, and in how many bytes (but at least one).
const BATCH_MESSAGES_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// How many keys one Change removes.
const REMOVED_MAX: usize = 4_096;

/// When a message is due, and its number among all: its place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub at_ms: i64,
    pub number: u64,
}

/// What one delayed exchange holds.
pub struct Holding {
    /// Never given twice, so that an exchange made anew does not inherit.
    pub id: QueueId,
    exchange: Arc<str>,
    vhost: Weak<Vhost>,
    core: Arc<Core>,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    waiting: BTreeMap<Due, Place>,
    next_number: u64,
    /// What the list of deadlines says.
    told_ms: Option<i64>,
    /// A batch is on its way to its queues.
    releasing: bool,
    gone: bool,
}

impl Holding {
    #[must_use]
    pub fn new(core: Arc<Core>, id: QueueId, vhost: Weak<Vhost>, exchange: Arc<str>) -> Arc<Self> {
        Arc::new(Self { id, exchange, vhost, core, pending: Mutex::default() })
    }

    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.lock().waiting.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The Change that holds messages of a batch, each until its time.
    pub(super) fn hold(
        self: &Arc<Self>,
        blob: &Arc<Blob>,
        messages: &[(u32, i64)],
        receipt: Option<&Arc<Receipt>>,
    ) -> Box<dyn Change> {
        let mut pending = self.pending.lock();
        let numbered = |&(ordinal, at_ms): &(u32, i64)| {
            let number = pending.next_number;
            pending.next_number += 1;
            (ordinal, Due { at_ms, number })
        };
        let messages = messages.iter().map(numbered).collect();
        drop(pending);
        Box::new(Hold::new(self.clone(), blob.clone(), messages, receipt.cloned()))
    }

    /// Messages are durable. (On the committer's thread.)
    fn held(self: &Arc<Self>, messages: Vec<(Due, Place)>) {
        let mut pending = self.pending.lock();
        if pending.gone {
            drop(pending);
            self.remove(messages, false);
            return;
        }
        self.core.memory.add((messages.len() * ENTRY_BYTES).cast_signed());
        pending.waiting.extend(messages);
        self.wake(&mut pending);
    }

    /// Puts a message back that recovery found.
    pub(super) fn recover(&self, due: Due, place: Place) {
        let mut pending = self.pending.lock();
        pending.next_number = pending.next_number.max(due.number + 1);
        pending.waiting.insert(due, place);
        self.core.memory.add(ENTRY_BYTES.cast_signed());
    }

    /// All messages that recovery found are there.
    pub(super) fn recovered(self: &Arc<Self>) {
        self.wake(&mut self.pending.lock());
    }

    /// Sees to it that it is woken when the next message is due, unless the end of a batch wakes it.
    fn wake(self: &Arc<Self>, pending: &mut Pending) {
        let first = pending.waiting.first_key_value().map(|(due, _)| due.at_ms);
        let at_ms = first.filter(|_| !pending.releasing);
        if at_ms == pending.told_ms {
            return;
        }
        let told_ms = std::mem::replace(&mut pending.told_ms, at_ms);
        match (at_ms, told_ms) {
            (Some(at_ms), told_ms) => self.core.deadlines.arm_holding(self, Earlier { told_ms, at_ms }),
            (None, Some(told_ms)) => self.core.deadlines.disarm(self.id, told_ms),
            (None, None) => {}
        }
    }

    /// Sends on what is due, or as much of it as goes at once: the end of that asks for more.
    pub fn release_due(self: &Arc<Self>, now_ms: i64) {
        let mut batch = Vec::new();
        {
            let mut pending = self.pending.lock();
            // Whoever calls has taken it off the list.
            pending.told_ms = None;
            if pending.releasing || pending.gone {
                return;
            }
            let mut bytes = 0;
            while let Some(first) = pending.waiting.first_entry()
                && first.key().at_ms <= now_ms
                && batch.len() < BATCH_MESSAGES_MAX
                && (batch.is_empty() || bytes < BATCH_BYTES_MAX)
            {
                bytes += first.get().len as usize;
                batch.push(first.remove_entry());
            }
            pending.releasing = !batch.is_empty();
            self.wake(&mut pending);
        }
        if batch.is_empty() {
            return;
        }
        let places = batch.iter().map(|&(due, place)| (Seq(due.number), Some(place))).collect();
        let me = self.clone();
        self.core.read(places, move |read| me.release(batch, &read));
    }

    fn release(self: &Arc<Self>, batch: Vec<(Due, Place)>, read: &[ReadBack]) {
        let now_ms = self.core.clock.now_ms();
        let remove = Box::new(Remove::new(self.clone(), batch, true));
        let vhost = self.vhost.upgrade();
        let exchange = vhost.as_ref().and_then(|vhost| vhost.find_exchange(&self.exchange));
        let is_ours =
            |exchange: &Arc<Exchange>| exchange.holding.get().is_some_and(|holding| holding.id == self.id);
        let (Some(vhost), Some(exchange)) = (vhost, exchange.filter(is_ours)) else {
            self.core.store.submit(remove);
            return;
        };
        let mut publisher = Publisher::new(vhost);
        publisher.hold_back();
        for blob in read.iter().filter_map(|read| read.blob.as_ref()) {
            if let Some(message) = blob.message(0) {
                send_on(&mut publisher, now_ms, &exchange, &message);
            }
        }
        publisher.commit_with(now_ms, Vec::new(), remove);
    }

    /// A batch has left.
    fn released(self: &Arc<Self>, count: usize) {
        self.core.memory.add(-(count * ENTRY_BYTES).cast_signed());
        let mut pending = self.pending.lock();
        pending.releasing = false;
        self.wake(&mut pending);
    }

    /// The exchange is deleted: what waits is dropped.
    pub(super) fn end(self: &Arc<Self>) {
        let waiting = {
            let mut pending = self.pending.lock();
            pending.gone = true;
            let waiting = std::mem::take(&mut pending.waiting);
            self.wake(&mut pending);
            waiting
        };
        self.core.memory.add(-(waiting.len() * ENTRY_BYTES).cast_signed());
        let mut waiting = waiting.into_iter();
        loop {
            let part: Vec<_> = waiting.by_ref().take(REMOVED_MAX).collect();
            if part.is_empty() {
                return;
            }
            self.remove(part, false);
        }
    }

    fn remove(self: &Arc<Self>, messages: Vec<(Due, Place)>, released: bool) {
        self.core.store.submit(Box::new(Remove::new(self.clone(), messages, released)));
    }

    /// Moves every message that lies in a mostly dead segment to the end of the log. Blocks while it reads.
    pub(super) fn move_out_of(self: &Arc<Self>, segment: u32) {
        let there: Vec<_> = {
            let pending = self.pending.lock();
            let in_it = |(_, place): &(&Due, &Place)| place.segment == segment;
            pending.waiting.iter().filter(in_it).map(|(&due, &place)| (due, place)).collect()
        };
        for (due, from) in there {
            match self.core.store.read(from) {
                Ok(chunk) => {
                    self.core.store.submit(Box::new(Move::new(self.clone(), due, from, chunk)));
                }
                Err(error) => tracing::error!(%error, exchange = %self.exchange, "a message cannot be moved"),
            }
        }
    }

    /// A message lies where `place` says, and can be read there.
    fn moved(self: &Arc<Self>, due: Due, place: Place) {
        let mut pending = self.pending.lock();
        if pending.gone {
            drop(pending);
            self.core.memory.add(-ENTRY_BYTES.cast_signed());
            self.remove(vec![(due, place)], false);
            return;
        }
        pending.waiting.insert(due, place);
        self.wake(&mut pending);
    }

    fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// Publishes a message that is due: as it was, but for the delay, which is negated, and the keys that nobody may see.
fn send_on(publisher: &mut Publisher, now_ms: i64, exchange: &Arc<Exchange>, message: &Message) {
    let properties = Properties::decode(message.properties()).unwrap_or_default();
    let mut headers = properties.header_table().unwrap_or_default();
    let keys = if message.own_key_only() { Vec::new() } else { routing::more_keys(&headers) };
    headers.0.retain(|(name, _)| name != "BCC");
    delayed::negate(&mut headers);
    let encoded = properties.with_headers(&headers);
    let publish = Publish {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties: &encoded,
        traits: Traits {
            persistent: message.persistent(),
            priority: message.priority(),
            expiration_ms: message.expiration_ms(),
        },
    };
    let before = publisher.len();
    publisher.send_on(now_ms, exchange, &publish, &keys, headers, message.body());
    if message.has_died() && publisher.len() > before {
        publisher.died(message.own_key_only());
    }
}

/// The properties of a message as it is held: with all keys that it is routed by, as the publish's own `BCC` is gone.
pub(super) fn held_properties(publish: &Publish<'_>, keys: &[String]) -> Option<bytes::BytesMut> {
    let properties = Properties::decode(publish.properties).ok()?;
    let mut headers = properties.header_table().ok()?;
    let shown = routing::more_keys(&headers);
    let hidden: Vec<_> = keys.iter().filter(|key| !shown.contains(key)).collect();
    if hidden.is_empty() {
        return None;
    }
    let hidden = hidden.into_iter().map(|key| Value::LongStr(key.clone().into())).collect();
    headers.0.push(("BCC".to_owned(), Value::Array(hidden)));
    Some(properties.with_headers(&headers))
}

/// The key of a message.
fn key(holding: QueueId, due: Due) -> [u8; 25] {
    let mut key = [b'y'; 25];
    let numbers = [holding.0, due.at_ms.cast_unsigned(), due.number];
    let (_, rest) = key.split_at_mut(1);
    rest.chunks_exact_mut(8).zip(numbers).for_each(|(part, n)| part.copy_from_slice(&n.to_be_bytes()));
    key
}

/// Reads a key and its value: holding, place in the order, place in the log.
#[must_use]
pub fn read_entry(key: &[u8], value: &[u8]) -> Option<(QueueId, Due, Place)> {
    let long = |at: usize| Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?));
    let short = |at: usize| Some(u32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let due = Due { at_ms: long(9)?.cast_signed(), number: long(17)? };
    Some((QueueId(long(1)?), due, Place { segment: short(0)?, offset: short(4)?, len: short(8)? }))
}

fn value(place: Place) -> [u8; 12] {
    let mut value = [0; 12];
    let words = [place.segment, place.offset, place.len];
    value.chunks_exact_mut(4).zip(words).for_each(|(part, n)| part.copy_from_slice(&n.to_be_bytes()));
    value
}

impl std::fmt::Debug for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holding")
            .field("exchange", &self.exchange)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
