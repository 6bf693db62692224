//! Load as bytes made beforehand: publishes in turn over connections, taken by one consumer, and what that cost.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Cost,
    support::{
        amqp::{BODY, Client, Event, HEADER, METHOD, short},
        broker::Broker,
        now,
    },
};

/// So many messages, and so many bytes of them, are on their way at most, or a slow broker would only grow its queue.
const IN_FLIGHT: u64 = 2_000;
const IN_FLIGHT_BYTES: u64 = 64 << 20;
/// A connection writes this part of them at once.
const BURST_PART: u64 = 100;
const ACK_EVERY: u64 = 100;
/// A frame's payload, as the broker's default frame_max of 131,072 bytes leaves it.
const PAYLOAD_MAX: usize = 131_064;

/// One persistent publish, as the bytes of its frames on channel 1.
pub(crate) fn publish(exchange: &str, routing_key: &str, body: &[u8]) -> Vec<u8> {
    let mut method = vec![0, 60, 0, 40, 0, 0];
    short(&mut method, exchange);
    short(&mut method, routing_key);
    method.push(0);
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&(body.len() as u64).to_be_bytes());
    // Only delivery-mode (bit 12), persistent.
    header.extend_from_slice(&[0x10, 0x00, 2]);
    let mut bytes = Vec::new();
    frame(&mut bytes, METHOD, &method);
    frame(&mut bytes, HEADER, &header);
    body.chunks(PAYLOAD_MAX).for_each(|part| frame(&mut bytes, BODY, part));
    bytes
}

fn frame(bytes: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    bytes.extend_from_slice(&[kind, 0, 1]);
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes.push(0xCE);
}

/// One way for messages: who publishes what, and where they come out.
pub(crate) struct Way {
    /// Take turns, a burst each.
    pub publishers: Vec<Client>,
    /// One publish each, in turn.
    pub publishes: Vec<Vec<u8>>,
    pub consumer: Client,
}

impl Way {
    /// From one connection to the queues named, which another consumes.
    pub(crate) fn new(address: SocketAddr, queues: &[String], publishes: Vec<Vec<u8>>) -> Self {
        let mut consumer = Client::connect(address).unwrap();
        consumer.prefetch(u16::try_from(IN_FLIGHT).unwrap()).unwrap();
        for queue in queues {
            consumer.declare(queue).unwrap();
        }
        Self { publishers: vec![Client::connect(address).unwrap()], publishes, consumer }
    }

    /// Begins to consume each queue, under its own name as the consumer tag.
    pub(crate) fn consume(mut self, queues: &[String]) -> Self {
        queues.iter().for_each(|queue| self.consumer.consume_as(queue, queue).unwrap());
        self
    }

    /// Passes messages on, after a fifth of them that is not measured.
    pub(crate) fn pass(mut self, broker: &Broker, messages: u64) -> Cost {
        self.round(messages / 5);
        measured(broker, messages, || self.round(messages))
    }

    fn round(&mut self, messages: u64) {
        let Self { publishers, publishes, consumer } = self;
        let in_flight = (IN_FLIGHT_BYTES / publishes[0].len() as u64).clamp(1, IN_FLIGHT);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut sent = 0;
                let count = publishers.len();
                for turn in 0.. {
                    let publisher = &mut publishers[turn % count];
                    let burst = in_flight.div_ceil(BURST_PART).min(messages - sent);
                    for n in sent..sent + burst {
                        let at = usize::try_from(n).unwrap() % publishes.len();
                        publisher.wire().raw(&publishes[at]);
                    }
                    publisher.flush().unwrap();
                    sent += burst;
                    if sent == messages {
                        return;
                    }
                    // What was there before may be taken first.
                    while sent.saturating_sub(taken.load(Ordering::Relaxed)) > in_flight {
                        std::thread::yield_now();
                    }
                }
            });
            take(consumer, messages, &taken);
        });
    }
}

/// Takes so many deliveries, and acknowledges them.
fn take(consumer: &mut Client, messages: u64, taken: &AtomicU64) {
    for n in 1..=messages {
        let tag = loop {
            match consumer.next().unwrap() {
                Some(Event::Delivery { tag, .. }) => break tag,
                Some(Event::Method { class: 60, method: 21, .. } | Event::Heartbeat) => {}
                other => panic!("{other:?} came instead of message {n} of {messages}"),
            }
        };
        if n.is_multiple_of(ACK_EVERY) || n == messages {
            consumer.ack(tag, true);
            consumer.flush().unwrap();
        }
        taken.store(n, Ordering::Relaxed);
    }
}

/// What the work cost: by the wall, of the broker's processors, and of the disk.
pub(crate) fn measured(broker: &Broker, messages: u64, work: impl FnOnce()) -> Cost {
    let (began, cpu_before, written_before) = (now(), broker.cpu_us().unwrap(), broker.written_bytes());
    work();
    let seconds = now().saturating_duration_since(began).as_secs_f64();
    let written = broker.written_bytes().zip(written_before).map(|(after, before)| after - before);
    Cost {
        messages,
        seconds,
        cpu_us: broker.cpu_us().unwrap() - cpu_before,
        written_bytes: written.unwrap_or_default(),
    }
}
