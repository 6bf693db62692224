//! A batch of messages while it is gathered.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Blob, DIED, FIXED_BYTES, FLAGS_AT, HIDDEN_KEYS, Message, NO_PRIORITY, OWN_KEY_ONLY, PERSISTENT,
    PUBLISHED_AT, Publish, Traits, length_u32, put_short, read_u32, short,
};

/// A batch being gathered: one allocation for all its messages.
#[derive(Debug, Default)]
pub struct Draft {
    pub(super) bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Draft {
    /// Opens a message whose body of `body_bytes` follows in [`Draft::body`] calls.
    pub fn open(&mut self, publish: &Publish<'_>, now_ms: i64, body_bytes: usize) {
        // What is counted here must be what is written below.
        let (exchange, routing_key) = (short(publish.exchange), short(publish.routing_key));
        let start = self.bytes.len();
        let rest = FIXED_BYTES - 4
            + 1
            + exchange.len()
            + 1
            + routing_key.len()
            + 4
            + publish.properties.len()
            + body_bytes;
        self.bytes.reserve(rest + 4);
        self.starts.push(length_u32(start));
        self.bytes.extend_from_slice(&length_u32(rest).to_be_bytes());
        let persistent = if publish.traits.persistent { PERSISTENT } else { 0 };
        let unprioritised = if publish.traits.priority.is_some() { 0 } else { NO_PRIORITY };
        self.bytes.push(persistent | unprioritised);
        self.bytes.extend_from_slice(&now_ms.to_be_bytes());
        self.bytes.extend_from_slice(&publish.traits.expiration_ms.unwrap_or(u64::MAX).to_be_bytes());
        self.bytes.push(publish.traits.priority.unwrap_or(0));
        put_short(&mut self.bytes, exchange);
        put_short(&mut self.bytes, routing_key);
        self.bytes.extend_from_slice(&length_u32(publish.properties.len()).to_be_bytes());
        self.bytes.extend_from_slice(publish.properties);
    }

    /// A message as it is, with its time of publishing.
    pub fn copy(&mut self, message: &Message) {
        self.starts.push(length_u32(self.bytes.len()));
        self.bytes.extend_from_slice(message.encoded());
    }

    /// Begins a message that is gathered where it will lie, as its body comes: one copy of a large body is enough. What
    /// else the publish says is filled in by [`Draft::adopt`].
    #[must_use]
    pub fn gather(exchange: &str, routing_key: &str, properties: &[u8]) -> Self {
        let mut draft = Self::default();
        draft.open(&Publish { exchange, routing_key, properties, traits: Traits::default() }, 0, 0);
        draft
    }

    /// Where the body of a message that is gathered begins.
    fn gathered_body_at(&self) -> usize {
        let names = |at: usize| at + 1 + usize::from(self.bytes.get(at).copied().unwrap_or(0));
        let properties = names(names(FIXED_BYTES));
        properties + 4 + read_u32(&self.bytes, properties).unwrap_or(0) as usize
    }

    /// What has come of the body that is gathered.
    #[must_use]
    pub fn gathered(&self) -> &[u8] {
        self.bytes.get(self.gathered_body_at()..).unwrap_or_default()
    }

    /// Makes room for so much more of the body, and no more.
    pub fn reserve_body(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
    }

    /// Bytes that fit without another allocation.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Takes a message over that was gathered, if nothing is in the batch yet and it is the message to publish: a door may
    /// have rewritten its properties.
    #[must_use]
    pub fn adopt(&mut self, gathered: &mut Self, publish: &Publish<'_>, now_ms: i64) -> bool {
        let body_at = gathered.gathered_body_at();
        let mut head = Self::default();
        head.open(publish, now_ms, gathered.bytes.len() - body_at);
        let names = FIXED_BYTES..body_at;
        if !self.is_empty()
            || head.bytes.len() != body_at
            || gathered.bytes.get(names.clone()) != head.bytes.get(names)
        {
            return false;
        }
        for (to, from) in gathered.bytes.iter_mut().zip(&head.bytes) {
            *to = *from;
        }
        std::mem::swap(self, gathered);
        true
    }

    /// What waited for its transaction is published now: its time to live begins.
    pub fn published(&mut self, now_ms: i64) {
        for &start in &self.starts {
            let at = start as usize + PUBLISHED_AT;
            if let Some(published) = self.bytes.get_mut(at..at + 8) {
                published.copy_from_slice(&now_ms.to_be_bytes());
            }
        }
    }

    /// The next part of the open message's body.
    pub fn body(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// The open message is a dead letter; `own_key_only` when its routing key is not the publisher's.
    pub fn died(&mut self, own_key_only: bool) {
        let start = self.starts.last().map_or(0, |&start| start as usize);
        if let Some(flags) = self.bytes.get_mut(start + FLAGS_AT) {
            *flags |= DIED | if own_key_only { OWN_KEY_ONLY } else { 0 };
        }
    }

    /// More routing keys of the open message, whose body is there whole (`BCC`): they lead its dead letters, too.
    pub fn hide<S: AsRef<str>>(&mut self, keys: &[S]) {
        let start = self.starts.last().map_or(0, |&start| start as usize);
        if keys.is_empty() {
            return;
        }
        let from = self.bytes.len();
        keys.iter().for_each(|key| put_short(&mut self.bytes, key.as_ref()));
        let len = length_u32(self.bytes.len() - from);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        let rest = length_u32(self.bytes.len() - start - 4);
        if let Some(prefix) = self.bytes.get_mut(start..start + 4) {
            prefix.copy_from_slice(&rest.to_be_bytes());
        }
        if let Some(flags) = self.bytes.get_mut(start + FLAGS_AT) {
            *flags |= HIDDEN_KEYS;
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes gathered so far.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as one shared allocation; the draft is empty and ready for the next.
    pub fn seal(&mut self) -> Arc<Blob> {
        let capacity = if self.bytes.len() > MAX_REUSED_BYTES { 0 } else { self.bytes.len() };
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        let starts = std::mem::replace(&mut self.starts, Vec::with_capacity(0));
        Arc::new(Blob::new(Bytes::from(bytes), starts))
    }
}

/// Above this a draft starts small again, so that one large body does not size every later batch.
const MAX_REUSED_BYTES: usize = 128 * 1024;
