//! From statements to jobs: the catalog a text builds up, names and types, the operators that will run.
//!
//! A text is planned whole or refused whole; nothing is started here.

pub mod aggregate;
pub mod analyze;
pub mod analyze_call;
pub mod analyze_expr;
pub mod catalog;
pub mod connector;
pub mod correlated_groups;
pub mod datagen;
pub mod exchange;
pub mod explain;
mod fields;
pub mod filesystem;
pub mod format;
pub mod from;
pub mod group_window;
pub mod grouping;
pub mod grouping_sets;
pub mod join;
pub mod join_on;
pub mod literals;
pub mod local_zone;
pub mod logical;
pub mod lower;
pub mod membership;
pub mod options;
pub mod order;
pub mod over;
pub mod partitions;
pub mod physical;
pub mod properties;
pub mod prune;
pub mod query_hints;
pub mod rabbitmq;
pub mod scope;
pub mod set_operation;
pub mod statement;
pub mod subquery;
pub mod types;
pub mod window;

#[cfg(test)]
mod tests;

use super::sql::{
    self, Pos, SqlError,
    ast::{Insert, Name, Statement, StatementKind},
    hints::Hints,
};
use catalog::{Catalog, Object};
use logical::Schema;
use physical::{JobPlan, PARALLELISM_MAX, Settings};

/// What a text asks for, in its order.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    Explain(String),
    Job(JobPlan),
}

/// Stack for reading and planning. The library walks and drops its trees by recursion, and a chain of as many
/// operators as a statement may have is as deep as it is long.
const STACK_BYTES: usize = 64 << 20;

/// Plans a whole text.
pub fn plan(text: &str) -> Result<Vec<Planned>, SqlError> {
    on_a_large_stack(|| plan_here(text))
}

/// The columns of a table or view that a text creates.
pub(super) fn columns_of(text: &str, name: &str) -> Result<Schema, SqlError> {
    on_a_large_stack(|| {
        let mut session = Session::default();
        for statement in sql::parse(text)? {
            session.statement(&statement)?;
        }
        let name = Name { at: Pos::default(), parts: vec![name.to_owned()], options: Vec::new() };
        Ok(match session.catalog.find(&name)? {
            Object::Table(table, _) => table.schema(),
            Object::View(view) => view.plan.schema(),
        })
    })
}

/// Runs it on a thread of its own, for the sake of its stack.
fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T, SqlError> + Send) -> Result<T, SqlError> {
    let start = Pos { line: 1, column: 1 };
    std::thread::scope(|scope| {
        let planning = std::thread::Builder::new()
            .name("sql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|e| SqlError::invalid(start, format!("no thread to plan on: {e}")))?;
        planning.join().unwrap_or_else(|_| Err(SqlError::invalid(start, "planning failed: this is a bug")))
    })
}

fn plan_here(text: &str) -> Result<Vec<Planned>, SqlError> {
    let mut session = Session::default();
    let mut planned = Vec::new();
    for statement in sql::parse(text)? {
        planned.extend(session.statement(&statement)?);
    }
    if let Some((_, at)) = session.name {
        return Err(SqlError::invalid(at, "SET 'pipeline.name': no INSERT follows"));
    }
    Ok(planned)
}

/// What earlier statements left for later ones.
#[derive(Default)]
struct Session {
    catalog: Catalog,
    /// `SET 'pipeline.name'`, for the next job.
    name: Option<(String, Pos)>,
    settings: Settings,
    /// `SET 'table.local-time-zone'`, if it is not UTC.
    zone: Option<String>,
}

impl Session {
    fn statement(&mut self, statement: &Statement) -> Result<Option<Planned>, SqlError> {
        match &statement.kind {
            StatementKind::CreateTable(table) => statement::create_table(&mut self.catalog, table)?,
            StatementKind::CreateView(view) => statement::create_view(&mut self.catalog, view)?,
            StatementKind::Drop(drop) => self.catalog.drop(drop)?,
            StatementKind::Set { key, value } => self.set(key, value, statement.at)?,
            StatementKind::Explain(inserts) => {
                let plan = self.job(&Hints::default(), inserts)?;
                return Ok(Some(Planned::Explain(explain::explain(&plan))));
            }
            StatementKind::Insert(insert) => {
                return self
                    .job(&Hints::default(), std::slice::from_ref(insert))
                    .map(|job| Some(Planned::Job(job)));
            }
            StatementKind::StatementSet { hints, inserts } => {
                return self.job(hints, inserts).map(|job| Some(Planned::Job(job)));
            }
        }
        Ok(None)
    }

    /// Settings that would change a result are refused; those whose effect we always have are not.
    fn set(&mut self, key: &str, value: &str, at: Pos) -> Result<(), SqlError> {
        match (key, value) {
            ("pipeline.name", _) => self.name = Some((value.to_owned(), at)),
            ("execution.runtime-mode", "streaming" | "STREAMING") => {}
            ("parallelism.default", _) => {
                let count = value.parse().ok().filter(|count| (1..=PARALLELISM_MAX).contains(count));
                self.settings.parallelism = count.ok_or_else(|| {
                    let message = format!("SET '{key}': '{value}' is not between 1 and {PARALLELISM_MAX}");
                    SqlError::invalid(at, message)
                })?;
            }
            ("execution.checkpointing.interval", _) => {
                let ms = options::duration_ms(value)
                    .ok_or_else(|| SqlError::invalid(at, format!("SET '{key}': '{value}' is no duration")))?;
                self.settings.checkpoint_ms = (ms > 0).then_some(ms);
            }
            ("table.dml-sync", "false") => {}
            ("table.local-time-zone", name) => self.zone = local_zone::of_session(name, at)?,
            ("table.exec.state.ttl", _) => {
                let ms = options::duration_ms(value)
                    .ok_or_else(|| SqlError::invalid(at, format!("SET '{key}': '{value}' is no duration")))?;
                self.settings.ttl_ms = (ms > 0).then_some(ms);
            }
            _ => return Err(SqlError::not_yet(at, format!("SET '{key}' = '{value}'"))),
        }
        Ok(())
    }

    fn job(&mut self, around: &Hints, inserts: &[Insert]) -> Result<JobPlan, SqlError> {
        let mut logical = Vec::new();
        let mut hints = around.clone();
        for insert in inserts {
            let insert_plan = statement::insert(&self.catalog, insert)?;
            logical.push(match &self.zone {
                Some(zone) => local_zone::localized(insert_plan, zone, insert.target.at)?,
                None => insert_plan,
            });
            merge(&mut hints, &insert.hints)?;
        }
        let name = match self.name.take() {
            Some((name, _)) => name,
            None => {
                let targets: Vec<String> = logical.iter().map(|i| i.table.path.to_string()).collect();
                format!("insert-into_{}", targets.join(","))
            }
        };
        let mut plan = JobPlan::of(name, &logical, self.settings);
        if let Some((topic, at)) = &hints.late_topic
            && !logical.iter().any(|insert| insert.input.drops_late_rows())
        {
            let message = format!("late-topic={topic}: this job has no window, so no row is ever late");
            return Err(SqlError::invalid(*at, message));
        }
        plan.late_topic = hints.late_topic.map(|(topic, _)| topic);
        plan.dlq = hints.dlq.map(|(topic, _)| topic);
        plan.sync = hints.sync.is_some_and(|(sync, _)| sync);
        Ok(plan)
    }
}

/// A job has one of each; the INSERTs of a set may say the same, but not different things.
fn merge(into: &mut Hints, from: &Hints) -> Result<(), SqlError> {
    fn one<T: PartialEq + Clone>(
        into: &mut Option<(T, Pos)>,
        from: &Option<(T, Pos)>,
        key: &str,
    ) -> Result<(), SqlError> {
        match (&into, from) {
            (Some((a, _)), Some((b, at))) if a != b => Err(SqlError::invalid(
                *at,
                format!("@warren: '{key}' differs from the one before in this job"),
            )),
            (None, Some(_)) => {
                into.clone_from(from);
                Ok(())
            }
            _ => Ok(()),
        }
    }
    one(&mut into.late_topic, &from.late_topic, "late-topic")?;
    one(&mut into.dlq, &from.dlq, "dlq")?;
    one(&mut into.sync, &from.sync, "sync")
}

/// The type of an expression over nothing.
#[cfg(test)]
pub(crate) fn type_of(text: &str) -> Result<String, String> {
    let parsed = sql::parser::expr_of(text).map_err(|e| e.to_string())?;
    let expr = scope::Scope::default().expr(&parsed).map_err(|e| e.to_string())?;
    Ok(expr.data_type.to_string())
}

/// An expression over nothing, as `print` would show it, at 1,000,123 ms after the epoch.
#[cfg(test)]
pub(crate) fn evaluate(text: &str) -> String {
    use super::{
        datum::{Columns, Row},
        expr::{Now, compile, text::display},
    };
    let shown = |e: SqlError| format!("error: {e}");
    let parsed = match sql::parser::expr_of(text) {
        Ok(parsed) => parsed,
        Err(e) => return shown(e),
    };
    let expr = match scope::Scope::default().expr(&parsed) {
        Ok(expr) => expr,
        Err(e) => return shown(e),
    };
    let code = match compile::compile(&expr) {
        Ok(code) => code,
        Err(e) => return format!("error: {e}"),
    };
    match code.eval(&Row::insert(Columns::new()), Now { ms: 1_000_123, watermark_ms: None }) {
        Ok(value) => display(&value, &expr.data_type.kind),
        Err(e) => format!("failed: {e}"),
    }
}
