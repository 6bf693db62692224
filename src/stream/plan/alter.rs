//! ALTER TABLE and ALTER VIEW: the definition is changed as Flink changes it, and worked out again. Jobs that stand before
//! it in the text keep what they were made of.
//! (Flink: AlterSchemaConverter)

use std::sync::Arc;

use super::{
    catalog::{Catalog, Object, View, backticks},
    logical::Logical,
    statement,
};
use crate::stream::sql::{
    Pos, SqlError,
    ast::{
        AlterTable, AlterView, ColumnKind, CreateTable, Elements, Name, Place, Placed, TableChange,
        ViewChange,
    },
    names::reads,
};

type Result<T> = std::result::Result<T, SqlError>;

pub(super) fn table(catalog: &mut Catalog, statement: &AlterTable) -> Result<()> {
    let name = &statement.name;
    let definition = match catalog.permanent(name)? {
        Some(Object::Table(_, definition)) => definition,
        Some(Object::View(_)) => {
            return Err(SqlError::invalid(name.at, "ALTER TABLE for a view is not allowed"));
        }
        None if statement.if_exists => return Ok(()),
        None => {
            let path = catalog.path(name)?.quoted();
            let message = format!("Table {path} doesn't exist or is a temporary table.");
            return Err(SqlError::invalid(name.at, message));
        }
    };
    let mut changed = CreateTable::clone(definition);
    if let TableChange::Rename(to) = &statement.change {
        changed.name.clone_from(to);
        let table = statement::table(catalog, &changed)?;
        return catalog.rename(name, to, Object::Table(Arc::new(table), Arc::new(changed)));
    }
    change(&mut changed, &statement.change, name.at)?;
    let table = statement::table(catalog, &changed)?;
    catalog.alter(name, Object::Table(Arc::new(table), Arc::new(changed)))
}

pub(super) fn view(catalog: &mut Catalog, statement: &AlterView) -> Result<()> {
    let name = &statement.name;
    let plan: Logical = match catalog.permanent(name)? {
        Some(Object::View(view)) => view.plan.clone(),
        Some(Object::Table(..)) => {
            return Err(SqlError::invalid(name.at, "ALTER VIEW for a table is not allowed"));
        }
        None => {
            let path = catalog.path(name)?.quoted();
            let message = format!("View {path} doesn't exist or is a temporary view.");
            return Err(SqlError::invalid(name.at, message));
        }
    };
    match &statement.change {
        ViewChange::As(query) => {
            let view = statement::view(catalog, name, Vec::new(), query)?;
            catalog.alter(name, view)
        }
        ViewChange::Rename(to) => {
            let view = View { path: catalog.path(to)?, plan };
            catalog.rename(name, to, Object::View(Arc::new(view)))
        }
    }
}

fn failed<T>(at: Pos, why: impl std::fmt::Display) -> Result<T> {
    Err(SqlError::invalid(at, format!("Failed to execute ALTER TABLE statement.\n{why}")))
}

fn change(table: &mut CreateTable, change: &TableChange, at: Pos) -> Result<()> {
    let elements = &mut table.elements;
    match change {
        TableChange::Add(placed) => add(elements, placed),
        TableChange::DropColumns(columns) => drop_columns(table, columns),
        TableChange::DropConstraint(name, at) => {
            let key: Vec<&str> = elements.primary_key.iter().map(|(name, _)| name.as_str()).collect();
            let own = elements.constraint.clone().unwrap_or_else(|| format!("PK_{}", key.join("_")));
            if !key.is_empty() && own != *name {
                let message = format!(
                    "The base table does not define a primary key constraint named '{name}'. Available constraint \
                     name: ['{own}']."
                );
                return failed(*at, message);
            }
            drop_key(elements, *at)
        }
        TableChange::DropPrimaryKey(at) => drop_key(elements, *at),
        TableChange::DropWatermark(at) => match elements.watermark.take() {
            Some(_) => Ok(()),
            None => failed(*at, "The base table does not define any watermark strategy."),
        },
        TableChange::Modify(placed) => modify(elements, placed),
        TableChange::Rename(Name { .. }) => Ok(()),
        TableChange::RenameColumn { from, to } => rename(table, from, to),
        TableChange::Reset(keys) => {
            if let Some((_, at)) = keys.iter().find(|(key, _)| key == "connector") {
                let message = "ALTER TABLE RESET does not support changing 'connector'";
                return Err(SqlError::invalid(*at, message));
            }
            table.options.retain(|option| !keys.iter().any(|(key, _)| *key == option.key));
            Ok(())
        }
        TableChange::Set(options) => {
            for option in options {
                table.options.retain(|own| own.key != option.key);
                table.options.push(option.clone());
            }
            table.options_at = options.first().map_or(at, |option| option.at);
            Ok(())
        }
    }
}

fn add(elements: &mut Elements, placed: &Placed) -> Result<()> {
    for (column, place) in placed.elements.columns.iter().zip(&placed.places) {
        if elements.columns.iter().any(|own| own.name == column.name) {
            let name = backticks(&column.name);
            return failed(
                column.at,
                format!("Try to add a column {name} which already exists in the table."),
            );
        }
        let end = elements.columns.len();
        let index = index_of(elements, place, end)?;
        elements.columns.insert(index, column.clone());
    }
    if !placed.elements.primary_key.is_empty() {
        if !elements.primary_key.is_empty() {
            let key: Vec<String> = elements.primary_key.iter().map(|(name, _)| backticks(name)).collect();
            let message = format!(
                "The base table has already defined the primary key constraint [{}]. You might want to drop it before \
                 adding a new one.",
                key.join(", ")
            );
            return failed(placed.at, message);
        }
        set_key(elements, &placed.elements);
    }
    if let Some(watermark) = &placed.elements.watermark {
        if let Some(own) = &elements.watermark {
            let message = format!(
                "The base table has already defined the watermark strategy {} AS {}. You might want to drop it before \
                 adding a new one.",
                backticks(&own.column),
                own.expr.text
            );
            return failed(watermark.at, message);
        }
        elements.watermark = Some(watermark.clone());
    }
    Ok(())
}

/// Where a column goes that stands nowhere yet; `unsaid` if nothing is said.
fn index_of(elements: &Elements, place: &Place, unsaid: usize) -> Result<usize> {
    match place {
        Place::First => Ok(0),
        Place::Unsaid => Ok(unsaid),
        Place::After(name, at) => match elements.columns.iter().position(|own| own.name == *name) {
            Some(index) => Ok(index + 1),
            None => {
                let name = backticks(name);
                failed(*at, format!("Referenced column {name} by 'AFTER' does not exist in the table."))
            }
        },
    }
}

fn modify(elements: &mut Elements, placed: &Placed) -> Result<()> {
    for (column, place) in placed.elements.columns.iter().zip(&placed.places) {
        let Some(index) = elements.columns.iter().position(|own| own.name == column.name) else {
            let name = backticks(&column.name);
            let message = format!("Try to modify a column {name} which does not exist in the table.");
            return failed(column.at, message);
        };
        elements.columns.remove(index);
        let index = index_of(elements, place, index)?;
        elements.columns.insert(index, column.clone());
    }
    if !placed.elements.primary_key.is_empty() {
        if elements.primary_key.is_empty() {
            let message =
                "The base table does not define any primary key constraint. You might want to add a new one.";
            return failed(placed.at, message);
        }
        drop_key(elements, placed.at)?;
        set_key(elements, &placed.elements);
    }
    if let Some(watermark) = &placed.elements.watermark {
        if elements.watermark.is_none() {
            let message = "The base table does not define any watermark. You might want to add a new one.";
            return failed(watermark.at, message);
        }
        elements.watermark = Some(watermark.clone());
    }
    Ok(())
}

fn set_key(elements: &mut Elements, from: &Elements) {
    elements.primary_key.clone_from(&from.primary_key);
    elements.constraint.clone_from(&from.constraint);
}

/// What was a key stays NOT NULL.
fn drop_key(elements: &mut Elements, at: Pos) -> Result<()> {
    if elements.primary_key.is_empty() {
        return failed(at, "The base table does not define any primary key.");
    }
    for (name, _) in std::mem::take(&mut elements.primary_key) {
        let column = elements.columns.iter_mut().find(|column| column.name == name);
        if let Some(ColumnKind::Physical(data_type)) = column.map(|column| &mut column.kind) {
            data_type.nullable = false;
        }
    }
    elements.constraint = None;
    Ok(())
}

fn drop_columns(table: &mut CreateTable, columns: &[(String, Pos)]) -> Result<()> {
    for (index, (name, at)) in columns.iter().enumerate() {
        let column = backticks(name);
        if columns.iter().take(index).any(|(before, _)| before == name) {
            return failed(*at, format!("Duplicate column {column}."));
        }
        exists(&table.elements, name, *at)?;
        if table.elements.primary_key.iter().any(|(key, _)| key == name) {
            return failed(*at, format!("The column {column} is used as the primary key."));
        }
        if table.partitioned_by.iter().any(|(key, _)| key == name) {
            return failed(*at, format!("The column {column} is used as the partition keys."));
        }
        let goes = |other: &str| columns.iter().any(|(dropped, _)| dropped == other);
        unread(&table.elements, name, *at, goes)?;
    }
    let last = columns.last().map_or(table.name.at, |(_, at)| *at);
    table.elements.columns.retain(|own| !columns.iter().any(|(name, _)| *name == own.name));
    if table.elements.columns.is_empty() {
        return Err(SqlError::not_yet(last, "a table without columns"));
    }
    Ok(())
}

fn exists(elements: &Elements, name: &str, at: Pos) -> Result<()> {
    if elements.columns.iter().any(|own| own.name == name) {
        return Ok(());
    }
    failed(at, format!("The column {} does not exist in the base table.", backticks(name)))
}

/// No computed column that stays reads it, nor the watermark.
fn unread(elements: &Elements, name: &str, at: Pos, goes: impl Fn(&str) -> bool) -> Result<()> {
    let column = backticks(name);
    for other in elements.columns.iter().filter(|other| !goes(&other.name)) {
        if let ColumnKind::Computed(written) = &other.kind
            && reads(&written.expr, name)
        {
            let other = backticks(&other.name);
            return failed(at, format!("The column {column} is referenced by computed column {other}."));
        }
    }
    match &elements.watermark {
        Some(watermark) if watermark.column == name || reads(&watermark.expr.expr, name) => {
            failed(at, format!("The column {column} is referenced by watermark expression."))
        }
        Some(_) | None => Ok(()),
    }
}

fn rename(table: &mut CreateTable, (from, at): &(String, Pos), (to, to_at): &(String, Pos)) -> Result<()> {
    let elements = &mut table.elements;
    exists(elements, from, *at)?;
    if elements.columns.iter().any(|own| own.name == *to) {
        return failed(*to_at, format!("The column {} already existed in table schema.", backticks(to)));
    }
    unread(elements, from, *at, |_| false)?;
    let columns = elements.columns.iter_mut().map(|column| &mut column.name);
    let keys = elements.primary_key.iter_mut().chain(&mut table.partitioned_by).map(|(name, _)| name);
    columns.chain(keys).filter(|name| *name == from).for_each(|name| name.clone_from(to));
    Ok(())
}
