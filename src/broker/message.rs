//! Messages as the core holds them: a batch of publishes in one allocation, and a small handle for each.
//!
//! A heap allocation per message is the largest cost there is at 100 bytes, so what one read of a publisher's socket
//! brought is copied once into one [`Blob`]; every queue, outbox and the log share it. The layout below is also what
//! lies on disk, so that recovery and paging read it back as it was:
//!
//! ```text
//! u32 length of the rest | u8 flags | i64 published (ms) | u64 expiration (ms; MAX = none) | u8 priority
//! u8 n, exchange | u8 n, routing key | u32 n, properties (flags and list as on the wire) | body
//! with a flag for it: hidden routing keys (u8 n, key …), u32 length of these
//! ```
//!
//! `draft.rs` gathers a batch, `blob.rs` is a sealed one, and here is the handle. The AMQP property list is carried, never
//! read, by the core; what the core must know (persistence, expiration, priority) the door has read and says in the fixed
//! part.

mod blob;
mod draft;
#[cfg(test)]
mod tests;

pub use self::{
    blob::{Blob, Hold},
    draft::Draft,
};

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

const PERSISTENT: u8 = 1;
/// It was dead-lettered: its `x-death` is ours, not a client's.
const DIED: u8 = 2;
/// It was dead-lettered with a key of the queue's: the keys in its `CC` are spent.
const OWN_KEY_ONLY: u8 = 4;
/// More routing keys that nobody is to see follow the body.
const HIDDEN_KEYS: u8 = 8;
/// It has no priority; then the octet is 0.
const NO_PRIORITY: u8 = 16;
/// Where the flags lie.
const FLAGS_AT: usize = 4;
/// Where the time of publishing lies.
const PUBLISHED_AT: usize = 5;
/// Of a handle only, never on disk: its batch is not in memory.
const PAGED: u8 = 0x80;
const FIXED_BYTES: usize = 4 + 1 + 8 + 8 + 1;

/// What the core must know of a message besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traits {
    /// `delivery_mode` 2: survives a restart in a durable queue.
    pub persistent: bool,
    /// Priority as published, if it was; queues clamp it.
    pub priority: Option<u8>,
    /// Per-message TTL in milliseconds (`expiration`).
    pub expiration_ms: Option<u64>,
}

/// A message on its way in.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// Property flags and list as on the wire.
    pub properties: &'a [u8],
    pub traits: Traits,
}

/// One message: a handle into its batch.
#[derive(Debug, Clone)]
pub struct Message {
    blob: Arc<Blob>,
    /// Where the exchange's name starts.
    names: u32,
    properties_len: u32,
    body_len: u32,
    exchange_len: u8,
    routing_key_len: u8,
    traits: u8,
    priority: u8,
}

impl Message {
    fn parse(blob: &Arc<Blob>, start: u32) -> Option<Self> {
        let bytes = &blob.bytes;
        let start = start as usize;
        let end = start.checked_add(4)?.checked_add(read_u32(bytes, start)? as usize)?;
        let traits = *bytes.get(start + 4)? & !PAGED;
        let priority = *bytes.get(start + FIXED_BYTES - 1)?;
        let names = start + FIXED_BYTES;
        let exchange_len = *bytes.get(names)?;
        let key_at = names + 1 + usize::from(exchange_len);
        let routing_key_len = *bytes.get(key_at)?;
        let properties_at = key_at + 1 + usize::from(routing_key_len);
        let properties_len = read_u32(bytes, properties_at)?;
        let body_at = properties_at.checked_add(4)?.checked_add(properties_len as usize)?;
        let body_len = u32::try_from(hidden(bytes, traits, end)?.start.checked_sub(body_at)?).ok()?;
        (end <= bytes.len()).then(|| Self {
            blob: blob.clone(),
            names: length_u32(names),
            properties_len,
            body_len,
            exchange_len,
            routing_key_len,
            traits,
            priority,
        })
    }

    fn slice(&self, from: usize, len: usize) -> &[u8] {
        self.blob.bytes.get(from..from + len).unwrap_or_default()
    }

    /// All of it, as its batch has it.
    fn encoded(&self) -> &[u8] {
        let start = (self.names as usize).saturating_sub(FIXED_BYTES);
        let rest = read_u32(&self.blob.bytes, start).unwrap_or(0);
        self.slice(start, 4 + rest as usize)
    }

    fn properties_at(&self) -> usize {
        self.names as usize + 2 + usize::from(self.exchange_len) + usize::from(self.routing_key_len) + 4
    }

    #[must_use]
    pub fn exchange(&self) -> &str {
        let bytes = self.slice(self.names as usize + 1, self.exchange_len.into());
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    #[must_use]
    pub fn routing_key(&self) -> &str {
        let at = self.names as usize + 2 + usize::from(self.exchange_len);
        std::str::from_utf8(self.slice(at, self.routing_key_len.into())).unwrap_or_default()
    }

    /// Property flags and list as on the wire.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        self.slice(self.properties_at(), self.properties_len as usize)
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.slice(self.properties_at() + self.properties_len as usize, self.body_len as usize)
    }

    /// Lets the batch go; what the log holds of it must be read back before anybody looks at names, properties or body.
    pub fn forget(&mut self) {
        self.blob = NOTHING.clone();
        self.traits |= PAGED;
    }

    /// A message that is in the log only, with a body of about that size.
    #[must_use]
    pub fn paged(body_bytes: usize) -> Self {
        let mut message = Self {
            blob: NOTHING.clone(),
            names: 0,
            properties_len: 0,
            body_len: length_u32(body_bytes),
            exchange_len: 0,
            routing_key_len: 0,
            traits: 0,
            priority: 0,
        };
        message.forget();
        message
    }

    /// Whether its batch is not in memory.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.traits & PAGED != 0
    }

    /// Whether it comes before another one of its batch; `None`: they are not of one batch, for all one knows.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> Option<bool> {
        let same_place = || self.blob.place().is_some() && self.blob.place() == other.blob.place();
        (Arc::ptr_eq(&self.blob, &other.blob) || same_place()).then_some(self.names < other.names)
    }

    /// The body as a slice that shares the batch's allocation.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        if self.is_paged() {
            return Bytes::new();
        }
        let at = self.properties_at() + self.properties_len as usize;
        self.blob.bytes.slice(at..at + self.body_len as usize)
    }

    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body_len as usize
    }

    #[must_use]
    pub fn persistent(&self) -> bool {
        self.traits & PERSISTENT != 0
    }

    /// More routing keys, which receivers must not see.
    #[must_use]
    pub fn hidden_keys(&self) -> Vec<String> {
        let bytes = &self.blob.bytes;
        let start = self.names as usize - FIXED_BYTES;
        let end = start + 4 + read_u32(bytes, start).unwrap_or(0) as usize;
        let mut rest = hidden(bytes, self.traits, end).and_then(|range| bytes.get(range)).unwrap_or_default();
        let mut keys = Vec::new();
        while let Some((&n, tail)) = rest.split_first()
            && let Some((key, tail)) = tail.split_at_checked(n.into())
        {
            keys.push(String::from_utf8_lossy(key).into_owned());
            rest = tail;
        }
        keys
    }

    /// It was dead-lettered before.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.traits & DIED != 0
    }

    /// Its `CC` no longer counts.
    #[must_use]
    pub fn own_key_only(&self) -> bool {
        self.traits & OWN_KEY_ONLY != 0
    }

    /// As published, if it was.
    #[must_use]
    #[inline]
    pub fn priority(&self) -> Option<u8> {
        (self.traits & NO_PRIORITY == 0).then_some(self.priority)
    }

    /// When it was published, milliseconds since the epoch.
    #[must_use]
    pub fn published_ms(&self) -> i64 {
        let at = self.names as usize - FIXED_BYTES + 5;
        read_u64(&self.blob.bytes, at).map_or(0, u64::cast_signed)
    }

    /// Per-message TTL in milliseconds.
    #[must_use]
    pub fn expiration_ms(&self) -> Option<u64> {
        let at = self.names as usize - FIXED_BYTES + 13;
        read_u64(&self.blob.bytes, at).filter(|&ms| ms != u64::MAX)
    }

    /// What holding it costs, roughly: its bytes and its handle.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        if self.is_paged() {
            return HANDLE_BYTES;
        }
        HANDLE_BYTES + self.body_len as usize + self.properties_len as usize
    }
}

/// The batch of messages that are not in memory.
static NOTHING: LazyLock<Arc<Blob>> = LazyLock::new(|| Draft::default().seal());

/// The handle and its place in a queue, in the memory accounting.
const HANDLE_BYTES: usize = 96;

/// Where the hidden keys of a message that ends there lie; none, there, when it has none.
fn hidden(bytes: &[u8], flags: u8, end: usize) -> Option<std::ops::Range<usize>> {
    if flags & HIDDEN_KEYS == 0 {
        return Some(end..end);
    }
    let to = end.checked_sub(4)?;
    Some(to.checked_sub(read_u32(bytes, to)? as usize)?..to)
}

/// A short string has at most 255 bytes. The doors check it where it enters; keys of `CC` headers and of dead letters come
/// from long strings, and are cut.
fn short(s: &str) -> &str {
    s.get(..s.floor_char_boundary(255)).unwrap_or_default()
}

fn put_short(out: &mut Vec<u8>, s: &str) {
    let bytes = short(s).as_bytes();
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

fn length_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
