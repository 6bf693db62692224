//! LIKE, SIMILAR TO and the functions of regular expressions. A literal pattern is read once, another at every row.
//! (Flink: SqlFunctionUtils, Regexp*Function; Calcite: Like)

use std::ops::Range;

use regex::Regex;

use super::{
    Arg, Builtin, Call, EvalError, Expr, Nulls, Ret, Type_, array, int, literal_text,
    pattern::{Bad, Pattern},
    strict_with, text, typed_row,
};
use crate::stream::datum::Datum;

use Arg::{Int, Str};

pub(super) const TABLE: &[Builtin] = &[
    typed_row("LIKE", &[&[Str, Str], &[Str, Str, Str]], Type_::Boolean, Nulls::Args, |args, _| like(args)),
    typed_row("SIMILAR TO", &[&[Str, Str], &[Str, Str, Str]], Type_::Boolean, Nulls::Args, |args, _| {
        similar(args)
    }),
    // An empty pattern is found nowhere.
    typed_row("REGEXP", &[&[Str, Str]], Type_::Boolean, Nulls::Args, |args, _| {
        let found = |p: &Pattern, a: &[Datum]| Datum::Bool(!text(a, 1).is_empty() && p.is_match(text(a, 0)));
        with_pattern(args, found, Datum::Bool(false))
    }),
    typed_row("REGEXP_EXTRACT", &[&[Str, Str], &[Str, Str, Int]], Type_::String, Nulls::Always, |args, _| {
        with_pattern(args, extract, Datum::Null)
    }),
    Builtin {
        name: "REGEXP_EXTRACT_ALL",
        accepts: &[&[Str, Str], &[Str, Str, Int]],
        repeats: false,
        returns: Ret::Of(|_| array::texts()),
        nulls: Nulls::Always,
        prepare: |args, _| with_pattern(args, extract_all, Datum::Null),
    },
    // Flink quotes the replacement: `$1` means itself.
    typed_row("REGEXP_REPLACE", &[&[Str, Str, Str]], Type_::String, Nulls::Args, |args, _| {
        with_pattern(args, |p, a| Datum::str(p.replaced(text(a, 0), text(a, 2))), Datum::Null)
    }),
    typed_row("REGEXP_COUNT", &[&[Str, Str]], Type_::Int, Nulls::Always, |args, _| {
        with_pattern(args, |p, a| Datum::Int(p.all(text(a, 0)).len() as i64), Datum::Null)
    }),
    typed_row("REGEXP_INSTR", &[&[Str, Str]], Type_::Int, Nulls::Always, |args, _| {
        with_pattern(args, instr, Datum::Null)
    }),
    typed_row("REGEXP_SUBSTR", &[&[Str, Str]], Type_::String, Nulls::Always, |args, _| {
        let found = |p: &Pattern, a: &[Datum]| slice(text(a, 0), p.find(text(a, 0)));
        with_pattern(args, found, Datum::Null)
    }),
];

fn slice(text: &str, range: Option<Range<usize>>) -> Datum {
    range.and_then(|range| text.get(range)).map_or(Datum::Null, Datum::str)
}

fn extract(pattern: &Pattern, args: &[Datum]) -> Datum {
    let group = usize::try_from(args.get(2).map_or(0, |_| int(args, 2)));
    group.ok().and_then(|group| pattern.group(text(args, 0), group)).map_or(Datum::Null, Datum::str)
}

/// One group of every match; the first unless another is asked for, and NULL for one that the pattern does not have.
fn extract_all(pattern: &Pattern, args: &[Datum]) -> Datum {
    let group = usize::try_from(args.get(2).map_or(1, |_| int(args, 2)));
    let Some(group) = group.ok().filter(|group| *group <= pattern.groups()) else { return Datum::Null };
    let base = text(args, 0);
    let of = |found: Vec<Option<Range<usize>>>| slice(base, found.into_iter().nth(group).flatten());
    Datum::Array(pattern.all(base).into_iter().map(of).collect())
}

fn instr(pattern: &Pattern, args: &[Datum]) -> Datum {
    let base = text(args, 0);
    let before = pattern.find(base).map(|range| base.get(..range.start).unwrap_or_default().chars().count());
    Datum::Int(before.map_or(0, |before| before as i64 + 1))
}

/// A pattern that is none gives `otherwise`, as on Flink.
fn with_pattern(
    args: &[Expr],
    run: fn(&Pattern, &[Datum]) -> Datum,
    otherwise: Datum,
) -> Result<Call, EvalError> {
    match literal_text(args, 1).map(Pattern::java) {
        Some(Ok(pattern)) => strict_with(move |args, _| Ok(run(&pattern, args))),
        Some(Err(Bad::Invalid(_))) => strict_with(move |_, _| Ok(otherwise.clone())),
        Some(Err(unsupported @ Bad::Unsupported(_))) => Err(unsupported.into()),
        None => strict_with(move |args, _| match Pattern::java(text(args, 1)) {
            Ok(pattern) => Ok(run(&pattern, args)),
            Err(Bad::Invalid(_)) => Ok(otherwise.clone()),
            Err(unsupported @ Bad::Unsupported(_)) => Err(unsupported.into()),
        }),
    }
}

/// The one character behind ESCAPE.
fn escape_of(args: &[Expr]) -> Result<Option<char>, EvalError> {
    match (args.get(2), literal_text(args, 2)) {
        (None, _) => Ok(None),
        (Some(_), Some(escape)) if escape.chars().count() == 1 => Ok(escape.chars().next()),
        (Some(_), _) => Err(EvalError("ESCAPE must be one character".to_owned())),
    }
}

/// SIMILAR TO: a regular expression in which `%` is any text and `_` one character, for the whole text.
fn similar(args: &[Expr]) -> Result<Call, EvalError> {
    let escape = escape_of(args)?;
    let read =
        move |pattern: &str| Pattern::java(&similar_pattern(pattern, escape)?).map_err(EvalError::from);
    match literal_text(args, 1) {
        Some(pattern) => {
            let pattern = read(pattern)?;
            strict_with(move |args, _| Ok(Datum::Bool(pattern.is_match(text(args, 0)))))
        }
        None => strict_with(move |args, _| Ok(Datum::Bool(read(text(args, 1))?.is_match(text(args, 0))))),
    }
}

fn similar_pattern(pattern: &str, escape: Option<char>) -> Result<String, EvalError> {
    const CLASSES: &[(&str, &str)] = &[
        ("[:ALPHA:]", "\\p{Alpha}"),
        ("[:UPPER:]", "\\p{Upper}"),
        ("[:LOWER:]", "\\p{Lower}"),
        ("[:DIGIT:]", "\\d"),
        ("[:SPACE:]", " "),
        ("[:WHITESPACE:]", "\\s"),
        ("[:ALNUM:]", "\\p{Alnum}"),
    ];
    let mut out = String::from("^(?:");
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if Some(c) == escape {
            let Some(next) = after.chars().next() else {
                return Err(EvalError(format!("Invalid escape sequence '{pattern}'")));
            };
            out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            rest = after.get(next.len_utf8()..).unwrap_or_default();
            continue;
        }
        let named = CLASSES
            .iter()
            .find(|(name, _)| rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)));
        if let Some((name, class)) = named.filter(|_| in_class) {
            out.push_str(class);
            rest = rest.get(name.len()..).unwrap_or_default();
            continue;
        }
        match c {
            '_' if !in_class => out.push('.'),
            '%' if !in_class => out.push_str("(?:.|\\n|\\r)*"),
            '[' => {
                in_class = true;
                out.push(c);
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '\\' => out.push_str("\\\\"),
            _ => out.push(c),
        }
        rest = after;
    }
    out.push_str(")$");
    Ok(out)
}

/// LIKE: `%` any text, `_` one character, an escape only where one is named.
fn like(args: &[Expr]) -> Result<Call, EvalError> {
    let escape = escape_of(args)?;
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

/// Whether a text is LIKE a pattern.
pub(crate) fn is_like(text: &str, pattern: &str) -> Result<bool, EvalError> {
    Ok(Like::new(pattern, None)?.matches(text))
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
    use super::super::check;

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
}
