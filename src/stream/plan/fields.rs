//! Which fields of a source's ROWs anybody reads. The others need not be made, as columns that nobody reads are not.

use std::sync::Arc;

use super::{
    catalog::Table,
    connector::Connector,
    format::Format,
    physical::{JobPlan, NodeKind, Source},
    types::Type,
};
use crate::stream::expr::{Expr, Node};

impl JobPlan {
    /// A source with the types of its columns as far as they are read: in `json`, a field that nobody reads is of type NULL.
    #[must_use]
    pub fn source_as_read(&self, index: usize) -> Option<Source> {
        let NodeKind::Source(source) = &self.nodes.get(index)?.kind else { return None };
        let mut source = source.clone();
        if let (true, Some(read)) = (is_json(&source.table), self.read_of(index)) {
            let read = |column: usize, field: Option<usize>| read.contains(&(column, field));
            let table = Arc::make_mut(&mut source.table);
            let stored: Vec<usize> = table.stored().map(|(at, _)| at).collect();
            for (column, at) in stored.into_iter().enumerate().filter(|(column, _)| !read(*column, None)) {
                let Some(Type::Row(fields)) = table.columns.get_mut(at).map(|c| &mut c.data_type.kind) else {
                    continue;
                };
                let unread = fields.iter_mut().enumerate().filter(|(field, _)| !read(column, Some(*field)));
                unread.for_each(|(_, (_, of))| of.kind = Type::Null);
            }
        }
        Some(source)
    }

    /// What is read of a source: columns, whole or a field of them. `None` if what is behind it reads rows as they are.
    fn read_of(&self, source: usize) -> Option<Vec<(usize, Option<usize>)>> {
        let mut read = Vec::new();
        for node in self.nodes.iter().filter(|node| node.inputs.contains(&source)) {
            let NodeKind::Calc(calc) = &node.kind else { return None };
            calc.condition.iter().chain(&calc.project).for_each(|expr| note(expr, &mut read));
        }
        if let NodeKind::Source(plan) = &self.nodes.get(source)?.kind {
            plan.watermark.iter().for_each(|expr| note(expr, &mut read));
        }
        Some(read)
    }
}

fn is_json(table: &Table) -> bool {
    let json = |format: &Format| matches!(format, Format::Json(..));
    match &table.connector {
        Connector::Kafka(kafka) => {
            json(&kafka.value) && kafka.key.as_ref().is_none_or(|key| json(&key.format))
        }
        Connector::Filesystem(files) => json(&files.format),
        Connector::Blackhole | Connector::Datagen(_) | Connector::Print(_) | Connector::Rabbitmq(_) => false,
    }
}

/// The columns that an expression reads, whole or a field of them.
fn note(expr: &Expr, read: &mut Vec<(usize, Option<usize>)>) {
    if let Node::Field { of, index: field, .. } = &expr.node
        && let Node::Column { index, .. } = of.node
    {
        read.push((index, Some(*field)));
        return;
    }
    if let Node::Column { index, .. } = expr.node {
        read.push((index, None));
    }
    expr.each_child(&mut |child| note(child, read));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::compile;

    #[test]
    fn a_field_that_nobody_reads_is_of_no_type() {
        let read = |query: &str| {
            let sql = format!(
                "CREATE TABLE t (r ROW<a INT, b STRING, c ROW<d INT, e INT>>, x INT) WITH ('connector'='kafka',
                 'topic'='t','properties.bootstrap.servers'='x','format'='json');
                 CREATE TABLE o (y STRING) WITH ('connector'='print'); INSERT INTO o {query}"
            );
            let plan = compile(&sql).unwrap_or_else(|e| panic!("{sql}\n{e}")).remove(0);
            let source = plan.source_as_read(0).unwrap();
            let Some(Type::Row(fields)) = source.table.columns.first().map(|c| &c.data_type.kind) else {
                panic!("{query}")
            };
            fields.clone().into_iter().map(|(name, of)| (name, of.kind != Type::Null)).collect::<Vec<_>>()
        };
        let named =
            |read: [bool; 3]| ["a", "b", "c"].map(str::to_owned).into_iter().zip(read).collect::<Vec<_>>();
        let cases = [
            ("SELECT r.b FROM t WHERE r.a > x", [true, true, false]),
            ("SELECT CAST(r.c.d AS STRING) FROM t", [false, false, true]),
            ("SELECT CAST(r AS STRING) FROM t", [true, true, true]),
            ("SELECT b FROM (SELECT r.a, r.b FROM t) WHERE b IS NOT NULL", [false, true, false]),
        ];
        for (query, expected) in cases {
            assert_eq!(read(query), named(expected), "{query}");
        }
    }
}
