//! Between the bytes of a record and the columns of a row. Decoding is driven by the schema: columns that nobody
//! reads are not made.

pub mod csv;
pub mod csv_encode;
pub mod json;
pub mod json_encode;
mod json_scan;
pub mod raw;
pub mod split;

use super::{
    datum::{Columns, Datum},
    expr::EvalError,
    plan::{
        format::Format,
        types::{DataType, Type},
    },
};
use csv::CsvDecoder;
use csv_encode::CsvEncoder;
use json::JsonDecoder;
use json_encode::JsonEncoder;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// One column of a format: its name and place there, its place in the row, its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    /// Among all columns of the format.
    pub position: usize,
    pub slot: usize,
    pub kind: Type,
}

/// Reads the value or key of a record into the columns of a row.
pub enum Decoder {
    Csv(CsvDecoder),
    Json(JsonDecoder),
    Raw { field: Option<Field>, big_endian: bool },
}

impl Decoder {
    /// `fields` are those that are needed, of `width` that there are; of a raw format at most one.
    #[must_use]
    pub fn new(format: &Format, fields: Vec<Field>, width: usize) -> Self {
        match format {
            Format::Csv(options) => Self::Csv(CsvDecoder::new(options.clone(), fields, width)),
            Format::Json(options, _) => Self::Json(JsonDecoder::new(*options, fields)),
            Format::Raw { big_endian } => {
                Self::Raw { field: fields.into_iter().next(), big_endian: *big_endian }
            }
        }
    }

    /// Fills the columns; `false` if the record makes no row.
    pub fn decode(&self, bytes: Option<&[u8]>, columns: &mut Columns) -> Result<bool, DecodeError> {
        match (self, bytes) {
            // A null value is no JSON and no CSV at all: no row. Of a raw format it is a NULL.
            (Self::Csv(_) | Self::Json(_), None) => Ok(false),
            (Self::Csv(csv), Some(bytes)) => csv.decode(bytes, columns),
            (Self::Json(json), Some(bytes)) => json.decode(bytes, columns),
            (Self::Raw { field: Some(field), big_endian }, Some(bytes)) => {
                let value = raw::decode(bytes, &field.kind, *big_endian)?;
                if let Some(column) = columns.get_mut(field.slot) {
                    *column = value;
                }
                Ok(true)
            }
            (Self::Raw { .. }, _) => Ok(true),
        }
    }
}

/// Writes columns of a row as the value or key of a record.
pub enum Encoder {
    Csv(CsvEncoder),
    Json(JsonEncoder),
    Raw { slot: usize, kind: Type, big_endian: bool },
}

impl Encoder {
    #[must_use]
    pub fn new(format: &Format, fields: &[(String, usize, DataType)]) -> Self {
        match format {
            Format::Csv(options) => Self::Csv(CsvEncoder::new(options.clone(), fields)),
            Format::Json(options, null_keys) => {
                Self::Json(JsonEncoder::new(*options, null_keys.clone(), fields))
            }
            Format::Raw { big_endian } => {
                let (slot, kind) =
                    fields.first().map_or((0, Type::Null), |(_, slot, t)| (*slot, t.kind.clone()));
                Self::Raw { slot, kind, big_endian: *big_endian }
            }
        }
    }

    /// The bytes; `None` is a null value.
    ///
    /// # Errors
    /// When a value has no form in the format.
    pub fn encode(&self, columns: &[Datum]) -> Result<Option<Vec<u8>>, EvalError> {
        Ok(match self {
            Self::Csv(csv) => Some(csv.encode(columns)),
            Self::Json(json) => Some(json.encode(columns)?),
            Self::Raw { slot, kind, big_endian } => {
                columns.get(*slot).and_then(|value| raw::encode(value, kind, *big_endian))
            }
        })
    }
}
