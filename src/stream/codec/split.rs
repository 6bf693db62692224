//! Where one record of a file ends and the next begins: at the end of a line, but in `csv` not within quotes.

use crate::stream::plan::format::Format;

/// Cuts a file into records.
pub struct Splitter {
    csv: Option<Special>,
    /// Lines without anything in them.
    skips_empty: bool,
    /// Of csv, lines that begin with `#`.
    skips_comments: bool,
}

/// Characters of a csv file that mean something. Beyond ASCII none is looked for.
#[derive(Debug, Clone, Copy)]
struct Special {
    delimiter: Option<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
}

/// A record at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the record itself.
    pub len: usize,
    /// With the end of its line.
    pub with_end: usize,
    /// Whether there is no record in it.
    pub is_empty: bool,
}

impl Splitter {
    #[must_use]
    pub fn new(format: &Format) -> Self {
        let byte = |c: Option<char>| c.and_then(|c| u8::try_from(c).ok()).filter(u8::is_ascii);
        match format {
            Format::Csv(csv) => {
                let delimiter = byte(Some(csv.delimiter));
                let special = Special { delimiter, quote: byte(csv.quote), escape: byte(csv.escape) };
                Self { csv: Some(special), skips_empty: true, skips_comments: csv.allow_comments }
            }
            Format::Json(..) => Self { csv: None, skips_empty: true, skips_comments: false },
            Format::Raw { .. } => Self { csv: None, skips_empty: false, skips_comments: false },
        }
    }

    /// The first record; `None` if its end is not among these bytes. `last` says that nothing follows them.
    #[must_use]
    pub fn next(&self, bytes: &[u8], last: bool) -> Option<Piece> {
        let end = match self.csv {
            None => bytes.iter().position(|b| *b == b'\n'),
            Some(special) => line_end(bytes, special),
        };
        let (line, with_end) = match end {
            Some(end) => (bytes.get(..end)?, end + 1),
            None if last && !bytes.is_empty() => (bytes, bytes.len()),
            None => return None,
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_empty = self.skips_empty && line.is_empty() || self.skips_comments && line.starts_with(b"#");
        Some(Piece { len: line.len(), with_end, is_empty })
    }
}

/// The end of a line that lies outside of quotes. A quote opens where a cell begins, and right behind the one that
/// closed, which is how a quote stands within quotes.
fn line_end(bytes: &[u8], special: Special) -> Option<usize> {
    let (mut quoted, mut opens, mut escaped) = (false, true, false);
    for (at, byte) in bytes.iter().enumerate() {
        let byte = Some(*byte);
        if escaped {
            (escaped, opens) = (false, false);
        } else if byte == special.escape {
            escaped = true;
        } else if byte == special.quote && (quoted || opens) {
            opens = quoted;
            quoted = !quoted;
        } else if byte == Some(b'\n') && !quoted {
            return Some(at);
        } else {
            opens = byte == special.delimiter;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::plan::format::CsvOptions;

    fn records(format: &Format, text: &str) -> Vec<String> {
        let splitter = Splitter::new(format);
        let (mut rest, mut found) = (text.as_bytes(), Vec::new());
        while let Some(piece) = splitter.next(rest, true) {
            if !piece.is_empty {
                found.push(String::from_utf8_lossy(&rest[..piece.len]).into_owned());
            }
            rest = &rest[piece.with_end..];
        }
        found
    }

    #[test]
    fn records_end_with_their_lines() {
        let csv = Format::Csv(CsvOptions { escape: Some('\\'), ..CsvOptions::default() });
        let text = "a,\"b\nc\"\r\nd,\"\"\"\"\ne\\\"\nf,a\"b\ng";
        assert_eq!(records(&csv, text), ["a,\"b\nc\"", "d,\"\"\"\"", "e\\\"", "f,a\"b", "g"]);
        let raw = Format::Raw { big_endian: true };
        assert_eq!(records(&raw, "a\n\n\"b\r\n\"c"), ["a", "", "\"b", "\"c"]);
        let splitter = Splitter::new(&raw);
        assert_eq!(splitter.next(b"half a li", false), None);
        assert_eq!(splitter.next(b"", true), None);
    }
}
