//! The keys of topics, producers and groups in the store, and the little encoding of their values.
//!
//! Numbers are big-endian, so that keys sort as their numbers do. Offsets are never negative in a key.
//!
//! ```text
//! space  key                                                          value
//! meta   'T' | topic id 16                                            definition (topic/definition.rs)
//! meta   'A' | 'b' or 'c'                                             topic defaults of broker or cluster (topic/defaults.rs)
//! meta   'P'                                                          next partition id u64
//! meta   'D' | partition id u64                                       dropped: its entries are still being removed
//! index  'b' | partition id u64 | base offset u64                     where the batches lie (topic/index.rs)
//! state  'l' | partition id u64                                       log start offset u64
//! state  'z' | partition id u64                                       compacted up to this offset u64
//! state  'q' | partition id u64 | producer id i64                      the producer, whose batches are gone (txn/saved.rs)
//! state  'i'                                                          first producer id not yet reserved u64
//! state  'g' | vhost str | group str                                  the group (group/record.rs)
//! state  'm' | vhost str | group str | member id str                  its member (group/consumer/record.rs)
//! state  'f' | vhost str | group str                                  its configuration (group/config.rs)
//! state  'h' | vhost str | group str | topic id 16 | partition u32    what a share group is lent (group/share/)
//! state  'o' | vhost str | group str | topic id 16 | partition u32    committed offset (group/offsets.rs)
//! state  'x' | vhost str | transactional id str                       the transaction (txn/transaction.rs)
//!        str: length u16, then that many bytes
//! ```

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

use super::{Offset, PartitionId, defaults::Scope};
use crate::{
    broker::{
        group::{GroupKey, member::MemberId, offsets::TopicPartition},
        txn::coordinator::TransactionalId,
    },
    store::key::{Key, Parts},
};

pub(crate) const TOPICS: &[u8] = b"T";
pub(crate) const NEXT_PARTITION_ID: &[u8] = b"P";
pub(crate) const DROPPED_PARTITIONS: &[u8] = b"D";
pub(crate) const NEXT_PRODUCER_ID: &[u8] = b"i";
pub(crate) const GROUPS: &[u8] = &[GROUP];
pub(crate) const GROUP_MEMBERS: &[u8] = &[GROUP_MEMBER];
pub(crate) const GROUP_CONFIGS: &[u8] = &[GROUP_CONFIG];
pub(crate) const SHARE_PARTITIONS: &[u8] = &[SHARE_PARTITION];
pub(crate) const COMMITTED_OFFSETS: &[u8] = &[COMMITTED_OFFSET];
pub(crate) const TRANSACTIONS: &[u8] = &[TRANSACTION];
const TRANSACTION: u8 = b'x';
const GROUP: u8 = b'g';
const GROUP_MEMBER: u8 = b'm';
const GROUP_CONFIG: u8 = b'f';
const SHARE_PARTITION: u8 = b'h';
const COMMITTED_OFFSET: u8 = b'o';

pub(crate) fn topic(id: Uuid) -> Vec<u8> {
    [TOPICS, id.as_bytes()].concat()
}

/// The broker configs that are set for a scope.
pub(crate) fn topic_defaults(scope: Scope) -> Vec<u8> {
    match scope {
        Scope::Broker => b"Ab".to_vec(),
        Scope::Cluster => b"Ac".to_vec(),
    }
}

pub(crate) fn dropped_partition(id: PartitionId) -> Vec<u8> {
    [DROPPED_PARTITIONS, &id.0.to_be_bytes()].concat()
}

pub(crate) fn parse_dropped_partition(key: &[u8]) -> Option<PartitionId> {
    let id = key.strip_prefix(DROPPED_PARTITIONS)?;
    Some(PartitionId(u64::from_be_bytes(id.try_into().ok()?)))
}

/// All index entries of a partition begin with this.
pub(crate) fn batches(id: PartitionId) -> [u8; 9] {
    let mut key = [b'b'; 9];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
}

pub(crate) fn batch(id: PartitionId, base: Offset) -> [u8; 17] {
    let mut key = [0; 17];
    key[..9].copy_from_slice(&batches(id));
    key[9..].copy_from_slice(&base.0.to_be_bytes());
    key
}

pub(crate) fn parse_batch_base(key: &[u8]) -> Option<Offset> {
    let base = key.get(9..)?;
    Some(Offset(i64::from_be_bytes(base.try_into().ok()?)))
}

pub(crate) fn log_start(id: PartitionId) -> [u8; 9] {
    let mut key = [b'l'; 9];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
}

pub(crate) fn clean_to(id: PartitionId) -> [u8; 9] {
    let mut key = [b'z'; 9];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
}

/// All producers of a partition that are written down begin with this.
pub(crate) fn producers(id: PartitionId) -> [u8; 9] {
    let mut key = [b'q'; 9];
    key[1..].copy_from_slice(&id.0.to_be_bytes());
    key
}

pub(crate) fn producer(id: PartitionId, producer_id: i64) -> [u8; 17] {
    let mut key = [0; 17];
    key[..9].copy_from_slice(&producers(id));
    key[9..].copy_from_slice(&producer_id.to_be_bytes());
    key
}

pub(crate) fn parse_producer_id(key: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(key.get(9..)?.try_into().ok()?))
}

pub(crate) fn group(key: &GroupKey) -> Vec<u8> {
    Key::new(GROUP).str(&key.vhost.0).str(&key.id).into_vec()
}

pub(crate) fn parse_group(key: &[u8]) -> Option<GroupKey> {
    let mut parts = Parts(key.strip_prefix(GROUPS)?);
    let group = GroupKey { vhost: parts.str()?.into(), id: parts.str()?.into() };
    parts.0.is_empty().then_some(group)
}

pub(crate) fn group_config(key: &GroupKey) -> Vec<u8> {
    Key::new(GROUP_CONFIG).str(&key.vhost.0).str(&key.id).into_vec()
}

pub(crate) fn parse_group_config(key: &[u8]) -> Option<GroupKey> {
    let mut parts = Parts(key.strip_prefix(GROUP_CONFIGS)?);
    let group = GroupKey { vhost: parts.str()?.into(), id: parts.str()?.into() };
    parts.0.is_empty().then_some(group)
}

pub(crate) fn group_member(key: &GroupKey, member: &MemberId) -> Vec<u8> {
    Key::new(GROUP_MEMBER).str(&key.vhost.0).str(&key.id).str(&member.0).into_vec()
}

pub(crate) fn parse_group_member(key: &[u8]) -> Option<(GroupKey, MemberId)> {
    let mut parts = Parts(key.strip_prefix(GROUP_MEMBERS)?);
    let group = GroupKey { vhost: parts.str()?.into(), id: parts.str()?.into() };
    let member = MemberId::from(parts.str()?);
    parts.0.is_empty().then_some((group, member))
}

pub(crate) fn transaction(key: &TransactionalId) -> Vec<u8> {
    Key::new(TRANSACTION).str(&key.vhost.0).str(&key.id).into_vec()
}

pub(crate) fn parse_transaction(key: &[u8]) -> Option<TransactionalId> {
    let mut parts = Parts(key.strip_prefix(TRANSACTIONS)?);
    let id = TransactionalId { vhost: parts.str()?.into(), id: parts.str()?.into() };
    parts.0.is_empty().then_some(id)
}

pub(crate) fn committed_offset(key: &GroupKey, at: TopicPartition) -> Vec<u8> {
    of_partition(COMMITTED_OFFSET, key, at)
}

pub(crate) fn share_partition(key: &GroupKey, at: TopicPartition) -> Vec<u8> {
    of_partition(SHARE_PARTITION, key, at)
}

fn of_partition(kind: u8, key: &GroupKey, at: TopicPartition) -> Vec<u8> {
    let mut out = Key::new(kind).str(&key.vhost.0).str(&key.id).into_vec();
    out.put_slice(at.topic.as_bytes());
    out.put_i32(at.partition);
    out
}

pub(crate) fn parse_committed_offset(key: &[u8]) -> Option<(GroupKey, TopicPartition)> {
    parse_of_partition(COMMITTED_OFFSETS, key)
}

pub(crate) fn parse_share_partition(key: &[u8]) -> Option<(GroupKey, TopicPartition)> {
    parse_of_partition(SHARE_PARTITIONS, key)
}

fn parse_of_partition(kind: &[u8], key: &[u8]) -> Option<(GroupKey, TopicPartition)> {
    let mut parts = Parts(key.strip_prefix(kind)?);
    let group = GroupKey { vhost: parts.str()?.into(), id: parts.str()?.into() };
    let topic = Uuid::from_slice(parts.bytes(16)?).ok()?;
    let partition = i32::from_be_bytes(parts.0.try_into().ok()?);
    Some((group, TopicPartition { topic, partition }))
}

/// Writes a value, field by field.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, n: u8) {
        self.0.put_u8(n);
    }

    pub(crate) fn i16(&mut self, n: i16) {
        self.0.put_i16(n);
    }

    pub(crate) fn u32(&mut self, n: u32) {
        self.0.put_u32(n);
    }

    pub(crate) fn i32(&mut self, n: i32) {
        self.0.put_i32(n);
    }

    pub(crate) fn u64(&mut self, n: u64) {
        self.0.put_u64(n);
    }

    pub(crate) fn i64(&mut self, n: i64) {
        self.0.put_i64(n);
    }

    pub(crate) fn uuid(&mut self, id: Uuid) {
        self.0.put_slice(id.as_bytes());
    }

    pub(crate) fn partition(&mut self, at: TopicPartition) {
        self.uuid(at.topic);
        self.i32(at.partition);
    }

    pub(crate) fn millis(&mut self, duration: Duration) {
        self.u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    /// A length or a count; everything here is bounded far below 4 Gi.
    pub(crate) fn count(&mut self, n: usize) {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.put_slice(bytes);
    }

    /// Names with their values.
    pub(crate) fn pairs<'n, 'v>(&mut self, pairs: impl Iterator<Item = (&'n str, &'v str)>) {
        let pairs: Vec<_> = pairs.collect();
        self.count(pairs.len());
        for (name, value) in pairs {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
    }

    pub(crate) fn optional(&mut self, bytes: Option<&[u8]>) {
        self.u8(bytes.is_some().into());
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a value back; `None` as soon as it is not what a [`Writer`] wrote.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(value: Bytes) -> Self {
        Self(value)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.0.try_get_u32().ok()
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.0.try_get_u64().ok()
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.0.try_get_i64().ok()
    }

    pub(crate) fn pairs(&mut self) -> Option<Vec<(String, String)>> {
        let mut pairs = Vec::new();
        for _ in 0..self.u32()? {
            pairs.push((self.string()?, self.string()?));
        }
        Some(pairs)
    }

    pub(crate) fn partition(&mut self) -> Option<TopicPartition> {
        Some(TopicPartition { topic: self.uuid()?, partition: self.i32()? })
    }

    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        self.take(16).and_then(|bytes| Uuid::from_slice(&bytes).ok())
    }

    pub(crate) fn millis(&mut self) -> Option<Duration> {
        self.u64().map(Duration::from_millis)
    }

    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        self.bytes().and_then(|b| String::from_utf8(b.into()).ok())
    }

    pub(crate) fn optional_string(&mut self) -> Option<Option<String>> {
        match self.u8()? {
            0 => Some(None),
            _ => self.string().map(Some),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_sort_as_their_numbers() {
        let key = GroupKey { vhost: "/v".into(), id: "g-ü".into() };
        let at = TopicPartition { topic: Uuid::from_u128(9), partition: 3 };
        assert_eq!(parse_group(&group(&key)), Some(key.clone()));
        let member = MemberId::from("m");
        assert_eq!(parse_group_member(&group_member(&key, &member)), Some((key.clone(), member)));
        assert_eq!(parse_committed_offset(&committed_offset(&key, at)), Some((key, at)));
        assert_eq!(parse_dropped_partition(&dropped_partition(PartitionId(5))), Some(PartitionId(5)));
        assert_eq!(parse_batch_base(&batch(PartitionId(1), Offset(256))), Some(Offset(256)));
        assert!(batch(PartitionId(1), Offset(255)) < batch(PartitionId(1), Offset(256)));
        assert!(batch(PartitionId(1), Offset(256)).starts_with(&batches(PartitionId(1))));
    }

    #[test]
    fn a_damaged_key_or_value_is_none() {
        assert_eq!(parse_group(b"g\0\0"), None);
        assert_eq!(parse_committed_offset(b"o\0\0\0\0\xff\xffx"), None);
        let mut r = Reader::new(Bytes::from_static(&[0, 0, 0, 9, 1]));
        assert_eq!(r.bytes(), None);
    }
}
