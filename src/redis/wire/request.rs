//! Requests: an array of bulk strings, or a line as somebody types it.
//!
//! ```text
//! *2 CR LF  $4 CR LF  LLEN CR LF  $10 CR LF  task_queue CR LF        llen task_queue LF
//! ```
//!
//! A request is decoded as its bytes come: what is known of one that is not whole is kept, so that a long one is looked
//! at once. (RESP; Redis' inline commands.)

use std::ops::Range;

use nom::{
    IResult, Parser,
    bytes::streaming::{take, take_while},
    combinator::peek,
    number::streaming::u8 as byte,
    sequence::terminated,
};
use smallvec::SmallVec;

use super::{malformed::Malformed, number::integer};

/// The longest line: an inline request, or a header.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Arguments of a request.
const ARGUMENTS_MAX: i64 = 1024 * 1024;

/// What who has not logged in may ask for.
const UNAUTHENTICATED_ARGUMENTS_MAX: i64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;

/// An argument's place, counted from the beginning of its request.
type Argument = Range<usize>;

/// What a peer may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub bulk_bytes_max: usize,
    pub request_bytes_max: usize,
    pub authenticated: bool,
}

/// The front of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Front {
    /// A request of so many bytes, with its arguments. There may be none.
    Whole { bytes: usize },
    /// So many bytes are missing, at least.
    Incomplete { missing: usize },
}

/// Takes requests apart.
#[derive(Debug, Default)]
pub struct Decoder {
    arguments: SmallVec<[Argument; 8]>,
    /// An inline request's arguments, without their quotes.
    words: Vec<u8>,
    state: State,
    /// Everything before is known.
    at: usize,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Beginning,
    /// So many arguments are still to come.
    Header { left: usize },
    /// One of so many bytes, and more behind it.
    Bulk { left: usize, bytes: usize },
}

impl Decoder {
    /// The arguments of the request that was whole.
    #[must_use]
    pub fn arguments<'a>(&'a self, input: &'a [u8]) -> SmallVec<[&'a [u8]; 8]> {
        let from = if self.words.is_empty() { input } else { &self.words };
        self.arguments.iter().map(|argument| from.get(argument.clone()).unwrap_or_default()).collect()
    }

    /// Forgets the request that was whole.
    pub fn next(&mut self) {
        self.arguments.clear();
        if self.arguments.capacity() > ARGUMENTS_KEPT {
            self.arguments = SmallVec::new();
        }
        self.words = Vec::new();
        self.state = State::Beginning;
        self.at = 0;
    }

    /// Looks at the request at the front of `input`, which begins where it did last time if it was not whole then.
    ///
    /// # Errors
    /// What no request begins with.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Front, Malformed> {
        loop {
            let rest = input.get(self.at..).unwrap_or_default();
            let known = match self.state {
                State::Beginning => match peek(byte::<&[u8], ()>).parse(rest) {
                    Err(_) => return Ok(Front::Incomplete { missing: 1 }),
                    Ok((_, b'*')) => self.begin(rest, limits)?,
                    Ok((_, _)) => return self.inline(rest),
                },
                State::Header { left: 0 } => return Ok(Front::Whole { bytes: self.at }),
                State::Header { left } => self.header(rest, left, limits)?,
                State::Bulk { left, bytes } => {
                    let Some(missing) = (bytes + CRLF).checked_sub(rest.len()).filter(|&n| n > 0) else {
                        self.arguments.push(self.at..self.at + bytes);
                        self.at += bytes + CRLF;
                        self.state = State::Header { left: left - 1 };
                        continue;
                    };
                    return Ok(Front::Incomplete { missing });
                }
            };
            if !known {
                return Ok(Front::Incomplete { missing: 1 });
            }
        }
    }

    /// `*` and the number of arguments. False: there is more to come.
    fn begin(&mut self, rest: &[u8], limits: &Limits) -> Result<bool, Malformed> {
        let Some((bytes, count)) = number(rest, Malformed::MultibulkCountTooLong)? else { return Ok(false) };
        let count = count.filter(|&n| n <= ARGUMENTS_MAX).ok_or(Malformed::MultibulkLength)?;
        if count > UNAUTHENTICATED_ARGUMENTS_MAX && !limits.authenticated {
            return Err(Malformed::MultibulkLengthUnauthenticated);
        }
        self.at += bytes;
        // One of none, or of fewer, asks for nothing.
        self.state = State::Header { left: usize::try_from(count).unwrap_or(0) };
        Ok(true)
    }

    /// `$` and the length of an argument.
    fn header(&mut self, rest: &[u8], left: usize, limits: &Limits) -> Result<bool, Malformed> {
        let Some(&first) = rest.first() else { return Ok(false) };
        if first != b'$' && line(rest).is_ok() {
            return Err(Malformed::ExpectedBulk(first));
        }
        let Some((header_bytes, bytes)) = number(rest, Malformed::BulkCountTooLong)? else {
            return Ok(false);
        };
        let bytes = bytes.and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= limits.bulk_bytes_max);
        let bytes = bytes.ok_or(Malformed::BulkLength)?;
        if bytes > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
            return Err(Malformed::BulkLengthUnauthenticated);
        }
        self.at += header_bytes;
        if self.at + bytes > limits.request_bytes_max {
            return Err(Malformed::RequestTooLong);
        }
        self.state = State::Bulk { left, bytes };
        Ok(true)
    }

    /// A line with arguments between spaces.
    fn inline(&mut self, rest: &[u8]) -> Result<Front, Malformed> {
        let Some(end) = rest.iter().take(LINE_BYTES_MAX).position(|&b| b == b'\n') else {
            return if rest.len() < LINE_BYTES_MAX {
                Ok(Front::Incomplete { missing: 1 })
            } else {
                Err(Malformed::InlineTooLong)
            };
        };
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.arguments.clear();
        self.words.clear();
        let mut words = Words(line);
        while let Some(word) = words.next_word()? {
            let from = self.words.len();
            self.words.extend_from_slice(&word);
            self.arguments.push(from..self.words.len());
        }
        // An empty word alone would leave it empty, and then the input would be looked at.
        self.words.push(0);
        Ok(Front::Whole { bytes: end + 1 })
    }
}

const CRLF: usize = 2;

/// The list of arguments is freed when it grew beyond this.
const ARGUMENTS_KEPT: usize = 1024;

/// A line up to its CR. What follows the CR is skipped whatever it is, as Redis does.
fn line(input: &[u8]) -> IResult<&[u8], &[u8], ()> {
    terminated(take_while(|b| b != b'\r'), take(1usize)).parse(input)
}

/// A header's length in bytes and its number, `None` where it is none; nothing when the line is not whole.
fn number(input: &[u8], too_long: Malformed) -> Result<Option<(usize, Option<i64>)>, Malformed> {
    match terminated(line, take(1usize)).parse(input) {
        Ok((_, line)) => Ok(Some((line.len() + CRLF, line.get(1..).and_then(integer)))),
        Err(_) if input.len() > LINE_BYTES_MAX => Err(too_long),
        Err(_) => Ok(None),
    }
}

/// Splits a line as a shell would: spaces, "double" quotes with escapes, 'single' ones without.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next_word(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        while let Some((first, rest)) = self.0.split_first()
            && is_space(*first)
        {
            self.0 = rest;
        }
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut word = Vec::new();
        while let Some((&first, rest)) = self.0.split_first() {
            match first {
                b if is_space(b) => break,
                b'"' | b'\'' => {
                    self.0 = rest;
                    self.quoted(first, &mut word)?;
                }
                b => {
                    word.push(b);
                    self.0 = rest;
                }
            }
        }
        Ok(Some(word))
    }

    /// Up to the closing quote, behind which the word must end.
    fn quoted(&mut self, quote: u8, word: &mut Vec<u8>) -> Result<(), Malformed> {
        loop {
            match *self.0 {
                [b'\\', b'x', high, low, ref rest @ ..]
                    if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    word.push(hex(high) << 4 | hex(low));
                    self.0 = rest;
                }
                [b'\\', escaped, ref rest @ ..] if quote == b'"' => {
                    word.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => other,
                    });
                    self.0 = rest;
                }
                [b'\\', b'\'', ref rest @ ..] if quote == b'\'' => {
                    word.push(b'\'');
                    self.0 = rest;
                }
                [b, ref rest @ ..] if b == quote => {
                    self.0 = rest;
                    return match rest.first() {
                        Some(&next) if !is_space(next) => Err(Malformed::UnbalancedQuotes),
                        Some(_) | None => Ok(()),
                    };
                }
                [b, ref rest @ ..] => {
                    word.push(b);
                    self.0 = rest;
                }
                [] => return Err(Malformed::UnbalancedQuotes),
            }
        }
    }
}

/// As C's `isspace` has it.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits =
        Limits { bulk_bytes_max: 1 << 20, request_bytes_max: 1 << 21, authenticated: true };

    /// All requests of `input`, cut into pieces of that many bytes; the rest, or what is wrong.
    fn decode(input: &[u8], piece: usize) -> (Vec<Vec<Vec<u8>>>, Result<usize, Malformed>) {
        let (mut decoder, mut requests) = (Decoder::default(), Vec::new());
        let (mut from, mut to) = (0, 0);
        loop {
            match decoder.decode(&input[from..to], &LIMITS) {
                Err(malformed) => return (requests, Err(malformed)),
                Ok(Front::Whole { bytes }) => {
                    let request = decoder.arguments(&input[from..to]);
                    requests.push(request.iter().map(|argument| argument.to_vec()).collect());
                    drop(request);
                    decoder.next();
                    from += bytes;
                }
                Ok(Front::Incomplete { .. }) if to == input.len() => return (requests, Ok(to - from)),
                Ok(Front::Incomplete { .. }) => to = input.len().min(to + piece),
            }
        }
    }

    fn check(input: &str, expected: &[&[&str]], end: Result<usize, Malformed>) {
        for piece in [1, 2, 7, 1000] {
            let (requests, rest) = decode(input.as_bytes(), piece);
            let texts: Vec<Vec<String>> = requests
                .iter()
                .map(|request| request.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect())
                .collect();
            assert_eq!(
                (texts, rest),
                (expected.iter().map(|r| r.iter().map(|&s| s.to_owned()).collect()).collect(), end),
                "{input:?}"
            );
        }
    }

    #[test]
    fn requests_are_arrays_or_lines() {
        check("*2\r\n$4\r\nLLEN\r\n$1\r\nq\r\n", &[&["LLEN", "q"]], Ok(0));
        check("*1\r\n$0\r\n\r\n*0\r\n*-1\r\nPING\r\n", &[&[""], &[], &[], &["PING"]], Ok(0));
        check("set k \"a b\\x41\\n\" 'c\\'d'\n\r\n", &[&["set", "k", "a bA\n", "c'd"], &[]], Ok(0));
        check("get \"\"\n", &[&["get", ""]], Ok(0));
        check("*2\r\n$4\r\nLLEN\r\n$5\r\nab", &[], Ok(20));
    }

    #[test]
    fn what_is_no_request_is_named_as_redis_names_it() {
        check("*x\r\n", &[], Err(Malformed::MultibulkLength));
        check("*1048577\r\n", &[], Err(Malformed::MultibulkLength));
        check("*1\r\n:3\r\n", &[], Err(Malformed::ExpectedBulk(b':')));
        check("*1\r\n$-1\r\n", &[], Err(Malformed::BulkLength));
        check("*1\r\n$1048577\r\n", &[], Err(Malformed::BulkLength));
        check("get \"a\n", &[], Err(Malformed::UnbalancedQuotes));
        check("get \"a\"b\n", &[], Err(Malformed::UnbalancedQuotes));
        assert_eq!(Malformed::ExpectedBulk(b':').to_string(), "Protocol error: expected '$', got ':'");
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        assert_eq!(decode(long.as_bytes(), 1000).1, Err(Malformed::InlineTooLong));
        let long = format!("*{}", "1".repeat(LINE_BYTES_MAX + 1));
        assert_eq!(decode(long.as_bytes(), 1000).1, Err(Malformed::MultibulkCountTooLong));
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics_and_pieces_make_no_difference(
            input in prop::collection::vec(prop_oneof![
                Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'"'), Just(b'\\'), Just(b'1'), Just(b'3'), any::<u8>()
            ], 0..200),
            piece in 1usize..20,
        ) {
            prop_assert_eq!(decode(&input, piece), decode(&input, input.len().max(1)));
        }

        #[test]
        fn what_a_client_writes_is_what_is_read(request in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..10), piece in 1usize..20) {
            let mut input = format!("*{}\r\n", request.len()).into_bytes();
            for argument in &request {
                input.extend(format!("${}\r\n", argument.len()).bytes());
                input.extend(argument);
                input.extend(b"\r\n");
            }
            prop_assert_eq!(decode(&input, piece), (vec![request], Ok(0)));
        }
    }
}
