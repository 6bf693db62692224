//! Rows that become messages for exchanges, over topics in memory.

use super::{OutMessage, memory::Memory, tests::run};
use crate::{
    data::{
        field::Properties,
        value::{Table, Value},
    },
    stream::state::Phase,
};

const TABLES: &str = "
    CREATE TABLE orders (id BIGINT, region STRING, urgent BOOLEAN, ttl STRING) WITH ('connector'='kafka',
      'topic'='orders', 'properties.bootstrap.servers'='localhost:9092', 'scan.startup.mode'='earliest-offset',
      'format'='json');
    CREATE TABLE bus (
      id BIGINT,
      rk STRING METADATA FROM 'routing-key',
      kind STRING METADATA FROM 'type',
      `content-type` STRING METADATA,
      priority INT METADATA,
      ttl STRING METADATA FROM 'expiration',
      sent TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
      headers MAP<STRING, BYTES> METADATA
    ) WITH ('connector'='rabbitmq', 'exchange'='amq.topic', 'routing-key'='none', 'format'='json');";

const ROUTED: &str = "
    INSERT INTO bus SELECT id, 'orders.' || region, 'order', CAST(NULL AS STRING), CASE WHEN urgent THEN 9 END, ttl,
      TO_TIMESTAMP_LTZ(id * 1000, 3), MAP['region', CAST(region AS BYTES)] FROM orders;";

fn published(sql: &str, orders: &[&str]) -> (Vec<OutMessage>, Phase) {
    let memory = Memory::default();
    memory.produce("orders", 0, orders);
    let (job, _) = run(sql, &memory);
    (memory.published(), job.phase().clone())
}

#[test]
fn a_row_says_its_routing_key_and_its_properties() {
    let orders = [r#"{"id": 7, "region": "eu", "urgent": true, "ttl": "5000"}"#, r#"{"id": 8}"#];
    let (messages, phase) = published(&format!("{TABLES}{ROUTED}"), &orders);
    assert_eq!((messages.len(), phase), (2, Phase::Running));
    let first = &messages[0];
    assert_eq!(
        (&*first.exchange, first.routing_key.as_str(), &first.body[..]),
        ("amq.topic", "orders.eu", &b"{\"id\":7}"[..])
    );
    assert_eq!(
        (first.traits.persistent, first.traits.priority, first.traits.expiration_ms),
        (true, Some(9), Some(5_000))
    );
    let properties = Properties::decode(&first.properties).unwrap();
    let headers = properties.header_table().unwrap();
    assert_eq!(headers, Table(vec![("region".into(), Value::LongStr("eu".into()))]));
    let said = Properties { headers: None, ..properties };
    let expected = Properties {
        content_type: Some(b"application/json"),
        delivery_mode: Some(2),
        priority: Some(9),
        expiration: Some(b"5000"),
        timestamp: Some(7),
        r#type: Some(b"order"),
        ..Properties::default()
    };
    assert_eq!(said, expected);
    // What is NULL is not said, and the table's own key is the last resort.
    let second = &messages[1];
    let properties = Properties::decode(&second.properties).unwrap();
    assert_eq!(
        (second.routing_key.as_str(), properties.priority, properties.expiration),
        ("none", None, None)
    );
}

#[test]
fn a_row_that_is_no_message_stops_the_job_or_is_set_aside() {
    let long = format!(r#"{{"id": 1, "region": "{}"}}"#, "x".repeat(300));
    let orders = [r#"{"id": 0, "region": "eu"}"#, &long, r#"{"id": 2, "region": "eu", "ttl": "soon"}"#];
    let (messages, phase) = published(&format!("{TABLES}{ROUTED}"), &orders);
    let Phase::Failed(failure) = phase else { panic!("{phase:?}") };
    assert_eq!(
        (messages.len(), failure.offset, failure.reason.as_str()),
        (1, 1, "the routing-key has 307 bytes, over 255")
    );
    let (messages, phase) = published(&format!("{TABLES}\n-- @warren dlq=bad\n{ROUTED}"), &orders);
    assert_eq!((messages.len(), phase), (1, Phase::Running));
}

#[test]
fn a_job_whose_exchange_is_gone_stops_before_it_reads() {
    let gone = TABLES.replace("amq.topic", "gone");
    let (messages, phase) = published(&format!("{gone}{ROUTED}"), &[r#"{"id": 1}"#]);
    let Phase::Failed(failure) = phase else { panic!("{phase:?}") };
    assert_eq!((messages.len(), failure.reason.as_str()), (0, "no exchange 'gone'"));
}
