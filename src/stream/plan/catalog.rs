//! Tables and views of one SQL text, by name, in Flink's `default_catalog`.`default_database`.
//!
//! Names are case-sensitive. What a table's columns and options mean is worked out when it is created, so that an
//! error is found at the CREATE TABLE and not at its first use.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    connector::Connector,
    logical::{Logical, Schema},
    types::DataType,
};
use crate::stream::{
    expr::Expr,
    sql::{
        Pos, SqlError,
        ast::{CreateTable, Creation, Drop, DropKind, Name},
    },
};

/// The catalog that names without one are in: there is no other.
pub const CATALOG: &str = "default_catalog";
/// The database that names without one are in.
pub const DATABASE: &str = "default_database";

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Object {
    /// With the statement that made it.
    Table(Arc<Table>, Arc<CreateTable>),
    View(Arc<View>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub path: ObjectPath,
    pub columns: Vec<Column>,
    pub watermark: Option<Watermark>,
    pub connector: Connector,
    /// Where its WITH clause begins: what is wrong with what is behind it is found when a job is made.
    pub options_at: Pos,
    /// Positions of the primary key's columns.
    pub primary_key: Vec<usize>,
    /// Of a table that others are made LIKE: why it cannot be read or written itself.
    pub fault: Option<Box<SqlError>>,
}

#[derive(Debug)]
pub struct View {
    pub path: ObjectPath,
    pub plan: Logical,
}

/// The name of a table in the default database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectPath(pub String);

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub data_type: DataType,
    pub kind: ColumnKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// Over the table's stored columns ([`Table::stored`]).
    Computed(Expr),
    Metadata {
        key: String,
        is_virtual: bool,
    },
    Physical,
}

/// `WATERMARK FOR column AS expr`, over all columns of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    pub column: usize,
    pub expr: Expr,
}

impl std::fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{CATALOG}.{DATABASE}.{}", self.0)
    }
}

impl ObjectPath {
    /// As Flink has it in some messages.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("`{CATALOG}`.`{DATABASE}`.{}", backticks(&self.0))
    }
}

/// A name in backticks.
#[must_use]
pub fn backticks(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl Object {
    fn is_table(&self) -> bool {
        matches!(self, Self::Table(..))
    }

    fn noun(&self) -> &'static str {
        if self.is_table() { "table" } else { "view" }
    }
}

impl Table {
    /// The columns that come from outside: physical and metadata.
    pub fn stored(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, c)| !matches!(c.kind, ColumnKind::Computed(_)))
    }

    /// What an INSERT writes: all but computed and virtual columns.
    pub fn persisted(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| match c.kind {
            ColumnKind::Computed(_) => false,
            ColumnKind::Metadata { is_virtual, .. } => !is_virtual,
            ColumnKind::Physical => true,
        })
    }

    /// The same table behind another connector.
    #[must_use]
    pub fn with_connector(&self, connector: Connector) -> Self {
        Self {
            path: self.path.clone(),
            columns: self.columns.clone(),
            watermark: self.watermark.clone(),
            connector,
            options_at: self.options_at,
            primary_key: self.primary_key.clone(),
            fault: self.fault.clone(),
        }
    }

    /// Refuses a table that is good for LIKE only.
    pub fn usable(&self) -> Result<(), SqlError> {
        self.fault.as_ref().map_or(Ok(()), |fault| Err(SqlError::clone(fault)))
    }

    /// The same table whose watermark is another expression.
    #[must_use]
    pub fn with_watermark(&self, expr: Expr) -> Self {
        let mut table = self.with_connector(self.connector.clone());
        if let Some(watermark) = &mut table.watermark {
            watermark.expr = expr;
        }
        table
    }

    /// The primary key among the stored columns.
    #[must_use]
    pub fn stored_key(&self) -> Vec<usize> {
        let stored: Vec<usize> = self.stored().map(|(index, _)| index).collect();
        self.primary_key.iter().filter_map(|k| stored.iter().position(|s| s == k)).collect()
    }

    /// The primary key among the columns that an INSERT writes.
    #[must_use]
    pub fn persisted_key(&self) -> Vec<usize> {
        let name = |k: &usize| self.columns.get(*k).map(|c| c.name.as_str());
        let place = |k: &usize| self.persisted().position(|c| Some(c.name.as_str()) == name(k));
        self.primary_key.iter().filter_map(place).collect()
    }

    #[must_use]
    pub fn schema(&self) -> Schema {
        self.columns.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect()
    }

    /// Each column over the stored ones.
    #[must_use]
    pub fn over_stored(&self) -> Vec<Expr> {
        let mut stored = 0;
        let mut exprs = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            exprs.push(match &column.kind {
                ColumnKind::Computed(expr) => expr.clone(),
                ColumnKind::Metadata { .. } | ColumnKind::Physical => {
                    stored += 1;
                    Expr::column(stored - 1, &column.name, column.data_type.clone())
                }
            });
        }
        exprs
    }
}

/// Everything created so far in a text.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    objects: BTreeMap<String, Object>,
    /// They hide permanent ones of their names.
    temporary: BTreeMap<String, Object>,
    /// Names that LIKE takes something from, later in the text. What is behind their connectors need not be good for
    /// anything: Flink looks when a table is used.
    templates: BTreeSet<String>,
}

impl Catalog {
    /// An empty one, for a text in which LIKE has these names.
    pub fn with_templates<'a>(names: impl Iterator<Item = &'a Name>) -> Self {
        let templates = names.filter_map(|name| name.parts.last().cloned()).collect();
        Self { templates, ..Self::default() }
    }

    /// Whether LIKE has the name.
    #[must_use]
    pub fn is_template(&self, path: &ObjectPath) -> bool {
        self.templates.contains(&path.0)
    }

    /// The path of a name that an object gets.
    pub fn path(&self, name: &Name) -> Result<ObjectPath, SqlError> {
        let other = |what: &str, part: &str| Err(SqlError::not_yet(name.at, format!("the {what} '{part}'")));
        match name.parts.as_slice() {
            [object] => Ok(ObjectPath(object.clone())),
            [database, object] if database == DATABASE => Ok(ObjectPath(object.clone())),
            [catalog, database, object] if catalog == CATALOG && database == DATABASE => {
                Ok(ObjectPath(object.clone()))
            }
            [catalog, _, _] if catalog != CATALOG => other("catalog", catalog),
            [.., database, _] => other("database", database),
            [] => Err(SqlError::syntax(name.at, "a name is missing")),
        }
    }

    /// Adds an object. Nothing happens if there is one and the statement says IF NOT EXISTS.
    pub fn create(&mut self, name: &Name, creation: Creation, object: Object) -> Result<(), SqlError> {
        let path = self.path(name)?;
        let objects = if creation.temporary { &mut self.temporary } else { &mut self.objects };
        let before = objects.get(&path.0);
        let replaces =
            creation.or_replace && before.is_some_and(|before| before.is_table() == object.is_table());
        if before.is_some() && !replaces {
            if creation.if_not_exists {
                return Ok(());
            }
            let message = if creation.temporary {
                format!("Temporary {} '{}' already exists", object.noun(), path.quoted())
            } else {
                format!("Could not execute CREATE: '{path}' already exists.")
            };
            return Err(SqlError::invalid(name.at, message));
        }
        objects.insert(path.0, object);
        Ok(())
    }

    /// Whether a permanent object has this name.
    pub fn has(&self, name: &Name) -> Result<bool, SqlError> {
        Ok(self.objects.contains_key(&self.path(name)?.0))
    }

    /// The permanent object of a name, which is all that ALTER changes.
    pub fn permanent(&self, name: &Name) -> Result<Option<&Object>, SqlError> {
        let path = self.path(name)?;
        let hidden = self.temporary.contains_key(&path.0);
        Ok(self.objects.get(&path.0).filter(|_| !hidden))
    }

    /// Puts a changed object in the place of a permanent one.
    pub fn alter(&mut self, name: &Name, object: Object) -> Result<(), SqlError> {
        let path = self.path(name)?;
        self.objects.insert(path.0, object);
        Ok(())
    }

    /// The same under a new name.
    pub fn rename(&mut self, from: &Name, to: &Name, object: Object) -> Result<(), SqlError> {
        let (from, path) = (self.path(from)?, self.path(to)?);
        if self.objects.contains_key(&path.0) {
            let noun = object.noun().to_ascii_uppercase();
            let message = format!(
                "Could not execute ALTER {noun} {from} RENAME TO {path}: Table (or view) {DATABASE}.{} already exists \
                 in Catalog {CATALOG}.",
                path.0
            );
            return Err(SqlError::invalid(to.at, message));
        }
        self.objects.remove(&from.0);
        self.objects.insert(path.0, object);
        Ok(())
    }

    pub fn find(&self, name: &Name) -> Result<&Object, SqlError> {
        let path = self.path(name)?;
        self.temporary
            .get(&path.0)
            .or_else(|| self.objects.get(&path.0))
            .ok_or_else(|| SqlError::invalid(name.at, format!("Object '{}' not found", path.0)))
    }

    /// Whether the object of this name is a temporary one.
    #[must_use]
    pub fn is_temporary(&self, path: &ObjectPath) -> bool {
        self.temporary.contains_key(&path.0)
    }

    /// All names in their order, with what each stands for.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Object)> {
        let mut all: BTreeMap<&String, &Object> = self.objects.iter().collect();
        all.extend(&self.temporary);
        all.into_iter()
    }

    /// The object, and if it is a table, with the options of the name's hint put over its own.
    pub fn find_with_options(&self, name: &Name) -> Result<Object, SqlError> {
        match self.find(name)? {
            Object::Table(_, statement) if !name.options.is_empty() => {
                let mut statement = CreateTable::clone(statement);
                for option in &name.options {
                    statement.options.retain(|own| own.key != option.key);
                    statement.options.push(option.clone());
                }
                let table = super::statement::table(self, &statement)?;
                Ok(Object::Table(Arc::new(table), Arc::new(statement)))
            }
            found @ (Object::Table(..) | Object::View(_)) => Ok(found.clone()),
        }
    }

    pub fn drop(&mut self, statement: &Drop) -> Result<(), SqlError> {
        let path = self.path(&statement.name)?;
        let noun = if statement.kind == DropKind::Table { "table" } else { "view" };
        let is_meant = |found: &Object| found.noun() == noun;
        let refused = |message: String| Err(SqlError::invalid(statement.name.at, message));
        let hidden = self.temporary.get(&path.0).is_some_and(is_meant);
        if hidden && !statement.temporary {
            let quoted = path.quoted();
            return refused(format!(
                "Temporary {noun} with identifier '{quoted}' exists. Drop it first before removing the permanent \
                 {noun}."
            ));
        }
        let objects = if statement.temporary { &mut self.temporary } else { &mut self.objects };
        if objects.get(&path.0).is_some_and(is_meant) {
            objects.remove(&path.0);
            return Ok(());
        }
        match (statement.if_exists, statement.temporary) {
            (true, _) => Ok(()),
            (false, true) => {
                refused(format!("Temporary table or view with identifier '{path}' does not exist."))
            }
            (false, false) if noun == "table" => {
                refused(format!("Table with identifier '{path}' does not exist."))
            }
            (false, false) => refused(format!("View with identifier '{path}' does not exist.")),
        }
    }
}
