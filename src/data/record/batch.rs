//! The envelope of a record batch: a view of its 61 bytes, what a producer may send, and what the broker patches.
//!
//! ```text
//!  0 base offset i64      8 length i32 (of what follows)   12 partition leader epoch i32   16 magic i8 = 2
//! 17 crc u32 (CRC-32C of all that follows)                 21 attributes i16               23 last offset delta i32
//! 27 base timestamp i64  35 max timestamp i64  43 producer id i64  51 producer epoch i16   53 base sequence i32
//! 57 record count i32    61 records
//! ```
//! Base offset and leader epoch lie outside the checksum so that the broker can set them without touching the rest.

use bytes::{BufMut, Bytes, BytesMut};
use nom::{
    IResult, Parser,
    number::complete::{be_i8, be_i16, be_i32, be_i64, be_u32},
};

use super::{BatchError, compression::Codec, record::Payload};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: what lies before the bytes that the length counts.
const PREFIX_BYTES: usize = 12;
/// Base offset, length and leader epoch: what may change without a new checksum.
const STAMP_BYTES: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const MAGIC: i8 = 2;

/// The fields of a batch before its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the front of `input`.
    pub fn decode(input: &[u8]) -> Result<Self, BatchError> {
        header(input).map(|(_, header)| header).map_err(|_| BatchError::Short)
    }

    /// Writes the 61 bytes.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_i64(self.base_offset);
        out.put_i32(self.batch_length);
        out.put_i32(self.partition_leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes.0);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.record_count);
    }

    /// The offset of the last record; after compaction, of the last record that once was there.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta.into())
    }

    /// The sequence number of the last record; sequences go from `i32::MAX` to 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { add_sequence(self.base_sequence, self.last_offset_delta) }
    }

    /// Bytes of the whole batch, when the stated length is possible.
    pub fn total_bytes(&self) -> Result<usize, BatchError> {
        usize::try_from(self.batch_length)
            .ok()
            .and_then(|length| length.checked_add(PREFIX_BYTES))
            .filter(|&total| total >= HEADER_BYTES)
            .ok_or(BatchError::Length(self.batch_length))
    }
}

/// Moves a sequence number on; after `i32::MAX` comes 0.
#[must_use]
pub fn add_sequence(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

fn header(input: &[u8]) -> IResult<&[u8], BatchHeader> {
    let (input, (base_offset, batch_length, partition_leader_epoch, magic, crc)) =
        (be_i64, be_i32, be_i32, be_i8, be_u32).parse(input)?;
    let (input, (attributes, last_offset_delta, base_timestamp, max_timestamp)) =
        (be_i16.map(Attributes), be_i32, be_i64, be_i64).parse(input)?;
    let (input, (producer_id, producer_epoch, base_sequence, record_count)) =
        (be_i64, be_i16, be_i32, be_i32).parse(input)?;
    let header = BatchHeader {
        base_offset,
        batch_length,
        partition_leader_epoch,
        magic,
        crc,
        attributes,
        last_offset_delta,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count,
    };
    Ok((input, header))
}

/// The attribute bits: 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    pub const LOG_APPEND_TIME: i16 = 1 << 3;
    pub const TRANSACTIONAL: i16 = 1 << 4;
    pub const CONTROL: i16 = 1 << 5;
    pub const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let [_, low] = self.0.to_be_bytes();
        Codec::from_number(low & 7)
    }

    /// Whether the records' timestamps are the broker's (all equal to the batch's max timestamp).
    #[must_use]
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
}

/// One whole batch: its bytes and the header read from them. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Takes bytes that are exactly one batch of magic 2. Reads no record and does not sum them:
    /// see [`Batch::check_produced`].
    pub fn decode(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::decode(&bytes)?;
        if header.magic != MAGIC {
            return Err(BatchError::Magic(header.magic));
        }
        if header.total_bytes()? != bytes.len() {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(Self { header, bytes })
    }

    /// For the builder: `bytes` begin with `header`.
    pub(super) fn from_parts(header: BatchHeader, bytes: Bytes) -> Self {
        Self { header, bytes }
    }

    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch as it is stored and sent.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Compares the checksum.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let summed = self.bytes.get(ATTRIBUTES_AT..).ok_or(BatchError::Short)?;
        let computed = crc32c::crc32c(summed);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum { stated: self.header.crc, computed })
        }
    }

    /// What Kafka asks of the envelope of a batch that a client produces: checksum, a record for every offset, no
    /// control batch, a sequence where there is a producer id.
    pub fn check_produced(&self) -> Result<(), BatchError> {
        let BatchHeader { attributes, record_count, last_offset_delta, .. } = self.header;
        self.check_crc()?;
        if record_count <= 0 || last_offset_delta != record_count - 1 {
            return Err(BatchError::Count { count: record_count, last_offset_delta });
        }
        if attributes.is_control() {
            return Err(BatchError::Control);
        }
        if self.header.producer_id >= 0 && self.header.base_sequence < 0 {
            return Err(BatchError::Sequence(self.header.base_sequence));
        }
        attributes.codec().map(|_| ())
    }

    /// The batch at its place in the log, without a copy of its records: the first 16 bytes anew, and the rest.
    #[must_use]
    pub fn stamped_parts(&self, base_offset: i64, leader_epoch: i32) -> ([u8; STAMP_BYTES], &[u8]) {
        let mut stamp = [0; STAMP_BYTES];
        let mut out = &mut stamp[..];
        out.put_i64(base_offset);
        out.put_i32(self.header.batch_length);
        out.put_i32(leader_epoch);
        (stamp, self.bytes.get(STAMP_BYTES..).unwrap_or_default())
    }

    /// Sets base offset and leader epoch; in place when no one else holds the bytes, else in a copy.
    #[must_use]
    pub fn stamped(self, base_offset: i64, leader_epoch: i32) -> Self {
        let (stamp, _) = self.stamped_parts(base_offset, leader_epoch);
        let header = BatchHeader { base_offset, partition_leader_epoch: leader_epoch, ..self.header };
        let mut bytes = into_mut(self.bytes);
        overwrite(&mut bytes, 0, &stamp);
        Self { header, bytes: bytes.freeze() }
    }

    /// Gives all records the broker's time (`message.timestamp.type=LogAppendTime`) and sums them anew.
    #[must_use]
    pub fn with_log_append_time(self, now_ms: i64) -> Self {
        self.with_times(true, now_ms)
    }

    /// Says whose time the records have and which is the latest. Sums them anew if that is not what the batch says.
    #[must_use]
    pub fn with_times(self, log_append_time: bool, max_timestamp: i64) -> Self {
        let bit = Attributes::LOG_APPEND_TIME;
        let attributes = self.header.attributes.0;
        let attributes = Attributes(if log_append_time { attributes | bit } else { attributes & !bit });
        if (attributes, max_timestamp) == (self.header.attributes, self.header.max_timestamp) {
            return self;
        }
        let mut bytes = into_mut(self.bytes);
        overwrite(&mut bytes, ATTRIBUTES_AT, &attributes.0.to_be_bytes());
        overwrite(&mut bytes, MAX_TIMESTAMP_AT, &max_timestamp.to_be_bytes());
        let crc = crc32c::crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default());
        overwrite(&mut bytes, CRC_AT, &crc.to_be_bytes());
        let header = BatchHeader { attributes, max_timestamp, crc, ..self.header };
        Self { header, bytes: bytes.freeze() }
    }

    /// The same with other records, which are already as `codec` says.
    #[must_use]
    pub fn with_records(&self, codec: Codec, record_count: i32, records: &[u8]) -> Self {
        let length = HEADER_BYTES - PREFIX_BYTES + records.len();
        let attributes = Attributes(self.header.attributes.0 & !7 | i16::from(codec.number()));
        let batch_length = i32::try_from(length).expect("payloads are limited far below 2 GiB");
        let header = BatchHeader { batch_length, record_count, attributes, ..self.header };
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + records.len());
        header.encode(&mut bytes);
        bytes.put_slice(records);
        let crc = crc32c::crc32c(bytes.get(ATTRIBUTES_AT..).unwrap_or_default());
        overwrite(&mut bytes, CRC_AT, &crc.to_be_bytes());
        Self { header: BatchHeader { crc, ..header }, bytes: bytes.freeze() }
    }

    /// The batch without its records, in the same place: what a reader gets who must not see them. (Kafka's compaction
    /// leaves such batches.)
    #[must_use]
    pub fn emptied(&self) -> Self {
        self.with_records(Codec::None, 0, &[])
    }

    /// The records, decompressed if need be to at most `bytes_max`.
    pub fn payload(&self, bytes_max: usize) -> Result<Payload, BatchError> {
        let records = self.bytes.slice(HEADER_BYTES.min(self.bytes.len())..);
        let records = self.header.attributes.codec()?.decompress(records, bytes_max)?;
        Ok(Payload::new(self.header, records))
    }
}

fn into_mut(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(field) = bytes.get_mut(at..at + with.len()) {
        field.copy_from_slice(with);
    }
}

/// The batches of a record set, in order. Ends after the first error.
///
/// With [`Batches::stored`], a batch cut short at the end is no error but the end, as a consumer must take it
/// (a fetch may cut the last batch).
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    cut_is_end: bool,
}

impl Batches {
    /// The batches of a producer's record set.
    #[must_use]
    pub fn new(record_set: Bytes) -> Self {
        Self { rest: record_set, cut_is_end: false }
    }

    /// The batches of stored or fetched bytes.
    #[must_use]
    pub fn stored(record_set: Bytes) -> Self {
        Self { rest: record_set, cut_is_end: true }
    }

    fn split(&mut self) -> Result<Batch, BatchError> {
        let header = BatchHeader::decode(&self.rest)?;
        if header.magic != MAGIC {
            return Err(BatchError::Magic(header.magic));
        }
        let total = header.total_bytes()?;
        if total > self.rest.len() {
            return Err(BatchError::Short);
        }
        Ok(Batch { header, bytes: self.rest.split_to(total) })
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = self.split();
        if batch.is_err() {
            self.rest = Bytes::new();
        }
        if self.cut_is_end && batch == Err(BatchError::Short) { None } else { Some(batch) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::record::{BatchBuilder, Producer};

    fn batch_of(values: &[&[u8]]) -> Batch {
        let mut builder = BatchBuilder::new();
        for value in values {
            builder.push(1_000, None, Some(value), []);
        }
        builder.build()
    }

    #[test]
    fn a_header_is_61_bytes_and_comes_back() {
        let batch = batch_of(&[b"a", b"b"]);
        let mut out = Vec::new();
        batch.header().encode(&mut out);
        assert_eq!(out, batch.bytes()[..HEADER_BYTES]);
        assert_eq!(BatchHeader::decode(&out), Ok(*batch.header()));
    }

    #[test]
    fn offset_and_epoch_are_set_without_a_new_checksum() {
        let batch = batch_of(&[b"a", b"b"]);
        let shared = batch.bytes().clone();
        let (stamp, rest) = batch.stamped_parts(70, 3);
        let parts = [&stamp[..], rest].concat();
        let stamped = batch.clone().stamped(70, 3);
        assert_eq!(stamped.bytes(), &parts);
        assert_eq!((stamped.header().base_offset, stamped.header().last_offset()), (70, 71));
        assert_eq!(Batch::decode(stamped.bytes().clone()).as_ref(), Ok(&stamped));
        assert_eq!(stamped.check_produced(), Ok(()));
        assert_eq!(batch.bytes(), &shared, "a shared batch is copied, not changed");
    }

    #[test]
    fn an_emptied_batch_keeps_its_place_and_nothing_else() {
        let batch = batch_of(&[b"a", b"b"]).stamped(70, 3);
        let emptied = batch.emptied();
        assert_eq!(Batch::decode(emptied.bytes().clone()).as_ref(), Ok(&emptied));
        assert_eq!((emptied.check_crc(), emptied.header().last_offset()), (Ok(()), 71));
        assert_eq!(emptied.payload(1 << 10).unwrap().iter().count(), 0);
    }

    #[test]
    fn log_append_time_changes_every_timestamp_and_the_checksum() {
        let stamped = batch_of(&[b"a", b"b"]).with_log_append_time(5_000);
        let again = Batch::decode(stamped.bytes().clone()).unwrap();
        assert_eq!((again.header(), again.check_produced()), (stamped.header(), Ok(())));
        assert!(again.header().attributes.is_log_append_time());
        let payload = again.payload(1 << 20).unwrap();
        assert!(payload.iter().all(|r| r.unwrap().timestamp == 5_000));
    }

    #[test]
    fn what_kafka_refuses_of_a_producer_is_refused() {
        let good = batch_of(&[b"a", b"b"]);
        let check = |change: &dyn Fn(&mut BatchHeader), expected: BatchError| {
            let mut header = *good.header();
            change(&mut header);
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            bytes.extend_from_slice(&good.bytes()[HEADER_BYTES..]);
            let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
            bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
            let found = Batch::decode(bytes.into()).and_then(|b| b.check_produced());
            assert_eq!(found, Err(expected));
        };
        check(&|h| h.magic = 1, BatchError::Magic(1));
        check(&|h| h.batch_length += 1, BatchError::Length(good.header().batch_length + 1));
        check(&|h| h.batch_length = -1, BatchError::Length(-1));
        check(&|h| h.attributes.0 |= 7, BatchError::Codec(7));
        check(&|h| h.attributes.0 |= Attributes::CONTROL, BatchError::Control);
        check(&|h| h.record_count = 3, BatchError::Count { count: 3, last_offset_delta: 1 });
        check(&|h| h.last_offset_delta = 0, BatchError::Count { count: 2, last_offset_delta: 0 });
        check(&|h| h.producer_id = 9, BatchError::Sequence(-1));
        let mut torn = good.bytes().to_vec();
        *torn.last_mut().unwrap() ^= 1;
        let torn = Batch::decode(torn.into()).unwrap();
        assert!(matches!(torn.check_produced(), Err(BatchError::Checksum { .. })));
    }

    #[test]
    fn a_record_set_is_split_into_its_batches() {
        let (a, b) = (batch_of(&[b"a"]), batch_of(&[b"b", b"c"]));
        let set: Bytes = [&a.bytes()[..], &b.bytes()[..]].concat().into();
        let split: Result<Vec<_>, _> = Batches::new(set.clone()).collect();
        assert_eq!(split, Ok(vec![a.clone(), b]));
        let cut = set.slice(..set.len() - 1);
        assert_eq!(Batches::stored(cut.clone()).collect::<Result<Vec<_>, _>>(), Ok(vec![a.clone()]));
        assert_eq!(Batches::new(cut).collect::<Vec<_>>(), vec![Ok(a), Err(BatchError::Short)]);
    }

    #[test]
    fn sequences_start_again_at_zero() {
        let mut builder = BatchBuilder::new().producer(Producer { id: 1, epoch: 0, base_sequence: i32::MAX });
        builder.push(0, None, None, []);
        builder.push(0, None, None, []);
        assert_eq!(builder.build().header().last_sequence(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::default() })]
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), fix: bool) {
            if fix && bytes.len() > HEADER_BYTES {
                bytes[16] = 2;
                let length = i32::try_from(bytes.len() - PREFIX_BYTES).unwrap();
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
            }
            for batch in Batches::new(bytes.into()).flatten() {
                let _ = batch.check_produced();
                if let Ok(payload) = batch.payload(1 << 16) {
                    for record in payload.iter().flatten() {
                        let _ = record.headers().count();
                    }
                }
            }
        }
    }
}
