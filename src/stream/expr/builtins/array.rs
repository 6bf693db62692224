//! Functions of arrays. Two NULLs are the same element. (Flink: Array*Function)

use std::{cmp::Ordering, collections::HashSet};

use super::{
    Arg, Builtin, EvalError, Expr, Nulls, Prepare, Ret, Type_, first_strict, int, items, lenient_with, row,
    strict, text,
};
use crate::stream::{
    datum::Datum,
    plan::types::{DataType, Type},
    state::encode,
};

use Arg::{Any, Array, CommonArray, Element, Int, Str};

/// A function that has no name in the language.
pub(crate) const COPIES: &str = "$COPIES";

const fn many(name: &'static str, arg: &'static [&'static [Arg]], returns: Ret, prepare: Prepare) -> Builtin {
    Builtin { name, accepts: arg, repeats: true, returns, nulls: Nulls::Args, prepare }
}

pub(super) const TABLE: &[Builtin] = &[
    Builtin {
        name: "ARRAY",
        accepts: &[&[Arg::Common]],
        repeats: true,
        returns: Ret::Of(array_of),
        nulls: Nulls::Never,
        prepare: |_, _| super::lenient(|a| Datum::Array(a.into())),
    },
    Builtin {
        name: "ROW",
        accepts: &[&[Any]],
        repeats: true,
        returns: Ret::Of(row_of),
        nulls: Nulls::Never,
        prepare: |_, _| super::lenient(|a| Datum::Row(a.into())),
    },
    row("CARDINALITY", &[&[Array], &[Arg::Map]], Ret::Is(Type_::Int), Nulls::Args, |_, _| {
        strict(cardinality)
    }),
    // So many elements that say nothing: what a row is repeated by. (Flink: $REPLICATE_ROWS$1)
    row(
        COPIES,
        &[&[Int]],
        Ret::Of(|_| Type::Array(Box::new(DataType::not_null(Type::Boolean)))),
        Nulls::Args,
        |_, _| strict(|a| array((0..int(a, 0)).map(|_| Datum::Bool(true)))),
    ),
    row("ELEMENT", &[&[Array]], Ret::Of(item_type), Nulls::Args, |_, _| {
        super::strict_with(|a, _| element(a))
    }),
    row("ARRAY_APPEND", &[&[Array, Element]], Ret::Of(extended), Nulls::Args, |_, _| {
        first_strict(|a| array(items(a, 0).iter().chain(a.get(1)).cloned()))
    }),
    row("ARRAY_PREPEND", &[&[Array, Element]], Ret::Of(extended), Nulls::Args, |_, _| {
        first_strict(|a| array(a.get(1).into_iter().chain(items(a, 0)).cloned()))
    }),
    many("ARRAY_CONCAT", &[&[CommonArray]], Ret::First, |_, _| {
        strict(|a| array((0..a.len()).flat_map(|i| items(a, i)).cloned()))
    }),
    many("ARRAY_UNION", &[&[CommonArray, CommonArray]], Ret::First, |_, _| {
        strict(|a| distinct((0..a.len()).flat_map(|i| items(a, i))))
    }),
    many("ARRAY_EXCEPT", &[&[CommonArray, CommonArray]], Ret::First, |_, _| strict(|a| filtered(a, false))),
    many("ARRAY_INTERSECT", &[&[CommonArray, CommonArray]], Ret::First, |_, _| strict(|a| filtered(a, true))),
    row("ARRAY_CONTAINS", &[&[Array, Element]], Ret::Is(Type_::Boolean), Nulls::First, |_, _| {
        first_strict(|a| {
            Datum::Bool(a.get(1).is_some_and(|sought| items(a, 0).iter().any(|x| x.same(sought))))
        })
    }),
    row("ARRAY_POSITION", &[&[Array, Element]], Ret::Is(Type_::Int), Nulls::Args, |_, _| {
        strict(|a| {
            let at = a.get(1).and_then(|sought| items(a, 0).iter().position(|x| x.same(sought)));
            Datum::Int(at.map_or(0, |at| at as i64 + 1))
        })
    }),
    row("ARRAY_REMOVE", &[&[Array, Element]], Ret::First, Nulls::First, |_, _| {
        first_strict(|a| {
            array(items(a, 0).iter().filter(|x| !a.get(1).is_some_and(|gone| x.same(gone))).cloned())
        })
    }),
    row("ARRAY_DISTINCT", &[&[Array]], Ret::First, Nulls::Args, |_, _| {
        strict(|a| distinct(items(a, 0).iter()))
    }),
    row("ARRAY_REVERSE", &[&[Array]], Ret::First, Nulls::Args, |_, _| {
        strict(|a| array(items(a, 0).iter().rev().cloned()))
    }),
    row("ARRAY_SLICE", &[&[Array, Int], &[Array, Int, Int]], Ret::First, Nulls::Args, |_, _| strict(slice)),
    row(
        "ARRAY_SORT",
        &[&[Array], &[Array, Arg::Bool], &[Array, Arg::Bool, Arg::Bool]],
        Ret::First,
        Nulls::Args,
        |args, _| {
            comparable(args)?;
            strict(sort)
        },
    ),
    row("ARRAY_MAX", &[&[Array]], Ret::Of(item_type), Nulls::Always, |args, _| {
        comparable(args)?;
        strict(|a| extreme(a, Ordering::Greater))
    }),
    row("ARRAY_MIN", &[&[Array]], Ret::Of(item_type), Nulls::Always, |args, _| {
        comparable(args)?;
        strict(|a| extreme(a, Ordering::Less))
    }),
    row(
        "ARRAY_JOIN",
        &[&[Array, Str], &[Array, Str, Str]],
        Ret::Is(Type_::String),
        Nulls::Args,
        |args, _| {
            if !args.first().and_then(|a| a.data_type.kind.item()).is_some_and(|item| item.kind.is_string()) {
                return Err(EvalError("ARRAY_JOIN takes an array of texts".to_owned()));
            }
            lenient_with(|a, _| Ok(join(a)))
        },
    ),
    row("SPLIT", &[&[Str, Str]], Ret::Of(|_| texts()), Nulls::Args, |_, _| strict(split)),
];

/// ARRAY<STRING>.
pub(super) fn texts() -> Type {
    Type::Array(Box::new(DataType::nullable(Type::STRING)))
}

fn array_of(args: &[Expr]) -> Type {
    let nullable = args.iter().any(|a| a.data_type.nullable);
    let kind = args.first().map_or(Type::Null, |a| a.data_type.kind.clone());
    Type::Array(Box::new(DataType { kind, nullable }))
}

fn row_of(args: &[Expr]) -> Type {
    Type::Row(args.iter().enumerate().map(|(i, a)| (format!("EXPR${i}"), a.data_type.clone())).collect())
}

pub(super) fn item_type(args: &[Expr]) -> Type {
    args.first().and_then(|a| a.data_type.kind.item()).map_or(Type::Null, |item| item.kind.clone())
}

/// An array with one element more.
fn extended(args: &[Expr]) -> Type {
    let nullable = args.get(1).is_some_and(|a| a.data_type.nullable);
    match args.first().and_then(|a| a.data_type.kind.item()) {
        Some(item) => {
            Type::Array(Box::new(DataType { kind: item.kind.clone(), nullable: item.nullable || nullable }))
        }
        None => Type::Null,
    }
}

fn comparable(args: &[Expr]) -> Result<(), EvalError> {
    match args.first().and_then(|a| a.data_type.kind.item()) {
        Some(item) if item.kind.is_nested() => {
            Err(EvalError(format!("elements of type {} have no order", item.kind)))
        }
        _ => Ok(()),
    }
}

fn array(items: impl Iterator<Item = Datum>) -> Datum {
    Datum::Array(items.collect())
}

fn cardinality(args: &[Datum]) -> Datum {
    let count = items(args, 0).len() + super::entries(args, 0).len();
    Datum::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn element(args: &[Datum]) -> Result<Datum, EvalError> {
    match items(args, 0) {
        [] => Ok(Datum::Null),
        [only] => Ok(only.clone()),
        _ => Err(EvalError("Array has more than one element.".to_owned())),
    }
}

/// What tells one element from another: its bytes in the state, of which there is one form for each value.
fn identity(item: &Datum) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::put_key(&mut bytes, item);
    bytes
}

/// Each element once, where it stands first.
fn distinct<'a>(items: impl Iterator<Item = &'a Datum>) -> Datum {
    let mut seen = HashSet::new();
    array(items.filter(|item| seen.insert(identity(item))).cloned())
}

/// Elements of the first array that are in all the others, or in none of them, each once.
fn filtered(args: &[Datum], wanted: bool) -> Datum {
    let others: Vec<HashSet<Vec<u8>>> =
        (1..args.len()).map(|i| items(args, i).iter().map(identity).collect()).collect();
    let keep = |item: &&Datum| {
        let item = identity(item);
        if wanted {
            others.iter().all(|o| o.contains(&item))
        } else {
            !others.iter().any(|o| o.contains(&item))
        }
    };
    distinct(items(args, 0).iter().filter(keep))
}

/// From one place to another, both counted from one, or from the end when negative.
fn slice(args: &[Datum]) -> Datum {
    let all = items(args, 0);
    let length = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let place = |at: i64| if at < 0 { length + at + 1 } else { at };
    let from = place(int(args, 1)).max(1);
    let to = args.get(2).map_or(length, |_| place(int(args, 2))).min(length);
    let range = usize::try_from(from - 1).ok().zip(usize::try_from(to).ok());
    let taken = range.filter(|(from, to)| from < to).and_then(|(from, to)| all.get(from..to));
    array(taken.unwrap_or_default().iter().cloned())
}

/// `ARRAY_SORT(array, ascending, nulls first)`; NULLs are first when it ascends, unless that is said.
fn sort(args: &[Datum]) -> Datum {
    let ascending = !matches!(args.get(1), Some(Datum::Bool(false)));
    let nulls_first = args.get(2).map_or(ascending, |n| *n == Datum::Bool(true));
    let (nulls, mut values): (Vec<Datum>, Vec<Datum>) =
        items(args, 0).iter().cloned().partition(Datum::is_null);
    values.sort_by(|a, b| {
        let order = a.compare(b).unwrap_or(Ordering::Equal);
        if ascending { order } else { order.reverse() }
    });
    let (first, second) = if nulls_first { (nulls, values) } else { (values, nulls) };
    array(first.into_iter().chain(second))
}

fn extreme(args: &[Datum], wanted: Ordering) -> Datum {
    let mut best = &Datum::Null;
    for item in items(args, 0).iter().filter(|item| !item.is_null()) {
        if best.is_null() || item.compare(best) == Some(wanted) {
            best = item;
        }
    }
    best.clone()
}

/// NULLs are left out, unless there is a text for them.
fn join(args: &[Datum]) -> Datum {
    if args.iter().any(Datum::is_null) {
        return Datum::Null;
    }
    let instead = args.get(2).map(|_| text(args, 2));
    let mut out = String::new();
    let parts = items(args, 0).iter().filter_map(|item| match item {
        Datum::Str(text) => Some(&**text),
        _ => instead,
    });
    for (i, part) in parts.enumerate() {
        if i > 0 {
            out.push_str(text(args, 1));
        }
        out.push_str(part);
    }
    Datum::str(out)
}

/// An empty separator splits between all characters.
fn split(args: &[Datum]) -> Datum {
    let (base, separator) = (text(args, 0), text(args, 1));
    if separator.is_empty() {
        return array(base.chars().map(|c| Datum::str(c.to_string())));
    }
    array(base.split(separator).map(Datum::str))
}
