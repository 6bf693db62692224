//! Functions of maps, and access to elements of maps and arrays. Maps keep the order in which they were made.

use super::{
    Arg, Builtin, Call, EvalError, Expr, Nulls, Ret, entries, int, items, literal_text, row, strict,
    strict_with, text,
};
use crate::stream::{
    datum::Datum,
    expr::{Node, builtins::pattern::Pattern},
    plan::types::{DataType, Type},
};

use Arg::{Any, Array, CommonMap, Int, Map, Str};

pub(super) const TABLE: &[Builtin] = &[
    // Keys and values by turns, each side brought to one type by the analysis.
    Builtin {
        name: "MAP",
        accepts: &[&[Any, Any]],
        repeats: true,
        returns: Ret::Of(map_of),
        nulls: Nulls::Never,
        prepare: |_, _| {
            super::lenient(|a| {
                made(a.chunks_exact(2).filter_map(|pair| {
                    let [key, value] = pair else { return None };
                    Some((key.clone(), value.clone()))
                }))
            })
        },
    },
    // `array[n]` and `map[key]`.
    row("ITEM", &[&[Array, Int], &[Map, Any]], Ret::Of(element_type), Nulls::Always, |args, _| {
        if let Some(Expr { node: Node::Literal(Datum::Int(n)), .. }) = args.get(1)
            && *n < 1
            && args.first().is_some_and(|a| matches!(a.data_type.kind, Type::Array(_)))
        {
            let message = format!("Array element access needs an index starting at 1 but was {n}.");
            return Err(EvalError(message));
        }
        strict(item)
    }),
    row("MAP_KEYS", &[&[Map]], Ret::Of(|a| side(a, true)), Nulls::Args, |_, _| {
        strict(|a| Datum::Array(entries(a, 0).iter().map(|(key, _)| key.clone()).collect()))
    }),
    row("MAP_VALUES", &[&[Map]], Ret::Of(|a| side(a, false)), Nulls::Args, |_, _| {
        strict(|a| Datum::Array(entries(a, 0).iter().map(|(_, value)| value.clone()).collect()))
    }),
    row("MAP_ENTRIES", &[&[Map]], Ret::Of(entry_rows), Nulls::Args, |_, _| {
        strict(|a| {
            let row = |(key, value): &(Datum, Datum)| Datum::Row([key.clone(), value.clone()].into());
            Datum::Array(entries(a, 0).iter().map(row).collect())
        })
    }),
    row("MAP_FROM_ARRAYS", &[&[Array, Array]], Ret::Of(map_of_arrays), Nulls::Args, |_, _| {
        strict_with(|a, _| {
            let (keys, values) = (items(a, 0), items(a, 1));
            if keys.len() != values.len() {
                return Err(EvalError(format!(
                    "Invalid function MAP_FROM_ARRAYS call:\nThe length of the keys array {} is not equal to the \
                     length of the values array {}",
                    keys.len(),
                    values.len()
                )));
            }
            Ok(Datum::Map(keys.iter().cloned().zip(values.iter().cloned()).collect()))
        })
    }),
    Builtin {
        name: "MAP_UNION",
        accepts: &[&[CommonMap]],
        repeats: true,
        returns: Ret::First,
        nulls: Nulls::Args,
        prepare: |_, _| strict(union),
    },
    row("STR_TO_MAP", &[&[Str], &[Str, Str, Str]], Ret::Of(|_| map_of_texts()), Nulls::Always, |args, _| {
        str_to_map(args)
    }),
];

fn map_of_texts() -> Type {
    let text = || Box::new(DataType::nullable(Type::STRING));
    Type::Map(text(), text())
}

fn map_of(args: &[Expr]) -> Type {
    let side = |start: usize| {
        let of = args.iter().skip(start).step_by(2);
        let nullable = of.clone().any(|a| a.data_type.nullable);
        Box::new(DataType {
            kind: of.map(|a| a.data_type.kind.clone()).next().unwrap_or(Type::Null),
            nullable,
        })
    };
    Type::Map(side(0), side(1))
}

fn element_type(args: &[Expr]) -> Type {
    let Some(of) = args.first().map(|a| &a.data_type.kind) else { return Type::Null };
    of.item().or_else(|| of.entry().map(|(_, value)| value)).map_or(Type::Null, |t| t.kind.clone())
}

fn side(args: &[Expr], keys: bool) -> Type {
    let entry = args.first().and_then(|a| a.data_type.kind.entry());
    entry.map_or(Type::Null, |(key, value)| Type::Array(Box::new(if keys { key } else { value }.clone())))
}

fn entry_rows(args: &[Expr]) -> Type {
    let entry = args.first().and_then(|a| a.data_type.kind.entry());
    entry.map_or(Type::Null, |(key, value)| {
        let fields = vec![("key".to_owned(), key.clone()), ("value".to_owned(), value.clone())];
        Type::Array(Box::new(DataType::nullable(Type::Row(fields))))
    })
}

fn map_of_arrays(args: &[Expr]) -> Type {
    let item = |i: usize| args.get(i).and_then(|a| a.data_type.kind.item()).cloned();
    match (item(0), item(1)) {
        (Some(key), Some(value)) => Type::Map(Box::new(key), Box::new(value)),
        _ => Type::Null,
    }
}

/// A map of these entries; of two with one key the later.
pub(super) fn made(pairs: impl Iterator<Item = (Datum, Datum)>) -> Datum {
    let mut entries: Vec<(Datum, Datum)> = Vec::new();
    for (key, value) in pairs {
        match entries.iter_mut().find(|(k, _)| k.same(&key)) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    Datum::Map(entries.into())
}

fn item(args: &[Datum]) -> Datum {
    let found = match args.first() {
        Some(Datum::Map(entries)) => {
            args.get(1).and_then(|sought| entries.iter().find(|(key, _)| key.same(sought))).map(|(_, v)| v)
        }
        _ => usize::try_from(int(args, 1) - 1).ok().and_then(|at| items(args, 0).get(at)),
    };
    found.cloned().unwrap_or(Datum::Null)
}

/// Entries of the last map first, and of those before it what has another key. (Flink's order)
fn union(args: &[Datum]) -> Datum {
    let mut all: Vec<(Datum, Datum)> = Vec::new();
    for index in (0..args.len()).rev() {
        for (key, value) in entries(args, index) {
            if !all.iter().any(|(k, _)| k.same(key)) {
                all.push((key.clone(), value.clone()));
            }
        }
    }
    Datum::Map(all.into())
}

/// Separators are regular expressions, as for Java's `String.split`.
fn str_to_map(args: &[Expr]) -> Result<Call, EvalError> {
    let separator = |index: usize, default: &str| match args.get(index) {
        None => Pattern::java(default).map(Some),
        Some(_) => literal_text(args, index).map(Pattern::java).transpose(),
    };
    let (between, inside) = (separator(1, ",")?, separator(2, "=")?);
    strict_with(move |a, _| {
        let read = |fixed: &Option<Pattern>, index: usize| match fixed {
            Some(pattern) => Ok(pattern.clone()),
            None => Pattern::java(text(a, index)),
        };
        let (between, inside) = (read(&between, 1)?, read(&inside, 2)?);
        let base = text(a, 0);
        if base.is_empty() {
            return Ok(Datum::Map([].into()));
        }
        let mut parts = between.split(base, 0);
        // Java leaves out empty parts at the end.
        while parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        Ok(made(parts.into_iter().map(|part| {
            let sides = inside.split(part, 2);
            let side = |i: usize| sides.get(i).map_or(Datum::Null, |s| Datum::str(*s));
            (side(0), side(1))
        })))
    })
}
