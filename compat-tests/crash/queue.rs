//! One durable queue under kills, against a model of every message ever published to it.
//!
//! A publisher counts upwards and notes its confirms. A consumer acknowledges some deliveries, out of order too; that
//! an acknowledgement was committed is known only from a confirm of a later publish on the same connection, so it
//! publishes marks to a second queue.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Mutex};

use crate::support::{
    Seeded,
    amqp::{Client, Event},
};

const QUEUE: &str = "crash";
const MARKS: &str = "crash-marks";

/// What is known of one message that may still be in the queue.
#[derive(Debug, Clone, Copy, Default)]
struct Message {
    confirmed: bool,
    delivered: bool,
    ack: Ack,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ack {
    #[default]
    None,
    Sent,
    Committed,
}

/// Every message that may be in the queue, and where the next begins.
#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    messages: BTreeMap<u64, Message>,
    next: u64,
    confirmed_total: u64,
    round: Round,
}

/// What the two clients of a round saw, each its own part.
#[derive(Debug, Default)]
struct Round {
    published: Mutex<(u64, Vec<u64>)>,
    consumed: Mutex<BTreeMap<u64, (bool, Ack)>>,
}

impl Model {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut client = Client::connect(address).expect("the broker is up");
        for queue in [QUEUE, MARKS] {
            assert_eq!(client.declare(queue).expect("it declares"), 0);
        }
        Self { address, messages: BTreeMap::new(), next: 0, confirmed_total: 0, round: Round::default() }
    }

    pub(crate) fn confirmed_total(&self) -> u64 {
        self.confirmed_total
    }

    /// The publisher and the consumer of one round; both run until the broker is gone.
    pub(crate) fn work(&self, seed: u64) -> (impl FnOnce() + Send + '_, impl FnOnce() + Send + '_) {
        (
            move || {
                // The end is always an error: the kill.
                let _ = self.publish(seed);
            },
            move || {
                let _ = self.consume(seed);
            },
        )
    }

    fn publish(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed);
        let mut client = Client::connect(self.address)?;
        client.confirm_select()?;
        let first = self.next;
        let (mut sent, mut outstanding) = (0_u64, std::collections::BTreeSet::new());
        loop {
            for _ in 0..=random.below(20) {
                // Noted before it is sent: from here on it may be in the queue.
                self.round.published.lock().expect("not poisoned").0 = sent + 1;
                client.publish(QUEUE, &body(first + sent));
                sent += 1;
                outstanding.insert(sent);
            }
            client.flush()?;
            while outstanding.len() > 100 {
                match client.next()?.ok_or(io::ErrorKind::TimedOut)? {
                    Event::Confirm { tag, multiple, ack } => {
                        assert!(ack, "a durable queue without limits never refuses");
                        let up_to = outstanding.split_off(&(tag + 1));
                        let mut now = std::mem::replace(&mut outstanding, up_to);
                        if !multiple {
                            now.remove(&tag);
                            outstanding.append(&mut now);
                            now = [tag].into();
                        }
                        let mut published = self.round.published.lock().expect("not poisoned");
                        published.1.extend(now.iter().map(|tag| first + tag - 1));
                    }
                    event @ (Event::Delivery { .. } | Event::Method { .. } | Event::Heartbeat) => {
                        return Err(io::Error::other(format!("{event:?}")));
                    }
                }
            }
        }
    }

    fn consume(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed ^ 0xACED);
        let mut client = Client::connect(self.address)?;
        client.confirm_select()?;
        client.prefetch(200)?;
        client.consume(QUEUE)?;
        let (mut marks, mut held) = (0_u64, Vec::new());
        // Acknowledged before mark n was published.
        let mut before_mark: Vec<(u64, Vec<u64>)> = Vec::new();
        let mut since_mark = Vec::new();
        loop {
            match client.next()?.ok_or(io::ErrorKind::TimedOut)? {
                Event::Delivery { tag, redelivered: _, body } => {
                    let sequence = sequence(&body);
                    self.note(sequence, Ack::None);
                    held.push((tag, sequence));
                    if held.len() > 50 || random.below(4) == 0 {
                        // Sometimes not the oldest: acknowledged out of order.
                        let at = usize::try_from(random.below(held.len() as u64)).unwrap_or(0);
                        let (tag, sequence) = held.swap_remove(at);
                        self.note(sequence, Ack::Sent);
                        since_mark.push(sequence);
                        client.ack(tag, false);
                    }
                    if since_mark.len() >= 10 {
                        marks += 1;
                        client.publish(MARKS, b"mark");
                        before_mark.push((marks, std::mem::take(&mut since_mark)));
                        client.flush()?;
                    }
                }
                Event::Confirm { tag, multiple: _, ack } => {
                    assert!(ack, "a durable queue without limits never refuses");
                    // Commits are in order, so this mark's confirm covers the earlier ones as well.
                    for (_, committed) in before_mark.extract_if(.., |(mark, _)| *mark <= tag) {
                        for sequence in committed {
                            self.note(sequence, Ack::Committed);
                        }
                    }
                }
                Event::Method { class: 60, method: 21, .. } | Event::Heartbeat => {}
                event @ Event::Method { .. } => return Err(io::Error::other(format!("{event:?}"))),
            }
        }
    }

    fn note(&self, sequence: u64, ack: Ack) {
        self.round.consumed.lock().expect("not poisoned").insert(sequence, (true, ack));
    }

    /// Takes over what the round's clients saw.
    pub(crate) fn merge(&mut self) {
        let Round { published, consumed } = std::mem::take(&mut self.round);
        let (sent, confirmed) = published.into_inner().expect("not poisoned");
        for sequence in self.next..self.next + sent {
            self.messages.insert(sequence, Message::default());
        }
        self.next += sent;
        for sequence in confirmed {
            self.confirmed_total += 1;
            self.messages.get_mut(&sequence).expect("published").confirmed = true;
        }
        for (sequence, (delivered, ack)) in consumed.into_inner().expect("not poisoned") {
            let message = self.messages.get_mut(&sequence);
            let message =
                message.unwrap_or_else(|| panic!("message {sequence} was delivered, but should be gone"));
            (message.delivered, message.ack) = (message.delivered || delivered, ack);
        }
    }

    /// Reads the whole queue after the restart and compares; then acknowledges most of it.
    pub(crate) fn verify(&mut self, round: u32, seed: u64) {
        let mut client = Client::connect(self.address).expect("the broker is up again");
        client.confirm_select().expect("confirms");
        client.purge(MARKS).expect("the marks' queue is there");
        let ready = client.declare(QUEUE).expect("the queue is there");
        let found = read_all(&mut client, ready);
        let wrong = wrong(&self.messages, &found);
        assert!(wrong.is_empty(), "round {round}:\n{}", wrong.join("\n"));
        // What was found is on disk, whatever was known of it; what was not is gone for good.
        let kept = Message { confirmed: true, delivered: true, ack: Ack::None };
        self.messages = found.iter().map(|one| (one.sequence, kept)).collect();
        self.acknowledge_most(&mut client, &found, seed);
    }

    fn acknowledge_most(&mut self, client: &mut Client, found: &[Found], seed: u64) {
        let mut random = Seeded::from(seed);
        for one in found {
            if random.below(4) > 0 {
                client.ack(one.tag, false);
                self.messages.remove(&one.sequence);
            }
        }
        client.publish(MARKS, b"mark");
        client.flush().expect("the broker is up");
        let confirmed = client.next().expect("the broker is up");
        assert!(matches!(confirmed, Some(Event::Confirm { .. })), "{confirmed:?}");
    }
}

#[derive(Debug)]
struct Found {
    tag: u64,
    sequence: u64,
    redelivered: bool,
}

/// What a queue must not look like after a kill, given what was known of its messages.
fn wrong(messages: &BTreeMap<u64, Message>, found: &[Found]) -> Vec<String> {
    let mut wrong = Vec::new();
    for pair in found.windows(2) {
        if pair[0].sequence >= pair[1].sequence {
            wrong.push(format!("order: {:?} comes before {:?}", pair[0], pair[1]));
        }
    }
    for one in found {
        match messages.get(&one.sequence) {
            None => wrong.push(format!("{one:?} came back from nowhere")),
            Some(known) if known.ack == Ack::Committed => {
                wrong.push(format!("{one:?} was acknowledged and committed, and came back"));
            }
            Some(known) if known.delivered && !one.redelivered => {
                wrong.push(format!("{one:?} was delivered before the kill and is not flagged"));
            }
            Some(_) => {}
        }
    }
    let there: std::collections::BTreeSet<u64> = found.iter().map(|one| one.sequence).collect();
    for (sequence, message) in messages {
        if message.confirmed && message.ack == Ack::None && !there.contains(sequence) {
            wrong.push(format!("message {sequence} was confirmed and is lost: {message:?}"));
        }
    }
    wrong
}

fn read_all(client: &mut Client, ready: u32) -> Vec<Found> {
    let mut found = Vec::new();
    client.consume(QUEUE).expect("it consumes");
    while found.len() < usize::try_from(ready).expect("a count") {
        match client.next().expect("the broker is up") {
            Some(Event::Delivery { tag, redelivered, body }) => {
                found.push(Found { tag, sequence: sequence(&body), redelivered });
            }
            Some(Event::Method { class: 60, method: 21, .. } | Event::Heartbeat) => {}
            other => panic!("{other:?} came instead of message {} of {ready}", found.len()),
        }
    }
    found
}

/// A message that says its number, and whether it is whole.
fn body(sequence: u64) -> Vec<u8> {
    let mut body = sequence.to_be_bytes().to_vec();
    let length = 8 + sequence * 7919 % 1500;
    while (body.len() as u64) < length {
        body.push((sequence ^ body.len() as u64).to_le_bytes()[0]);
    }
    body
}

fn sequence(found: &[u8]) -> u64 {
    let sequence = u64::from_be_bytes(found[..8].try_into().expect("eight bytes"));
    assert!(found == body(sequence), "message {sequence} came back changed");
    sequence
}

mod tests {
    use super::{Ack, Found, Message, wrong};

    fn found(sequence: u64, redelivered: bool) -> Found {
        Found { tag: 0, sequence, redelivered }
    }

    fn check(message: Message, found: &[Found], count: usize) {
        let wrong = wrong(&[(1, message), (2, Message::default())].into(), found);
        assert_eq!(wrong.len(), count, "{wrong:?}");
    }

    #[test]
    fn each_rule_catches_its_violation() {
        let (unknown, confirmed) = (Message::default(), Message { confirmed: true, ..Message::default() });
        check(unknown, &[], 0);
        check(unknown, &[found(1, false), found(2, false)], 0);
        check(unknown, &[found(2, false), found(1, false)], 1);
        check(unknown, &[found(1, false), found(1, false)], 1);
        check(unknown, &[found(3, false)], 1);
        check(confirmed, &[], 1);
        check(Message { delivered: true, ..confirmed }, &[found(1, false)], 1);
        check(Message { delivered: true, ..confirmed }, &[found(1, true)], 0);
        check(Message { ack: Ack::Sent, ..confirmed }, &[], 0);
        check(Message { ack: Ack::Sent, ..confirmed }, &[found(1, true)], 0);
        check(Message { ack: Ack::Committed, ..confirmed }, &[found(1, true)], 1);
    }
}
