//! Client quotas (KIP-13, KIP-55, KIP-546): how many bytes a second a user or a client id may produce and consume.
//!
//! Users and client ids are those of the whole broker, not of a vhost. Of several quotas that fit a client the most
//! specific counts, and clients that a quota does not tell apart share it. Kafka has more: those of request time, of
//! mutations and of connections are not enforced here, and therefore cannot be set.

mod rate;

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};

use self::rate::Rate;
use super::{Pending, definition};
use crate::{
    data::value::{Table, Value},
    store::{Store, Ticket},
};

/// Whom a quota is for: absent, it is for every one of that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    pub user: Option<Name>,
    pub client_id: Option<Name>,
}

/// One by name, or whoever has no quota of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    Default,
    Of(String),
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QuotaKey {
    ConsumerByteRate,
    ProducerByteRate,
}

impl QuotaKey {
    pub const ALL: &'static [Self] = &[Self::ConsumerByteRate, Self::ProducerByteRate];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConsumerByteRate => "consumer_byte_rate",
            Self::ProducerByteRate => "producer_byte_rate",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name)
    }
}

/// Bytes a second.
pub type Limits = BTreeMap<QuotaKey, f64>;

/// All quotas, and how near clients are to them.
#[derive(Debug, Default)]
pub struct Quotas {
    table: RwLock<BTreeMap<Entity, Limits>>,
    /// Whether there are any: one load for brokers without.
    are_any: AtomicBool,
    rates: Mutex<HashMap<Sharing, Rate>>,
}

/// Who shares a rate: everybody whom a quota does not tell apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sharing {
    key: QuotaKey,
    user: Option<String>,
    client_id: Option<String>,
}

/// Above this, what is over is looked for before a rate more is kept; whoever finds no room shares one with its user.
const RATES_MAX: usize = 10_000;

impl Quotas {
    /// Every quota, by entity.
    #[must_use]
    pub fn all(&self) -> Vec<(Entity, Limits)> {
        self.table.read().iter().map(|(entity, limits)| (entity.clone(), limits.clone())).collect()
    }

    /// Sets limits for good, and takes back those that are `None`.
    pub fn alter(
        &self,
        store: &Store,
        entity: &Entity,
        changes: &BTreeMap<QuotaKey, Option<f64>>,
    ) -> Pending {
        let mut table = self.table.write();
        let before = table.get(entity).cloned().unwrap_or_default();
        let mut limits = before.clone();
        for (key, limit) in changes {
            match limit {
                Some(limit) => limits.insert(*key, *limit),
                None => limits.remove(key),
            };
        }
        if limits == before {
            return None;
        }
        // Under the lock: the log has changes in the order in which they took effect.
        let ticket = write(store, entity, &limits);
        if limits.is_empty() {
            table.remove(entity)
        } else {
            table.insert(entity.clone(), limits)
        };
        self.are_any.store(!table.is_empty(), Ordering::Release);
        Some(ticket)
    }

    /// Takes in what lay in the store; false when it makes no sense.
    pub(super) fn recover(&self, key: &[u8], value: &[u8]) -> bool {
        let Some((entity, limits)) = read(key, value) else { return false };
        self.table.write().insert(entity, limits);
        self.are_any.store(true, Ordering::Release);
        true
    }

    /// Counts bytes of a client; for how long it must be silent.
    pub fn record(&self, now: Instant, key: QuotaKey, user: &str, client_id: &str, bytes: usize) -> Duration {
        self.on_rate(now, key, user, client_id, |rate, limit| {
            rate.record(now, bytes as f64);
            rate.excess(now, limit)
        })
        .unwrap_or_default()
    }

    /// As [`Quotas::record`], for bytes that are only sent if that leaves the client within its limit: else they are not
    /// counted. The first bytes of a window always are, or a batch larger than it would never be sent.
    pub fn record_if_within(
        &self,
        now: Instant,
        key: QuotaKey,
        user: &str,
        client_id: &str,
        bytes: usize,
    ) -> Duration {
        self.on_rate(now, key, user, client_id, |rate, limit| {
            let is_first = rate.bytes() <= 0.0;
            rate.record(now, bytes as f64);
            let excess = rate.excess(now, limit);
            if excess.is_zero() || is_first {
                return Duration::ZERO;
            }
            rate.record(now, -(bytes as f64));
            excess
        })
        .unwrap_or_default()
    }

    /// The most that a client may be sent at once.
    #[must_use]
    pub fn bytes_max(&self, key: QuotaKey, user: &str, client_id: &str) -> usize {
        let limit = self.limit(key, user, client_id).map(|(limit, _)| rate::window_bytes(limit));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        limit.map_or(usize::MAX, |bytes| bytes as usize)
    }

    fn on_rate<T>(
        &self,
        now: Instant,
        key: QuotaKey,
        user: &str,
        client_id: &str,
        then: impl FnOnce(&mut Rate, f64) -> T,
    ) -> Option<T> {
        let (limit, mut sharing) = self.limit(key, user, client_id)?;
        let mut rates = self.rates.lock();
        if rates.len() >= RATES_MAX && !rates.contains_key(&sharing) {
            rates.retain(|_, rate| !rate.is_over(now));
            if rates.len() >= RATES_MAX {
                sharing.client_id = None;
            }
        }
        Some(then(rates.entry(sharing).or_default(), limit))
    }

    /// The limit of a client, and with whom it shares it. In Kafka's order: the user's quotas before those of any user,
    /// and of each the one for the client id before those for any.
    fn limit(&self, key: QuotaKey, user: &str, client_id: &str) -> Option<(f64, Sharing)> {
        if !self.are_any.load(Ordering::Acquire) {
            return None;
        }
        let table = self.table.read();
        let users = [Some(Name::Of(user.to_owned())), Some(Name::Default), None];
        let client_ids = [Some(Name::Of(client_id.to_owned())), Some(Name::Default), None];
        // Whoever gives no client id has none that could have a quota.
        let client_ids = if client_id.is_empty() { &client_ids[2..] } else { &client_ids[..] };
        for user_name in &users {
            for id in client_ids {
                let entity = Entity { user: user_name.clone(), client_id: id.clone() };
                if let Some(limit) = table.get(&entity).and_then(|limits| limits.get(&key)) {
                    let sharing = Sharing {
                        key,
                        user: entity.user.is_some().then(|| user.to_owned()),
                        client_id: entity.client_id.is_some().then(|| client_id.to_owned()),
                    };
                    return Some((*limit, sharing));
                }
            }
        }
        None
    }
}

fn write(store: &Store, entity: &Entity, limits: &Limits) -> Ticket {
    let (user, client_id) = (text(entity.user.as_ref()), text(entity.client_id.as_ref()));
    let key = definition::quota_key(&user, &client_id);
    if limits.is_empty() {
        return definition::delete(store, vec![key]);
    }
    let fields = limits.iter().map(|(key, limit)| (key.name().to_owned(), Value::F64(*limit)));
    definition::put(store, key, definition::table_value(&Table(fields.collect())))
}

fn read(key: &[u8], value: &[u8]) -> Option<(Entity, Limits)> {
    let [user, client_id] = definition::read_names(key)?;
    let entity = Entity { user: name(&user)?, client_id: name(&client_id)? };
    let mut limits = Limits::new();
    for (name, value) in definition::read_table(value)?.0 {
        let Value::F64(limit) = value else { return None };
        limits.insert(QuotaKey::named(&name)?, limit);
    }
    Some((entity, limits))
}

/// A name in a key: nothing, `*`, or `=` and the name.
fn text(name: Option<&Name>) -> String {
    match name {
        None => String::new(),
        Some(Name::Default) => "*".to_owned(),
        Some(Name::Of(name)) => format!("={name}"),
    }
}

fn name(text: &str) -> Option<Option<Name>> {
    match text {
        "" => Some(None),
        "*" => Some(Some(Name::Default)),
        other => other.strip_prefix('=').map(|name| Some(Name::Of(name.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, store::Options};

    fn entity(user: &str, client_id: &str) -> Entity {
        Entity { user: name(user).unwrap(), client_id: name(client_id).unwrap() }
    }

    fn set(quotas: &Quotas, store: &Store, user: &str, client_id: &str, limit: Option<f64>) -> Pending {
        let changes = BTreeMap::from([(QuotaKey::ProducerByteRate, limit)]);
        quotas.alter(store, &entity(user, client_id), &changes)
    }

    #[test]
    fn the_most_specific_quota_counts() {
        let (quotas, store) = (Quotas::default(), Store::manual(Options::ephemeral()));
        let limit = || quotas.limit(QuotaKey::ProducerByteRate, "u", "c").map(|(limit, _)| limit);
        assert_eq!(limit(), None);
        // From the least specific on, each is stronger than all before.
        let order = [
            ("", "*"),
            ("", "=c"),
            ("*", ""),
            ("*", "*"),
            ("*", "=c"),
            ("=u", ""),
            ("=u", "*"),
            ("=u", "=c"),
        ];
        for (strength, (user, client_id)) in order.into_iter().enumerate() {
            set(&quotas, &store, user, client_id, Some(strength as f64 + 1.0)).unwrap();
            assert_eq!(limit(), Some(strength as f64 + 1.0), "{user} {client_id}");
        }
        assert_eq!(quotas.limit(QuotaKey::ConsumerByteRate, "u", "c"), None);
        assert_eq!(quotas.limit(QuotaKey::ProducerByteRate, "u", "").unwrap().0, 6.0);
        assert_eq!(quotas.limit(QuotaKey::ProducerByteRate, "v", "d").unwrap().0, 4.0);
        assert_eq!(set(&quotas, &store, "=u", "=c", Some(8.0)), None, "as it was");
    }

    #[test]
    fn clients_that_a_quota_does_not_tell_apart_share_it() {
        let (quotas, store, now) =
            (Quotas::default(), Store::manual(Options::ephemeral()), Clock::manual(0).now());
        let key = QuotaKey::ProducerByteRate;
        set(&quotas, &store, "*", "", Some(100.0));
        assert!(quotas.record(now, key, "u", "c", 1_000).is_zero());
        assert_eq!(quotas.record(now, key, "u", "d", 1_000), Duration::from_secs(10));
        assert!(quotas.record(now, key, "v", "c", 1_000).is_zero(), "another user");
        set(&quotas, &store, "*", "", None);
        assert!(quotas.record(now, key, "u", "c", 1 << 40).is_zero() && quotas.all().is_empty());
    }

    #[test]
    fn what_is_not_sent_is_not_counted_and_the_first_is_always_sent() {
        let (quotas, store, clock) =
            (Quotas::default(), Store::manual(Options::ephemeral()), Clock::manual(0));
        let key = QuotaKey::ProducerByteRate;
        set(&quotas, &store, "=u", "", Some(100.0));
        assert_eq!(quotas.bytes_max(key, "u", ""), 1_000);
        assert_eq!(quotas.bytes_max(key, "v", ""), usize::MAX);
        assert!(quotas.record_if_within(clock.now(), key, "u", "", 5_000).is_zero());
        for _ in 0..2 {
            let silent = quotas.record_if_within(clock.now(), key, "u", "", 100);
            assert_eq!(silent, Duration::from_secs(41));
        }
        clock.advance(Duration::from_secs(11));
        assert!(quotas.record_if_within(clock.now(), key, "u", "", 100).is_zero());
    }

    #[test]
    fn rates_are_bounded() {
        let (quotas, store, now) =
            (Quotas::default(), Store::manual(Options::ephemeral()), Clock::manual(0).now());
        set(&quotas, &store, "", "*", Some(100.0));
        for n in 0..RATES_MAX + 10 {
            quotas.record(now, QuotaKey::ProducerByteRate, "u", &n.to_string(), 1);
        }
        assert_eq!(quotas.rates.lock().len(), RATES_MAX + 1);
    }

    #[test]
    fn a_quota_reads_back_as_it_was() {
        let limits = Limits::from([(QuotaKey::ConsumerByteRate, 1.5), (QuotaKey::ProducerByteRate, 2.0)]);
        for (user, client_id) in [("=u", ""), ("", "=*"), ("*", "=c"), ("=", "*")] {
            let fields = limits.iter().map(|(key, limit)| (key.name().to_owned(), Value::F64(*limit)));
            let value = definition::table_value(&Table(fields.collect()));
            let found = read(&definition::quota_key(user, client_id), &value);
            assert_eq!(found, Some((entity(user, client_id), limits.clone())));
        }
    }
}
