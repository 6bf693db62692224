//! Stream jobs from Rust: topic to topic through maps, filters, windows, aggregates and joins.
//!
//! What is built here is a text of Flink SQL, so a job from Rust is a job like any other: the same plan, operators, state
//! and commits; it goes on after a restart, it can be exported, and it runs on Flink. That is why a map takes an
//! expression and not a closure: the program that built the job need not be there when the job runs.
//!
//! Flink's first tutorial, from `input_topic` to `output_topic`:
//!
//! ```
//! use warrenmq::stream::{
//!     dsl::{Job, col, lit, raw_topic},
//!     plan::types::Type,
//! };
//!
//! let input = raw_topic("input_topic").column("v", Type::STRING).stream();
//! let processed = input.map([lit("processed_").concat(col("v")).alias("v")]);
//! let job = Job::new("processed").insert(&processed, raw_topic("output_topic"));
//!
//! let plan = job.plan()?;
//! assert_eq!(plan.name, "processed");
//! assert!(job.sql()?.contains("SELECT ('processed_' || `v`) AS `v` FROM `input_topic`"));
//! # Ok::<(), warrenmq::stream::SqlError>(())
//! ```
//!
//! Beam's, fixed windows of ten seconds of which each number is doubled:
//!
//! ```
//! use std::time::Duration;
//! use warrenmq::stream::{
//!     dsl::{Job, Window, col, json_topic},
//!     plan::types::Type,
//! };
//!
//! let nums = json_topic("nums").column("x", Type::BigInt).timestamp("rt").watermark("rt", Duration::ZERO);
//! let windowed = nums.stream().window("rt", Window::Tumble { size: Duration::from_secs(10) }).rows();
//! let doubled = windowed.map([col("window_start"), col("window_end"), (col("x") * 2).alias("x")]);
//! let plan = Job::new("windows").insert(&doubled, json_topic("doubled")).plan()?;
//! assert_eq!(plan.nodes.len(), 4);
//! # Ok::<(), warrenmq::stream::SqlError>(())
//! ```
//!
//! What each minute brought, by key, in a running broker; the job is there again after a restart:
//!
//! ```no_run
//! use std::time::Duration;
//! use warrenmq::stream::{
//!     dsl::{Job, Window, col, count, json_topic},
//!     plan::types::Type,
//!     run::table::Jobs,
//! };
//!
//! async fn start(jobs: &Jobs) -> Result<(), String> {
//!     let bids = json_topic("bids")
//!         .column("auction", Type::BigInt)
//!         .column("price", Type::BigInt)
//!         .timestamp("at")
//!         .watermark("at", Duration::from_secs(5));
//!     let sums = bids
//!         .stream()
//!         .filter(col("price").gt(100))
//!         .window("at", Window::Tumble { size: Duration::from_secs(60) })
//!         .key_by([col("auction")])
//!         .aggregate([count().alias("bids"), col("price").max().alias("dearest")]);
//!     let job = Job::new("dear").insert(&sums, json_topic("dear"));
//!     jobs.run("/", &job.sql().map_err(|error| error.to_string())?, false).await?;
//!     Ok(())
//! }
//! ```

mod expression;
mod stream;
mod table;

#[cfg(test)]
mod tests;

pub use expression::{Expression, call, col, count, interval, lit, sql};
pub use stream::{JoinKind, Joined, Keyed, Stream, Window, Windowed};
pub use table::{Table, json_topic, numbers, print, raw_topic};

use std::time::Duration;

use super::{
    plan::{self, physical::JobPlan},
    sql::{Pos, SqlError},
};
use expression::{quoted, text};
use stream::Writer;

/// A job: streams, and the tables that they go into. All of an epoch's records are committed as one.
#[derive(Debug, Clone)]
pub struct Job {
    name: String,
    inserts: Vec<(Stream, Table)>,
    state_ttl: Option<Duration>,
    /// `key=value` of our comments.
    hints: Vec<String>,
}

impl Job {
    /// A job of that name, by which it is paused, resumed and dropped.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), inserts: Vec::new(), state_ttl: None, hints: Vec::new() }
    }

    /// Writes a stream into a table. The columns go by their places; a table without any gets the stream's.
    #[must_use]
    pub fn insert(mut self, stream: &Stream, into: Table) -> Self {
        self.inserts.push((stream.clone(), into));
        self
    }

    /// State of keys that nothing touches for so long is forgotten.
    #[must_use]
    pub fn state_ttl(self, ttl: Duration) -> Self {
        Self { state_ttl: Some(ttl), ..self }
    }

    /// Rows that come too late for their window go to this topic, as they came.
    #[must_use]
    pub fn late_topic(self, topic: &str) -> Self {
        self.hint("late-topic", topic)
    }

    /// Records that cannot be read or computed go to this topic; without one they stop the job.
    #[must_use]
    pub fn dlq(self, topic: &str) -> Self {
        self.hint("dlq", topic)
    }

    /// A producer to an input is answered once the outputs are committed.
    #[must_use]
    pub fn sync(self) -> Self {
        self.hint("sync", "true")
    }

    fn hint(mut self, key: &str, value: &str) -> Self {
        self.hints.push(format!("{key}={value}"));
        self
    }

    /// The job as Flink SQL: what is stored, exported, and runs on Flink.
    ///
    /// # Errors
    /// When the columns of a table must be those of a stream that cannot be planned, or a topic's name has blanks.
    pub fn sql(&self) -> Result<String, SqlError> {
        // They stand in a comment, which a line's end would end.
        if let Some(hint) = self.hints.iter().find(|hint| hint.contains(char::is_whitespace)) {
            return Err(SqlError::invalid(Pos::default(), format!("{hint:?}: a topic's name has no blanks")));
        }
        let mut writer = Writer::new(self.inserts.iter().map(|(_, table)| table));
        let mut inserts = Vec::new();
        for (stream, table) in &self.inserts {
            let from = writer.name_of(stream);
            let table = if table.has_columns() { table.clone() } else { typed(table, writer.text(), &from)? };
            inserts.push(format!("INSERT INTO {} SELECT * FROM {};\n", quoted(&table.name), quoted(&from)));
            writer.table(&table);
        }
        let mut sql = writer.into_text();
        sql.push_str(&format!("SET 'pipeline.name' = {};\n", text(&self.name)));
        if let Some(ttl) = self.state_ttl {
            sql.push_str(&format!("SET 'table.exec.state.ttl' = '{} ms';\n", ttl.as_millis()));
        }
        if !self.hints.is_empty() {
            sql.push_str(&format!("-- @warren {}\n", self.hints.join(" ")));
        }
        sql.push_str(&format!("EXECUTE STATEMENT SET\nBEGIN\n{}END;\n", inserts.concat()));
        Ok(sql)
    }

    /// The job as it will run: what the planner makes of [`Job::sql`].
    ///
    /// # Errors
    /// What is wrong with it, by line and column of that text.
    pub fn plan(&self) -> Result<JobPlan, SqlError> {
        let mut jobs = super::compile(&self.sql()?)?;
        // There is one statement that makes a job.
        Ok(jobs.swap_remove(0))
    }
}

/// The table with the columns that a view of the text has.
fn typed(table: &Table, text: &str, view: &str) -> Result<Table, SqlError> {
    let columns = plan::columns_of(text, view)?;
    Ok(columns
        .into_iter()
        .fold(table.clone(), |table, (name, data_type)| table.column(&name, data_type.kind)))
}
