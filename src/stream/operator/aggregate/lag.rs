//! LAG: the value so many rows before. A call of one argument keeps values, one of more keeps them with their offset and
//! default: what counts is what the last row says. (Flink: LagAggFunction)

use crate::stream::{datum::Datum, expr::EvalError};

/// What a row gives: the value, how far back the result is, and what stands in for a row that is not there.
struct Lag<'a> {
    value: &'a Datum,
    offset: usize,
    default: &'a Datum,
}

fn lag(row: &Datum, arguments: usize) -> Result<Lag<'_>, EvalError> {
    let alone = Lag { value: row, offset: 1, default: &Datum::Null };
    let Datum::Row(parts) = row else { return Ok(alone) };
    if arguments == 1 {
        return Ok(alone);
    }
    let part = |index: usize| parts.get(index).unwrap_or(&Datum::Null);
    let Datum::Int(offset) = *part(1) else {
        return Err(EvalError("the offset of LAG is NULL".to_owned()));
    };
    // Flink's words.
    let offset =
        usize::try_from(offset).map_err(|_| EvalError(format!("Offset({offset}) should be positive.")))?;
    Ok(Lag { value: part(0), offset, default: part(2) })
}

/// Fails for a row whose offset is none.
pub(super) fn check(row: &Datum, arguments: usize) -> Result<(), EvalError> {
    lag(row, arguments).map(|_| ())
}

/// Adds a row; those go that its offset no longer reaches.
pub(super) fn add(list: &mut Vec<Datum>, row: &Datum, arguments: usize) {
    list.push(row.clone());
    let reached = lag(row, arguments).map_or(0, |lag| lag.offset).saturating_add(1);
    list.drain(..list.len().saturating_sub(reached));
}

pub(super) fn result(list: &[Datum], arguments: usize) -> Datum {
    let Some(Ok(last)) = list.last().map(|row| lag(row, arguments)) else { return Datum::Null };
    match list.first().map(|row| lag(row, arguments)) {
        Some(Ok(first)) if list.len() > last.offset => first.value.clone(),
        _ => last.default.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: i64, offset: Datum) -> Datum {
        Datum::Row([Datum::Int(value), offset, Datum::Int(-1)].into())
    }

    #[test]
    fn the_last_row_says_how_far_back_the_result_is() {
        let mut list = Vec::new();
        let mut results = Vec::new();
        for (value, offset) in [(1, 2), (2, 2), (3, 2), (4, 0), (5, 1), (6, 3)] {
            add(&mut list, &row(value, Datum::Int(offset)), 3);
            results.push(result(&list, 3));
        }
        assert_eq!(results, [-1, -1, 1, 4, 4, -1].map(Datum::Int));
    }

    #[test]
    fn an_offset_is_a_number_of_rows() {
        let refusal = |offset| check(&row(1, offset), 3).map_err(|EvalError(message)| message);
        assert_eq!(refusal(Datum::Int(0)), Ok(()));
        assert_eq!(refusal(Datum::Int(-1)), Err("Offset(-1) should be positive.".to_owned()));
        assert_eq!(refusal(Datum::Null), Err("the offset of LAG is NULL".to_owned()));
    }
}
