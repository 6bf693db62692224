//! How long a broker takes to start on what lies in its queues, and what that costs in memory.
//!
//! `cargo bench --bench recovery [-- MESSAGES]` (1,000,000). Messages of 100 bytes go to two durable queues in turn, one by one,
//! so that none shares its index entry with another: the worst there is. Then the store is closed and the broker rebuilt,
//! three times; the same for a delayed exchange that holds as many messages.
//!
//! `cargo bench --bench recovery -- killed [MESSAGES]` has the same queues filled by a process that is killed, and starts
//! `warren serve` on what that left (`WARREN_BIN` names another binary): when it listens, when a consumer of either queue has its
//! first message, and what memory it took at the most.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop")]

#[path = "../compat-tests/support/mod.rs"]
#[expect(unused_imports, reason = "its own tests do not run here")]
mod support;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use support::{
    amqp::{Client, Event},
    broker::Broker as Process,
};

use warrenmq::{
    broker::{
        Broker,
        exchange::ExchangeOptions,
        group,
        message::{Publish, Traits},
        profile::V4_2,
        publish::{Body, Headers, Publisher},
        queue::{ConnectionId, QueueOptions},
        recovery::Settings,
        txn,
        vhost::Vhost,
    },
    clock::{Clock, epoch},
    data::value::{Table, Value},
    store::{Durability, Options, Store},
};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BODY: [u8; 100] = [b'x'; 100];
const RUNS: usize = 3;
const QUEUES: [&str; 2] = ["a", "b"];
/// So many messages go on before the log is waited for.
const OUTSTANDING: usize = 20_000;

/// Of the process that fills a directory and is killed: where that is.
const FILLS: &str = "RECOVERY_FILLS";

fn main() {
    let messages = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    if let Some(dir) = std::env::var_os(FILLS) {
        fill_until_killed(Path::new(&dir), messages);
    }
    println!("{messages} messages of 100 bytes, each with an index entry of its own");
    if std::env::args().any(|arg| arg == "killed") {
        return measure_killed(messages);
    }
    measure("two queues", messages, publish_by_turns);
    measure("delayed", messages, delay);
}

fn measure(name: &str, messages: usize, fill: fn(&Arc<Vhost>, usize)) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let (store, broker) = open(dir.path());
    let began = epoch();
    fill(&broker.vhost("/").unwrap(), messages);
    println!("{name:>10}: filled in {:.1} s", seconds(began));
    drop(broker);
    close(store);
    for _ in 0..RUNS {
        let before = resident_mib();
        let began = epoch();
        let store = Store::open(options(dir.path())).unwrap();
        let opened = seconds(began);
        let broker = Broker::recover(store.clone(), settings()).unwrap();
        let ready: usize =
            broker.vhost("/").unwrap().queues().iter().map(|queue| queue.figures().ready).sum();
        let all = seconds(began);
        println!(
            "{name:>10}: store {opened:.2} s, broker {:.2} s, {ready} ready, {} MiB more",
            all - opened,
            resident_mib().saturating_sub(before)
        );
        drop(broker);
        close(store);
    }
}

fn fill_until_killed(dir: &Path, messages: usize) -> ! {
    let (_store, broker) = open(dir);
    publish_by_turns(&broker.vhost("/").unwrap(), messages);
    println!("filled");
    loop {
        std::thread::park();
    }
}

fn measure_killed(messages: usize) {
    let mut broker = Process::durable(&[]);
    assert!(broker.stop().success());
    let mut filler = Command::new(std::env::current_exe().unwrap())
        .arg(messages.to_string())
        .env(FILLS, broker.data_dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let filled = BufReader::new(filler.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(filled.into_iter().any(|line| line == "filled"));
    filler.kill().unwrap();
    filler.wait().unwrap();
    for _ in 0..RUNS {
        let began = epoch();
        broker.restart();
        let listens = seconds(began);
        let firsts = QUEUES.map(|queue| {
            let mut client = Client::connect(broker.doors().amqp).unwrap();
            client.prefetch(1).unwrap();
            client.consume(queue).unwrap();
            while !matches!(client.next().unwrap(), Some(Event::Delivery { .. })) {}
            seconds(began)
        });
        let (cpu_s, peak) = (broker.cpu_us().unwrap_or_default() as f64 / 1e6, broker.peak_bytes());
        println!(
            "    killed: listens after {listens:.2} s, delivers after {:.2} and {:.2} s, {cpu_s:.2} s of CPU, {} MiB at the most",
            firsts[0],
            firsts[1],
            peak.unwrap_or_default() >> 20
        );
        broker.kill();
    }
}

fn open(dir: &Path) -> (Store, Arc<Broker>) {
    let store = Store::open(options(dir)).unwrap();
    let broker = Broker::recover(store.clone(), settings()).unwrap();
    (store, broker)
}

fn options(dir: &Path) -> Options {
    Options::new(dir, Durability::Os)
}

fn settings() -> Settings {
    Settings {
        profile: &V4_2,
        clock: Clock::machine(),
        memory_limit_bytes: usize::MAX >> 1,
        runtime: None,
        tail_bytes_max: 1 << 20,
        groups: group::Settings::default(),
        producers: txn::Settings::default(),
    }
}

fn publish_by_turns(vhost: &Arc<Vhost>, messages: usize) {
    for name in QUEUES {
        let arguments = Table::default();
        let options = QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments };
        vhost.declare_queue(name, ConnectionId(0), options).unwrap();
    }
    let mut publishers = QUEUES.map(|name| (name, Publisher::new(vhost.clone())));
    let mut sent = 0;
    while sent < messages {
        for (routing_key, publisher) in &mut publishers {
            publish(publisher, "", routing_key, &[0, 0], &Table::default());
        }
        sent += QUEUES.len();
        if sent.is_multiple_of(OUTSTANDING) {
            settle(vhost);
        }
    }
    settle(vhost);
}

fn delay(vhost: &Arc<Vhost>, messages: usize) {
    let arguments = Table(vec![("x-delayed-type".to_owned(), Value::LongStr("fanout".into()))]);
    let kind = "x-delayed-message".to_owned();
    let options = ExchangeOptions { kind, durable: true, auto_delete: false, internal: false, arguments };
    vhost.declare_exchange("d", options).unwrap();
    let mut publisher = Publisher::new(vhost.clone());
    for n in 0..messages {
        // Some later than others, none soon.
        let ms = 100_000_000 + i64::try_from(n * 7_919 % 1_000_000).unwrap();
        let headers = Table(vec![("x-delay".to_owned(), Value::I64(ms))]);
        let properties = warrenmq::data::field::Properties::default().with_headers(&headers);
        publish(&mut publisher, "d", "k", &properties, &headers);
        if n.is_multiple_of(OUTSTANDING) {
            settle(vhost);
        }
    }
    settle(vhost);
}

fn publish(publisher: &mut Publisher, exchange: &str, routing_key: &str, properties: &[u8], table: &Table) {
    let traits = Traits { persistent: true, ..Traits::default() };
    let publish = Publish { exchange, routing_key, properties, traits };
    let headers = || Some(Headers { table: table.clone(), alone: true });
    let now_ms = publisher.core().clock.now_ms();
    publisher.publish(now_ms, &publish, headers, &mut Body::Copied(&BODY)).unwrap();
    publisher.flush(now_ms, None);
}

/// Waits until everything is in the log.
fn settle(vhost: &Vhost) {
    let store = &vhost.core.store;
    wait(store.durable(store.submitted_to()));
}

fn close(store: Store) {
    wait(store.close());
}

fn wait<E: std::fmt::Debug>(future: impl Future<Output = Result<(), E>>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future).unwrap();
}

fn seconds(since: Instant) -> f64 {
    let took: Duration = epoch().saturating_duration_since(since);
    took.as_secs_f64()
}

fn resident_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|kib| kib.parse::<usize>().ok());
    kib.unwrap_or_default() / 1024
}
