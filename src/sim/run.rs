//! One run: who does what next, and what the model hears of it.
//!
//! A step first lets the connection work, then tells the model what was asked, and only then looks at what came back:
//! the broker does what it reads at once, and so does the model.

use std::{collections::BTreeMap, time::Duration};

use super::{
    client::{Client, Held, Message, Seen},
    fates::Fates,
    model::{DIRECT, FANOUT, Model, TOPIC},
    records::Records,
    world::World,
};
use rand::Rng;

use crate::{amqp::wire::exchange, store::Ticket};

/// How many clients there are at most.
const CLIENTS: usize = 3;

/// Tells one history from another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Submitted and durable after each step.
    tickets: Vec<(Ticket, Ticket)>,
    messages: u64,
    /// How many messages died of what.
    pub(super) died: BTreeMap<&'static str, u64>,
    random: u64,
}

pub(super) struct Run {
    pub(super) world: World,
    pub(super) model: Model,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) records: Records,
    pub(super) fates: Fates,
    /// What `basic.get` must give now, if it answers at once: the message, or nothing.
    pub(super) front: Option<Option<u64>>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let records = Records::new(&mut world);
        let fates = Fates::new(&mut world);
        let clients = (0..CLIENTS).map(|_| None).collect();
        let mut run = Self { world, model: Model::default(), clients, records, fates, front: None };
        run.declare_exchanges();
        run
    }

    fn declare_exchanges(&mut self) {
        let mut client = Client::connect(&self.world);
        for (exchange, r#type) in [(DIRECT, "direct"), (FANOUT, "fanout"), (TOPIC, "topic")] {
            client.put(&exchange::Declare {
                exchange,
                r#type,
                durable: true,
                ..exchange::Declare::default()
            });
            client.exchange(&self.world);
            self.world.settle();
            client.poll_if_woken(&self.world);
            assert_eq!(client.next_seen(), Some(Seen::Answer("exchange")));
        }
        client.disconnect(&self.world);
    }

    /// A random history, and what is left of it.
    pub(super) fn play(mut self, steps: usize) -> Fingerprint {
        let mut tickets = Vec::with_capacity(steps);
        for _ in 0..steps {
            self.step();
            tickets.push((self.world.submitted(), self.world.store.durable_to()));
        }
        self.finish();
        let messages = self.model.next_id + self.fates.messages();
        Fingerprint { tickets, messages, died: self.fates.died().clone(), random: self.world.rng.random() }
    }

    fn step(&mut self) {
        match self.world.below(100) {
            0..28 => self.client_step(),
            28..60 => {
                // Several at once: what becomes of a message takes some of them.
                for _ in 0..=self.world.below(4) {
                    self.fates.step(&mut self.world);
                    if std::mem::take(&mut self.fates.crash_now) {
                        self.crash();
                        break;
                    }
                }
            }
            60..65 => self.records.step(&mut self.world),
            65..80 => self.poll_one(),
            80..94 => self.turn(),
            94 => self.world.fault(),
            95..97 => {
                let by = Duration::from_millis(1 << self.world.below(11));
                let left = self.fates.advance(&self.world, by);
                self.world.advance(left);
                self.after_turn();
            }
            97..99 => self.crash(),
            _ => self.restart(),
        }
    }

    /// One turn of the store.
    fn turn(&mut self) {
        if self.world.chance(20) {
            self.world.heal();
        }
        self.world.turn();
        self.after_turn();
    }

    fn after_turn(&mut self) {
        self.model.on_turn(self.world.store.durable_to(), self.world.submitted());
        self.records.on_turn(&self.world);
        self.fates.on_turn(&self.world);
    }

    fn poll_one(&mut self) {
        let at = self.world.below(CLIENTS);
        if let Some(client) = &mut self.clients[at] {
            client.poll_if_woken(&self.world);
            self.look(at);
        }
    }

    /// Every client sees what there is for it.
    pub(super) fn poll_all(&mut self) {
        for at in 0..CLIENTS {
            if let Some(client) = &mut self.clients[at] {
                client.poll_if_woken(&self.world);
                self.look(at);
            }
        }
    }

    /// Turns and polls until nothing happens any more.
    pub(super) fn settle(&mut self) {
        self.world.heal();
        for _ in 0..10_000 {
            self.poll_all();
            if !self.world.turn() {
                return;
            }
            self.after_turn();
        }
        panic!("it does not come to rest");
    }

    /// What a client has seen since the last look.
    pub(super) fn look(&mut self, at: usize) {
        while let Some(client) = &mut self.clients[at] {
            match client.next_seen() {
                None => return,
                Some(Seen::Message(message)) => self.on_message(at, &message),
                Some(Seen::Answer(name)) => self.on_answer(at, name),
                Some(Seen::Confirm { delivery_tag, multiple }) => self.on_confirm(at, delivery_tag, multiple),
                Some(other) => panic!("client {at} sees {other:?}"),
            }
        }
    }

    fn on_answer(&mut self, at: usize, name: &'static str) {
        let client = self.clients[at].as_mut().expect("it sees something");
        let (expected, request) = client.waits_for.take().expect("an answer follows a request");
        if name == "get-empty" {
            assert_eq!(expected, "get");
            assert!(self.front.is_none_or(|front| front.is_none()), "ready, but get-empty: {:?}", self.front);
            return;
        }
        assert_eq!(name, expected);
        if let Some(request) = request {
            self.model.answered(&request);
        }
        if name == "close" {
            client.reopen_channel(&self.world);
        }
    }

    fn on_confirm(&mut self, at: usize, delivery_tag: u64, multiple: bool) {
        let client = self.clients[at].as_mut().expect("it sees something");
        assert!(client.unconfirmed.contains_key(&delivery_tag), "a confirm for what waits for none");
        let later = client.unconfirmed.split_off(&(delivery_tag + 1));
        let mut confirmed = std::mem::replace(&mut client.unconfirmed, later);
        if !multiple {
            let one = BTreeMap::from_iter(confirmed.remove_entry(&delivery_tag));
            client.unconfirmed.append(&mut confirmed);
            confirmed = one;
        }
        for id in confirmed.into_values() {
            self.model.confirmed(id);
        }
    }

    fn on_message(&mut self, at: usize, message: &Message) {
        let id = read_body(&message.body);
        let ticket = self.world.submitted();
        let client = self.clients[at].as_mut().expect("it sees something");
        let consumer = message
            .consumer_tag
            .as_ref()
            .map(|tag| client.consumers.get_mut(tag).unwrap_or_else(|| panic!("{tag} is not a consumer's")));
        let (queue, no_ack) = match &consumer {
            Some(consumer) => (consumer.queue.clone(), consumer.no_ack),
            None => {
                let (name, _) = client.waits_for.take().expect("get-ok follows get");
                assert_eq!(name, "get");
                assert!(self.front.is_none_or(|front| front == Some(id)), "got {id}, not {:?}", self.front);
                client.got_from.clone().expect("get-ok follows get")
            }
        };
        let copy = self.model.copy(&queue, id).unwrap_or_else(|| panic!("{id} is not in {queue}"));
        assert!(copy.ready(), "{id} of {queue} is delivered, but {copy:?}");
        if copy.life == self.world.life {
            assert_eq!(message.redelivered, copy.delivered, "the flag of {id} of {queue}");
        } else {
            assert!(message.redelivered || !copy.delivered, "{id} of {queue} comes back without its flag");
        }
        if let (Some(consumer), false) = (consumer, message.redelivered) {
            assert!(consumer.newest < Some(id), "{id} of {queue} after {:?}", consumer.newest);
            consumer.newest = Some(id);
        }
        copy.delivered = true;
        if no_ack {
            self.model.settle(&queue, id, ticket);
        } else if !client.closing {
            copy.held = true;
            let held = Held { queue, id, consumer_tag: message.consumer_tag.clone() };
            client.held.insert(message.delivery_tag, held);
            check_prefetch(client, message.consumer_tag.as_deref());
        }
    }

    /// The connection breaks, and the server learns of it.
    pub(super) fn disconnect(&mut self, at: usize) {
        let Some(client) = &mut self.clients[at] else { return };
        client.poll_if_woken(&self.world);
        self.look(at);
        let Some(mut client) = self.clients[at].take() else { return };
        client.disconnect(&self.world);
        for held in client.held.values() {
            self.model.release(&held.queue, held.id);
        }
    }

    fn finish(&mut self) {
        self.settle();
        for client in self.clients.iter().flatten() {
            assert!(client.waits_for.is_none(), "never answered: {:?}", client.waits_for);
            assert!(client.unconfirmed.is_empty(), "never confirmed: {:?}", client.unconfirmed);
        }
        for at in 0..CLIENTS {
            self.disconnect(at);
        }
        self.audit_alive();
        self.fates.rest(&self.world);
        self.crash();
    }
}

fn check_prefetch(client: &Client, consumer_tag: Option<&str>) {
    let Some(tag) = consumer_tag else { return };
    let limit = client.consumers.get(tag).map_or(0, |c| c.prefetch_count);
    let held = client.held.values().filter(|h| h.consumer_tag.as_deref() == Some(tag)).count();
    assert!(limit == 0 || held <= usize::from(limit), "{tag} holds {held}, and may hold {limit}");
}

/// A body that says which message it is and what it looks like.
pub(super) fn body(id: u64, padding: usize) -> Vec<u8> {
    let filler = id.to_le_bytes()[0];
    id.to_be_bytes().into_iter().chain(std::iter::repeat_n(filler, padding)).collect()
}

pub(super) fn read_body(body: &[u8]) -> u64 {
    let (id, padding) = body.split_first_chunk::<8>().expect("a body begins with its number");
    let id = u64::from_be_bytes(*id);
    assert!(padding.iter().all(|&b| b == id.to_le_bytes()[0]), "the body of {id} is damaged");
    id
}
