//! Top-N within windows: the rows come out once, in order, when the window closes. (Flink: WindowRankOperator)

use super::{
    Cx, Msg, Operator,
    rank::{Ranked, numbered},
    rows::{key_of, time_of},
    stored,
    window_clock::WindowClock,
};
use crate::stream::{
    datum::Row,
    expr::EvalError,
    plan::{
        logical::SortKey,
        physical::{self, OperatorId},
    },
    state::{keyed::prefix_of, timed::Timed},
};

pub struct WindowRank {
    partition: Vec<usize>,
    order: Vec<SortKey>,
    window_end: usize,
    clock: WindowClock,
    start: usize,
    end: usize,
    numbered: bool,
    windows: Timed<Ranked>,
    scratch: Vec<u8>,
}

impl WindowRank {
    pub fn open(id: OperatorId, plan: &physical::Rank, window_end: usize) -> Result<Self, EvalError> {
        let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(Self {
            partition: plan.partition.clone(),
            order: plan.order.clone(),
            window_end,
            clock: WindowClock::open(plan.zone.as_ref())?,
            start: small(plan.start),
            end: small(plan.end),
            numbered: plan.numbered || plan.end == 1,
            windows: Timed::new(prefix_of(id, b'w'), plan.partition.len(), 0),
            scratch: Vec::new(),
        })
    }
}

impl Operator for WindowRank {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let end = time_of(&row, self.window_end)?;
        let over = self.clock.last_of(end);
        if over <= cx.now.watermark_ms.unwrap_or(i64::MIN) {
            cx.late(over);
            return Ok(());
        }
        key_of(&row, &self.partition, &mut self.scratch);
        let ranked = self.windows.value(end, &self.scratch);
        ranked.sort(&self.order);
        ranked.insert(row.columns, &self.order);
        ranked.truncate(self.end);
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some(end) = self.windows.first().filter(|end| self.clock.is_over(*end, watermark_ms)) {
            for (_, ranked) in self.windows.take(end) {
                ranked.sort(&self.order);
                for (place, (_, columns)) in
                    ranked.rows().iter().enumerate().skip(self.start.saturating_sub(1))
                {
                    cx.out.push(Msg::Row(Row::insert(numbered(columns.clone(), place + 1, self.numbered))));
                }
            }
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    stored!(windows);
}
