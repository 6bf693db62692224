//! The clients' own suites, as their packages bring them, against the `warren` binary; only with `WARREN_COMPAT=all`.
//!
//! Copied out of the registries' caches, for they name RabbitMQ's ports in their sources. amqp091-go's integration
//! tests (2-clause BSD), streadway/amqp's (2-clause BSD), amqplib's (MIT).
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use support::{Tier, broker::Broker, environment, gaps, process, report};

/// A copy of a package's sources with other ports in it.
fn copied(from: &Path, to: &Path, ports: &[(&str, u16)]) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &target, ports)?;
            continue;
        }
        // Written anew instead of copied: Go's module cache is read-only, and so would the copy be.
        match String::from_utf8(fs::read(entry.path())?) {
            Ok(mut text) => {
                for (port, ours) in ports {
                    text = text.replace(port, &ours.to_string());
                }
                fs::write(target, text)?;
            }
            Err(binary) => fs::write(target, binary.into_bytes())?,
        }
    }
    Ok(())
}

/// What must hold of a suite's outcomes; its known gaps are listed under the suite `foreign`, with its name before each.
fn judge(suite: &str, outcomes: Vec<gaps::Outcome>, said: &str) {
    let prefix = format!("{suite}: ");
    let outcomes: Vec<gaps::Outcome> = outcomes
        .into_iter()
        .map(|outcome| gaps::Outcome { test: format!("{prefix}{}", outcome.test), ..outcome })
        .collect();
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    report::say(&format!("foreign {suite}: {passed} of {} tests pass", outcomes.len()));
    let known = gaps::of("foreign").into_iter().filter(|(test, _)| test.starts_with(&prefix)).collect();
    let wrong = gaps::judge(&known, &outcomes);
    assert!(wrong.is_empty(), "{}\n{said}", wrong.join("\n"));
}

/// `go test` with the tag `integration` in a copy of a module of `compat-tests/go`.
fn go_suite(suite: &str, module: &str) {
    if !report::included(&format!("foreign {suite}"), Tier::All) {
        return;
    }
    let Some(mut list) = report::available(suite, environment::go("go")) else { return };
    let listed = list.args(["list", "-m", "-f", "{{.Dir}}", module]).output().expect("go runs");
    let sources = PathBuf::from(String::from_utf8_lossy(&listed.stdout).trim());
    let broker = Broker::durable(&[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let doors = broker.doors();
    // streadway's 5672 is only a default; both take the address from the environment.
    copied(&sources, directory.path(), &[("15672", doors.admin.port())]).expect("the module can be copied");
    let mut go = Command::new("go");
    go.current_dir(directory.path());
    go.args(["test", "-tags", "integration", "-json", "-count=1", "-timeout=500s", "."]);
    go.env("AMQP_URL", format!("amqp://guest:guest@{}/", doors.amqp));
    broker.lend_ctl(&mut go, "RABBITMQ_RABBITMQCTL_PATH");
    let done =
        report::suite(&format!("foreign {suite}"), || process::within(&mut go, Duration::from_secs(600)));
    judge(suite, gaps::from_go(&done.said), &format!("{}\n{}", done.said, done.errors));
}

#[test]
fn amqp091_go() {
    go_suite("amqp091-go", "github.com/rabbitmq/amqp091-go");
}

#[test]
fn streadway_amqp() {
    go_suite("streadway", "github.com/streadway/amqp");
}

#[test]
fn amqplib() {
    if !report::included("foreign amqplib", Tier::All) {
        return;
    }
    let Some(directory) = report::available("foreign amqplib", environment::npm("foreign")) else { return };
    let broker = Broker::durable(&[]);
    let port = broker.doors().amqp.port();
    // Beside the packages it needs: Node looks for them upwards from the sources.
    let copy = tempfile::tempdir_in(&directory).expect("a temporary directory");
    let sources = directory.join("node_modules/amqplib");
    copied(&sources.join("test"), &copy.path().join("test"), &[("5672", port)]).expect("copied");
    copied(&sources.join("lib"), &copy.path().join("lib"), &[("5672", port)]).expect("copied");
    for file in ["callback_api.js", "channel_api.js", "package.json"] {
        fs::copy(sources.join(file), copy.path().join(file)).expect("copied");
    }
    let results = copy.path().join("results.json");
    let mut mocha = Command::new("node");
    mocha.current_dir(copy.path()).arg(directory.join("node_modules/mocha/bin/mocha"));
    mocha.args(["--check-leaks", "-u", "tdd", "--exit", "--reporter", "json", "--reporter-option"]);
    mocha.arg(format!("output={}", results.display())).arg("test/");
    mocha.env("URL", format!("amqp://guest:guest@{}", broker.doors().amqp));
    let done = report::suite("foreign amqplib", || process::within(&mut mocha, Duration::from_secs(180)));
    let text = fs::read_to_string(&results).unwrap_or_default();
    judge("amqplib", gaps::from_mocha(&text), &format!("{}\n{}\n{text}", done.said, done.errors));
}
