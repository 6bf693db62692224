//! Kafka record batches v2, the form in which every topic and stream keeps its records.
//!
//! [`batch`] is the envelope (61 bytes that the broker reads and patches), [`record`] what is inside, [`builder`]
//! makes batches of our own, [`compression`] opens compressed ones. Nothing here knows of topics or protocols.

pub mod batch;
pub mod builder;
pub mod compression;
mod rebuild;
#[expect(
    clippy::module_inception,
    reason = "a record is the thing inside record batches; both words are Kafka's"
)]
pub mod record;
pub mod varint;

#[cfg(test)]
mod java_tests;

pub use batch::{Attributes, Batch, BatchHeader, Batches, HEADER_BYTES};
pub use builder::{BatchBuilder, ControlType, Producer};
pub use compression::{Codec, Compression};
pub use record::{Located, Payload, Record, Records};

/// What a batch's records may come to when they are decompressed, whoever opens it.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Why bytes are not a record batch, or not one that a producer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("record batch is cut short")]
    Short,
    #[error("Record size {0} is less than the minimum record overhead (14)")]
    Length(i32),
    #[error("Invalid magic found in record: {0}")]
    Magic(i8),
    #[error("record batch checksum does not match: stated {stated:#010x}, computed {computed:#010x}")]
    Checksum { stated: u32, computed: u32 },
    #[error("record batch says {count} records and last offset delta {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("compression codec {0} is unknown")]
    Codec(u8),
    #[error("control batches are not for clients to write")]
    Control,
    #[error("record batch has a producer id and base sequence {0}")]
    Sequence(i32),
    #[error("record {0} of the batch is malformed")]
    Record(i32),
    #[error("compressed records are malformed")]
    Compressed,
    #[error("records are over {0} bytes when decompressed")]
    TooLarge(usize),
    #[error("records in the append should have the base offset 0, and have {0}")]
    BaseOffset(i64),
}
