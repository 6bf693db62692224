//! The source of a Kafka table or of files: records become rows of the table's stored columns. It decodes; the job
//! reads the log and keeps the positions.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another type cannot get here: the analysis has checked, and all of them are one case"
)]

use super::metadata::{Metadata, Place};
use crate::{
    data::record::Record,
    stream::{
        codec::{DecodeError, Decoder, Field},
        datum::{Columns, Datum, Row, RowKind},
        expr::{
            EvalError, Now,
            compile::{Code, compile},
        },
        plan::{
            catalog::Table, connector::Kafka, filesystem::Filesystem, format::Format, partitions::Partitions,
            physical,
        },
    },
};

/// Makes rows of records.
pub struct RecordReader {
    width: usize,
    /// Records replace each other by key; a null value deletes.
    upsert: bool,
    value: Decoder,
    key: Option<Decoder>,
    metadata: Vec<(Metadata, usize)>,
    /// Of a table of files that has them, and the columns that they name.
    partitions: Option<(Partitions, Vec<Field>)>,
    watermark: Option<Code>,
}

impl RecordReader {
    pub fn open(plan: &physical::Source, kafka: &Kafka) -> Result<Self, EvalError> {
        let key = kafka.key.as_ref().map(|key| {
            let fields = fields(&plan.table, &key.fields, &plan.needed, &key.prefix);
            Decoder::new(&key.format, fields, key.fields.len())
        });
        Self::with(plan, kafka.upsert, (&kafka.value, &kafka.value_fields), key)
    }

    pub fn of_files(plan: &physical::Source, table: &Filesystem) -> Result<Self, EvalError> {
        let reader = Self::with(plan, false, (&table.format, &table.fields), None)?;
        let named = |partitions: &Partitions| {
            (partitions.clone(), fields(&plan.table, &partitions.columns, &plan.needed, ""))
        };
        Ok(Self { partitions: table.partitions.as_ref().map(named), ..reader })
    }

    fn with(
        plan: &physical::Source,
        upsert: bool,
        (format, columns): (&Format, &[usize]),
        key: Option<Decoder>,
    ) -> Result<Self, EvalError> {
        let metadata = Metadata::columns(&plan.table, &plan.needed);
        let value = fields(&plan.table, columns, &plan.needed, "");
        Ok(Self {
            width: plan.table.stored().count(),
            upsert,
            value: Decoder::new(format, value, columns.len()),
            key,
            metadata: metadata.into_iter().map(|(what, slot, _)| (what, slot)).collect(),
            partitions: None,
            watermark: plan.watermark.as_ref().map(compile).transpose()?,
        })
    }

    /// The row of a record; `None` if it makes none.
    pub fn read(&self, record: &Record<'_>, place: &Place) -> Result<Option<Row>, DecodeError> {
        let mut columns = Columns::with_capacity(self.width);
        columns.extend(std::iter::repeat_with(|| Datum::Null).take(self.width));
        let deleted = self.upsert && record.value.is_none();
        if !deleted && !self.value.decode(record.value, &mut columns)? {
            return Ok(None);
        }
        if let Some(key) = &self.key
            && let Some(bytes) = record.key
        {
            key.decode(Some(bytes), &mut columns)?;
        }
        for (what, slot) in &self.metadata {
            if let Some(column) = columns.get_mut(*slot) {
                *column = what.value(record, place);
            }
        }
        if let Some((partitions, named)) = &self.partitions {
            for Field { name, slot, kind, .. } in named {
                let value = partitions.value(&place.topic, name, kind).unwrap_or(Ok(Datum::Null));
                if let Some(column) = columns.get_mut(*slot) {
                    *column = value.map_err(DecodeError)?;
                }
            }
        }
        let kind = match (self.upsert, deleted) {
            (false, _) => RowKind::Insert,
            (true, false) => RowKind::UpdateAfter,
            (true, true) => RowKind::Delete,
        };
        Ok(Some(Row { columns, kind }))
    }

    /// The watermark a row carries, if the table has one.
    pub fn watermark(&self, row: &Row, now: Now) -> Result<Option<i64>, EvalError> {
        let Some(code) = &self.watermark else { return Ok(None) };
        match code.eval(row, now)? {
            // A watermark of t says that nothing at or before t follows.
            Datum::Timestamp(at) => Ok(Some(at.ms)),
            _ => Ok(None),
        }
    }
}

/// Fields of a format that are needed, with their places among the stored columns.
fn fields(table: &Table, columns: &[usize], needed: &[bool], prefix: &str) -> Vec<Field> {
    let stored: Vec<(usize, _)> = table.stored().collect();
    let places = columns.iter().enumerate().filter_map(|(position, column)| {
        let slot = stored.iter().position(|(index, _)| index == column)?;
        let (_, found) = stored.get(slot)?;
        let name = found.name.strip_prefix(prefix).unwrap_or(&found.name).to_owned();
        Some(Field { name, position, slot, kind: found.data_type.kind.clone() })
    });
    places.filter(|field| needed.get(field.slot) == Some(&true)).collect()
}
