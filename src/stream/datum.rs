//! Values and rows as they move through a job.
//!
//! A [`Datum`] is 24 bytes and does not know its SQL type: scale, precision and width belong to the plan's types.

use std::{cmp::Ordering, sync::Arc};

/// Nanoseconds in a millisecond, the part of a timestamp below it.
pub const NANOS_PER_MILLI: u32 = 1_000_000;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    Null,
    Array(Arc<[Datum]>),
    Bool(bool),
    Bytes(Arc<[u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    Decimal(Unscaled),
    Double(f64),
    Float(f32),
    /// TINYINT to BIGINT, and both kinds of INTERVAL (milliseconds, months).
    Int(i64),
    Map(Arc<[(Datum, Datum)]>),
    Row(Arc<[Datum]>),
    Str(Arc<str>),
    /// Milliseconds of the day.
    Time(i32),
    /// TIMESTAMP and TIMESTAMP_LTZ.
    Timestamp(Instant),
}

/// The digits of a DECIMAL as a whole number. In two halves, so that it does not need the alignment of an `i128`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unscaled {
    high: i64,
    low: u64,
}

impl From<i128> for Unscaled {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "splits into halves")]
    fn from(n: i128) -> Self {
        Self { high: (n >> 64) as i64, low: n as u64 }
    }
}

impl From<Unscaled> for i128 {
    fn from(n: Unscaled) -> Self {
        (Self::from(n.high) << 64) | Self::from(n.low)
    }
}

/// A point in time: milliseconds since the epoch and nanoseconds within the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant {
    pub ms: i64,
    pub nanos: u32,
}

impl Instant {
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        Self { ms, nanos: 0 }
    }

    /// Cut to as many digits of a second.
    #[must_use]
    pub fn truncated(self, digits: u8) -> Self {
        let ms_step = 10i64.pow(u32::from(3u8.saturating_sub(digits)));
        let nanos_step = 10u32.pow(u32::from(9 - digits.clamp(3, 9)));
        Self { ms: self.ms.div_euclid(ms_step) * ms_step, nanos: self.nanos / nanos_step * nanos_step }
    }

    /// Nanoseconds of the second.
    #[must_use]
    pub fn nanos_of_second(self) -> u32 {
        let ms = u32::try_from(self.ms.rem_euclid(1_000)).unwrap_or_default();
        ms * NANOS_PER_MILLI + self.nanos
    }
}

impl Datum {
    #[must_use]
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    #[must_use]
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    #[must_use]
    pub fn decimal(unscaled: i128) -> Self {
        Self::Decimal(unscaled.into())
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether two values of one type are the same: as [`Datum::compare`] where there is an order, NULL is NULL, and
    /// maps have their entries in any order.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Array(a), Self::Array(b)) | (Self::Row(a), Self::Row(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(b))
            }
            (Self::Map(a), Self::Map(b)) => {
                let within =
                    |(key, value): &(Self, Self)| b.iter().any(|(k, v)| k.same(key) && v.same(value));
                a.len() == b.len() && a.iter().all(within)
            }
            _ => self.compare(other).map_or_else(|| self == other, Ordering::is_eq),
        }
    }

    /// Order of two values of one type, as SQL's `<` has it. NULL, arrays, maps and rows have none.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Date(a), Self::Date(b)) | (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Decimal(a), Self::Decimal(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Str(a), Self::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// What a row says of the table it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    Insert,
    UpdateBefore,
    UpdateAfter,
    Delete,
}

impl RowKind {
    /// Whether the row is there from now on, rather than gone.
    #[must_use]
    pub fn adds(self) -> bool {
        matches!(self, Self::Insert | Self::UpdateAfter)
    }

    /// As Flink prints it.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Insert => "+I",
            Self::UpdateBefore => "-U",
            Self::UpdateAfter => "+U",
            Self::Delete => "-D",
        }
    }
}

/// Columns of a row. Not in place: a row goes through several hands, and moving eight values costs more than an
/// allocation does.
pub type Columns = Vec<Datum>;

/// One row of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub columns: Columns,
    pub kind: RowKind,
}

impl Row {
    #[must_use]
    pub fn insert(columns: Columns) -> Self {
        Self { columns, kind: RowKind::Insert }
    }

    #[must_use]
    pub fn of(kind: RowKind, columns: Columns) -> Self {
        Self { columns, kind }
    }

    /// A column, or NULL where the plan is wrong.
    #[must_use]
    pub fn column(&self, index: usize) -> &Datum {
        self.columns.get(index).unwrap_or(&Datum::Null)
    }

    /// A column taken out; NULL is left in its place.
    pub fn take(&mut self, index: usize) -> Datum {
        self.columns.get_mut(index).map_or(Datum::Null, |column| std::mem::replace(column, Datum::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datum_stays_small() {
        assert_eq!(size_of::<Datum>(), 24);
    }

    #[test]
    fn decimals_survive_their_halves() {
        for n in [
            0,
            1,
            -1,
            i128::from(u64::MAX),
            -i128::from(u64::MAX) - 7,
            10i128.pow(38) - 1,
            1 - 10i128.pow(38),
        ] {
            assert_eq!(i128::from(Unscaled::from(n)), n);
        }
    }
}
