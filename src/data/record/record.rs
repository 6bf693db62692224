//! The records inside a batch: reading them one by one without a copy, and writing one.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! key length varint (-1 = null) | key | value length varint (-1 = null) | value
//! header count varint | { name length varint | name | value length varint (-1 = null) | value }…
//! ```

use bytes::{BufMut, Bytes};
use nom::{
    IResult, Parser,
    bytes::complete::take,
    error::{Error, ErrorKind},
    number::complete::be_i8,
};

use super::{
    BatchError, BatchHeader,
    varint::{put_varint, put_varlong, varint, varlong, varlong_len},
};

/// The uncompressed records of one batch.
#[derive(Debug, Clone)]
pub struct Payload {
    header: BatchHeader,
    bytes: Bytes,
}

impl Payload {
    pub(super) fn new(header: BatchHeader, bytes: Bytes) -> Self {
        Self { header, bytes }
    }

    /// The records in order, lazily; ends after the first error. That the batch has as many records as it says
    /// is part of what is checked.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records { header: &self.header, rest: &self.bytes, next: 0 }
    }

    /// A part of a record as a slice that shares the payload's bytes.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    /// One of the records, to be found again ([`Payload::record`]) without being read again.
    #[must_use]
    pub fn locate(&self, record: &Record<'_>) -> Located {
        let part = |part: &[u8]| {
            let from = (part.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
            Part { from, len: part.len() }
        };
        Located {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(part),
            value: record.value.map(part),
            header_count: record.header_count,
            headers: part(record.header_bytes),
        }
    }

    /// A record that was located here.
    #[must_use]
    pub fn record(&self, at: &Located) -> Record<'_> {
        let part = |part: &Part| self.bytes.get(part.from..).and_then(|rest| rest.get(..part.len));
        Record {
            offset: at.offset,
            timestamp: at.timestamp,
            key: at.key.as_ref().and_then(part),
            value: at.value.as_ref().and_then(part),
            header_count: at.header_count,
            header_bytes: part(&at.headers).unwrap_or_default(),
        }
    }

    /// Whether the timestamps are the broker's.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.header.attributes.is_log_append_time()
    }

    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl<'a> IntoIterator for &'a Payload {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// One record. Key, value and headers lie in the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    header_count: i32,
    header_bytes: &'a [u8],
}

/// A record without its bytes: where in their payload they lie.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    offset: i64,
    timestamp: i64,
    key: Option<Part>,
    value: Option<Part>,
    header_count: i32,
    headers: Part,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    from: usize,
    len: usize,
}

impl<'a> Record<'a> {
    /// A record without key and headers, as something other than a batch may hold it.
    #[must_use]
    pub fn plain(offset: i64, timestamp: i64, value: Option<&'a [u8]>) -> Self {
        Self { offset, timestamp, key: None, value, header_count: 0, header_bytes: &[] }
    }

    /// The headers in order: name and value.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone + use<'a> {
        let mut rest = self.header_bytes;
        (0..self.header_count).map_while(move |_| {
            let (after, header) = record_header(rest).ok()?;
            rest = after;
            Some(header)
        })
    }
}

/// Iterator over the records of a [`Payload`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    header: &'a BatchHeader,
    rest: &'a [u8],
    next: i32,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.header.record_count {
            let left = !std::mem::take(&mut self.rest).is_empty();
            return left.then_some(Err(BatchError::Record(self.next)));
        }
        if let Ok((rest, record)) = record(self.rest, self.header) {
            self.rest = rest;
            self.next += 1;
            Some(Ok(record))
        } else {
            let at = std::mem::replace(&mut self.next, i32::MAX);
            self.rest = &[];
            Some(Err(BatchError::Record(at)))
        }
    }
}

fn record<'a>(input: &'a [u8], batch: &BatchHeader) -> IResult<&'a [u8], Record<'a>> {
    let (rest, body) = sized(input)?;
    let body = body.ok_or_else(|| malformed(input))?;
    // One after the other: as a tuple of parsers it takes twice as long.
    let (body, _attributes) = be_i8(body)?;
    let (body, timestamp_delta) = varlong(body)?;
    let (body, offset_delta) = varint(body)?;
    let (body, key) = sized(body)?;
    let (body, value) = sized(body)?;
    let (body, header_count) = varint(body)?;
    if header_count < 0 || offset_delta < 0 || offset_delta > batch.last_offset_delta {
        return Err(malformed(input));
    }
    let mut after = body;
    for _ in 0..header_count {
        after = record_header(after)?.0;
    }
    if !after.is_empty() {
        return Err(malformed(input));
    }
    let timestamp = if batch.attributes.is_log_append_time() {
        batch.max_timestamp
    } else {
        batch.base_timestamp.wrapping_add(timestamp_delta)
    };
    let offset = batch.base_offset.wrapping_add(offset_delta.into());
    Ok((rest, Record { offset, timestamp, key, value, header_count, header_bytes: body }))
}

fn record_header(input: &[u8]) -> IResult<&[u8], (&str, Option<&[u8]>)> {
    let (rest, (name, value)) = (sized, sized).parse(input)?;
    let name = name.and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(|| malformed(input))?;
    Ok((rest, (name, value)))
}

/// Bytes with a varint length before them; -1 is null.
fn sized(input: &[u8]) -> IResult<&[u8], Option<&[u8]>> {
    let (rest, length) = varint(input)?;
    match usize::try_from(length) {
        Ok(length) => take(length).map(Some).parse(rest),
        Err(_) if length == -1 => Ok((rest, None)),
        Err(_) => Err(malformed(input)),
    }
}

fn malformed(input: &[u8]) -> nom::Err<Error<&[u8]>> {
    nom::Err::Error(Error::new(input, ErrorKind::Verify))
}

/// What one record is written from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft<'a, H> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: H,
}

impl<'a, H: Iterator<Item = (&'a str, Option<&'a [u8]>)> + Clone> Draft<'a, H> {
    /// Writes the record with its length.
    pub(super) fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, length_of(self.body_len()));
        out.put_i8(0);
        put_varlong(out, self.timestamp_delta);
        put_varint(out, self.offset_delta);
        put_sized(out, self.key);
        put_sized(out, self.value);
        put_varint(out, length_of(self.headers.clone().count()));
        for (name, value) in self.headers.clone() {
            put_sized(out, Some(name.as_bytes()));
            put_sized(out, value);
        }
    }

    fn body_len(&self) -> usize {
        let headers: usize = self
            .headers
            .clone()
            .map(|(name, value)| sized_len(Some(name.as_bytes())) + sized_len(value))
            .sum();
        let count = varlong_len(length_of(self.headers.clone().count()).into());
        let deltas = varlong_len(self.timestamp_delta) + varlong_len(self.offset_delta.into());
        1 + deltas + sized_len(self.key) + sized_len(self.value) + count + headers
    }
}

fn put_sized(out: &mut impl BufMut, part: Option<&[u8]>) {
    match part {
        Some(bytes) => {
            put_varint(out, length_of(bytes.len()));
            out.put_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn sized_len(part: Option<&[u8]>) -> usize {
    match part {
        Some(bytes) => varlong_len(length_of(bytes.len()).into()) + bytes.len(),
        None => 1,
    }
}

fn length_of(n: usize) -> i32 {
    i32::try_from(n).expect("bodies, headers and frames are limited far below 2 GiB by every door")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::record::{Batch, BatchBuilder};

    #[test]
    fn records_come_back_as_they_were_written() {
        let mut builder = BatchBuilder::new();
        builder.push(1_000, Some(b"k"), Some(b"v"), [("h", Some(&b"1"[..])), ("h", None)]);
        builder.push(900, None, None, []);
        builder.push(2_000, Some(b""), Some(&[7; 300]), [("", Some(&b""[..]))]);
        let batch = builder.build().stamped(50, 0);
        let payload = batch.payload(1 << 20).unwrap();
        let records: Vec<_> = payload.iter().map(Result::unwrap).collect();
        let seen: Vec<_> = records.iter().map(|r| (r.offset, r.timestamp, r.key, r.value)).collect();
        assert_eq!(
            seen,
            [
                (50, 1_000, Some(&b"k"[..]), Some(&b"v"[..])),
                (51, 900, None, None),
                (52, 2_000, Some(&b""[..]), Some(&[7; 300][..])),
            ]
        );
        assert_eq!(records[0].headers().collect::<Vec<_>>(), [("h", Some(&b"1"[..])), ("h", None)]);
        assert_eq!(records[2].headers().collect::<Vec<_>>(), [("", Some(&b""[..]))]);
        assert_eq!(payload.share(records[0].key.unwrap()), "k");
        assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (1_000, 2_000));
    }

    #[test]
    fn a_batch_with_more_or_fewer_records_than_it_says_is_malformed() {
        let mut builder = BatchBuilder::new();
        builder.push(0, None, Some(b"a"), []);
        builder.push(0, None, Some(b"b"), []);
        let good = builder.build();
        for (count, at) in [(1, 1), (3, 2)] {
            let mut bytes = good.bytes().to_vec();
            bytes[57..61].copy_from_slice(&i32::to_be_bytes(count));
            let payload = Batch::decode(bytes.into()).unwrap().payload(1 << 20).unwrap();
            let last = payload.iter().last().unwrap();
            assert_eq!(last, Err(BatchError::Record(at)));
            assert_eq!(payload.iter().count(), usize::try_from(at).unwrap() + 1);
        }
    }
}
