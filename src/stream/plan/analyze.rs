//! Names and types of queries: SELECT, WHERE, GROUP BY, HAVING, DISTINCT, UNION and WITH. What stands in FROM is read
//! in `from.rs`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's queries are many, and most are not Flink's"
)]

use std::rc::Rc;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr as Parsed, GroupByExpr, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Spanned, TableAlias,
    WildcardAdditionalOptions, With,
};

use super::{
    aggregate::AggCall,
    analyze_expr::{ILLEGAL_AGGREGATE, comparison},
    catalog::Catalog,
    group_window, join,
    logical::{
        Aggregate, Join, JoinKind, JoinShape, Logical, Schema, TimeAttribute, WindowAggregate, is_true,
    },
    over::{Overs, bound_call},
    physical::merged,
    scope::{FoundCall, GroupWindow, Grouping, Scope},
    types::{DataType, Type, least_restrictive},
    window::{WindowShape, WindowTime},
};
use crate::stream::{
    datum::Datum,
    expr::{Comparison, Expr, Node},
    sql::{Pos, SqlError},
};

pub(super) type Result<T> = std::result::Result<T, SqlError>;

/// Deeper nesting of queries is refused.
const DEPTH_MAX: usize = 32;

/// A query with its views put in may be made of so many nodes: views upon views can double each time.
const NODES_MAX: usize = 20_000;

/// Analyses queries against a catalog, and the WITH clauses around them.
pub struct Analyzer<'a> {
    pub(super) catalog: &'a Catalog,
    /// Innermost last.
    pub(super) named: Vec<(String, Logical)>,
    depth: usize,
    nodes: usize,
}

impl<'a> Analyzer<'a> {
    #[must_use]
    pub fn new(catalog: &'a Catalog) -> Self {
        Self { catalog, named: Vec::new(), depth: 0, nodes: 0 }
    }

    /// The relation a query stands for.
    pub fn query(&mut self, query: &Query) -> Result<Logical> {
        self.deeper(query.span())?;
        let named_before = self.named.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        let plan = self.body(&query.body)?;
        refuse_around(query)?;
        self.named.truncate(named_before);
        self.depth -= 1;
        Ok(plan)
    }

    fn deeper(&mut self, at: impl Into<Pos>) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::invalid(at, "the query is nested too deeply"));
        }
        Ok(())
    }

    fn with(&mut self, with: &With) -> Result<()> {
        if with.recursive {
            return Err(SqlError::not_yet(with.span(), "WITH RECURSIVE"));
        }
        for cte in &with.cte_tables {
            let plan = self.query(&cte.query)?;
            let names: Vec<String> = cte.alias.columns.iter().map(|c| c.name.value.clone()).collect();
            let plan = renamed(plan, names, cte.alias.name.span.into())?;
            self.named.push((cte.alias.name.value.clone(), plan));
        }
        Ok(())
    }

    fn body(&mut self, body: &SetExpr) -> Result<Logical> {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right }
                if matches!(
                    set_quantifier,
                    SetQuantifier::All | SetQuantifier::None | SetQuantifier::Distinct
                ) =>
            {
                let at = right.span().into();
                self.deeper(at)?;
                let (left, right) = (self.body(left)?, self.body(right)?);
                self.depth -= 1;
                let all = union_all(left, right, at)?;
                if *set_quantifier == SetQuantifier::All { Ok(all) } else { distinct(all, at) }
            }
            SetExpr::SetOperation { op, left, .. } => Err(SqlError::not_yet(left.span(), op)),
            SetExpr::Values(_) => Err(SqlError::not_yet(body.span(), "VALUES")),
            SetExpr::Table(_) => Err(SqlError::not_yet(body.span(), "TABLE as a query")),
            _ => Err(SqlError::syntax(body.span(), "expected a query")),
        }
    }

    fn select(&mut self, select: &Select) -> Result<Logical> {
        refuse_foreign(select)?;
        let at: Pos = select.select_token.0.span.into();
        let (mut plan, scope) = self.from(&select.from, at)?;
        if let Some(selection) = &select.selection {
            plan = self.filtered(plan, &scope, selection)?;
        }
        plan = join::settled(plan, at)?;
        let plan = self.projected(select, plan, scope, at)?;
        match &select.distinct {
            None | Some(Distinct::All) => Ok(plan),
            Some(Distinct::Distinct) => distinct(plan, at),
            Some(Distinct::On(_)) => Err(SqlError::syntax(at, "DISTINCT ON is not Flink SQL")),
        }
    }

    /// What stands above FROM and WHERE: groups or none.
    fn projected(&mut self, select: &Select, plan: Logical, scope: Scope, at: Pos) -> Result<Logical> {
        let keys = match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) => {
                if let Some(modifier) = modifiers.first() {
                    return Err(SqlError::not_yet(at, modifier));
                }
                exprs.as_slice()
            }
            GroupByExpr::All(_) => return Err(SqlError::syntax(at, "GROUP BY ALL is not Flink SQL")),
        };
        if keys.is_empty() && select.having.is_none() {
            let overs = Rc::new(Overs::new(scope.clone(), &select.named_window));
            let seen = Scope { overs: Some(overs.clone()), ..scope.clone() };
            match projection(&select.projection, &seen) {
                Ok((exprs, names)) => {
                    let (plan, exprs) = overs.plan(plan, exprs)?;
                    return Ok(plan.project(exprs, names));
                }
                // An aggregate without GROUP BY makes one group of all rows.
                Err(e) if e.message == ILLEGAL_AGGREGATE => {}
                Err(e) => return Err(e),
            }
        }
        self.grouped(select, keys, plan, scope, at)
    }

    fn grouped(
        &mut self,
        select: &Select,
        parsed_keys: &[Parsed],
        plan: Logical,
        scope: Scope,
        at: Pos,
    ) -> Result<Logical> {
        let (mut keys, mut names, mut window) = (Vec::new(), Vec::new(), None);
        for parsed in parsed_keys {
            if let Parsed::Function(function) = parsed
                && let Some(kind) = group_window::name_of(function)
            {
                if window.replace(group_window::read(&scope, kind, function)?).is_some() {
                    return Err(SqlError::invalid(parsed.span(), "Multiple window functions in GROUP BY"));
                }
                continue;
            }
            refuse_grouping_sets(parsed)?;
            let key = scope.expr(parsed)?;
            if !keys.contains(&key) {
                names.push(match &key.node {
                    Node::Column { name, .. } => name.clone(),
                    _ => format!("$k{}", keys.len()),
                });
                keys.push(key);
            }
        }
        if let Some(window) = &mut window {
            window.event = time_of(&plan, window, at)? == TimeAttribute::Event;
        }
        let schema_below = scope.columns.clone();
        let grouping = Rc::new(Grouping { below: scope, keys, names, window, calls: Vec::new().into() });
        let seen = Scope { grouping: Some(grouping.clone()), ..Scope::of(None, schema_below) };
        let (exprs, names) = projection(&select.projection, &seen)?;
        let having = select.having.as_ref().map(|h| seen.condition(h, "HAVING")).transpose()?;
        let mut plan = aggregated(plan, &grouping, at)?;
        if let Some(condition) = having {
            plan = Logical::Filter { input: Box::new(plan), condition };
        }
        Ok(plan.project(exprs, names))
    }

    /// WHERE: conditions go as far down as they can; sub-queries become joins.
    fn filtered(&mut self, plan: Logical, scope: &Scope, selection: &Parsed) -> Result<Logical> {
        let mut conditions = Vec::new();
        let mut subqueries = Vec::new();
        for part in conjuncts_of(selection) {
            match part {
                Parsed::InSubquery { .. } | Parsed::Exists { .. } => subqueries.push((part, false)),
                Parsed::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr }
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
        let (query, negated, value) = match parsed {
            Parsed::InSubquery { expr, subquery, negated: not } => {
                (subquery, negated != *not, Some(scope.expr(expr)?))
            }
            Parsed::Exists { subquery, negated: not } => (subquery, negated != *not, None),
            _ => return Err(SqlError::not_yet(at, "a sub-query in an expression")),
        };
        let width = scope.columns.len();
        let (right, mut condition, outputs) = self.correlated(query, scope)?;
        if let Some(value) = value {
            let [output] = outputs.as_slice() else {
                return Err(SqlError::invalid(at, "the sub-query of IN must have one column"));
            };
            let equal = comparison(Comparison::Equal, value.clone(), output.clone(), at)?;
            let nullable = value.data_type.nullable || output.data_type.nullable;
            if negated && nullable {
                // NOT IN holds only where the comparison is false with every row: unknown counts as equal.
                let may =
                    Node::Is { test: crate::stream::expr::Test::False, negated: true, expr: Box::new(equal) };
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
                    && select.distinct.is_none()
                    && select.having.is_none()
                    && matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty()) =>
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
        let (mut plan, inner) = self.from(&select.from, at)?;
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

    /// A copy of a view's plan, counted.
    pub(super) fn bounded(&mut self, plan: &Logical, at: impl Into<Pos>) -> Result<Logical> {
        self.nodes = self.nodes.saturating_add(plan.size());
        if self.nodes > NODES_MAX {
            return Err(SqlError::invalid(
                at,
                format!("with its views put in, the query has more than {NODES_MAX} nodes"),
            ));
        }
        Ok(plan.clone())
    }
}

/// The time attribute that a group window is over.
fn time_of(plan: &Logical, window: &GroupWindow, at: Pos) -> Result<TimeAttribute> {
    let found = match &window.time.node {
        Node::Column { index, .. } => plan.times().get(*index).copied().flatten(),
        Node::Call(builtin, _) if builtin.name == "PROCTIME" => Some(TimeAttribute::Processing),
        _ => None,
    };
    found.ok_or_else(|| {
        let kind = &window.time.data_type.kind;
        SqlError::invalid(
            at,
            format!(
                "Window aggregate can only be defined over a time attribute column, but {kind} encountered."
            ),
        )
    })
}

/// The relation of the groups, its columns as [`Grouping`] has them.
fn aggregated(plan: Logical, grouping: &Grouping, at: Pos) -> Result<Logical> {
    let calls = grouping.calls.take();
    if let Some(window) = &grouping.window {
        let time = if window.event { Some(window.time.clone()) } else { None };
        let (input, calls) = gathered(plan, &grouping.keys, time, calls);
        let keys = grouping.keys.len();
        let time = if window.event { WindowTime::Event { column: keys } } else { WindowTime::Processing };
        let time_type = window.time.data_type.clone();
        let aggregate = WindowAggregate { input, window: window.window, time, time_type, keys, calls };
        return checked(aggregate, at);
    }
    let windowed = plan.window().and_then(|w| {
        let among = |columns: &[usize]| grouping.keys.iter().any(|k| is_one_of(k, columns));
        (among(&w.starts) && among(&w.ends)).then_some(w)
    });
    let Some(columns) = windowed else {
        let (input, calls) = gathered(plan, &grouping.keys, None, calls);
        return Ok(Logical::Aggregate(Box::new(Aggregate { input, keys: grouping.keys.len(), calls })));
    };
    // The window's own columns are no keys of the aggregate: it adds them again.
    let bound = |k: &Expr| -> Option<usize> {
        [&columns.starts, &columns.ends, &columns.times].iter().position(|c| is_one_of(k, c))
    };
    let keys: Vec<Expr> = grouping.keys.iter().filter(|k| bound(k).is_none()).cloned().collect();
    let found = calls.len();
    let aggregate = match fused(&plan, &keys, &calls, at)? {
        Some(aggregate) => aggregate,
        None => {
            let time_type = match plan.schema().get(columns.times.first().copied().unwrap_or(usize::MAX)) {
                Some((_, t)) => t.clone(),
                None => DataType::not_null(Type::Timestamp(3)),
            };
            let schema = plan.schema();
            let column = |c: Option<&usize>| {
                c.and_then(|c| schema.get(*c).map(|(n, t)| Expr::column(*c, n, t.clone())))
            };
            let (Some(start), Some(end)) = (column(columns.starts.first()), column(columns.ends.first()))
            else {
                return Err(SqlError::invalid(at, "the window's bounds are missing"));
            };
            let bounds = [start, end];
            let with_bounds: Vec<Expr> = keys.iter().chain(&bounds).cloned().collect();
            let (input, calls) = gathered(plan, &with_bounds, None, calls);
            let time = WindowTime::Attached { start: keys.len(), end: keys.len() + 1, event: columns.event };
            WindowAggregate { input, window: columns.window, time, time_type, keys: keys.len(), calls }
        }
    };
    let plan = checked(aggregate, at)?;
    // Back to the order of GROUP BY.
    let schema = plan.schema();
    let mut own = 0;
    let mut order = Vec::new();
    for key in &grouping.keys {
        order.push(match bound(key) {
            Some(bound) => keys.len() + bound,
            None => {
                own += 1;
                own - 1
            }
        });
    }
    order.extend((0..found).map(|i| keys.len() + 3 + i));
    let exprs = order.iter().filter_map(|i| schema.get(*i).map(|(n, t)| Expr::column(*i, n, t.clone())));
    let exprs: Vec<Expr> = exprs.collect();
    let names = grouping.names.iter().cloned().chain((0..found).map(|i| format!("$f{i}"))).collect();
    Ok(plan.project(exprs, names))
}

fn is_one_of(expr: &Expr, columns: &[usize]) -> bool {
    matches!(&expr.node, Node::Column { index, .. } if columns.contains(index))
}

/// The aggregate directly over a window table function's input, if nothing between them looks at the window.
fn fused(plan: &Logical, keys: &[Expr], calls: &[FoundCall], at: Pos) -> Result<Option<WindowAggregate>> {
    let (base, calc) = merged(plan);
    let Logical::WindowRows(rows) = base else { return Ok(None) };
    let width = rows.input.schema().len();
    let looks = |e: &Expr| {
        let mut found = false;
        e.columns(&mut |c| found |= c >= width);
        found
    };
    let below = |e: &Expr| e.over(&calc.project);
    let keys: Vec<Expr> = keys.iter().map(below).collect();
    let calls: Vec<FoundCall> = calls
        .iter()
        .map(|call| FoundCall {
            args: call.args.iter().map(below).collect(),
            filter: call.filter.as_ref().map(below),
            ..call.clone()
        })
        .collect();
    let mut all = keys.iter().chain(calls.iter().flat_map(|c| c.args.iter().chain(&c.filter)));
    let session = matches!(rows.window.shape, WindowShape::Session { .. });
    if all.any(looks) || calc.condition.as_ref().is_some_and(looks) {
        if rows.time == WindowTime::Processing {
            return Err(SqlError::not_yet(
                at,
                "an aggregate that reads the bounds of a processing-time window",
            ));
        }
        return Ok(None);
    }
    if session {
        let grouped = |c: &usize| keys.iter().any(|k| is_one_of(k, &[*c]));
        let only = keys.len() == rows.partition.len() && rows.partition.iter().all(grouped);
        if !only {
            return Ok(None);
        }
    }
    let mut input = rows.input.clone();
    if let Some(condition) = calc.condition {
        if session {
            // Sessions are made of all rows, also of those that are filtered out above.
            return Ok(None);
        }
        input = Logical::Filter { input: Box::new(input), condition };
    }
    let schema = input.schema();
    let (time_expr, time) = match rows.time {
        WindowTime::Event { column } => {
            let expr = schema.get(column).map(|(n, t)| Expr::column(column, n, t.clone()));
            (expr, WindowTime::Event { column: keys.len() })
        }
        WindowTime::Processing => (None, WindowTime::Processing),
        WindowTime::Attached { .. } => return Ok(None),
    };
    let count = keys.len();
    let (input, calls) = gathered(input, &keys, time_expr, calls);
    Ok(Some(WindowAggregate {
        input,
        window: rows.window,
        time,
        time_type: rows.time_type.clone(),
        keys: count,
        calls,
    }))
}

/// A projection of keys, time and arguments, and the calls over it.
fn gathered(
    plan: Logical,
    keys: &[Expr],
    time: Option<Expr>,
    calls: Vec<FoundCall>,
) -> (Logical, Vec<AggCall>) {
    let mut columns: Vec<Expr> = keys.iter().cloned().chain(time).collect();
    let mut column_of = |expr: Expr| -> usize {
        if let Some(index) = columns.iter().position(|c| *c == expr) {
            return index;
        }
        columns.push(expr);
        columns.len() - 1
    };
    let calls = calls.into_iter().map(|call| bound_call(call, &mut column_of)).collect();
    let name = |(i, e): (usize, &Expr)| match &e.node {
        Node::Column { name, .. } => name.clone(),
        _ => format!("$f{i}"),
    };
    let names = columns.iter().enumerate().map(name).collect();
    (plan.project(columns, names), calls)
}

fn checked(aggregate: WindowAggregate, at: Pos) -> Result<Logical> {
    let session = matches!(aggregate.window.shape, WindowShape::Session { .. });
    if session && !aggregate.input.changes().is_insert_only() {
        return Err(SqlError::not_yet(at, "a SESSION window over rows that change"));
    }
    Ok(Logical::WindowAggregate(Box::new(aggregate)))
}

/// Each row once.
fn distinct(plan: Logical, at: Pos) -> Result<Logical> {
    let schema = plan.schema();
    let keys: Vec<Expr> =
        schema.iter().enumerate().map(|(i, (n, t))| Expr::column(i, n, t.clone())).collect();
    let names: Vec<String> = schema.iter().map(|(n, _)| n.clone()).collect();
    let grouping =
        Grouping { below: Scope::of(None, schema), keys, names, window: None, calls: Vec::new().into() };
    aggregated(plan, &grouping, at)
}

/// The parts of a condition that must all hold.
fn conjuncts_of(parsed: &Parsed) -> Vec<&Parsed> {
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

fn refuse_grouping_sets(parsed: &Parsed) -> Result<()> {
    match parsed {
        Parsed::GroupingSets(_) => Err(SqlError::not_yet(parsed.span(), "GROUPING SETS")),
        Parsed::Cube(_) => Err(SqlError::not_yet(parsed.span(), "CUBE")),
        Parsed::Rollup(_) => Err(SqlError::not_yet(parsed.span(), "ROLLUP")),
        _ => Ok(()),
    }
}

/// Clauses around a query that need an end of the input.
fn refuse_around(query: &Query) -> Result<()> {
    let at = query.body.span();
    if let Some(order) = &query.order_by {
        return Err(SqlError::not_yet(order.span(), "ORDER BY"));
    }
    if let Some(limit) = &query.limit_clause {
        return Err(SqlError::not_yet(limit.span(), "LIMIT"));
    }
    if query.fetch.is_some() {
        return Err(SqlError::not_yet(at, "FETCH"));
    }
    let foreign = !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if foreign { Err(SqlError::syntax(at, "a clause of this query is not Flink SQL")) } else { Ok(()) }
}

fn refuse_foreign(select: &Select) -> Result<()> {
    let at: Pos = select.select_token.0.span.into();
    if let Some(qualify) = &select.qualify {
        return Err(SqlError::not_yet(qualify.span(), "QUALIFY"));
    }
    let foreign = select.top.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.value_table_mode.is_some()
        || select.select_modifiers.is_some()
        || !select.optimizer_hints.is_empty();
    if foreign { Err(SqlError::syntax(at, "a clause of this SELECT is not Flink SQL")) } else { Ok(()) }
}

fn projection(items: &[SelectItem], scope: &Scope) -> Result<(Vec<Expr>, Vec<String>)> {
    let (mut exprs, mut names) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            SelectItem::UnnamedExpr(parsed) => {
                exprs.push(scope.expr(parsed)?);
                names.push(match parsed {
                    Parsed::Identifier(ident) => ident.value.clone(),
                    Parsed::CompoundIdentifier(parts) => {
                        parts.last().map(|p| p.value.clone()).unwrap_or_default()
                    }
                    _ => format!("EXPR${}", exprs.len() - 1),
                });
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                exprs.push(scope.expr(expr)?);
                names.push(alias.value.clone());
            }
            SelectItem::Wildcard(options) => {
                all(options, scope, 0..scope.columns.len(), &mut exprs, &mut names)?;
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let qualifier = name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone());
                let Some(columns) = qualifier.and_then(|q| scope.relation(&q)) else {
                    return Err(SqlError::invalid(name.span(), format!("Table '{name}' not found")));
                };
                all(options, scope, columns, &mut exprs, &mut names)?;
            }
            _ => return Err(SqlError::syntax(item.span(), format!("'{item}' is not Flink SQL"))),
        }
    }
    unique(&mut names);
    Ok((exprs, names))
}

/// Columns of one name are told apart by a number, as Calcite does.
fn unique(names: &mut [String]) {
    for index in 0..names.len() {
        let (before, rest) = names.split_at_mut(index);
        let Some(name) = rest.first_mut() else { break };
        let base = name.clone();
        let mut number = 0;
        while before.contains(name) {
            *name = format!("{base}{number}");
            number += 1;
        }
    }
}

fn all(
    options: &WildcardAdditionalOptions,
    scope: &Scope,
    columns: std::ops::Range<usize>,
    exprs: &mut Vec<Expr>,
    names: &mut Vec<String>,
) -> Result<()> {
    let at = options.wildcard_token.0.span;
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if !plain {
        return Err(SqlError::syntax(at, "'*' with an addition is not Flink SQL"));
    }
    for (index, (name, data_type)) in scope.columns.iter().enumerate().skip(columns.start).take(columns.len())
    {
        if let Some(grouping) = &scope.grouping {
            let key = grouping.keys.iter().position(|k| is_one_of(k, &[index]));
            let Some(key) = key else {
                return Err(SqlError::invalid(at, format!("Expression '{name}' is not being grouped")));
            };
            exprs.push(Expr::column(key, name, data_type.clone()));
        } else {
            exprs.push(Expr::column(index, name, data_type.clone()));
        }
        names.push(name.clone());
    }
    Ok(())
}

pub(super) fn aliased(
    plan: Logical,
    default: Option<String>,
    alias: Option<&TableAlias>,
) -> Result<(Logical, Option<String>)> {
    let Some(alias) = alias else { return Ok((plan, default)) };
    let names = alias.columns.iter().map(|c| c.name.value.clone()).collect();
    let plan = renamed(plan, names, alias.name.span.into())?;
    Ok((plan, Some(alias.name.value.clone())))
}

/// The relation with other names for its columns; with none, unchanged.
pub(super) fn renamed(plan: Logical, names: Vec<String>, at: Pos) -> Result<Logical> {
    if names.is_empty() {
        return Ok(plan);
    }
    let schema = plan.schema();
    if schema.len() != names.len() {
        let message = format!("expected {} names of columns, found {}", schema.len(), names.len());
        return Err(SqlError::invalid(at, message));
    }
    let exprs = schema.into_iter().enumerate().map(|(i, (name, t))| Expr::column(i, &name, t)).collect();
    Ok(plan.project(exprs, names))
}

fn union_all(left: Logical, right: Logical, at: Pos) -> Result<Logical> {
    let (a, b) = (left.schema(), right.schema());
    if a.len() != b.len() {
        return Err(SqlError::invalid(at, "Column count mismatch in UNION ALL"));
    }
    let mut common = Vec::new();
    for (index, ((name, x), (_, y))) in a.iter().zip(&b).enumerate() {
        let merged = least_restrictive(x, y).ok_or_else(|| {
            SqlError::invalid(at, format!("Type mismatch in column {} of UNION ALL", index + 1))
        })?;
        common.push((name.clone(), merged));
    }
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

/// A filter, unless it is always true.
pub(super) fn filter(input: Logical, conditions: Vec<Expr>) -> Logical {
    let all = conditions.into_iter().filter(|c| !is_true(c)).reduce(|a, b| {
        let data_type = DataType::nullable(Type::Boolean);
        Expr::new(Node::And(Box::new(a), Box::new(b)), data_type)
    });
    match all {
        Some(condition) => Logical::Filter { input: Box::new(input), condition },
        None => input,
    }
}

/// TRUE, as an ON clause may say it.
pub(super) fn always() -> Expr {
    Expr::literal(Datum::Bool(true), Type::Boolean)
}
