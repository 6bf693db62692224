//! The queries of `fixtures/streams/nexmark` over events in memory, against what Flink 2.2.1 leaves of them: made by
//! `compat-tests/flink`, which says how.

use std::{collections::BTreeMap, fs, path::Path};

use super::{golden::finished, memory::Memory};

/// The rows that are still there once every change has been made, sorted.
fn left(printed: &[String]) -> Vec<String> {
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for line in printed {
        let (kind, row) = line.split_at(2);
        *rows.entry(row).or_default() += if kind == "+I" || kind == "+U" { 1 } else { -1 };
    }
    rows.iter()
        .flat_map(|(row, count)| std::iter::repeat_n((*row).to_owned(), usize::try_from(*count).unwrap_or(0)))
        .collect()
}

#[test]
fn every_query_leaves_what_flink_leaves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/nexmark");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (tables, events) = (read("tables.sql"), read("nexmark.jsonl"));
    let events: Vec<&str> = events.lines().collect();
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut queries: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".golden").map(str::to_owned)).collect();
    queries.sort();
    assert!(queries.len() > 20, "{queries:?}");
    let mut wrong = Vec::new();
    for query in queries {
        let memory = Memory::default();
        memory.produce("nexmark", 0, &events);
        let sql = format!("{tables}{}", read(&format!("{query}.sql")));
        let golden = read(&format!("{query}.golden"));
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| left(&finished(&sql, &memory))));
        let found = run.unwrap_or_else(|_| vec!["it does not run".to_owned()]);
        let expected: Vec<&str> = golden.lines().collect();
        if found != expected {
            let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
            wrong.push(format!("{query}: {} rows, Flink has {}; {first:?}", found.len(), expected.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
