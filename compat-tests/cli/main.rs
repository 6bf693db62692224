//! The command line as scripts and test suites use it: the ready line, exit codes, complaints that name the key and
//! the remedy, a polite stop.
#![cfg(test)]

mod ctl;
#[path = "../support/mod.rs"]
mod support;

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use support::{
    amqp::{self, Client, Event},
    broker::{self, Broker},
    process,
};
use tempfile::TempDir;

/// `warren serve` that must not start: exit code 2 and one line on standard error.
fn refuses(options: &[&str]) -> String {
    let directory = TempDir::new().expect("a temporary directory");
    let mut command = Command::new(broker::binary());
    command.current_dir(directory.path()).arg("serve").args(options);
    let free = [("--amqp", "127.0.0.1:0"), ("--kafka", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")];
    let off = [("--redis", "off"), ("--zmq", "off"), ("--metrics", "off")];
    for (door, address) in free.into_iter().chain(off) {
        if !options.contains(&door) {
            command.args([door, address]);
        }
    }
    if !options.contains(&"--data-dir") {
        command.arg("--ephemeral");
    }
    let done = process::within(&mut command, Duration::from_secs(20));
    let code = done.status.and_then(|status| status.code());
    assert_eq!(code, Some(2), "{options:?}: {}{}", done.said, done.errors);
    done.errors
}

fn names(complaint: &str, words: &[&str]) {
    for word in words {
        assert!(complaint.contains(word), "no {word:?} in: {complaint}");
    }
    assert!(!complaint.contains("panicked"), "{complaint}");
}

#[test]
fn an_unknown_key_is_named() {
    names(&refuses(&["--set", "amqp.frame_maxx=1"]), &["amqp.frame_maxx"]);
}

#[test]
fn a_bad_value_is_named_with_its_key() {
    names(&refuses(&["--set", "amqp.frame_max=many"]), &["amqp.frame_max"]);
    names(&refuses(&["--set", "store.durability=maybe"]), &["store.durability", "fsync"]);
}

#[test]
fn a_bad_configuration_file_is_named() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = directory.path().join("warren.toml");
    std::fs::write(&file, "[amqp]\nno_such_key = 1\n").expect("it can be written");
    let file = file.to_str().expect("a path");
    names(&refuses(&["--config", file]), &["no_such_key"]);
}

#[test]
fn a_busy_port_is_named_with_its_door() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let port = address.rsplit(':').next().expect("a port");
    for door in ["amqp", "kafka", "admin", "metrics"] {
        names(&refuses(&[&format!("--{door}"), &address]), &[door, port]);
    }
}

#[test]
fn a_data_directory_in_use_is_named() {
    let running = Broker::durable(&[]);
    let directory = running.data_dir();
    let directory = directory.to_str().expect("a path");
    names(&refuses(&["--data-dir", directory]), &[directory]);
}

#[test]
fn a_directory_of_someone_else_is_left_alone() {
    let directory = TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("thesis.txt"), "years of work").expect("it can be written");
    let path = directory.path().to_str().expect("a path");
    names(&refuses(&["--data-dir", path]), &[path]);
    let left: Vec<_> = std::fs::read_dir(path).expect("still there").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_door_that_is_off_is_not_in_the_ready_line() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut command = Command::new(broker::binary());
    command.args(["--ephemeral", "--print-ready", "--amqp", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--kafka", "off", "--redis", "off", "--zmq", "off", "--metrics", "off"]);
    command.current_dir(directory.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    while !line.starts_with('{') {
        line.clear();
        let read = std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
        assert!(read > 0, "no ready line came");
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it can be waited for");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    let doors: Vec<&String> = ready.as_object().expect("an object").keys().collect();
    assert_eq!(doors, ["admin", "amqp"]);
    let left = std::fs::read_dir(directory.path()).expect("still there").count();
    assert_eq!(left, 0, "--ephemeral writes nothing");
}

#[test]
fn a_stop_says_goodbye_and_loses_nothing() {
    let mut broker = Broker::durable(&[]);
    let mut publisher = Client::connect(broker.doors().amqp).expect("it accepts");
    publisher.declare("kept").expect("it declares");
    publisher.confirm_select().expect("confirms");
    publisher.publish("kept", b"message");
    publisher.flush().expect("it is sent");
    assert!(matches!(publisher.next(), Ok(Some(Event::Confirm { ack: true, .. }))));
    let goodbye = std::thread::spawn(move || publisher.next());
    let status = broker.stop();
    assert!(status.success(), "{status:?}");
    match goodbye.join().expect("the publisher does not panic").expect("a goodbye") {
        Some(Event::Method { class: 10, method: 50, arguments }) => {
            let (code, text) = amqp::close_reason(&arguments);
            assert_eq!(code, 320, "{text}");
            assert!(text.starts_with("CONNECTION_FORCED - broker forced connection closure"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    broker.restart();
    let mut reader = Client::connect(broker.doors().amqp).expect("it accepts");
    assert_eq!(reader.declare("kept").expect("the same queue"), 1);
}

#[test]
fn the_log_says_when_it_is_up() {
    let broker = Broker::ephemeral(&[]);
    support::eventually("the log says so", Duration::from_secs(5), || {
        broker.log_tail().contains("Server startup complete")
    });
}

#[test]
fn help_and_version_are_there() {
    for (option, expected) in [("--help", "serve"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let done = process::within(Command::new(broker::binary()).arg(option), Duration::from_secs(10));
        assert!(done.success() && done.said.contains(expected), "{option}: {}", done.said);
    }
}

#[test]
fn the_configuration_file_holds_every_default() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/warren.toml");
    let file = file.to_str().expect("a path");
    let mut with_file = Broker::ephemeral(&["--config", file]);
    assert!(with_file.stop().success(), "config/warren.toml is accepted as it is");
}
