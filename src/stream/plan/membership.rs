//! `IN (SELECT …)`, `EXISTS (SELECT …)` and `x > ANY (SELECT …)` where they stand for a truth value: in OR, in CASE, in
//! the list of a SELECT.
//!
//! The sub-query's rows, each once, are an outer join with the relation around them: what finds a partner there is TRUE.
//! Where unknown is not as good as FALSE, two more such joins say whether there are rows at all, and whether NULL is
//! among them. (Calcite: SubQueryRemoveRule, which counts both instead)
//!
//! The count of no rows is no row in a stream. So where Calcite asks for it, a row waits until the sub-query has one.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's expressions are many, and only those with a query in them are looked for"
)]

use sqlparser::ast::{BinaryOperator, Expr as Parsed, Query, Spanned, UnaryOperator};

use super::{
    analyze::{Analyzer, Result, always, filter},
    analyze_expr::{case, comparison, is, logic, not},
    grouping::distinct,
    join,
    logical::{Join, JoinKind, JoinShape, Logical, Schema},
    scope::Scope,
    subquery::{Logic, beside, pair},
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Comparison, Expr, Node, Test},
    sql::{Pos, SqlError},
};

/// A question for the rows of a sub-query.
#[derive(Clone, Copy)]
pub(super) struct Membership<'a> {
    pub(super) query: &'a Query,
    /// What stands before IN; nothing stands before EXISTS.
    operand: Option<&'a Parsed>,
    /// How it is compared with the rows, one of which must pass.
    pub(super) by: Comparison,
    pub(super) negated: bool,
    pub(super) at: Pos,
}

impl<'a> Membership<'a> {
    /// IN, EXISTS, ANY, SOME and ALL, and what NOT makes of them: no row may fail ALL.
    pub(super) fn of(parsed: &'a Parsed) -> Option<Self> {
        let at: Pos = parsed.span().into();
        Some(match parsed {
            Parsed::InSubquery { expr, subquery, negated } => {
                let by = Comparison::Equal;
                Self { query: subquery, operand: Some(expr), by, negated: *negated, at }
            }
            Parsed::Exists { subquery, negated } => {
                Self { query: subquery, operand: None, by: Comparison::Equal, negated: *negated, at }
            }
            Parsed::AnyOp { left, compare_op, right, .. } => {
                let (by, _) = comparisons(compare_op)?;
                Self { query: query_of(right)?, operand: Some(left), by, negated: false, at }
            }
            Parsed::AllOp { left, compare_op, right } => {
                let (_, by) = comparisons(compare_op)?;
                Self { query: query_of(right)?, operand: Some(left), by, negated: true, at }
            }
            Parsed::UnaryOp { op: UnaryOperator::Not, expr } => {
                let inner = Self::of(expr)?;
                Self { negated: !inner.negated, ..inner }
            }
            Parsed::Nested(inner) => Self::of(inner)?,
            _ => return None,
        })
    }

    /// Whether WHERE can make a semi join of it.
    pub(super) fn joins(&self) -> bool {
        self.by == Comparison::Equal
    }

    /// Whether it is about rows, and not about what is in them.
    pub(super) fn is_exists(&self) -> bool {
        self.operand.is_none()
    }

    /// The values that are looked for.
    pub(super) fn operands(&self, scope: &Scope) -> Result<Vec<Expr>> {
        let items = match self.operand {
            None => &[],
            Some(Parsed::Tuple(items)) => items.as_slice(),
            Some(item) => std::slice::from_ref(item),
        };
        items.iter().map(|item| scope.expr(item)).collect()
    }

    /// There must be a column for each value.
    pub(super) fn check(&self, values: &[Expr], outputs: &[Expr]) -> Result<()> {
        if self.operand.is_none() || values.len() == outputs.len() {
            // Flink compares only the first values then.
            let several = values.len() > 1 && !self.joins();
            return if several { Err(SqlError::not_yet(self.at, "rows before ANY and ALL")) } else { Ok(()) };
        }
        let message =
            format!("the sub-query of IN must have as many columns as there are values ({})", values.len());
        Err(SqlError::invalid(self.at, message))
    }
}

fn query_of(parsed: &Parsed) -> Option<&Query> {
    match parsed {
        Parsed::Subquery(query) => Some(query),
        Parsed::Nested(inner) => query_of(inner),
        _ => None,
    }
}

/// The comparison, and the one that holds where it does not.
fn comparisons(operator: &BinaryOperator) -> Option<(Comparison, Comparison)> {
    Some(match operator {
        BinaryOperator::Eq => (Comparison::Equal, Comparison::NotEqual),
        BinaryOperator::NotEq => (Comparison::NotEqual, Comparison::Equal),
        BinaryOperator::Lt => (Comparison::Less, Comparison::GreaterOrEqual),
        BinaryOperator::LtEq => (Comparison::LessOrEqual, Comparison::Greater),
        BinaryOperator::Gt => (Comparison::Greater, Comparison::LessOrEqual),
        BinaryOperator::GtEq => (Comparison::GreaterOrEqual, Comparison::Less),
        _ => return None,
    })
}

/// The rows of a sub-query, and what each must be equal to of the row around it.
pub(super) struct Rows {
    pub(super) plan: Logical,
    pub(super) pairs: Vec<Pair>,
}

/// A value of the row around, how it is compared, and a value of the sub-query's own row.
pub(super) type Pair = (Expr, Comparison, Expr);

impl Analyzer<'_> {
    /// The relation with more columns behind its own, and the truth value over them. `outer` is what the sub-query may
    /// name.
    pub(super) fn truth(
        &mut self,
        plan: Logical,
        scope: &mut Scope,
        outer: &Scope,
        membership: &Membership<'_>,
        place: Logic,
    ) -> Result<(Logical, Expr)> {
        let at = membership.at;
        let values = membership.operands(outer)?;
        let width = outer.columns.len();
        let (right, shared, outputs) = self.correlated(membership.query, &plan, outer)?;
        membership.check(&values, &outputs)?;
        let own: Vec<Expr> = outputs.iter().map(|output| join::moved(output, width)).collect();
        let nullable = values.iter().chain(&own).any(|value| value.data_type.nullable);
        let counted = !membership.joins() || nullable && (place != Logic::IsTrue || membership.negated);
        let mut plan = plan;
        if counted && !values.is_empty() && shared.is_empty() {
            plan = where_there_are_rows(plan, scope, right.clone(), at)?;
        }
        let matching = if membership.joins() {
            Rows::of(&plan, width, right.clone(), &shared, at)?.with_pairs(&values, &own)
        } else {
            let mut conditions = shared.clone();
            for (value, output) in values.iter().zip(&outputs) {
                conditions.push(comparison(membership.by, value.clone(), output.clone(), at)?);
            }
            Rows::of(&plan, width, right.clone(), &conditions, at)?
        };
        let (with_mark, found) = matching.marked(plan, scope, at)?;
        plan = with_mark;
        let unknown = place == Logic::Unknown || membership.negated;
        if values.is_empty() || !unknown {
            let truth = if membership.negated { not(found) } else { found };
            return Ok((plan, truth));
        }
        if own.len() > 1 && own.iter().any(|output| output.data_type.nullable) {
            // Flink's words.
            return Err(SqlError::invalid(at, "We now only support the count of one field."));
        }
        let rows = Rows::of(&plan, width, right, &shared, at)?;
        let literal = |value: Datum| Expr::literal(value, Type::Boolean);
        let mut whens = vec![(found, literal(Datum::Bool(true)))];
        if let Some(is_null) = any_null(&values) {
            let (with_rows, any) = rows.marked(plan, scope, at)?;
            plan = with_rows;
            whens.push((logic(Node::And, is_null, any), literal(Datum::Null)));
        }
        if let Some(is_null) = any_null(&own) {
            let nulls = Rows { plan: filter(rows.plan, vec![is_null]), pairs: rows.pairs };
            let (with_nulls, any) = nulls.marked(plan, scope, at)?;
            plan = with_nulls;
            whens.push((any, literal(Datum::Null)));
        }
        let truth = case(whens, literal(Datum::Bool(false)), at)?;
        Ok((plan, if membership.negated { not(truth) } else { truth }))
    }
}

impl Rows {
    /// The rows of a sub-query that meet a row around it under these conditions, which are over the `width` columns of that
    /// one and those of the sub-query behind them. If more than equality is asked for, the sub-query is joined with all
    /// rows around it, each once, whose columns then stand behind its own. (Calcite: RelDecorrelator's value generator)
    pub(super) fn of(
        around: &Logical,
        width: usize,
        right: Logical,
        conditions: &[Expr],
        at: Pos,
    ) -> Result<Self> {
        if let Some(pairs) = conditions.iter().map(|condition| pair(condition, width)).collect() {
            return Ok(Self { plan: right, pairs });
        }
        let schema = around.schema();
        let mut used = Vec::new();
        conditions.iter().for_each(|condition| condition.columns(&mut |column| used.push(column)));
        used.retain(|column| *column < width);
        used.sort_unstable();
        used.dedup();
        let column = |from: &Schema, index: usize| match from.get(index) {
            Some((name, data_type)) => Expr::column(index, name, data_type.clone()),
            None => always(),
        };
        if used.is_empty() {
            let own = conditions.iter().map(|condition| join::moved(condition, width)).collect();
            return Ok(Self { plan: join::push_down(right, own, at)?, pairs: Vec::new() });
        }
        let outer: Vec<Expr> = used.iter().map(|index| column(&schema, *index)).collect();
        let names = (0..used.len()).map(|i| format!("$o{i}")).collect();
        let generator = distinct(around.clone().project(outer.clone(), names), at)?;
        let (own, count) = (right.schema(), used.len());
        // The sub-query stands on the left, so that its columns are counted as before.
        let to = (0..width).map(|index| match used.binary_search(&index) {
            Ok(place) => Expr {
                node: Node::Column { index: own.len() + place, name: String::new() },
                ..column(&schema, index)
            },
            Err(_) => always(),
        });
        let to: Vec<Expr> = to.chain((0..own.len()).map(|index| column(&own, index))).collect();
        let condition = conditions.iter().map(|condition| condition.over(&to)).collect();
        let shape = JoinShape::Undecided;
        let join = Join {
            kind: JoinKind::Inner,
            left: right,
            right: generator,
            condition,
            shape,
            ttl_ms: [None; 2],
        };
        let plan = join::settled(Logical::Join(Box::new(join)), at)?;
        let joined = plan.schema();
        let pairs = outer.into_iter().zip((0..count).map(|i| column(&joined, own.len() + i)));
        let pairs = pairs.map(|(outer, own)| (outer, Comparison::NotDistinct, own)).collect();
        Ok(Self { plan, pairs })
    }

    /// The same, where values must be equal too.
    fn with_pairs(&self, values: &[Expr], own: &[Expr]) -> Self {
        let more = values.iter().zip(own).map(|(value, own)| (value.clone(), Comparison::Equal, own.clone()));
        Self { plan: self.plan.clone(), pairs: self.pairs.iter().cloned().chain(more).collect() }
    }

    /// The relation with these rows beside it, and whether there is one.
    fn marked(&self, plan: Logical, scope: &mut Scope, at: Pos) -> Result<(Logical, Expr)> {
        let mut columns: Vec<Expr> = self.pairs.iter().map(|(_, _, own)| own.clone()).collect();
        if columns.is_empty() {
            columns.push(always());
        }
        let names = (0..columns.len()).map(|i| format!("$k{i}")).collect();
        let rows = distinct(self.plan.clone().project(columns, names), at)?;
        let schema: Schema = rows.schema();
        let count = schema.len();
        let exprs = schema.iter().enumerate().map(|(i, (name, t))| Expr::column(i, name, t.clone()));
        let names = schema.iter().map(|(name, _)| name.clone()).chain(["$found".to_owned()]).collect();
        let rows = rows.project(exprs.chain([always()]).collect(), names);
        let width = scope.columns.len();
        let mut condition = Vec::new();
        for (index, ((outer, by, _), (name, data_type))) in self.pairs.iter().zip(schema).enumerate() {
            let own = Expr::column(width + index, &name, data_type);
            condition.push(comparison(*by, outer.clone(), own, at)?);
        }
        if condition.is_empty() {
            condition.push(always());
        }
        let plan = beside(plan, scope, rows, JoinKind::Left, condition);
        let mark = Expr::column(width + count, "$found", DataType::nullable(Type::Boolean));
        Ok((plan, is(Test::Null, true, mark)))
    }
}

/// The relation once the sub-query has a row.
pub(super) fn where_there_are_rows(
    plan: Logical,
    scope: &mut Scope,
    right: Logical,
    at: Pos,
) -> Result<Logical> {
    let any = distinct(right.project(vec![always()], vec!["$any".to_owned()]), at)?;
    join::settled(beside(plan, scope, any, JoinKind::Inner, vec![always()]), at)
}

/// Whether one of them is NULL; nothing where none can be.
fn any_null(values: &[Expr]) -> Option<Expr> {
    let nullable = values.iter().filter(|value| value.data_type.nullable);
    nullable.map(|value| is(Test::Null, false, value.clone())).reduce(|a, b| logic(Node::Or, a, b))
}
