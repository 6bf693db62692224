//! Java's regular expressions. They are rewritten for the `regex` crate, or, where they look around or refer back, for
//! `fancy-regex`; what would mean something else there is refused by name.

use std::ops::Range;

use super::EvalError;

/// Steps that a pattern which looks around or refers back may take for one text; Java has no such limit.
const BACKTRACKS_MAX: usize = 1_000_000;

/// A pattern, ready to run.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// In time that grows with the text only.
    Plain(regex::Regex),
    Backtracking(fancy_regex::Regex),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    /// For Java neither: functions then have no result, but do not fail.
    Invalid(String),
    /// Java knows what it means, we do not.
    Unsupported(String),
}

impl From<Bad> for EvalError {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Invalid(message) | Bad::Unsupported(message) => Self(message),
        }
    }
}

impl Pattern {
    /// A pattern as `java.util.regex.Pattern` reads it.
    pub(crate) fn java(text: &str) -> Result<Self, Bad> {
        let rewritten = Rewriter::new(text).rewrite()?;
        let invalid = || Bad::Invalid(format!("the regular expression '{text}' is none"));
        if rewritten.backtracks {
            let built =
                fancy_regex::RegexBuilder::new(&rewritten.text).backtrack_limit(BACKTRACKS_MAX).build();
            return built.map(Self::Backtracking).map_err(|_| invalid());
        }
        match regex::Regex::new(&rewritten.text) {
            Ok(regex) => Ok(Self::Plain(regex)),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(Bad::Unsupported(format!("the regular expression '{text}' is too large")))
            }
            Err(_) => Err(invalid()),
        }
    }

    /// Groups, the whole match not counted.
    pub(crate) fn groups(&self) -> usize {
        match self {
            Self::Plain(regex) => regex.captures_len() - 1,
            Self::Backtracking(regex) => regex.captures_len() - 1,
        }
    }

    /// Where the pattern is found first from a place on, and its groups.
    fn found_from(&self, text: &str, from: usize) -> Option<Vec<Option<Range<usize>>>> {
        match self {
            Self::Plain(regex) => {
                let found = regex.captures_at(text, from)?;
                Some(found.iter().map(|group| group.map(|m| m.range())).collect())
            }
            // One that takes too long is not found.
            Self::Backtracking(regex) => {
                let found = regex.captures_from_pos(text, from).ok().flatten()?;
                Some(found.iter().map(|group| group.map(|m| m.range())).collect())
            }
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Plain(regex) => regex.is_match(text),
            Self::Backtracking(regex) => regex.is_match(text).unwrap_or(false),
        }
    }

    /// Where the pattern is found first.
    pub(crate) fn find(&self, text: &str) -> Option<Range<usize>> {
        match self {
            Self::Plain(regex) => regex.find(text).map(|m| m.range()),
            Self::Backtracking(_) => self.found_from(text, 0)?.into_iter().next().flatten(),
        }
    }

    /// A group of the first match.
    pub(crate) fn group<'t>(&self, text: &'t str, group: usize) -> Option<&'t str> {
        let range = self.found_from(text, 0)?.into_iter().nth(group)??;
        text.get(range)
    }

    /// All matches one after the other: the whole and the groups of each.
    pub(crate) fn all(&self, text: &str) -> Vec<Vec<Option<Range<usize>>>> {
        let mut all = Vec::new();
        let mut from = 0;
        while from <= text.len()
            && let Some(found) = self.found_from(text, from)
        {
            let Some(Some(whole)) = found.first().cloned() else { break };
            // Behind an empty match the search goes on at the next character.
            from = if whole.is_empty() {
                let next = text.get(whole.end..).and_then(|rest| rest.chars().next());
                whole.end + next.map_or(1, char::len_utf8)
            } else {
                whole.end
            };
            all.push(found);
        }
        all
    }

    /// The text with every match replaced by a text, in which nothing is special.
    pub(crate) fn replaced(&self, text: &str, with: &str) -> String {
        if let Self::Plain(regex) = self {
            return regex.replace_all(text, regex::NoExpand(with)).into_owned();
        }
        let (mut out, mut end) = (String::with_capacity(text.len()), 0);
        for found in self.all(text) {
            if let Some(Some(whole)) = found.first() {
                out.push_str(text.get(end..whole.start).unwrap_or_default());
                out.push_str(with);
                end = whole.end;
            }
        }
        out.push_str(text.get(end..).unwrap_or_default());
        out
    }

    /// The parts between the matches, at most so many where `limit` is not 0.
    pub(crate) fn split<'t>(&self, text: &'t str, limit: usize) -> Vec<&'t str> {
        let (mut parts, mut end) = (Vec::new(), 0);
        for found in self.all(text) {
            let Some(Some(whole)) = found.first() else { continue };
            // Java: an empty match at the start, and one at the end, separate nothing.
            let edge = whole.is_empty() && (whole.start == 0 || whole.start == text.len());
            if edge || limit > 0 && parts.len() + 1 == limit {
                continue;
            }
            parts.push(text.get(end..whole.start).unwrap_or_default());
            end = whole.end;
        }
        parts.push(text.get(end..).unwrap_or_default());
        parts
    }
}

struct Rewritten {
    text: String,
    backtracks: bool,
}

/// Reads a pattern of Java's and writes one that means the same here: classes are ASCII, `.` stops at every line
/// terminator.
struct Rewriter<'a> {
    pattern: &'a str,
    out: String,
    class_depth: usize,
    /// `(?s)` has been seen: `.` is everything.
    dot_all: bool,
    backtracks: bool,
}

impl<'a> Rewriter<'a> {
    fn new(pattern: &'a str) -> Self {
        let out = String::with_capacity(pattern.len() + 16);
        Self { pattern, out, class_depth: 0, dot_all: false, backtracks: false }
    }

    fn unsupported(&self, what: &str) -> Bad {
        let pattern = self.pattern;
        Bad::Unsupported(format!(
            "{what} in the regular expression '{pattern}': valid Flink, not supported here yet"
        ))
    }

    fn rewrite(mut self) -> Result<Rewritten, Bad> {
        let mut chars = self.pattern.chars().peekable();
        // Whether what came last can be repeated, so that `+` behind it makes it possessive.
        let mut repeated = false;
        while let Some(c) = chars.next() {
            let was_repeated = std::mem::take(&mut repeated);
            match c {
                '\\' => self.escape(&mut chars)?,
                '[' => {
                    self.class_depth += 1;
                    self.out.push(c);
                }
                ']' if self.class_depth > 0 => {
                    self.class_depth -= 1;
                    self.out.push(c);
                }
                _ if self.class_depth > 0 => self.out.push(c),
                '.' if !self.dot_all => self.out.push_str("[^\\n\\r\\u{85}\\u{2028}\\u{2029}]"),
                '(' if chars.peek() == Some(&'?') => self.special_group(&chars)?,
                '+' if was_repeated => {
                    self.backtracks = true;
                    self.out.push(c);
                }
                '+' | '*' | '?' | '}' => {
                    repeated = c != '?' || !was_repeated;
                    self.out.push(c);
                }
                _ => self.out.push(c),
            }
        }
        Ok(Rewritten { text: self.out, backtracks: self.backtracks })
    }

    /// `(?…`: flags whose meaning differs are refused, look-around needs the other engine.
    fn special_group(&mut self, chars: &std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), Bad> {
        self.out.push('(');
        let mut ahead = chars.clone().skip(1);
        let first = ahead.next();
        if matches!(first, Some('=' | '!' | '>'))
            || first == Some('<') && matches!(ahead.next(), Some('=' | '!'))
        {
            self.backtracks = true;
            return Ok(());
        }
        for flag in chars.clone().skip(1).take_while(|c| c.is_ascii_alphabetic() || *c == '-') {
            match flag {
                's' => self.dot_all = true,
                'd' | 'u' | 'U' => return Err(self.unsupported(&format!("the flag '{flag}'"))),
                _ => {}
            }
        }
        Ok(())
    }

    fn escape(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), Bad> {
        let Some(c) = chars.next() else {
            return Err(Bad::Invalid(format!(
                "the regular expression '{}' ends in a backslash",
                self.pattern
            )));
        };
        let inside = self.class_depth > 0;
        match c {
            'd' => self.out.push_str(if inside { "0-9" } else { "[0-9]" }),
            'w' => self.out.push_str(if inside { "a-zA-Z0-9_" } else { "[a-zA-Z0-9_]" }),
            's' => self.out.push_str(if inside { r" \t\n\x0B\f\r" } else { r"[ \t\n\x0B\f\r]" }),
            'D' => self.out.push_str("[^0-9]"),
            'W' => self.out.push_str("[^a-zA-Z0-9_]"),
            'S' => self.out.push_str(r"[^ \t\n\x0B\f\r]"),
            'Q' => self.quote(chars),
            'p' | 'P' => self.property(c == 'P', chars)?,
            '1'..='9' | 'k' if !inside => {
                self.backtracks = true;
                self.out.extend(['\\', c]);
            }
            'E' | 'G' | 'R' | 'X' | 'Z' | 'h' | 'H' | 'v' | 'V' | 'c' | 'N' | '0' => {
                return Err(self.unsupported(&format!("the escape \\{c}")));
            }
            // The library takes these for the bounds of words.
            '<' | '>' => self.out.push(c),
            c if c.is_ascii() => self.out.extend(['\\', c]),
            c => self.out.push(c),
        }
        Ok(())
    }

    /// `\Q…\E`.
    fn quote(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        let mut text = String::new();
        while let Some(c) = chars.next() {
            if c == '\\' && chars.next_if_eq(&'E').is_some() {
                break;
            }
            text.push(c);
        }
        self.out.push_str(&regex::escape(&text));
    }

    /// `\p{Alpha}` and its like are ASCII in Java; categories and scripts of Unicode mean the same.
    fn property(
        &mut self,
        negated: bool,
        chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    ) -> Result<(), Bad> {
        const ASCII: &[&str] = &[
            "Alnum", "Alpha", "ASCII", "Blank", "Cntrl", "Digit", "Graph", "Lower", "Print", "Punct",
            "Space", "Upper", "XDigit",
        ];
        let name: String = match chars.next() {
            Some('{') => chars.by_ref().take_while(|c| *c != '}').collect(),
            Some(c) => c.to_string(),
            None => String::new(),
        };
        if ASCII.contains(&name.as_str()) {
            let class = format!("[:{}{}:]", if negated { "^" } else { "" }, name.to_ascii_lowercase());
            self.out.push_str(&if self.class_depth > 0 { class } else { format!("[{class}]") });
            return Ok(());
        }
        if name.starts_with("java") || name.starts_with("In") {
            return Err(self.unsupported(&format!("\\p{{{name}}}")));
        }
        let name = name.strip_prefix("Is").unwrap_or(&name);
        self.out.push_str(&format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_java_means() {
        let rows = [
            (r"\d+", "a12", Some("12")),
            (r"\d", "١", None),
            (r"[\w-]+", "!a-b!", Some("a-b")),
            (r"a.c", "a\nc", None),
            (r"(?s)a.c", "a\nc", Some("a\nc")),
            (r"\Qa.b\E+", "aa.bb", Some("a.bb")),
            (r"\p{Alpha}+", "äab", Some("ab")),
            (r"[\p{Upper}x]+", "aXx", Some("Xx")),
            (r"\p{L}+", "1ä2", Some("ä")),
            (r"(a)\1", "abaa", Some("aa")),
            (r"foo(?=bar)", "foofoobar", Some("foo")),
            (r"(?<!f)oo", "foo xoo", Some("oo")),
            (r"a++b", "aab", Some("aab")),
            (r"a\<b", "a<b", Some("a<b")),
            (r"(?i)ABC", "xabc", Some("abc")),
        ];
        for (pattern, text, expected) in rows {
            let found = Pattern::java(pattern).unwrap().find(text).map(|range| &text[range]);
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn what_means_something_else_here_is_told_from_what_is_wrong() {
        for pattern in [r"\Gx", r"a\Z", r"(?U)x", r"\p{javaLowerCase}", r"\v"] {
            assert!(matches!(Pattern::java(pattern), Err(Bad::Unsupported(_))), "{pattern}");
        }
        for pattern in ["(", "a{2", "[a", r"x\", "*"] {
            assert!(matches!(Pattern::java(pattern), Err(Bad::Invalid(_))), "{pattern}");
        }
    }

    #[test]
    fn texts_are_split_as_java_splits_them() {
        let split =
            |pattern: &str, text: &'static str, limit| Pattern::java(pattern).unwrap().split(text, limit);
        assert_eq!(split(",", "a,b,,", 0), ["a", "b", "", ""]);
        assert_eq!(split("=", "a=b=c", 2), ["a", "b=c"]);
        assert_eq!(split("", "abc", 0), ["a", "b", "c"]);
    }
}
