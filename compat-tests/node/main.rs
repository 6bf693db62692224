//! Runs the Node suites (amqplib, ioredis, kafkajs, zeromq) against the `warren` binary; from `WARREN_COMPAT=ci` on.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{process::Command, time::Duration};

use support::{Tier, broker::Broker, environment, gaps, process, report};

#[test]
fn each_client_s_programs_pass() {
    if !report::included("node", Tier::Ci) {
        return;
    }
    let Some(directory) = report::available("node", environment::node()) else { return };
    let broker = Broker::durable(&[]);
    let guarded = Broker::ephemeral(&["--set", "kafka.sasl=true"]);
    let mut outcomes = Vec::new();
    let mut said = String::new();
    for program in [
        "amqplib.test.mjs",
        "amqplib-broker.test.mjs",
        "ioredis.test.mjs",
        "kafkajs.test.mjs",
        "zeromq.test.mjs",
    ] {
        let mut node = Command::new("node");
        node.current_dir(&directory).args(["--no-warnings", "--test-reporter=tap", program]);
        node.env("AMQP_URL", format!("amqp://guest:guest@{}/", broker.doors().amqp));
        broker.lend_ctl(&mut node, "RABBITMQCTL");
        node.env("KAFKA", broker.doors().kafka.to_string());
        node.env("KAFKA_GUARDED", guarded.doors().kafka.to_string());
        node.env("ZMQ", broker.doors().zmq.to_string());
        node.env("REDIS", broker.doors().redis.to_string());
        let done = report::suite(&format!("node {program}"), || process::within(&mut node, LIMIT));
        outcomes.extend(gaps::from_tap(&done.said));
        said.push_str(&done.said);
        said.push_str(&done.errors);
    }
    report::say(&format!("node: {} tests", outcomes.len()));
    let wrong = gaps::judge(&gaps::of("node"), &outcomes);
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

const LIMIT: Duration = Duration::from_secs(180);
