//! Joins of all rows of both sides, for ever or until their TTL. What comes out is taken back when what it was made of
//! is. (Flink: StreamingJoinOperator, StreamingSemiAntiJoinOperator)

use super::{
    Cx, Operator,
    rows::{On, bytes_of},
    stored,
};
use crate::stream::{
    datum::{Columns, Datum, Row, RowKind},
    expr::EvalError,
    plan::{
        logical::JoinKind,
        physical::{self, OperatorId},
    },
    state::{
        bucket::Bucket,
        encode::{put_int, take_all_of, take_int},
        keyed::{Encoded, Keyed, prefix_of},
    },
};

pub struct Join {
    kind: JoinKind,
    on: On,
    left: Keyed<Bucket<Held>>,
    right: Keyed<Bucket<Held>>,
    scratch: Vec<u8>,
}

/// A row of one side, under its own bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// How often it is there.
    times: i64,
    /// How many rows of the other side it meets; counted only where an outer join must know.
    meets: i64,
}

impl Encoded for Held {
    fn put(&self, out: &mut Vec<u8>) {
        put_int(out, self.times);
        put_int(out, self.meets);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        Ok(Self { times: take_int(bytes)?, meets: take_int(bytes)? })
    }
}

/// A row of the other side that meets the one at hand.
struct Met {
    /// Itself, where it may be handed on alone or told of it.
    own: Option<(Box<[u8]>, Columns)>,
    joined: Columns,
    held: Held,
}

impl Met {
    fn columns(&self) -> &[Datum] {
        self.own.as_ref().map_or(&[], |(_, columns)| columns)
    }
}

impl Join {
    pub fn open(id: OperatorId, plan: &physical::Join, fresh: bool) -> Result<Self, EvalError> {
        let values = plan.on.left_key.len();
        let [left_ttl_ms, right_ttl_ms] = plan.ttl_ms;
        Ok(Self {
            kind: plan.on.kind,
            on: On::open(&plan.on)?,
            left: Keyed::new(prefix_of(id, b'l'), values, fresh, left_ttl_ms),
            right: Keyed::new(prefix_of(id, b'r'), values, fresh, right_ttl_ms),
            scratch: Vec::new(),
        })
    }

    /// The rows of the other side that meet this one.
    fn met(&mut self, row: &Row, from_left: bool, cx: &Cx<'_>) -> Result<Vec<Met>, EvalError> {
        let outer = if from_left { self.kind.keeps_right() } else { self.kind.keeps_left() };
        let itself = outer || self.kind.is_left_only();
        let other = if from_left { &mut self.right } else { &mut self.left };
        let mut met = Vec::new();
        for (bytes, held) in other.peek(&self.scratch, cx.now.ms, cx.store)? {
            let columns: Columns = take_all_of(bytes)?;
            let own = itself.then(|| (bytes.clone(), columns.clone()));
            let joined = if from_left {
                self.on.meeting(row.columns.iter().cloned(), columns, cx.now)?
            } else {
                self.on.meeting(columns, row.columns.iter().cloned(), cx.now)?
            };
            met.extend(joined.map(|joined| Met { own, joined, held: *held }));
        }
        Ok(met)
    }

    /// Counts the row in or out on its own side.
    fn keep(&mut self, row: &Row, from_left: bool, meets: i64, cx: &Cx<'_>) -> Result<(), EvalError> {
        let own = if from_left { &mut self.left } else { &mut self.right };
        let bucket = own.value(&self.scratch, cx.now.ms, cx.store)?;
        let bytes = bytes_of(&row.columns);
        if row.kind.adds() {
            let held = bucket.get(&bytes).copied().unwrap_or_default();
            bucket.insert(&bytes, Held { times: held.times + 1, meets });
        } else if let Some(held) = bucket.get_mut(&bytes) {
            held.times -= 1;
            if held.times <= 0 {
                bucket.remove(&bytes);
            }
        }
        Ok(())
    }

    /// Tells a row of the other side how many it meets now.
    fn tell(&mut self, met: &Met, from_left: bool, meets: i64, cx: &Cx<'_>) -> Result<(), EvalError> {
        let other = if from_left { &mut self.right } else { &mut self.left };
        let Some((bytes, _)) = &met.own else { return Ok(()) };
        if let Some(held) = other.value(&self.scratch, cx.now.ms, cx.store)?.get_mut(bytes) {
            held.meets = meets;
        }
        Ok(())
    }

    fn outer(
        &mut self,
        row: &Row,
        from_left: bool,
        mut met: Vec<Met>,
        cx: &mut Cx<'_>,
    ) -> Result<(), EvalError> {
        let (own_outer, other_outer) = if from_left {
            (self.kind.keeps_left(), self.kind.keeps_right())
        } else {
            (self.kind.keeps_right(), self.kind.keeps_left())
        };
        let adds = row.kind.adds();
        let plain = if own_outer || other_outer {
            if adds { RowKind::Insert } else { RowKind::Delete }
        } else {
            row.kind
        };
        // As each row may be there several times, it is met as often.
        let count: i64 = met.iter().map(|m| m.held.times).sum();
        self.keep(row, from_left, count, cx)?;
        if met.is_empty() && own_outer {
            cx.emit(Row::of(plain, self.on.alone(&row.columns, from_left)));
        }
        for other in &mut met {
            let joined = std::mem::take(&mut other.joined);
            let alone = || self.on.alone(other.columns(), !from_left);
            if adds && other_outer && other.held.meets == 0 {
                for _ in 0..other.held.times {
                    cx.emit(Row::of(RowKind::Delete, alone()));
                }
            }
            for _ in 1..other.held.times {
                cx.emit(Row::of(plain, joined.clone()));
            }
            cx.emit(Row::of(plain, joined));
            if !adds && other_outer && other.held.meets == 1 {
                for _ in 0..other.held.times {
                    cx.emit(Row::insert(alone()));
                }
            }
        }
        if other_outer {
            let by = if adds { 1 } else { -1 };
            for other in &met {
                self.tell(other, from_left, other.held.meets + by, cx)?;
            }
        }
        Ok(())
    }

    fn left_only(
        &mut self,
        row: &Row,
        from_left: bool,
        met: &[Met],
        cx: &mut Cx<'_>,
    ) -> Result<(), EvalError> {
        let semi = self.kind == JoinKind::Semi;
        let adds = row.kind.adds();
        if from_left {
            self.keep(row, true, met.iter().map(|m| m.held.times).sum(), cx)?;
            if met.is_empty() != semi {
                cx.emit(row.clone());
            }
            return Ok(());
        }
        self.keep(row, false, 0, cx)?;
        for left in met {
            let turns = if adds { left.held.meets == 0 } else { left.held.meets == 1 };
            if turns {
                let kind = match (semi, adds) {
                    (true, _) => row.kind,
                    (false, true) => RowKind::Delete,
                    (false, false) => RowKind::Insert,
                };
                for _ in 0..left.held.times {
                    cx.emit(Row::of(kind, left.columns().to_vec()));
                }
            }
            self.tell(left, false, left.held.meets + if adds { 1 } else { -1 }, cx)?;
        }
        Ok(())
    }
}

impl Operator for Join {
    fn on_row(&mut self, port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let from_left = port == 0;
        let mut key = std::mem::take(&mut self.scratch);
        let meets = self.on.key(from_left, &row, cx.now, &mut key);
        self.scratch = key;
        let met = if meets? { self.met(&row, from_left, cx)? } else { Vec::new() };
        if self.kind.is_left_only() {
            self.left_only(&row, from_left, &met, cx)
        } else {
            self.outer(&row, from_left, met, cx)
        }
    }

    stored!(left, right);
}
