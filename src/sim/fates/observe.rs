//! What clients see, compared with the model: each delivery is the one that the model says, with its history.

use super::{
    Fates, Held, PEERS, Peer, Pending,
    parts::{Death, Letter, Place},
    replies::{self, Names},
    router,
};
use crate::{
    amqp::wire::Properties,
    data::value::Value,
    sim::{
        client::{Message, Seen},
        run::read_body,
        world::World,
    },
};

impl Fates {
    /// Everybody sees what there is for it.
    pub(super) fn poll(&mut self, world: &World) {
        self.model.now_ms = world.clock.now_ms();
        self.model.arrive(&router(world));
        for at in 0..PEERS {
            if let Some(peer) = &mut self.peers[at] {
                peer.client.poll_if_woken(world);
                self.look(at, world);
            }
        }
        self.tick(world);
    }

    /// Who sleeps until a deadline is awake: a `basic.get` may have taken what lay before something expired.
    pub(super) fn tick(&mut self, world: &World) {
        world.broker.on_deadlines(self.model.now_ms);
        self.model.ticket = world.submitted();
        let gone = self.model.on_time(&router(world));
        gone.iter().for_each(|queue| self.forget(queue));
    }

    pub(super) fn look(&mut self, at: usize, world: &World) {
        while let Some(seen) = self.peers[at].as_mut().and_then(|peer| peer.client.next_seen()) {
            self.say(world, || format!("{at} sees {seen:?}").chars().take(300).collect());
            match seen {
                Seen::Message(message) => self.on_message(at, &message, world),
                Seen::Answer(name) => self.on_answer(at, name, world),
                Seen::Confirm { delivery_tag, multiple } => {
                    self.on_confirm(at, delivery_tag, multiple, false)
                }
                Seen::Nack { delivery_tag, multiple } => self.on_confirm(at, delivery_tag, multiple, true),
                seen @ (Seen::Cancelled(_) | Seen::Closed(_)) => panic!("client {at} sees {seen:?}"),
            }
        }
    }

    /// `basic.get` takes nothing that has expired.
    fn before_get(&mut self, at: usize, world: &World) {
        if let Some(Peer { pending: Some(Pending::Get { queue, .. }), .. }) = &self.peers[at]
            && self.model.queues.contains_key(queue)
        {
            let queue = queue.clone();
            self.model.ticket = world.submitted();
            self.model.expire(&queue, &router(world));
        }
    }

    fn on_answer(&mut self, at: usize, name: &'static str, world: &World) {
        self.before_get(at, world);
        let peer = self.peers[at].as_mut().expect("it sees something");
        match (name, &peer.pending) {
            ("get-empty", Some(Pending::Get { queue, .. })) => {
                let front = self.model.front(queue);
                assert!(front.is_none(), "nothing to get from {queue}, but {front:?}");
                peer.pending = None;
            }
            ("tx", Some(Pending::Commit)) => peer.pending = None,
            (_, Some(pending)) => panic!("{name} is no answer to {pending:?}"),
            (_, None) => peer.client.waits_for = None,
        }
    }

    /// What a queue refused is refused, and nothing else.
    fn on_confirm(&mut self, at: usize, delivery_tag: u64, multiple: bool, nack: bool) {
        let peer = self.peers[at].as_mut().expect("it sees something");
        let first = if multiple { 0 } else { delivery_tag };
        let answered: Vec<u64> = peer.expected.range(first..=delivery_tag).map(|(tag, _)| *tag).collect();
        assert!(!answered.is_empty(), "an answer for what waits for none: {delivery_tag}");
        for tag in answered {
            let (id, refused) = peer.expected.remove(&tag).expect("it is there");
            assert_eq!(nack, refused, "message {id} is refused");
            let queued = self.model.queues.values_mut().flat_map(|queue| &mut queue.copies);
            for copy in queued.chain(&mut self.model.late.copies) {
                if copy.letter.id == id && copy.by.is_none() && !nack {
                    copy.answered = true;
                }
            }
        }
    }

    fn on_message(&mut self, at: usize, message: &Message, world: &World) {
        let letter = letter(
            &message.properties,
            &message.body,
            &message.exchange,
            &message.routing_key,
            &mut self.names,
        );
        if message.consumer_tag.as_deref() == Some(replies::TAG) {
            self.on_reply(at, &letter);
            return;
        }
        if message.consumer_tag.is_none() {
            self.before_get(at, world);
        }
        let (queue, no_ack) = self.source(at, message);
        let Some(made) = self.made(&queue, &letter, message, world) else {
            let model = &self.model;
            panic!(
                "{letter:?} comes from {queue} ({:?}), not {:?}",
                message.consumer_tag,
                model.front(&queue)
            );
        };
        self.check_delivery(at, &queue, made, message, world.life);
        let id = self.model.queues[&queue].id;
        let consumer = message.consumer_tag.clone();
        self.model.ticket = world.submitted();
        if consumer.is_none() {
            // What stood behind it is the head now, and is gone if its time is over: before anybody else gets something.
            self.model.expire(&queue, &router(world));
        }
        if no_ack {
            self.model.end(&queue, made);
            return;
        }
        if let Some(tag) = &consumer {
            let mut consumers = self.model.consumers.iter_mut();
            let consumer = consumers.find(|c| c.client == at && c.tag == *tag).expect("found above");
            consumer.held += 1;
            assert!(consumer.held <= consumer.prefetch, "{tag} holds more than it may");
        }
        let peer = self.peers[at].as_mut().expect("it sees something");
        peer.held.insert(message.delivery_tag, Held { queue, id, made, consumer });
    }

    /// The queue that a delivery comes from, and whether it needs no acknowledgement.
    fn source(&mut self, at: usize, message: &Message) -> (String, bool) {
        match &message.consumer_tag {
            Some(tag) => {
                let mut consumers = self.model.consumers.iter();
                let consumer = consumers.find(|c| c.client == at && c.tag == *tag);
                let consumer = consumer.unwrap_or_else(|| panic!("{tag} is not a consumer's"));
                (consumer.queue.clone(), consumer.prefetch == 0)
            }
            None => match self.peers[at].as_mut().expect("it sees something").pending.take() {
                Some(Pending::Get { queue, no_ack }) => (queue, no_ack),
                other => panic!("get-ok follows {other:?}"),
            },
        }
    }

    /// Which of the queue's messages the letter may be, for the model; `None` when it is none that may come now.
    fn made(&mut self, queue: &str, letter: &Letter, message: &Message, world: &World) -> Option<u64> {
        if message.consumer_tag.is_none() {
            if self.model.front(queue).is_some_and(|copy| copy.letter != *letter) {
                self.model.change_places(queue, letter);
            }
            let is_next = self.model.front(queue).is_some_and(|copy| copy.letter == *letter);
            return is_next.then(|| self.model.take(queue)).flatten().map(|copy| copy.made);
        }
        self.handed(queue, letter).or_else(|| {
            // What a `basic.get` has laid bare goes at once when somebody counts the queue, and not at its time.
            self.model.ticket = world.submitted();
            let gone = self.model.on_time(&router(world));
            gone.iter().for_each(|queue| self.forget(queue));
            self.handed(queue, letter)
                .or_else(|| self.model.change_places(queue, letter).and(self.handed(queue, letter)))
        })
    }

    /// That message is on its way to some consumer of the queue.
    fn handed(&self, queue: &str, letter: &Letter) -> Option<u64> {
        let mut copies = self.model.queues.get(queue)?.copies.iter();
        copies.find(|copy| copy.place == Place::Handed && copy.letter == *letter).map(|copy| copy.made)
    }

    /// The flag is right, and what one consumer sees for the first time comes in order.
    fn check_delivery(&mut self, at: usize, queue: &str, made: u64, message: &Message, life: u32) {
        let settings = self.model.queues[queue].settings.clone();
        let copies = &mut self.model.queue(queue).copies;
        let copy = copies.iter_mut().find(|copy| copy.made == made).expect("it was just found");
        if copy.life == life {
            assert_eq!(message.redelivered, copy.delivered, "the flag of {copy:?} of {queue}");
        } else {
            assert!(message.redelivered || !copy.delivered, "{copy:?} of {queue} comes back unflagged");
        }
        let returns = (settings.quorum && copy.returns > 0).then_some(i64::from(copy.returns));
        assert_eq!(delivery_count(message), returns, "x-delivery-count of {copy:?} of {queue}");
        copy.delivered = true;
        copy.place = Place::Held;
        if let Some(tag) = &message.consumer_tag {
            self.served.push((queue.to_owned(), at, tag.clone()));
        }
        let fifo = settings.max_priority.is_none() && !settings.quorum;
        let Some(tag) = message.consumer_tag.as_ref().filter(|_| fifo && !message.redelivered) else {
            return;
        };
        let mut consumers = self.model.consumers.iter_mut();
        let consumer = consumers.find(|c| c.client == at && c.tag == *tag).expect("it gets something");
        assert!(consumer.newest < made, "{tag} sees {made} after {}", consumer.newest);
        consumer.newest = made;
    }

    /// Only the active consumer is served where there is one; nobody while a higher one has room.
    fn check_served(&mut self) {
        let by_turns = std::mem::take(&mut self.by_turns);
        for (queue, client, tag) in std::mem::take(&mut self.served) {
            let mut consumers = self.model.consumers.iter().filter(|c| c.queue == queue);
            let Some(consumer) = consumers.clone().find(|c| c.client == client && c.tag == tag) else {
                continue;
            };
            let single = &self.model.queues[&queue];
            if single.settings.single_active {
                assert!(single.is_active(consumer), "{consumer:?} of {queue} is served, and is not active");
                continue;
            }
            let higher = consumers.find(|c| c.priority > consumer.priority && c.room() > 0);
            assert!(by_turns || higher.is_none(), "{consumer:?} of {queue} is served, not {higher:?}");
        }
    }

    /// Consumers have all that they can have, and every request has its answer.
    pub(super) fn check_at_rest(&mut self) {
        self.check_served();
        for (name, queue) in &self.model.queues {
            let waits = queue.copies.iter().find(|copy| copy.place == Place::Handed);
            assert!(waits.is_none(), "a consumer of {name} has room, and does not get {waits:?}");
        }
        self.check_replies();
        for peer in self.peers.iter().flatten() {
            assert!(peer.pending.is_none(), "never answered: {:?}", peer.pending);
            assert!(peer.expected.is_empty(), "never confirmed: {:?}", peer.expected);
        }
    }
}

/// How often a quorum queue says that the message came back.
fn delivery_count(message: &Message) -> Option<i64> {
    let properties = Properties::decode(&message.properties).expect("the broker sends a property list");
    properties.header_table().expect("a table").field("x-delivery-count")?.integer()
}

/// What a client sees, or the log has.
pub(super) fn letter(properties: &[u8], body: &[u8], exchange: &str, key: &str, names: &mut Names) -> Letter {
    let properties = Properties::decode(properties).expect("the broker sends a property list");
    let headers = properties.header_table().expect("a table");
    let text = |value: Option<&Value>| match value.and_then(Value::octets) {
        Some(octets) => String::from_utf8(octets.to_vec()).expect("text"),
        None => panic!("a death says {value:?}"),
    };
    let mut deaths = Vec::new();
    if let Some(Value::Array(array)) = headers.field("x-death") {
        for death in array {
            let Value::Table(death) = death else { panic!("a death is {death:?}") };
            let reason = match text(death.field("reason")).as_str() {
                "expired" => "expired",
                "maxlen" => "maxlen",
                "rejected" => "rejected",
                "delivery_limit" => "delivery_limit",
                other => panic!("died of {other}"),
            };
            let count = death.field("count").and_then(Value::integer).expect("a count");
            deaths.push(Death { queue: text(death.field("queue")), reason, count });
        }
    }
    if let Some(last) = deaths.first() {
        assert_eq!(text(headers.field("x-last-death-queue")), last.queue);
        assert_eq!(text(headers.field("x-last-death-reason")), last.reason);
    }
    let expiration = properties.expiration.map(|text| std::str::from_utf8(text).unwrap().parse().unwrap());
    let id = read_body(body);
    let reply_to = properties.reply_to.map(|name| std::str::from_utf8(name).expect("text"));
    Letter {
        id,
        persistent: properties.delivery_mode == Some(2),
        priority: properties.priority.unwrap_or(0),
        expiration_ms: expiration,
        exchange: exchange.to_owned(),
        key: key.to_owned(),
        delay_ms: headers.field("x-delay").and_then(Value::integer),
        reply_to: reply_to.and_then(|name| names.requester(id, name)),
        deaths,
    }
}
