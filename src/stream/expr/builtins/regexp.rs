//! LIKE and the regular expressions. Java's patterns are rewritten for the `regex` crate; what it cannot say
//! (look-around, back references, possessive quantifiers) is refused before the job starts.
#![expect(clippy::wildcard_enum_match_arm, reason = "the library's errors will be more")]

use regex::Regex;

use super::{Arg, Builtin, Call, Expr, Nulls, Ret, Type_, int, literal_text, strict_with, text};
use crate::stream::{datum::Datum, expr::EvalError, plan::types::DataType};

const fn row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    returns: Type_,
    nulls: Nulls,
    prepare: fn(&[Expr], &DataType) -> Result<Call, EvalError>,
) -> Builtin {
    Builtin { name, accepts, repeats: false, returns: Ret::Is(returns), nulls, prepare }
}

use Arg::{Int, Str};

pub(super) const TABLE: &[Builtin] = &[
    row("LIKE", &[&[Str, Str], &[Str, Str, Str]], Type_::Boolean, Nulls::Args, |args, _| like(args)),
    row("SIMILAR TO", &[], Type_::Boolean, Nulls::Args, |_, _| Err(EvalError("SIMILAR TO".to_owned()))),
    row("REGEXP", &[&[Str, Str]], Type_::Boolean, Nulls::Args, |args, _| {
        with_pattern(args, |regex, args| Datum::Bool(regex.is_match(text(args, 0))), Datum::Bool(false))
    }),
    row("REGEXP_EXTRACT", &[&[Str, Str], &[Str, Str, Int]], Type_::String, Nulls::Always, |args, _| {
        with_pattern(args, extract, Datum::Null)
    }),
    // Flink quotes the replacement: `$1` means itself.
    row("REGEXP_REPLACE", &[&[Str, Str, Str]], Type_::String, Nulls::Always, |args, _| {
        with_pattern(
            args,
            |regex, args| {
                Datum::str(regex.replace_all(text(args, 0), regex::NoExpand(text(args, 2))).into_owned())
            },
            Datum::Null,
        )
    }),
];

fn extract(regex: &Regex, args: &[Datum]) -> Datum {
    let group = usize::try_from(args.get(2).map_or(0, |_| int(args, 2)));
    let found = group.ok().and_then(|group| regex.captures(text(args, 0))?.get(group));
    found.map_or(Datum::Null, |m| Datum::str(m.as_str()))
}

/// A literal pattern is compiled once; another at every row, where a bad one gives `otherwise`.
fn with_pattern(
    args: &[Expr],
    run: fn(&Regex, &[Datum]) -> Datum,
    otherwise: Datum,
) -> Result<Call, EvalError> {
    match literal_text(args, 1) {
        Some(pattern) => {
            let regex = java_pattern(pattern)?;
            strict_with(move |args, _| Ok(run(&regex, args)))
        }
        None => strict_with(move |args, _| {
            Ok(java_pattern(text(args, 1)).map_or_else(|_| otherwise.clone(), |regex| run(&regex, args)))
        }),
    }
}

/// A Java pattern for the `regex` crate: classes are ASCII, `.` stops at every line terminator.
fn java_pattern(pattern: &str) -> Result<Regex, EvalError> {
    let refused = |what: &str| EvalError(format!("the regular expression '{pattern}' has {what}"));
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut class_depth = 0usize;
    let mut before = ' ';
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(next) = chars.next() else { return Err(refused("a backslash at its end")) };
                match (next, class_depth > 0) {
                    ('d', true) => out.push_str("0-9"),
                    ('d', false) => out.push_str("[0-9]"),
                    ('w', true) => out.push_str("a-zA-Z0-9_"),
                    ('w', false) => out.push_str("[a-zA-Z0-9_]"),
                    ('s', true) => out.push_str(r" \t\n\x0B\f\r"),
                    ('s', false) => out.push_str(r"[ \t\n\x0B\f\r]"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('W', _) => out.push_str("[^a-zA-Z0-9_]"),
                    ('S', _) => out.push_str(r"[^ \t\n\x0B\f\r]"),
                    ('b' | 'B', _) => out.push_str(if next == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" }),
                    ('1'..='9' | 'k', _) => return Err(refused("a back reference")),
                    ('Q' | 'E' | 'G' | 'R' | 'X' | 'Z' | 'h' | 'H' | 'v' | 'V' | 'c' | '0', _) => {
                        return Err(refused("an escape that is not supported here"));
                    }
                    (other, _) => out.extend(['\\', other]),
                }
                before = 'x';
                continue;
            }
            '[' => class_depth += 1,
            ']' if class_depth > 0 => class_depth -= 1,
            '.' if class_depth == 0 => {
                out.push_str("[^\\n\\r\\u{85}\\u{2028}\\u{2029}]");
                before = c;
                continue;
            }
            '+' if class_depth == 0 && matches!(before, '+' | '*' | '?' | '}') => {
                return Err(refused("a possessive quantifier"));
            }
            _ => {}
        }
        out.push(c);
        before = c;
    }
    Regex::new(&out).map_err(|e| match e {
        regex::Error::Syntax(text) => refused(if text.contains("look-around") {
            "look-around"
        } else {
            "an error, or something that is not supported here"
        }),
        _ => refused("too large a program"),
    })
}

/// LIKE: `%` any text, `_` one character, an escape only where one is named.
fn like(args: &[Expr]) -> Result<Call, EvalError> {
    let escape = match args.get(2) {
        None => None,
        Some(_) => match literal_text(args, 2).map(|e| (e.chars().next(), e.chars().count())) {
            Some((Some(escape), 1)) => Some(escape),
            _ => return Err(EvalError("ESCAPE must be one character".to_owned())),
        },
    };
    match literal_text(args, 1) {
        Some(pattern) => {
            let matcher = Like::new(pattern, escape)?;
            strict_with(move |args, _| Ok(Datum::Bool(matcher.matches(text(args, 0)))))
        }
        None => strict_with(move |args, _| {
            Ok(Datum::Bool(Like::new(text(args, 1), escape)?.matches(text(args, 0))))
        }),
    }
}

/// A LIKE pattern; the frequent simple forms need no regular expression.
enum Like {
    Contains(String),
    Ends(String),
    Equals(String),
    Pattern(Regex),
    Starts(String),
}

impl Like {
    fn new(pattern: &str, escape: Option<char>) -> Result<Self, EvalError> {
        if escape.is_none_or(|e| !pattern.contains(e)) && !pattern.contains('_') {
            let inner = pattern.trim_matches('%');
            if !inner.contains('%') {
                let inner = inner.to_owned();
                return Ok(match (pattern.starts_with('%'), pattern.ends_with('%')) {
                    (false, false) => Self::Equals(inner),
                    (true, true) => Self::Contains(inner),
                    (true, false) => Self::Ends(inner),
                    (false, true) => Self::Starts(inner),
                });
            }
        }
        let mut out = String::from("(?s)^");
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                _ if Some(c) == escape => match chars.next() {
                    Some(next @ ('%' | '_')) => out.push_str(&regex::escape(&next.to_string())),
                    Some(next) if Some(next) == escape => out.push_str(&regex::escape(&next.to_string())),
                    _ => return Err(EvalError(format!("Invalid escape sequence '{pattern}'"))),
                },
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        out.push('$');
        Regex::new(&out)
            .map(Self::Pattern)
            .map_err(|_| EvalError(format!("the LIKE pattern '{pattern}' is too long")))
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Ends(part) => text.ends_with(part.as_str()),
            Self::Equals(whole) => text == whole,
            Self::Pattern(regex) => regex.is_match(text),
            Self::Starts(part) => text.starts_with(part.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn patterns_are_flinks() {
        let rows = [
            ("'abc' LIKE 'a%'", "true"),
            ("'abc' LIKE 'a_c'", "true"),
            ("'abc' LIKE 'a_'", "false"),
            ("'a%c' LIKE 'a\\%c' ESCAPE '\\'", "true"),
            ("'abc' LIKE 'a\\%c' ESCAPE '\\'", "false"),
            ("'abc' NOT LIKE '%b%'", "false"),
            ("'a\nc' LIKE 'a_c'", "true"),
            ("CAST(NULL AS STRING) LIKE 'a'", "null"),
            ("REGEXP('hello', 'l+')", "true"),
            ("REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 2)", "bar"),
            ("REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)')", "foothebar"),
            ("REGEXP_EXTRACT('foothebar', 'x', 1)", "null"),
            ("REGEXP_EXTRACT('channel_id=12&x', '(&|^)?channel_id=([^&]*)', 2)", "12"),
            ("REGEXP_REPLACE('foobar', 'oo|ar', '')", "fb"),
            ("REGEXP_REPLACE('ab', '(a)', '$1x')", "$1xb"),
            ("REGEXP_REPLACE('١1', '\\d', '#')", "١#"),
        ];
        for (sql, expected) in rows {
            check(sql, expected);
        }
    }

    #[test]
    fn what_only_java_can_say_is_refused() {
        for pattern in ["(?=a)", r"(a)\1", "a++", r"\Qa\E", "("] {
            assert!(java_pattern(pattern).is_err(), "{pattern}");
        }
    }
}
