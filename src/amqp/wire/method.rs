//! What all methods have in common: ids, arguments, the `methods!` table of a class, and [`Method`] over all classes.

use std::fmt;

use bytes::{BufMut, BytesMut};

use super::{
    Malformed, access, basic, channel, confirm, connection, exchange, queue, reader::Reader, tx,
    writer::Writer,
};
use crate::data::field;

/// Class id and method id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodId {
    pub class: u16,
    pub method: u16,
}

impl MethodId {
    /// For replies that blame no method.
    pub const NONE: Self = Self { class: 0, method: 0 };
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.class, self.method)
    }
}

/// Who may send a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
    Both,
}

/// The arguments of one method.
pub trait Arguments<'a>: Sized {
    const ID: MethodId;
    const NAME: &'static str;
    const SENT_BY: Side;

    /// # Errors
    /// When the bytes do not follow the definition.
    fn decode(r: &mut Reader<'a>) -> Result<Self, Malformed>;

    fn encode(&self, w: &mut Writer<'_>);

    /// Decodes all of `bytes`; errors as RabbitMQ reports them.
    ///
    /// # Errors
    /// When the bytes do not follow the definition or something follows them.
    fn decode_all(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        Self::decode(&mut r).and_then(|m| Ok(r.finish().map(|()| m)?)).map_err(|e| match e {
            Malformed::Field(field::Malformed::Utf8) => Malformed::ShortStrUtf8 { method: Self::ID },
            Malformed::FrameTooLarge { .. }
            | Malformed::FrameEnd { .. }
            | Malformed::UnknownFrame { .. }
            | Malformed::UnexpectedFrame { .. }
            | Malformed::UnknownMethod(_)
            | Malformed::Arguments { .. }
            | Malformed::ShortStrUtf8 { .. }
            | Malformed::Field(_) => Malformed::Arguments {
                method: Self::ID,
                octets: bytes.get(..OCTETS_QUOTED_MAX).unwrap_or(bytes).into(),
            },
        })
    }
}

/// More would not fit into a reply text.
const OCTETS_QUOTED_MAX: usize = 128;

/// The table of a class: one struct per method, one line per field in the specification's order, and an enum over them.
macro_rules! methods {
    (
        $(#[$about:meta])*
        $class:literal $class_name:literal $all:ident $(<$all_lt:lifetime>)? {
            $(
                $(#[$doc:meta])*
                $id:literal $name:ident $(<$lt:lifetime>)? $word:literal $side:ident {
                    $($field:ident: $kind:ident),* $(,)?
                }
            )*
        }
    ) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Default)]
            pub struct $name $(<$lt>)? {
                $(pub $field: $crate::amqp::wire::method::rust_type!($kind),)*
            }

            impl<'a> $crate::amqp::wire::Arguments<'a> for $name $(<$lt>)? {
                const ID: $crate::amqp::wire::MethodId =
                    $crate::amqp::wire::MethodId { class: $class, method: $id };
                const NAME: &'static str = concat!($class_name, ".", $word);
                const SENT_BY: $crate::amqp::wire::Side = $crate::amqp::wire::Side::$side;

                #[inline]
                fn decode(
                    _r: &mut $crate::amqp::wire::reader::Reader<'a>,
                ) -> Result<Self, $crate::amqp::wire::Malformed> {
                    Ok(Self { $($field: _r.$kind()?,)* })
                }

                #[inline]
                fn encode(&self, _w: &mut $crate::amqp::wire::writer::Writer<'_>) {
                    $($crate::amqp::wire::method::put!(_w, $kind, self.$field);)*
                }
            }

            impl<'a> From<$name $(<$lt>)?> for $crate::amqp::wire::Method<'a> {
                fn from(m: $name $(<$lt>)?) -> Self {
                    $all::$name(m).into()
                }
            }
        )*

        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $all $(<$all_lt>)? {
            $($name($name $(<$lt>)?),)*
        }

        impl<'a> $all $(<$all_lt>)? {
            /// # Errors
            /// When there is no such method or its arguments do not follow its definition.
            pub fn decode(
                method: u16,
                arguments: &'a [u8],
            ) -> Result<Self, $crate::amqp::wire::Malformed> {
                match method {
                    $($id => $crate::amqp::wire::Arguments::decode_all(arguments).map(Self::$name),)*
                    _ => Err($crate::amqp::wire::Malformed::UnknownMethod(
                        $crate::amqp::wire::MethodId { class: $class, method },
                    )),
                }
            }

            pub fn encode(&self, w: &mut $crate::amqp::wire::writer::Writer<'_>) {
                match self {
                    $(Self::$name(m) => $crate::amqp::wire::Arguments::encode(m, w),)*
                }
            }

            #[must_use]
            pub fn id(&self) -> $crate::amqp::wire::MethodId {
                match self {
                    $(Self::$name(_) => <$name as $crate::amqp::wire::Arguments<'_>>::ID,)*
                }
            }

            /// The specification's name, such as `queue.declare`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => <$name as $crate::amqp::wire::Arguments<'_>>::NAME,)*
                }
            }

            #[must_use]
            pub fn sent_by(&self) -> $crate::amqp::wire::Side {
                match self {
                    $(Self::$name(_) => <$name as $crate::amqp::wire::Arguments<'_>>::SENT_BY,)*
                }
            }
        }

        /// Every method of the class: id, name, who sends it.
        pub const METHODS: &[($crate::amqp::wire::MethodId, &str, $crate::amqp::wire::Side)] = &[
            $((
                <$name as $crate::amqp::wire::Arguments<'_>>::ID,
                <$name as $crate::amqp::wire::Arguments<'_>>::NAME,
                <$name as $crate::amqp::wire::Arguments<'_>>::SENT_BY,
            ),)*
        ];
    };
}

/// The specification's field types as ours; strings borrow for the lifetime that every table calls `'a`.
macro_rules! rust_type {
    (bit) => { bool };
    (octet) => { u8 };
    (short) => { u16 };
    (long) => { u32 };
    (longlong) => { u64 };
    (table) => { $crate::data::value::Table };
    (shortstr) => { &'a str };
    (longstr) => { &'a [u8] };
}

/// Numbers and bits by value, tables by reference; strings are references already.
macro_rules! put {
    ($w:ident, table, $value:expr) => {
        $w.table(&$value)
    };
    ($w:ident, $kind:ident, $value:expr) => {
        $w.$kind($value)
    };
}

pub(super) use {methods, put, rust_type};

macro_rules! classes {
    ($($class:literal $name:ident $module:ident $(<$lt:lifetime>)?;)*) => {
        /// Any method, from either side.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Method<'a> {
            $($name($module::Method $(<$lt>)?),)*
        }

        impl<'a> Method<'a> {
            /// Decodes the payload of a method frame.
            ///
            /// # Errors
            /// When there is no such method or its arguments do not follow its definition.
            pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
                let mut r = Reader::new(payload);
                let (class, method) = (r.short()?, r.short()?);
                match class {
                    $($class => $module::Method::decode(method, r.rest()).map(Self::$name),)*
                    _ => Err(Malformed::UnknownMethod(MethodId { class, method })),
                }
            }

            fn encode_arguments(&self, w: &mut Writer<'_>) {
                match self {
                    $(Self::$name(m) => m.encode(w),)*
                }
            }

            #[must_use]
            pub fn id(&self) -> MethodId {
                match self {
                    $(Self::$name(m) => m.id(),)*
                }
            }

            /// The specification's name, such as `queue.declare`.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(m) => m.name(),)*
                }
            }

            /// Who may send it; the broker answers 503 to a client that sends the server's.
            #[must_use]
            pub fn sent_by(&self) -> Side {
                match self {
                    $(Self::$name(m) => m.sent_by(),)*
                }
            }
        }

        $(
            impl<'a> From<$module::Method $(<$lt>)?> for Method<'a> {
                fn from(m: $module::Method $(<$lt>)?) -> Self {
                    Self::$name(m)
                }
            }
        )*

        /// The methods of every class.
        pub const METHODS: &[&[(MethodId, &str, Side)]] = &[$($module::METHODS,)*];
    };
}

classes! {
    10 Connection connection<'a>;
    20 Channel    channel<'a>;
    30 Access     access<'a>;
    40 Exchange   exchange<'a>;
    50 Queue      queue<'a>;
    60 Basic      basic<'a>;
    85 Confirm    confirm;
    90 Tx         tx;
}

impl Method<'_> {
    /// Appends the payload of a method frame.
    pub fn encode(&self, out: &mut BytesMut) {
        let id = self.id();
        out.put_u16(id.class);
        out.put_u16(id.method);
        let mut w = Writer::new(out);
        self.encode_arguments(&mut w);
        w.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_method_is_named_after_its_class() {
        let mut seen = std::collections::HashSet::new();
        for (id, name, _) in METHODS.iter().copied().flatten() {
            assert!(seen.insert((id.class, id.method)), "{name} has an id twice");
            assert!(name.contains('.'), "{name}");
        }
        assert_eq!(seen.len(), 66);
    }

    #[test]
    fn an_unknown_id_is_an_error_of_its_own() {
        for (class, method) in [(50, 99), (11, 10), (0, 0), (85, 12)] {
            let [a, b] = u16::to_be_bytes(class);
            let [c, d] = u16::to_be_bytes(method);
            assert_eq!(
                Method::decode(&[a, b, c, d]),
                Err(Malformed::UnknownMethod(MethodId { class, method }))
            );
        }
    }

    #[test]
    fn arguments_too_short_or_too_long_quote_the_octets() {
        for arguments in [&[0][..], &[0, 0, 0], &[0; 200]] {
            let payload = [&[0, 60, 0, 80][..], arguments].concat();
            let octets = arguments[..arguments.len().min(128)].into();
            let method = MethodId { class: 60, method: 80 };
            assert_eq!(Method::decode(&payload), Err(Malformed::Arguments { method, octets }));
        }
    }
}
