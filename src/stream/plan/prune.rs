//! Columns that nobody reads are left out, so that nothing keeps them in its state.

use super::{
    logical::{Join, JoinShape, Logical, Over, OverCall, Rank, Sort, Unnest, WindowRows},
    types::{DataType, Type},
};
use crate::stream::expr::{Expr, Node};

/// The relation with exactly the used columns.
#[must_use]
pub fn prune(plan: Logical, used: &[bool]) -> Logical {
    match plan {
        Logical::Project { input, exprs, names } => {
            let kept: Vec<(Expr, String)> = exprs
                .into_iter()
                .zip(names)
                .zip(used)
                .filter(|(_, used)| **used)
                .map(|(column, _)| column)
                .collect();
            let (exprs, names): (Vec<Expr>, Vec<String>) = kept.into_iter().unzip();
            let below = Used::of(&input).reading(&exprs);
            let exprs = below.renumber(&exprs);
            Logical::Project { input: Box::new(prune(*input, &below.used)), exprs, names }
        }
        Logical::Filter { input, condition } => {
            let below = Used::given(used).reading([&condition]);
            let condition = below.renumbered(&condition);
            let kept = Logical::Filter { input: Box::new(prune(*input, &below.used)), condition };
            below.cut(kept, used)
        }
        Logical::Watermark { input, column } => {
            let mut below = Used::given(used);
            below.mark(column);
            let kept = Logical::Watermark {
                column: below.place(column),
                input: Box::new(prune(*input, &below.used)),
            };
            below.cut(kept, used)
        }
        Logical::UnionAll { inputs } => {
            Logical::UnionAll { inputs: inputs.into_iter().map(|input| prune(input, used)).collect() }
        }
        Logical::Join(join) => prune_join(*join, used),
        Logical::Over(over) => prune_over(*over, used),
        Logical::Rank(rank) => prune_rank(*rank, used),
        Logical::Unnest(unnest) => prune_unnest(*unnest, used),
        Logical::WindowRows(rows) => prune_window_rows(*rows, used),
        Logical::Expand(mut expand) => {
            expand.input = whole(expand.input);
            Used::all(used.len()).cut(Logical::Expand(expand), used)
        }
        Logical::Sort(sort) => prune_sort(*sort, used),
        Logical::Aggregate(mut aggregate) => {
            aggregate.input = whole(aggregate.input);
            Used::all(used.len()).cut(Logical::Aggregate(aggregate), used)
        }
        Logical::WindowAggregate(mut aggregate) => {
            aggregate.input = whole(aggregate.input);
            Used::all(used.len()).cut(Logical::WindowAggregate(aggregate), used)
        }
        plan @ (Logical::Normalize { .. } | Logical::Scan(_)) => Used::all(used.len()).cut(plan, used),
    }
}

/// The relation with all its columns, pruned below.
#[must_use]
pub fn whole(plan: Logical) -> Logical {
    let all = vec![true; plan.schema().len()];
    prune(plan, &all)
}

/// Which columns of a relation are read.
struct Used {
    used: Vec<bool>,
}

impl Used {
    fn of(plan: &Logical) -> Self {
        Self { used: vec![false; plan.schema().len()] }
    }

    fn all(width: usize) -> Self {
        Self { used: vec![true; width] }
    }

    fn given(used: &[bool]) -> Self {
        Self { used: used.to_vec() }
    }

    fn mark(&mut self, column: usize) {
        if let Some(used) = self.used.get_mut(column) {
            *used = true;
        }
    }

    fn reading<'a>(mut self, exprs: impl IntoIterator<Item = &'a Expr>) -> Self {
        for expr in exprs {
            expr.columns(&mut |c| self.mark(c));
        }
        self
    }

    /// Where a column is when the unused ones are gone.
    fn place(&self, column: usize) -> usize {
        self.used.iter().take(column).filter(|used| **used).count()
    }

    fn renumbered(&self, expr: &Expr) -> Expr {
        let mut columns: Vec<Expr> =
            self.used.iter().map(|_| Expr::column(0, "", DataType::nullable(Type::Null))).collect();
        each_column(expr, &mut |index, name, data_type| {
            if let Some(slot) = columns.get_mut(index) {
                *slot = Expr::column(self.place(index), name, data_type.clone());
            }
        });
        expr.over(&columns)
    }

    fn renumber(&self, exprs: &[Expr]) -> Vec<Expr> {
        exprs.iter().map(|e| self.renumbered(e)).collect()
    }

    /// The plan, which has these columns, with only those that are wanted of it.
    fn cut(&self, plan: Logical, wanted: &[bool]) -> Logical {
        if self.used == wanted {
            return plan;
        }
        let schema = plan.schema();
        let mut exprs = Vec::new();
        let mut names = Vec::new();
        for (column, _) in wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
            let place = self.place(column);
            if let Some((name, data_type)) = schema.get(place) {
                exprs.push(Expr::column(place, name, data_type.clone()));
                names.push(name.clone());
            }
        }
        plan.project(exprs, names)
    }
}

fn each_column(expr: &Expr, visit: &mut dyn FnMut(usize, &str, &DataType)) {
    if let Node::Column { index, name } = &expr.node {
        visit(*index, name, &expr.data_type);
    }
    expr.each_child(&mut |child| each_column(child, visit));
}

fn prune_join(mut join: Join, used: &[bool]) -> Logical {
    let width = join.left.schema().len();
    let right_width = join.right.schema().len();
    let mut all = Used { used: used.to_vec() };
    all.used.resize(width + right_width, false);
    let mut all = all.reading(&join.condition);
    match join.shape {
        JoinShape::Interval { left, right, .. }
        | JoinShape::Temporal { left, right }
        | JoinShape::Window { left, right } => {
            all.mark(left);
            all.mark(right + width);
        }
        JoinShape::Regular | JoinShape::Undecided => {}
    }
    // What names a row makes its changes replace each other, so it is kept where the side changes.
    for (side, from) in [(&join.left, 0), (&join.right, width)] {
        if !side.changes().is_insert_only() {
            side.keys().first().into_iter().flatten().for_each(|c| all.mark(c + from));
        }
    }
    let (left_used, right_used) = all.used.split_at(width);
    let right = Used { used: right_used.to_vec() };
    let left = Used { used: left_used.to_vec() };
    join.shape = match join.shape {
        JoinShape::Interval { left: l, right: r, at_least, at_most, event } => {
            JoinShape::Interval { left: left.place(l), right: right.place(r), at_least, at_most, event }
        }
        JoinShape::Temporal { left: l, right: r } => {
            JoinShape::Temporal { left: left.place(l), right: right.place(r) }
        }
        JoinShape::Window { left: l, right: r } => {
            JoinShape::Window { left: left.place(l), right: right.place(r) }
        }
        shape @ (JoinShape::Regular | JoinShape::Undecided) => shape,
    };
    join.condition = all.renumber(&join.condition);
    join.left = prune(join.left, &left.used);
    join.right = prune(join.right, &right.used);
    let out = if join.kind.is_left_only() { left } else { all };
    out.cut(Logical::Join(Box::new(join)), used)
}

fn prune_over(mut over: Over, used: &[bool]) -> Logical {
    let width = over.input.schema().len();
    let mut below = Used { used: used.iter().copied().take(width).collect() };
    over.partition.iter().for_each(|c| below.mark(*c));
    over.order.iter().for_each(|key| below.mark(key.column));
    for call in &over.calls {
        if let OverCall::Aggregate(call) = call {
            call.args.iter().chain(&call.filter).for_each(|c| below.mark(*c));
        }
    }
    over.partition.iter_mut().for_each(|c| *c = below.place(*c));
    over.order.iter_mut().for_each(|key| key.column = below.place(key.column));
    for call in &mut over.calls {
        if let OverCall::Aggregate(call) = call {
            call.args.iter_mut().chain(&mut call.filter).for_each(|c| *c = below.place(*c));
        }
    }
    over.input = prune(over.input, &below.used);
    let mut out = below;
    out.used.extend(over.calls.iter().map(|_| true));
    out.cut(Logical::Over(Box::new(over)), used)
}

fn prune_sort(mut sort: Sort, used: &[bool]) -> Logical {
    let mut below = Used::given(used);
    sort.order.iter().for_each(|key| below.mark(key.column));
    sort.order.iter_mut().for_each(|key| key.column = below.place(key.column));
    sort.input = prune(sort.input, &below.used);
    below.cut(Logical::Sort(Box::new(sort)), used)
}

fn prune_rank(mut rank: Rank, used: &[bool]) -> Logical {
    let width = rank.input.schema().len();
    rank.numbered &= used.last().copied().unwrap_or(false);
    let mut below = Used { used: used.iter().copied().take(width).collect() };
    rank.partition.iter().for_each(|c| below.mark(*c));
    rank.order.iter().for_each(|key| below.mark(key.column));
    if !rank.input.changes().is_insert_only() {
        rank.input.keys().first().into_iter().flatten().for_each(|c| below.mark(*c));
    }
    if let super::logical::RankKind::Window { end } = &mut rank.kind {
        below.mark(*end);
        *end = below.place(*end);
    }
    rank.partition.iter_mut().for_each(|c| *c = below.place(*c));
    rank.order.iter_mut().for_each(|key| key.column = below.place(key.column));
    rank.input = prune(rank.input, &below.used);
    let mut out = below;
    out.used.push(true);
    out.cut(Logical::Rank(Box::new(rank)), used)
}

fn prune_unnest(mut unnest: Unnest, used: &[bool]) -> Logical {
    let width = unnest.input.schema().len();
    let below = Used { used: used.iter().copied().take(width).collect() }.reading([&unnest.array]);
    unnest.array = below.renumbered(&unnest.array);
    unnest.input = prune(unnest.input, &below.used);
    let mut out = below;
    out.used.extend(unnest.columns.iter().map(|_| true));
    out.cut(Logical::Unnest(Box::new(unnest)), used)
}

fn prune_window_rows(mut rows: WindowRows, used: &[bool]) -> Logical {
    let width = rows.input.schema().len();
    let mut below = Used { used: used.iter().copied().take(width).collect() };
    if let super::window::WindowTime::Event { column } = &mut rows.time {
        below.mark(*column);
    }
    rows.partition.iter().for_each(|c| below.mark(*c));
    if let super::window::WindowTime::Event { column } = &mut rows.time {
        *column = below.place(*column);
    }
    rows.partition.iter_mut().for_each(|c| *c = below.place(*c));
    rows.input = prune(rows.input, &below.used);
    let mut out = below;
    out.used.extend([true; 3]);
    out.cut(Logical::WindowRows(Box::new(rows)), used)
}
