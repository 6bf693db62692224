//! Stream jobs beside Flink: the same records, the same SQL, from topic to topic, at parallelism 1.
//!
//! `cargo bench --bench streams [-- ROW…]` prints one line for each row and engine; what the columns mean and what to look
//! at: `README.md`. `WARREN_BIN` names another binary, `STREAMS_RECORDS` the number of records, `STREAMS_OPTIONS` adds
//! options of `warren serve`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop")]

#[path = "../../compat-tests/support/mod.rs"]
#[expect(unused_imports, reason = "its own tests do not run here")]
mod support;

mod flink;
mod latency;
mod load;
mod warren;

use std::{cell::LazyCell, path::Path};

use flink::Flink;
use load::Input;
use support::broker::Broker;
use warren::Jobs;

/// A job: what it reads, and what it is.
struct Row {
    name: String,
    input: Input,
    sql: String,
    /// As Flink runs it, too: at parallelism 1.
    beside_flink: bool,
}

/// What one job took.
struct Cost {
    seconds: f64,
    /// Of the engine.
    cpu_us: u64,
    /// Of the broker that serves the engine; for Warren's own jobs it is the engine.
    broker_us: u64,
    rss_kib: u64,
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    let flink = Flink::available();
    println!("row\tengine\trecords\trecords_per_s\tcpu_us_per_record\tbroker_us_per_record\trss_mib");
    let (bids, nexmark) =
        (LazyCell::new(|| Input::Bids.records()), LazyCell::new(|| Input::Nexmark.records()));
    for row in rows().into_iter().filter(|row| wanted(&row.name)) {
        let records: &[String] = match row.input {
            Input::Bids => &bids,
            Input::Nexmark => &nexmark,
        };
        let print = |engine: &str, cost: &Cost| {
            let each = |us: u64| us as f64 / records.len() as f64;
            let rate = records.len() as f64 / cost.seconds;
            let (cpu, broker) = (each(cost.cpu_us), each(cost.broker_us));
            let (name, count, mib) = (&row.name, records.len(), cost.rss_kib >> 10);
            println!("{name}\t{engine}\t{count}\t{rate:.0}\t{cpu:.2}\t{broker:.2}\t{mib}");
        };
        let broker = started();
        load::fill(&broker, row.input.topic(), records);
        print("warren", &Jobs::of(&broker).run(&row.sql));
        if let Some(flink) = flink.as_ref().filter(|_| row.beside_flink) {
            // A broker of its own, so that neither finds the other's output.
            let broker = started();
            load::fill(&broker, row.input.topic(), records);
            print("flink", &flink.run(&broker, &row.sql));
        }
    }
    if wanted("latency") {
        println!("row\tengine\tdurability\tp50_us\tp99_us");
        latency::measure(flink.as_ref());
    }
    if wanted("idle") {
        println!("row\tjobs\tcpu_ms_per_s\trss_mib");
        warren::idle();
    }
}

fn started() -> Broker {
    let options = std::env::var("STREAMS_OPTIONS").unwrap_or_default();
    Broker::durable(&options.split_whitespace().collect::<Vec<_>>())
}

/// Filter and projection, a keyed window, and Nexmark's queries.
fn rows() -> Vec<Row> {
    let bids = |name: &str, shards: usize, sql: &str| Row {
        name: name.to_owned(),
        input: Input::Bids,
        sql: if shards == 1 {
            format!("{}{sql}", load::BIDS)
        } else {
            format!("SET 'parallelism.default' = '{shards}';\n{}{sql}", load::BIDS)
        },
        beside_flink: shards == 1,
    };
    let (calc, tumble) = (include_str!("calc.sql"), include_str!("tumble.sql"));
    let mut rows = vec![
        bids("filter", 1, include_str!("filter.sql")),
        bids("calc", 1, calc),
        bids("calc_2", 2, calc),
        bids("tumble", 1, tumble),
        bids("tumble_2", 2, tumble),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let tables = read(&folder.join("nexmark/tables.sql"));
    let queries = ["nexmark", "nexmark_clock"].map(|name| std::fs::read_dir(folder.join(name)).unwrap());
    let mut queries: Vec<_> = queries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sql") && !path.ends_with("tables.sql"))
        .collect();
    queries.sort();
    rows.extend(queries.into_iter().map(|path| {
        let query =
            format!("{tables}{}", read(&path)).replace("'connector' = 'print'", "'connector' = 'blackhole'");
        Row {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            input: Input::Nexmark,
            sql: query,
            beside_flink: true,
        }
    }));
    rows
}
