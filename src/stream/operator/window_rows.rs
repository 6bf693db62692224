//! Window table functions that no aggregate follows: each row with the bounds of its windows.

use super::{
    Cx, Msg, Operator,
    rows::{Kept, arrival_key, key_of, time_of},
    stored,
};
use crate::stream::{
    datum::{Datum, Instant, Row},
    expr::EvalError,
    plan::{
        physical::{self, OperatorId},
        window::{Window, WindowShape},
    },
    state::{
        encode::{damaged, take_time, time_key},
        keyed::{Bucket, Keyed, prefix_of},
        timed::Timers,
    },
};

/// TUMBLE, HOP and CUMULATE: nothing is kept, and no row is late here.
pub struct WindowRows {
    window: Window,
    time: usize,
}

impl WindowRows {
    #[must_use]
    pub fn open(plan: &physical::WindowRows) -> Self {
        Self { window: plan.window, time: plan.time }
    }
}

fn with_bounds(mut row: Row, start: i64, end: i64) -> Row {
    let at = |ms: i64| Datum::Timestamp(Instant::from_ms(ms));
    row.columns.extend([at(start), at(end), at(end - 1)]);
    row
}

impl Operator for WindowRows {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let slice = self.window.slice_end(time_of(&row, self.time)?);
        for end in self.window.ends_of_slice(slice) {
            cx.emit(with_bounds(row.clone(), self.window.start_of_end(end), end));
        }
        Ok(())
    }
}

/// SESSION: rows wait until their session is over. (Flink: UnalignedWindowTableFunctionOperator)
pub struct SessionRows {
    gap_ms: i64,
    time: usize,
    partition: Vec<usize>,
    /// Rows by time and arrival. Sessions are what lies within the gap.
    rows: Keyed<Bucket<Kept>>,
    ends: Timers,
    scratch: Vec<u8>,
}

impl SessionRows {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::WindowRows, fresh: bool) -> Self {
        let gap_ms = match plan.window.shape {
            WindowShape::Session { gap } => gap,
            WindowShape::Cumulate { .. } | WindowShape::Hop { .. } | WindowShape::Tumble { .. } => 0,
        };
        Self {
            gap_ms,
            time: plan.time,
            partition: plan.partition.clone(),
            rows: Keyed::new(prefix_of(id, b'r'), plan.partition.len(), fresh, None),
            ends: Timers::new(prefix_of(id, b't')),
            scratch: Vec::new(),
        }
    }
}

/// The sessions of rows in order of time: from, to (both rows' times).
fn sessions(times: impl Iterator<Item = i64>, gap_ms: i64) -> Vec<(i64, i64)> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for at in times {
        match found.last_mut() {
            Some((_, last)) if at <= last.saturating_add(gap_ms) => *last = at,
            _ => found.push((at, at)),
        }
    }
    found
}

fn time_of_key(mut sub: &[u8]) -> Result<i64, EvalError> {
    take_time(&mut sub)
}

impl Operator for SessionRows {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let at = time_of(&row, self.time)?;
        key_of(&row, &self.partition, &mut self.scratch);
        let rows = self.rows.value(&self.scratch, cx.now.ms, cx.store)?;
        let times: Result<Vec<i64>, EvalError> = rows.iter().map(|(sub, _)| time_of_key(sub)).collect();
        let mut times = times?;
        times.push(at);
        times.sort_unstable();
        let found = sessions(times.into_iter(), self.gap_ms);
        let own = found.into_iter().find(|(from, to)| (*from..=*to).contains(&at));
        let (_, last) = own.ok_or_else(damaged)?;
        let end = last.saturating_add(self.gap_ms);
        if end - 1 <= cx.now.watermark_ms.unwrap_or(i64::MIN) {
            cx.late(end - 1);
            return Ok(());
        }
        rows.insert(&arrival_key(rows, at)?, Kept(row.columns));
        self.ends.add(end, &self.scratch);
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((end, key)) = self.ends.next(watermark_ms.saturating_add(1)) {
            let rows = self.rows.value(&key, cx.now.ms, cx.store)?;
            let times: Result<Vec<i64>, EvalError> = rows.iter().map(|(sub, _)| time_of_key(sub)).collect();
            let found = sessions(times?.into_iter(), self.gap_ms);
            // A session that has grown has a later end, and a timer for it.
            let Some((from, to)) = found.into_iter().find(|(_, to)| to + self.gap_ms == end) else {
                continue;
            };
            let due: Vec<Box<[u8]>> = rows
                .from(&time_key(from))
                .map(|(sub, _)| sub.clone())
                .take_while(|sub| time_of_key(sub).is_ok_and(|at| at <= to))
                .collect();
            for sub in due {
                if let Some(Kept(columns)) = rows.remove(&sub) {
                    cx.emit(with_bounds(Row::insert(columns), from, end));
                }
            }
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    stored!(rows, ends);
}
