//! What the jobs read: bids of two hundred bytes, or Nexmark's events.

use std::{path::Path, process::Command};

use warrenmq::{clock::Clock, data::record::BatchBuilder};

use crate::support::{broker::Broker, kafka::Client};

/// The table of [`Input::Bids`].
pub(crate) const BIDS: &str = include_str!("bids.sql");
const RECORDS_A_BATCH: usize = 500;
const AUCTIONS: u64 = 1_000;
/// Bids come so fast, by their own time.
const BIDS_PER_S: u64 = 10_000;
const BID_BYTES: usize = 200;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Input {
    Bids,
    Nexmark,
}

impl Input {
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Bids => "bids",
            Self::Nexmark => "nexmark",
        }
    }

    pub(crate) fn records(self) -> Vec<String> {
        match self {
            Self::Bids => (0..count(1_000_000)).map(bid).collect(),
            Self::Nexmark => nexmark(),
        }
    }
}

fn count(default: u64) -> u64 {
    std::env::var("STREAMS_RECORDS").map_or(default, |text| text.parse().unwrap())
}

fn bid(number: u64) -> String {
    // Any fixed scatter will do.
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let (auction, bidder, price) = (scattered % AUCTIONS, scattered % 977, scattered % 1_000_000);
    let at = 1_600_000_000_000 + number * 1_000 / BIDS_PER_S;
    let mut text = format!(
        "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"channel\":\"channel-{}\",\
         \"url\":\"https://www.nexmark.com/item.htm?query={scattered}\",\"at\":{at},\"extra\":\"",
        scattered % 10
    );
    let missing = BID_BYTES.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('x', missing));
    text.push_str("\"}");
    text
}

/// As the fixture's generator makes them, more of them.
fn nexmark() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/streams/nexmark");
    let directory = tempfile::tempdir().unwrap();
    let program = format!(
        "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {folder:?}); import generate; \
         generate.EVENTS = {}; generate.main()",
        count(200_000)
    );
    let done = Command::new("python3").args(["-c", &program]).current_dir(directory.path()).status().unwrap();
    assert!(done.success(), "python3 generate.py");
    let text = std::fs::read_to_string(directory.path().join("nexmark.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Puts the records into a topic of one partition.
pub(crate) fn fill(broker: &Broker, topic: &str, records: &[String]) {
    let mut client = Client::connect(broker.doors().kafka).unwrap();
    client.create_topic(topic).unwrap();
    let now = Clock::machine().now_ms();
    for records in records.chunks(RECORDS_A_BATCH) {
        let mut batch = BatchBuilder::new();
        for record in records {
            batch.push(now, None, Some(record.as_bytes()), std::iter::empty());
        }
        let sent = client.produce_batch(topic, 0, batch.build().bytes()).unwrap();
        assert_eq!(client.produced(sent).unwrap().error, 0);
    }
}
