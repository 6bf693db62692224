//! The tutorials' jobs and one of each step: the plan is the one that the SQL makes, and so is the result.

use std::time::Duration;

use super::*;
use crate::stream::{
    compile,
    plan::types::Type,
    run::{
        JobId,
        job::{Job as Running, drive},
        memory::Memory,
    },
    state::Phase,
};

const PROCESSED: &str = include_str!("../../../fixtures/sql/processed.sql");
const DOUBLED: &str = include_str!("../../../fixtures/sql/doubled.sql");
const WINDOWS: &str = include_str!("../../../fixtures/sql/windows.sql");

/// Both plans, when they do not do the same: fingerprints say so.
fn differs(job: &Job, sql: &str) -> Option<String> {
    let theirs = compile(sql).unwrap().remove(0);
    let ours = job.plan().unwrap();
    let shown = |plan: &JobPlan| plan::explain::explain(plan);
    (ours.fingerprint() != theirs.fingerprint()).then(|| format!("{}\n{}", shown(&ours), shown(&theirs)))
}

fn open(job: &Job, memory: &Memory) -> Running {
    Running::restore(JobId("job".to_owned()), job.plan().unwrap(), memory.state("job").as_deref(), memory)
        .unwrap()
}

fn run(job: &Job, memory: &Memory) -> Running {
    let mut running = open(job, memory);
    drive(&mut running, memory, &mut memory.clone(), 1_000_000, &|| false).unwrap();
    running
}

fn processed() -> Job {
    let input =
        raw_topic("input_topic").column("v", Type::STRING).option("properties.group.id", "flink-group");
    let processed = input.stream().map([lit("processed_").concat(col("v")).alias("v")]);
    Job::new("processed").insert(&processed, raw_topic("output_topic"))
}

fn doubled() -> Job {
    let doubled = numbers("src", "x", 0..=99).stream().map([(col("x") * 2).alias("y")]);
    Job::new("doubled").insert(&doubled, print("outp"))
}

fn windows() -> Job {
    let nums = json_topic("nums").column("x", Type::BigInt).timestamp("rt").watermark("rt", Duration::ZERO);
    let windowed = nums.stream().window("rt", Window::Tumble { size: Duration::from_secs(10) }).rows();
    let times =
        |factor: i64| windowed.map([col("window_start"), col("window_end"), (col("x") * factor).alias("x")]);
    let job = Job::new("windows").insert(&times(2), json_topic("doubled"));
    job.insert(&times(3), json_topic("tripled"))
}

#[test]
fn the_tutorials_jobs_are_the_jobs_of_their_sql_files() {
    assert_eq!(differs(&processed(), PROCESSED), None);
    assert_eq!(differs(&doubled(), DOUBLED), None);
    assert_eq!(differs(&windows(), WINDOWS), None);
}

#[test]
fn every_message_is_prefixed() {
    let memory = Memory::default();
    memory.produce("input_topic", 0, &["a", "b"]);
    run(&processed(), &memory);
    assert_eq!(memory.values("output_topic"), ["processed_a", "processed_b"]);
}

#[test]
fn a_hundred_numbers_are_doubled_and_printed() {
    let memory = Memory::default();
    let job = run(&doubled(), &memory);
    let expected: Vec<String> = (0..100).map(|x| format!("+I[{}]", x * 2)).collect();
    assert_eq!((memory.printed(), job.phase()), (expected, &Phase::Finished));
}

#[test]
fn numbers_are_doubled_and_tripled_in_their_windows() {
    let memory = Memory::default();
    memory.produce("nums", 0, &[r#"{"x": 1}"#, r#"{"x": 2}"#]);
    run(&windows(), &memory);
    let bounds = r#""window_start":"1970-01-01 00:00:00","window_end":"1970-01-01 00:00:10""#;
    let row = |x: i64| format!("{{{bounds},\"x\":{x}}}");
    assert_eq!(memory.values("doubled"), [row(2), row(4)]);
    assert_eq!(memory.values("tripled"), [row(3), row(6)]);
}

#[test]
fn a_job_from_rust_is_exactly_once_through_deaths_of_the_store() {
    let memory = Memory::default();
    let sums = || {
        let clicks = json_topic("clicks").column("k", Type::STRING).column("at", Type::BigInt);
        let time = call("TO_TIMESTAMP_LTZ", [col("at"), lit(3)]);
        let clicks = clicks.computed("ts", &time).watermark("ts", Duration::ZERO).stream();
        let windowed = clicks.window("ts", Window::Tumble { size: Duration::from_secs(10) });
        let sums = windowed.key_by([col("k")]).aggregate([count().alias("n")]);
        Job::new("sums").insert(&sums, json_topic("sums"))
    };
    let rows: Vec<String> = (0..60).map(|i| format!("{{\"k\": \"a\", \"at\": {}}}", i * 1_000)).collect();
    for row in &rows {
        memory.produce("clicks", 0, &[row]);
    }
    for commits in 0..rows.len() {
        memory.die_after(Some(commits % 3));
        let mut job = open(&sums(), &memory);
        // One row for each epoch, so that it dies in the middle of windows.
        let _ = drive(&mut job, &memory, &mut memory.clone(), 0, &|| true);
    }
    memory.die_after(None);
    run(&sums(), &memory);
    let row = |at: i64| {
        format!(
            "{{\"k\":\"a\",\"window_start\":\"1970-01-01 00:00:{at:02}\",\"window_end\":\"1970-01-01 00:00:{:02}\",\"n\":10}}",
            at + 10
        )
    };
    assert_eq!(memory.values("sums"), [row(0), row(10), row(20), row(30), row(40)]);
}

/// A source with a key, a value and a time.
fn timed(topic: &str) -> Table {
    json_topic(topic)
        .column("id", Type::BigInt)
        .column("price", Type::BigInt)
        .timestamp("at")
        .watermark("at", Duration::from_millis(1_500))
}

const TIMED: &str = "(id BIGINT, price BIGINT, `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
    WATERMARK FOR `at` AS `at` - INTERVAL '1.5' SECOND) WITH ('connector' = 'kafka', 'format' = 'json',
    'properties.bootstrap.servers' = 'x', 'scan.startup.mode' = 'earliest-offset', 'topic' = ";

/// The job that a query over tables `a` and `b` makes, into a table `out` that `declared` says.
fn query(query: &str, declared: &str) -> String {
    format!(
        "CREATE TABLE a {TIMED}'a'); CREATE TABLE b {TIMED}'b');
         CREATE TABLE `out` ({declared}) WITH ('connector' = 'print'); INSERT INTO `out` {query}"
    )
}

fn job(stream: &Stream) -> Job {
    Job::new("job").insert(stream, print("out"))
}

#[test]
fn each_step_is_what_sql_says() {
    let a = timed("a").stream();
    let b = timed("b").stream();
    let minute = Duration::from_secs(60);
    let rows: [(Stream, &str, &str); 9] = [
        (
            a.filter(col("price").gt(100) & !col("id").eq(7)).map([col("id"), col("price")]),
            "SELECT id, price FROM a WHERE price > 100 AND NOT (id = 7)",
            "id BIGINT, price BIGINT",
        ),
        (
            a.map([col("id")]).union_all(&b.map([col("id")])),
            "SELECT id FROM a UNION ALL SELECT id FROM b",
            "id BIGINT",
        ),
        (
            a.window("at", Window::Hop { slide: minute, size: 2 * minute }).key_by([col("id")]).aggregate([
                count().alias("n"),
                col("price").max().alias("m"),
                col("price").sum().only(col("price").gt(0)).alias("t"),
            ]),
            "SELECT id, window_start, window_end, COUNT(*), MAX(price), SUM(price) FILTER (WHERE price > 0)
             FROM TABLE(HOP(TABLE a, DESCRIPTOR(`at`), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE))
             GROUP BY id, window_start, window_end",
            "id BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT, m BIGINT, t BIGINT",
        ),
        (
            a.window("at", Window::Cumulate { step: minute, size: 60 * minute })
                .aggregate([col("id").count_distinct().alias("n")]),
            "SELECT window_start, window_end, COUNT(DISTINCT id)
             FROM TABLE(CUMULATE(TABLE a, DESCRIPTOR(`at`), INTERVAL '1' MINUTE, INTERVAL '1' HOUR))
             GROUP BY window_start, window_end",
            "window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT",
        ),
        (
            a.window("at", Window::Session { gap: minute })
                .key_by([col("id")])
                .aggregate([count().alias("n")]),
            "SELECT id, window_start, window_end, COUNT(*)
             FROM TABLE(SESSION(TABLE a PARTITION BY id, DESCRIPTOR(`at`), INTERVAL '1' MINUTE))
             GROUP BY id, window_start, window_end",
            "id BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT",
        ),
        (
            a.key_by([col("id")]).aggregate([col("price").avg().alias("x"), col("price").min().alias("y")]),
            "SELECT id, AVG(price), MIN(price) FROM a GROUP BY id",
            "id BIGINT, x BIGINT, y BIGINT",
        ),
        (
            a.join("a", JoinKind::Left, &b, "b", col("a.id").eq(col("b.id")))
                .map([col("a.id"), col("b.price")]),
            "SELECT a.id, b.price FROM a LEFT JOIN b ON a.id = b.id",
            "id BIGINT, price BIGINT",
        ),
        (
            a.join("a", JoinKind::Anti, &b, "b", col("a.id").eq(col("b.id"))).map([col("a.id")]),
            "SELECT a.id FROM a WHERE NOT EXISTS (SELECT * FROM b WHERE a.id = b.id)",
            "id BIGINT",
        ),
        (
            a.join(
                "l",
                JoinKind::Inner,
                &b,
                "r",
                col("l.id").eq(col("r.id"))
                    & col("l.at").between(col("r.at") - interval(minute), col("r.at")),
            )
            .map([
                col("l.id"),
                sql("CASE WHEN l.price > r.price THEN 1 ELSE 0 END").unwrap().alias("dearer"),
            ]),
            "SELECT l.id, CASE WHEN l.price > r.price THEN 1 ELSE 0 END FROM a AS l JOIN b AS r
             ON l.id = r.id AND l.`at` BETWEEN r.`at` - INTERVAL '1' MINUTE AND r.`at`",
            "id BIGINT, dearer INT",
        ),
    ];
    // All that differ are shown, not the first one alone.
    let differ: Vec<String> = rows
        .iter()
        .filter_map(|(stream, select, declared)| differs(&job(stream), &query(select, declared)))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn texts_and_names_cannot_leave_their_quotes() {
    let odd = json_topic("a'; DROP").named("a`b").column("x`y", Type::STRING);
    let stream = odd.stream().filter(col("x`y").eq("it's; -- not a comment"));
    let plan = Job::new("o'clock").insert(&stream, print("out")).plan().unwrap();
    assert_eq!(plan.name, "o'clock");
    assert!(job(&timed("a").stream()).dlq("x\nDROP TABLE a;").sql().is_err());
    assert!(sql("1); DROP TABLE t; --").is_err() && sql("1 2").is_err() && sql("'open").is_err());
}

#[test]
fn a_mistake_is_refused_with_its_place_in_the_text() {
    let job = job(&timed("a").stream().map([col("nothing")]));
    let error = job.plan().unwrap_err();
    assert!(error.message.contains("Column 'nothing' not found"), "{error}");
}

#[test]
fn settings_reach_the_job() {
    let a = timed("a").stream();
    let sums =
        a.window("at", Window::Tumble { size: Duration::from_secs(90) }).aggregate([count().alias("n")]);
    let job = job(&sums).dlq("bad").late_topic("late").sync().state_ttl(Duration::from_secs(60));
    let plan = job.plan().unwrap();
    assert_eq!(
        (plan.dlq.as_deref(), plan.late_topic.as_deref(), plan.sync),
        (Some("bad"), Some("late"), true)
    );
    assert!(compile(&job.sql().unwrap()).is_ok());
}
