//! `IN (SELECT …)` and `EXISTS (SELECT …)` where they stand for a truth value: in OR, in CASE, in the list of a SELECT.
//!
//! The sub-query's rows, each once, are an outer join with the relation around them: what finds a partner there is TRUE.
//! Where unknown is not as good as FALSE, two more such joins say whether there are rows at all, and whether NULL is
//! among them. (Calcite: SubQueryRemoveRule, which counts both instead)
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
    logical::{Logical, Schema},
    scope::Scope,
    subquery::{beside, pair},
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
    pub(super) negated: bool,
    pub(super) at: Pos,
}

impl<'a> Membership<'a> {
    /// IN, EXISTS, `= ANY`, `= SOME` and `<> ALL`, and what NOT makes of them.
    pub(super) fn of(parsed: &'a Parsed) -> Option<Self> {
        let at: Pos = parsed.span().into();
        Some(match parsed {
            Parsed::InSubquery { expr, subquery, negated } => {
                Self { query: subquery, operand: Some(expr), negated: *negated, at }
            }
            Parsed::Exists { subquery, negated } => {
                Self { query: subquery, operand: None, negated: *negated, at }
            }
            Parsed::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                Self { query: query_of(right)?, operand: Some(left), negated: false, at }
            }
            Parsed::AllOp { left, compare_op: BinaryOperator::NotEq, right } => {
                Self { query: query_of(right)?, operand: Some(left), negated: true, at }
            }
            Parsed::UnaryOp { op: UnaryOperator::Not, expr } => {
                let inner = Self::of(expr)?;
                Self { negated: !inner.negated, ..inner }
            }
            Parsed::Nested(inner) => Self::of(inner)?,
            _ => return None,
        })
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
            return Ok(());
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

/// The rows of a sub-query, and what each must be equal to of the row around it.
struct Rows {
    plan: Logical,
    /// (of the row around, of the sub-query's own).
    pairs: Vec<(Expr, Expr)>,
}

impl Analyzer<'_> {
    /// The relation with more columns behind its own, and the truth value over them. `outer` is what the sub-query may
    /// name; `certain` says that unknown is as good as FALSE.
    pub(super) fn truth(
        &mut self,
        plan: Logical,
        scope: &mut Scope,
        outer: &Scope,
        membership: &Membership<'_>,
        certain: bool,
    ) -> Result<(Logical, Expr)> {
        let at = membership.at;
        let values = membership.operands(outer)?;
        let width = outer.columns.len();
        let (right, shared, outputs) = self.correlated(membership.query, outer)?;
        membership.check(&values, &outputs)?;
        let mut pairs = Vec::new();
        for condition in &shared {
            let what =
                "a sub-query in an expression that is compared with the query around it by more than =";
            pairs.push(pair(condition, width).ok_or_else(|| SqlError::not_yet(at, what))?);
        }
        let rows = Rows { plan: right, pairs };
        let own: Vec<Expr> = outputs.iter().map(|output| join::moved(output, width)).collect();
        let unknown = !certain || membership.negated;
        let (plan, found) = rows.with_pairs(&values, &own).marked(plan, scope, at)?;
        if values.is_empty() || !unknown {
            let truth = if membership.negated { not(found) } else { found };
            return Ok((plan, truth));
        }
        if own.len() > 1 && own.iter().any(|output| output.data_type.nullable) {
            // Flink's words.
            return Err(SqlError::invalid(at, "We now only support the count of one field."));
        }
        let literal = |value: Datum| Expr::literal(value, Type::Boolean);
        let mut plan = plan;
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
    /// The same, where values must be equal too.
    fn with_pairs(&self, values: &[Expr], own: &[Expr]) -> Self {
        let more = values.iter().cloned().zip(own.iter().cloned());
        Self { plan: self.plan.clone(), pairs: self.pairs.iter().cloned().chain(more).collect() }
    }

    /// The relation with these rows beside it, and whether there is one.
    fn marked(&self, plan: Logical, scope: &mut Scope, at: Pos) -> Result<(Logical, Expr)> {
        let mut columns: Vec<Expr> = self.pairs.iter().map(|(_, own)| own.clone()).collect();
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
        for (index, ((outer, _), (name, data_type))) in self.pairs.iter().zip(schema).enumerate() {
            let own = Expr::column(width + index, &name, data_type);
            condition.push(comparison(Comparison::Equal, outer.clone(), own, at)?);
        }
        if condition.is_empty() {
            condition.push(always());
        }
        let plan = beside(plan, scope, rows, condition);
        let mark = Expr::column(width + count, "$found", DataType::nullable(Type::Boolean));
        Ok((plan, is(Test::Null, true, mark)))
    }
}

/// Whether one of them is NULL; nothing where none can be.
fn any_null(values: &[Expr]) -> Option<Expr> {
    let nullable = values.iter().filter(|value| value.data_type.nullable);
    nullable.map(|value| is(Test::Null, false, value.clone())).reduce(|a, b| logic(Node::Or, a, b))
}
