//! Sub-queries in conditions and expressions become joins: IN and EXISTS of WHERE semi and anti joins, a single value
//! an outer join with the row that holds it.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many, and only those with a query in them are looked for"
)]

use std::rc::Rc;

use sqlparser::ast::{
    BinaryOperator, Expr as Parsed, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query,
    Select, SelectItem, SetExpr, Spanned, UnaryOperator,
};

use super::{
    analyze::{Analyzer, Result, always, projection, refuse_around, refuse_foreign},
    analyze_call::coalesce,
    analyze_expr::{ILLEGAL_AGGREGATE, comparison},
    grouping::aggregated,
    join,
    logical::{Join, JoinKind, JoinShape, Logical, Schema},
    scope::{Grouping, Scope},
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Comparison, Expr, Node, Test},
    plan::aggregate::AggFunction,
    sql::{Pos, SqlError},
};

impl Analyzer<'_> {
    /// WHERE: conditions go as far down as they can; sub-queries become joins.
    pub(super) fn filtered(&mut self, plan: Logical, scope: &Scope, selection: &Parsed) -> Result<Logical> {
        let mut conditions = Vec::new();
        let mut subqueries = Vec::new();
        for part in conjuncts_of(selection) {
            match part {
                Parsed::InSubquery { .. } | Parsed::Exists { .. } => subqueries.push((part, false)),
                Parsed::UnaryOp { op: UnaryOperator::Not, expr }
                    if matches!(**expr, Parsed::Exists { .. } | Parsed::InSubquery { .. }) =>
                {
                    subqueries.push((expr, true));
                }
                _ => conditions.extend(join::conjuncts(scope.condition(part, "WHERE")?)),
            }
        }
        let mut plan = join::push_down(plan, conditions, selection.span().into())?;
        for (parsed, negated) in subqueries {
            plan = join::settled(plan, parsed.span().into())?;
            plan = self.semi_join(plan, scope, parsed, negated)?;
        }
        Ok(plan)
    }

    /// `x IN (SELECT …)` and `EXISTS (SELECT …)`.
    fn semi_join(&mut self, left: Logical, scope: &Scope, parsed: &Parsed, negated: bool) -> Result<Logical> {
        let at: Pos = parsed.span().into();
        let (query, negated, values) = match parsed {
            Parsed::InSubquery { expr, subquery, negated: not } => {
                let items = if let Parsed::Tuple(items) = &**expr {
                    items.as_slice()
                } else {
                    std::slice::from_ref(&**expr)
                };
                let values: Result<Vec<Expr>> = items.iter().map(|item| scope.expr(item)).collect();
                (subquery, negated != *not, values?)
            }
            Parsed::Exists { subquery, negated: not } => (subquery, negated != *not, Vec::new()),
            _ => return Err(SqlError::not_yet(at, "a sub-query in an expression")),
        };
        let width = scope.columns.len();
        let (right, mut condition, outputs) = self.correlated(query, scope)?;
        if !values.is_empty() && values.len() != outputs.len() {
            let message = format!(
                "the sub-query of IN must have as many columns as there are values ({})",
                values.len()
            );
            return Err(SqlError::invalid(at, message));
        }
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
        let join = Join { kind, left, right, condition, shape: JoinShape::Undecided };
        join::settled(Logical::Join(Box::new(join)), at)
    }

    /// A sub-query that may name columns of the query around it in its WHERE: the relation without those conditions,
    /// the conditions over the columns of both, and the sub-query's own columns counted behind the outer ones.
    fn correlated(&mut self, query: &Query, outer: &Scope) -> Result<(Logical, Vec<Expr>, Vec<Expr>)> {
        let width = outer.columns.len();
        let behind = |schema: Schema| -> Vec<Expr> {
            schema.into_iter().enumerate().map(|(i, (n, t))| Expr::column(width + i, &n, t)).collect()
        };
        let simple = match &*query.body {
            SetExpr::Select(select)
                if query.with.is_none()
                    && query.order_by.is_none()
                    && query.limit_clause.is_none()
                    && query.fetch.is_none()
                    && select.distinct.is_none()
                    && select.having.is_none()
                    && has_no_groups(&select.group_by) =>
            {
                Some(select)
            }
            _ => None,
        };
        let Some(select) = simple else {
            let plan = self.query(query)?;
            let outputs = behind(plan.schema());
            return Ok((plan, Vec::new(), outputs));
        };
        refuse_around(query)?;
        refuse_foreign(select)?;
        let at: Pos = select.select_token.0.span.into();
        self.deeper(at)?;
        let (mut plan, inner) = self.from(&select.from)?;
        // An inner name hides an outer one.
        let both = outer.clone().beside(inner.clone());
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        for part in select.selection.as_ref().map(conjuncts_of).unwrap_or_default() {
            match inner.condition(part, "WHERE") {
                Ok(condition) => own.extend(join::conjuncts(condition)),
                Err(inner_error) => match both.condition(part, "WHERE") {
                    Ok(condition) => shared.extend(join::conjuncts(condition)),
                    Err(_) => return Err(inner_error),
                },
            }
        }
        plan = join::settled(join::push_down(plan, own, at)?, at)?;
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
            Err(e) => return Err(e),
        };
        self.depth -= 1;
        Ok((plan, shared, outputs))
    }

    /// Single values: `(SELECT MAX(x) FROM …)` in these parts of a SELECT. The relation with a column behind its own for
    /// each of them, and the scope that finds it there.
    pub(super) fn with_values(
        &mut self,
        plan: Logical,
        scope: Scope,
        parts: &[&Parsed],
    ) -> Result<(Logical, Scope)> {
        let mut found = Vec::new();
        parts.iter().for_each(|part| values_in(part, &mut found));
        if found.is_empty() {
            return Ok((plan, scope));
        }
        let (mut plan, mut scope) = (plan, scope);
        let outer = scope.clone();
        let mut values = Vec::new();
        for query in found {
            let (right, condition, value) = self.single_value(&query, &outer, scope.columns.len())?;
            for (name, data_type) in right.schema() {
                scope.hidden.push(scope.columns.len());
                scope.columns.push((format!("$sub.{name}"), data_type.with_nullable(true)));
            }
            let join =
                Join { kind: JoinKind::Left, left: plan, right, condition, shape: JoinShape::Undecided };
            plan = Logical::Join(Box::new(join));
            values.push((query, value));
        }
        scope.values = Rc::new(values);
        Ok((plan, scope))
    }

    /// The row that holds the value, how it meets the rows of the query around it, and the value over the columns of
    /// both. `width` counts the columns that stand before those of the row.
    fn single_value(
        &mut self,
        query: &Query,
        outer: &Scope,
        width: usize,
    ) -> Result<(Logical, Vec<Expr>, Expr)> {
        let at: Pos = query.body.span().into();
        let one_column = |count: usize| match count {
            1 => Ok(()),
            _ => Err(SqlError::invalid(at, "a sub-query that stands for a value must have one column")),
        };
        let (depth, named) = (self.depth, self.named.len());
        let uncorrelated = match self.query(query) {
            Ok(plan) => plan,
            Err(error) => {
                self.depth = depth;
                self.named.truncate(named);
                let SetExpr::Select(select) = &*query.body else { return Err(error) };
                let plain = query.with.is_none() && select.distinct.is_none() && select.having.is_none();
                if !plain || !has_no_groups(&select.group_by) {
                    return Err(error);
                }
                refuse_around(query)?;
                one_column(select.projection.len())?;
                return self.correlated_value(select, outer, width, error);
            }
        };
        let schema = uncorrelated.schema();
        one_column(schema.len())?;
        if !uncorrelated.keys().iter().any(Vec::is_empty) {
            return Err(SqlError::not_yet(at, "a sub-query for a value, of more than one row"));
        }
        let Some((name, data_type)) = schema.into_iter().next() else {
            return Err(SqlError::invalid(at, "no column"));
        };
        let value = Expr::column(width, &name, data_type.with_nullable(true));
        Ok((uncorrelated, vec![always()], value))
    }

    /// `(SELECT MAX(w) FROM r WHERE r.k = l.k)`: grouped by what the outer row is compared with.
    fn correlated_value(
        &mut self,
        select: &Select,
        outer: &Scope,
        width: usize,
        error: SqlError,
    ) -> Result<(Logical, Vec<Expr>, Expr)> {
        refuse_foreign(select)?;
        let at: Pos = select.select_token.0.span.into();
        let (mut plan, inner) = self.from(&select.from)?;
        let outer_width = outer.columns.len();
        let both = outer.clone().beside(inner.clone());
        let (mut own, mut pairs) = (Vec::new(), Vec::new());
        for part in select.selection.as_ref().map(conjuncts_of).unwrap_or_default() {
            if let Ok(condition) = inner.condition(part, "WHERE") {
                own.extend(join::conjuncts(condition));
                continue;
            }
            let Ok(shared) = both.condition(part, "WHERE") else { return Err(error) };
            for condition in join::conjuncts(shared) {
                let sides = pair(&condition, outer_width);
                let what = "a sub-query for a value that is compared with the query around it by more than =";
                pairs.push(sides.ok_or_else(|| SqlError::not_yet(part.span(), what))?);
            }
        }
        plan = join::settled(join::push_down(plan, own, at)?, at)?;
        let keys: Vec<Expr> = pairs.iter().map(|(_, inner)| inner.clone()).collect();
        let names: Vec<String> = (0..keys.len()).map(|i| format!("$k{i}")).collect();
        let grouping = Rc::new(Grouping { keys, names, ..Grouping::of(inner.clone()) });
        let seen = Scope { grouping: Some(grouping.clone()), ..Scope::of(None, inner.columns.clone()) };
        let many = || SqlError::not_yet(at, "a sub-query for a value, of more than one row");
        let (exprs, _) = projection(&select.projection, &seen)
            .map_err(|error| if projection(&select.projection, &inner).is_ok() { many() } else { error })?;
        let Some(value) = exprs.into_iter().next() else { return Err(error) };
        if grouping.calls.borrow().is_empty() {
            return Err(many());
        }
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
        for (index, (outer, inner)) in pairs.into_iter().enumerate() {
            let key = Expr::column(width + index, &format!("$k{index}"), inner.data_type);
            condition.push(comparison(Comparison::Equal, outer, key, at)?);
        }
        Ok((groups, condition, value.over(&columns)))
    }
}

/// The expressions of a SELECT in which values may stand.
pub(super) fn parts_of(select: &Select) -> Vec<&Parsed> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    let is_join = |part: &&Parsed| {
        let bare = match part {
            Parsed::UnaryOp { op: UnaryOperator::Not, expr } => expr,
            part => *part,
        };
        !matches!(bare, Parsed::InSubquery { .. } | Parsed::Exists { .. })
    };
    let conditions = select.selection.as_ref().map(conjuncts_of).unwrap_or_default();
    items.chain(conditions.into_iter().filter(is_join)).collect()
}

/// The queries in an expression that stand for a value, each once. Those within other queries are theirs.
fn values_in(parsed: &Parsed, found: &mut Vec<Query>) {
    if let Parsed::Subquery(query) = parsed {
        if !found.contains(query) {
            found.push((**query).clone());
        }
        return;
    }
    let mut all = |parts: &[&Parsed]| parts.iter().for_each(|part| values_in(part, found));
    match parsed {
        Parsed::BinaryOp { left, right, .. }
        | Parsed::IsDistinctFrom(left, right)
        | Parsed::IsNotDistinctFrom(left, right) => all(&[left, right]),
        Parsed::Nested(e)
        | Parsed::UnaryOp { expr: e, .. }
        | Parsed::Cast { expr: e, .. }
        | Parsed::IsNull(e)
        | Parsed::IsNotNull(e)
        | Parsed::IsTrue(e)
        | Parsed::IsNotTrue(e)
        | Parsed::IsFalse(e)
        | Parsed::IsNotFalse(e) => all(&[e]),
        Parsed::Between { expr, low, high, .. } => all(&[expr, low, high]),
        Parsed::InList { expr, list, .. } => {
            all(&[expr]);
            all(&list.iter().collect::<Vec<_>>());
        }
        Parsed::Case { operand, conditions, else_result, .. } => {
            all(&operand.iter().chain(else_result).map(|e| &**e).collect::<Vec<_>>());
            all(&conditions.iter().flat_map(|when| [&when.condition, &when.result]).collect::<Vec<_>>());
        }
        Parsed::Function(function) => {
            let FunctionArguments::List(list) = &function.args else { return };
            for arg in &list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg {
                    all(&[e]);
                }
            }
        }
        // Elsewhere a query has no value, and says so where it is read.
        _ => {}
    }
}

fn has_no_groups(group_by: &GroupByExpr) -> bool {
    matches!(group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty())
}

/// `outer = inner`, each over the columns of its own side.
fn pair(condition: &Expr, outer_width: usize) -> Option<(Expr, Expr)> {
    let Node::Compare(Comparison::Equal, a, b) = &condition.node else { return None };
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
        (a, b) if is_outer(a) && is_inner(b) => Some((a.clone(), join::moved(b, outer_width))),
        (a, b) if is_inner(a) && is_outer(b) => Some((b.clone(), join::moved(a, outer_width))),
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
