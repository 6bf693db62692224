//! JSON in SQL. The clauses of a call (RETURNING, ON EMPTY, ON ERROR …) come as arguments, see `sql/forms.rs`.
//! (Flink: SqlJsonUtils, JsonObjectCallGen; Calcite: JsonFunctions)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use std::collections::BTreeSet;

use super::{
    Arg, Builtin, Call, EvalError, Expr, Nulls, Ret, Type_, lenient_with, literal_text, row, strict, text,
};
use crate::stream::{
    datum::Datum,
    expr::{
        Node, calendar,
        json::{Json, path::Path},
        text::{cast_text, display, java_double, java_single},
    },
    plan::types::{DataType, Type},
};

use Arg::{Any, Str};

const STRING: Ret = Ret::Is(Type_::String);
const BOOLEAN: Ret = Ret::Is(Type_::Boolean);

pub(super) const TABLE: &[Builtin] = &[
    row("JSON_EXISTS", &[&[Str, Str, Str]], BOOLEAN, Nulls::Always, |args, _| exists(args)),
    row(
        "JSON_VALUE",
        &[&[Str, Str, Any, Str, Any, Str, Any]],
        Ret::Of(returned),
        Nulls::Always,
        |args, of| value(args, &of.kind),
    ),
    row("JSON_QUERY", &[&[Str, Str, Any, Str, Str, Str]], Ret::Of(returned), Nulls::Always, |args, of| {
        query(args, &of.kind)
    }),
    // A NULL is no JSON.
    row("IS JSON", &[&[Str, Str]], BOOLEAN, Nulls::Never, |args, _| {
        let kind = literal_text(args, 1).unwrap_or_default().to_owned();
        lenient_with(move |a, _| {
            let parsed = if let Some(Datum::Str(text)) = a.first() { Json::parse(text) } else { None };
            Ok(Datum::Bool(parsed.is_some_and(|json| match (kind.as_str(), &json) {
                ("OBJECT", Json::Object(_)) | ("ARRAY", Json::Array(_)) | ("VALUE", _) => true,
                ("SCALAR", json) => json.is_scalar(),
                _ => false,
            })))
        })
    }),
    row("JSON_STRING", &[&[Any]], STRING, Nulls::Args, |args, _| {
        let kind = args.first().map_or(Type::Null, |a| a.data_type.kind.clone());
        convertible(&kind)?;
        super::strict_with(move |a, _| {
            Ok(a.first().map_or(Datum::Null, |value| Datum::str(to_json(value, &kind).to_text())))
        })
    }),
    Builtin {
        name: "JSON_OBJECT",
        accepts: &[&[Str], &[Str, Str, Any]],
        repeats: true,
        returns: STRING,
        nulls: Nulls::Never,
        prepare: |args, _| object(args),
    },
    Builtin {
        name: "JSON_ARRAY",
        accepts: &[&[Str], &[Str, Any]],
        repeats: true,
        returns: STRING,
        nulls: Nulls::Never,
        prepare: |args, _| array(args),
    },
    // Only inside of the two above; what it has already is JSON.
    row("JSON", &[&[Str]], STRING, Nulls::Args, |_, _| {
        super::strict_with(|a, _| match Json::parse(text(a, 0)) {
            Some(json) => Ok(Datum::str(json.to_text())),
            None => Err(EvalError(format!("'{}' is no JSON", text(a, 0)))),
        })
    }),
    row(ARRAY_OF_ROWS, &[&[Str, Arg::Array]], STRING, Nulls::Never, |_, _| {
        lenient_with(|a, _| array_of_rows(a))
    }),
    row(OBJECT_OF_ROWS, &[&[Str, Arg::Array]], STRING, Nulls::Never, |_, _| {
        lenient_with(|a, _| object_of_rows(a))
    }),
    row("JSON_QUOTE", &[&[Str]], STRING, Nulls::Args, |_, _| strict(|a| Datum::str(quoted(text(a, 0))))),
    row("JSON_UNQUOTE", &[&[Str]], STRING, Nulls::Args, |_, _| strict(|a| Datum::str(unquoted(text(a, 0))))),
];

/// What JSON_ARRAYAGG makes of the values of all rows, which are JSON: (on null, array of texts). No query can name it.
pub(crate) const ARRAY_OF_ROWS: &str = "JSON ARRAYAGG";

/// What JSON_OBJECTAGG makes of the members of all rows: (on null, array of rows of a key and JSON).
pub(crate) const OBJECT_OF_ROWS: &str = "JSON OBJECTAGG";

/// The type of the NULL that stands for RETURNING.
fn returned(args: &[Expr]) -> Type {
    match args.get(2).map(|a| &a.data_type.kind) {
        None | Some(Type::Null) => Type::STRING,
        Some(kind) => kind.clone(),
    }
}

/// A path that is a literal is read before the job starts.
fn path_of(args: &[Expr]) -> Result<Option<Path>, EvalError> {
    literal_text(args, 1).map(Path::read).transpose().map_err(EvalError)
}

/// What the path finds in the text, or why it finds nothing; and whether it is lax.
fn found(fixed: Option<&Path>, args: &[Datum]) -> (Result<Json, String>, bool) {
    let read;
    let path = match fixed {
        Some(path) => path,
        None => match Path::read(text(args, 1)) {
            Ok(path) => {
                read = path;
                &read
            }
            Err(why) => return (Err(why), false),
        },
    };
    let base = text(args, 0);
    let found = match Json::parse(base) {
        Some(json) => match path.find(&json) {
            Ok(Json::Null) if !path.lax => {
                Err("Strict jsonpath mode requires a non empty returned value, but is null".to_owned())
            }
            found => found,
        },
        None => Err(format!("'{}' is no JSON", base.chars().take(SHOWN_CHARS_MAX).collect::<String>())),
    };
    (found, path.lax)
}

/// How much of a bad text an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// Whether the text or the path, of which NULL makes NULL, is NULL.
fn nothing(args: &[Datum]) -> bool {
    args.iter().take(2).any(Datum::is_null)
}

fn exists(args: &[Expr]) -> Result<Call, EvalError> {
    let path = path_of(args)?;
    lenient_with(move |a, _| {
        if nothing(a) {
            return Ok(Datum::Null);
        }
        match (found(path.as_ref(), a).0, text(a, 2)) {
            (Ok(json), _) => Ok(Datum::Bool(json != Json::Null)),
            (Err(why), "ERROR") => Err(EvalError(why)),
            (Err(_), on_error) => Ok(match on_error {
                "TRUE" => Datum::Bool(true),
                "FALSE" => Datum::Bool(false),
                _ => Datum::Null,
            }),
        }
    })
}

/// JSON_VALUE: a scalar. In lax mode anything else is empty, in strict mode an error.
fn value(args: &[Expr], of: &Type) -> Result<Call, EvalError> {
    if !matches!(of, Type::Varchar(_) | Type::Boolean | Type::Int | Type::Double) {
        return Err(EvalError(format!("Unsupported type '{of}' for RETURNING in JSON_VALUE().")));
    }
    let path = path_of(args)?;
    let of = of.clone();
    lenient_with(move |a, _| {
        if nothing(a) {
            return Ok(Datum::Null);
        }
        let (found, lax) = found(path.as_ref(), a);
        let otherwise = |what: usize, why: &str| match text(a, what) {
            "ERROR" => Err(EvalError(why.to_owned())),
            "DEFAULT" => Ok(a.get(what + 1).cloned().unwrap_or(Datum::Null)),
            _ => Ok(Datum::Null),
        };
        match found {
            Ok(json) if json == Json::Null || lax && !json.is_scalar() => {
                otherwise(3, "Empty result of JSON_VALUE function is not allowed")
            }
            Ok(json) if !json.is_scalar() => {
                otherwise(5, "Strict jsonpath mode requires scalar value, and the actual value is no scalar")
            }
            Ok(json) => scalar(&json, &of),
            Err(why) => otherwise(5, &why),
        }
    })
}

/// As Flink does, without a cast: a value of another type fails.
fn scalar(json: &Json, of: &Type) -> Result<Datum, EvalError> {
    let found = match (of, json) {
        (Type::Boolean, Json::Bool(b)) => Some(Datum::Bool(*b)),
        (Type::Int, Json::Number(digits)) => digits.parse::<i32>().ok().map(|n| Datum::Int(n.into())),
        (Type::Double, Json::Number(digits)) => digits.parse().ok().map(Datum::Double),
        (Type::Varchar(_), _) => Some(Datum::str(json.plain())),
        _ => None,
    };
    found.ok_or_else(|| EvalError(format!("JSON_VALUE: {} is no {of}", json.to_text())))
}

/// JSON_QUERY: an array or an object.
fn query(args: &[Expr], of: &Type) -> Result<Call, EvalError> {
    let texts = matches!(of, Type::Array(item) if matches!(item.kind, Type::Varchar(_)));
    if !texts && !matches!(of, Type::Varchar(_)) {
        return Err(EvalError(format!("Unsupported type '{of}' for RETURNING in JSON_QUERY().")));
    }
    let path = path_of(args)?;
    lenient_with(move |a, _| {
        if nothing(a) {
            return Ok(Datum::Null);
        }
        let (found, lax) = found(path.as_ref(), a);
        let found = found.map(|json| match (text(a, 3), json) {
            (_, Json::Null) => Json::Null,
            ("UNCONDITIONAL", json) => Json::Array(vec![json]),
            ("CONDITIONAL", json) if !matches!(json, Json::Array(_)) => Json::Array(vec![json]),
            (_, json) => json,
        });
        let otherwise = |what: usize, why: &str| match text(a, what) {
            "ERROR" => Err(EvalError(why.to_owned())),
            "[]" if texts => Ok(Datum::Array([].into())),
            json @ ("[]" | "{}") if !texts => Ok(Datum::str(json)),
            _ => Ok(Datum::Null),
        };
        match found {
            Ok(json) if json == Json::Null || lax && json.is_scalar() => {
                otherwise(4, "Empty result of JSON_QUERY function is not allowed")
            }
            Ok(Json::Array(items)) if texts => Ok(Datum::Array(
                items
                    .iter()
                    .map(|item| if *item == Json::Null { Datum::Null } else { Datum::str(item.plain()) })
                    .collect(),
            )),
            Ok(json) if !json.is_scalar() && !texts => Ok(Datum::str(json.to_text())),
            Ok(_) => otherwise(5, "Strict jsonpath mode requires array or object value"),
            Err(why) => otherwise(5, &why),
        }
    })
}

/// Whether values of the type have a form in JSON. (Flink: JsonGenerateUtils)
fn convertible(kind: &Type) -> Result<(), EvalError> {
    match kind {
        Type::Date | Type::Time(_) | Type::IntervalDay | Type::IntervalYear => {
            Err(EvalError(format!("Type '{kind}' is not scalar or cannot be converted into JSON.")))
        }
        Type::Array(item) => convertible(&item.kind),
        Type::Map(key, value) if key.kind.is_string() => convertible(&value.kind),
        Type::Map(key, _) => Err(EvalError(format!("a key of type '{key}' cannot be converted into JSON."))),
        Type::Multiset(item) if !item.kind.is_string() => {
            Err(EvalError(format!("a key of type '{item}' cannot be converted into JSON.")))
        }
        Type::Row(fields) => fields.iter().try_for_each(|(_, of)| convertible(&of.kind)),
        _ => Ok(()),
    }
}

fn to_json(value: &Datum, kind: &Type) -> Json {
    match (value, kind) {
        (Datum::Null, _) => Json::Null,
        (Datum::Bool(b), _) => Json::Bool(*b),
        (Datum::Double(x), _) if x.is_finite() => Json::number(&java_double(*x)),
        (Datum::Float(x), _) if x.is_finite() => Json::number(&java_single(*x)),
        (Datum::Int(_) | Datum::Decimal(_), _) => Json::Number(cast_text(value, kind)),
        (Datum::Bytes(bytes), _) => {
            Json::Text(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes))
        }
        (Datum::Array(items), Type::Array(item)) => {
            Json::Array(items.iter().map(|value| to_json(value, &item.kind)).collect())
        }
        (Datum::Map(entries), Type::Map(key, of)) => {
            let member = |(k, v): &(Datum, Datum)| (cast_text(k, &key.kind), to_json(v, &of.kind));
            Json::Object(entries.iter().map(member).collect())
        }
        (Datum::Map(entries), Type::Multiset(item)) => {
            let member = |(v, count): &(Datum, Datum)| (cast_text(v, &item.kind), to_json(count, &Type::Int));
            Json::Object(entries.iter().map(member).collect())
        }
        (Datum::Row(values), Type::Row(fields)) => {
            let member =
                |(value, (name, of)): (&Datum, &(String, DataType))| (name.clone(), to_json(value, &of.kind));
            Json::Object(values.iter().zip(fields).map(member).collect())
        }
        (Datum::Timestamp(at), Type::Timestamp(_)) => {
            let mut out = String::with_capacity(29);
            calendar::write_timestamp(&mut out, *at, 'T', 0);
            Json::Text(out)
        }
        _ => Json::Text(display(value, kind)),
    }
}

/// How an argument becomes JSON: what a JSON function has made is JSON already.
enum Part {
    Made,
    Of(Type),
}

impl Part {
    fn of(arg: &Expr) -> Result<Self, EvalError> {
        if let Node::Call(builtin, _) = &arg.node
            && ["JSON", "JSON_ARRAY", "JSON_OBJECT"].contains(&builtin.name)
        {
            return Ok(Self::Made);
        }
        convertible(&arg.data_type.kind)?;
        Ok(Self::Of(arg.data_type.kind.clone()))
    }

    fn json(&self, value: &Datum) -> Json {
        match (self, value) {
            (Self::Made, Datum::Str(text)) => Json::parse(text).unwrap_or(Json::Null),
            (Self::Made, _) => Json::Null,
            (Self::Of(kind), _) => to_json(value, kind),
        }
    }
}

/// `JSON_OBJECT(on null, key, value …)`.
fn object(args: &[Expr]) -> Result<Call, EvalError> {
    let pairs = args.get(1..).unwrap_or_default();
    let parts = pairs.iter().skip(1).step_by(2).map(Part::of).collect::<Result<Vec<_>, _>>()?;
    if let Some(key) = pairs.iter().step_by(2).find(|key| !key.data_type.kind.is_string()) {
        return Err(EvalError(format!("JSON_OBJECT: a key must be a text, not {}", key.data_type)));
    }
    lenient_with(move |a, _| {
        let mut members = Vec::with_capacity(parts.len());
        for (pair, part) in a.get(1..).unwrap_or_default().chunks_exact(2).zip(&parts) {
            let [Datum::Str(key), value] = pair else {
                return Err(EvalError("JSON_OBJECT: a key must not be NULL".to_owned()));
            };
            if !value.is_null() || text(a, 0) == "NULL" {
                members.push((key.to_string(), part.json(value)));
            }
        }
        Ok(Datum::str(Json::Object(members).to_text()))
    })
}

/// `JSON_ARRAY(on null, value …)`.
fn array(args: &[Expr]) -> Result<Call, EvalError> {
    let parts = args.iter().skip(1).map(Part::of).collect::<Result<Vec<_>, _>>()?;
    lenient_with(move |a, _| {
        let values = a.iter().skip(1).zip(&parts);
        let kept = values.filter(|(value, _)| !value.is_null() || text(a, 0) == "NULL");
        Ok(Datum::str(Json::Array(kept.map(|(value, part)| part.json(value)).collect()).to_text()))
    })
}

fn array_of_rows(args: &[Datum]) -> Result<Datum, EvalError> {
    let items = if let Some(Datum::Array(items)) = args.get(1) { &items[..] } else { &[] };
    let kept = items.iter().filter(|item| !item.is_null() || text(args, 0) == "NULL");
    Ok(Datum::str(Json::Array(kept.map(|item| Part::Made.json(item)).collect()).to_text()))
}

fn object_of_rows(args: &[Datum]) -> Result<Datum, EvalError> {
    let rows = if let Some(Datum::Array(rows)) = args.get(1) { &rows[..] } else { &[] };
    let mut members = Vec::with_capacity(rows.len());
    let mut seen = BTreeSet::new();
    for row in rows {
        let Datum::Row(member) = row else { continue };
        let [Datum::Str(key), value] = &member[..] else {
            return Err(EvalError("Map views don't support null keys.".to_owned()));
        };
        if value.is_null() && text(args, 0) != "NULL" {
            continue;
        }
        if !seen.insert(key) {
            return Err(EvalError(format!(
                "Key '{key}' is already present. Duplicate keys are not allowed in JSON_OBJECTAGG. Please ensure that \
                 keys are unique."
            )));
        }
        members.push((key.to_string(), Part::Made.json(value)));
    }
    Ok(Datum::str(Json::Object(members).to_text()))
}

/// In quotes, and with everything escaped that is not printable ASCII. Of a character beyond the basic plane Flink
/// writes the code point, and then its second half once more.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            ' '..='~' => out.push(c),
            _ => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
                let mut units = [0; 2];
                if let [_, low] = c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{low:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// What a JSON text in quotes says; anything else as it is.
fn unquoted(text: &str) -> String {
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    match is_quoted.then(|| serde_json::from_str::<String>(text)) {
        Some(Ok(inner)) => inner,
        _ => text.to_owned(),
    }
}
