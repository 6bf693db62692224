//! Aggregates by window, results when the window closes: TUMBLE, HOP and CUMULATE, by event or processing time.
//!
//! Rows are kept by slices, pieces of time that no window cuts; a closing window merges the slices it is made of.
//! A row is late when the last window it would be in has closed. (Flink: SlicingWindowOperator)

use std::collections::BTreeSet;

use super::{
    Cx, Operator,
    aggregate::{Aggregates, Group},
    closes_windows,
    rows::{first_key, time_of},
    stored,
    window_clock::WindowClock,
};
use crate::stream::{
    datum::{Columns, Datum, Row},
    expr::EvalError,
    plan::{
        physical::{self, OperatorId},
        window::{Window, WindowShape, WindowTime},
    },
    state::{
        encode::{put, take_all_of},
        keyed::prefix_of,
        timed::{Timed, Timers},
    },
};

pub struct WindowAggregate {
    window: Window,
    clock: WindowClock,
    time: WindowTime,
    keys: usize,
    aggregates: Aggregates,
    /// By the end of the slice; windows that rows bring along are slices of their own.
    slices: Timed<Group>,
    /// Ends of windows that have something in them and have not closed.
    open: Timers,
    /// Slices whose windows are among the open ones, and the last of them that was asked for.
    known: BTreeSet<i64>,
    recent: i64,
    scratch: Vec<u8>,
}

impl WindowAggregate {
    pub fn open(id: OperatorId, plan: &physical::WindowAggregate) -> Result<Self, EvalError> {
        Ok(Self {
            window: plan.window.clone(),
            clock: WindowClock::open(plan.window.zone.as_ref())?,
            time: plan.time,
            keys: plan.keys,
            aggregates: Aggregates::open(&plan.calls, plan.retracts),
            slices: Timed::new(prefix_of(id, b'w'), plan.keys, usize::from(plan.time.is_attached())),
            open: Timers::new(prefix_of(id, b't')),
            known: BTreeSet::new(),
            recent: i64::MIN,
            scratch: Vec::new(),
        })
    }

    fn is_event_time(&self) -> bool {
        self.time.attribute() == crate::stream::plan::properties::TimeAttribute::Event
    }

    /// Whether a slice is a whole window: then nothing needs merging.
    fn is_whole(&self) -> bool {
        self.time.is_attached() || matches!(self.window.shape, WindowShape::Tumble { .. })
    }

    fn last_window(&self, slice_end: i64) -> Option<i64> {
        if self.is_whole() { Some(slice_end) } else { self.window.ends_of_slice(slice_end).last() }
    }

    fn open_windows_of(&mut self, slice_end: i64, closed: i64) {
        self.recent = slice_end;
        if !self.known.insert(slice_end) {
            return;
        }
        if self.is_whole() {
            self.open.add(slice_end, b"");
            return;
        }
        for end in self.window.ends_of_slice(slice_end).filter(|end| !self.clock.is_over(*end, closed)) {
            self.open.add(end, b"");
        }
    }

    /// Closes all windows that are over.
    fn close(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((end, _)) = self.open.next_if(|end| self.clock.is_over(end, watermark_ms)) {
            self.recent = i64::MIN;
            if !self.is_whole() {
                self.close_sliced(end, cx)?;
                continue;
            }
            self.known.remove(&end);
            let attached = self.time.is_attached();
            let start = self.window.start_of_end(end);
            for (key, group) in self.slices.take(end) {
                if group.rows > 0 {
                    let mut key: Columns = take_all_of(&key)?;
                    let start = match if attached { key.pop() } else { None } {
                        Some(Datum::Timestamp(at)) => at.ms,
                        _ => start,
                    };
                    emit(&self.aggregates, key, group, self.clock.columns(start, end), cx);
                }
            }
        }
        Ok(())
    }

    fn close_sliced(&mut self, end: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let start = self.window.start_of_end(end);
        let slices: Vec<i64> = self.slices.times_within(start + 1, end).collect();
        let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
        slices.iter().for_each(|slice| keys.extend(self.slices.keys(*slice)));
        for key in keys {
            let mut merged = Group::default();
            for group in slices.iter().filter_map(|slice| self.slices.get(*slice, &key)) {
                self.aggregates.merge(&mut merged, group);
            }
            if merged.rows > 0 {
                let bounds = self.clock.columns(start, end);
                emit(&self.aggregates, take_all_of(&key)?, &merged, bounds, cx);
            }
        }
        // What no open window can need any more goes.
        for slice in slices {
            if self.last_window(slice).is_none_or(|last| last <= end) {
                drop(self.slices.take(slice));
                self.known.remove(&slice);
            }
        }
        Ok(())
    }
}

/// The row of a closed window: key, bounds, time, results.
pub(super) fn emit(
    aggregates: &Aggregates,
    key: Columns,
    group: &Group,
    bounds: [Datum; 3],
    cx: &mut Cx<'_>,
) {
    let mut columns = key;
    columns.extend(bounds);
    aggregates.results(group, &mut columns);
    cx.emit(Row::insert(columns));
}

impl Operator for WindowAggregate {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let slice_end = match self.time {
            WindowTime::Event { column } => self.window.slice_end(self.clock.shown(time_of(&row, column)?)),
            WindowTime::Processing => self.window.slice_end(self.clock.shown(cx.now.ms)),
            WindowTime::Attached { end, .. } => time_of(&row, end)?,
        };
        let closed = if self.is_event_time() { cx.now.watermark_ms.unwrap_or(i64::MIN) } else { i64::MIN };
        // Of a HOP with gaps there may be none.
        let Some(last) = self.last_window(slice_end) else { return Ok(()) };
        let over = self.clock.last_of(last);
        if over <= closed {
            cx.late(over);
            return Ok(());
        }
        first_key(&row, self.keys, &mut self.scratch);
        if let WindowTime::Attached { start, .. } = self.time {
            // Windows of one end need not begin together.
            put(&mut self.scratch, row.column(start));
        }
        let group = self.slices.value(slice_end, &self.scratch);
        self.aggregates.apply(group, &row, !row.kind.adds())?;
        if self.recent != slice_end {
            self.open_windows_of(slice_end, closed);
        }
        Ok(())
    }

    closes_windows!(open);

    stored!(slices, open);

    fn opened(&mut self) {
        self.known.extend(self.slices.times());
    }
}
