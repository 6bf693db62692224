//! Direct reply-to: who asks, who replies, and what comes back.
//!
//! A requester is a channel's consumer of the queue that is none. What it publishes with that queue in `reply_to` names
//! it from then on, wherever the message goes and dies; whoever has seen the name may reply. A reply comes to the
//! requester at once, each once and in order, or to nobody when the requester is gone: then it is nowhere.

use std::collections::{BTreeMap, VecDeque};

use super::{Fates, parts::Letter};
use crate::{amqp::wire::basic, broker::reply, sim::world::World};

/// The tag of a requester's consumer.
pub(super) const TAG: &str = "replies";

/// A channel that asks for replies.
#[derive(Debug, Default)]
pub(super) struct Requester {
    pub(super) number: u32,
    /// Replies that it has not seen.
    due: VecDeque<Letter>,
}

/// What requesters are called, as far as anybody has seen it.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, u32>,
    /// Who asked, by message.
    asked: BTreeMap<u64, u32>,
    requesters: u32,
}

impl Names {
    pub(super) fn asks(&mut self, id: u64, requester: u32) {
        self.asked.insert(id, requester);
    }

    /// Whom a message names. The first that names a requester tells its name.
    pub(super) fn requester(&mut self, id: u64, name: &str) -> Option<u32> {
        if let Some(number) = self.known.get(name) {
            return Some(*number);
        }
        assert!(name.starts_with(reply::QUEUE) && name.len() > reply::QUEUE.len() + 1, "{name} names nobody");
        let number = *self.asked.get(&id)?;
        let other = self.known.iter().find(|(_, known)| **known == number);
        assert!(other.is_none(), "requester {number} is {name}, and {other:?}");
        self.known.insert(name.to_owned(), number);
        Some(number)
    }
}

impl Fates {
    /// A channel asks for replies from now on; or asks once more, or does no more.
    pub(super) fn request(&mut self, world: &mut World, at: usize) {
        if self.peer(at).requester.is_some() {
            if world.chance(80) {
                return self.publish(world, at);
            }
            self.poll(world);
            self.peer(at).client.put(&basic::Cancel { consumer_tag: TAG, nowait: false });
            self.ask(world, at, "cancel");
            let requester = self.peer(at).requester.take().expect("it was there");
            assert!(requester.due.is_empty(), "never came: {:?}", requester.due);
            return;
        }
        self.say(world, || format!("{at} waits for replies"));
        let consume = basic::Consume {
            queue: reply::QUEUE,
            consumer_tag: TAG,
            no_ack: true,
            ..basic::Consume::default()
        };
        self.peer(at).client.put(&consume);
        self.ask(world, at, "consume");
        self.names.requesters += 1;
        let number = self.names.requesters;
        self.peer(at).requester = Some(Requester { number, ..Requester::default() });
    }

    /// Somebody replies to a requester whose name has been seen, whether it is there or not.
    pub(super) fn reply(&mut self, world: &mut World, at: usize) {
        if self.peer(at).tx.is_some() || self.names.known.is_empty() {
            return;
        }
        let known: Vec<(String, u32)> = self.names.known.iter().map(|(name, n)| (name.clone(), *n)).collect();
        // The last ones are more likely to be there; names are no part of the history.
        let newest = known.iter().map(|(_, number)| *number).max().unwrap_or(0);
        let number = newest.saturating_sub(u32::try_from(world.below(4)).unwrap());
        let Some((name, number)) = known.into_iter().find(|(_, other)| *other == number) else { return };
        let count = 1 + world.below(3);
        let letters: Vec<Letter> = (0..count).map(|_| self.letter(world, "", &name)).collect();
        self.say(world, || format!("{at} replies to {number} {letters:?}"));
        letters.iter().for_each(|letter| self.put_publish(at, letter));
        self.peer(at).client.exchange(world);
        self.count_publishes(at, letters.iter().map(|letter| (letter.id, false)));
        let mut requesters = self.peers.iter_mut().flatten().filter_map(|peer| peer.requester.as_mut());
        if let Some(requester) = requesters.find(|requester| requester.number == number) {
            requester.due.extend(letters);
        }
    }

    /// A requester sees a reply.
    pub(super) fn on_reply(&mut self, at: usize, letter: &Letter) {
        let requester = self.peer(at).requester.as_mut().expect("a reply comes to who waits for it");
        let due = requester.due.pop_front();
        assert_eq!(due.as_ref(), Some(letter), "the next reply to {}", requester.number);
        *self.model.died.entry("replied").or_default() += 1;
    }

    pub(super) fn check_replies(&self) {
        for requester in self.peers.iter().flatten().filter_map(|peer| peer.requester.as_ref()) {
            assert!(requester.due.is_empty(), "requester {} never got {:?}", requester.number, requester.due);
        }
    }
}
