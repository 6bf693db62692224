//! OVER: each row with aggregates of the rows before it. By event time rows wait for the watermark, so that they are in
//! order. (Flink: RowTimeRowsBoundedPrecedingFunction and its like)

use super::{
    Cx, Msg, Operator,
    aggregate::{Aggregates, Group},
    rows::{Kept, arrival_key, key_of, take_at, time_of},
    stored,
};
use crate::stream::{
    datum::{Columns, Datum, Row},
    expr::EvalError,
    plan::{
        aggregate::AggCall,
        logical::{Frame, OverCall},
        physical::{self, OperatorId},
    },
    state::{
        bucket::Bucket,
        encode::time_key,
        keyed::{Keyed, prefix_of},
        timed::Timers,
    },
};

pub struct Over {
    partition: Vec<usize>,
    time: usize,
    event: bool,
    frame: Frame,
    aggregates: Aggregates,
    calls: Vec<Kind>,
    waiting: Keyed<Bucket<Kept>>,
    /// Rows that a bounded window still reaches.
    reached: Keyed<Bucket<Kept>>,
    /// All rows so far, where the window has no bound; for row numbers only their count.
    groups: Keyed<Group>,
    due: Timers,
    scratch: Vec<u8>,
}

/// Which result comes next.
enum Kind {
    Aggregate,
    RowNumber,
}

impl Over {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::Over, fresh: bool) -> Self {
        let aggregates: Vec<AggCall> = plan
            .calls
            .iter()
            .filter_map(|call| match call {
                OverCall::Aggregate(call) => Some(call.clone()),
                OverCall::DenseRank | OverCall::Rank | OverCall::RowNumber => None,
            })
            .collect();
        let calls = plan.calls.iter().map(|call| match call {
            OverCall::Aggregate(_) => Kind::Aggregate,
            OverCall::DenseRank | OverCall::Rank | OverCall::RowNumber => Kind::RowNumber,
        });
        let values = plan.partition.len();
        Self {
            partition: plan.partition.clone(),
            time: plan.time,
            event: plan.event,
            frame: plan.frame,
            aggregates: Aggregates::open(&aggregates, false),
            calls: calls.collect(),
            waiting: Keyed::new(prefix_of(id, b'p'), values, fresh, None),
            reached: Keyed::new(prefix_of(id, b'h'), values, fresh, None),
            groups: Keyed::new(prefix_of(id, b'g'), values, fresh, None),
            due: Timers::new(prefix_of(id, b't')),
            scratch: Vec::new(),
        }
    }

    /// Rows of one key and one time, in the order of arrival.
    fn work(&mut self, key: &[u8], at: i64, rows: Vec<Columns>, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        match self.frame {
            Frame::RowsAll | Frame::RangeAll => self.unbounded(key, rows, cx),
            Frame::Rows(count) => self.last_rows(key, at, count, rows, cx),
            Frame::Range(ms) => self.last_time(key, at, ms, rows, cx),
        }
    }

    fn unbounded(&mut self, key: &[u8], rows: Vec<Columns>, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let group = self.groups.value(key, cx.now.ms, cx.store)?;
        let peers = self.frame == Frame::RangeAll && self.event;
        let first = group.rows;
        let rows: Vec<Row> = rows.into_iter().map(Row::insert).collect();
        if peers {
            rows.iter().try_for_each(|row| self.aggregates.apply(group, row, false))?;
        }
        for (number, row) in (first + 1..).zip(rows) {
            if !peers {
                self.aggregates.apply(group, &row, false)?;
            }
            cx.emit(with_results(&self.calls, &self.aggregates, row.columns, group, number));
        }
        Ok(())
    }

    fn last_rows(
        &mut self,
        key: &[u8],
        at: i64,
        count: u64,
        rows: Vec<Columns>,
        cx: &mut Cx<'_>,
    ) -> Result<(), EvalError> {
        let keep = usize::try_from(count).unwrap_or(usize::MAX);
        let reached = self.reached.value(key, cx.now.ms, cx.store)?;
        let counted = self.groups.value(key, cx.now.ms, cx.store)?;
        for columns in rows {
            let mut group = Group::default();
            for (_, Kept(before)) in &*reached {
                self.aggregates.apply(&mut group, &Row::insert(before.clone()), false)?;
            }
            let row = Row::insert(columns);
            self.aggregates.apply(&mut group, &row, false)?;
            counted.rows += 1;
            let sub = arrival_key(reached, at)?;
            reached.insert(&sub, Kept(row.columns.clone()));
            while reached.len() > keep {
                let Some(oldest) = reached.iter().next().map(|(sub, _)| sub.clone()) else { break };
                reached.remove(&oldest);
            }
            cx.emit(with_results(&self.calls, &self.aggregates, row.columns, &group, counted.rows));
        }
        Ok(())
    }

    fn last_time(
        &mut self,
        key: &[u8],
        at: i64,
        ms: i64,
        rows: Vec<Columns>,
        cx: &mut Cx<'_>,
    ) -> Result<(), EvalError> {
        let reached = self.reached.value(key, cx.now.ms, cx.store)?;
        let counted = self.groups.value(key, cx.now.ms, cx.store)?;
        for columns in &rows {
            let sub = arrival_key(reached, at)?;
            reached.insert(&sub, Kept(columns.clone()));
        }
        let from = time_key(at.saturating_sub(ms));
        let old: Vec<Box<[u8]>> = reached.before(&from).map(|(sub, _)| sub.clone()).collect();
        old.iter().for_each(|sub| drop(reached.remove(sub)));
        let mut group = Group::default();
        for (_, Kept(columns)) in &*reached {
            self.aggregates.apply(&mut group, &Row::insert(columns.clone()), false)?;
        }
        for columns in rows {
            counted.rows += 1;
            cx.emit(with_results(&self.calls, &self.aggregates, columns, &group, counted.rows));
        }
        Ok(())
    }
}

fn with_results(
    calls: &[Kind],
    aggregates: &Aggregates,
    columns: Columns,
    group: &Group,
    number: i64,
) -> Row {
    let mut columns = columns;
    let mut results = Columns::new();
    aggregates.results(group, &mut results);
    let mut results = results.into_iter();
    for call in calls {
        columns.push(match call {
            Kind::Aggregate => results.next().unwrap_or(Datum::Null),
            Kind::RowNumber => Datum::Int(number),
        });
    }
    Row::insert(columns)
}

impl Operator for Over {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        key_of(&row, &self.partition, &mut self.scratch);
        if !self.event {
            let key = std::mem::take(&mut self.scratch);
            let done = self.work(&key, cx.now.ms, vec![row.columns], cx);
            self.scratch = key;
            return done;
        }
        let at = time_of(&row, self.time)?;
        if at <= cx.now.watermark_ms.unwrap_or(i64::MIN) {
            cx.late(at);
            return Ok(());
        }
        let waiting = self.waiting.value(&self.scratch, cx.now.ms, cx.store)?;
        let sub = arrival_key(waiting, at)?;
        waiting.insert(&sub, Kept(row.columns));
        self.due.add(at, &self.scratch);
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((at, key)) = self.due.next(watermark_ms) {
            let waiting = self.waiting.value(&key, cx.now.ms, cx.store)?;
            let rows = take_at(waiting, at)?;
            self.work(&key, at, rows, cx)?;
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    stored!(waiting, reached, groups, due);
}
