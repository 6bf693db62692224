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
    AlterTable(AlterTable),
    AlterView(AlterView),
    CreateTable(NewTable),
    CreateView(CreateView),
    Describe(Name),
    Drop(Drop),
    Explain(Explain),
    Insert(Insert),
    /// `RESET 'key'`, or of all keys.
    Reset(Option<String>),
    /// `SET 'key' = 'value'`.
    Set {
        key: String,
        value: String,
    },
    Show(Show),
    StatementSet {
        hints: Hints,
        inserts: Vec<Insert>,
    },
    Use(Use),
}

/// EXPLAIN: of what, and whether with the graph that will run.
#[derive(Debug, Clone)]
pub struct Explain {
    /// `JSON_EXECUTION_PLAN`.
    pub graph: bool,
    pub of: Explained,
}

/// What EXPLAIN asks about.
#[derive(Debug, Clone)]
pub enum Explained {
    /// `CREATE TABLE … AS SELECT`, which makes no table then.
    Create(Box<NewTable>),
    Inserts(Vec<Insert>),
    Query(Box<Query>),
}

/// `a`, `db.a` or `catalog.db.a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub at: Pos,
    pub parts: Vec<String>,
    /// Of a hint behind it: they replace the table's own, here.
    pub options: Vec<OptionDef>,
}

/// CREATE TABLE as a statement: a definition, and what it is made of besides.
#[derive(Debug, Clone)]
pub struct NewTable {
    pub table: CreateTable,
    pub creation: Creation,
    pub source: TableSource,
}

#[derive(Debug, Clone)]
pub enum TableSource {
    /// The definition is all.
    Definition,
    /// `LIKE base (EXCLUDING ALL …)`.
    Like { base: Name, choices: Vec<(Strategy, Feature)> },
    /// `AS SELECT …`; the names say in which order its columns are.
    Query { order: Vec<(String, Pos)>, query: Box<Query> },
}

/// What LIKE does with a part of the base table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    Excluding,
    Including,
    Overwriting,
}

/// A part of a table that LIKE may treat in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    All,
    Constraints,
    Distribution,
    Generated,
    Metadata,
    Options,
    Partitions,
    Watermarks,
}

/// How an object is made: the words around TABLE and VIEW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Creation {
    pub temporary: bool,
    pub or_replace: bool,
    pub if_not_exists: bool,
}

#[derive(Debug, Clone)]
pub struct CreateTable {
    pub name: Name,
    pub elements: Elements,
    pub comment: Option<String>,
    pub partitioned_by: Vec<(String, Pos)>,
    pub options: Vec<OptionDef>,
    pub options_at: Pos,
}

/// What stands in the parentheses of a table.
#[derive(Debug, Clone, Default)]
pub struct Elements {
    pub columns: Vec<ColumnDef>,
    pub watermark: Option<WatermarkDef>,
    /// Names of the columns; never enforced, as on Flink.
    pub primary_key: Vec<(String, Pos)>,
    /// What the key is called, if it is called something.
    pub constraint: Option<String>,
}

#[derive(Debug, Clone)]
pub struct ColumnDef {
    pub at: Pos,
    pub name: String,
    pub kind: ColumnKind,
    pub comment: Option<String>,
}

#[derive(Debug, Clone)]
pub enum ColumnKind {
    Computed(Written),
    Metadata { data_type: DataType, key: Option<String>, is_virtual: bool },
    Physical(DataType),
}

/// An expression, and how it was written: on one line, names in backticks, Flink's own words in capitals.
#[derive(Debug, Clone)]
pub struct Written {
    pub expr: Box<Expr>,
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct WatermarkDef {
    pub at: Pos,
    pub column: String,
    pub expr: Written,
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
    pub creation: Creation,
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
    pub temporary: bool,
    pub if_exists: bool,
    pub kind: DropKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    Table,
    View,
}

#[derive(Debug, Clone)]
pub struct AlterTable {
    pub name: Name,
    pub if_exists: bool,
    pub change: TableChange,
}

#[derive(Debug, Clone)]
pub enum TableChange {
    Add(Placed),
    DropColumns(Vec<(String, Pos)>),
    DropConstraint(String, Pos),
    DropPrimaryKey(Pos),
    DropWatermark(Pos),
    Modify(Placed),
    Rename(Name),
    RenameColumn { from: (String, Pos), to: (String, Pos) },
    Reset(Vec<(String, Pos)>),
    Set(Vec<OptionDef>),
}

/// Elements of ADD and MODIFY, and where each column goes.
#[derive(Debug, Clone)]
pub struct Placed {
    pub at: Pos,
    pub elements: Elements,
    pub places: Vec<Place>,
}

#[derive(Debug, Clone)]
pub enum Place {
    After(String, Pos),
    First,
    /// At the end, or where it is.
    Unsaid,
}

#[derive(Debug, Clone)]
pub struct AlterView {
    pub name: Name,
    pub change: ViewChange,
}

#[derive(Debug, Clone)]
pub enum ViewChange {
    As(Box<Query>),
    Rename(Name),
}

#[derive(Debug, Clone)]
pub enum Show {
    Catalogs(Option<Pattern>),
    Columns(Name, Option<Pattern>),
    CreateTable(Name),
    CurrentCatalog,
    CurrentDatabase,
    Databases(Option<Pattern>),
    Functions(Option<Pattern>),
    /// `SHOW [FULL] MODULES`.
    Modules {
        full: bool,
    },
    /// What a text cannot make: functions of its own, jars, models.
    Nothing,
    Tables(Option<Pattern>),
    Views(Option<Pattern>),
}

/// `[NOT] LIKE 'pattern'`, or ILIKE for letters of any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub like: String,
    pub negated: bool,
    pub any_case: bool,
}

/// USE: the only catalog, its only database, the only module.
#[derive(Debug, Clone)]
pub enum Use {
    Catalog(String),
    Database(Name),
    Modules,
}
