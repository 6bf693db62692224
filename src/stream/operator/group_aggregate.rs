//! GROUP BY without windows: each row updates the result of its group. (Flink: GroupAggFunction)

use super::{
    Cx, Operator,
    aggregate::{Aggregates, Group},
    rows::{first_key, update},
    stored,
};
use crate::stream::{
    datum::{Columns, Row, RowKind},
    expr::EvalError,
    plan::physical::{self, OperatorId},
    state::keyed::{Keyed, StateValue, prefix_of},
};

pub struct GroupAggregate {
    keys: usize,
    aggregates: Aggregates,
    groups: Keyed<Group>,
    before: bool,
    /// With a TTL unchanged results are sent too, so that those behind renew their state.
    repeats: bool,
    scratch: Vec<u8>,
}

impl GroupAggregate {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::GroupAggregate, fresh: bool) -> Self {
        Self {
            keys: plan.keys,
            aggregates: Aggregates::open(&plan.calls, plan.retracts),
            groups: Keyed::new(prefix_of(id, b'g'), plan.keys, fresh, plan.ttl_ms),
            before: plan.before,
            repeats: plan.ttl_ms.is_some(),
            scratch: Vec::new(),
        }
    }
}

impl Operator for GroupAggregate {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        first_key(&row, self.keys, &mut self.scratch);
        let group = self.groups.value(&self.scratch, cx.now.ms, cx.store)?;
        let first = group.is_empty();
        if first && !row.kind.adds() {
            // Taken back before it was there: its state has expired.
            return Ok(());
        }
        let key = || row.columns.iter().take(self.keys).cloned().collect::<Columns>();
        let mut old = key();
        if !first {
            self.aggregates.results(group, &mut old);
        }
        self.aggregates.apply(group, &row, !row.kind.adds())?;
        if group.rows <= 0 {
            group.clear();
            if !first {
                cx.emit(Row::of(RowKind::Delete, old));
            }
            return Ok(());
        }
        let mut new = key();
        self.aggregates.results(group, &mut new);
        if first {
            cx.emit(Row::insert(new));
        } else if self.repeats || old != new {
            update(cx, old, new, self.before);
        }
        Ok(())
    }

    stored!(groups);
}
