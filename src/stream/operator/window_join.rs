//! Joins within windows: the rows of both sides meet when their window closes. (Flink: WindowJoinOperator)

use std::collections::BTreeSet;

use super::{
    Cx, Msg, Operator,
    rows::{Kept, On, arrival_key, time_of},
    stored,
    window_clock::WindowClock,
};
use crate::stream::{
    datum::{Columns, Row},
    expr::EvalError,
    plan::{
        logical::JoinKind,
        physical::{self, OperatorId},
    },
    state::{bucket::Bucket, encode::put_int, keyed::prefix_of, timed::Timed},
};

pub struct WindowJoin {
    kind: JoinKind,
    on: On,
    left_end: usize,
    right_end: usize,
    clock: WindowClock,
    left: Timed<Bucket<Kept>>,
    right: Timed<Bucket<Kept>>,
    scratch: Vec<u8>,
}

impl WindowJoin {
    pub fn open(id: OperatorId, plan: &physical::WindowJoin) -> Result<Self, EvalError> {
        let values = plan.on.left_key.len();
        Ok(Self {
            kind: plan.on.kind,
            on: On::open(&plan.on)?,
            left_end: plan.left_end,
            right_end: plan.right_end,
            clock: WindowClock::open(plan.zone.as_ref())?,
            left: Timed::new(prefix_of(id, b'l'), values, 1),
            right: Timed::new(prefix_of(id, b'r'), values, 1),
            scratch: Vec::new(),
        })
    }

    fn close(&mut self, end: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let mut keys: BTreeSet<Box<[u8]>> = self.left.keys(end);
        keys.extend(self.right.keys(end));
        for key in &keys {
            // The last value of a key says whether it may meet others at all.
            let meets = key.last() == Some(&MEETS);
            let left = rows_of(self.left.get(end, key));
            let right = rows_of(self.right.get(end, key));
            self.meet(&left, &right, meets, cx)?;
        }
        drop(self.left.take(end));
        drop(self.right.take(end));
        Ok(())
    }

    fn meet(
        &self,
        left: &[&Columns],
        right: &[&Columns],
        meets: bool,
        cx: &mut Cx<'_>,
    ) -> Result<(), EvalError> {
        let mut right_met = vec![false; right.len()];
        for l in left {
            let mut met = false;
            for (r, r_met) in right.iter().zip(&mut right_met) {
                let joined =
                    if meets { self.on.meeting(l.iter().cloned(), r.iter().cloned(), cx.now)? } else { None };
                let Some(columns) = joined else { continue };
                (met, *r_met) = (true, true);
                if !self.kind.is_left_only() {
                    cx.emit(Row::insert(columns));
                }
            }
            match self.kind {
                JoinKind::Semi if met => cx.emit(Row::insert((*l).clone())),
                JoinKind::Anti if !met => cx.emit(Row::insert((*l).clone())),
                JoinKind::Left | JoinKind::Full if !met => cx.emit(Row::insert(self.on.alone(l, true))),
                JoinKind::Anti
                | JoinKind::Full
                | JoinKind::Inner
                | JoinKind::Left
                | JoinKind::Right
                | JoinKind::Semi => {}
            }
        }
        if self.kind.keeps_right() {
            for (r, _) in right.iter().zip(right_met).filter(|(_, met)| !met) {
                cx.emit(Row::insert(self.on.alone(r, false)));
            }
        }
        Ok(())
    }
}

/// The last byte of a key without a NULL; of the others it is another.
const MEETS: u8 = 2;

fn rows_of(bucket: Option<&Bucket<Kept>>) -> Vec<&Columns> {
    bucket.into_iter().flat_map(|b| b.iter().map(|(_, Kept(columns))| columns)).collect()
}

impl Operator for WindowJoin {
    fn on_row(&mut self, port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let is_left = port == 0;
        let end = time_of(&row, if is_left { self.left_end } else { self.right_end })?;
        let over = self.clock.last_of(end);
        if over <= cx.now.watermark_ms.unwrap_or(i64::MIN) {
            cx.late(over);
            return Ok(());
        }
        let meets = self.on.key(is_left, &row, cx.now, &mut self.scratch)?;
        // A tagged whole number: 1 meets, 0 does not.
        self.scratch.push(9);
        put_int(&mut self.scratch, i64::from(meets));
        let side = if is_left { &mut self.left } else { &mut self.right };
        let rows = side.value(end, &self.scratch);
        let sub = arrival_key(rows, 0)?;
        rows.insert(&sub, Kept(row.columns));
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        loop {
            let first = [self.left.first(), self.right.first()].into_iter().flatten().min();
            let Some(end) = first.filter(|end| self.clock.is_over(*end, watermark_ms)) else { break };
            self.close(end, cx)?;
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    stored!(left, right);
}
