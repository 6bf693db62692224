//! Numbers as text, read as strictly as Redis reads them and written as it writes them.

use crate::data::long_double::LongDouble;

/// A whole number: no sign but a minus, no leading zero, nothing around it.
#[must_use]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (_, _) => (false, text),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    // Summed up below zero, where there is room for one more.
    let mut sum: i64 = 0;
    for digit in digits {
        let digit = i64::from(digit.checked_sub(b'0').filter(|&d| d <= 9)?);
        sum = sum.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(sum) } else { sum.checked_neg() }
}

/// A floating-point number: infinite ones too, but no `nan`, and nothing that is too large or too small to be one.
#[must_use]
pub fn float(text: &[u8]) -> Option<f64> {
    let number = any_float(std::str::from_utf8(text).ok()?)?;
    let says_infinite = !text.iter().any(u8::is_ascii_digit);
    let is_out_of_range =
        if number == 0.0 { !says_zero(text) } else { number.is_infinite() != says_infinite };
    (!is_out_of_range).then_some(number)
}

/// One end of a range of scores, which Redis reads less strictly: what is too large is infinite, and nothing is 0.
#[must_use]
pub fn range_end(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() { Some(0.0) } else { any_float(text.trim_start_matches(is_space)) }
}

/// What C's `strtod` makes of all of a text, hexadecimal digits too; a space before it is not for everybody.
fn any_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        return LongDouble::parse(text.as_bytes()).map(LongDouble::to_f64);
    }
    text.parse().ok().filter(|number: &f64| !number.is_nan())
}

/// As C's `isspace`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Whether every digit before the exponent is 0.
fn says_zero(text: &[u8]) -> bool {
    text.iter().take_while(|b| !matches!(b, b'e' | b'E')).all(|b| !matches!(b, b'1'..=b'9'))
}

/// As Redis writes scores: whole numbers without a point, others with as many digits as say exactly which.
#[must_use]
pub fn score(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == number.trunc() && number.abs() < WHOLE_MAX {
        return format!("{number:.0}");
    }
    // `%.17g`: seventeen digits, with an exponent where that is shorter.
    let scientific = format!("{number:.16e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-5..17).contains(&exponent) {
        let places = usize::try_from(16 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.places$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

/// Whole numbers up to here are exact.
const WHOLE_MAX: f64 = 1e17;

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_strictly() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("10", Some(10)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1a", None),
        ] {
            assert_eq!(integer(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn scores_are_read_strictly_and_ends_of_ranges_are_not() {
        let inf = f64::INFINITY;
        for (text, strict, lenient) in [
            ("1.5", Some(1.5), Some(1.5)),
            ("+1", Some(1.0), Some(1.0)),
            ("0x10", Some(16.0), Some(16.0)),
            ("inf", Some(inf), Some(inf)),
            ("-Infinity", Some(-inf), Some(-inf)),
            ("1e400", None, Some(inf)),
            ("1e-400", None, Some(0.0)),
            ("0e9", Some(0.0), Some(0.0)),
            ("", None, Some(0.0)),
            (" 1", None, Some(1.0)),
            (" ", None, None),
            ("1 ", None, None),
            ("nan", None, None),
            ("x", None, None),
        ] {
            assert_eq!((float(text.as_bytes()), range_end(text.as_bytes())), (strict, lenient), "{text:?}");
        }
    }

    #[test]
    fn scores_are_written_as_redis_writes_them() {
        for (number, expected) in [
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1_700_000_000.123, "1700000000.1229999"),
            (1e20, "1e+20"),
            (1.5e-7, "1.4999999999999999e-07"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(score(number), expected);
        }
    }
}
