//! Runs the Python suites (pika, kafka-python in two versions, celery, kombu, aio-pika, both doors, the SQL job)
//! against the `warren` binary.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{path::Path, process::Command, time::Duration};

use support::{Tier, broker, broker::Broker, environment, gaps, process, report};

/// pytest over some files with one interpreter; strict about known gaps (conftest.py).
fn pytest(suite: &str, python: &Path, broker: Option<&Broker>, files: &[&str]) {
    let mut command = Command::new(python);
    command.current_dir(environment::sources("python")).args(["-m", "pytest"]).args(files);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("WARREN_BIN", broker::binary());
    if let Some(broker) = broker {
        command.env("WARREN_AMQP", format!("amqp://guest:guest@{}/", broker.doors().amqp));
        command.env("WARREN_KAFKA", broker.doors().kafka.to_string());
        command.env("WARREN_ADMIN", format!("http://{}", broker.doors().admin));
        command.env("WARREN_REDIS", broker.doors().redis.to_string());
        command.env("WARREN_ZMQ", broker.doors().zmq.to_string());
    }
    let known = serde_json::to_string(&gaps::of("python")).expect("a map of strings is JSON");
    command.env("WARREN_KNOWN_GAPS", known);
    command.env_remove("WARREN_ORACLE_AMQP").env_remove("WARREN_ORACLE_KAFKA");
    command.env_remove("WARREN_ORACLE_REDIS");
    let done = report::suite(suite, || process::within(&mut command, Duration::from_secs(300)));
    report::say(&format!("{suite}: {}", done.said.lines().last().unwrap_or_default()));
    assert!(done.success(), "{suite}\n{}{}", done.said, done.errors);
}

#[test]
fn pika() {
    let Some(python) = report::available("python pika", environment::python("requirements.txt")) else {
        return;
    };
    let broker = Broker::durable(&[]);
    let files = [
        "test_queues.py",
        "test_exchanges.py",
        "test_messages.py",
        "test_streams.py",
        "test_dead_letters.py",
        "test_transactions.py",
        "test_errors.py",
        "test_connections.py",
        "test_plugins.py",
        "test_reply_to.py",
        "test_order.py",
        "test_permissions.py",
    ];
    pytest("python pika", &python, Some(&broker), &files);
}

#[test]
fn kafka_python_newest() {
    let Some(python) = report::available("python kafka", environment::python("requirements.txt")) else {
        return;
    };
    let broker = Broker::durable(&[]);
    let files =
        ["test_kafka.py", "test_kafka_records.py", "test_kafka_compaction.py", "test_super_streams.py"];
    pytest("python kafka newest", &python, Some(&broker), &files);
}

#[test]
fn kafka_python_2_0_2() {
    let environment = environment::python("requirements-2.0.2.txt");
    let Some(python) = report::available("python kafka 2.0.2", environment) else { return };
    let broker = Broker::durable(&[]);
    pytest("python kafka 2.0.2", &python, Some(&broker), &["test_kafka.py", "test_hello.py"]);
}

#[test]
fn tls() {
    let Some(python) = report::available("python tls", environment::python("requirements.txt")) else {
        return;
    };
    pytest("python tls", &python, None, &["test_tls.py"]);
}

#[test]
fn redis_py() {
    let Some(python) = report::available("python redis", environment::python("requirements.txt")) else {
        return;
    };
    let broker = Broker::durable(&[]);
    pytest("python redis", &python, Some(&broker), &["test_redis.py", "test_redis_lists.py"]);
}

#[test]
fn pyzmq() {
    let Some(python) = report::available("python zmq", environment::python("requirements-zmq.txt")) else {
        return;
    };
    let broker = Broker::durable(&[]);
    pytest("python zmq", &python, Some(&broker), &["test_zmq.py"]);
}

#[test]
fn confluent_kafka_in_groups() {
    let environment = environment::python("requirements-confluent.txt");
    let Some(python) = report::available("python confluent", environment) else { return };
    let broker = Broker::durable(&[]);
    pytest("python confluent-kafka groups", &python, Some(&broker), &["test_confluent_groups.py"]);
    pytest("python confluent-kafka logins", &python, None, &["test_confluent_sasl.py"]);
}

#[test]
fn tutorials_and_both_doors() {
    let Some(python) = report::available("python doors", environment::python("requirements.txt")) else {
        return;
    };
    let broker = Broker::durable(&[]);
    let files = ["test_hello.py", "test_pika_adapters.py", "test_doors.py"];
    pytest("python tutorials and both doors", &python, Some(&broker), &files);
}

#[test]
fn kafka_logins() {
    for requirements in ["requirements.txt", "requirements-2.0.2.txt"] {
        let Some(python) = report::available("python kafka logins", environment::python(requirements)) else {
            return;
        };
        pytest("python kafka logins", &python, None, &["test_kafka_sasl.py"]);
    }
}

/// Answers of the Kafka door field by field, without a client library.
#[test]
fn kafka_rows() {
    let Some(python) = report::available("python kafka rows", environment::python("requirements.txt")) else {
        return;
    };
    let broker = Broker::durable(&[]);
    pytest(
        "python kafka rows",
        &python,
        Some(&broker),
        &[
            "test_kafka_rows.py",
            "test_kafka_cluster_rows.py",
            "test_kafka_semantics.py",
            "test_kafka_sessions.py",
            "test_kafka_quotas.py",
            "test_kafka_shares.py",
        ],
    );
}

/// A suite with packages of its own, from the `ci` tier on.
fn from_ci(suite: &str, requirements: &str, options: &[&str], file: &str) {
    if !report::included(suite, Tier::Ci) {
        return;
    }
    let Some(python) = report::available(suite, environment::python(requirements)) else { return };
    let broker = Broker::durable(options);
    pytest(suite, &python, Some(&broker), &[file]);
}

/// What people put on top of AMQP and Redis.
fn built_on_top(suite: &str, options: &[&str], file: &str) {
    from_ci(suite, "requirements-clients.txt", options, file);
}

#[test]
fn celery() {
    built_on_top("python celery", &[], "test_celery.py");
}

/// Before 4.0 celery holds tasks for later with a global prefetch that it raises.
#[test]
fn celery_with_rabbitmq_3_13() {
    built_on_top("python celery, 3.13", &["--compat", "3.13"], "test_celery.py");
}

#[test]
fn kombu() {
    built_on_top("python kombu", &[], "test_kombu.py");
}

#[test]
fn aio_pika() {
    built_on_top("python aio-pika", &[], "test_aio_pika.py");
}

#[test]
fn queues_over_redis() {
    built_on_top("python queues over redis", &[], "test_redis_queues.py");
}

#[test]
fn confluent_kafka_newest() {
    from_ci("python confluent-kafka newest", "requirements-kafka.txt", &[], "test_confluent.py");
}

#[test]
fn confluent_kafka_2_0_2() {
    let requirements = "requirements-confluent-2.0.2.txt";
    from_ci("python confluent-kafka 2.0.2", requirements, &[], "test_confluent.py");
}

#[test]
fn aiokafka() {
    from_ci("python aiokafka", "requirements-kafka.txt", &[], "test_aiokafka.py");
}

#[test]
fn kcat() {
    from_ci("python kcat", "requirements.txt", &[], "test_kcat.py");
}

#[test]
fn stream_job() {
    let Some(python) = report::available("python sql", environment::python("requirements.txt")) else {
        return;
    };
    pytest("python stream job", &python, None, &["test_sql.py", "test_sql_exchanges.py"]);
}
