//! Units of time: EXTRACT, FLOOR and CEIL to a unit, and the difference of two times in one.
//!
//! The unit is the last argument, a literal that the analysis puts there.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{
    Arg, Builtin, Call, EvalError, Expr, Ret, Type_, date_pattern::weekday, literal_text, strict_row,
    strict_with,
};
use crate::stream::{
    datum::{Datum, Instant},
    expr::{
        calendar::{self, Civil, DAY_MS},
        calendar_shift,
    },
    plan::types::Type,
};

use Arg::{Dated, Interval, Str, Temporal};

pub(super) const TABLE: &[Builtin] = &[
    strict_row("EXTRACT", &[&[Temporal, Str], &[Interval, Str]], Ret::Is(Type_::BigInt), |args, _| {
        extract(args)
    }),
    strict_row("FLOOR_TO", &[&[Temporal, Str]], Ret::First, |args, _| round_to(args, false)),
    strict_row("CEIL_TO", &[&[Temporal, Str]], Ret::First, |args, _| round_to(args, true)),
    // `a - b`; the analysis makes it an interval.
    strict_row("$MILLISECONDS", &[&[Dated, Dated]], Ret::Is(Type_::BigInt), |_, _| {
        strict_with(|args, _| {
            let times = instant(args.first()).zip(instant(args.get(1)));
            Ok(times.map_or(Datum::Null, |(a, b)| Datum::Int(a.ms - b.ms)))
        })
    }),
    strict_row("TIMESTAMPDIFF", &[&[Dated, Dated, Str]], Ret::Is(Type_::Int), |args, _| difference(args)),
];

/// The unit that is the last argument.
fn unit_of(args: &[Expr]) -> String {
    literal_text(args, args.len().saturating_sub(1)).unwrap_or_default().to_ascii_uppercase()
}

/// A point in time; of a TIME on the first of all days.
pub(super) fn instant(value: Option<&Datum>) -> Option<Instant> {
    match value {
        Some(Datum::Timestamp(at)) => Some(*at),
        Some(Datum::Date(days)) => Some(Instant::from_ms(i64::from(*days) * DAY_MS)),
        Some(Datum::Time(ms)) => Some(Instant::from_ms(i64::from(*ms))),
        _ => None,
    }
}

fn extract(args: &[Expr]) -> Result<Call, EvalError> {
    let unit = unit_of(args);
    let kind = args.first().map_or(Type::Null, |a| a.data_type.kind.clone());
    if kind.is_interval() {
        return extract_interval(&unit, &kind);
    }
    let field: fn(Instant, Civil) -> i64 = match unit.as_str() {
        "YEAR" => |_, c| c.year.into(),
        "QUARTER" => |_, c| c.month.div_ceil(3).into(),
        "MONTH" => |_, c| c.month.into(),
        "WEEK" => |at, _| iso_week(at).1,
        "ISOYEAR" => |at, _| iso_week(at).0,
        "DAY" => |_, c| c.day.into(),
        "DOY" => |at, c| day_of(at) - calendar::days_of(c.year, 1, 1) + 1,
        "DOW" => |at, _| weekday(day_of(at)) + 1,
        "ISODOW" => |at, _| (weekday(day_of(at)) + 6) % 7 + 1,
        "DECADE" => |_, c| i64::from(c.year).div_euclid(10),
        "CENTURY" => |_, c| (i64::from(c.year) + 99).div_euclid(100),
        "MILLENNIUM" => |_, c| (i64::from(c.year) + 999).div_euclid(1_000),
        "HOUR" => |_, c| c.hour.into(),
        "MINUTE" => |_, c| c.minute.into(),
        "SECOND" => |_, c| c.second.into(),
        "MILLISECOND" => |_, c| (c.nanos / 1_000_000).into(),
        // Below a millisecond Flink sees nothing.
        "MICROSECOND" => |_, c| i64::from(c.nanos / 1_000_000) * 1_000,
        "NANOSECOND" => |_, c| i64::from(c.nanos / 1_000_000) * 1_000_000,
        "EPOCH" => |at, _| at.ms.div_euclid(1_000),
        _ => return Err(EvalError(format!("EXTRACT({unit} FROM …): valid Flink, not supported here yet"))),
    };
    let of_day =
        matches!(unit.as_str(), "HOUR" | "MINUTE" | "SECOND" | "MILLISECOND" | "MICROSECOND" | "NANOSECOND");
    if matches!(kind, Type::Time(_)) && !of_day && unit != "EPOCH" {
        return Err(EvalError(format!("a TIME has no {unit}")));
    }
    strict_with(move |args, _| {
        Ok(instant(args.first()).map_or(Datum::Null, |at| Datum::Int(field(at, Civil::of(at)))))
    })
}

fn extract_interval(unit: &str, kind: &Type) -> Result<Call, EvalError> {
    // What is left of the larger units, in units.
    let (modulus, divisor) = match (unit, kind) {
        ("YEAR", Type::IntervalYear) => (i64::MAX, 12),
        ("MONTH", Type::IntervalYear) => (12, 1),
        ("DAY", Type::IntervalDay) => (i64::MAX, DAY_MS),
        ("HOUR", Type::IntervalDay) => (DAY_MS, 3_600_000),
        ("MINUTE", Type::IntervalDay) => (3_600_000, 60_000),
        ("SECOND", Type::IntervalDay) => (60_000, 1_000),
        ("MILLISECOND", Type::IntervalDay) => (60_000, 1),
        _ => return Err(EvalError(format!("an interval of type {kind} has no {unit}"))),
    };
    strict_with(move |args, _| {
        Ok(match args.first() {
            Some(Datum::Int(n)) => Datum::Int(n % modulus / divisor),
            _ => Datum::Null,
        })
    })
}

fn day_of(at: Instant) -> i64 {
    at.ms.div_euclid(DAY_MS)
}

/// The year and week of ISO 8601: weeks begin on Mondays, and the first has January 4 in it.
fn iso_week(at: Instant) -> (i64, i64) {
    let day = day_of(at);
    let monday = |day: i64| day - (weekday(day) + 6) % 7;
    // The year is that of the week's Thursday.
    let (year, _, _) = calendar::date_of(monday(day) + 3);
    let first = monday(calendar::days_of(year, 1, 4));
    (year.into(), (monday(day) - first) / 7 + 1)
}

fn round_to(args: &[Expr], up: bool) -> Result<Call, EvalError> {
    const UNITS: &[&str] = &[
        "MILLENNIUM",
        "CENTURY",
        "DECADE",
        "YEAR",
        "QUARTER",
        "MONTH",
        "WEEK",
        "DAY",
        "HOUR",
        "MINUTE",
        "SECOND",
        "MILLISECOND",
    ];
    let unit = unit_of(args);
    let kind = args.first().map_or(Type::Null, |a| a.data_type.kind.clone());
    let of_day = ["HOUR", "MINUTE", "SECOND", "MILLISECOND"].contains(&unit.as_str());
    if !UNITS.contains(&unit.as_str()) || matches!(kind, Type::Time(_)) && !of_day {
        return Err(EvalError(format!(
            "FLOOR and CEIL of {kind} TO {unit}: valid Flink, not supported here yet"
        )));
    }
    strict_with(move |args, _| {
        let Some(at) = instant(args.first()) else { return Ok(Datum::Null) };
        let floor = floor_to(at, &unit);
        let at = if up && floor != at { next(floor, &unit) } else { floor };
        Ok(match kind {
            Type::Date => i32::try_from(day_of(at)).map_or(Datum::Null, Datum::Date),
            Type::Time(_) => i32::try_from(at.ms.rem_euclid(DAY_MS)).map_or(Datum::Null, Datum::Time),
            _ => Datum::Timestamp(at),
        })
    })
}

fn floor_to(at: Instant, unit: &str) -> Instant {
    let c = Civil::of(at);
    let day = |year, month| Instant::from_ms(calendar::days_of(year, month, 1) * DAY_MS);
    match unit {
        "MILLENNIUM" => day((c.year - 1).div_euclid(1_000) * 1_000 + 1, 1),
        "CENTURY" => day((c.year - 1).div_euclid(100) * 100 + 1, 1),
        "DECADE" => day(c.year.div_euclid(10) * 10, 1),
        "YEAR" => day(c.year, 1),
        "QUARTER" => day(c.year, (c.month - 1) / 3 * 3 + 1),
        "MONTH" => day(c.year, c.month),
        "WEEK" => Instant::from_ms((day_of(at) - weekday(day_of(at))) * DAY_MS),
        _ => {
            let ms = unit_ms(unit);
            Instant::from_ms(at.ms.div_euclid(ms) * ms)
        }
    }
}

fn next(floor: Instant, unit: &str) -> Instant {
    match months_of(unit) {
        Some(months) => calendar_shift(floor, months),
        None => Instant::from_ms(floor.ms + unit_ms(unit)),
    }
}

/// How many months a unit has, if it has.
pub(crate) fn months_of(unit: &str) -> Option<i64> {
    match unit {
        "MILLENNIUM" => Some(12_000),
        "CENTURY" => Some(1_200),
        "DECADE" => Some(120),
        "YEAR" => Some(12),
        "QUARTER" => Some(3),
        "MONTH" => Some(1),
        _ => None,
    }
}

/// How many milliseconds a unit of one length has.
pub(crate) fn unit_ms(unit: &str) -> i64 {
    match unit {
        "WEEK" => 7 * DAY_MS,
        "DAY" => DAY_MS,
        "HOUR" => 3_600_000,
        "MINUTE" => 60_000,
        "SECOND" => 1_000,
        _ => 1,
    }
}

/// `TIMESTAMPDIFF(unit, from, to)`: whole units, towards zero.
fn difference(args: &[Expr]) -> Result<Call, EvalError> {
    let unit = unit_of(args);
    let months = months_of(&unit);
    let ms = unit_ms(&unit);
    strict_with(move |args, _| {
        let (Some(from), Some(to)) = (instant(args.first()), instant(args.get(1))) else {
            return Ok(Datum::Null);
        };
        let whole = match months {
            Some(months) => months_between(from, to) / months,
            None => (to.ms - from.ms) / ms,
        };
        Ok(Datum::Int(crate::stream::expr::cast::wrap(whole, &Type::Int)))
    })
}

/// Whole months from one time to another. A time of day that has not come yet counts against them, but the last day of
/// a month is as good as a later one that it lacks. (Calcite: DateTimeUtils.subtractMonths)
fn months_between(from: Instant, to: Instant) -> i64 {
    let (a, b) = (Civil::of(from), Civil::of(to));
    let mut months = (i64::from(b.year) - i64::from(a.year)) * 12 + i64::from(b.month) - i64::from(a.month);
    while months > 0 && calendar_shift(from, months) > to {
        months -= 1;
    }
    while months < 0 && calendar_shift(from, months) < to {
        months += 1;
    }
    months
}
