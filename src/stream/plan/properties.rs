//! What a relation's tree says of its columns and rows: which columns are time attributes, which are a window's bounds,
//! whether rows are only added, and which columns name a row. Flink keeps the first in its types and the rest in planner
//! metadata.

use super::{
    logical::{Join, JoinKind, JoinShape, Logical, RankKind},
    types::Type,
    window::Window,
};
use crate::stream::expr::{Expr, Node};

/// Whose clock a column follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeAttribute {
    Event,
    Processing,
}

/// What may come besides `+I`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changelog {
    pub updates: bool,
    pub deletes: bool,
}

impl Changelog {
    pub const INSERT_ONLY: Self = Self { updates: false, deletes: false };
    pub const ALL: Self = Self { updates: true, deletes: true };

    #[must_use]
    pub fn is_insert_only(self) -> bool {
        self == Self::INSERT_ONLY
    }

    fn or(self, other: Self) -> Self {
        Self { updates: self.updates || other.updates, deletes: self.deletes || other.deletes }
    }
}

/// Columns that hold the bounds of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowColumns {
    pub window: Window,
    pub event: bool,
    pub starts: Vec<usize>,
    pub ends: Vec<usize>,
    pub times: Vec<usize>,
}

impl WindowColumns {
    fn moved(&self, by: usize) -> Self {
        let all = |columns: &[usize]| columns.iter().map(|c| c + by).collect();
        Self { starts: all(&self.starts), ends: all(&self.ends), times: all(&self.times), ..self.clone() }
    }

    /// As seen through a projection.
    fn through(&self, exprs: &[Expr]) -> Option<Self> {
        let all = |columns: &[usize]| -> Vec<usize> {
            let kept = exprs
                .iter()
                .enumerate()
                .filter(|(_, e)| matches!(&e.node, Node::Column { index, .. } if columns.contains(index)));
            kept.map(|(i, _)| i).collect()
        };
        let seen = Self {
            starts: all(&self.starts),
            ends: all(&self.ends),
            times: all(&self.times),
            ..self.clone()
        };
        (!seen.ends.is_empty()).then_some(seen)
    }
}

impl Logical {
    /// Which columns are time attributes.
    #[must_use]
    pub fn times(&self) -> Vec<Option<TimeAttribute>> {
        let width = self.schema().len();
        match self {
            Self::Filter { input, .. } | Self::Normalize { input, .. } => input.times(),
            Self::Expand(expand) => padded(expand.input.times(), width),
            Self::Sort(sort) => sort.input.times(),
            Self::Over(over) => padded(over.input.times(), width),
            Self::Rank(rank) => padded(rank.input.times(), width),
            Self::Unnest(unnest) => padded(unnest.input.times(), width),
            Self::Project { input, exprs, .. } => {
                let times = input.times();
                let of = |e: &Expr| {
                    if let Node::Column { index, .. } = &e.node {
                        return times.get(*index).copied().flatten();
                    }
                    let clock = matches!(&e.node, Node::Call(builtin, _) if builtin.name == "PROCTIME");
                    clock.then_some(TimeAttribute::Processing)
                };
                exprs.iter().map(of).collect()
            }
            Self::UnionAll { inputs } => {
                let all: Vec<_> = inputs.iter().map(Self::times).collect();
                let Some((first, others)) = all.split_first() else { return Vec::new() };
                let agreed = |i: usize, t: Option<TimeAttribute>| {
                    t.filter(|_| others.iter().all(|o| o.get(i).copied().flatten() == t))
                };
                first.iter().enumerate().map(|(i, t)| agreed(i, *t)).collect()
            }
            Self::Watermark { input, column } => {
                let mut times = input.times();
                if let Some(time) = times.get_mut(*column) {
                    *time = Some(TimeAttribute::Event);
                }
                times
            }
            Self::Aggregate(_) | Self::Scan(_) => vec![None; width],
            Self::Join(join) => match join.shape {
                JoinShape::Interval { .. } => {
                    let mut times = join.left.times();
                    times.extend(join.right.times());
                    times.truncate(width);
                    times
                }
                JoinShape::Window { .. } | JoinShape::Temporal { .. } => padded(join.left.times(), width),
                JoinShape::Regular | JoinShape::Undecided => vec![None; width],
            },
            Self::WindowAggregate(a) => {
                let mut times = vec![None; width];
                if let Some(time) = times.get_mut(a.keys + 2) {
                    *time = Some(a.time.attribute());
                }
                times
            }
            Self::WindowRows(rows) => {
                let mut times = rows.input.times();
                // The rows' own time is an ordinary column from here on.
                times.iter_mut().for_each(|t| *t = None);
                times = padded(times, width);
                if let Some(time) = times.last_mut() {
                    *time = Some(rows.time.attribute());
                }
                times
            }
        }
    }

    /// The window that all rows belong to, if the columns say so.
    #[must_use]
    pub fn window(&self) -> Option<WindowColumns> {
        match self {
            Self::Expand(expand) => expand.input.window(),
            Self::Sort(sort) => sort.input.window(),
            Self::Filter { input, .. } | Self::Watermark { input, .. } => input.window(),
            Self::Project { input, exprs, .. } => input.window()?.through(exprs),
            Self::Rank(rank) if matches!(rank.kind, RankKind::Window { .. }) => rank.input.window(),
            Self::Unnest(unnest) => unnest.input.window(),
            Self::WindowAggregate(a) => Some(WindowColumns {
                window: a.window.clone(),
                event: a.time.attribute() == TimeAttribute::Event,
                starts: vec![a.keys],
                ends: vec![a.keys + 1],
                times: vec![a.keys + 2],
            }),
            Self::WindowRows(rows) => {
                let width = rows.input.schema().len();
                Some(WindowColumns {
                    window: rows.window.clone(),
                    event: rows.time.attribute() == TimeAttribute::Event,
                    starts: vec![width],
                    ends: vec![width + 1],
                    times: vec![width + 2],
                })
            }
            Self::Join(join) if matches!(join.shape, JoinShape::Window { .. }) => {
                let mut window = join.left.window()?;
                if !join.kind.is_left_only() {
                    let right = join.right.window()?.moved(join.left.schema().len());
                    window.starts.extend(right.starts);
                    window.ends.extend(right.ends);
                    window.times.extend(right.times);
                }
                Some(window)
            }
            Self::Aggregate(_)
            | Self::Join(_)
            | Self::Normalize { .. }
            | Self::Over(_)
            | Self::Rank(_)
            | Self::Scan(_)
            | Self::UnionAll { .. } => None,
        }
    }

    /// What kinds of rows come out.
    #[must_use]
    pub fn changes(&self) -> Changelog {
        match self {
            Self::Aggregate(a) => Changelog { updates: true, deletes: !a.input.changes().is_insert_only() },
            Self::Expand(expand) => expand.input.changes(),
            Self::Filter { input, .. } | Self::Project { input, .. } | Self::Watermark { input, .. } => {
                input.changes()
            }
            Self::Join(join) => {
                let both = join.left.changes().or(join.right.changes());
                match (&join.shape, join.kind) {
                    (JoinShape::Interval { .. } | JoinShape::Window { .. }, _) => Changelog::INSERT_ONLY,
                    (JoinShape::Temporal { .. }, _) => join.left.changes(),
                    (JoinShape::Regular | JoinShape::Undecided, JoinKind::Inner | JoinKind::Semi) => both,
                    (JoinShape::Regular | JoinShape::Undecided, _) => Changelog::ALL,
                }
            }
            Self::Normalize { .. } => Changelog::ALL,
            Self::Over(_)
            | Self::Scan(_)
            | Self::Sort(_)
            | Self::WindowAggregate(_)
            | Self::WindowRows(_) => Changelog::INSERT_ONLY,
            Self::Rank(rank) => match rank.kind {
                RankKind::Deduplicate { keep_last: false, event: false } | RankKind::Window { .. } => {
                    Changelog::INSERT_ONLY
                }
                RankKind::Deduplicate { .. } => Changelog { updates: true, deletes: false },
                // The first rows that come stay the first.
                RankKind::Top if rank.order.is_empty() && rank.input.changes().is_insert_only() => {
                    Changelog::INSERT_ONLY
                }
                RankKind::Top => Changelog::ALL,
            },
            Self::UnionAll { inputs } => {
                inputs.iter().map(Self::changes).fold(Changelog::INSERT_ONLY, Changelog::or)
            }
            Self::Unnest(unnest) => unnest.input.changes(),
        }
    }

    /// Sets of columns by which a later row replaces an earlier one.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<usize>> {
        match self {
            Self::Aggregate(a) => vec![(0..a.keys).collect()],
            Self::Filter { input, .. } | Self::Watermark { input, .. } => input.keys(),
            Self::Project { input, exprs, .. } => {
                let place = |column: usize| exprs.iter().position(|e| names_column(e, column));
                let through = |key: &Vec<usize>| key.iter().map(|c| place(*c)).collect::<Option<Vec<_>>>();
                input.keys().iter().filter_map(through).collect()
            }
            Self::Join(join) => join.keys(),
            Self::Normalize { key, .. } => vec![key.clone()],
            Self::Rank(rank) => {
                let mut keys = Vec::new();
                if rank.start == rank.end {
                    keys.push(rank.partition.clone());
                } else if rank.numbered {
                    let mut key = rank.partition.clone();
                    key.push(rank.input.schema().len());
                    keys.push(key);
                }
                if !rank.numbered {
                    keys.extend(rank.input.keys());
                }
                keys
            }
            Self::WindowAggregate(a) => vec![(0..a.keys + 2).collect()],
            Self::Over(over) => over.input.keys(),
            Self::Sort(sort) => sort.input.keys(),
            Self::Expand(_)
            | Self::Scan(_)
            | Self::UnionAll { .. }
            | Self::Unnest(_)
            | Self::WindowRows(_) => Vec::new(),
        }
    }

    /// The operator that makes updates, by Flink's name for it.
    #[must_use]
    pub fn updater(&self) -> &'static str {
        match self {
            Self::Aggregate(_) => "GroupAggregate",
            Self::Join(_) => "Join",
            Self::Normalize { .. } => "ChangelogNormalize",
            Self::Rank(rank) if rank.kind == RankKind::Top => "Rank",
            Self::Rank(_) => "Deduplicate",
            Self::Expand(_)
            | Self::Filter { .. }
            | Self::Over(_)
            | Self::Project { .. }
            | Self::Scan(_)
            | Self::Sort(_)
            | Self::UnionAll { .. }
            | Self::Unnest(_)
            | Self::Watermark { .. }
            | Self::WindowAggregate(_)
            | Self::WindowRows(_) => {
                let updating = self.inputs().into_iter().find(|i| !i.changes().is_insert_only());
                updating.map_or("Values", Self::updater)
            }
        }
    }

    /// Whether a window, or anything else that waits for a watermark, is in it.
    #[must_use]
    pub fn drops_late_rows(&self) -> bool {
        let own = match self {
            Self::WindowAggregate(_) | Self::Over(_) => true,
            Self::Sort(sort) => sort.event == Some(true),
            Self::Rank(rank) => matches!(rank.kind, RankKind::Window { .. }),
            Self::Join(join) => matches!(join.shape, JoinShape::Window { .. }),
            Self::WindowRows(rows) => matches!(rows.window.shape, super::window::WindowShape::Session { .. }),
            Self::Aggregate(_)
            | Self::Expand(_)
            | Self::Filter { .. }
            | Self::Normalize { .. }
            | Self::Project { .. }
            | Self::Scan(_)
            | Self::UnionAll { .. }
            | Self::Unnest(_)
            | Self::Watermark { .. } => false,
        };
        own || self.inputs().into_iter().any(Self::drops_late_rows)
    }
}

impl Join {
    fn keys(&self) -> Vec<Vec<usize>> {
        let left = self.left.keys();
        if self.kind.is_left_only() {
            return left;
        }
        let width = self.left.schema().len();
        let right = self.right.keys();
        let pairs = self.equal_columns();
        let moved = |key: &Vec<usize>| -> Vec<usize> { key.iter().map(|c| c + width).collect() };
        let mut keys = Vec::new();
        // A side whose key is in the join's condition adds at most one row to each row of the other.
        if !self.kind.keeps_right() && right.iter().any(|k| k.iter().all(|c| pairs.iter().any(|p| p.1 == *c)))
        {
            keys.extend(left.iter().cloned());
        }
        if !self.kind.keeps_left() && left.iter().any(|k| k.iter().all(|c| pairs.iter().any(|p| p.0 == *c))) {
            keys.extend(right.iter().map(moved));
        }
        for l in &left {
            keys.extend(right.iter().map(|r| l.iter().copied().chain(moved(r)).collect::<Vec<_>>()));
        }
        keys
    }
}

/// Whether an expression tells as many values apart as a column does.
fn names_column(expr: &Expr, column: usize) -> bool {
    if let Node::Cast { expr: of, .. } = &expr.node {
        let (from, to) = (&of.data_type.kind, &expr.data_type.kind);
        let widens = from.is_integer() && to.is_integer() && super::types::casts_implicitly(from, to)
            || from.is_string() && *to == Type::STRING;
        return widens && names_column(of, column);
    }
    matches!(expr.node, Node::Column { index, .. } if index == column)
}

fn padded(mut times: Vec<Option<TimeAttribute>>, width: usize) -> Vec<Option<TimeAttribute>> {
    times.resize(width, None);
    times
}
