//! Values as text: as `CAST(… AS STRING)` has them, and as Flink's `print` table shows them.

use super::{calendar, decimal};
use crate::stream::{
    datum::{Datum, Instant},
    plan::types::Type,
};

/// Java's `Double.toString`: the shortest digits that read back, in its layout.
#[must_use]
pub fn java_double(x: f64) -> String {
    java_layout(&shortest(x))
}

/// The shortest digits that read back; of one digit alone Java takes two if they are nearer.
fn shortest(x: f64) -> String {
    let shortest = format!("{x:e}");
    let nearer = || Some(format!("{x:.1e}")).filter(|two| two.parse() == Ok(x) && !two.contains(".0e"));
    if shortest.contains('.') { shortest } else { nearer().unwrap_or(shortest) }
}

/// Java's `Float.toString`.
#[must_use]
pub fn java_single(x: f32) -> String {
    java_layout(&format!("{x:e}"))
}

/// The shortest digits as Rust has them (`-1.25e3`), in Java's layout.
fn java_layout(shortest: &str) -> String {
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        // NaN, inf and -inf.
        return shortest.replace("inf", "Infinity");
    };
    let places: i32 = exponent.parse().unwrap_or_default();
    let distance = usize::try_from(places.unsigned_abs()).unwrap_or_default();
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut text = String::with_capacity(JAVA_BYTES_MAX);
    match places {
        0..7 => {
            let (whole, fraction) = rest.split_at(distance.min(rest.len()));
            text.extend([first, whole]);
            text.extend(std::iter::repeat_n('0', distance - whole.len()));
            text.extend([".", if fraction.is_empty() { "0" } else { fraction }]);
        }
        -3..0 => {
            text.push_str(if first.starts_with('-') { "-0." } else { "0." });
            text.extend(std::iter::repeat_n('0', distance - 1));
            text.extend([first.trim_start_matches('-'), rest]);
        }
        _ => text.extend([first, ".", if rest.is_empty() { "0" } else { rest }, "E", exponent]),
    }
    text
}

/// Sign, point, seventeen digits, and an exponent of three with its sign.
const JAVA_BYTES_MAX: usize = 26;

/// `CAST(value AS STRING)`.
#[must_use]
pub fn cast_text(value: &Datum, kind: &Type) -> String {
    match (value, kind) {
        (Datum::Bool(b), _) => if *b { "TRUE" } else { "FALSE" }.to_owned(),
        (Datum::Decimal(n), Type::Decimal { scale, .. }) => decimal::plain((*n).into(), *scale),
        (Datum::Timestamp(at), Type::Timestamp(digits) | Type::TimestampLtz(digits)) => {
            let mut out = String::with_capacity(29);
            calendar::write_timestamp(&mut out, *at, ' ', usize::from(*digits));
            out
        }
        (Datum::Bytes(bytes), _) => String::from_utf8_lossy(bytes).into_owned(),
        (Datum::Int(ms), Type::IntervalDay) => day_interval(*ms),
        (Datum::Int(months), Type::IntervalYear) => {
            let sign = if *months < 0 { '-' } else { '+' };
            format!("{sign}{}-{:02}", months.abs() / 12, months.abs() % 12)
        }
        (Datum::Time(ms), _) => {
            let mut out = String::with_capacity(12);
            let at = Instant::from_ms(i64::from(*ms));
            calendar::write_time(&mut out, &calendar::Civil::of(at), 0);
            out
        }
        (Datum::Array(items), Type::Array(item)) => {
            let items: Vec<String> = items.iter().map(|v| cast_part(v, &item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        (Datum::Map(entries), Type::Map(key, of)) => {
            let entry =
                |(k, v): &(Datum, Datum)| format!("{}={}", cast_part(k, &key.kind), cast_part(v, &of.kind));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        (Datum::Map(entries), Type::Multiset(item)) => {
            let entry = |(v, count): &(Datum, Datum)| {
                format!("{}={}", cast_part(v, &item.kind), cast_part(count, &Type::Int))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        (Datum::Row(values), Type::Row(fields)) => {
            let values: Vec<String> =
                values.iter().zip(fields).map(|(v, (_, t))| cast_part(v, &t.kind)).collect();
            format!("({})", values.join(", "))
        }
        _ => display(value, kind),
    }
}

/// A value within another.
fn cast_part(value: &Datum, kind: &Type) -> String {
    if value.is_null() { "NULL".to_owned() } else { cast_text(value, kind) }
}

/// `+1 02:03:04.567`.
fn day_interval(ms: i64) -> String {
    let (sign, ms) = (if ms < 0 { '-' } else { '+' }, ms.unsigned_abs());
    let (seconds, fraction) = (ms / 1_000, ms % 1_000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    format!("{sign}{days} {:02}:{:02}:{:02}.{fraction:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// `Duration.toString`: `PT26H3M4.5S`.
fn java_duration(ms: i64) -> String {
    if ms == 0 {
        return "PT0S".to_owned();
    }
    let (hours, minutes, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms % 60_000);
    let mut out = String::from("PT");
    if hours != 0 {
        out.push_str(&format!("{hours}H"));
    }
    if minutes != 0 {
        out.push_str(&format!("{minutes}M"));
    }
    if rest != 0 {
        let sign = if rest < 0 { "-" } else { "" };
        let (seconds, fraction) = (rest.abs() / 1_000, rest.abs() % 1_000);
        let fraction = format!("{fraction:03}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        out.push_str(&format!("{sign}{seconds}{point}{fraction}S"));
    }
    out
}

/// `Period.toString` of years and months.
fn java_period(months: i64) -> String {
    match (months / 12, months % 12) {
        (0, 0) => "P0D".to_owned(),
        (0, months) => format!("P{months}M"),
        (years, 0) => format!("P{years}Y"),
        (years, months) => format!("P{years}Y{months}M"),
    }
}

/// As `print` shows it, which is Java's `toString` of the external value.
#[must_use]
pub fn display(value: &Datum, kind: &Type) -> String {
    match (value, kind) {
        (Datum::Null, _) => "null".to_owned(),
        (Datum::Bool(b), _) => b.to_string(),
        (Datum::Int(ms), Type::IntervalDay) => java_duration(*ms),
        (Datum::Int(months), Type::IntervalYear) => java_period(*months),
        (Datum::Int(n), _) => n.to_string(),
        (Datum::Double(x), _) => java_double(*x),
        (Datum::Float(x), _) => java_single(*x),
        (Datum::Str(text), _) => text.to_string(),
        (Datum::Bytes(bytes), _) => {
            let items: Vec<String> = bytes.iter().map(|b| b.cast_signed().to_string()).collect();
            format!("[{}]", items.join(", "))
        }
        (Datum::Decimal(n), Type::Decimal { scale, .. }) => decimal::scientific((*n).into(), *scale),
        (Datum::Decimal(n), _) => i128::from(*n).to_string(),
        (Datum::Date(days), _) => {
            let mut out = String::with_capacity(10);
            calendar::write_date(&mut out, i64::from(*days));
            out
        }
        (Datum::Time(ms), _) => java_time(i64::from(*ms) * 1_000_000),
        (Datum::Timestamp(at), _) => {
            let mut out = String::with_capacity(30);
            calendar::write_date(&mut out, at.ms.div_euclid(calendar::DAY_MS));
            let nanos = at.ms.rem_euclid(calendar::DAY_MS) * 1_000_000 + i64::from(at.nanos);
            out.push('T');
            // Instant shows its seconds always, LocalDateTime only when there are some.
            if matches!(kind, Type::TimestampLtz(_)) {
                out.push_str(&java_time_full(nanos));
                out.push('Z');
            } else {
                out.push_str(&java_time(nanos));
            }
            out
        }
        (Datum::Array(items), Type::Array(item)) => {
            let items: Vec<String> = items.iter().map(|v| display(v, &item.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        (Datum::Map(entries), Type::Map(key, of)) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(k, v)| format!("{}={}", display(k, &key.kind), display(v, &of.kind)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        (Datum::Map(entries), Type::Multiset(item)) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(v, count)| format!("{}={}", display(v, &item.kind), display(count, &Type::Int)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        (Datum::Row(values), Type::Row(fields)) => {
            let values: Vec<String> =
                values.iter().zip(fields).map(|(v, (_, t))| display(v, &t.kind)).collect();
            format!("+I[{}]", values.join(", "))
        }
        (Datum::Array(_) | Datum::Map(_) | Datum::Row(_), _) => format!("{value:?}"),
    }
}

/// `LocalTime.toString`: no seconds when there are none, fractions in threes.
fn java_time(nanos: i64) -> String {
    let full = java_time_full(nanos);
    match full.strip_suffix(":00") {
        Some(short) if nanos % 60_000_000_000 == 0 => short.to_owned(),
        _ => full,
    }
}

fn java_time_full(nanos: i64) -> String {
    let seconds = nanos / 1_000_000_000;
    let mut out = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = nanos % 1_000_000_000;
    if fraction % 1_000_000 == 0 && fraction != 0 {
        out.push_str(&format!(".{:03}", fraction / 1_000_000));
    } else if fraction % 1_000 == 0 && fraction != 0 {
        out.push_str(&format!(".{:06}", fraction / 1_000));
    } else if fraction != 0 {
        out.push_str(&format!(".{fraction:09}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::datum::Instant;

    #[test]
    fn doubles_are_javas() {
        let rows = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1234567.0, "1234567.0"),
            (12345678.0, "1.2345678E7"),
            (1e10, "1.0E10"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (-2.5, "-2.5"),
            (-0.0025, "-0.0025"),
            (1234.5678, "1234.5678"),
            (-1.5e-300, "-1.5E-300"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (x, expected) in rows {
            assert_eq!(java_double(x), expected);
        }
        assert_eq!(java_single(0.1), "0.1");
    }

    #[test]
    fn timestamps_are_shown_as_java_shows_them() {
        let at = Datum::Timestamp(Instant::from_ms(1_577_934_240_000));
        assert_eq!(display(&at, &Type::Timestamp(3)), "2020-01-02T03:04");
        assert_eq!(display(&at, &Type::TimestampLtz(3)), "2020-01-02T03:04:00Z");
        assert_eq!(cast_text(&at, &Type::Timestamp(3)), "2020-01-02 03:04:00.000");
    }
}
