//! Calc: a filter, then a projection.

use super::{Cx, Msg, Operator};
use crate::stream::{
    datum::{Columns, Row},
    expr::{
        EvalError,
        compile::{Code, compile},
    },
    plan::physical,
};

pub struct Calc {
    condition: Option<Code>,
    project: Vec<Code>,
}

impl Calc {
    pub fn open(plan: &physical::Calc) -> Result<Self, EvalError> {
        Ok(Self {
            condition: plan.condition.as_ref().map(compile).transpose()?,
            project: plan.project.iter().map(compile).collect::<Result<_, _>>()?,
        })
    }
}

impl Operator for Calc {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if let Some(condition) = &self.condition
            && !condition.holds(&row, cx.now)?
        {
            return Ok(());
        }
        let mut columns = Columns::with_capacity(self.project.len());
        for code in &self.project {
            columns.push(code.eval(&row, cx.now)?);
        }
        cx.out.push(Msg::Row(Row { columns, kind: row.kind }));
        Ok(())
    }
}
