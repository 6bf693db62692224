//! What every message and structure can do, and the macro that makes it from a table of fields.

use bytes::Bytes;
use uuid::Uuid;

use super::{Malformed, Reader, Records, Unsupported, Writer};

/// A value that stands in a message.
pub trait Wire: Sized {
    /// The fields, for a structure or an array of structures.
    const FIELDS: &'static [Field] = &[];

    fn read(r: &mut Reader) -> Result<Self, Malformed>;
    fn write(&self, w: &mut Writer) -> Result<(), Unsupported>;
}

/// A value that can be null, which then has a form of its own.
pub trait Nullable: Wire {
    fn read_nullable(r: &mut Reader) -> Result<Option<Self>, Malformed>;
    fn write_nullable(value: Option<&Self>, w: &mut Writer) -> Result<(), Unsupported>;
}

/// A request or response.
pub trait Message: Wire + Default {
    /// The API key.
    const KEY: i16;
    /// The first version with compact lengths and tagged fields; `i16::MAX` for none.
    const FLEXIBLE_FROM: i16;

    /// Reads a message. What follows it is ignored, as Kafka does.
    fn decode(bytes: Bytes, version: i16) -> Result<Self, Malformed> {
        Self::read(&mut Reader::new(bytes, version, version >= Self::FLEXIBLE_FROM))
    }

    /// Writes the message alone, without header or length.
    fn encode(&self, version: i16) -> Result<Vec<Bytes>, Unsupported> {
        let mut w = Writer::new(version, version >= Self::FLEXIBLE_FROM);
        self.write(&mut w)?;
        Ok(w.into_chunks())
    }
}

/// One line of a message's table, as the tests hold it against the definition.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub kind: &'static str,
    pub versions: &'static str,
    pub nullable: Option<&'static str>,
    pub tag: Option<u32>,
    pub ignorable: bool,
    pub fields: &'static [Field],
}

/// Reads a field that is nullable only in some versions.
pub(super) fn read_null<T: Nullable>(r: &mut Reader, allowed: bool) -> Result<Option<T>, Malformed> {
    if allowed { T::read_nullable(r) } else { T::read(r).map(Some) }
}

/// Writes a field that is nullable only in some versions; in the others an absent value is an empty one, as in
/// Kafka's own handlers (JoinGroup answers before version 7 name no protocol by the empty string).
pub(super) fn write_null<T: Nullable + Default>(
    value: Option<&T>,
    w: &mut Writer,
    allowed: bool,
) -> Result<(), Unsupported> {
    match value {
        Some(value) => value.write(w),
        None if allowed => T::write_nullable(None, w),
        None => T::default().write(w),
    }
}

/// Makes structures that stand in messages from tables of fields:
///
/// ```text
/// pub struct Name {
///     field: Type [= default], versions [, (null versions)] [, (tag number)] [, ignorable];
/// }
/// ```
/// and, with `message KEY, flexible N;` before it, a request or response. `versions` are Rust's ranges. A field
/// outside its versions is not written; when it holds more than its default and is not `ignorable`, writing fails.
/// `(null …)` limits an `Option` to the versions that have a null. `flexible none` never has compact lengths.
macro_rules! message {
    ($(
        $(#[doc = $doc:literal])*
        $(message $key:literal, flexible $flexible:tt;)?
        pub struct $name:ident {$(
            $(#[doc = $field_doc:literal])*
            $field:ident: $kind:ty $(= $default:expr)?, $versions:expr
                $(, (null $null:expr))? $(, (tag $tag:literal))? $(, $ignorable:ident)?;
        )*}
    )+) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {$(
            $(#[doc = $field_doc])*
            pub $field: $kind,
        )*}

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: message!(@default $($default)?),)* }
            }
        }

        $(impl $crate::kafka::wire::Message for $name {
            const KEY: i16 = $key;
            const FLEXIBLE_FROM: i16 = message!(@flexible $flexible);
        })?

        impl $crate::kafka::wire::Wire for $name {
            const FIELDS: &'static [$crate::kafka::wire::Field] = &[$($crate::kafka::wire::Field {
                name: stringify!($field),
                kind: stringify!($kind),
                versions: stringify!($versions),
                nullable: message!(@option $(stringify!($null))?),
                tag: message!(@option $($tag)?),
                ignorable: message!(@ignorable $($ignorable)?),
                fields: <$kind as $crate::kafka::wire::Wire>::FIELDS,
            },)*];

            fn read(
                r: &mut $crate::kafka::wire::Reader,
            ) -> Result<Self, $crate::kafka::wire::Malformed> {
                let mut it = Self::default();
                let version = r.version();
                $(if message!(@untagged $($tag)?) && ($versions).contains(&version) {
                    it.$field = message!(@read r, version $(, $null)?);
                })*
                r.tagged(|r, tag| {
                    $($(if tag == $tag && ($versions).contains(&version) {
                        it.$field = $crate::kafka::wire::Wire::read(r)?;
                    })?)*
                    let _ = (&r, tag);
                    Ok(())
                })?;
                Ok(it)
            }

            fn write(
                &self,
                w: &mut $crate::kafka::wire::Writer,
            ) -> Result<(), $crate::kafka::wire::Unsupported> {
                let version = w.version();
                $(if !($versions).contains(&version) {
                    if !message!(@ignorable $($ignorable)?) && self.$field != Self::default().$field {
                        return Err($crate::kafka::wire::Unsupported(stringify!($field)));
                    }
                } else if message!(@untagged $($tag)?) {
                    message!(@write w, self.$field, version $(, $null)?);
                })*
                if w.flexible() {
                    let tagged = $crate::kafka::wire::writer::TaggedFields::default();
                    $($(let tagged =
                        if ($versions).contains(&version) && self.$field != Self::default().$field {
                            tagged.with(w, $tag, &self.$field)?
                        } else {
                            tagged
                        };)?)*
                    w.tagged(tagged)?;
                }
                Ok(())
            }
        }

        impl $crate::kafka::wire::message::Nullable for $name {
            fn read_nullable(
                r: &mut $crate::kafka::wire::Reader,
            ) -> Result<Option<Self>, $crate::kafka::wire::Malformed> {
                $crate::kafka::wire::message::read_structure(r)
            }

            fn write_nullable(
                value: Option<&Self>,
                w: &mut $crate::kafka::wire::Writer,
            ) -> Result<(), $crate::kafka::wire::Unsupported> {
                $crate::kafka::wire::message::write_structure(value, w)
            }
        }
    )+};

    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@flexible none) => { i16::MAX };
    (@flexible $version:literal) => { $version };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@ignorable) => { false };
    (@ignorable ignorable) => { true };
    (@untagged) => { true };
    (@untagged $tag:literal) => { false };
    (@read $r:ident, $version:ident) => { $crate::kafka::wire::Wire::read($r)? };
    (@read $r:ident, $version:ident, $null:expr) => {
        $crate::kafka::wire::message::read_null($r, ($null).contains(&$version))?
    };
    (@write $w:ident, $value:expr, $version:ident) => { $crate::kafka::wire::Wire::write(&$value, $w)? };
    (@write $w:ident, $value:expr, $version:ident, $null:expr) => {
        $crate::kafka::wire::message::write_null($value.as_ref(), $w, ($null).contains(&$version))?
    };
}
pub(super) use message;

/// A structure that may be null has an int8 before it: -1 is null.
pub(super) fn read_structure<T: Wire>(r: &mut Reader) -> Result<Option<T>, Malformed> {
    if r.i8()? < 0 { Ok(None) } else { T::read(r).map(Some) }
}

pub(super) fn write_structure<T: Wire>(value: Option<&T>, w: &mut Writer) -> Result<(), Unsupported> {
    match value {
        Some(value) => {
            w.i8(1);
            value.write(w)
        }
        None => {
            w.i8(-1);
            Ok(())
        }
    }
}

impl<T: Nullable> Wire for Option<T> {
    const FIELDS: &'static [Field] = T::FIELDS;

    fn read(r: &mut Reader) -> Result<Self, Malformed> {
        T::read_nullable(r)
    }

    fn write(&self, w: &mut Writer) -> Result<(), Unsupported> {
        T::write_nullable(self.as_ref(), w)
    }
}

/// Types without a null: the reader's and the writer's method of the same name.
macro_rules! plain {
    ($($kind:ty, $method:ident;)+) => {$(
        impl Wire for $kind {
            fn read(r: &mut Reader) -> Result<Self, Malformed> {
                r.$method()
            }

            fn write(&self, w: &mut Writer) -> Result<(), Unsupported> {
                w.$method(*self);
                Ok(())
            }
        }
    )+};
}
plain! {
    i8, i8;
    i16, i16;
    i32, i32;
    i64, i64;
    u16, u16;
    Uuid, uuid;
}

/// A float64, equal to another when its bits are: messages are compared, and a NaN comes back as it went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Float64(pub f64);

impl PartialEq for Float64 {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float64 {}

impl Wire for Float64 {
    fn read(r: &mut Reader) -> Result<Self, Malformed> {
        r.f64().map(Self)
    }

    fn write(&self, w: &mut Writer) -> Result<(), Unsupported> {
        w.f64(self.0);
        Ok(())
    }
}

impl Wire for bool {
    fn read(r: &mut Reader) -> Result<Self, Malformed> {
        Ok(r.i8()? != 0)
    }

    fn write(&self, w: &mut Writer) -> Result<(), Unsupported> {
        w.i8(i8::from(*self));
        Ok(())
    }
}

/// Types with a null: not null, they are read and written as the same bytes.
macro_rules! nullable {
    ($($kind:ty $(, $element:ident)?: $fields:expr;)+) => {$(
        impl $(<$element: Wire>)? Wire for $kind {
            const FIELDS: &'static [Field] = $fields;

            fn read(r: &mut Reader) -> Result<Self, Malformed> {
                Self::read_nullable(r)?.ok_or(Malformed::Null)
            }

            fn write(&self, w: &mut Writer) -> Result<(), Unsupported> {
                Self::write_nullable(Some(self), w)
            }
        }
    )+};
}
nullable! {
    String: &[];
    Bytes: &[];
    Records: &[];
    Vec<T>, T: T::FIELDS;
}

impl Nullable for String {
    fn read_nullable(r: &mut Reader) -> Result<Option<Self>, Malformed> {
        r.nullable_string()
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer) -> Result<(), Unsupported> {
        w.nullable_string(value.map(String::as_str))
    }
}

impl Nullable for Bytes {
    fn read_nullable(r: &mut Reader) -> Result<Option<Self>, Malformed> {
        r.nullable_bytes()
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer) -> Result<(), Unsupported> {
        w.nullable_bytes(value.map(std::slice::from_ref))
    }
}

impl Nullable for Records {
    fn read_nullable(r: &mut Reader) -> Result<Option<Self>, Malformed> {
        Ok(r.nullable_bytes()?.map(Self::from))
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer) -> Result<(), Unsupported> {
        w.nullable_bytes(value.map(|records| &records.0[..]))
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn read_nullable(r: &mut Reader) -> Result<Option<Self>, Malformed> {
        r.nullable_array()
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer) -> Result<(), Unsupported> {
        w.nullable_array(value.map(Vec::as_slice))
    }
}
