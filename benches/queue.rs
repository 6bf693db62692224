//! One queue alone, without its lock and without a log: nanoseconds per message on one thread.
//!
//! `cargo bench --bench queue`. Batches of 64 messages of 100 bytes are gathered, published and delivered to a consumer whose
//! outlet is emptied each time.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::{
    hint::black_box,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use warrenmq::{
    broker::{
        arguments,
        message::{Blob, Draft, Publish, Traits},
        outlet::{Event, Outlet},
        profile::V4_2,
        queue::{
            ConsumerId, Seq,
            consumers::ConsumerSpec,
            state::{Effects, State},
        },
    },
    clock::epoch,
    data::value::{Table, Value},
};

const BATCH: u32 = 64;
const CONSUMER: ConsumerId = ConsumerId(1);

fn main() {
    let mut draft = Draft::default();
    measure("gather and seal a batch", || {
        black_box(batch(&mut draft, false));
    });
    for (what, arguments) in
        [("fifo", Table::default()), ("11 priorities", numbers(&[("x-max-priority", 10)]))]
    {
        let mut queue = Bench::new(&arguments, true);
        measure(&format!("{what}: publish, deliver"), || queue.turn(false, false));
        let mut queue = Bench::new(&arguments, false);
        measure(&format!("{what}: publish, deliver, ack"), || queue.turn(false, true));
        let mut queue = Bench::new(&arguments, false);
        measure(&format!("{what}: the same, persistent"), || queue.turn(true, true));
    }
    let limits = numbers(&[("x-message-ttl", 60_000), ("x-max-length", 10_000)]);
    let mut queue = Bench::new(&limits, false);
    measure("ttl and max-length: publish, deliver, ack", || queue.turn(false, true));
    let mut queue = Bench::new(&limits, false);
    queue.state.cancel(CONSUMER);
    measure("ttl and max-length: publish, drop the head", || queue.turn(false, false));
}

/// Runs a loop for about half a second and prints what one message of it took.
fn measure(what: &str, mut turn: impl FnMut()) {
    let began = epoch();
    let mut turns = 0;
    while elapsed(began) < Duration::from_millis(500) {
        for _ in 0..64 {
            turn();
        }
        turns += 64;
    }
    let each = elapsed(began).as_nanos() as f64 / f64::from(turns * BATCH);
    println!("{what:<45} {each:8.1} ns");
}

fn elapsed(began: Instant) -> Duration {
    epoch().saturating_duration_since(began)
}

fn numbers(numbers: &[(&str, i64)]) -> Table {
    Table(numbers.iter().map(|&(name, n)| (name.to_owned(), Value::I64(n))).collect())
}

/// Messages of priorities 0 to 9.
fn batch(draft: &mut Draft, persistent: bool) -> Arc<Blob> {
    for n in 0..BATCH {
        let traits =
            Traits { persistent, priority: Some(u8::try_from(n % 10).unwrap()), expiration_ms: None };
        let publish = Publish { exchange: "", routing_key: "queue", properties: &[0, 0], traits };
        draft.open(&publish, 1, 100);
        draft.body(&[b'x'; 100]);
    }
    draft.seal()
}

/// A durable queue with one consumer, and a log that has everything at once.
struct Bench {
    state: State,
    outlet: Arc<Outlet>,
    draft: Draft,
    ordinals: Vec<u32>,
    events: Vec<Event>,
}

impl Bench {
    fn new(arguments: &Table, no_ack: bool) -> Self {
        let mut state = State::new(true, &arguments::settings(arguments, &V4_2));
        let outlet = Arc::<Outlet>::default();
        let spec = ConsumerSpec {
            channel: 1,
            consumer_tag: "c".into(),
            no_ack,
            exclusive: false,
            priority: 0,
            prefetch_count: 0,
            outlet: outlet.clone(),
            credit: Arc::default(),
        };
        state.consume(CONSUMER, spec);
        let (draft, ordinals) = (Draft::default(), (0..BATCH).collect());
        Self { state, outlet, draft, ordinals, events: Vec::new() }
    }

    fn turn(&mut self, persistent: bool, acknowledge: bool) {
        let (now_ms, mut effects) = (1, Effects::default());
        let blob = batch(&mut self.draft, persistent);
        let mut lasting: Vec<Seq> = Vec::new();
        self.state.publish(now_ms, &blob, &self.ordinals, &mut effects, |first| lasting.push(first));
        self.state.deliver(now_ms, &mut effects);
        while !effects.reserve.is_empty() {
            effects.reserve.drain(..).for_each(|to| self.state.reserved(to));
            self.state.deliver(now_ms, &mut effects);
        }
        for first in lasting {
            let _nothing_waited = self.state.run_durable(now_ms, first, &mut effects);
        }
        if effects.flush.take().is_some() {
            black_box(self.state.take_flush(usize::MAX));
        }
        self.outlet.drain(&mut self.events, Waker::noop());
        let delivered: Vec<_> = self
            .events
            .drain(..)
            .filter_map(|event| match event {
                Event::Deliver { entry, .. } => Some(entry),
                Event::Cancelled { .. }
                | Event::Confirm { .. }
                | Event::Reject { .. }
                | Event::Loaded
                | Event::GoOn
                | Event::Heard(_)
                | Event::Served(_)
                | Event::Alarm(_)
                | Event::Close { .. }
                | Event::Told(_) => None,
            })
            .collect();
        if acknowledge {
            self.state.settle(Some(CONSUMER), delivered.iter(), true);
            self.state.deliver(now_ms, &mut effects);
        }
    }
}
