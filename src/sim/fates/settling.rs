//! What becomes of deliveries: acknowledged, rejected or given back, at once or with a transaction; channels and
//! connections that end.

use std::collections::BTreeMap;

use super::{Deferred, Fates, Held, How, Peer, Pending, Settlement, model::Model, router};
use crate::{
    amqp::wire::{basic, channel, tx},
    sim::{fates::parts::Letter, world::World},
};

impl Deferred {
    /// Settlements of one kind that follow one another are one, in the order of delivery.
    fn hold_back(&mut self, next: Settlement) {
        let kind =
            |settlement: &Settlement| (settlement.how, settlement.how == How::Requeue && settlement.rejects);
        match self.settlements.last_mut() {
            Some(last) if kind(last) == kind(&next) => last.held.extend(next.held),
            Some(_) | None => self.settlements.push(next),
        }
    }
}

impl Fates {
    pub(super) fn peer(&mut self, at: usize) -> &mut Peer {
        self.peers[at].as_mut().expect("it is connected")
    }

    /// Some of what a client holds, out of order.
    pub(super) fn settle(&mut self, world: &mut World, at: usize) {
        let tags: Vec<u64> = self.peer(at).held.keys().copied().collect();
        if tags.is_empty() {
            return;
        }
        let (tag, multiple) = (world.pick(&tags), world.chance(30));
        let how = match world.below(100) {
            0..35 => How::Acknowledge,
            35..70 => How::Reject,
            _ => How::Requeue,
        };
        self.say(world, || format!("{at} settles {tag} {multiple} {how:?}"));
        let (peer, requeue) = (self.peer(at), how == How::Requeue);
        let rejects = how != How::Acknowledge && !multiple && tag % 2 != 0;
        match how {
            How::Acknowledge => peer.client.put(&basic::Ack { delivery_tag: tag, multiple }),
            How::Reject | How::Requeue | How::Lose if rejects => {
                peer.client.put(&basic::Reject { delivery_tag: tag, requeue });
            }
            How::Reject | How::Requeue | How::Lose => {
                peer.client.put(&basic::Nack { delivery_tag: tag, multiple, requeue });
            }
        }
        peer.client.exchange(world);
        self.model.ticket = world.submitted();
        let peer = self.peer(at);
        let taken = tags.into_iter().filter(|&t| t == tag || (multiple && t < tag));
        let held: BTreeMap<u64, Held> = taken.filter_map(|t| peer.held.remove_entry(&t)).collect();
        match &mut peer.tx {
            Some(deferred) => deferred.hold_back(Settlement { held, how, rejects }),
            None => self.apply(world, at, held.into_values(), how),
        }
    }

    /// Everything that the channel holds goes back.
    pub(super) fn recover(&mut self, world: &World, at: usize) {
        if self.peer(at).tx.is_some() {
            return;
        }
        self.say(world, || format!("{at} recovers"));
        self.peer(at).client.put(&basic::Recover { requeue: true });
        self.send(world, at, "recover");
        let held = std::mem::take(&mut self.peer(at).held);
        self.apply(world, at, held.into_values(), How::Requeue);
        self.await_answer(world, at);
    }

    /// One queue and consumer after the other, each in the order of delivery.
    pub(super) fn apply(&mut self, world: &World, at: usize, held: impl Iterator<Item = Held>, how: How) {
        let groups = by_queue(held);
        self.by_turns |= groups.len() > 1;
        for group in groups {
            let behind = how == How::Requeue && self.puts_behind(&group);
            let holder = holder(at, &group);
            if !behind {
                self.model.released(holder.as_ref(), group.len());
            }
            let Some((queue, mades)) = self.there(&group) else { continue };
            match how {
                How::Acknowledge => mades.iter().for_each(|&made| self.model.end(&queue, made)),
                How::Reject => mades.iter().for_each(|&made| self.model.let_go(&queue, made, "rejected")),
                How::Requeue if behind => self.model.put_behind(&queue, &mades, holder),
                How::Requeue | How::Lose => {
                    mades.iter().for_each(|&made| self.model.give_back(&queue, made));
                }
            }
            self.model.touch(&queue, &router(world));
        }
    }

    fn puts_behind(&self, group: &[Held]) -> bool {
        self.there(group).is_some_and(|(queue, _)| self.model.queues[&queue].puts_behind())
    }

    /// The queue and the copies, if the queue is still there.
    fn there(&self, group: &[Held]) -> Option<(String, Vec<u64>)> {
        let Held { queue, id, .. } = group.first()?;
        let there = self.model.queues.get(queue).is_some_and(|known| known.id == *id);
        there.then(|| (queue.clone(), group.iter().map(|held| held.made).collect()))
    }

    /// Begins a transaction, or ends one.
    pub(super) fn transact(&mut self, world: &mut World, at: usize) {
        let peer = self.peer(at);
        if peer.confirms {
            return;
        }
        let Some(deferred) = peer.tx.take() else {
            peer.client.put(&tx::Select {});
            self.ask(world, at, "tx");
            self.peer(at).tx = Some(Deferred::default());
            return;
        };
        // The commit would close the channel if a queue has come to refuse publishes.
        let refuses = |(name, _): &(String, Letter)| {
            self.model.queues.get(name).is_some_and(|queue| queue.settings.reject.is_some())
        };
        if world.chance(25) || deferred.publishes.iter().any(refuses) {
            let peer = self.peer(at);
            peer.client.put(&tx::Rollback {});
            peer.held.extend(deferred.settlements.into_iter().flat_map(|settlement| settlement.held));
            self.ask(world, at, "tx");
            self.peer(at).tx = Some(Deferred::default());
            return;
        }
        self.say(world, || format!("{at} commits {deferred:?}"));
        let peer = self.peer(at);
        peer.client.put(&tx::Commit {});
        peer.pending = Some(Pending::Commit);
        peer.client.exchange(world);
        self.model.ticket = world.submitted();
        self.commit(world, at, deferred);
        self.peer(at).tx = Some(Deferred::default());
    }

    /// Publishes queue by queue, then deliveries in order: all of it is in the log or nothing is.
    fn commit(&mut self, world: &World, at: usize, deferred: Deferred) {
        let route = router(world);
        let group = self.model.new_group(true);
        // What comes, and what comes back, is there before consumers have room again: a lower one may have it.
        self.by_turns |= !deferred.settlements.is_empty();
        // What queues let go for it goes on behind it.
        let mut claimed = Vec::new();
        let mut batches: Vec<(String, Vec<Letter>)> = Vec::new();
        for (queue, letter) in deferred.publishes {
            match batches.iter_mut().find(|(name, _)| *name == queue) {
                Some((_, batch)) => batch.push(letter),
                None => batches.push((queue, vec![letter])),
            }
        }
        for (queue, batch) in batches {
            if self.model.queues.contains_key(&queue) {
                self.model.enter(&queue, batch, Some(group));
                self.model.claim(&queue, &mut claimed);
            }
        }
        let mut settled = Vec::new();
        for Settlement { held, how, .. } in deferred.settlements {
            for part in by_queue(held.into_values()) {
                // What its targets do not take must stay with it: that is not the commit's.
                let kept = |model: &Model| {
                    part.first().is_some_and(|held| {
                        model.queues.contains_key(&held.queue) && model.keeps(&held.queue)
                    })
                };
                if how == How::Requeue || (how == How::Reject && kept(&self.model)) {
                    self.apply(world, at, part.into_iter(), how);
                    continue;
                }
                let Some((queue, mades)) = self.there(&part) else { continue };
                if how == How::Reject {
                    claimed.extend(self.model.reject_in(&queue, &mades, group, &route));
                } else {
                    mades.iter().for_each(|&made| self.model.end_in(&queue, made, group, Vec::new()));
                }
                settled.push(part);
            }
        }
        for source in claimed {
            self.model.move_claimed(vec![source], &route);
        }
        // It is in the log: quorum queues show what came, and consumers that have settled something have room again.
        self.model.arrive(&route);
        for part in settled {
            self.model.released(holder(at, &part).as_ref(), part.len());
            if let Some((queue, _)) = self.there(&part) {
                self.model.touch(&queue, &route);
            }
        }
    }

    pub(super) fn close_channel(&mut self, world: &World, at: usize) {
        self.poll(world);
        self.say(world, || format!("{at} closes its channel"));
        let close = channel::Close { reply_code: 200, ..channel::Close::default() };
        self.peer(at).client.put(&close);
        self.send(world, at, "close");
        self.abandon(world, at);
        let peer = self.peer(at);
        (peer.tx, peer.confirms, peer.published, peer.requester) = (None, false, 0, None);
        peer.expected.clear();
        self.await_answer(world, at);
        self.peer(at).client.reopen_channel(world);
    }

    pub(super) fn disconnect(&mut self, world: &World, at: usize) {
        self.poll(world);
        self.say(world, || format!("{at} disconnects"));
        let Some(peer) = &mut self.peers[at] else { return };
        peer.client.disconnect(world);
        self.abandon(world, at);
        self.peers[at] = None;
    }

    /// The channel is gone: its consumers, then what it holds.
    fn abandon(&mut self, world: &World, at: usize) {
        self.model.ticket = world.submitted();
        while let Some(index) = self.model.consumers.iter().position(|consumer| consumer.client == at) {
            let consumer = self.model.consumers.remove(index);
            self.cancelled(world, &consumer.queue);
        }
        let peer = self.peer(at);
        let deferred = peer.tx.take().unwrap_or_default();
        peer.held.extend(deferred.settlements.into_iter().flat_map(|settlement| settlement.held));
        let held = std::mem::take(&mut peer.held);
        self.apply(world, at, held.into_values(), How::Lose);
    }

    /// A consumer of that queue is gone: the queue was used until now, and another may be the active one.
    pub(super) fn cancelled(&mut self, world: &World, queue: &str) {
        if self.model.queues.contains_key(queue) {
            let now_ms = world.clock.now_ms();
            self.model.queue(queue).used_ms = now_ms;
            self.model.touch(queue, &router(world));
        }
    }
}

/// The consumer that holds them, if it was none but `basic.get`.
fn holder(at: usize, group: &[Held]) -> Option<(usize, String)> {
    Some((at, group.first()?.consumer.clone()?))
}

/// Those of one queue and consumer together, however they lie between each other.
fn by_queue(held: impl Iterator<Item = Held>) -> Vec<Vec<Held>> {
    let mut groups: Vec<Vec<Held>> = Vec::new();
    for held in held {
        let same = |group: &&mut Vec<Held>| {
            group.iter().any(|other| other.id == held.id && other.consumer == held.consumer)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(held),
            None => groups.push(vec![held]),
        }
    }
    groups
}
