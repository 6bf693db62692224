//! Whole queries over topics in memory, against rows that Flink 2.2.1 printed for the same text and input.

mod joins;

use super::{
    Commit as _, JobId,
    fixtures::left,
    job::{Job, Step, drive},
    memory::Memory,
};
use crate::stream::{compile, plan::physical::JobPlan, state::Phase};

/// What the queries read: watermark = ts - 1 s, with late rows at 3 s and 10 s.
const BIDS: &[&str] = &[
    r#"{"a":1,"p":10,"d":1.5,"s":"x","ts":"2020-01-01 00:00:01"}"#,
    r#"{"a":1,"p":7,"d":2.5,"s":"y","ts":"2020-01-01 00:00:09"}"#,
    r#"{"a":2,"p":5,"d":null,"s":null,"ts":"2020-01-01 00:00:12"}"#,
    r#"{"a":1,"p":100,"d":3.5,"s":"late","ts":"2020-01-01 00:00:03"}"#,
    r#"{"a":1,"p":null,"d":0.5,"s":"z","ts":"2020-01-01 00:00:11.5"}"#,
    r#"{"a":2,"p":8,"d":1.0,"s":"w","ts":"2020-01-01 00:00:25"}"#,
    r#"{"a":1,"p":9,"d":1.0,"s":"late2","ts":"2020-01-01 00:00:10"}"#,
    r#"{"a":1,"p":12,"d":1.25,"s":"v","ts":"2020-01-01 00:00:24.5"}"#,
];

const TABLE: &str = "CREATE TABLE t (a INT, p INT, d DECIMAL(5,2), s STRING, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
    WITH ('connector'='kafka','topic'='bids','properties.bootstrap.servers'='x','format'='json',
          'scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset');\n";

pub(super) fn with_bids() -> Memory {
    let memory = Memory::default();
    memory.produce("bids", 0, BIDS);
    memory
}

/// Runs the text as one job until its bounded input has been read.
pub(super) fn finished(sql: &str, memory: &Memory) -> Vec<String> {
    finished_in(sql, memory, 1)
}

/// The same in so many shards.
pub(super) fn finished_in(sql: &str, memory: &Memory, shards: usize) -> Vec<String> {
    let before = memory.printed().len();
    let mut jobs = compile(sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    assert_eq!(jobs.len(), 1, "{sql}");
    let id = JobId(format!("job{before}-{shards}"));
    let plan = JobPlan { parallelism: shards, ..jobs.remove(0) };
    let mut job = Job::restore(id, plan, None, memory).unwrap();
    drive(&mut job, memory, &mut memory.clone(), 1_000_000, &|| false).unwrap();
    assert_eq!(job.phase(), &Phase::Finished, "{sql}");
    memory.printed().split_off(before)
}

/// The query's rows as Flink prints them, by the sink's columns.
fn check(columns: &str, query: &str, expected: &[&str]) {
    let sql = format!("{TABLE}CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}");
    assert_eq!(finished(&sql, &with_bids()), expected, "{query}");
    check_shards(&sql, expected);
}

/// With several shards the rows are the same, but for the order of what comes of one watermark.
fn check_shards(sql: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    for shards in [2, 3] {
        let found = finished_in(sql, &with_bids(), shards);
        assert_eq!(left(&found), left(&expected), "{shards} shards: {sql}");
    }
}

/// The same where Flink's order follows from hashing.
fn check_sorted(columns: &str, query: &str, expected: &[&str]) {
    let sql = format!("{TABLE}CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}");
    let mut found = finished(&sql, &with_bids());
    found.sort();
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected, "{query}");
    check_shards(&sql, &expected);
}

#[test]
fn a_group_updates_its_result() {
    check(
        "k INT, c BIGINT, s INT, av INT, mi INT, ma INT, sdp INT, sds INT, vp INT, vs INT",
        "SELECT a, COUNT(*), SUM(p), AVG(p), MIN(p), MAX(p), STDDEV_POP(p), STDDEV_SAMP(p), VAR_POP(p), VAR_SAMP(p) \
         FROM t GROUP BY a",
        &[
            "+I[1, 1, 10, 10, 10, 10, 0, null, 0, null]",
            "-U[1, 1, 10, 10, 10, 10, 0, null, 0, null]",
            "+U[1, 2, 17, 8, 7, 10, 1, 2, 2, 5]",
            "+I[2, 1, 5, 5, 5, 5, 0, null, 0, null]",
            "-U[1, 2, 17, 8, 7, 10, 1, 2, 2, 5]",
            "+U[1, 3, 117, 39, 7, 100, 43, 52, 1862, 2793]",
            "-U[1, 3, 117, 39, 7, 100, 43, 52, 1862, 2793]",
            "+U[1, 4, 117, 39, 7, 100, 43, 52, 1862, 2793]",
            "-U[2, 1, 5, 5, 5, 5, 0, null, 0, null]",
            "+U[2, 2, 13, 6, 5, 8, 1, 2, 2, 5]",
            "-U[1, 4, 117, 39, 7, 100, 43, 52, 1862, 2793]",
            "+U[1, 5, 126, 31, 7, 100, 39, 45, 1565, 2087]",
            "-U[1, 5, 126, 31, 7, 100, 39, 45, 1565, 2087]",
            "+U[1, 6, 138, 27, 7, 100, 36, 40, 1313, 1641]",
        ],
    );
    check(
        "k INT, sd DECIMAL(38,2), av DECIMAL(38,6), fv STRING, lv STRING, la STRING, sp DECIMAL(38,6), cd BIGINT",
        "SELECT a, SUM(d), AVG(d), FIRST_VALUE(s), LAST_VALUE(s), LISTAGG(s, '|'), STDDEV_POP(d), \
         COUNT(DISTINCT s) FILTER (WHERE p > 7) FROM t GROUP BY a",
        &[
            "+I[1, 1.50, 1.500000, x, x, x, 0.000000, 1]",
            "-U[1, 1.50, 1.500000, x, x, x, 0.000000, 1]",
            "+U[1, 4.00, 2.000000, x, y, x|y, 0.500000, 1]",
            "+I[2, null, null, null, null, null, null, 0]",
            "-U[1, 4.00, 2.000000, x, y, x|y, 0.500000, 1]",
            "+U[1, 7.50, 2.500000, x, late, x|y|late, 0.816497, 2]",
            "-U[1, 7.50, 2.500000, x, late, x|y|late, 0.816497, 2]",
            "+U[1, 8.00, 2.000000, x, z, x|y|late|z, 1.118034, 2]",
            "-U[2, null, null, null, null, null, null, 0]",
            "+U[2, 1.00, 1.000000, w, w, w, 0.000000, 1]",
            "-U[1, 8.00, 2.000000, x, z, x|y|late|z, 1.118034, 2]",
            "+U[1, 9.00, 1.800000, x, late2, x|y|late|z|late2, 1.077033, 3]",
            "-U[1, 9.00, 1.800000, x, late2, x|y|late|z|late2, 1.077033, 3]",
            "+U[1, 10.25, 1.708333, x, v, x|y|late|z|late2|v, 1.004331, 4]",
        ],
    );
}

#[test]
fn a_group_of_groups_takes_back_what_it_was_made_of() {
    check(
        "c BIGINT, n BIGINT",
        "SELECT c, COUNT(*) FROM (SELECT a, COUNT(*) AS c FROM t GROUP BY a) GROUP BY c",
        &[
            "+I[1, 1]", "-D[1, 1]", "+I[2, 1]", "+I[1, 1]", "-D[2, 1]", "+I[3, 1]", "-D[3, 1]", "+I[4, 1]",
            "-D[1, 1]", "+I[2, 1]", "-D[4, 1]", "+I[5, 1]", "-D[5, 1]", "+I[6, 1]",
        ],
    );
}

#[test]
fn windows_close_behind_the_watermark_and_drop_what_is_late() {
    let columns = "k INT, ws TIMESTAMP(3), we TIMESTAMP(3), c BIGINT, s INT";
    check_sorted(
        columns,
        "SELECT a, window_start, window_end, COUNT(*), SUM(p) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), \
         INTERVAL '10' SECOND)) GROUP BY a, window_start, window_end",
        &[
            "+I[1, 2020-01-01T00:00, 2020-01-01T00:00:10, 2, 17]",
            "+I[1, 2020-01-01T00:00:10, 2020-01-01T00:00:20, 1, null]",
            "+I[2, 2020-01-01T00:00:10, 2020-01-01T00:00:20, 1, 5]",
            "+I[1, 2020-01-01T00:00:20, 2020-01-01T00:00:30, 1, 12]",
            "+I[2, 2020-01-01T00:00:20, 2020-01-01T00:00:30, 1, 8]",
        ],
    );
    check_sorted(
        columns,
        "SELECT a, window_start, window_end, COUNT(*), SUM(p) FROM CUMULATE(DATA => TABLE t, TIMECOL => \
         DESCRIPTOR(ts), STEP => INTERVAL '5' SECOND, SIZE => INTERVAL '20' SECOND) \
         GROUP BY window_start, a, window_end",
        &[
            "+I[1, 2020-01-01T00:00, 2020-01-01T00:00:05, 1, 10]",
            "+I[1, 2020-01-01T00:00, 2020-01-01T00:00:10, 2, 17]",
            "+I[1, 2020-01-01T00:00, 2020-01-01T00:00:15, 4, 117]",
            "+I[2, 2020-01-01T00:00, 2020-01-01T00:00:15, 1, 5]",
            "+I[1, 2020-01-01T00:00, 2020-01-01T00:00:20, 4, 117]",
            "+I[2, 2020-01-01T00:00, 2020-01-01T00:00:20, 1, 5]",
            "+I[1, 2020-01-01T00:00:20, 2020-01-01T00:00:25, 1, 12]",
            "+I[2, 2020-01-01T00:00:20, 2020-01-01T00:00:30, 1, 8]",
            "+I[1, 2020-01-01T00:00:20, 2020-01-01T00:00:30, 1, 12]",
            "+I[2, 2020-01-01T00:00:20, 2020-01-01T00:00:35, 1, 8]",
            "+I[1, 2020-01-01T00:00:20, 2020-01-01T00:00:35, 1, 12]",
            "+I[2, 2020-01-01T00:00:20, 2020-01-01T00:00:40, 1, 8]",
            "+I[1, 2020-01-01T00:00:20, 2020-01-01T00:00:40, 1, 12]",
        ],
    );
    let hop = [
        "+I[1, 2019-12-31T23:59:55, 2020-01-01T00:00:05, 1, 10]",
        "+I[1, 2020-01-01T00:00, 2020-01-01T00:00:10, 2, 17]",
        "+I[2, 2020-01-01T00:00:05, 2020-01-01T00:00:15, 1, 5]",
        "+I[1, 2020-01-01T00:00:05, 2020-01-01T00:00:15, 2, 7]",
        "+I[1, 2020-01-01T00:00:10, 2020-01-01T00:00:20, 1, null]",
        "+I[2, 2020-01-01T00:00:10, 2020-01-01T00:00:20, 1, 5]",
        "+I[1, 2020-01-01T00:00:15, 2020-01-01T00:00:25, 1, 12]",
        "+I[2, 2020-01-01T00:00:20, 2020-01-01T00:00:30, 1, 8]",
        "+I[1, 2020-01-01T00:00:20, 2020-01-01T00:00:30, 1, 12]",
        "+I[2, 2020-01-01T00:00:25, 2020-01-01T00:00:35, 1, 8]",
    ];
    check_sorted(
        columns,
        "SELECT a, HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), \
         HOP_END(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), COUNT(*), SUM(p) \
         FROM t GROUP BY a, HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
        &hop,
    );
    check_sorted(
        columns,
        "SELECT a, window_start, window_end, COUNT(*), SUM(p) FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), \
         INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY a, window_start, window_end",
        &hop,
    );
    // The same through columns that were attached before.
    check_sorted(
        columns,
        "SELECT a, window_start, window_end, COUNT(*), SUM(p) FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), \
         INTERVAL '5' SECOND, INTERVAL '10' SECOND)) WHERE window_end > TIMESTAMP '2020-01-01 00:00:00' \
         GROUP BY a, window_start, window_end",
        &hop,
    );
    let sessions = [
        "+I[1, 2020-01-01T00:00:01, 2020-01-01T00:00:03, 1, 10]",
        "+I[1, 2020-01-01T00:00:09, 2020-01-01T00:00:11, 1, 7]",
        "+I[1, 2020-01-01T00:00:11.500, 2020-01-01T00:00:13.500, 1, null]",
        "+I[2, 2020-01-01T00:00:12, 2020-01-01T00:00:14, 1, 5]",
        "+I[1, 2020-01-01T00:00:24.500, 2020-01-01T00:00:26.500, 1, 12]",
        "+I[2, 2020-01-01T00:00:25, 2020-01-01T00:00:27, 1, 8]",
    ];
    check_sorted(
        columns,
        "SELECT a, window_start, window_end, COUNT(*), SUM(p) FROM TABLE(SESSION(TABLE t PARTITION BY a, \
         DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY a, window_start, window_end",
        &sessions,
    );
    check_sorted(
        columns,
        "SELECT a, SESSION_START(ts, INTERVAL '2' SECOND), SESSION_END(ts, INTERVAL '2' SECOND), COUNT(*), SUM(p) \
         FROM t GROUP BY a, SESSION(ts, INTERVAL '2' SECOND)",
        &sessions,
    );
}

#[test]
fn the_first_rows_of_each_partition() {
    let ranked = "SELECT a, p, ROW_NUMBER() OVER (PARTITION BY a ORDER BY p DESC) AS rn FROM t";
    check(
        "k INT, p INT, rn BIGINT",
        &format!("SELECT a, p, rn FROM ({ranked}) WHERE rn <= 2"),
        &[
            "+I[1, 10, 1]",
            "+I[1, 7, 2]",
            "+I[2, 5, 1]",
            "-U[1, 10, 1]",
            "+U[1, 100, 1]",
            "-U[1, 7, 2]",
            "+U[1, 10, 2]",
            "-U[2, 5, 1]",
            "+U[2, 8, 1]",
            "+I[2, 5, 2]",
            "-U[1, 10, 2]",
            "+U[1, 12, 2]",
        ],
    );
    check(
        "k INT, p INT",
        &format!("SELECT a, p FROM ({ranked}) WHERE rn < 3"),
        &[
            "+I[1, 10]",
            "+I[1, 7]",
            "+I[2, 5]",
            "-D[1, 7]",
            "+I[1, 100]",
            "+I[2, 8]",
            "-D[1, 10]",
            "+I[1, 12]",
        ],
    );
    check(
        "k INT, p INT, ts TIMESTAMP(3)",
        "SELECT a, p, ts FROM (SELECT a, p, ts, ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts DESC) AS rn FROM t) \
         WHERE rn = 1",
        &[
            "+I[1, 10, 2020-01-01T00:00:01]",
            "-U[1, 10, 2020-01-01T00:00:01]",
            "+U[1, 7, 2020-01-01T00:00:09]",
            "+I[2, 5, 2020-01-01T00:00:12]",
            "-U[1, 7, 2020-01-01T00:00:09]",
            "+U[1, null, 2020-01-01T00:00:11.500]",
            "-U[2, 5, 2020-01-01T00:00:12]",
            "+U[2, 8, 2020-01-01T00:00:25]",
            "-U[1, null, 2020-01-01T00:00:11.500]",
            "+U[1, 12, 2020-01-01T00:00:24.500]",
        ],
    );
}

#[test]
fn aggregates_over_the_rows_before() {
    check(
        "k INT, p INT, s1 INT, s2 INT, c BIGINT",
        "SELECT a, p, SUM(p) OVER w, MIN(p) OVER w, COUNT(*) OVER w FROM t \
         WINDOW w AS (PARTITION BY a ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        &[
            "+I[1, 10, 10, 10, 1]",
            "+I[1, 7, 17, 7, 2]",
            "+I[1, null, 7, 7, 2]",
            "+I[2, 5, 5, 5, 1]",
            "+I[1, 12, 12, 12, 2]",
            "+I[2, 8, 13, 5, 2]",
        ],
    );
}

/// Queries with state of every kind, for what must hold of all of them.
const STATEFUL: &[(&str, &str)] = &[
    ("k INT, c BIGINT, s INT, d BIGINT", "SELECT a, COUNT(*), SUM(p), COUNT(DISTINCT s) FROM t GROUP BY a"),
    (
        "k INT, m INT, l STRING",
        "SELECT a, MAX(c), LISTAGG(s) FROM (SELECT a, s, MAX(p) AS c FROM t GROUP BY a, s) GROUP BY a",
    ),
    (
        "k INT, c BIGINT, d BIGINT, we TIMESTAMP(3)",
        "SELECT a, COUNT(*), COUNT(DISTINCT s), window_end FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), \
         INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY a, window_start, window_end",
    ),
    (
        "k INT, c BIGINT, d BIGINT, we TIMESTAMP(3)",
        "SELECT a, COUNT(*), COUNT(DISTINCT s), window_end FROM TABLE(SESSION(TABLE t PARTITION BY a, \
         DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY a, window_start, window_end",
    ),
    (
        "k INT, s STRING, we TIMESTAMP(3)",
        "SELECT a, s, window_end FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '3' SECOND))",
    ),
    (
        "k INT, p INT, rn BIGINT",
        "SELECT a, p, rn FROM (SELECT a, p, ROW_NUMBER() OVER (PARTITION BY a ORDER BY p DESC) AS rn FROM t) \
         WHERE rn <= 2",
    ),
    (
        "k INT, p INT, rn BIGINT",
        "SELECT a, p, rn FROM (SELECT a, p, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY p) \
         AS rn FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE rn <= 2",
    ),
    (
        "k INT, p INT, s1 INT",
        "SELECT a, p, SUM(p) OVER (PARTITION BY a ORDER BY ts RANGE BETWEEN INTERVAL '4' SECOND PRECEDING AND \
         CURRENT ROW) FROM t",
    ),
    ("k INT, s1 INT", "SELECT a, SUM(p) OVER (PARTITION BY a ORDER BY ts) FROM t"),
    ("c BIGINT, k INT, PRIMARY KEY (c) NOT ENFORCED", "SELECT COUNT(*), a FROM t GROUP BY a"),
    ("c BIGINT, PRIMARY KEY (c) NOT ENFORCED", "SELECT c FROM (SELECT a, COUNT(*) AS c FROM t GROUP BY a)"),
    ("k INT, p INT, q INT", "SELECT x.a, x.p, y.p FROM t x FULL JOIN t y ON x.a = y.a AND x.p < y.p"),
    ("k INT, p INT", "SELECT a, p FROM t WHERE a NOT IN (SELECT p FROM t WHERE p > 7)"),
    (
        "k INT, p INT, q INT",
        "SELECT x.a, x.p, y.p FROM t x LEFT JOIN t y ON x.a = y.a AND y.ts BETWEEN x.ts AND x.ts + INTERVAL '9' SECOND",
    ),
    (
        "k INT, p INT, q INT",
        "WITH v0 AS (SELECT a, p, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts DESC) AS rn \
         FROM t) WHERE rn = 1) SELECT x.a, x.p, v.p FROM t x LEFT JOIN v0 FOR SYSTEM_TIME AS OF x.ts AS v ON x.a = v.a",
    ),
    (
        "k INT, n BIGINT, m BIGINT",
        "SELECT x.a, x.n, y.n FROM (SELECT a, window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, \
         DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY a, window_start, window_end) x JOIN (SELECT window_start, \
         window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
         GROUP BY window_start, window_end) y ON x.window_start = y.window_start AND x.window_end = y.window_end",
    ),
];

/// The lines that a job prints when its epochs are so many rows long, and it is opened anew from the store after each
/// commit, if asked.
fn printed_with(sql: &str, rows_per_epoch: usize, restarts: bool) -> Vec<String> {
    let memory = with_bids();
    let plan = compile(sql).unwrap_or_else(|e| panic!("{sql}\n{e}")).remove(0);
    let open = || {
        let saved = memory.state("job");
        Job::restore(JobId("job".to_owned()), plan.clone(), saved.as_deref(), &memory).unwrap()
    };
    let mut job = open();
    let mut commit = memory.clone();
    while *job.phase() == Phase::Running {
        let rows = std::cell::Cell::new(0);
        let over = || {
            rows.set(rows.get() + 1);
            rows.get() >= rows_per_epoch
        };
        if let Step::Commit(epoch) = job.epoch(&memory, 1_000_000, &over) {
            commit.commit(*epoch).unwrap();
            if restarts {
                job = open();
            }
        }
    }
    assert_eq!(*job.phase(), Phase::Finished, "{sql}");
    memory.printed()
}

#[test]
fn neither_epochs_nor_restarts_change_what_comes_out() {
    for (columns, query) in STATEFUL {
        let sql =
            format!("{TABLE}CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}");
        let whole = printed_with(&sql, usize::MAX, false);
        assert!(!whole.is_empty(), "{query}");
        for rows in [1, 2, 3] {
            assert_eq!(printed_with(&sql, rows, false), whole, "{rows} rows an epoch: {query}");
            assert_eq!(printed_with(&sql, rows, true), whole, "{rows} rows, restarted: {query}");
        }
    }
}

#[test]
fn a_ttl_changes_nothing_while_it_lasts() {
    for (columns, query) in STATEFUL {
        let sql =
            format!("{TABLE}CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}");
        let with_ttl = format!("SET 'table.exec.state.ttl' = '1 h'; {sql}");
        let last = |lines: Vec<String>| -> std::collections::BTreeSet<String> { table(&lines) };
        assert_eq!(last(printed_with(&with_ttl, 2, true)), last(printed_with(&sql, 2, false)), "{query}");
    }
}

/// What is left of a changelog.
fn table(lines: &[String]) -> std::collections::BTreeSet<String> {
    let mut rows: Vec<&str> = Vec::new();
    for line in lines {
        let (kind, row) = line.split_at(2);
        if kind == "+I" || kind == "+U" {
            rows.push(row);
        } else {
            let index = rows.iter().position(|r| *r == row).unwrap_or_else(|| panic!("{line} was not there"));
            rows.remove(index);
        }
    }
    rows.iter()
        .enumerate()
        .map(|(i, r)| format!("{r} {}", rows.iter().take(i).filter(|o| o == &r).count()))
        .collect()
}

#[test]
fn a_hint_gives_a_table_other_options_for_one_use() {
    let memory = with_bids();
    memory.produce("others", 0, &[r#"{"a":7}"#]);
    let sql = format!(
        "{TABLE}CREATE TABLE o (a INT) WITH ('connector'='print');
         INSERT INTO o /*+ OPTIONS('print-identifier'='p') */
         SELECT x.a FROM t /*+ OPTIONS('topic' = 'others') */ AS x
         UNION ALL SELECT a FROM t /* no hint */ WHERE p = 100"
    );
    assert_eq!(finished(&sql, &memory), ["p> +I[7]", "p> +I[1]"]);
}

#[test]
fn late_rows_go_to_their_topic_as_they_were() {
    let memory = with_bids();
    let sql = format!(
        "{TABLE}CREATE TABLE o (n BIGINT) WITH ('connector'='print');\n-- @warren late-topic=late\nINSERT INTO o \
         SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
         GROUP BY window_start, window_end"
    );
    assert_eq!(finished(&sql, &memory), ["+I[2]", "+I[2]", "+I[2]"]);
    assert_eq!(memory.values("late"), [BIDS[3], BIDS[6]]);
}

#[test]
fn a_row_that_fails_behind_state_leaves_no_trace() {
    let rows = [r#"{"a":1,"p":4}"#, r#"{"a":1,"p":-4}"#, r#"{"a":1,"p":5}"#];
    let sql = "CREATE TABLE t (a INT, p INT) WITH ('connector'='kafka','topic'='in','format'='json',
        'properties.bootstrap.servers'='x','scan.startup.mode'='earliest-offset',
        'scan.bounded.mode'='latest-offset');
        CREATE TABLE o (k INT, c BIGINT, x INT) WITH ('connector'='print');
        -- @warren dlq=bad
        INSERT INTO o SELECT a, c, 20 / s FROM (SELECT a, COUNT(*) AS c, SUM(p) AS s FROM t GROUP BY a)";
    let memory = Memory::default();
    memory.produce("in", 0, &rows);
    // The second makes the sum zero. As if it had not come: the third is the second of its group.
    assert_eq!(finished(sql, &memory), ["+I[1, 1, 5]", "-U[1, 1, 5]", "+U[1, 2, 2]"]);
    assert_eq!(memory.values("bad"), [rows[1]]);
    let memory = Memory::default();
    memory.produce("in", 0, &rows);
    let strict = sql.replace("-- @warren dlq=bad", "");
    let mut job =
        Job::restore(JobId("j".to_owned()), compile(&strict).unwrap().remove(0), None, &memory).unwrap();
    drive(&mut job, &memory, &mut memory.clone(), 0, &|| false).unwrap();
    let Phase::Failed(failure) = job.phase() else { panic!("{:?}", job.phase()) };
    assert_eq!((failure.offset, failure.reason.as_str()), (1, "/ by zero"));
    assert_eq!(memory.printed(), ["+I[1, 1, 5]"]);
}

#[test]
fn a_table_by_key_is_written_and_read_back() {
    let memory = with_bids();
    let upsert =
        "CREATE TABLE u (a INT, c BIGINT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector'='upsert-kafka',
        'topic'='u','properties.bootstrap.servers'='x','key.format'='json','value.format'='json',
        'scan.bounded.mode'='latest-offset');\n";
    let write = format!("{TABLE}{upsert}INSERT INTO u SELECT a, COUNT(*) FROM t GROUP BY a");
    finished(&write, &memory);
    let written = memory.values("u");
    assert_eq!((written.len(), written.first().map(String::as_str)), (8, Some(r#"{"a":1,"c":1}"#)));
    let one = Some(br#"{"a":1}"#.to_vec());
    memory.append("u", 0, {
        let mut tombstone = crate::data::record::BatchBuilder::new();
        tombstone.push(1_000, one.as_deref(), None, std::iter::empty());
        tombstone.build()
    });
    let sum = format!(
        "{upsert}CREATE TABLE o (n BIGINT) WITH ('connector'='print'); INSERT INTO o SELECT SUM(c) FROM u"
    );
    assert_eq!(finished(&sum, &memory).last().map(String::as_str), Some("+U[2]"));
    let copy = format!(
        "{upsert}CREATE TABLE o (a INT, c BIGINT) WITH ('connector'='print'); INSERT INTO o SELECT * FROM u"
    );
    let lines = finished(&copy, &memory);
    assert_eq!(lines.first().map(String::as_str), Some("+I[1, 1]"));
    assert_eq!(lines.last().map(String::as_str), Some("-D[1, 6]"));
}

#[test]
fn a_table_by_a_key_that_is_not_the_querys_holds_what_the_query_leaves() {
    for key in ["c", "c, a"] {
        let memory = with_bids();
        let upsert = format!(
            "CREATE TABLE u (c BIGINT, a INT, PRIMARY KEY ({key}) NOT ENFORCED) WITH ('connector'='upsert-kafka',
            'topic'='u','properties.bootstrap.servers'='x','key.format'='json','value.format'='json',
            'scan.bounded.mode'='latest-offset');\n"
        );
        finished(&format!("{TABLE}{upsert}INSERT INTO u SELECT COUNT(*), a FROM t GROUP BY a"), &memory);
        let copy = format!(
            "{upsert}CREATE TABLE o (c BIGINT, a INT) WITH ('connector'='print'); INSERT INTO o SELECT * FROM u"
        );
        assert_eq!(left(&finished(&copy, &memory)), ["[2, 2]", "[6, 1]"], "{key}");
    }
}

#[test]
fn a_value_of_another_length_than_its_column_stops_the_job_if_that_is_asked() {
    let strict = "CREATE TABLE v (s VARCHAR(3)) WITH ('connector'='kafka','topic'='bids','format'='json',
        'properties.bootstrap.servers'='x','scan.startup.mode'='earliest-offset',
        'scan.bounded.mode'='latest-offset');
        CREATE TABLE o (s VARCHAR(3)) WITH ('connector'='print');
        SET 'table.exec.sink.type-length-enforcer' = 'ERROR';
        INSERT INTO o SELECT s FROM v";
    let memory = with_bids();
    let mut job =
        Job::restore(JobId("j".to_owned()), compile(strict).unwrap().remove(0), None, &memory).unwrap();
    drive(&mut job, &memory, &mut memory.clone(), 0, &|| false).unwrap();
    let Phase::Failed(failure) = job.phase() else { panic!("{:?}", job.phase()) };
    let reason = "Column 's' is VARCHAR(3), however, a string of length 4 is being written into it. You can set job \
                  configuration 'table.exec.sink.type-length-enforcer' to control this behaviour.";
    assert_eq!((failure.offset, failure.reason.as_str()), (3, reason));
    let error = compile(&strict.replace("ERROR", "MAYBE")).unwrap_err();
    let said = "SET 'table.exec.sink.type-length-enforcer': 'MAYBE' is none of IGNORE, TRIM_PAD, ERROR";
    assert_eq!(error.message, said);
}
