//! Sub-queries with GROUP BY, HAVING or aggregates whose WHERE names the query around them: they are grouped also by what
//! the rows around them are compared with, and each of those meets the groups of its own.
//!
//! An aggregate without GROUP BY has no group for a row around it that finds nothing, so that IN and a value see no row
//! there, as on Flink: its decorrelation groups, too. (Calcite: RelDecorrelator)

use sqlparser::ast::{GroupByExpr, Select};

use super::{
    analyze::{Analyzer, Result, refuse_foreign, refuse_hints},
    analyze_expr::comparison,
    grouping::aggregated,
    logical::{Logical, Schema},
    membership::{Pair, Rows},
    qualify,
    scope::{Grouping, Scope},
    subquery::{divided, only_row},
};
use crate::stream::{
    expr::Expr,
    sql::{Pos, SqlError},
};

/// What is selected of the groups; behind it for each pair the column that is compared with a value around.
pub(super) struct Groups {
    plan: Logical,
    pairs: Vec<Pair>,
    /// Columns of what is selected.
    selected: usize,
    at: Pos,
}

impl Analyzer<'_> {
    /// Reads the sub-query again, which on its own is wrong for this reason; so it stays if nothing around it is named.
    pub(super) fn groups(
        &mut self,
        select: &Select,
        around: &Logical,
        outer: &Scope,
        error: SqlError,
    ) -> Result<Groups> {
        refuse_foreign(select)?;
        qualify::refuse(select)?;
        refuse_hints(select)?;
        let at: Pos = select.select_token.0.span.into();
        let keys = match &select.group_by {
            GroupByExpr::Expressions(keys, modifiers) if modifiers.is_empty() => keys.as_slice(),
            GroupByExpr::Expressions(..) | GroupByExpr::All(_) => return Err(error),
        };
        self.deeper(at)?;
        let (plan, inner) = self.from(&select.from)?;
        let (plan, shared) = match divided(select, plan, &inner, outer) {
            Ok((plan, shared)) if !shared.is_empty() => (plan, shared),
            Ok(_) | Err(_) => return Err(error),
        };
        let Rows { plan, pairs } = Rows::of(around, outer.columns.len(), plan, &shared, at)?;
        let more: Vec<Expr> = pairs.iter().map(|(_, _, own)| own.clone()).collect();
        let plan = self.grouped(select, (keys, &more), plan, inner, at)?;
        self.depth -= 1;
        let selected = plan.schema().len() - more.len();
        Ok(Groups { plan, pairs, selected, at })
    }
}

impl Groups {
    /// The relation, what holds between the columns around and its own, and what is selected; `behind` makes columns of a
    /// schema that are counted behind those around.
    pub(super) fn meeting(
        self,
        behind: impl Fn(Schema) -> Vec<Expr>,
    ) -> Result<(Logical, Vec<Expr>, Vec<Expr>)> {
        let mut selected = behind(self.plan.schema());
        let compared = selected.split_off(self.selected);
        let condition = met(self.pairs, compared, self.at)?;
        Ok((self.plan, condition, selected))
    }

    /// The row that holds a single value, how it meets the rows around it, and the value over the columns of both. Where
    /// a row may meet several groups it is for the job to see that there is one.
    pub(super) fn value(self, width: usize, at: Pos) -> Result<(Logical, Vec<Expr>, Expr)> {
        let Self { plan, pairs, selected, .. } = self;
        let schema = plan.schema();
        let column = |index: usize, by: usize| {
            schema.get(index).map(|(name, data_type)| Expr::column(by + index, name, data_type.clone()))
        };
        let keys: Vec<Expr> = (selected..schema.len()).filter_map(|index| column(index, 0)).collect();
        let one = plan.keys().iter().any(|key| key.iter().all(|column| *column >= selected));
        let Some(value) = column(0, 0) else { return Err(SqlError::invalid(at, "no column")) };
        let (plan, value, first) = if one {
            (plan, 0, selected)
        } else {
            let calls = vec![only_row(value)].into();
            let names = (0..keys.len()).map(|index| format!("$k{index}")).collect();
            let below = Scope::of(None, schema.clone());
            let grouping = Grouping { keys: keys.clone(), names, calls, ..Grouping::of(below) };
            (aggregated(plan, &grouping, at)?, keys.len(), 0)
        };
        let own: Vec<Expr> = plan
            .schema()
            .into_iter()
            .enumerate()
            .map(|(index, (name, data_type))| {
                Expr::column(width + index, &name, data_type.with_nullable(true))
            })
            .collect();
        let compared = own.iter().skip(first).take(keys.len()).cloned().collect();
        let condition = met(pairs, compared, at)?;
        let Some(value) = own.into_iter().nth(value) else { return Err(SqlError::invalid(at, "no column")) };
        Ok((plan, condition, value))
    }
}

fn met(pairs: Vec<Pair>, compared: Vec<Expr>, at: Pos) -> Result<Vec<Expr>> {
    let pairs = pairs.into_iter().zip(compared);
    pairs.map(|((outer, by, _), own)| comparison(by, outer, own, at)).collect()
}
