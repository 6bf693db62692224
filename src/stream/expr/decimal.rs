//! DECIMAL arithmetic on whole numbers of at most 38 digits; products and quotients pass through 256 bits.
//!
//! Results are rounded half up to the result's scale; what does not fit its precision becomes NULL, as on Flink.

use std::fmt::Write as _;

use crate::stream::plan::types::DECIMAL_PRECISION_MAX;

/// Ten to the n, for n ≤ 38.
#[must_use]
pub fn pow10(n: u8) -> i128 {
    10i128.pow(u32::from(n.min(DECIMAL_PRECISION_MAX)))
}

#[must_use]
pub fn fits(unscaled: i128, precision: u8) -> Option<i128> {
    (unscaled.unsigned_abs() < pow10(precision).unsigned_abs()).then_some(unscaled)
}

/// The number with another scale, rounded half up; `None` if it has more digits than `precision`.
#[must_use]
pub fn rescale(unscaled: i128, from: u8, to: u8, precision: u8) -> Option<i128> {
    let moved = if to >= from {
        if unscaled == 0 { 0 } else { unscaled.checked_mul(10i128.checked_pow(u32::from(to - from))?)? }
    } else {
        match 10i128.checked_pow(u32::from(from - to)) {
            Some(divisor) => half_up(unscaled, divisor),
            None => 0,
        }
    };
    fits(moved, precision)
}

fn half_up(n: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (n / divisor, (n % divisor).unsigned_abs());
    quotient + if rest >= divisor.unsigned_abs() - rest { n.signum() } else { 0 }
}

/// A number and its scale.
pub type Scaled = (i128, u8);

#[must_use]
pub fn add((a, s1): Scaled, (b, s2): Scaled, precision: u8, scale: u8) -> Option<i128> {
    let common = s1.max(s2);
    let a = a.checked_mul(10i128.checked_pow(u32::from(common - s1))?)?;
    let b = b.checked_mul(10i128.checked_pow(u32::from(common - s2))?)?;
    rescale(a.checked_add(b)?, common, scale, precision)
}

#[must_use]
pub fn multiply((a, s1): Scaled, (b, s2): Scaled, precision: u8, scale: u8) -> Option<i128> {
    let exact = s1 + s2;
    if let Some(product) = a.checked_mul(b)
        && exact <= DECIMAL_PRECISION_MAX
    {
        return rescale(product, exact, scale, precision);
    }
    let product = Wide::product(a.unsigned_abs(), b.unsigned_abs());
    let divisor = 10u128.checked_pow(u32::from(exact.saturating_sub(scale)))?;
    signed(product.divide_half_up(divisor)?, (a < 0) != (b < 0), precision)
}

/// `None` for a result too large; the caller refuses a zero divisor before.
#[must_use]
pub fn divide((a, s1): Scaled, (b, s2): Scaled, precision: u8, scale: u8) -> Option<i128> {
    // a/10^s1 : b/10^s2 = a*10^(scale+s2-s1)/b / 10^scale
    let shift = i32::from(scale) + i32::from(s2) - i32::from(s1);
    let (up, down) = (shift.max(0).unsigned_abs(), (-shift).max(0).unsigned_abs());
    let factor = 10u128.checked_pow(up)?;
    let divisor = b.unsigned_abs().checked_mul(10u128.checked_pow(down)?)?;
    let numerator = Wide::product(a.unsigned_abs(), factor);
    signed(numerator.divide_half_up(divisor)?, (a < 0) != (b < 0), precision)
}

#[must_use]
pub fn remainder((a, s1): Scaled, (b, s2): Scaled, precision: u8, scale: u8) -> Option<i128> {
    let common = s1.max(s2);
    let a = a.checked_mul(10i128.checked_pow(u32::from(common - s1))?)?;
    let b = b.checked_mul(10i128.checked_pow(u32::from(common - s2))?)?;
    rescale(a.checked_rem(b)?, common, scale, precision)
}

fn signed(n: u128, negative: bool, precision: u8) -> Option<i128> {
    let n = i128::try_from(n).ok()?;
    fits(if negative { -n } else { n }, precision)
}

/// An unsigned number of 256 bits, just as far as needed here.
struct Wide {
    high: u128,
    low: u128,
}

impl Wide {
    fn product(a: u128, b: u128) -> Self {
        const MASK: u128 = u64::MAX as u128;
        let (a1, a0, b1, b0) = (a >> 64, a & MASK, b >> 64, b & MASK);
        let low = a0 * b0;
        let middle = a1 * b0 + (low >> 64);
        let carry = (middle & MASK) + a0 * b1;
        Self { high: a1 * b1 + (middle >> 64) + (carry >> 64), low: (carry << 64) | (low & MASK) }
    }

    /// Long division, bit by bit; `None` if the quotient needs more than 128 bits.
    fn divide_half_up(&self, divisor: u128) -> Option<u128> {
        if divisor == 0 || self.high >= divisor {
            return None;
        }
        let (mut rest, mut quotient) = (self.high, 0u128);
        for bit in (0..128).rev() {
            let overflow = rest >> 127 == 1;
            rest = (rest << 1) | ((self.low >> bit) & 1);
            quotient <<= 1;
            if overflow || rest >= divisor {
                rest = rest.wrapping_sub(divisor);
                quotient |= 1;
            }
        }
        quotient.checked_add(u128::from(rest >= divisor - rest))
    }
}

/// Java's `BigDecimal.toPlainString`.
#[must_use]
pub fn plain(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Java's `BigDecimal.toString`: with an exponent for numbers under 0.000001.
#[must_use]
pub fn scientific(unscaled: i128, scale: u8) -> String {
    let digits = unscaled.unsigned_abs().to_string();
    let exponent = digits.len() as i64 - 1 - i64::from(scale);
    if exponent >= -6 {
        return plain(unscaled, scale);
    }
    let mut out = String::from(if unscaled < 0 { "-" } else { "" });
    let (first, rest) = digits.split_at(1);
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    let _ = write!(out, "E{exponent}");
    out
}

/// A number as Java's BigDecimal reads it, at the scale and precision asked for. Outer `None`: not a number;
/// inner `None`: a number that does not fit.
#[must_use]
pub fn parse(text: &str, precision: u8, scale: u8) -> Option<Option<i128>> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // The digit at `place` is worth 10^-place; what lies behind the scale only rounds.
    let mut unscaled: i128 = 0;
    let shift = i64::from(exponent) + whole.len() as i64;
    let kept = shift + i64::from(scale);
    let mut taken = 0i64;
    for digit in digits() {
        if taken >= kept {
            if taken == kept && digit >= b'5' {
                unscaled += 1;
            }
            break;
        }
        let Some(next) = unscaled.checked_mul(10) else { return Some(None) };
        unscaled = next + i128::from(digit - b'0');
        taken += 1;
    }
    while taken < kept && unscaled != 0 {
        let Some(next) = unscaled.checked_mul(10) else { return Some(None) };
        unscaled = next;
        taken += 1;
    }
    if kept < 0 {
        unscaled = 0;
    }
    Some(fits(if negative { -unscaled } else { unscaled }, precision))
}

#[must_use]
pub fn to_f64(unscaled: i128, scale: u8) -> f64 {
    // By way of text: correctly rounded, which dividing two floats is not.
    plain(unscaled, scale).parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_at_a_scale() {
        let rows = [
            ("1.005", 10, 2, Some(Some(101))),
            ("-1.005", 10, 2, Some(Some(-101))),
            ("1.004", 10, 2, Some(Some(100))),
            ("12", 4, 2, Some(Some(1200))),
            ("123", 4, 2, Some(None)),
            ("1.5e2", 10, 1, Some(Some(1500))),
            ("5e-3", 10, 2, Some(Some(1))),
            ("5e-9", 10, 2, Some(Some(0))),
            (".5", 3, 1, Some(Some(5))),
            ("abc", 3, 1, None),
            ("", 3, 1, None),
        ];
        for (text, precision, scale, expected) in rows {
            assert_eq!(parse(text, precision, scale), expected, "{text}");
        }
    }

    #[test]
    fn products_and_quotients_pass_through_256_bits() {
        let big = 10i128.pow(37);
        assert_eq!(multiply((big, 20), (big, 20), 38, 4), None);
        assert_eq!(multiply((big, 20), (big, 20), 38, 3), Some(big));
        assert_eq!(multiply((big, 20), (10i128.pow(20), 20), 38, 20), Some(big));
        assert_eq!(divide((1, 0), (3, 0), 12, 6), Some(333_333));
        assert_eq!(divide((2, 0), (3, 0), 12, 6), Some(666_667));
        assert_eq!(divide((-2, 0), (3, 0), 12, 6), Some(-666_667));
        assert_eq!(divide((big, 0), (3, 30), 38, 0), None);
    }

    #[test]
    fn texts_are_javas() {
        assert_eq!(
            (plain(-5, 3), plain(1234, 2), plain(7, 0)),
            ("-0.005".into(), "12.34".into(), "7".into())
        );
        assert_eq!(
            (scientific(1, 7), scientific(-123, 10), scientific(1, 6)),
            ("1E-7".into(), "-1.23E-8".into(), "0.000001".into())
        );
    }
}
