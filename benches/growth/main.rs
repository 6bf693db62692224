//! How cost grows: messages a second and server CPU for one message, against the number of queues, connections,
//! bindings and partitions, the backlog, and the size of a body.
//!
//! `cargo bench --bench growth [-- AXIS…]` prints one line for each point, as tab-separated values, and makes a broker of
//! its own for each (`WARREN_BIN` names another binary, `GROWTH_OPTIONS` adds options of `warren serve`). What is drawn of
//! it and how: `README.md`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop")]

#[path = "../../compat-tests/support/mod.rs"]
#[expect(unused_imports, reason = "its own tests do not run here")]
mod support;

mod axes;
mod load;

use support::broker::Broker;

/// One thing of which there may be many.
struct Axis {
    name: &'static str,
    points: &'static [u64],
    measure: fn(&Broker, u64) -> Cost,
}

/// What passing `messages` on took.
struct Cost {
    messages: u64,
    seconds: f64,
    cpu_us: u64,
    written_bytes: u64,
}

// THE table of axes.
const AXES: &[Axis] = &[
    Axis { name: "queues", points: &[1, 10, 100, 1_000], measure: axes::queues },
    Axis { name: "connections", points: &[1, 10, 100, 1_000], measure: axes::connections },
    Axis { name: "bindings", points: &[1, 10, 100, 1_000, 10_000], measure: axes::bindings },
    Axis { name: "partitions", points: &[1, 10, 100, 1_000], measure: axes::partitions },
    Axis {
        name: "backlog",
        points: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000],
        measure: axes::backlog,
    },
    Axis {
        name: "body",
        points: &[10, 100, 1_000, 10_000, 100_000, 1_000_000, 16 << 20],
        measure: axes::body,
    },
];

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let options = std::env::var("GROWTH_OPTIONS").unwrap_or_default();
    let options: Vec<&str> = options.split_whitespace().collect();
    println!("axis\tpoint\tmessages_per_s\tcpu_us_per_message\twritten_bytes_per_message\trss_mib");
    for axis in AXES.iter().filter(|axis| named.is_empty() || named.iter().any(|name| name == axis.name)) {
        for &point in axis.points {
            let broker = Broker::durable(&options);
            let Cost { messages, seconds, cpu_us, written_bytes } = (axis.measure)(&broker, point);
            let rate = messages as f64 / seconds;
            let cpu = cpu_us as f64 / messages as f64;
            let written = written_bytes / messages;
            let rss_mib = broker.rss_bytes().unwrap_or_default() >> 20;
            println!("{}\t{point}\t{rate:.0}\t{cpu:.3}\t{written}\t{rss_mib}", axis.name);
        }
    }
}
