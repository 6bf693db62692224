//! ORDER BY, LIMIT, OFFSET and FETCH around a query: the first rows of an order, or all rows in the order of time.
//! (Flink: StreamExecSortLimit, StreamExecLimit, StreamExecTemporalSort)
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's clauses are many, and most are not Flink's"
)]

use sqlparser::ast::{
    Expr as Parsed, Ident, LimitClause, OrderBy, OrderByExpr, OrderByKind, OrderBySort, Query, Select,
    SelectItem, SetExpr, Spanned, Value,
};

use super::{
    analyze::{Analyzer, Result},
    logical::{Logical, Rank, RankKind, Sort, SortKey},
    properties::TimeAttribute,
};
use crate::stream::{
    expr::Expr,
    sql::{Pos, SqlError, reserved},
};

/// What a query says of how many rows it wants, counted from one.
struct Bounds {
    start: u64,
    end: Option<u64>,
}

impl Analyzer<'_> {
    /// The body of a query in its order, cut to its limits.
    pub(super) fn ordered(&mut self, query: &Query) -> Result<Logical> {
        let at: Pos = query.body.span().into();
        let bounds = bounds(query)?;
        let items = query.order_by.as_ref().map(order_items).transpose()?.unwrap_or_default();
        if items.is_empty() {
            let plan = self.body(&query.body)?;
            return first(plan, Vec::new(), bounds, at);
        }
        let (body, added) = with_order(&query.body, items)?;
        let plan = self.body(&body)?;
        let schema = plan.schema();
        let width = schema.len() - added;
        let (mut order, mut next) = (Vec::new(), width);
        for item in items {
            let column = match position(item, &body, width)? {
                Some(column) => column,
                None => {
                    next += 1;
                    next - 1
                }
            };
            order.push(sort_options(item, column)?);
        }
        let plan = first(plan, order, bounds, items.first().map_or(at, |item| item.expr.span().into()))?;
        if added == 0 {
            return Ok(plan);
        }
        let exprs =
            schema.iter().take(width).enumerate().map(|(i, (n, t))| Expr::column(i, n, t.clone())).collect();
        Ok(plan.project(exprs, schema.iter().take(width).map(|(name, _)| name.clone()).collect()))
    }
}

fn bounds(query: &Query) -> Result<Bounds> {
    let (mut limit, mut offset) = (None, 0);
    match &query.limit_clause {
        None => {}
        Some(LimitClause::LimitOffset { limit: given, offset: from, limit_by }) if limit_by.is_empty() => {
            limit = given.as_ref().map(count).transpose()?;
            offset = from.as_ref().map(|from| count(&from.value)).transpose()?.unwrap_or(0);
        }
        Some(other) => return Err(SqlError::syntax(other.span(), "this form of LIMIT is not Flink SQL")),
    }
    if let Some(fetch) = &query.fetch {
        let at: Pos = query.body.span().into();
        if fetch.with_ties || fetch.percent {
            return Err(SqlError::syntax(at, "FETCH … WITH TIES and PERCENT are not Flink SQL"));
        }
        limit = Some(fetch.quantity.as_ref().map(count).transpose()?.unwrap_or(1));
    }
    if limit.is_none() && offset > 0 {
        return Err(SqlError::invalid(
            query.body.span(),
            "FETCH is missed, which on streaming table is not supported currently.",
        ));
    }
    Ok(Bounds { start: offset.saturating_add(1), end: limit.map(|limit| offset.saturating_add(limit)) })
}

fn count(parsed: &Parsed) -> Result<u64> {
    let number = match parsed {
        Parsed::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    };
    number.ok_or_else(|| SqlError::invalid(parsed.span(), "LIMIT and OFFSET need a whole number"))
}

fn order_items(order: &OrderBy) -> Result<&[OrderByExpr]> {
    match &order.kind {
        OrderByKind::Expressions(items) if order.interpolate.is_none() => Ok(items),
        _ => Err(SqlError::syntax(order.span(), "this form of ORDER BY is not Flink SQL")),
    }
}

/// The body with a column more for each item of the order that is none of its own, and how many those are.
fn with_order(body: &SetExpr, items: &[OrderByExpr]) -> Result<(SetExpr, usize)> {
    let SetExpr::Select(given) = body else { return Ok((body.clone(), 0)) };
    let mut select: Select = (**given).clone();
    let mut added = 0;
    for item in items.iter().filter(|item| !names_output(item, given)) {
        if select.distinct.is_some() {
            let message = "ORDER BY of a SELECT DISTINCT must name its columns";
            return Err(SqlError::invalid(item.expr.span(), message));
        }
        let alias = Ident::new(format!("$order{added}"));
        select.projection.push(SelectItem::ExprWithAlias { expr: item.expr.clone(), alias });
        added += 1;
    }
    Ok((SetExpr::Select(Box::new(select)), added))
}

/// Whether it is the number of a column, or the name that the SELECT gives one.
fn names_output(item: &OrderByExpr, select: &Select) -> bool {
    match &item.expr {
        Parsed::Value(_) => true,
        Parsed::Identifier(ident) => select.projection.iter().any(|output| match output {
            SelectItem::ExprWithAlias { alias, .. } => alias.value == ident.value,
            SelectItem::UnnamedExpr(Parsed::Identifier(name)) => name.value == ident.value,
            _ => false,
        }),
        _ => false,
    }
}

/// The column of the output that an item names; `None` if a column was added for it.
fn position(item: &OrderByExpr, body: &SetExpr, width: usize) -> Result<Option<usize>> {
    if let Parsed::Value(_) = &item.expr {
        let place = count(&item.expr)?.checked_sub(1).and_then(|n| usize::try_from(n).ok());
        return match place.filter(|place| *place < width) {
            Some(place) => Ok(Some(place)),
            None => Err(SqlError::invalid(item.expr.span(), "Ordinal out of range")),
        };
    }
    let SetExpr::Select(select) = body else {
        return Err(SqlError::not_yet(
            item.expr.span(),
            "ORDER BY of a UNION by anything but a column's number",
        ));
    };
    if !names_output(item, select) {
        return Ok(None);
    }
    let Parsed::Identifier(ident) = &item.expr else { return Ok(None) };
    reserved::name(ident)?;
    // With a `*` before it, its place cannot be counted here.
    let named = |output: &SelectItem| match output {
        SelectItem::ExprWithAlias { alias, .. } => alias.value == ident.value,
        SelectItem::UnnamedExpr(Parsed::Identifier(name)) => name.value == ident.value,
        _ => false,
    };
    let is_star =
        |output: &SelectItem| matches!(output, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let place = select.projection.iter().position(named);
    let counted = place.is_some_and(|place| !select.projection.iter().take(place).any(is_star));
    if counted { Ok(place) } else { Err(SqlError::not_yet(ident.span, "ORDER BY of a column behind '*'")) }
}

fn sort_options(item: &OrderByExpr, column: usize) -> Result<SortKey> {
    let at = item.expr.span();
    let descending = match item.options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(_) => return Err(SqlError::syntax(at, "expected ASC or DESC")),
    };
    if item.with_fill.is_some() {
        return Err(SqlError::syntax(at, "WITH FILL is not Flink SQL"));
    }
    // NULLs are the smallest values. (Flink: FlinkPlannerImpl.defaultNullCollation = LOW)
    Ok(SortKey { column, descending, nulls_first: item.options.nulls_first.unwrap_or(!descending) })
}

fn first(input: Logical, order: Vec<SortKey>, bounds: Bounds, at: Pos) -> Result<Logical> {
    if let Some(end) = bounds.end {
        let kind = RankKind::Top;
        let (partition, start) = (Vec::new(), bounds.start);
        let rank = Rank { input, partition, order, start, end, numbered: false, kind };
        let schema = rank.input.schema();
        let exprs = schema.iter().enumerate().map(|(i, (n, t))| Expr::column(i, n, t.clone())).collect();
        let names = schema.iter().map(|(name, _)| name.clone()).collect();
        return Ok(Logical::Rank(Box::new(rank)).project(exprs, names));
    }
    let Some(by) = order.first() else { return Ok(input) };
    let attribute = input.times().get(by.column).copied().flatten().filter(|_| !by.descending);
    let Some(attribute) = attribute else {
        return Ok(Logical::Sort(Box::new(Sort { input, order, event: None, at })));
    };
    let event = Some(attribute == TimeAttribute::Event);
    Ok(Logical::Sort(Box::new(Sort { input, order, event, at })))
}
