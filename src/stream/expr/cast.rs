//! CAST: which casts exist, and what they do to a value. (Flink 2.2, `table.exec.legacy-cast-behaviour` disabled)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{EvalError, calendar, decimal, text};
use crate::stream::{
    datum::{Datum, Instant},
    plan::types::{DataType, Type},
};

/// Whether `CAST(from AS to)` is possible and we have it.
#[must_use]
pub fn supported(from: &Type, to: &Type) -> bool {
    if from == to || *from == Type::Null {
        return true;
    }
    match to {
        Type::Char(_) | Type::Varchar(_) => {
            from.is_numeric()
                || from.is_string()
                || from.is_binary()
                || from.is_timestamp()
                || from.is_interval()
                || matches!(from, Type::Boolean | Type::Date | Type::Time(_))
                || from.is_nested() && parts(from).iter().all(|part| supported(&part.kind, &Type::STRING))
        }
        Type::Boolean => from.is_numeric() || from.is_string(),
        Type::Binary(_) | Type::Varbinary(_) => from.is_string() || from.is_binary(),
        Type::Date => from.is_string() || from.is_timestamp(),
        Type::Time(_) => from.is_string() || from.is_timestamp() || matches!(from, Type::Time(_)),
        Type::Timestamp(_) | Type::TimestampLtz(_) => {
            from.is_string() || from.is_timestamp() || matches!(from, Type::Date | Type::Time(_))
        }
        Type::Array(_) | Type::Map(..) | Type::Multiset(_) | Type::Row(_) => {
            let (from, to) = (parts_like(from, to), parts(to));
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| supported(&from.kind, &to.kind))
        }
        _ if to.is_numeric() => from.is_numeric() || from.is_string() || *from == Type::Boolean,
        _ => false,
    }
}

/// What values of a nested type are made of.
fn parts(of: &Type) -> Vec<&DataType> {
    match of {
        Type::Array(item) | Type::Multiset(item) => vec![item],
        Type::Map(key, value) => vec![key, value],
        Type::Row(fields) => fields.iter().map(|(_, field)| field).collect(),
        _ => Vec::new(),
    }
}

/// The same, if the other type is nested in the same way.
fn parts_like<'a>(of: &'a Type, like: &Type) -> Vec<&'a DataType> {
    if std::mem::discriminant(of) == std::mem::discriminant(like) { parts(of) } else { Vec::new() }
}

/// The value as the other type.
pub fn cast(value: &Datum, from: &Type, to: &Type) -> Result<Datum, EvalError> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    match to {
        Type::Char(length) => {
            let text = fixed(text::cast_text(value, from), *length);
            let missing = (*length as usize).saturating_sub(text.chars().count());
            Ok(Datum::str(text + &" ".repeat(missing)))
        }
        Type::Varchar(length) => match value {
            // The common case costs a reference count.
            Datum::Str(s) if s.len() <= *length as usize => Ok(Datum::Str(s.clone())),
            _ => Ok(Datum::str(fixed(text::cast_text(value, from), *length))),
        },
        Type::Boolean => boolean(value, from),
        Type::Binary(_) | Type::Varbinary(_) => binary(value, to),
        Type::Date => date(value),
        Type::Time(digits) => time(value, *digits),
        Type::Timestamp(digits) | Type::TimestampLtz(digits) => timestamp(value, *digits, to),
        Type::Decimal { precision, scale } => to_decimal(value, from, *precision, *scale),
        Type::Double => Ok(Datum::Double(to_double(value, from)?)),
        Type::Float => Ok(Datum::Float(match value {
            Datum::Str(s) => parse_double(s)?.1,
            Datum::Int(n) => *n as f32,
            _ => to_double(value, from)? as f32,
        })),
        Type::TinyInt | Type::SmallInt | Type::Int | Type::BigInt => integer(value, from, to),
        Type::Array(_) | Type::Map(..) | Type::Multiset(_) | Type::Row(_) if from != to => {
            nested(value, from, to)
        }
        Type::Array(_)
        | Type::IntervalDay
        | Type::IntervalYear
        | Type::Map(..)
        | Type::Multiset(_)
        | Type::Null
        | Type::Row(_) => {
            if from == to {
                Ok(value.clone())
            } else {
                Err(impossible(from, to))
            }
        }
    }
}

/// Part for part.
fn nested(value: &Datum, from: &Type, to: &Type) -> Result<Datum, EvalError> {
    match (value, parts_like(from, to).as_slice(), parts(to).as_slice()) {
        (Datum::Array(items), [from], [to]) => {
            let items = items.iter().map(|item| cast(item, &from.kind, &to.kind));
            Ok(Datum::Array(items.collect::<Result<_, _>>()?))
        }
        (Datum::Map(entries), [from_key, from], [to_key, to]) => {
            let entries = entries.iter().map(|(key, value)| {
                Ok((cast(key, &from_key.kind, &to_key.kind)?, cast(value, &from.kind, &to.kind)?))
            });
            Ok(Datum::Map(entries.collect::<Result<_, EvalError>>()?))
        }
        (Datum::Map(entries), [from], [to]) => {
            let entries =
                entries.iter().map(|(value, count)| Ok((cast(value, &from.kind, &to.kind)?, count.clone())));
            Ok(Datum::Map(entries.collect::<Result<_, EvalError>>()?))
        }
        (Datum::Row(values), from, to) => {
            let values = values.iter().zip(from.iter().zip(to));
            let values = values.map(|(value, (from, to))| cast(value, &from.kind, &to.kind));
            Ok(Datum::Row(values.collect::<Result<_, _>>()?))
        }
        _ => Err(impossible(from, to)),
    }
}

fn impossible(from: &Type, to: &Type) -> EvalError {
    EvalError(format!("no cast from {from} to {to}"))
}

fn fixed(text: String, length: u32) -> String {
    match text.char_indices().nth(length as usize) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

fn boolean(value: &Datum, from: &Type) -> Result<Datum, EvalError> {
    Ok(Datum::Bool(match value {
        Datum::Bool(b) => *b,
        Datum::Int(n) => *n != 0,
        Datum::Double(x) => *x != 0.0,
        Datum::Float(x) => *x != 0.0,
        Datum::Decimal(n) => i128::from(*n) != 0,
        Datum::Str(s) => match s.to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "1" => true,
            "f" | "false" | "n" | "no" | "0" => false,
            _ => return Err(EvalError(format!("Cannot parse '{s}' as BOOLEAN."))),
        },
        _ => return Err(impossible(from, &Type::Boolean)),
    }))
}

fn binary(value: &Datum, to: &Type) -> Result<Datum, EvalError> {
    let bytes: &[u8] = match value {
        Datum::Str(s) => s.as_bytes(),
        Datum::Bytes(b) => b,
        _ => return Err(EvalError("no cast to a binary type".to_owned())),
    };
    let length = match to {
        Type::Binary(n) | Type::Varbinary(n) => *n as usize,
        _ => bytes.len(),
    };
    let mut bytes = bytes.get(..length).unwrap_or(bytes).to_vec();
    if let Type::Binary(n) = to {
        bytes.resize(*n as usize, 0);
    }
    Ok(Datum::bytes(bytes))
}

fn date(value: &Datum) -> Result<Datum, EvalError> {
    let days = match value {
        Datum::Date(days) => Some(*days),
        Datum::Timestamp(at) => i32::try_from(at.ms.div_euclid(calendar::DAY_MS)).ok(),
        Datum::Str(s) => calendar::read_date(s),
        _ => None,
    };
    days.map(Datum::Date).ok_or_else(|| EvalError(format!("Cannot cast {value:?} to DATE.")))
}

fn time(value: &Datum, digits: u8) -> Result<Datum, EvalError> {
    let ms = match value {
        Datum::Time(ms) => Some(i64::from(*ms)),
        Datum::Timestamp(at) => Some(at.ms.rem_euclid(calendar::DAY_MS)),
        Datum::Str(s) => calendar::parse_time(s.trim(), true).and_then(|n| i64::try_from(n / 1_000_000).ok()),
        _ => None,
    };
    let ms = ms.and_then(|ms| i32::try_from(Instant::from_ms(ms).truncated(digits).ms).ok());
    ms.map(Datum::Time).ok_or_else(|| EvalError(format!("Cannot cast {value:?} to TIME.")))
}

fn timestamp(value: &Datum, digits: u8, to: &Type) -> Result<Datum, EvalError> {
    let at = match value {
        Datum::Timestamp(at) => Some(*at),
        Datum::Date(days) => Some(Instant::from_ms(i64::from(*days) * calendar::DAY_MS)),
        Datum::Time(ms) => Some(Instant::from_ms(i64::from(*ms))),
        Datum::Str(s) => calendar::read_timestamp(s),
        _ => None,
    };
    match (at, value) {
        (Some(at), _) => Ok(Datum::Timestamp(at.truncated(digits))),
        (None, Datum::Str(s)) => Err(EvalError(format!("Cannot parse '{s}' as {to}."))),
        (None, _) => Err(EvalError(format!("no cast to {to}"))),
    }
}

fn to_decimal(value: &Datum, from: &Type, precision: u8, scale: u8) -> Result<Datum, EvalError> {
    let unscaled = match value {
        Datum::Decimal(n) => {
            let scale_before = from.as_decimal().map_or(0, |(_, s)| s);
            decimal::rescale((*n).into(), scale_before, scale, precision)
        }
        Datum::Int(n) => decimal::rescale((*n).into(), 0, scale, precision),
        Datum::Bool(b) => decimal::rescale(i128::from(*b), 0, scale, precision),
        // By way of the shortest text, as BigDecimal.valueOf(double) does.
        Datum::Double(x) => decimal::parse(&x.to_string(), precision, scale).flatten(),
        Datum::Float(x) => decimal::parse(&f64::from(*x).to_string(), precision, scale).flatten(),
        Datum::Str(s) => decimal::parse(s.trim(), precision, scale).ok_or_else(|| not_a_number(s))?,
        _ => return Err(impossible(from, &Type::Decimal { precision, scale })),
    };
    Ok(unscaled.map_or(Datum::Null, Datum::decimal))
}

/// A numeric value as a double.
pub fn to_double(value: &Datum, from: &Type) -> Result<f64, EvalError> {
    match value {
        Datum::Int(n) => Ok(*n as f64),
        Datum::Double(x) => Ok(*x),
        Datum::Float(x) => Ok(f64::from(*x)),
        Datum::Bool(b) => Ok(f64::from(u8::from(*b))),
        Datum::Decimal(n) => Ok(decimal::to_f64((*n).into(), from.as_decimal().map_or(0, |(_, s)| s))),
        Datum::Str(s) => Ok(parse_double(s)?.0),
        _ => Err(impossible(from, &Type::Double)),
    }
}

/// As `Double.parseDouble` and `Float.parseFloat` read it; Rust alone would also take "inf".
pub fn parse_double(text: &str) -> Result<(f64, f32), EvalError> {
    let number = text.trim();
    let named = matches!(number.trim_start_matches(['+', '-']), "NaN" | "Infinity");
    let digits = number.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(number);
    let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let chosen = if named { number } else { digits };
    match (chosen.parse(), chosen.parse()) {
        (Ok(double), Ok(single)) if named || plain => Ok((double, single)),
        _ => Err(not_a_number(text)),
    }
}

fn integer(value: &Datum, from: &Type, to: &Type) -> Result<Datum, EvalError> {
    let whole = match value {
        Datum::Int(n) => *n,
        Datum::Bool(b) => i64::from(*b),
        Datum::Decimal(n) => {
            let scale = from.as_decimal().map_or(0, |(_, s)| s);
            // BigDecimal.longValue keeps the low 64 bits.
            (i128::from(*n) / decimal::pow10(scale)) as i64
        }
        // Java's (long) of a double saturates; (byte) and (short) go by way of (int).
        Datum::Double(x) => saturated(*x, to),
        Datum::Float(x) => saturated(f64::from(*x), to),
        Datum::Str(s) => return parse_integer(s, to).map(Datum::Int),
        _ => return Err(impossible(from, to)),
    };
    Ok(Datum::Int(wrap(whole, to)))
}

fn saturated(x: f64, to: &Type) -> i64 {
    if *to == Type::BigInt { x as i64 } else { i64::from(x as i32) }
}

/// The low bits of a whole number, as many as the type has.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "wrapping is what Java's narrowing does")]
pub fn wrap(n: i64, to: &Type) -> i64 {
    match to {
        Type::TinyInt => i64::from(n as i8),
        Type::SmallInt => i64::from(n as i16),
        Type::Int => i64::from(n as i32),
        _ => n,
    }
}

/// A whole number; what follows a point is checked and dropped. (Flink: BinaryStringDataUtil.toLong)
fn parse_integer(text: &str, to: &Type) -> Result<i64, EvalError> {
    let number = text.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let valid = digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
        && !(digits.is_empty() && fraction.is_empty());
    let parsed = match digits {
        _ if !valid => None,
        "" => Some(0),
        _ => whole.parse::<i64>().ok(),
    };
    parsed.filter(|n| wrap(*n, to) == *n).ok_or_else(|| not_a_number(text))
}

fn not_a_number(text: &str) -> EvalError {
    EvalError(format!("For input string: '{text}'. Invalid character found."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: Datum, from: Type, to: Type, expected: Result<Datum, &str>) {
        let got = cast(&value, &from, &to).map_err(|e| e.0);
        assert_eq!(got, expected.map_err(str::to_owned), "{value:?} from {from} to {to}");
    }

    #[test]
    fn casts_are_flinks() {
        let s = |text: &str| Datum::str(text);
        let dec = |precision, scale| Type::Decimal { precision, scale };
        check(Datum::Int(300), Type::Int, Type::TinyInt, Ok(Datum::Int(44)));
        check(Datum::Double(1e30), Type::Double, Type::Int, Ok(Datum::Int(i64::from(i32::MAX))));
        check(Datum::Double(f64::NAN), Type::Double, Type::BigInt, Ok(Datum::Int(0)));
        check(s(" 12 "), Type::STRING, Type::Int, Ok(Datum::Int(12)));
        check(s("12.9"), Type::STRING, Type::Int, Ok(Datum::Int(12)));
        check(
            s("3000000000"),
            Type::STRING,
            Type::Int,
            Err("For input string: '3000000000'. Invalid character found."),
        );
        check(s("abc"), Type::STRING, Type::Double, Err("For input string: 'abc'. Invalid character found."));
        check(s("inf"), Type::STRING, Type::Double, Err("For input string: 'inf'. Invalid character found."));
        check(s("1e3"), Type::STRING, Type::Double, Ok(Datum::Double(1000.0)));
        check(s("yes"), Type::STRING, Type::Boolean, Ok(Datum::Bool(true)));
        check(s("maybe"), Type::STRING, Type::Boolean, Err("Cannot parse 'maybe' as BOOLEAN."));
        check(Datum::Bool(true), Type::Boolean, Type::STRING, Ok(s("TRUE")));
        check(Datum::Int(12345), Type::Int, Type::Varchar(3), Ok(s("123")));
        check(s("ab"), Type::STRING, Type::Char(4), Ok(s("ab  ")));
        check(Datum::decimal(1999), dec(5, 2), Type::Int, Ok(Datum::Int(19)));
        check(Datum::decimal(1995), dec(5, 2), dec(4, 1), Ok(Datum::decimal(200)));
        check(Datum::decimal(99999), dec(5, 2), dec(4, 2), Ok(Datum::Null));
        check(Datum::Double(1.005), Type::Double, dec(5, 2), Ok(Datum::decimal(101)));
        check(
            Datum::Date(1),
            Type::Date,
            Type::Timestamp(3),
            Ok(Datum::Timestamp(Instant::from_ms(86_400_000))),
        );
        check(s("1970-01-02"), Type::STRING, Type::Date, Ok(Datum::Date(1)));
    }
}
