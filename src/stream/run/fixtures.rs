//! The queries in the folders of `fixtures/streams` over topics in memory, against what Flink 2.2.1 leaves of them: made
//! by `compat-tests/flink`, which says how.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use super::{
    JobId,
    golden::finished_in,
    job::{Job, drive},
    memory::Memory,
};
use crate::stream::compile;

/// The rows that are still there once every change has been made, sorted.
pub(super) fn left(printed: &[String]) -> Vec<String> {
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for line in printed {
        let (kind, row) = line.split_at(2);
        *rows.entry(row).or_default() += if kind == "+I" || kind == "+U" { 1 } else { -1 };
    }
    rows.iter()
        .flat_map(|(row, count)| std::iter::repeat_n((*row).to_owned(), usize::try_from(*count).unwrap_or(0)))
        .collect()
}

/// The lines of the files that were written below `out`, with the folders they are in; of files without any their names.
/// They are gone then.
fn in_files(memory: &Memory) -> Vec<String> {
    let mut rows = Vec::new();
    for (path, text) in memory.files() {
        let Some(path_in) = path.strip_prefix("out/") else { continue };
        let (folder, name) = path_in.rsplit_once('/').unwrap_or(("", path_in));
        if name.starts_with("part-") {
            rows.extend(text.lines().map(|line| format!("{folder}: {line}")));
        } else {
            rows.push(format!("{folder}/{name}"));
        }
        memory.remove_file(&path);
    }
    rows
}

/// Runs every query of a folder that has a golden file. A topic's records are in the file of its name. For a table with a
/// PRIMARY KEY each change is held to Flink's, in order; several shards have an order for each key only.
fn hold_to_flink(folder: &str, queries_min: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams").join(folder);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let of_kind = |extension: &str| -> Vec<&str> {
        names.iter().filter_map(|name| name.strip_suffix(extension)).collect()
    };
    let (tables, queries) = (read("tables.sql"), of_kind(".golden"));
    assert!(queries.len() >= queries_min, "{queries:?}");
    let mut wrong = Vec::new();
    for query in queries {
        let memory = Memory::default();
        for topic in of_kind(".jsonl") {
            let records = read(&format!("{topic}.jsonl"));
            memory.produce(topic, 0, &records.lines().collect::<Vec<_>>());
        }
        let sql = format!("{tables}{}", read(&format!("{query}.sql")));
        let golden = read(&format!("{query}.golden"));
        let changes = sql.contains("PRIMARY KEY");
        for shards in [1, 3] {
            let run = || {
                let printed = finished_in(&sql, &memory, shards);
                if changes && shards == 1 {
                    return printed;
                }
                let mut rows = if changes { printed } else { left(&printed) };
                rows.extend(in_files(&memory));
                rows.sort();
                rows
            };
            let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            let found = run.unwrap_or_else(|_| vec!["it does not run".to_owned()]);
            let mut expected: Vec<&str> = golden.lines().collect();
            if shards > 1 {
                expected.sort_unstable();
            }
            if found != expected {
                let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
                let (rows, of) = (found.len(), expected.len());
                wrong.push(format!("{query} in {shards} shards: {rows} rows, Flink has {of}; {first:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_query_of_nexmark_leaves_what_flink_leaves() {
    hold_to_flink("nexmark", 22);
}

#[test]
fn every_query_of_the_language_leaves_what_flink_leaves() {
    hold_to_flink("language", 205);
}

/// No Flink says what must come out, since nobody can set its clock; the input does.
#[test]
fn nexmarks_q12_counts_by_the_clock() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let tables = read("nexmark/tables.sql").replace("'scan.bounded.mode' = 'latest-offset',", "");
    let (query, events) = (read("nexmark_clock/q12.sql"), read("nexmark/nexmark.jsonl"));
    let events: Vec<&str> = events.lines().collect();
    let memory = Memory::default();
    let plan = compile(&format!("{tables}{query}")).unwrap().remove(0);
    let mut job = Job::restore(JobId("q12".to_owned()), plan, None, &memory).unwrap();
    let mut expected: BTreeMap<(&str, i64), u64> = BTreeMap::new();
    for (events, at_ms) in events.chunks(events.len() / 4).zip([1_000, 9_999, 10_000, 25_000]) {
        let window =
            ["00:00, 1970-01-01T00:00:10", "00:00:10, 1970-01-01T00:00:20", "00:00:20, 1970-01-01T00:00:30"];
        for event in events {
            let event: Value = serde_json::from_str(event).unwrap();
            if let Some(bidder) = event["bid"]["bidder"].as_i64() {
                *expected.entry((window[usize::try_from(at_ms / 10_000).unwrap()], bidder)).or_default() += 1;
            }
        }
        memory.produce("nexmark", 0, events);
        drive(&mut job, &memory, &mut memory.clone(), at_ms, &|| false).unwrap();
    }
    drive(&mut job, &memory, &mut memory.clone(), 30_000, &|| false).unwrap();
    let mut expected: Vec<String> = expected
        .iter()
        .map(|((window, bidder), count)| format!("+I[{bidder}, {count}, 1970-01-01T{window}]"))
        .collect();
    expected.sort();
    let mut printed = memory.printed();
    printed.sort();
    assert_eq!(printed, expected);
}

/// What DESCRIBE and SHOW say, to the last blank.
#[test]
fn what_statements_say_is_what_flink_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/statements");
    let mut texts = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let said = crate::stream::said(&fs::read_to_string(&path).unwrap());
            let said = said.unwrap_or_else(|e| panic!("{}: {e}", path.display())).concat();
            let golden = fs::read_to_string(path.with_extension("golden")).unwrap();
            let other = said.lines().zip(golden.lines()).enumerate().find(|(_, (said, flink))| said != flink);
            assert!(said == golden, "{}: {other:?}", path.display());
            texts += 1;
        }
    }
    assert!(texts >= 5, "{texts}");
}
