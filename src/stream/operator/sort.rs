//! ORDER BY time: rows wait for the watermark and leave in order. By processing time they are in order as they come.
//! (Flink: RowTimeSortOperator)

use super::{
    Cx, Msg, Operator,
    rows::{Kept, arrival_key, compare, take_at, time_of},
};
use crate::stream::{
    datum::Row,
    expr::EvalError,
    plan::{
        logical::SortKey,
        physical::{self, OperatorId},
    },
    state::{
        bucket::Bucket,
        keyed::{Keyed, Stored, prefix_of},
        timed::Timers,
    },
};

pub struct Sort {
    order: Vec<SortKey>,
    time: usize,
    event: bool,
    /// All under one key: the order is of the whole stream.
    waiting: Keyed<Bucket<Kept>>,
    due: Timers,
}

/// The key of all rows.
const ALL: &[u8] = b"";

impl Sort {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::Sort, fresh: bool) -> Self {
        Self {
            order: plan.order.clone(),
            time: plan.order.first().map_or(0, |key| key.column),
            event: plan.event,
            waiting: Keyed::new(prefix_of(id, b'p'), 0, fresh, None),
            due: Timers::new(prefix_of(id, b't')),
        }
    }
}

impl Operator for Sort {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if !self.event {
            cx.emit(row);
            return Ok(());
        }
        let at = time_of(&row, self.time)?;
        if at <= cx.now.watermark_ms.unwrap_or(i64::MIN) {
            cx.late(at);
            return Ok(());
        }
        let waiting = self.waiting.value(ALL, cx.now.ms, cx.store)?;
        let sub = arrival_key(waiting, at)?;
        waiting.insert(&sub, Kept(row.columns));
        self.due.add(at, ALL);
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((at, _)) = self.due.next(watermark_ms) {
            let waiting = self.waiting.value(ALL, cx.now.ms, cx.store)?;
            let mut rows = take_at(waiting, at)?;
            rows.sort_by(|a, b| compare(a, b, &self.order));
            rows.into_iter().for_each(|columns| cx.emit(Row::insert(columns)));
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    fn stored(&self) -> Vec<&dyn Stored> {
        if self.event { vec![&self.waiting, &self.due] } else { Vec::new() }
    }

    fn stored_mut(&mut self) -> Vec<&mut dyn Stored> {
        if self.event { vec![&mut self.waiting, &mut self.due] } else { Vec::new() }
    }
}
