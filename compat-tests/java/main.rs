//! Runs the Java suite (amqp-client, kafka-clients) against the `warren` binary; only with `WARREN_COMPAT=all`.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{process::Command, time::Duration};

use support::{Tier, broker::Broker, environment, gaps, process, report};

#[test]
fn amqp_client_and_kafka_clients() {
    if !report::included("java", Tier::All) {
        return;
    }
    let Some(class_path) = report::available("java", environment::java()) else { return };
    let broker = Broker::durable(&[]);
    let (mut outcomes, mut said) = (Vec::new(), String::new());
    for program in ["Compat.java", "BrokerCompat.java", "GroupCompat.java", "ShareCompat.java"] {
        let mut java = Command::new("java");
        java.args(["-cp", &class_path]).arg(environment::sources("java").join(program));
        // No slash at the end: this client takes it for a vhost without a name.
        java.env("AMQP_URL", format!("amqp://guest:guest@{}", broker.doors().amqp));
        java.env("KAFKA", broker.doors().kafka.to_string());
        let suite = format!("java {program}");
        let done = report::suite(&suite, || process::within(&mut java, Duration::from_secs(300)));
        outcomes.extend(gaps::from_tap(&done.said));
        said.push_str(&done.said);
        said.push_str(&done.errors);
    }
    report::say(&format!("java: {} tests", outcomes.len()));
    let wrong = gaps::judge(&gaps::of("java"), &outcomes);
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}
