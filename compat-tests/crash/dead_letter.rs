//! Dead letters under kills: a durable queue lets go of everything it gets (too many, expired, rejected) to another.
//!
//! Whatever the moment of the kill, a confirmed message is found once: nothing is lost on its way from queue to queue,
//! and nothing is there twice.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Mutex};

use crate::support::{
    Seeded,
    amqp::{self, Client, Event},
};

const SOURCE: &str = "crash-dying";
const DEAD: &str = "crash-dead";
const MARKS: &str = "crash-dead-marks";

/// Messages that may be in one of the two queues.
#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    next: u64,
    /// Published since the last look, and which of them were confirmed.
    round: Mutex<(u64, BTreeSet<u64>)>,
    sent: BTreeSet<u64>,
    confirmed: BTreeSet<u64>,
    confirmed_total: u64,
}

impl Model {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut client = Client::connect(address).expect("the broker is up");
        assert_eq!(client.declare(DEAD).expect("it declares"), 0);
        assert_eq!(client.declare(MARKS).expect("it declares"), 0);
        assert_eq!(declare_source(&mut client).expect("it declares"), 0);
        let (sent, confirmed) = (BTreeSet::new(), BTreeSet::new());
        Self { address, next: 0, round: Mutex::default(), sent, confirmed, confirmed_total: 0 }
    }

    pub(crate) fn confirmed_total(&self) -> u64 {
        self.confirmed_total
    }

    /// Who publishes, and who rejects; both until the broker is gone.
    pub(crate) fn work(&self, seed: u64) -> (impl FnOnce() + Send + '_, impl FnOnce() + Send + '_) {
        (
            move || {
                // The end is always an error: the kill.
                let _ = self.publish(seed ^ 0xDEAD);
            },
            move || {
                let _ = self.reject();
            },
        )
    }

    fn publish(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed);
        let mut client = Client::connect(self.address)?;
        client.confirm_select()?;
        let (mut sent, mut unconfirmed) = (0_u64, BTreeSet::new());
        loop {
            for _ in 0..=random.below(40) {
                // Noted before it is sent: from here on it may be in a queue.
                self.round.lock().expect("not poisoned").0 = sent + 1;
                client.publish(SOURCE, &(self.next + sent).to_be_bytes());
                sent += 1;
                unconfirmed.insert(sent);
            }
            client.flush()?;
            while unconfirmed.len() > 150 {
                match client.next()?.ok_or(io::ErrorKind::TimedOut)? {
                    Event::Confirm { tag, multiple, ack } => {
                        assert!(ack, "a queue that drops its oldest never refuses");
                        let first = if multiple { 0 } else { tag };
                        let now: Vec<u64> = unconfirmed.range(first..=tag).copied().collect();
                        unconfirmed.retain(|tag| !now.contains(tag));
                        let numbers = now.iter().map(|tag| self.next + tag - 1);
                        self.round.lock().expect("not poisoned").1.extend(numbers);
                    }
                    event @ (Event::Delivery { .. } | Event::Method { .. } | Event::Heartbeat) => {
                        return Err(io::Error::other(format!("{event:?}")));
                    }
                }
            }
        }
    }

    fn reject(&self) -> io::Result<()> {
        let mut client = Client::connect(self.address)?;
        client.prefetch(20)?;
        client.consume(SOURCE)?;
        loop {
            match client.next()?.ok_or(io::ErrorKind::TimedOut)? {
                Event::Delivery { tag, .. } => {
                    client.reject(tag);
                    client.flush()?;
                }
                Event::Method { class: 60, method: 21, .. } | Event::Heartbeat => {}
                event @ (Event::Confirm { .. } | Event::Method { .. }) => {
                    return Err(io::Error::other(format!("{event:?}")));
                }
            }
        }
    }

    /// Takes over what the round's publisher saw.
    pub(crate) fn merge(&mut self) {
        let (sent, confirmed) = std::mem::take(&mut *self.round.lock().expect("not poisoned"));
        self.sent.extend(self.next..self.next + sent);
        self.next += sent;
        self.confirmed_total += confirmed.len() as u64;
        self.confirmed.extend(confirmed);
    }

    /// Waits until everything has expired into the last queue, and compares; then acknowledges all of it. Dead letters
    /// keep their order, so all are there once one that comes last is.
    pub(crate) fn verify(&mut self, round: u32) {
        let mut client = Client::connect(self.address).expect("the broker is up again");
        client.confirm_select().expect("confirms");
        client.purge(MARKS).expect("the marks' queue is there");
        let last = self.next;
        self.next += 1;
        self.sent.insert(last);
        client.publish(SOURCE, &last.to_be_bytes());
        client.flush().expect("the broker is up");
        let confirmed = client.next().expect("the broker is up");
        assert!(matches!(confirmed, Some(Event::Confirm { .. })), "{confirmed:?}");
        let found = read_to(&mut client, last);
        let once: BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "round {round}: a message is there twice");
        let lost: Vec<_> = self.confirmed.difference(&once).collect();
        assert!(lost.is_empty(), "round {round}: confirmed and lost: {lost:?}");
        let strange: Vec<_> = once.difference(&self.sent).collect();
        assert!(strange.is_empty(), "round {round}: from nowhere: {strange:?}");
        client.ack(0, true);
        client.publish(MARKS, b"mark");
        client.flush().expect("the broker is up");
        let confirmed = client.next().expect("the broker is up");
        assert!(matches!(confirmed, Some(Event::Confirm { .. })), "{confirmed:?}");
        self.sent.clear();
        self.confirmed.clear();
    }
}

fn declare_source(client: &mut Client) -> io::Result<u32> {
    client.declare_with(SOURCE, |arguments| {
        for (name, text) in [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", DEAD)] {
            amqp::key(arguments, name, b'S');
            amqp::long(arguments, text.as_bytes());
        }
        for (name, number) in [("x-message-ttl", 40_i32), ("x-max-length", 100)] {
            amqp::key(arguments, name, b'I');
            arguments.extend_from_slice(&number.to_be_bytes());
        }
    })
}

fn read_to(client: &mut Client, last: u64) -> Vec<u64> {
    let mut found = Vec::new();
    client.consume(DEAD).expect("it consumes");
    while found.last() != Some(&last) {
        match client.next().expect("the broker is up") {
            Some(Event::Delivery { body, .. }) => {
                found.push(u64::from_be_bytes(body[..].try_into().expect("eight bytes")));
            }
            Some(Event::Method { class: 60, method: 21, .. } | Event::Heartbeat) => {}
            other => panic!("{other:?} came instead of message {last}"),
        }
    }
    found
}
