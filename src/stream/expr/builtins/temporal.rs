//! Dates and times. The session's time zone is UTC, and "now" is the job's domain time at the record.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{Arg, Builtin, Call, Expr, Nulls, Ret, Type_, int, literal_text, strict, strict_with, text};
use crate::stream::{
    datum::{Datum, Instant},
    expr::{
        EvalError,
        calendar::{self, Civil, DAY_MS},
    },
    plan::types::{DataType, Type},
};

const fn row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    returns: Type_,
    nulls: Nulls,
    prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>,
) -> Builtin {
    Builtin { name, accepts, repeats: false, returns: Ret::Is(returns), nulls, prepare }
}

const fn clock(name: &'static str, returns: Type_) -> Builtin {
    row(name, &[&[]], returns, Nulls::Never, |_, _| {
        strict_with(|_, now| Ok(Datum::Timestamp(Instant::from_ms(now.ms))))
    })
}

/// A field of a date or time: `EXTRACT(field FROM x)` and the functions of the same name.
const fn field(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>,
) -> Builtin {
    row(name, accepts, Type_::BigInt, Nulls::Args, prepare)
}

use Arg::{Dated, Int, Str, Temporal, Timestamp};

pub(super) const TABLE: &[Builtin] = &[
    clock("CURRENT_TIMESTAMP", Type_::TimestampLtz3),
    clock("NOW", Type_::TimestampLtz3),
    clock("CURRENT_ROW_TIMESTAMP", Type_::TimestampLtz3),
    clock("PROCTIME", Type_::TimestampLtz3),
    clock("LOCALTIMESTAMP", Type_::Timestamp3),
    // The watermark of the operator that asks, NULL before the first. (Flink: CURRENT_WATERMARK(rowtime))
    Builtin {
        name: "CURRENT_WATERMARK",
        accepts: &[&[Timestamp]],
        repeats: false,
        returns: Ret::First,
        nulls: Nulls::Always,
        prepare: |_, _| {
            let run = |_: &[Datum], now: crate::stream::expr::Now| {
                Ok(now.watermark_ms.map_or(Datum::Null, |ms| Datum::Timestamp(Instant::from_ms(ms))))
            };
            Ok(Call { run: Box::new(run), null_in_null_out: false })
        },
    },
    row("CURRENT_DATE", &[&[]], Type_::Date, Nulls::Never, |_, _| {
        strict_with(|_, now| Ok(i32::try_from(now.ms.div_euclid(DAY_MS)).map_or(Datum::Null, Datum::Date)))
    }),
    field("YEAR", &[&[Dated]], |_, _| strict(|a| civil(a, |c| i64::from(c.year)))),
    field("QUARTER", &[&[Dated]], |_, _| strict(|a| civil(a, |c| i64::from(c.month.div_ceil(3))))),
    field("MONTH", &[&[Dated]], |_, _| strict(|a| civil(a, |c| i64::from(c.month)))),
    field("DAYOFMONTH", &[&[Dated]], |_, _| strict(|a| civil(a, |c| i64::from(c.day)))),
    field("DAYOFYEAR", &[&[Dated]], |_, _| strict(|a| civil(a, day_of_year))),
    // Sunday is 1.
    field("DAYOFWEEK", &[&[Dated]], |_, _| strict(|a| civil(a, |c| weekday(c) + 1))),
    field("ISODOW", &[&[Dated]], |_, _| strict(|a| civil(a, |c| (weekday(c) + 6) % 7 + 1))),
    field("HOUR", &[&[Temporal]], |_, _| strict(|a| civil(a, |c| i64::from(c.hour)))),
    field("MINUTE", &[&[Temporal]], |_, _| strict(|a| civil(a, |c| i64::from(c.minute)))),
    field("SECOND", &[&[Temporal]], |_, _| strict(|a| civil(a, |c| i64::from(c.second)))),
    field("MILLISECOND", &[&[Temporal]], |_, _| strict(|a| civil(a, |c| i64::from(c.nanos / 1_000_000)))),
    row("TO_DATE", &[&[Str], &[Str, Str]], Type_::Date, Nulls::Always, |args, _| {
        parsing(args, |at| i32::try_from(at.ms.div_euclid(DAY_MS)).map_or(Datum::Null, Datum::Date))
    }),
    row("TO_TIMESTAMP", &[&[Str], &[Str, Str]], Type_::Timestamp3, Nulls::Always, |args, _| {
        parsing(args, |at| Datum::Timestamp(at.truncated(3)))
    }),
    row("TO_TIMESTAMP_LTZ", &[&[Int], &[Int, Int]], Type_::TimestampLtz3, Nulls::Always, |_, _| {
        strict_with(|a, _| to_timestamp_ltz(a))
    }),
    row("UNIX_TIMESTAMP", &[&[], &[Str], &[Str, Str]], Type_::BigInt, Nulls::Args, |args, _| {
        if args.is_empty() {
            return strict_with(|_, now| Ok(Datum::Int(now.ms.div_euclid(1_000))));
        }
        let call = parsing(args, |at| Datum::Int(at.ms.div_euclid(1_000)))?;
        // What cannot be read is the smallest number, not NULL. (Flink: DateTimeUtils.unixTimestamp)
        strict_with(move |args, now| {
            Ok(match (call.run)(args, now)? {
                Datum::Null => Datum::Int(i64::MIN),
                value => value,
            })
        })
    }),
    row("FROM_UNIXTIME", &[&[Int], &[Int, Str]], Type_::String, Nulls::Args, |args, _| {
        let pattern = Pattern::of(args, 1, "yyyy-MM-dd HH:mm:ss")?;
        strict_with(move |args, _| {
            let at = Instant::from_ms(int(args, 0).saturating_mul(1_000));
            Ok(Datum::str(pattern.format(at)))
        })
    }),
    row("DATE_FORMAT", &[&[Timestamp, Str], &[Str, Str]], Type_::String, Nulls::Always, |args, _| {
        let pattern = Pattern::of(args, 1, "")?;
        strict_with(move |args, _| {
            let at = match args.first() {
                Some(Datum::Timestamp(at)) => Some(*at),
                Some(Datum::Str(text)) => calendar::parse_timestamp(text, ' ', true),
                _ => None,
            };
            Ok(at.map_or(Datum::Null, |at| Datum::str(pattern.format(at))))
        })
    }),
    // FLOOR(x TO unit) and CEIL(x TO unit); the unit is a literal put there by the analysis.
    Builtin {
        name: "FLOOR_TO",
        accepts: &[&[Dated, Str]],
        repeats: false,
        returns: Ret::First,
        nulls: Nulls::Args,
        prepare: |args, _| round_to(args, false),
    },
    Builtin {
        name: "CEIL_TO",
        accepts: &[&[Dated, Str]],
        repeats: false,
        returns: Ret::First,
        nulls: Nulls::Args,
        prepare: |args, _| round_to(args, true),
    },
];

fn instant(value: Option<&Datum>) -> Option<Instant> {
    match value {
        Some(Datum::Timestamp(at)) => Some(*at),
        Some(Datum::Date(days)) => Some(Instant::from_ms(i64::from(*days) * DAY_MS)),
        Some(Datum::Time(ms)) => Some(Instant::from_ms(i64::from(*ms))),
        _ => None,
    }
}

fn civil(args: &[Datum], field: fn(Civil) -> i64) -> Datum {
    instant(args.first()).map_or(Datum::Null, |at| Datum::Int(field(Civil::of(at))))
}

fn day_of_year(c: Civil) -> i64 {
    calendar::days_of(c.year, c.month, c.day) - calendar::days_of(c.year, 1, 1) + 1
}

/// Sunday is 0.
fn weekday(c: Civil) -> i64 {
    (calendar::days_of(c.year, c.month, c.day) + 4).rem_euclid(7)
}

fn to_timestamp_ltz(args: &[Datum]) -> Result<Datum, EvalError> {
    let n = int(args, 0);
    // Only seconds and milliseconds; both become TIMESTAMP_LTZ(3).
    match args.get(1).map_or(3, |_| int(args, 1)) {
        0 => Ok(Datum::Timestamp(Instant::from_ms(n.saturating_mul(1_000)))),
        3 => Ok(Datum::Timestamp(Instant::from_ms(n))),
        other => Err(EvalError(format!(
            "The precision value '{other}' for function TO_TIMESTAMP_LTZ is unsupported, the supported value is '0' for second or '3' for millisecond."
        ))),
    }
}

fn parsing(args: &[Expr], make: fn(Instant) -> Datum) -> Result<Call, EvalError> {
    if args.len() < 2 {
        return strict_with(move |args, _| {
            Ok(calendar::parse_timestamp(text(args, 0), ' ', true).map_or(Datum::Null, make))
        });
    }
    let pattern = Pattern::of(args, 1, "")?;
    strict_with(move |args, _| Ok(pattern.parse(text(args, 0)).map_or(Datum::Null, make)))
}

fn round_to(args: &[Expr], up: bool) -> Result<Call, EvalError> {
    let unit = literal_text(args, 1).unwrap_or_default().to_owned();
    if !matches!(unit.as_str(), "YEAR" | "MONTH" | "DAY" | "HOUR" | "MINUTE" | "SECOND" | "MILLISECOND") {
        return Err(EvalError(format!("FLOOR and CEIL TO {unit}: valid Flink, not supported here yet")));
    }
    let days = args.first().is_some_and(|a| a.data_type.kind == Type::Date);
    strict_with(move |args, _| {
        let Some(at) = instant(args.first()) else { return Ok(Datum::Null) };
        let floor = floor_to(at, &unit);
        let at = if up && floor != at { next(floor, &unit) } else { floor };
        Ok(if days {
            i32::try_from(at.ms.div_euclid(DAY_MS)).map_or(Datum::Null, Datum::Date)
        } else {
            Datum::Timestamp(at)
        })
    })
}

fn floor_to(at: Instant, unit: &str) -> Instant {
    let c = Civil::of(at);
    let day = |year, month, day| Instant::from_ms(calendar::days_of(year, month, day) * DAY_MS);
    match unit {
        "YEAR" => day(c.year, 1, 1),
        "MONTH" => day(c.year, c.month, 1),
        _ => {
            let ms = unit_ms(unit);
            Instant::from_ms(at.ms.div_euclid(ms) * ms)
        }
    }
}

fn next(floor: Instant, unit: &str) -> Instant {
    match unit {
        "YEAR" => crate::stream::expr::calendar_shift(floor, 12),
        "MONTH" => crate::stream::expr::calendar_shift(floor, 1),
        _ => Instant::from_ms(floor.ms + unit_ms(unit)),
    }
}

fn unit_ms(unit: &str) -> i64 {
    match unit {
        "DAY" => DAY_MS,
        "HOUR" => 3_600_000,
        "MINUTE" => 60_000,
        "SECOND" => 1_000,
        _ => 1,
    }
}

/// A date pattern of Java's, as far as it means the same in SimpleDateFormat and DateTimeFormatter.
struct Pattern(Vec<Piece>);

enum Piece {
    Day,
    Fraction(usize),
    Hour,
    Literal(String),
    Minute,
    Month,
    Second,
    Year,
}

impl Pattern {
    /// The pattern must be a literal: it is read before the job starts.
    fn of(args: &[Expr], index: usize, default: &str) -> Result<Self, EvalError> {
        match args.get(index) {
            None => Self::read(default),
            Some(_) => match literal_text(args, index) {
                Some(pattern) => Self::read(pattern),
                None => Err(EvalError(
                    "a date pattern that is not a literal: valid Flink, not supported here yet".to_owned(),
                )),
            },
        }
    }

    fn read(pattern: &str) -> Result<Self, EvalError> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                pieces.push(Piece::Literal(quoted(&mut chars)));
                continue;
            }
            if !c.is_ascii_alphabetic() {
                pieces.push(Piece::Literal(c.to_string()));
                continue;
            }
            let mut count = 1;
            while chars.next_if_eq(&c).is_some() {
                count += 1;
            }
            pieces.push(match (c, count) {
                ('y', 4) => Piece::Year,
                ('M', 2) => Piece::Month,
                ('d', 2) => Piece::Day,
                ('H', 2) => Piece::Hour,
                ('m', 2) => Piece::Minute,
                ('s', 2) => Piece::Second,
                ('S', 1..=9) => Piece::Fraction(count),
                _ => {
                    let what = c.to_string().repeat(count);
                    return Err(EvalError(format!(
                        "'{what}' in the date pattern '{pattern}': valid Flink, not supported here yet"
                    )));
                }
            });
        }
        Ok(Self(pieces))
    }

    fn format(&self, at: Instant) -> String {
        let c = Civil::of(at);
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Day => out.push_str(&format!("{:02}", c.day)),
                Piece::Fraction(digits) => {
                    out.push_str(format!("{:09}", c.nanos).get(..*digits).unwrap_or_default())
                }
                Piece::Hour => out.push_str(&format!("{:02}", c.hour)),
                Piece::Literal(text) => out.push_str(text),
                Piece::Minute => out.push_str(&format!("{:02}", c.minute)),
                Piece::Month => out.push_str(&format!("{:02}", c.month)),
                Piece::Second => out.push_str(&format!("{:02}", c.second)),
                Piece::Year => out.push_str(&format!("{:04}", c.year)),
            }
        }
        out
    }

    fn parse(&self, text: &str) -> Option<Instant> {
        let mut c = Civil { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, nanos: 0 };
        let mut rest = text;
        let number = |rest: &mut &str, digits: usize| -> Option<u32> {
            let (head, tail) = rest.split_at_checked(digits)?;
            let value = head.bytes().all(|b| b.is_ascii_digit()).then(|| head.parse().ok()).flatten()?;
            *rest = tail;
            Some(value)
        };
        for piece in &self.0 {
            match piece {
                Piece::Day => c.day = number(&mut rest, 2)?,
                Piece::Fraction(digits) => {
                    c.nanos = number(&mut rest, *digits)? * 10u32.pow(9 - u32::try_from(*digits).ok()?);
                }
                Piece::Hour => c.hour = number(&mut rest, 2)?,
                Piece::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Piece::Minute => c.minute = number(&mut rest, 2)?,
                Piece::Month => c.month = number(&mut rest, 2)?,
                Piece::Second => c.second = number(&mut rest, 2)?,
                Piece::Year => c.year = i32::try_from(number(&mut rest, 4)?).ok()?,
            }
        }
        let valid = rest.is_empty() && calendar::is_date(c.year, c.month, c.day);
        (valid && c.hour < 24 && c.minute < 60 && c.second < 60).then(|| c.instant())
    }
}

fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        if c != '\'' {
            text.push(c);
        } else if chars.next_if_eq(&'\'').is_some() {
            text.push('\'');
        } else {
            break;
        }
    }
    // Two quotes in a row outside a quotation are one.
    if text.is_empty() { "'".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn dates_and_times_are_flinks() {
        let rows = [
            ("TIMESTAMP '2020-01-02 03:04:05.678'", "2020-01-02T03:04:05.678"),
            ("DATE '2020-01-02'", "2020-01-02"),
            ("TIME '03:04:05'", "03:04:05"),
            ("TIMESTAMP '2020-01-31 00:00:00' + INTERVAL '1' MONTH", "2020-02-29T00:00"),
            ("TIMESTAMP '2020-01-01 00:00:10' - INTERVAL '1' SECOND", "2020-01-01T00:00:09"),
            ("DATE '2020-01-01' + INTERVAL '1' DAY", "2020-01-02"),
            ("EXTRACT(YEAR FROM DATE '2020-01-02')", "2020"),
            ("EXTRACT(DAY FROM TIMESTAMP '2020-01-02 03:04:05')", "2"),
            ("HOUR(TIMESTAMP '2020-01-02 03:04:05')", "3"),
            ("DAYOFWEEK(DATE '1994-09-27')", "3"),
            ("DAYOFYEAR(DATE '1994-09-27')", "270"),
            ("QUARTER(DATE '1994-09-27')", "3"),
            (
                "DATE_FORMAT(TIMESTAMP '2020-01-02 03:04:05.678', 'yyyy/MM/dd HH:mm:ss.SSS')",
                "2020/01/02 03:04:05.678",
            ),
            ("DATE_FORMAT('2020-01-02 03:04:05', 'yyyy''T''MM')", "2020T01"),
            ("TO_TIMESTAMP('2020-01-02 03:04:05')", "2020-01-02T03:04:05"),
            ("TO_TIMESTAMP('02/01/2020', 'dd/MM/yyyy')", "2020-01-02T00:00"),
            ("TO_TIMESTAMP('nonsense')", "null"),
            ("TO_TIMESTAMP_LTZ(1000, 3)", "1970-01-01T00:00:01Z"),
            ("TO_TIMESTAMP_LTZ(1000, 0)", "1970-01-01T00:16:40Z"),
            ("TO_DATE('2020-01-02')", "2020-01-02"),
            ("UNIX_TIMESTAMP('1970-01-01 00:00:07')", "7"),
            ("UNIX_TIMESTAMP()", "1000"),
            ("FROM_UNIXTIME(44)", "1970-01-01 00:00:44"),
            ("CURRENT_TIMESTAMP", "1970-01-01T00:16:40.123Z"),
            ("PROCTIME()", "1970-01-01T00:16:40.123Z"),
            ("CURRENT_DATE", "1970-01-01"),
            ("FLOOR(TIMESTAMP '2020-01-02 03:04:05' TO HOUR)", "2020-01-02T03:00"),
            ("CEIL(TIMESTAMP '2020-01-02 03:04:05' TO MONTH)", "2020-02-01T00:00"),
            ("CAST(TIMESTAMP '2020-01-02 03:04:05' AS STRING)", "2020-01-02 03:04:05"),
        ];
        for (sql, expected) in rows {
            check(sql, expected);
        }
    }
}
