//! What is refused, where, and in which words.

use super::physical::{JobPlan, NodeKind};
use crate::stream::{compile, explain, sql::SqlErrorKind};

pub(super) const TABLES: &str =
    "CREATE TABLE t (a INT, b STRING, ts TIMESTAMP(3)) WITH ('connector'='datagen');
CREATE TABLE u (a INT) WITH ('connector'='datagen');
CREATE TABLE s (a INT) WITH ('connector'='blackhole');
CREATE TABLE s3 (a INT, b STRING, ts TIMESTAMP(3)) WITH ('connector'='blackhole');
";
/// The line on which the statement under test begins.
const LINE: u64 = 5;

pub(super) fn check(statement: &str, kind: SqlErrorKind, column: u64, message: &str) {
    let error = compile(&format!("{TABLES}{statement}")).expect_err(statement);
    assert_eq!((error.at.line, error.at.column), (LINE, column), "{statement}: {error}");
    assert_eq!((error.kind, error.message.as_str()), (kind, message), "{statement}");
}

pub(super) fn invalid(statement: &str, column: u64, message: &str) {
    check(statement, SqlErrorKind::Invalid, column, message);
}

pub(super) fn not_yet(statement: &str, column: u64, what: &str) {
    check(statement, SqlErrorKind::NotYet, column, &format!("{what}: valid Flink, not supported here yet"));
}

#[test]
fn what_is_not_here_yet_is_refused_before_a_job_starts() {
    not_yet("INSERT INTO s SELECT PERCENTILE(a, 0.5) FROM t", 22, "the function PERCENTILE");
    not_yet(
        "INSERT INTO s SELECT a FROM t GROUP BY GROUPING SETS ((a), (a))",
        56,
        "a grouping set that is given twice",
    );
    not_yet(
        "INSERT INTO s SELECT a FROM t UNION ALL SELECT a FROM u ORDER BY a",
        66,
        "ORDER BY of a UNION by anything but a column's number",
    );
    not_yet(
        "CREATE TABLE x (a INT) WITH ('connector'='filesystem','path'='s3://b/c','format'='json')",
        62,
        "files behind 's3:'",
    );
    not_yet(
        "CREATE TABLE x (a INT) WITH ('connector'='filesystem','path'='/x','format'='json','auto-compaction'='true')",
        83,
        "the option 'auto-compaction'",
    );
    not_yet(
        "INSERT INTO s SELECT CAST(ROW_NUMBER() OVER (ORDER BY ts) AS INT) FROM t",
        27,
        "OVER in an order that is not an ascending time attribute (but for ROW_NUMBER with a filter on it)",
    );
    not_yet(
        "INSERT INTO s SELECT a FROM t GROUP BY a QUALIFY ROW_NUMBER() OVER (ORDER BY a) = 1",
        50,
        "QUALIFY here",
    );
    not_yet("INSERT INTO s SELECT a FROM t MATCH_RECOGNIZE (PATTERN (A))", 31, "MATCH_RECOGNIZE");
    not_yet("INSERT OVERWRITE s SELECT a FROM t", 8, "INSERT OVERWRITE");
    not_yet("INSERT INTO s SELECT PARSE_JSON(b) FROM t", 22, "the function PARSE_JSON");
    not_yet("INSERT INTO s SELECT a FROM t, LATERAL TABLE(f(a))", 32, "LATERAL");
    not_yet(
        "SET 'table.exec.mini-batch.enabled' = 'true'",
        1,
        "SET 'table.exec.mini-batch.enabled' = 'true'",
    );
    not_yet("CREATE FUNCTION f AS 'x'", 8, "CREATE FUNCTION");
    not_yet("CREATE TABLE x (a INT) WITH ('connector'='jdbc')", 42, "the connector 'jdbc'");
    not_yet(
        "CREATE TABLE x (a INT) PARTITIONED BY (a) WITH ('connector'='print')",
        40,
        "PARTITIONED BY of a table with the connector 'print'",
    );
    not_yet(
        "CREATE TABLE x (a INT, d DATE) PARTITIONED BY (d) WITH ('connector'='filesystem','path'='/x','format'='csv')",
        48,
        "PARTITIONED BY a column of type DATE",
    );
    not_yet(
        "INSERT INTO s SELECT a FROM t WHERE (a, a) > ANY (SELECT a, a FROM u)",
        38,
        "rows before ANY and ALL",
    );
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let syntax =
        |statement: &str, column, message: &str| check(statement, SqlErrorKind::Syntax, column, message);
    invalid("INSERT INTO s SELECT c FROM t", 22, "Column 'c' not found in any table");
    let datagen = |column: &str, option: &str, message: &str| {
        let text = format!("CREATE TABLE x (f {column}) WITH ('connector'='datagen', {option})");
        invalid(&text, 21 + column.len() as u64, message);
    };
    datagen(
        "BINARY(3)",
        "'fields.f.length'='2'",
        "Custom length for fixed-length type (CHAR/BINARY) field 'f' is not supported.",
    );
    datagen(
        "VARBINARY(3)",
        "'fields.f.length'='5'",
        "Custom length '5' for variable-length type (VARCHAR/STRING/VARBINARY/BYTES) field 'f' should be shorter than '3' \
         defined in the schema.",
    );
    datagen(
        "DECIMAL(5, 2)",
        "'fields.f.min'='-5', 'fields.f.max'='-7'",
        "min bound must be less than max [-5.000000, -7.000000]",
    );
    invalid("INSERT INTO s SELECT a FROM v", 29, "Object 'v' not found");
    invalid(
        "INSERT INTO s SELECT a FROM t ORDER BY a",
        40,
        "Sort on a non-time-attribute field is not supported.",
    );
    invalid(
        "INSERT INTO s SELECT a FROM t OFFSET 3",
        15,
        "FETCH is missed, which on streaming table is not supported currently.",
    );
    syntax(
        "INSERT INTO s SELECT a FROM t MINUS SELECT a FROM u",
        15,
        "MINUS is not allowed under the current SQL conformance level",
    );
    invalid("INSERT INTO s SELECT a", 22, "Column 'a' not found in any table");
    invalid("INSERT INTO s VALUES (1), (2, 3)", 22, "Column count mismatch in UNION ALL");
    invalid("INSERT INTO s SELECT a FROM t JOIN u USING (b)", 45, "Column 'b' not found in any table");
    invalid(
        "INSERT INTO s SELECT CAST(GROUPING(b) AS INT) FROM t GROUP BY a",
        36,
        "Argument to GROUPING operator must be a grouped expression",
    );
    invalid("INSERT INTO s SELECT a FROM t EXCEPT SELECT a, a FROM u", 38, "Column count mismatch in EXCEPT");
    invalid(
        "INSERT INTO s SELECT a FROM t INTERSECT ALL SELECT a, a FROM u",
        45,
        "Column count mismatch in INTERSECT ALL",
    );
    invalid(
        "CREATE TABLE x (a MULTISET<INT>) WITH ('connector'='filesystem','path'='/x','format'='json')",
        17,
        "JSON format doesn't support non-string as key type of map. The type is: MULTISET<INT>",
    );
    invalid(
        "CREATE TABLE x (a INT) WITH ('connector'='filesystem','path'='a/../../b','format'='json')",
        62,
        "Invalid value for option 'path': 'a/../../b'; '..' is not allowed in it",
    );
    invalid(
        "CREATE TABLE x (a INT) WITH ('connector'='filesystem','path'='/x','format'='csv','csv.field-delimiter'=';;')",
        104,
        "Option 'csv.field-delimiter' must be a string with single character, but was: ;;",
    );
    invalid(
        "CREATE TABLE x (a MAP<STRING, INT>) WITH ('connector'='filesystem','path'='/x','format'='csv')",
        17,
        "Unsupported type 'MAP<STRING, INT>' for field 'a'.",
    );
    invalid(
        "CREATE TABLE x (a STRING METADATA FROM 'offset') WITH ('connector'='filesystem','path'='/x','format'='csv')",
        17,
        "Invalid metadata key 'offset' in column 'a' of table 'default_catalog.default_database.x'. The table source \
         supports the following metadata keys for reading:\nfile.modification-time\nfile.name\nfile.path\nfile.size",
    );
    for zone in ["EST", "UTC+8", "+08:00", "Z", "europe/berlin"] {
        invalid(
            &format!("SET 'table.local-time-zone' = '{zone}'"),
            1,
            "Invalid time zone. The value should be a Time Zone Database (TZDB) ID such as 'America/Los_Angeles' to \
             include daylight saving time. Fixed offsets are supported using 'GMT-03:00' or 'GMT+03:00'. Or use 'UTC' \
             without time zone and daylight saving time.",
        );
    }
    invalid(
        "INSERT INTO s SELECT TIMESTAMPDIFF(DAY, ts, CURRENT_TIMESTAMP) FROM t",
        22,
        "TIMESTAMP_LTZ only supports diff between the same type.",
    );
    invalid(
        "INSERT INTO s SELECT a FROM u /*+ OPTIONS('number-of-rows'='x') */ AS o",
        29,
        "Invalid value for option 'number-of-rows': 'x'; expected a number",
    );
    invalid(
        "INSERT INTO s WITH c AS (SELECT a FROM u) SELECT a FROM c /*+ OPTIONS('k'='v') */",
        57,
        "View 'c' cannot be enriched with new options. Hints can only be applied to tables.",
    );
    syntax("INSERT INTO s SELECT a FROM u WHERE a > 1 /*+ OPTIONS('k'='v') */", 43, "Encountered \"/*+\"");
    syntax("INSERT INTO s SELECT a FROM u /*+ OPTIONS('k') */", 29, "expected: =, found: )");
    invalid("INSERT INTO v SELECT a FROM t", 13, "Object 'v' not found");
    invalid(
        "INSERT INTO s SELECT a + b FROM t",
        22,
        "Cannot apply '+' to arguments of type '<INT> + <STRING>'",
    );
    invalid("INSERT INTO s SELECT a FROM t WHERE a", 37, "WHERE clause must be a condition");
    let lag = |call: &str, message: &str| {
        invalid(&format!("INSERT INTO s SELECT {call} OVER (ORDER BY ts) FROM t"), 22, message);
    };
    lag("LAG()", "Invalid number of arguments to function 'LAG'. Was expecting 1 arguments");
    lag("LAG(a, '1')", "Cannot apply 'LAG' to arguments of type 'LAG(<INT>, <CHAR(1)>)'");
    lag("LAG(a, 1, b)", "Please explicitly cast default value STRING to INT NOT NULL.");
    lag("LAG(a) FILTER (WHERE a > 1)", "OVER must be applied to aggregate function");
    lag("LEAD(a)", "LEAD Function is not supported in stream mode.");
    invalid("INSERT INTO s SELECT c.* FROM t", 22, "Unknown identifier 'c'");
    invalid("INSERT INTO s SELECT t.a.* FROM t", 22, "Not a record type. The '*' operator requires a record");
    invalid(
        "INSERT INTO s SELECT r.* FROM (SELECT ROW(a) AS r FROM t) GROUP BY r",
        22,
        "Expression 'r.EXPR$0' is not being grouped",
    );
    let qualify = |select: &str, condition: &str, message: &str| {
        let select = format!("INSERT INTO s SELECT {select} FROM t QUALIFY ");
        invalid(&format!("{select}{condition}"), select.len() as u64 + 1, message);
    };
    qualify("a", "a > 1", "QUALIFY expression 'a > 1' must contain a window function");
    qualify("a", "a", "QUALIFY clause must be a condition");
    qualify("ROW_NUMBER() OVER (ORDER BY ts) AS a", "a = 1", "Column 'a' is ambiguous");
    qualify("a", "n > LAG(a) OVER (ORDER BY ts)", "Column 'n' not found in any table");
    invalid("INSERT INTO s SELECT LAG(a) FROM t", 22, "OVER clause is necessary for window functions");
    invalid(
        "INSERT INTO s SELECT LAG(a) OVER (ORDER BY ts ROWS UNBOUNDED PRECEDING) FROM t",
        22,
        "ROW/RANGE not allowed with RANK, DENSE_RANK or ROW_NUMBER functions",
    );
    invalid(
        "INSERT INTO s SELECT LAG(a) OVER (ORDER BY ts), ROW_NUMBER() OVER (ORDER BY ts) FROM t",
        49,
        "All aggregates must be computed on the same window.",
    );
    invalid("INSERT INTO s SELECT FOO(a) FROM t", 22, "No match found for function signature FOO");
    invalid(
        "INSERT INTO s SELECT CAST(ts AS INT) FROM t",
        27,
        "Cast function cannot convert value of type TIMESTAMP(3) to type INT",
    );
    invalid(
        "INSERT INTO s SELECT a FROM s",
        29,
        "Connector 'blackhole' can only be used as a sink. It cannot be used as a source.",
    );
    invalid(
        "INSERT INTO t SELECT a FROM u",
        13,
        "Connector 'datagen' can only be used as a source. It cannot be used as a sink.",
    );
    invalid(
        "CREATE TABLE t (a INT) WITH ('connector'='print')",
        14,
        "Could not execute CREATE: 'default_catalog.default_database.t' already exists.",
    );
    invalid(
        "CREATE TABLE x (a INT, a INT) WITH ('connector'='print')",
        24,
        "A column named 'a' already exists in the base table.",
    );
    invalid("CREATE TABLE x (a QUUX) WITH ('connector'='print')", 19, "Unknown data type 'QUUX'");
    invalid(
        "CREATE TABLE x (a DECIMAL(40)) WITH ('connector'='print')",
        19,
        "Decimal precision must be between 1 and 38 (both inclusive).",
    );
    invalid("DROP TABLE x", 12, "Table with identifier 'default_catalog.default_database.x' does not exist.");
    invalid("-- @warren lat-topic=x", 11, "@warren: no statement follows this comment");
    invalid(
        "CREATE TABLE x (a STRING) WITH ('connector'='print', 'foo'='1')",
        54,
        "Unsupported options found for 'print'.\n\nUnsupported options:\n\nfoo\n\nSupported options:\n\nconnector\nprint-identifier\nproperty-version\nsink.parallelism\nstandard-error",
    );
    syntax(
        "INSERT INTO s SELEC a FROM t",
        15,
        "expected: SELECT, VALUES, or a subquery in the query body, found: SELEC",
    );
    syntax("CREATE TABLE x (a INT", 22, "expected: ), found: EOF");
    syntax(
        "INSERT INTO s SELECT a FROM t extra words",
        37,
        "expected ';' or the end of the text, found 'words'",
    );
    syntax(
        "INSERT INTO s SELECT \"a\" FROM t",
        22,
        "texts are in single quotes, names in backticks; double quotes are not Flink SQL",
    );
    syntax("INSERT INTO s SELECT a::INT FROM t", 22, "'::' is not Flink SQL, write CAST(… AS …)");
    syntax("MERGE INTO t", 1, "expected a statement of Flink SQL, found 'MERGE'");
    syntax("INSERT INTO s SELECT a FROM t EMIT CHANGES", 31, "EMIT is not part of Flink SQL");
}

/// Two tables in one topic each: `k` with a plain sink, `uk` with one that replaces by key.
const SINKS: &str = "CREATE TABLE k (a INT, n BIGINT) WITH ('connector'='kafka','topic'='k','format'='json',
 'properties.bootstrap.servers'='x');
CREATE TABLE uk (a INT, n BIGINT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector'='upsert-kafka','topic'='uk',
 'properties.bootstrap.servers'='x','key.format'='json','value.format'='json');
CREATE TABLE e (a INT, b STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector'='kafka','topic'='e',
 'properties.bootstrap.servers'='x','format'='json','scan.startup.mode'='earliest-offset');
";

#[test]
fn what_a_query_makes_must_suit_what_reads_it() {
    let refused = |statement: &str, message: &str| {
        let error = compile(&format!("{TABLES}{SINKS}{statement}")).expect_err(statement);
        assert_eq!(error.message, message, "{statement}");
    };
    refused(
        "INSERT INTO k SELECT a, COUNT(*) FROM t GROUP BY a",
        "Table sink 'default_catalog.default_database.k' doesn't support consuming update changes which is produced by \
         node GroupAggregate",
    );
    refused(
        "INSERT INTO k SELECT t.a, CAST(u.a AS BIGINT) FROM t LEFT JOIN u ON t.a = u.a",
        "Table sink 'default_catalog.default_database.k' doesn't support consuming update and delete changes which is \
         produced by node Join",
    );
    refused(
        "INSERT INTO s SELECT a FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND))",
        "The window function requires the timecol is a time attribute type, but is TIMESTAMP(3).",
    );
    refused(
        "INSERT INTO s SELECT a FROM TABLE(HOP(TABLE e, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '3' SECOND))",
        "HOP table function based aggregate requires size must be an integral multiple of slide, but got 3000 ms and \
         2000 ms",
    );
    refused("INSERT INTO s SELECT b FROM t GROUP BY a", "Expression 'b' is not being grouped");
    refused("INSERT INTO s SELECT a FROM t WHERE COUNT(*) > 1", "Aggregate expression is illegal here");
    refused("INSERT INTO s SELECT a FROM t, t AS o", "Column 'a' is ambiguous");
    refused(
        "INSERT INTO s SELECT a FROM t FOR SYSTEM_TIME AS OF ts",
        "Table 't' with FOR SYSTEM_TIME AS OF must be the right side of a join",
    );
    for accepted in [
        "INSERT INTO uk SELECT a, COUNT(*) FROM t GROUP BY a",
        "INSERT INTO uk SELECT CAST(c AS INT), a FROM (SELECT a, COUNT(*) AS c FROM t GROUP BY a)",
        "INSERT INTO uk SELECT a, n FROM (SELECT a, COUNT(*) AS n FROM t GROUP BY a) WHERE n > 3",
        "INSERT INTO k SELECT a, COUNT(*) FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '1' SECOND)) \
         GROUP BY a, window_start, window_end",
        "INSERT INTO k SELECT t.a, 1 FROM t JOIN u ON t.a = u.a",
        "SET 'table.exec.state.ttl' = '1 h'; INSERT INTO s SELECT DISTINCT a FROM t",
    ] {
        compile(&format!("{TABLES}{SINKS}{accepted}")).unwrap_or_else(|e| panic!("{accepted}: {e}"));
    }
}

#[test]
fn a_sink_that_does_not_fit_is_refused_in_flinks_words() {
    let message = "Column types of query result and sink for 'default_catalog.default_database.s' do not match.\n\
                   Cause: Different number of columns.\n\n\
                   Query schema: [a: INT, b: STRING]\nSink schema:  [a: INT]";
    check("INSERT INTO s SELECT a, b FROM t", SqlErrorKind::Invalid, 13, message);
    let message = "Column types of query result and sink for 'default_catalog.default_database.s' do not match.\n\
                   Cause: Incompatible types for sink column 'a' at position 0.\n\n\
                   Query schema: [b: STRING]\nSink schema:  [a: INT]";
    check("INSERT INTO s SELECT b FROM t", SqlErrorKind::Invalid, 13, message);
}

#[test]
fn unknown_or_lost_hints_are_errors_with_their_place() {
    let rows = [
        (
            "-- @warren lat-topic=x\nINSERT INTO s SELECT a FROM t",
            1,
            12,
            "@warren: unknown key 'lat-topic'; known keys: dlq, late-topic, sync",
        ),
        (
            "-- @warren dlq=x sync=maybe\nINSERT INTO s SELECT a FROM t",
            1,
            18,
            "@warren: sync must be true or false, not 'maybe'",
        ),
        ("-- @warren dlq\nINSERT INTO s SELECT a FROM t", 1, 12, "@warren: expected key=value, found 'dlq'"),
        (
            "-- @warren late-topic=x\nINSERT INTO s SELECT a FROM t",
            1,
            12,
            "late-topic=x: this job has no window, so no row is ever late",
        ),
        (
            "INSERT INTO s\n-- @warren dlq=x\nSELECT a FROM t",
            2,
            11,
            "@warren: this comment stands before no statement",
        ),
        ("-- @warren dlq=x\nDROP TABLE u", 1, 12, "@warren: DROP takes no such comment, only INSERT does"),
    ];
    for (statement, line, column, message) in rows {
        let error = compile(&format!("{TABLES}{statement}")).expect_err(statement);
        let at = (error.at.line - LINE + 1, error.at.column);
        assert_eq!((at, error.message.as_str()), ((line, column), message), "{statement}");
    }
    let jobs =
        compile(&format!("{TABLES}-- @warren dlq=bad sync=true\nINSERT INTO s SELECT a FROM t")).unwrap();
    assert_eq!((jobs[0].dlq.as_deref(), jobs[0].sync), (Some("bad"), true));
}

#[test]
fn jobs_are_named_as_flink_names_them() {
    let sql = format!(
        "{TABLES}INSERT INTO s SELECT a FROM t; SET 'pipeline.name' = 'mine'; INSERT INTO s SELECT a FROM u"
    );
    let names: Vec<String> = compile(&sql).unwrap().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["insert-into_default_catalog.default_database.s", "mine"]);
}

#[test]
fn equal_parts_run_once_and_ids_stay() {
    let set = |extra: &str| {
        format!(
            "{TABLES}EXECUTE STATEMENT SET BEGIN INSERT INTO s SELECT a FROM t WHERE a > 1; INSERT INTO s3 SELECT a, b, ts FROM t; {extra} END"
        )
    };
    let one = compile(&set("")).unwrap().remove(0);
    let sources = |job: &super::JobPlan| {
        job.nodes.iter().filter(|n| n.inputs.is_empty()).map(|n| n.id).collect::<Vec<_>>()
    };
    assert_eq!(sources(&one).len(), 1);
    let more = compile(&set("INSERT INTO s SELECT a FROM u;")).unwrap().remove(0);
    assert_eq!((sources(&one)[0], sources(&more).len()), (sources(&more)[0], 2));
    assert_ne!(one.fingerprint(), more.fingerprint());
    assert_eq!(one.fingerprint(), compile(&set("")).unwrap().remove(0).fingerprint());
}

#[test]
fn a_plan_is_explained() {
    let sql = format!(
        "{TABLES}EXPLAIN INSERT INTO s SELECT a * 2 FROM (SELECT a, b FROM t WHERE a > 1) WHERE b LIKE 'x%'"
    );
    let text = explain(&sql).unwrap().remove(0);
    let shown: Vec<&str> = text.lines().map(|line| line.split(" id=").next().unwrap()).collect();
    assert_eq!(
        shown,
        [
            "== Optimized Execution Plan ==",
            "Sink(table=[default_catalog.default_database.s], fields=[a])",
            "+- Calc(select=[(a * 2:INT) AS a], where=[AND((a > 1:INT), LIKE(b, 'x%'))])",
            "   +- TableSourceScan(table=[[default_catalog.default_database.t]], fields=[a, b])",
            "",
        ]
    );
}

#[test]
fn types_are_read_as_flink_writes_them() {
    let types = "a ROW<x INT NOT NULL, `y z` ARRAY<STRING>>, b MAP<STRING, ARRAY<MAP<STRING, INT>>>, c TIMESTAMP(3) WITH LOCAL TIME ZONE, d INT ARRAY, e DOUBLE PRECISION, f TIMESTAMP_LTZ(3) NOT NULL";
    compile(&format!("CREATE TABLE x ({types}) WITH ('connector'='blackhole')")).unwrap();
}

#[test]
fn deep_and_long_texts_do_not_overflow() {
    let many = vec!["a"; 4_000].join("+");
    let error = compile(&format!("{TABLES}INSERT INTO s SELECT {many} FROM t")).unwrap_err();
    assert_eq!(error.message, "the expression is nested too deeply");
    let deep = "(".repeat(3_000);
    assert!(compile(&format!("{TABLES}INSERT INTO s SELECT {deep}a FROM t")).is_err());
    assert!(compile(&"x".repeat(2 << 20)).is_err());
}

#[test]
fn what_doubles_with_each_step_is_refused_or_cut() {
    let mut sql = TABLES.to_owned();
    for n in 0..40 {
        let from = if n == 0 { "t".to_owned() } else { format!("v{}", n - 1) };
        sql += &format!("CREATE VIEW v{n} AS SELECT b || b AS b FROM {from};\n");
    }
    // As Calcs upon each other: no copy is ever larger than the limit.
    let job = compile(&format!(
        "{sql} CREATE TABLE p (b STRING) WITH ('connector'='print'); INSERT INTO p SELECT b FROM v39"
    ));
    assert!(job.unwrap()[0].nodes.len() < 10);
    let mut sql = TABLES.to_owned();
    for n in 0..40 {
        let from = if n == 0 { "u".to_owned() } else { format!("v{}", n - 1) };
        sql += &format!("CREATE VIEW v{n} AS SELECT a FROM {from} UNION ALL SELECT a FROM {from};\n");
    }
    assert!(compile(&sql).unwrap_err().message.starts_with("with its views put in"));
    let nested = (0..40).fold("a".to_owned(), |inner, n| format!("NULLIF({inner}, {n})"));
    let error = compile(&format!("{TABLES}INSERT INTO s SELECT {nested} FROM t")).unwrap_err();
    assert!(
        ["the expression is too large", "the expression is nested too deeply"]
            .contains(&error.message.as_str()),
        "{error}"
    );
}

/// Nexmark's q6 and q13 do not run on Flink 2.2.1 either, for the same reasons.
#[test]
fn queries_of_nexmark_that_flink_refuses_are_refused() {
    let tables = "CREATE TABLE bid (auction BIGINT, seller BIGINT, price BIGINT, ts TIMESTAMP(3), pt AS PROCTIME(),
        WATERMARK FOR ts AS ts) WITH ('connector'='datagen');
        CREATE TABLE side (k BIGINT, v STRING) WITH ('connector'='filesystem','path'='side','format'='csv');
        CREATE TABLE keyed (k BIGINT, v STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector'='upsert-kafka',
          'topic'='k','properties.bootstrap.servers'='x','key.format'='json','value.format'='json');
        CREATE TABLE o (a BIGINT, b BIGINT) WITH ('connector'='blackhole');
        CREATE TABLE p (a BIGINT, b STRING) WITH ('connector'='blackhole');\n";
    let rows = [
        (
            "INSERT INTO o SELECT seller, AVG(price) OVER (PARTITION BY seller ORDER BY ts ROWS BETWEEN 10 PRECEDING \
             AND CURRENT ROW) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction, seller ORDER BY price DESC) AS \
             rn FROM bid) WHERE rn <= 1",
            "OverAggregate doesn't support consuming update changes which is produced by node Rank",
        ),
        (
            "INSERT INTO p SELECT auction, v FROM bid JOIN side FOR SYSTEM_TIME AS OF bid.pt AS s ON auction = s.k",
            "Temporal Table Join requires primary key in versioned table, but no primary key can be found.",
        ),
        (
            "INSERT INTO p SELECT auction, v FROM bid JOIN keyed FOR SYSTEM_TIME AS OF bid.pt AS s ON auction = s.k",
            "Processing-time temporal join is not supported yet.",
        ),
    ];
    for (statement, message) in rows {
        let error = compile(&format!("{tables}{statement}")).expect_err(statement);
        assert_eq!((error.kind, error.message.as_str()), (SqlErrorKind::Invalid, message), "{statement}");
    }
}

#[test]
fn a_hint_names_relations_of_its_query() {
    let invalid = |hint: &str, message: &str| {
        let statement = format!("INSERT INTO s SELECT /*+ {hint} */ t.a FROM t JOIN u AS v ON t.a = v.a");
        check(&statement, SqlErrorKind::Invalid, 15, message);
    };
    let list = "The options of following hints cannot match the name of input tables or views: \n";
    invalid("STATE_TTL('u'='1d')", &format!("{list}`u` in `STATE_TTL`"));
    invalid("BROADCAST(t, x)", &format!("{list}`x` in `BROADCAST`"));
    invalid("STATE_TTL('t'='soon')", "Invalid STATE_TTL hint value: soon");
    invalid("STATE_TTL(t)", "Invalid list options in STATE_TTL hint, only support key-value options.");
    invalid("MULTI_JOIN(t, v)", "Hint: MULTI_JOIN should be registered in the HintStrategyTable");
    let plan = |hint: &str| {
        let statement = format!("INSERT INTO s SELECT {hint} t.a FROM t JOIN u AS v ON t.a = v.a");
        compile(&format!("{TABLES}SET 'table.exec.state.ttl' = '1 h';{statement}")).unwrap().remove(0)
    };
    let ttl = |plan: &JobPlan| {
        plan.nodes.iter().find_map(|node| {
            let NodeKind::Join(join) = &node.kind else { return None };
            Some(join.ttl_ms)
        })
    };
    let hour = Some(3_600_000);
    assert_eq!(ttl(&plan("")), Some([hour, hour]));
    assert_eq!(ttl(&plan("/*+ SHUFFLE_HASH(v), STATE_TTL('v' = '1 s') */")), Some([hour, Some(1_000)]));
    assert_eq!(ttl(&plan("/*+ STATE_TTL('t' = '0 s', 'v' = '1 d') */")), Some([None, Some(86_400_000)]));
}
