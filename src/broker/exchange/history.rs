//! The last messages of an exchange that keeps them (`x-recent-history`), oldest first.
//!
//! In memory, and counted in the memory alarm's figure. RabbitMQ's plugin keeps them in a table: of Mnesia, which is in
//! memory only, or since 4.2 of Khepri, which is on disk; so those of a durable exchange outlive a restart, or not. On
//! disk a message has the slot of the one that it drives out, and nothing is ever removed before the exchange is. A
//! message is copied out for whoever is bound: a batch that lies in the log for one queue is not to be shared with
//! another later. (rabbit_db_rh_exchange.)

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    broker::{
        alarm::Alarms,
        definition,
        message::{Blob, Draft, Message, Publish},
        vhost::Vhost,
    },
    store::Ticket,
};

/// The last messages.
#[derive(Debug)]
pub struct History {
    length: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: VecDeque<Message>,
    /// The number of the next.
    next: u64,
    /// The exchange is deleted.
    gone: bool,
}

impl History {
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { length, kept: Mutex::default() }
    }

    /// Keeps one more, and forgets the oldest if there are too many. `lasts`: on disk, too; the ticket says when.
    pub(in crate::broker) fn keep(
        &self,
        (vhost, exchange, lasts): (&Vhost, &str, bool),
        now_ms: i64,
        publish: &Publish<'_>,
        body: &[u8],
    ) -> Option<Ticket> {
        let blob = copy(publish, now_ms, body);
        let message = blob.message(0)?;
        let mut kept = self.kept.lock();
        if kept.gone {
            return None;
        }
        let number = kept.next;
        let delta = self.push(&mut kept, message);
        // With the lock held: a slot must end up with the last of its messages.
        let ticket = (lasts && vhost.core.profile.exchange_history_lasts).then(|| {
            let key = definition::history_key(&vhost.name, exchange, self.slot(number));
            definition::put(&vhost.core.store, key, [&number.to_be_bytes(), &blob.bytes()[..]].concat())
        });
        drop(kept);
        vhost.core.memory.add(delta);
        ticket
    }

    /// Adds the newest; says how much more memory they take.
    fn push(&self, kept: &mut Kept, message: Message) -> isize {
        let mut delta = message.held_bytes().cast_signed();
        kept.messages.push_back(message);
        kept.next += 1;
        while kept.messages.len() > self.length {
            delta -= kept.messages.pop_front().map_or(0, |oldest| oldest.held_bytes().cast_signed());
        }
        delta
    }

    fn slot(&self, number: u64) -> usize {
        usize::try_from(number % (self.length as u64).max(1)).unwrap_or(0)
    }

    /// What recovery found, in any order.
    pub(in crate::broker) fn recover(&self, memory: &Alarms, mut found: Vec<(u64, Message)>) {
        found.sort_by_key(|(number, _)| *number);
        let mut kept = self.kept.lock();
        for (number, message) in found {
            kept.next = number;
            let delta = self.push(&mut kept, message);
            memory.add(delta);
        }
    }

    /// The messages, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.kept.lock().messages.iter().cloned().collect()
    }

    /// The exchange is deleted. Says where they lie on disk, if it was durable.
    pub(in crate::broker) fn end(&self, vhost: &Vhost, exchange: &str) -> Vec<Vec<u8>> {
        let mut kept = self.kept.lock();
        kept.gone = true;
        let first = kept.next - kept.messages.len() as u64;
        let held: usize = kept.messages.drain(..).map(|message| message.held_bytes()).sum();
        vhost.core.memory.add(-held.cast_signed());
        let key = |number| definition::history_key(&vhost.name, exchange, self.slot(number));
        (first..kept.next).map(key).collect()
    }
}

/// A message as it lies on disk, and its number.
#[must_use]
pub fn read(value: &[u8]) -> Option<(u64, Message)> {
    let (number, batch) = value.split_first_chunk()?;
    let blob = Blob::of(Bytes::copy_from_slice(batch))?;
    Some((u64::from_be_bytes(*number), blob.message(0)?))
}

/// One message as a batch of its own.
fn copy(publish: &Publish<'_>, now_ms: i64, body: &[u8]) -> Arc<Blob> {
    let mut draft = Draft::default();
    draft.open(publish, now_ms, body.len());
    draft.body(body);
    draft.seal()
}
