//! Runs the Go suites against the `warren` binary: AMQP's libraries (streadway/amqp, amqp091-go) and go-redis always, Kafka's
//! (franz-go, sarama, segmentio/kafka-go) and ZeroMQ's (go-zeromq/zmq4) from `WARREN_COMPAT=ci` on.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Tier, broker::Broker, environment, gaps, process, report};

/// `go test` over all packages of a module.
fn packages(suite: &str, folder: &str) {
    let Some(mut go) = report::available(suite, environment::go(folder)) else { return };
    let broker = Broker::durable(&[]);
    let guarded = Broker::ephemeral(&["--set", "kafka.sasl=true"]);
    go.args(["test", "-json", "-p=1", "-count=1", "-timeout=120s", "./..."]);
    go.env("AMQP_URL", format!("amqp://guest:guest@{}/", broker.doors().amqp));
    go.env("KAFKA", broker.doors().kafka.to_string());
    go.env("KAFKA_GUARDED", guarded.doors().kafka.to_string());
    go.env("ZMQ", broker.doors().zmq.to_string());
    go.env("REDIS", broker.doors().redis.to_string());
    go.env("WARREN_BIN", support::broker::binary());
    go.env_remove("WARREN_ORACLE_KAFKA");
    broker.lend_ctl(&mut go, "RABBITMQCTL");
    // Compiling the libraries counts too, the first time.
    let done = report::suite(suite, || process::within(&mut go, Duration::from_secs(300)));
    let outcomes = gaps::from_go(&done.said);
    report::say(&format!("{suite}: {} tests", outcomes.len()));
    let wrong = gaps::judge(&gaps::of(suite), &outcomes);
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), done.said, done.errors);
}

#[test]
fn amqp_and_redis() {
    packages("go", "go");
}

#[test]
fn kafka() {
    if report::included("go kafka", Tier::Ci) {
        packages("go kafka", "go-kafka");
    }
}

#[test]
fn zmq() {
    if report::included("go zmq", Tier::Ci) {
        packages("go zmq", "go-zmq");
    }
}
