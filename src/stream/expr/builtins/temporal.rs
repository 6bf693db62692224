//! Dates and times: what the clock says, fields by their names, and texts. All is as in UTC: `plan/local_zone.rs` puts in
//! what another zone makes of it. "Now" is the job's domain time at the record.

use super::{
    Arg, Builtin, Call, Expr, Nulls, Ret, Type_,
    date_pattern::{DatePattern, Java},
    double, int, literal_text, strict_with, text, typed_row,
    zone::Zone,
};
use crate::stream::{
    datum::{Datum, Instant},
    expr::{
        EvalError,
        calendar::{self, DAY_MS},
        decimal,
    },
    plan::types::{DataType, Type},
};

const fn clock(name: &'static str, returns: Type_) -> Builtin {
    typed_row(name, &[&[]], returns, Nulls::Never, |_, _| {
        strict_with(|_, now| Ok(Datum::Timestamp(Instant::from_ms(now.ms))))
    })
}

/// The time of day, to the second.
const fn time(name: &'static str) -> Builtin {
    let prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError> = |_, _| {
        strict_with(|_, now| {
            let ms = now.ms.rem_euclid(DAY_MS) / 1_000 * 1_000;
            Ok(i32::try_from(ms).map_or(Datum::Null, Datum::Time))
        })
    };
    let returns = Ret::Of(|_| Type::Time(0));
    Builtin { name, accepts: &[&[]], repeats: false, returns, nulls: Nulls::Never, prepare }
}

use Arg::{Int, Number, Str, Timestamp};

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
    typed_row("CURRENT_DATE", &[&[]], Type_::Date, Nulls::Never, |_, _| {
        strict_with(|_, now| Ok(i32::try_from(now.ms.div_euclid(DAY_MS)).map_or(Datum::Null, Datum::Date)))
    }),
    time("CURRENT_TIME"),
    time("LOCALTIME"),
    typed_row("TO_DATE", &[&[Str], &[Str, Str]], Type_::Date, Nulls::Always, |args, _| {
        if args.len() == 1 {
            return strict_with(|a, _| Ok(calendar::read_date(text(a, 0)).map_or(Datum::Null, Datum::Date)));
        }
        parsing(args, Java::Simple, |at| {
            i32::try_from(at.ms.div_euclid(DAY_MS)).map_or(Datum::Null, Datum::Date)
        })
    }),
    typed_row("TO_TIMESTAMP", &[&[Str], &[Str, Str]], Type_::Timestamp3, Nulls::Always, |args, _| {
        parsing(args, Java::Formatter, |at| Datum::Timestamp(at.truncated(3)))
    }),
    typed_row(
        "TO_TIMESTAMP_LTZ",
        &[&[Number], &[Number, Int], &[Str], &[Str, Str], &[Str, Str, Str]],
        Type_::TimestampLtz3,
        Nulls::Always,
        |args, _| to_timestamp_ltz(args),
    ),
    typed_row("UNIX_TIMESTAMP", &[&[], &[Str], &[Str, Str]], Type_::BigInt, Nulls::Args, |args, _| {
        if args.is_empty() {
            return strict_with(|_, now| Ok(Datum::Int(now.ms.div_euclid(1_000))));
        }
        let pattern = DatePattern::of(args, 1, "yyyy-MM-dd HH:mm:ss", Java::Simple)?;
        // What cannot be read is the smallest number, not NULL. (Flink: DateTimeUtils.unixTimestamp)
        strict_with(move |a, _| {
            Ok(Datum::Int(pattern.parse(text(a, 0)).map_or(i64::MIN, |at| at.ms.div_euclid(1_000))))
        })
    }),
    typed_row("FROM_UNIXTIME", &[&[Int], &[Int, Str]], Type_::String, Nulls::Always, |args, _| {
        let pattern = DatePattern::of(args, 1, "yyyy-MM-dd HH:mm:ss", Java::Simple)?;
        strict_with(move |args, _| {
            let at = Instant::from_ms(int(args, 0).saturating_mul(1_000));
            Ok(Datum::str(pattern.format(at)))
        })
    }),
    typed_row("DATE_FORMAT", &[&[Timestamp, Str], &[Str, Str]], Type_::String, Nulls::Always, |args, _| {
        // A text is read and written by another class of Java's than a time.
        let of_text = args.first().is_some_and(|a| a.data_type.kind.is_string());
        let pattern = DatePattern::of(args, 1, "", if of_text { Java::Simple } else { Java::Formatter })?;
        let read = DatePattern::of(&[], 0, "yyyy-MM-dd HH:mm:ss", Java::Simple)?;
        strict_with(move |args, _| {
            let at = match args.first() {
                Some(Datum::Timestamp(at)) => Some(*at),
                Some(Datum::Str(text)) => read.parse(text),
                _ => None,
            };
            Ok(at.map_or(Datum::Null, |at| Datum::str(pattern.format(at))))
        })
    }),
];

/// A number of seconds or milliseconds, or a text with a pattern and a zone.
fn to_timestamp_ltz(args: &[Expr]) -> Result<Call, EvalError> {
    let kind = args.first().map_or(Type::Null, |a| a.data_type.kind.clone());
    if kind.is_string() {
        let made = |at: Instant| Datum::Timestamp(at.truncated(3));
        if args.len() == 1 {
            // Only here does Flink fail with a text that is no time.
            return strict_with(move |a, _| match calendar::read_timestamp(text(a, 0)) {
                Some(at) => Ok(made(at)),
                None => Err(EvalError(format!("Text '{}' could not be parsed", text(a, 0)))),
            });
        }
        let pattern = DatePattern::of(args, 1, "", Java::Formatter)?;
        let fixed = literal_text(args, 2).map(Zone::named);
        return strict_with(move |a, _| {
            let zone = match &fixed {
                Some(zone) => zone.clone(),
                None => Zone::named(a.get(2).map_or("UTC", |_| text(a, 2))),
            };
            let at = pattern.parse(text(a, 0)).zip(zone).map(|(at, zone)| zone.instant(at));
            Ok(at.map_or(Datum::Null, made))
        });
    }
    let scale = kind.as_decimal().map_or(0, |(_, scale)| scale);
    strict_with(move |a, _| {
        let seconds = match a.get(1).map_or(3, |_| int(a, 1)) {
            0 => true,
            3 => false,
            other => {
                return Err(EvalError(format!(
                    "The precision value '{other}' for function TO_TIMESTAMP_LTZ(numeric, precision) is unsupported, \
                     the supported value is '0' for second or '3' for millisecond."
                )));
            }
        };
        let factor = if seconds { 1_000 } else { 1 };
        let ms = match a.first() {
            Some(Datum::Double(_)) => (double(a, 0) * f64::from(factor)) as i64,
            Some(Datum::Float(x)) => (f64::from(*x) * f64::from(factor)) as i64,
            // Of a DECIMAL only whole units count.
            Some(Datum::Decimal(n)) => i64::try_from(i128::from(*n) / decimal::pow10(scale))
                .unwrap_or(i64::MAX)
                .saturating_mul(factor.into()),
            _ => int(a, 0).saturating_mul(factor.into()),
        };
        Ok(Datum::Timestamp(Instant::from_ms(ms)))
    })
}

fn parsing(args: &[Expr], java: Java, make: fn(Instant) -> Datum) -> Result<Call, EvalError> {
    if args.len() < 2 {
        return strict_with(move |a, _| Ok(calendar::read_timestamp(text(a, 0)).map_or(Datum::Null, make)));
    }
    let pattern = DatePattern::of(args, 1, "", java)?;
    strict_with(move |args, _| Ok(pattern.parse(text(args, 0)).map_or(Datum::Null, make)))
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
