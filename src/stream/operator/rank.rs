//! The first rows of each partition in an order (Top-N), and the first or last row by time (deduplication).
//! (Flink: AppendOnlyTopNFunction, RetractableTopNFunction, RowTimeDeduplicateFunction)

use super::{
    Cx, Operator,
    rows::{Kept, compare, key_of, time_of, update},
    stored,
};
use crate::stream::{
    datum::{Columns, Datum, Row, RowKind},
    expr::EvalError,
    plan::{
        logical::{RankKind, SortKey},
        physical::{self, OperatorId},
    },
    state::{
        encode,
        keyed::{Changes, Encoded, Keyed, StateValue, Whole, prefix_of},
    },
};

/// Top-N.
pub struct Top {
    partition: Vec<usize>,
    order: Vec<SortKey>,
    places: Places,
    numbered: bool,
    /// All rows are kept, since those in front may be taken back.
    retracts: bool,
    ranked: Keyed<Ranked>,
    scratch: Vec<u8>,
}

/// The places that count, from 1 and both included.
#[derive(Clone, Copy)]
struct Places {
    start: usize,
    end: usize,
    /// Somebody wants to know what a place held before.
    before: bool,
}

/// Rows of a partition in their order.
#[derive(Debug, Default)]
pub struct Ranked {
    rows: Vec<(u64, Columns)>,
    next: u64,
    changed: Vec<u64>,
}

impl Ranked {
    /// Puts a row behind those that are not after it; its place.
    pub fn insert(&mut self, columns: Columns, order: &[SortKey]) -> usize {
        let place = self.rows.partition_point(|(_, row)| compare(row, &columns, order).is_le());
        self.changed.push(self.next);
        self.rows.insert(place, (self.next, columns));
        self.next += 1;
        place
    }

    /// Takes out the first row that is equal; its place.
    pub fn remove(&mut self, columns: &Columns) -> Option<usize> {
        let place = self.rows.iter().position(|(_, row)| row == columns)?;
        self.changed.push(self.rows.remove(place).0);
        Some(place)
    }

    /// Keeps so many rows.
    pub fn truncate(&mut self, count: usize) {
        self.changed.extend(self.rows.drain(count.min(self.rows.len())..).map(|(number, _)| number));
    }

    #[must_use]
    pub fn rows(&self) -> &[(u64, Columns)] {
        &self.rows
    }
}

impl StateValue for Ranked {
    const PARTS: bool = true;

    fn save(&mut self, key: &[u8], changes: &mut Changes) {
        self.changed.sort_unstable();
        self.changed.dedup();
        for number in self.changed.drain(..) {
            let sub = [key, &number.to_be_bytes()].concat();
            match self.rows.iter().find(|(n, _)| *n == number) {
                Some((_, columns)) => {
                    let mut out = Vec::new();
                    // Equal rows keep their order by place, the others by what they are.
                    encode::put_all(&mut out, columns);
                    changes.puts.push((sub, out));
                }
                None => changes.deletes.push(sub),
            }
        }
    }

    fn clear(&mut self) {
        self.truncate(0);
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// In the order of arrival: whoever knows the order sorts them.
    fn load(_whole: Option<&[u8]>, parts: &[(&[u8], &[u8])]) -> Result<Self, EvalError> {
        let mut ranked = Self::default();
        for (sub, value) in parts {
            let number = u64::from_be_bytes(*sub.first_chunk().ok_or_else(encode::damaged)?);
            let Kept(columns) = Kept::take(&mut { *value })?;
            ranked.next = ranked.next.max(number + 1);
            ranked.rows.push((number, columns));
        }
        Ok(ranked)
    }
}

impl Ranked {
    /// After loading: by the order, those that are equal in it by arrival.
    pub fn sort(&mut self, order: &[SortKey]) {
        if !self.rows.is_sorted_by(|(_, a), (_, b)| compare(a, b, order).is_le()) {
            self.rows.sort_by(|(n, a), (m, b)| compare(a, b, order).then(n.cmp(m)));
        }
    }
}

impl Top {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::Rank, fresh: bool) -> Self {
        let small = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            partition: plan.partition.clone(),
            order: plan.order.clone(),
            places: Places { start: small(plan.start), end: small(plan.end), before: plan.before },
            numbered: plan.numbered,
            retracts: plan.retracts,
            ranked: Keyed::new(prefix_of(id, b'k'), plan.partition.len(), fresh, plan.ttl_ms),
            scratch: Vec::new(),
        }
    }
}

/// A partition before and after one row has come or gone.
struct Shift<'r> {
    /// As it is now, with what no longer counts still behind it.
    rows: &'r [(u64, Columns)],
    /// Where the row is, or was.
    place: usize,
    /// The row that is gone.
    gone: Option<&'r Columns>,
}

impl Shift<'_> {
    fn after(&self, place: usize) -> Option<&Columns> {
        self.rows.get(place).map(|(_, columns)| columns)
    }

    fn before(&self, place: usize) -> Option<&Columns> {
        match self.gone {
            _ if place < self.place => self.after(place),
            None => self.after(place.checked_add(1)?),
            Some(gone) if place == self.place => Some(gone),
            Some(_) => self.after(place - 1),
        }
    }
}

/// A row with its number behind it, or what stands there when nobody reads it.
pub fn numbered(mut columns: Columns, rank: usize, wanted: bool) -> Columns {
    columns.push(if wanted { Datum::Int(i64::try_from(rank).unwrap_or(i64::MAX)) } else { Datum::Null });
    columns
}

impl Places {
    /// All places from that of the row on hold another row.
    fn renumber(self, shift: &Shift<'_>, cx: &mut Cx<'_>) {
        for place in shift.place.max(self.start.saturating_sub(1))..self.end {
            let shown = |columns: &Columns| numbered(columns.clone(), place + 1, true);
            match (shift.before(place), shift.after(place)) {
                (Some(old), Some(new)) if old != new => update(cx, shown(old), shown(new), self.before),
                (None, Some(new)) => cx.emit(Row::insert(shown(new))),
                (Some(old), None) => cx.emit(Row::of(RowKind::Delete, shown(old))),
                (Some(_), Some(_)) => {}
                (None, None) => break,
            }
        }
    }

    /// One row at the most leaves the places that count, and one comes.
    fn exchange(self, shift: &Shift<'_>, cx: &mut Cx<'_>) {
        if shift.place >= self.end {
            return;
        }
        let first = shift.place.max(self.start.saturating_sub(1));
        let last = self.end - 1;
        let (leaves, comes) = match shift.gone {
            None => (shift.before(last), shift.after(first)),
            Some(_) => (shift.before(first), shift.after(last)),
        };
        // Without a number to say, the first place of one is 1.
        let shown = |columns: &Columns| numbered(columns.clone(), 1, self.end == 1);
        if let Some(old) = leaves {
            cx.emit(Row::of(RowKind::Delete, shown(old)));
        }
        if let Some(new) = comes {
            cx.emit(Row::insert(shown(new)));
        }
    }
}

impl Operator for Top {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        key_of(&row, &self.partition, &mut self.scratch);
        let ranked = self.ranked.value(&self.scratch, cx.now.ms, cx.store)?;
        ranked.sort(&self.order);
        let full = ranked.rows().len() >= self.places.end;
        if !self.retracts
            && full
            && ranked.rows().last().is_none_or(|(_, last)| compare(&row.columns, last, &self.order).is_ge())
        {
            return Ok(());
        }
        let Row { columns, kind } = row;
        let (place, gone) = if kind.adds() {
            (Some(ranked.insert(columns, &self.order)), None)
        } else {
            (ranked.remove(&columns), Some(columns))
        };
        let Some(place) = place else { return Ok(()) };
        let shift = Shift { rows: ranked.rows(), place, gone: gone.as_ref() };
        if self.numbered {
            self.places.renumber(&shift, cx)
        } else {
            self.places.exchange(&shift, cx)
        }
        if !self.retracts {
            ranked.truncate(self.places.end);
        }
        Ok(())
    }

    stored!(ranked);
}

/// ROW_NUMBER() = 1 in the order of time.
pub struct Deduplicate {
    partition: Vec<usize>,
    time: usize,
    keep_last: bool,
    event: bool,
    before: bool,
    repeats: bool,
    rows: Keyed<Whole<Kept>>,
    scratch: Vec<u8>,
}

impl Deduplicate {
    #[must_use]
    pub fn open(id: OperatorId, plan: &physical::Rank, keep_last: bool, fresh: bool) -> Self {
        Self {
            partition: plan.partition.clone(),
            time: plan.order.first().map_or(0, |key| key.column),
            keep_last,
            event: matches!(plan.kind, RankKind::Deduplicate { event: true, .. }),
            before: plan.before,
            repeats: plan.ttl_ms.is_some(),
            rows: Keyed::new(prefix_of(id, b'd'), plan.partition.len(), fresh, plan.ttl_ms),
            scratch: Vec::new(),
        }
    }
}

impl Operator for Deduplicate {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        key_of(&row, &self.partition, &mut self.scratch);
        let at = if self.event { time_of(&row, self.time)? } else { 0 };
        let known = self.rows.peek(&self.scratch, cx.now.ms, cx.store)?;
        let old = known.value.as_ref().map(|Kept(columns)| columns.clone());
        let wins = match &old {
            None => true,
            Some(old) if self.event => {
                let before = match old.get(self.time) {
                    Some(Datum::Timestamp(before)) => before.ms,
                    _ => i64::MIN,
                };
                if self.keep_last { at >= before } else { at < before }
            }
            Some(_) => self.keep_last,
        };
        if !wins {
            return Ok(());
        }
        let kept = self.rows.value(&self.scratch, cx.now.ms, cx.store)?;
        kept.value = Some(Kept(row.columns.clone()));
        let new = numbered(row.columns.clone(), 1, true);
        match old {
            None => cx.emit(Row::insert(new)),
            Some(old) if !self.repeats && !self.event && old == row.columns => {}
            Some(old) => update(cx, numbered(old, 1, true), new, self.before),
        }
        Ok(())
    }

    stored!(rows);
}
