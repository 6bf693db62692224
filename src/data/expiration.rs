//! The `expiration` property: a decimal string of milliseconds, refused in RabbitMQ's words.

use super::term;

/// Ten years, RabbitMQ's bound for every time it keeps.
const EXPIRATION_MS_MAX: i128 = 315_360_000_000;

/// Milliseconds to live.
///
/// # Errors
/// RabbitMQ's reason when it is not a number in bounds and nothing else.
pub fn parse(expiration: &[u8]) -> Result<u64, String> {
    let signed = matches!(expiration.first(), Some(b'-' | b'+'));
    let (sign, digits) = expiration.split_at_checked(usize::from(signed)).unwrap_or((&[], expiration));
    let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, leftover) = digits.split_at_checked(len).unwrap_or((digits, &[]));
    if digits.is_empty() {
        return Err("no_integer".to_owned());
    }
    if !leftover.is_empty() {
        return Err(format!("{{leftover_string,{}}}", term::string(leftover)));
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    // More digits than fit are far beyond the bound; a short string can hold 255 of them.
    let Ok(n) = text.parse::<i128>() else { return Err(out_of_bounds(sign, text)) };
    let n = if sign == b"-" { -n } else { n };
    match u64::try_from(n) {
        Ok(ms) if n <= EXPIRATION_MS_MAX => Ok(ms),
        Ok(_) => Err(format!("{{value_too_large,{n}}}")),
        Err(_) if n < 0 => Err(format!("{{value_negative,{n}}}")),
        Err(_) => Err(format!("{{value_too_large,{n}}}")),
    }
}

fn out_of_bounds(sign: &[u8], digits: &str) -> String {
    let digits = digits.trim_start_matches('0');
    if sign == b"-" {
        format!("{{value_negative,-{digits}}}")
    } else {
        format!("{{value_too_large,{digits}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_number_of_milliseconds_in_bounds_is_taken() {
        let check = |value: &str, expected: Result<u64, &str>| {
            assert_eq!(parse(value.as_bytes()), expected.map_err(str::to_owned));
        };
        check("0", Ok(0));
        check("60000", Ok(60_000));
        check("+5", Ok(5));
        check("315360000000", Ok(315_360_000_000));
        check("315360000001", Err("{value_too_large,315360000001}"));
        check("99999999999999999999", Err("{value_too_large,99999999999999999999}"));
        check("-1", Err("{value_negative,-1}"));
        check("abc", Err("no_integer"));
        check("", Err("no_integer"));
        check("-", Err("no_integer"));
        check("10x", Err("{leftover_string,\"x\"}"));
        check("1.5", Err("{leftover_string,\".5\"}"));
        let long = "9".repeat(60);
        check(&long, Err(&format!("{{value_too_large,{long}}}")));
    }
}
