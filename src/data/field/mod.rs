//! The fields of AMQP 0-9-1 (§4.2.5) as bytes: values, tables, and the properties of class basic.
//!
//! They are here, below every door, because the core looks into messages, too: dead-lettering adds headers, and some
//! exchanges route by them. Nothing here knows a frame or a method.

pub mod properties;
pub mod reader;
pub mod table;
pub mod writer;

pub use properties::Properties;

/// Bytes that are not the fields they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The property list does not follow its flags.
    #[error("cannot decode the content header's properties")]
    Properties,
    /// A value ended before its length said, or something follows it.
    #[error("the value does not end where it should")]
    Length,
    /// A string that must be UTF-8 is not.
    #[error("malformed UTF-8")]
    Utf8,
    /// No field type has that letter.
    #[error("unknown field type {0}")]
    FieldType(u8),
    /// Tables and arrays nest too deep.
    #[error("tables nested deeper than {0}")]
    TooDeep(usize),
}
