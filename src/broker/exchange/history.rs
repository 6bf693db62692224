//! The last messages of an exchange that keeps them (`x-recent-history`), oldest first.
//!
//! Kept in memory and counted in the memory alarm's figure, as the plugin keeps them in a table in memory. A message is
//! copied out for whoever is bound: a batch that lies in the log for one queue is not to be shared with another later.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::broker::{
    alarm::Alarms,
    message::{Blob, Draft, Message, Publish},
};

/// The last messages.
#[derive(Debug)]
pub struct History {
    length: usize,
    kept: Mutex<VecDeque<Message>>,
}

impl History {
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self { length, kept: Mutex::default() }
    }

    /// Keeps one more, and forgets the oldest if there are too many.
    pub(in crate::broker) fn keep(&self, memory: &Alarms, now_ms: i64, publish: &Publish<'_>, body: &[u8]) {
        let blob = copy(publish, now_ms, body);
        let Some(message) = blob.message(0) else { return };
        let mut delta = message.held_bytes().cast_signed();
        let mut kept = self.kept.lock();
        kept.push_back(message);
        while kept.len() > self.length {
            delta -= kept.pop_front().map_or(0, |oldest| oldest.held_bytes().cast_signed());
        }
        drop(kept);
        memory.add(delta);
    }

    /// The messages, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.kept.lock().iter().cloned().collect()
    }

    /// The exchange is deleted.
    pub(in crate::broker) fn forget(&self, memory: &Alarms) {
        let held: usize = self.kept.lock().drain(..).map(|message| message.held_bytes()).sum();
        memory.add(-held.cast_signed());
    }
}

/// One message as a batch of its own.
fn copy(publish: &Publish<'_>, now_ms: i64, body: &[u8]) -> Arc<Blob> {
    let mut draft = Draft::default();
    draft.open(publish, now_ms, body.len());
    draft.body(body);
    draft.seal()
}
