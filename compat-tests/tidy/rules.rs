//! The rules, one function each.

use crate::{
    Violation,
    names::{code_only, module_of, named},
};

/// Every rule for one file of `src/`.
pub(crate) fn of_source(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = of_any_rust(path, text);
    violations.extend(layers(path, text));
    violations.extend(clock(path, text));
    violations.extend(maps(path, text));
    violations
}

/// The rules that hold for tests and benches too.
pub(crate) fn of_any_rust(path: &str, text: &str) -> Vec<Violation> {
    let mut violations = head(path, text);
    violations.extend(length(path, text));
    violations.extend(unfinished(path, text));
    violations
}

pub(crate) fn wrong(rule: &'static str, what: String) -> Violation {
    Violation { rule, what }
}

const DOORS: &[&str] = &["amqp", "kafka", "redis", "zmq", "admin"];

/// Who may name whom. The files' own tests are free: they may build what the code below them may not know.
pub(crate) fn layers(path: &str, text: &str) -> Vec<Violation> {
    let module = module_of(path);
    let mut violations = Vec::new();
    for target in named(path, text) {
        if let Some(rule) = forbidden(&module, &target) {
            violations.push(wrong(rule, format!("{path} names {}", target.join("::"))));
        }
    }
    violations
}

fn forbidden(module: &[String], target: &[String]) -> Option<&'static str> {
    let first = |path: &[String]| path.first().map(String::as_str).unwrap_or_default().to_string();
    let (own, other) = (first(module), first(target));
    // Names of the crate's root (macros) belong to no layer.
    if own.is_empty() || other.is_empty() || !LAYERS.contains(&other.as_str()) {
        return None;
    }
    let among = |allowed: &[&str]| own == other || allowed.contains(&other.as_str());
    if own == "data" {
        return (!among(&[])).then_some("data/ names nothing");
    }
    if module.get(1).is_some_and(|second| second == "wire") {
        let inside = own == other && target.get(1).is_some_and(|second| second == "wire");
        return (!inside && other != "data").then_some("wire/ names only data");
    }
    if own == "broker" {
        return (!among(&["data", "store", "observe", "clock"]))
            .then_some("broker/ names only data, store, observe, clock");
    }
    if own == "stream" {
        return (!among(&["data", "broker", "store"])).then_some("stream/ names only data, broker, store");
    }
    if DOORS.contains(&own.as_str()) {
        return (own != other && DOORS.contains(&other.as_str())).then_some("doors never name each other");
    }
    None
}

/// Doors with a protocol of their own: who knows one finds the way in each.
pub(crate) fn siblings<'p>(paths: impl Iterator<Item = &'p str> + Clone) -> Vec<Violation> {
    const SIBLINGS: &[&str] = &["amqp", "kafka", "redis", "zmq"];
    const FILES: &[&str] =
        &["mod.rs", "connection.rs", "login.rs", "wire/mod.rs", "handle/mod.rs", "fault.rs"];
    let wanted = SIBLINGS.iter().flat_map(|door| FILES.iter().map(move |file| format!("src/{door}/{file}")));
    let missing = wanted.filter(|file| !paths.clone().any(|path| path == file));
    missing.map(|file| wrong("doors have the same files", format!("{file} is missing"))).collect()
}

const LAYERS: &[&str] = &[
    "admin", "amqp", "broker", "clock", "config", "data", "kafka", "net", "observe", "redis", "sim", "store",
    "stream", "zmq",
];

/// The machine's clock is read only in `clock.rs`.
pub(crate) fn clock(path: &str, text: &str) -> Vec<Violation> {
    if path == "src/clock.rs" {
        return Vec::new();
    }
    let readers = [
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "Zoned::now",
        "UNIX_EPOCH.elapsed",
        "thread::sleep",
    ];
    lines_with(path, text, "the machine's clock only in clock.rs", &readers)
}

/// `DashMap` lives only in `vhost.rs`.
pub(crate) fn maps(path: &str, text: &str) -> Vec<Violation> {
    if path.ends_with("/vhost.rs") {
        return Vec::new();
    }
    lines_with(path, text, "DashMap only in vhost.rs", &["DashMap", "dashmap::"])
}

/// Every file says at its head what lives in it.
pub(crate) fn head(path: &str, text: &str) -> Vec<Violation> {
    if text.starts_with("//! ") {
        return Vec::new();
    }
    vec![wrong("every file opens with //!", path.to_string())]
}

/// A file past this has a second subject in it.
pub(crate) fn length(path: &str, text: &str) -> Vec<Violation> {
    let count = text.lines().count();
    if count <= LINES_MAX {
        return Vec::new();
    }
    vec![wrong("no file over 800 lines", format!("{path} has {count}"))]
}

const LINES_MAX: usize = 800;

/// Nothing unfinished, nothing silenced.
pub(crate) fn unfinished(path: &str, text: &str) -> Vec<Violation> {
    lines_with(path, text, "nothing unfinished", &["todo!", "unimplemented!", "dbg!", "#[ignore"])
}

/// The rule is about code: comments and strings may speak of these.
fn lines_with(path: &str, text: &str, rule: &'static str, words: &[&str]) -> Vec<Violation> {
    let code = code_only(text);
    let mut violations = Vec::new();
    for (line, found) in code.lines().enumerate() {
        for word in words.iter().filter(|word| found.contains(**word)) {
            violations.push(wrong(rule, format!("{path}:{}: {word}", line + 1)));
        }
    }
    violations
}

/// No path of a developer's or a builder's machine. In comments and data too.
pub(crate) fn machine(path: &str, text: &str) -> Vec<Violation> {
    // Written in two halves, or this file would be its own violation.
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let mut violations = Vec::new();
    for (line, found) in text.lines().enumerate() {
        for word in words.iter().filter(|word| found.contains(**word)) {
            violations.push(wrong("no paths of a machine", format!("{path}:{}: {word}", line + 1)));
        }
    }
    violations
}

mod tests {
    use super::{clock, head, layers, length, machine, maps, siblings, unfinished};

    fn layer(path: &str, text: &str) -> bool {
        !layers(path, text).is_empty()
    }

    #[test]
    fn data_that_names_anything_is_caught() {
        assert!(layer("src/data/value.rs", "use crate::clock::Clock;"));
        assert!(layer("src/data/record/mod.rs", "fn f() { crate::store::open() }"));
        assert!(!layer("src/data/record/mod.rs", "use crate::data::value::Value; use super::value;"));
    }

    #[test]
    fn wire_that_names_more_than_data_is_caught() {
        assert!(layer("src/amqp/wire/basic.rs", "use crate::broker::message::Message;"));
        assert!(layer("src/amqp/wire/basic.rs", "use crate::amqp::connection::State;"));
        assert!(layer("src/amqp/wire/basic.rs", "use super::super::channel;"));
        assert!(layer("src/kafka/wire/fetch.rs", "use crate::{data::record, kafka::api};"));
        assert!(!layer("src/amqp/wire/basic.rs", "use super::table; use crate::data::value::Value;"));
        assert!(!layer("src/amqp/wire/basic.rs", "use crate::amqp::wire::table::Table;"));
    }

    #[test]
    fn a_broker_that_knows_a_protocol_is_caught() {
        assert!(layer("src/broker/queue/state.rs", "use crate::amqp::wire::basic;"));
        assert!(layer("src/broker/vhost.rs", "use crate::net::pump::Output;"));
        assert!(layer("src/broker/vhost.rs", "use crate::stream::run;"));
        assert!(!layer(
            "src/broker/vhost.rs",
            "use crate::{clock::Clock, data::value, observe, store::Store};"
        ));
    }

    #[test]
    fn a_stream_that_reaches_past_the_core_is_caught() {
        assert!(layer("src/stream/run/job.rs", "use crate::kafka::wire::produce;"));
        assert!(!layer(
            "src/stream/run/job.rs",
            "use crate::{broker::topic, store::Change}; use super::super::plan;"
        ));
    }

    #[test]
    fn a_door_that_names_another_is_caught() {
        assert!(layer("src/kafka/connection.rs", "use crate::amqp::fault;"));
        assert!(layer("src/admin/management.rs", "let x = crate::amqp::connection::list();"));
        assert!(!layer("src/kafka/connection.rs", "use crate::{broker, net::pump, kafka::fault};"));
    }

    #[test]
    fn a_door_without_a_file_that_the_others_have_is_caught() {
        let of = |door: &str, login: &str| {
            ["mod", "connection", login, "wire/mod", "handle/mod", "fault"]
                .map(|file| format!("src/{door}/{file}.rs"))
        };
        let missing = |login: &str| {
            let paths = [of("amqp", "login"), of("kafka", "login"), of("redis", login), of("zmq", "login")];
            siblings(paths.as_flattened().iter().map(String::as_str)).len()
        };
        assert_eq!((missing("login"), missing("auth")), (0, 1));
    }

    #[test]
    fn tests_of_a_layer_are_free() {
        assert!(!layer("src/data/value.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n use crate::clock; }"));
    }

    #[test]
    fn a_second_clock_is_caught() {
        assert_eq!(clock("src/net/pump.rs", "let a = 1;\nlet t = Instant::now();").len(), 1);
        assert_eq!(clock("src/net/pump.rs", "std::time::SystemTime::now()").len(), 1);
        assert_eq!(clock("src/net/pump.rs", "std::thread::sleep(d)").len(), 1);
        assert!(clock("src/net/pump.rs", "// not Instant::now, but the clock").is_empty());
        assert!(clock("src/clock.rs", "Instant::now()").is_empty());
    }

    #[test]
    fn a_dash_map_elsewhere_is_caught() {
        assert_eq!(maps("src/broker/topic/mod.rs", "let m: DashMap<u8, u8>;").len(), 1);
        assert!(maps("src/broker/vhost.rs", "use dashmap::DashMap;").is_empty());
    }

    #[test]
    fn a_file_without_a_head_is_caught() {
        assert_eq!(head("src/a.rs", "use std::fmt;\n//! late").len(), 1);
        assert!(head("src/a.rs", "//! What lives here.\n").is_empty());
    }

    #[test]
    fn a_long_file_is_caught() {
        assert_eq!(length("src/a.rs", &"x\n".repeat(801)).len(), 1);
        assert!(length("src/a.rs", &"x\n".repeat(800)).is_empty());
    }

    #[test]
    fn unfinished_code_is_caught() {
        for text in
            ["fn f() { todo!() }", "unimplemented!(\"x\")", "dbg!(x);", "#[ignore = \"slow\"]\nfn t() {}"]
        {
            assert_eq!(unfinished("src/a.rs", text).len(), 1, "{text}");
        }
        assert!(unfinished("src/a.rs", "// todo! is not for us\nlet s = \"dbg!\";").is_empty());
    }

    #[test]
    fn a_path_of_a_machine_is_caught() {
        assert_eq!(machine("a.md", concat!("see /ro", "ot/notes")).len(), 1);
        assert_eq!(machine("a.json", concat!("{\"at\": \"/ho", "me/someone\"}")).len(), 1);
        assert!(machine("a.md", "in /var/lib/warren").is_empty());
    }
}
