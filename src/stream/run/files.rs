//! Tables of files, against what Flink 2.2.1 reads and writes; and that a death at any commit leaves each row in one
//! file, once.

use super::{
    JobId,
    golden::finished,
    job::{Job, Step},
    memory::Memory,
};
use crate::stream::{compile, state::Phase};

const CSV: &str = "1,hello,1.5,true,2020-01-01 00:00:01,1;2;3\n2,\"a \"\"q\"\" b, c\",2,false,2020-01-01 00:00:02.5,\n\
                   4,\"multi\nline\",1e3,xyz,2020-01-01 00:00:03,\n-5,\"\",-0.0,true,2020-01-01 00:00:04.123456,\"1; 2\"\n\
                   7,a\"b,1.5,true,2020-01-01 00:00:04,1\r\n";

#[test]
fn a_csv_file_is_read_as_flink_reads_it() {
    let memory = Memory::default();
    memory.put_file("in/c.csv", CSV);
    let columns = "(a INT, s STRING, d DOUBLE, b BOOLEAN, ts TIMESTAMP(3), arr ARRAY<INT>)";
    let sql = format!(
        "CREATE TABLE c {columns} WITH ('connector'='filesystem','path'='in','format'='csv');
         CREATE TABLE o {columns} WITH ('connector'='print'); INSERT INTO o SELECT * FROM c"
    );
    assert_eq!(
        finished(&sql, &memory),
        [
            "+I[1, hello, 1.5, true, 2020-01-01T00:00:01, [1, 2, 3]]",
            "+I[2, a \"q\" b, c, 2.0, false, 2020-01-01T00:00:02.500, []]",
            "+I[4, multi\nline, 1000.0, false, 2020-01-01T00:00:03, []]",
            "+I[-5, , -0.0, true, 2020-01-01T00:00:04.123, [1, 2]]",
            "+I[7, a\"b, 1.5, true, 2020-01-01T00:00:04, [1]]",
        ]
    );
}

#[test]
fn a_csv_file_is_written_as_flink_writes_it() {
    let memory = Memory::default();
    memory.put_file(
        "/in/types.jsonl",
        concat!(
            r#"{"a":1,"s":"hello, \"w\"","d":1.5,"b":true,"ts":"2020-01-01 00:00:01","lt":"2020-01-01 00:00:01.5Z","#,
            r#""arr":[1,2,null],"de":0.0000001,"by":"AAE=","dt":"2020-01-01","ti":"01:02:03","r":{"x":1,"y":"q"}}"#,
            "\n{\"a\":2,\"s\":\"\",\"d\":100.0}\n\n{\"a\":3,\"s\":\"multi\\nline\",\"d\":1e10}\r\n",
            r#"{"a":4,"s":" lead; |semi","de":123.45,"arr":[],"r":{"x":null,"y":"a,b"}}"#,
            "\n{\"a\":5,\"s\":\"it's #\",\"de\":100}\n{\"s\":\"plain\"}"
        ),
    );
    let columns = "(a INT, s STRING, d DOUBLE, b BOOLEAN, ts TIMESTAMP(3), lt TIMESTAMP_LTZ(3), arr ARRAY<INT>, \
                   de DECIMAL(10,7), `by` BYTES, dt DATE, ti TIME, r ROW<x INT, y STRING>)";
    let written = |options: &str| {
        let sql = format!(
            "CREATE TABLE l {columns} WITH ('connector'='filesystem','path'='file:///in','format'='json');
             CREATE TABLE o {columns} WITH ('connector'='filesystem','path'='/out','format'='csv'{options});
             INSERT INTO o SELECT * FROM l"
        );
        let before = memory.files().len();
        finished(&sql, &memory);
        let files = memory.files();
        assert_eq!(files.len(), before + 1, "{files:?}");
        let (path, text) = files.into_iter().find(|(path, _)| path.starts_with("/out/")).unwrap();
        assert!(path.starts_with("/out/part-") && path.ends_with("-0-0"), "{path}");
        memory.put_file(&path.replace("/out/", "/seen/"), &text);
        memory.remove_file(&path);
        text
    };
    let expected = "1,\"hello, \"\"w\"\"\",1.5,true,\"2020-01-01 00:00:01\",\"2020-01-01 00:00:01.5Z\",1;2;,1E-7,AAE=,\
                    2020-01-01,01:02:03,1;q\n2,,100.0,,,,,,,,,\n3,\"multi\nline\",1.0E10,,,,,,,,,\n\
                    4,\" lead; |semi\",,,,,,123.45,,,,\";a,b\"\n5,\"it's #\",,,,,,1E+2,,,,\n,plain,,,,,,,,,,\n";
    assert_eq!(written(""), expected);
    let expected = "1|hello, \"w\"|1.5|true|2020-01-01 00:00:01|2020-01-01 00:00:01.5Z|1;2;n/a|1E-7|AAE=|2020-01-01|\
                    01:02:03|1;q\n2||100.0|n/a|n/a|n/a|n/a|n/a|n/a|n/a|n/a|n/a\n3|multi\nline|1.0E10|n/a|n/a|n/a|n/a|n/a|\
                    n/a|n/a|n/a|n/a\n4| lead; |semi|n/a|n/a|n/a|n/a||123.45|n/a|n/a|n/a|n/a;a,b\n\
                    5|it's #|n/a|n/a|n/a|n/a|n/a|1E+2|n/a|n/a|n/a|n/a\nn/a|plain|n/a|n/a|n/a|n/a|n/a|n/a|n/a|n/a|n/a|n/a\n";
    let options = ",'csv.null-literal'='n/a','csv.field-delimiter'='|','csv.disable-quote-character'='true'";
    assert_eq!(written(options), expected);
}

#[test]
fn a_folder_is_read_without_what_is_hidden_and_says_where_rows_come_from() {
    let memory = Memory::default();
    for (path, id) in
        [("d/b.json", 1), ("d/a.json", 2), ("d/sub/c.json", 3), ("d/.hidden", 4), ("d/_under", 5)]
    {
        memory.put_file(path, &format!("{{\"id\":{id}}}\n"));
    }
    let sql = "CREATE TABLE c (id INT, n STRING METADATA FROM 'file.name' VIRTUAL,
                 p STRING METADATA FROM 'file.path' VIRTUAL, z BIGINT METADATA FROM 'file.size' VIRTUAL,
                 m TIMESTAMP_LTZ(3) METADATA FROM 'file.modification-time' VIRTUAL)
               WITH ('connector'='filesystem','path'='d','format'='json');
               CREATE TABLE o (id INT, n STRING, p STRING, z BIGINT, m TIMESTAMP_LTZ(3)) WITH ('connector'='print');
               INSERT INTO o SELECT * FROM c";
    assert_eq!(
        finished(sql, &memory),
        [
            "+I[2, a.json, d/a.json, 9, 1970-01-01T00:00:01Z]",
            "+I[1, b.json, d/b.json, 9, 1970-01-01T00:00:01Z]",
            "+I[3, c.json, d/sub/c.json, 9, 1970-01-01T00:00:01Z]",
        ]
    );
}

const COPY: &str =
    "CREATE TABLE i (v STRING) WITH ('connector'='filesystem','path'='in','format'='raw'__MORE__);
    CREATE TABLE o (v STRING) WITH ('connector'='filesystem','path'='out','format'='raw',
      'sink.rolling-policy.file-size'='8 b');
    INSERT INTO o SELECT v FROM i";

fn open(sql: &str, memory: &Memory) -> Job {
    let plan = compile(sql).unwrap().remove(0);
    Job::restore(JobId("job".to_owned()), plan, memory.state("job").as_deref(), memory).unwrap()
}

/// What is in the visible files of the output, one after the other.
fn output(memory: &Memory) -> String {
    let number = |path: &str| path.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
    let mut files: Vec<_> = memory
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("out/part-"))
        .map(|(path, text)| (number(&path), text))
        .collect();
    files.sort();
    files.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn each_row_is_in_one_file_once_wherever_the_job_dies() {
    let text: String = (0..40).map(|n| format!("row {n}\n")).collect();
    for (rows, deaths) in [(1, 0), (1, 1), (1, 3), (2, 2), (3, 1), (7, 2)] {
        let memory = Memory::default();
        memory.put_file("in/a", &text);
        let sql = COPY.replace("__MORE__", "");
        let mut job = open(&sql, &memory);
        let mut left = deaths;
        while *job.phase() == Phase::Running {
            let seen = std::cell::Cell::new(0);
            let over = || {
                seen.set(seen.get() + 1);
                seen.get() > rows
            };
            if let Step::Commit(epoch) = job.epoch(&memory, 1_000, &over) {
                // Dies after the files were written, every few epochs.
                memory.die_after((left == 0 && deaths > 0).then_some(0));
                let died = super::Commit::commit(&mut memory.clone(), *epoch).is_err();
                left = if left == 0 { deaths } else { left - 1 };
                memory.die_after(None);
                if died {
                    job = open(&sql, &memory);
                }
            }
        }
        assert_eq!(output(&memory), text, "{rows} rows, {deaths} deaths");
        assert!(!memory.files().iter().any(|(path, _)| path.contains("inprogress")), "{:?}", memory.files());
    }
}

#[test]
fn a_file_that_is_done_but_not_published_is_published_after_a_restart() {
    let memory = Memory::default();
    memory.put_file("in/a", "one\ntwo\n");
    let sql = COPY.replace("__MORE__", "");
    let mut job = open(&sql, &memory);
    while let Step::Commit(mut epoch) = job.epoch(&memory, 1_000, &|| false) {
        // Killed between the commit and the renaming.
        epoch.files.iter_mut().for_each(|files| files.publish.clear());
        super::Commit::commit(&mut memory.clone(), *epoch).unwrap();
    }
    assert_eq!(output(&memory), "");
    let mut job = open(&sql, &memory);
    while let Step::Commit(epoch) = job.epoch(&memory, 1_000, &|| false) {
        super::Commit::commit(&mut memory.clone(), *epoch).unwrap();
    }
    assert_eq!(output(&memory), "one\ntwo\n");
}

#[test]
fn with_an_interval_new_files_are_found_and_old_ones_are_done_in_time() {
    let memory = Memory::default();
    memory.put_file("in/a", "one\n");
    let sql = COPY
        .replace("__MORE__", ",'source.monitor-interval'='10 s'")
        .replace("'sink.rolling-policy.file-size'='8 b'", "'sink.rolling-policy.rollover-interval'='15 s'");
    let mut job = open(&sql, &memory);
    let run = |job: &mut Job, now_ms: i64| {
        super::job::drive(job, &memory, &mut memory.clone(), now_ms, &|| false).unwrap()
    };
    assert_eq!(run(&mut job, 0), Step::Idle { wake_at_ms: Some(10_000) });
    memory.put_file("in/b", "two\n");
    assert_eq!(run(&mut job, 5_000), Step::Idle { wake_at_ms: Some(10_000) });
    assert_eq!((output(&memory).as_str(), job.rows().0), ("", 1));
    assert_eq!(run(&mut job, 10_000), Step::Idle { wake_at_ms: Some(15_000) });
    assert_eq!((output(&memory).as_str(), job.rows().0), ("", 2));
    // The first row is old enough now.
    assert_eq!(run(&mut job, 15_000), Step::Idle { wake_at_ms: Some(20_000) });
    assert_eq!(output(&memory), "one\ntwo\n");
    let mut job = open(&sql, &memory);
    memory.put_file("in/c", "three\n");
    assert_eq!(run(&mut job, 40_000), Step::Idle { wake_at_ms: Some(50_000) });
    assert_eq!(job.rows().0, 1, "files that have been read are not read again");
}

const BY_MINUTE: &str = "CREATE TABLE i (id INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
      WITH ('connector'='filesystem','path'='in','format'='json','source.monitor-interval'='10 s');
    CREATE TABLE o (id INT, d STRING, hm STRING) PARTITIONED BY (d, hm) WITH ('connector'='filesystem','path'='out',
      'format'='csv','sink.partition-commit.policy.kind'='success-file','sink.partition-commit.delay'='1 min',
      'sink.partition-commit.trigger'='partition-time','partition.time-extractor.timestamp-pattern'='$d $hm:00');
    INSERT INTO o SELECT id, DATE_FORMAT(ts, 'yyyy-MM-dd'), DATE_FORMAT(ts, 'HH:mm') FROM i";

#[test]
fn a_partition_is_whole_when_the_watermark_has_passed_it() {
    let memory = Memory::default();
    let row = |id: i32, time: &str| format!("{{\"id\":{id},\"ts\":\"2020-01-01 {time}\"}}\n");
    let run = |now_ms: i64| {
        let mut job = open(BY_MINUTE, &memory);
        super::job::drive(&mut job, &memory, &mut memory.clone(), now_ms, &|| false).unwrap();
    };
    let seen = || -> Vec<(String, String)> {
        let visible = memory.files().into_iter().filter(|(path, _)| !path.contains("/."));
        let below = |(path, text): (String, String)| {
            let path = path.strip_prefix("out/d=2020-01-01/")?;
            Some((path.split("-0-").next()?.split("/part").next()?.to_owned(), text))
        };
        visible.filter_map(below).collect()
    };
    let pair = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    memory.put_file("in/a", &(row(1, "00:00:10") + &row(2, "00:01:00")));
    run(0);
    assert_eq!(seen(), []);
    memory.put_file("in/b", &(row(3, "00:00:20") + &row(4, "00:01:30")));
    run(10_000);
    assert_eq!(seen(), [pair("hm=00%3A00/_SUCCESS", ""), pair("hm=00%3A00", "1\n3\n")]);
    // What is late makes another file of it.
    memory.put_file("in/c", &(row(5, "00:00:30") + &row(6, "00:03:00")));
    run(20_000);
    assert_eq!(
        seen(),
        [
            pair("hm=00%3A00/_SUCCESS", ""),
            pair("hm=00%3A00", "1\n3\n"),
            pair("hm=00%3A00", "5\n"),
            pair("hm=00%3A01/_SUCCESS", ""),
            pair("hm=00%3A01", "2\n4\n"),
        ]
    );
    let read = "CREATE TABLE c (d STRING, id INT, hm STRING) PARTITIONED BY (d, hm)
                  WITH ('connector'='filesystem','path'='out','format'='csv');
                CREATE TABLE o (d STRING, id INT, hm STRING) WITH ('connector'='print'); INSERT INTO o SELECT * FROM c";
    let mut rows = finished(read, &memory);
    rows.sort();
    let expected = ["1, 00:00", "2, 00:01", "3, 00:00", "4, 00:01", "5, 00:00"];
    assert_eq!(rows, expected.map(|row| format!("+I[2020-01-01, {row}]")));
}
