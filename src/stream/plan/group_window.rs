//! The windows of older Flink SQL: `GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE)`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's arguments are many, and most are not Flink's"
)]

use sqlparser::ast::{Expr as Parsed, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned};

use super::{
    scope::{GroupWindow, Scope},
    types::Type,
    window::{Window, WindowShape},
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
    sql::{Pos, SqlError},
};

type Result<T> = std::result::Result<T, SqlError>;

/// The name, if the function makes groups of windows.
#[must_use]
pub fn name_of(function: &Function) -> Option<&'static str> {
    let name = function.name.to_string().replace('`', "").to_ascii_uppercase();
    ["TUMBLE", "HOP", "SESSION"].into_iter().find(|n| *n == name)
}

/// The plain arguments of a function.
pub(super) fn arguments(function: &Function) -> Result<Vec<&Parsed>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    let mut args = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => args.push(e),
            _ => {
                let message = format!("'{arg}' is no argument of {}", function.name);
                return Err(SqlError::syntax(function.name.span(), message));
            }
        }
    }
    Ok(args)
}

/// The window with these arguments, and its time. `kind` is the window's name, whatever the function is called.
pub(super) fn read(scope: &Scope, kind: &str, function: &Function) -> Result<GroupWindow> {
    let at: Pos = function.name.span().into();
    let args = arguments(function)?;
    let wrong = || SqlError::invalid(at, format!("Invalid number of arguments to function '{kind}'"));
    let Some((time, lengths)) = args.split_first() else { return Err(wrong()) };
    let time = scope.expr(time)?;
    let length = |parsed: &Parsed| interval_ms(&scope.expr(parsed)?, parsed.span().into());
    let (name, shape) = match (kind, lengths) {
        ("TUMBLE", [size]) => ("TUMBLE", WindowShape::Tumble { size: length(size)? }),
        ("HOP", [slide, size]) => ("HOP", WindowShape::Hop { size: length(size)?, slide: length(slide)? }),
        ("SESSION", [gap]) => ("SESSION", WindowShape::Session { gap: length(gap)? }),
        ("TUMBLE" | "SESSION", [_, _]) | ("HOP", [_, _, _]) => {
            return Err(SqlError::not_yet(at, format!("the alignment of a {kind} in GROUP BY")));
        }
        _ => return Err(wrong()),
    };
    if !matches!(time.data_type.kind, Type::Timestamp(_) | Type::TimestampLtz(_)) {
        return Err(SqlError::invalid(
            at,
            format!(
                "Window aggregate can only be defined over a time attribute column, but {} encountered.",
                time.data_type.kind
            ),
        ));
    }
    // Whether it is a time attribute is known where the relation is.
    Ok(GroupWindow { window: Window::new(shape, 0), time, event: true, name })
}

/// A positive interval of days to milliseconds.
pub(super) fn interval_ms(expr: &Expr, at: Pos) -> Result<i64> {
    match (&expr.node, &expr.data_type.kind) {
        (Node::Literal(Datum::Int(ms)), Type::IntervalDay) if *ms > 0 => Ok(*ms),
        (Node::Literal(_), Type::IntervalDay) => {
            Err(SqlError::invalid(at, "the length of a window must be greater than 0"))
        }
        (Node::Literal(_), Type::IntervalYear) => Err(SqlError::invalid(
            at,
            "Only constant window intervals with millisecond resolution are supported.",
        )),
        _ => Err(SqlError::invalid(at, "Only constant window descriptors are supported.")),
    }
}
