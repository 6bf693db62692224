//! Operators: what happens to a row between source and sink. Single-threaded, without waiting; time is an argument.
//!
//! An operator adds one arm to [`open`] and one file here. Effects go to [`Outputs`], which can be taken back to a
//! mark: a record that fails half-way leaves nothing behind.

pub mod aggregate;
pub mod calc;
pub mod datagen;
mod enforcer;
pub mod group_aggregate;
pub mod interval_join;
pub mod join;
pub mod materialize;
pub mod message;
pub mod metadata;
pub mod normalize;
pub mod over;
pub mod rank;
pub mod rows;
pub mod session;
pub mod sink;
pub mod sort;
pub mod source;
pub mod temporal_join;
pub mod union;
pub mod unnest;
pub mod window_aggregate;
pub mod window_clock;
pub mod window_join;
pub mod window_rank;
pub mod window_rows;

use std::sync::Arc;

pub use message::OutMessage;

use super::{
    datum::Row,
    expr::{EvalError, Now},
    plan::{
        logical::RankKind,
        physical::{NodeKind, OperatorId},
        window::WindowShape,
    },
    state::keyed::{StateRead, Stored},
};

/// What flows from operator to operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    /// Whether nothing is to be expected: then nobody waits for the watermark.
    Idle(bool),
    Row(Row),
    /// No row at or before this time will follow.
    Watermark(i64),
}

/// What an operator may use while it works.
pub struct Cx<'a> {
    pub now: Now,
    /// To the operators that read this one.
    pub out: &'a mut Vec<Msg>,
    pub outputs: &'a mut Outputs,
    /// What the job's last commit left in the store.
    pub store: &'a dyn StateRead,
}

impl Cx<'_> {
    /// Hands a row on.
    pub fn emit(&mut self, row: Row) {
        self.out.push(Msg::Row(row));
    }

    /// A row came after what it belongs to was done: `at_ms` is the last time at which it would have counted.
    pub fn late(&mut self, at_ms: i64) {
        let watermark_ms = self.now.watermark_ms.unwrap_or(i64::MIN);
        self.outputs.late_rows += 1;
        self.outputs.late = Some(Late { by_ms: watermark_ms.saturating_sub(at_ms), watermark_ms });
    }
}

/// How late a row was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    pub by_ms: i64,
    pub watermark_ms: i64,
}

pub trait Operator: Send {
    fn on_row(&mut self, port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError>;

    /// The merged watermark of this operator's inputs has risen.
    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    /// Domain time has come so far.
    fn on_proc_timer(&mut self, _now_ms: i64, _cx: &mut Cx<'_>) -> Result<(), EvalError> {
        Ok(())
    }

    /// The next domain time at which it has something to do.
    fn next_proc_timer(&self) -> Option<i64> {
        None
    }

    /// How far what it hands on may lie behind the watermark it was given.
    fn watermark_delay_ms(&self) -> i64 {
        0
    }

    /// Its state, which an epoch changes. `stored!` writes this method and the next.
    fn stored(&self) -> Vec<&dyn Stored> {
        Vec::new()
    }

    fn stored_mut(&mut self) -> Vec<&mut dyn Stored> {
        Vec::new()
    }

    /// Its state has been read.
    fn opened(&mut self) {}
}

/// Names the fields of an operator that are its state, in the order in which they are written.
macro_rules! stored {
    ($($($field:ident).+),+) => {
        fn stored(&self) -> Vec<&dyn $crate::stream::state::keyed::Stored> {
            vec![$(&self.$($field).+),+]
        }

        fn stored_mut(&mut self) -> Vec<&mut dyn $crate::stream::state::keyed::Stored> {
            vec![$(&mut self.$($field).+),+]
        }
    };
}
use stored;

/// When windows close: behind the watermark, or in processing time by the clock. The operator says which
/// (`is_event_time`), closes those that have ended (`close`), and knows the ends of those that are open.
macro_rules! closes_windows {
    ($ends:ident) => {
        fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
            if self.is_event_time() {
                self.close(watermark_ms, cx)?;
            }
            cx.out.push($crate::stream::operator::Msg::Watermark(watermark_ms));
            Ok(())
        }

        fn on_proc_timer(&mut self, now_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
            if self.is_event_time() { Ok(()) } else { self.close(now_ms - 1, cx) }
        }

        fn next_proc_timer(&self) -> Option<i64> {
            let first = if self.is_event_time() { None } else { self.$ends.first() };
            first.map(|end| self.clock.last_of(end) + 1)
        }
    };
}
use closes_windows;

/// A record to be appended to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: i64,
}

/// A row of a `print` table, as Flink prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    pub table: String,
    pub line: String,
    pub standard_error: bool,
}

/// What a table of files is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForFile {
    /// A line, and the folder of its partition: empty for a table without.
    Line { folder: String, bytes: Vec<u8> },
    /// For a table whose partitions wait for it.
    Watermark(i64),
}

/// What an epoch will commit. The partition of a record is chosen at the epoch's end.
#[derive(Debug, Default)]
pub struct Outputs {
    pub appends: Vec<(Arc<str>, OutRecord)>,
    /// Messages for exchanges.
    pub published: Vec<OutMessage>,
    pub printed: Vec<Printed>,
    /// For files: whose, and what.
    pub written: Vec<(OperatorId, ForFile)>,
    /// Rows that reached a sink, whatever its kind.
    pub rows_out: u64,
    /// Rows that came too late for an operator.
    pub late_rows: u64,
    /// The last of them, for whoever looks after each record.
    pub late: Option<Late>,
}

/// A place in [`Outputs`] to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub appends: usize,
    pub published: usize,
    pub printed: usize,
    pub written: usize,
    rows_out: u64,
    late_rows: u64,
}

impl Outputs {
    /// Whether nothing is to be written anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let records = self.appends.is_empty() && self.published.is_empty();
        records && self.printed.is_empty() && self.written.is_empty()
    }

    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            appends: self.appends.len(),
            published: self.published.len(),
            printed: self.printed.len(),
            written: self.written.len(),
            rows_out: self.rows_out,
            late_rows: self.late_rows,
        }
    }

    pub fn back_to(&mut self, mark: Mark) {
        self.appends.truncate(mark.appends);
        self.published.truncate(mark.published);
        self.printed.truncate(mark.printed);
        self.written.truncate(mark.written);
        (self.rows_out, self.late_rows) = (mark.rows_out, mark.late_rows);
    }
}

/// The operator of a plan's node; sources are opened by the job, which reads for them. `fresh` says that the store has
/// nothing of this operator.
pub fn open(id: OperatorId, kind: &NodeKind, fresh: bool) -> Result<Option<Box<dyn Operator>>, EvalError> {
    Ok(Some(match kind {
        NodeKind::Calc(plan) => Box::new(calc::Calc::open(plan)?),
        NodeKind::GroupAggregate(plan) => Box::new(group_aggregate::GroupAggregate::open(id, plan, fresh)),
        NodeKind::IntervalJoin(plan) => Box::new(interval_join::IntervalJoin::open(id, plan, fresh)?),
        NodeKind::Join(plan) => Box::new(join::Join::open(id, plan, fresh)?),
        NodeKind::Materialize(plan) => Box::new(materialize::Materialize::open(id, plan, fresh)),
        NodeKind::Normalize(plan) => Box::new(normalize::Normalize::open(id, plan, fresh)),
        NodeKind::Over(plan) => Box::new(over::Over::open(id, plan, fresh)),
        NodeKind::Rank(plan) => match plan.kind {
            RankKind::Deduplicate { keep_last, .. } => {
                Box::new(rank::Deduplicate::open(id, plan, keep_last, fresh))
            }
            RankKind::Top => Box::new(rank::Top::open(id, plan, fresh)),
            RankKind::Window { end } => Box::new(window_rank::WindowRank::open(id, plan, end)?),
        },
        NodeKind::Sink(plan) => sink::open(id, plan),
        NodeKind::Sort(plan) => Box::new(sort::Sort::open(id, plan, fresh)),
        NodeKind::Source(_) => return Ok(None),
        NodeKind::TemporalJoin(plan) => Box::new(temporal_join::TemporalJoin::open(id, plan, fresh)?),
        NodeKind::Union => Box::new(union::Union),
        NodeKind::Unnest(plan) => Box::new(unnest::Unnest::open(plan)?),
        NodeKind::WindowAggregate(plan) => match plan.window.shape {
            WindowShape::Session { .. } if !plan.time.is_attached() => {
                Box::new(session::SessionAggregate::open(id, plan, fresh)?)
            }
            WindowShape::Cumulate { .. }
            | WindowShape::Hop { .. }
            | WindowShape::Session { .. }
            | WindowShape::Tumble { .. } => Box::new(window_aggregate::WindowAggregate::open(id, plan)?),
        },
        NodeKind::WindowJoin(plan) => Box::new(window_join::WindowJoin::open(id, plan)?),
        NodeKind::WindowRows(plan) => match plan.window.shape {
            WindowShape::Session { .. } => Box::new(window_rows::SessionRows::open(id, plan, fresh)?),
            WindowShape::Cumulate { .. } | WindowShape::Hop { .. } | WindowShape::Tumble { .. } => {
                Box::new(window_rows::WindowRows::open(plan)?)
            }
        },
    }))
}
