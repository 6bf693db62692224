//! Replies, as the client's version of RESP has them: what RESP2 has no type for becomes an array or a string.

use bytes::{BufMut, BytesMut};

use super::number::score;

/// The versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resp {
    #[default]
    V2,
    V3,
}

/// Where the replies to one client are written.
#[derive(Debug)]
pub struct Reply<'a> {
    pub out: &'a mut BytesMut,
    pub resp: Resp,
}

impl Reply<'_> {
    pub fn ok(&mut self) {
        self.out.put_slice(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; what cannot stand in a line is shown as spaces.
    pub fn error(&mut self, text: &str) {
        self.out.put_u8(b'-');
        self.out.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.out.put_slice(CRLF);
    }

    pub fn integer(&mut self, n: i64) {
        self.number(b':', n);
    }

    /// How many of something.
    pub fn count(&mut self, n: usize) {
        self.integer(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// 1 or 0.
    pub fn flag(&mut self, yes: bool) {
        self.out.put_slice(if yes { b":1\r\n" } else { b":0\r\n" });
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + HEADER_BYTES_MAX);
        self.header(b'$', bytes.len());
        self.out.put_slice(bytes);
        self.out.put_slice(CRLF);
    }

    pub fn text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// A string, or none.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    pub fn null(&mut self) {
        self.out.put_slice(match self.resp {
            Resp::V2 => b"$-1\r\n",
            Resp::V3 => b"_\r\n",
        });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.out.put_slice(match self.resp {
            Resp::V2 => b"*-1\r\n",
            Resp::V3 => b"_\r\n",
        });
    }

    /// So many elements follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// So many keys follow, each with its value.
    pub fn map(&mut self, len: usize) {
        match self.resp {
            Resp::V2 => self.header(b'*', len * 2),
            Resp::V3 => self.header(b'%', len),
        }
    }

    pub fn set(&mut self, len: usize) {
        match self.resp {
            Resp::V2 => self.header(b'*', len),
            Resp::V3 => self.header(b'~', len),
        }
    }

    /// What nobody asked for just now: messages of channels.
    pub fn push(&mut self, len: usize) {
        match self.resp {
            Resp::V2 => self.header(b'*', len),
            Resp::V3 => self.header(b'>', len),
        }
    }

    pub fn double(&mut self, number: f64) {
        let text = score(number);
        match self.resp {
            Resp::V2 => self.text(&text),
            Resp::V3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Text for people.
    pub fn verbatim(&mut self, text: &str) {
        match self.resp {
            Resp::V2 => self.text(text),
            Resp::V3 => {
                self.header(b'=', text.len() + 4);
                self.out.put_slice(b"txt:");
                self.out.put_slice(text.as_bytes());
                self.out.put_slice(CRLF);
            }
        }
    }

    fn line(&mut self, marker: u8, text: &[u8]) {
        self.out.put_u8(marker);
        self.out.put_slice(text);
        self.out.put_slice(CRLF);
    }

    fn header(&mut self, marker: u8, len: usize) {
        self.number(marker, i64::try_from(len).unwrap_or(i64::MAX));
    }

    fn number(&mut self, marker: u8, n: i64) {
        // Most are one digit.
        if let Ok(digit @ 0..10) = u8::try_from(n) {
            self.out.put_slice(&[marker, b'0' + digit, b'\r', b'\n']);
            return;
        }
        let (mut digits, mut at) = ([0; 20], 20);
        let mut left = n.unsigned_abs();
        while left > 0 {
            at -= 1;
            if let Some(digit) = digits.get_mut(at) {
                *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            }
            left /= 10;
        }
        self.out.put_u8(marker);
        if n < 0 {
            self.out.put_u8(b'-');
        }
        self.out.put_slice(digits.get(at..).unwrap_or_default());
        self.out.put_slice(CRLF);
    }
}

const CRLF: &[u8] = b"\r\n";

/// A marker, a length and two line ends.
const HEADER_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Reply<'_>), v2: &str, v3: &str) {
        for (resp, expected) in [(Resp::V2, v2), (Resp::V3, v3)] {
            let mut out = BytesMut::new();
            write(&mut Reply { out: &mut out, resp });
            assert_eq!(std::str::from_utf8(&out), Ok(expected));
        }
    }

    #[test]
    fn replies_are_written_in_either_version() {
        check(|r| r.integer(-1234567890), ":-1234567890\r\n", ":-1234567890\r\n");
        check(|r| r.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        check(|r| r.count(7), ":7\r\n", ":7\r\n");
        check(|r| r.text("hello"), "$5\r\nhello\r\n", "$5\r\nhello\r\n");
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.map(2), "*4\r\n", "%2\r\n");
        check(|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|r| r.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        check(|r| r.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n");
    }
}
