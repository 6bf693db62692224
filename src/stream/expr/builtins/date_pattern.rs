//! Date patterns as Java has them. Flink reads some with DateTimeFormatter and some with SimpleDateFormat, and several
//! letters mean different things to the two. What they write is English, and in UTC.

use std::fmt::Write as _;

use super::{Expr, literal_text};
use crate::stream::{
    datum::Instant,
    expr::{
        EvalError,
        calendar::{self, Civil, DAY_MS},
    },
};

/// Which of Java's classes reads the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Java {
    /// DateTimeFormatter: numbers have as many digits as the pattern has letters, and nothing may be left over.
    Formatter,
    /// SimpleDateFormat, lenient: digits may be missing, days run over into months, and what is left over is ignored.
    Simple,
}

/// A pattern that has been read.
#[derive(Debug)]
pub(super) struct DatePattern {
    java: Java,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    /// Digits of a second's fraction.
    Fraction(usize),
    /// A number, and the least digits of it.
    Number(Field, usize),
    /// The last two digits of the year.
    ShortYear,
    Word(Word),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Day,
    DayOfYear,
    /// `h`: 1 to 12.
    Hour12,
    /// `H`: 0 to 23.
    Hour24,
    /// `K`: 0 to 11.
    HourFrom0,
    /// `k`: 1 to 24.
    HourFrom1,
    MilliOfDay,
    Millis,
    Minute,
    Month,
    NanoOfDay,
    NanoOfSecond,
    Quarter,
    Second,
    Week,
    /// Sunday is 1.
    Weekday,
    /// Monday is 1.
    IsoWeekday,
    Year,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    AmPm,
    Era,
    Month,
    MonthShort,
    Quarter,
    Weekday,
    WeekdayShort,
}

const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: &[&str] = &["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl DatePattern {
    /// The pattern that is an argument; it must be a literal, for it is read before the job starts.
    pub(super) fn of(args: &[Expr], index: usize, default: &str, java: Java) -> Result<Self, EvalError> {
        match (args.get(index), literal_text(args, index)) {
            (None, _) => Self::read(default, java),
            // A NULL pattern makes a NULL, and is never used.
            (Some(pattern), None) if pattern.is_null_literal() => Self::read(default, java),
            (Some(_), Some(pattern)) => Self::read(pattern, java),
            (Some(_), None) => Err(EvalError(
                "a date pattern that is not a literal: valid Flink, not supported here yet".to_owned(),
            )),
        }
    }

    fn read(pattern: &str, java: Java) -> Result<Self, EvalError> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                pieces.push(Piece::Literal(quoted(&mut chars)));
                continue;
            }
            if !c.is_ascii_alphabetic() {
                if java == Java::Formatter && matches!(c, '[' | ']' | '{' | '}' | '#') {
                    return Err(not_yet(&c.to_string(), pattern));
                }
                pieces.push(Piece::Literal(c.to_string()));
                continue;
            }
            let mut count = 1;
            while chars.next_if_eq(&c).is_some() {
                count += 1;
            }
            let piece =
                letter(c, count, java).ok_or_else(|| not_yet(&c.to_string().repeat(count), pattern))?;
            pieces.push(piece);
        }
        Ok(Self { java, pieces })
    }

    pub(super) fn format(&self, at: Instant) -> String {
        let c = Civil::of(at);
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Fraction(digits) => {
                    out.push_str(format!("{:09}", c.nanos).get(..*digits).unwrap_or_default());
                }
                Piece::Number(field, width) => {
                    let _ = write!(out, "{:0width$}", field.of(&c));
                }
                Piece::ShortYear => {
                    let _ = write!(out, "{:02}", c.year.rem_euclid(100));
                }
                Piece::Word(word) => out.push_str(&word.of(&c)),
            }
        }
        out
    }

    /// The time that a text says; 1970-01-01 where it does not say.
    pub(super) fn parse(&self, text: &str) -> Option<Instant> {
        let mut read = Read::default();
        let mut rest = text;
        for (i, piece) in self.pieces.iter().enumerate() {
            let digits_follow = matches!(
                self.pieces.get(i + 1),
                Some(Piece::Number(..) | Piece::Fraction(_) | Piece::ShortYear)
            );
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Piece::Fraction(digits) => {
                    let n = number(&mut rest, *digits, *digits)?;
                    read.nanos = u32::try_from(n).ok()? * 10u32.pow(9 - u32::try_from(*digits).ok()?);
                }
                Piece::Number(field, width) => {
                    let (min, max) = self.widths(*field, *width, digits_follow);
                    read.set(*field, number(&mut rest, min, max)?);
                }
                Piece::ShortYear => read.year = i32::try_from(2_000 + number(&mut rest, 2, 2)?).ok()?,
                Piece::Word(word) => rest = read.word(*word, rest)?,
            }
        }
        if self.java == Java::Formatter && !rest.is_empty() {
            return None;
        }
        read.instant(self.java == Java::Simple)
    }

    fn widths(&self, field: Field, width: usize, digits_follow: bool) -> (usize, usize) {
        match self.java {
            _ if digits_follow => (width, width),
            Java::Simple => (1, 19),
            Java::Formatter if field == Field::Year && width == 4 => (4, 4),
            Java::Formatter if width == 1 => (1, if field == Field::Year { 9 } else { 2 }),
            Java::Formatter => (width, width),
        }
    }
}

fn not_yet(what: &str, pattern: &str) -> EvalError {
    EvalError(format!("'{what}' in the date pattern '{pattern}': valid Flink, not supported here yet"))
}

fn letter(c: char, count: usize, java: Java) -> Option<Piece> {
    let simple = java == Java::Simple;
    let number = |field: Field, max: usize| (simple || count <= max).then_some(Piece::Number(field, count));
    match (c, count) {
        ('y', 2) => Some(Piece::ShortYear),
        ('u', 2) if !simple => Some(Piece::ShortYear),
        ('y', 1 | 3 | 4) => Some(Piece::Number(Field::Year, count)),
        ('u', 1 | 3 | 4) if !simple => Some(Piece::Number(Field::Year, count)),
        ('u', _) if simple => Some(Piece::Number(Field::IsoWeekday, count)),
        ('M' | 'L', 1 | 2) => Some(Piece::Number(Field::Month, count)),
        ('M' | 'L', 3) => Some(Piece::Word(Word::MonthShort)),
        ('M' | 'L', 4) => Some(Piece::Word(Word::Month)),
        ('d', _) => number(Field::Day, 2),
        ('D', _) => number(Field::DayOfYear, 3),
        ('E', 1..=3) => Some(Piece::Word(Word::WeekdayShort)),
        ('E', 4) => Some(Piece::Word(Word::Weekday)),
        ('e', 1 | 2) if !simple => Some(Piece::Number(Field::Weekday, count)),
        ('Q', 1 | 2) if !simple => Some(Piece::Number(Field::Quarter, count)),
        ('Q', 3) if !simple => Some(Piece::Word(Word::Quarter)),
        ('w', 1 | 2) => Some(Piece::Number(Field::Week, count)),
        ('G', 1..=3) => Some(Piece::Word(Word::Era)),
        ('a', 1) => Some(Piece::Word(Word::AmPm)),
        ('h', _) => number(Field::Hour12, 2),
        ('H', _) => number(Field::Hour24, 2),
        ('K', _) => number(Field::HourFrom0, 2),
        ('k', _) => number(Field::HourFrom1, 2),
        ('m', _) => number(Field::Minute, 2),
        ('s', _) => number(Field::Second, 2),
        ('S', _) if simple => Some(Piece::Number(Field::Millis, count)),
        ('S', 1..=9) => Some(Piece::Fraction(count)),
        ('n', _) if !simple => Some(Piece::Number(Field::NanoOfSecond, count)),
        ('N', _) if !simple => Some(Piece::Number(Field::NanoOfDay, count)),
        ('A', _) if !simple => Some(Piece::Number(Field::MilliOfDay, count)),
        _ => None,
    }
}

impl Field {
    fn of(self, c: &Civil) -> i64 {
        let hour = i64::from(c.hour);
        let day = calendar::days_of(c.year, c.month, c.day);
        let second_of_day = hour * 3_600 + i64::from(c.minute) * 60 + i64::from(c.second);
        match self {
            Self::Day => c.day.into(),
            Self::DayOfYear => day - calendar::days_of(c.year, 1, 1) + 1,
            Self::Hour12 => (hour + 11) % 12 + 1,
            Self::Hour24 => hour,
            Self::HourFrom0 => hour % 12,
            Self::HourFrom1 => (hour + 23) % 24 + 1,
            Self::MilliOfDay => second_of_day * 1_000 + i64::from(c.nanos / 1_000_000),
            Self::Millis => i64::from(c.nanos / 1_000_000),
            Self::Minute => c.minute.into(),
            Self::Month => c.month.into(),
            Self::NanoOfDay => second_of_day * 1_000_000_000 + i64::from(c.nanos),
            Self::NanoOfSecond => c.nanos.into(),
            Self::Quarter => c.month.div_ceil(3).into(),
            Self::Second => c.second.into(),
            Self::Week => week_of_year(c.year, day),
            Self::Weekday => weekday(day) + 1,
            Self::IsoWeekday => (weekday(day) + 6) % 7 + 1,
            Self::Year => c.year.into(),
        }
    }
}

impl Word {
    fn of(self, c: &Civil) -> String {
        let name = |names: &[&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
        };
        let month = name(MONTHS, i64::from(c.month) - 1);
        let weekday = name(WEEKDAYS, weekday(calendar::days_of(c.year, c.month, c.day)));
        let short = |name: &str| name.chars().take(3).collect();
        match self {
            Self::AmPm => if c.hour < 12 { "AM" } else { "PM" }.to_owned(),
            Self::Era => if c.year > 0 { "AD" } else { "BC" }.to_owned(),
            Self::Month => month.to_owned(),
            Self::MonthShort => short(month),
            Self::Quarter => format!("Q{}", c.month.div_ceil(3)),
            Self::Weekday => weekday.to_owned(),
            Self::WeekdayShort => short(weekday),
        }
    }
}

/// Sunday is 0.
pub(super) fn weekday(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

/// Weeks as in the United States: they begin on Sundays, and the first is that of January 1.
fn week_of_year(year: i32, day: i64) -> i64 {
    let sunday = |day: i64| day - weekday(day);
    if sunday(day) == sunday(calendar::days_of(year + 1, 1, 1)) {
        return 1;
    }
    (sunday(day) - sunday(calendar::days_of(year, 1, 1))) / 7 + 1
}

/// What a text said so far.
struct Read {
    year: i32,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    nanos: u32,
}

impl Default for Read {
    fn default() -> Self {
        let (month, day) = (1, 1);
        Self {
            year: 1970,
            month,
            day,
            day_of_year: None,
            hour: 0,
            afternoon: None,
            minute: 0,
            second: 0,
            nanos: 0,
        }
    }
}

impl Read {
    fn set(&mut self, field: Field, n: i64) {
        match field {
            Field::Day => self.day = n,
            Field::DayOfYear => self.day_of_year = Some(n),
            Field::Hour12 | Field::HourFrom0 => {
                self.hour = n % 12;
                self.afternoon.get_or_insert(false);
            }
            Field::Hour24 => self.hour = n,
            Field::HourFrom1 => self.hour = n % 24,
            Field::Millis => self.nanos = u32::try_from(n.clamp(0, 999)).unwrap_or_default() * 1_000_000,
            Field::Minute => self.minute = n,
            Field::Month => self.month = n,
            Field::NanoOfSecond => self.nanos = u32::try_from(n).unwrap_or_default(),
            Field::Second => self.second = n,
            Field::Year => self.year = i32::try_from(n).unwrap_or(i32::MAX),
            Field::MilliOfDay
            | Field::NanoOfDay
            | Field::Quarter
            | Field::Week
            | Field::Weekday
            | Field::IsoWeekday => {}
        }
    }

    /// Takes a word; the rest of the text.
    fn word<'t>(&mut self, word: Word, text: &'t str) -> Option<&'t str> {
        let take = |name: &str| {
            let head = text.get(..name.len()).filter(|head| head.eq_ignore_ascii_case(name))?;
            text.get(head.len()..)
        };
        let name = |names: &[&str], short: bool| {
            names.iter().enumerate().find_map(|(i, name)| {
                take(if short { name.get(..3).unwrap_or(name) } else { name }).map(|rest| (i as i64, rest))
            })
        };
        match word {
            Word::AmPm => {
                let (afternoon, rest) =
                    take("AM").map(|rest| (false, rest)).or_else(|| take("PM").map(|rest| (true, rest)))?;
                self.afternoon = Some(afternoon);
                Some(rest)
            }
            Word::Era => take("AD"),
            Word::Month | Word::MonthShort => {
                let (month, rest) = name(MONTHS, word == Word::MonthShort)?;
                self.month = month + 1;
                Some(rest)
            }
            Word::Quarter => None,
            Word::Weekday | Word::WeekdayShort => {
                name(WEEKDAYS, word == Word::WeekdayShort).map(|(_, rest)| rest)
            }
        }
    }

    fn instant(self, lenient: bool) -> Option<Instant> {
        let hour = self.hour + if self.afternoon == Some(true) && self.hour < 12 { 12 } else { 0 };
        let within = |n: i64, from: i64, to: i64| (from..=to).contains(&n);
        let valid = within(self.month, 1, 12)
            && within(self.day, 1, 31)
            && within(hour, 0, 23)
            && within(self.minute, 0, 59)
            && within(self.second, 0, 59);
        if !lenient && !valid {
            return None;
        }
        // SimpleDateFormat lets months and days run over; DateTimeFormatter takes the last day of a shorter month.
        let months = i64::from(self.year) * 12 + self.month - 1;
        let year = i32::try_from(months.div_euclid(12)).ok()?;
        let month = u32::try_from(months.rem_euclid(12)).ok()? + 1;
        let mut day = self.day;
        while !lenient && day > 28 && !calendar::is_date(year, month, u32::try_from(day).ok()?) {
            day -= 1;
        }
        let first = match self.day_of_year {
            Some(n) => calendar::days_of(self.year, 1, 1) + n - 1,
            None => calendar::days_of(year, month, 1) + day - 1,
        };
        let seconds = hour * 3_600 + self.minute * 60 + self.second;
        let ms = first.checked_mul(DAY_MS)?.checked_add(seconds.checked_mul(1_000)?)?;
        Some(Instant { ms: ms + i64::from(self.nanos / 1_000_000), nanos: self.nanos % 1_000_000 })
    }
}

fn number(rest: &mut &str, min: usize, max: usize) -> Option<i64> {
    let length = rest.bytes().take(max).take_while(u8::is_ascii_digit).count();
    let (digits, tail) = rest.split_at_checked(length).filter(|_| length >= min)?;
    *rest = tail;
    digits.parse().ok()
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
