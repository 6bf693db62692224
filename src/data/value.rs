//! Typed values of AMQP field tables (AMQP 0-9-1 §4.2.5.5, with RabbitMQ's type letters).
//!
//! The encoding lives with the AMQP door and the store; here are only the values and how they compare.

use bytes::Bytes;

/// One value of a field table or array.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Array(Vec<Value>),
    Binary(Bytes),
    Bool(bool),
    Decimal {
        scale: u8,
        unscaled: u32,
    },
    F32(f32),
    F64(f64),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    LongStr(Bytes),
    Table(Table),
    /// Seconds since the epoch.
    Timestamp(u64),
    U8(u8),
    U16(u16),
    U32(u32),
    Void,
}

/// A field table: names and values in the order they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table(pub Vec<(String, Value)>);

impl Table {
    /// The first value of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value {
    /// The octets of a string or a binary: clients write either for the same.
    #[must_use]
    pub fn binary(&self) -> Option<&Bytes> {
        if let Self::LongStr(octets) | Self::Binary(octets) = self { Some(octets) } else { None }
    }

    /// RabbitMQ's name of the type, as its error texts say it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Array(_) => "array",
            Self::Binary(_) => "binary",
            Self::Bool(_) => "bool",
            Self::Decimal { .. } => "decimal",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::I8(_) => "byte",
            Self::I16(_) => "short",
            Self::I32(_) => "signedint",
            Self::I64(_) => "long",
            Self::LongStr(_) => "longstr",
            Self::Table(_) => "table",
            Self::Timestamp(_) => "timestamp",
            Self::U8(_) => "unsignedbyte",
            Self::U16(_) => "unsignedshort",
            Self::U32(_) => "unsignedint",
            Self::Void => "void",
        }
    }

    /// Whether two arguments say the same: whole numbers by value whatever their width, the rest by type and value.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        match (self.integer(), other.integer()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self == other,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The octets of a long string.
    #[must_use]
    pub fn octets(&self) -> Option<&[u8]> {
        if let Self::LongStr(octets) = self { Some(octets) } else { None }
    }

    /// The value as a whole number, whatever its width: RabbitMQ treats all integer types as one class.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Self::I8(n) => Some(n.into()),
            Self::U8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            Self::Array(_)
            | Self::Binary(_)
            | Self::Bool(_)
            | Self::Decimal { .. }
            | Self::F32(_)
            | Self::F64(_)
            | Self::LongStr(_)
            | Self::Table(_)
            | Self::Timestamp(_)
            | Self::Void => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_one_class_and_strings_are_not_numbers() {
        let check = |a: Value, b: Value, expected| assert_eq!(a.equivalent(&b), expected, "{a:?} {b:?}");
        let text = |s: &'static str| Value::LongStr(Bytes::from_static(s.as_bytes()));
        check(Value::I8(5), Value::I64(5), true);
        check(Value::U16(5), Value::I32(5), true);
        check(Value::I8(-1), Value::U8(255), false);
        check(Value::I32(1), text("1"), false);
        check(Value::Bool(true), Value::I8(1), false);
        check(text("a"), text("a"), true);
        check(text("a"), Value::Binary(Bytes::from_static(b"a")), false);
        check(Value::Timestamp(1), Value::I64(1), false);
    }
}
