//! Each option that Flink's connectors and formats have is honoured or refused by name.

use crate::stream::{compile, sql::SqlErrorKind};

/// A value that an option may have.
fn some_value(option: &str) -> &str {
    match option.rsplit('.').next().unwrap_or_default() {
        "property-version" | "parallelism" | "max-rows" | "timestamp-millis" => "1",
        "specific-offsets" => "partition:0,offset:1",
        "mode" if option.contains("map-null-key") => "DROP",
        "mode" => "latest-offset",
        "strategy" => "on-event",
        "check-interval" | "rollover-interval" | "monitor-interval" | "idle-timeout" | "interval" => "1 min",
        "file-size" => "1 mb",
        "report-statistics" => "NONE",
        "sink.partitioner" | "partitioner" => "default",
        "delivery-guarantee" => "none",
        "fields-include" => "ALL",
        "standard" => "SQL",
        "delay" => "1 min",
        "enable" => "true",
        "kind" if option.starts_with("partition.") => "default",
        "kind" => "success-file",
        "trigger" => "process-time",
        "watermark-time-zone" => "UTC",
        "charset" => "UTF-8",
        "endianness" => "big-endian",
        "field-delimiter" | "quote-character" | "escape-character" => "|",
        "format" => "json",
        "path" => "/x",
        name if name.starts_with("allow-")
            || name.starts_with("disable-")
            || name.starts_with("fail-on-") =>
        {
            "true"
        }
        name if name.starts_with("ignore-") || name.starts_with("write-") || name == "enabled" => "true",
        "decimal-as-plain-number" => "true",
        _ => "k",
    }
}

/// The table `x` whose only line of interest, the second, has the option.
fn with_option(connector: &str, option: &str) -> String {
    let format = option.split('.').next().filter(|f| ["csv", "json", "raw"].contains(f)).unwrap_or("json");
    // The formats of a topic's key and value are told apart by what stands before their options.
    let option = match (connector, format) {
        ("upsert-kafka", f) if option.starts_with(&format!("{f}.")) => format!("value.{option}"),
        _ => option.to_owned(),
    };
    let mut given = vec![("connector", connector)];
    match connector {
        "filesystem" => given.extend([("path", "/x"), ("format", format)]),
        "kafka" => given.extend([("topic", "x"), ("properties.bootstrap.servers", "x"), ("format", format)]),
        _ => given.extend([
            ("topic", "x"),
            ("properties.bootstrap.servers", "x"),
            ("key.format", "raw"),
            ("value.format", format),
        ]),
    }
    if option == "value.format" && connector == "kafka" {
        given.retain(|(key, _)| *key != "format");
    }
    if option == "key.format" && connector == "kafka" {
        given.push(("key.fields", "k"));
    }
    if option == "key.fields" {
        given.push(("key.format", "raw"));
    }
    if option == "scan.startup.specific-offsets" {
        given.push(("scan.startup.mode", "specific-offsets"));
    }
    if option == "scan.startup.timestamp-millis" {
        given.push(("scan.startup.mode", "timestamp"));
    }
    given.retain(|(key, _)| *key != option);
    let rest: Vec<String> = given.iter().map(|(key, value)| format!("'{key}'='{value}'")).collect();
    let key = if connector == "upsert-kafka" { ", PRIMARY KEY (k) NOT ENFORCED" } else { "" };
    let value = some_value(&option);
    format!("CREATE TABLE x (k STRING{key}) WITH (\n'{option}'='{value}',\n{})", rest.join(", "))
}

#[test]
fn every_option_that_flink_knows_is_honoured_or_refused_by_name() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/options/options.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut refused = Vec::new();
    for line in text.lines() {
        let (connector, option) = line.split_once('\t').unwrap();
        let sql = with_option(connector, option);
        match compile(&sql) {
            Ok(_) => {}
            Err(e) if e.kind == SqlErrorKind::NotYet => {
                assert_eq!(e.at.line, 2, "{sql}: {e}");
                refused.push(format!("{connector} {option}"));
            }
            Err(e) => panic!("{sql}: {e}"),
        }
    }
    // What is here is not lost again.
    assert!(refused.len() <= 31, "{} of {}: {refused:#?}", refused.len(), text.lines().count());
}
