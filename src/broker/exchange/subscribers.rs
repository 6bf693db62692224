//! Who hears what is published to an exchange now, by how its first part begins. Nothing is kept, and a publisher waits
//! for no subscriber: one that does not read loses what comes meanwhile. (ZeroMQ: PUB and SUB, 29/PUBSUB.)
//!
//! A message's parts are what [`multipart`](crate::data::multipart) says; one that says nothing of parts, as AMQP's
//! clients publish it, is its routing key and its body. So prefixes are compared with routing keys, and with first
//! parts that no routing key could be.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::{
    broker::{
        message::Publish,
        outlet::{Event, Outlet},
        queue::ConnectionId,
    },
    data::multipart::{Joined, Parts},
};

/// What a subscriber hears: all parts of a message, shared by everybody who hears it.
fn told(said: &Parts, routing_key: &str, body: &[u8]) -> Joined {
    let mut told = Joined::default();
    if *said == Parts::Unsaid {
        told.push(routing_key.as_bytes());
    }
    said.iter(body.len()).for_each(|part| told.push(part.octets(body)));
    told
}

/// Why a subscriber is sent away.
pub const DELETED: &str = "the exchange it listens to was deleted";

/// What an event costs besides the message's bytes.
const EVENT_BYTES: usize = 64;

/// The subscribers of one exchange.
#[derive(Debug, Default)]
pub struct Subscribers {
    inner: RwLock<Inner>,
    /// Most exchanges have none.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    by_prefix: HashMap<Box<[u8]>, SmallVec<[Subscriber; 1]>>,
    /// How many prefixes there are of each length: only these are looked for.
    lengths: BTreeMap<usize, usize>,
}

#[derive(Debug, Clone)]
struct Subscriber {
    id: ConnectionId,
    outlet: Weak<Outlet>,
    /// What may wait for it before it loses what comes.
    waiting_bytes_max: usize,
}

/// Who heard a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hearers {
    pub heard: usize,
    /// They did not read, and never will hear it.
    pub missed: usize,
}

impl Subscribers {
    /// Whether there is one.
    #[must_use]
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Adds a subscription, which is not there yet; true when it is the first.
    pub fn subscribe(
        &self,
        prefix: &[u8],
        id: ConnectionId,
        outlet: &Arc<Outlet>,
        waiting_bytes_max: usize,
    ) -> bool {
        let mut inner = self.inner.write();
        let subscriber = Subscriber { id, outlet: Arc::downgrade(outlet), waiting_bytes_max };
        let of_prefix = inner.by_prefix.entry(prefix.into()).or_default();
        let new = of_prefix.is_empty();
        of_prefix.push(subscriber);
        if new {
            *inner.lengths.entry(prefix.len()).or_default() += 1;
        }
        !self.any.swap(true, Ordering::Release)
    }

    /// Removes a subscription; true when it was the last.
    pub fn cancel(&self, prefix: &[u8], id: ConnectionId) -> bool {
        let mut inner = self.inner.write();
        let Some(of_prefix) = inner.by_prefix.get_mut(prefix) else { return false };
        of_prefix.retain(|subscriber| subscriber.id != id);
        if of_prefix.is_empty() {
            inner.by_prefix.remove(prefix);
            if let Some(count) = inner.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    inner.lengths.remove(&prefix.len());
                }
            }
        }
        let last = inner.by_prefix.is_empty();
        if last {
            self.any.store(false, Ordering::Release);
        }
        last
    }

    /// Tells everybody whose prefix the first part begins with, once each.
    pub fn tell(&self, publish: &Publish<'_>, body: &[u8]) -> Hearers {
        let said = Parts::of(publish.properties, body.len());
        let first = said.iter(body.len()).next();
        let first = match (&said, &first) {
            (Parts::Unsaid, _) | (_, None) => publish.routing_key.as_bytes(),
            (Parts::Heads(_) | Parts::Sizes(_), Some(part)) => part.octets(body),
        };
        let hearing = self.hearing(first);
        let mut hearers = Hearers::default();
        if hearing.is_empty() {
            return hearers;
        }
        let told = Arc::new(told(&said, publish.routing_key, body));
        let held_bytes = told.bytes_len() + EVENT_BYTES;
        for subscriber in hearing {
            let Some(outlet) = subscriber.outlet.upgrade() else { continue };
            if outlet.bytes() > subscriber.waiting_bytes_max {
                hearers.missed += 1;
                continue;
            }
            hearers.heard += 1;
            outlet.deliver(&mut vec![Event::Told(told.clone())], held_bytes);
        }
        hearers
    }

    fn hearing(&self, first: &[u8]) -> SmallVec<[Subscriber; 4]> {
        let inner = self.inner.read();
        let mut hearing: SmallVec<[Subscriber; 4]> = SmallVec::new();
        for prefix in inner.lengths.keys().map_while(|length| first.get(..*length)) {
            let subscribers = inner.by_prefix.get(prefix).into_iter().flatten();
            hearing.extend(subscribers.cloned());
        }
        if inner.lengths.len() > 1 {
            hearing.sort_by_key(|subscriber| subscriber.id);
            hearing.dedup_by_key(|subscriber| subscriber.id);
        }
        hearing
    }

    /// The exchange is deleted: whoever listens is sent away.
    pub(in crate::broker) fn end(&self) {
        let inner = std::mem::take(&mut *self.inner.write());
        self.any.store(false, Ordering::Release);
        for outlet in inner.by_prefix.into_values().flatten().filter_map(|s| s.outlet.upgrade()) {
            outlet.push(Event::Close { reason: DELETED.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker::message::Traits, data::multipart};

    fn heard(outlet: &Arc<Outlet>) -> Vec<Vec<Vec<u8>>> {
        let mut events = Vec::new();
        outlet.drain(&mut events, std::task::Waker::noop());
        let parts = |event| {
            let Event::Told(told) = event else { panic!("{event:?}") };
            told.iter().map(<[u8]>::to_vec).collect()
        };
        events.into_iter().map(parts).collect()
    }

    fn publish<'a>(routing_key: &'a str, properties: &'a [u8]) -> Publish<'a> {
        Publish { exchange: "x", routing_key, properties, traits: Traits::default() }
    }

    #[test]
    fn a_subscriber_hears_once_whatever_its_prefixes() {
        let (subscribers, outlet) = (Subscribers::default(), Arc::<Outlet>::default());
        assert!(subscribers.subscribe(b"", ConnectionId(1), &outlet, 1_000));
        assert!(!subscribers.subscribe(b"new", ConnectionId(1), &outlet, 1_000));
        let amqp = publish("news", &[0, 0]);
        assert_eq!(subscribers.tell(&amqp, b"hello"), Hearers { heard: 1, missed: 0 });
        assert_eq!(heard(&outlet), [[b"news".to_vec(), b"hello".to_vec()]]);
        assert!(!subscribers.cancel(b"", ConnectionId(1)));
        assert_eq!(subscribers.tell(&publish("ne", &[0, 0]), b"hello").heard, 0);
        assert!(subscribers.cancel(b"new", ConnectionId(1)) && !subscribers.any());
    }

    #[test]
    fn parts_are_heard_as_they_were_and_the_first_is_the_topic() {
        let (subscribers, outlet) = (Subscribers::default(), Arc::<Outlet>::default());
        subscribers.subscribe(b"\xff", ConnectionId(1), &outlet, 1_000);
        for parts in [&[&b"\xff\xfe"[..], b"1"][..], &[b"\xff"]] {
            let headers = multipart::headers(parts);
            let mut properties = bytes::BytesMut::new();
            crate::data::field::Properties { headers: Some(&headers), ..Default::default() }
                .encode(&mut properties);
            subscribers.tell(&publish("anything", &properties), &multipart::body(parts));
            assert_eq!(heard(&outlet), [parts]);
        }
    }

    #[test]
    fn who_does_not_read_misses_what_comes() {
        let (subscribers, outlet) = (Subscribers::default(), Arc::<Outlet>::default());
        subscribers.subscribe(b"", ConnectionId(1), &outlet, 10);
        let news = publish("news", &[0, 0]);
        assert_eq!(subscribers.tell(&news, b"1").heard, 1);
        assert_eq!(subscribers.tell(&news, b"2"), Hearers { heard: 0, missed: 1 });
        assert_eq!(heard(&outlet).len(), 1);
        assert_eq!(subscribers.tell(&news, b"3").heard, 1);
    }
}
