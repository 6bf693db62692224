//! Flink's SQL types: their names, how they merge, what casts by itself into what.
//!
//! (Flink: LogicalTypeCasts, LogicalTypeMerging, FlinkTypeSystem.)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use std::fmt;

/// Precision of a STRING, which is a VARCHAR of this length.
pub const LENGTH_MAX: u32 = i32::MAX as u32;
/// Digits a DECIMAL can have.
pub const DECIMAL_PRECISION_MAX: u8 = 38;
const DECIMAL_SCALE_MIN_ADJUSTED: u8 = 6;

/// A type and whether NULL belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DataType {
    pub kind: Type,
    pub nullable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    Array(Box<DataType>),
    BigInt,
    Binary(u32),
    Boolean,
    Char(u32),
    Date,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Double,
    Float,
    Int,
    /// INTERVAL of days to seconds, in milliseconds.
    IntervalDay,
    /// INTERVAL of years and months, in months.
    IntervalYear,
    Map(Box<DataType>, Box<DataType>),
    /// Values, each with how often it is there: a map from values to INT.
    Multiset(Box<DataType>),
    /// The type of a bare NULL.
    Null,
    Row(Vec<(String, DataType)>),
    SmallInt,
    Time(u8),
    Timestamp(u8),
    TimestampLtz(u8),
    TinyInt,
    Varbinary(u32),
    Varchar(u32),
}

impl DataType {
    #[must_use]
    pub fn nullable(kind: Type) -> Self {
        Self { kind, nullable: true }
    }

    #[must_use]
    pub fn not_null(kind: Type) -> Self {
        Self { kind, nullable: false }
    }

    #[must_use]
    pub fn with_nullable(self, nullable: bool) -> Self {
        Self { nullable, ..self }
    }
}

impl Type {
    pub const STRING: Self = Self::Varchar(LENGTH_MAX);
    pub const BYTES: Self = Self::Varbinary(LENGTH_MAX);

    /// Whether it says how long a text, or how many bytes, a value may be.
    #[must_use]
    pub fn has_length(&self) -> bool {
        let limited = matches!(self, Self::Binary(_) | Self::Char(_) | Self::Varbinary(_) | Self::Varchar(_));
        limited && *self != Self::STRING && *self != Self::BYTES
    }

    #[must_use]
    pub fn is_string(&self) -> bool {
        matches!(self, Self::Char(_) | Self::Varchar(_))
    }

    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_) | Self::Varbinary(_))
    }

    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::TinyInt | Self::SmallInt | Self::Int | Self::BigInt)
    }

    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_integer() || matches!(self, Self::Decimal { .. })
    }

    #[must_use]
    pub fn is_approximate(&self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }

    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.is_exact() || self.is_approximate()
    }

    #[must_use]
    pub fn is_interval(&self) -> bool {
        matches!(self, Self::IntervalDay | Self::IntervalYear)
    }

    /// Whether values are made of other values.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Map(..) | Self::Multiset(_) | Self::Row(_))
    }

    /// What an array holds.
    #[must_use]
    pub fn item(&self) -> Option<&DataType> {
        match self {
            Self::Array(item) => Some(item),
            _ => None,
        }
    }

    /// What a map holds: keys and values.
    #[must_use]
    pub fn entry(&self) -> Option<(&DataType, &DataType)> {
        match self {
            Self::Map(key, value) => Some((key, value)),
            _ => None,
        }
    }

    /// The VARCHAR that holds as much as a string type does.
    #[must_use]
    pub fn varying(&self) -> Self {
        match self {
            Self::Char(n) => Self::Varchar(*n),
            other => other.clone(),
        }
    }

    #[must_use]
    pub fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp(_) | Self::TimestampLtz(_))
    }

    /// The DECIMAL that holds every value of an exact type: (precision, scale).
    #[must_use]
    pub fn as_decimal(&self) -> Option<(u8, u8)> {
        match *self {
            Self::TinyInt => Some((3, 0)),
            Self::SmallInt => Some((5, 0)),
            Self::Int => Some((10, 0)),
            Self::BigInt => Some((19, 0)),
            Self::Decimal { precision, scale } => Some((precision, scale)),
            _ => None,
        }
    }

    fn integer_rank(&self) -> Option<u8> {
        match self {
            Self::TinyInt => Some(0),
            Self::SmallInt => Some(1),
            Self::Int => Some(2),
            Self::BigInt => Some(3),
            _ => None,
        }
    }
}

/// The type that both sides of a CASE, a UNION or a comparison have in common.
#[must_use]
pub fn least_restrictive(a: &DataType, b: &DataType) -> Option<DataType> {
    let nullable = a.nullable || b.nullable;
    Some(DataType { kind: common(&a.kind, &b.kind)?, nullable })
}

fn common(a: &Type, b: &Type) -> Option<Type> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Type::Null, other) | (other, Type::Null) => Some(other.clone()),
        // Flink makes ragged CHARs a VARCHAR (FlinkTypeSystem.shouldConvertRaggedUnionTypesToVarying).
        (Type::Char(n) | Type::Varchar(n), Type::Char(m) | Type::Varchar(m)) => {
            Some(Type::Varchar(*n.max(m)))
        }
        (Type::Binary(n) | Type::Varbinary(n), Type::Binary(m) | Type::Varbinary(m)) => {
            Some(Type::Varbinary(*n.max(m)))
        }
        (Type::Timestamp(p), Type::Timestamp(q)) => Some(Type::Timestamp(*p.max(q))),
        (Type::TimestampLtz(p), Type::TimestampLtz(q)) => Some(Type::TimestampLtz(*p.max(q))),
        (Type::Time(p), Type::Time(q)) => Some(Type::Time(*p.max(q))),
        (Type::Array(a), Type::Array(b)) => Some(Type::Array(Box::new(least_restrictive(a, b)?))),
        (Type::Map(k, v), Type::Map(l, w)) => {
            Some(Type::Map(Box::new(least_restrictive(k, l)?), Box::new(least_restrictive(v, w)?)))
        }
        (Type::Multiset(a), Type::Multiset(b)) => Some(Type::Multiset(Box::new(least_restrictive(a, b)?))),
        (Type::Row(a), Type::Row(b)) if a.len() == b.len() => {
            let fields =
                a.iter().zip(b).map(|((name, a), (_, b))| Some((name.clone(), least_restrictive(a, b)?)));
            Some(Type::Row(fields.collect::<Option<_>>()?))
        }
        _ if a.is_numeric() && b.is_numeric() => common_numeric(a, b),
        _ => None,
    }
}

/// The common type of two numeric types.
#[must_use]
pub fn common_numeric(a: &Type, b: &Type) -> Option<Type> {
    if let (Some(m), Some(n)) = (a.integer_rank(), b.integer_rank()) {
        return Some(if m >= n { a.clone() } else { b.clone() });
    }
    match (a, b) {
        (Type::Double, _) | (_, Type::Double) => Some(Type::Double),
        (Type::Float, Type::Decimal { .. }) | (Type::Decimal { .. }, Type::Float) => Some(Type::Double),
        (Type::Float, _) | (_, Type::Float) => Some(Type::Float),
        _ => {
            let ((p1, s1), (p2, s2)) = (a.as_decimal()?, b.as_decimal()?);
            let scale = s1.max(s2);
            let precision = ((p1 - s1).max(p2 - s2) + scale).min(DECIMAL_PRECISION_MAX);
            Some(Type::Decimal { precision, scale })
        }
    }
}

/// The result type of `+` and `-` on decimals.
#[must_use]
pub fn decimal_sum((p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> Type {
    let scale = s1.max(s2);
    adjusted(u16::from((p1 - s1).max(p2 - s2)) + u16::from(scale) + 1, u16::from(scale))
}

/// The result type of `*` on decimals.
#[must_use]
pub fn decimal_product((p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> Type {
    adjusted(u16::from(p1) + u16::from(p2) + 1, u16::from(s1) + u16::from(s2))
}

/// The result type of `/` on decimals.
#[must_use]
pub fn decimal_quotient((p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> Type {
    let scale = (u16::from(s1) + u16::from(p2) + 1).max(6);
    adjusted(u16::from(p1 - s1) + u16::from(s2) + scale, scale)
}

/// The result type of `%` on decimals.
#[must_use]
pub fn decimal_remainder((p1, s1): (u8, u8), (p2, s2): (u8, u8)) -> Type {
    let scale = s1.max(s2);
    adjusted(u16::from((p1 - s1).min(p2 - s2)) + u16::from(scale), u16::from(scale))
}

fn adjusted(precision: u16, scale: u16) -> Type {
    let small = |n: u16| u8::try_from(n).unwrap_or(DECIMAL_PRECISION_MAX);
    if precision <= u16::from(DECIMAL_PRECISION_MAX) {
        return Type::Decimal { precision: small(precision), scale: small(scale) };
    }
    let whole_digits = precision - scale;
    let scale_min = scale.min(u16::from(DECIMAL_SCALE_MIN_ADJUSTED));
    let scale = u16::from(DECIMAL_PRECISION_MAX).saturating_sub(whole_digits).max(scale_min);
    Type::Decimal { precision: DECIMAL_PRECISION_MAX, scale: small(scale) }
}

/// Whether a query's column goes into a sink's column without a CAST. (Flink: LogicalTypeCasts.supportsImplicitCast)
#[must_use]
pub fn casts_implicitly(from: &Type, to: &Type) -> bool {
    match to {
        Type::Char(_) => matches!(from, Type::Char(_) | Type::Null),
        Type::Varchar(_) => from.is_string() || *from == Type::Null,
        Type::Binary(_) => matches!(from, Type::Binary(_) | Type::Null),
        Type::Varbinary(_) => from.is_binary() || *from == Type::Null,
        Type::Decimal { .. } | Type::Double => from.is_numeric() || *from == Type::Null,
        Type::Float => from.is_exact() || matches!(from, Type::Float | Type::Null),
        Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt => {
            *from == Type::Null || from.integer_rank().is_some_and(|r| Some(r) <= to.integer_rank())
        }
        Type::Date => matches!(from, Type::Date | Type::Timestamp(_) | Type::Null),
        Type::Time(_) => matches!(from, Type::Time(_) | Type::Timestamp(_) | Type::Null),
        Type::Timestamp(_) | Type::TimestampLtz(_) => from.is_timestamp() || *from == Type::Null,
        Type::Array(item) => match from {
            Type::Array(other) => casts_implicitly(&other.kind, &item.kind),
            _ => *from == Type::Null,
        },
        Type::Map(key, value) => match from {
            Type::Map(k, v) => casts_implicitly(&k.kind, &key.kind) && casts_implicitly(&v.kind, &value.kind),
            _ => *from == Type::Null,
        },
        Type::Multiset(item) => match from {
            Type::Multiset(other) => casts_implicitly(&other.kind, &item.kind),
            _ => *from == Type::Null,
        },
        Type::Row(fields) => match from {
            Type::Row(others) => {
                fields.len() == others.len()
                    && others.iter().zip(fields).all(|((_, f), (_, t))| casts_implicitly(&f.kind, &t.kind))
            }
            _ => *from == Type::Null,
        },
        Type::Boolean | Type::IntervalDay | Type::IntervalYear | Type::Null => {
            from == to || *from == Type::Null
        }
    }
}

impl fmt::Display for DataType {
    /// Flink's summary string: `BIGINT NOT NULL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.nullable { "" } else { " NOT NULL" })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Array(item) => write!(f, "ARRAY<{item}>"),
            Self::BigInt => f.write_str("BIGINT"),
            Self::Binary(n) => write!(f, "BINARY({n})"),
            Self::Boolean => f.write_str("BOOLEAN"),
            Self::Char(n) => write!(f, "CHAR({n})"),
            Self::Date => f.write_str("DATE"),
            Self::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Self::Double => f.write_str("DOUBLE"),
            Self::Float => f.write_str("FLOAT"),
            Self::Int => f.write_str("INT"),
            Self::IntervalDay => f.write_str("INTERVAL SECOND(3)"),
            Self::IntervalYear => f.write_str("INTERVAL MONTH"),
            Self::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            Self::Multiset(item) => write!(f, "MULTISET<{item}>"),
            Self::Null => f.write_str("NULL"),
            Self::Row(fields) => {
                f.write_str("ROW<")?;
                for (i, (name, data_type)) in fields.iter().enumerate() {
                    write!(f, "{}`{}` {data_type}", if i == 0 { "" } else { ", " }, name.replace('`', "``"))?;
                }
                f.write_str(">")
            }
            Self::SmallInt => f.write_str("SMALLINT"),
            Self::Time(p) => write!(f, "TIME({p})"),
            Self::Timestamp(p) => write!(f, "TIMESTAMP({p})"),
            Self::TimestampLtz(p) => write!(f, "TIMESTAMP_LTZ({p})"),
            Self::TinyInt => f.write_str("TINYINT"),
            Self::Varbinary(LENGTH_MAX) => f.write_str("BYTES"),
            Self::Varbinary(n) => write!(f, "VARBINARY({n})"),
            Self::Varchar(LENGTH_MAX) => f.write_str("STRING"),
            Self::Varchar(n) => write!(f, "VARCHAR({n})"),
        }
    }
}

impl DataType {
    /// Flink's serializable string, in which no type has a short name: `VARCHAR(2147483647)`.
    #[must_use]
    pub fn spelled_out(&self) -> String {
        let kind = match &self.kind {
            Type::Array(item) => format!("ARRAY<{}>", item.spelled_out()),
            Type::Map(key, value) => format!("MAP<{}, {}>", key.spelled_out(), value.spelled_out()),
            Type::Multiset(item) => format!("MULTISET<{}>", item.spelled_out()),
            Type::Row(fields) => {
                let field = |(name, data_type): &(String, Self)| {
                    format!("`{}` {}", name.replace('`', "``"), data_type.spelled_out())
                };
                format!("ROW<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
            Type::TimestampLtz(p) => format!("TIMESTAMP({p}) WITH LOCAL TIME ZONE"),
            Type::Varbinary(n) => format!("VARBINARY({n})"),
            Type::Varchar(n) => format!("VARCHAR({n})"),
            kind @ (Type::BigInt
            | Type::Binary(_)
            | Type::Boolean
            | Type::Char(_)
            | Type::Date
            | Type::Decimal { .. }
            | Type::Double
            | Type::Float
            | Type::Int
            | Type::IntervalDay
            | Type::IntervalYear
            | Type::Null
            | Type::SmallInt
            | Type::Time(_)
            | Type::Timestamp(_)
            | Type::TinyInt) => kind.to_string(),
        };
        format!("{kind}{}", if self.nullable { "" } else { " NOT NULL" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(precision: u8, scale: u8) -> Type {
        Type::Decimal { precision, scale }
    }

    #[test]
    fn decimal_results_have_flinks_precision_and_scale() {
        assert_eq!(decimal_sum((5, 2), (10, 0)), decimal(13, 2));
        assert_eq!(decimal_product((5, 2), (4, 1)), decimal(10, 3));
        assert_eq!(decimal_quotient((5, 2), (4, 1)), decimal(11, 7));
        assert_eq!(decimal_product((38, 18), (38, 18)), decimal(38, 6));
        assert_eq!(decimal_sum((38, 18), (38, 18)), decimal(38, 17));
    }

    #[test]
    fn what_casts_into_a_sink_column_by_itself() {
        let rows = [
            (Type::Int, Type::BigInt, true),
            (Type::BigInt, Type::Int, false),
            (Type::BigInt, Type::Double, true),
            (Type::Double, Type::Float, false),
            (Type::Double, decimal(5, 2), true),
            (Type::Char(3), Type::STRING, true),
            (Type::STRING, Type::Char(3), false),
            (Type::Int, Type::STRING, false),
            (Type::Timestamp(3), Type::TimestampLtz(3), true),
            (Type::Timestamp(3), Type::Date, true),
            (Type::Null, Type::Boolean, true),
        ];
        for (from, to, expected) in rows {
            assert_eq!(casts_implicitly(&from, &to), expected, "{from} into {to}");
        }
    }
}
