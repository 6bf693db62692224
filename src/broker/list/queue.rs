//! A list as a queue: `redis.<name space>.<key>`. What is published to it goes in at the left, what is taken comes out at
//! the right, and lies there again if it is not acknowledged.
//!
//! An element is a body and nothing else. A name of that form is a queue unless another queue, a stream or another kind
//! of value has it; an empty list is one, too.

use std::sync::Arc;

use super::End;
use crate::{
    broker::{
        arguments,
        keyspace::{
            Access, Keyspace,
            lending::{Lent, ListFigures},
            place,
            state::WrongType,
            waiters::{Db, Name},
        },
        message::{Draft, Publish, Traits},
        profile::Profile,
        queue::{ConsumerId, Entry, QueueOptions, Seq, consumers::ConsumerSpec, returns::Count},
        refusal::{Refusal, Subject},
        stream,
        vhost::Vhost,
    },
    data::value::Table,
    store::Ticket,
};

/// A list, as a queue.
#[derive(Debug)]
pub struct ListQueue {
    pub name: Arc<str>,
    keyspace: Arc<Keyspace>,
    db: Db,
    key: Name,
}

/// A list that has an element or a consumer.
#[derive(Debug)]
pub struct InUse {
    pub name: String,
    pub figures: ListFigures,
    pub consumers: Vec<ConsumerSpec>,
}

/// What every list would have been declared with.
fn options() -> QueueOptions {
    QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments: Table::default() }
}

/// A delivery of an element. Without properties, as nobody gave any.
pub(in crate::broker) fn entry(name: &str, lent: &Lent, now_ms: i64) -> Option<Entry> {
    let publish =
        Publish { exchange: "", routing_key: name, properties: NO_PROPERTIES, traits: Traits::default() };
    let mut draft = Draft::default();
    draft.open(&publish, now_ms, lent.element.len());
    draft.body(&lent.element);
    let message = draft.seal().message(0)?;
    let (seq, redelivered) = (lent.seq, lent.returned);
    Some(Entry { seq, message, expires_ms: i64::MAX, redelivered, returns: Count::default() })
}

const NO_PROPERTIES: &[u8] = &[0, 0];

impl Vhost {
    /// The list that a queue's name stands for.
    #[must_use]
    pub fn find_list(&self, name: &str) -> Option<Arc<ListQueue>> {
        let (db, key) = place::key_of(name)?;
        if self.find_queue(name).is_some() || self.find_stream(name).is_some() {
            return None;
        }
        let list =
            ListQueue { name: name.into(), keyspace: self.keyspace.clone(), db, key: key.as_bytes().into() };
        let is_list = list.look(|keys| keys.may_be_list(db, &list.key));
        is_list.then(|| Arc::new(list))
    }

    /// Every list that is in use, under its name; those whose keys are no text have none.
    #[must_use]
    pub fn lists(&self) -> Vec<InUse> {
        let keys = self.keyspace.enter(self.core.clock.now_ms());
        let named = keys.lists().into_iter().filter(|(_, key)| std::str::from_utf8(key).is_ok());
        let row = |(db, key): (Db, Name)| InUse {
            name: place::name_of(db, &key),
            figures: keys.list_figures(db, &key),
            consumers: keys.readers(db, &key),
        };
        let rows = named.map(row).collect();
        keys.leave_lazily();
        rows
    }
}

impl ListQueue {
    /// As [`ListQueue::visit`], for what nobody waits for: what is lent or settled a moment before a crash comes again.
    fn look<T>(&self, work: impl FnOnce(&mut Access<'_>) -> T) -> T {
        let mut keys = self.keyspace.enter(self.keyspace.now_ms());
        let done = work(&mut keys);
        keys.leave_lazily();
        done
    }

    fn visit<T>(&self, work: impl FnOnce(&mut Access<'_>) -> T) -> (T, Option<Ticket>) {
        let mut keys = self.keyspace.enter(self.keyspace.now_ms());
        let done = work(&mut keys);
        (done, keys.leave_within())
    }

    /// Whether declaring it so finds it.
    ///
    /// # Errors
    /// As for a durable classic queue without arguments.
    pub fn equivalent(
        &self,
        kind: arguments::QueueKind,
        asked: &QueueOptions,
        profile: &Profile,
    ) -> Result<(), Refusal> {
        let classic = arguments::QueueKind::Classic;
        if asked.exclusive.is_some() {
            return Err(Refusal::Locked(self.name.to_string()));
        }
        if kind != classic {
            return Err(stream::other_type(&self.name, classic, &asked.arguments, profile));
        }
        if let Some((arg, _)) = asked.arguments.0.iter().find(|(arg, _)| arg != "x-queue-type") {
            let reason = "a list has no arguments".to_owned();
            return Err(Refusal::InvalidArgument {
                arg: arg.clone(),
                on: Subject::queue(&self.name),
                reason,
            });
        }
        arguments::equivalent(&self.name, classic, asked, &options(), profile)
    }

    /// Puts a message in at the left.
    ///
    /// # Errors
    /// [`WrongType`]: the key holds something else by now.
    pub fn push(&self, body: &[u8]) -> Result<Option<Ticket>, WrongType> {
        let (pushed, ticket) =
            self.visit(|keys| keys.push(self.db, &self.key, End::Left, std::iter::once(body)));
        pushed.map(|_| ticket)
    }

    /// `basic.get`: the message at the right, and how many are left.
    #[must_use]
    pub fn get(&self, no_ack: bool) -> Option<(Entry, usize)> {
        self.look(|keys| {
            let lent = keys.lend(self.db, &self.key, no_ack)?;
            let left = keys.list_figures(self.db, &self.key).ready;
            Some((entry(&self.name, &lent, keys.now_ms)?, left))
        })
    }

    /// Adds a consumer; it is served once its `consume-ok` is on its way: call [`ListQueue::pump`] then.
    ///
    /// # Errors
    /// [`Refusal::ExclusiveUse`].
    pub fn consume(&self, spec: ConsumerSpec) -> Result<ConsumerId, Refusal> {
        let id = self.keyspace.new_consumer();
        let place = (self.db, self.key.clone());
        self.look(|keys| keys.add_reader(id, place, self.name.clone(), spec)).map(|()| id)
    }

    /// The consumer may take something, perhaps.
    pub fn pump(&self, consumer: ConsumerId) {
        self.look(|keys| keys.go_on(consumer));
    }

    /// Removes a consumer.
    pub fn cancel(&self, consumer: ConsumerId) {
        self.look(|keys| keys.remove_reader(consumer));
    }

    /// Messages of one consumer (`None`: of `basic.get`) are done with.
    pub fn settle(&self, consumer: Option<ConsumerId>, seqs: &[Seq]) {
        self.look(|keys| {
            keys.settle(self.db, &self.key, seqs.iter().copied());
            consumer.into_iter().for_each(|id| keys.give_credit(id, seqs.len()));
        });
    }

    /// Messages of one consumer lie again where they were; in the order in which they were delivered.
    pub fn requeue(&self, consumer: Option<ConsumerId>, seqs: &[Seq]) {
        self.look(|keys| {
            keys.take_back(self.db, &self.key, seqs.iter().copied());
            consumer.into_iter().for_each(|id| keys.give_credit(id, seqs.len()));
        });
    }

    #[must_use]
    pub fn figures(&self) -> ListFigures {
        self.look(|keys| keys.list_figures(self.db, &self.key))
    }

    /// Removes what is ready; how many, and when that lasts.
    #[must_use]
    pub fn purge(&self) -> (usize, Option<Ticket>) {
        self.visit(|keys| {
            let ready = keys.list_figures(self.db, &self.key).ready;
            keys.remove(self.db, &self.key);
            ready
        })
    }

    /// Deletes the list: what is ready goes, and with the next message it is there again.
    ///
    /// # Errors
    /// [`Refusal::InUse`] and [`Refusal::NotEmpty`], when asked to mind them.
    pub fn delete(&self, if_unused: bool, if_empty: bool) -> Result<(usize, Option<Ticket>), Refusal> {
        let (deleted, ticket) = self.visit(|keys| {
            let figures = keys.list_figures(self.db, &self.key);
            if if_unused && figures.consumers > 0 {
                return Err(Refusal::InUse(Subject::queue(&self.name)));
            }
            if if_empty && figures.ready > 0 {
                return Err(Refusal::NotEmpty(self.name.to_string()));
            }
            keys.remove(self.db, &self.key);
            Ok(figures.ready)
        });
        deleted.map(|count| (count, ticket))
    }
}
