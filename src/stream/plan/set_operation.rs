//! UNION, INTERSECT and EXCEPT, with and without ALL. Two NULLs are the same value in all of them.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many nodes of a plan only a few are looked for here"
)]

use sqlparser::ast::SetOperator;

use super::{
    aggregate::AggFunction,
    analyze::{Result, filter},
    analyze_call::call,
    analyze_expr::{arith, case, comparison},
    grouping::{aggregated, distinct},
    join,
    logical::{Join, JoinKind, JoinShape, Logical, Schema, Unnest},
    scope::{FoundCall, Grouping, Scope},
    types::{DataType, Type, least_restrictive},
};
use crate::stream::{
    datum::Datum,
    expr::{Arith, Comparison, Expr, builtins::array::COPIES},
    sql::{Pos, SqlError},
};

/// Two relations made one.
pub(super) fn combined(
    op: SetOperator,
    all: bool,
    left: Logical,
    right: Logical,
    at: Pos,
) -> Result<Logical> {
    match op {
        SetOperator::Union if all => union_all(left, right, at),
        SetOperator::Union => distinct(union_all(left, right, at)?, at),
        SetOperator::Intersect | SetOperator::Except if all => {
            counted(left, right, op == SetOperator::Intersect, at)
        }
        SetOperator::Intersect | SetOperator::Except => among(left, right, op == SetOperator::Intersect, at),
        SetOperator::Minus => Err(SqlError::syntax(at, "MINUS is not Flink SQL")),
    }
}

/// INTERSECT ALL and EXCEPT ALL: each row as often as both sides have it, or as the left side has it more often.
/// (Flink: RewriteIntersectAllRule, RewriteMinusAllRule)
fn counted(left: Logical, right: Logical, both: bool, at: Pos) -> Result<Logical> {
    let width = left.schema().len();
    common(&left.schema(), &right.schema(), if both { "INTERSECT ALL" } else { "EXCEPT ALL" }, at)?;
    let number = |n: i64| Expr::literal(Datum::Int(n), Type::BigInt);
    let marked = |side: Logical, own: i64, other: i64| {
        let schema = side.schema();
        let mut exprs = columns_of(&schema);
        exprs.extend([number(own), number(other)]);
        let names = schema.into_iter().map(|(name, _)| name);
        let names = names.chain(["$left".to_owned(), "$right".to_owned()]).collect();
        side.project(exprs, names)
    };
    let marked = union_all(marked(left, 1, 0), marked(right, 0, 1), at)?;
    let schema = marked.schema();
    let columns = columns_of(&schema);
    let (keys, marks) = columns.split_at(width);
    let sum = |of: &Expr| FoundCall {
        function: AggFunction::Sum,
        args: vec![of.clone()],
        distinct: false,
        filter: None,
        separator: None,
        data_type: DataType::not_null(Type::BigInt),
    };
    let names: Vec<String> = schema.iter().take(width).map(|(name, _)| name.clone()).collect();
    let calls = marks.iter().map(sum).collect::<Vec<_>>().into();
    let keys = keys.to_vec();
    let grouping = Grouping { keys, names: names.clone(), calls, ..Grouping::of(Scope::of(None, schema)) };
    let groups = aggregated(marked, &grouping, at)?;
    let mut exprs = columns_of(&groups.schema());
    let (Some(of_right), Some(of_left)) = (exprs.pop(), exprs.pop()) else {
        return Err(SqlError::invalid(at, "a row without columns"));
    };
    exprs.push(if both {
        let fewer = comparison(Comparison::Less, of_left.clone(), of_right.clone(), at)?;
        case(vec![(fewer, of_left)], of_right, at)?
    } else {
        arith(Arith::Subtract, of_left, of_right, at)?
    });
    let times = Expr::column(width, "$times", DataType::not_null(Type::BigInt));
    let input = groups.project(exprs, names.iter().cloned().chain(["$times".to_owned()]).collect());
    let input = filter(input, vec![comparison(Comparison::Greater, times.clone(), number(0), at)?]);
    let exprs: Vec<Expr> = columns_of(&input.schema()).into_iter().take(width).collect();
    let columns = vec![("$copy".to_owned(), DataType::not_null(Type::Boolean))];
    let array = call(COPIES, vec![times], at)?;
    let copies = Logical::Unnest(Box::new(Unnest { input, array, columns, outer: false, ordinality: false }));
    Ok(copies.project(exprs, names))
}

fn columns_of(schema: &Schema) -> Vec<Expr> {
    schema.iter().enumerate().map(|(i, (name, t))| Expr::column(i, name, t.clone())).collect()
}

/// INTERSECT and EXCEPT: the left rows, each once, that the right side has, or has not. NULLs are equal to each other.
fn among(left: Logical, right: Logical, both: bool, at: Pos) -> Result<Logical> {
    let (left, right) = (distinct(left, at)?, right);
    let (a, b) = (left.schema(), right.schema());
    common(&a, &b, if both { "INTERSECT" } else { "EXCEPT" }, at)?;
    let mut condition = Vec::new();
    for (index, ((x, x_type), (y, y_type))) in a.iter().zip(&b).enumerate() {
        let (x, y) =
            (Expr::column(index, x, x_type.clone()), Expr::column(a.len() + index, y, y_type.clone()));
        let nullable = x_type.nullable || y_type.nullable;
        let same = if nullable { Comparison::NotDistinct } else { Comparison::Equal };
        condition.push(comparison(same, x, y, at)?);
    }
    let kind = if both { JoinKind::Semi } else { JoinKind::Anti };
    let join = Join { kind, left, right, condition, shape: JoinShape::Undecided, ttl_ms: [None; 2] };
    join::settled(Logical::Join(Box::new(join)), at)
}

/// The columns that rows of both relations have together.
fn common(a: &Schema, b: &Schema, what: &str, at: Pos) -> Result<Schema> {
    if a.len() != b.len() {
        return Err(SqlError::invalid(at, format!("Column count mismatch in {what}")));
    }
    let mut common = Vec::new();
    for (index, ((name, x), (_, y))) in a.iter().zip(b).enumerate() {
        let merged = least_restrictive(x, y).ok_or_else(|| {
            SqlError::invalid(at, format!("Type mismatch in column {} of {what}", index + 1))
        })?;
        common.push((name.clone(), merged));
    }
    Ok(common)
}

pub(super) fn union_all(left: Logical, right: Logical, at: Pos) -> Result<Logical> {
    let (a, b) = (left.schema(), right.schema());
    let common = common(&a, &b, "UNION ALL", at)?;
    let cast = |input: Logical| {
        let schema = input.schema();
        let exprs = schema.iter().zip(&common).enumerate();
        let exprs = exprs.map(|(i, ((name, from), (_, to)))| {
            let mut expr = Expr::column(i, name, from.clone()).cast_to(&to.kind);
            expr.data_type.nullable = to.nullable;
            expr
        });
        let exprs = exprs.collect();
        let names = common.iter().map(|(name, _)| name.clone()).collect();
        input.project(exprs, names)
    };
    let mut inputs = match left {
        Logical::UnionAll { inputs } if common == a => inputs,
        left => vec![cast(left)],
    };
    inputs.push(cast(right));
    Ok(Logical::UnionAll { inputs })
}
