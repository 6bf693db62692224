//! Window table functions that no aggregate follows: each row with the bounds of its windows.

use super::{
    Cx, Msg, Operator,
    rows::{Kept, arrival_key, key_of, time_of},
    stored,
    window_clock::WindowClock,
};
use crate::stream::{
    datum::Row,
    expr::EvalError,
    plan::{
        physical::{self, OperatorId},
        window::{Window, WindowShape},
    },
    state::{
        bucket::Bucket,
        encode::{damaged, take_time, time_key},
        keyed::{Keyed, prefix_of},
        timed::Timers,
    },
};

/// TUMBLE, HOP and CUMULATE: nothing is kept, and no row is late here.
pub struct WindowRows {
    window: Window,
    clock: WindowClock,
    /// `None`: by the time at which rows come.
    time: Option<usize>,
}

impl WindowRows {
    pub fn open(plan: &physical::WindowRows) -> Result<Self, EvalError> {
        let clock = WindowClock::open(plan.window.zone.as_ref())?;
        Ok(Self { window: plan.window.clone(), clock, time: plan.time })
    }
}

fn time_of_row(row: &Row, time: Option<usize>, cx: &Cx<'_>) -> Result<i64, EvalError> {
    time.map_or(Ok(cx.now.ms), |column| time_of(row, column))
}

fn with_bounds(mut row: Row, start: i64, end: i64, clock: &WindowClock) -> Row {
    row.columns.extend(clock.columns(start, end));
    row
}

impl Operator for WindowRows {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let slice = self.window.slice_end(self.clock.shown(time_of_row(&row, self.time, cx)?));
        for end in self.window.ends_of_slice(slice) {
            cx.emit(with_bounds(row.clone(), self.window.start_of_end(end), end, &self.clock));
        }
        Ok(())
    }
}

/// SESSION: rows wait until their session is over. (Flink: UnalignedWindowTableFunctionOperator)
pub struct SessionRows {
    gap_ms: i64,
    clock: WindowClock,
    time: Option<usize>,
    partition: Vec<usize>,
    /// Rows by time and arrival. Sessions are what lies within the gap.
    rows: Keyed<Bucket<Kept>>,
    ends: Timers,
    scratch: Vec<u8>,
}

impl SessionRows {
    pub fn open(id: OperatorId, plan: &physical::WindowRows, fresh: bool) -> Result<Self, EvalError> {
        let gap_ms = match plan.window.shape {
            WindowShape::Session { gap } => gap,
            WindowShape::Cumulate { .. } | WindowShape::Hop { .. } | WindowShape::Tumble { .. } => 0,
        };
        Ok(Self {
            gap_ms,
            clock: WindowClock::open(plan.window.zone.as_ref())?,
            time: plan.time,
            partition: plan.partition.clone(),
            rows: Keyed::new(prefix_of(id, b'r'), plan.partition.len(), fresh, None),
            ends: Timers::new(prefix_of(id, b't')),
            scratch: Vec::new(),
        })
    }

    /// Lets the rows of all sessions go that are over.
    fn close(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((end, key)) = self.ends.next_if(|end| self.clock.is_over(end, watermark_ms)) {
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
                    cx.emit(with_bounds(Row::insert(columns), from, end, &self.clock));
                }
            }
        }
        Ok(())
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
        let at = self.clock.shown(time_of_row(&row, self.time, cx)?);
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
        let over = self.clock.last_of(end);
        if self.time.is_some() && over <= cx.now.watermark_ms.unwrap_or(i64::MIN) {
            cx.late(over);
            return Ok(());
        }
        rows.insert(&arrival_key(rows, at)?, Kept(row.columns));
        self.ends.add(end, &self.scratch);
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if self.time.is_some() {
            self.close(watermark_ms, cx)?;
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    fn on_proc_timer(&mut self, now_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if self.time.is_some() { Ok(()) } else { self.close(now_ms - 1, cx) }
    }

    fn next_proc_timer(&self) -> Option<i64> {
        let first = if self.time.is_some() { None } else { self.ends.first() };
        first.map(|end| self.clock.last_of(end) + 1)
    }

    stored!(rows, ends);
}
