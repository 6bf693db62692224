//! Numbers of any length, compared by their digits, as Java's BigDecimal compares them.

use std::cmp::Ordering;

/// Whether BigDecimal reads the text.
pub(super) fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = unsigned(mantissa).split_once('.').unwrap_or((unsigned(mantissa), ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let exponent = exponent.parse::<i32>().is_ok();
    exponent && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

/// The order of two numbers that [`is_number`] takes.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Exact::of(a), Exact::of(b));
    match (a.sign, b.sign) {
        (x, y) if x != y => x.cmp(&y),
        (0, _) => Ordering::Equal,
        (sign, _) => {
            let larger = a.power.cmp(&b.power).then_with(|| a.digits.cmp(&b.digits));
            if sign < 0 { larger.reverse() } else { larger }
        }
    }
}

/// `0.digits * 10^power`, the digits without zeros at either end.
struct Exact {
    sign: i8,
    power: i64,
    digits: String,
}

impl Exact {
    fn of(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = unsigned(mantissa).split_once('.').unwrap_or((unsigned(mantissa), ""));
        let all = format!("{whole}{fraction}");
        let leading = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        let sign = if digits.is_empty() {
            0
        } else if mantissa.starts_with('-') {
            -1
        } else {
            1
        };
        // One that is too large for a number is as large as one can be.
        let beyond = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
        let places = whole.len() as i64 - leading as i64;
        let power = exponent.parse::<i64>().unwrap_or(beyond).saturating_add(places);
        Self { sign, power, digits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let rows = [
            ("1", "1.0", Ordering::Equal),
            ("10", "1e1", Ordering::Equal),
            ("0", "-0.00", Ordering::Equal),
            ("01", "1.", Ordering::Equal),
            (".5", "0.50", Ordering::Equal),
            ("9", "10", Ordering::Less),
            ("-9", "-10", Ordering::Greater),
            ("-1", "0", Ordering::Less),
            ("0.1", "0.09", Ordering::Greater),
            ("12345678901234567890", "12345678901234567891", Ordering::Less),
            ("123", "12.4e1", Ordering::Less),
            ("1e9223372036854775807", "1e5", Ordering::Greater),
            ("1e99999999999999999999", "1e5", Ordering::Greater),
            ("1e-99999999999999999999", "1e-5", Ordering::Less),
        ];
        for (a, b, order) in rows {
            assert_eq!((compare(a, b), compare(b, a)), (order, order.reverse()), "{a} {b}");
        }
        for text in ["", "-", ".", "1e", "x", "1 ", "--1", "1.2.3"] {
            assert!(!is_number(text), "{text}");
        }
    }
}
