//! Literals: numbers, texts, dates and times, intervals.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's literals are many, and most are not Flink's"
)]

use sqlparser::ast::{
    DataType as ParsedType, DateTimeField, Expr as Parsed, Interval, Spanned, TypedString, UnaryOperator,
    Value,
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
        // Flink's literals are BigDecimals, which have no negative zero.
        return Ok(Expr::literal(Datum::Double(x + 0.0), Type::Double));
    }
    if let Ok(n) = digits.parse::<i64>() {
        let kind = if i32::try_from(n).is_ok() { Type::Int } else { Type::BigInt };
        return Ok(Expr::literal(Datum::Int(n), kind));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let significant = whole.trim_start_matches('-').trim_start_matches('0').len();
    let too_long = || SqlError::invalid(at, format!("Numeric literal '{digits}' out of range"));
    let scale = u8::try_from(fraction.len()).map_err(|_| too_long())?;
    // The zero before the point counts.
    let precision = u8::try_from(significant.max(1) + fraction.len()).map_err(|_| too_long())?;
    if precision > DECIMAL_PRECISION_MAX || fraction.is_empty() {
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
            // Flink's TIMEs have no fraction.
            let ms = i32::try_from(nanos / 1_000_000_000 * 1_000).map_err(|_| bad("TIME"))?;
            Ok(Expr::literal(Datum::Time(ms), Type::Time(0)))
        }
        ParsedType::Timestamp(None, _) => {
            let instant = calendar::parse_timestamp(text, ' ', false).ok_or_else(|| bad("TIMESTAMP"))?;
            Ok(Expr::literal(Datum::Timestamp(instant), Type::Timestamp(digits)))
        }
        other => Err(SqlError::syntax(at, format!("{other} '…' is not a literal of Flink SQL"))),
    }
}

/// The type of an interval in these units.
pub(super) fn interval_kind(interval: &Interval) -> Option<Type> {
    let months = rank(interval.leading_field.as_ref())? < DAY;
    Some(if months { Type::IntervalYear } else { Type::IntervalDay })
}

/// `INTERVAL '5' SECOND`, `INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL '1 02:03' DAY TO MINUTE`.
pub(super) fn interval(interval: &Interval, negative: bool) -> Result<Expr> {
    let at: Pos = interval.value.span().into();
    let needs_text = || SqlError::syntax(at, "INTERVAL needs a text in single quotes");
    let (value, negative) = match &*interval.value {
        Parsed::UnaryOp { op: UnaryOperator::Minus, expr } => (&**expr, !negative),
        value => (value, negative),
    };
    let Parsed::Value(value) = value else { return Err(needs_text()) };
    let Value::SingleQuotedString(text) = &value.value else { return Err(needs_text()) };
    let bad = || SqlError::invalid(at, format!("Illegal interval literal '{text}'"));
    let unknown = || SqlError::syntax(at, "an INTERVAL needs a unit of Flink SQL");
    let first = rank(interval.leading_field.as_ref()).ok_or_else(unknown)?;
    let last = match &interval.last_field {
        Some(field) => rank(Some(field)).filter(|last| *last > first).ok_or_else(unknown)?,
        None => first,
    };
    if matches!(
        interval.leading_field,
        Some(DateTimeField::Week(_) | DateTimeField::Weeks | DateTimeField::Quarter)
    ) {
        // There '1' WEEK is an hour and '1' QUARTER a month.
        let message = "Flink takes an INTERVAL in weeks or quarters for something else: write days or months";
        return Err(SqlError::invalid(at, message));
    }
    let months = first < DAY;
    if months != (last < DAY) {
        return Err(unknown());
    }
    let (minus, digits) = match text.trim().strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.trim().strip_prefix('+').unwrap_or(text.trim())),
    };
    let mut parts = digits.split([' ', ':', '-']);
    let mut total = 0i128;
    for rank in first..=last {
        let part = parts.next().ok_or_else(bad)?;
        // Seconds may have a fraction; it is kept to the millisecond.
        let amount = decimal::parse(part, 18, 3).flatten().filter(|n| *n >= 0).ok_or_else(bad)?;
        let (unit, limit) = UNITS.get(rank).copied().ok_or_else(bad)?;
        let whole = rank == SECOND || amount % 1_000 == 0;
        // Only the first may have more than fits into the next larger.
        if !whole || rank > first && amount >= i128::from(limit) * 1_000 {
            return Err(bad());
        }
        total += amount * i128::from(unit);
    }
    if parts.next().is_some() {
        return Err(bad());
    }
    let total = i64::try_from(total / 1_000).map_err(|_| bad())?;
    let kind = if months { Type::IntervalYear } else { Type::IntervalDay };
    Ok(Expr::literal(Datum::Int(if negative != minus { -total } else { total }), kind))
}

const DAY: usize = 2;
const SECOND: usize = 5;

/// Units from large to small: their length, in months or milliseconds, and how many the next larger has.
const UNITS: &[(i64, i64)] =
    &[(12, i64::MAX), (1, 12), (calendar::DAY_MS, i64::MAX), (3_600_000, 24), (60_000, 60), (1_000, 60)];

/// A unit's place in [`UNITS`].
fn rank(field: Option<&DateTimeField>) -> Option<usize> {
    Some(match field? {
        DateTimeField::Year | DateTimeField::Years => 0,
        DateTimeField::Month | DateTimeField::Months | DateTimeField::Quarter => 1,
        DateTimeField::Week(_) | DateTimeField::Weeks | DateTimeField::Day | DateTimeField::Days => DAY,
        DateTimeField::Hour | DateTimeField::Hours => 3,
        DateTimeField::Minute | DateTimeField::Minutes => 4,
        DateTimeField::Second | DateTimeField::Seconds => SECOND,
        _ => return None,
    })
}
