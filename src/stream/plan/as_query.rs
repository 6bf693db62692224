//! `CREATE TABLE … AS SELECT`: the table that takes a query's columns, and EXPLAIN of a query, which no table takes.
//! (Flink: MergeTableAsUtil)

use std::sync::Arc;

use sqlparser::ast::{Query, Spanned};

use super::{
    analyze::Analyzer,
    catalog::{Catalog, Column, ColumnKind, ObjectPath, Table},
    connector::Connector,
    logical::{LogicalInsert, Schema},
    prune::whole,
    types::{DataType, casts_implicitly},
};
use crate::stream::sql::{
    Pos, SqlError,
    ast::{ColumnDef, ColumnKind as Parsed, CreateTable},
};

type Result<T> = std::result::Result<T, SqlError>;

/// The definition with the query's columns behind its own, and their names as the query has them. A column that both have
/// stands where the query has it, with the type of the definition.
pub(super) fn table(
    catalog: &Catalog,
    own: &CreateTable,
    order: &[(String, Pos)],
    query: &Query,
) -> Result<(CreateTable, Vec<(String, Pos)>)> {
    let schema = Analyzer::new(catalog).whole_query(query)?.schema();
    let at: Pos = query.span().into();
    let mut table = own.clone();
    table.elements.columns.retain(|column| !schema.iter().any(|(name, _)| *name == column.name));
    for (index, (name, data_type)) in ordered(&schema, order, at)?.into_iter().enumerate() {
        let given = own.elements.columns.iter().find(|column| column.name == *name);
        table.elements.columns.push(match given {
            None => {
                let kind = Parsed::Physical(data_type.clone());
                ColumnDef { at, name: name.clone(), kind, comment: None }
            }
            Some(given) => typed(given, index, data_type)?,
        });
    }
    Ok((table, schema.into_iter().map(|(name, _)| (name, at)).collect()))
}

fn typed(given: &ColumnDef, index: usize, from: &DataType) -> Result<ColumnDef> {
    let name = &given.name;
    let to = match &given.kind {
        Parsed::Physical(to) | Parsed::Metadata { data_type: to, is_virtual: false, .. } => to,
        Parsed::Computed(_) | Parsed::Metadata { .. } => {
            let message = format!(
                "A column named '{name}' already exists in the source schema. Computed and virtual columns cannot take it."
            );
            return Err(SqlError::invalid(given.at, message));
        }
    };
    if casts_implicitly(&from.kind, &to.kind) {
        return Ok(given.clone());
    }
    let message = format!(
        "Incompatible types for sink column '{name}' at position {index}. The source column has type '{from}', while \
         the target column has type '{to}'."
    );
    Err(SqlError::invalid(given.at, message))
}

/// The query's columns in the order that a list of names gives them.
fn ordered<'a>(schema: &'a Schema, order: &[(String, Pos)], at: Pos) -> Result<Vec<&'a (String, DataType)>> {
    if order.is_empty() {
        return Ok(schema.iter().collect());
    }
    if order.len() != schema.len() {
        let message =
            "The number of columns in the column list must match the number of columns in the source schema.";
        return Err(SqlError::invalid(order.first().map_or(at, |(_, at)| *at), message));
    }
    let found = order.iter().map(|(name, at)| {
        let column = schema.iter().find(|(own, _)| own == name);
        column.ok_or_else(|| {
            SqlError::invalid(*at, format!("Column '{name}' not found in the source schema. "))
        })
    });
    found.collect()
}

/// A query with a sink that keeps nothing.
pub(super) fn nowhere(catalog: &Catalog, query: &Query) -> Result<LogicalInsert> {
    let plan = Analyzer::new(catalog).whole_query(query)?;
    let column = |(name, data_type)| Column { name, data_type, kind: ColumnKind::Physical };
    let table = Table {
        path: ObjectPath("(nowhere)".to_owned()),
        columns: plan.schema().into_iter().map(column).collect(),
        watermark: None,
        connector: Connector::Blackhole,
        options_at: Pos::default(),
        primary_key: Vec::new(),
        fault: None,
    };
    super::statement::check(&plan)?;
    Ok(LogicalInsert { input: whole(plan), table: Arc::new(table) })
}
