//! Makes record batches: for what arrives over AMQP, for the outputs of stream jobs, for transaction markers.
//!
//! Uncompressed, CreateTime; the committer gives the offset ([`Batch::stamped_parts`]).

use bytes::{BufMut, Bytes, BytesMut};

use super::{Attributes, Batch, BatchHeader, HEADER_BYTES, record::Draft};

/// Who wrote a batch, for idempotence and transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

impl Producer {
    /// A batch that nobody deduplicates.
    pub const NONE: Self = Self { id: -1, epoch: -1, base_sequence: -1 };
}

/// What a control record says of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
}

/// Gathers records into one batch.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    bytes: BytesMut,
    attributes: Attributes,
    producer: Producer,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(0)
    }

    /// With room for so many bytes of records: a batch that stays in memory holds no more than that.
    #[must_use]
    pub fn with_room(records_bytes: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + records_bytes);
        bytes.resize(HEADER_BYTES, 0);
        Self {
            bytes,
            attributes: Attributes::default(),
            producer: Producer::NONE,
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Names the producer.
    #[must_use]
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = producer;
        self
    }

    /// Makes the batch part of its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes.0 |= Attributes::TRANSACTIONAL;
        self
    }

    /// Appends a record.
    pub fn push<'a, H>(&mut self, timestamp: i64, key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: H)
    where
        H: IntoIterator<Item = (&'a str, Option<&'a [u8]>), IntoIter: Clone>,
    {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let headers = headers.into_iter();
        Draft { timestamp_delta, offset_delta: self.count, key, value, headers }.encode(&mut self.bytes);
        self.count += 1;
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The batch, with base offset and leader epoch 0. A batch of no records is legal to read but not to produce.
    #[must_use]
    pub fn build(self) -> Batch {
        let mut bytes = self.bytes;
        let length = bytes.len() - 12;
        let mut header = BatchHeader {
            base_offset: 0,
            batch_length: i32::try_from(length).expect("builders are flushed far below 2 GiB"),
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: (self.count - 1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence: self.producer.base_sequence,
            record_count: self.count,
        };
        write_header(&mut bytes, &header);
        header.crc = crc32c::crc32c(bytes.get(21..).unwrap_or_default());
        write_header(&mut bytes, &header);
        Batch::from_parts(header, bytes.freeze())
    }

    /// The batch that ends a producer's transaction in one partition: key {version 0, type},
    /// value {version 0, coordinator epoch}.
    #[must_use]
    pub fn control(kind: ControlType, producer: Producer, coordinator_epoch: i32, now_ms: i64) -> Batch {
        let mut builder = Self::new().producer(Producer { base_sequence: -1, ..producer }).transactional();
        builder.attributes.0 |= Attributes::CONTROL;
        let mut key = [0; 4];
        let mut out = &mut key[..];
        out.put_i16(0);
        out.put_i16(match kind {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
        });
        let mut value = [0; 6];
        let mut out = &mut value[..];
        out.put_i16(0);
        out.put_i32(coordinator_epoch);
        builder.push(now_ms, Some(&key), Some(&value), []);
        builder.build()
    }
}

fn write_header(bytes: &mut BytesMut, header: &BatchHeader) {
    if let Some(mut place) = bytes.get_mut(..HEADER_BYTES) {
        header.encode(&mut place);
    }
}

/// A batch of one record: for tests and small tools.
#[must_use]
pub fn single(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(timestamp, key, value, []);
    builder.build().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_byte_for_byte_what_kafka_writes() {
        // One record {timestamp 1_000, key "k", value "v"}: laid out by hand from the specification.
        let bytes = single(1_000, Some(b"k"), Some(b"v"));
        let records = [0x10, 0, 0, 0, 2, b'k', 2, b'v', 0];
        assert_eq!(bytes[61..], records);
        let head = "0000000000000000\
                    0000003a\
                    00000000\
                    02";
        assert_eq!(hex(&bytes[..17]), head);
        let tail = "0000\
                    00000000\
                    00000000000003e8\
                    00000000000003e8\
                    ffffffffffffffff\
                    ffff\
                    ffffffff\
                    00000001";
        assert_eq!(hex(&bytes[21..61]), tail);
        assert_eq!(bytes[17..21], crc32c::crc32c(&bytes[21..]).to_be_bytes());
    }

    #[test]
    fn a_control_batch_names_its_transaction_and_its_end() {
        let producer = Producer { id: 7, epoch: 2, base_sequence: 9 };
        let batch = BatchBuilder::control(ControlType::Commit, producer, 4, 1_000);
        let header = batch.header();
        assert!(header.attributes.is_control() && header.attributes.is_transactional());
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 2, -1));
        assert_eq!((header.record_count, header.last_offset_delta), (1, 0));
        let payload = batch.payload(1 << 10).unwrap();
        let record = payload.iter().next().unwrap().unwrap();
        assert_eq!((record.key, record.value), (Some(&[0, 0, 0, 1][..]), Some(&[0, 0, 0, 0, 0, 4][..])));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
