//! UNION ALL: rows of all inputs as they come. Watermarks were merged before they got here.

use super::{Cx, Msg, Operator};
use crate::stream::{datum::Row, expr::EvalError};

pub struct Union;

impl Operator for Union {
    fn on_row(&mut self, _port: usize, row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        cx.out.push(Msg::Row(row));
        Ok(())
    }
}
