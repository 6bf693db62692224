//! Jobs against a slow, obvious model of what their queries mean, and against themselves: how the input is cut into
//! batches, epochs, restarts and partitions must not show, and neither must two ways of saying one thing.
//!
//! The model knows nothing of operators: it has all rows at once, drops the late ones, and groups what is left.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    Commit as _, JobId,
    job::{Job, Step},
    memory::Memory,
};
use crate::{
    data::record::BatchBuilder,
    stream::{compile, state::Phase},
};

/// A row: key, value, time in seconds.
type Row = (u8, Option<i8>, i64);

const KEYS: u8 = 4;
/// How far the watermark lies behind the latest time, in seconds.
const DELAY_S: i64 = 5;

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..KEYS, prop::option::weighted(0.9, -5i8..5), -8i64..8);
    prop::collection::vec(row, 0..50).prop_map(|steps| {
        let mut now = 100;
        steps
            .into_iter()
            .map(|(key, value, step)| {
                // Mostly forward, sometimes back, at times so far that it is late.
                now += step.max(0);
                (key, value, if step < -5 { now - 12 } else { now + step.min(0) })
            })
            .collect()
    })
}

/// How a run is disturbed: sizes of batches, rows in an epoch, whether the job is opened anew after each commit, and in
/// how many shards each time.
fn disturbance() -> impl Strategy<Value = (Vec<usize>, usize, bool, Vec<usize>)> {
    let sizes = prop::collection::vec(1usize..6, 1..4);
    (sizes, 1usize..7, any::<bool>(), prop::collection::vec(1usize..4, 1..4))
}

fn json(row: &Row) -> String {
    let (key, value, at) = row;
    let value = value.map_or("null".to_owned(), |v| v.to_string());
    format!(r#"{{"k":"k{key}","v":{value},"ms":{}}}"#, at * 1_000)
}

const TABLE: &str = "CREATE TABLE t (k STRING, v INT, ms BIGINT, ts AS TO_TIMESTAMP_LTZ(ms, 3),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH ('connector'='kafka','topic'='t','properties.bootstrap.servers'='x','format'='json',
          'scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset');\n";

fn sql(columns: &str, query: &str) -> String {
    format!("{TABLE}CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}")
}

/// One partition for each list of rows, cut into batches of these sizes.
fn filled(partitions: &[Vec<Row>], batches: &[usize]) -> Memory {
    let memory = Memory::default();
    memory.create("t", i32::try_from(partitions.len()).unwrap());
    for (partition, rows) in partitions.iter().enumerate() {
        let mut sizes = batches.iter().cycle();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            let mut builder = BatchBuilder::new();
            for row in now {
                builder.push(1_000, None, Some(json(row).as_bytes()), std::iter::empty());
            }
            memory.append("t", i32::try_from(partition).unwrap(), builder.build());
            rest = later;
        }
    }
    memory
}

/// What the job prints.
fn printed(
    sql: &str,
    memory: &Memory,
    rows_per_epoch: usize,
    restarts: bool,
    shards: &[usize],
) -> Vec<String> {
    let mut plan = compile(sql).unwrap_or_else(|e| panic!("{sql}\n{e}")).remove(0);
    let mut shards = shards.iter().cycle();
    let mut open = || {
        let saved = memory.state("job");
        plan.parallelism = *shards.next().unwrap();
        Job::restore(JobId("job".to_owned()), plan.clone(), saved.as_deref(), memory).unwrap()
    };
    let (mut job, mut commit) = (open(), memory.clone());
    while *job.phase() == Phase::Running {
        let seen = std::cell::Cell::new(0);
        let over = || {
            seen.set(seen.get() + 1);
            seen.get() >= rows_per_epoch
        };
        if let Step::Commit(epoch) = job.epoch(memory, 1_000_000, &over) {
            commit.commit(*epoch).unwrap();
            if restarts {
                job = open();
            }
        }
    }
    assert_eq!(*job.phase(), Phase::Finished, "{sql}");
    memory.printed()
}

fn calm(sql: &str, rows: &[Row]) -> Vec<String> {
    printed(sql, &filled(&[rows.to_vec()], &[1_000]), usize::MAX, false, &[1])
}

/// The rows that are left once every change has been made, sorted.
fn left(lines: &[String]) -> Vec<String> {
    let mut rows: BTreeMap<&str, i64> = BTreeMap::new();
    for line in lines {
        let (kind, row) = line.split_at(2);
        let count = rows.entry(row).or_default();
        *count += if kind == "+I" || kind == "+U" { 1 } else { -1 };
        assert!(*count >= 0, "{line} was not there");
    }
    let copies = |(row, count): (&&str, &i64)| {
        std::iter::repeat_n((*row).to_owned(), usize::try_from(*count).unwrap()).collect::<Vec<_>>()
    };
    rows.iter().flat_map(copies).collect()
}

fn shown(value: Option<i64>) -> String {
    value.map_or("null".to_owned(), |v| v.to_string())
}

/// COUNT(*), SUM, MIN, MAX and COUNT(DISTINCT) of the values, as `print` shows them.
fn aggregates(rows: &[Row]) -> String {
    let values: Vec<i64> = rows.iter().filter_map(|(_, v, _)| v.map(i64::from)).collect();
    let sum = (!values.is_empty()).then(|| values.iter().sum());
    let distinct: BTreeSet<i64> = values.iter().copied().collect();
    let (min, max) = (values.iter().min().copied(), values.iter().max().copied());
    format!("{}, {}, {}, {}, {}", rows.len(), shown(sum), shown(min), shown(max), distinct.len())
}

const AGGREGATES: &str = "COUNT(*), SUM(v), MIN(v), MAX(v), COUNT(DISTINCT v)";
const RESULTS: &str = "c BIGINT, s INT, mi INT, ma INT, d BIGINT";

/// The rows that a window takes: all but those that come when the last window they would be in has closed.
fn in_time(rows: &[Row], last_end_s: impl Fn(i64) -> i64) -> Vec<Row> {
    let mut watermark = i64::MIN;
    let mut taken = Vec::new();
    for row in rows {
        if last_end_s(row.2) * 1_000 - 1 > watermark {
            taken.push(*row);
        }
        watermark = watermark.max((row.2 - DELAY_S) * 1_000);
    }
    taken
}

fn grouped<K: Ord>(rows: &[Row], keys: impl Fn(&Row) -> Vec<K>) -> BTreeMap<K, Vec<Row>> {
    let mut groups: BTreeMap<K, Vec<Row>> = BTreeMap::new();
    for row in rows {
        keys(row).into_iter().for_each(|key| groups.entry(key).or_default().push(*row));
    }
    groups
}

fn windowed(function: &str) -> String {
    sql(
        &format!("k STRING, ws STRING, we STRING, {RESULTS}"),
        &format!(
            "SELECT k, CAST(window_start AS STRING), CAST(window_end AS STRING), {AGGREGATES} \
             FROM TABLE({function}) GROUP BY k, window_start, window_end"
        ),
    )
}

fn clock(at_s: i64) -> String {
    format!("1970-01-01 00:{:02}:{:02}.000", at_s / 60, at_s % 60)
}

/// The windows of a length that begin every so many seconds and hold this time: their starts.
fn starts(at_s: i64, size: i64, slide: i64) -> Vec<i64> {
    let last = at_s.div_euclid(slide) * slide;
    (0..).map(|n| last - n * slide).take_while(|start| start + size > at_s).collect()
}

fn model_of_windows(rows: &[Row], size: i64, slide: i64) -> Vec<String> {
    let taken = in_time(rows, |at| at.div_euclid(slide) * slide + size);
    // A row may be in time for its last window and too late for the first ones.
    let mut watermark = i64::MIN;
    let mut groups: BTreeMap<(String, i64), Vec<Row>> = BTreeMap::new();
    let mut rest = taken.iter().peekable();
    for row in rows {
        if rest.peek() == Some(&row) {
            rest.next();
            let open = starts(row.2, size, slide).into_iter().filter(|s| (s + size) * 1_000 - 1 > watermark);
            open.for_each(|start| groups.entry((format!("k{}", row.0), start)).or_default().push(*row));
        }
        watermark = watermark.max((row.2 - DELAY_S) * 1_000);
    }
    let line = |((key, start), rows): (&(String, i64), &Vec<Row>)| {
        format!("[{key}, {}, {}, {}]", clock(*start), clock(start + size), aggregates(rows))
    };
    let mut lines: Vec<String> = groups.iter().map(line).collect();
    lines.sort();
    lines
}

/// Queries of every kind of operator, for what must hold of all of them.
const QUERIES: &[(&str, &str)] = &[
    ("k STRING, v INT", "SELECT k, v FROM t WHERE v > 0"),
    ("k STRING, c BIGINT, d BIGINT", "SELECT k, COUNT(*), COUNT(DISTINCT v) FROM t GROUP BY k"),
    ("k STRING, v INT, c BIGINT", "SELECT k, v, COUNT(*) FROM t GROUP BY CUBE (k, v)"),
    ("n BIGINT, m BIGINT", "SELECT n, COUNT(*) FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) GROUP BY n"),
    (
        "k STRING, c BIGINT, we TIMESTAMP(3)",
        "SELECT k, COUNT(*), window_end FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, \
         INTERVAL '20' SECOND)) GROUP BY k, window_start, window_end",
    ),
    (
        "k STRING, c BIGINT, we TIMESTAMP(3)",
        "SELECT k, COUNT(*), window_end FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), \
         INTERVAL '4' SECOND)) GROUP BY k, window_start, window_end",
    ),
    (
        "k STRING, v INT",
        "SELECT k, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM t) WHERE rn <= 2",
    ),
    (
        "k STRING, v INT",
        "SELECT k, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM t) WHERE rn = 1",
    ),
    (
        "k STRING, v INT, we TIMESTAMP(3)",
        "SELECT k, v, window_end FROM (SELECT k, v, window_end, ROW_NUMBER() OVER (PARTITION BY window_start, window_end \
         ORDER BY v) AS rn FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn <= 2",
    ),
    ("k STRING, v INT", "SELECT k, v FROM t ORDER BY v LIMIT 4"),
    ("k STRING, ts TIMESTAMP_LTZ(3)", "SELECT k, ts FROM t ORDER BY ts"),
    (
        "k STRING, s INT",
        "SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM t",
    ),
    ("k STRING, v INT, w INT", "SELECT x.k, x.v, y.v FROM t x FULL JOIN t y ON x.k = y.k AND x.v < y.v"),
    ("k STRING, v INT", "SELECT k, v FROM t WHERE v NOT IN (SELECT v FROM t WHERE k = 'k1')"),
    ("v INT", "SELECT v FROM t WHERE k = 'k0' EXCEPT SELECT v FROM t WHERE k = 'k1'"),
    ("k STRING, m INT", "SELECT k, v - (SELECT MAX(v) FROM t) FROM t"),
    (
        "k STRING, v INT, w INT",
        "SELECT x.k, x.v, y.v FROM t x LEFT JOIN t y ON x.k = y.k AND y.ts BETWEEN x.ts - INTERVAL '2' SECOND AND \
         x.ts + INTERVAL '3' SECOND",
    ),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, rng_seed: proptest::test_runner::RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_epochs_and_restarts_do_not_show(rows in rows(), (batches, per_epoch, restarts, shards) in disturbance()) {
        for (columns, query) in QUERIES {
            let sql = sql(columns, query);
            let disturbed = printed(&sql, &filled(std::slice::from_ref(&rows), &batches), per_epoch, restarts, &shards);
            prop_assert_eq!(left(&disturbed), left(&calm(&sql, &rows)), "{}", query);
        }
    }

    /// What comes of each row, and of its key, is even in the same order.
    #[test]
    fn shards_do_not_show(rows in rows(), (batches, per_epoch, restarts, _) in disturbance(), shards in 2usize..5) {
        for (columns, query) in &QUERIES[..2] {
            let sql = sql(columns, query);
            let run = |shards| {
                let memory = filled(std::slice::from_ref(&rows), &batches);
                printed(&sql, &memory, per_epoch, restarts, &[shards])
            };
            prop_assert_eq!(run(shards), run(1), "{}", query);
        }
    }

    #[test]
    fn groups_are_what_the_model_says(rows in rows(), (batches, per_epoch, restarts, shards) in disturbance()) {
        let sql = sql(&format!("k STRING, {RESULTS}"), &format!("SELECT k, {AGGREGATES} FROM t GROUP BY k"));
        let memory = filled(std::slice::from_ref(&rows), &batches);
        let found = left(&printed(&sql, &memory, per_epoch, restarts, &shards));
        let groups = grouped(&rows, |row| vec![row.0]);
        let expected: Vec<String> =
            groups.iter().map(|(key, rows)| format!("[k{key}, {}]", aggregates(rows))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn windows_are_what_the_model_says(rows in rows(), (batches, per_epoch, restarts, shards) in disturbance()) {
        for (size, slide) in [(10, 10), (10, 5), (12, 4)] {
            let function =
                format!("HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '{slide}' SECOND, INTERVAL '{size}' SECOND)");
            let memory = filled(std::slice::from_ref(&rows), &batches);
            let found = left(&printed(&windowed(&function), &memory, per_epoch, restarts, &shards));
            prop_assert_eq!(found, model_of_windows(&rows, size, slide), "{}", function);
        }
    }

    /// Without late rows it does not matter which partition a row comes through.
    #[test]
    fn partitions_do_not_show(rows in rows(), partitions in 1usize..4, per_epoch in 1usize..7, shards in 1usize..4) {
        let mut sorted = rows;
        sorted.sort_by_key(|row| row.2);
        let mut parts = vec![Vec::new(); partitions];
        sorted.iter().for_each(|row| parts[usize::from(row.0) % partitions].push(*row));
        for function in [
            "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
            "SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)",
        ] {
            let sql = windowed(function);
            let found = left(&printed(&sql, &filled(&parts, &[3]), per_epoch, false, &[shards]));
            prop_assert_eq!(found, left(&calm(&sql, &sorted)), "{}", function);
        }
    }

    #[test]
    fn two_ways_to_say_one_thing_come_to_the_same(rows in rows()) {
        let of = |function: &str| left(&calm(&windowed(function), &rows));
        let tumble = of("TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)");
        prop_assert_eq!(&of("HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)"), &tumble);
        prop_assert_eq!(&of("CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)"), &tumble);

        // A gap that nothing reaches over: one window for each key.
        let all = format!("k STRING, {RESULTS}");
        let session = format!("SELECT k, {AGGREGATES} FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), \
                               INTERVAL '1' DAY)) GROUP BY k, window_start, window_end");
        let groups = left(&calm(&sql(&all, &format!("SELECT k, {AGGREGATES} FROM t GROUP BY k")), &rows));
        prop_assert_eq!(left(&calm(&sql(&all, &session), &rows)), groups.clone());

        // A stream that is split and put together again.
        let united = format!("SELECT k, {AGGREGATES} FROM (SELECT * FROM t WHERE k = 'k1' UNION ALL SELECT * FROM t \
                              WHERE k <> 'k1') GROUP BY k");
        prop_assert_eq!(left(&calm(&sql(&all, &united), &rows)), groups.clone());

        // ROLLUP by one key is the groups and the whole.
        let rollup = format!("SELECT k, {AGGREGATES} FROM t GROUP BY ROLLUP (k)");
        let whole = left(&calm(&sql(&all, &format!("SELECT 'all', {AGGREGATES} FROM t")), &rows));
        let mut expected: Vec<String> = groups;
        expected.extend(whole.iter().map(|row| row.replace("[all,", "[null,")));
        expected.sort();
        prop_assert_eq!(left(&calm(&sql(&all, &rollup), &rows)), expected);

        // INTERSECT and EXCEPT part the left side.
        let values = |query: &str| left(&calm(&sql("v INT", query), &rows));
        let (a, b) = ("SELECT v FROM t WHERE k = 'k0'", "SELECT v FROM t WHERE k <> 'k0'");
        let mut parts = values(&format!("{a} INTERSECT {b}"));
        parts.extend(values(&format!("{a} EXCEPT {b}")));
        parts.sort();
        prop_assert_eq!(parts, values(&a.replace("SELECT v", "SELECT DISTINCT v")));
    }

    /// Rows that change places within the bound of the watermark change nothing.
    #[test]
    fn disorder_within_the_bound_does_not_show(rows in rows(), seed in any::<u64>()) {
        let mut sorted = rows;
        sorted.sort_by_key(|row| row.2);
        let mut shuffled = sorted.clone();
        // Neighbours of less than the bound apart, exchanged.
        let mut chance = seed;
        for i in 1..shuffled.len() {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if chance >> 63 == 1 && shuffled[i].2 - shuffled[i - 1].2 < DELAY_S {
                shuffled.swap(i - 1, i);
            }
        }
        let late = |rows: &[Row]| in_time(rows, |at| at.div_euclid(10) * 10 + 10).len() < rows.len();
        prop_assume!(!late(&shuffled));
        let sql = windowed("TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)");
        prop_assert_eq!(left(&calm(&sql, &shuffled)), left(&calm(&sql, &sorted)));
    }
}
