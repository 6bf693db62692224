//! Time zones: CONVERT_TZ. The rules are those of the IANA database that is built in.

use jiff::{
    Timestamp, civil,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};

use super::{
    Arg, Builtin, Nulls, Ret, Type_,
    date_pattern::{DatePattern, Java},
    literal_text, strict_with, text,
};
use crate::stream::{
    datum::{Datum, Instant},
    expr::calendar::{Civil, DAY_MS},
};

use Arg::Str;

pub(super) const TABLE: &[Builtin] = &[Builtin {
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
}];

/// A time zone.
#[derive(Debug, Clone)]
pub(super) struct Zone(TimeZone);

impl Zone {
    /// As `java.util.TimeZone.getTimeZone`: what it does not know is GMT, an offset without `GMT` too.
    fn lenient(name: &str) -> Self {
        let known = if name.starts_with(['+', '-']) { None } else { Self::named(name) };
        known.unwrap_or(Self(TimeZone::UTC))
    }

    /// A name of the database, or an offset like `+08:00` or `GMT+8`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let offset = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).unwrap_or(name);
        if let Some(seconds) = offset_seconds(offset) {
            return Offset::from_seconds(seconds).ok().map(|offset| Self(TimeZone::fixed(offset)));
        }
        TimeZoneDatabase::bundled().get(name).ok().map(Self)
    }

    /// The point in time at which a clock of the zone shows this; in a gap, what it would have shown without it.
    pub(super) fn instant(&self, clock: Instant) -> Instant {
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

    /// What a clock of the zone shows then.
    pub(super) fn clock(&self, at: Instant) -> Instant {
        let offset = Timestamp::from_millisecond(at.ms).map_or(0, |at| self.0.to_offset(at).seconds());
        Instant { ms: at.ms + i64::from(offset) * 1_000, nanos: at.nanos }
    }
}

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
