//! The options of the `filesystem` connector: files of records, below the folder that the server lets jobs see.

use super::{
    catalog::{Column, ColumnKind},
    connector::{duration_of, refuse_parallelism},
    format::{self, Format},
    options::{Options, invalid},
    partitions::{self, Partitions},
};
use crate::stream::sql::{
    SqlError,
    ast::{CreateTable, OptionDef},
};

/// A file, or a folder of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Without `file:` before it. Begins with `/`, or is below the server's folder.
    pub path: String,
    pub format: Format,
    /// Positions, among all columns, of what a record holds.
    pub fields: Vec<usize>,
    /// How often to look for new files; `None` reads those of the start, and then the table has ended.
    pub monitor_ms: Option<i64>,
    pub rolling: Rolling,
    /// PARTITIONED BY.
    pub partitions: Option<Partitions>,
}

/// When the file that is being written is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolling {
    pub bytes_max: u64,
    pub interval_ms: i64,
}

/// Flink's defaults.
const FILE_BYTES: u64 = 128 << 20;
const ROLLOVER_MS: i64 = 30 * 60_000;

/// The metadata of a file; none of it can be written.
pub const METADATA: &[(&str, bool)] =
    &[("file.modification-time", false), ("file.name", false), ("file.path", false), ("file.size", false)];

/// Reads the options of the connector.
pub(super) fn read(
    options: &mut Options<'_>,
    table: &CreateTable,
    columns: &[Column],
) -> Result<Filesystem, SqlError> {
    let path = path(options.required("path")?)?;
    let named = options.required("format")?;
    let format = format::read(options, named, "")?;
    let partitions = partitions::read(options, table, columns)?;
    let named = partitions.as_ref().map(|partitions| partitions.columns.as_slice()).unwrap_or_default();
    let physical = columns.iter().enumerate().filter(|(_, c)| c.kind == ColumnKind::Physical);
    let fields: Vec<usize> =
        physical.map(|(index, _)| index).filter(|index| !named.contains(index)).collect();
    format::check(&format, &fields, table, columns)?;
    let monitor_ms = options.take("source.monitor-interval").map(duration_of).transpose()?;
    let bytes_max = options.take("sink.rolling-policy.file-size").map(size).transpose()?;
    let interval_ms = options.take("sink.rolling-policy.rollover-interval").map(duration_of).transpose()?;
    // Flink looks at the age of a file this often; here it is looked at when it is due.
    options.take("sink.rolling-policy.check-interval").map(duration_of).transpose()?;
    // Numbers for Flink's optimizer; they change no result.
    options.choice("source.report-statistics", (), &[("ALL", ()), ("NONE", ())])?;
    // Every record moves the watermark here.
    options.choice("scan.watermark.emit.strategy", (), &[("on-event", ()), ("on-periodic", ())])?;
    refuse_parallelism(options, "sink.parallelism")?;
    options.refuse_if(|key| {
        key.starts_with("partition.time-extractor.")
            || key.starts_with("scan.watermark.")
            || key.starts_with("sink.partition-commit.")
            || matches!(
                key,
                "auto-compaction"
                    | "compaction.file-size"
                    | "compaction.parallelism"
                    | "sink.rolling-policy.inactivity-interval"
                    | "source.path.regex-pattern"
            )
    })?;
    let rolling = Rolling {
        bytes_max: bytes_max.unwrap_or(FILE_BYTES),
        interval_ms: interval_ms.unwrap_or(ROLLOVER_MS),
    };
    Ok(Filesystem { path, format, fields, monitor_ms, rolling, partitions })
}

fn path(option: &OptionDef) -> Result<String, SqlError> {
    let value = option.value.as_str();
    let path = match value.split_once(':') {
        Some(("file", rest)) => match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return Err(invalid(option, "expected file:///… without a host")),
            None => rest,
        },
        Some((scheme, _)) if scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            return Err(SqlError::not_yet(option.value_at, format!("files behind '{scheme}:'")));
        }
        _ => value,
    };
    if path.split('/').any(|part| part == "..") {
        return Err(invalid(option, "'..' is not allowed in it"));
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err(invalid(option, "expected a file or a folder"));
    }
    Ok(path.to_owned())
}

/// `128MB`, `1 kb`. (Flink: MemorySize)
fn size(option: &OptionDef) -> Result<u64, SqlError> {
    let text = option.value.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => Some(0),
        "k" | "kb" | "kibibytes" => Some(10),
        "m" | "mb" | "mebibytes" => Some(20),
        "g" | "gb" | "gibibytes" => Some(30),
        "t" | "tb" | "tebibytes" => Some(40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(shift).and_then(|(n, shift)| n.checked_mul(1 << shift));
    bytes.filter(|n| *n > 0).ok_or_else(|| invalid(option, "expected a size such as '128MB'"))
}
