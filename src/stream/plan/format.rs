//! The formats of records and files: `json`, `csv`, `raw`. Their options, and which columns they can hold.

use super::{catalog::Column, options::Options, types::Type};
use crate::stream::sql::{
    Pos, SqlError,
    ast::{CreateTable, OptionDef},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Csv(CsvOptions),
    Json(JsonOptions, NullKeys),
    Raw { big_endian: bool },
}

/// The defaults are Flink's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JsonOptions {
    pub ignore_parse_errors: bool,
    pub fail_on_missing_field: bool,
    /// `ISO-8601` instead of `SQL`.
    pub iso_timestamps: bool,
    pub ignore_null_fields: bool,
    pub decimal_as_plain_number: bool,
}

/// What becomes of a NULL that is a key of a MAP (`json.map-null-key.mode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NullKeys {
    /// Its entry is left out.
    Drop,
    /// The job stops.
    Fail,
    /// It is this name.
    Named(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvOptions {
    pub delimiter: char,
    /// `None` with `csv.disable-quote-character`.
    pub quote: Option<char>,
    pub escape: Option<char>,
    pub allow_comments: bool,
    pub ignore_parse_errors: bool,
    pub array_element_delimiter: String,
    pub null_literal: Option<String>,
    /// `1E-7` rather than `0.0000001`.
    pub scientific_decimals: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: ',',
            quote: Some('"'),
            escape: None,
            allow_comments: false,
            ignore_parse_errors: false,
            array_element_delimiter: ";".to_owned(),
            null_literal: None,
            scientific_decimals: true,
        }
    }
}

/// Reads the options of a format; their keys begin with the prefix.
pub(super) fn read(options: &mut Options<'_>, named: &OptionDef, prefix: &str) -> Result<Format, SqlError> {
    let key = |name: &str| format!("{prefix}{name}");
    match named.value.as_str() {
        "csv" => csv(options, named, prefix).map(Format::Csv),
        "json" => {
            let read = JsonOptions {
                ignore_parse_errors: options.truth(&key("json.ignore-parse-errors"), false)?,
                fail_on_missing_field: options.truth(&key("json.fail-on-missing-field"), false)?,
                iso_timestamps: options.choice(
                    &key("json.timestamp-format.standard"),
                    false,
                    &[("SQL", false), ("ISO-8601", true)],
                )?,
                ignore_null_fields: options.truth(&key("json.encode.ignore-null-fields"), false)?,
                decimal_as_plain_number: options.truth(&key("json.encode.decimal-as-plain-number"), false)?,
            };
            if read.ignore_parse_errors && read.fail_on_missing_field {
                let message = "fail-on-missing-field and ignore-parse-errors shouldn't both be true.";
                return Err(SqlError::invalid(named.at, message));
            }
            // Two ways of decoding with one result: on Flink a matter of speed only.
            options.truth(&key("json.decode.json-parser.enabled"), true)?;
            Ok(Format::Json(read, null_keys(options, &key("json.map-null-key."))?))
        }
        "raw" => {
            if let Some(charset) = options.take(&key("raw.charset"))
                && !charset.value.eq_ignore_ascii_case("utf-8")
            {
                return Err(SqlError::not_yet(charset.value_at, format!("the charset '{}'", charset.value)));
            }
            let big_endian = options.choice(
                &key("raw.endianness"),
                true,
                &[("big-endian", true), ("little-endian", false)],
            )?;
            Ok(Format::Raw { big_endian })
        }
        other => Err(SqlError::not_yet(named.value_at, format!("the format '{other}'"))),
    }
}

fn null_keys(options: &mut Options<'_>, prefix: &str) -> Result<NullKeys, SqlError> {
    let literal = options.text(&format!("{prefix}literal")).unwrap_or("null").to_owned();
    let Some(mode) = options.take(&format!("{prefix}mode")) else { return Ok(NullKeys::Fail) };
    match mode.value.to_ascii_uppercase().as_str() {
        "DROP" => Ok(NullKeys::Drop),
        "FAIL" => Ok(NullKeys::Fail),
        "LITERAL" => Ok(NullKeys::Named(literal)),
        // Flink's words.
        _ => Err(SqlError::invalid(
            mode.value_at,
            format!(
                "Unsupported value '{}' for option map-null-key.mode. Supported values are [LITERAL, FAIL, DROP].",
                mode.value
            ),
        )),
    }
}

fn csv(options: &mut Options<'_>, named: &OptionDef, prefix: &str) -> Result<CsvOptions, SqlError> {
    let key = |name: &str| format!("{prefix}csv.{name}");
    let default = CsvOptions::default();
    let delimiter = options.take(&key("field-delimiter")).map(delimiter).transpose()?;
    let quote = options.take(&key("quote-character")).map(|o| single(o, &o.value)).transpose()?;
    let unquoted = options.truth(&key("disable-quote-character"), false)?;
    if unquoted && quote.is_some() {
        let message = "Format cannot define a quote character and disabled quote character at the same time.";
        return Err(SqlError::invalid(named.at, message));
    }
    Ok(CsvOptions {
        delimiter: delimiter.unwrap_or(default.delimiter),
        quote: if unquoted { None } else { quote.or(default.quote) },
        escape: options.take(&key("escape-character")).map(|o| single(o, &o.value)).transpose()?,
        allow_comments: options.truth(&key("allow-comments"), false)?,
        ignore_parse_errors: options.truth(&key("ignore-parse-errors"), false)?,
        array_element_delimiter: options
            .text(&key("array-element-delimiter"))
            .map_or(default.array_element_delimiter, str::to_owned),
        null_literal: options.text(&key("null-literal")).map(str::to_owned),
        scientific_decimals: options.truth(&key("write-bigdecimal-in-scientific-notation"), true)?,
    })
}

/// A character, or one that Java's escapes stand for, as in `\\t`.
fn delimiter(option: &OptionDef) -> Result<char, SqlError> {
    let code = |digits: &str| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    match option.value.as_str() {
        "\\t" => Ok('\t'),
        "\\n" => Ok('\n'),
        "\\r" => Ok('\r'),
        "\\\\" => Ok('\\'),
        value => match value.strip_prefix("\\u").filter(|digits| digits.len() == 4).and_then(code) {
            Some(c) => Ok(c),
            None => single(option, value),
        },
    }
}

fn single(option: &OptionDef, value: &str) -> Result<char, SqlError> {
    let mut chars = value.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(SqlError::invalid(
            option.value_at,
            format!("Option '{}' must be a string with single character, but was: {value}", option.key),
        )),
    }
}

/// Whether the format can hold these columns.
pub(super) fn check(
    format: &Format,
    fields: &[usize],
    table: &CreateTable,
    columns: &[Column],
) -> Result<(), SqlError> {
    let at = |index: usize| table.elements.columns.get(index).map_or(table.name.at, |c| c.at);
    let listed = fields.iter().filter_map(|i| columns.get(*i).map(|c| (*i, c)));
    match format {
        Format::Raw { .. } => {
            let listed: Vec<(usize, &Column)> = listed.collect();
            let [(index, column)] = listed.as_slice() else {
                let names: Vec<String> =
                    listed.iter().map(|(_, c)| format!("`{}` {}", c.name, c.data_type)).collect();
                return Err(SqlError::invalid(
                    table.options_at,
                    format!(
                        "The 'raw' format only supports single physical column. However the defined schema contains \
                         multiple physical columns: [{}]",
                        names.join(", ")
                    ),
                ));
            };
            let kind = &column.data_type.kind;
            let simple = kind.is_string()
                || kind.is_binary()
                || kind.is_integer()
                || kind.is_approximate()
                || *kind == Type::Boolean;
            if simple {
                return Ok(());
            }
            Err(SqlError::invalid(
                at(*index),
                format!("The 'raw' format doesn't supports '{kind}' as column type."),
            ))
        }
        Format::Csv(_) => {
            for (index, column) in listed {
                csv_type(&column.data_type.kind, &column.name, true, at(index))?;
            }
            Ok(())
        }
        Format::Json(..) => {
            for (index, column) in listed {
                json_type(&column.data_type.kind, at(index))?;
            }
            Ok(())
        }
    }
}

/// Arrays and rows hold single values only. (Flink: CsvRowSchemaConverter)
fn csv_type(kind: &Type, column: &str, outer: bool, at: Pos) -> Result<(), SqlError> {
    match kind {
        Type::Array(item) if outer => csv_type(&item.kind, column, false, at),
        Type::Row(fields) if outer => {
            fields.iter().try_for_each(|(_, of)| csv_type(&of.kind, column, false, at))
        }
        Type::Array(_)
        | Type::IntervalDay
        | Type::IntervalYear
        | Type::Map(..)
        | Type::Multiset(_)
        | Type::Null
        | Type::Row(_) => {
            Err(SqlError::invalid(at, format!("Unsupported type '{kind}' for field '{column}'.")))
        }
        Type::BigInt
        | Type::Binary(_)
        | Type::Boolean
        | Type::Char(_)
        | Type::Date
        | Type::Decimal { .. }
        | Type::Double
        | Type::Float
        | Type::Int
        | Type::SmallInt
        | Type::Time(_)
        | Type::Timestamp(_)
        | Type::TimestampLtz(_)
        | Type::TinyInt
        | Type::Varbinary(_)
        | Type::Varchar(_) => Ok(()),
    }
}

fn json_type(kind: &Type, at: Pos) -> Result<(), SqlError> {
    match kind {
        Type::Array(item) => json_type(&item.kind, at),
        Type::Row(fields) => fields.iter().try_for_each(|(_, f)| json_type(&f.kind, at)),
        Type::Map(key, value) if key.kind.is_string() => json_type(&value.kind, at),
        Type::Multiset(item) if item.kind.is_string() => Ok(()),
        Type::Map(..) | Type::Multiset(_) => Err(SqlError::invalid(
            at,
            format!("JSON format doesn't support non-string as key type of map. The type is: {kind}"),
        )),
        Type::BigInt
        | Type::Binary(_)
        | Type::Boolean
        | Type::Char(_)
        | Type::Date
        | Type::Decimal { .. }
        | Type::Double
        | Type::Float
        | Type::Int
        | Type::SmallInt
        | Type::Time(_)
        | Type::Timestamp(_)
        | Type::TimestampLtz(_)
        | Type::TinyInt
        | Type::Varbinary(_)
        | Type::Varchar(_) => Ok(()),
        Type::IntervalDay | Type::IntervalYear | Type::Null => {
            Err(SqlError::invalid(at, format!("Unsupported type: {kind}")))
        }
    }
}
