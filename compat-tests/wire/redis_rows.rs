//! THE table of the Redis door: requests and what Redis 7.0.15 answers, byte for byte, over a real socket, in memory and
//! with everything on disk.
//!
//! `WARREN_ORACLE_REDIS=host:port` names a real Redis, whose keys are removed: the rows must come out there, too.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{net::SocketAddr, path::Path};

use support::{broker::Broker, redis::Redis, report};

#[test]
fn every_row_in_memory() {
    let broker = Broker::ephemeral(&[]);
    run("redis rows, in memory", broker.doors().redis);
}

#[test]
fn every_row_on_disk() {
    let broker = Broker::durable(&[]);
    run("redis rows, on disk", broker.doors().redis);
}

#[test]
fn against_the_oracle() {
    let Ok(oracle) = std::env::var("WARREN_ORACLE_REDIS") else { return };
    run("redis rows, oracle", oracle.parse().expect("WARREN_ORACLE_REDIS is host:port"));
}

/// A row: where it is written, the request as typed, the reply with escapes.
struct Row {
    place: String,
    request: String,
    reply: String,
}

/// Scripts, whose rows run one after the other on one connection.
fn scripts() -> Vec<Vec<Row>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/redis");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the fixtures").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut scripts = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a table");
        let mut script = Vec::new();
        for (number, line) in text.lines().enumerate() {
            match line.split_once('\t') {
                Some((request, reply)) => script.push(Row {
                    place: format!("{name}:{}", number + 1),
                    request: request.to_owned(),
                    reply: reply.to_owned(),
                }),
                None => scripts.push(std::mem::take(&mut script)),
            }
        }
        scripts.push(script);
    }
    scripts.retain(|script| !script.is_empty());
    scripts
}

fn run(suite: &str, address: SocketAddr) {
    let scripts = scripts();
    let count: usize = scripts.iter().map(Vec::len).sum();
    let wrong = report::suite(suite, || {
        scripts.iter().flat_map(|script| failures(script, address)).collect::<Vec<_>>()
    });
    report::say(&format!("{suite}: {count} rows"));
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn failures(script: &[Row], address: SocketAddr) -> Vec<String> {
    let mut redis = Redis::connect(address).expect("it accepts");
    redis.ask("flushall").expect("the connection is open");
    let mut wrong = Vec::new();
    for row in script {
        redis.raw(format!("{}\r\n", row.request).as_bytes()).expect("the connection is open");
        let reply = redis.reply().map_or_else(|error| format!("<{error}>"), |reply| shown(&reply));
        if reply != row.reply {
            wrong.push(format!(
                "{}: {}\n  expected {}\n  heard    {reply}",
                row.place, row.request, row.reply
            ));
        }
    }
    wrong
}

/// Bytes as the tables write them.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &b in bytes {
        match b {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(b)),
            b => text.push_str(&format!("\\x{b:02x}")),
        }
    }
    text
}
