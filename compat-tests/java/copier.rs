//! Kafka's TransactionalMessageCopier while the broker is killed again and again: what it copied is there once, in order,
//! and nothing of a transaction that it aborted.

use std::{process::Command, thread, time::Duration};

use super::{
    BRIEF,
    support::{Seeded, Tier, broker::Broker, environment, kafka::Client, pause, process, report},
};

#[test]
fn copies_once_under_kills() {
    let suite = "java transactional copier";
    if !report::included(suite, Tier::All) {
        return;
    }
    let Some(class_path) = report::available(suite, environment::java("java")) else { return };
    let mut broker = Broker::durable(&[]);
    let address = broker.doors().kafka;
    let values: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    let mut client = Client::connect(address).expect("the broker accepts");
    for topic in ["from", "to"] {
        client.create_topic(topic).expect("the topic is made");
    }
    for values in values.chunks(100) {
        let batch: Vec<Vec<u8>> = values.iter().map(|value| value.clone().into_bytes()).collect();
        let correlation = client.produce("from", &batch).expect("the broker reads");
        assert_eq!(client.produced(correlation).expect("the broker answers").error, 0);
    }

    let tool = |class: &str| {
        let mut java = Command::new("java");
        java.args(BRIEF).args(["-cp", &class_path, class]);
        java
    };
    let mut copier = tool("org.apache.kafka.tools.TransactionalMessageCopier");
    copier.args(["--broker-list", &address.to_string(), "--input-topic", "from", "--input-partition", "0"]);
    copier.args(["--output-topic", "to", "--consumer-group", "copier", "--transactional-id", "copier"]);
    copier.args([
        "--max-messages",
        &MESSAGES.to_string(),
        "--transaction-size",
        "10",
        "--enable-random-aborts",
    ]);
    let copying = thread::spawn(move || process::within(&mut copier, Duration::from_secs(240)));
    let (mut seeded, mut kills) = (Seeded::from_env(suite), 0);
    while !copying.is_finished() {
        pause(Duration::from_millis(500 + seeded.below(1_500)));
        broker.kill();
        broker.restart();
        kills += 1;
    }
    let copied = copying.join().expect("the copier was waited for");
    assert!(copied.success(), "{}\n{}", copied.said, copied.errors);

    let mut reader = tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
    reader.args(["--bootstrap-server", &address.to_string(), "--topic", "to", "--from-beginning"]);
    // One more than there may be: it ends when nothing comes for a while.
    reader.args(["--isolation-level", "read_committed", "--timeout-ms", "5000"]);
    let read = process::within(&mut reader, Duration::from_secs(60));
    let found: Vec<&str> = read.said.lines().collect();
    report::say(&format!("{suite}: {} messages through {kills} kills", found.len()));
    assert_eq!(found, values, "{}", read.errors);
}

const MESSAGES: usize = 6_000;
