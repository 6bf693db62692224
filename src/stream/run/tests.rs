//! Whole jobs over topics in memory: the tutorials', restarts, bad records, and that batches do not matter.

use proptest::prelude::*;

use super::{
    JobId,
    job::{Job, Step, drive},
    memory::Memory,
};
use crate::{
    data::record::BatchBuilder,
    stream::{compile, state::Phase},
};

const PROCESSED: &str = include_str!("../../../fixtures/sql/processed.sql");
const DOUBLED: &str = include_str!("../../../fixtures/sql/doubled.sql");
const STATELESS: &str = include_str!("../../../fixtures/sql/stateless.sql");

fn open(sql: &str, memory: &Memory) -> Job {
    let mut jobs = compile(sql).unwrap();
    assert_eq!(jobs.len(), 1);
    let plan = jobs.remove(0);
    let saved = memory.state("job");
    Job::restore(JobId("job".to_owned()), plan, saved.as_deref(), memory).unwrap()
}

pub(super) fn run(sql: &str, memory: &Memory) -> (Job, Step) {
    let mut job = open(sql, memory);
    let step = drive(&mut job, memory, &mut memory.clone(), 1_000_000, &|| false).unwrap();
    (job, step)
}

#[test]
fn datagen_makes_values_that_their_types_hold() {
    let sql = "CREATE TABLE d (a DECIMAL(10, 2), b DECIMAL(3, 3), n DECIMAL(5, 1), c DATE, t TIME, g BINARY(2), e BYTES,
            v VARCHAR(3), s STRING) WITH ('connector'='datagen', 'number-of-rows'='20', 'fields.n.min'='-7',
            'fields.n.max'='-5', 'fields.e.length'='3');
        CREATE TABLE o (a BOOLEAN, b BOOLEAN, n BOOLEAN, v INT, s INT, c DATE, t TIME, g BYTES, e BYTES)
            WITH ('connector'='print');
        INSERT INTO o SELECT a BETWEEN 0 AND 100000000, b BETWEEN 0 AND 1, n BETWEEN -7 AND -5, CHAR_LENGTH(v),
            CHAR_LENGTH(s), c, t, g, e FROM d";
    let memory = Memory::default();
    let (job, _) = run(sql, &memory);
    assert_eq!(job.phase(), &Phase::Finished);
    let rows = memory.printed();
    assert_eq!(rows.len(), 20);
    for row in rows {
        let bytes = row.strip_prefix("+I[true, true, true, 3, 100, 1970-01-01, 00:16:40, [");
        let counts: Option<Vec<usize>> =
            bytes.map(|bytes| bytes.split("], [").map(|bytes| bytes.split(", ").count()).collect());
        assert_eq!(counts, Some(vec![2, 3]), "{row}");
    }
}

#[test]
fn the_seed_that_prefixes_every_message() {
    let memory = Memory::default();
    memory.produce("input_topic", 0, &["a", "b"]);
    memory.produce("input_topic", 0, &["c"]);
    let (job, step) = run(PROCESSED, &memory);
    assert_eq!(memory.values("output_topic"), ["processed_a", "processed_b", "processed_c"]);
    assert_eq!((step, job.phase()), (Step::Idle { wake_at_ms: None }, &Phase::Running));
    assert_eq!(job.plan().name, "insert-into_default_catalog.default_database.output_topic");
}

#[test]
fn the_seed_that_doubles_a_hundred_numbers() {
    let memory = Memory::default();
    let (job, step) = run(DOUBLED, &memory);
    let expected: Vec<String> = (0..100).map(|x| format!("+I[{}]", x * 2)).collect();
    assert_eq!(memory.printed(), expected);
    assert_eq!((step, job.phase()), (Step::Stopped, &Phase::Finished));
    // Finished stays finished.
    let (_, step) = run(DOUBLED, &memory);
    assert_eq!((step, memory.printed().len()), (Step::Stopped, 100));
}

#[test]
fn a_statement_set_filters_projects_and_unites() {
    let memory = Memory::default();
    memory.produce(
        "bids",
        0,
        &[
            r#"{"auction": 1, "price": 100, "bidder": "ann", "ts": "2020-01-01 00:00:01"}"#,
            r#"{"auction": 2, "price": 5, "bidder": null, "ts": "2020-01-01 00:00:02"}"#,
            r#"{"auction": 3, "price": 200, "bidder": "Bob", "ts": "2020-01-01 00:00:03"}"#,
        ],
    );
    run(STATELESS, &memory);
    assert_eq!(
        memory.values("dear"),
        [
            r#"{"auction":1,"euro":0.908,"bidder":"ANN","at":"2020-01-01 00:00:01"}"#,
            r#"{"auction":3,"euro":1.816,"bidder":"BOB","at":"2020-01-01 00:00:03"}"#
        ]
    );
    assert_eq!(memory.values("names"), ["ann", "ann@0", "Bob", "Bob@2"]);
}

#[test]
fn a_bad_record_stops_the_job_at_its_offset_and_keeps_what_came_before() {
    let memory = Memory::default();
    memory.produce(
        "bids",
        0,
        &[r#"{"auction": 1, "price": 100}"#, "nonsense", r#"{"auction": 2, "price": 100}"#],
    );
    let (mut job, step) = run(STATELESS, &memory);
    let Phase::Failed(failure) = job.phase().clone() else { panic!("{:?}", job.phase()) };
    assert_eq!((failure.topic.as_str(), failure.partition, failure.offset), ("bids", 0, 1));
    assert!(failure.reason.starts_with("Failed to deserialize JSON 'nonsense'."), "{}", failure.reason);
    assert_eq!((step, memory.values("dear").len()), (Step::Stopped, 1));
    // Resumed, it stops there again and repeats nothing.
    job.resume();
    drive(&mut job, &memory, &mut memory.clone(), 0, &|| false).unwrap();
    assert!(matches!(job.phase(), Phase::Failed(_)));
    assert_eq!(memory.values("dear").len(), 1);
}

#[test]
fn with_a_dlq_the_bad_record_goes_there_and_the_job_goes_on() {
    let memory = Memory::default();
    memory.produce("bids", 0, &["nonsense", r#"{"auction": 2, "price": 100}"#]);
    let sql = STATELESS.replace("EXECUTE", "-- @warren dlq=bids.dlq\nEXECUTE");
    let (job, _) = run(&sql, &memory);
    assert_eq!(job.phase(), &Phase::Running);
    assert_eq!((memory.values("bids.dlq"), memory.values("dear").len()), (vec!["nonsense".to_owned()], 1));
}

#[test]
fn a_row_that_fails_in_one_sink_leaves_nothing_in_the_other() {
    let sql =
        "CREATE TABLE src (x INT) WITH ('connector'='kafka','topic'='t','properties.bootstrap.servers'='x',
               'scan.startup.mode'='earliest-offset','format'='json');
               CREATE TABLE a (x INT) WITH ('connector'='print');
               CREATE TABLE b (x INT) WITH ('connector'='print');
               EXECUTE STATEMENT SET BEGIN
               INSERT INTO a SELECT x FROM src; INSERT INTO b SELECT 10 / x FROM src; END";
    let memory = Memory::default();
    memory.produce("t", 0, &[r#"{"x": 5}"#, r#"{"x": 0}"#]);
    let (job, _) = run(sql, &memory);
    assert_eq!(memory.printed(), ["+I[5]", "+I[2]"]);
    let Phase::Failed(failure) = job.phase() else { panic!() };
    assert_eq!((failure.offset, failure.reason.as_str()), (1, "/ by zero"));
}

#[test]
fn a_paused_job_reads_nothing_until_it_is_resumed() {
    let memory = Memory::default();
    let mut job = open(PROCESSED, &memory);
    job.pause();
    memory.produce("input_topic", 0, &["a"]);
    assert_eq!(drive(&mut job, &memory, &mut memory.clone(), 0, &|| false), Ok(Step::Stopped));
    assert_eq!(open(PROCESSED, &memory).phase(), &Phase::Paused);
    job.resume();
    drive(&mut job, &memory, &mut memory.clone(), 0, &|| false).unwrap();
    assert_eq!(memory.values("output_topic"), ["processed_a"]);
}

#[test]
fn keys_metadata_and_computed_columns() {
    let sql = "CREATE TABLE src (k STRING, v INT, p INT METADATA FROM 'partition' VIRTUAL, `offset` BIGINT METADATA VIRTUAL,
                 `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', tw AS v * 2, WATERMARK FOR `at` AS `at` - INTERVAL '1' SECOND)
               WITH ('connector'='kafka','topic'='t','properties.bootstrap.servers'='x','scan.startup.mode'='earliest-offset',
                 'key.format'='raw','key.fields'='k','value.format'='json','value.fields-include'='EXCEPT_KEY');
               CREATE TABLE out1 WITH_NOTHING (a STRING) WITH ('connector'='print')";
    assert!(compile(sql).is_err());
    let sql = sql.replace(
        "out1 WITH_NOTHING (a STRING)",
        "out1 (k STRING, tw INT, p INT, o BIGINT, `at` TIMESTAMP_LTZ(3))",
    ) + "; INSERT INTO out1 SELECT k, tw, p, `offset`, `at` FROM src WHERE v > 1";
    let memory = Memory::default();
    let mut builder = BatchBuilder::new();
    builder.push(5_000, Some(b"one".as_slice()), Some(br#"{"v": 1}"#.as_slice()), std::iter::empty());
    builder.push(6_000, Some(b"two".as_slice()), Some(br#"{"v": 2}"#.as_slice()), std::iter::empty());
    memory.append("t", 0, builder.build());
    let mut job = open(&sql, &memory);
    let Step::Commit(epoch) = job.epoch(&memory, 0, &|| false) else { panic!() };
    let lines: Vec<&str> = epoch.printed.iter().map(|p| p.line.as_str()).collect();
    assert_eq!(lines, ["+I[two, 4, 0, 1, 1970-01-01T00:00:06Z]"]);
    // The watermark is made before the filter.
    assert_eq!(epoch.watermarks.first().map(|(_, w)| *w), Some(5_000));
    assert_eq!(epoch.offsets, [("t".to_owned(), 0, 2)]);
}

#[test]
fn a_bounded_source_finishes_where_the_log_ended_at_its_start() {
    let sql = PROCESSED
        .replace("'scan.startup.mode'", "'scan.bounded.mode' = 'latest-offset', 'scan.startup.mode'");
    let memory = Memory::default();
    memory.produce("input_topic", 0, &["a", "b"]);
    let (job, _) = run(&sql, &memory);
    assert_eq!(job.phase(), &Phase::Finished);
    assert_eq!(memory.values("output_topic").len(), 2);
}

#[test]
fn a_topic_that_comes_later_is_read_from_its_start() {
    let sql = PROCESSED.replace("earliest-offset", "latest-offset");
    let memory = Memory::default();
    run(&sql, &memory);
    memory.produce("input_topic", 0, &["a"]);
    run(&sql, &memory);
    assert_eq!(memory.values("output_topic"), ["processed_a"]);
}

#[test]
fn group_offsets_without_a_group_fail_as_on_flink() {
    let sql = PROCESSED.replace("'scan.startup.mode' = 'earliest-offset',", "");
    let memory = Memory::default();
    memory.create("input_topic", 1);
    let (job, _) = run(&sql, &memory);
    let Phase::Failed(failure) = job.phase() else { panic!() };
    assert_eq!(failure.reason, "Undefined offset with no reset policy for partitions: [input_topic-0]");
}

#[test]
fn an_epoch_is_bounded_and_batches_are_read_on() {
    let long = "x".repeat(100_000);
    for (value, count, expected) in [("7", 20_000, vec![8_192, 8_192, 3_616]), (&long, 25, vec![11, 11, 3])] {
        let memory = Memory::default();
        memory.produce("input_topic", 0, &vec![value; count]);
        let mut job = open(PROCESSED, &memory);
        let mut sizes = Vec::new();
        while let Step::Commit(epoch) = job.epoch(&memory, 0, &|| false) {
            sizes.push(epoch.appends.iter().map(|(_, _, records)| records.len()).sum::<usize>());
        }
        assert_eq!(sizes, expected);
    }
}

const BY_THE_CLOCK: &str = "CREATE TABLE t (k STRING, pt AS PROCTIME()) WITH ('connector'='kafka','topic'='t',
      'properties.bootstrap.servers'='x','format'='json','scan.startup.mode'='earliest-offset');
    CREATE TABLE o (k STRING, ws TIMESTAMP(3), n BIGINT) WITH ('connector'='print');
    INSERT INTO o SELECT k, window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(pt), INTERVAL '10' SECOND))
    GROUP BY k, window_start, window_end";

fn at(job: &mut Job, memory: &Memory, now_ms: i64) -> Step {
    drive(job, memory, &mut memory.clone(), now_ms, &|| false).unwrap()
}

#[test]
fn windows_of_processing_time_close_by_the_clock_also_after_a_restart() {
    for restarts in [false, true] {
        let memory = Memory::default();
        let mut job = open(BY_THE_CLOCK, &memory);
        memory.produce("t", 0, &[r#"{"k":"a"}"#, r#"{"k":"b"}"#, r#"{"k":"a"}"#]);
        assert_eq!(at(&mut job, &memory, 3_000), Step::Idle { wake_at_ms: Some(10_000) });
        if restarts {
            job = open(BY_THE_CLOCK, &memory);
        }
        memory.produce("t", 0, &[r#"{"k":"a"}"#]);
        assert_eq!(at(&mut job, &memory, 9_999), Step::Idle { wake_at_ms: Some(10_000) });
        assert!(memory.printed().is_empty());
        at(&mut job, &memory, 10_000);
        assert_eq!(memory.printed(), ["+I[a, 1970-01-01T00:00, 3]", "+I[b, 1970-01-01T00:00, 1]"]);
        memory.produce("t", 0, &[r#"{"k":"b"}"#]);
        assert_eq!(at(&mut job, &memory, 12_000), Step::Idle { wake_at_ms: Some(20_000) });
        if restarts {
            job = open(BY_THE_CLOCK, &memory);
        }
        // Nobody looked when it was due: it closes late, and with what it had.
        at(&mut job, &memory, 31_000);
        assert_eq!(memory.printed().last().map(String::as_str), Some("+I[b, 1970-01-01T00:00:10, 1]"));
    }
}

#[test]
fn a_partition_that_was_left_out_stays_so_through_a_restart() {
    let sql = "CREATE TABLE t (v INT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts)
        WITH ('connector'='kafka','topic'='t','properties.bootstrap.servers'='x','format'='json',
          'scan.startup.mode'='earliest-offset','scan.watermark.idle-timeout'='5 s');
        CREATE TABLE o (n BIGINT) WITH ('connector'='print');
        INSERT INTO o SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))
        GROUP BY window_start, window_end";
    let memory = Memory::default();
    memory.create("t", 2);
    memory.produce("t", 0, &[r#"{"v":1,"ms":1000}"#]);
    let mut job = open(sql, &memory);
    assert_eq!(at(&mut job, &memory, 100_000), Step::Idle { wake_at_ms: Some(105_000) });
    // Both have been silent for five seconds.
    at(&mut job, &memory, 105_000);
    let mut job = open(sql, &memory);
    memory.produce("t", 0, &[r#"{"v":1,"ms":11000}"#]);
    at(&mut job, &memory, 105_001);
    assert_eq!(memory.printed(), ["+I[1]"], "nobody waits for partition 1");
    // A partition that had just been heard has its whole time again after a restart.
    let memory = Memory::default();
    memory.create("t", 2);
    memory.produce("t", 0, &[r#"{"v":1,"ms":1000}"#, r#"{"v":1,"ms":21000}"#]);
    memory.produce("t", 1, &[r#"{"v":1,"ms":2000}"#]);
    let mut job = open(sql, &memory);
    at(&mut job, &memory, 100_000);
    let mut job = open(sql, &memory);
    assert_eq!(at(&mut job, &memory, 200_000), Step::Idle { wake_at_ms: Some(205_000) });
    assert!(memory.printed().is_empty(), "partition 1 still holds the watermark");
}

#[test]
fn a_session_that_joins_others_is_still_there_after_a_restart() {
    let sql = "CREATE TABLE t (k STRING, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3),
          WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
        WITH ('connector'='kafka','topic'='t','properties.bootstrap.servers'='x','format'='json',
          'scan.startup.mode'='earliest-offset');
        CREATE TABLE o (k STRING, n BIGINT) WITH ('connector'='print');
        INSERT INTO o SELECT k, COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND))
        GROUP BY k, window_start, window_end";
    let memory = Memory::default();
    // The third lies between the others, and what they were is deleted under the key that it has now.
    for ms in [100_000, 105_000, 104_000, 200_000] {
        memory.produce("t", 0, &[&format!(r#"{{"k":"a","ms":{ms}}}"#)]);
        run(sql, &memory);
    }
    assert_eq!(memory.printed(), ["+I[a, 3]"]);
}

/// Records for two partitions, cut into batches in some way.
fn batches() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    (prop::collection::vec(any::<u8>(), 0..60), prop::collection::vec(1usize..7, 60))
}

fn fill(memory: &Memory, records: &[u8], cuts: &[usize]) {
    let mut rest = records;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        let values: Vec<String> =
            now.iter().map(|n| format!(r#"{{"auction": {n}, "price": {}}}"#, u32::from(*n) * 2)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        memory.produce("bids", 0, &values);
        rest = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, rng_seed: proptest::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_the_input_is_cut_into_batches_and_epochs_does_not_matter((records, cuts) in batches(), often in 1u32..5) {
        let (whole, cut) = (Memory::default(), Memory::default());
        fill(&whole, &records, &[1_000]);
        fill(&cut, &records, &cuts);
        run(STATELESS, &whole);
        // A clock that ends the epoch at every few looks.
        let looks = std::cell::Cell::new(0u32);
        let over = || { looks.set(looks.get() + 1); looks.get().is_multiple_of(often + 1) };
        let mut job = open(STATELESS, &cut);
        drive(&mut job, &cut, &mut cut.clone(), 1_000_000, &over).unwrap();
        prop_assert_eq!(whole.values("dear"), cut.values("dear"));
        prop_assert_eq!(whole.values("names"), cut.values("names"));
    }

    #[test]
    fn a_job_that_dies_at_any_commit_repeats_and_loses_nothing((records, cuts) in batches(), deaths in prop::collection::vec(0usize..4, 0..6)) {
        let (steady, dying) = (Memory::default(), Memory::default());
        fill(&steady, &records, &[1_000]);
        run(STATELESS, &steady);
        let mut deaths = deaths.into_iter();
        let mut rest = records.as_slice();
        let mut cuts = cuts.iter().cycle();
        loop {
            // Some input, then a run that may die, then a new job from what was committed.
            let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            fill(&dying, now, &[3]);
            rest = later;
            let death = deaths.next();
            dying.die_after(death);
            let mut job = open(STATELESS, &dying);
            let one_row = std::cell::Cell::new(false);
            let over = || one_row.replace(!one_row.get());
            let result = drive(&mut job, &dying, &mut dying.clone(), 1_000_000, &over);
            if result.is_ok() && rest.is_empty() && death.is_none() { break; }
        }
        let mut job = open(STATELESS, &dying);
        drive(&mut job, &dying, &mut dying.clone(), 1_000_000, &|| false).unwrap();
        prop_assert_eq!(steady.values("dear"), dying.values("dear"));
        prop_assert_eq!(steady.values("names"), dying.values("names"));
    }
}

#[test]
fn a_processing_time_window_is_a_day_of_the_sessions_zone() {
    const DAY: &str = "DESCRIPTOR(pt), INTERVAL '1' DAY";
    let memory = Memory::default();
    memory.produce("t", 0, &[r#"{"k":"a"}"#, r#"{"k":"b"}"#, r#"{"k":"a"}"#]);
    let sql = |columns: &str, query: &str| {
        format!(
            "SET 'table.local-time-zone' = 'Asia/Kolkata';
             CREATE TABLE t (k STRING, pt AS PROCTIME()) WITH ('connector'='kafka','topic'='t',
               'properties.bootstrap.servers'='x','format'='json','scan.startup.mode'='earliest-offset');
             CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}"
        )
    };
    let printed = |columns: &str, query: &str, times: &[i64]| {
        let before = memory.printed().len();
        let plan = compile(&sql(columns, query)).unwrap().remove(0);
        let mut job = Job::restore(JobId(format!("job {query}")), plan, None, &memory).unwrap();
        for now_ms in times {
            drive(&mut job, &memory, &mut memory.clone(), *now_ms, &|| false).unwrap();
        }
        memory.printed().split_off(before)
    };
    let counted = format!(
        "SELECT k, window_start, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE t, {DAY})) \
         GROUP BY k, window_start, window_end"
    );
    let columns = "k STRING, ws TIMESTAMP(3), we TIMESTAMP(3), c BIGINT";
    // Its midnight is half past six in the evening.
    let evening = 18 * 3_600_000 + 30 * 60_000;
    assert_eq!(printed(columns, &counted, &[0, evening - 1]), Vec::<String>::new());
    assert_eq!(
        printed(columns, &format!("{counted} "), &[0, evening]),
        ["+I[a, 1970-01-01T00:00, 1970-01-02T00:00, 2]", "+I[b, 1970-01-01T00:00, 1970-01-02T00:00, 1]"]
    );
    // Who reads the window's bounds besides groups its rows as they come, as on Flink.
    let latest = format!(
        "SELECT k, window_start, MAX(window_end), COUNT(*) FROM TABLE(TUMBLE(TABLE t, {DAY})) \
         GROUP BY k, window_start, window_end"
    );
    assert_eq!(
        printed(columns, &latest, &[0]),
        [
            "+I[a, 1970-01-01T00:00, 1970-01-02T00:00, 1]",
            "+I[b, 1970-01-01T00:00, 1970-01-02T00:00, 1]",
            "-U[a, 1970-01-01T00:00, 1970-01-02T00:00, 1]",
            "+U[a, 1970-01-01T00:00, 1970-01-02T00:00, 2]"
        ]
    );
    // Without an aggregate the rows come out at once; those of a session when it is over.
    let columns = "k STRING, ws TIMESTAMP(3), wt TIMESTAMP_LTZ(3)";
    let rows =
        format!("SELECT k, window_start, window_time FROM TABLE(TUMBLE(TABLE t, {DAY})) WHERE k = 'b'");
    assert_eq!(printed(columns, &rows, &[0]), ["+I[b, 1970-01-01T00:00, 1970-01-01T18:29:59.999Z]"]);
    let session = "SELECT k, window_start, window_time FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(pt), \
                   INTERVAL '1' MINUTE)) WHERE k = 'b'";
    assert_eq!(
        printed(columns, session, &[0, 60_000]),
        ["+I[b, 1970-01-01T05:30, 1970-01-01T00:00:59.999Z]"]
    );
}

/// Flink 2.2.1 shows the same of `file.modification-time`.
#[test]
fn a_records_time_as_timestamp_is_what_the_clocks_of_the_sessions_zone_show() {
    let memory = Memory::default();
    memory.produce("t", 0, &[r#"{"k":"a"}"#]);
    let sql = |columns: &str, to: &str, query: &str| {
        format!(
            "SET 'table.local-time-zone' = 'Asia/Kolkata';
             CREATE TABLE t (k STRING, ts TIMESTAMP(3) METADATA FROM 'timestamp', WATERMARK FOR ts AS ts) WITH (
               'connector'='kafka','topic'='t','properties.bootstrap.servers'='x','format'='json',
               'scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset');
             CREATE TABLE o ({columns}) WITH ({to}); INSERT INTO o {query}"
        )
    };
    let finished = |columns: &str, to: &str, query: &str| {
        let plan = compile(&sql(columns, to, query)).unwrap().remove(0);
        let mut job = Job::restore(JobId(format!("job {query}")), plan, None, &memory).unwrap();
        drive(&mut job, &memory, &mut memory.clone(), 1_000_000, &|| false).unwrap();
    };
    let print = "'connector'='print'";
    let shown =
        "SELECT k, ts, CAST(ts AS TIMESTAMP_LTZ(3)) FROM t WHERE ts > TIMESTAMP '1970-01-01 05:30:00'";
    finished("k STRING, ts TIMESTAMP(3), l TIMESTAMP_LTZ(3)", print, shown);
    let counted = "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' HOUR)) \
                   GROUP BY window_start, window_end";
    finished("ws TIMESTAMP(3), c BIGINT", print, counted);
    assert_eq!(
        memory.printed(),
        ["+I[a, 1970-01-01T05:30:01, 1970-01-01T00:00:01Z]", "+I[1970-01-01T05:00, 1]"]
    );
    // What is written as a record's time is the point in time again.
    let topic = "'connector'='kafka','topic'='o','properties.bootstrap.servers'='x','format'='json'";
    finished("k STRING, ts TIMESTAMP(3) METADATA FROM 'timestamp'", topic, "SELECT k, ts FROM t");
    let plan = compile(
        "CREATE TABLE o (k STRING, written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp') WITH ('connector'='kafka','topic'='o',
           'properties.bootstrap.servers'='x','format'='json','scan.startup.mode'='earliest-offset');
         CREATE TABLE p (l TIMESTAMP_LTZ(3)) WITH ('connector'='print'); INSERT INTO p SELECT written FROM o",
    );
    let mut job = Job::restore(JobId("again".to_owned()), plan.unwrap().remove(0), None, &memory).unwrap();
    drive(&mut job, &memory, &mut memory.clone(), 1_000_000, &|| false).unwrap();
    assert_eq!(memory.printed().last().map(String::as_str), Some("+I[1970-01-01T00:00:01Z]"));
}
