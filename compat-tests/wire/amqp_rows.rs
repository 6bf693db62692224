//! THE table of the AMQP door: every row of the compatibility list as a script, run over a real socket in every version
//! that `--compat` knows, and against a real RabbitMQ.
//!
//! `WARREN_ORACLE=host:port` (and `WARREN_ORACLE_API=host:port`, its management port) names a RabbitMQ 3.10: the measured
//! rows must come out there as they do here as 3.12, but for those in `fixtures/amqp/oracle.tsv`. What this tree cannot
//! do yet is in `fixtures/amqp/pending.tsv`, and must be taken off there when it can. `WARREN_ROW=text` runs the rows
//! whose names contain that.
#![cfg(test)]

#[path = "amqp_rows/hear.rs"]
mod hear;
#[path = "amqp_rows/script.rs"]
mod script;
#[path = "amqp_rows/speak.rs"]
mod speak;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Mutex,
};

use script::{Row, Server, VERSIONS, holds, listed, rows};
use support::{broker::Broker, report};

type Failures = BTreeMap<String, String>;

#[test]
fn as_3_12() {
    warren("3.12");
}

#[test]
fn as_3_13() {
    warren("3.13");
}

#[test]
fn as_4_2() {
    warren("4.2");
}

#[test]
fn as_4_3() {
    warren("4.3");
}

fn wanted() -> Vec<Row> {
    let only = std::env::var("WARREN_ROW").unwrap_or_default();
    rows().into_iter().filter(|row| row.name.contains(&only)).collect()
}

/// All rows on brokers of ours in that version; rows with options of their own have one each.
fn warren(version: &str) {
    let rows: Vec<Row> = wanted().into_iter().filter(|row| row.runs_in(version)).collect();
    let failures = Mutex::new(Failures::new());
    let (shared, own): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.options.is_empty());
    let broker = Broker::ephemeral(&["--compat", version]);
    let server = Server { amqp: broker.doors().amqp, admin: Some(broker.doors().admin) };
    std::thread::scope(|scope| {
        scope.spawn(|| all(server, version, &shared, &failures));
        scope.spawn(|| {
            for row in own {
                let options: Vec<&str> = ["--compat", version]
                    .into_iter()
                    .chain(row.options.iter().flat_map(|option| ["--set", option.as_str()]))
                    .collect();
                let broker = Broker::ephemeral(&options);
                let server = Server { amqp: broker.doors().amqp, admin: Some(broker.doors().admin) };
                one(server, version, row, &failures);
            }
        });
    });
    let failures = failures.into_inner().expect("no test thread panics");
    judge(version, &rows, &failures);
}

/// Rows one after the other, since they share names; slow ones, which share none, beside them.
fn all(server: Server, version: &str, rows: &[&Row], failures: &Mutex<Failures>) {
    std::thread::scope(|scope| {
        for row in rows.iter().filter(|row| row.slow) {
            scope.spawn(|| one(server, version, row, failures));
        }
        for row in rows.iter().filter(|row| !row.slow) {
            one(server, version, row, failures);
            tidy_up(server);
        }
    });
}

fn one(server: Server, version: &str, row: &Row, failures: &Mutex<Failures>) {
    if let Err(wrong) = row.run(server, version) {
        failures.lock().expect("no test thread panics").insert(row.name.clone(), wrong);
    }
}

/// Names that rows use and leave behind.
fn tidy_up(server: Server) {
    let mut janitor = hear::Peer::open(server.amqp, &hear::Opening::default()).expect("the server lives");
    for name in ["q", "r", "s", "x", "y"] {
        let command = if matches!(name, "x" | "y") { "exchange.delete" } else { "queue.delete" };
        // The row's connection may not be quite gone, and its exclusive queue with it.
        support::eventually(name, std::time::Duration::from_secs(5), || {
            janitor.send(&speak::bytes(&format!("{command} {name}"))).expect("it is sent");
            let answer = janitor.line().expect("an answer");
            if answer.contains("delete-ok") {
                return true;
            }
            janitor.send(&speak::bytes("channel.close-ok")).expect("it is sent");
            janitor.send(&speak::bytes("channel.open")).expect("it is sent");
            assert_eq!(janitor.line().expect("an answer"), "channel.open-ok", "after {answer}");
            false
        });
    }
}

/// `owner` or `owner TAB versions`.
fn is_for(rest: &str, version: &str) -> bool {
    rest.split_once('\t').is_none_or(|(_, range)| holds(range, version))
}

/// Failures must be listed, and what is listed must fail somewhere.
fn judge(version: &str, rows: &[Row], failures: &Failures) {
    let pending: BTreeMap<String, String> =
        listed("pending.tsv").into_iter().filter(|(_, rest)| is_for(rest, version)).collect();
    let mut wrong = String::new();
    for (name, why) in failures.iter().filter(|(name, _)| !pending.contains_key(*name)) {
        wrong += &format!("\n  {name}: {why}");
    }
    for row in rows {
        if let Some(owner) = pending.get(&row.name)
            && !failures.contains_key(&row.name)
        {
            wrong += &format!("\n  {} passes as {version}: strike it off pending.tsv ({owner})", row.name);
        }
    }
    let waiting = failures.keys().filter(|name| pending.contains_key(*name)).count();
    report::say(&format!("amqp_rows as {version}: {} rows, {waiting} pending", rows.len()));
    assert!(wrong.is_empty(), "as {version}:{wrong}");
}

#[test]
fn against_the_oracle() {
    let Some(amqp) = address("WARREN_ORACLE") else {
        report::say("amqp_rows: WARREN_ORACLE names no RabbitMQ, nothing is compared");
        return;
    };
    let server = Server { amqp, admin: address("WARREN_ORACLE_API") };
    let rows: Vec<Row> =
        wanted().into_iter().filter(|row| row.runs_in("3.12") && row.options.is_empty()).collect();
    let failures = Mutex::new(Failures::new());
    all(server, "3.12", &rows.iter().collect::<Vec<_>>(), &failures);
    let failures = failures.into_inner().expect("no test thread panics");
    let known = listed("oracle.tsv");
    let mut wrong = String::new();
    for row in &rows {
        let line = match (failures.get(&row.name), known.get(&row.name)) {
            (Some(why), Some(reason)) => format!("known: {reason}\n    {why}"),
            (Some(why), None) => {
                wrong += &format!("\n  {}: {why}", row.name);
                format!("DIFFERS\n    {why}")
            }
            (None, Some(_)) => {
                wrong += &format!("\n  {} is the same: strike it off oracle.tsv", row.name);
                continue;
            }
            (None, None) => continue,
        };
        report::say(&format!("oracle: {} [{}] {line}", row.name, row.source));
    }
    let same = rows.len() - failures.len();
    report::say(&format!("oracle: {same} of {} rows are the same", rows.len()));
    assert!(wrong.is_empty(), "RabbitMQ differs:{wrong}");
}

fn address(variable: &str) -> Option<SocketAddr> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: write it as address:port")))
}

/// Row 79 and section 11: a server that goes down says so, and waits for the answer.
#[test]
fn a_server_that_goes_down_says_so() {
    let mut broker = Broker::ephemeral(&[]);
    let mut peer = hear::Peer::open(broker.doors().amqp, &hear::Opening::default()).expect("it opens");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| broker.stop());
        let expected = "connection.close 320 0.0 CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
        assert_eq!(peer.line().expect("a close"), expected);
        peer.send(&speak::bytes("connection.close-ok")).expect("it is sent");
        assert_eq!(peer.line().expect("the end"), "end");
        assert!(stopping.join().expect("it stops").success());
    });
}

/// The 84 rows of error replies, and what the other sections have.
#[test]
fn every_row_of_the_list_is_there() {
    let rows = rows();
    let there: BTreeSet<&str> = rows.iter().flat_map(|row| row.rows.iter().map(String::as_str)).collect();
    // The last, an error that nobody foresaw, cannot be caused: `fixtures/amqp/faults.tsv` has its text.
    let errors = (1..=83).map(|n| format!("3.{n}"));
    let others = listed("sections.tsv").into_keys().filter(|row| row != "11.shutdown");
    let missing: Vec<String> = errors.chain(others).filter(|row| !there.contains(row.as_str())).collect();
    assert_eq!(missing, [""; 0], "rows without a script");
    let known: BTreeSet<String> =
        (1..=84).map(|n| format!("3.{n}")).chain(listed("sections.tsv").into_keys()).collect();
    for row in there {
        assert!(known.contains(row), "{row} is in no list");
    }
}

#[test]
fn names_are_unique_and_lists_name_rows() {
    let rows = rows();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names.len(), rows.len(), "a name is there twice");
    for list in ["pending.tsv", "oracle.tsv"] {
        for name in listed(list).keys() {
            assert!(names.contains(name.as_str()), "{list}: there is no row {name}");
        }
    }
    for row in &rows {
        assert!(matches!(row.source, 'M' | 'S' | 'W'), "{}: no source {}", row.name, row.source);
        assert!(VERSIONS.iter().any(|version| row.runs_in(version)), "{} never runs", row.name);
    }
}
