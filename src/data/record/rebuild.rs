//! A batch with some of its records only: what compaction leaves. Its place, its sequence and its producer stay.

use std::io;

use bytes::BytesMut;

use super::{Attributes, Batch, Compression, Record, compression, record::Draft};

impl Batch {
    /// When the marks of deleted keys in this batch may go (KIP-534): with the attribute bit for it, the base timestamp
    /// is that moment.
    #[must_use]
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        let header = self.header();
        (header.attributes.0 & Attributes::DELETE_HORIZON != 0).then_some(header.base_timestamp)
    }

    /// The batch with these of its records. A new horizon moves the base of the timestamps, not the timestamps.
    ///
    /// # Errors
    /// When the records cannot be compressed.
    pub fn rebuilt(&self, records: &[Record<'_>], delete_horizon_ms: Option<i64>) -> io::Result<Self> {
        let mut header = *self.header();
        if let Some(horizon) = delete_horizon_ms {
            header.base_timestamp = horizon;
            header.attributes.0 |= Attributes::DELETE_HORIZON;
        }
        if !header.attributes.is_log_append_time() {
            header.max_timestamp = records.iter().map(|r| r.timestamp).max().unwrap_or(header.max_timestamp);
        }
        let mut payload = BytesMut::new();
        for record in records {
            let offset_delta = i32::try_from(record.offset - header.base_offset).map_err(io::Error::other)?;
            Draft {
                timestamp_delta: record.timestamp.wrapping_sub(header.base_timestamp),
                offset_delta,
                key: record.key,
                value: record.value,
                headers: record.headers(),
            }
            .encode(&mut payload);
        }
        let codec = header.attributes.codec().map_err(io::Error::other)?;
        let level = compression::default_level(codec);
        let packed = Compression { codec, level }.compress(payload.freeze())?;
        let count = i32::try_from(records.len()).map_err(io::Error::other)?;
        Ok(Self::from_parts(header, bytes::Bytes::new()).with_records(codec, count, &packed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::record::{BatchBuilder, Codec, Producer};

    fn seen(batch: &Batch) -> Vec<(i64, i64, String)> {
        let payload = batch.payload(1 << 20).unwrap();
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        payload.iter().map(|r| r.map(|r| (r.offset, r.timestamp, text(r.value))).unwrap()).collect()
    }

    #[test]
    fn what_is_left_keeps_its_offsets_times_headers_and_producer() {
        let producer = Producer { id: 9, epoch: 1, base_sequence: 30 };
        let mut builder = BatchBuilder::new().producer(producer).transactional();
        for n in 0..5 {
            builder.push(1_000 + n, Some(b"k"), Some(n.to_string().as_bytes()), [("h", Some(&b"x"[..]))]);
        }
        let plain = builder.build().stamped(70, 0);
        let gzip = Compression { codec: Codec::Gzip, level: -1 };
        let records = plain.payload(1 << 20).unwrap().bytes().clone();
        let packed = plain.with_records(Codec::Gzip, 5, &gzip.compress(records).unwrap());
        for batch in [plain, packed] {
            let payload = batch.payload(1 << 20).unwrap();
            let some: Vec<Record<'_>> = payload.iter().map(Result::unwrap).skip(1).step_by(2).collect();
            let left = batch.rebuilt(&some, Some(99_000)).unwrap();
            assert_eq!(Batch::decode(left.bytes().clone()), Ok(left.clone()));
            assert_eq!(left.check_crc(), Ok(()));
            assert_eq!(seen(&left), [(71, 1_001, "1".into()), (73, 1_003, "3".into())]);
            let (was, is) = (batch.header(), left.header());
            assert_eq!((is.base_offset, is.last_offset(), is.max_timestamp), (70, 74, 1_003));
            assert_eq!((is.producer_id, is.base_sequence, is.last_sequence()), (9, 30, 34));
            assert_eq!(is.attributes.codec(), was.attributes.codec());
            assert_eq!((batch.delete_horizon_ms(), left.delete_horizon_ms()), (None, Some(99_000)));
            let payload = left.payload(1 << 20).unwrap();
            let first = payload.iter().next().unwrap().unwrap();
            assert_eq!(first.headers().collect::<Vec<_>>(), [("h", Some(&b"x"[..]))]);
        }
    }
}
