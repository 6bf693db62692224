//! Days and civil dates, and the text forms of dates, times and timestamps that Flink reads and writes.
//!
//! The session's time zone is UTC: TIMESTAMP and TIMESTAMP_LTZ read the same clock face.

use std::fmt::Write as _;

use crate::stream::datum::{Instant, NANOS_PER_MILLI};

pub const DAY_MS: i64 = 86_400_000;

/// A date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i32,
    pub month: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub nanos: u32,
}

/// Days since 1970-01-01 of a proleptic Gregorian date. (Hinnant: days_from_civil)
#[must_use]
pub fn days_of(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a day number: (year, month, day).
#[must_use]
pub fn date_of(days: i64) -> (i32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (i32::try_from(year).unwrap_or(i32::MAX), small(month), small(day))
}

fn small(n: i64) -> u32 {
    u32::try_from(n).unwrap_or_default()
}

#[must_use]
pub fn is_date(year: i32, month: u32, day: u32) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

impl Civil {
    #[must_use]
    pub fn of(at: Instant) -> Self {
        let (year, month, day) = date_of(at.ms.div_euclid(DAY_MS));
        let ms = at.ms.rem_euclid(DAY_MS);
        Self {
            year,
            month,
            day,
            hour: small(ms / 3_600_000),
            minute: small(ms / 60_000 % 60),
            second: small(ms / 1_000 % 60),
            nanos: at.nanos_of_second(),
        }
    }

    #[must_use]
    pub fn instant(self) -> Instant {
        let seconds = i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let ms = i64::from(self.nanos / NANOS_PER_MILLI);
        Instant {
            ms: days_of(self.year, self.month, self.day) * DAY_MS + seconds * 1_000 + ms,
            nanos: self.nanos % NANOS_PER_MILLI,
        }
    }
}

/// `2020-01-02`.
pub fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = date_of(days);
    push_date(out, year, month, day);
}

/// Years beyond four digits are rare, and all else needs no formatter.
fn push_date(out: &mut String, year: i32, month: u32, day: u32) {
    match u32::try_from(year) {
        Ok(small @ 0..=9_999) => push_digits(out, small, 4),
        _ => {
            let _ = write!(out, "{year:04}");
        }
    }
    out.push('-');
    push_digits(out, month, 2);
    out.push('-');
    push_digits(out, day, 2);
}

/// The last digits of a number, with zeros before them.
fn push_digits(out: &mut String, n: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = n / 10u32.pow(place) % 10;
        out.push(char::from(b'0' + u8::try_from(digit).unwrap_or_default()));
    }
}

/// `03:04:05` and a fraction of at least `digits_min` digits, without zeros at its end.
pub fn write_time(out: &mut String, c: &Civil, digits_min: usize) {
    push_digits(out, c.hour, 2);
    out.push(':');
    push_digits(out, c.minute, 2);
    out.push(':');
    push_digits(out, c.second, 2);
    let (mut fraction, mut digits) = (c.nanos, 9);
    while digits > digits_min && fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    if digits > 0 {
        out.push('.');
        push_digits(out, fraction, u32::try_from(digits).unwrap_or_default());
    }
}

/// `2020-01-02 03:04:05.678` with `between` in the middle.
pub fn write_timestamp(out: &mut String, at: Instant, between: char, digits_min: usize) {
    let civil = Civil::of(at);
    push_date(out, civil.year, civil.month, civil.day);
    out.push(between);
    write_time(out, &civil, digits_min);
}

/// `2020-1-2`; Flink allows one digit for month and day.
#[must_use]
pub fn parse_date(text: &str) -> Option<i32> {
    let mut parts = text.splitn(3, '-');
    let year = digits(parts.next()?, 1, 4)?;
    let month = digits(parts.next()?, 1, 2)?;
    let day = digits(parts.next()?, 1, 2)?;
    let year = i32::try_from(year).ok()?;
    is_date(year, month, day).then(|| i32::try_from(days_of(year, month, day)).ok()).flatten()
}

/// `3:04:05.678` → nanoseconds of the day; seconds may be missing where `short`.
#[must_use]
pub fn parse_time(text: &str, short: bool) -> Option<u64> {
    let mut parts = text.splitn(3, ':');
    let hour = digits(parts.next()?, 1, 2)?;
    let minute = digits(parts.next()?, 1, 2)?;
    let (second, nanos) = match parts.next() {
        None if short => (0, 0),
        None => return None,
        Some(rest) => match rest.split_once('.') {
            None => (digits(rest, 1, 2)?, 0),
            Some((second, fraction)) => {
                let value = digits(fraction, 1, 9)?;
                (digits(second, 1, 2)?, value * 10u32.pow(9 - u32::try_from(fraction.len()).ok()?))
            }
        },
    };
    let valid = hour < 24 && minute < 60 && second < 60;
    let seconds = u64::from(hour) * 3_600 + u64::from(minute) * 60 + u64::from(second);
    valid.then(|| seconds * 1_000_000_000 + u64::from(nanos))
}

/// A date, `between`, and a time; the time may be missing where `short`.
#[must_use]
pub fn parse_timestamp(text: &str, between: char, short: bool) -> Option<Instant> {
    let (date, nanos) = match text.split_once(between) {
        Some((date, time)) => (date, parse_time(time, false)?),
        None if short => (text, 0),
        None => return None,
    };
    let ms = i64::from(parse_date(date)?) * DAY_MS + i64::try_from(nanos / 1_000_000).ok()?;
    Some(Instant { ms, nanos: u32::try_from(nanos % 1_000_000).ok()? })
}

/// A date as CAST and TO_DATE read it: month and day may be missing, and so may what follows a blank.
#[must_use]
pub fn read_date(text: &str) -> Option<i32> {
    let text = text.trim();
    let date = text.split_once(' ').map_or(text, |(date, _)| date);
    let (year, month, day) = three(date)?;
    is_date(year, month, day).then(|| i32::try_from(days_of(year, month, day)).ok()).flatten()
}

/// A date and perhaps a time behind a blank, as CAST and TO_TIMESTAMP read them: the 30th of a February is its last day.
#[must_use]
pub fn read_timestamp(text: &str) -> Option<Instant> {
    let text = text.trim();
    let (date, nanos) = match text.split_once(' ') {
        Some((date, time)) => (date, parse_time(time, false)?),
        None => (text, 0),
    };
    let mut parts = date.splitn(3, '-');
    let year = i32::try_from(digits(parts.next()?, 4, 4)?).ok()?;
    let month = digits(parts.next()?, 1, 2)?;
    let mut day = digits(parts.next()?, 1, 2).filter(|day| *day <= 31)?;
    while day > 28 && !is_date(year, month, day) && (1..=12).contains(&month) {
        day -= 1;
    }
    if !is_date(year, month, day) {
        return None;
    }
    let ms = days_of(year, month, day) * DAY_MS + i64::try_from(nanos / 1_000_000).ok()?;
    Some(Instant { ms, nanos: u32::try_from(nanos % 1_000_000).ok()? })
}

/// Year, month and day; 1 where one is missing.
fn three(date: &str) -> Option<(i32, u32, u32)> {
    let mut parts = date.splitn(3, '-');
    let year = i32::try_from(digits(parts.next()?, 1, 4)?).ok()?;
    let month = parts.next().map_or(Some(1), |m| digits(m, 1, 2))?;
    let day = parts.next().map_or(Some(1), |d| digits(d, 1, 2))?;
    Some((year, month, day))
}

fn digits(text: &str, min: usize, max: usize) -> Option<u32> {
    let fits = (min..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for days in (-800_000..800_000).step_by(37) {
            let (year, month, day) = date_of(days);
            assert!(is_date(year, month, day));
            assert_eq!(days_of(year, month, day), days);
        }
        assert_eq!((date_of(0), date_of(19_782)), ((1970, 1, 1), (2024, 2, 29)));
    }

    #[test]
    fn timestamps_read_and_write() {
        let at = parse_timestamp("2020-01-02 03:04:05.678", ' ', false).unwrap();
        assert_eq!(at.ms, 1_577_934_245_678);
        let mut text = String::new();
        write_timestamp(&mut text, at, 'T', 0);
        assert_eq!(text, "2020-01-02T03:04:05.678");
        assert_eq!(parse_timestamp("2020-02-30 00:00:00", ' ', false), None);
        let before = parse_timestamp("1969-12-31 23:59:59.999999999", ' ', false).unwrap();
        assert_eq!((before.ms, before.nanos), (-1, 999_999));
    }
}
