//! Dead-lettering: what a queue let go of is published again, to the queue's dead-letter exchange.
//!
//! A queue keeps what it let go (`queue/drops.rs`) until its lock is free; `move_all` then publishes it, so that two
//! queues are never locked at once. Everything that is taken at once moves in ONE Change: the targets' entries and the
//! end of the source's are in the log together or not at all, and what the targets let go for it comes behind that
//! (`queue/unsubmitted.rs`). So a persistent message of a durable queue survives a crash
//! in exactly one of both, where RabbitMQ's `at-most-once` may lose it, and `at-least-once` may have it twice. A move to
//! a stream or topic is the same. What no binding takes is lost, as is what a full target with `reject-publish` refuses;
//! but a quorum queue whose strategy is `at-least-once` keeps it until all have it (`queue/kept.rs`).
//!
//! [`deaths`] makes the message's new headers. (RabbitMQ `rabbit_dead_letter`, 4.2.)

pub mod deaths;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use smallvec::SmallVec;

use self::deaths::{Death, Letter};
use super::{
    Pending,
    exchange::{Envelope, TargetId},
    holding::Holding,
    message::{Blob, Draft, Publish, Traits},
    meters::Meters,
    queue::{
        Entry, Gone, Queue, Taken,
        change::Moved,
        drops::{Dead, MOVE_BYTES_MAX},
        kept::Tried,
        taking::Overflow,
        unsubmitted::BatchId,
    },
    routing::Route,
    stream,
    topic::{Topic, mapping::Message},
    txn::channel::{All, records},
    vhost::Vhost,
};
use crate::{
    observe::metrics::Counter,
    store::{Change, Store},
};

/// Where a queue's dead letters go (`x-dead-letter-exchange`, `x-dead-letter-routing-key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub exchange: Arc<str>,
    /// In place of the message's own keys.
    pub routing_key: Option<Arc<str>>,
    /// What a target does not take stays with the queue, which tries again (`x-dead-letter-strategy`).
    pub at_least_once: bool,
}

/// Why a queue let go of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Expired,
    Maxlen,
    Rejected,
    DeliveryLimit,
}

impl Reason {
    /// As `x-death` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Maxlen => "maxlen",
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery_limit",
        }
    }

    /// As the log has it.
    pub(super) fn octet(self) -> u8 {
        match self {
            Self::Expired => 1,
            Self::Maxlen => 2,
            Self::Rejected => 3,
            Self::DeliveryLimit => 4,
        }
    }

    pub(super) fn of_octet(octet: u8) -> Option<Self> {
        [Self::Expired, Self::Maxlen, Self::Rejected, Self::DeliveryLimit]
            .into_iter()
            .find(|reason| reason.octet() == octet)
    }
}

/// Moves everything that a queue let go, and what the targets let go for it. The caller has claimed it
/// ([`super::queue::state::Effects::move_dead`]).
pub(super) fn move_all(queue: &Arc<Queue>) {
    move_from(vec![queue.clone()]);
}

/// One source after the other, as long as the log keeps up; the rest once it has.
fn move_from(mut sources: Vec<Arc<Queue>>) {
    while let Some(source) = sources.pop() {
        loop {
            if source.core().store.congested()
                && let Some(runtime) = &source.core().runtime
            {
                let store = source.core().store.clone();
                sources.push(source.clone());
                runtime.spawn(async move {
                    store.relieved().await;
                    move_from(sources);
                });
                return;
            }
            let Some(moving) = source.take_dead() else { break };
            let mut moves = Moves::default();
            let now_ms = source.core().clock.now_ms();
            let mut kept = None;
            let tried = moving.dead.iter().filter(|dead| dead.tried.is_some()).count();
            let mut dead = moving.dead;
            if let Some(dead_letter) = &moving.dead_letter {
                let fates = moves.publish(now_ms, &source, dead_letter, &dead);
                if dead_letter.at_least_once {
                    kept = Some(keep_back(now_ms, &mut dead, fates));
                }
            }
            let seqs: Vec<_> = dead.iter().map(|dead| dead.entry.seq).collect();
            if moves.changes.is_empty() || !source.survives() {
                source.forget_dead(seqs.iter().copied());
            } else {
                moves.changes.push(Box::new(Moved::new(source.clone(), seqs.clone())));
            }
            let (_, mut next) = moves.into_inbox(&source.core().store);
            if let Some(kept) = kept {
                source.dead_moved(&seqs, kept, tried);
            }
            sources.append(&mut next);
        }
        if source.retry_dead() {
            sources.push(source);
        }
    }
}

/// Takes those out of the dead letters that not every target has taken.
fn keep_back(now_ms: i64, dead: &mut Vec<Dead>, fates: Vec<Fate>) -> Vec<Dead> {
    let mut kept = Vec::new();
    for (mut letter, fate) in std::mem::take(dead).into_iter().zip(fates) {
        let untaken = fate.taken_by.is_empty() && letter.taken_by().is_empty();
        if !fate.refused && !untaken {
            dead.push(letter);
            continue;
        }
        let tried =
            letter.tried.get_or_insert_with(|| Box::new(Tried { died_ms: Some(now_ms), ..Tried::default() }));
        tried.taken_by.extend(fate.taken_by);
        kept.push(letter);
    }
    kept
}

fn meter(meters: &Meters, reason: Reason) -> &Counter {
    match reason {
        Reason::Expired => &meters.dead_lettered_expired,
        Reason::Maxlen => &meters.dead_lettered_maxlen,
        Reason::Rejected => &meters.dead_lettered_rejected,
        Reason::DeliveryLimit => &meters.dead_lettered_delivery_limit,
    }
}

/// What becomes one Change, and who has something to move after it.
#[derive(Default)]
pub(super) struct Moves {
    pub(super) changes: Vec<Box<dyn Change>>,
    /// Who has got something with it.
    targets: Vec<(Arc<Queue>, BatchId)>,
    sources: Vec<Arc<Queue>>,
}

/// Dead letters that a transaction's Change carries, in bytes; it must fit into a segment of the log.
const TX_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Moves {
    /// Rejected deliveries of a transaction: their ends are the caller's to add to the Changes. Too many to go with them
    /// go before, and a crash between has them twice.
    pub(super) fn rejected(&mut self, now_ms: i64, queue: &Arc<Queue>, entries: &[Entry]) {
        // A deleted queue has let go of them already.
        let Some(dead_letter) = queue.dead_letter().filter(|_| !queue.is_gone()) else { return };
        let all: Vec<_> = entries.iter().map(|entry| Dead::new(entry.clone(), Reason::Rejected)).collect();
        let held_bytes = |dead: &Dead| dead.entry.message.held_bytes();
        if all.iter().map(held_bytes).sum::<usize>() <= TX_BYTES_MAX {
            self.publish(now_ms, queue, &dead_letter, &all);
            return;
        }
        let mut bytes = 0;
        let together = |_: &Dead, next: &Dead| {
            let room = bytes + held_bytes(next) <= MOVE_BYTES_MAX;
            bytes = if room { bytes + held_bytes(next) } else { 0 };
            room
        };
        for part in all.chunk_by(together) {
            let mut moves = Self::default();
            moves.publish(now_ms, queue, &dead_letter, part);
            // The transaction's own Change comes after it, and is what is waited for.
            let _ = moves.submit(&queue.core().store);
        }
    }

    /// Publishes to a queue, with the Change that this becomes.
    ///
    /// # Errors
    /// [`Gone`] when the queue has been deleted.
    pub(super) fn put(
        &mut self,
        now_ms: i64,
        queue: &Arc<Queue>,
        blob: &Arc<Blob>,
        ordinals: &[u32],
    ) -> Result<Overflow, Gone> {
        let Taken { id, overflow, moves } = queue.publish_with(now_ms, blob, ordinals, &mut self.changes)?;
        self.targets.push((queue.clone(), id));
        self.sources.extend(moves.then(|| queue.clone()));
        Ok(overflow)
    }

    /// Puts everything into the inbox, and lets the next ones move.
    pub(super) fn submit(self, store: &Store) -> Pending {
        let (pending, sources) = self.into_inbox(store);
        sources.iter().for_each(move_all);
        pending
    }

    /// Puts everything into the inbox; gives who has something to move after it.
    fn into_inbox(mut self, store: &Store) -> (Pending, Vec<Arc<Queue>>) {
        let pending = (!self.changes.is_empty()).then(|| store.submit(Box::new(All(self.changes))));
        for (queue, id) in self.targets {
            if queue.submitted(id) {
                self.sources.push(queue);
            }
        }
        (pending, self.sources)
    }

    /// Publishes dead letters of one queue: one batch for each target. Says what became of each, if that matters.
    fn publish(&mut self, now_ms: i64, source: &Queue, dead_letter: &DeadLetter, dead: &[Dead]) -> Vec<Fate> {
        let Some(vhost) = source.home() else { return Vec::new() };
        let mut batch = Batch { fates: vec![Fate::default(); dead.len()], ..Batch::default() };
        let meters = &source.core().meters;
        for (index, dead) in dead.iter().enumerate() {
            if dead.tried.is_none() {
                meter(meters, dead.reason).increment();
            }
            batch.add(now_ms, &vhost, source, dead_letter, (index, dead));
        }
        self.changes.extend(records(now_ms, &batch.records));
        if !batch.delayed.is_empty() {
            let blob = batch.held.seal();
            let hold = |(holding, ordinal, at_ms): &(Arc<Holding>, u32, i64)| {
                holding.hold(&blob, &[(*ordinal, *at_ms)], None)
            };
            self.changes.extend(batch.delayed.iter().map(hold));
        }
        let Batch { draft, queues, mut fates, origins, .. } = batch;
        if draft.is_empty() {
            return fates;
        }
        let blob = { draft }.seal();
        for (queue, ordinals) in queues {
            // One that was deleted meanwhile takes nothing, and nobody else gets its share.
            let refused = match self.put(now_ms, &queue, &blob, &ordinals) {
                Ok(Overflow::None) => Vec::new(),
                Ok(Overflow::Rejected(refused)) => refused,
                Err(Gone) => ordinals.clone(),
            };
            source.died_into(&queue);
            for ordinal in ordinals.into_iter().filter(|_| dead_letter.at_least_once) {
                let index = origins.get(ordinal as usize).copied().unwrap_or(usize::MAX);
                let Some(fate) = fates.get_mut(index) else { continue };
                match refused.binary_search(&ordinal) {
                    Ok(_) => fate.refused = true,
                    Err(_) => fate.taken_by.push(TargetId::Queue(queue.id)),
                }
            }
        }
        fates
    }
}

/// What became of one dead letter, as far as its queue must know (`at-least-once`).
#[derive(Debug, Default, Clone)]
struct Fate {
    taken_by: Vec<TargetId>,
    /// Some target did not take it.
    refused: bool,
}

/// Dead letters by target.
#[derive(Default)]
struct Batch {
    draft: Draft,
    queues: Vec<(Arc<Queue>, Vec<u32>)>,
    records: Vec<(Arc<Topic>, Message)>,
    /// For delayed exchanges, as `held` has them by ordinal, and when they are due.
    delayed: Vec<(Arc<Holding>, u32, i64)>,
    held: Draft,
    fates: Vec<Fate>,
    /// By ordinal in `draft`: which of the dead it is.
    origins: Vec<usize>,
}

impl Batch {
    fn add(
        &mut self,
        now_ms: i64,
        vhost: &Vhost,
        source: &Queue,
        dead_letter: &DeadLetter,
        (index, dead): (usize, &Dead),
    ) {
        let Some(exchange) = vhost.find_exchange(&dead_letter.exchange) else { return };
        let Dead { entry, reason, tried, behind: _ } = dead;
        let message = &entry.message;
        let own_keys = dead_letter.routing_key.is_none();
        let died_ms = tried.as_ref().and_then(|tried| tried.died_ms).unwrap_or(now_ms);
        let death = Death { queue: &source.name, reason: *reason, now_ms: died_ms, key_replaced: !own_keys };
        let letter = Letter::new(message, &death, vhost.core.profile);
        let routing_key = dead_letter.routing_key.as_deref().unwrap_or(message.routing_key());
        // Keys that the message had besides its own, unless a queue has put another in their place.
        let hidden = if own_keys && !message.own_key_only() { message.hidden_keys() } else { Vec::new() };
        let copies = letter.copies.iter().filter(|_| own_keys).chain(&hidden).map(String::as_str);
        let keys: Vec<_> = std::iter::once(routing_key).chain(copies).collect();
        let envelope =
            Envelope { keys: &keys, headers: Some(&letter.headers), properties: &letter.properties };
        let mut route = vhost.route(&exchange, &envelope);
        if *reason != Reason::Rejected {
            leave_cycles(source, &mut route, &letter);
        }
        leave_served(&mut route, dead.taken_by());
        let publish = Publish {
            exchange: &dead_letter.exchange,
            routing_key,
            properties: &letter.properties,
            traits: Traits {
                persistent: message.persistent(),
                priority: message.priority(),
                expiration_ms: None,
            },
        };
        if dead_letter.at_least_once
            && let Some(fate) = self.fates.get_mut(index)
        {
            // They take what they are given: a move that is not committed did not happen to anybody.
            fate.taken_by.extend(route.topics.iter().map(|topic| TargetId::Topic(topic.name.clone())));
            fate.taken_by.extend(route.delayed.iter().map(|(holding, _)| TargetId::Queue(holding.id)));
        }
        for topic in &route.topics {
            let record = stream::message(&publish, Some(letter.own_headers()), message.body());
            self.records.push((topic.clone(), record));
        }
        for exchange in route.kept_by.iter().filter(|_| tried.is_none()) {
            exchange.keep(vhost, now_ms, &publish, message.body());
        }
        let own_key_only = !own_keys || message.own_key_only();
        let again = Again { now_ms, publish, body: message.body(), hidden, own_key_only };
        self.hold(&again, route.delayed);
        self.give(index, &again, route.queues);
    }

    /// To what delayed exchanges hold.
    fn hold(&mut self, again: &Again<'_>, delayed: Vec<(Arc<Holding>, u64)>) {
        if delayed.is_empty() {
            return;
        }
        let ordinal = again.open(&mut self.held);
        for (holding, delay_ms) in delayed {
            let at_ms = again.now_ms.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX));
            self.delayed.push((holding, ordinal, at_ms));
        }
    }

    /// To queues; `index`: which of the dead it is.
    fn give(&mut self, index: usize, again: &Again<'_>, queues: SmallVec<[Arc<Queue>; 1]>) {
        if queues.is_empty() {
            return;
        }
        let ordinal = again.open(&mut self.draft);
        self.origins.push(index);
        for queue in queues {
            match self.queues.iter_mut().find(|(other, _)| other.id == queue.id) {
                Some((_, ordinals)) => ordinals.push(ordinal),
                None => self.queues.push((queue, vec![ordinal])),
            }
        }
    }
}

/// A dead letter as it is published again.
struct Again<'a> {
    now_ms: i64,
    publish: Publish<'a>,
    body: &'a [u8],
    /// Keys that it is routed by and does not show.
    hidden: Vec<String>,
    own_key_only: bool,
}

impl Again<'_> {
    /// Adds it to a batch; gives its ordinal.
    fn open(&self, draft: &mut Draft) -> u32 {
        let ordinal = u32::try_from(draft.len()).unwrap_or(u32::MAX);
        draft.open(&self.publish, self.now_ms, self.body.len());
        draft.body(self.body);
        draft.hide(&self.hidden);
        draft.died(self.own_key_only);
        ordinal
    }
}

/// Who has it already does not get it again.
fn leave_served(route: &mut Route, taken_by: &[TargetId]) {
    if taken_by.is_empty() {
        return;
    }
    route.queues.retain(|queue| !taken_by.contains(&TargetId::Queue(queue.id)));
    route.topics.retain(|topic| !taken_by.contains(&TargetId::Topic(topic.name.clone())));
    // What exchanges hold has numbers of the queues' kind.
    route.delayed.retain(|(holding, _)| !taken_by.contains(&TargetId::Queue(holding.id)));
}

/// A message that comes back to a queue in which it died, and that nobody rejected on the way, would go round for ever.
fn leave_cycles(source: &Queue, route: &mut Route, letter: &Letter) {
    route.queues.retain(|queue| {
        let cycle = letter.cycles_to(&queue.name);
        if cycle {
            tracing::warn!(source = %source.name, target = %queue.name, "a dead-letter cycle: message dropped");
        }
        !cycle
    });
}
