//! The language construct by construct: each that Flink SQL has for streams either makes a job here or is refused by name.

use crate::stream::{compile, explain, sql::SqlErrorKind};

const TABLES: &str = "
CREATE TABLE t (a INT, b STRING, ts TIMESTAMP(3), arr ARRAY<INT>, pt AS PROCTIME(),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector'='kafka', 'topic'='t',
  'properties.bootstrap.servers'='localhost:9092', 'scan.startup.mode'='earliest-offset', 'format'='json');
CREATE TABLE u (a INT, w INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector'='kafka', 'topic'='u',
  'properties.bootstrap.servers'='localhost:9092', 'format'='json');
CREATE TABLE v (a INT, w INT, ts TIMESTAMP(3), PRIMARY KEY (a) NOT ENFORCED, WATERMARK FOR ts AS ts) WITH (
  'connector'='upsert-kafka', 'topic'='v', 'properties.bootstrap.servers'='localhost:9092', 'key.format'='json',
  'value.format'='json');
CREATE TABLE p (a INT) WITH ('connector'='print');
CREATE TABLE p2 (a INT, c BIGINT) WITH ('connector'='print');
";

/// Rows of a construct's name and a text that has it; each makes a job.
const SERVED: &[(&str, &str)] = &[
    ("INSERT INTO … SELECT", "INSERT INTO p SELECT a FROM t"),
    ("projection, CASE, CAST, TRY_CAST", "INSERT INTO p SELECT CASE WHEN a > 1 THEN TRY_CAST(b AS INT) ELSE CAST(a AS INT) END FROM t"),
    ("WHERE", "INSERT INTO p SELECT a FROM t WHERE b LIKE 'x%'"),
    ("GROUP BY, HAVING", "INSERT INTO p2 SELECT a, COUNT(*) FROM t GROUP BY a HAVING COUNT(*) > 1"),
    ("FILTER, COUNT(DISTINCT)", "INSERT INTO p2 SELECT a, COUNT(DISTINCT b) FILTER (WHERE a > 1) FROM t GROUP BY a"),
    ("UNION ALL", "INSERT INTO p SELECT a FROM t UNION ALL SELECT a FROM u"),
    ("sub-select in FROM", "INSERT INTO p SELECT a FROM (SELECT a FROM t WHERE a > 1)"),
    ("WITH", "INSERT INTO p WITH x AS (SELECT a FROM t) SELECT a FROM x"),
    ("CREATE TEMPORARY VIEW", "CREATE TEMPORARY VIEW x AS SELECT a FROM t; INSERT INTO p SELECT a FROM x"),
    ("TUMBLE of GROUP BY", "INSERT INTO p2 SELECT a, COUNT(*) FROM t GROUP BY a, TUMBLE(ts, INTERVAL '1' MINUTE)"),
    ("TABLE(TUMBLE(TABLE …))", "INSERT INTO p SELECT a FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"),
    ("TUMBLE(TABLE …), bare", "INSERT INTO p SELECT a FROM TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)"),
    (
        "HOP, with named arguments",
        "INSERT INTO p SELECT a FROM TABLE(HOP(DATA => TABLE t, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '1' MINUTE,
         SIZE => INTERVAL '5' MINUTE))",
    ),
    ("CUMULATE", "INSERT INTO p SELECT a FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))"),
    ("SESSION … PARTITION BY", "INSERT INTO p SELECT a FROM TABLE(SESSION(TABLE t PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"),
    (
        "window join",
        "INSERT INTO p SELECT l.a FROM (SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) l
         JOIN (SELECT * FROM TABLE(TUMBLE(TABLE u, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) r
         ON l.a = r.a AND l.window_start = r.window_start AND l.window_end = r.window_end",
    ),
    (
        "interval join",
        "INSERT INTO p SELECT t.a FROM t JOIN u ON t.a = u.a AND t.ts BETWEEN u.ts - INTERVAL '1' MINUTE AND u.ts",
    ),
    ("FOR SYSTEM_TIME AS OF", "INSERT INTO p SELECT t.a FROM t JOIN v FOR SYSTEM_TIME AS OF t.ts ON t.a = v.a"),
    ("CROSS JOIN UNNEST", "INSERT INTO p SELECT x FROM t CROSS JOIN UNNEST(arr) AS e (x)"),
    (
        "UNNEST … WITH ORDINALITY",
        "INSERT INTO p SELECT n FROM t LEFT JOIN UNNEST(arr) WITH ORDINALITY AS e (x, n) ON TRUE",
    ),
    (
        "ROW_NUMBER, the first of each",
        "INSERT INTO p SELECT a FROM (SELECT a, ROW_NUMBER() OVER (PARTITION BY a ORDER BY ts DESC) AS n FROM t) WHERE n <= 3",
    ),
    (
        "OVER, by range",
        "INSERT INTO p2 SELECT a, COUNT(*) OVER (PARTITION BY a ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING
         AND CURRENT ROW) FROM t",
    ),
    ("CURRENT_WATERMARK", "INSERT INTO p SELECT a FROM t WHERE ts < CURRENT_WATERMARK(ts)"),
    ("OPTIONS as a hint", "INSERT INTO p SELECT a FROM t /*+ OPTIONS('scan.startup.mode'='latest-offset') */"),
    ("SET", "SET 'table.exec.state.ttl' = '1 h'; INSERT INTO p SELECT a FROM t"),
    ("EXECUTE STATEMENT SET", "EXECUTE STATEMENT SET BEGIN INSERT INTO p SELECT a FROM t; INSERT INTO p SELECT a FROM u; END"),
    ("BEGIN STATEMENT SET", "BEGIN STATEMENT SET; INSERT INTO p SELECT a FROM t; INSERT INTO p SELECT a FROM u; END;"),
    ("CREATE TABLE … LIKE", "CREATE TABLE x WITH ('topic'='x') LIKE t; INSERT INTO p SELECT a FROM x"),
    ("CREATE TABLE … AS", "CREATE TABLE x WITH ('connector'='print') AS SELECT a FROM t"),
    ("DROP", "DROP TABLE p2; INSERT INTO p SELECT a FROM t"),
    (
        "all types",
        "CREATE TABLE x (c1 BOOLEAN, c2 INT, c3 BIGINT, c4 DOUBLE, c5 FLOAT, c6 DECIMAL(10, 2), c7 STRING, c8 VARCHAR(3),
         c9 BYTES, c10 DATE, c11 TIMESTAMP(3), c12 TIMESTAMP_LTZ(3), c13 TIMESTAMP(3) WITH LOCAL TIME ZONE,
         c14 ARRAY<INT>, c15 ROW<x INT, y ARRAY<INT>>, c16 MAP<STRING, INT>, c17 ROW(x INT)) WITH ('connector'='kafka',
         'topic'='x', 'properties.bootstrap.servers'='x', 'format'='json');
         INSERT INTO p SELECT c2 FROM x",
    ),
    (
        "METADATA FROM, VIRTUAL, computed columns",
        "CREATE TABLE x (a INT, rt TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', `partition` INT METADATA VIRTUAL,
         h MAP<STRING, BYTES> METADATA FROM 'headers', d AS a * 2, WATERMARK FOR rt AS rt) WITH ('connector'='kafka',
         'topic'='x', 'properties.bootstrap.servers'='x', 'format'='json');
         INSERT INTO p SELECT d FROM x WHERE `partition` = 0",
    ),
    ("the format raw", "CREATE TABLE x (v STRING) WITH ('connector'='kafka', 'topic'='x', 'properties.bootstrap.servers'='x', 'format'='raw'); INSERT INTO p SELECT CAST(v AS INT) FROM x"),
    ("the format csv", "CREATE TABLE x (a INT) WITH ('connector'='filesystem', 'path'='/x', 'format'='csv'); INSERT INTO p SELECT a FROM x"),
    ("datagen", "CREATE TABLE x (a INT) WITH ('connector'='datagen'); INSERT INTO p SELECT a FROM x"),
    ("blackhole", "CREATE TABLE x (a INT) WITH ('connector'='blackhole'); INSERT INTO x SELECT a FROM t"),
    ("a comment of ours", "-- @warren dlq=bad late-topic=late sync=true\nINSERT INTO p2 SELECT a, COUNT(*) FROM t GROUP BY a, TUMBLE(ts, INTERVAL '1' MINUTE)"),
];

/// What is refused, and in whose words.
const REFUSED: &[(&str, SqlErrorKind, &str)] = &[
    (
        "INSERT INTO p SELECT a FROM t MATCH_RECOGNIZE (PATTERN (A) WITHIN INTERVAL '1' HOUR)",
        SqlErrorKind::NotYet,
        "MATCH_RECOGNIZE",
    ),
    ("INSERT INTO p SELECT a FROM t, LATERAL TABLE(f(a))", SqlErrorKind::NotYet, "LATERAL"),
    ("BEGIN STATEMENT SET; END", SqlErrorKind::Syntax, "NO statements in statement set."),
    ("CREATE FUNCTION f AS 'x'", SqlErrorKind::NotYet, "CREATE FUNCTION"),
    ("INSERT INTO p SELECT a FROM t EMIT CHANGES", SqlErrorKind::Syntax, "EMIT is not part of Flink SQL"),
    (
        "INSERT INTO p SELECT a FROM t EMIT ON WINDOW CLOSE",
        SqlErrorKind::Syntax,
        "EMIT is not part of Flink SQL",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector'='print', 'nothing'='x')",
        SqlErrorKind::Invalid,
        "Unsupported options found",
    ),
];

#[test]
fn each_construct_makes_a_job_or_is_refused_by_name() {
    let wrong: Vec<String> = SERVED
        .iter()
        .filter_map(|(construct, text)| match compile(&format!("{TABLES}{text}")) {
            Ok(jobs) if jobs.len() == 1 => None,
            Ok(jobs) => Some(format!("{construct}: {} jobs", jobs.len())),
            Err(error) => Some(format!("{construct}: {error}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (text, kind, words) in REFUSED {
        let error = compile(&format!("{TABLES}{text}")).expect_err(text);
        assert!(error.kind == *kind && error.message.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_statement_set_is_explained_whole() {
    let text =
        "EXPLAIN STATEMENT SET BEGIN INSERT INTO p SELECT a FROM t; INSERT INTO p2 SELECT a, 1 FROM t; END";
    let said = explain(&format!("{TABLES}{text}")).unwrap().concat();
    assert_eq!(said.matches("Sink(").count(), 2, "{said}");
}
