//! Runs the C programs (libzmq, czmq) against the `warren` binary, where their headers are.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{process::Command, time::Duration};

use support::{broker::Broker, environment, gaps, process, report};

#[test]
fn libzmq() {
    program("libzmq", "zmq.h", &["-lzmq"]);
}

#[test]
fn czmq() {
    program("czmq", "czmq.h", &["-lczmq", "-lzmq"]);
}

/// A program that makes the keys of two brokers, and then tells the tests that it does with them as TAP.
fn program(name: &str, header: &str, libraries: &[&str]) {
    let suite = format!("c {name}");
    let Some(program) = report::where_there_is_one(&suite, environment::c(name, header, libraries)) else {
        return;
    };
    let keys = tempfile::tempdir().expect("a temporary directory");
    let made = process::within(Command::new(&program).arg("keys").arg(keys.path()), LIMIT);
    assert!(made.success(), "{suite} keys: {}{}", made.said, made.errors);
    let set = |key: &str, path: &str| format!("{key}={}", keys.path().join(path).display());
    let (server, clients) =
        (set("zmq.curve_key_file", "server.key_secret"), set("zmq.curve_clients_dir", "clients"));
    let broker = Broker::ephemeral(&[]);
    let replying = ["--set", "zmq.mapping.mode=reply", "--set", &server, "--set", &clients];
    let replying = Broker::ephemeral(&replying);
    let mut command = Command::new(&program);
    command.env("ZMQ", format!("tcp://{}", broker.doors().zmq)).env("KEYS", keys.path());
    command.env("ZMQ_REPLY", format!("tcp://{}", replying.doors().zmq));
    let done = report::suite(&suite, || process::within(&mut command, LIMIT));
    assert!(done.success(), "{suite}\n{}{}", done.said, done.errors);
    let outcomes = gaps::from_tap(&done.said);
    report::say(&format!("{suite}: {} tests", outcomes.len()));
    let wrong = gaps::judge(&gaps::of(&suite), &outcomes);
    assert!(wrong.is_empty(), "{}\n{}{}", wrong.join("\n"), done.said, done.errors);
}

const LIMIT: Duration = Duration::from_secs(120);
