//! What one aggregate keeps of the rows it has seen.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::{Call, lag};
use crate::stream::{
    datum::Datum,
    expr::{EvalError, cast, decimal},
    plan::{aggregate::AggFunction, types::Type},
    state::encode::{damaged, put, put_all, put_int, take, take_all, take_byte, take_int},
};

/// The state of one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Acc {
    /// COUNT.
    Count(i64),
    /// SUM and AVG of DECIMAL; `None` has overflown.
    Decimal { sum: Option<i128>, count: i64 },
    /// SUM and AVG of FLOAT and DOUBLE.
    Double { sum: f64, count: i64 },
    /// SUM and AVG of whole numbers. They wrap, as Java's do.
    Int { sum: i64, count: i64 },
    /// ARRAY_AGG, LAG, LISTAGG, SINGLE_VALUE; FIRST_VALUE and LAST_VALUE where rows may be taken back.
    List(Vec<Datum>),
    /// MIN, MAX, FIRST_VALUE, LAST_VALUE.
    Value(Datum),
}

impl Acc {
    pub(super) fn new(call: &Call) -> Self {
        match call.function {
            AggFunction::Count => Self::Count(0),
            AggFunction::ArrayAgg | AggFunction::Lag | AggFunction::ListAgg | AggFunction::SingleValue => {
                Self::List(Vec::new())
            }
            AggFunction::FirstValue | AggFunction::LastValue if call.retracts => Self::List(Vec::new()),
            // All of COLLECT is in its set.
            AggFunction::Collect
            | AggFunction::FirstValue
            | AggFunction::LastValue
            | AggFunction::Max
            | AggFunction::Min => Self::Value(Datum::Null),
            AggFunction::Avg | AggFunction::Sum => match call.kind {
                Type::Decimal { .. } => Self::Decimal { sum: Some(0), count: 0 },
                Type::Double | Type::Float => Self::Double { sum: 0.0, count: 0 },
                _ => Self::Int { sum: 0, count: 0 },
            },
        }
    }

    pub(super) fn add(&mut self, call: &Call, value: &Datum) {
        match self {
            Self::Count(count) => *count += 1,
            Self::Decimal { sum, count } => {
                *sum = sum.and_then(|sum| sum.checked_add(whole(value)));
                *count += 1;
            }
            Self::Double { sum, count } => {
                *sum = rounded(*sum + double(value), call);
                *count += 1;
            }
            Self::Int { sum, count } => {
                if let Datum::Int(n) = value {
                    *sum = sum.wrapping_add(*n);
                }
                *count += 1;
            }
            Self::List(list) if call.function == AggFunction::Lag => lag::add(list, value, call.args.len()),
            Self::List(list) => list.push(value.clone()),
            Self::Value(kept) => {
                let replaces = match call.function {
                    AggFunction::Max => kept.is_null() || before(kept, value),
                    AggFunction::Min => kept.is_null() || before(value, kept),
                    AggFunction::FirstValue => kept.is_null(),
                    _ => true,
                };
                if replaces {
                    *kept = value.clone();
                }
            }
        }
    }

    pub(super) fn retract(&mut self, call: &Call, value: &Datum) {
        match self {
            Self::Count(count) => *count -= 1,
            Self::Decimal { sum, count } => {
                *sum = sum.and_then(|sum| sum.checked_sub(whole(value)));
                *count -= 1;
            }
            Self::Double { sum, count } => {
                *sum = rounded(*sum - double(value), call);
                *count -= 1;
            }
            Self::Int { sum, count } => {
                if let Datum::Int(n) = value {
                    *sum = sum.wrapping_sub(*n);
                }
                *count -= 1;
            }
            Self::List(list) => {
                if let Some(index) = list.iter().position(|v| v == value) {
                    list.remove(index);
                }
            }
            // Where rows may be taken back there is a set or a list instead.
            Self::Value(_) => {}
        }
    }

    pub(super) fn merge(&mut self, call: &Call, other: &Self) {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => *a += b,
            (Self::Decimal { sum: a, count: n }, Self::Decimal { sum: b, count: m }) => {
                *a = a.zip(*b).and_then(|(a, b)| a.checked_add(b));
                *n += m;
            }
            (Self::Double { sum: a, count: n }, Self::Double { sum: b, count: m }) => {
                *a = rounded(*a + b, call);
                *n += m;
            }
            (Self::Int { sum: a, count: n }, Self::Int { sum: b, count: m }) => {
                *a = a.wrapping_add(*b);
                *n += m;
            }
            (Self::List(a), Self::List(b)) => a.extend_from_slice(b),
            (acc @ Self::Value(_), Self::Value(value)) if !value.is_null() => acc.add(call, value),
            _ => {}
        }
    }

    pub(super) fn result(&self, call: &Call) -> Datum {
        match self {
            Self::Count(count) => Datum::Int(*count),
            Self::Decimal { count: 0, .. } | Self::Double { count: 0, .. } | Self::Int { count: 0, .. } => {
                Datum::Null
            }
            Self::Decimal { sum: None, .. } => Datum::Null,
            Self::Decimal { sum: Some(sum), count } => {
                let (_, from) = call.kind.as_decimal().unwrap_or((38, 0));
                let (precision, scale) = call.result.as_decimal().unwrap_or((38, from));
                let value = match call.function {
                    AggFunction::Avg => {
                        decimal::divide((*sum, from), (i128::from(*count), 0), precision, scale)
                    }
                    _ => decimal::fits(*sum, precision),
                };
                value.map_or(Datum::Null, Datum::decimal)
            }
            Self::Double { sum, count } => {
                let value = if call.function == AggFunction::Avg { sum / *count as f64 } else { *sum };
                if call.result == Type::Float { Datum::Float(value as f32) } else { Datum::Double(value) }
            }
            Self::Int { sum, count } => {
                let value = if call.function == AggFunction::Avg { sum.wrapping_div(*count) } else { *sum };
                Datum::Int(cast::wrap(value, &call.result))
            }
            Self::List(list) => match call.function {
                AggFunction::FirstValue | AggFunction::SingleValue => {
                    list.first().cloned().unwrap_or(Datum::Null)
                }
                AggFunction::Lag => lag::result(list, call.args.len()),
                AggFunction::LastValue => list.last().cloned().unwrap_or(Datum::Null),
                _ if list.is_empty() => Datum::Null,
                AggFunction::ListAgg => {
                    let texts: Vec<&str> = list
                        .iter()
                        .filter_map(|v| if let Datum::Str(text) = v { Some(&**text) } else { None })
                        .collect();
                    Datum::str(texts.join(&call.separator))
                }
                _ => Datum::Array(list.as_slice().into()),
            },
            Self::Value(value) => value.clone(),
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Count(count) => {
                out.push(0);
                put_int(out, *count);
            }
            Self::Decimal { sum, count } => {
                out.push(if sum.is_some() { 1 } else { 2 });
                out.extend_from_slice(&sum.unwrap_or(0).to_be_bytes());
                put_int(out, *count);
            }
            Self::Double { sum, count } => {
                out.push(3);
                out.extend_from_slice(&sum.to_bits().to_be_bytes());
                put_int(out, *count);
            }
            Self::Int { sum, count } => {
                out.push(4);
                put_int(out, *sum);
                put_int(out, *count);
            }
            Self::List(list) => {
                out.push(5);
                put_all(out, list);
            }
            Self::Value(value) => {
                out.push(6);
                put(out, value);
            }
        }
    }

    pub(super) fn take(bytes: &mut &[u8]) -> Result<Self, EvalError> {
        Ok(match take_byte(bytes)? {
            0 => Self::Count(take_int(bytes)?),
            tag @ (1 | 2) => {
                let (front, rest) = bytes.split_first_chunk::<16>().ok_or_else(damaged)?;
                let sum = i128::from_be_bytes(*front);
                *bytes = rest;
                Self::Decimal { sum: (tag == 1).then_some(sum), count: take_int(bytes)? }
            }
            3 => {
                let (front, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
                let sum = f64::from_bits(u64::from_be_bytes(*front));
                *bytes = rest;
                Self::Double { sum, count: take_int(bytes)? }
            }
            4 => Self::Int { sum: take_int(bytes)?, count: take_int(bytes)? },
            5 => Self::List(take_all(bytes)?),
            6 => Self::Value(take(bytes)?),
            _ => return Err(damaged()),
        })
    }
}

/// SUM of FLOAT adds as a FLOAT does; its AVG and all of DOUBLE add as DOUBLE.
fn rounded(sum: f64, call: &Call) -> f64 {
    if call.kind == Type::Float && call.function == AggFunction::Sum { f64::from(sum as f32) } else { sum }
}

fn before(a: &Datum, b: &Datum) -> bool {
    a.compare(b) == Some(std::cmp::Ordering::Less)
}

fn whole(value: &Datum) -> i128 {
    match value {
        Datum::Decimal(n) => (*n).into(),
        _ => 0,
    }
}

fn double(value: &Datum) -> f64 {
    match value {
        Datum::Double(x) => *x,
        Datum::Float(x) => f64::from(*x),
        _ => 0.0,
    }
}
