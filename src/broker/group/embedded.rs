//! The consumer protocol that is embedded in the classic one: what a member's subscription and assignment say.
//!
//! Opaque to a classic group; a consumer group with classic members must read and write both, because it assigns for
//! them. (Kafka's ConsumerProtocolSubscription.json and ConsumerProtocolAssignment.json, versions 0–3; a later version
//! is read as 3.)
//!
//! ```text
//! subscription  version i16 | topics [str] | user data ?bytes | v1: owned [topic str, partitions [i32]]
//!               | v2: generation i32 | v3: rack ?str
//! assignment    version i16 | [topic str, partitions [i32]] | user data ?bytes
//! str: length i16 (-1 is null); bytes and arrays: length i32 (-1 is null)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes};

/// `ConsumerProtocol.PROTOCOL_TYPE` of Kafka.
pub const PROTOCOL_TYPE: &str = "consumer";

const VERSION_MAX: i16 = 3;

/// Topics by name with their partitions.
pub type NamedPartitions = Vec<(String, Vec<i32>)>;

/// What a member subscribes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    pub version: i16,
    pub topics: BTreeSet<String>,
    pub owned: NamedPartitions,
    pub rack: Option<String>,
}

impl Subscription {
    /// `None`: not a subscription.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let r = &mut bytes.clone();
        let version = r.try_get_i16().ok().filter(|v| *v >= 0)?.min(VERSION_MAX);
        let topics = array(r, string)?.into_iter().collect();
        let _user_data = nullable_bytes(r)?;
        let owned = if version >= 1 { array(r, topic_partitions)? } else { Vec::new() };
        let _generation = if version >= 2 { r.try_get_i32().ok()? } else { -1 };
        let rack = if version >= 3 { nullable_string(r)? } else { None };
        Some(Self { version, topics, owned, rack })
    }
}

/// What a member is assigned, and whether an assignor of the client's own put data beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    pub partitions: NamedPartitions,
    pub has_user_data: bool,
}

impl Assignment {
    /// `None`: not an assignment. Nothing at all is an empty one: its member has not synced.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let r = &mut bytes.clone();
        r.try_get_i16().ok().filter(|v| *v >= 0)?;
        let partitions = array(r, topic_partitions)?;
        let user_data = nullable_bytes(r)?;
        Some(Self { partitions, has_user_data: user_data.is_some_and(|data| !data.is_empty()) })
    }

    /// As a member reads it whose subscription has that version.
    #[must_use]
    pub fn encode(version: i16, partitions: &BTreeMap<String, Vec<i32>>) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(version.clamp(0, VERSION_MAX));
        out.put_i32(count(partitions.len()));
        for (topic, numbers) in partitions {
            out.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
            out.put_slice(topic.as_bytes());
            out.put_i32(count(numbers.len()));
            numbers.iter().for_each(|number| out.put_i32(*number));
        }
        out.put_i32(-1);
        out.into()
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn take(r: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= r.len()).then(|| r.split_to(length))
}

fn nullable_string(r: &mut Bytes) -> Option<Option<String>> {
    match r.try_get_i16().ok()? {
        -1 => Some(None),
        length => {
            let bytes = take(r, usize::try_from(length).ok()?)?;
            String::from_utf8(bytes.into()).ok().map(Some)
        }
    }
}

fn string(r: &mut Bytes) -> Option<String> {
    nullable_string(r)?
}

fn nullable_bytes(r: &mut Bytes) -> Option<Option<Bytes>> {
    match r.try_get_i32().ok()? {
        -1 => Some(None),
        length => take(r, usize::try_from(length).ok()?).map(Some),
    }
}

/// Every element is at least two bytes long, so a promise of more of them than there are bytes is a lie.
fn array<T>(r: &mut Bytes, element: impl Fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let length = usize::try_from(r.try_get_i32().ok()?).ok().filter(|n| *n <= r.len())?;
    (0..length).map(|_| element(r)).collect()
}

fn topic_partitions(r: &mut Bytes) -> Option<(String, Vec<i32>)> {
    Some((string(r)?, array(r, |r| r.try_get_i32().ok())?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A subscription as clients write it.
    pub(in crate::broker::group) fn subscription(
        version: i16,
        topics: &[&str],
        owned: &[(&str, &[i32])],
    ) -> Bytes {
        let mut out = Vec::new();
        let put_str = |out: &mut Vec<u8>, s: &str| {
            out.put_i16(i16::try_from(s.len()).unwrap());
            out.put_slice(s.as_bytes());
        };
        out.put_i16(version);
        out.put_i32(count(topics.len()));
        topics.iter().for_each(|t| put_str(&mut out, t));
        out.put_i32(-1);
        if version >= 1 {
            out.put_i32(count(owned.len()));
            for (topic, partitions) in owned {
                put_str(&mut out, topic);
                out.put_i32(count(partitions.len()));
                partitions.iter().for_each(|p| out.put_i32(*p));
            }
        }
        if version >= 2 {
            out.put_i32(7);
        }
        if version >= 3 {
            put_str(&mut out, "rack");
        }
        out.into()
    }

    #[test]
    fn a_subscription_of_every_version_is_read() {
        for version in 0..=4 {
            let read = Subscription::decode(&subscription(version, &["b", "a"], &[("a", &[0, 2])])).unwrap();
            assert_eq!(read.topics, ["a".to_owned(), "b".to_owned()].into());
            let owned = if version >= 1 { vec![("a".to_owned(), vec![0, 2])] } else { Vec::new() };
            assert_eq!((read.owned, read.rack), (owned, (version >= 3).then(|| "rack".to_owned())));
        }
    }

    #[test]
    fn an_assignment_comes_back() {
        let partitions = BTreeMap::from([("t".to_owned(), vec![0, 1]), ("u".to_owned(), vec![])]);
        let read = Assignment::decode(&Assignment::encode(1, &partitions)).unwrap();
        assert_eq!(read.partitions, partitions.into_iter().collect::<Vec<_>>());
        assert!(!read.has_user_data);
        assert_eq!(Assignment::decode(&Bytes::new()), Some(Assignment::default()));
    }

    #[test]
    fn anything_cut_short_is_refused() {
        let whole = subscription(3, &["topic"], &[("topic", &[1, 2, 3])]);
        for length in 0..whole.len() {
            assert_eq!(Subscription::decode(&whole.slice(..length)), None, "{length}");
        }
        assert_eq!(Subscription::decode(&Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff])), None);
        assert_eq!(Assignment::decode(&Bytes::from_static(&[0, 0, 0, 0, 0, 9])), None);
    }
}
