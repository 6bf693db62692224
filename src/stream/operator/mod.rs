//! Operators: what happens to a row between source and sink. Single-threaded, without waiting; time is an argument.
//!
//! An operator adds one arm to [`open`] and one file here. Effects go to [`Outputs`], which can be taken back to a
//! mark: a record that fails half-way leaves nothing behind.

pub mod calc;
pub mod datagen;
pub mod metadata;
pub mod sink;
pub mod source;
pub mod union;

use std::sync::Arc;

use super::{
    datum::Row,
    expr::{EvalError, Now},
    plan::physical::NodeKind,
};

/// What flows from operator to operator.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a row; a box each would cost an allocation"
)]
pub enum Msg {
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
}

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

/// What an epoch will commit. The partition of a record is chosen at the epoch's end.
#[derive(Debug, Default)]
pub struct Outputs {
    pub appends: Vec<(Arc<str>, OutRecord)>,
    pub printed: Vec<Printed>,
    /// Rows that reached a sink, whatever its kind.
    pub rows_out: u64,
}

/// A place in [`Outputs`] to go back to.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    appends: usize,
    printed: usize,
    rows_out: u64,
}

impl Outputs {
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { appends: self.appends.len(), printed: self.printed.len(), rows_out: self.rows_out }
    }

    pub fn back_to(&mut self, mark: Mark) {
        self.appends.truncate(mark.appends);
        self.printed.truncate(mark.printed);
        self.rows_out = mark.rows_out;
    }
}

/// The operator of a plan's node; sources are opened by the job, which reads for them.
pub fn open(kind: &NodeKind) -> Result<Option<Box<dyn Operator>>, EvalError> {
    Ok(match kind {
        NodeKind::Calc(plan) => Some(Box::new(calc::Calc::open(plan)?)),
        NodeKind::Sink(plan) => Some(sink::open(plan)),
        NodeKind::Source(_) => None,
        NodeKind::Union => Some(Box::new(union::Union)),
    })
}
