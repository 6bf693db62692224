//! What operators do with rows: keys of them, copies of them, rows side by side, rows as state.

use std::cmp::Ordering;

use crate::stream::{
    datum::{Columns, Datum, Row, RowKind},
    expr::{EvalError, Now, compile::Code},
    plan::{logical::SortKey, physical::JoinOn},
    state::{
        bucket::Bucket,
        encode::{damaged, put_all, put_key, take_all, take_time, time_key},
        keyed::Encoded,
    },
};

/// The columns of a row as state.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept(pub Columns);

impl Encoded for Kept {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(out, &self.0);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        Ok(Self(take_all(bytes)?))
    }
}

/// Writes the key of a row, made of these columns, over what was in `key`.
pub fn key_of(row: &Row, columns: &[usize], key: &mut Vec<u8>) {
    key.clear();
    columns.iter().for_each(|c| put_key(key, row.column(*c)));
}

/// The same for the first columns.
pub fn first_key(row: &Row, count: usize, key: &mut Vec<u8>) {
    key.clear();
    row.columns.iter().take(count).for_each(|value| put_key(key, value));
}

/// The same for the values of expressions.
pub fn put_values(row: &Row, exprs: &[Code], now: Now, key: &mut Vec<u8>) -> Result<(), EvalError> {
    key.clear();
    for code in exprs {
        put_key(key, &code.eval(row, now)?);
    }
    Ok(())
}

/// The milliseconds of a time attribute.
pub fn time_of(row: &Row, column: usize) -> Result<i64, EvalError> {
    if let Datum::Timestamp(at) = row.column(column) {
        return Ok(at.ms);
    }
    // Flink's words.
    let message = "RowTime field should not be null, please convert it to a non-null long value.";
    Err(EvalError(message.to_owned()))
}

/// All columns of a row as bytes.
#[must_use]
pub fn bytes_of(columns: &[Datum]) -> Vec<u8> {
    let mut out = Vec::new();
    columns.iter().for_each(|value| put_key(&mut out, value));
    out
}

/// A key by which rows of a bucket lie in the order of their times, those of one time in the order of arrival.
pub fn arrival_key<T>(bucket: &Bucket<T>, at_ms: i64) -> Result<Vec<u8>, EvalError> {
    let last = match at_ms.checked_add(1) {
        Some(next) => bucket.before(&time_key(next)).next_back(),
        None => bucket.iter().next_back(),
    };
    let number = match last.and_then(|(sub, _)| sub.split_first_chunk::<8>()) {
        Some((time, number)) if *time == time_key(at_ms) => {
            u64::from_be_bytes(*number.first_chunk().ok_or_else(damaged)?) + 1
        }
        _ => 0,
    };
    Ok([time_key(at_ms).as_slice(), &number.to_be_bytes()].concat())
}

/// Takes out the rows of a time, in the order of arrival.
pub fn take_at(bucket: &mut Bucket<Kept>, at_ms: i64) -> Result<Vec<Columns>, EvalError> {
    let mut subs: Vec<Box<[u8]>> = Vec::new();
    for (sub, _) in bucket.from(&time_key(at_ms)) {
        if take_time(&mut &**sub)? != at_ms {
            break;
        }
        subs.push(sub.clone());
    }
    Ok(subs.iter().filter_map(|sub| bucket.remove(sub)).map(|Kept(columns)| columns).collect())
}

/// The order of two rows.
#[must_use]
pub fn compare(a: &[Datum], b: &[Datum], order: &[SortKey]) -> Ordering {
    for key in order {
        let (x, y) = (a.get(key.column).unwrap_or(&Datum::Null), b.get(key.column).unwrap_or(&Datum::Null));
        let found = match (x.is_null(), y.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => {
                if key.nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (false, true) => {
                if key.nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (false, false) => {
                let found = x.compare(y).unwrap_or(Ordering::Equal);
                if key.descending { found.reverse() } else { found }
            }
        };
        if found != Ordering::Equal {
            return found;
        }
    }
    Ordering::Equal
}

/// What must hold between the rows of two sides, ready to run.
pub struct On {
    left_key: Vec<Code>,
    right_key: Vec<Code>,
    null_safe: Vec<bool>,
    condition: Option<Code>,
    pub left_width: usize,
    pub right_width: usize,
}

impl On {
    pub fn open(plan: &JoinOn) -> Result<Self, EvalError> {
        let all = |exprs: &[crate::stream::expr::Expr]| {
            exprs.iter().map(crate::stream::expr::compile::compile).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            left_key: all(&plan.left_key)?,
            right_key: all(&plan.right_key)?,
            null_safe: plan.null_safe.clone(),
            condition: plan.condition.as_ref().map(crate::stream::expr::compile::compile).transpose()?,
            left_width: plan.left_width,
            right_width: plan.right_width,
        })
    }

    /// Writes the join key of a row; `false` if a NULL in it keeps it from meeting anything.
    pub fn key(&self, left: bool, row: &Row, now: Now, key: &mut Vec<u8>) -> Result<bool, EvalError> {
        key.clear();
        let mut meets = true;
        let codes = if left { &self.left_key } else { &self.right_key };
        for (code, null_safe) in codes.iter().zip(&self.null_safe) {
            let value = code.eval(row, now)?;
            meets &= *null_safe || !value.is_null();
            put_key(key, &value);
        }
        Ok(meets)
    }

    /// The two rows side by side, if they meet.
    pub fn meeting(
        &self,
        left: impl IntoIterator<Item = Datum>,
        right: impl IntoIterator<Item = Datum>,
        now: Now,
    ) -> Result<Option<Columns>, EvalError> {
        let mut columns = Columns::with_capacity(self.left_width + self.right_width);
        columns.extend(left);
        columns.extend(right);
        let Some(condition) = &self.condition else { return Ok(Some(columns)) };
        let row = Row::insert(columns);
        Ok(if condition.holds(&row, now)? { Some(row.columns) } else { None })
    }

    /// A row of one side with NULLs for the other.
    #[must_use]
    pub fn alone(&self, own: &[Datum], left: bool) -> Columns {
        let nulls = std::iter::repeat_n(Datum::Null, if left { self.right_width } else { self.left_width });
        if left {
            own.iter().cloned().chain(nulls).collect()
        } else {
            nulls.chain(own.iter().cloned()).collect()
        }
    }
}

/// `-U` and `+U`, or what is left of them: nothing when both are equal, no `-U` where nobody wants it.
pub fn update(cx: &mut super::Cx<'_>, before: Columns, after: Columns, wants_before: bool) {
    if wants_before {
        cx.emit(Row::of(RowKind::UpdateBefore, before));
    }
    cx.emit(Row::of(RowKind::UpdateAfter, after));
}
