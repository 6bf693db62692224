//! Expressions over constants, against what Flink 2.2.1 makes of them (`fixtures/streams/functions`): the type, the value,
//! or that there is none. Where we do not follow it, `differs.tsv` has what is here instead, and why.

use std::{collections::BTreeMap, fs, path::Path};

use super::{golden::finished, memory::Memory};

/// The expression's type as Flink writes it, and its value as text by the language's own cast; or why there is none.
fn evaluated(expression: &str) -> Result<(String, String), String> {
    let memory = Memory::default();
    memory.produce("one", 0, &["{\"x\":1}"]);
    let sql = format!(
        "CREATE TABLE single (x INT) WITH ('connector'='kafka','topic'='one','properties.bootstrap.servers'='x',\
         'format'='json','scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset');\n\
         CREATE TABLE o (v STRING) WITH ('connector'='print');\n\
         INSERT INTO o SELECT CAST(v AS STRING) FROM (SELECT {expression} AS v FROM single);"
    );
    crate::stream::compile(&sql).map_err(|e| e.to_string())?;
    let data_type = crate::stream::plan::type_of(expression)?;
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| finished(&sql, &memory)));
    let printed = run.map_err(|_| "it does not run".to_owned())?;
    let row = printed.first().ok_or("it printed nothing")?;
    let value = row.strip_prefix("+I[").and_then(|row| row.strip_suffix(']')).unwrap_or(row);
    let escaped =
        value.chars().map(|c| if c < ' ' { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() });
    Ok((serializable(&data_type), escaped.collect()))
}

/// Flink's long names of types.
fn serializable(data_type: &str) -> String {
    let long = data_type.replace("STRING", "VARCHAR(2147483647)").replace("BYTES", "VARBINARY(2147483647)");
    let Some((before, after)) = long.split_once("TIMESTAMP_LTZ(") else { return long };
    let (digits, rest) = after.split_once(')').unwrap_or((after, ""));
    format!("{before}TIMESTAMP({digits}) WITH LOCAL TIME ZONE{rest}")
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/functions");
    fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn every_expression_has_the_type_and_the_value_that_flink_gives_it() {
    let (values, differs) = (read("values.tsv"), read("differs.tsv"));
    let mut differs: BTreeMap<&str, &str> = differs
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| {
            let [expression, ours, why] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(!why.is_empty(), "{line}");
            (expression, ours)
        })
        .collect();
    let mut wrong = Vec::new();
    for line in values.lines() {
        let mut fields = line.splitn(3, '\t');
        let (expression, data_type) = (fields.next().unwrap(), fields.next().unwrap());
        let value = fields.next().unwrap_or_default();
        let found = evaluated(expression);
        let as_flink = match &found {
            Ok((found_type, found)) => found_type == data_type && found == value,
            Err(_) => data_type == "!",
        };
        let shown = found.as_ref().map_or("!", |(_, value)| value);
        match differs.remove(expression) {
            None if as_flink => {}
            None => wrong.push(format!("{expression} is {found:?}, with Flink {data_type} {value}")),
            Some(_) if as_flink => {
                wrong.push(format!("{expression} is as Flink has it: take it off differs.tsv"))
            }
            Some(ours) if ours == shown => {}
            Some(ours) => wrong.push(format!("{expression} is {found:?}, with differs.tsv {ours}")),
        }
    }
    wrong.extend(differs.keys().map(|expression| format!("{expression} differs, but is not in values.tsv")));
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
