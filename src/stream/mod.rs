//! Stream jobs: Flink SQL in, operators over topics out, exactly once by one commit per epoch.
//!
//! [`compile`] makes jobs of a text, which [`dsl`] writes for programs in Rust; `run::job::Job` runs one over the two traits of `run/` that bind it to topics
//! and store. Names only `data`, `broker` and `store`.

pub mod codec;
pub mod datum;
pub mod dsl;
pub mod expr;
pub mod operator;
pub mod plan;
pub mod run;
pub mod sql;
pub mod state;
pub mod time;

pub use plan::{Planned, physical::JobPlan};
pub use sql::SqlError;

/// The jobs of a SQL text: one per INSERT or statement set. The whole text is refused at its first error.
pub fn compile(text: &str) -> Result<Vec<JobPlan>, SqlError> {
    let jobs = plan::plan(text)?.into_iter().filter_map(|planned| match planned {
        Planned::Job(job) => Some(job),
        Planned::Said(_) => None,
    });
    Ok(jobs.collect())
}

/// What the statements of a text say that start nothing (EXPLAIN, DESCRIBE, SHOW), in their order. A text is stored with its
/// jobs and planned again after a restart; then nobody is told.
pub fn said(text: &str) -> Result<Vec<String>, SqlError> {
    Ok(told(&plan::plan(text)?))
}

fn told(planned: &[Planned]) -> Vec<String> {
    let told = planned.iter().filter_map(|planned| match planned {
        Planned::Said(text) => Some(text.clone()),
        Planned::Job(_) => None,
    });
    told.collect()
}

/// The same; for a text that says nothing, the plans of its jobs.
pub fn explain(text: &str) -> Result<Vec<String>, SqlError> {
    let planned = plan::plan(text)?;
    let asked = told(&planned);
    if !asked.is_empty() {
        return Ok(asked);
    }
    Ok(planned
        .iter()
        .filter_map(|planned| match planned {
            Planned::Job(job) => Some(plan::explain::explain(job)),
            Planned::Said(_) => None,
        })
        .collect())
}
