//! What producers do next, and what comes of it.

use std::task::{Context, Poll, Waker};

use super::{
    LOGS, Owner, PRODUCERS, Run, TIMEOUT_MS, at,
    model::{Fate, Txn},
    producer::{Doing, Outgoing, Request, Sender, Transaction},
};
use crate::{
    broker::{
        group::{
            GroupKey,
            offsets::{Committed, TopicPartition},
        },
        topic::{Offset, append::Refused},
        txn::{producer::ProducerIdentity, transaction::TxnError},
    },
    data::record::{BatchBuilder, Producer as Sequence},
};

const GROUP: &str = "g";

impl Run {
    pub(super) fn producer_step(&mut self, at: usize) {
        if !matches!(self.producers[at].doing, Doing::Nothing) {
            return self.poll(at);
        }
        let Some(sender) = &self.producers[at].sender else { return self.begin_anew(at) };
        let is_answered = sender.is_answered();
        let transaction = self.producers[at].transaction.as_ref();
        if transaction.is_some_and(|t| t.asked.is_some()) {
            // The answer was lost: the client asks again, or its next instance begins.
            return if self.world.chance(70) { self.ask_again(at) } else { self.begin_anew(at) };
        }
        match self.world.below(100) {
            0..60 => self.send(at),
            60..68 => self.commit_offset(at),
            68..90 if is_answered => self.end_transaction(at),
            68..90 => self.turn(),
            90..97 => self.retry(at),
            _ => self.begin_anew(at),
        }
    }

    /// New records of a transaction: one batch.
    fn records(&mut self, log: usize, txn: Txn) -> Vec<u64> {
        let mut records = Vec::new();
        for _ in 0..=self.world.below(3) {
            let (key, marks) = (self.world.below(super::KEYS), self.world.chance(15));
            records.push(self.model.send(log, key, marks, txn));
        }
        records
    }

    /// A batch on its way.
    pub(super) fn append(&self, owner: Owner, batch: &Outgoing) {
        let ProducerIdentity { id, epoch } = batch.identity;
        let mut builder = BatchBuilder::new();
        if id >= 0 {
            builder = builder.producer(Sequence { id, epoch, base_sequence: batch.sequence });
        }
        if batch.is_transactional {
            builder = builder.transactional();
        }
        for number in &batch.records {
            let sent = self.model.sent(*number);
            let (key, name) = ([u8::try_from(sent.key).unwrap()], number.to_be_bytes());
            let value = (!sent.marks).then_some(&b"value"[..]);
            builder.push(batch.sent_ms, Some(&key), value, [("n", Some(&name[..]))]);
        }
        let partition = self.partition(batch.log);
        let checked = partition.check(builder.build().into_bytes(), self.world.clock.now_ms(), true).unwrap();
        let (outcomes, batch) = (self.outcomes.clone(), batch.clone());
        partition.append(checked, move |outcome| outcomes.lock().push((owner, batch, outcome)));
    }

    pub(super) fn send_idempotent(&mut self) {
        let log = self.world.below(LOGS);
        if let Some(late) = self.idempotent.late(log).filter(|_| self.world.chance(30)) {
            self.did("retried");
            return self.append(Owner::Idempotent, &late);
        }
        if self.idempotent.has_room(log) {
            let txn = self.model.begin(Fate::Perhaps);
            let records = self.records(log, txn);
            let batch = self.idempotent.number(log, records, false, self.world.clock.now_ms());
            self.append(Owner::Idempotent, &batch);
        }
    }

    pub(super) fn send_nameless(&mut self) {
        let log = self.world.below(LOGS);
        let txn = self.model.begin(Fate::Perhaps);
        let (records, sent_ms) = (self.records(log, txn), self.world.clock.now_ms());
        let identity = ProducerIdentity { id: -1, epoch: -1 };
        let batch = Outgoing { log, identity, sequence: -1, is_transactional: false, sent_ms, records };
        self.append(Owner::Nobody, &batch);
    }

    /// Somebody whose identity is another's by now goes on as if nothing had happened.
    pub(super) fn zombie(&mut self) {
        let Some(n) = self.zombies.len().checked_sub(1) else { return };
        let n = self.world.below(n + 1);
        let (whose, identity) = self.zombies[n];
        let (log, sent_ms) = (self.world.below(LOGS), self.world.clock.now_ms());
        let (transactions, id) = (self.world.broker.transactions.clone(), self.producers[whose].id.clone());
        let joined = transactions.add_partition_of_batch(sent_ms, &id, identity, at(self.topics[log]));
        assert!(joined.is_err(), "a producer that was fenced begins a transaction");
        let txn = self.model.begin(Fate::Aborted);
        let records = self.records(log, txn);
        // Behind anything that the partition may remember of it.
        let sequence = if self.world.chance(50) { 10_000 } else { 0 };
        let batch = Outgoing { log, identity, sequence, is_transactional: true, sent_ms, records };
        self.append(Owner::Zombie, &batch);
        self.did("zombies");
    }

    fn open(&mut self, at: usize) -> &mut Transaction {
        let (model, began_ms) = (&mut self.model, self.world.clock.now_ms());
        self.producers[at].transaction.get_or_insert_with(|| Transaction {
            txn: model.begin(Fate::Open),
            began_ms,
            partitions: [false; LOGS],
            has_group: false,
            offset: None,
            lost_offset: None,
            has_records: false,
            asked: None,
        })
    }

    fn send(&mut self, at: usize) {
        let log = self.world.below(LOGS);
        let has_room = self.producers[at].sender.as_ref().is_some_and(|sender| sender.has_room(log));
        if !has_room || !self.join(at, log) {
            return;
        }
        let transaction = self.open(at);
        transaction.has_records = true;
        let txn = transaction.txn;
        let (records, now_ms) = (self.records(log, txn), self.world.clock.now_ms());
        let sender = self.producers[at].sender.as_mut().expect("it has room");
        let batch = sender.number(log, records, true, now_ms);
        self.append(Owner::Producer(at), &batch);
    }

    /// The log becomes part of the producer's transaction. False: it is not yet, or never will be.
    fn join(&mut self, at: usize, log: usize) -> bool {
        let (now_ms, place) = (self.world.clock.now_ms(), self.at(log));
        let is_joined = self.open(at).partitions[log];
        let producer = &self.producers[at];
        let Some(identity) = producer.identity() else { return false };
        let (transactions, id) = (self.world.broker.transactions.clone(), producer.id.clone());
        if producer.second_protocol {
            return match transactions.add_partition_of_batch(now_ms, &id, identity, place) {
                Ok(()) => true,
                Err(error) => {
                    self.refused(at, error);
                    false
                }
            };
        }
        if !is_joined {
            let added = async move { transactions.add_partitions(now_ms, &id, identity, &[place]).await };
            self.start(at, Doing::AddPartition(log, Box::pin(added)));
        }
        is_joined
    }

    fn start(&mut self, at: usize, doing: Doing) {
        self.producers[at].doing = doing;
        self.poll(at);
    }

    fn commit_offset(&mut self, at: usize) {
        let (second_protocol, lost) = (self.producers[at].second_protocol, self.open(at).lost_offset);
        let now_ms = self.world.clock.now_ms();
        let Some(identity) = self.producers[at].identity() else { return };
        let (transactions, id) = (self.world.broker.transactions.clone(), self.producers[at].id.clone());
        if !second_protocol && !self.open(at).has_group {
            let added = async move { transactions.add_group(now_ms, &id, identity, &GROUP.into()).await };
            return self.start(at, Doing::AddGroup(Box::pin(added)));
        }
        self.next_offset += 1;
        let offset = lost.unwrap_or(self.next_offset);
        let committed = Committed {
            offset: Offset(offset),
            leader_epoch: 0,
            metadata: String::new(),
            commit_ms: now_ms,
            expire_ms: None,
        };
        let offsets = vec![(self.group_place(at), committed)];
        let implied = second_protocol;
        let done = async move {
            transactions.commit_offsets(now_ms, &id, identity, &GROUP.into(), offsets, implied).await
        };
        self.start(at, Doing::CommitOffset(offset, Box::pin(done)));
    }

    /// Each producer commits offsets in a partition of its own.
    fn group_place(&self, at: usize) -> TopicPartition {
        TopicPartition { topic: self.topics[0], partition: i32::try_from(at).unwrap() }
    }

    fn end_transaction(&mut self, at: usize) {
        let Some(transaction) = &mut self.producers[at].transaction else { return };
        if transaction.lost_offset.is_some() {
            return self.commit_offset(at);
        }
        let is_begun = transaction.has_records
            || transaction.offset.is_some()
            || transaction.has_group
            || transaction.partitions.contains(&true);
        if is_begun {
            transaction.asked = Some(self.world.chance(65));
            self.ask(at);
        }
    }

    /// EndTxn, for the first time or again.
    fn ask(&mut self, at: usize) {
        let (producer, now_ms) = (&self.producers[at], self.world.clock.now_ms());
        let asked = producer.transaction.as_ref().and_then(|t| t.asked).expect("it knows what it asks for");
        let Some(identity) = producer.identity() else { return };
        let (transactions, id) = (self.world.broker.transactions.clone(), producer.id.clone());
        let bump = producer.second_protocol;
        let ended = async move { transactions.end(now_ms, &id, identity, asked, bump).await };
        self.start(at, Doing::End(asked, Box::pin(ended)));
    }

    fn ask_again(&mut self, at: usize) {
        self.did("asked again after a crash");
        self.ask(at);
    }

    /// InitProducerId: of a new instance, or of the same producer, which has given its transaction up.
    pub(super) fn begin_anew(&mut self, at: usize) {
        let expected = self.producers[at].identity().filter(|_| self.world.chance(40));
        self.init(at, expected);
    }

    fn init(&mut self, at: usize, expected: Option<ProducerIdentity>) {
        let now_ms = self.world.clock.now_ms();
        let (transactions, id) = (self.world.broker.transactions.clone(), self.producers[at].id.clone());
        let begun = async move { transactions.init(now_ms, &id, TIMEOUT_MS, expected).await };
        self.start(at, Doing::Init(expected, Box::pin(begun)));
    }

    /// A batch that was answered comes once more.
    fn retry(&mut self, at: usize) {
        let log = self.world.below(LOGS);
        let late = self.producers[at].sender.as_ref().and_then(|sender| sender.late(log));
        if let Some(batch) = late {
            self.did("retried");
            self.append(Owner::Producer(at), &batch);
        }
    }

    /// Looks for the answer that a producer waits for.
    pub(super) fn poll(&mut self, at: usize) {
        match std::mem::replace(&mut self.producers[at].doing, Doing::Nothing) {
            Doing::Nothing => {}
            Doing::Init(expected, mut request) => match poll(&mut request) {
                None => self.producers[at].doing = Doing::Init(expected, request),
                Some(answer) => self.on_begun(at, expected, answer),
            },
            Doing::AddPartition(log, mut request) => match poll(&mut request) {
                None => self.producers[at].doing = Doing::AddPartition(log, request),
                Some(Ok(())) => self.open(at).partitions[log] = true,
                Some(Err(error)) => self.refused(at, error),
            },
            Doing::AddGroup(mut request) => match poll(&mut request) {
                None => self.producers[at].doing = Doing::AddGroup(request),
                Some(Ok(())) => self.open(at).has_group = true,
                Some(Err(error)) => self.refused(at, error),
            },
            Doing::CommitOffset(offset, mut request) => match poll(&mut request) {
                None => self.producers[at].doing = Doing::CommitOffset(offset, request),
                Some(Ok(())) => {
                    let transaction = self.open(at);
                    (transaction.offset, transaction.lost_offset) = (Some(offset), None);
                }
                Some(Err(error)) => self.refused(at, error),
            },
            Doing::End(asked, mut request) => match poll(&mut request) {
                None => self.producers[at].doing = Doing::End(asked, request),
                Some(answer) => self.on_ended(at, asked, answer),
            },
        }
    }

    fn on_begun(
        &mut self,
        at: usize,
        expected: Option<ProducerIdentity>,
        answer: Result<ProducerIdentity, TxnError>,
    ) {
        let identity = match answer {
            Ok(identity) => identity,
            // Who was fenced by time may begin as a new instance.
            Err(TxnError::ProducerFenced) if expected.is_some() => {
                assert!(self.producers[at].is_overdue(self.world.clock.now_ms()), "fenced without a reason");
                return self.init(at, None);
            }
            Err(error) => return self.refused(at, error),
        };
        if let Some(known) = self.producers[at].identity() {
            let is_newer = identity.id != known.id || identity.epoch > known.epoch;
            assert!(is_newer, "an epoch is given twice: {identity:?} after {known:?}");
            self.zombies.push((at, known));
        }
        if let Some(open) = &self.producers[at].transaction
            && self.model.fate(open.txn) == Fate::Open
        {
            self.decide(at, false);
        }
        self.producers[at].transaction = None;
        self.producers[at].sender = Some(Sender::new(identity));
    }

    fn on_ended(&mut self, at: usize, asked: bool, answer: Result<ProducerIdentity, TxnError>) {
        let next = match answer {
            Ok(next) => next,
            Err(error) => return self.refused(at, error),
        };
        self.decide(at, asked);
        self.did(if asked { "committed" } else { "aborted" });
        let producer = &mut self.producers[at];
        producer.transaction = None;
        let known = producer.identity().expect("it has asked");
        if producer.second_protocol {
            assert!(next.id == known.id && next.epoch == known.epoch + 1, "{next:?} after {known:?}");
            producer.sender = Some(Sender::new(next));
            self.zombies.push((at, known));
        } else {
            assert_eq!(next, known);
        }
    }

    /// A producer's transaction is over.
    pub(super) fn decide(&mut self, at: usize, committed: bool) {
        let Some(transaction) = &self.producers[at].transaction else { return };
        self.model.decide(transaction.txn, committed);
        if committed && transaction.offset.is_some() {
            self.group[at] = transaction.offset;
        }
    }

    /// Only what takes too long is refused: its next instance begins.
    fn refused(&mut self, at: usize, error: TxnError) {
        let is_overdue = self.producers[at].is_overdue(self.world.clock.now_ms());
        assert!(is_overdue, "refused without a reason: {error}");
        if error != TxnError::ConcurrentTransactions {
            self.did("fenced by time");
            self.init(at, None);
        }
    }

    /// What the turns have answered.
    pub(super) fn hear(&mut self) {
        let outcomes = std::mem::take(&mut *self.outcomes.lock());
        for (owner, batch, outcome) in outcomes {
            match outcome {
                // Two batches that begin alike: it is told where the other lies.
                Ok(_) if owner == Owner::Zombie => assert_eq!(batch.sequence, 0, "a fenced producer writes"),
                Ok(appended) => {
                    for (number, offset) in batch.records.iter().zip(appended.base_offset.0..) {
                        self.model.lies(*number, offset);
                    }
                }
                Err(refused) => self.on_refused(owner, &batch, &refused),
            }
            let sender = match owner {
                Owner::Producer(at) => self.producers[at].sender.as_mut(),
                Owner::Idempotent => Some(&mut self.idempotent),
                Owner::Nobody | Owner::Zombie => None,
            };
            if let Some(sender) = sender.filter(|sender| sender.identity == batch.identity) {
                sender.answered(&batch);
            }
        }
    }

    fn on_refused(&mut self, owner: Owner, batch: &Outgoing, refused: &Refused) {
        match owner {
            Owner::Zombie => {}
            Owner::Idempotent | Owner::Nobody => panic!("{batch:?} is refused: {refused}"),
            Owner::Producer(at) => {
                if self.producers[at].identity() != Some(batch.identity) {
                    return;
                }
                let by_time = matches!(refused, Refused::InvalidProducerEpoch | Refused::InvalidTxnState);
                let is_overdue = self.producers[at].is_overdue(self.world.clock.now_ms());
                assert!(by_time && is_overdue, "{batch:?} is refused: {refused}");
                if matches!(self.producers[at].doing, Doing::Nothing) {
                    self.did("fenced by time");
                    self.init(at, None);
                }
            }
        }
    }

    /// The broker is gone, and the answer that a producer waits for with it.
    pub(super) fn lose_answer(&mut self, at: usize) {
        match std::mem::replace(&mut self.producers[at].doing, Doing::Nothing) {
            Doing::Nothing | Doing::AddPartition(..) | Doing::AddGroup(_) | Doing::End(..) => {}
            Doing::Init(expected, _) => self.producers[at].lost_init = Some(expected),
            Doing::CommitOffset(offset, _) => self.open(at).lost_offset = Some(offset),
        }
    }

    pub(super) fn send_again(&mut self, at: usize) {
        if let Some(expected) = self.producers[at].lost_init.take() {
            return self.init(at, expected);
        }
        let Some(sender) = &self.producers[at].sender else { return };
        for batch in sender.unanswered() {
            // By now it may have been fenced.
            if self.producers[at].identity() != Some(batch.identity) || !self.join(at, batch.log) {
                return;
            }
            self.append(Owner::Producer(at), &batch);
        }
    }

    /// A producer waits for its answer, however long it takes.
    pub(super) fn rest(&mut self, at: usize) {
        for _ in 0..10_000 {
            self.hear();
            self.poll(at);
            if matches!(self.producers[at].doing, Doing::Nothing) {
                return;
            }
            self.world.turn();
        }
        panic!("a producer is not answered");
    }

    pub(super) fn check_group(&mut self) {
        let key = GroupKey { vhost: "/".into(), id: GROUP.into() };
        let broker = &self.world.broker;
        for at in 0..PRODUCERS {
            let place = self.group_place(at);
            let committed = broker.groups.committed(&key, place).map(|committed| committed.offset.0);
            assert_eq!(committed, self.group[at], "the group's offset does not go with the transaction");
            let producer = &self.producers[at];
            if !matches!(producer.doing, Doing::Nothing) || producer.is_overdue(self.world.clock.now_ms()) {
                continue;
            }
            let transaction = producer.transaction.as_ref().filter(|t| t.asked.is_none());
            let Some(offset) = transaction.map(|t| t.offset.or(t.lost_offset)) else { continue };
            let lost = transaction.is_some_and(|t| t.lost_offset.is_some());
            assert!(
                lost || broker.transactions.has_pending(&key, place) == offset.is_some(),
                "an offset is stable, or is not: {offset:?}"
            );
        }
    }
}

fn poll<T>(request: &mut Request<T>) -> Option<Result<T, TxnError>> {
    match request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}
