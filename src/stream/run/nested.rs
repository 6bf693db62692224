//! Arrays, maps and rows in columns: read and written as json, printed, taken apart, and as keys. What is expected is
//! what Flink 2.2.1 made of the same rows.

use super::{golden::finished, memory::Memory};

const ROWS: &[&str] = &[
    r#"{"a":[1,null,3],"m":{"x":1,"y":null},"r":{"f":1,"g":"z"},"aa":[["p"],[]],"ar":[{"f":2}]}"#,
    r#"{"a":null,"m":null,"r":null,"aa":null,"ar":null}"#,
    r#"{"a":[],"m":{},"r":{},"aa":[null],"ar":[null,{}]}"#,
];
const COLUMNS: &str =
    "a ARRAY<INT>, m MAP<STRING, INT>, r ROW<f INT, g STRING>, aa ARRAY<ARRAY<STRING>>, ar ARRAY<ROW<f INT>>";

fn with_rows(sink: &str, query: &str) -> (Memory, Vec<String>) {
    let memory = Memory::default();
    memory.produce("i", 0, ROWS);
    let options = "'properties.bootstrap.servers'='x','format'='json'";
    let sql = format!(
        "CREATE TABLE i ({COLUMNS}) WITH ('connector'='kafka','topic'='i',{options},\
         'scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset');\n{sink};\nINSERT INTO o {query}"
    );
    let printed = finished(&sql, &memory);
    (memory, printed)
}

fn check(columns: &str, query: &str, expected: &[&str]) {
    let sink = format!("CREATE TABLE o ({columns}) WITH ('connector'='print')");
    assert_eq!(with_rows(&sink, query).1, expected, "{query}");
}

#[test]
fn nested_values_are_printed_as_flink_prints_them() {
    check(
        COLUMNS,
        "SELECT * FROM i",
        &[
            "+I[[1, null, 3], {x=1, y=null}, +I[1, z], [[p], []], [+I[2]]]",
            "+I[null, null, null, null, null]",
            "+I[[], {}, +I[null, null], [null], [null, +I[null]]]",
        ],
    );
}

#[test]
fn nested_values_are_written_as_flink_writes_them() {
    let options = "'connector'='kafka','topic'='o','properties.bootstrap.servers'='x','format'='json'";
    let (memory, _) = with_rows(&format!("CREATE TABLE o ({COLUMNS}) WITH ({options})"), "SELECT * FROM i");
    let expected =
        [ROWS[0], ROWS[1], r#"{"a":[],"m":{},"r":{"f":null,"g":null},"aa":[null],"ar":[null,{"f":null}]}"#];
    assert_eq!(memory.values("o"), expected);
}

#[test]
fn nested_values_are_taken_apart() {
    check(
        "x INT, y INT, z STRING, u INT, v INT",
        "SELECT a[1], m['x'], r.g, CARDINALITY(aa), ar[1].f FROM i",
        &["+I[1, 1, z, 2, 2]", "+I[null, null, null, null, null]", "+I[null, null, null, 1, null]"],
    );
}

#[test]
fn nested_values_are_keys() {
    check(
        "a ARRAY<INT>, c BIGINT",
        "SELECT a, COUNT(*) FROM i GROUP BY a",
        &["+I[[1, null, 3], 1]", "+I[null, 1]", "+I[[], 1]"],
    );
    check(
        "r ROW<f INT, g STRING>, c BIGINT",
        "SELECT r, COUNT(*) FROM i GROUP BY r",
        &["+I[+I[1, z], 1]", "+I[null, 1]", "+I[+I[null, null], 1]"],
    );
    check(
        "m MAP<STRING, INT>, c BIGINT",
        "SELECT m, COUNT(*) FROM i GROUP BY m",
        &["+I[{x=1, y=null}, 1]", "+I[null, 1]", "+I[{}, 1]"],
    );
}
