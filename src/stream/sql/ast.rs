//! Statements as read: Flink's own forms are ours, expressions and queries stay the library's.

use sqlparser::ast::{Expr, Query};

use super::{Pos, hints::Hints};
use crate::stream::plan::types::DataType;

/// One statement and where it begins.
#[derive(Debug, Clone)]
pub struct Statement {
    pub at: Pos,
    pub kind: StatementKind,
}

#[derive(Debug, Clone)]
pub enum StatementKind {
    CreateTable(CreateTable),
    CreateView(CreateView),
    Drop(Drop),
    Explain(Vec<Insert>),
    Insert(Insert),
    /// `SET 'key' = 'value'`.
    Set {
        key: String,
        value: String,
    },
    StatementSet {
        hints: Hints,
        inserts: Vec<Insert>,
    },
}

/// `a`, `db.a` or `catalog.db.a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub at: Pos,
    pub parts: Vec<String>,
    /// Of a hint behind it: they replace the table's own, here.
    pub options: Vec<OptionDef>,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: Name,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDef>,
    pub watermark: Option<WatermarkDef>,
    /// Names of the columns; never enforced, as on Flink.
    pub primary_key: Vec<(String, Pos)>,
    pub partitioned_by: Vec<(String, Pos)>,
    pub options: Vec<OptionDef>,
    pub options_at: Pos,
}

#[derive(Debug, Clone)]
pub struct ColumnDef {
    pub at: Pos,
    pub name: String,
    pub kind: ColumnKind,
}

#[derive(Debug, Clone)]
pub enum ColumnKind {
    Computed(Box<Expr>),
    Metadata { data_type: DataType, key: Option<String>, is_virtual: bool },
    Physical(DataType),
}

#[derive(Debug, Clone)]
pub struct WatermarkDef {
    pub at: Pos,
    pub column: String,
    pub expr: Box<Expr>,
}

/// `'key' = 'value'` of a WITH clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionDef {
    pub at: Pos,
    pub key: String,
    pub value: String,
    pub value_at: Pos,
}

#[derive(Debug, Clone)]
pub struct CreateView {
    pub name: Name,
    pub if_not_exists: bool,
    pub columns: Vec<(String, Pos)>,
    pub query: Box<Query>,
}

#[derive(Debug, Clone)]
pub struct Insert {
    pub at: Pos,
    pub hints: Hints,
    pub target: Name,
    /// Empty when the statement names none.
    pub columns: Vec<(String, Pos)>,
    pub query: Box<Query>,
}

#[derive(Debug, Clone)]
pub struct Drop {
    pub name: Name,
    pub if_exists: bool,
    pub kind: DropKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    Table,
    View,
}
