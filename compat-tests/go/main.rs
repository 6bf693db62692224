//! Runs the Go suites (streadway/amqp and its successor amqp091-go) against the `warren` binary.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{broker::Broker, environment, gaps, process, report};

#[test]
fn both_libraries() {
    let Some(mut go) = report::available("go", environment::go()) else { return };
    let broker = Broker::durable(&[]);
    go.args(["test", "-json", "-p=1", "-count=1", "-timeout=120s", "./..."]);
    go.env("AMQP_URL", format!("amqp://guest:guest@{}/", broker.doors().amqp));
    broker.lend_ctl(&mut go, "RABBITMQCTL");
    // Compiling the libraries counts too, the first time.
    let done = report::suite("go", || process::within(&mut go, Duration::from_secs(300)));
    let outcomes = gaps::from_go(&done.said);
    report::say(&format!("go: {} tests", outcomes.len()));
    let wrong = gaps::judge(&gaps::of("go"), &outcomes);
    assert!(wrong.is_empty(), "{}\n{}\n{}", wrong.join("\n"), done.said, done.errors);
}
