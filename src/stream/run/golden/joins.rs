//! Joins: two streams that meet by key, by time, in windows and as of a version.

use super::{super::memory::Memory, finished, table};

const LEFT: &[&str] = &[
    r#"{"id":1,"k":"a","v":10,"ts":"2020-01-01 00:00:01"}"#,
    r#"{"id":2,"k":"b","v":20,"ts":"2020-01-01 00:00:02"}"#,
    r#"{"id":3,"k":"a","v":30,"ts":"2020-01-01 00:00:06"}"#,
    r#"{"id":4,"k":null,"v":40,"ts":"2020-01-01 00:00:07"}"#,
    r#"{"id":5,"k":"c","v":50,"ts":"2020-01-01 00:00:15"}"#,
];

const RIGHT: &[&str] = &[
    r#"{"k":"a","w":1,"ts":"2020-01-01 00:00:02"}"#,
    r#"{"k":"c","w":2,"ts":"2020-01-01 00:00:03"}"#,
    r#"{"k":"a","w":3,"ts":"2020-01-01 00:00:05"}"#,
    r#"{"k":"d","w":4,"ts":"2020-01-01 00:00:08"}"#,
    r#"{"k":"c","w":5,"ts":"2020-01-01 00:00:16"}"#,
];

/// What is left of the rows of a join. Which side is read first is no matter of the query.
fn check_join(columns: &str, query: &str, expected: &[&str]) {
    let source = "'connector'='kafka','properties.bootstrap.servers'='x','format'='json',
        'scan.startup.mode'='earliest-offset','scan.bounded.mode'='latest-offset'";
    let sql = format!(
        "CREATE TABLE l (id INT, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('topic'='l',{source});
         CREATE TABLE r (k STRING, w INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('topic'='r',{source});
         CREATE VIEW ver AS SELECT k, w, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn
         FROM r) WHERE rn = 1;
         CREATE TABLE o ({columns}) WITH ('connector'='print'); INSERT INTO o {query}"
    );
    let expected: Vec<String> = expected.iter().map(|row| format!("+I[{row}]")).collect();
    for left_first in [true, false] {
        let memory = Memory::default();
        // One row a batch, so that both sides are read in turns.
        let sides = [("l", LEFT), ("r", RIGHT)];
        for (topic, rows) in if left_first { sides } else { [sides[1], sides[0]] } {
            rows.iter().for_each(|row| memory.produce(topic, 0, &[row]));
        }
        assert_eq!(table(&finished(&sql, &memory)), table(&expected), "{query}");
    }
}

#[test]
fn two_streams_meet() {
    let id_k_w = "id INT, k STRING, w INT";
    let inner = ["1, a, 1", "3, a, 1", "1, a, 3", "3, a, 3", "5, c, 2", "5, c, 5"];
    check_join(id_k_w, "SELECT id, l.k, w FROM l JOIN r ON l.k = r.k", &inner);
    check_join(id_k_w, "SELECT id, l.k, w FROM l, r WHERE l.k = r.k", &inner);
    check_join(
        id_k_w,
        "SELECT id, l.k, w FROM l LEFT JOIN r ON l.k = r.k AND w > 1",
        &["2, b, null", "4, null, null", "5, c, 2", "1, a, 3", "3, a, 3", "5, c, 5"],
    );
    check_join(
        id_k_w,
        "SELECT id, r.k, w FROM l FULL JOIN r ON l.k = r.k",
        &[
            "1, a, 1",
            "2, null, null",
            "3, a, 1",
            "1, a, 3",
            "3, a, 3",
            "4, null, null",
            "null, d, 4",
            "5, c, 2",
            "5, c, 5",
        ],
    );
    check_join("id INT", "SELECT id FROM l WHERE k IN (SELECT k FROM r WHERE w > 1)", &["1", "3", "5"]);
    check_join(
        "id INT",
        "SELECT id FROM l WHERE NOT EXISTS (SELECT * FROM r WHERE r.k = l.k AND r.w > 1)",
        &["2", "4"],
    );
    check_join(
        "k STRING, n BIGINT, w INT",
        "SELECT g.k, n, w FROM (SELECT k, COUNT(*) AS n FROM l GROUP BY k) g JOIN r ON g.k = r.k",
        &["a, 2, 1", "c, 1, 2", "a, 2, 3", "c, 1, 5"],
    );
}

#[test]
fn two_streams_meet_by_time() {
    let near = "l.k = r.k AND r.ts BETWEEN l.ts - INTERVAL '2' SECOND AND l.ts + INTERVAL '3' SECOND";
    let met = ["1, 1", "3, 3", "5, 5"];
    check_join("id INT, w INT", &format!("SELECT id, w FROM l, r WHERE {near}"), &met);
    check_join(
        "id INT, w INT",
        &format!("SELECT id, w FROM l LEFT JOIN r ON {near}"),
        &["1, 1", "3, 3", "2, null", "5, 5", "4, null"],
    );
    check_join(
        "id INT, w INT, we TIMESTAMP(3)",
        "SELECT a.id, b.w, COALESCE(a.window_end, b.window_end) FROM (SELECT * FROM TABLE(TUMBLE(TABLE l, \
         DESCRIPTOR(ts), INTERVAL '5' SECOND))) a FULL JOIN (SELECT * FROM TABLE(TUMBLE(TABLE r, DESCRIPTOR(ts), \
         INTERVAL '5' SECOND))) b ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end",
        &[
            "1, 1, 2020-01-01T00:00:05",
            "2, null, 2020-01-01T00:00:05",
            "null, 2, 2020-01-01T00:00:05",
            "4, null, 2020-01-01T00:00:10",
            "null, 4, 2020-01-01T00:00:10",
            "3, 3, 2020-01-01T00:00:10",
            "5, 5, 2020-01-01T00:00:20",
        ],
    );
    check_join(
        "id INT, w INT",
        "SELECT id, w FROM l LEFT JOIN ver FOR SYSTEM_TIME AS OF l.ts ON l.k = ver.k",
        &["1, null", "2, null", "3, 3", "4, null", "5, 2"],
    );
    check_join(
        "k STRING, v INT, rn BIGINT, we TIMESTAMP(3)",
        "SELECT k, v, rn, window_end FROM (SELECT k, v, window_end, ROW_NUMBER() OVER (PARTITION BY window_start, \
         window_end ORDER BY v DESC) AS rn FROM TABLE(TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '5' SECOND))) \
         WHERE rn <= 1",
        &[
            "b, 20, 1, 2020-01-01T00:00:05",
            "null, 40, 1, 2020-01-01T00:00:10",
            "c, 50, 1, 2020-01-01T00:00:20",
        ],
    );
}
