//! Where the batches of one append lie, and how that is written in the store.
//!
//! ```text
//! value   last offset delta u32 | max timestamp i64 | segment u32 | offset u32 | length u32 | producers u32 | producer… | part…
//! part    of each producer's batch in a transaction u8, all of them or none (then all are of no transaction)
//! producer (one for each batch that has one: recovery needs no chunk)
//!         id i64 | epoch i16 | base sequence i32 | last sequence i32 | base offset i64 | last offset i64 | timestamp i64
//! ```

use bytes::Bytes;

use super::{
    Offset,
    keys::{Reader, Writer},
};
use crate::{
    broker::txn::producer::{Part, ProducedBatch},
    store::Place,
};

/// One append: one chunk of whole batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) base: Offset,
    pub(super) last_offset_delta: u32,
    pub(super) max_timestamp: i64,
    pub(super) place: Place,
}

impl Entry {
    /// The place of an entry that has none yet.
    pub(super) const NOWHERE: Place = Place { segment: 0, offset: 0, len: 0 };

    pub(super) fn last(&self) -> Offset {
        Offset(self.base.0 + i64::from(self.last_offset_delta))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.place.len.into()
    }

    pub(super) fn encode(&self, producers: &[ProducedBatch]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(self.last_offset_delta);
        w.i64(self.max_timestamp);
        w.u32(self.place.segment);
        w.u32(self.place.offset);
        w.u32(self.place.len);
        w.count(producers.len());
        for p in producers {
            w.i64(p.producer_id);
            w.i16(p.producer_epoch);
            w.i32(p.base_sequence);
            w.i32(p.last_sequence);
            w.i64(p.base_offset.0);
            w.i64(p.last_offset.0);
            w.i64(p.timestamp);
        }
        if producers.iter().any(|p| p.part != Part::None) {
            producers.iter().for_each(|p| w.u8(p.part.number()));
        }
        w.finish()
    }

    pub(super) fn decode(base: Offset, value: &Bytes) -> Option<(Self, Vec<ProducedBatch>)> {
        let r = &mut Reader::new(value.clone());
        let (last_offset_delta, max_timestamp) = (r.u32()?, r.i64()?);
        let place = Place { segment: r.u32()?, offset: r.u32()?, len: r.u32()? };
        let mut producers = Vec::new();
        for _ in 0..r.u32()? {
            producers.push(ProducedBatch {
                producer_id: r.i64()?,
                producer_epoch: r.i16()?,
                base_sequence: r.i32()?,
                last_sequence: r.i32()?,
                base_offset: Offset(r.i64()?),
                last_offset: Offset(r.i64()?),
                timestamp: r.i64()?,
                part: Part::None,
            });
        }
        if !r.is_done() {
            for producer in &mut producers {
                producer.part = Part::from_number(r.u8()?)?;
            }
        }
        r.is_done().then_some((Self { base, last_offset_delta, max_timestamp, place }, producers))
    }
}

/// The bytes of one entry in a turn, at most, for `batches` batches.
pub(super) fn entry_bytes_max(batches: usize) -> usize {
    17 + 28 + batches * 47
}

#[cfg(test)]
pub(super) fn entry(base: i64, last: i64, max_timestamp: i64, len: u32) -> Entry {
    let last_offset_delta = u32::try_from(last - base).unwrap();
    let place = Place { segment: 1, offset: u32::try_from(base).unwrap(), len };
    Entry { base: Offset(base), last_offset_delta, max_timestamp, place }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_its_encoding() {
        let produced = ProducedBatch {
            producer_id: 9,
            producer_epoch: 2,
            base_sequence: 5,
            last_sequence: 7,
            base_offset: Offset(40),
            last_offset: Offset(42),
            timestamp: 1_000,
            part: Part::None,
        };
        let e = entry(40, 42, 1_000, 99);
        for part in [Part::None, Part::Data, Part::Commit, Part::Abort] {
            let produced = ProducedBatch { part, ..produced };
            let value = Bytes::from(e.encode(&[produced]));
            assert!(value.len() + 17 <= entry_bytes_max(1));
            assert_eq!(Entry::decode(Offset(40), &value), Some((e, vec![produced])));
            assert_eq!(Entry::decode(Offset(40), &value.slice(1..)), None);
        }
    }
}
