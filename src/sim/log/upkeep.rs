//! What happens to logs beside their producers: compaction, DeleteRecords, time, faults, crashes.

use std::time::Duration;

use rand::Rng;

use super::{LOGS, Outcomes, PRODUCERS, Run, model::Fate, producer::Doing};
use crate::{
    broker::{
        topic::{Offset, compaction::Step},
        txn::transaction::{State, TxnError},
    },
    store::Ticket,
};

impl Run {
    /// A moment.
    pub(super) fn pass(&mut self, ms_max: u64) {
        let ms = self.world.rng.random_range(0..=ms_max);
        self.world.clock.advance(Duration::from_millis(ms));
    }

    pub(super) fn turn(&mut self) {
        if self.world.chance(20) {
            self.world.heal();
        }
        self.world.turn();
    }

    pub(super) fn advance(&mut self) {
        let ms = self.world.rng.random_range(0..40_000);
        self.world.advance(Duration::from_millis(ms));
    }

    /// Some bites of a round, with whatever else goes on in between.
    pub(super) fn compact(&mut self) {
        let Some((mut compaction, ticket)) = self.compaction.take() else {
            let log = self.world.below(LOGS);
            let seed = self.world.rng.random();
            let begun = self.partition(log).compaction(self.world.clock.now_ms(), seed).unwrap();
            self.compaction = begun.map(|compaction| (compaction, Ticket::default()));
            return;
        };
        if ticket > self.world.store.durable_to() {
            self.world.turn();
            self.compaction = Some((compaction, ticket));
            return;
        }
        match compaction.step().unwrap() {
            Step::Left => self.compaction = Some((compaction, ticket)),
            Step::Rewriting(ticket) => {
                self.did("compacted");
                self.compaction = Some((compaction, ticket));
            }
            Step::Done(_) => {}
        }
    }

    /// DeleteRecords.
    pub(super) fn trim(&mut self) {
        let logs: Vec<usize> = (0..LOGS).filter(|log| super::POLICIES[*log].deletes()).collect();
        let log = self.world.pick(&logs);
        let partition = self.partition(log);
        let offsets = partition.offsets();
        let back = i64::try_from(self.world.below(12)).unwrap();
        let to = (offsets.high_watermark.0 - back).max(offsets.log_start.0);
        partition.delete_records(Some(Offset(to)), |_| {});
        self.did("trimmed");
        if to > offsets.last_stable_offset.0 {
            self.did("trimmed an open transaction");
        }
    }

    pub(super) fn crash(&mut self) {
        self.hear();
        self.cut();
        self.world.crash();
        self.after_crash();
    }

    pub(super) fn restart(&mut self) {
        self.world.heal();
        self.world.settle();
        self.hear();
        self.cut();
        self.world.restart();
        self.after_crash();
    }

    /// Nothing that waits outlives the broker.
    fn cut(&mut self) {
        self.outcomes = Outcomes::default();
        if self.compaction.take().is_some() {
            self.did("crashed in a round");
        }
        for at in 0..PRODUCERS {
            self.lose_answer(at);
        }
    }

    /// Clients ask again for what was not answered.
    fn after_crash(&mut self) {
        self.witness();
        for at in 0..PRODUCERS {
            self.send_again(at);
        }
        for batch in self.idempotent.unanswered() {
            self.append(super::Owner::Idempotent, &batch);
        }
        if self.world.chance(50) {
            self.check();
        }
    }

    /// A week, and one more: nobody does anything, and producers are forgotten.
    pub(super) fn weeks(&mut self) {
        self.world.heal();
        self.world.settle();
        self.hear();
        for at in 0..PRODUCERS {
            self.rest(at);
        }
        self.witness();
        // What is open times out first; only then it has been idle.
        self.world.advance(Duration::from_secs(3_600));
        self.world.settle();
        self.world.advance(Duration::from_secs(15 * 24 * 3_600));
        let now_ms = self.world.clock.now_ms();
        let broker = self.world.broker.clone();
        broker.expire_records(now_ms);
        self.world.settle();
        for at in 0..PRODUCERS {
            let producer = &mut self.producers[at];
            producer.doing = Doing::Nothing;
            let Some(identity) = producer.identity() else { continue };
            let refused = broker.transactions.add_partition_of_batch(
                now_ms,
                &producer.id,
                identity,
                super::at(self.topics[0]),
            );
            assert_eq!(refused, Err(TxnError::InvalidProducerIdMapping));
            let open = producer.transaction.take();
            producer.sender = None;
            if let Some(open) = open
                && self.model.fate(open.txn) == Fate::Open
            {
                self.model.decide(open.txn, false);
            }
        }
        for log in 0..LOGS {
            assert_eq!(self.partition(log).active_producers(), [], "log {log} remembers");
        }
        // Its numbers go on, and nothing is sent again.
        self.idempotent.forget_answered();
        self.zombies.clear();
        self.did("forgotten");
    }

    /// Where an end was asked for and not answered, the coordinator says what came of it, and all else is held to that.
    pub(super) fn witness(&mut self) {
        for at in 0..PRODUCERS {
            let producer = &self.producers[at];
            let Some(transaction) = producer.transaction.as_ref().filter(|t| t.asked.is_some()) else {
                continue;
            };
            // Once that is known, the next instance may have begun.
            if self.model.fate(transaction.txn) != Fate::Open {
                continue;
            }
            let described = self.world.broker.transactions.describe(&producer.id).expect("it has been used");
            match described.transaction.state {
                State::Ongoing(_) => {}
                State::CompleteCommit => self.decide(at, true),
                State::CompleteAbort | State::Empty => self.decide(at, false),
            }
        }
    }
}
