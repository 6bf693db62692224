//! Expressions over constants, against what Flink 2.2.1 makes of them (`fixtures/streams/functions`). What this version
//! does not have yet is in `pending.txt`; what passes must leave that list.

use std::{collections::BTreeSet, fs, path::Path};

use super::{golden::finished, memory::Memory};

/// The expression's value as text by the language's own cast, or why there is none.
fn value(expression: &str) -> Result<String, String> {
    let memory = Memory::default();
    memory.produce("one", 0, &["{\"x\":1}"]);
    let sql = format!(
        "CREATE TABLE one (x INT) WITH ('connector'='kafka','topic'='one','properties.bootstrap.servers'='x',\
         'format'='json','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset');\n\
         CREATE TABLE o (v STRING) WITH ('connector'='print');\n\
         INSERT INTO o SELECT CAST(v AS STRING) FROM (SELECT {expression} AS v FROM one);"
    );
    crate::stream::compile(&sql).map_err(|e| e.to_string())?;
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| finished(&sql, &memory)));
    let printed = run.map_err(|_| "it does not run".to_owned())?;
    let row = printed.first().ok_or("it printed nothing")?;
    Ok(row.strip_prefix("+I[").and_then(|row| row.strip_suffix(']')).unwrap_or(row).to_owned())
}

#[test]
fn every_expression_has_the_value_that_flink_gives_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/functions");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let (values, pending) = (read("values.tsv"), read("pending.txt"));
    let mut pending: BTreeSet<&str> =
        pending.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")).collect();
    let mut wrong = Vec::new();
    for line in values.lines() {
        let mut fields = line.splitn(3, '\t');
        let (expression, sql_type) = (fields.next().unwrap(), fields.next().unwrap());
        let expected = fields.next().unwrap_or_default();
        if sql_type == "!" {
            continue;
        }
        let found = value(expression);
        match (found.as_deref() == Ok(expected), pending.remove(expression)) {
            (true, false) | (false, true) => {}
            (true, true) => wrong.push(format!("{expression} passes: take it off pending.txt")),
            (false, false) => wrong.push(format!("{expression} is {found:?}, with Flink {expected}")),
        }
    }
    wrong.extend(pending.iter().map(|expression| format!("{expression} is pending, but not in values.tsv")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
