//! UNNEST: a row for each element of an array, or each entry of a map.

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
    outer: bool,
}

impl Unnest {
    pub fn open(plan: &physical::Unnest) -> Result<Self, EvalError> {
        let rows =
            matches!(&plan.array.data_type.kind, Type::Array(item) if matches!(item.kind, Type::Row(_)));
        Ok(Self { array: compile(&plan.array)?, width: plan.width, rows, outer: plan.outer })
    }
}

impl Operator for Unnest {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        let before = cx.out.len();
        let mut emit = |values: &[Datum]| {
            let columns: Columns = row.columns.iter().chain(values).cloned().collect();
            cx.out.push(super::Msg::Row(Row::of(row.kind, columns)));
        };
        let nulls = vec![Datum::Null; self.width];
        let value = self.array.eval(&row, cx.now)?;
        if let Datum::Array(items) = &value {
            for item in items.iter() {
                if let Datum::Row(fields) = item
                    && self.rows
                {
                    emit(fields);
                } else if self.rows {
                    emit(&nulls);
                } else {
                    emit(std::slice::from_ref(item));
                }
            }
        } else if let Datum::Map(entries) = &value {
            entries.iter().for_each(|(key, value)| emit(&[key.clone(), value.clone()]));
        }
        if cx.out.len() == before && self.outer {
            let columns: Columns = row.columns.iter().chain(&nulls).cloned().collect();
            cx.emit(Row::of(row.kind, columns));
        }
        Ok(())
    }
}
