//! Rows that replace each other by key become a changelog that says what was before. (Flink: ChangelogNormalize)

use super::{
    Cx, Operator,
    rows::{Kept, key_of, update},
    stored,
};
use crate::stream::{
    datum::{Row, RowKind},
    expr::EvalError,
    plan::physical::{self, OperatorId},
    state::keyed::{Keyed, Whole, prefix_of},
};

pub struct Normalize {
    key: Vec<usize>,
    before: bool,
    repeats: bool,
    rows: Keyed<Whole<Kept>>,
    scratch: Vec<u8>,
}

impl Normalize {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::Normalize, fresh: bool) -> Self {
        Self {
            key: plan.key.clone(),
            before: plan.before,
            repeats: plan.ttl_ms.is_some(),
            rows: Keyed::new(prefix_of(id, b'n'), plan.key.len(), fresh, plan.ttl_ms),
            scratch: Vec::new(),
        }
    }
}

impl Operator for Normalize {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        key_of(&row, &self.key, &mut self.scratch);
        let kept = self.rows.value(&self.scratch, cx.now.ms, cx.store)?;
        if !row.kind.adds() {
            if let Some(Kept(old)) = kept.value.take() {
                cx.emit(Row::of(RowKind::Delete, old));
            }
            return Ok(());
        }
        match kept.value.replace(Kept(row.columns.clone())) {
            None => cx.emit(Row::insert(row.columns)),
            Some(Kept(old)) if old == row.columns && !self.repeats => {}
            Some(Kept(old)) => update(cx, old, row.columns, self.before),
        }
        Ok(())
    }

    stored!(rows);
}
