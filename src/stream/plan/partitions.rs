//! PARTITIONED BY of tables of files: a folder for each value, named `column=value`, and when it is said to be whole.
//! (Flink: PartitionPathUtils, PartitionCommitTrigger, DefaultPartTimeExtractor)

use super::{
    catalog::{Column, ColumnKind},
    connector::duration_of,
    options::{Options, invalid},
    types::Type,
};
use crate::stream::{
    datum::Datum,
    expr::{calendar, text::display},
    sql::{SqlError, ast::CreateTable},
};

/// The folders of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    /// Positions, among all columns, of those that name folders; no file holds them.
    pub columns: Vec<usize>,
    /// The name for NULL and for an empty text.
    pub default_name: String,
    pub commit: Option<PartitionCommit>,
}

/// An empty file says that a folder is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionCommit {
    pub success_file: String,
    pub delay_ms: i64,
    pub trigger: Trigger,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// When the watermark has passed the time that the values say, which stand in a pattern as `$column`.
    PartitionTime { pattern: Option<String> },
    /// When the folder is so old.
    ProcessTime,
}

const TIME_ZONE: &str = "sink.partition-commit.watermark-time-zone";
const DEFAULT_NAME: &str = "__DEFAULT_PARTITION__";

/// The columns of PARTITIONED BY.
pub(super) fn columns(table: &CreateTable, columns: &[Column]) -> Result<Vec<usize>, SqlError> {
    let mut found = Vec::new();
    for (name, at) in &table.partitioned_by {
        let index = columns.iter().position(|c| c.name == *name && c.kind == ColumnKind::Physical);
        let Some((index, column)) = index.and_then(|i| columns.get(i).map(|c| (i, c))) else {
            let message = format!("Partition column '{name}' not defined in the table schema.");
            return Err(SqlError::invalid(*at, message));
        };
        if found.contains(&index) {
            let message = format!("Duplicate partition column '{name}'");
            return Err(SqlError::invalid(*at, message));
        }
        let kind = &column.data_type.kind;
        if !(kind.is_string() || kind.is_integer() || *kind == Type::Boolean) {
            return Err(SqlError::not_yet(*at, format!("PARTITIONED BY a column of type {kind}")));
        }
        found.push(index);
    }
    if let Some((_, at)) = table.partitioned_by.first()
        && found.len() == columns.len()
    {
        return Err(SqlError::invalid(*at, "Cannot use all columns for partition columns"));
    }
    Ok(found)
}

/// Reads what the options say of them.
pub(super) fn read(
    options: &mut Options<'_>,
    table: &CreateTable,
    all: &[Column],
) -> Result<Option<Partitions>, SqlError> {
    let columns = columns(table, all)?;
    let default_name = options.text("partition.default-name").unwrap_or(DEFAULT_NAME).to_owned();
    let trigger = options.take("sink.partition-commit.trigger");
    let delay = options.take("sink.partition-commit.delay").map(duration_of).transpose()?;
    let success_file =
        options.text("sink.partition-commit.success-file.name").unwrap_or("_SUCCESS").to_owned();
    let pattern = options.text("partition.time-extractor.timestamp-pattern").map(str::to_owned);
    for (key, only) in [("partition.time-extractor.kind", "default"), (TIME_ZONE, "UTC")] {
        if let Some(option) = options.take(key).filter(|option| option.value != only) {
            return Err(SqlError::not_yet(option.value_at, format!("'{key}' = '{}'", option.value)));
        }
    }
    // Rows go into their folders wherever they are worked off.
    options.truth("sink.shuffle-by-partition.enable", false)?;
    let policy = options.take("sink.partition-commit.policy.kind");
    if columns.is_empty() {
        return Ok(None);
    }
    let trigger = match trigger.map(|option| (option, option.value.as_str())) {
        None | Some((_, "process-time")) => Trigger::ProcessTime,
        Some((_, "partition-time")) => Trigger::PartitionTime { pattern },
        Some((option, _)) => return Err(invalid(option, "expected one of: process-time, partition-time")),
    };
    let commit = match policy.map(|option| (option, option.value.as_str())) {
        None => None,
        Some((_, "success-file")) => {
            Some(PartitionCommit { success_file, delay_ms: delay.unwrap_or(0), trigger })
        }
        Some((option, _)) => {
            return Err(SqlError::not_yet(option.value_at, format!("the policy '{}'", option.value)));
        }
    };
    Ok(Some(Partitions { columns, default_name, commit }))
}

/// Only tables of files have partitions.
pub(super) fn refuse(table: &CreateTable, connector: &str) -> Result<(), SqlError> {
    match table.partitioned_by.first() {
        Some((_, at)) => {
            Err(SqlError::not_yet(*at, format!("PARTITIONED BY of a table with the connector '{connector}'")))
        }
        None => Ok(()),
    }
}

impl Partitions {
    /// The name of a value's folder.
    #[must_use]
    pub fn folder(&self, column: &str, value: &Datum, kind: &Type) -> String {
        let text = display(value, kind);
        if value.is_null() || text.is_empty() {
            return format!("{column}={}", self.default_name);
        }
        format!("{column}={}", escaped(&text))
    }

    /// Whether a path has a folder for each column.
    #[must_use]
    pub fn has_folders(&self, path: &str) -> bool {
        let folders = path.rsplit('/').skip(1).take(self.columns.len());
        folders.filter(|folder| folder.contains('=')).count() == self.columns.len()
    }

    /// The value that a path has for a column; `None` if it lies in no such folder.
    #[must_use]
    pub fn value(&self, path: &str, column: &str, kind: &Type) -> Option<Result<Datum, String>> {
        let (folders, _) = path.rsplit_once('/')?;
        let of_column = |folder: &str| folder.strip_prefix(column)?.strip_prefix('=').map(unescaped);
        let text = folders.rsplit('/').find_map(of_column)?;
        if text == self.default_name {
            return Some(Ok(Datum::Null));
        }
        let bad = || format!("'{text}' is no {kind} (partition '{column}')");
        if kind.is_integer() {
            return Some(text.trim().parse().map(Datum::Int).map_err(|_| bad()));
        }
        if *kind != Type::Boolean {
            return Some(Ok(Datum::str(text.as_str())));
        }
        Some(match text.to_ascii_lowercase().as_str() {
            "true" => Ok(Datum::Bool(true)),
            "false" => Ok(Datum::Bool(false)),
            _ => Err(bad()),
        })
    }
}

impl PartitionCommit {
    /// The time that the values of a folder say, in milliseconds.
    #[must_use]
    pub fn time_of(pattern: Option<&str>, folder: &str) -> Option<i64> {
        let values: Vec<(&str, String)> = folder
            .split('/')
            .filter_map(|part| part.split_once('=').map(|(name, value)| (name, unescaped(value))))
            .collect();
        let text = match pattern {
            None => values.first()?.1.clone(),
            Some(pattern) => values
                .iter()
                .fold(pattern.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value)),
        };
        calendar::read_timestamp(&text).map(|at| at.ms)
    }
}

/// What a folder's name may not have is written as `%3A`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let plain = !c.is_ascii_control() && !r##""#%'*/:=?\{}[]^"##.contains(c);
        if plain { out.push(c) } else { out.push_str(&format!("%{:02X}", u32::from(c))) }
    }
    out
}

fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                // Only what is ASCII is ever written so.
                bytes.extend(char::from(code).to_string().as_bytes());
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_folder_and_a_folder_a_value() {
        let partitions = Partitions { columns: vec![0], default_name: DEFAULT_NAME.to_owned(), commit: None };
        // As Flink names them.
        for (value, folder) in [
            ("00:01", "c=00%3A01"),
            ("a/b=c%d e", "c=a%2Fb%3Dc%25d e"),
            ("ü#?*\"'\\", "c=ü%23%3F%2A%22%27%5C"),
            ("{}[]^:<>|~.\u{1}", "c=%7B%7D%5B%5D%5E%3A<>|~.%01"),
            ("", "c=__DEFAULT_PARTITION__"),
        ] {
            let datum = Datum::str(value);
            assert_eq!(partitions.folder("c", &datum, &Type::STRING), folder);
            let back = if value.is_empty() { Datum::Null } else { datum };
            let found = partitions.value(&format!("/x/{folder}/part"), "c", &Type::STRING);
            assert_eq!(found, Some(Ok(back)), "{folder}");
        }
        assert_eq!(partitions.value("/x/c=7/part", "c", &Type::Int), Some(Ok(Datum::Int(7))));
        assert!(partitions.value("/x/c=x/part", "c", &Type::Int).unwrap().is_err());
        assert_eq!(partitions.value("/x/part", "c", &Type::Int), None);
    }

    #[test]
    fn the_values_say_a_time() {
        let time = |pattern, folder| PartitionCommit::time_of(pattern, folder);
        assert_eq!(time(Some("$dt $hm:00"), "dt=1970-01-01/hm=00%3A01"), Some(60_000));
        assert_eq!(time(None, "dt=1970-01-02"), Some(calendar::DAY_MS));
        assert_eq!(time(None, "dt=x"), None);
    }
}
