//! What comes back to a queue without having been acknowledged, and where it goes.
//!
//! ```text
//! classic queue    to where it was
//! quorum queue     counted, then
//!   with a delivery limit, or lost with its consumer     before everything that never was delivered, after a delay
//!                                                        where one is asked for (`delayed.rs`)
//!   without a limit, and given back by its consumer      behind everything
//! ```
//!
//! In the last case RabbitMQ appends the message to the queue's log anew, so that one which nobody can process does not
//! keep the log from being cut; here, too, it gets a place behind the others, with ONE Change that ends the old one and
//! notes the count at the new one: no reservation covers that place, so the count alone says that it was delivered.
//! (rabbit_fifo: return_one, make_requeue; seen with 3.10, the same in the sources up to 4.3.)

use std::sync::Arc;

use super::{
    ConsumerId, Entry, Queue, QueueId, Seq,
    arriving::Arrival,
    change::{Moved, NotesOf, PublishRun},
    gather::Gathering,
    load::Unacked,
    returns::{Count, Note, Return},
    state::{Effects, State},
};
use crate::{
    broker::{
        arguments::QueueKind,
        dead_letter::Reason,
        message::{Blob, Draft},
        txn::channel::All,
    },
    store::Change,
};

impl State {
    /// These messages go back: to where they were, or before the others of a quorum queue.
    pub fn requeue(
        &mut self,
        now_ms: i64,
        consumer: Option<ConsumerId>,
        entries: impl Iterator<Item = Entry>,
        how: Return,
    ) {
        let mut given = Unacked::default();
        for mut entry in entries {
            entry.redelivered = true;
            given.add(&entry.message);
            if self.quorum {
                self.count_return(now_ms, entry, how);
            } else {
                self.ready.put_back(entry);
            }
        }
        self.given_back(consumer, given);
    }

    /// Whether a message that came back so often is to be let go.
    fn is_too_often(&self, Count { acquired, failed }: Count) -> bool {
        let counted = if self.delivery_failures_counted { failed } else { acquired };
        self.delivery_limit.is_some_and(|limit| u32::from(counted) > limit)
    }

    /// A quorum queue's message came back. When that was once too often it is let go.
    fn count_return(&mut self, now_ms: i64, mut entry: Entry, how: Return) {
        entry.returns = entry.returns.more(how.failed());
        // Without its body it could not be read back: it is lost when it is wanted.
        if self.is_too_often(entry.returns) && !entry.message.is_paged() {
            self.counts.gone(entry.seq);
            self.let_go(entry, Reason::DeliveryLimit);
            return;
        }
        let due_ms = self.delayed_retry.and_then(|retry| retry.due_ms(now_ms, how, entry.returns));
        let runs = &self.runs;
        self.counts.note(entry.seq, entry.returns, due_ms, |seq| runs.holds(seq));
        match due_ms {
            Some(due_ms) => self.delay(due_ms, entry),
            None => self.ready.put_return(entry),
        }
    }

    /// Whether what comes back so goes behind everything. Where failures are counted, RabbitMQ has `basic.reject` as another
    /// command, which never does.
    fn goes_behind(&self, how: Return) -> bool {
        let asked_for = how.by_client() && !(self.delivery_failures_counted && how.failed());
        self.quorum && self.delivery_limit.is_none() && asked_for
    }

    /// These messages are in the queue anew, as `blob` has them; their old places are the caller's to end. `persisted`
    /// hears of each run that must go into the log; gives what must be noted with it.
    fn put_behind(
        &mut self,
        (queue, consumer): (QueueId, Option<ConsumerId>),
        blob: &Arc<Blob>,
        entries: &[Entry],
        how: Return,
        mut persisted: impl FnMut(Seq),
    ) -> Vec<Note> {
        let (mut gathering, mut arrival) = (Gathering::default(), Arrival::back(consumer));
        let mut notes = Vec::with_capacity(2 * entries.len());
        if self.ready.order().aligned() {
            self.positions.align();
        }
        for (ordinal, old) in (0..).zip(entries) {
            let Some(message) = blob.message(ordinal) else { continue };
            let level = self.ready.order().level(message.priority());
            let seq = self.positions.next(level);
            if let Some(full) = gathering.add(seq, ordinal, message.body_len()) {
                self.begin_run(full, &mut arrival, &mut persisted);
            }
            let returns = old.returns.more(how.failed());
            notes.extend(self.counts.relocate(queue, old.seq, seq, returns));
            arrival.entries.push(Entry {
                seq,
                message,
                expires_ms: old.expires_ms,
                redelivered: true,
                returns,
            });
        }
        for gathered in gathering.into_runs() {
            self.begin_run(gathered, &mut arrival, &mut persisted);
        }
        self.arriving.push(arrival);
        let runs = &self.runs;
        self.counts.sweep(|seq| runs.holds(seq));
        notes
    }
}

impl Queue {
    /// Messages of one consumer (`None`: of `basic.get`) go back, to be delivered again.
    pub fn requeue(
        self: &Arc<Self>,
        consumer: Option<ConsumerId>,
        entries: impl Iterator<Item = Entry>,
        how: Return,
    ) {
        if self.kind != QueueKind::Quorum {
            self.put_back(consumer, entries, how);
            return;
        }
        let entries: Vec<_> = entries.collect();
        if self.with_state(|state| state.goes_behind(how)) {
            self.with_bodies(consumer, entries, move |queue, entries| {
                queue.put_behind(consumer, &entries, how);
            });
            return;
        }
        // What came back too often is let go, with its body, and dies in order; of the others it is not wanted yet.
        let (too_often, entries): (Vec<_>, Vec<_>) = self.with_state(|state| {
            let too_often = |entry: &Entry| state.is_too_often(entry.returns.more(how.failed()));
            let unread = entries.iter().any(|entry| entry.message.is_paged() && too_often(entry));
            entries.into_iter().partition(|entry| unread && too_often(entry))
        });
        if !too_often.is_empty() {
            self.with_bodies(consumer, too_often, move |queue, entries| {
                queue.put_back(consumer, entries.into_iter(), how);
            });
        }
        self.put_back(consumer, entries.into_iter(), how);
    }

    pub(super) fn put_back(
        self: &Arc<Self>,
        consumer: Option<ConsumerId>,
        entries: impl Iterator<Item = Entry>,
        how: Return,
    ) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        let now_ms = self.core.clock.now_ms();
        state.requeue(now_ms, consumer, entries, how);
        self.deliver_locked(&mut state, now_ms, &mut effects);
        drop(state);
        self.follow(effects);
    }

    /// Messages with their bodies go behind everything.
    fn put_behind(self: &Arc<Self>, consumer: Option<ConsumerId>, entries: &[Entry], how: Return) {
        let mut draft = Draft::default();
        entries.iter().for_each(|entry| draft.copy(&entry.message));
        let (blob, count) = (draft.seal(), entries.len());
        let mut changes: Vec<Box<dyn Change>> = Vec::new();
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        if state.gone || entries.is_empty() {
            return;
        }
        let notes = state.put_behind((self.id, consumer), &blob, entries, how, |first| {
            changes.push(Box::new(PublishRun::new(self.clone(), first, blob.clone(), count)));
        });
        changes.push(Box::new(NotesOf(notes)));
        let seqs = entries.iter().map(|entry| entry.seq).collect();
        changes.push(Box::new(Moved::locked(self.clone(), &state, seqs)));
        self.core.store.submit(Box::new(All(changes)));
        self.deliver_locked(&mut state, self.core.clock.now_ms(), &mut effects);
        drop(state);
        self.follow(effects);
    }
}
