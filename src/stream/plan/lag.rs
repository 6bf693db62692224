//! LAG OVER: what it takes and returns.

use std::mem::discriminant;

use sqlparser::ast::{DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{
    aggregate::AggFunction,
    scope::{FoundCall, Scope},
    types::{self, Type},
};
use crate::stream::{
    expr::Expr,
    sql::{Pos, SqlError},
};

type Result<T> = std::result::Result<T, SqlError>;

/// `LAG(value [, offset [, default]])` as it was found.
pub(super) fn found(below: &Scope, function: &Function, at: Pos) -> Result<FoundCall> {
    if function.filter.is_some() {
        return Err(SqlError::invalid(at, "OVER must be applied to aggregate function"));
    }
    if function.null_treatment.is_some() {
        return Err(SqlError::not_yet(at, "LAG with IGNORE or RESPECT NULLS"));
    }
    let args = arguments(below, function, at)?;
    let (value, offset, default) = match args.as_slice() {
        [value] => (value, None, None),
        [value, offset] => (value, Some(offset), None),
        [value, offset, default] => (value, Some(offset), Some(default)),
        _ => {
            let message = "Invalid number of arguments to function 'LAG'. Was expecting 1 arguments";
            return Err(SqlError::invalid(at, message));
        }
    };
    let offset = offset.map(|offset| offset_of(value, offset, at)).transpose()?;
    // What is not NULL when there is no row before is never NULL: the type is Flink's, whatever the value's is.
    let nullable = default.is_none_or(|default| default.data_type.nullable);
    let default = match (default, &offset) {
        (Some(default), Some(offset)) => Some(default_of(value, offset, default, at)?),
        _ => None,
    };
    let data_type = value.data_type.clone().with_nullable(nullable);
    Ok(FoundCall {
        function: AggFunction::Lag,
        args: std::iter::once(value.clone()).chain(offset).chain(default).collect(),
        distinct: false,
        filter: None,
        separator: None,
        data_type,
    })
}

fn arguments(below: &Scope, function: &Function, at: Pos) -> Result<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        return Err(SqlError::not_yet(at, "LAG(DISTINCT …)"));
    }
    if !list.clauses.is_empty() {
        return Err(SqlError::not_yet(at, "a clause within LAG"));
    }
    let one = |arg: &FunctionArg| {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(parsed)) = arg else {
            return Err(SqlError::invalid(at, format!("LAG: '{arg}' is no argument")));
        };
        let expr = below.expr(parsed)?;
        if expr.data_type.kind == Type::Null {
            return Err(SqlError::invalid(at, "Illegal use of 'NULL'"));
        }
        Ok(expr)
    };
    list.args.iter().map(one).collect()
}

/// An INT. Of the other numbers Flink has no LAG, but its validation lets them through.
fn offset_of(value: &Expr, offset: &Expr, at: Pos) -> Result<Expr> {
    let kind = &offset.data_type.kind;
    if matches!(kind, Type::TinyInt | Type::SmallInt | Type::Int) {
        return Ok(offset.clone());
    }
    let message = if kind.is_numeric() {
        format!(
            "Could not find an implementation method 'accumulate' for function 'LAG' with an offset of type {kind}"
        )
    } else {
        format!("Cannot apply 'LAG' to arguments of type 'LAG(<{}>, <{kind}>)'", value.data_type.kind)
    };
    Err(SqlError::invalid(at, message))
}

/// A value of the same type but for its length and precision.
fn default_of(value: &Expr, offset: &Expr, default: &Expr, at: Pos) -> Result<Expr> {
    let (to, from) = (&value.data_type.kind, &default.data_type.kind);
    if to == from || (to.is_string() && from.is_string()) {
        return Ok(default.clone());
    }
    if discriminant(to) != discriminant(from) {
        // Flink's words: it names the offset's type where it means the value's.
        let (from, to) = (&default.data_type, &offset.data_type);
        return Err(SqlError::invalid(at, format!("Please explicitly cast default value {from} to {to}.")));
    }
    // Flink takes it as it is, with more digits than the type has, or fewer.
    let scale = |kind: &Type| kind.as_decimal().map(|(_, scale)| scale);
    let fits =
        types::least_restrictive(&value.data_type, &default.data_type).is_some_and(|both| both.kind == *to);
    if to.is_nested() || !fits || scale(to) != scale(from) {
        return Err(SqlError::not_yet(at, format!("LAG of {to} with a default of {from}")));
    }
    Ok(default.clone().cast_to(to))
}
