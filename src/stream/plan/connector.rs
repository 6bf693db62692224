//! What a table's WITH clause says, understood: the connector, its formats, where reading starts.
//!
//! Addresses and security of the Kafka connector are skipped: inside the broker the topic is bound in-process.

use super::{
    catalog::{Column, ColumnKind},
    datagen::{self, Datagen},
    filesystem::{self, Filesystem},
    format::{self, Format},
    options::{Options, duration_ms, invalid, missing},
    partitions,
    rabbitmq::{self, Rabbitmq},
    types::{DataType, LENGTH_MAX, Type},
};
use crate::stream::sql::{
    SqlError,
    ast::{CreateTable, OptionDef},
};

#[derive(Debug, Clone, PartialEq)]
pub enum Connector {
    Blackhole,
    Datagen(Datagen),
    Filesystem(Filesystem),
    Kafka(Kafka),
    Print(Print),
    Rabbitmq(Rabbitmq),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Print {
    pub identifier: Option<String>,
    pub standard_error: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    pub topics: Vec<String>,
    pub group_id: Option<String>,
    pub startup: Startup,
    /// Stop at the ends that the partitions had when the job started.
    pub bounded: bool,
    pub value: Format,
    /// Positions, among all columns, of what the value holds.
    pub value_fields: Vec<usize>,
    pub key: Option<KeyFormat>,
    /// Flink's `scan.watermark.idle-timeout`.
    pub idle_timeout_ms: Option<i64>,
    /// `upsert-kafka`: a record replaces the one before with its key, a null value deletes it.
    pub upsert: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    pub format: Format,
    pub fields: Vec<usize>,
    /// Cut off the columns' names to get the names in the key.
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Startup {
    Earliest,
    /// The group's offsets; where it has none, as `auto.offset.reset` says.
    Group(Reset),
    Latest,
    /// (partition, offset); partitions not named start at the group's offset.
    Specific(Vec<(i32, i64)>),
    TimestampMs(i64),
}

/// `auto.offset.reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Earliest,
    Latest,
    None,
}

/// The metadata of a Kafka record: key, type, whether it can be written.
pub const KAFKA_METADATA: &[(&str, bool)] = &[
    ("headers", true),
    ("leader-epoch", false),
    ("offset", false),
    ("partition", false),
    ("timestamp", true),
    ("timestamp-type", false),
    ("topic", false),
];

/// The metadata of a connector's tables: key, whether it can be written.
#[must_use]
pub fn metadata_keys(connector: &str) -> &'static [(&'static str, bool)] {
    match connector {
        "filesystem" => filesystem::METADATA,
        "kafka" | "upsert-kafka" => KAFKA_METADATA,
        "rabbitmq" => rabbitmq::METADATA,
        _ => &[],
    }
}

/// The type a metadata key has.
#[must_use]
pub fn metadata_type(key: &str) -> Option<DataType> {
    Some(match key {
        "app-id" | "content-encoding" | "content-type" | "correlation-id" | "expiration" | "message-id"
        | "reply-to" | "routing-key" | "type" => DataType::nullable(Type::Varchar(LENGTH_MAX)),
        "delivery-mode" | "priority" => DataType::nullable(Type::Int),
        "file.modification-time" => DataType::not_null(Type::TimestampLtz(3)),
        "file.name" | "file.path" => DataType::not_null(Type::Varchar(LENGTH_MAX)),
        "file.size" => DataType::not_null(Type::BigInt),
        "headers" => DataType::not_null(Type::Map(
            Box::new(DataType::not_null(Type::STRING)),
            Box::new(DataType::not_null(Type::BYTES)),
        )),
        "leader-epoch" => DataType::nullable(Type::Int),
        "offset" => DataType::not_null(Type::BigInt),
        "partition" => DataType::not_null(Type::Int),
        "timestamp" => DataType::not_null(Type::TimestampLtz(3)),
        "timestamp-type" | "topic" => DataType::not_null(Type::Varchar(LENGTH_MAX)),
        _ => return None,
    })
}

impl Connector {
    /// Reads a WITH clause; the columns are already known.
    pub fn of(table: &CreateTable, columns: &[Column]) -> Result<Self, SqlError> {
        let Some(connector) = table.options.iter().find(|o| o.key == "connector") else {
            return Err(SqlError::invalid(
                table.options_at,
                "Table options do not contain an option key 'connector' for discovering a connector.",
            ));
        };
        let mut options = Options::new(&connector.value, table.options_at, &table.options);
        if connector.value != "filesystem" {
            partitions::refuse(table, &connector.value)?;
        }
        if metadata_keys(&connector.value).is_empty() {
            refuse_metadata(table, columns, &connector.value)?;
        }
        let read = match connector.value.as_str() {
            "blackhole" => Self::Blackhole,
            "datagen" => Self::Datagen(datagen::read(&mut options, columns)?),
            "filesystem" => Self::Filesystem(filesystem::read(&mut options, table, columns)?),
            "kafka" => Self::Kafka(kafka(&mut options, table, columns)?),
            "print" => Self::Print(print(&mut options)?),
            "rabbitmq" => Self::Rabbitmq(rabbitmq::read(&mut options, table, columns)?),
            "upsert-kafka" => Self::Kafka(upsert_kafka(&mut options, table, columns)?),
            "jdbc" | "elasticsearch-7" | "elasticsearch-8" | "opensearch" | "hbase-2.2" | "mongodb"
            | "kinesis" | "firehose" | "dynamodb" | "pulsar" | "faker" => {
                return Err(SqlError::not_yet(
                    connector.value_at,
                    format!("the connector '{}'", connector.value),
                ));
            }
            other => {
                return Err(SqlError::invalid(
                    connector.value_at,
                    format!(
                        "Could not find any factory for identifier '{other}' that implements \
                         'org.apache.flink.table.factories.DynamicTableFactory' in the classpath.\n\nAvailable factory \
                         identifiers are:\n\nblackhole\ndatagen\nfilesystem\nkafka\nprint\nrabbitmq\nupsert-kafka"
                    ),
                ));
            }
        };
        // A number without a meaning yet, on Flink too.
        options.number::<i32>("property-version")?;
        options.end()?;
        Ok(read)
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::Datagen(_) => "datagen",
            Self::Filesystem(_) => "filesystem",
            Self::Kafka(kafka) if kafka.upsert => "upsert-kafka",
            Self::Kafka(_) => "kafka",
            Self::Print(_) => "print",
            Self::Rabbitmq(_) => "rabbitmq",
        }
    }

    /// Whether rows replace each other by their primary key.
    #[must_use]
    pub fn is_upsert(&self) -> bool {
        matches!(self, Self::Kafka(kafka) if kafka.upsert)
    }

    #[must_use]
    pub fn is_source(&self) -> bool {
        matches!(self, Self::Datagen(_) | Self::Filesystem(_) | Self::Kafka(_))
    }

    #[must_use]
    pub fn is_sink(&self) -> bool {
        !matches!(self, Self::Datagen(_))
    }
}

fn refuse_metadata(table: &CreateTable, columns: &[Column], connector: &str) -> Result<(), SqlError> {
    let is_metadata = |c: &Column| matches!(c.kind, ColumnKind::Metadata { .. });
    match columns.iter().zip(&table.elements.columns).find(|(c, _)| is_metadata(c)) {
        Some((column, def)) => Err(SqlError::invalid(
            def.at,
            format!("Column '{}' is METADATA, but the connector '{connector}' has no metadata", column.name),
        )),
        None => Ok(()),
    }
}

fn print(options: &mut Options<'_>) -> Result<Print, SqlError> {
    refuse_parallelism(options, "sink.parallelism")?;
    Ok(Print {
        identifier: options.text("print-identifier").filter(|s| !s.is_empty()).map(str::to_owned),
        standard_error: options.truth("standard-error", false)?,
    })
}

/// One is what every job has.
pub(super) fn refuse_parallelism(options: &mut Options<'_>, key: &str) -> Result<(), SqlError> {
    match options.take(key) {
        Some(option) if option.value != "1" => {
            Err(SqlError::not_yet(option.value_at, format!("a parallelism other than 1 ('{key}')")))
        }
        _ => Ok(()),
    }
}

fn kafka(options: &mut Options<'_>, table: &CreateTable, columns: &[Column]) -> Result<Kafka, SqlError> {
    let topic = options.required("topic")?;
    let topics = topics_of(topic)?;
    options.required("properties.bootstrap.servers")?;
    let group_id = options.text("properties.group.id").map(str::to_owned);
    let startup = startup(options, group_id.is_some())?;
    let bounded =
        options.choice("scan.bounded.mode", false, &[("unbounded", false), ("latest-offset", true)])?;
    let idle_timeout_ms = match options.take("scan.watermark.idle-timeout") {
        Some(option) => Some(duration_of(option)?),
        None => None,
    };
    // Every record moves the watermark here; Flink's default does so every 200 ms.
    options.choice("scan.watermark.emit.strategy", (), &[("on-event", ()), ("on-periodic", ())])?;
    delivery(options)?;
    options.choice("sink.partitioner", (), &[("default", ())]).map_err(|mut e| {
        e.message.push_str(" (others: valid Flink, not supported here yet)");
        e
    })?;
    let (value, value_fields, key) = formats(options, table, columns)?;
    skip_client(options);
    options.refuse_if(|key| {
        key.starts_with("properties.")
            || key.starts_with("scan.watermark.")
            || matches!(
                key,
                "topic-pattern"
                    | "scan.bounded.specific-offsets"
                    | "scan.bounded.timestamp-millis"
                    | "scan.topic-partition-discovery.interval"
                    | "sink.semantic"
                    | "sink.transaction-naming-strategy"
            )
    })?;
    Ok(Kafka { topics, group_id, startup, bounded, value, value_fields, key, idle_timeout_ms, upsert: false })
}

fn topics_of(option: &OptionDef) -> Result<Vec<String>, SqlError> {
    let topics: Vec<String> = option.value.split(';').map(|t| t.trim().to_owned()).collect();
    if topics.iter().any(String::is_empty) {
        return Err(invalid(option, "expected names of topics"));
    }
    Ok(topics)
}

/// Exactly once is what every job here has; a weaker wish is met too.
fn delivery(options: &mut Options<'_>) -> Result<(), SqlError> {
    let guarantees = [("at-least-once", ()), ("exactly-once", ()), ("none", ())];
    options.choice("sink.delivery-guarantee", (), &guarantees)?;
    options.take("sink.transactional-id-prefix");
    refuse_parallelism(options, "scan.parallelism")?;
    refuse_parallelism(options, "sink.parallelism")
}

/// What only says how a client reaches a broker.
fn skip_client(options: &mut Options<'_>) {
    const CLIENT: &[&str] =
        &["security.", "sasl.", "ssl.", "client.", "request.", "reconnect.", "retry.", "connections."];
    options.skip_if(|key| {
        key.strip_prefix("properties.")
            .is_some_and(|name| CLIENT.iter().any(|prefix| name.starts_with(prefix)))
    });
}

fn startup(options: &mut Options<'_>, has_group: bool) -> Result<Startup, SqlError> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        Earliest,
        Group,
        Latest,
        Specific,
        Timestamp,
    }
    let mode_at = options.at();
    let modes = [
        ("earliest-offset", Mode::Earliest),
        ("latest-offset", Mode::Latest),
        ("group-offsets", Mode::Group),
        ("timestamp", Mode::Timestamp),
        ("specific-offsets", Mode::Specific),
    ];
    let mode = options.choice("scan.startup.mode", Mode::Group, &modes)?;
    let resets = [("earliest", Reset::Earliest), ("latest", Reset::Latest), ("none", Reset::None)];
    let reset = options.choice("properties.auto.offset.reset", Reset::None, &resets)?;
    let timestamp = options.number("scan.startup.timestamp-millis")?;
    let specific = options.take("scan.startup.specific-offsets");
    let _ = has_group;
    Ok(match mode {
        Mode::Earliest => Startup::Earliest,
        Mode::Latest => Startup::Latest,
        Mode::Group => Startup::Group(reset),
        Mode::Timestamp => Startup::TimestampMs(timestamp.ok_or_else(|| {
            SqlError::invalid(
                mode_at,
                "'scan.startup.timestamp-millis' is required in 'timestamp' startup mode but missing.",
            )
        })?),
        Mode::Specific => match specific {
            Some(option) => Startup::Specific(specific_offsets(option)?),
            None => {
                return Err(SqlError::invalid(
                    mode_at,
                    "'scan.startup.specific-offsets' is required in 'specific-offsets' startup mode but missing.",
                ));
            }
        },
    })
}

/// `partition:0,offset:42;partition:1,offset:300`.
fn specific_offsets(option: &OptionDef) -> Result<Vec<(i32, i64)>, SqlError> {
    let bad = || invalid(option, "expected 'partition:0,offset:42;partition:1,offset:300'");
    let mut offsets = Vec::new();
    for pair in option.value.split(';').filter(|p| !p.trim().is_empty()) {
        let (partition, offset) = pair.trim().split_once(',').ok_or_else(bad)?;
        let partition =
            partition.trim().strip_prefix("partition:").and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        let offset = offset.trim().strip_prefix("offset:").and_then(|n| n.parse().ok()).ok_or_else(bad)?;
        offsets.push((partition, offset));
    }
    if offsets.is_empty() { Err(bad()) } else { Ok(offsets) }
}

type Formats = (Format, Vec<usize>, Option<KeyFormat>);

fn formats(options: &mut Options<'_>, table: &CreateTable, columns: &[Column]) -> Result<Formats, SqlError> {
    let at = options.at();
    let (named, prefix) = match (options.take("format"), options.take("value.format")) {
        (Some(_), Some(option)) => {
            return Err(SqlError::invalid(
                option.at,
                "Either a 'format' or a 'value.format' can be given, not both.",
            ));
        }
        (Some(option), None) => (option, ""),
        (None, Some(option)) => (option, "value."),
        (None, None) => return Err(missing(at, "format")),
    };
    let value = format::read(options, named, prefix)?;
    let key_prefix = options.text("key.fields-prefix").unwrap_or_default().to_owned();
    let except_key =
        options.choice("value.fields-include", false, &[("ALL", false), ("EXCEPT_KEY", true)])?;
    let key_fields = options.take("key.fields");
    let key = match (options.take("key.format"), key_fields) {
        (None, None) => None,
        (None, Some(option)) => {
            return Err(SqlError::invalid(
                option.at,
                "The option 'key.fields' can only be declared if a key format is defined using 'key.format'.",
            ));
        }
        (Some(option), None) => {
            return Err(SqlError::invalid(
                option.at,
                "A key format 'key.format' requires the declaration of one or more of key fields using 'key.fields'.",
            ));
        }
        (Some(named), Some(fields)) => {
            let format = format::read(options, named, "key.")?;
            let fields = key_columns(fields, columns, &key_prefix)?;
            Some(KeyFormat { format, fields, prefix: key_prefix })
        }
    };
    let physical = columns.iter().enumerate().filter(|(_, c)| c.kind == ColumnKind::Physical).map(|(i, _)| i);
    let in_key = |i: &usize| except_key && key.as_ref().is_some_and(|k| k.fields.contains(i));
    let value_fields: Vec<usize> = physical.filter(|i| !in_key(i)).collect();
    format::check(&value, &value_fields, table, columns)?;
    if let Some(key) = &key {
        format::check(&key.format, &key.fields, table, columns)?;
    }
    Ok((value, value_fields, key))
}

fn key_columns(option: &OptionDef, columns: &[Column], prefix: &str) -> Result<Vec<usize>, SqlError> {
    let mut fields = Vec::new();
    for name in option.value.split(';').map(str::trim) {
        if !name.starts_with(prefix) {
            return Err(invalid(
                option,
                &format!("all fields must begin with 'key.fields-prefix' ('{prefix}')"),
            ));
        }
        match columns.iter().position(|c| c.name == name && c.kind == ColumnKind::Physical) {
            Some(index) => fields.push(index),
            None => return Err(invalid(option, &format!("there is no physical column '{name}'"))),
        }
    }
    Ok(fields)
}

pub(super) fn duration_of(option: &OptionDef) -> Result<i64, SqlError> {
    duration_ms(&option.value).ok_or_else(|| invalid(option, "expected a duration such as '10 s'"))
}

/// `upsert-kafka`: the primary key is the record's key.
fn upsert_kafka(
    options: &mut Options<'_>,
    table: &CreateTable,
    columns: &[Column],
) -> Result<Kafka, SqlError> {
    let topic = options.required("topic")?;
    let topics = topics_of(topic)?;
    options.required("properties.bootstrap.servers")?;
    let group_id = options.text("properties.group.id").map(str::to_owned);
    if table.elements.primary_key.is_empty() {
        let message = "'upsert-kafka' tables require to define a PRIMARY KEY constraint. The PRIMARY KEY specifies which \
                       columns should be read from or write to the Kafka message key. The PRIMARY KEY also defines \
                       records in the 'upsert-kafka' table should update or delete by which keys.";
        return Err(SqlError::invalid(table.options_at, message));
    }
    let bounded =
        options.choice("scan.bounded.mode", false, &[("unbounded", false), ("latest-offset", true)])?;
    let idle_timeout_ms = options.take("scan.watermark.idle-timeout").map(duration_of).transpose()?;
    options.choice("scan.watermark.emit.strategy", (), &[("on-event", ()), ("on-periodic", ())])?;
    delivery(options)?;
    let prefix = options.text("key.fields-prefix").unwrap_or_default().to_owned();
    let except_key =
        options.choice("value.fields-include", false, &[("ALL", false), ("EXCEPT_KEY", true)])?;
    let named = options.required("key.format")?;
    let key_format = format::read(options, named, "key.")?;
    let named = options.required("value.format")?;
    let value = format::read(options, named, "value.")?;
    let key_fields: Vec<usize> = table
        .elements
        .primary_key
        .iter()
        .filter_map(|(name, _)| columns.iter().position(|c| c.name == *name))
        .collect();
    let physical = columns.iter().enumerate().filter(|(_, c)| c.kind == ColumnKind::Physical).map(|(i, _)| i);
    let value_fields: Vec<usize> = physical.filter(|i| !(except_key && key_fields.contains(i))).collect();
    format::check(&value, &value_fields, table, columns)?;
    format::check(&key_format, &key_fields, table, columns)?;
    skip_client(options);
    options.refuse_if(|key| {
        key.starts_with("properties.")
            || key.starts_with("scan.")
            || matches!(
                key,
                "sink.buffer-flush.max-rows"
                    | "sink.buffer-flush.interval"
                    | "sink.transaction-naming-strategy"
                    | "topic-pattern"
            )
    })?;
    let key = Some(KeyFormat { format: key_format, fields: key_fields, prefix });
    Ok(Kafka {
        topics,
        group_id,
        startup: Startup::Earliest,
        bounded,
        value,
        value_fields,
        key,
        idle_timeout_ms,
        upsert: true,
    })
}
