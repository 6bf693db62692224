//! Batches that Kafka's own Java library wrote (`fixtures/kafka/batches/`, kafka-clients 4.1.1): 40 records at
//! offset 500, in every codec, and the markers of a transaction.

use std::path::Path;

use bytes::Bytes;

use super::{Batch, BatchBuilder, ControlType, Producer};

fn fixture(name: &str) -> Batch {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kafka/batches").join(name);
    let bytes: Bytes = std::fs::read(path.with_extension("bin")).unwrap().into();
    Batch::decode(bytes).unwrap()
}

#[test]
fn batches_of_every_codec_hold_the_records_that_java_put_in() {
    for name in ["none", "gzip", "snappy", "lz4", "zstd", "transactional"] {
        let batch = fixture(name);
        assert_eq!(batch.check_produced(), Ok(()), "{name}");
        let header = batch.header();
        assert_eq!((header.base_offset, header.last_offset(), header.partition_leader_epoch), (500, 539, 3));
        let payload = batch.payload(1 << 20).unwrap();
        for (record, n) in payload.iter().zip(0_i64..) {
            let record = record.unwrap();
            let key = (n % 7 != 0).then(|| format!("key-{n}"));
            let value = (n % 11 != 10).then(|| format!("value {n} value value value value value"));
            assert_eq!((record.offset, record.timestamp), (500 + n, 1_700_000_000_000 + 10 * n), "{name}");
            assert_eq!(record.key, key.as_ref().map(String::as_bytes), "{name}");
            assert_eq!(record.value, value.as_ref().map(String::as_bytes), "{name}");
            let mark = format!("x{n}");
            let headers = [("h", Some(mark.as_bytes())), ("n", None)];
            let expected = if n % 5 == 0 { &headers[..] } else { &[] };
            assert_eq!(record.headers().collect::<Vec<_>>(), expected, "{name}");
        }
        assert_eq!(payload.iter().count(), 40, "{name}");
    }
}

#[test]
fn our_builder_writes_the_same_bytes_as_java() {
    for (name, transactional) in [("none", false), ("transactional", true)] {
        let java = fixture(name);
        let payload = java.payload(1 << 20).unwrap();
        let mut builder = BatchBuilder::new();
        if transactional {
            builder = builder.producer(Producer { id: 77, epoch: 2, base_sequence: 9 }).transactional();
        }
        for record in &payload {
            let record = record.unwrap();
            let headers: Vec<_> = record.headers().collect();
            builder.push(record.timestamp, record.key, record.value, headers);
        }
        assert_eq!(builder.build().stamped(500, 3), java, "{name}");
    }
}

#[test]
fn our_transaction_markers_are_javas() {
    for (name, kind) in [("commit", ControlType::Commit), ("abort", ControlType::Abort)] {
        let producer = Producer { id: 77, epoch: 2, base_sequence: -1 };
        let ours = BatchBuilder::control(kind, producer, 4, 1_700_000_000_999).stamped(540, 3);
        assert_eq!(ours, fixture(name), "{name}");
    }
}
