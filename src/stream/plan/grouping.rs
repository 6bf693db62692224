//! GROUP BY: keys, grouping sets and windows, and the aggregate that they make.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many nodes of an expression only a few are looked for here"
)]

use std::rc::Rc;

use sqlparser::ast::{Expr as Parsed, Select, Spanned};

use super::{
    aggregate::AggCall,
    analyze::{Analyzer, Result, projection},
    group_window,
    grouping_sets::GroupingSets,
    join,
    logical::{Aggregate, Logical, WindowAggregate},
    membership::Membership,
    over::bound_call,
    physical::merged,
    properties::TimeAttribute,
    scope::{FoundCall, GroupWindow, Grouping, Scope},
    subquery::{Found, Logic, conjuncts_of, is_value, values_in},
    types::{DataType, Type},
    window::{WindowShape, WindowTime},
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
    sql::{Pos, SqlError},
};

impl Analyzer<'_> {
    /// A SELECT with GROUP BY, or with aggregates, over its FROM and WHERE. Rows are grouped by `more` as well, which
    /// stands behind what is selected.
    pub(super) fn grouped(
        &mut self,
        select: &Select,
        (parsed_keys, more): (&[Parsed], &[Expr]),
        plan: Logical,
        scope: Scope,
        at: Pos,
    ) -> Result<Logical> {
        let mut window = None;
        let mut ordinary = Vec::new();
        for parsed in parsed_keys {
            match parsed {
                Parsed::Function(function) if group_window::name_of(function).is_some() => {
                    let Some(kind) = group_window::name_of(function) else { continue };
                    if window.replace(group_window::read(&scope, kind, function)?).is_some() {
                        return Err(SqlError::invalid(
                            parsed.span(),
                            "Multiple window functions in GROUP BY",
                        ));
                    }
                }
                _ => ordinary.push(parsed),
            }
        }
        if let Some(window) = &mut window {
            window.event = time_of(&plan, window, at)? == TimeAttribute::Event;
        }
        let (mut keys, mut sets) = GroupingSets::read(&scope, &ordinary)?;
        for key in more {
            sets.add(&mut keys, key, at)?;
        }
        let name = |(i, key): (usize, &Expr)| match &key.node {
            Node::Column { name, .. } => name.clone(),
            _ => format!("$k{i}"),
        };
        let names: Vec<String> = keys.iter().enumerate().map(name).collect();
        let (plan, expanded) = sets.expand(plan, &keys, &names, at)?;
        let schema_below = scope.columns.clone();
        let grouping =
            Rc::new(Grouping { below: scope, keys, names, expanded, window, calls: Vec::new().into() });
        let seen = Scope { grouping: Some(grouping.clone()), ..Scope::of(None, schema_below) };
        let (mut exprs, mut names) = projection(&select.projection, &seen)?;
        for key in more {
            exprs.extend(grouping.key(key));
            names.push(format!("$m{}", names.len()));
        }
        if let Some(having) = &select.having {
            self.gather(having, &plan, &seen)?;
        }
        let calls = grouping.calls.borrow().clone();
        let mut plan = aggregated(plan, &grouping, at)?;
        if let Some(having) = &select.having {
            grouping.calls.replace(calls);
            plan = self.having(having, plan, &seen, at)?;
        }
        Ok(plan.project(exprs, names))
    }

    /// Finds the aggregates in HAVING. Its sub-queries are not there yet: they meet the groups.
    fn gather(&mut self, having: &Parsed, plan: &Logical, seen: &Scope) -> Result<()> {
        let mut found = Vec::new();
        values_in(having, Logic::Unknown, &mut found);
        let mut values = Vec::new();
        for Found { parsed, .. } in found {
            let data_type = match (Membership::of(&parsed), &parsed) {
                (Some(membership), _) => {
                    membership.operands(seen)?;
                    DataType::nullable(Type::Boolean)
                }
                (None, Parsed::Subquery(query)) => {
                    self.single_value(query, plan, &Scope::default(), 0)?.2.data_type
                }
                (None, other) => return Err(SqlError::not_yet(other.span(), "a sub-query in an expression")),
            };
            values.push((parsed, Expr { data_type, ..Expr::literal(Datum::Null, Type::Null) }));
        }
        let seen = Scope { values: Rc::new(values), ..seen.clone() };
        seen.condition(having, "HAVING").map(|_| ())
    }

    /// HAVING over the groups. A sub-query may not name what is around it: Flink cannot run that either.
    fn having(&mut self, having: &Parsed, groups: Logical, seen: &Scope, at: Pos) -> Result<Logical> {
        let unnamed = groups.schema().into_iter().map(|(_, data_type)| (String::new(), data_type)).collect();
        let scope = Scope { grouping: seen.grouping.clone(), ..Scope::of(None, unnamed) };
        let parts = conjuncts_of(having).into_iter().filter(|part| is_value(part));
        let parts: Vec<(&Parsed, Logic)> = parts.map(|part| (part, Logic::False)).collect();
        let (plan, scope) = self.with_values(groups, scope, &parts)?;
        let plan = self.filtered(plan, &scope, having, "HAVING")?;
        join::settled(plan, at)
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
pub(super) fn aggregated(plan: Logical, grouping: &Grouping, at: Pos) -> Result<Logical> {
    let calls = grouping.calls.take();
    let grouped = grouping.grouped();
    if let Some(window) = &grouping.window {
        let time = if window.event { Some(window.time.clone()) } else { None };
        let (input, calls) = gathered(plan, &grouped, time, calls);
        let keys = grouped.len();
        let time = if window.event { WindowTime::Event { column: keys } } else { WindowTime::Processing };
        let time_type = window.time.data_type.clone();
        let aggregate =
            WindowAggregate { input, window: window.window.clone(), time, time_type, keys, calls };
        return checked(aggregate, at);
    }
    let windowed = plan.window().and_then(|w| {
        let among = |columns: &[usize]| grouped.iter().any(|k| is_one_of(k, columns));
        (among(&w.starts) && among(&w.ends)).then_some(w)
    });
    let Some(columns) = windowed else { return Ok(unbounded(plan, &grouped, calls)) };
    // The window's own columns are no keys of the aggregate: it adds them again.
    let bound = |k: &Expr| -> Option<usize> {
        [&columns.starts, &columns.ends, &columns.times].iter().position(|c| is_one_of(k, c))
    };
    let keys: Vec<Expr> = grouped.iter().filter(|k| bound(k).is_none()).cloned().collect();
    let found = calls.len();
    let aggregate = match above(&plan, &keys, &calls) {
        Above::Rows => return Ok(unbounded(plan, &grouped, calls)),
        Above::Input(aggregate) => *aggregate,
        Above::Window => {
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
    for key in &grouped {
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
    let names =
        (0..grouped.len()).map(|i| grouping.name(i)).chain((0..found).map(|i| format!("$f{i}"))).collect();
    Ok(plan.project(exprs, names))
}

pub(super) fn is_one_of(expr: &Expr, columns: &[usize]) -> bool {
    matches!(&expr.node, Node::Column { index, .. } if columns.contains(index))
}

/// Groups of rows as they come, whatever window they are in.
fn unbounded(plan: Logical, grouped: &[Expr], calls: Vec<FoundCall>) -> Logical {
    let (input, calls) = gathered(plan, grouped, None, calls);
    Logical::Aggregate(Box::new(Aggregate { input, keys: grouped.len(), calls, ttl_ms: None }))
}

/// What an aggregate that groups by a window's bounds stands above.
enum Above {
    /// The window table function's input: nothing between them looks at the window.
    Input(Box<WindowAggregate>),
    /// The function's rows, which have a processing time each: Flink does not wait for such a window's end when somebody
    /// looks at its bounds.
    Rows,
    /// Rows that have their window with them.
    Window,
}

fn above(plan: &Logical, keys: &[Expr], calls: &[FoundCall]) -> Above {
    let (base, calc) = merged(plan);
    let Logical::WindowRows(rows) = base else { return Above::Window };
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
        return if rows.time == WindowTime::Processing { Above::Rows } else { Above::Window };
    }
    if session {
        let grouped = |c: &usize| keys.iter().any(|k| is_one_of(k, &[*c]));
        let only = keys.len() == rows.partition.len() && rows.partition.iter().all(grouped);
        if !only {
            return Above::Window;
        }
    }
    let mut input = rows.input.clone();
    if let Some(condition) = calc.condition {
        if session {
            // Sessions are made of all rows, also of those that are filtered out above.
            return Above::Window;
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
        WindowTime::Attached { .. } => return Above::Window,
    };
    let count = keys.len();
    let (input, calls) = gathered(input, &keys, time_expr, calls);
    Above::Input(Box::new(WindowAggregate {
        input,
        window: rows.window.clone(),
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
pub(super) fn distinct(plan: Logical, at: Pos) -> Result<Logical> {
    let schema = plan.schema();
    let keys: Vec<Expr> =
        schema.iter().enumerate().map(|(i, (n, t))| Expr::column(i, n, t.clone())).collect();
    let names: Vec<String> = schema.iter().map(|(n, _)| n.clone()).collect();
    let grouping = Grouping { keys, names, ..Grouping::of(Scope::of(None, schema)) };
    aggregated(plan, &grouping, at)
}
