//! Sinks: rows become records, lines of files, printed lines, or nothing.

use std::sync::Arc;

use super::{Cx, ForFile, Operator, OutRecord, Printed, enforcer::Enforcer, message::MessageSink};
use crate::stream::{
    codec::Encoder,
    datum::{Datum, Row, RowKind},
    expr::{EvalError, text::display},
    plan::{
        catalog::{ColumnKind, Table},
        connector::{Connector, Kafka, KeyFormat, Print},
        filesystem::Filesystem,
        partitions::{Partitions, Trigger},
        physical::{OperatorId, Sink},
        types::DataType,
    },
};

/// The sink operator of a plan's node.
#[must_use]
pub fn open(id: OperatorId, plan: &Sink) -> Box<dyn Operator> {
    let target = match &plan.table.connector {
        Connector::Filesystem(table) => Target::Files(Box::new(FileSink::open(id, table, plan))),
        Connector::Kafka(kafka) => Target::Kafka(Box::new(KafkaSink::open(kafka, &plan.table, &plan.types))),
        Connector::Print(print) => Target::Print(print.clone(), plan.table.path.0.clone()),
        Connector::Rabbitmq(rabbitmq) => {
            Target::Exchange(Box::new(MessageSink::open(rabbitmq, &plan.table, &plan.types)))
        }
        Connector::Blackhole | Connector::Datagen(_) => Target::Blackhole,
    };
    let enforcer = Enforcer::open(&plan.enforced);
    Box::new(SinkOperator { target, enforcer, by_key: plan.by_key, types: plan.types.clone() })
}

struct SinkOperator {
    target: Target,
    enforcer: Enforcer,
    by_key: bool,
    types: Vec<DataType>,
}

enum Target {
    Blackhole,
    Exchange(Box<MessageSink>),
    Files(Box<FileSink>),
    Kafka(Box<KafkaSink>),
    /// How it prints, and the table's name.
    Print(Print, String),
}

impl Operator for SinkOperator {
    fn on_row(&mut self, _port: usize, mut row: Row, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if !self.enforcer.admits(&mut row)? {
            return Ok(());
        }
        if self.by_key && row.kind == RowKind::UpdateBefore {
            // The row after it has the same key.
            return Ok(());
        }
        cx.outputs.rows_out += 1;
        match &self.target {
            Target::Blackhole => {}
            Target::Exchange(sink) => cx.outputs.published.push(sink.message(&row)?),
            Target::Files(sink) => cx.outputs.written.push((sink.id, sink.line(&row)?)),
            Target::Kafka(kafka) => {
                let record = kafka.record(&row, cx.now.ms)?;
                cx.outputs.appends.push((kafka.topic.clone(), record));
            }
            Target::Print(print, table) => {
                let line = printed(&row, &self.types, print.identifier.as_deref());
                cx.outputs.printed.push(Printed {
                    table: table.clone(),
                    line,
                    standard_error: print.standard_error,
                });
            }
        }
        Ok(())
    }

    /// Nothing is behind a sink.
    fn on_watermark(&mut self, watermark_ms: i64, cx: &mut Cx<'_>) -> Result<(), EvalError> {
        if let Target::Files(sink) = &self.target
            && sink.waits
        {
            cx.outputs.written.push((sink.id, ForFile::Watermark(watermark_ms)));
        }
        Ok(())
    }
}

/// `+I[a, 1]`, with the identifier before it if there is one.
fn printed(row: &Row, types: &[DataType], identifier: Option<&str>) -> String {
    let values: Vec<String> =
        row.columns.iter().zip(types).map(|(value, t)| display(value, &t.kind)).collect();
    let before = identifier.map(|i| format!("{i}> ")).unwrap_or_default();
    format!("{before}{}[{}]", row.kind.short(), values.join(", "))
}

/// Columns of a format: name, place among the columns that arrive, type.
pub(super) fn places(table: &Table, columns: &[usize], types: &[DataType]) -> Vec<(String, usize, DataType)> {
    let place = |column: &usize| {
        let name = table.columns.get(*column).map(|c| c.name.as_str());
        let slot = table.persisted().position(|c| Some(c.name.as_str()) == name)?;
        Some((name?.to_owned(), slot, types.get(slot)?.clone()))
    };
    columns.iter().filter_map(place).collect()
}

/// Where the rows that arrive have the metadata of that key.
pub(super) fn metadata_slot(table: &Table, wanted: &str) -> Option<usize> {
    table.persisted().position(|c| matches!(&c.kind, ColumnKind::Metadata { key, .. } if key == wanted))
}

struct FileSink {
    id: OperatorId,
    encoder: Encoder,
    partitions: Option<Partitions>,
    /// The columns that name folders: name, place among the columns that arrive, type.
    folders: Vec<(String, usize, DataType)>,
    /// Whether partitions wait for a watermark.
    waits: bool,
}

impl FileSink {
    fn open(id: OperatorId, table: &Filesystem, plan: &Sink) -> Self {
        let columns = table.partitions.as_ref().map(|p| p.columns.as_slice()).unwrap_or_default();
        let commit = table.partitions.as_ref().and_then(|p| p.commit.as_ref());
        Self {
            id,
            encoder: Encoder::new(&table.format, &places(&plan.table, &table.fields, &plan.types)),
            folders: places(&plan.table, columns, &plan.types),
            waits: commit.is_some_and(|commit| matches!(commit.trigger, Trigger::PartitionTime { .. })),
            partitions: table.partitions.clone(),
        }
    }

    fn line(&self, row: &Row) -> Result<ForFile, EvalError> {
        let mut bytes = self.encoder.encode(&row.columns)?.unwrap_or_default();
        bytes.push(b'\n');
        let folder = |partitions: &Partitions| -> String {
            let names = self.folders.iter();
            let names = names.map(|(name, slot, t)| partitions.folder(name, row.column(*slot), &t.kind));
            names.collect::<Vec<_>>().join("/")
        };
        Ok(ForFile::Line { folder: self.partitions.as_ref().map(folder).unwrap_or_default(), bytes })
    }
}

struct KafkaSink {
    topic: Arc<str>,
    /// Deletes are written as null values.
    upsert: bool,
    value: Encoder,
    key: Option<Encoder>,
    /// Places of the writable metadata in the row.
    timestamp: Option<usize>,
    headers: Option<usize>,
}

impl KafkaSink {
    fn open(kafka: &Kafka, table: &Table, types: &[DataType]) -> Self {
        let places = |columns: &[usize]| places(table, columns, types);
        let key = kafka.key.as_ref().map(|KeyFormat { format, fields, prefix }| {
            let mut fields = places(fields);
            for (name, _, _) in &mut fields {
                *name = name.strip_prefix(prefix.as_str()).unwrap_or(name).to_owned();
            }
            Encoder::new(format, &fields)
        });
        Self {
            topic: kafka.topics.first().map(String::as_str).unwrap_or_default().into(),
            upsert: kafka.upsert,
            value: Encoder::new(&kafka.value, &places(&kafka.value_fields)),
            key,
            timestamp: metadata_slot(table, "timestamp"),
            headers: metadata_slot(table, "headers"),
        }
    }

    fn record(&self, row: &Row, now_ms: i64) -> Result<OutRecord, EvalError> {
        let timestamp_ms = match self.timestamp.map(|slot| row.column(slot)) {
            Some(Datum::Timestamp(at)) => at.ms,
            _ => now_ms,
        };
        let mut headers = Vec::new();
        if let Some(Datum::Map(entries)) = self.headers.map(|slot| row.column(slot)) {
            for (name, value) in entries.iter() {
                if let Datum::Str(name) = name {
                    let value = if let Datum::Bytes(bytes) = value { Some(bytes.to_vec()) } else { None };
                    headers.push((name.to_string(), value));
                }
            }
        }
        let deletes = self.upsert && !row.kind.adds();
        Ok(OutRecord {
            key: self.key.as_ref().map(|key| key.encode(&row.columns)).transpose()?.flatten(),
            value: if deletes { None } else { self.value.encode(&row.columns)? },
            headers,
            timestamp_ms,
        })
    }
}
