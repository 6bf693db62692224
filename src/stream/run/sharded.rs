//! Jobs of several shards where they go another way than those of one: bad records, late ones, the clock, restarts.

use super::{
    JobId,
    job::{Job, drive},
    memory::Memory,
};
use crate::stream::{compile, state::Phase};

/// The job as it is in the store, in so many shards.
fn open(sql: &str, memory: &Memory, shards: usize) -> Job {
    let sql = format!("SET 'parallelism.default' = '{shards}';\n{sql}");
    let plan = compile(&sql).unwrap_or_else(|e| panic!("{sql}\n{e}")).remove(0);
    assert_eq!(plan.parallelism, shards);
    let saved = memory.state("job");
    Job::restore(JobId("job".to_owned()), plan, saved.as_deref(), memory).unwrap()
}

fn run(job: &mut Job, memory: &Memory, now_ms: i64) {
    drive(job, memory, &mut memory.clone(), now_ms, &|| false).unwrap();
}

const TABLES: &str = "
    CREATE TABLE src (k STRING, x INT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3), pt AS PROCTIME(), WATERMARK FOR ts AS ts)
      WITH ('connector'='kafka','topic'='t','properties.bootstrap.servers'='x','scan.startup.mode'='earliest-offset',
            'scan.watermark.idle-timeout'='5 s','format'='json');
    CREATE TABLE a (x INT) WITH ('connector'='print');
    CREATE TABLE b (k STRING, n BIGINT) WITH ('connector'='print');\n";

const INPUT: &[&str] = &[
    r#"{"k":"a","x":1,"ms":1000}"#,
    r#"{"k":"b","x":2,"ms":2000}"#,
    "nonsense",
    r#"{"k":"a","x":0,"ms":3000}"#,
    r#"{"k":"c","x":4,"ms":4000}"#,
    r#"{"k":"b","x":5,"ms":5000}"#,
    r#"{"k":"a","x":5,"ms":6000}"#,
];

/// A stateless sink, and one that counts by key; the first fails where x is 0.
const INSERTS: &str = "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 20 / x FROM src;
    INSERT INTO b SELECT k, COUNT(*) FROM src GROUP BY k; END";

#[test]
fn a_bad_record_stops_the_job_at_its_offset_and_what_came_before_is_kept() {
    for shards in 2..4 {
        let memory = Memory::default();
        memory.produce("t", 0, INPUT);
        let sql = format!("{TABLES}{INSERTS}");
        let mut job = open(&sql, &memory, shards);
        for _ in 0..2 {
            run(&mut job, &memory, 0);
            let Phase::Failed(failure) = job.phase() else { panic!("{:?}", job.phase()) };
            assert_eq!((failure.topic.as_str(), failure.offset), ("t", 2));
            assert_eq!(memory.printed(), ["+I[20]", "+I[a, 1]", "+I[10]", "+I[b, 1]"]);
            // Resumed, it stops there again and repeats nothing; so does one with another number of shards.
            job = open(&sql, &memory, shards + 1);
            job.resume();
        }
    }
}

#[test]
fn with_a_dlq_bad_records_go_there_and_leave_nothing_behind() {
    for shards in 1..4 {
        let memory = Memory::default();
        memory.produce("t", 0, INPUT);
        let mut job = open(&format!("{TABLES}-- @warren dlq=bad\n{INSERTS}"), &memory, shards);
        run(&mut job, &memory, 0);
        assert_eq!(job.phase(), &Phase::Running);
        assert_eq!(memory.values("bad"), ["nonsense", INPUT[3]], "{shards}");
        let expected = [
            "+I[20]", "+I[a, 1]", "+I[10]", "+I[b, 1]", "+I[5]", "+I[c, 1]", "+I[4]", "-U[b, 1]", "+U[b, 2]",
            "+I[4]", "-U[a, 1]", "+U[a, 2]",
        ];
        assert_eq!(memory.printed(), expected, "{shards}");
        assert_eq!(job.operators().iter().map(|o| o.counts.failed).sum::<u64>(), 2, "{shards}");
        assert_eq!(job.rows(), (7, 12));
    }
}

const WINDOWS: &str =
    "INSERT INTO b SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(ts), INTERVAL '10' SECOND))
    GROUP BY k, window_start, window_end";

#[test]
fn late_records_go_to_their_topic_and_windows_survive_a_change_of_shards() {
    for (first, second) in [(1, 1), (2, 2), (1, 3), (3, 1), (2, 3)] {
        let memory = Memory::default();
        let sql = format!("{TABLES}-- @warren late-topic=late\n{WINDOWS}");
        let keys = ["a", "b", "c", "d", "e"];
        let at = |ms: i64| keys.map(|k| format!(r#"{{"k":"{k}","x":1,"ms":{ms}}}"#));
        let produce = |ms: i64| memory.produce("t", 0, &at(ms).each_ref().map(String::as_str));
        produce(1_000);
        produce(9_000);
        let mut job = open(&sql, &memory, first);
        run(&mut job, &memory, 0);
        assert!(memory.printed().is_empty());
        let mut job = open(&sql, &memory, second);
        produce(8_000);
        produce(11_000);
        produce(7_000);
        run(&mut job, &memory, 0);
        let mut printed = memory.printed();
        printed.sort();
        assert_eq!(printed, keys.map(|k| format!("+I[{k}, 3]")), "{first} {second}");
        assert_eq!(memory.values("late"), at(7_000), "{first} {second}");
        let late = |job: &Job| job.operators().iter().map(|o| o.counts.late).sum::<u64>();
        assert_eq!(late(&job), 5);
    }
}

#[test]
fn the_clock_closes_windows_in_all_shards_and_an_idle_partition_is_left_out() {
    let by_clock = WINDOWS.replace("DESCRIPTOR(ts)", "DESCRIPTOR(pt)");
    let memory = Memory::default();
    let sql = format!("{TABLES}{by_clock}");
    memory.produce("t", 0, &[INPUT[0], INPUT[1], INPUT[4]]);
    run(&mut open(&sql, &memory, 2), &memory, 3_000);
    let mut job = open(&sql, &memory, 3);
    run(&mut job, &memory, 9_999);
    assert!(memory.printed().is_empty());
    run(&mut job, &memory, 10_000);
    let mut printed = memory.printed();
    printed.sort();
    assert_eq!(printed, ["+I[a, 1]", "+I[b, 1]", "+I[c, 1]"]);

    let memory = Memory::default();
    memory.create("t", 2);
    memory.produce("t", 0, &[INPUT[0], r#"{"k":"z","x":1,"ms":10000}"#]);
    let mut job = open(&format!("{TABLES}{WINDOWS}"), &memory, 2);
    run(&mut job, &memory, 100_000);
    assert!(memory.printed().is_empty(), "partition 1 holds the watermark");
    run(&mut job, &memory, 105_000);
    memory.produce("t", 0, &[r#"{"k":"z","x":1,"ms":11000}"#]);
    run(&mut job, &memory, 105_001);
    assert_eq!(memory.printed(), ["+I[a, 1]"], "nobody waits for it any more");
}

#[test]
fn an_epoch_that_is_made_again_and_ends_earlier_is_not_the_end_of_the_input() {
    let bounded = TABLES.replace("'format'='json'", "'scan.bounded.mode'='latest-offset','format'='json'");
    let sql = format!("{bounded}-- @warren dlq=bad\n{INSERTS}");
    for ends_at in 6..20 {
        let memory = Memory::default();
        memory.produce("t", 0, INPUT);
        let mut job = open(&sql, &memory, 2);
        // The first time there is time enough for all of it.
        let looks = std::cell::Cell::new(0);
        let over = || {
            looks.set(looks.get() + 1);
            (ends_at..ends_at + 3).contains(&looks.get())
        };
        drive(&mut job, &memory, &mut memory.clone(), 0, &over).unwrap();
        assert_eq!(job.phase(), &Phase::Finished);
        assert_eq!((memory.values("bad").len(), memory.printed().len()), (2, 12), "{ends_at}");
    }
}
