//! From statements to jobs: the catalog a text builds up, names and types, the operators that will run.
//!
//! A text is planned whole or refused whole; nothing is started here.

pub mod aggregate;
pub mod alter;
pub mod analyze;
pub mod analyze_call;
pub mod analyze_expr;
pub mod as_query;
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
pub mod functions;
pub mod group_window;
pub mod grouping;
pub mod grouping_sets;
pub mod join;
pub mod join_on;
pub mod json_aggregate;
mod lag;
pub mod like;
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
mod qualify;
pub mod query_hints;
pub mod rabbitmq;
pub mod scope;
pub mod session;
pub mod set_operation;
pub mod show;
pub mod statement;
pub mod subquery;
pub mod tableau;
pub mod types;
pub mod window;

#[cfg(test)]
mod construct_tests;
#[cfg(test)]
mod option_tests;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod tests;

use super::sql::{self, Pos, SqlError, ast::Name};
use catalog::Object;
use logical::Schema;
use physical::JobPlan;
use session::Session;

/// What a text asks for, in its order.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    Job(JobPlan),
    /// What a statement says that starts nothing: EXPLAIN, DESCRIBE, SHOW.
    Said(String),
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
        let statements = sql::parse(text)?;
        let mut session = Session::of(&statements);
        for statement in &statements {
            session.statement(statement)?;
        }
        let name = Name { at: Pos::default(), parts: vec![name.to_owned()], options: Vec::new() };
        Ok(match session.catalog.find(&name)? {
            Object::Table(table, _) => {
                table.usable()?;
                table.schema()
            }
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
    let statements = sql::parse(text)?;
    let mut session = Session::of(&statements);
    let mut planned = Vec::new();
    for statement in &statements {
        planned.extend(session.statement(statement)?);
    }
    session.end()?;
    Ok(planned)
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
