//! Rows that the query names by another key than the table, or by none, become rows that replace each other by the
//! table's PRIMARY KEY. (Flink: SinkUpsertMaterializer, the plan's `upsertMaterialize=[true]`)
//!
//! Of the rows of a key the one that came last counts. When it is taken back, the one before it comes back; a row behind
//! it goes without a word. They are compared one by one when one of them is taken back, as on Flink: that so many rows
//! have one key at the same time is what a PRIMARY KEY rules out, but for a moment.

use super::{
    Cx, Operator,
    enforcer::Enforcer,
    rows::{Kept, key_of},
    stored,
};
use crate::stream::{
    datum::{Row, RowKind},
    expr::EvalError,
    plan::physical::{self, OperatorId},
    state::{
        bucket::Bucket,
        encode::damaged,
        keyed::{Keyed, prefix_of},
    },
};

pub struct Materialize {
    enforcer: Enforcer,
    key: Vec<usize>,
    row_key: Option<Vec<usize>>,
    /// Of each key, in the order of arrival, under their numbers.
    rows: Keyed<Bucket<Kept>>,
    scratch: Vec<u8>,
}

impl Materialize {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::Materialize, fresh: bool) -> Self {
        Self {
            enforcer: Enforcer::open(&plan.enforced),
            key: plan.key.clone(),
            row_key: plan.row_key.clone(),
            rows: Keyed::new(prefix_of(id, b'm'), plan.key.len(), fresh, plan.ttl_ms),
            scratch: Vec::new(),
        }
    }
}

impl Operator for Materialize {
    fn on_row(&mut self, _port: usize, mut row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if !self.enforcer.admits(&mut row)? {
            return Ok(());
        }
        key_of(&row, &self.key, &mut self.scratch);
        let rows = self.rows.value(&self.scratch, cx.now.ms, cx.store)?;
        let same = |kept: &Kept| match &self.row_key {
            Some(columns) => columns.iter().all(|c| kept.0.get(*c) == row.columns.get(*c)),
            None => kept.0 == row.columns,
        };
        let found = rows.iter().find(|(_, kept)| same(kept)).map(|(number, _)| number.clone());
        if row.kind.adds() {
            let kind = if rows.is_empty() { RowKind::Insert } else { RowKind::UpdateAfter };
            // Without a key equal rows are as many as came.
            let number = match found.filter(|_| self.row_key.is_some()) {
                Some(number) => number,
                None => next_number(rows)?,
            };
            rows.insert(&number, Kept(row.columns.clone()));
            cx.emit(Row::of(kind, row.columns));
            return Ok(());
        }
        // What never came, or has been forgotten since, cannot be taken back.
        let Some(number) = found else { return Ok(()) };
        rows.remove(&number);
        match rows.iter().next_back() {
            None => cx.emit(Row::of(RowKind::Delete, row.columns)),
            Some((last, kept)) if *last < number => {
                cx.emit(Row::of(RowKind::UpdateAfter, kept.0.clone()));
            }
            Some(_) => {}
        }
        Ok(())
    }

    stored!(rows);
}

/// The number of the next row.
fn next_number(rows: &Bucket<Kept>) -> Result<Box<[u8]>, EvalError> {
    let Some((last, _)) = rows.iter().next_back() else { return Ok(Box::new(0u64.to_be_bytes())) };
    let last = u64::from_be_bytes(*last.first_chunk().ok_or_else(damaged)?);
    Ok(Box::new((last + 1).to_be_bytes()))
}
