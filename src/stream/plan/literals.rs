//! Literals: numbers, texts, dates and times, intervals.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's literals are many, and most are not Flink's"
)]

use sqlparser::ast::{
    DataType as ParsedType, DateTimeField, Expr as Parsed, Interval, Spanned, TypedString, Value,
};

use super::types::{DECIMAL_PRECISION_MAX, Type};
use crate::stream::{
    datum::Datum,
    expr::{Expr, calendar, decimal},
    sql::{Pos, SqlError},
};

type Result<T> = std::result::Result<T, SqlError>;

pub(super) fn literal(value: &Value, at: Pos) -> Result<Expr> {
    match value {
        Value::Number(digits, false) => number(digits, at),
        Value::SingleQuotedString(text) | Value::UnicodeStringLiteral(text) => Ok(string(text)),
        Value::Boolean(b) => Ok(Expr::literal(Datum::Bool(*b), Type::Boolean)),
        Value::Null => Ok(Expr::literal(Datum::Null, Type::Null)),
        Value::HexStringLiteral(hex) => binary(hex, at),
        Value::DoubleQuotedString(_) => Err(SqlError::syntax(
            at,
            "texts are in single quotes, names in backticks; double quotes are not Flink SQL",
        )),
        other => Err(SqlError::syntax(at, format!("'{other}' is not a literal of Flink SQL"))),
    }
}

fn string(text: &str) -> Expr {
    let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    // Flink has no CHAR(0) but for the empty literal.
    Expr::literal(Datum::str(text), Type::Char(length))
}

fn binary(hex: &str, at: Pos) -> Result<Expr> {
    let bad = || SqlError::syntax(at, "Binary literal string must contain an even number of hexits");
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return Err(bad());
    }
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    for pair in hex.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(pair, 16).map_err(|_| bad())?);
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Ok(Expr::literal(Datum::bytes(bytes), Type::Binary(length)))
}

/// `1` is INT or BIGINT, `1.5` DECIMAL(2, 1), `1E0` DOUBLE.
pub(super) fn number(digits: &str, at: Pos) -> Result<Expr> {
    if digits.contains(['e', 'E']) {
        let x: f64 =
            digits.parse().map_err(|_| SqlError::syntax(at, format!("'{digits}' is not a number")))?;
        return Ok(Expr::literal(Datum::Double(x), Type::Double));
    }
    if let Ok(n) = digits.parse::<i64>() {
        let kind = if i32::try_from(n).is_ok() { Type::Int } else { Type::BigInt };
        return Ok(Expr::literal(Datum::Int(n), kind));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let significant = whole.trim_start_matches('-').trim_start_matches('0').len();
    let too_long = || SqlError::invalid(at, format!("Numeric literal '{digits}' out of range"));
    let scale = u8::try_from(fraction.len()).map_err(|_| too_long())?;
    let precision = u8::try_from(significant + fraction.len()).map_err(|_| too_long())?.max(1);
    if precision > DECIMAL_PRECISION_MAX {
        return Err(too_long());
    }
    match decimal::parse(digits, precision, scale) {
        Some(Some(unscaled)) => {
            Ok(Expr::literal(Datum::decimal(unscaled), Type::Decimal { precision, scale }))
        }
        _ => Err(SqlError::syntax(at, format!("'{digits}' is not a number"))),
    }
}

/// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
pub(super) fn typed(typed: &TypedString) -> Result<Expr> {
    let at: Pos = typed.value.span.into();
    let Value::SingleQuotedString(text) = &typed.value.value else {
        return Err(SqlError::syntax(at, "expected a text in single quotes"));
    };
    let digits =
        text.split_once('.').map_or(0, |(_, fraction)| u8::try_from(fraction.len()).unwrap_or(9).min(9));
    let bad = |kind: &str| SqlError::invalid(at, format!("Illegal {kind} literal '{text}'"));
    match &typed.data_type {
        ParsedType::Date => {
            let days = calendar::parse_date(text).ok_or_else(|| bad("DATE"))?;
            Ok(Expr::literal(Datum::Date(days), Type::Date))
        }
        ParsedType::Time(None, _) => {
            let nanos = calendar::parse_time(text, false).ok_or_else(|| bad("TIME"))?;
            let ms = i32::try_from(nanos / 1_000_000).map_err(|_| bad("TIME"))?;
            Ok(Expr::literal(Datum::Time(ms), Type::Time(digits)))
        }
        ParsedType::Timestamp(None, _) => {
            let instant = calendar::parse_timestamp(text, ' ', false).ok_or_else(|| bad("TIMESTAMP"))?;
            Ok(Expr::literal(Datum::Timestamp(instant), Type::Timestamp(digits)))
        }
        other => Err(SqlError::syntax(at, format!("{other} '…' is not a literal of Flink SQL"))),
    }
}

/// `INTERVAL '5' SECOND`, `INTERVAL '1-2' YEAR TO MONTH`.
pub(super) fn interval(interval: &Interval, negative: bool) -> Result<Expr> {
    let at: Pos = interval.value.span().into();
    let Parsed::Value(value) = &*interval.value else {
        return Err(SqlError::syntax(at, "INTERVAL needs a text in single quotes"));
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return Err(SqlError::syntax(at, "INTERVAL needs a text in single quotes"));
    };
    if interval.last_field.is_some() {
        return Err(SqlError::not_yet(at, "an INTERVAL of two units"));
    }
    let bad = || SqlError::invalid(at, format!("Illegal interval literal '{text}'"));
    let factor = match &interval.leading_field {
        Some(DateTimeField::Year | DateTimeField::Years) => 12,
        Some(DateTimeField::Month | DateTimeField::Months) => 1,
        Some(DateTimeField::Week(None) | DateTimeField::Weeks) => 7 * calendar::DAY_MS,
        Some(DateTimeField::Day | DateTimeField::Days) => calendar::DAY_MS,
        Some(DateTimeField::Hour | DateTimeField::Hours) => 3_600_000,
        Some(DateTimeField::Minute | DateTimeField::Minutes) => 60_000,
        Some(DateTimeField::Second | DateTimeField::Seconds) => 1_000,
        _ => return Err(SqlError::syntax(at, "an INTERVAL needs a unit of Flink SQL")),
    };
    let months = matches!(
        interval.leading_field,
        Some(DateTimeField::Year | DateTimeField::Years | DateTimeField::Month | DateTimeField::Months)
    );
    let seconds = factor == 1_000 && !months;
    // Seconds may have a fraction; it is kept to the millisecond.
    let amount = decimal::parse(text.trim(), 18, 3).flatten().ok_or_else(bad)?;
    if amount % 1_000 != 0 && !seconds {
        return Err(bad());
    }
    let total = i64::try_from(amount * i128::from(factor) / 1_000).map_err(|_| bad())?;
    let kind = if months { Type::IntervalYear } else { Type::IntervalDay };
    Ok(Expr::literal(Datum::Int(if negative { -total } else { total }), kind))
}
