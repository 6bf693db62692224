//! The store alone: MB/s and the time from `submit` to the ticket, with 1 KiB messages.
//!
//! `cargo bench --bench store [seconds per run]` (0: only the opening). Open loop at 50 MB/s (a wake-up every half millisecond), and as fast as
//! 4,000 outstanding messages allow. Each message is a Change of its own with one chunk; every 100th also sets a key.
//! Chunks are released one second behind, so that segments are recycled as in a drained queue.
//!
//! Then the time to open a store that was left without closing, behind tails of 5, 24 and 50 MB in the log.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]
#![expect(clippy::disallowed_methods, reason = "a bench sleeps between its wake-ups")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use warrenmq::{
    clock::epoch,
    store::{Change, Durability, Options, Place, Space, Store, StoreError, Turn},
};

const MESSAGE_BYTES: usize = 1024;
const OUTSTANDING_MAX: u64 = 4_000;

#[derive(Default)]
struct Done {
    latencies_us: Vec<u32>,
    places: VecDeque<Place>,
}

struct Publish {
    number: u64,
    body: Arc<[u8]>,
    place: Option<Place>,
    sent: Instant,
    done: Arc<Mutex<Done>>,
}

impl Change for Publish {
    fn bytes_max(&self) -> usize {
        MESSAGE_BYTES + 32
    }

    fn stage(&mut self, turn: &mut Turn) {
        let place = turn.chunk(&[&self.body]);
        if self.number.is_multiple_of(100) {
            let value = [place.segment, place.offset, place.len].map(u32::to_be_bytes).concat();
            turn.put(Space::Index, &[&[b'q'][..], &(self.number % 10_000).to_be_bytes()].concat(), &value);
        }
        self.place = Some(place);
    }

    fn committed(self: Box<Self>) {
        let took = epoch().saturating_duration_since(self.sent);
        let mut done = self.done.lock().unwrap();
        done.latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        done.places.extend(self.place);
    }

    fn refused(self: Box<Self>, error: &StoreError) {
        eprintln!("refused: {error}");
    }
}

struct Load {
    store: Store,
    done: Arc<Mutex<Done>>,
    body: Arc<[u8]>,
    sent: u64,
    retained: VecDeque<(Instant, Place)>,
}

impl Load {
    fn send(&mut self) {
        self.sent += 1;
        self.store.submit(Box::new(Publish {
            number: self.sent,
            body: self.body.clone(),
            place: None,
            sent: epoch(),
            done: self.done.clone(),
        }));
    }

    fn drain(&mut self, now: Instant) {
        let places = std::mem::take(&mut self.done.lock().unwrap().places);
        for place in places {
            self.store.retain(place);
            self.retained.push_back((now, place));
        }
        while let Some((at, place)) = self.retained.front() {
            if now.saturating_duration_since(*at) < Duration::from_secs(1) {
                break;
            }
            self.store.release(*place);
            self.retained.pop_front();
        }
    }
}

fn run(durability: Durability, rate_mb: Option<u64>, time: Duration) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let opened = epoch();
    let store = Store::open(Options::new(dir.path(), durability)).unwrap();
    let open_us = epoch().saturating_duration_since(opened).as_micros();
    store.start_reclaiming();
    let body: Vec<u8> = (0..MESSAGE_BYTES).map(|i| (i * 131 + i / 7) as u8).collect();
    let mut load =
        Load { store, done: Arc::default(), body: body.into(), sent: 0, retained: VecDeque::new() };
    let cpu = cpu_time();
    let began = epoch();
    loop {
        let now = epoch();
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= time {
            break;
        }
        let due = match rate_mb {
            Some(rate) => elapsed.as_micros() as u64 * rate / MESSAGE_BYTES as u64,
            None => load.store.durable_to().0 + OUTSTANDING_MAX,
        };
        while load.sent < due {
            load.send();
        }
        load.drain(now);
        // Spinning would take the second core away from the committer and the background thread.
        std::thread::sleep(Duration::from_micros(if rate_mb.is_some() { 500 } else { 100 }));
    }
    while load.store.durable_to() < load.store.submitted_to() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let elapsed = epoch().saturating_duration_since(began);
    let cpu = cpu_time().saturating_sub(cpu);
    report(&load, durability, rate_mb, elapsed, cpu, open_us);
    drop(load);
    if durability != Durability::None {
        reopen(&Options::new(dir.path(), durability));
    }
}

/// How long it takes to open what was left behind without closing, and what was closed.
fn reopen(options: &Options) {
    for _ in 0..2 {
        let began = epoch();
        let store = Store::open(options.clone()).unwrap();
        let took = epoch().saturating_duration_since(began).as_micros();
        println!("    opened in {took} us, {} KiB replayed", store.recovered().replayed_bytes / 1024);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(store.close()).unwrap();
    }
}

fn report(
    load: &Load,
    durability: Durability,
    rate_mb: Option<u64>,
    elapsed: Duration,
    cpu: Duration,
    open_us: u128,
) {
    let mut latencies = std::mem::take(&mut load.done.lock().unwrap().latencies_us);
    latencies.sort_unstable();
    let at =
        |permille: usize| latencies.get((latencies.len() - 1) * permille / 1000).copied().unwrap_or_default();
    let stats = load.store.stats();
    let mb = load.sent as f64 * MESSAGE_BYTES as f64 / 1e6 / elapsed.as_secs_f64();
    println!(
        "{durability:?} {:<7} {mb:7.0} MB/s  us: p50 {:6} p99 {:6} p99.9 {:6} max {:6}  cpu {:.2} us/message  \
         turns {} syncs {} checkpoints {} (last {} us) segments {}+{} open {open_us} us",
        rate_mb.map_or("max".into(), |rate| format!("{rate} MB/s")),
        at(500),
        at(990),
        at(999),
        at(1000),
        cpu.as_secs_f64() * 1e6 / load.sent as f64,
        stats.turns,
        stats.syncs,
        stats.checkpoints,
        stats.checkpoint_us_last,
        stats.segments,
        stats.spare_segments,
    );
}

/// How long it takes to open a store behind a tail of so many bytes that no checkpoint has seen, several times over.
fn recover(durability: Durability, tail_bytes: usize) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let no_checkpoint = Options {
        checkpoint_every_ms: 3_600_000,
        checkpoint_log_bytes: u64::MAX,
        ..Options::new(dir.path(), durability)
    };
    let store = Store::open(no_checkpoint.clone()).unwrap();
    let body: Vec<u8> = (0..MESSAGE_BYTES).map(|i| (i * 131 + i / 7) as u8).collect();
    let mut load =
        Load { store, done: Arc::default(), body: body.into(), sent: 0, retained: VecDeque::new() };
    while (load.sent as usize) * MESSAGE_BYTES < tail_bytes {
        while load.sent < load.store.durable_to().0 + 200 {
            load.send();
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    while load.store.durable_to() < load.store.submitted_to() {
        std::thread::sleep(Duration::from_micros(100));
    }
    drop(load);
    let mut took_us = Vec::new();
    let mut replayed = 0;
    for _ in 0..5 {
        let began = epoch();
        let store = Store::open(no_checkpoint.clone()).unwrap();
        took_us.push(epoch().saturating_duration_since(began).as_micros());
        replayed = store.recovered().replayed_bytes;
    }
    println!("{durability:?} {} KiB of log replayed: opened in {took_us:?} us", replayed / 1024);
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // Cargo passes `--bench`.
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(3);
    for durability in [Durability::Fsync, Durability::Os] {
        for tail_mb in [5, 24, 50] {
            recover(durability, tail_mb << 20);
        }
    }
    if seconds == 0 {
        return;
    }
    for durability in [Durability::Fsync, Durability::Os, Durability::None] {
        for rate in [Some(50), None] {
            run(durability, rate, Duration::from_secs(seconds));
        }
    }
}
