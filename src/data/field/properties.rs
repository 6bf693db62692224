//! The properties of class basic (§1.8), as a content header carries them (§4.2.6.1).
//!
//! What a publisher sent is what a consumer gets: the property flags and list travel as bytes, and [`Properties`] is a
//! view of them that borrows everything and decodes no header table. RabbitMQ does not ask property strings to be
//! UTF-8, so they are octets here.

use bytes::{BufMut, BytesMut};

use super::{Malformed, reader::Reader, table, writer::length_u32, writer::short_octets};
use crate::data::value::{Table, Value};

/// The fourteen properties, in the order of their flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a> {
    pub content_type: Option<&'a [u8]>,
    pub content_encoding: Option<&'a [u8]>,
    /// The header table's contents, without its length.
    pub headers: Option<&'a [u8]>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a [u8]>,
    pub reply_to: Option<&'a [u8]>,
    pub expiration: Option<&'a [u8]>,
    pub message_id: Option<&'a [u8]>,
    pub timestamp: Option<u64>,
    pub r#type: Option<&'a [u8]>,
    pub user_id: Option<&'a [u8]>,
    pub app_id: Option<&'a [u8]>,
    pub cluster_id: Option<&'a [u8]>,
}

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;
/// Another word of flags follows.
const MORE: u16 = 1;

impl<'a> Properties<'a> {
    /// Decodes property flags and list, all of `bytes`.
    ///
    /// # Errors
    /// When the list does not follow the flags, or a further word of flags names a property we cannot know.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        // Most publishes say one thing or nothing.
        match *bytes {
            [0, 0] => return Ok(Self::default()),
            [0x10, 0, mode] => return Ok(Self { delivery_mode: Some(mode), ..Self::default() }),
            _ => {}
        }
        Self::decode_list(bytes).map_err(|_| Malformed::Properties)
    }

    fn decode_list(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let r = &mut Reader::new(bytes);
        let flags = r.short()?;
        let mut more = flags;
        while more & MORE != 0 {
            more = r.short()?;
            if more & !MORE != 0 {
                return Err(Malformed::Properties);
            }
        }
        let has = |flag| flags & flag != 0;
        let properties = Self {
            content_type: if has(CONTENT_TYPE) { Some(r.short_octets()?) } else { None },
            content_encoding: if has(CONTENT_ENCODING) { Some(r.short_octets()?) } else { None },
            headers: if has(HEADERS) { Some(r.longstr()?) } else { None },
            delivery_mode: if has(DELIVERY_MODE) { Some(r.octet()?) } else { None },
            priority: if has(PRIORITY) { Some(r.octet()?) } else { None },
            correlation_id: if has(CORRELATION_ID) { Some(r.short_octets()?) } else { None },
            reply_to: if has(REPLY_TO) { Some(r.short_octets()?) } else { None },
            expiration: if has(EXPIRATION) { Some(r.short_octets()?) } else { None },
            message_id: if has(MESSAGE_ID) { Some(r.short_octets()?) } else { None },
            timestamp: if has(TIMESTAMP) { Some(r.timestamp()?) } else { None },
            r#type: if has(TYPE) { Some(r.short_octets()?) } else { None },
            user_id: if has(USER_ID) { Some(r.short_octets()?) } else { None },
            app_id: if has(APP_ID) { Some(r.short_octets()?) } else { None },
            cluster_id: if has(CLUSTER_ID) { Some(r.short_octets()?) } else { None },
        };
        r.finish()?;
        Ok(properties)
    }

    /// Appends flags and list. What was decoded comes out as it was, except for empty further words of flags.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.flags());
        let short = |out: &mut BytesMut, octets: Option<&[u8]>| {
            if let Some(octets) = octets {
                short_octets(out, octets);
            }
        };
        short(out, self.content_type);
        short(out, self.content_encoding);
        if let Some(headers) = self.headers {
            out.put_u32(length_u32(headers.len()));
            out.put_slice(headers);
        }
        for octet in [self.delivery_mode, self.priority].into_iter().flatten() {
            out.put_u8(octet);
        }
        short(out, self.correlation_id);
        short(out, self.reply_to);
        short(out, self.expiration);
        short(out, self.message_id);
        if let Some(seconds) = self.timestamp {
            out.put_u64(seconds);
        }
        short(out, self.r#type);
        short(out, self.user_id);
        short(out, self.app_id);
        short(out, self.cluster_id);
    }

    /// The same flags and list, but with these headers.
    #[must_use]
    pub fn with_headers(&self, headers: &Table) -> BytesMut {
        let (contents, mut out) = (table::contents(headers), BytesMut::new());
        Properties { headers: Some(&contents), ..*self }.encode(&mut out);
        out
    }

    fn flags(&self) -> u16 {
        let flag = |present: bool, flag: u16| if present { flag } else { 0 };
        flag(self.content_type.is_some(), CONTENT_TYPE)
            | flag(self.content_encoding.is_some(), CONTENT_ENCODING)
            | flag(self.headers.is_some(), HEADERS)
            | flag(self.delivery_mode.is_some(), DELIVERY_MODE)
            | flag(self.priority.is_some(), PRIORITY)
            | flag(self.correlation_id.is_some(), CORRELATION_ID)
            | flag(self.reply_to.is_some(), REPLY_TO)
            | flag(self.expiration.is_some(), EXPIRATION)
            | flag(self.message_id.is_some(), MESSAGE_ID)
            | flag(self.timestamp.is_some(), TIMESTAMP)
            | flag(self.r#type.is_some(), TYPE)
            | flag(self.user_id.is_some(), USER_ID)
            | flag(self.app_id.is_some(), APP_ID)
            | flag(self.cluster_id.is_some(), CLUSTER_ID)
    }

    /// Whether the publisher asked for the message to survive a restart.
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.delivery_mode == Some(2)
    }

    /// The header table, decoded; empty when there is none.
    ///
    /// # Errors
    /// When it is not a field table.
    pub fn header_table(&self) -> Result<Table, Malformed> {
        self.headers.map_or_else(|| Ok(Table::default()), table::decode)
    }

    /// One header, without decoding the others.
    ///
    /// # Errors
    /// When the table is broken before or at that header.
    pub fn header(&self, name: &str) -> Result<Option<Value>, Malformed> {
        self.headers.map_or(Ok(None), |bytes| table::find(bytes, name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Octets = Option<Vec<u8>>;

    fn octets() -> impl Strategy<Value = Octets> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30))
    }

    proptest! {
        #[test]
        fn properties_decode_to_what_was_encoded(
            strings in proptest::collection::vec(octets(), 11),
            octets in (any::<Option<u8>>(), any::<Option<u8>>()),
            timestamp in any::<Option<u64>>(),
        ) {
            let s = |i: usize| strings[i].as_deref();
            let properties = Properties {
                content_type: s(0), content_encoding: s(1), headers: s(2), delivery_mode: octets.0,
                priority: octets.1, correlation_id: s(3), reply_to: s(4), expiration: s(5), message_id: s(6),
                timestamp, r#type: s(7), user_id: s(8), app_id: s(9), cluster_id: s(10),
            };
            let mut out = BytesMut::new();
            properties.encode(&mut out);
            prop_assert_eq!(Properties::decode(&out), Ok(properties));
            for cut in 0..out.len() {
                prop_assert_eq!(Properties::decode(&out[..cut]), Err(Malformed::Properties));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(properties) = Properties::decode(&bytes) {
                let _ = properties.header_table();
                let _ = properties.header("x-match");
            }
        }
    }

    #[test]
    fn further_words_of_flags_are_read_and_must_be_empty() {
        let check =
            |bytes: &[u8], expected| assert_eq!(Properties::decode(bytes).map(|p| p.delivery_mode), expected);
        check(&[0x10, 0, 2], Ok(Some(2)));
        check(&[0x10, 1, 0, 0, 2], Ok(Some(2)));
        check(&[0x10, 1, 0, 1, 0, 0, 2], Ok(Some(2)));
        check(&[0x10, 1, 0x80, 0, 2], Err(Malformed::Properties));
        check(&[0x10, 1], Err(Malformed::Properties));
        check(&[0, 0], Ok(None));
        check(&[0, 0, 1], Err(Malformed::Properties));
    }

    #[test]
    fn one_header_is_found_without_decoding_the_rest() {
        let properties =
            Properties { headers: Some(b"\x01aS\0\0\0\x01x\x02CCI\0\0\0\x05"), ..Properties::default() };
        assert_eq!(properties.header("CC"), Ok(Some(Value::I32(5))));
        assert_eq!(properties.header("BCC"), Ok(None));
        assert_eq!(properties.header_table().unwrap().0.len(), 2);
        assert_eq!(Properties::default().header("CC"), Ok(None));
    }
}
