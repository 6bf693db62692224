//! Joins of rows whose times are near each other. A row stays until no row of the other side can meet it any more.
//! (Flink: TimeIntervalJoin; late rows still meet what is kept)

use super::{
    Cx, Msg, Operator,
    rows::{On, arrival_key, time_of},
    stored,
};
use crate::stream::{
    datum::{Columns, Row},
    expr::EvalError,
    plan::physical::{self, OperatorId},
    state::{
        bucket::Bucket,
        encode::{put_all, put_int, take_all, take_int, take_time, time_key},
        keyed::{Encoded, Keyed, prefix_of},
        timed::Timers,
    },
};

pub struct IntervalJoin {
    on: On,
    left: Side,
    right: Side,
    event: bool,
    scratch: Vec<u8>,
}

struct Side {
    time: usize,
    rows: Keyed<Bucket<Held>>,
    /// When rows of a key may go.
    due: Timers,
    /// A row at `t` meets rows of the other side from `t - before` to `t + after`.
    before: i64,
    after: i64,
    /// An outer join keeps rows that meet nothing.
    outer: bool,
}

/// A row, and whether it has met another.
#[derive(Debug, Clone)]
struct Held {
    columns: Columns,
    met: bool,
}

impl Encoded for Held {
    fn put(&self, out: &mut Vec<u8>) {
        put_int(out, i64::from(self.met));
        put_all(out, &self.columns);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        Ok(Self { met: take_int(bytes)? != 0, columns: take_all(bytes)? })
    }
}

impl Side {
    fn open(
        (id, tags, values): (OperatorId, [u8; 2], usize),
        time: usize,
        reach: (i64, i64),
        outer: bool,
        fresh: bool,
    ) -> Self {
        let [rows, due] = tags;
        Self {
            time,
            rows: Keyed::new(prefix_of(id, rows), values, fresh, None),
            due: Timers::new(prefix_of(id, due)),
            before: reach.0,
            after: reach.1,
            outer,
        }
    }
}

impl IntervalJoin {
    pub fn open(id: OperatorId, plan: &physical::IntervalJoin, fresh: bool) -> Result<Self, EvalError> {
        // left - right lies between `at_least` and `at_most`.
        let (least, most) = (plan.at_least, plan.at_most);
        let (kind, values) = (plan.on.kind, plan.on.left_key.len());
        Ok(Self {
            on: On::open(&plan.on)?,
            left: Side::open((id, *b"lm", values), plan.left_time, (most, -least), kind.keeps_left(), fresh),
            right: Side::open(
                (id, *b"rs", values),
                plan.right_time,
                (-least, most),
                kind.keeps_right(),
                fresh,
            ),
            event: plan.event,
            scratch: Vec::new(),
        })
    }

    /// Lets go of rows that can meet nothing any more.
    fn expire(&mut self, time_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        for (side, is_left) in [(&mut self.left, true), (&mut self.right, false)] {
            while let Some((_, key)) = side.due.next(time_ms) {
                let rows = side.rows.value(&key, cx.now.ms, cx.store)?;
                let mut gone = Vec::new();
                for (sub, _) in &*rows {
                    let at = take_time(&mut &**sub)?;
                    let until = at.saturating_add(side.after);
                    if until >= time_ms {
                        side.due.add(until.saturating_add(1), &key);
                        break;
                    }
                    gone.push(sub.clone());
                }
                for sub in gone {
                    if let Some(held) = rows.remove(&sub)
                        && side.outer
                        && !held.met
                    {
                        cx.out.push(Msg::Row(Row::insert(self.on.alone(&held.columns, is_left))));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Operator for IntervalJoin {
    fn on_row(&mut self, port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let is_left = port == 0;
        let (own, other) =
            if is_left { (&mut self.left, &mut self.right) } else { (&mut self.right, &mut self.left) };
        let at = if self.event { time_of(&row, own.time)? } else { cx.now.ms };
        let meets = self.on.key(is_left, &row, cx.now, &mut self.scratch)?;
        let mut met = false;
        if meets {
            let rows = other.rows.value(&self.scratch, cx.now.ms, cx.store)?;
            let last = at.saturating_add(own.after);
            let mut touched: Vec<Box<[u8]>> = Vec::new();
            for (sub, held) in rows.from(&time_key(at.saturating_sub(own.before))) {
                if take_time(&mut &**sub)? > last {
                    break;
                }
                let (mine, theirs) = (row.columns.iter().cloned(), held.columns.iter().cloned());
                let joined = if is_left {
                    self.on.meeting(mine, theirs, cx.now)?
                } else {
                    self.on.meeting(theirs, mine, cx.now)?
                };
                if let Some(columns) = joined {
                    met = true;
                    cx.out.push(Msg::Row(Row::insert(columns)));
                    if other.outer && !held.met {
                        touched.push(sub.clone());
                    }
                }
            }
            for sub in touched {
                if let Some(held) = rows.get_mut(&sub) {
                    held.met = true;
                }
            }
        }
        // Flink counts time from zero here.
        let now = if self.event { cx.now.watermark_ms.unwrap_or(0).max(0) } else { cx.now.ms };
        let until = at.saturating_add(own.after);
        if meets && (now < until || !self.event && now <= until) {
            let rows = own.rows.value(&self.scratch, cx.now.ms, cx.store)?;
            let sub = arrival_key(rows, at)?;
            rows.insert(&sub, Held { columns: row.columns, met });
            own.due.add(until.saturating_add(1), &self.scratch);
        } else if own.outer && !met {
            let columns = self.on.alone(&row.columns, is_left);
            cx.emit(Row::insert(columns));
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if self.event {
            self.expire(watermark_ms, cx)?;
        }
        cx.out.push(Msg::Watermark(watermark_ms));
        Ok(())
    }

    fn on_proc_timer(&mut self, now_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if self.event { Ok(()) } else { self.expire(now_ms, cx) }
    }

    fn next_proc_timer(&self) -> Option<i64> {
        if self.event {
            return None;
        }
        [self.left.due.first(), self.right.due.first()].into_iter().flatten().min()
    }

    /// What an outer join keeps back until a row is over may be as old as the row.
    fn watermark_delay_ms(&self) -> i64 {
        self.left.before.max(self.left.after).max(0)
    }

    stored!(left.rows, left.due, right.rows, right.due);
}
