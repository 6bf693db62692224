//! What the hints of a query do: STATE_TTL says how long joins and groups remember. Those that choose how a batch job
//! joins, and how a table is looked up, are checked and change nothing, as on Flink. (Flink: StateTtlHint, JoinStrategy)

use super::{
    analyze::Result,
    logical::{JoinShape, Logical},
    options::duration_ms,
    scope::Scope,
};
use crate::stream::sql::{Pos, SqlError, query_hints::QueryHint};

/// Of batch jobs.
const STRATEGIES: &[&str] = &["BROADCAST", "NEST_LOOP", "SHUFFLE_HASH", "SHUFFLE_MERGE"];
/// What LOOKUP may say.
const LOOKUP: &[&str] = &[
    "async",
    "capacity",
    "fixed-delay",
    "max-attempts",
    "output-mode",
    "retry-predicate",
    "retry-strategy",
    "shuffle",
    "table",
    "timeout",
];

/// How long the rows of a relation are remembered, in milliseconds; 0 is for ever.
#[derive(Debug, Default)]
pub(super) struct StateTtl(Vec<(String, i64)>);

/// Checks the hints of a SELECT over these relations.
pub(super) fn checked(hints: &[QueryHint], scope: &Scope, at: Pos) -> Result<StateTtl> {
    let mut ttl = StateTtl::default();
    let mut unknown = Vec::new();
    for hint in hints {
        let known = |table: &str| scope.relation(table).is_some();
        let mut check = |table: &str| {
            if !known(table) {
                unknown.push(format!("`{table}` in `{}`", hint.name));
            }
        };
        match hint.name.as_str() {
            "STATE_TTL" => {
                let listed = !hint.list.is_empty() || hint.options.is_empty();
                if listed {
                    let message = "Invalid list options in STATE_TTL hint, only support key-value options.";
                    return Err(SqlError::invalid(at, message));
                }
                for (table, value) in &hint.options {
                    check(table);
                    let ms = duration_ms(value).ok_or_else(|| {
                        SqlError::invalid(at, format!("Invalid STATE_TTL hint value: {value}"))
                    })?;
                    ttl.0.push((table.clone(), ms));
                }
            }
            "LOOKUP" => {
                if let Some((key, _)) = hint.options.iter().find(|(key, _)| !LOOKUP.contains(&key.as_str())) {
                    return Err(SqlError::invalid(
                        at,
                        format!("Invalid LOOKUP hint: unknown option '{key}'"),
                    ));
                }
                match hint.options.iter().find(|(key, _)| key == "table") {
                    Some((_, table)) => check(table),
                    None => {
                        let message = "Invalid LOOKUP hint: incomplete required option(s): [Key: 'table']";
                        return Err(SqlError::invalid(at, message));
                    }
                }
            }
            name if STRATEGIES.contains(&name) => {
                if hint.list.is_empty() || !hint.options.is_empty() {
                    let message = format!(
                        "Invalid {name} hint, expecting at least one table or view specified in hint {name}."
                    );
                    return Err(SqlError::invalid(at, message));
                }
                hint.list.iter().for_each(|table| check(table));
            }
            name => {
                let message = format!("Hint: {name} should be registered in the HintStrategyTable");
                return Err(SqlError::invalid(at, message));
            }
        }
    }
    if unknown.is_empty() {
        return Ok(ttl);
    }
    let message = format!(
        "The options of following hints cannot match the name of input tables or views: \n{}",
        unknown.join("\n")
    );
    Err(SqlError::invalid(at, message))
}

impl StateTtl {
    /// Tells the joins in FROM.
    pub(super) fn of_joins(&self, plan: Logical, scope: &Scope) -> Logical {
        let mut plan = plan;
        if !self.0.is_empty() {
            self.joins(&mut plan, scope, 0);
        }
        plan
    }

    fn joins(&self, plan: &mut Logical, scope: &Scope, from: usize) {
        match plan {
            Logical::Filter { input, .. } => self.joins(input, scope, from),
            Logical::Join(join) => {
                let (middle, width) = (from + join.left.schema().len(), join.right.schema().len());
                self.joins(&mut join.left, scope, from);
                self.joins(&mut join.right, scope, middle);
                if join.shape == JoinShape::Regular {
                    let sides = [from..middle, middle..middle + width];
                    join.ttl_ms = sides.map(|side| self.of_columns(scope, side));
                }
            }
            Logical::Aggregate(_)
            | Logical::Expand(_)
            | Logical::Normalize { .. }
            | Logical::Over(_)
            | Logical::Project { .. }
            | Logical::Rank(_)
            | Logical::Scan(_)
            | Logical::Sort(_)
            | Logical::UnionAll { .. }
            | Logical::Unnest(_)
            | Logical::Watermark { .. }
            | Logical::WindowAggregate(_)
            | Logical::WindowRows(_) => {}
        }
    }

    /// That of the relation with just these columns.
    fn of_columns(&self, scope: &Scope, columns: std::ops::Range<usize>) -> Option<i64> {
        let (name, _) = scope.relations.iter().find(|(_, own)| *own == columns)?;
        self.0.iter().rev().find(|(table, _)| Some(table) == name.as_ref()).map(|(_, ms)| *ms)
    }

    /// Tells the groups over FROM, if that is one relation.
    pub(super) fn of_groups(&self, plan: Logical, scope: &Scope) -> Logical {
        let mut plan = plan;
        if let Some(ms) = self.of_columns(scope, 0..scope.columns.len()) {
            groups(&mut plan, ms);
        }
        plan
    }
}

fn groups(plan: &mut Logical, ms: i64) {
    match plan {
        Logical::Project { input, .. } | Logical::Filter { input, .. } => groups(input, ms),
        Logical::Aggregate(aggregate) => aggregate.ttl_ms = Some(ms),
        Logical::Expand(_)
        | Logical::Join(_)
        | Logical::Normalize { .. }
        | Logical::Over(_)
        | Logical::Rank(_)
        | Logical::Scan(_)
        | Logical::Sort(_)
        | Logical::UnionAll { .. }
        | Logical::Unnest(_)
        | Logical::Watermark { .. }
        | Logical::WindowAggregate(_)
        | Logical::WindowRows(_) => {}
    }
}
