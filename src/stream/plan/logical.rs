//! What a query means, before it is known how it runs. Only append-only streams so far.

use std::sync::Arc;

use super::{catalog::Table, types::DataType};
use crate::stream::expr::Expr;

/// Names and types of columns.
pub type Schema = Vec<(String, DataType)>;

/// A relation.
#[derive(Debug, Clone, PartialEq)]
pub enum Logical {
    Filter {
        input: Box<Logical>,
        condition: Expr,
    },
    Project {
        input: Box<Logical>,
        exprs: Vec<Expr>,
        names: Vec<String>,
    },
    /// The stored columns of a table; computed ones are a projection above.
    Scan(Arc<Table>),
    UnionAll {
        inputs: Vec<Logical>,
    },
}

impl Logical {
    /// A table with all its columns.
    #[must_use]
    pub fn table(table: &Arc<Table>) -> Self {
        let exprs = table.over_stored();
        let names = table.columns.iter().map(|c| c.name.clone()).collect();
        Self::Project { input: Box::new(Self::Scan(table.clone())), exprs, names }
    }

    /// How many relations and expressions this is made of.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Filter { input, condition } => input.size() + condition.size(),
            Self::Project { input, exprs, .. } => input.size() + exprs.iter().map(Expr::size).sum::<usize>(),
            Self::Scan(_) => 1,
            Self::UnionAll { inputs } => 1 + inputs.iter().map(Self::size).sum::<usize>(),
        }
    }

    #[must_use]
    pub fn schema(&self) -> Schema {
        match self {
            Self::Filter { input, .. } => input.schema(),
            Self::Project { exprs, names, .. } => {
                names.iter().cloned().zip(exprs.iter().map(|e| e.data_type.clone())).collect()
            }
            Self::Scan(table) => table.stored().map(|(_, c)| (c.name.clone(), c.data_type.clone())).collect(),
            Self::UnionAll { inputs } => inputs.first().map(Self::schema).unwrap_or_default(),
        }
    }
}

/// One INSERT: what is written where.
#[derive(Debug, Clone, PartialEq)]
pub struct LogicalInsert {
    /// Columns as [`Table::persisted`] has them, already cast.
    pub input: Logical,
    pub table: Arc<Table>,
}
