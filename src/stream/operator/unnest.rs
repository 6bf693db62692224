//! UNNEST: a row for each element of an array or a multiset, or each entry of a map; WITH ORDINALITY they are numbered.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and NULL is the only other one"
)]

use super::{Cx, Operator};
use crate::stream::{
    datum::{Columns, Datum, Row},
    expr::{
        EvalError,
        compile::{Code, compile},
    },
    plan::{physical, types::Type},
};

pub struct Unnest {
    array: Code,
    width: usize,
    /// Elements are rows, and each field is a column.
    rows: bool,
    /// The elements are a multiset's, each with how often it is there.
    counted: bool,
    outer: bool,
    ordinality: bool,
}

impl Unnest {
    pub fn open(plan: &physical::Unnest) -> Result<Self, EvalError> {
        let kind = &plan.array.data_type.kind;
        let rows =
            matches!(kind, Type::Array(item) | Type::Multiset(item) if matches!(item.kind, Type::Row(_)));
        let counted = matches!(kind, Type::Multiset(_));
        let (width, outer, ordinality) = (plan.width, plan.outer, plan.ordinality);
        Ok(Self { array: compile(&plan.array)?, width, rows, counted, outer, ordinality })
    }
}

impl Operator for Unnest {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let before = cx.out.len();
        let mut number = 0;
        let mut emit = |values: &[Datum]| {
            let mut columns: Columns = row.columns.iter().chain(values).cloned().collect();
            number += 1;
            if self.ordinality {
                columns.push(Datum::Int(number));
            }
            cx.out.push(super::Msg::Row(Row::of(row.kind, columns)));
        };
        let nulls = vec![Datum::Null; self.width];
        let value = self.array.eval(&row, cx.now)?;
        let mut element = |item: &Datum| match item {
            Datum::Row(fields) if self.rows => emit(fields),
            _ if self.rows => emit(nulls.get(usize::from(self.ordinality)..).unwrap_or_default()),
            item => emit(std::slice::from_ref(item)),
        };
        match &value {
            Datum::Array(items) => items.iter().for_each(element),
            Datum::Map(entries) if self.counted => {
                for (item, count) in entries.iter() {
                    let Datum::Int(count) = count else { continue };
                    (0..*count).for_each(|_| element(item));
                }
            }
            Datum::Map(entries) => {
                entries.iter().for_each(|(key, value)| emit(&[key.clone(), value.clone()]));
            }
            // NULL: nothing to take apart.
            _ => {}
        }
        if cx.out.len() == before && self.outer {
            let columns: Columns = row.columns.iter().chain(&nulls).cloned().collect();
            cx.emit(Row::of(row.kind, columns));
        }
        Ok(())
    }
}
