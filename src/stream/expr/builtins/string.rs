//! String functions. Lengths and positions count characters, from one. (Flink: BinaryStringDataUtil, SqlFunctionUtils)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{Arg, Builtin, Nulls, Ret, Type_, int, lenient, row, strict, text};
use crate::stream::{datum::Datum, expr::text::cast_text, plan::types::Type};

const STRING: Ret = Ret::Is(Type_::String);
/// As long as the first argument at most.
const VARYING: Ret = Ret::Of(|args| {
    args.first().map_or(Type::STRING, |a| match &a.data_type.kind {
        Type::Null => Type::STRING,
        kind => kind.varying(),
    })
});
const INT: Ret = Ret::Is(Type_::Int);
const BOOLEAN: Ret = Ret::Is(Type_::Boolean);

use Arg::{Bytes, Int, Str};

pub(super) const TABLE: &[Builtin] = &[
    row("UPPER", &[&[Str]], Ret::First, Nulls::Args, |args, of| cased(args, of, str::to_uppercase)),
    row("LOWER", &[&[Str]], Ret::First, Nulls::Args, |args, of| cased(args, of, str::to_lowercase)),
    row("CHAR_LENGTH", &[&[Str]], INT, Nulls::Args, |_, _| strict(|a| Datum::Int(chars(text(a, 0))))),
    row("INITCAP", &[&[Str]], Ret::First, Nulls::Args, |_, _| strict(|a| Datum::str(initcap(text(a, 0))))),
    row("REVERSE", &[&[Str]], STRING, Nulls::Always, |_, _| {
        strict(|a| Datum::str(text(a, 0).chars().rev().collect::<String>()))
    }),
    row("ASCII", &[&[Str]], INT, Nulls::Args, |_, _| {
        strict(|a| Datum::Int(text(a, 0).bytes().next().map_or(0, |b| i64::from(b.cast_signed()))))
    }),
    row("CHR", &[&[Int]], STRING, Nulls::Always, |_, _| strict(|a| chr(int(a, 0)))),
    Builtin {
        name: "||",
        accepts: &[&[Str, Str]],
        repeats: true,
        returns: Ret::Of(concat_type),
        nulls: Nulls::Args,
        prepare: |_, _| strict(concat),
    },
    Builtin {
        name: "CONCAT",
        accepts: &[&[Str]],
        repeats: true,
        returns: STRING,
        nulls: Nulls::Args,
        prepare: |_, _| strict(concat),
    },
    Builtin {
        name: "CONCAT_WS",
        accepts: &[&[Str, Str]],
        repeats: true,
        returns: STRING,
        nulls: Nulls::Args,
        prepare: |_, _| lenient(concat_ws),
    },
    row("SUBSTRING", &[&[Str, Int], &[Str, Int, Int]], VARYING, Nulls::Always, |_, _| {
        strict(|a| substring(text(a, 0), int(a, 1), a.get(2).map_or(i64::MAX, |_| int(a, 2))))
    }),
    row("LEFT", &[&[Str, Int]], VARYING, Nulls::Always, |_, _| {
        strict(|a| if int(a, 1) <= 0 { Datum::str("") } else { substring(text(a, 0), 1, int(a, 1)) })
    }),
    row("RIGHT", &[&[Str, Int]], VARYING, Nulls::Always, |_, _| strict(|a| right(text(a, 0), int(a, 1)))),
    row("REPLACE", &[&[Str, Str, Str]], STRING, Nulls::Args, |_, _| {
        strict(|a| Datum::str(text(a, 0).replace(text(a, 1), text(a, 2))))
    }),
    row("REPEAT", &[&[Str, Int]], STRING, Nulls::Args, |_, _| {
        super::strict_with(|a, _| repeat(text(a, 0), int(a, 1)))
    }),
    row("LPAD", &[&[Str, Int, Str]], STRING, Nulls::Args, |_, _| {
        super::strict_with(|a, _| pad(text(a, 0), int(a, 1), text(a, 2), true))
    }),
    row("RPAD", &[&[Str, Int, Str]], STRING, Nulls::Args, |_, _| {
        super::strict_with(|a, _| pad(text(a, 0), int(a, 1), text(a, 2), false))
    }),
    row("POSITION", &[&[Str, Str]], INT, Nulls::Args, |_, _| {
        strict(|a| Datum::Int(position(text(a, 0), text(a, 1), 1)))
    }),
    row("INSTR", &[&[Str, Str]], INT, Nulls::Args, |_, _| {
        strict(|a| Datum::Int(position(text(a, 1), text(a, 0), 1)))
    }),
    row("LOCATE", &[&[Str, Str], &[Str, Str, Int]], INT, Nulls::Args, |_, _| {
        strict(|a| Datum::Int(position(text(a, 0), text(a, 1), a.get(2).map_or(1, |_| int(a, 2)))))
    }),
    // The set of characters is the second argument; the SQL form TRIM(… FROM …) is turned into these.
    row("TRIM", &[&[Str], &[Str, Str]], VARYING, Nulls::Args, |_, _| strict(|a| trim(a, true, true))),
    row("BTRIM", &[&[Str], &[Str, Str]], STRING, Nulls::Args, |_, _| strict(|a| trim(a, true, true))),
    row("LTRIM", &[&[Str], &[Str, Str]], VARYING, Nulls::Args, |_, _| strict(|a| trim(a, true, false))),
    row("RTRIM", &[&[Str], &[Str, Str]], VARYING, Nulls::Args, |_, _| strict(|a| trim(a, false, true))),
    row(
        "OVERLAY",
        &[&[Str, Str, Int], &[Str, Str, Int, Int]],
        Ret::Of(|args| concat_type(args.get(..2).unwrap_or_default()).varying()),
        Nulls::Args,
        |_, _| strict(overlay),
    ),
    row("SPLIT_INDEX", &[&[Str, Str, Int], &[Str, Int, Int]], STRING, Nulls::Always, |_, _| {
        strict(split_index)
    }),
    row("STARTSWITH", &[&[Str, Str], &[Bytes, Bytes]], BOOLEAN, Nulls::Args, |_, _| {
        strict(|a| Datum::Bool(raw(a, 0).starts_with(raw(a, 1))))
    }),
    row("ENDSWITH", &[&[Str, Str], &[Bytes, Bytes]], BOOLEAN, Nulls::Args, |_, _| {
        strict(|a| Datum::Bool(raw(a, 0).ends_with(raw(a, 1))))
    }),
    row("TO_BASE64", &[&[Str]], STRING, Nulls::Args, |_, _| {
        strict(|a| Datum::str(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text(a, 0))))
    }),
    row("TRANSLATE", &[&[Str, Str, Str]], STRING, Nulls::First, |_, _| super::first_strict(translate)),
    Builtin {
        name: "ELT",
        accepts: &[&[Int, Arg::Common]],
        repeats: true,
        returns: Ret::Of(|args| args.get(1).map_or(Type::STRING, |a| a.data_type.kind.clone())),
        nulls: Nulls::Always,
        prepare: |_, _| super::lenient_with(|a, _| elt(a)),
    },
    row("FROM_BASE64", &[&[Str]], STRING, Nulls::Args, |_, _| strict(|a| from_base64(text(a, 0)))),
];

/// A result may not be longer than this: one record must not take the broker's memory.
const RESULT_CHARS_MAX: usize = 16 << 20;

fn concat_type(args: &[super::Expr]) -> Type {
    let mut length = 0u32;
    for arg in args {
        length = match arg.data_type.kind {
            Type::Char(n) | Type::Varchar(n) => length.saturating_add(n),
            _ => length,
        };
    }
    let all_char = args.iter().all(|a| matches!(a.data_type.kind, Type::Char(_)));
    let length = length.min(crate::stream::plan::types::LENGTH_MAX);
    if all_char { Type::Char(length) } else { Type::Varchar(length) }
}

fn concat(args: &[Datum]) -> Datum {
    let length = args.iter().map(|a| if let Datum::Str(s) = a { s.len() } else { 0 }).sum();
    let mut out = String::with_capacity(length);
    for index in 0..args.len() {
        out.push_str(text(args, index));
    }
    Datum::str(out)
}

fn concat_ws(args: &[Datum]) -> Datum {
    let Some((Datum::Str(separator), rest)) = args.split_first() else { return Datum::Null };
    let parts: Vec<&str> =
        rest.iter().filter_map(|a| if let Datum::Str(s) = a { Some(&**s) } else { None }).collect();
    Datum::str(parts.join(separator))
}

fn chars(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

/// A result may have more characters than the text; of a constant Flink keeps as many as its type has.
fn cased(
    args: &[super::Expr],
    of: &crate::stream::plan::types::DataType,
    change: fn(&str) -> String,
) -> Result<super::Call, super::EvalError> {
    let length = match of.kind {
        Type::Char(length) if args.iter().all(super::Expr::is_constant) => length as usize,
        _ => usize::MAX,
    };
    super::strict_with(move |a, _| {
        let changed = change(text(a, 0));
        Ok(if changed.len() <= length {
            Datum::str(changed)
        } else {
            Datum::str(changed.chars().take(length).collect::<String>())
        })
    })
}

/// Only the letters and digits of ASCII make words, and only its letters change.
fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        out.push(if begins { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
        begins = !c.is_ascii_alphanumeric();
    }
    out
}

fn chr(n: i64) -> Datum {
    if n < 0 {
        return Datum::str("");
    }
    let low = u8::try_from(n & 0xff).unwrap_or_default();
    Datum::str(char::from(low).to_string())
}

/// Each character of the second text becomes that at its place in the third, or nothing where that is shorter.
fn translate(args: &[Datum]) -> Datum {
    let (from, to): (Vec<char>, Vec<char>) =
        (text(args, 1).chars().collect(), text(args, 2).chars().collect());
    let one = |c: char| match from.iter().position(|f| *f == c) {
        Some(at) => to.get(at).copied(),
        None => Some(c),
    };
    Datum::str(text(args, 0).chars().filter_map(one).collect::<String>())
}

/// The n-th of the others, counted from one.
fn elt(args: &[Datum]) -> Result<Datum, super::EvalError> {
    let Some(Datum::Int(n)) = args.first() else { return Ok(Datum::Null) };
    if *n < 0 {
        return Err(super::EvalError(format!("Index must be an integer starting from '0', but was '{n}'.")));
    }
    let found = usize::try_from(*n).ok().filter(|n| *n > 0).and_then(|n| args.get(n));
    Ok(found.cloned().unwrap_or(Datum::Null))
}

/// Flink's substringSQL: a start before the text gives nothing, a negative length NULL.
fn substring(text: &str, from: i64, length: i64) -> Datum {
    if length < 0 {
        return Datum::Null;
    }
    let start = if from > 0 {
        from - 1
    } else if from < 0 {
        let start = chars(text) + from;
        if start < 0 {
            return Datum::str("");
        }
        start
    } else {
        0
    };
    let begin = byte_at(text, start);
    let end = begin + byte_at(text.get(begin..).unwrap_or_default(), length);
    Datum::str(text.get(begin..end).unwrap_or_default())
}

/// Where the n-th character begins; the end for those past it.
fn byte_at(text: &str, n: i64) -> usize {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    if n >= text.len() {
        return text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    }
    if text.is_ascii() { n } else { text.char_indices().nth(n).map_or(text.len(), |(at, _)| at) }
}

fn right(text: &str, length: i64) -> Datum {
    let skipped = (chars(text) - length.max(0)).max(0);
    Datum::str(text.get(byte_at(text, skipped)..).unwrap_or_default())
}

fn repeat(text: &str, times: i64) -> Result<Datum, super::EvalError> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    match text.len().checked_mul(times) {
        Some(length) if length <= RESULT_CHARS_MAX => Ok(Datum::str(text.repeat(times))),
        _ => Err(super::EvalError("REPEAT: the result is too long".to_owned())),
    }
}

fn pad(text: &str, length: i64, with: &str, left: bool) -> Result<Datum, super::EvalError> {
    let Ok(length) = usize::try_from(length) else { return Ok(Datum::Null) };
    if with.is_empty() {
        return Ok(Datum::Null);
    }
    if length > RESULT_CHARS_MAX {
        return Err(super::EvalError("LPAD/RPAD: the result is too long".to_owned()));
    }
    let missing = length.saturating_sub(text.chars().count());
    let padding: String = with.chars().cycle().take(missing).collect();
    let kept: String = text.chars().take(length).collect();
    Ok(Datum::str(if left { padding + &kept } else { kept + &padding }))
}

fn position(seek: &str, text: &str, from: i64) -> i64 {
    let from = from.max(1);
    if from > chars(text) + 1 {
        return 0;
    }
    let begin = byte_at(text, from - 1);
    let rest = text.get(begin..).unwrap_or_default();
    match rest.find(seek) {
        Some(at) => chars(text.get(..begin + at).unwrap_or_default()) + 1,
        None => 0,
    }
}

fn trim(args: &[Datum], start: bool, end: bool) -> Datum {
    let set = if args.len() > 1 { text(args, 1) } else { " " };
    let mut out = text(args, 0);
    if start {
        out = out.trim_start_matches(|c| set.contains(c));
    }
    if end {
        out = out.trim_end_matches(|c| set.contains(c));
    }
    Datum::str(out)
}

/// OVERLAY(s PLACING r FROM start FOR length): a start outside the text leaves it as it is.
fn overlay(args: &[Datum]) -> Datum {
    let (base, put, from) = (text(args, 0), text(args, 1), int(args, 2));
    let length = args.get(3).map_or_else(|| chars(put), |_| int(args, 3));
    if from <= 0 || from > chars(base) {
        return Datum::str(base);
    }
    let begin = byte_at(base, from - 1);
    // What follows is kept only if something was replaced, and not all of it. (Flink: SqlFunctionUtils.overlay)
    let kept = length > 0 && from.saturating_add(length) <= chars(base);
    let rest = base.get(begin..).unwrap_or_default();
    let after = if kept { rest.get(byte_at(rest, length)..).unwrap_or_default() } else { "" };
    Datum::str(format!("{}{put}{after}", base.get(..begin).unwrap_or_default()))
}

fn split_index(args: &[Datum]) -> Datum {
    let Ok(index) = usize::try_from(int(args, 2)) else { return Datum::Null };
    let base = text(args, 0);
    if base.is_empty() {
        return Datum::Null;
    }
    let separator = match args.get(1) {
        Some(Datum::Int(code)) => match u8::try_from(*code) {
            Ok(code) if code <= 127 => char::from(code).to_string(),
            _ => return Datum::Null,
        },
        _ => text(args, 1).to_owned(),
    };
    // An empty separator splits at blanks (commons-lang's splitByWholeSeparatorPreserveAllTokens).
    let part = if separator.is_empty() {
        base.split(char::is_whitespace).nth(index)
    } else {
        base.split(separator.as_str()).nth(index)
    };
    part.map_or(Datum::Null, Datum::str)
}

fn raw(args: &[Datum], index: usize) -> &[u8] {
    match args.get(index) {
        Some(Datum::Str(s)) => s.as_bytes(),
        Some(Datum::Bytes(b)) => b,
        _ => &[],
    }
}

fn from_base64(encoded: &str) -> Datum {
    // Java takes what is not padded, too.
    let bare = encoded.trim_end_matches('=');
    match base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, bare) {
        Ok(bytes) => Datum::str(cast_text(&Datum::bytes(bytes), &Type::BYTES)),
        Err(_) => Datum::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;

    #[test]
    fn strings_are_flinks() {
        let rows = [
            ("UPPER('straße')", "STRASS"),
            ("LOWER('ÄB')", "äb"),
            ("CHAR_LENGTH('aäb')", "3"),
            ("CHARACTER_LENGTH('')", "0"),
            ("INITCAP('hello wORLD-foo')", "Hello World-Foo"),
            ("REVERSE('abc')", "cba"),
            ("ASCII('abc')", "97"),
            ("CHR(97)", "a"),
            ("CHR(-1)", ""),
            ("'a' || 'b' || 'c'", "abc"),
            ("'a' || CAST(NULL AS STRING)", "null"),
            ("CONCAT('a', 'b', 'c')", "abc"),
            ("CONCAT_WS('~', 'A', CAST(NULL AS STRING), '', 'D')", "A~~D"),
            ("CONCAT_WS(CAST(NULL AS STRING), 'A')", "null"),
            ("SUBSTRING('hello', 2)", "ello"),
            ("SUBSTRING('hello' FROM 2 FOR 3)", "ell"),
            ("SUBSTR('hello', -3, 2)", "ll"),
            ("SUBSTRING('hello', 0, 2)", "he"),
            ("SUBSTRING('hello', -9, 2)", ""),
            ("SUBSTRING('hello', 2, -1)", "null"),
            ("SUBSTRING('häß', 2, 1)", "ä"),
            ("LEFT('abc', 2)", "ab"),
            ("RIGHT('abc', 2)", "bc"),
            ("RIGHT('abc', -1)", ""),
            ("REPLACE('hello world', 'world', 'flink')", "hello flink"),
            ("REPEAT('This is a test String.', 2)", "This is a test String.This is a test String."),
            ("LPAD('hi', 4, '??')", "??hi"),
            ("LPAD('hi', 1, '??')", "h"),
            ("RPAD('hi', 5, 'xy')", "hixyx"),
            ("LPAD('hi', -1, 'x')", "null"),
            ("LPAD('hi', 5, '')", "null"),
            ("POSITION('lo' IN 'hello')", "4"),
            ("POSITION('x' IN 'hello')", "0"),
            ("LOCATE('l', 'hello', 4)", "4"),
            ("INSTR('hello', 'l')", "3"),
            ("TRIM('  a b ')", "a b"),
            ("TRIM(BOTH 'xy' FROM 'xyaxyx')", "a"),
            ("TRIM(LEADING 'x' FROM 'xxax')", "ax"),
            ("TRIM(TRAILING FROM ' a ')", " a"),
            ("LTRIM('  a ')", "a "),
            ("RTRIM(' a  ')", " a"),
            ("BTRIM('xax', 'x')", "a"),
            ("OVERLAY('xxxxxtest' PLACING 'xxxx' FROM 6)", "xxxxxxxxx"),
            ("OVERLAY('xxxxxtest' PLACING 'xxxx' FROM 6 FOR 2)", "xxxxxxxxxst"),
            ("SPLIT_INDEX('AQIDBA==', 'I', 0)", "AQ"),
            ("SPLIT_INDEX('a,b,,c', ',', 2)", ""),
            ("SPLIT_INDEX('a,b', ',', 2)", "null"),
            ("SPLIT_INDEX('a,b', 44, 1)", "b"),
            ("SPLIT_INDEX('a,b', ',', -1)", "null"),
            ("STARTSWITH('abc', 'ab')", "true"),
            ("ENDSWITH('abc', 'ab')", "false"),
            ("TO_BASE64('hello world')", "aGVsbG8gd29ybGQ="),
            ("FROM_BASE64('aGVsbG8gd29ybGQ=')", "hello world"),
        ];
        for (sql, expected) in rows {
            check(sql, expected);
        }
    }
}
