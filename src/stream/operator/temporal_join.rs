//! `FOR SYSTEM_TIME AS OF` by event time: each left row meets the version of the right side that held at its time. It
//! waits until the watermark says that no earlier version can come. (Flink: TemporalRowTimeJoinOperator)

use super::{
    Cx, Msg, Operator,
    rows::{On, arrival_key, time_of},
    stored,
};
use crate::stream::{
    datum::{Columns, Row, RowKind},
    expr::EvalError,
    plan::{
        logical::JoinKind,
        physical::{self, OperatorId},
    },
    state::{
        bucket::Bucket,
        encode::{damaged, put_all, put_int, take_all, take_int, take_time, time_key},
        keyed::{Encoded, Keyed, prefix_of},
        timed::Timers,
    },
};

pub struct TemporalJoin {
    kind: JoinKind,
    on: On,
    left_time: usize,
    right_time: usize,
    left: Keyed<Bucket<Version>>,
    right: Keyed<Bucket<Version>>,
    /// Times of left rows that wait, by key.
    due: Timers,
    /// Times of versions, after which older ones may go.
    old: Timers,
    scratch: Vec<u8>,
}

/// A row and its kind.
#[derive(Debug, Clone)]
struct Version {
    columns: Columns,
    kind: RowKind,
}

impl Encoded for Version {
    fn put(&self, out: &mut Vec<u8>) {
        put_int(
            out,
            match self.kind {
                RowKind::Insert => 0,
                RowKind::UpdateBefore => 1,
                RowKind::UpdateAfter => 2,
                RowKind::Delete => 3,
            },
        );
        put_all(out, &self.columns);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        let kind = match take_int(bytes)? {
            0 => RowKind::Insert,
            1 => RowKind::UpdateBefore,
            2 => RowKind::UpdateAfter,
            3 => RowKind::Delete,
            _ => return Err(damaged()),
        };
        Ok(Self { columns: take_all(bytes)?, kind })
    }
}

impl TemporalJoin {
    pub fn open(id: OperatorId, plan: &physical::TemporalJoin, fresh: bool) -> Result<Self, EvalError> {
        let values = plan.on.left_key.len();
        Ok(Self {
            kind: plan.on.kind,
            on: On::open(&plan.on)?,
            left_time: plan.left_time,
            right_time: plan.right_time,
            left: Keyed::new(prefix_of(id, b'l'), values, fresh, None),
            right: Keyed::new(prefix_of(id, b'r'), values, fresh, None),
            due: Timers::new(prefix_of(id, b't')),
            old: Timers::new(prefix_of(id, b'o')),
            scratch: Vec::new(),
        })
    }

    /// Left rows of a key and time.
    fn answer(&mut self, at: i64, key: &[u8], cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let waiting = self.left.value(key, cx.now.ms, cx.store)?;
        let mut subs: Vec<Box<[u8]>> = Vec::new();
        for (sub, _) in waiting.from(&time_key(at)) {
            if take_time(&mut &**sub)? != at {
                break;
            }
            subs.push(sub.clone());
        }
        let rows: Vec<Version> = subs.iter().filter_map(|sub| waiting.remove(sub)).collect();
        let versions = self.right.peek(key, cx.now.ms, cx.store)?;
        let version = match at.checked_add(1) {
            Some(after) => versions.before(&time_key(after)).next_back(),
            None => versions.iter().next_back(),
        };
        let version = version.map(|(_, v)| v).filter(|v| v.kind.adds());
        for left in rows {
            let joined = match version {
                Some(right) => {
                    let right = right.columns.iter().cloned();
                    self.on.meeting(left.columns.iter().cloned(), right, cx.now)?
                }
                None => None,
            };
            match joined {
                Some(columns) => cx.out.push(Msg::Row(Row::of(left.kind, columns))),
                None if self.kind == JoinKind::Left => {
                    cx.out.push(Msg::Row(Row::of(left.kind, self.on.alone(&left.columns, true))));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Of the versions up to a time only the last can still be asked for.
    fn forget(&mut self, watermark_ms: i64, key: &[u8], cx: &Cx<'_>) -> Result<(), EvalError> {
        let versions = self.right.value(key, cx.now.ms, cx.store)?;
        let upto = time_key(watermark_ms.saturating_add(1));
        let mut past: Vec<Box<[u8]>> = versions.before(&upto).map(|(sub, _)| sub.clone()).collect();
        past.pop();
        past.iter().for_each(|sub| drop(versions.remove(sub)));
        Ok(())
    }
}

impl Operator for TemporalJoin {
    fn on_row(&mut self, port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let is_left = port == 0;
        let meets = self.on.key(is_left, &row, cx.now, &mut self.scratch)?;
        let version = Version { kind: row.kind, columns: row.columns.clone() };
        if is_left {
            let at = time_of(&row, self.left_time)?;
            if !meets {
                if self.kind == JoinKind::Left {
                    cx.emit(Row::of(row.kind, self.on.alone(&row.columns, true)));
                }
                return Ok(());
            }
            let waiting = self.left.value(&self.scratch, cx.now.ms, cx.store)?;
            let sub = arrival_key(waiting, at)?;
            waiting.insert(&sub, version);
            self.due.add(at, &self.scratch);
        } else if row.kind != RowKind::UpdateBefore && meets {
            let at = time_of(&row, self.right_time)?;
            let versions = self.right.value(&self.scratch, cx.now.ms, cx.store)?;
            versions.insert(&time_key(at), version);
            self.old.add(at, &self.scratch);
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        while let Some((at, key)) = self.due.next(watermark_ms) {
            self.answer(at, &key, cx)?;
        }
        while let Some((_, key)) = self.old.next(watermark_ms) {
            self.forget(watermark_ms, &key, cx)?;
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    stored!(left, right, due, old);
}
