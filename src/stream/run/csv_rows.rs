//! Messages in `csv`, read and written again, against what the format of Flink's Kafka connector makes of them
//! (`fixtures/streams/csv`, made by `compat-tests/flink`).

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    JobId,
    job::{Job, drive},
    memory::Memory,
};
use crate::stream::{compile, state::Phase};

/// The row as `print` shows it, `-` for none or `!` for a failure; and what is written of it.
fn outcome(options: &BTreeMap<String, String>, columns: &str, message: &str) -> (String, String) {
    let memory = Memory::default();
    memory.produce("in", 0, &[message]);
    let given: String =
        options.iter().map(|(key, value)| format!(",'{key}'='{}'", value.replace('\'', "''"))).collect();
    let nullable = columns.replace(" NOT NULL", "");
    let kafka = "'connector'='kafka','properties.bootstrap.servers'='x','format'='csv'";
    let bounded = "'scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset'";
    let sql = format!(
        "CREATE TABLE i ({columns}) WITH ({kafka},'topic'='in',{bounded}{given});
         CREATE TABLE p ({nullable}) WITH ('connector'='print');
         CREATE TABLE k ({nullable}) WITH ({kafka},'topic'='out'{given});
         EXECUTE STATEMENT SET BEGIN INSERT INTO p SELECT * FROM i; INSERT INTO k SELECT * FROM i; END;"
    );
    let mut jobs = match compile(&sql) {
        Ok(jobs) => jobs,
        Err(e) => return (format!("refused: {e}"), String::new()),
    };
    let mut job = Job::restore(JobId("csv".to_owned()), jobs.remove(0), None, &memory).unwrap();
    drive(&mut job, &memory, &mut memory.clone(), 0, &|| false).unwrap();
    if *job.phase() != Phase::Finished {
        return ("!".to_owned(), String::new());
    }
    match (memory.printed().first(), memory.values("out").first()) {
        (Some(row), Some(written)) => (row.clone(), written.clone()),
        _ => ("-".to_owned(), String::new()),
    }
}

#[test]
fn a_message_in_csv_is_read_and_written_as_flink_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/csv");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (values, differs) = (read("values.tsv"), read("differs.tsv"));
    let mut differs: BTreeMap<&str, &str> =
        differs.lines().filter(|line| !line.starts_with("# ")).filter_map(|l| l.rsplit_once('\t')).collect();
    let text = |json: &str| match json {
        "" | "!" | "-" => json.to_owned(),
        json => serde_json::from_str(json).unwrap(),
    };
    let mut wrong = Vec::new();
    for line in values.lines() {
        let [options, columns, message, row, written] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let found = outcome(&serde_json::from_str(options).unwrap(), columns, &text(message));
        let as_flink = found == (text(row), text(written));
        let case = line.rsplitn(3, '\t').nth(2).unwrap_or(line);
        if differs.remove(case).is_some() == as_flink {
            wrong.push(format!("{case} is {found:?}, with Flink {row} {written}"));
        }
    }
    wrong.extend(differs.keys().map(|case| format!("{case} differs, but is not in values.tsv")));
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
