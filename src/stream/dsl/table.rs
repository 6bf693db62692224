//! What a stream comes from and goes to: topics, generated rows, the log.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    Stream,
    expression::{Expression, interval, quoted, text},
};
use crate::stream::plan::types::Type;

/// A table: its columns and what is behind it. Without columns, a sink gets those of the stream that goes into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub(super) name: String,
    columns: Vec<String>,
    watermark: Option<String>,
    primary_key: Vec<String>,
    options: Vec<(String, String)>,
}

/// A topic whose values are JSON objects, one field for each column. It is read from its beginning, unless the option
/// `scan.startup.mode` says something else.
///
/// ```
/// use std::time::Duration;
/// use warrenmq::stream::{dsl::json_topic, plan::types::Type};
///
/// let bids = json_topic("bids")
///     .column("price", Type::BigInt)
///     .timestamp("at")
///     .watermark("at", Duration::from_secs(1));
/// ```
#[must_use]
pub fn json_topic(topic: &str) -> Table {
    kafka(topic, "json")
}

/// A topic whose values are one column each, as they are.
#[must_use]
pub fn raw_topic(topic: &str) -> Table {
    kafka(topic, "raw")
}

fn kafka(topic: &str, format: &str) -> Table {
    let table = Table::new(topic, "kafka").option("topic", topic);
    // Meant for Flink; here the topic is at hand.
    table.option("properties.bootstrap.servers", "localhost:9092").option("format", format)
}

/// The whole numbers of a range, in a column of that name.
#[must_use]
pub fn numbers(table: &str, column: &str, range: RangeInclusive<i64>) -> Table {
    let field = |what: &str| format!("fields.{column}.{what}");
    Table::new(table, "datagen")
        .column(column, Type::BigInt)
        .option(&field("kind"), "sequence")
        .option(&field("start"), &range.start().to_string())
        .option(&field("end"), &range.end().to_string())
}

/// The log of the broker: one line for each row, as Flink's print connector writes it.
#[must_use]
pub fn print(table: &str) -> Table {
    Table::new(table, "print")
}

impl Table {
    /// A table behind any connector that this version serves.
    #[must_use]
    pub fn new(name: &str, connector: &str) -> Self {
        let table = Self {
            name: name.to_owned(),
            columns: Vec::new(),
            watermark: None,
            primary_key: Vec::new(),
            options: Vec::new(),
        };
        table.option("connector", connector)
    }

    /// What it is called in SQL, where that is not the topic's name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    #[must_use]
    pub fn column(mut self, name: &str, data_type: Type) -> Self {
        self.columns.push(format!("{} {data_type}", quoted(name)));
        self
    }

    /// A column that is worked out from others.
    #[must_use]
    pub fn computed(mut self, name: &str, of: &Expression) -> Self {
        self.columns.push(format!("{} AS {of}", quoted(name)));
        self
    }

    /// A column with the record's timestamp.
    #[must_use]
    pub fn timestamp(mut self, name: &str) -> Self {
        let data_type = Type::TimestampLtz(3);
        self.columns.push(format!("{} {data_type} METADATA FROM 'timestamp' VIRTUAL", quoted(name)));
        self
    }

    /// The column is the rows' time, and none is later than the latest one before it by more than this.
    #[must_use]
    pub fn watermark(mut self, column: &str, late_by: Duration) -> Self {
        let column = quoted(column);
        let late = if late_by.is_zero() { String::new() } else { format!(" - {}", interval(late_by)) };
        self.watermark = Some(format!("WATERMARK FOR {column} AS {column}{late}"));
        self
    }

    /// What names a row, for tables whose rows replace each other.
    #[must_use]
    pub fn primary_key(mut self, columns: &[&str]) -> Self {
        self.primary_key = columns.iter().map(|column| quoted(column)).collect();
        self
    }

    /// Any other option of the connector; the last one of a key counts.
    #[must_use]
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.options.retain(|(k, _)| k != key);
        self.options.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Its rows.
    #[must_use]
    pub fn stream(self) -> Stream {
        let says = |key: &str| self.options.iter().any(|(k, _)| k == key);
        let begins = says("topic") && !says("scan.startup.mode");
        Stream::of(if begins { self.option("scan.startup.mode", "earliest-offset") } else { self })
    }

    pub(super) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    pub(super) fn create(&self) -> String {
        let mut items = self.columns.clone();
        items.extend(self.watermark.clone());
        if !self.primary_key.is_empty() {
            items.push(format!("PRIMARY KEY ({}) NOT ENFORCED", self.primary_key.join(", ")));
        }
        let options: Vec<String> =
            self.options.iter().map(|(key, value)| format!("  {} = {}", text(key), text(value))).collect();
        let (name, items, options) = (quoted(&self.name), items.join(", "), options.join(",\n"));
        format!("CREATE TABLE {name} ({items}) WITH (\n{options}\n);\n")
    }
}
