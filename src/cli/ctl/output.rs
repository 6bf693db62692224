//! What is printed: a line that says what is done, then rows with tabs, or JSON.

use serde_json::{Map, Value};

use super::options::{Formatter, Options};

/// What a command found out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shown {
    Nothing,
    Text(String),
    /// Column names and rows of them.
    Rows(Vec<String>, Vec<Value>),
}

/// How it is shown.
pub(crate) struct Output<'a> {
    pub options: &'a Options,
    /// `Listing users ...`
    pub banner: Option<String>,
}

impl Output<'_> {
    pub(crate) fn show(self, shown: Shown) -> String {
        let mut text = String::new();
        let plain = self.options.formatter == Formatter::Table;
        if let Some(banner) = self.banner.filter(|_| plain && !self.options.quiet && !self.options.silent) {
            text.push_str(&banner);
            text.push('\n');
        }
        match shown {
            Shown::Nothing => {}
            Shown::Text(line) => {
                text.push_str(line.trim_end_matches('\n'));
                text.push('\n');
            }
            Shown::Rows(columns, rows) => text.push_str(&self::rows(self.options, &columns, &rows)),
        }
        text
    }
}

fn rows(options: &Options, columns: &[String], rows: &[Value]) -> String {
    let separator = match options.formatter {
        Formatter::Json => return json(columns, rows),
        Formatter::Csv => ",",
        Formatter::Table => "\t",
    };
    let mut text = String::new();
    // Nothing found: RabbitMQ prints no header either.
    if options.table_headers && !rows.is_empty() {
        text.push_str(&columns.join(separator));
        text.push('\n');
    }
    for row in rows {
        let cells: Vec<String> = columns.iter().map(|column| cell(row.get(column))).collect();
        text.push_str(&cells.join(separator));
        text.push('\n');
    }
    text
}

fn json(columns: &[String], rows: &[Value]) -> String {
    let narrow = |row: &Value| -> Value {
        let pick = |column: &String| {
            (column.clone(), row.get(column).cloned().unwrap_or(Value::String(String::new())))
        };
        columns.iter().map(pick).collect::<Map<_, _>>().into()
    };
    let rows: Vec<String> = rows.iter().map(|row| narrow(row).to_string()).collect();
    format!("[\n{}\n]\n", rows.join("\n,"))
}

/// A value as Erlang's terms look in the tool's tables.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            format!("[{}]", items.join(", "))
        }
        Some(Value::Object(map)) => {
            let pair = |(name, value): (&String, &Value)| format!("{{\"{name}\",{}}}", term(value));
            format!("[{}]", map.iter().map(pair).collect::<Vec<_>>().join(","))
        }
        Some(other @ (Value::Bool(_) | Value::Number(_))) => other.to_string(),
    }
}

fn term(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) => {
            cell(Some(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(options: Options, expected: &str) {
        let columns = ["user".to_owned(), "tags".to_owned()];
        let rows = vec![json!({"user": "guest", "tags": ["administrator", "x"], "more": 1})];
        let output = Output { options: &options, banner: Some("Listing users ...".to_owned()) };
        assert_eq!(output.show(Shown::Rows(columns.to_vec(), rows)), expected, "{options:?}");
    }

    #[test]
    fn rows_are_shown_as_rabbitmqctl_shows_them() {
        let rows = "guest\t[administrator, x]\n";
        check(Options::default(), &format!("Listing users ...\nuser\ttags\n{rows}"));
        check(Options { quiet: true, ..Options::default() }, &format!("user\ttags\n{rows}"));
        check(Options { silent: true, table_headers: false, ..Options::default() }, rows);
        let json = Options { formatter: Formatter::Json, ..Options::default() };
        check(json, "[\n{\"tags\":[\"administrator\",\"x\"],\"user\":\"guest\"}\n]\n");
    }
}
