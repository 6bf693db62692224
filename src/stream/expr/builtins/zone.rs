//! Time zones: CONVERT_TZ, and what a session in another zone than UTC asks of times. The rules are those of the IANA
//! database that is built in.

use jiff::{
    Timestamp, civil,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use super::{
    Arg, Builtin, Call, EvalError, Expr, Nulls, Ret, Type_,
    date_pattern::{DatePattern, Java},
    int, literal_text, strict_row, strict_with, text,
};
use crate::stream::{
    datum::{Datum, Instant},
    expr::calendar::{Civil, DAY_MS},
    plan::types::Type,
};

use Arg::{Int, Str, Timestamp as Time};

/// (TIMESTAMP_LTZ, zone): the TIMESTAMP that a clock there shows.
pub(crate) const CLOCK: &str = "$CLOCK";
/// (TIMESTAMP, zone): the TIMESTAMP_LTZ at which a clock there shows it.
pub(crate) const INSTANT: &str = "$INSTANT";
/// (TIMESTAMP, TIMESTAMP_LTZ, zone): what was rounded on the clock, by as much as the clock was off before.
pub(crate) const ROUNDED: &str = "$ROUNDED";
/// (seconds, zone): the same of seconds since 1970.
pub(crate) const CLOCK_SECONDS: &str = "$CLOCK_SECONDS";
pub(crate) const INSTANT_SECONDS: &str = "$INSTANT_SECONDS";

pub(super) const TABLE: &[Builtin] = &[
    strict_row(CLOCK, &[&[Time, Str]], Ret::Of(|args| Type::Timestamp(digits(args))), |args, _| {
        of_time(args, |zone, at, _| zone.clock(at))
    }),
    strict_row(INSTANT, &[&[Time, Str]], Ret::Of(|args| Type::TimestampLtz(digits(args))), |args, _| {
        of_time(args, |zone, clock, _| zone.instant(clock))
    }),
    strict_row(
        ROUNDED,
        &[&[Time, Time, Str]],
        Ret::Of(|args| Type::TimestampLtz(digits(args))),
        |args, _| {
            of_time(args, |zone, rounded, before| {
                let off = before.map_or(0, |before| zone.clock(before).ms - before.ms);
                Instant { ms: rounded.ms - off, nanos: rounded.nanos }
            })
        },
    ),
    strict_row(CLOCK_SECONDS, &[&[Int, Str]], Ret::Is(Type_::BigInt), |args, _| {
        of_seconds(args, |zone, at| zone.clock(at))
    }),
    strict_row(INSTANT_SECONDS, &[&[Int, Str]], Ret::Is(Type_::BigInt), |args, _| {
        of_seconds(args, |zone, clock| zone.instant(clock))
    }),
    CONVERT_TZ,
];

const CONVERT_TZ: Builtin = Builtin {
    name: "CONVERT_TZ",
    accepts: &[&[Str, Str, Str]],
    repeats: false,
    returns: Ret::Is(Type_::String),
    nulls: Nulls::Always,
    prepare: |args, _| {
        let pattern = DatePattern::of(&[], 0, "yyyy-MM-dd HH:mm:ss", Java::Simple)?;
        let (from, to) = (literal_text(args, 1).map(Zone::lenient), literal_text(args, 2).map(Zone::lenient));
        strict_with(move |a, _| {
            let Some(at) = pattern.parse(text(a, 0)) else { return Ok(Datum::Null) };
            let instant = match &from {
                Some(from) => from.instant(at),
                None => Zone::lenient(text(a, 1)).instant(at),
            };
            let shown = match &to {
                Some(to) => to.clock(instant),
                None => Zone::lenient(text(a, 2)).clock(instant),
            };
            Ok(Datum::str(pattern.format(shown)))
        })
    },
};

/// The zone that is the last argument, a literal that the plan puts there.
fn last_zone(args: &[Expr]) -> Result<Zone, EvalError> {
    let name = literal_text(args, args.len().saturating_sub(1)).unwrap_or_default();
    Zone::named(name).ok_or_else(|| EvalError(format!("no time zone '{name}'")))
}

fn digits(args: &[Expr]) -> u8 {
    match args.first().map(|a| &a.data_type.kind) {
        Some(Type::Timestamp(digits) | Type::TimestampLtz(digits)) => *digits,
        _ => 3,
    }
}

fn of_time(args: &[Expr], moved: fn(&Zone, Instant, Option<Instant>) -> Instant) -> Result<Call, EvalError> {
    let zone = last_zone(args)?;
    let time = |args: &[Datum], index| match args.get(index) {
        Some(Datum::Timestamp(at)) => Some(*at),
        _ => None,
    };
    strict_with(move |a, _| {
        Ok(time(a, 0).map_or(Datum::Null, |at| Datum::Timestamp(moved(&zone, at, time(a, 1)))))
    })
}

fn of_seconds(args: &[Expr], moved: fn(&Zone, Instant) -> Instant) -> Result<Call, EvalError> {
    let zone = last_zone(args)?;
    strict_with(move |a, _| {
        let seconds = int(a, 0);
        // What is no time at all (UNIX_TIMESTAMP of nonsense) stays what it is.
        let Some(ms) = seconds.checked_mul(1_000) else { return Ok(Datum::Int(seconds)) };
        Ok(Datum::Int(moved(&zone, Instant::from_ms(ms)).ms.div_euclid(1_000)))
    })
}

/// A time zone.
#[derive(Debug, Clone)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// Whether a session can be in the zone of that name: one of the database, GMT with an offset, or UTC.
    /// (Flink: TableConfigUtils.validateTimeZone)
    pub(crate) fn is_of_session(name: &str) -> bool {
        if let Some(offset) = name.strip_prefix("GMT") {
            return offset.is_empty() || offset_seconds(offset).is_some();
        }
        // Three letters are mostly what Java has known for longer than the database.
        let legacy = matches!(name, "EST" | "HST" | "MST" | "ROC");
        let found = TimeZoneDatabase::bundled().get(name).ok();
        !legacy && (name == "UTC" || found.is_some_and(|zone| zone.iana_name() == Some(name)))
    }

    /// As `java.util.TimeZone.getTimeZone`: what it does not know is GMT, an offset without `GMT` too.
    fn lenient(name: &str) -> Self {
        let known = if name.starts_with(['+', '-']) { None } else { Self::named(name) };
        known.unwrap_or(Self(TimeZone::UTC))
    }

    /// A name of the database, or an offset like `+08:00` or `GMT+8`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let offset = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).unwrap_or(name);
        if let Some(seconds) = offset_seconds(offset) {
            return Offset::from_seconds(seconds).ok().map(|offset| Self(TimeZone::fixed(offset)));
        }
        TimeZoneDatabase::bundled().get(name).ok().map(Self)
    }

    /// The point in time at which a clock of the zone shows this; in a gap, what it would have shown without it.
    pub(crate) fn instant(&self, clock: Instant) -> Instant {
        let c = Civil::of(clock);
        let small = |n: u32| i8::try_from(n).unwrap_or_default();
        let date_time = i16::try_from(c.year).ok().and_then(|year| {
            civil::DateTime::new(
                year,
                small(c.month),
                small(c.day),
                small(c.hour),
                small(c.minute),
                small(c.second),
                0,
            )
            .ok()
        });
        let found = date_time.and_then(|date_time| self.0.to_timestamp(date_time).ok());
        match found {
            Some(at) => Instant { ms: at.as_millisecond() + clock.ms.rem_euclid(1_000), nanos: clock.nanos },
            None => clock,
        }
    }

    /// Whether clocks are set twice a year, for all time to come.
    pub(crate) fn saves_daylight(&self) -> bool {
        let far = Timestamp::from_second(FAR_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH);
        self.0.following(far).next().is_some()
    }

    /// What a clock of the zone shows then.
    pub(crate) fn clock(&self, at: Instant) -> Instant {
        let offset = Timestamp::from_millisecond(at.ms).map_or(0, |at| self.0.to_offset(at).seconds());
        Instant { ms: at.ms + i64::from(offset) * 1_000, nanos: at.nanos }
    }
}

/// In the year 2500: behind all changes that the database lists one by one.
const FAR_SECONDS: i64 = 16_725_225_600;

/// `+8`, `+08:00`, `-0330`.
fn offset_seconds(text: &str) -> Option<i32> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-'])?;
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let seconds = hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().ok()? * 60;
    (i64::from(seconds) * 1_000 < DAY_MS).then_some(if negative { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn clocks_of_zones_are_converted() {
        let rows = [
            ("CONVERT_TZ('2020-07-01 12:00:00', 'America/New_York', 'Europe/Berlin')", "2020-07-01 18:00:00"),
            ("CONVERT_TZ('2020-01-01 12:00:00', 'UTC', 'GMT+8')", "2020-01-01 20:00:00"),
            // In the gap of the spring.
            ("CONVERT_TZ('2020-03-29 02:30:00', 'Europe/Berlin', 'UTC')", "2020-03-29 01:30:00"),
            ("CONVERT_TZ('2050-07-01 12:00:00', 'UTC', 'Europe/Berlin')", "2050-07-01 14:00:00"),
        ];
        for (sql, expected) in rows {
            check(sql, expected);
        }
    }
}
