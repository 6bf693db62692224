//! Lists as RabbitMQ gives them: `columns`, `sort`, `name` filters, and pages wrapped in `items`.

use axum::http::StatusCode;
use regex::RegexBuilder;
use serde_json::{Map, Value, json};

use crate::admin::request::{Query, Reply};

/// Filters, sorts, pages and narrows the rows as the query says.
pub fn list(rows: Vec<Value>, query: &Query) -> Reply {
    match shape(rows, query) {
        Ok(value) => Reply::json(value),
        Err((error, reason)) => {
            Reply::failed(StatusCode::BAD_REQUEST, json!({"error": error, "reason": reason}))
        }
    }
}

/// What is wrong with a query: RabbitMQ's word for it, and its text.
type Wrong = (&'static str, String);

/// One object, narrowed to `columns`.
#[must_use]
pub fn one(row: Value, query: &Query) -> Reply {
    Reply::json(narrow(row, query))
}

fn shape(rows: Vec<Value>, query: &Query) -> Result<Value, Wrong> {
    let total = rows.len();
    let mut rows = filter(rows, query)?;
    if let Some(column) = query.value("sort") {
        rows.sort_by(|a, b| compare(field(a, column), field(b, column)));
        if query.value("sort_reverse") == Some("true") {
            rows.reverse();
        }
    }
    let filtered = rows.len();
    let Some(page) = query.value("page") else {
        return Ok(rows.into_iter().map(|r| narrow(r, query)).collect());
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| no_page());
    let page = number(page)?;
    let size = query.value("page_size").map_or(Ok(PAGE_SIZE), number)?;
    if page == 0 || !(1..=PAGE_SIZE_MAX).contains(&size) {
        let reason = format!("Invalid pagination parameters: page number {page}, page size {size}");
        return Err(("invalid_pagination_parameters", reason));
    }
    let page_count = filtered.div_ceil(size).max(1);
    if page > page_count {
        let reason = format!("Page out of range, page: {page} page size: {size}, len: {filtered}");
        return Err(("page_out_of_range", reason));
    }
    let items: Vec<Value> =
        rows.into_iter().skip((page - 1) * size).take(size).map(|r| narrow(r, query)).collect();
    Ok(json!({
        "total_count": total,
        "filtered_count": filtered,
        "item_count": items.len(),
        "page": page,
        "page_size": size,
        "page_count": page_count,
        "items": items,
    }))
}

fn no_page() -> Wrong {
    ("bad_request", "Pagination parameters are invalid".to_owned())
}

fn filter(rows: Vec<Value>, query: &Query) -> Result<Vec<Value>, Wrong> {
    let Some(name) = query.value("name").filter(|n| !n.is_empty()) else { return Ok(rows) };
    let name_of = |row: &Value| row.get("name").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    if query.value("use_regex") == Some("true") {
        let pattern = RegexBuilder::new(name).case_insensitive(true).size_limit(REGEX_BYTES_MAX).build();
        let pattern = pattern.map_err(|_| no_page())?;
        return Ok(rows.into_iter().filter(|r| pattern.is_match(&name_of(r))).collect());
    }
    let name = name.to_lowercase();
    Ok(rows.into_iter().filter(|r| name_of(r).contains(&name)).collect())
}

/// `message_stats.publish` reaches into objects.
fn field<'a>(row: &'a Value, column: &str) -> Option<&'a Value> {
    column.split('.').try_fold(row, |value, name| value.get(name))
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> std::cmp::Ordering {
    match (a.and_then(Value::as_f64), b.and_then(Value::as_f64)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => {
            let text = |v: Option<&Value>| v.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
            text(a).cmp(&text(b))
        }
    }
}

fn narrow(row: Value, query: &Query) -> Value {
    let Some(columns) = query.value("columns").filter(|c| !c.is_empty()) else { return row };
    let mut narrowed = Map::new();
    for column in columns.split(',') {
        if let Some(value) = field(&row, column) {
            put(&mut narrowed, column, value.clone());
        }
    }
    narrowed.into()
}

fn put(map: &mut Map<String, Value>, column: &str, value: Value) {
    match column.split_once('.') {
        None => {
            map.insert(column.to_owned(), value);
        }
        Some((name, rest)) => {
            if let Value::Object(inner) = map.entry(name).or_insert_with(|| Map::new().into()) {
                put(inner, rest, value);
            }
        }
    }
}

const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;
const REGEX_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Result<Value, &str>) {
        let rows =
            ["b", "a", "c"].iter().enumerate().map(|(i, n)| json!({"name": n, "s": {"n": i}})).collect();
        let got = shape(rows, &Query::parse(query)).map_err(|_| "bad");
        assert_eq!(got, expected, "{query}");
    }

    #[test]
    fn lists_are_sorted_filtered_narrowed_and_paged() {
        check("columns=name", Ok(json!([{"name": "b"}, {"name": "a"}, {"name": "c"}])));
        check(
            "columns=s.n&sort=s.n&sort_reverse=true",
            Ok(json!([{"s": {"n": 2}}, {"s": {"n": 1}}, {"s": {"n": 0}}])),
        );
        check("columns=name&name=A", Ok(json!([{"name": "a"}])));
        check(
            "columns=name&name=%5E[ab]&use_regex=true&sort=name",
            Ok(json!([{"name": "a"}, {"name": "b"}])),
        );
        check(
            "columns=name&sort=name&page=2&page_size=2",
            Ok(json!({"total_count": 3, "filtered_count": 3, "item_count": 1, "page": 2, "page_size": 2,
                      "page_count": 2, "items": [{"name": "c"}]})),
        );
        check("page=3&page_size=2", Err("bad"));
        check("page=0", Err("bad"));
        check("page=1&page_size=100000", Err("bad"));
        check("name=(&use_regex=true", Err("bad"));
    }
}
