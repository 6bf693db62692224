//! Statements of a text besides queries: what they leave, and what is refused of them, in Flink's words where it has some.

use super::{
    Planned, plan,
    tests::{TABLES, check, invalid, not_yet},
};
use crate::stream::{compile, explain, said, sql::SqlErrorKind};

#[test]
fn what_only_flinks_client_or_another_catalog_could_answer_is_refused() {
    not_yet("SHOW JOBS", 6, "SHOW JOBS");
    not_yet("SHOW CREATE VIEW v", 6, "SHOW CREATE VIEW");
    not_yet("DESCRIBE CATALOG default_catalog", 10, "DESCRIBE CATALOG");
    let modules = |names: &str, why: &str| {
        invalid(
            &format!("USE MODULES {names}"),
            5,
            &format!("Could not execute USE MODULES: [{names}]. {why}"),
        );
    };
    modules("hive", "No module with name 'hive' exists");
    modules("core, core", "Module 'core' appears more than once");
    not_yet("RESET 'table.exec.mini-batch.enabled'", 1, "RESET 'table.exec.mini-batch.enabled'");
    not_yet("ALTER DATABASE d SET ('a' = 'b')", 7, "ALTER DATABASE");
    not_yet("ALTER TABLE t ADD PARTITION (a = 1)", 19, "ALTER TABLE … ADD PARTITION");
    not_yet("ALTER TABLE u DROP a", 20, "a table without columns");
    not_yet("CREATE TABLE x WITH ('connector'='print')", 14, "a table without columns");
    not_yet("EXPLAIN CHANGELOG_MODE SELECT a FROM t", 9, "EXPLAIN CHANGELOG_MODE");
    not_yet("EXPLAIN JSON_EXECUTION_PLAN, PLAN_ADVICE SELECT a FROM t", 30, "EXPLAIN PLAN_ADVICE");
    let syntax = |text: &str, column, message: &str| check(text, SqlErrorKind::Syntax, column, message);
    syntax(
        "EXPLAIN JSON_EXECUTION_PLAN, JSON_EXECUTION_PLAN SELECT a FROM t",
        30,
        "Duplicate EXPLAIN DETAIL is not allowed.",
    );
    syntax(
        "EXPLAIN CREATE TABLE c (a INT) WITH ('connector'='print')",
        9,
        "Unsupported CREATE OR REPLACE statement for EXPLAIN. The statement must define a query using the AS clause \
         (i.e. CTAS/RTAS statements).",
    );
    invalid("USE nodb", 5, "A database with name [nodb] does not exist in the catalog: [default_catalog].");
    invalid("USE CATALOG nocat", 13, "A catalog with name [nocat] does not exist.");
    invalid("SHOW TABLES FROM nodb", 18, "Database 'default_catalog'.'nodb' doesn't exist.");
    let missing = "Tables or views with the identifier 'default_catalog.default_database.x' doesn't exist.";
    invalid("DESCRIBE x", 10, missing);
    invalid("SHOW COLUMNS IN x", 17, missing);
}

#[test]
fn drop_says_which_object_it_means() {
    let of =
        |noun: &str| format!("{noun} with identifier 'default_catalog.default_database.x' does not exist.");
    invalid("DROP TABLE x", 12, &of("Table"));
    invalid("DROP VIEW x", 11, &of("View"));
    invalid("DROP TEMPORARY VIEW x", 21, &of("Temporary table or view"));
    let hidden = "CREATE TEMPORARY TABLE u (z INT) WITH ('connector' = 'print'); ";
    invalid(
        &format!("{hidden}DROP TABLE u"),
        75,
        "Temporary table with identifier '`default_catalog`.`default_database`.`u`' exists. Drop it first before \
         removing the permanent table.",
    );
    invalid(
        &format!("{hidden}ALTER TABLE u RENAME TO x"),
        76,
        "Table `default_catalog`.`default_database`.`u` doesn't exist or is a temporary table.",
    );
    invalid(
        &format!("{hidden}{hidden}"),
        87,
        "Temporary table '`default_catalog`.`default_database`.`u`' already exists",
    );
}

#[test]
fn like_is_refused_in_flinks_words() {
    const BASE: &str = "CREATE TABLE b (x INT, c AS x + 1) WITH ('connector' = 'datagen'); ";
    let column = BASE.len() as u64;
    let like = |statement: &str, at: u64, message: &str| {
        invalid(&format!("{BASE}CREATE TABLE k {statement}"), column + at, message);
    };
    like("(x BIGINT) LIKE b", 17, "A column named 'x' already exists in the base table.");
    like(
        "(c AS 1) LIKE b",
        17,
        "A generated column named 'c' already exists in the base table. You might want to specify EXCLUDING GENERATED \
         or OVERWRITING GENERATED.",
    );
    like(
        "(x AS 1) LIKE b (OVERWRITING GENERATED)",
        17,
        "A column named 'x' already exists in the table. Duplicate columns exist in the compute column and regular \
         column. ",
    );
    like(
        "WITH ('connector' = 'print') LIKE b (INCLUDING ALL)",
        22,
        "There already exists an option ['connector' -> 'datagen']  in the base table. You might want to specify \
         EXCLUDING OPTIONS or OVERWRITING OPTIONS.",
    );
    let once = "Each like option feature can be declared only once.";
    like("LIKE b (INCLUDING OPTIONS EXCLUDING OPTIONS)", 42, once);
    like("LIKE b (OVERWRITING ALL)", 24, "Illegal merging strategy 'OVERWRITING' for 'ALL' option.");
    let nowhere = format!(
        "Source table '`default_catalog`.`default_database`.`away`' of the LIKE clause not found in the catalog, at line \
         5, column {}",
        column + 21
    );
    like("LIKE away", 21, &nowhere);
}

#[test]
fn what_like_only_takes_from_needs_no_connector_that_works() {
    const BASES: &str = "CREATE TABLE n (x INT); CREATE TABLE j (x INT) WITH ('connector' = 'nowhere'); ";
    const LIKES: &str = "CREATE TABLE p WITH ('connector' = 'print') LIKE n;
        CREATE TABLE d WITH ('connector' = 'datagen') LIKE j; ";
    let jobs = compile(&format!("{BASES}{LIKES}INSERT INTO p SELECT x FROM d")).unwrap();
    assert_eq!(jobs.len(), 1);
    let none = "Table options do not contain an option key 'connector' for discovering a connector.";
    invalid("CREATE TABLE n (x INT)", 23, none);
    for used in ["INSERT INTO n SELECT x FROM d", "INSERT INTO p SELECT x FROM n"] {
        let error = compile(&format!("{BASES}{LIKES}{used}")).unwrap_err();
        assert_eq!((error.at.column, error.message.as_str()), (23, none), "{used}");
    }
    let error = compile(&format!("{BASES}{LIKES}INSERT INTO p SELECT x FROM j")).unwrap_err();
    assert!(error.message.starts_with("Could not find any factory for identifier 'nowhere'"), "{error}");
}

#[test]
fn a_query_may_read_the_table_that_it_replaces() {
    let text = "CREATE TABLE r (x INT) WITH ('connector' = 'datagen');
        CREATE OR REPLACE TABLE r WITH ('connector' = 'print') AS SELECT x AS y FROM r; DESCRIBE r";
    let [Planned::Job(job), Planned::Said(said)] = &plan(text).unwrap()[..] else { panic!() };
    assert_eq!(job.name, "insert-into_default_catalog.default_database.r");
    assert!(said.contains(" y ") && !said.contains(" x "), "{said}");
}

#[test]
fn alter_is_refused_in_flinks_words() {
    let alter = |change: &str, column: u64, message: &str| {
        let message = format!("Failed to execute ALTER TABLE statement.\n{message}");
        invalid(&format!("ALTER TABLE t {change}"), column, &message);
    };
    alter("RENAME x TO y", 22, "The column `x` does not exist in the base table.");
    alter("RENAME a TO b", 27, "The column `b` already existed in table schema.");
    alter("ADD a INT", 19, "Try to add a column `a` which already exists in the table.");
    alter("ADD x INT AFTER y", 31, "Referenced column `y` by 'AFTER' does not exist in the table.");
    alter("MODIFY x INT", 22, "Try to modify a column `x` which does not exist in the table.");
    alter("DROP (a, a)", 24, "Duplicate column `a`.");
    alter("DROP PRIMARY KEY", 20, "The base table does not define any primary key.");
    alter("DROP WATERMARK", 20, "The base table does not define any watermark strategy.");
    alter(
        "MODIFY WATERMARK FOR ts AS ts",
        22,
        "The base table does not define any watermark. You might want to add a new one.",
    );
    alter(
        "ADD (w AS a + 1); ALTER TABLE t DROP a",
        52,
        "The column `a` is referenced by computed column `w`.",
    );
    alter(
        "ADD WATERMARK FOR ts AS ts; ALTER TABLE t DROP ts",
        62,
        "The column `ts` is referenced by watermark expression.",
    );
    invalid(
        "ALTER TABLE t RESET ('connector')",
        22,
        "ALTER TABLE RESET does not support changing 'connector'",
    );
    invalid("ALTER VIEW t RENAME TO x", 12, "ALTER VIEW for a table is not allowed");
    invalid(
        "ALTER TABLE t RENAME TO u",
        25,
        "Could not execute ALTER TABLE default_catalog.default_database.t RENAME TO \
         default_catalog.default_database.u: Table (or view) default_database.u already exists in Catalog \
         default_catalog.",
    );
}

#[test]
fn a_table_of_a_query_is_a_job_and_its_mistakes_are_shown() {
    let jobs =
        compile(&format!("{TABLES}CREATE TABLE c WITH ('connector'='print') AS SELECT a, b FROM t")).unwrap();
    let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["insert-into_default_catalog.default_database.c"]);
    invalid(
        "CREATE TABLE c (a, x) WITH ('connector'='print') AS SELECT a, b FROM t",
        20,
        "Column 'x' not found in the source schema. ",
    );
    invalid(
        "CREATE TABLE c (a STRING) WITH ('connector'='print') AS SELECT a FROM t",
        17,
        "Incompatible types for sink column 'a' at position 0. The source column has type 'INT', while the target \
         column has type 'STRING'.",
    );
    invalid(
        "CREATE TEMPORARY TABLE c WITH ('connector'='print') AS SELECT a FROM t",
        53,
        "CREATE TABLE AS SELECT syntax does not support to create temporary table yet.",
    );
}

#[test]
fn reset_takes_back_what_was_set() {
    let text = "SET 'pipeline.name' = 'x'; SET 'parallelism.default' = '4'; RESET 'parallelism.default';
                INSERT INTO s SELECT a FROM t; SET 'parallelism.default' = '4'; SET 'pipeline.name' = 'z'; RESET;
                INSERT INTO s SELECT a FROM u";
    let jobs = compile(&format!("{TABLES}{text}")).unwrap();
    let found: Vec<(&str, usize)> = jobs.iter().map(|job| (job.name.as_str(), job.parallelism)).collect();
    assert_eq!(found, [("x", 1), ("insert-into_default_catalog.default_database.s", 1)]);
}

#[test]
fn a_text_says_what_it_is_asked_in_its_order() {
    let text =
        format!("{TABLES}SHOW VIEWS; INSERT INTO s SELECT a FROM t; EXPLAIN SELECT a FROM t WHERE a > 3");
    let planned = plan(&text).unwrap();
    let kinds: Vec<bool> = planned.iter().map(|planned| matches!(planned, Planned::Said(_))).collect();
    assert_eq!(kinds, [true, false, true]);
    let said = said(&text).unwrap();
    assert_eq!(explain(&text).unwrap(), said);
    let [views, query] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(views, "Empty set\n");
    assert!(query.starts_with("== Optimized Execution Plan ==\nCalc("), "{query}");
    assert!(!query.contains("Sink"), "{query}");
}

#[test]
fn a_graph_is_explained_with_what_moves_rows() {
    let text = "SET 'parallelism.default' = '2'; EXPLAIN JSON_EXECUTION_PLAN
                CREATE TABLE c WITH ('connector'='print') AS SELECT a, COUNT(*) AS n FROM t GROUP BY a; SHOW TABLES";
    let [plan, tables] = &said(&format!("{TABLES}{text}")).unwrap()[..] else { panic!() };
    let (tree, graph) = plan.split_once("\n\n== Physical Execution Plan ==\n").unwrap();
    assert!(tree.starts_with("== Optimized Execution Plan ==\nSink("), "{tree}");
    let graph: serde_json::Value = serde_json::from_str(graph).unwrap();
    let shown = |node: &serde_json::Value| {
        let ship = node["predecessors"][0]["ship_strategy"].as_str().unwrap_or_default().to_owned();
        (node["pact"].as_str().unwrap().to_owned(), ship, node["parallelism"].as_u64().unwrap())
    };
    let nodes: Vec<_> = graph["nodes"].as_array().unwrap().iter().map(shown).collect();
    let node = |pact: &str, ship: &str| (pact.to_owned(), ship.to_owned(), 2);
    assert_eq!(nodes.first(), Some(&node("Data Source", "")));
    assert!(nodes.contains(&node("Operator", "HASH")), "{nodes:?}");
    assert_eq!(nodes.last(), Some(&node("Data Sink", "FORWARD")));
    assert!(!tables.contains(" c |"), "{tables}");
}

#[test]
fn what_becomes_of_null_keys_is_one_of_three() {
    invalid(
        "CREATE TABLE x (m MAP<STRING, INT>) WITH ('connector'='filesystem','path'='/x','format'='json',\
         'json.map-null-key.mode'='KEEP')",
        121,
        "Unsupported value 'KEEP' for option map-null-key.mode. Supported values are [LITERAL, FAIL, DROP].",
    );
    check(
        "INSERT INTO s SELECT CHAR_LENGTH(JSON_OBJECTAGG(KEY a VALUE b)) FROM t",
        SqlErrorKind::Invalid,
        34,
        "Cannot apply 'JSON_OBJECTAGG_NULL_ON_NULL' to arguments of type '<INT> JSON_OBJECTAGG_NULL_ON_NULL <STRING>'",
    );
}

#[test]
fn sub_queries_that_flink_has_no_plan_for_are_refused() {
    let on = "Flink has no plan for this sub-query in ON: only for a value and for EXISTS, which must hold, in inner \
              and left joins";
    let joined = "INSERT INTO s SELECT t.a FROM t JOIN u ON t.a = u.a AND ";
    invalid(&format!("{joined}t.a IN (SELECT a FROM u)"), 57, on);
    invalid(&format!("{joined}NOT EXISTS (SELECT a FROM u)"), 69, on);
    invalid(&format!("{joined}EXISTS (SELECT a FROM u WHERE u.a = t.a)"), 93, "Table 't' not found");
    not_yet(
        "INSERT INTO s SELECT a FROM t WHERE EXISTS (SELECT a FROM u WHERE u.a < t.a GROUP BY ROLLUP (a))",
        45,
        "grouping sets in a sub-query that names the query around it",
    );
}
