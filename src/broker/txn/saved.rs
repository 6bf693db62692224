//! Producers whose batches leave the log before they are forgotten: by retention, DeleteRecords or compaction. What a
//! partition remembers of them is written down apart, so that after a restart too a retry finds its offset, and a gap is
//! a gap. (Kafka's snapshots of producers.)
//!
//! ```text
//! value   epoch i16 | last timestamp i64 | last offset i64 | saved to i64 | its last transaction was ended u8
//!         | batches u32 | batch…
//! batch   base sequence i32 | last sequence i32 | base offset i64 | last offset i64 | timestamp i64
//! ```

use bytes::Bytes;

use super::{
    coordinator::COORDINATOR_EPOCH,
    producer::{Part, ProducedBatch, Producer, Producers},
};
use crate::broker::topic::{
    Offset,
    keys::{Reader, Writer},
};

impl Producers {
    /// What must be written down, by producer id, before anything of those of `which` that lies before `to` may go.
    pub(in crate::broker) fn save(&mut self, to: Offset, which: impl Fn(i64) -> bool) -> Vec<(i64, Vec<u8>)> {
        let mut saved = Vec::new();
        for (id, producer) in self.known.iter_mut().filter(|(id, _)| which(**id)) {
            if producer.has_any_of(producer.saved_to.unwrap_or(Offset(0)), to) {
                producer.saved_to = Some(to);
                saved.push((*id, producer.encode(to)));
            }
        }
        saved
    }

    /// Takes up what was written down, before anything that the log says.
    pub(in crate::broker) fn recover_saved(&mut self, id: i64, value: &Bytes) -> bool {
        let Some(producer) = Producer::decode(id, value) else { return false };
        self.known.insert(id, producer);
        true
    }

    /// Takes up what an entry of the log says of a batch, unless it is known already.
    pub(in crate::broker) fn recover(&mut self, batch: ProducedBatch) {
        if self.known.get(&batch.producer_id).is_none_or(|p| p.last_offset < batch.base_offset) {
            self.on_appended(batch);
        }
    }

    /// Forgets everything; gives the producers that were written down.
    pub(in crate::broker) fn clear(&mut self) -> Vec<i64> {
        self.ongoing.clear();
        std::mem::take(&mut self.known).into_iter().filter_map(|(id, p)| p.saved_to.map(|_| id)).collect()
    }
}

impl Producer {
    fn has_any_of(&self, from: Offset, to: Offset) -> bool {
        let within = |offset: Offset| from <= offset && offset < to;
        within(self.last_offset) || self.batches.iter().any(|batch| within(batch.base_offset))
    }

    /// As it was at `to`: what follows is in the log.
    fn encode(&self, to: Offset) -> Vec<u8> {
        let batches: Vec<&ProducedBatch> = self.batches.iter().filter(|b| b.base_offset < to).collect();
        let last_offset = match batches.last() {
            Some(last) if self.last_offset >= to => last.last_offset,
            Some(_) | None => self.last_offset,
        };
        let mut w = Writer::default();
        w.i16(self.epoch);
        w.i64(self.last_timestamp);
        w.i64(last_offset.0);
        w.i64(to.0);
        w.u8(self.coordinator_epoch.is_some().into());
        w.count(batches.len());
        for batch in batches {
            w.i32(batch.base_sequence);
            w.i32(batch.last_sequence);
            w.i64(batch.base_offset.0);
            w.i64(batch.last_offset.0);
            w.i64(batch.timestamp);
        }
        w.finish()
    }

    fn decode(producer_id: i64, value: &Bytes) -> Option<Self> {
        let r = &mut Reader::new(value.clone());
        let (producer_epoch, last_timestamp) = (r.i16()?, r.i64()?);
        let (last_offset, saved_to) = (Offset(r.i64()?), Some(Offset(r.i64()?)));
        let coordinator_epoch = (r.u8()? != 0).then_some(COORDINATOR_EPOCH);
        let mut batches = std::collections::VecDeque::new();
        for _ in 0..r.u32()? {
            batches.push_back(ProducedBatch {
                producer_id,
                producer_epoch,
                base_sequence: r.i32()?,
                last_sequence: r.i32()?,
                base_offset: Offset(r.i64()?),
                last_offset: Offset(r.i64()?),
                timestamp: r.i64()?,
                part: Part::None,
            });
        }
        let epoch = producer_epoch;
        r.is_done().then_some(Self {
            epoch,
            batches,
            last_timestamp,
            coordinator_epoch,
            last_offset,
            saved_to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(producer_id: i64, sequence: i32, offset: i64, part: Part) -> ProducedBatch {
        ProducedBatch {
            producer_id,
            producer_epoch: 3,
            base_sequence: sequence,
            last_sequence: sequence,
            base_offset: Offset(offset),
            last_offset: Offset(offset),
            timestamp: offset,
            part,
        }
    }

    /// The log: producer 1 at 0 to 6, its marker at 7; producer 2 at 8.
    fn log() -> Vec<ProducedBatch> {
        let ones = (0..7).map(|n| batch(1, i32::try_from(n).unwrap(), n, Part::Data));
        ones.chain([batch(1, -1, 7, Part::Commit), batch(2, 0, 8, Part::None)]).collect()
    }

    #[test]
    fn what_is_saved_and_what_the_log_still_has_are_together_what_was_known() {
        let shown = |producers: &Producers| {
            let mut all: Vec<_> = producers.each().collect();
            all.sort_unstable();
            all
        };
        let remembered = |producers: &Producers| {
            let of = |id: i64| producers.known[&id].batches.iter().map(|batch| batch.base_offset);
            of(1).chain(of(2)).collect::<Vec<_>>()
        };
        for to in 0..=9 {
            let mut before = Producers::default();
            log().into_iter().for_each(|batch| before.on_appended(batch));
            let saved = before.save(Offset(to), |_| true);
            assert_eq!(before.save(Offset(to), |_| true), [], "nothing is saved twice");
            // The entries may go a bite at a time, and the power fail in between.
            for gone in 0..=to {
                let mut after = Producers::default();
                for (id, value) in &saved {
                    assert!(after.recover_saved(*id, &Bytes::copy_from_slice(value)));
                }
                let left = log().into_iter().filter(|batch| batch.base_offset >= Offset(gone));
                left.for_each(|batch| after.recover(batch));
                assert_eq!(shown(&after), shown(&before), "saved to {to}, and {gone} are gone");
                assert_eq!(remembered(&after), remembered(&before), "saved to {to}, and {gone} are gone");
            }
        }
    }

    #[test]
    fn only_what_was_written_down_must_be_removed_with_the_partition() {
        let mut producers = Producers::default();
        log().into_iter().for_each(|batch| producers.on_appended(batch));
        assert_eq!(producers.save(Offset(8), |id| id == 1).len(), 1);
        assert_eq!(producers.clear(), [1]);
        assert!(producers.is_empty());
    }
}
