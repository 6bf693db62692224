//! Sub-queries in ON: single values, and EXISTS where it must hold. They stand beside the right side of the join, whose
//! rows wait for what EXISTS asks for.
//!
//! Flink 2.2 has no plan for more: IN, ANY, ALL and sub-queries that name what is around them end in errors of its planner,
//! and NOT EXISTS never holds there. (Calcite: SubQueryRemoveRule.matchJoin)

use std::rc::Rc;

use sqlparser::ast::{Expr as Parsed, Query, Spanned};

use super::{
    analyze::{Analyzer, Result, always},
    join,
    logical::{JoinKind, Logical},
    membership::{Membership, where_there_are_rows},
    scope::Scope,
    subquery::{Logic, beside, conjuncts_of, values_in},
};
use crate::stream::{
    expr::Expr,
    sql::{Pos, SqlError},
};

impl Analyzer<'_> {
    /// The right side with what the sub-queries of ON have beside it, and the conditions over the columns of both.
    pub(super) fn on(
        &mut self,
        on: &Parsed,
        left: &Scope,
        (right, right_scope): (Logical, &mut Scope),
        kind: JoinKind,
    ) -> Result<(Logical, Vec<Expr>)> {
        let mut right = right;
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for part in conjuncts_of(on) {
            if let Some(query) = must_exist(part, kind) {
                let rows = self.query(query)?;
                right = where_there_are_rows(right, right_scope, rows, part.span().into())?;
                continue;
            }
            parts.push(part);
            let mut found = Vec::new();
            values_in(part, Logic::Unknown, &mut found);
            for parsed in found.into_iter().map(|found| found.parsed) {
                let at: Pos = parsed.span().into();
                let Parsed::Subquery(query) = &parsed else {
                    let message = "Flink has no plan for this sub-query in ON: only for a value and for EXISTS, which \
                                   must hold, in inner and left joins";
                    return Err(SqlError::invalid(at, message));
                };
                let width = right_scope.columns.len();
                let (row, condition, value) = self.single_value(query, &right, &Scope::default(), width)?;
                right = join::settled(beside(right, right_scope, row, JoinKind::Left, condition), at)?;
                values.push((parsed, value));
            }
        }
        let behind: Vec<Expr> = right_scope
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, t))| Expr::column(left.columns.len() + index, name, t.clone()))
            .collect();
        let values = values.into_iter().map(|(parsed, value)| (parsed, value.over(&behind))).collect();
        let both = Scope { values: Rc::new(values), ..left.clone().beside(right_scope.clone()) };
        let mut conditions = Vec::new();
        for part in parts {
            conditions.extend(join::conjuncts(both.condition(part, "ON")?));
        }
        if conditions.is_empty() {
            conditions.push(always());
        }
        Ok((right, conditions))
    }
}

/// The query of an EXISTS without which the join has no partner for any row.
fn must_exist(part: &Parsed, kind: JoinKind) -> Option<&Query> {
    let membership = Membership::of(part)?;
    let one_sided = matches!(kind, JoinKind::Inner | JoinKind::Left);
    (one_sided && membership.is_exists() && !membership.negated).then_some(membership.query)
}
