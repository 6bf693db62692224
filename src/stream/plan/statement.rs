//! CREATE TABLE, CREATE VIEW and INSERT against a catalog: what is checked when they are read.

use std::sync::Arc;

use sqlparser::ast::Query;

use super::{
    analyze::{Analyzer, renamed},
    catalog::{Catalog, Column, ColumnKind, Object, Table, View, Watermark},
    connector::{Connector, Kafka, metadata_keys, metadata_type},
    logical::{Logical, LogicalInsert, Schema},
    over,
    prune::whole,
    scope::Scope,
    types::{DataType, Type, casts_implicitly},
};
use crate::stream::{
    datum::Datum,
    expr::Expr,
    sql::{
        Pos, SqlError,
        ast::{ColumnKind as Parsed, CreateTable, CreateView, Creation, Insert, Name, WatermarkDef},
    },
};

type Result<T> = std::result::Result<T, SqlError>;

/// Works out a table and enters it.
pub(super) fn create_table(catalog: &mut Catalog, statement: CreateTable, creation: Creation) -> Result<()> {
    let table = Arc::new(table(catalog, &statement)?);
    let name = statement.name.clone();
    catalog.create(&name, creation, Object::Table(table, Arc::new(statement)))
}

/// The table of a CREATE TABLE.
pub(super) fn table(catalog: &Catalog, statement: &CreateTable) -> Result<Table> {
    let columns = columns(catalog, statement)?;
    let path = catalog.path(&statement.name)?;
    let mut table = Table {
        path,
        columns,
        watermark: None,
        connector: Connector::Blackhole,
        options_at: statement.options_at,
        primary_key: Vec::new(),
        fault: None,
    };
    if let Some(watermark) = &statement.elements.watermark {
        table.watermark = Some(self::watermark(watermark, &mut table.columns)?);
    }
    for (name, at) in &statement.elements.primary_key {
        let index = table.columns.iter().position(|c| c.name == *name && c.kind == ColumnKind::Physical);
        let Some(index) = index else {
            let message = format!("Primary key column '{name}' is not defined in the schema at {at}");
            return Err(SqlError::invalid(*at, message));
        };
        table.primary_key.push(index);
    }
    match connector(&table, statement) {
        Ok(connector) => table.connector = connector,
        Err(fault) if catalog.is_template(&table.path) => table.fault = Some(Box::new(fault)),
        Err(fault) => return Err(fault),
    }
    Ok(table)
}

/// What is behind a table, if that goes together with its definition.
fn connector(table: &Table, statement: &CreateTable) -> Result<Connector> {
    let connector = Connector::of(statement, &table.columns)?;
    if let (Connector::Kafka(Kafka { upsert: false, .. }), Some((_, at))) =
        (&connector, statement.elements.primary_key.first())
    {
        return Err(SqlError::invalid(
            *at,
            format!(
                "The Kafka table '{}' with 'json' format doesn't support defining PRIMARY KEY constraint on the table, \
                 because it can't guarantee the semantic of primary key.",
                table.path
            ),
        ));
    }
    if table.watermark.is_some() && !connector.is_source() {
        let at = statement.elements.watermark.as_ref().map_or(statement.name.at, |w| w.at);
        let message = format!("WATERMARK: the connector '{}' is a sink only", connector.name());
        return Err(SqlError::invalid(at, message));
    }
    Ok(connector)
}

fn columns(catalog: &Catalog, statement: &CreateTable) -> Result<Vec<Column>> {
    let path = catalog.path(&statement.name)?;
    let connector = statement.options.iter().find(|o| o.key == "connector").map_or("", |o| o.value.as_str());
    // A connector without metadata refuses the columns in words of its own.
    let keys = Some(metadata_keys(connector)).filter(|keys| !keys.is_empty());
    let mut columns: Vec<Column> = Vec::new();
    let mut stored: Schema = Vec::new();
    for def in &statement.elements.columns {
        if columns.iter().any(|c| c.name == def.name) {
            let message = format!("A column named '{}' already exists in the base table.", def.name);
            return Err(SqlError::invalid(def.at, message));
        }
        let (data_type, kind) = match &def.kind {
            // Filled below, when all stored columns are known.
            Parsed::Computed(_) => (DataType::nullable(Type::Null), ColumnKind::Physical),
            Parsed::Physical(data_type) => {
                let is_key = statement.elements.primary_key.iter().any(|(key, _)| *key == def.name);
                let nullable = data_type.nullable && !is_key;
                (data_type.clone().with_nullable(nullable), ColumnKind::Physical)
            }
            Parsed::Metadata { data_type, key, is_virtual } => {
                let key = key.clone().unwrap_or_else(|| def.name.clone());
                if let Some(keys) = keys {
                    check_metadata(
                        keys,
                        (&key, data_type, *is_virtual),
                        &def.name,
                        &path.to_string(),
                        def.at,
                    )?;
                }
                (data_type.clone(), ColumnKind::Metadata { key, is_virtual: *is_virtual })
            }
        };
        if !matches!(def.kind, Parsed::Computed(_)) {
            stored.push((def.name.clone(), data_type.clone()));
        }
        columns.push(Column { name: def.name.clone(), data_type, kind });
    }
    let scope = Scope::of(None, stored);
    for (column, def) in columns.iter_mut().zip(&statement.elements.columns) {
        if let Parsed::Computed(parsed) = &def.kind {
            let expr = scope.expr(&parsed.expr)?;
            column.data_type = expr.data_type.clone();
            column.kind = ColumnKind::Computed(expr);
        }
    }
    Ok(columns)
}

fn check_metadata(
    keys: &[(&str, bool)],
    (key, data_type, is_virtual): (&str, &DataType, bool),
    column: &str,
    path: &str,
    at: Pos,
) -> Result<()> {
    let known = keys.iter().find(|(k, _)| *k == key);
    let writing = !is_virtual && known.is_some_and(|(_, writable)| *writable);
    let Some(given) = known.and_then(|(k, _)| metadata_type(k)) else {
        let keys: Vec<&str> = keys.iter().map(|(k, _)| *k).collect();
        return Err(SqlError::invalid(
            at,
            format!(
                "Invalid metadata key '{key}' in column '{column}' of table '{path}'. The table source supports the \
                 following metadata keys for reading:\n{}",
                keys.join("\n")
            ),
        ));
    };
    let fits = casts_implicitly(&given.kind, &data_type.kind)
        && (!writing || casts_implicitly(&data_type.kind, &given.kind));
    // Only what needs no conversion: all other casts can be written in the query.
    let same = match (&given.kind, &data_type.kind) {
        (Type::TimestampLtz(_), Type::TimestampLtz(_) | Type::Timestamp(_)) => true,
        (Type::Map(..), Type::Map(..)) => fits,
        (Type::Varchar(_), kind) => kind.is_string(),
        (Type::Int | Type::BigInt, kind) => kind.is_integer() && fits,
        (a, b) => a == b,
    };
    if fits && same {
        return Ok(());
    }
    Err(SqlError::invalid(
        at,
        format!(
            "Invalid data type for metadata column '{column}' of table '{path}'. The column cannot be declared as \
             '{data_type}' because the type must be castable from metadata type '{given}'."
        ),
    ))
}

fn watermark(def: &WatermarkDef, columns: &mut [Column]) -> Result<Watermark> {
    let Some(index) = columns.iter().position(|c| c.name == def.column) else {
        let message =
            format!("The rowtime attribute field '{}' is not defined in the table schema.", def.column);
        return Err(SqlError::invalid(def.at, message));
    };
    let rowtime = |t: &Type| matches!(t, Type::Timestamp(0..=3) | Type::TimestampLtz(0..=3));
    let scope = Scope::of(None, columns.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect());
    let bad = |what: &str, kind: &Type| {
        SqlError::invalid(
            def.at,
            format!(
                "Invalid data type of {what} for watermark definition. The field must be of type TIMESTAMP(p) or \
                 TIMESTAMP_LTZ(p), the supported precision 'p' is from 0 to 3, but the {what} type is {kind}"
            ),
        )
    };
    if let Some(column) = columns.get(index)
        && !rowtime(&column.data_type.kind)
    {
        return Err(bad("time field", &column.data_type.kind));
    }
    let expr = scope.expr(&def.expr.expr)?;
    if !rowtime(&expr.data_type.kind) {
        return Err(bad("expression", &expr.data_type.kind));
    }
    // The watermark runs below the computed columns.
    let over: Vec<Expr> = over_stored(columns);
    Ok(Watermark { column: index, expr: expr.over(&over) })
}

fn over_stored(columns: &[Column]) -> Vec<Expr> {
    let mut stored = 0;
    let mut over = Vec::with_capacity(columns.len());
    for column in columns {
        over.push(match &column.kind {
            ColumnKind::Computed(expr) => expr.clone(),
            ColumnKind::Metadata { .. } | ColumnKind::Physical => {
                stored += 1;
                Expr::column(stored - 1, &column.name, column.data_type.clone())
            }
        });
    }
    over
}

/// Works out a view and enters it.
pub(super) fn create_view(catalog: &mut Catalog, statement: &CreateView) -> Result<()> {
    let names = statement.columns.iter().map(|(name, _)| name.clone()).collect();
    let view = view(catalog, &statement.name, names, &statement.query)?;
    // Flink reads OR REPLACE here, and replaces nothing.
    catalog.create(&statement.name, Creation { or_replace: false, ..statement.creation }, view)
}

/// The view that a query is, with these names for its columns.
pub(super) fn view(catalog: &Catalog, name: &Name, columns: Vec<String>, query: &Query) -> Result<Object> {
    let plan = Analyzer::new(catalog).query(query)?;
    let plan = renamed(plan, columns, name.at)?;
    Ok(Object::View(Arc::new(View { path: catalog.path(name)?, plan })))
}

/// Works out an INSERT: the query over what is in `reads`, and its columns cast to the sink's.
pub(super) fn insert(catalog: &Catalog, reads: &Catalog, statement: &Insert) -> Result<LogicalInsert> {
    let at = statement.target.at;
    let table = match catalog.find_with_options(&statement.target)? {
        Object::Table(table, _) => table,
        Object::View(view) => {
            return Err(SqlError::invalid(
                at,
                format!("'{}' is a view, nothing can be written to it", view.path),
            ));
        }
    };
    table.usable()?;
    if !table.connector.is_sink() {
        let name = table.connector.name();
        let message =
            format!("Connector '{name}' can only be used as a source. It cannot be used as a sink.");
        return Err(SqlError::invalid(at, message));
    }
    if let Connector::Kafka(kafka) = &table.connector
        && kafka.topics.len() > 1
    {
        let message = "The topics of a kafka sink must be one; a list of topics can only be read";
        return Err(SqlError::invalid(at, message));
    }
    let keys = metadata_keys(table.connector.name());
    for column in table.persisted() {
        if let ColumnKind::Metadata { key, .. } = &column.kind
            && !keys.iter().any(|(k, writable)| k == key && *writable)
        {
            let writable: Vec<&str> = keys.iter().filter(|(_, w)| *w).map(|(k, _)| *k).collect();
            let message = format!(
                "Invalid metadata key '{key}' in column '{}' of table '{}'. The table sink supports the following \
                 metadata keys for writing:\n{}",
                column.name,
                table.path,
                writable.join("\n")
            );
            return Err(SqlError::invalid(at, message));
        }
    }
    let query = Analyzer::new(reads).whole_query(&statement.query)?;
    let exprs = if statement.columns.is_empty() {
        by_position(&query.schema(), &table, at)?
    } else {
        by_name(&query.schema(), &table, &statement.columns, at)?
    };
    let names = table.persisted().map(|c| c.name.clone()).collect();
    let plan = query.project(exprs, names);
    check(&plan)?;
    let insert = LogicalInsert { input: whole(plan), table };
    check_sink(&insert, at)?;
    Ok(insert)
}

/// What can only be said of the whole: an OVER that no filter has made a Top-N must be one that can run.
pub(super) fn check(plan: &Logical) -> Result<()> {
    match plan {
        Logical::Over(over) => over::check(over, over.at)?,
        Logical::Sort(sort) if sort.event.is_none() => {
            return Err(SqlError::invalid(sort.at, "Sort on a non-time-attribute field is not supported."));
        }
        Logical::Sort(sort) if !sort.input.changes().is_insert_only() => {
            let message = format!(
                "Sort doesn't support consuming update changes which is produced by node {}",
                sort.input.updater()
            );
            return Err(SqlError::invalid(sort.at, message));
        }
        Logical::Sort(sort) if sort.event == Some(false) && sort.order.len() > 1 => {
            return Err(SqlError::not_yet(sort.at, "ORDER BY processing time and something else"));
        }
        Logical::Aggregate(_)
        | Logical::Expand(_)
        | Logical::Filter { .. }
        | Logical::Join(_)
        | Logical::Normalize { .. }
        | Logical::Project { .. }
        | Logical::Rank(_)
        | Logical::Scan(_)
        | Logical::Sort(_)
        | Logical::UnionAll { .. }
        | Logical::Unnest(_)
        | Logical::Watermark { .. }
        | Logical::WindowAggregate(_)
        | Logical::WindowRows(_) => {}
    }
    plan.inputs().into_iter().try_for_each(check)
}

/// Whether the table can take what the query makes.
fn check_sink(insert: &LogicalInsert, at: Pos) -> Result<()> {
    let changes = insert.input.changes();
    let inserts_only = match &insert.table.connector {
        Connector::Filesystem(_) | Connector::Rabbitmq(_) => true,
        Connector::Kafka(kafka) => !kafka.upsert,
        Connector::Blackhole | Connector::Datagen(_) | Connector::Print(_) => return Ok(()),
    };
    if changes.is_insert_only() {
        return Ok(());
    }
    if inserts_only {
        let message = format!(
            "Table sink '{}' doesn't support consuming {} changes which is produced by node {}",
            insert.table.path,
            if changes.deletes { "update and delete" } else { "update" },
            insert.input.updater()
        );
        return Err(SqlError::invalid(at, message));
    }
    Ok(())
}

fn by_position(query: &Schema, table: &Table, at: Pos) -> Result<Vec<Expr>> {
    let sink: Vec<&Column> = table.persisted().collect();
    if query.len() != sink.len() {
        return Err(schema_mismatch(table, "Different number of columns.", query, at));
    }
    let mut exprs = Vec::new();
    for (index, ((name, data_type), column)) in query.iter().zip(sink).enumerate() {
        exprs.push(into_column(index, name, data_type, column, index).ok_or_else(|| {
            let cause = format!("Incompatible types for sink column '{}' at position {index}.", column.name);
            schema_mismatch(table, &cause, query, at)
        })?);
    }
    Ok(exprs)
}

fn by_name(query: &Schema, table: &Table, names: &[(String, Pos)], at: Pos) -> Result<Vec<Expr>> {
    if query.len() != names.len() {
        let message = format!(
            "Number of INSERT target columns ({}) does not equal number of source items ({})",
            names.len(),
            query.len()
        );
        return Err(SqlError::invalid(at, message));
    }
    for (index, (name, at)) in names.iter().enumerate() {
        if names.iter().take(index).any(|(before, _)| before == name) {
            return Err(SqlError::invalid(*at, format!("Target column '{name}' is assigned more than once")));
        }
        if !table.persisted().any(|c| c.name == *name) {
            return Err(SqlError::invalid(*at, format!("Unknown target column '{name}'")));
        }
    }
    let mut exprs = Vec::new();
    for (position, column) in table.persisted().enumerate() {
        let given = names.iter().position(|(name, _)| *name == column.name);
        exprs.push(match given.and_then(|i| query.get(i).map(|q| (i, q))) {
            Some((index, (name, data_type))) => into_column(index, name, data_type, column, position)
                .ok_or_else(|| {
                    let cause =
                        format!("Incompatible types for sink column '{}' at position {index}.", column.name);
                    schema_mismatch(table, &cause, query, at)
                })?,
            None if column.data_type.nullable => Expr::literal(Datum::Null, column.data_type.kind.clone()),
            None => {
                let message =
                    format!("Column '{}' has no default value and does not allow NULLs", column.name);
                return Err(SqlError::invalid(at, message));
            }
        });
    }
    Ok(exprs)
}

fn into_column(index: usize, name: &str, from: &DataType, to: &Column, _position: usize) -> Option<Expr> {
    let expr = Expr::column(index, name, from.clone());
    if !casts_implicitly(&from.kind, &to.data_type.kind) {
        return None;
    }
    // A text that is cast is cut; what is of the column's type already, however long, is what
    // `table.exec.sink.type-length-enforcer` is about.
    let kept = (from.kind.is_string() && to.data_type.kind == Type::STRING)
        || (from.kind.is_binary() && to.data_type.kind == Type::BYTES)
        || (from.kind.is_timestamp()
            && to.data_type.kind.is_timestamp()
            && same_digits(&from.kind, &to.data_type.kind))
        || same_shape(&from.kind, &to.data_type.kind);
    Some(if kept { expr } else { expr.cast_to(&to.data_type.kind) })
}

fn same_digits(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Timestamp(p) | Type::TimestampLtz(p), Type::Timestamp(q) | Type::TimestampLtz(q)) => p <= q,
        _ => false,
    }
}

/// Types that differ in nullability only, or in nothing.
fn same_shape(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Array(x), Type::Array(y)) => same_shape(&x.kind, &y.kind),
        (Type::Map(k, v), Type::Map(l, w)) => same_shape(&k.kind, &l.kind) && same_shape(&v.kind, &w.kind),
        (Type::Row(x), Type::Row(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|((_, a), (_, b))| same_shape(&a.kind, &b.kind))
        }
        _ => a == b,
    }
}

/// Flink's message. (DynamicSinkUtils.createSchemaMismatchException)
fn schema_mismatch(table: &Table, cause: &str, query: &Schema, at: Pos) -> SqlError {
    let list = |fields: Vec<String>| format!("[{}]", fields.join(", "));
    let query = list(query.iter().map(|(name, t)| format!("{name}: {t}")).collect());
    let sink = list(table.persisted().map(|c| format!("{}: {}", c.name, c.data_type)).collect());
    SqlError::invalid(
        at,
        format!(
            "Column types of query result and sink for '{}' do not match.\nCause: {cause}\n\nQuery schema: \
             {query}\nSink schema:  {sink}",
            table.path
        ),
    )
}
