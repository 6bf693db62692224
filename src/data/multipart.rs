//! A message of several parts as a message with one body, and back.
//!
//! AMQP knows one body and a table of headers; ZeroMQ knows parts. The mapping, both ways:
//!
//! | parts | body | header |
//! |---|---|---|
//! | one | the part | none |
//! | several | the last one | `zmq-parts`: an array with those before it |
//! | several, and those before the last come to more than [`HEADS_BYTES_MAX`] | all of them, one behind the other | `zmq-sizes`: an array with the size of each |
//!
//! The second form exists because a header table must fit into one frame of AMQP, and a part may be of any size.
//! `zmq-parts` may be an empty array: one part, and somebody says so.

use std::{borrow::Cow, ops::Range};

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::{
    field::{
        Properties,
        writer::{length_u32, short_octets},
    },
    value::Value,
};

/// The header with the parts before the last.
pub const PARTS: &str = "zmq-parts";

/// The header with the sizes of all parts, where the body is all of them.
pub const SIZES: &str = "zmq-sizes";

/// What the parts before the last may come to, with `HEAD_BYTES` for each, to be a header.
pub const HEADS_BYTES_MAX: usize = 64 * 1024;

/// Type and length of one array element.
const HEAD_BYTES: usize = 5;

/// What `parts` are besides their body: the contents of a header table. Asked for one part it says that it is one.
#[must_use]
pub fn headers(parts: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    let heads = heads(parts);
    if fits(heads) {
        short_octets(&mut out, PARTS.as_bytes());
        out.put_u8(b'A');
        let bytes: usize = heads.iter().map(|head| HEAD_BYTES + head.len()).sum();
        out.put_u32(length_u32(bytes));
        for head in heads {
            out.put_u8(b'S');
            out.put_u32(length_u32(head.len()));
            out.put_slice(head);
        }
    } else {
        short_octets(&mut out, SIZES.as_bytes());
        out.put_u8(b'A');
        out.put_u32(length_u32(parts.len() * HEAD_BYTES));
        for part in parts {
            out.put_u8(b'i');
            out.put_u32(length_u32(part.len()));
        }
    }
    out
}

/// The body that goes with [`headers`].
#[must_use]
pub fn body<'a>(parts: &[&'a [u8]]) -> Cow<'a, [u8]> {
    match parts {
        [] => Cow::Borrowed(&[]),
        [one] => Cow::Borrowed(one),
        [.., last] if fits(heads(parts)) => Cow::Borrowed(last),
        all => Cow::Owned(all.concat()),
    }
}

fn heads<'p, 'a>(parts: &'p [&'a [u8]]) -> &'p [&'a [u8]] {
    parts.split_last().map_or(&[], |(_, heads)| heads)
}

fn fits(heads: &[&[u8]]) -> bool {
    heads.iter().map(|head| HEAD_BYTES + head.len()).sum::<usize>() <= HEADS_BYTES_MAX
}

/// What a message's headers say of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Nothing: the body is all there is.
    Unsaid,
    /// These come before the body.
    Heads(Vec<Bytes>),
    /// The body is parts of these sizes.
    Sizes(Vec<usize>),
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    Head(&'a [u8]),
    /// So much of the body.
    Body(Range<usize>),
}

impl Parts {
    /// Reads a message's property list. Headers that make no sense for a body of `body_bytes` say nothing.
    #[must_use]
    #[inline]
    pub fn of(properties: &[u8], body_bytes: usize) -> Self {
        match Properties::decode(properties) {
            Ok(Properties { headers: Some(headers), .. }) => Self::of_headers(headers, body_bytes),
            Ok(_) | Err(_) => Self::Unsaid,
        }
    }

    fn of_headers(headers: &[u8], body_bytes: usize) -> Self {
        let array = |name| match super::field::table::find(headers, name) {
            Ok(Some(Value::Array(values))) => Some(values),
            Ok(_) | Err(_) => None,
        };
        if let Some(heads) =
            array(PARTS).and_then(|values| values.iter().map(|value| value.binary().cloned()).collect())
        {
            return Self::Heads(heads);
        }
        let size = |value: Value| usize::try_from(value.integer()?).ok();
        let sizes: Option<Vec<usize>> =
            array(SIZES).and_then(|values| values.into_iter().map(size).collect());
        match sizes {
            Some(sizes) if sum(&sizes) == Some(body_bytes) && !sizes.is_empty() => Self::Sizes(sizes),
            Some(_) | None => Self::Unsaid,
        }
    }

    /// Every part in order, of a body of `body_bytes`.
    pub fn iter(&self, body_bytes: usize) -> impl Iterator<Item = Part<'_>> {
        let (heads, sizes): (&[Bytes], &[usize]) = match self {
            Self::Unsaid => (&[], &[]),
            Self::Heads(heads) => (heads, &[]),
            Self::Sizes(sizes) => (&[], sizes),
        };
        let whole = sizes.is_empty().then_some(body_bytes);
        let bodies = sizes.iter().copied().chain(whole).scan(0, |at, size| {
            let from = *at;
            *at += size;
            Some(Part::Body(from..*at))
        });
        heads.iter().map(|head| Part::Head(head)).chain(bodies)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Unsaid => 1,
            Self::Heads(heads) => heads.len() + 1,
            Self::Sizes(sizes) => sizes.len(),
        }
    }
}

impl Part<'_> {
    /// Its octets.
    #[must_use]
    pub fn octets<'b>(&'b self, body: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Head(head) => head,
            Self::Body(range) => body.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// Parts one behind the other, in one allocation.
#[derive(Debug, Default)]
pub struct Joined {
    bytes: Vec<u8>,
    ends: SmallVec<[usize; 4]>,
}

impl Joined {
    pub fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.ends.push(self.bytes.len());
    }

    /// The parts in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.ends.iter().zip(starts).map(|(&end, start)| self.bytes.get(start..end).unwrap_or_default())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all, and the memory, too, if that is more than `kept_max`.
    pub fn clear(&mut self, kept_max: usize) {
        self.ends.clear();
        self.bytes.clear();
        if self.bytes.capacity() > kept_max {
            self.bytes = Vec::new();
        }
    }
}

fn sum(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let headers = headers(parts);
        let mut properties = BytesMut::new();
        Properties { headers: Some(&headers), ..Properties::default() }.encode(&mut properties);
        let body = body(parts);
        let said = Parts::of(&properties, body.len());
        assert_eq!(said.count(), parts.len());
        said.iter(body.len()).map(|part| part.octets(&body).to_vec()).collect()
    }

    #[test]
    fn large_parts_before_the_last_are_in_the_body() {
        let large = vec![7; HEADS_BYTES_MAX];
        let parts: &[&[u8]] = &[b"a", &large, b""];
        assert_eq!(there_and_back(parts), parts);
        assert_eq!(body(parts).len(), large.len() + 1);
        assert!(headers(parts).len() < 64);
    }

    #[test]
    fn headers_that_do_not_fit_the_body_say_nothing() {
        let large = vec![7; HEADS_BYTES_MAX];
        let headers = headers(&[&large, b"x"]);
        let mut properties = BytesMut::new();
        Properties { headers: Some(&headers), ..Properties::default() }.encode(&mut properties);
        assert_eq!(Parts::of(&properties, 5), Parts::Unsaid);
        assert_eq!(Parts::of(b"no list", 5), Parts::Unsaid);
    }

    proptest! {
        #[test]
        fn parts_come_back_as_they_were(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(there_and_back(&parts), parts);
        }

        #[test]
        fn any_headers_are_read(properties in proptest::collection::vec(any::<u8>(), 0..60), body in 0usize..100) {
            let said = Parts::of(&properties, body);
            let bytes = vec![0; body];
            prop_assert_eq!(said.iter(body).filter(|part| part.octets(&bytes).len() <= 60 + body).count(), said.count());
        }
    }
}
