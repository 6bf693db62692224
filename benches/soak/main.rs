//! Every door under work for as long as one likes, while clients are cut off and the broker is killed: what it holds of
//! memory and descriptors, and that nothing confirmed is lost.
//!
//! `WARREN_MINUTES=60 cargo bench --bench soak` prints a line for each minute, as tab-separated values. The clients and
//! what must be true after each cut and each kill are those of the crash suite (`compat-tests/crash`); they come over links
//! that rest after each read (`WARREN_REST_US`), which leaves the broker idle for about half of the time. `WARREN_SEED`
//! replays the moments, `WARREN_BIN` names another binary.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may stop")]

#[path = "../../compat-tests/support/mod.rs"]
#[expect(unused_imports, reason = "its own tests do not run here")]
mod support;

#[path = "../../compat-tests/crash/dead_letter.rs"]
mod dead_letter;
#[path = "../../compat-tests/crash/models.rs"]
mod models;
#[path = "../../compat-tests/crash/queue.rs"]
#[expect(unused_imports, dead_code, reason = "its own tests do not run here")]
mod queue;
#[path = "../../compat-tests/crash/redis.rs"]
mod redis;
#[path = "../../compat-tests/crash/topic.rs"]
mod topic;
#[path = "../../compat-tests/crash/topology.rs"]
mod topology;
#[path = "../../compat-tests/crash/zmq.rs"]
mod zmq;

use std::time::{Duration, Instant};

use models::Models;
use support::{
    Seeded,
    broker::{Broker, Doors},
    eventually,
    link::Link,
    now, pause,
};

/// One round in so many ends with a kill, the others with a cut.
const KILLED: u64 = 6;

/// How long a round works.
const ROUND_MS: std::ops::Range<u64> = 2_000..8_000;

/// What a minute was like.
#[derive(Default)]
struct Minute {
    rounds: u32,
    kills: u32,
    /// The most that was seen at the end of a round.
    rss_bytes: u64,
    descriptors: usize,
    cpu_us: u64,
}

impl Minute {
    fn look_at(&mut self, broker: &Broker) {
        self.rss_bytes = self.rss_bytes.max(broker.rss_bytes().unwrap_or(0));
        self.descriptors = self.descriptors.max(broker.descriptors().unwrap_or(0));
    }
}

fn main() {
    let minutes: u64 = number_of("WARREN_MINUTES", 3);
    let rest_us = number_of("WARREN_REST_US", 300);
    let mut moments = Seeded::from_env("soak");
    let mut broker = Broker::durable(models::OPTIONS);
    let doors = broker.doors();
    let links = [doors.amqp, doors.kafka, doors.redis, doors.zmq].map(Link::to);
    let [amqp, kafka, redis, zmq] = links.each_ref().map(Link::address);
    let mut models = Models::new(Doors { amqp, kafka, redis, zmq, ..doors });
    let (started, mut round, mut before) = (now(), 0, models.confirmed());
    let names: Vec<&str> = before.iter().map(|(name, _)| *name).collect();
    println!("minute\trounds\tkills\trss_mib\tdescriptors\tcpu_percent\t{}\tlost", names.join("\t"));
    for minute in 1..=minutes {
        let mut seen = Minute::default();
        let began = now();
        while started.elapsed() < Duration::from_secs(60 * minute) {
            links.iter().for_each(|link| link.rest(rest_us));
            round_of(&mut broker, &mut models, &links, &mut moments, &mut seen);
            links.iter().for_each(|link| link.rest(0));
            // It stops here if anything confirmed is not there.
            models.verify(round, &mut moments);
            round += 1;
        }
        let confirmed = models.confirmed();
        let row: Vec<String> =
            confirmed.iter().zip(before).map(|((_, now), (_, then))| (now - then).to_string()).collect();
        tell(minute, &seen, began, &row);
        before = confirmed;
    }
    models.verify_from_the_start();
    assert!(broker.stop().success(), "after all that it stops politely");
}

fn tell(minute: u64, seen: &Minute, began: Instant, confirmed: &[String]) {
    let Minute { rounds, kills, rss_bytes, descriptors, cpu_us } = seen;
    let cpu_percent = *cpu_us as f64 / 10_000.0 / began.elapsed().as_secs_f64();
    println!(
        "{minute}\t{rounds}\t{kills}\t{}\t{descriptors}\t{cpu_percent:.0}\t{}\t0",
        rss_bytes >> 20,
        confirmed.join("\t")
    );
}

/// Work under way until every client is cut off, or the broker killed and started again.
fn round_of(
    broker: &mut Broker,
    models: &mut Models,
    links: &[Link],
    moments: &mut Seeded,
    seen: &mut Minute,
) {
    let seed = moments.next();
    let moment = Duration::from_millis(ROUND_MS.start + moments.below(ROUND_MS.end - ROUND_MS.start));
    let is_kill = moments.below(KILLED) == 0;
    let cpu_before = broker.cpu_us().unwrap_or(0);
    models.work(seed, || {
        pause(moment);
        seen.look_at(broker);
        seen.cpu_us += broker.cpu_us().unwrap_or(0).saturating_sub(cpu_before);
        if is_kill {
            broker.kill();
        }
        // Whoever only waits has not noticed.
        links.iter().for_each(Link::cut);
    });
    seen.rounds += 1;
    if is_kill {
        seen.kills += 1;
        broker.restart();
    } else {
        let url = format!("http://{}/api/connections", broker.doors().admin);
        eventually("the broker has noticed that nobody is there", Duration::from_secs(20), || {
            connections(&url) == "[]"
        });
    }
}

fn connections(url: &str) -> String {
    let request = ureq::get(url).header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=");
    request.call().unwrap().into_body().read_to_string().unwrap()
}

fn number_of(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
