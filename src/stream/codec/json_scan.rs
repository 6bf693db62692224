//! JSON read where it lies: where each value ends, and whether the text is JSON at all. Nothing is made of a value that
//! nobody asks for. What it takes is what `serde_json` takes, which reads the texts that have escapes in them.
//! (RFC 8259)

/// The text is no JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// A place in a text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that is no blank.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while matches!(self.rest().first(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
        self.rest().first().copied()
    }

    /// The byte that must come next.
    pub(super) fn expect(&mut self, byte: u8) -> Result<()> {
        if !self.take(byte) {
            return Err(Malformed);
        }
        Ok(())
    }

    /// Whether it comes next; then it is behind us.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Behind an element: whether another follows, or `end`.
    pub(super) fn another(&mut self, end: u8) -> Result<bool> {
        if self.take(b',') {
            return Ok(true);
        }
        self.expect(end).map(|()| false)
    }

    /// What stands between the quotes of the text that comes next, if nothing in it is escaped; else the place stays.
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let from = self.at + 1;
        let to = from + plain_bytes(self.text.as_bytes().get(from..)?);
        if self.text.as_bytes().get(to) != Some(&b'"') {
            return None;
        }
        self.at = to + 1;
        self.text.get(from..to)
    }

    /// A text with its quotes, as it stands there.
    pub(super) fn string(&mut self) -> Result<&'a str> {
        if self.peek() != Some(b'"') {
            return Err(Malformed);
        }
        let from = self.at;
        self.at += 1;
        loop {
            self.at += plain_bytes(self.rest());
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return self.text.get(from..self.at).ok_or(Malformed);
                }
                [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => {
                    self.at += 6;
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                _ => return Err(Malformed),
            }
        }
    }

    /// A whole number of few digits and nothing else; where it is anything more, the place stays.
    pub(super) fn small_integer(&mut self) -> Option<i64> {
        const DIGITS_MAX: usize = 18;
        self.peek();
        let rest = self.rest();
        let (negative, digits) = match rest {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let mut number = 0;
        let mut count = 0;
        for byte in digits.iter().take(DIGITS_MAX + 1) {
            if !byte.is_ascii_digit() {
                break;
            }
            number = number * 10 + i64::from(byte - b'0');
            count += 1;
        }
        let ends =
            matches!(digits.get(count), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r'));
        let leading_zero = count > 1 && digits.first() == Some(&b'0');
        if count == 0 || count > DIGITS_MAX || !ends || leading_zero {
            return None;
        }
        self.at += count + usize::from(negative);
        Some(if negative { -number } else { number })
    }

    /// The value that comes next, as it stands there.
    pub(super) fn value(&mut self) -> Result<&'a str> {
        let first = self.peek().ok_or(Malformed)?;
        let from = self.at;
        match first {
            b'"' => return self.string(),
            b'{' | b'[' => self.nested()?,
            _ => self.scalar(first)?,
        }
        self.text.get(from..self.at).ok_or(Malformed)
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self, first: u8) -> Result<()> {
        let word = match first {
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            _ => return self.number(),
        };
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        let digits = |scanner: &mut Self| {
            let count = scanner.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
            scanner.at += count;
            count
        };
        self.at += usize::from(self.rest().first() == Some(&b'-'));
        let leading_zero = self.rest().first() == Some(&b'0');
        let whole = digits(self);
        if whole == 0 || leading_zero && whole > 1 {
            return Err(Malformed);
        }
        if self.rest().first() == Some(&b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return Err(Malformed);
            }
        }
        if matches!(self.rest().first(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.rest().first(), Some(b'+' | b'-')));
            if digits(self) == 0 {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    /// An object or an array. What is open is no deeper than the text is long.
    fn nested(&mut self) -> Result<()> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            let first = self.peek().ok_or(Malformed)?;
            match first {
                b'{' | b'[' => {
                    self.at += 1;
                    let end = if first == b'{' { b'}' } else { b']' };
                    if !self.take(end) {
                        open.push(end);
                        if end == b'}' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => drop(self.string()?),
                _ => self.scalar(first)?,
            }
            // Behind a value: those that end here, and what follows the last of them.
            loop {
                let Some(end) = open.last().copied() else { return Ok(()) };
                if self.another(end)? {
                    if end == b'}' {
                        self.name()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    fn name(&mut self) -> Result<()> {
        self.string()?;
        self.expect(b':')
    }
}

/// How many bytes come before one that ends a text or needs a look: a quote, a backslash or a control character. Eight at
/// a time: a byte's highest bit is set where it is one of them, and perhaps in bytes behind the first.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let mut count = 0;
    let mut rest = bytes;
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let found = below(word, 0x20) | equal(word, b'"') | equal(word, b'\\');
        if found != 0 {
            return count + found.trailing_zeros() as usize / 8;
        }
        count += 8;
        rest = after;
    }
    count + rest.iter().take_while(|byte| **byte >= 0x20 && !matches!(byte, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use serde::de::{Deserialize as _, IgnoredAny};

    use super::*;

    /// Whether it is one value with nothing but blanks around it, by this reader and by `serde_json`.
    fn both(text: &str) -> (bool, bool) {
        let mut scanner = Scanner::new(text);
        let ours = scanner.value().is_ok() && scanner.peek().is_none();
        let mut theirs = serde_json::Deserializer::from_str(text);
        (ours, IgnoredAny::deserialize(&mut theirs).is_ok() && theirs.end().is_ok())
    }

    const TEXTS: &[&str] = &[
        r#"{"a": 1, "b": [1.5e-3, -0, "x\u00e4\n", {"c": {}}, [], [[null]]], "d": true, "e": false}"#,
        r#"[{"auction":1,"url":"https://example.org/?q=1","extra":"xxxxxxxxxxxxxxxx"}]"#,
        r#"{"ä": "ö\"ü\\", "z": 0.0, "y": 12345678901234567890, "x": 1E+5 }"#,
    ];

    #[test]
    fn a_value_is_as_long_as_it_is() {
        for (text, value) in [
            (" 7 , 8", "7"),
            (r#""a\"b" : 1"#, r#""a\"b""#),
            (r#"{"a":[1,{"b":"}"}]},"#, r#"{"a":[1,{"b":"}"}]}"#),
            ("null]", "null"),
            ("-1.5e+3}", "-1.5e+3"),
        ] {
            assert_eq!(Scanner::new(text).value(), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_small_integer_is_taken_whole_or_not_at_all() {
        for (text, number) in [
            ("7,", Some(7)),
            (" -12}", Some(-12)),
            ("0 ", Some(0)),
            ("-0", Some(0)),
            ("999999999999999999]", Some(999_999_999_999_999_999)),
            ("1000000000000000000", None),
            ("01", None),
            ("1.5", None),
            ("1e3", None),
            ("-", None),
            ("\"7\"", None),
            ("null", None),
        ] {
            let mut scanner = Scanner::new(text);
            assert_eq!(scanner.small_integer(), number, "{text}");
            if number.is_none() {
                assert_eq!(scanner.at, 0, "{text}");
            }
        }
    }

    #[test]
    fn what_is_json_is_what_serde_json_takes() {
        // Every text, cut at every place, and with every byte of the grammar put in for every one that is there.
        for text in TEXTS {
            assert_eq!(both(text), (true, true), "{text}");
            for (at, _) in text.char_indices() {
                let (before, after) = text.split_at(at);
                let (ours, theirs) = both(before);
                assert_eq!(ours, theirs, "{before}");
                let rest: String = after.chars().skip(1).collect();
                for byte in "\"\\{}[]:,-+.0eEtnu \n\u{1}\u{7f}ä".chars() {
                    let changed = format!("{before}{byte}{rest}");
                    let (ours, theirs) = both(&changed);
                    assert_eq!(ours, theirs, "{changed}");
                }
                let (ours, theirs) = both(&format!("{before}{rest}"));
                assert_eq!(ours, theirs, "{before}{rest}");
            }
        }
    }

    #[test]
    fn bytes_that_need_a_look_are_found_at_every_place() {
        for length in 0..40 {
            for at in 0..length {
                for byte in [b'"', b'\\', 0x1f, 0] {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = byte;
                    // The byte before is what borrows reach: one above the limit, and one with the highest bit.
                    for before in [b' ', 0xff, b'#'] {
                        if let Some(place) = at.checked_sub(1) {
                            bytes[place] = before;
                        }
                        assert_eq!(plain_bytes(&bytes), at, "{bytes:?}");
                    }
                }
            }
            assert_eq!(plain_bytes(&vec![b'!'; length]), length);
        }
    }
}
