//! Sub-queries in conditions and expressions become joins: IN and EXISTS that WHERE asks for semi and anti joins, a single
//! value an outer join with the row that holds it. (`membership.rs` has IN and EXISTS as values)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many, and only those with a query in them are looked for"
)]

use std::rc::Rc;

use sqlparser::ast::{
    BinaryOperator, Expr as Parsed, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query,
    Select, SelectItem, SetExpr, Spanned,
};

use super::{
    analyze::{Analyzer, Result, always, projection, refuse_around, refuse_foreign, refuse_hints},
    analyze_call::coalesce,
    analyze_expr::{ILLEGAL_AGGREGATE, comparison},
    grouping::aggregated,
    join,
    logical::{Join, JoinKind, JoinShape, Logical, Schema},
    membership::{Membership, Pair, Rows},
    qualify,
    scope::{FoundCall, Grouping, Scope},
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Comparison, Expr, Node, Test},
    plan::aggregate::AggFunction,
    sql::{Pos, SqlError},
};

impl Analyzer<'_> {
    /// WHERE or HAVING: conditions go as far down as they can; sub-queries become joins.
    pub(super) fn filtered(
        &mut self,
        plan: Logical,
        scope: &Scope,
        selection: &Parsed,
        clause: &str,
    ) -> Result<Logical> {
        let mut conditions = Vec::new();
        let mut subqueries = Vec::new();
        for part in conjuncts_of(selection) {
            match Membership::of(part).filter(Membership::joins) {
                Some(membership) => subqueries.push(membership),
                None => conditions.extend(join::conjuncts(scope.condition(part, clause)?)),
            }
        }
        let mut plan = join::push_down(plan, conditions, selection.span().into())?;
        for membership in subqueries {
            plan = join::settled(plan, membership.at)?;
            plan = self.semi_join(plan, scope, membership)?;
        }
        Ok(plan)
    }

    /// `x IN (SELECT …)` and `EXISTS (SELECT …)`.
    fn semi_join(&mut self, left: Logical, scope: &Scope, membership: Membership<'_>) -> Result<Logical> {
        let Membership { query, negated, at, .. } = membership;
        let values = membership.operands(scope)?;
        let width = scope.columns.len();
        let (right, mut condition, outputs) = self.correlated(query, &left, scope)?;
        membership.check(&values, &outputs)?;
        for (value, output) in values.into_iter().zip(outputs) {
            let nullable = value.data_type.nullable || output.data_type.nullable;
            let equal = comparison(Comparison::Equal, value, output, at)?;
            if negated && nullable {
                // NOT IN holds only where the comparison is false with every row: unknown counts as equal.
                let may = Node::Is { test: Test::False, negated: true, expr: Box::new(equal) };
                condition.push(Expr::new(may, DataType::not_null(Type::Boolean)));
            } else {
                condition.push(equal);
            }
        }
        debug_assert!(left.schema().len() == width, "the scope is the left side's");
        let kind = if negated { JoinKind::Anti } else { JoinKind::Semi };
        let join = Join { kind, left, right, condition, shape: JoinShape::Undecided, ttl_ms: [None; 2] };
        join::settled(Logical::Join(Box::new(join)), at)
    }

    /// A sub-query that may name columns of the query around it in its WHERE: the relation without those conditions,
    /// the conditions over the columns of both, and the sub-query's own columns counted behind the outer ones.
    pub(super) fn correlated(
        &mut self,
        query: &Query,
        around: &Logical,
        outer: &Scope,
    ) -> Result<(Logical, Vec<Expr>, Vec<Expr>)> {
        let width = outer.columns.len();
        let behind = |schema: Schema| -> Vec<Expr> {
            schema.into_iter().enumerate().map(|(i, (n, t))| Expr::column(width + i, &n, t)).collect()
        };
        let Some(select) = plain(query).filter(|select| !has_groups(select)) else {
            let before = (self.depth, self.named.len());
            return match (self.query(query), plain(query)) {
                (Ok(plan), _) => {
                    let outputs = behind(plan.schema());
                    Ok((plan, Vec::new(), outputs))
                }
                (Err(error), Some(select)) => {
                    self.back_to(before);
                    self.groups(select, around, outer, error)?.meeting(behind)
                }
                (Err(error), None) => Err(error),
            };
        };
        refuse_around(query)?;
        refuse_foreign(select)?;
        qualify::refuse(select)?;
        refuse_hints(select)?;
        let at: Pos = select.select_token.0.span.into();
        self.deeper(at)?;
        let (plan, inner) = self.from(&select.from)?;
        let (plan, shared) = divided(select, plan, &inner, outer)?;
        let outputs = match projection(&select.projection, &inner) {
            Ok((exprs, _)) => {
                let columns = behind(inner.columns.clone());
                exprs.iter().map(|e| e.over(&columns)).collect()
            }
            Err(e) if e.message == ILLEGAL_AGGREGATE && shared.is_empty() => {
                let plan = self.query(query)?;
                let outputs = behind(plan.schema());
                self.depth -= 1;
                return Ok((plan, Vec::new(), outputs));
            }
            Err(e) if e.message == ILLEGAL_AGGREGATE => {
                self.depth -= 1;
                return self.groups(select, around, outer, e)?.meeting(behind);
            }
            Err(e) => return Err(e),
        };
        self.depth -= 1;
        Ok((plan, shared, outputs))
    }

    /// As it was before a query that could not be read.
    fn back_to(&mut self, (depth, named): (usize, usize)) {
        self.depth = depth;
        self.named.truncate(named);
    }

    /// Single values: `(SELECT MAX(x) FROM …)` in these parts of a SELECT. The relation with a column behind its own for
    /// each of them, and the scope that finds it there.
    pub(super) fn with_values(
        &mut self,
        plan: Logical,
        scope: Scope,
        parts: &[(&Parsed, Logic)],
    ) -> Result<(Logical, Scope)> {
        let mut found = Vec::new();
        parts.iter().for_each(|(part, logic)| values_in(part, *logic, &mut found));
        if found.is_empty() {
            return Ok((plan, scope));
        }
        let (mut plan, mut scope) = (plan, scope);
        let outer = scope.clone();
        let mut values = Vec::new();
        for Found { parsed, logic } in found {
            let value = match (&parsed, Membership::of(&parsed)) {
                (_, Some(membership)) => {
                    let truth = self.truth(plan, &mut scope, &outer, &membership, logic)?;
                    plan = truth.0;
                    truth.1
                }
                (Parsed::Subquery(query), None) => {
                    let (right, condition, value) =
                        self.single_value(query, &plan, &outer, scope.columns.len())?;
                    plan = beside(plan, &mut scope, right, JoinKind::Left, condition);
                    value
                }
                (other, None) => return Err(SqlError::not_yet(other.span(), "a sub-query in an expression")),
            };
            values.push((parsed, value));
        }
        scope.values = Rc::new(values);
        Ok((plan, scope))
    }

    /// The row that holds the value, how it meets the rows of the query around it, and the value over the columns of
    /// both. `width` counts the columns that stand before those of the row.
    pub(super) fn single_value(
        &mut self,
        query: &Query,
        around: &Logical,
        outer: &Scope,
        width: usize,
    ) -> Result<(Logical, Vec<Expr>, Expr)> {
        let at: Pos = query.body.span().into();
        let one_column = |count: usize| match count {
            1 => Ok(()),
            _ => Err(SqlError::invalid(at, "a sub-query that stands for a value must have one column")),
        };
        let before = (self.depth, self.named.len());
        let uncorrelated = match self.query(query) {
            Ok(plan) => plan,
            Err(error) => {
                self.back_to(before);
                let Some(select) = plain(query) else { return Err(error) };
                refuse_around(query)?;
                one_column(select.projection.len())?;
                if has_groups(select) {
                    return self.groups(select, around, outer, error)?.value(width, at);
                }
                return self.correlated_value(select, around, outer, width, error);
            }
        };
        let schema = uncorrelated.schema();
        one_column(schema.len())?;
        let Some((name, data_type)) = schema.first().cloned() else {
            return Err(SqlError::invalid(at, "no column"));
        };
        let single = if uncorrelated.keys().iter().any(Vec::is_empty) {
            uncorrelated
        } else {
            // Of several rows none is the value: the job fails when there is a second one.
            let calls = vec![only_row(Expr::column(0, &name, data_type.clone()))].into();
            let grouping = Grouping { calls, ..Grouping::of(Scope::of(None, schema)) };
            aggregated(uncorrelated, &grouping, at)?
        };
        let value = Expr::column(width, &name, data_type.with_nullable(true));
        Ok((single, vec![always()], value))
    }

    /// `(SELECT MAX(w) FROM r WHERE r.k = l.k)`: grouped by what the outer row is compared with.
    fn correlated_value(
        &mut self,
        select: &Select,
        around: &Logical,
        outer: &Scope,
        width: usize,
        error: SqlError,
    ) -> Result<(Logical, Vec<Expr>, Expr)> {
        refuse_foreign(select)?;
        qualify::refuse(select)?;
        refuse_hints(select)?;
        let at: Pos = select.select_token.0.span.into();
        let (plan, inner) = self.from(&select.from)?;
        let Ok((plan, conditions)) = divided(select, plan, &inner, outer) else { return Err(error) };
        let Rows { plan, pairs } = Rows::of(around, outer.columns.len(), plan, &conditions, at)?;
        let keys: Vec<Expr> = pairs.iter().map(|(_, _, inner)| inner.clone()).collect();
        let names: Vec<String> = (0..keys.len()).map(|i| format!("$k{i}")).collect();
        let grouping = Rc::new(Grouping { keys, names, ..Grouping::of(inner.clone()) });
        let seen = Scope { grouping: Some(grouping.clone()), ..Scope::of(None, inner.columns.clone()) };
        let value = match projection(&select.projection, &inner) {
            Ok((exprs, _)) => exprs.into_iter().next().map(|value| grouping.register(only_row(value))),
            Err(e) if e.message == ILLEGAL_AGGREGATE => {
                projection(&select.projection, &seen)?.0.into_iter().next()
            }
            Err(e) => return Err(e),
        };
        let Some(value) = value else { return Err(error) };
        let counts: Vec<bool> =
            grouping.calls.borrow().iter().map(|c| c.function == AggFunction::Count).collect();
        let groups = aggregated(plan, &grouping, at)?;
        // Without a group there are no rows: COUNT is 0 then, and all else NULL.
        let first_call = grouping.first_call();
        let mut columns = Vec::new();
        for (index, (name, data_type)) in groups.schema().into_iter().enumerate() {
            let column = Expr::column(width + index, &name, data_type.with_nullable(true));
            let is_count = index.checked_sub(first_call).and_then(|i| counts.get(i)).copied() == Some(true);
            let zero = || Expr::literal(Datum::Int(0), Type::BigInt);
            columns.push(if is_count { coalesce(vec![column, zero()], at)? } else { column });
        }
        let mut condition = Vec::new();
        for (index, (outer, by, inner)) in pairs.into_iter().enumerate() {
            let key = Expr::column(width + index, &format!("$k{index}"), inner.data_type);
            condition.push(comparison(by, outer, key, at)?);
        }
        Ok((groups, condition, value.over(&columns)))
    }
}

/// A sub-query of one SELECT and nothing around it.
fn plain(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none();
    bare.then_some(select)
}

/// The relation under those conditions of a sub-query's WHERE that are its own, and those over the columns of the query
/// around it and its own. An inner name hides an outer one.
pub(super) fn divided(
    select: &Select,
    plan: Logical,
    inner: &Scope,
    outer: &Scope,
) -> Result<(Logical, Vec<Expr>)> {
    let at: Pos = select.select_token.0.span.into();
    let both = outer.clone().beside(inner.clone());
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for part in select.selection.as_ref().map(conjuncts_of).unwrap_or_default() {
        match (inner.condition(part, "WHERE"), both.condition(part, "WHERE")) {
            (Ok(condition), _) => own.extend(join::conjuncts(condition)),
            (Err(_), Ok(condition)) => shared.extend(join::conjuncts(condition)),
            (Err(inner_error), Err(_)) => return Err(inner_error),
        }
    }
    Ok((join::settled(join::push_down(plan, own, at)?, at)?, shared))
}

/// The call that keeps the one row of a sub-query for a value.
pub(super) fn only_row(value: Expr) -> FoundCall {
    let data_type = value.data_type.clone().with_nullable(true);
    let function = AggFunction::SingleValue;
    FoundCall { function, args: vec![value], distinct: false, filter: None, separator: None, data_type }
}

/// A join with what a sub-query has: its columns are behind those that were there, and no `*` shows them.
pub(super) fn beside(
    plan: Logical,
    scope: &mut Scope,
    right: Logical,
    kind: JoinKind,
    condition: Vec<Expr>,
) -> Logical {
    for (name, data_type) in right.schema() {
        scope.hidden.push(scope.columns.len());
        scope.columns.push((format!("$sub.{name}"), data_type.with_nullable(true)));
    }
    let join = Join { kind, left: plan, right, condition, shape: JoinShape::Undecided, ttl_ms: [None; 2] };
    Logical::Join(Box::new(join))
}

/// What becomes of unknown where a truth value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Logic {
    /// It is something else than FALSE.
    Unknown,
    /// It is as good as FALSE.
    False,
    /// The same, and IS TRUE says so: only there Flink does not count the rows of a sub-query.
    IsTrue,
}

/// The expressions of a SELECT in which values may stand, and what unknown is there.
pub(super) fn parts_of(select: &Select) -> Vec<(&Parsed, Logic)> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some((expr, Logic::Unknown))
        }
        _ => None,
    });
    let keys = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => keys.as_slice(),
        GroupByExpr::All(_) => &[],
    };
    let conditions = select.selection.as_ref().map(conjuncts_of).unwrap_or_default();
    let conditions = conditions.into_iter().filter(|part| is_value(part));
    items
        .chain(keys.iter().map(|key| (key, Logic::Unknown)))
        .chain(conditions.map(|part| (part, Logic::False)))
        .collect()
}

/// Whether what a part of WHERE or HAVING asks of a sub-query is a value, and no semi join.
pub(super) fn is_value(part: &Parsed) -> bool {
    !Membership::of(part).is_some_and(|membership| membership.joins())
}

/// A sub-query that stands for a value, and what unknown is wherever it does.
pub(super) struct Found {
    pub(super) parsed: Parsed,
    logic: Logic,
}

/// The sub-queries in an expression that stand for a value, each once. Those within other queries are theirs.
pub(super) fn values_in(parsed: &Parsed, logic: Logic, found: &mut Vec<Found>) {
    if let Parsed::AllOp { .. }
    | Parsed::AnyOp { .. }
    | Parsed::Exists { .. }
    | Parsed::InSubquery { .. }
    | Parsed::Subquery(_) = parsed
    {
        match found.iter_mut().find(|f| f.parsed == *parsed) {
            Some(before) => before.logic = before.logic.min(logic),
            None => found.push(Found { parsed: parsed.clone(), logic }),
        }
        return;
    }
    let mut all = |parts: &[&Parsed], logic| parts.iter().for_each(|part| values_in(part, logic, found));
    match parsed {
        Parsed::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            all(&[left, right], logic);
        }
        Parsed::Nested(e) => all(&[e], logic),
        Parsed::BinaryOp { left, right, .. }
        | Parsed::IsDistinctFrom(left, right)
        | Parsed::IsNotDistinctFrom(left, right) => all(&[left, right], Logic::Unknown),
        Parsed::IsTrue(e) | Parsed::IsNotTrue(e) => all(&[e], Logic::IsTrue),
        Parsed::UnaryOp { expr: e, .. }
        | Parsed::Cast { expr: e, .. }
        | Parsed::IsNull(e)
        | Parsed::IsNotNull(e)
        | Parsed::IsFalse(e)
        | Parsed::IsNotFalse(e) => all(&[e], Logic::Unknown),
        Parsed::Between { expr, low, high, .. } => all(&[expr, low, high], Logic::Unknown),
        Parsed::InList { expr, list, .. } => {
            all(&[expr], Logic::Unknown);
            all(&list.iter().collect::<Vec<_>>(), Logic::Unknown);
        }
        Parsed::Case { operand, conditions, else_result, .. } => {
            all(&operand.iter().chain(else_result).map(|e| &**e).collect::<Vec<_>>(), Logic::Unknown);
            for when in conditions {
                let searched = operand.is_none();
                all(&[&when.condition], if searched { Logic::False } else { Logic::Unknown });
                all(&[&when.result], Logic::Unknown);
            }
        }
        Parsed::Function(function) => {
            let FunctionArguments::List(list) = &function.args else { return };
            for arg in &list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg {
                    all(&[e], Logic::Unknown);
                }
            }
            if let Some(filter) = &function.filter {
                all(&[filter], Logic::IsTrue);
            }
        }
        // Elsewhere a query has no value, and says so where it is read.
        _ => {}
    }
}

fn has_groups(select: &Select) -> bool {
    let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else { return true };
    !keys.is_empty() || !modifiers.is_empty() || select.having.is_some()
}

/// `outer = inner`, or that they are not distinct; each over the columns of its own side.
pub(super) fn pair(condition: &Expr, outer_width: usize) -> Option<Pair> {
    let Node::Compare(by @ (Comparison::Equal | Comparison::NotDistinct), a, b) = &condition.node else {
        return None;
    };
    let reads = |e: &Expr| {
        let mut any = false;
        e.columns(&mut |_| any = true);
        any
    };
    let (is_outer, is_inner) = (
        |e: &Expr| reads(e) && matches!(join::side(e, outer_width), join::Side::Left),
        |e: &Expr| reads(e) && matches!(join::side(e, outer_width), join::Side::Right),
    );
    match (&**a, &**b) {
        (a, b) if is_outer(a) && is_inner(b) => Some((a.clone(), *by, join::moved(b, outer_width))),
        (a, b) if is_inner(a) && is_outer(b) => Some((b.clone(), *by, join::moved(a, outer_width))),
        _ => None,
    }
}

/// The parts of a condition that must all hold.
pub(super) fn conjuncts_of(parsed: &Parsed) -> Vec<&Parsed> {
    match parsed {
        Parsed::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut parts = conjuncts_of(left);
            parts.extend(conjuncts_of(right));
            parts
        }
        Parsed::Nested(inner) if matches!(**inner, Parsed::BinaryOp { op: BinaryOperator::And, .. }) => {
            conjuncts_of(inner)
        }
        _ => vec![parsed],
    }
}
