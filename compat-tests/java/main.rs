//! Runs the Java suites against the `warren` binary: amqp-client and kafka-clients, Kafka's own tools and Kafka Streams;
//! only with `WARREN_COMPAT=all`.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

mod copier;

use std::{process::Command, time::Duration};

use support::{
    Tier,
    broker::Broker,
    environment::{self, Missing},
    gaps, process, report,
};

/// The libraries, and this folder's programs compiled.
fn class_path() -> Result<String, Missing> {
    environment::compiled(&environment::java("java")?, &environment::java_programs("java")?)
}

/// Programs that print TAP, one after the other against one broker.
fn programs(suite: &str, programs: &[&str]) {
    if !report::included(suite, Tier::All) {
        return;
    }
    let Some(class_path) = report::available(suite, class_path()) else { return };
    let broker = Broker::durable(&[]);
    let (mut outcomes, mut said) = (Vec::new(), String::new());
    for program in programs {
        let mut java = Command::new("java");
        java.args(BRIEF).args(["-cp", &class_path, program]);
        // No slash at the end: this client takes it for a vhost without a name.
        java.env("AMQP_URL", format!("amqp://guest:guest@{}", broker.doors().amqp));
        java.env("KAFKA", broker.doors().kafka.to_string());
        let name = format!("{suite} {program}");
        let done = report::suite(&name, || process::within(&mut java, Duration::from_secs(300)));
        outcomes.extend(gaps::from_tap(&done.said));
        said.push_str(&done.said);
        said.push_str(&done.errors);
    }
    report::say(&format!("{suite}: {} tests", outcomes.len()));
    let wrong = gaps::judge(&gaps::of(suite), &outcomes);
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

/// For machines that live some seconds.
const BRIEF: &[&str] = &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"];

#[test]
fn amqp_client_and_kafka_clients() {
    programs("java", &["Compat", "BrokerCompat", "GroupCompat", "ShareCompat"]);
}

#[test]
fn kafka_tools() {
    programs("java kafka tools", &["Tools"]);
}

#[test]
fn kafka_streams() {
    programs("java kafka streams", &["Streams"]);
}
