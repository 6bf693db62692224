//! Warren's own jobs, over the admin door.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Cost, started,
    support::{broker::Broker, eventually, now, pause},
};

/// The first run is of cold pages, as with Flink.
const ROUNDS: u64 = 2;
const IDLE_JOBS: usize = 100;
const IDLE_S: u64 = 10;

pub(crate) struct Jobs<'a> {
    broker: &'a Broker,
}

impl<'a> Jobs<'a> {
    pub(crate) fn of(broker: &'a Broker) -> Self {
        Self { broker }
    }

    /// Starts the text's one job under a name.
    pub(crate) fn start(&self, name: &str, sql: &str) {
        let text = format!("SET 'pipeline.name' = '{name}';\n{sql}");
        let url = format!("http://{}/api/streams", self.broker.doors().admin);
        let sent = ureq::post(&url).header("Authorization", GUEST).send(&text);
        sent.unwrap_or_else(|error| panic!("{error}: {text}"));
    }

    fn phase(&self, name: &str) -> String {
        let url = format!("http://{}/api/streams/{name}", self.broker.doors().admin);
        let mut answer = ureq::get(&url).header("Authorization", GUEST).call().unwrap();
        let job: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        job["state"].as_str().unwrap_or_default().to_owned()
    }

    /// The second of two runs.
    pub(crate) fn run(&self, sql: &str) -> Cost {
        let mut cost = None;
        for round in 0..ROUNDS {
            let (began, before) = (now(), self.broker.cpu_us().unwrap());
            let name = format!("round{round}");
            self.start(&name, sql);
            eventually("the job ends", Duration::from_secs(1_800), || {
                // Asking costs the broker something too.
                pause(Duration::from_millis(45));
                let phase = self.phase(&name);
                assert!(phase != "failed", "{sql}");
                phase == "finished"
            });
            let cpu_us = self.broker.cpu_us().unwrap() - before;
            let rss_kib = self.broker.rss_bytes().unwrap() >> 10;
            cost = Some(Cost { seconds: began.elapsed().as_secs_f64(), cpu_us, broker_us: cpu_us, rss_kib });
        }
        cost.unwrap()
    }
}

/// What jobs cost that have nothing to do.
pub(crate) fn idle() {
    let job = include_str!("../../fixtures/sql/processed.sql");
    for count in [0, IDLE_JOBS] {
        let broker = started();
        for number in 0..count {
            let sql = job.replace("'input_topic'", &format!("'in{number}'"));
            Jobs::of(&broker).start(&format!("idle{number}"), &sql);
        }
        let before = broker.cpu_us().unwrap();
        pause(Duration::from_secs(IDLE_S));
        let cpu_us = broker.cpu_us().unwrap() - before;
        let rss_mib = broker.rss_bytes().unwrap() >> 20;
        println!("idle\t{count}\t{:.3}\t{rss_mib}", cpu_us as f64 / 1e3 / IDLE_S as f64);
    }
}

/// guest:guest.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";
