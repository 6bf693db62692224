//! DESCRIBE and SHOW: what a text has created so far, as Flink's SQL client shows it.

use std::fmt::Write as _;

use super::{
    catalog::{CATALOG, Catalog, DATABASE, Object, ObjectPath, Table, backticks},
    functions::{CORE, FUNCTIONS},
    logical::Logical,
    properties::TimeAttribute,
    tableau::tableau,
};
use crate::stream::{
    expr::builtins::regexp::is_like,
    sql::{
        SqlError,
        ast::{ColumnKind, CreateTable, Name, Pattern, Show},
    },
};

type Result<T> = std::result::Result<T, SqlError>;

pub(super) fn show(catalog: &Catalog, what: &Show) -> Result<String> {
    let names = |pattern: &Option<Pattern>, views_only: bool| {
        let all = catalog.all().filter(|(_, object)| !views_only || matches!(object, Object::View(_)));
        matching(all.map(|(name, _)| name.clone()), pattern.as_ref())
    };
    Ok(match what {
        Show::Catalogs(pattern) => {
            tableau(&["catalog name"], &matching([CATALOG.to_owned()].into_iter(), pattern.as_ref())?)
        }
        Show::Columns(name, pattern) => described(catalog, name, pattern.as_ref())?,
        Show::CreateTable(name) => created(catalog, name)?,
        Show::CurrentCatalog => tableau(&["current catalog name"], &[vec![CATALOG.to_owned()]]),
        Show::CurrentDatabase => tableau(&["current database name"], &[vec![DATABASE.to_owned()]]),
        Show::Databases(pattern) => {
            tableau(&["database name"], &matching([DATABASE.to_owned()].into_iter(), pattern.as_ref())?)
        }
        Show::Functions(pattern) => {
            let names = FUNCTIONS.iter().map(|name| (*name).to_owned());
            tableau(&["function name"], &matching(names, pattern.as_ref())?)
        }
        Show::Modules { full: false } => tableau(&["module name"], &[vec![CORE.to_owned()]]),
        Show::Modules { full: true } => {
            tableau(&["module name", "used"], &[vec![CORE.to_owned(), "TRUE".to_owned()]])
        }
        Show::Nothing => tableau(&[], &[]),
        Show::Tables(pattern) => tableau(&["table name"], &names(pattern, false)?),
        Show::Views(pattern) => tableau(&["view name"], &names(pattern, true)?),
    })
}

pub(super) fn describe(catalog: &Catalog, name: &Name) -> Result<String> {
    described(catalog, name, None)
}

fn matching(names: impl Iterator<Item = String>, pattern: Option<&Pattern>) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for name in names {
        if passes(&name, pattern)? {
            rows.push(vec![name]);
        }
    }
    Ok(rows)
}

fn passes(name: &str, pattern: Option<&Pattern>) -> Result<bool> {
    let Some(pattern) = pattern else { return Ok(true) };
    let found = if pattern.any_case {
        is_like(&name.to_lowercase(), &pattern.like.to_lowercase())
    } else {
        is_like(name, &pattern.like)
    };
    found.map(|found| found != pattern.negated).map_err(|e| SqlError::invalid(super::Pos::default(), e.0))
}

/// A line for each column; comments only if there are any.
fn described(catalog: &Catalog, name: &Name, pattern: Option<&Pattern>) -> Result<String> {
    refuse_options(name)?;
    let path = catalog.path(name)?;
    let Ok(object) = catalog.find(name) else {
        let message = format!("Tables or views with the identifier '{path}' doesn't exist.");
        return Err(SqlError::invalid(name.at, message));
    };
    let (plan, definition) = match object {
        Object::Table(table, definition) => (Logical::table(table), Some((table, definition))),
        Object::View(view) => (view.plan.clone(), None),
    };
    let mut rows = Vec::new();
    for (index, ((name, data_type), time)) in plan.schema().iter().zip(plan.times()).enumerate() {
        let time = match time {
            Some(TimeAttribute::Event) => " *ROWTIME*",
            Some(TimeAttribute::Processing) => " *PROCTIME*",
            None => "",
        };
        let null = if data_type.nullable { "TRUE" } else { "FALSE" };
        let mut row = vec![name.clone(), format!("{}{time}", data_type.kind), null.to_owned()];
        row.extend(match definition {
            Some((table, definition)) => of_table(table, definition, index),
            None => Default::default(),
        });
        if passes(name, pattern)? {
            rows.push(row);
        }
    }
    let mut head = vec!["name", "type", "null", "key", "extras", "watermark", "comment"];
    let columns = definition.iter().flat_map(|(_, definition)| &definition.elements.columns);
    if columns.filter(|column| column.comment.is_some()).count() == 0 {
        head.pop();
        rows.iter_mut().for_each(|row| row.truncate(head.len()));
    }
    Ok(tableau(&head, &rows))
}

/// Key, extras, watermark and comment of a table's column.
fn of_table(table: &Table, definition: &CreateTable, index: usize) -> [String; 4] {
    let elements = &definition.elements;
    let Some(column) = elements.columns.get(index) else { return Default::default() };
    let names: Vec<&str> = elements.primary_key.iter().map(|(name, _)| name.as_str()).collect();
    let key =
        if table.primary_key.contains(&index) { format!("PRI({})", names.join(", ")) } else { String::new() };
    let watermark = elements.watermark.as_ref().filter(|watermark| watermark.column == column.name);
    [
        key,
        extras(&column.kind),
        watermark.map(|watermark| watermark.expr.text.clone()).unwrap_or_default(),
        column.comment.clone().unwrap_or_default(),
    ]
}

fn extras(kind: &ColumnKind) -> String {
    match kind {
        ColumnKind::Computed(written) => format!("AS {}", written.text),
        ColumnKind::Metadata { key, is_virtual, .. } => {
            let from = key.as_ref().map(|key| format!(" FROM {}", literal(key))).unwrap_or_default();
            format!("METADATA{from}{}", if *is_virtual { " VIRTUAL" } else { "" })
        }
        ColumnKind::Physical(_) => String::new(),
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn created(catalog: &Catalog, name: &Name) -> Result<String> {
    refuse_options(name)?;
    let path = catalog.path(name)?;
    match catalog.find(name) {
        Ok(Object::Table(table, definition)) => {
            let text = statement(table, definition, catalog.is_temporary(&path), &path);
            Ok(tableau(&["result"], &[vec![text]]))
        }
        Ok(Object::View(_)) => {
            let message =
                format!("SHOW CREATE TABLE is only supported for tables, but {} is a view.", path.quoted());
            Err(SqlError::invalid(name.at, message))
        }
        Err(_) => {
            let message = format!(
                "Could not execute SHOW CREATE TABLE. Table with identifier {} does not exist.",
                path.quoted()
            );
            Err(SqlError::invalid(name.at, message))
        }
    }
}

/// The statement that makes the table, every name whole and every type spelled out.
fn statement(table: &Table, definition: &CreateTable, temporary: bool, path: &ObjectPath) -> String {
    let elements = &definition.elements;
    let mut parts = Vec::new();
    for (column, typed) in elements.columns.iter().zip(&table.columns) {
        let extras = extras(&column.kind);
        let data_type = match column.kind {
            ColumnKind::Computed(_) => String::new(),
            ColumnKind::Metadata { .. } | ColumnKind::Physical(_) => typed.data_type.spelled_out(),
        };
        let comment = column.comment.as_ref().map(|c| format!("COMMENT {}", literal(c))).unwrap_or_default();
        let words = [backticks(&column.name), data_type, extras, comment];
        parts.push(words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
    }
    if let Some(watermark) = &elements.watermark {
        parts.push(format!("WATERMARK FOR {} AS {}", backticks(&watermark.column), watermark.expr.text));
    }
    if !elements.primary_key.is_empty() {
        let names: Vec<&str> = elements.primary_key.iter().map(|(name, _)| name.as_str()).collect();
        let constraint = elements.constraint.clone().unwrap_or_else(|| format!("PK_{}", names.join("_")));
        let columns: Vec<String> = names.iter().map(|name| backticks(name)).collect();
        let (constraint, columns) = (backticks(&constraint), columns.join(", "));
        parts.push(format!("CONSTRAINT {constraint} PRIMARY KEY ({columns}) NOT ENFORCED"));
    }
    let temporary = if temporary { "TEMPORARY " } else { "" };
    let mut out = format!("CREATE {temporary}TABLE {} (\n  {}\n)\n", path.quoted(), parts.join(",\n  "));
    if let Some(comment) = &definition.comment {
        let _ = writeln!(out, "COMMENT {}", literal(comment));
    }
    if !definition.partitioned_by.is_empty() {
        let columns: Vec<String> =
            definition.partitioned_by.iter().map(|(name, _)| backticks(name)).collect();
        let _ = writeln!(out, "PARTITIONED BY ({})", columns.join(", "));
    }
    let mut options: Vec<String> =
        definition.options.iter().map(|o| format!("{} = {}", literal(&o.key), literal(&o.value))).collect();
    options.sort_unstable();
    if !options.is_empty() {
        let _ = write!(out, "WITH (\n  {}\n)\n", options.join(",\n  "));
    }
    out
}

/// A hint has no meaning for who only looks.
fn refuse_options(name: &Name) -> Result<()> {
    match name.options.first() {
        Some(option) => Err(SqlError::syntax(option.at, "Encountered \"/*+\"")),
        None => Ok(()),
    }
}
