//! Joins: conditions put where they belong, and how two streams meet: by window, by time, at a time, or for ever.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the many nodes of an expression only a few are looked for here"
)]

use super::{
    analyze::{Result, always, filter},
    logical::{Join, JoinKind, JoinShape, Logical, Rank, is_true},
    over,
    physical::merged,
    properties::TimeAttribute,
    types::Type,
};
use crate::stream::{
    datum::Datum,
    expr::{Comparison, Expr, Node},
    sql::{Pos, SqlError},
};

/// The parts of a condition that must all hold.
pub(super) fn conjuncts(condition: Expr) -> Vec<Expr> {
    match condition.node {
        Node::And(a, b) => {
            let mut parts = conjuncts(*a);
            parts.extend(conjuncts(*b));
            parts
        }
        node => {
            let condition = Expr::new(node, condition.data_type);
            if is_true(&condition) { Vec::new() } else { vec![condition] }
        }
    }
}

/// Conditions of WHERE over a relation: into inner joins, onto the side that they speak of, and into a Top-N.
pub(super) fn push_down(plan: Logical, conditions: Vec<Expr>, at: Pos) -> Result<Logical> {
    match plan {
        Logical::Join(mut join) if join.shape == JoinShape::Undecided || is_temporal(&join) => {
            let width = join.left.schema().len();
            let (mut left, mut right, mut both, mut above) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for condition in conditions {
                match side(&condition, width) {
                    Side::Left if !join.kind.keeps_right() => left.push(condition),
                    Side::Right if join.kind == JoinKind::Inner && !is_temporal(&join) => {
                        right.push(moved(&condition, width));
                    }
                    Side::Both if join.kind == JoinKind::Inner && !is_temporal(&join) => both.push(condition),
                    Side::Both | Side::Left | Side::Right => above.push(condition),
                }
            }
            join.left = push_down(join.left, left, at)?;
            join.right = push_down(join.right, right, at)?;
            join.condition.extend(both);
            Ok(filter(Logical::Join(join), above))
        }
        plan => top(plan, conditions, at),
    }
}

fn is_temporal(join: &Join) -> bool {
    matches!(join.shape, JoinShape::Temporal { .. })
}

pub(super) enum Side {
    Both,
    Left,
    Right,
}

pub(super) fn side(condition: &Expr, width: usize) -> Side {
    let (mut left, mut right) = (false, false);
    condition.columns(&mut |c| if c < width { left = true } else { right = true });
    match (left, right) {
        (true, true) => Side::Both,
        (false, true) => Side::Right,
        (_, false) => Side::Left,
    }
}

/// An expression over the right side's columns, counted from its own start.
pub(super) fn moved(expr: &Expr, width: usize) -> Expr {
    let mut by: Vec<Expr> = Vec::new();
    collect(expr, &mut |index, name, data_type| {
        if by.len() <= index {
            by.resize(index + 1, always());
        }
        if let Some(slot) = by.get_mut(index) {
            *slot = Expr::column(index.saturating_sub(width), name, data_type.clone());
        }
    });
    expr.over(&by)
}

fn collect(expr: &Expr, visit: &mut dyn FnMut(usize, &str, &super::types::DataType)) {
    if let Node::Column { index, name } = &expr.node {
        visit(*index, name, &expr.data_type);
    }
    expr.each_child(&mut |child| collect(child, visit));
}

/// A filter on a ROW_NUMBER makes a Top-N of it.
fn top(plan: Logical, conditions: Vec<Expr>, at: Pos) -> Result<Logical> {
    let (base, calc) = merged(&plan);
    let Logical::Over(over) = base else { return Ok(filter(plan, conditions)) };
    let [call] = over.calls.as_slice() else { return Ok(filter(plan, conditions)) };
    let number = over.input.schema().len();
    let (mut start, mut end, mut rest) = (1, None, Vec::new());
    for condition in &conditions {
        match bound(&condition.over(&calc.project), number) {
            Some(Bound { at_least, at_most }) => {
                start = at_least.map_or(start, |b| b.max(start));
                end = at_most.map(|b| end.map_or(b, |e: i64| e.min(b))).or(end);
            }
            None => rest.push(condition.clone()),
        }
    }
    let Some(end) = end else {
        if start > 1 {
            return Err(SqlError::invalid(at, "Rank end is not specified."));
        }
        return Ok(filter(plan, conditions));
    };
    let name = match call {
        super::logical::OverCall::RowNumber => None,
        super::logical::OverCall::Rank => Some("RANK"),
        super::logical::OverCall::DenseRank => Some("DENSE_RANK"),
        super::logical::OverCall::Aggregate(_) => return Ok(filter(plan, conditions)),
    };
    if let Some(name) = name {
        return Err(SqlError::invalid(at, format!("{name}() on streaming table is not supported currently")));
    }
    let whole = |n: i64| u64::try_from(n.max(0)).unwrap_or(0);
    let rank = Rank {
        input: over.input.clone(),
        partition: over.partition.clone(),
        order: over.order.clone(),
        start: whole(start),
        end: whole(end),
        numbered: end > 1,
        kind: over::rank_kind(over, whole(end), end > 1),
    };
    let ranked = filter(Logical::Rank(Box::new(rank)), calc.condition.into_iter().collect());
    Ok(filter(ranked.project(calc.project, calc.names), rest))
}

struct Bound {
    at_least: Option<i64>,
    at_most: Option<i64>,
}

/// What a condition says of a column, if it says nothing else.
fn bound(condition: &Expr, column: usize) -> Option<Bound> {
    let Node::Compare(op, a, b) = &condition.node else { return None };
    let number = |e: &Expr| match &e.node {
        Node::Literal(Datum::Int(n)) => Some(*n),
        Node::Cast { expr, .. } => match &expr.node {
            Node::Literal(Datum::Int(n)) => Some(*n),
            _ => None,
        },
        _ => None,
    };
    let is_it = |e: &Expr| matches!(e.node, Node::Column { index, .. } if index == column);
    let (op, n) = if is_it(a) {
        (*op, number(b)?)
    } else if is_it(b) {
        (flipped(*op), number(a)?)
    } else {
        return None;
    };
    let (at_least, at_most) = match op {
        Comparison::Equal => (Some(n), Some(n)),
        Comparison::Less => (None, Some(n - 1)),
        Comparison::LessOrEqual => (None, Some(n)),
        Comparison::Greater => (Some(n + 1), None),
        Comparison::GreaterOrEqual => (Some(n), None),
        Comparison::NotEqual | Comparison::NotDistinct => return None,
    };
    Some(Bound { at_least, at_most })
}

fn flipped(op: Comparison) -> Comparison {
    match op {
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Equal | Comparison::NotEqual | Comparison::NotDistinct => op,
    }
}

/// Decides how the joins of a FROM run, now that all conditions are in them.
pub(super) fn settled(plan: Logical, at: Pos) -> Result<Logical> {
    match plan {
        Logical::Join(mut join) => {
            join.left = settled(join.left, at)?;
            join.right = settled(join.right, at)?;
            if join.shape == JoinShape::Undecided {
                join.shape = JoinShape::Regular;
                decide(&mut join, at)?;
            }
            Ok(Logical::Join(join))
        }
        Logical::Filter { input, condition } => {
            Ok(Logical::Filter { input: Box::new(settled(*input, at)?), condition })
        }
        plan => Ok(plan),
    }
}

fn decide(join: &mut Join, at: Pos) -> Result<()> {
    if let Some(shape) = by_window(join) {
        require_inserts(join, "WindowJoin", at)?;
        join.shape = shape;
        return Ok(());
    }
    if let Some((shape, rest)) = by_interval(join) {
        require_inserts(join, "IntervalJoin", at)?;
        (join.shape, join.condition) = (shape, rest);
    }
    Ok(())
}

fn require_inserts(join: &Join, name: &str, at: Pos) -> Result<()> {
    for side in [&join.left, &join.right] {
        if !side.changes().is_insert_only() {
            return Err(SqlError::invalid(
                at,
                format!(
                    "{name} doesn't support consuming update changes which is produced by node {}",
                    side.updater()
                ),
            ));
        }
    }
    Ok(())
}

/// Both sides are in windows of one kind, and the windows' bounds must be equal.
fn by_window(join: &Join) -> Option<JoinShape> {
    let (left, right) = (join.left.window()?, join.right.window()?);
    if left.window != right.window || !left.event || !right.event {
        return None;
    }
    let pairs = join.equal_columns();
    pairs.iter().find(|(l, r)| left.starts.contains(l) && right.starts.contains(r))?;
    let (l, r) = pairs.iter().find(|(l, r)| left.ends.contains(l) && right.ends.contains(r))?;
    Some(JoinShape::Window { left: *l, right: *r })
}

/// The times of both sides must be near each other.
fn by_interval(join: &Join) -> Option<(JoinShape, Vec<Expr>)> {
    if join.kind.is_left_only() {
        return None;
    }
    let width = join.left.schema().len();
    let mut times = join.left.times();
    times.truncate(width);
    times.extend(join.right.times());
    let mut found: Option<(usize, usize, TimeAttribute)> = None;
    let (mut at_least, mut at_most) = (None::<i64>, None::<i64>);
    let mut rest = Vec::new();
    for condition in &join.condition {
        let Some((l, r, op, by)) = distance(condition, width, &times) else {
            rest.push(condition.clone());
            continue;
        };
        let attribute = times.get(l).copied().flatten()?;
        if times.get(r).copied().flatten() != Some(attribute) || found.is_some_and(|f| f != (l, r, attribute))
        {
            rest.push(condition.clone());
            continue;
        }
        found = Some((l, r, attribute));
        let least = match op {
            Comparison::Equal | Comparison::GreaterOrEqual => Some(by),
            Comparison::Greater => Some(by + 1),
            Comparison::Less | Comparison::LessOrEqual | Comparison::NotEqual | Comparison::NotDistinct => {
                None
            }
        };
        let most = match op {
            Comparison::Equal | Comparison::LessOrEqual => Some(by),
            Comparison::Less => Some(by - 1),
            Comparison::Greater
            | Comparison::GreaterOrEqual
            | Comparison::NotEqual
            | Comparison::NotDistinct => None,
        };
        at_least = least.map(|b| at_least.map_or(b, |a| a.max(b))).or(at_least);
        at_most = most.map(|b| at_most.map_or(b, |a| a.min(b))).or(at_most);
    }
    let (left, right, attribute) = found?;
    let shape = JoinShape::Interval {
        left,
        right: right - width,
        at_least: at_least?,
        at_most: at_most?,
        event: attribute == TimeAttribute::Event,
    };
    Some((shape, rest))
}

/// `left - right <op> milliseconds`, for a comparison of two time attributes of different sides.
fn distance(
    condition: &Expr,
    width: usize,
    times: &[Option<TimeAttribute>],
) -> Option<(usize, usize, Comparison, i64)> {
    let Node::Compare(op, a, b) = &condition.node else { return None };
    if matches!(op, Comparison::NotEqual | Comparison::NotDistinct) {
        return None;
    }
    let ((i, x), (j, y)) = (shifted(a)?, shifted(b)?);
    times.get(i).copied().flatten()?;
    times.get(j).copied().flatten()?;
    match (i < width, j < width) {
        (true, false) => Some((i, j, *op, y - x)),
        (false, true) => Some((j, i, flipped(*op), x - y)),
        _ => None,
    }
}

/// A column and what is added to it.
fn shifted(expr: &Expr) -> Option<(usize, i64)> {
    match &expr.node {
        Node::Column { index, .. } => Some((*index, 0)),
        Node::Shift(of, by) if by.data_type.kind == Type::IntervalDay => {
            let (index, before) = shifted(of)?;
            match by.node {
                Node::Literal(Datum::Int(ms)) => Some((index, before + ms)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// FOR SYSTEM_TIME AS OF.
pub(super) fn temporal(
    left: &Logical,
    right: &Logical,
    time: &Expr,
    condition: &[Expr],
    kind: JoinKind,
    at: Pos,
) -> Result<JoinShape> {
    let invalid = |message: &str| Err(SqlError::invalid(at, message));
    let Node::Column { index, .. } = time.node else {
        return invalid(
            "Temporal table join currently only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field",
        );
    };
    match left.times().get(index).copied().flatten() {
        Some(TimeAttribute::Event | TimeAttribute::Processing) => {}
        None => {
            return invalid(
                "Temporal table join currently only supports 'FOR SYSTEM_TIME AS OF' left table's time attribute field",
            );
        }
    }
    if !matches!(kind, JoinKind::Inner | JoinKind::Left) {
        return invalid("Temporal table join currently only supports INNER JOIN and LEFT JOIN");
    }
    let join = Join {
        kind,
        left: left.clone(),
        right: right.clone(),
        condition: condition.to_vec(),
        shape: JoinShape::Undecided,
        ttl_ms: [None; 2],
    };
    let pairs = join.equal_columns();
    let keys = right.keys();
    if keys.is_empty() {
        return invalid(
            "Temporal Table Join requires primary key in versioned table, but no primary key can be found.",
        );
    }
    if !keys.iter().any(|key| key.iter().all(|c| pairs.iter().any(|(_, r)| r == c))) {
        return invalid(
            "Temporal table's primary key must be included in the equivalence condition of temporal join",
        );
    }
    if left.times().get(index).copied().flatten() == Some(TimeAttribute::Processing) {
        return invalid("Processing-time temporal join is not supported yet.");
    }
    let right_time = right.times().iter().position(|t| *t == Some(TimeAttribute::Event));
    let Some(right_time) = right_time else {
        return invalid(
            "Event-Time Temporal Table Join requires both primary key and row time attribute in versioned table, but no \
             row time attribute can be found.",
        );
    };
    Ok(JoinShape::Temporal { left: index, right: right_time })
}
