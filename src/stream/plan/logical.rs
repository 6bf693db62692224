//! What a query means, before it is known how it runs: relations, and the columns they have. What else can be said of
//! their columns and rows is in `properties.rs`.

use std::sync::Arc;

use super::{
    aggregate::AggCall,
    catalog::Table,
    physical::UpsertMaterialize,
    types::{DataType, Type},
    window::{Window, WindowTime},
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
    sql::Pos,
};

/// Names and types of columns.
pub type Schema = Vec<(String, DataType)>;

/// A relation.
#[derive(Debug, Clone, PartialEq)]
pub enum Logical {
    /// Without windows: results are updated as rows come.
    Aggregate(Box<Aggregate>),
    Expand(Box<Expand>),
    Filter {
        input: Box<Logical>,
        condition: Expr,
    },
    Join(Box<Join>),
    /// Rows that replace each other by key (`upsert-kafka`), as a changelog that says what was before.
    Normalize {
        input: Box<Logical>,
        key: Vec<usize>,
    },
    Over(Box<Over>),
    Project {
        input: Box<Logical>,
        exprs: Vec<Expr>,
        names: Vec<String>,
    },
    Rank(Box<Rank>),
    /// The stored columns of a table; computed ones are a projection above.
    Scan(Arc<Table>),
    Sort(Box<Sort>),
    UnionAll {
        inputs: Vec<Logical>,
    },
    Unnest(Box<Unnest>),
    /// The column on which a table declares its watermark. The source itself makes it.
    Watermark {
        input: Box<Logical>,
        column: usize,
    },
    WindowAggregate(Box<WindowAggregate>),
    /// A window table function: a row for each window it is in, with its bounds behind it.
    WindowRows(Box<WindowRows>),
}

/// Groups are named by the first `keys` columns of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub input: Logical,
    pub keys: usize,
    pub calls: Vec<AggCall>,
    /// Of a hint; 0 is for ever.
    pub ttl_ms: Option<i64>,
}

/// Each row once for each set, as the set's expressions make it. The first columns are those of the input, in all sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Expand {
    pub input: Logical,
    pub sets: Vec<Vec<Expr>>,
    pub names: Vec<String>,
}

/// The same for each window. Columns: keys, start, end, time of the window, results.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowAggregate {
    pub input: Logical,
    pub window: Window,
    pub time: WindowTime,
    /// The type of the time column behind the window's bounds.
    pub time_type: DataType,
    /// The first columns of the input, after which come time and arguments.
    pub keys: usize,
    pub calls: Vec<AggCall>,
}

/// Columns: those of the input, and start, end and time of the window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRows {
    pub input: Logical,
    pub window: Window,
    pub time: WindowTime,
    pub time_type: DataType,
    /// SESSION's.
    pub partition: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Anti,
    Full,
    Inner,
    Left,
    Right,
    Semi,
}

impl JoinKind {
    #[must_use]
    pub fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full)
    }

    #[must_use]
    pub fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }

    /// Whether only the left side's columns come out.
    #[must_use]
    pub fn is_left_only(self) -> bool {
        matches!(self, Self::Semi | Self::Anti)
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anti => "LeftAntiJoin",
            Self::Full => "FullOuterJoin",
            Self::Inner => "InnerJoin",
            Self::Left => "LeftOuterJoin",
            Self::Right => "RightOuterJoin",
            Self::Semi => "LeftSemiJoin",
        }
    }
}

/// Columns: those of the left side, then those of the right one.
#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    pub kind: JoinKind,
    pub left: Logical,
    pub right: Logical,
    /// All must hold; over the columns of both sides.
    pub condition: Vec<Expr>,
    pub shape: JoinShape,
    /// Of hints for the left and the right side; 0 is for ever.
    pub ttl_ms: [Option<i64>; 2],
}

/// How two streams meet.
#[derive(Debug, Clone, PartialEq)]
pub enum JoinShape {
    /// Rows whose times are near: `left - right` in milliseconds lies between these.
    Interval { left: usize, right: usize, at_least: i64, at_most: i64, event: bool },
    /// All rows of either side.
    Regular,
    /// The right side as it was at the left row's time.
    Temporal { left: usize, right: usize },
    /// Not looked at yet.
    Undecided,
    /// Rows of one window: where the windows' ends are.
    Window { left: usize, right: usize },
}

/// Rows in the order of their time, which is the first key, and of others where times are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Sort {
    pub input: Logical,
    pub order: Vec<SortKey>,
    /// Whether that is event time; `None` if the first key is no ascending time, which only the whole query may not be.
    pub event: Option<bool>,
    /// Where it stands in the text.
    pub at: Pos,
}

/// One column's part in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Columns: those of the input, then the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    pub input: Logical,
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    pub frame: Frame,
    pub calls: Vec<OverCall>,
    /// Where it stands in the text.
    pub at: Pos,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OverCall {
    Aggregate(AggCall),
    DenseRank,
    Rank,
    RowNumber,
}

/// How far back a window of OVER reaches; it always ends at the current row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Rows of the last milliseconds, and all of the same time.
    Range(i64),
    /// All, and all of the same time.
    RangeAll,
    /// So many rows before this one.
    Rows(u64),
    RowsAll,
}

/// The rows of each partition that are first in an order. Columns: those of the input, then the number.
#[derive(Debug, Clone, PartialEq)]
pub struct Rank {
    pub input: Logical,
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    /// From one, both included.
    pub start: u64,
    pub end: u64,
    /// Whether anybody reads the number.
    pub numbered: bool,
    pub kind: RankKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankKind {
    /// The first or last row by time.
    Deduplicate {
        keep_last: bool,
        event: bool,
    },
    Top,
    /// Within each window: the column of its end.
    Window {
        end: usize,
    },
}

/// Each element of an array as a row behind the input's row. Columns: those of the input, then the element's.
#[derive(Debug, Clone, PartialEq)]
pub struct Unnest {
    pub input: Logical,
    pub array: Expr,
    pub columns: Schema,
    /// LEFT JOIN: a row without elements stays.
    pub outer: bool,
    /// The last column says which element it is, from one on.
    pub ordinality: bool,
}

/// The names of the columns that a window adds.
pub const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

fn window_schema(time_type: &DataType) -> [(String, DataType); 3] {
    let [start, end, time] = WINDOW_COLUMNS.map(str::to_owned);
    let bound = DataType::not_null(Type::Timestamp(3));
    [(start, bound.clone()), (end, bound), (time, time_type.clone().with_nullable(false))]
}

impl Logical {
    /// A table with all its columns.
    #[must_use]
    pub fn table(table: &Arc<Table>) -> Self {
        let mut scan = Self::Scan(table.clone());
        if table.connector.is_upsert() {
            scan = Self::Normalize { input: Box::new(scan), key: table.stored_key() };
        }
        let exprs = table.over_stored();
        let names = table.columns.iter().map(|c| c.name.clone()).collect();
        let plan = Self::Project { input: Box::new(scan), exprs, names };
        match &table.watermark {
            Some(watermark) => Self::Watermark { input: Box::new(plan), column: watermark.column },
            None => plan,
        }
    }

    #[must_use]
    pub fn project(self, exprs: Vec<Expr>, names: Vec<String>) -> Self {
        Self::Project { input: Box::new(self), exprs, names }
    }

    /// The relations that this one is made of.
    #[must_use]
    pub fn inputs(&self) -> Vec<&Self> {
        match self {
            Self::Aggregate(a) => vec![&a.input],
            Self::Expand(expand) => vec![&expand.input],
            Self::Filter { input, .. }
            | Self::Normalize { input, .. }
            | Self::Project { input, .. }
            | Self::Watermark { input, .. } => vec![input],
            Self::Join(join) => vec![&join.left, &join.right],
            Self::Over(over) => vec![&over.input],
            Self::Rank(rank) => vec![&rank.input],
            Self::Scan(_) => Vec::new(),
            Self::Sort(sort) => vec![&sort.input],
            Self::UnionAll { inputs } => inputs.iter().collect(),
            Self::Unnest(unnest) => vec![&unnest.input],
            Self::WindowAggregate(a) => vec![&a.input],
            Self::WindowRows(rows) => vec![&rows.input],
        }
    }

    /// The same, to be changed.
    pub(super) fn inputs_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Aggregate(a) => vec![&mut a.input],
            Self::Expand(expand) => vec![&mut expand.input],
            Self::Filter { input, .. }
            | Self::Normalize { input, .. }
            | Self::Project { input, .. }
            | Self::Watermark { input, .. } => vec![input],
            Self::Join(join) => vec![&mut join.left, &mut join.right],
            Self::Over(over) => vec![&mut over.input],
            Self::Rank(rank) => vec![&mut rank.input],
            Self::Scan(_) => Vec::new(),
            Self::Sort(sort) => vec![&mut sort.input],
            Self::UnionAll { inputs } => inputs.iter_mut().collect(),
            Self::Unnest(unnest) => vec![&mut unnest.input],
            Self::WindowAggregate(a) => vec![&mut a.input],
            Self::WindowRows(rows) => vec![&mut rows.input],
        }
    }

    /// The expressions that are this relation's own.
    pub(super) fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match self {
            Self::Expand(expand) => expand.sets.iter_mut().flatten().collect(),
            Self::Filter { condition, .. } => vec![condition],
            Self::Join(join) => join.condition.iter_mut().collect(),
            Self::Project { exprs, .. } => exprs.iter_mut().collect(),
            Self::Unnest(unnest) => vec![&mut unnest.array],
            Self::Aggregate(_)
            | Self::Normalize { .. }
            | Self::Over(_)
            | Self::Rank(_)
            | Self::Scan(_)
            | Self::Sort(_)
            | Self::UnionAll { .. }
            | Self::Watermark { .. }
            | Self::WindowAggregate(_)
            | Self::WindowRows(_) => Vec::new(),
        }
    }

    /// How many relations and expressions this is made of.
    #[must_use]
    pub fn size(&self) -> usize {
        let own = match self {
            Self::Expand(expand) => expand.sets.iter().flatten().map(Expr::size).sum(),
            Self::Filter { condition, .. } => condition.size(),
            Self::Project { exprs, .. } => exprs.iter().map(Expr::size).sum(),
            Self::Join(join) => join.condition.iter().map(Expr::size).sum(),
            Self::Unnest(unnest) => unnest.array.size(),
            Self::Aggregate(_)
            | Self::Normalize { .. }
            | Self::Over(_)
            | Self::Rank(_)
            | Self::Scan(_)
            | Self::Sort(_)
            | Self::UnionAll { .. }
            | Self::Watermark { .. }
            | Self::WindowAggregate(_)
            | Self::WindowRows(_) => 1,
        };
        own + self.inputs().into_iter().map(Self::size).sum::<usize>()
    }

    #[must_use]
    pub fn schema(&self) -> Schema {
        let results = |calls: &[AggCall]| -> Schema {
            calls.iter().enumerate().map(|(i, call)| (format!("EXPR${i}"), call.data_type.clone())).collect()
        };
        match self {
            Self::Aggregate(a) => {
                let mut schema: Schema = a.input.schema().into_iter().take(a.keys).collect();
                schema.extend(results(&a.calls));
                schema
            }
            Self::Expand(expand) => {
                let types = expand.sets.first().into_iter().flatten().map(|e| e.data_type.clone());
                expand.names.iter().cloned().zip(types).collect()
            }
            Self::Filter { input, .. } | Self::Normalize { input, .. } | Self::Watermark { input, .. } => {
                input.schema()
            }
            Self::Join(join) => join.schema(),
            Self::Over(over) => {
                let mut schema = over.input.schema();
                schema.extend(over.calls.iter().enumerate().map(|(i, call)| {
                    let data_type = match call {
                        OverCall::Aggregate(call) => call.data_type.clone(),
                        OverCall::DenseRank | OverCall::Rank | OverCall::RowNumber => {
                            DataType::not_null(Type::BigInt)
                        }
                    };
                    (format!("w0$o{i}"), data_type)
                }));
                schema
            }
            Self::Project { exprs, names, .. } => {
                names.iter().cloned().zip(exprs.iter().map(|e| e.data_type.clone())).collect()
            }
            Self::Rank(rank) => {
                let mut schema = rank.input.schema();
                schema.push(("w0$o0".to_owned(), DataType::not_null(Type::BigInt)));
                schema
            }
            Self::Scan(table) => table.stored().map(|(_, c)| (c.name.clone(), c.data_type.clone())).collect(),
            Self::Sort(sort) => sort.input.schema(),
            Self::UnionAll { inputs } => inputs.first().map(Self::schema).unwrap_or_default(),
            Self::Unnest(unnest) => {
                let mut schema = unnest.input.schema();
                schema.extend(unnest.columns.iter().cloned());
                schema
            }
            Self::WindowAggregate(a) => {
                let mut schema: Schema = a.input.schema().into_iter().take(a.keys).collect();
                schema.extend(window_schema(&a.time_type));
                schema.extend(results(&a.calls));
                schema
            }
            Self::WindowRows(rows) => {
                let mut schema = rows.input.schema();
                schema.extend(window_schema(&rows.time_type));
                schema
            }
        }
    }
}

impl Join {
    fn schema(&self) -> Schema {
        let nullable = |schema: Schema, make: bool| -> Schema {
            schema.into_iter().map(|(n, t)| (n, if make { t.with_nullable(true) } else { t })).collect()
        };
        let mut schema = nullable(self.left.schema(), self.kind.keeps_right());
        if !self.kind.is_left_only() {
            schema.extend(nullable(self.right.schema(), self.kind.keeps_left()));
        }
        schema
    }

    /// Columns that must be equal: (left, right), the right ones counted from its own start.
    #[must_use]
    pub fn equal_columns(&self) -> Vec<(usize, usize)> {
        let width = self.left.schema().len();
        let pairs = self.condition.iter().filter_map(|c| {
            let Node::Compare(crate::stream::expr::Comparison::Equal, a, b) = &c.node else { return None };
            match (&a.node, &b.node) {
                (Node::Column { index: a, .. }, Node::Column { index: b, .. }) => {
                    let (low, high) = if a < b { (*a, *b) } else { (*b, *a) };
                    (low < width && high >= width).then_some((low, high - width))
                }
                _ => None,
            }
        });
        pairs.collect()
    }
}

/// One INSERT: what is written where.
#[derive(Debug, Clone, PartialEq)]
pub struct LogicalInsert {
    /// Columns as [`Table::persisted`] has them, already cast.
    pub input: Logical,
    pub table: Arc<Table>,
}

impl LogicalInsert {
    /// Whether the rows must be made such as replace each other by the table's primary key.
    /// (Flink: FlinkChangelogModeInferenceProgram.analyzeUpsertMaterializeStrategy)
    #[must_use]
    pub fn materializes(&self, how: UpsertMaterialize) -> bool {
        let key = self.table.persisted_key();
        if key.is_empty() || self.input.changes().is_insert_only() {
            return false;
        }
        match how {
            // The table's key may say more than the query's: then what is replaced is deleted before.
            UpsertMaterialize::Auto => {
                !self.input.keys().iter().any(|columns| columns.iter().all(|c| key.contains(c)))
            }
            UpsertMaterialize::Force => true,
            UpsertMaterialize::None => false,
        }
    }

    /// Whether the rows that replace each other are those with the table's primary key.
    #[must_use]
    pub fn replaces_by_key(&self) -> bool {
        let key = self.table.persisted_key();
        self.input.keys().iter().any(|k| k.len() == key.len() && k.iter().all(|c| key.contains(c)))
    }
}

/// What is always true.
#[must_use]
pub fn is_true(condition: &Expr) -> bool {
    condition.node == Node::Literal(Datum::Bool(true))
}
