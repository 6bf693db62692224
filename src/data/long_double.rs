//! C's `long double` of x86, 64 bits of precision, in which Redis counts (`INCRBYFLOAT`) and reads times to wait: read as
//! `strtold` reads, added as the processor adds, written as `%.17Lf` without the zeros at the end.
//!
//! What is smaller than the smallest that there is has no bits fewer here; it is written as 0 either way.

use std::{cmp::Ordering, fmt};

/// A finite number, `mantissa` · 2^`exponent`, with the highest bit of the mantissa set unless it is zero; or an infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongDouble {
    Finite { negative: bool, mantissa: u64, exponent: i32 },
    Infinite { negative: bool },
}

/// The largest text that Redis reads as one.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Powers of two of the mantissa's highest bit: above is infinite, below is nothing.
const POWER_MAX: i64 = 16_383;
const POWER_MIN: i64 = -16_445;

/// Powers of ten beyond which no digits change that.
const TEN_POWER_MAX: i64 = 5_000;

/// Digits behind the point that are written, and 10 to the power of them.
const DIGITS: usize = 17;
const SCALE: u128 = 10_u128.pow(17);

impl LongDouble {
    pub const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// The number that a text is; nothing may be around it, and it must not be too large or too small for any.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let lower = unsigned.to_ascii_lowercase();
        if lower == "inf" || lower == "infinity" {
            return Some(Self::Infinite { negative });
        }
        match lower.strip_prefix("0x") {
            Some(hexadecimal) => {
                let (digits, power) = digits(hexadecimal, 16, 'p')?;
                Self::scaled(negative, &digits, power)
            }
            None => {
                let (digits, power) = digits(&lower, 10, 'e')?;
                Self::of_decimal(negative, digits, power)
            }
        }
    }

    /// `digits` · 10^`power`, rounded.
    fn of_decimal(negative: bool, mut digits: Natural, power: i64) -> Option<Self> {
        if digits.is_zero() {
            return Some(Self::Finite { negative, mantissa: 0, exponent: 0 });
        }
        let magnitude = power + digits.decimals();
        if magnitude.abs() > TEN_POWER_MAX {
            return None;
        }
        if power >= 0 {
            digits.times_power_of_ten(power.unsigned_abs());
            return Self::scaled(negative, &digits, 0);
        }
        // The quotient shall have some bits more than are kept, and then whether there is a rest.
        let mut divisor = Natural::from(1);
        divisor.times_power_of_ten(power.unsigned_abs());
        let up = (divisor.bits() + QUOTIENT_BITS).saturating_sub(digits.bits());
        digits.shift_left(up);
        divisor.shift_left(QUOTIENT_BITS);
        let mut quotient: u128 = 0;
        for _ in 0..=QUOTIENT_BITS {
            quotient <<= 1;
            if digits.compare(&divisor) != Ordering::Less {
                digits.subtract(&divisor);
                quotient |= 1;
            }
            divisor.halve();
        }
        let bits = (quotient << 1) | u128::from(!digits.is_zero());
        Self::rounded(negative, bits, -i64::try_from(up).ok()? - 1)
    }

    /// `digits` · 2^`power`, rounded.
    fn scaled(negative: bool, digits: &Natural, power: i64) -> Option<Self> {
        let (bits, dropped) = digits.leading();
        Self::rounded(negative, bits, power.checked_add(i64::try_from(dropped).ok()?)?)
    }

    /// `bits` · 2^`power` to the nearest, the even one of two; `None`: that is too large or too small.
    fn rounded(negative: bool, bits: u128, mut power: i64) -> Option<Self> {
        if bits == 0 {
            return Some(Self::Finite { negative, mantissa: 0, exponent: 0 });
        }
        let (aligned, zeros) = (bits << bits.leading_zeros(), i64::from(bits.leading_zeros()));
        let (mut mantissa, rest) = ((aligned >> 64) as u64, aligned as u64);
        power += 64 - zeros;
        if rest > HALF || (rest == HALF && mantissa & 1 == 1) {
            (mantissa, power) = match mantissa.checked_add(1) {
                Some(mantissa) => (mantissa, power),
                None => (HALF, power + 1),
            };
        }
        let highest = power + 63;
        let exponent = i32::try_from(power).ok()?;
        (POWER_MIN..=POWER_MAX).contains(&highest).then_some(Self::Finite { negative, mantissa, exponent })
    }

    /// The sum; `None`: it is infinite, or not a number.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let (
            Self::Finite { negative, mantissa, exponent },
            Self::Finite { negative: other_negative, mantissa: other_mantissa, exponent: other_exponent },
        ) = (self, other)
        else {
            return None;
        };
        if mantissa == 0 || (other_mantissa != 0 && exponent < other_exponent) {
            return if other_mantissa == 0 {
                Some(self)
            } else {
                other.plus_smaller((negative, mantissa, exponent))
            };
        }
        self.plus_smaller((other_negative, other_mantissa, other_exponent))
    }

    /// As [`Self::plus`], with one that is zero or has no greater exponent.
    fn plus_smaller(self, (negative, mantissa, exponent): (bool, u64, i32)) -> Option<Self> {
        let Self::Finite { negative: own_negative, mantissa: own, exponent: own_exponent } = self else {
            return None;
        };
        // Room below for what is rounded, and one bit above for what is carried.
        let (large, small) = (u128::from(own) << ROOM_BITS, u128::from(mantissa) << ROOM_BITS);
        let down = own_exponent.abs_diff(exponent);
        let small = if mantissa == 0 {
            0
        } else {
            let kept = small.checked_shr(down).unwrap_or(0);
            let lost = kept.checked_shl(down).unwrap_or(0) != small;
            kept | u128::from(lost)
        };
        let (sum_negative, sum) = match (own_negative == negative, large >= small) {
            (true, _) => (own_negative, large + small),
            (false, true) => (own_negative, large - small),
            (false, false) => (negative, small - large),
        };
        let power = i64::from(own_exponent) - i64::from(ROOM_BITS);
        match Self::rounded(sum_negative && sum != 0, sum, power) {
            None if power < 0 => Some(Self::ZERO),
            sum => sum,
        }
    }

    #[must_use]
    pub fn is_infinite(self) -> bool {
        matches!(self, Self::Infinite { .. })
    }

    /// The nearest `f64`, or an infinity.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        let (negative, value) = match self {
            Self::Infinite { negative } => (negative, f64::INFINITY),
            // In two steps: a power of its own may not be an f64.
            Self::Finite { negative, mantissa, exponent } => {
                let half = exponent / 2;
                (negative, mantissa as f64 * 2_f64.powi(half) * 2_f64.powi(exponent - half))
            }
        };
        if negative { -value } else { value }
    }
}

/// Bits of a quotient beyond the first.
const QUOTIENT_BITS: usize = 67;

/// Bits below a mantissa in a sum.
const ROOM_BITS: u32 = 62;

/// Half of what 64 bits count to.
const HALF: u64 = 1 << 63;

impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, mantissa, exponent) = match *self {
            Self::Infinite { negative } => return f.write_str(if negative { "-inf" } else { "inf" }),
            Self::Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
        };
        let text = if exponent >= 0 {
            let mut whole = Natural::from(mantissa);
            whole.shift_left(usize::try_from(exponent).unwrap_or(0));
            whole.to_decimal()
        } else {
            let scaled = u128::from(mantissa) * SCALE;
            let down = exponent.unsigned_abs();
            let kept = scaled.checked_shr(down).unwrap_or(0);
            let rest = scaled ^ kept.checked_shl(down).unwrap_or(0);
            // No half that is beyond all bits is reached.
            let half = 1_u128.checked_shl(down - 1).unwrap_or(u128::MAX);
            let up = rest > half || (rest == half && kept & 1 == 1);
            let kept = kept + u128::from(up);
            let text = format!("{}.{:0DIGITS$}", kept / SCALE, kept % SCALE);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let sign = if negative && text != "0" { "-" } else { "" };
        write!(f, "{sign}{text}")
    }
}

/// Digits with at most one point among them, and behind them a power, if there is one: all digits as one number, and the
/// power of the base (of 2, when that is 16) that it is to be multiplied by.
fn digits(text: &str, base: u32, mark: char) -> Option<(Natural, i64)> {
    let (number, power) = match text.split_once(mark) {
        None => (text, 0),
        Some((number, power)) => {
            let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
            if unsigned.is_empty() || !unsigned.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            // More of it changes nothing.
            let size = unsigned.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
            (number, if power.starts_with('-') { -size } else { size })
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits = Natural::from(0);
    for digit in whole.chars().chain(fraction.chars()) {
        digits.times_plus(base, digit.to_digit(base)?);
    }
    let bits_a_digit = if base == 16 { 4 } else { 1 };
    Some((digits, power - bits_a_digit * i64::try_from(fraction.len()).ok()?))
}

/// A whole number of any size: words of 32 bits, the lowest first, none of them zero at the end.
#[derive(Debug)]
struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(n: u64) -> Self {
        let mut natural = Self(vec![n as u32, (n >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Natural {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn bits(&self) -> usize {
        let top = self.0.last().map_or(0, |top| u32::BITS - top.leading_zeros());
        self.0.len().saturating_sub(1) * 32 + top as usize
    }

    /// About as many decimal digits as it has.
    fn decimals(&self) -> i64 {
        i64::try_from(self.bits() * 1_000 / 3_322).unwrap_or(i64::MAX)
    }

    fn times_plus(&mut self, factor: u32, plus: u32) {
        let mut carry = u64::from(plus);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power_of_ten(&mut self, power: u64) {
        for _ in 0..power / 9 {
            self.times_plus(1_000_000_000, 0);
        }
        for _ in 0..power % 9 {
            self.times_plus(10, 0);
        }
    }

    fn shift_left(&mut self, bits: usize) {
        if !self.is_zero() {
            self.times_plus(1 << (bits % 32), 0);
            self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
        }
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for word in self.0.iter_mut().rev() {
            (*word, carry) = (*word >> 1 | carry << 31, *word & 1);
        }
        self.trim();
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// One that is not greater.
    fn subtract(&mut self, other: &Self) {
        let mut borrowed = false;
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        for (word, other) in self.0.iter_mut().zip(others) {
            let (less, first) = word.overflowing_sub(other);
            let (less, second) = less.overflowing_sub(u32::from(borrowed));
            (*word, borrowed) = (less, first || second);
        }
        self.trim();
    }

    /// Its highest bits, the lowest of them set if any below is, and how many are below.
    fn leading(&self) -> (u128, usize) {
        let below = self.0.len().saturating_sub(4);
        let (low, high) = self.0.split_at(below);
        let bits = high.iter().rev().fold(0, |bits, &word| bits << 32 | u128::from(word));
        (bits | u128::from(low.iter().any(|&word| word != 0)), below * 32)
    }

    fn to_decimal(&self) -> String {
        let (mut words, mut groups) = (self.0.clone(), Vec::new());
        while !words.is_empty() {
            let mut rest = 0;
            for word in words.iter_mut().rev() {
                rest = rest << 32 | u64::from(*word);
                *word = (rest / 1_000_000_000) as u32;
                rest %= 1_000_000_000;
            }
            groups.push(rest);
            while words.last() == Some(&0) {
                words.pop();
            }
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        text.extend(groups.iter().rev().map(|group| format!("{group:09}")));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, other: &str) -> Option<String> {
        let (one, other) = (LongDouble::parse(one.as_bytes())?, LongDouble::parse(other.as_bytes())?);
        one.plus(other).map(|sum| sum.to_string())
    }

    /// As Redis 7.0.15 says it on x86-64; more of them are in `fixtures/redis/numbers.tsv`.
    #[test]
    fn sums_are_written_as_redis_writes_them() {
        for (one, other, expected) in [
            ("10.5", "0.1", "10.6"),
            ("5e3", "2e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("1234567.1", "0.1", "1234567.20000000000004547"),
            ("-1", "1", "0"),
            ("-0", "-0", "0"),
            ("1e20", "0.5", "100000000000000000000"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("0.000000000000000006", "0", "0.00000000000000001"),
            ("0.000000000000000004", "0", "0"),
            ("0x10", "0", "16"),
        ] {
            assert_eq!(sum(one, other).as_deref(), Some(expected), "{one} + {other}");
        }
        assert_eq!(sum("inf", "-inf"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in
            ["", "x", " 1", "1 ", "1e", "1e+", "0x", "0x1p", "nan", ".", "--1", "1e5000", "1e-5000", "1.2.3"]
        {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        for text in ["inf", "-INFINITY", "+1", ".5", "5.", "0x1.8p1", "0x.8", "1E4", "1e4000", "-0", "0e9999"]
        {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text:?}");
        }
    }

    #[test]
    fn the_nearest_float_is_that_of_the_text() {
        for text in ["0.1", "1e300", "-2.5", "0x10", "123456789.123456789", "1e-300"] {
            let expected = if text == "0x10" { 16.0 } else { text.parse().unwrap() };
            assert_eq!(LongDouble::parse(text.as_bytes()).unwrap().to_f64(), expected, "{text}");
        }
        assert_eq!(LongDouble::parse(b"1e400").unwrap().to_f64(), f64::INFINITY);
    }
}
