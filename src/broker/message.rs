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
//! The AMQP property list is carried, never read, by the core; what the core must know (persistence, expiration,
//! priority) the door has read and says in the fixed part.

use std::sync::{
    Arc, LazyLock, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

use crate::store::{Place, Store};

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

/// A batch being gathered: one allocation for all its messages.
#[derive(Debug, Default)]
pub struct Draft {
    bytes: Vec<u8>,
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
        Arc::new(Blob {
            bytes: Bytes::from(bytes),
            starts,
            place: OnceLock::new(),
            holds: AtomicUsize::new(0),
        })
    }
}

/// Above this a draft starts small again, so that one large body does not size every later batch.
const MAX_REUSED_BYTES: usize = 128 * 1024;

/// A sealed batch: its bytes, where each message starts, and where it lies on disk once it does.
#[derive(Debug)]
pub struct Blob {
    bytes: Bytes,
    starts: Vec<u32>,
    place: OnceLock<Place>,
    holds: AtomicUsize,
}

impl Blob {
    /// A batch read back from the log.
    ///
    /// # Errors
    /// `None` when the bytes are not a batch.
    #[must_use]
    pub fn read(bytes: Bytes, place: Place) -> Option<Arc<Self>> {
        let blob = Self::of(bytes)?;
        let _ = blob.place.set(place);
        Some(blob)
    }

    /// A batch that has no place of its own.
    #[must_use]
    pub fn of(bytes: Bytes) -> Option<Arc<Self>> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            starts.push(u32::try_from(at).ok()?);
            at = at.checked_add(4)?.checked_add(read_u32(&bytes, at)? as usize)?;
        }
        (at == bytes.len())
            .then(|| Arc::new(Self { bytes, starts, place: OnceLock::new(), holds: AtomicUsize::new(0) }))
    }

    /// Where the batch lies; set by the first Change that writes it.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place.get().copied()
    }

    /// The place, written by `write` if nobody has yet. Only the committer's thread calls this.
    pub fn place_or_write(&self, write: impl FnOnce(&Bytes) -> Place) -> Place {
        *self.place.get_or_init(|| write(&self.bytes))
    }

    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch as it lies on disk.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes of the message of that ordinal: a batch of its own.
    #[must_use]
    pub fn bytes_of(&self, ordinal: u32) -> &[u8] {
        let at = |ordinal: usize| self.starts.get(ordinal).map(|&start| start as usize);
        let Some(start) = at(ordinal as usize) else { return &[] };
        let end = at(ordinal as usize + 1).unwrap_or(self.bytes.len());
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The message of that ordinal.
    #[must_use]
    pub fn message(self: &Arc<Self>, ordinal: u32) -> Option<Message> {
        let start = *self.starts.get(ordinal as usize)?;
        Message::parse(self, start)
    }
}

/// Keeps a batch's chunk while more queues may still get an entry that points at it. Without one, the first queue's
/// acknowledgements could free the chunk before the last queue's entry is staged, in a later turn.
pub struct Hold {
    blob: Arc<Blob>,
    store: Store,
}

impl Hold {
    #[must_use]
    pub fn new(blob: Arc<Blob>, store: Store) -> Self {
        blob.holds.fetch_add(1, Ordering::Relaxed);
        Self { blob, store }
    }

    /// The chunk has just been written: all holds together keep it.
    pub fn written(&self, place: Place) {
        self.store.retain(place);
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::new(self.blob.clone(), self.store.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The last one: no other can be made any more, as they are made from one another.
        if self.blob.holds.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(place) = self.blob.place()
        {
            self.store.release(place);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let mut draft = Draft::default();
        for (key, body) in [("hello", &b"Hello World!"[..]), ("", b"")] {
            let traits = Traits { persistent: body.is_empty(), priority: Some(3), expiration_ms: Some(60) };
            draft.open(
                &Publish { exchange: "ex", routing_key: key, properties: b"\0\0", traits },
                7,
                body.len(),
            );
            draft.body(body);
        }
        draft
    }

    #[test]
    fn a_batch_gives_back_what_was_published() {
        let blob = draft().seal();
        let m = blob.message(0).unwrap();
        assert_eq!(
            (m.exchange(), m.routing_key(), m.properties(), m.body()),
            ("ex", "hello", &b"\0\0"[..], &b"Hello World!"[..])
        );
        assert_eq!(
            (m.persistent(), m.priority(), m.published_ms(), m.expiration_ms()),
            (false, Some(3), 7, Some(60))
        );
        let m = blob.message(1).unwrap();
        assert_eq!((m.routing_key(), m.body(), m.persistent()), ("", &b""[..], true));
        assert!(blob.message(2).is_none());
    }

    #[test]
    fn a_key_that_no_short_string_holds_is_cut_and_nothing_else_is() {
        let (key, mut draft) = (format!("{}€", "k".repeat(254)), Draft::default());
        let traits = Traits { persistent: true, priority: None, expiration_ms: None };
        draft.open(&Publish { exchange: "ex", routing_key: &key, properties: b"\0\0", traits }, 7, 4);
        draft.body(b"body");
        let blob = draft.seal();
        let m = blob.message(0).unwrap();
        assert_eq!((m.routing_key(), m.body(), m.priority()), (&key[..254], &b"body"[..], None));
    }

    #[test]
    fn a_forgotten_message_holds_its_handle_only() {
        let blob = draft().seal();
        let mut message = blob.message(0).unwrap();
        let weak = Arc::downgrade(&blob);
        drop(blob);
        message.forget();
        assert!(weak.upgrade().is_none() && message.is_paged() && message.body_bytes().is_empty());
        assert_eq!(
            (message.body_len(), message.priority(), message.held_bytes()),
            (12, Some(3), HANDLE_BYTES)
        );
    }

    #[test]
    fn a_message_that_waited_is_published_when_its_transaction_commits() {
        let mut draft = draft();
        draft.published(7_777);
        let blob = draft.seal();
        assert!((0..2).all(|n| blob.message(n).unwrap().published_ms() == 7_777));
        assert_eq!(blob.message(0).unwrap().body(), b"Hello World!");
    }

    #[test]
    fn a_gathered_message_is_the_one_that_is_published_unless_its_properties_were_rewritten() {
        let traits = Traits { persistent: true, priority: Some(9), expiration_ms: Some(60) };
        let publish = Publish { exchange: "ex", routing_key: "key", properties: b"\x80\0\x01a", traits };
        let gather = || {
            let mut gathered = Draft::gather(publish.exchange, publish.routing_key, publish.properties);
            [&b"Hello "[..], b"World!"].iter().for_each(|part| gathered.body(part));
            gathered
        };
        let (mut adopted, mut copied, mut gathered) = (Draft::default(), Draft::default(), gather());
        assert_eq!(gathered.gathered(), b"Hello World!");
        assert!(adopted.adopt(&mut gathered, &publish, 7));
        copied.open(&publish, 7, 12);
        copied.body(b"Hello World!");
        assert_eq!((adopted.len(), &adopted.bytes), (1, &copied.bytes));
        assert!(!adopted.adopt(&mut gather(), &publish, 7), "there is a message already");
        let rewritten = Publish { properties: b"\x80\0\x01b", ..publish };
        assert!(!Draft::default().adopt(&mut gather(), &rewritten, 7));
    }

    #[test]
    fn hidden_keys_are_no_part_of_the_body_and_survive() {
        let mut draft = draft();
        draft.hide(&["a", ""]);
        draft.open(
            &Publish { exchange: "", routing_key: "k", properties: b"\0\0", traits: Traits::default() },
            0,
            1,
        );
        draft.body(b"z");
        let blob = draft.seal();
        let place = Place { segment: 1, offset: 2, len: 3 };
        for blob in [Blob::read(blob.bytes.clone(), place).unwrap(), blob] {
            let bodies: Vec<_> = (0..3).map(|n| blob.message(n).unwrap().body().to_vec()).collect();
            assert_eq!(bodies, [&b"Hello World!"[..], b"", b"z"]);
            assert_eq!(blob.message(0).unwrap().hidden_keys(), [""; 0]);
            assert_eq!(blob.message(1).unwrap().hidden_keys(), ["a", ""]);
        }
    }

    #[test]
    fn a_batch_read_back_is_the_same_and_a_cut_one_is_refused() {
        let blob = draft().seal();
        let place = Place { segment: 1, offset: 2, len: 3 };
        let again = Blob::read(blob.bytes.clone(), place).unwrap();
        assert_eq!((again.len(), again.message(0).unwrap().body()), (2, &b"Hello World!"[..]));
        for cut in 1..blob.bytes.len() {
            if let Some(part) = Blob::read(blob.bytes.slice(..cut), place) {
                assert_eq!(part.len(), 1, "only a whole first message is a batch of its own");
            }
        }
    }
}
