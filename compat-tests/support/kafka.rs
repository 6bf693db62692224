//! A small blocking Kafka client: CreateTopics v2, Produce v7, Fetch v4 and ListOffsets v1 on one connection, and raw
//! frames for bad input. Requests may be pipelined; answers come in order.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    correlation: i32,
}

/// What Produce answered for the one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Produced {
    pub error: i16,
    pub base_offset: i64,
}

/// What Fetch answered for the one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub error: i16,
    pub high_watermark: i64,
    /// From the first batch that holds the asked offset.
    pub records: Vec<Record>,
}

/// A record as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// Key and value of a record that is to be sent.
pub(crate) type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, correlation: 0 })
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// One frame: four bytes of length before it.
    pub(crate) fn send_frame(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut frame = i32_of(payload.len()).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// The next answer, its length removed.
    pub(crate) fn receive_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }

    /// Sends a request with header v1 and returns its correlation id.
    fn send(&mut self, key: i16, version: i16, body: &[u8]) -> io::Result<i32> {
        self.correlation += 1;
        let mut request = Vec::with_capacity(body.len() + 16);
        request.extend_from_slice(&key.to_be_bytes());
        request.extend_from_slice(&version.to_be_bytes());
        request.extend_from_slice(&self.correlation.to_be_bytes());
        string(&mut request, "crash");
        request.extend_from_slice(body);
        self.send_frame(&request)?;
        Ok(self.correlation)
    }

    fn receive(&mut self, correlation: i32) -> io::Result<Answer> {
        let mut answer = Answer { bytes: self.receive_frame()?, at: 0 };
        assert_eq!(answer.i32(), correlation, "answers come in the order of the requests");
        Ok(answer)
    }

    /// Creates a topic of one partition; "already there" is fine.
    pub(crate) fn create_topic(&mut self, topic: &str) -> io::Result<()> {
        self.create_topic_of(topic, 1)
    }

    /// As [`Client::create_topic`], of so many partitions.
    pub(crate) fn create_topic_of(&mut self, topic: &str, partitions: i32) -> io::Result<()> {
        self.create_configured_topic(topic, partitions, &[])
    }

    /// As [`Client::create_topic_of`], with configs.
    pub(crate) fn create_configured_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> io::Result<()> {
        let mut body = 1_i32.to_be_bytes().to_vec();
        string(&mut body, topic);
        body.extend_from_slice(&partitions.to_be_bytes());
        body.extend_from_slice(&1_i16.to_be_bytes());
        // No assignments.
        body.extend_from_slice(&0_i32.to_be_bytes());
        body.extend_from_slice(&i32_of(configs.len()).to_be_bytes());
        for (name, value) in configs {
            string(&mut body, name);
            string(&mut body, value);
        }
        body.extend_from_slice(&10_000_i32.to_be_bytes());
        body.push(0);
        let correlation = self.send(19, 2, &body)?;
        let mut answer = self.receive(correlation)?;
        let _throttle_ms = answer.i32();
        assert_eq!(answer.i32(), 1);
        let _name = answer.string();
        match answer.i16() {
            0 | TOPIC_ALREADY_EXISTS => Ok(()),
            error => Err(io::Error::other(format!("CreateTopics answers error {error}"))),
        }
    }

    /// Sends one batch with acks=all; the answer is for `produced`.
    pub(crate) fn produce(&mut self, topic: &str, values: &[Vec<u8>]) -> io::Result<i32> {
        self.produce_batch(topic, 0, &batch(values))
    }

    /// As [`Client::produce`], a batch that is made already, to any partition.
    pub(crate) fn produce_batch(&mut self, topic: &str, partition: i32, batch: &[u8]) -> io::Result<i32> {
        let mut body = (-1_i16).to_be_bytes().to_vec();
        body.extend_from_slice(&(-1_i16).to_be_bytes());
        body.extend_from_slice(&10_000_i32.to_be_bytes());
        body.extend_from_slice(&1_i32.to_be_bytes());
        string(&mut body, topic);
        body.extend_from_slice(&1_i32.to_be_bytes());
        body.extend_from_slice(&partition.to_be_bytes());
        body.extend_from_slice(&i32_of(batch.len()).to_be_bytes());
        body.extend_from_slice(batch);
        self.send(0, 7, &body)
    }

    pub(crate) fn produced(&mut self, correlation: i32) -> io::Result<Produced> {
        let mut answer = self.receive(correlation)?;
        assert_eq!(answer.i32(), 1);
        let _topic = answer.string();
        assert_eq!(answer.i32(), 1);
        let _partition = answer.i32();
        Ok(Produced { error: answer.i16(), base_offset: answer.i64() })
    }

    /// Whole batches from the one that holds `offset` on, at most about 4 MiB, without waiting.
    pub(crate) fn fetch(&mut self, topic: &str, offset: i64) -> io::Result<Fetched> {
        self.fetch_from(topic, 0, offset)
    }

    /// As [`Client::fetch`], of any partition.
    pub(crate) fn fetch_from(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<Fetched> {
        self.fetch_at(topic, partition, offset, 0)
    }

    /// As [`Client::fetch`], once there is something, or after so long.
    pub(crate) fn fetch_waiting(&mut self, topic: &str, offset: i64, wait_ms: i32) -> io::Result<Fetched> {
        self.fetch_at(topic, 0, offset, wait_ms)
    }

    fn fetch_at(&mut self, topic: &str, partition: i32, offset: i64, wait_ms: i32) -> io::Result<Fetched> {
        let mut body = (-1_i32).to_be_bytes().to_vec();
        body.extend_from_slice(&wait_ms.to_be_bytes());
        body.extend_from_slice(&i32::from(wait_ms > 0).to_be_bytes());
        body.extend_from_slice(&(4_i32 << 20).to_be_bytes());
        body.push(0);
        body.extend_from_slice(&1_i32.to_be_bytes());
        string(&mut body, topic);
        body.extend_from_slice(&1_i32.to_be_bytes());
        body.extend_from_slice(&partition.to_be_bytes());
        body.extend_from_slice(&offset.to_be_bytes());
        body.extend_from_slice(&(4_i32 << 20).to_be_bytes());
        let correlation = self.send(1, 4, &body)?;
        let mut answer = self.receive(correlation)?;
        let _throttle_ms = answer.i32();
        assert_eq!(answer.i32(), 1);
        let _topic = answer.string();
        assert_eq!((answer.i32(), answer.i32()), (1, partition));
        let error = answer.i16();
        let high_watermark = answer.i64();
        let _last_stable_offset = answer.i64();
        for _ in 0..answer.i32().max(0) {
            // Aborted transactions: producer id, first offset.
            let _ = (answer.i64(), answer.i64());
        }
        let length = answer.i32().max(0);
        let records = records(&mut answer, usize::try_from(length).unwrap_or(0));
        Ok(Fetched { error, high_watermark, records })
    }

    /// Every value of a topic's first partition; none when there is no such topic.
    pub(crate) fn values(&mut self, topic: &str) -> io::Result<Vec<String>> {
        let mut values: Vec<String> = Vec::new();
        let mut next = 0;
        loop {
            let records = self.fetch(topic, next)?.records;
            let Some(last) = records.last() else { return Ok(values) };
            let new = records.iter().filter(|record| record.offset >= next);
            let text = |record: &Record| {
                String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
            };
            values.extend(new.map(text));
            next = last.offset + 1;
        }
    }

    /// The log's end.
    pub(crate) fn latest_offset(&mut self, topic: &str) -> io::Result<i64> {
        let mut body = (-1_i32).to_be_bytes().to_vec();
        body.extend_from_slice(&1_i32.to_be_bytes());
        string(&mut body, topic);
        body.extend_from_slice(&1_i32.to_be_bytes());
        body.extend_from_slice(&0_i32.to_be_bytes());
        body.extend_from_slice(&(-1_i64).to_be_bytes());
        let correlation = self.send(2, 1, &body)?;
        let mut answer = self.receive(correlation)?;
        assert_eq!(answer.i32(), 1);
        let _topic = answer.string();
        assert_eq!((answer.i32(), answer.i32(), answer.i16()), (1, 0, 0));
        let _timestamp = answer.i64();
        Ok(answer.i64())
    }
}

/// A cursor over an answer; a short one fails the test.
struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let bytes = self.bytes[self.at..self.at + N].try_into().expect("N bytes");
        self.at += N;
        bytes
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    fn string(&mut self) -> String {
        let length = usize::try_from(self.i16()).unwrap_or(0);
        let text = String::from_utf8_lossy(&self.bytes[self.at..self.at + length]).into_owned();
        self.at += length;
        text
    }

    /// Bytes with their length before them; none for a negative one.
    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.varint()).ok()?;
        let bytes = self.bytes[self.at..self.at + length].to_vec();
        self.at += length;
        Some(bytes)
    }

    /// A zigzag varint.
    fn varint(&mut self) -> i64 {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take();
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
    }
}

/// The records of whole uncompressed batches; a cut last batch is left out.
fn records(answer: &mut Answer, length: usize) -> Vec<Record> {
    let end = answer.at + length;
    let mut records = Vec::new();
    while answer.at + BATCH_HEADER_BYTES <= end {
        let base_offset = answer.i64();
        let batch_end = answer.at + 4 + usize::try_from(answer.i32()).expect("a length");
        if batch_end > end {
            break;
        }
        let _leader_epoch = answer.i32();
        assert_eq!(answer.take(), [2_u8], "record batches are of magic 2");
        let crc = u32::from_be_bytes(answer.take());
        assert_eq!(crc32c::crc32c(&answer.bytes[answer.at..batch_end]), crc, "the batch's checksum holds");
        // Attributes, last offset delta, two timestamps, producer id and epoch, base sequence.
        answer.at += 2 + 4 + 8 + 8 + 8 + 2 + 4;
        for _ in 0..answer.i32() {
            let length = usize::try_from(answer.varint()).expect("a length");
            let record_end = answer.at + length;
            answer.at += 1;
            let _timestamp_delta = answer.varint();
            let offset = base_offset + answer.varint();
            records.push(Record { offset, key: answer.bytes(), value: answer.bytes() });
            answer.at = record_end;
        }
        answer.at = batch_end;
    }
    records
}

/// A record batch v2 of keyless values, without a producer id.
pub(crate) fn batch(values: &[Vec<u8>]) -> Vec<u8> {
    let keyless: Vec<Pair> = values.iter().map(|value| (None, Some(value.clone()))).collect();
    batch_of(&keyless)
}

/// As [`batch`], of records with keys, and without values where they have none.
pub(crate) fn batch_of(pairs: &[Pair]) -> Vec<u8> {
    let mut body = 0_i16.to_be_bytes().to_vec();
    body.extend_from_slice(&(i32_of(pairs.len()) - 1).to_be_bytes());
    // As of now: what is older than a topic keeps is removed from under a test that lasts.
    for timestamp in [warrenmq::clock::Clock::machine().now_ms(); 2] {
        body.extend_from_slice(&timestamp.to_be_bytes());
    }
    body.extend_from_slice(&(-1_i64).to_be_bytes());
    body.extend_from_slice(&(-1_i16).to_be_bytes());
    body.extend_from_slice(&(-1_i32).to_be_bytes());
    body.extend_from_slice(&i32_of(pairs.len()).to_be_bytes());
    for (delta, (key, value)) in pairs.iter().enumerate() {
        let mut record = vec![0];
        varint(&mut record, 0);
        varint(&mut record, i64::from(i32_of(delta)));
        for bytes in [key, value] {
            let length = bytes.as_ref().map_or(-1, |bytes| i64::from(i32_of(bytes.len())));
            varint(&mut record, length);
            record.extend_from_slice(bytes.as_deref().unwrap_or_default());
        }
        varint(&mut record, 0);
        varint(&mut body, i64::from(i32_of(record.len())));
        body.extend_from_slice(&record);
    }
    let mut batch = 0_i64.to_be_bytes().to_vec();
    // Leader epoch, magic and checksum count too.
    batch.extend_from_slice(&i32_of(4 + 1 + 4 + body.len()).to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
    batch.extend_from_slice(&body);
    batch
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&i16::try_from(text.len()).expect("a short string").to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn i32_of(length: usize) -> i32 {
    i32::try_from(length).expect("tests send small requests")
}

const TOPIC_ALREADY_EXISTS: i16 = 36;
const BATCH_HEADER_BYTES: usize = 61;
