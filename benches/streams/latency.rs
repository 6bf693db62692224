//! From the sending of a record to its result being read, one record at a time, with nothing else to do.

use std::time::Duration;

use crate::{
    flink::Flink,
    load::BIDS,
    support::{broker::Broker, kafka::Client, now},
    warren::Jobs,
};

const RECORDS: usize = 2_000;
/// The first ones are not counted.
const COLD: usize = 500;
const WAIT_MS: i32 = 20_000;

pub(crate) fn measure(flink: Option<&Flink>) {
    let sql =
        format!("{}{}", BIDS.replace("'scan.bounded.mode' = 'latest-offset',", ""), include_str!("calc.sql"));
    for durability in ["os", "fsync"] {
        let broker = Broker::durable(&["--durability", durability]);
        Jobs::of(&broker).start("latency", &sql);
        print("warren", durability, &broker);
        if let Some(flink) = flink {
            let broker = Broker::durable(&["--durability", durability]);
            let directory = tempfile::tempdir().unwrap();
            let _job = flink.start(&broker, &sql, directory.path());
            print("flink", durability, &broker);
        }
    }
}

fn print(engine: &str, durability: &str, broker: &Broker) {
    let mut taken = round_trips(broker);
    taken.sort_unstable();
    let at = |part: usize| taken.get(taken.len() * part / 100).unwrap().as_micros();
    println!("latency\t{engine}\t{durability}\t{}\t{}", at(50), at(99));
}

fn round_trips(broker: &Broker) -> Vec<Duration> {
    let mut producer = Client::connect(broker.doors().kafka).unwrap();
    let mut reader = Client::connect(broker.doors().kafka).unwrap();
    producer.create_topic("bids").unwrap();
    producer.create_topic("dear").unwrap();
    let record =
        br#"{"auction":2,"bidder":1,"price":100,"channel":"apple","url":"","at":0,"extra":""}"#.to_vec();
    let mut taken = Vec::new();
    for number in 0..RECORDS + COLD {
        let began = now();
        let sent = producer.produce("bids", std::slice::from_ref(&record)).unwrap();
        let offset = i64::try_from(number).unwrap();
        // The first one may wait for a machine that starts.
        while reader.fetch_waiting("dear", offset, WAIT_MS).unwrap().records.is_empty() {}
        taken.push(began.elapsed());
        producer.produced(sent).unwrap();
    }
    taken.split_off(COLD)
}
