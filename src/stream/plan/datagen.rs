//! The options of the `datagen` connector.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{
    catalog::{Column, ColumnKind},
    connector::refuse_parallelism,
    options::{Options, invalid},
    types::{LENGTH_MAX, Type},
};
use crate::stream::sql::SqlError;

/// What `datagen` makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Datagen {
    pub rows_per_second: u64,
    pub number_of_rows: Option<u64>,
    /// One for each physical column.
    pub fields: Vec<Field>,
}

/// How one column is made.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The date or the time of the day.
    Now,
    RandomBool,
    RandomBytes {
        count: u32,
    },
    /// Any digits behind the point between two numbers.
    RandomDecimal {
        min: f64,
        max: f64,
    },
    RandomFloat {
        min: f64,
        max: f64,
    },
    RandomInt {
        min: i64,
        max: i64,
    },
    RandomText {
        chars: u32,
    },
    /// Now, less at most as many milliseconds.
    RandomTime {
        past_ms: i64,
    },
    Sequence {
        start: i64,
        end: i64,
    },
}

const ROWS_PER_SECOND: u64 = 10_000;
const TEXT_CHARS: u32 = 100;
const TEXT_CHARS_MAX: u32 = 1 << 20;

/// Reads the options of the connector.
pub(super) fn read(options: &mut Options<'_>, columns: &[Column]) -> Result<Datagen, SqlError> {
    refuse_parallelism(options, "scan.parallelism")?;
    let rows_per_second = options.number("rows-per-second")?.unwrap_or(ROWS_PER_SECOND);
    let number_of_rows = options.number("number-of-rows")?;
    let mut fields = Vec::new();
    for column in columns.iter().filter(|c| c.kind == ColumnKind::Physical) {
        fields.push(field(options, column)?);
    }
    options.refuse_if(|key| {
        let rest = key.strip_prefix("fields.").unwrap_or_default();
        ["null-rate", "var-len"].iter().any(|name| rest.ends_with(name))
    })?;
    Ok(Datagen { rows_per_second, number_of_rows, fields })
}

fn field(options: &mut Options<'_>, column: &Column) -> Result<Field, SqlError> {
    let key = |name: &str| format!("fields.{}.{name}", column.name);
    let kind = &column.data_type.kind;
    let sequence = options.choice(&key("kind"), false, &[("random", false), ("sequence", true)])?;
    if sequence {
        if !(kind.is_integer() || kind.is_string()) {
            return Err(SqlError::not_yet(options.at(), format!("a datagen sequence of {kind}")));
        }
        let at = options.required(&key("start"))?;
        let start = at.value.trim().parse().map_err(|_| invalid(at, "expected a number"))?;
        let at = options.required(&key("end"))?;
        let end = at.value.trim().parse().map_err(|_| invalid(at, "expected a number"))?;
        return Ok(Field::Sequence { start, end });
    }
    Ok(match kind {
        Type::Boolean => Field::RandomBool,
        Type::TinyInt => int(options, &key, i8::MIN.into(), i8::MAX.into())?,
        Type::SmallInt => int(options, &key, i16::MIN.into(), i16::MAX.into())?,
        Type::Int => int(options, &key, i32::MIN.into(), i32::MAX.into())?,
        Type::BigInt => int(options, &key, i64::MIN, i64::MAX)?,
        Type::Float => float(options, &key, f64::from(f32::MIN), f64::from(f32::MAX))?,
        Type::Double => float(options, &key, f64::MIN, f64::MAX)?,
        Type::Varchar(most) => Field::RandomText { chars: length(options, &column.name, *most)? },
        Type::Varbinary(most) => Field::RandomBytes { count: length(options, &column.name, *most)? },
        Type::Char(_) | Type::Binary(_) if options.number::<u32>(&key("length"))?.is_some() => {
            let message = format!(
                "Custom length for fixed-length type (CHAR/BINARY) field '{}' is not supported.",
                column.name
            );
            return Err(SqlError::invalid(options.at(), message));
        }
        Type::Char(n) | Type::Binary(n) if *n > TEXT_CHARS_MAX => {
            let message = format!("the field '{}' is longer than {TEXT_CHARS_MAX}", column.name);
            return Err(SqlError::invalid(options.at(), message));
        }
        Type::Char(n) => Field::RandomText { chars: *n },
        Type::Binary(n) => Field::RandomBytes { count: *n },
        Type::Date | Type::Time(_) => Field::Now,
        Type::Decimal { precision, scale } => {
            let limit = 10f64.powi(i32::from(precision - scale));
            let (min, max) = range(options, &key, 0.0, limit)?;
            let (min, max) = (min.max(-limit), max.min(limit));
            if min >= max {
                let message = format!("min bound must be less than max [{min:.6}, {max:.6}]");
                return Err(SqlError::invalid(options.at(), message));
            }
            Field::RandomDecimal { min, max }
        }
        Type::Timestamp(_) | Type::TimestampLtz(_) => {
            Field::RandomTime { past_ms: options.number(&key("max-past"))?.unwrap_or(0) }
        }
        other => return Err(SqlError::not_yet(options.at(), format!("a datagen column of {other}"))),
    })
}

/// The length of a text or of bytes: as given, or as much as the type holds.
fn length(options: &mut Options<'_>, name: &str, most: u32) -> Result<u32, SqlError> {
    let key = format!("fields.{name}.length");
    let given = options.number(&key)?;
    if let Some(given) = given.filter(|given| *given > most) {
        let message = format!(
            "Custom length '{given}' for variable-length type (VARCHAR/STRING/VARBINARY/BYTES) field '{name}' should be \
             shorter than '{most}' defined in the schema."
        );
        return Err(SqlError::invalid(options.at(), message));
    }
    let length = given.unwrap_or(if most == LENGTH_MAX { TEXT_CHARS } else { most });
    if length > TEXT_CHARS_MAX {
        let message = format!("'{key}' is larger than {TEXT_CHARS_MAX}");
        return Err(SqlError::invalid(options.at(), message));
    }
    Ok(length)
}

fn int(
    options: &mut Options<'_>,
    key: &dyn Fn(&str) -> String,
    low: i64,
    high: i64,
) -> Result<Field, SqlError> {
    let min = options.number(&key("min"))?.unwrap_or(low);
    let max = options.number(&key("max"))?.unwrap_or(high);
    if min > max || min < low || max > high {
        return Err(SqlError::invalid(
            options.at(),
            format!("'{}' must not be above '{}'", key("min"), key("max")),
        ));
    }
    Ok(Field::RandomInt { min, max })
}

fn float(
    options: &mut Options<'_>,
    key: &dyn Fn(&str) -> String,
    low: f64,
    high: f64,
) -> Result<Field, SqlError> {
    let (min, max) = range(options, key, low, high)?;
    Ok(Field::RandomFloat { min, max })
}

fn range(
    options: &mut Options<'_>,
    key: &dyn Fn(&str) -> String,
    low: f64,
    high: f64,
) -> Result<(f64, f64), SqlError> {
    let min = options.number(&key("min"))?.unwrap_or(low);
    let max = options.number(&key("max"))?.unwrap_or(high);
    Ok((min, max))
}
