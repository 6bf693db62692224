//! What a client does next: one method or one batch of publishes, chosen at random among what makes sense.

use std::collections::BTreeSet;

use super::{
    client::{Client, Consumer},
    model::{About, BindingKey, Copy, DIRECT, FANOUT, Mark, Request, TOPIC},
    run::{self, Run},
};
use crate::amqp::wire::{basic, channel, confirm, queue};

/// Queues by name; the last ones are transient.
const QUEUES: [&str; 5] = ["a", "b", "c", "t.1", "t.2"];
const EXCHANGES: [&str; 3] = [DIRECT, FANOUT, TOPIC];
/// Binding keys; a direct exchange takes them as they are.
const PATTERNS: [&str; 6] = ["a", "a.b", "a.*", "#", "#.b", "*.c.#"];
const ROUTING_KEYS: [&str; 6] = ["a", "a.b", "b.b", "a.c.b", "", "a.*"];
const CONSUMERS_MAX: usize = 3;
const BURST_MAX: usize = 30;

fn is_durable(queue: &str) -> bool {
    !queue.starts_with("t.")
}

impl Run {
    /// One step of one client.
    pub(super) fn client_step(&mut self) {
        let at = self.world.below(self.clients.len());
        let Some(client) = &self.clients[at] else {
            self.connect(at);
            return;
        };
        let busy = client.waits_for.is_some();
        match self.world.below(100) {
            0..2 => self.disconnect(at),
            _ if busy => {}
            2..12 => self.declare(at),
            12..20 => self.bind(at),
            20..48 => self.publish(at),
            48..55 => self.consume(at),
            55..58 => self.cancel(at),
            58..70 => self.get(at),
            70..93 => self.settle_held(at),
            93..96 => self.purge(at),
            96..98 => self.delete(at),
            _ => self.close_channel(at),
        }
    }

    fn connect(&mut self, at: usize) {
        self.clients[at] = Some(Client::connect(&self.world));
    }

    /// Lets the server read, and waits for the answer of that name.
    fn ask(&mut self, at: usize, answer: &'static str) {
        let client = self.clients[at].as_mut().expect("it is connected");
        client.waits_for = Some((answer, None));
        client.exchange(&self.world);
    }

    /// As [`Run::ask`], for something to be there or not.
    fn ask_for(&mut self, at: usize, answer: &'static str, about: About, exists: bool) {
        self.ask(at, answer);
        let request = Request { about, exists, ticket: self.world.submitted() };
        let client = self.clients[at].as_mut().expect("it is connected");
        client.waits_for = Some((answer, Some(request)));
    }

    fn existing_queue(&mut self) -> Option<String> {
        let names: Vec<String> =
            self.model.queues.iter().filter(|(_, q)| q.exists).map(|(name, _)| name.clone()).collect();
        (!names.is_empty()).then(|| self.world.pick(&names))
    }

    fn client(&mut self, at: usize) -> &mut Client {
        self.clients[at].as_mut().expect("it is connected")
    }

    fn exchange(&mut self, at: usize) {
        self.clients[at].as_mut().expect("it is connected").exchange(&self.world);
    }

    fn declare(&mut self, at: usize) {
        let name = self.world.pick(&QUEUES);
        let durable = is_durable(name);
        self.client(at).put(&queue::Declare { queue: name, durable, ..queue::Declare::default() });
        self.ask_for(at, "declare", About::Queue(name.to_owned()), true);
        self.model.declare(name, durable, self.world.submitted());
        self.look(at);
    }

    fn bind(&mut self, at: usize) {
        let Some(name) = self.existing_queue() else { return };
        let exchange = self.world.pick(&EXCHANGES);
        let pattern = self.world.pick(&PATTERNS);
        let exists = self.world.chance(75);
        let key: BindingKey = (exchange, name.clone(), pattern.to_owned());
        let about = About::Binding(key.clone());
        if exists {
            let bind = queue::Bind { queue: &name, exchange, routing_key: pattern, ..queue::Bind::default() };
            self.client(at).put(&bind);
            self.ask_for(at, "bind", about, true);
        } else {
            let unbind =
                queue::Unbind { queue: &name, exchange, routing_key: pattern, ..queue::Unbind::default() };
            self.client(at).put(&unbind);
            self.ask_for(at, "unbind", about, false);
        }
        self.model.bind(key, exists, self.world.submitted());
        self.look(at);
    }

    /// One read's worth of publishes, to several places.
    fn publish(&mut self, at: usize) {
        let fresh = self.client(at).published == 0 && !self.client(at).confirms;
        if fresh && self.world.chance(80) {
            self.client(at).confirms = true;
            self.client(at).put(&confirm::Select { nowait: true });
        }
        let mut published = Vec::new();
        if self.world.chance(10) {
            // A backlog for one queue, of which only the ends stay in memory.
            let queue = self.world.pick(&QUEUES);
            let persistent = self.world.chance(90);
            for _ in 0..self.world.below(BURST_MAX) {
                published.push(self.put_publish(at, "", queue, persistent));
            }
        }
        for _ in 0..=self.world.below(6) {
            let (exchange, routing_key) = if self.world.chance(60) {
                ("", self.world.pick(&QUEUES))
            } else {
                (self.world.pick(&EXCHANGES), self.world.pick(&ROUTING_KEYS))
            };
            let persistent = self.world.chance(75);
            published.push(self.put_publish(at, exchange, routing_key, persistent));
        }
        self.exchange(at);
        let mark = Mark { ticket: self.world.submitted(), answered: false };
        for (id, persistent, queues) in published {
            let (held, delivered, settled) = (false, false, None);
            let copy = Copy { persistent, published: mark, life: self.world.life, held, delivered, settled };
            self.model.publish(id, &queues, &copy);
        }
        self.look(at);
    }

    fn put_publish(
        &mut self,
        at: usize,
        exchange: &str,
        routing_key: &str,
        persistent: bool,
    ) -> (u64, bool, BTreeSet<String>) {
        let padding_max = if self.world.chance(3) { 6_000 } else { self.world.padding_max };
        let padding = self.world.below(padding_max);
        let id = self.model.next_id;
        self.model.next_id += 1;
        let queues = self.model.route(exchange, routing_key);
        let client = self.client(at);
        client.put_publish(exchange, routing_key, persistent, &run::body(id, padding));
        client.published += 1;
        if client.confirms {
            client.unconfirmed.insert(client.published, id);
        }
        (id, persistent, queues)
    }

    fn consume(&mut self, at: usize) {
        let Some(queue) = self.existing_queue() else { return };
        if self.client(at).consumers.len() >= CONSUMERS_MAX {
            return;
        }
        let (no_ack, limit) = (self.world.chance(20), self.world.below(5));
        let client = self.client(at);
        client.prefetch_count = u16::try_from(limit).unwrap();
        client.put(&basic::Qos { prefetch_count: client.prefetch_count, ..basic::Qos::default() });
        self.ask(at, "qos");
        self.look(at);
        let client = self.client(at);
        client.consumers_made += 1;
        let tag = format!("c{}", client.consumers_made);
        let prefetch_count = client.prefetch_count;
        client
            .consumers
            .insert(tag.clone(), Consumer { queue: queue.clone(), no_ack, prefetch_count, newest: None });
        client.put(&basic::Consume {
            queue: &queue,
            consumer_tag: &tag,
            no_ack,
            ..basic::Consume::default()
        });
        self.ask(at, "consume");
        self.look(at);
    }

    fn cancel(&mut self, at: usize) {
        let tags: Vec<String> = self.client(at).consumers.keys().cloned().collect();
        if tags.is_empty() {
            return;
        }
        let tag = self.world.pick(&tags);
        self.client(at).put(&basic::Cancel { consumer_tag: &tag, nowait: false });
        self.ask(at, "cancel");
        self.look(at);
        self.client(at).consumers.remove(&tag);
    }

    pub(super) fn get(&mut self, at: usize) {
        if let Some(queue) = self.existing_queue() {
            let no_ack = self.world.chance(25);
            self.get_from(at, queue, no_ack);
            self.front = None;
        }
    }

    /// `basic.get`; everybody has seen what there is, so the model knows the answer.
    pub(super) fn get_from(&mut self, at: usize, queue: String, no_ack: bool) {
        self.poll_all();
        self.front = Some(self.model.front(&queue));
        let client = self.client(at);
        client.put(&basic::Get { queue: &queue, no_ack, ..basic::Get::default() });
        client.got_from = Some((queue, no_ack));
        self.ask(at, "get");
        self.look(at);
    }

    /// Acknowledges, gives back or throws away, out of order.
    fn settle_held(&mut self, at: usize) {
        let tags: Vec<u64> = self.client(at).held.keys().copied().collect();
        if tags.is_empty() {
            return;
        }
        let (tag, multiple) = (self.world.pick(&tags), self.world.chance(25));
        let requeue = self.world.chance(35);
        let acknowledge = !requeue && self.world.chance(85);
        let client = self.client(at);
        if acknowledge {
            client.put(&basic::Ack { delivery_tag: tag, multiple });
        } else {
            client.put(&basic::Nack { delivery_tag: tag, multiple, requeue });
        }
        self.exchange(at);
        let ticket = self.world.submitted();
        let client = self.clients[at].as_mut().expect("it is connected");
        let settled: Vec<u64> = tags.into_iter().filter(|&t| t == tag || (multiple && t < tag)).collect();
        for held in settled.iter().filter_map(|t| client.held.remove(t)) {
            if requeue {
                self.model.release(&held.queue, held.id);
            } else {
                self.model.settle(&held.queue, held.id, ticket);
            }
        }
        self.look(at);
    }

    fn purge(&mut self, at: usize) {
        let Some(queue) = self.existing_queue() else { return };
        self.poll_all();
        self.client(at).put(&queue::Purge { queue: &queue, ..queue::Purge::default() });
        self.ask(at, "purge");
        self.model.purge(&queue, self.world.submitted());
        self.look(at);
    }

    fn delete(&mut self, at: usize) {
        let Some(queue) = self.existing_queue() else { return };
        self.poll_all();
        self.client(at).put(&queue::Delete { queue: &queue, ..queue::Delete::default() });
        self.ask_for(at, "delete", About::Queue(queue.clone()), false);
        self.model.delete(&queue, self.world.submitted());
        for client in self.clients.iter_mut().flatten() {
            client.consumers.retain(|_, consumer| consumer.queue != queue);
            if client.waits_for.as_ref().is_some_and(|(name, _)| *name == "get")
                && client.got_from.as_ref().is_some_and(|(from, _)| *from == queue)
            {
                client.poll_if_woken(&self.world);
            }
        }
        self.look(at);
    }

    fn close_channel(&mut self, at: usize) {
        let client = self.clients[at].as_mut().expect("it is connected");
        let close = channel::Close { reply_code: 200, ..channel::Close::default() };
        client.put(&close);
        client.closing = true;
        for held in std::mem::take(&mut client.held).into_values() {
            self.model.release(&held.queue, held.id);
        }
        self.ask(at, "close");
        self.look(at);
    }
}
