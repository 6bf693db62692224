//! Aggregate functions: which there are, what they take and return, how Flink composes some of others.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use std::fmt;

use super::types::{DECIMAL_PRECISION_MAX, DataType, Type};

/// A function of many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AggFunction {
    ArrayAgg,
    Avg,
    Collect,
    Count,
    FirstValue,
    /// Only OVER a window.
    Lag,
    LastValue,
    ListAgg,
    Max,
    Min,
    /// What a sub-query for a value is made of: its only row. It has no name in the language.
    SingleValue,
    /// Flink's name for a SUM that is 0 for no rows is its own; it is what COUNT and STDDEV are made of.
    Sum,
}

/// One aggregate of a query, over the columns of the aggregate's input.
#[derive(Debug, Clone, PartialEq)]
pub struct AggCall {
    pub function: AggFunction,
    pub args: Vec<usize>,
    /// Types of the arguments.
    pub arg_types: Vec<Type>,
    pub distinct: bool,
    /// A BOOLEAN column: `FILTER (WHERE …)`.
    pub filter: Option<usize>,
    /// LISTAGG's.
    pub separator: Option<String>,
    pub data_type: DataType,
}

impl AggFunction {
    /// The function of that name, in capitals.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "ARRAY_AGG" => Self::ArrayAgg,
            "AVG" => Self::Avg,
            "COLLECT" => Self::Collect,
            "COUNT" => Self::Count,
            "FIRST_VALUE" => Self::FirstValue,
            "LAST_VALUE" => Self::LastValue,
            "LISTAGG" => Self::ListAgg,
            "MAX" => Self::Max,
            "MIN" => Self::Min,
            "SUM" => Self::Sum,
            _ => return None,
        })
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ArrayAgg => "ARRAY_AGG",
            Self::Avg => "AVG",
            Self::Collect => "COLLECT",
            Self::Count => "COUNT",
            Self::FirstValue => "FIRST_VALUE",
            Self::Lag => "LAG",
            Self::LastValue => "LAST_VALUE",
            Self::ListAgg => "LISTAGG",
            Self::Max => "MAX",
            Self::Min => "MIN",
            Self::SingleValue => "SINGLE_VALUE",
            Self::Sum => "SUM",
        }
    }

    /// The type of the result for arguments of these types; `None` if it does not take them.
    #[must_use]
    pub fn returns(self, args: &[&DataType]) -> Option<Type> {
        let comparable = |t: &Type| !t.is_nested() && *t != Type::Null;
        let kinds: Vec<&Type> = args.iter().map(|a| &a.kind).collect();
        match (self, kinds.as_slice()) {
            (Self::Count, _) => Some(Type::BigInt),
            (Self::Sum, [t]) if t.is_numeric() => Some(sum_type(t)),
            (Self::Avg, [t]) if t.is_numeric() => Some(avg_type(t)),
            (Self::Max | Self::Min, [t]) if comparable(t) => Some((*t).clone()),
            (Self::FirstValue | Self::LastValue, [t]) if comparable(t) => Some((*t).clone()),
            (Self::ListAgg, [t]) if t.is_string() => Some(Type::STRING),
            (Self::ListAgg, [t, s]) if t.is_string() && s.is_string() => Some(Type::STRING),
            (Self::ArrayAgg, [t]) if **t != Type::Null => {
                Some(Type::Array(Box::new(DataType::nullable((*t).clone()))))
            }
            (Self::Collect, [_]) => args.first().map(|item| Type::Multiset(Box::new((*item).clone()))),
            (Self::SingleValue, [t]) => Some((*t).clone()),
            _ => None,
        }
    }

    /// Whether there is a value even of no rows.
    #[must_use]
    pub fn is_never_null(self) -> bool {
        matches!(self, Self::Collect | Self::Count)
    }

    /// Whether a NULL is a value like others.
    #[must_use]
    pub fn takes_nulls(self) -> bool {
        matches!(self, Self::ArrayAgg | Self::Lag | Self::SingleValue)
    }
}

/// (Flink: FlinkTypeSystem.deriveSumType)
#[must_use]
pub fn sum_type(of: &Type) -> Type {
    match of {
        Type::Decimal { scale, .. } => Type::Decimal { precision: DECIMAL_PRECISION_MAX, scale: *scale },
        other => other.clone(),
    }
}

/// (Flink: FlinkTypeSystem.deriveAvgAggType)
#[must_use]
pub fn avg_type(of: &Type) -> Type {
    match of {
        Type::Decimal { scale, .. } => {
            Type::Decimal { precision: DECIMAL_PRECISION_MAX, scale: (*scale).max(6) }
        }
        other => other.clone(),
    }
}

impl fmt::Display for AggCall {
    /// `COUNT(DISTINCT $0) FILTER $1`, for EXPLAIN and ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}", self.function.name(), if self.distinct { "DISTINCT " } else { "" })?;
        if self.args.is_empty() {
            f.write_str("*")?;
        }
        for (i, arg) in self.args.iter().enumerate() {
            write!(f, "{}${arg}", if i == 0 { "" } else { ", " })?;
        }
        if let Some(separator) = &self.separator {
            write!(f, ", '{}'", separator.replace('\'', "''"))?;
        }
        f.write_str(")")?;
        if let Some(filter) = self.filter {
            write!(f, " FILTER ${filter}")?;
        }
        write!(f, " {}", self.data_type)
    }
}
