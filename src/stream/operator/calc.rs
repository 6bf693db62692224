//! Calc: a filter, then a projection.

use super::{Cx, Msg, Operator};
use crate::stream::{
    datum::{Columns, Row},
    expr::{
        EvalError, Expr, Node,
        compile::{Code, compile},
    },
    plan::physical,
};

pub struct Calc {
    condition: Option<Code>,
    project: Vec<Projected>,
    /// The columns of the row before, for the next one's: there is one allocation for all of them.
    spare: Columns,
}

enum Projected {
    Computed(Code),
    /// A column that nothing behind it reads: taken out of the row instead of copied.
    Moved(usize),
}

impl Calc {
    pub fn open(plan: &physical::Calc) -> Result<Self, EvalError> {
        Ok(Self {
            condition: plan.condition.as_ref().map(compile).transpose()?,
            project: projected(&plan.project)?,
            spare: Columns::new(),
        })
    }
}

fn projected(exprs: &[Expr]) -> Result<Vec<Projected>, EvalError> {
    let mut project = Vec::with_capacity(exprs.len());
    for (i, expr) in exprs.iter().enumerate() {
        let behind = exprs.get(i + 1..).unwrap_or_default();
        let read_again = |column: usize| {
            let mut found = false;
            behind.iter().for_each(|e| e.columns(&mut |c| found |= c == column));
            found
        };
        let moved = if let Node::Column { index, .. } = expr.node { Some(index) } else { None };
        project.push(match moved.filter(|index| !read_again(*index)) {
            Some(index) => Projected::Moved(index),
            None => Projected::Computed(compile(expr)?),
        });
    }
    Ok(project)
}

impl Operator for Calc {
    fn on_row(&mut self, _port: usize, mut row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if let Some(condition) = &self.condition
            && !condition.holds(&row, cx.now)?
        {
            return Ok(());
        }
        let mut columns = std::mem::take(&mut self.spare);
        columns.reserve_exact(self.project.len());
        for projected in &self.project {
            columns.push(match projected {
                Projected::Computed(code) => code.eval(&row, cx.now)?,
                Projected::Moved(index) => row.take(*index),
            });
        }
        row.columns.clear();
        self.spare = row.columns;
        cx.out.push(Msg::Row(Row { columns, kind: row.kind }));
        Ok(())
    }
}
