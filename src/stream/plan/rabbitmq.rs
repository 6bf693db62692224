//! The connector `rabbitmq`: rows become messages that are published to an exchange of the job's vhost.
//!
//! Flink has a sink of that name in Java only, with one routing key for each message; here a key and the properties are
//! metadata columns. A table of it is written, not read: what a stream's queue holds is read as the topic of that name.

use super::{
    catalog::{Column, ColumnKind},
    connector::refuse_parallelism,
    format::{self, Format},
    options::{Options, invalid},
};
use crate::stream::sql::{SqlError, ast::CreateTable};

/// Where rows are published, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rabbitmq {
    /// Empty for the default exchange.
    pub exchange: String,
    /// Of rows that say none themselves.
    pub routing_key: String,
    /// A message that no queue takes stops the job.
    pub mandatory: bool,
    pub value: Format,
    /// Positions, among all columns, of what the body holds.
    pub fields: Vec<usize>,
}

/// What a row may say of its message: the routing key, and properties of class basic (§1.8) but those that only a broker
/// or a connection's user may set.
pub const METADATA: &[(&str, bool)] = &[
    ("app-id", true),
    ("content-encoding", true),
    ("content-type", true),
    ("correlation-id", true),
    ("delivery-mode", true),
    ("expiration", true),
    ("headers", true),
    ("message-id", true),
    ("priority", true),
    ("reply-to", true),
    ("routing-key", true),
    ("timestamp", true),
    ("type", true),
];

/// A short string's octets (AMQP 0-9-1 §4.2.5.3).
pub const SHORT_BYTES_MAX: usize = 255;

/// Reads the options of the connector.
pub(super) fn read(
    options: &mut Options<'_>,
    table: &CreateTable,
    columns: &[Column],
) -> Result<Rabbitmq, SqlError> {
    let exchange = short(options, "exchange", true)?;
    let routing_key = short(options, "routing-key", false)?;
    let mandatory = options.truth("mandatory", false)?;
    let named = options.required("format")?;
    let value = format::read(options, named, "")?;
    let physical = columns.iter().enumerate().filter(|(_, c)| c.kind == ColumnKind::Physical);
    let fields: Vec<usize> = physical.map(|(index, _)| index).collect();
    format::check(&value, &fields, table, columns)?;
    refuse_parallelism(options, "sink.parallelism")?;
    Ok(Rabbitmq { exchange, routing_key, mandatory, value, fields })
}

fn short(options: &mut Options<'_>, key: &str, required: bool) -> Result<String, SqlError> {
    let option = if required { Some(options.required(key)?) } else { options.take(key) };
    match option {
        Some(option) if option.value.len() > SHORT_BYTES_MAX => {
            Err(invalid(option, &format!("it is longer than {SHORT_BYTES_MAX} bytes")))
        }
        option => Ok(option.map(|option| option.value.clone()).unwrap_or_default()),
    }
}
