//! Aggregates at work: what is kept for each group, and how rows are added to it and taken back.
//!
//! [`Aggregates`] is what the plan says, made executable; [`Group`] is the state of one group: an accumulator for each
//! call, and the values of those that must know each of them (COLLECT, DISTINCT, MIN and MAX over rows that are taken
//! back).

mod accumulator;
mod group;
mod lag;

pub use accumulator::Acc;
pub use group::Group;

use crate::stream::{
    datum::{Columns, Datum, Row},
    expr::EvalError,
    plan::{
        aggregate::{AggCall, AggFunction},
        types::Type,
    },
};

/// The calls of an aggregate.
pub struct Aggregates {
    calls: Vec<Call>,
}

/// One call, and where its values are kept.
struct Call {
    function: AggFunction,
    args: Vec<usize>,
    kind: Type,
    result: Type,
    filter: Option<usize>,
    separator: Box<str>,
    distinct: bool,
    /// The set of values in [`Group`], for those that need one.
    set: Option<usize>,
    /// Rows may be taken back.
    retracts: bool,
}

impl Call {
    /// Whether the accumulator gets each value of the set once.
    fn accumulates_distinct(&self) -> bool {
        self.distinct && self.function != AggFunction::Collect
    }

    /// Fails for a value that cannot be added to those that are there.
    fn check(&self, acc: &Acc, value: &Datum) -> Result<(), EvalError> {
        let more = matches!(acc, Acc::List(list) if !list.is_empty());
        if self.function == AggFunction::Lag {
            return lag::check(value, self.args.len());
        }
        if self.function == AggFunction::SingleValue && more {
            // Flink's words.
            return Err(EvalError("SingleValueAggFunction received more than one element.".to_owned()));
        }
        Ok(())
    }
}

impl Aggregates {
    /// `retracts` says that rows may be taken back.
    #[must_use]
    pub fn open(calls: &[AggCall], retracts: bool) -> Self {
        let mut sets = 0;
        let calls = calls.iter().map(|call| {
            let ordered = matches!(call.function, AggFunction::Max | AggFunction::Min) && retracts;
            let counted = call.function == AggFunction::Collect;
            let set = (call.distinct || ordered || counted).then(|| {
                sets += 1;
                sets - 1
            });
            Call {
                function: call.function,
                args: call.args.clone(),
                kind: call.arg_types.first().cloned().unwrap_or(Type::Null),
                result: call.data_type.kind.clone(),
                filter: call.filter,
                separator: call.separator.as_deref().unwrap_or(",").into(),
                distinct: call.distinct,
                set,
                retracts,
            }
        });
        Self { calls: calls.collect() }
    }

    /// Adds a row to a group, or takes it back. It fails where a single value is expected and is another one, and
    /// for a LAG of rows to come.
    pub fn apply(&self, group: &mut Group, row: &Row, retract: bool) -> Result<(), EvalError> {
        group.fit(self);
        group.rows += if retract { -1 } else { 1 };
        for (index, call) in self.calls.iter().enumerate() {
            if call.filter.is_some_and(|filter| *row.column(filter) != Datum::Bool(true)) {
                continue;
            }
            let single;
            let value = match call.args.as_slice() {
                [] => &Datum::Bool(true),
                [arg] => row.column(*arg),
                args => {
                    let values: Vec<Datum> = args.iter().map(|arg| row.column(*arg).clone()).collect();
                    // COUNT of several counts rows without a NULL.
                    single = if !call.function.takes_nulls() && values.iter().any(Datum::is_null) {
                        Datum::Null
                    } else {
                        Datum::Row(values.into())
                    };
                    &single
                }
            };
            if value.is_null() && !call.function.takes_nulls() {
                continue;
            }
            if let Some(set) = call.set {
                let moved = if retract {
                    group.sets.withdraw(set, value)
                } else if call.accumulates_distinct() && !call.retracts {
                    group.sets.enter_once(set, value)
                } else {
                    group.sets.enter(set, value)
                };
                if !call.accumulates_distinct() || !moved {
                    continue;
                }
            }
            let Some(acc) = group.accs.get_mut(index) else { continue };
            if retract {
                acc.retract(call, value);
            } else {
                call.check(acc, value)?;
                acc.add(call, value);
            }
        }
        Ok(())
    }

    /// Adds all of another group to this one.
    pub fn merge(&self, group: &mut Group, other: &Group) {
        group.fit(self);
        group.rows += other.rows;
        for (index, call) in self.calls.iter().enumerate() {
            let Some(acc) = group.accs.get_mut(index) else { continue };
            match call.set {
                None => {
                    if let Some(from) = other.accs.get(index) {
                        acc.merge(call, from);
                    }
                }
                Some(set) => {
                    for (value, count) in other.sets.values(set) {
                        let moved = group.sets.enter_many(set, value, *count);
                        if call.accumulates_distinct() && moved {
                            acc.add(call, value);
                        }
                    }
                }
            }
        }
    }

    /// The results, behind what the columns hold already.
    pub fn results(&self, group: &Group, columns: &mut Columns) {
        for (index, call) in self.calls.iter().enumerate() {
            let value = match (call.set, call.function) {
                (Some(set), AggFunction::Max) => group.sets.last(set),
                (Some(set), AggFunction::Min) => group.sets.first(set),
                (Some(set), AggFunction::Collect) => {
                    let counted = |(value, count): (&Datum, &i64)| {
                        (value.clone(), Datum::Int(if call.distinct { 1 } else { *count }))
                    };
                    Datum::Map(group.sets.values(set).map(counted).collect())
                }
                _ => group.accs.get(index).map_or(Datum::Null, |acc| acc.result(call)),
            };
            columns.push(value);
        }
    }

    fn sets(&self) -> usize {
        self.calls.iter().filter(|call| call.set.is_some()).count()
    }
}
