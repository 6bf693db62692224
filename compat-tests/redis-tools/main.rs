//! Redis' own tools against the `warren` binary, where they are: `redis-cli` as scripts and people use it, and
//! `redis-benchmark`.
//!
//! `WARREN_ORACLE_REDIS=host:port` names a real Redis, whose keys are removed: the tools must say the same of it.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{
    fs::File,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use support::{
    broker::Broker,
    environment::{self, Missing},
    process, report,
};

const LIMIT: Duration = Duration::from_secs(60);

/// A tool of Redis, if the machine has it, as it speaks to a server.
fn tool(name: &str, address: SocketAddr) -> Result<Command, Missing> {
    environment::has(name, &["--version"], "Debian: the package redis-tools")?;
    let mut command = Command::new(name);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    Ok(command)
}

/// Options and command, what is given on standard input, and what `redis-cli` prints.
const FORMS: &[(&str, &str, &str)] = &[
    ("flushall", "", "OK\n"),
    ("ping", "", "PONG\n"),
    ("--no-raw lpush l a b c", "", "(integer) 3\n"),
    ("--no-raw lrange l 0 -1", "", "1) \"c\"\n2) \"b\"\n3) \"a\"\n"),
    ("--csv lrange l 0 -1", "", "\"c\",\"b\",\"a\"\n"),
    ("--json lrange l 0 -1", "", "[\"c\",\"b\",\"a\"]\n"),
    ("-r 3 incr counter", "", "1\n2\n3\n"),
    ("-r 2 -i 0.01 incr counter", "", "4\n5\n"),
    ("hset h f v", "", "1\n"),
    ("-3 hgetall h", "", "f v\n"),
    ("-2 --json hgetall h", "", "[\"f\",\"v\"]\n"),
    ("--json hgetall h", "", "{\"f\":\"v\"}\n"),
    ("-3 --no-raw hgetall h", "", "1# \"f\" => \"v\"\n"),
    ("-n 3 set a b", "", "OK\n"),
    ("-n 3 dbsize", "", "1\n"),
    ("dbsize", "", "3\n"),
    ("--no-raw nothing a", "", "(error) ERR unknown command 'nothing', with args beginning with: 'a' \n"),
    ("get l", "", "WRONGTYPE Operation against a key holding the wrong kind of value\n\n"),
    ("-x set k", "some\ntext", "OK\n"),
    ("get k", "", "some\ntext\n"),
    ("-X tag set other tag", "other", "OK\n"),
    ("--no-raw get other", "", "\"other\"\n"),
    ("--quoted-input set \"a\\x20b\" c", "", "OK\n"),
    ("--no-raw keys a*", "", "1) \"a b\"\n"),
    // As typed, one after the other.
    (
        "",
        "set x 1\nincr x\nget x\nnothing\nping\n",
        "OK\n2\n2\nERR unknown command 'nothing', with args beginning with: \n\nPONG\n",
    ),
    ("--no-raw", "multi\nset y 2\nincr y\nexec\n", "OK\nQUEUED\nQUEUED\n1) OK\n2) (integer) 3\n"),
    ("--no-raw", "select 3\nget a\nreset\nping\n", "OK\n\"b\"\nRESET\nPONG\n"),
    ("--no-raw", "watch x\nmulti\ndiscard\nexec\n", "OK\nOK\nOK\n(error) ERR EXEC without MULTI\n"),
    ("--scan --pattern ?", "", "h\nk\nl\nx\ny\n"),
];

/// What `redis-cli` prints, and its exit code.
fn cli(address: SocketAddr, options: &[&str], given: &str) -> (String, Option<i32>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let input = directory.path().join("in");
    std::fs::write(&input, given).expect("a temporary file");
    let mut command = tool("redis-cli", address).expect("it was there a moment ago");
    command.args(options).env_remove("REDISCLI_AUTH");
    let done = process::fed(&mut command, Stdio::from(File::open(&input).expect("just written")), LIMIT);
    let (said, code) = (done.said + &done.errors, done.status.and_then(|status| status.code()));
    // Keys come in any order.
    let is_scan = options.contains(&"--scan");
    let mut lines: Vec<&str> = said.split_inclusive('\n').collect();
    if is_scan {
        lines.sort_unstable();
    }
    (lines.concat(), code)
}

fn forms(address: SocketAddr) {
    for (options, given, expected) in FORMS {
        let words: Vec<&str> = options.split(' ').filter(|word| !word.is_empty()).collect();
        let (said, code) = cli(address, &words, given);
        assert_eq!((said.as_str(), code), (*expected, Some(0)), "redis-cli {options}");
    }
    let (said, code) = cli(address, &["-e", "set"], "");
    assert_eq!((said.as_str(), code), ("ERR wrong number of arguments for 'set' command\n", Some(1)));
}

/// Ten thousand commands at once, inline and not, two of them wrong.
fn pipe(address: SocketAddr) {
    assert_eq!(cli(address, &["flushall"], "").0, "OK\n");
    let mut given = String::new();
    for n in 0..5_000 {
        let (value, size) = (n.to_string(), n.to_string().len());
        given.push_str(&format!("SET key:{n} {n}\r\n"));
        given.push_str(&format!("*3\r\n$5\r\nRPUSH\r\n$1\r\nq\r\n${size}\r\n{value}\r\n"));
    }
    given.push_str("NOTHING\r\nINCR q\r\n");
    let (said, code) = cli(address, &["--pipe"], &given);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("errors: 2, replies: 10002\n"), "{said}");
    assert_eq!(cli(address, &["dbsize"], "").0, "5001\n");
    assert_eq!(cli(address, &["--scan", "--pattern", "key:1*", "-i", "0"], "").0.lines().count(), 1_111);
    let (said, code) = cli(address, &["--bigkeys"], "");
    assert!(code == Some(0) && said.contains("Biggest   list found '\"q\"' has 5000 items"), "{said}");
    let (said, code) = cli(address, &["--memkeys"], "");
    assert!(code == Some(0) && said.contains("Sampled 5001 keys in the keyspace!"), "{said}");
}

/// What a person sees who asks for help: the tool's own, since the server has none.
fn help(address: SocketAddr) {
    let (said, code) = cli(address, &["help", "lpush"], "");
    assert!(code == Some(0) && said.contains("key element [element ...]"), "{said}");
    for container in ["client", "command", "config", "object", "pubsub", "script", "xgroup", "xinfo"] {
        let (said, code) = cli(address, &[container, "help"], "");
        let heading = format!("{} <subcommand> ", container.to_uppercase());
        assert!(code == Some(0) && said.starts_with(&heading), "{said}");
    }
}

/// The tests of `redis-benchmark`, in a size of seconds.
const BENCHMARKS: &str =
    "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset";

fn benchmark(suite: &str, address: SocketAddr, (count, pipelined): (&str, &str)) {
    let mut command = match tool("redis-benchmark", address) {
        Ok(command) => command,
        Err(Missing(reason)) => panic!("redis-cli is there and this is not: {reason}"),
    };
    command.args(["-t", BENCHMARKS, "-n", count, "-c", "20", "-r", "100", "-P", pipelined, "--csv"]);
    let done = report::suite(suite, || process::within(&mut command, LIMIT));
    assert!(done.success() && done.errors.is_empty(), "{suite}\n{}{}", done.said, done.errors);
    // A heading, and a row for each test; two of them are run twice, and one is made ready.
    let rates = done.said.lines().skip(1).filter_map(|line| line.split("\",\"").nth(1));
    let rates: Vec<f64> = rates.map(|rate| rate.parse().unwrap_or(0.0)).collect();
    assert!(
        rates.len() >= BENCHMARKS.split(',').count() && rates.iter().all(|rate| *rate > 0.0),
        "{}",
        done.said
    );
}

fn all(suite: &str, address: SocketAddr) {
    report::suite(suite, || {
        forms(address);
        pipe(address);
    });
    benchmark(&format!("{suite}, redis-benchmark"), address, ("500", "1"));
    benchmark(&format!("{suite}, redis-benchmark -P 16"), address, ("2000", "16"));
}

#[test]
fn the_tools_say_of_this_what_they_say_of_redis() {
    let suite = "redis tools";
    let broker = Broker::durable(&[]);
    let address = broker.doors().redis;
    if report::where_there_is_one(suite, tool("redis-cli", address)).is_some() {
        all(suite, address);
        help(address);
    }
}

#[test]
fn against_the_oracle() {
    let Ok(oracle) = std::env::var("WARREN_ORACLE_REDIS") else { return };
    all("redis tools, oracle", oracle.parse().expect("WARREN_ORACLE_REDIS is host:port"));
}
