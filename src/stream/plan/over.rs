//! OVER: what is computed for each row over the rows before it.

use std::cell::RefCell;

use sqlparser::ast::{
    Expr as Parsed, Function, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, OrderBySort, Spanned,
    WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::{
    lag,
    logical::{Frame, Logical, Over, OverCall, RankKind, Schema, SortKey},
    properties::TimeAttribute,
    scope::{FoundCall, Scope, found_call, is_aggregate},
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
    plan::aggregate::AggCall,
    sql::{Pos, SqlError, reserved},
};

type Result<T> = std::result::Result<T, SqlError>;

/// The OVER calls of one SELECT, gathered while its expressions are read. All have one window, as on Flink.
#[derive(Debug, Default)]
pub struct Overs {
    below: Scope,
    named: Vec<NamedWindowDefinition>,
    found: RefCell<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    spec: OverSpec,
    calls: Vec<FoundOver>,
    at: Pos,
}

#[derive(Debug, Clone, PartialEq)]
struct OverSpec {
    partition: Vec<Expr>,
    order: Vec<(Expr, bool, bool)>,
    frame: Frame,
}

#[derive(Debug, Clone, PartialEq)]
enum FoundOver {
    Aggregate(FoundCall),
    DenseRank,
    Rank,
    RowNumber,
}

impl Overs {
    #[must_use]
    pub fn new(below: Scope, named: &[NamedWindowDefinition]) -> Self {
        Self { below, named: named.to_vec(), found: RefCell::new(None) }
    }

    /// The result of a call: a column behind those of the input.
    pub(super) fn register(&self, function: &Function) -> Result<Expr> {
        let at: Pos = function.name.span().into();
        let name = function.name.to_string().replace('`', "").to_ascii_uppercase();
        let (mut spec, framed) = self.spec(function.over.as_ref(), at)?;
        let (call, data_type) = match name.as_str() {
            "ROW_NUMBER" => (FoundOver::RowNumber, DataType::not_null(Type::BigInt)),
            "RANK" => (FoundOver::Rank, DataType::not_null(Type::BigInt)),
            "DENSE_RANK" => (FoundOver::DenseRank, DataType::not_null(Type::BigInt)),
            "LAG" if framed => {
                // Flink's words.
                let message = "ROW/RANGE not allowed with RANK, DENSE_RANK or ROW_NUMBER functions";
                return Err(SqlError::invalid(at, message));
            }
            "LAG" => {
                let call = lag::found(&self.below, function, at)?;
                let data_type = call.data_type.clone();
                (FoundOver::Aggregate(call), data_type)
            }
            "LEAD" => return Err(SqlError::invalid(at, "LEAD Function is not supported in stream mode.")),
            _ if is_aggregate(&name) => {
                let call = found_call(&self.below, &name, function, true, at)?;
                let data_type = call.data_type.clone();
                (FoundOver::Aggregate(call), data_type)
            }
            _ => return Err(SqlError::not_yet(at, format!("{name} OVER"))),
        };
        // Rows are numbered one by one, also those of one time.
        if !matches!(call, FoundOver::Aggregate(_)) {
            spec.frame = Frame::RowsAll;
        }
        let mut found = self.found.borrow_mut();
        let found = found.get_or_insert_with(|| Found { spec: spec.clone(), calls: Vec::new(), at });
        if found.spec != spec {
            return Err(SqlError::invalid(at, "All aggregates must be computed on the same window."));
        }
        let index = match found.calls.iter().position(|c| *c == call) {
            Some(index) => index,
            None => {
                found.calls.push(call);
                found.calls.len() - 1
            }
        };
        Ok(Expr::column(self.below.columns.len() + index, &format!("w0$o{index}"), data_type))
    }

    /// The window, and whether it says how far it reaches.
    fn spec(&self, over: Option<&WindowType>, at: Pos) -> Result<(OverSpec, bool)> {
        let spec = match over {
            Some(WindowType::WindowSpec(spec)) => spec,
            Some(WindowType::NamedWindow(name)) => self.named(&reserved::name(name)?, name.span.into())?,
            None => return Err(SqlError::syntax(at, "OVER is missing")),
        };
        if let Some(name) = &spec.window_name {
            return Err(SqlError::not_yet(name.span, "a window that refines a named one"));
        }
        let mut partition = Vec::new();
        for parsed in &spec.partition_by {
            partition.push(self.below.expr(parsed)?);
        }
        let mut order = Vec::new();
        for item in &spec.order_by {
            order.push(sort_key(&self.below, item)?);
        }
        let frame = spec.window_frame.as_ref().map(|f| self.frame(f, at)).transpose()?;
        let spec = OverSpec { partition, order, frame: frame.unwrap_or(Frame::RangeAll) };
        Ok((spec, frame.is_some()))
    }

    fn named(&self, name: &str, at: Pos) -> Result<&WindowSpec> {
        match self.named.iter().find(|NamedWindowDefinition(n, _)| n.value == name) {
            Some(NamedWindowDefinition(_, NamedWindowExpr::WindowSpec(spec))) => Ok(spec),
            Some(NamedWindowDefinition(_, NamedWindowExpr::NamedWindow(other))) => {
                Err(SqlError::not_yet(other.span, "a window that is named by another"))
            }
            None => Err(SqlError::invalid(at, format!("Window '{name}' not found"))),
        }
    }

    fn frame(&self, frame: &WindowFrame, at: Pos) -> Result<Frame> {
        if !matches!(frame.end_bound, None | Some(WindowFrameBound::CurrentRow)) {
            return Err(SqlError::invalid(at, "OVER RANGE FOLLOWING windows are not supported yet."));
        }
        let bound = match &frame.start_bound {
            WindowFrameBound::CurrentRow => None,
            WindowFrameBound::Preceding(None) => {
                return Ok(match frame.units {
                    WindowFrameUnits::Rows => Frame::RowsAll,
                    WindowFrameUnits::Range => Frame::RangeAll,
                    WindowFrameUnits::Groups => return Err(SqlError::syntax(at, "GROUPS is not Flink SQL")),
                });
            }
            WindowFrameBound::Preceding(Some(bound)) => Some(self.below.expr(bound)?),
            WindowFrameBound::Following(_) => {
                return Err(SqlError::invalid(at, "OVER RANGE FOLLOWING windows are not supported yet."));
            }
        };
        let amount = match bound.as_ref().map(|b| &b.node) {
            None => 0,
            Some(Node::Literal(Datum::Int(n))) if *n >= 0 => *n,
            Some(_) => return Err(SqlError::invalid(at, "the bound of a window must be a literal")),
        };
        match (frame.units, bound.map(|b| b.data_type.kind)) {
            (WindowFrameUnits::Rows, None | Some(Type::Int | Type::BigInt)) => {
                Ok(Frame::Rows(u64::try_from(amount).unwrap_or(0)))
            }
            (WindowFrameUnits::Range, None | Some(Type::IntervalDay)) => Ok(Frame::Range(amount)),
            (WindowFrameUnits::Range, Some(_)) => {
                Err(SqlError::invalid(at, "RANGE needs an INTERVAL of days to seconds"))
            }
            (WindowFrameUnits::Rows, Some(_)) => Err(SqlError::invalid(at, "ROWS needs a whole number")),
            (WindowFrameUnits::Groups, _) => Err(SqlError::syntax(at, "GROUPS is not Flink SQL")),
        }
    }

    /// The relation with the results behind its columns, and the expressions that read it; or what was given, when
    /// nothing is computed OVER anything.
    pub(super) fn plan(&self, input: Logical, exprs: Vec<Expr>) -> Result<(Logical, Vec<Expr>)> {
        let Some(found) = self.found.take() else { return Ok((input, exprs)) };
        let width = self.below.columns.len();
        let mut columns: Vec<Expr> = identity(&self.below.columns);
        let mut names: Vec<String> = self.below.columns.iter().map(|(name, _)| name.clone()).collect();
        let mut column_of = |expr: Expr| -> usize {
            if let Some(index) = columns.iter().position(|c| *c == expr) {
                return index;
            }
            names.push(format!("$e{}", columns.len()));
            columns.push(expr);
            columns.len() - 1
        };
        let partition: Vec<usize> = found.spec.partition.into_iter().map(&mut column_of).collect();
        let mut order = Vec::new();
        for (expr, descending, nulls_first) in found.spec.order {
            order.push(SortKey { column: column_of(expr), descending, nulls_first });
        }
        let mut calls = Vec::new();
        for call in found.calls {
            calls.push(match call {
                FoundOver::Aggregate(call) => OverCall::Aggregate(bound_call(call, &mut column_of)),
                FoundOver::DenseRank => OverCall::DenseRank,
                FoundOver::Rank => OverCall::Rank,
                FoundOver::RowNumber => OverCall::RowNumber,
            });
        }
        let inner = columns.len();
        let input = input.project(columns, names);
        let over = Over { input, partition, order, frame: found.spec.frame, calls, at: found.at };
        let over = Logical::Over(Box::new(over));
        let schema = over.schema();
        let seen: Vec<Expr> = schema
            .iter()
            .enumerate()
            .filter(|(i, _)| *i < width || *i >= inner)
            .map(|(i, (name, t))| Expr::column(i, name, t.clone()))
            .collect();
        let exprs = exprs.iter().map(|e| e.over(&seen)).collect();
        Ok((over, exprs))
    }
}

/// An aggregate with its arguments made columns.
pub(super) fn bound_call(call: FoundCall, column_of: &mut impl FnMut(Expr) -> usize) -> AggCall {
    let arg_types = call.args.iter().map(|a| a.data_type.kind.clone()).collect();
    AggCall {
        function: call.function,
        args: call.args.into_iter().map(&mut *column_of).collect(),
        arg_types,
        distinct: call.distinct,
        filter: call.filter.map(column_of),
        separator: call.separator,
        data_type: call.data_type,
    }
}

fn identity(columns: &Schema) -> Vec<Expr> {
    columns.iter().enumerate().map(|(i, (name, t))| Expr::column(i, name, t.clone())).collect()
}

fn sort_key(scope: &Scope, item: &OrderByExpr) -> Result<(Expr, bool, bool)> {
    let at = item.expr.span();
    let descending = match item.options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(_) => return Err(SqlError::syntax(at, "expected ASC or DESC")),
    };
    // NULLs are the smallest values. (Flink: FlinkPlannerImpl.defaultNullCollation = LOW)
    let nulls_first = item.options.nulls_first.unwrap_or(!descending);
    if item.with_fill.is_some() {
        return Err(SqlError::syntax(at, "WITH FILL is not Flink SQL"));
    }
    if matches!(item.expr, Parsed::Value(_)) {
        return Err(SqlError::not_yet(at, "ORDER BY of a literal"));
    }
    Ok((scope.expr(&item.expr)?, descending, nulls_first))
}

/// Whether an OVER that no filter has made a Top-N can run: its order must be time.
pub(super) fn check(over: &Over, at: Pos) -> Result<()> {
    if !over.input.changes().is_insert_only() {
        return Err(SqlError::invalid(
            at,
            format!(
                "OverAggregate doesn't support consuming update changes which is produced by node {}",
                over.input.updater()
            ),
        ));
    }
    let times = over.input.times();
    let by_time = match over.order.as_slice() {
        [key] => times.get(key.column).copied().flatten().is_some(),
        _ => false,
    };
    if !by_time {
        return Err(SqlError::not_yet(
            at,
            "OVER in an order that is not an ascending time attribute (but for ROW_NUMBER with a filter on it)",
        ));
    }
    if over.order.iter().any(|key| key.descending) {
        return Err(SqlError::invalid(at, "OVER windows' ordering in stream mode must be ascending."));
    }
    Ok(())
}

/// What a filter on a ROW_NUMBER keeps.
pub(super) fn rank_kind(over: &Over, end: u64, numbered: bool) -> RankKind {
    let times = over.input.times();
    let time_of = |column: usize| times.get(column).copied().flatten();
    if let Some(window) = over.input.window()
        && over.partition.iter().any(|c| window.starts.contains(c))
        && let Some(end_column) = over.partition.iter().find(|c| window.ends.contains(c))
        && window.event
    {
        return RankKind::Window { end: *end_column };
    }
    match over.order.as_slice() {
        [key] if end == 1 && !numbered && over.input.changes().is_insert_only() => {
            match time_of(key.column) {
                Some(time) => {
                    RankKind::Deduplicate { keep_last: key.descending, event: time == TimeAttribute::Event }
                }
                None => RankKind::Top,
            }
        }
        _ => RankKind::Top,
    }
}
