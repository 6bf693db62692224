//! One channel's state: what it publishes, consumes and owes.
//!
//! Pure bookkeeping; methods are handled in `handle/`, frames in `connection.rs`. (AMQP 0-9-1 §2.2.5; RabbitMQ's
//! channel.)
//!
//! ```text
//! open ──error──► closing (frames are ignored) ──close-ok──► gone
//!   └──────────────────── close ──────────────────────────────┘
//! ```

use std::{cell::Cell, collections::HashMap, sync::Arc};

use bytes::BytesMut;
use tokio::{sync::Semaphore, task::AbortHandle};

use super::{confirms::Confirms, overdue::DeliveryTimes, prefetch::Unacked};
use crate::broker::{
    list::queue::ListQueue,
    message::Draft,
    publish::Publisher,
    queue::{ConsumerId, Entry, Queue, Seq, consumers::ChannelCredit, paging::Forgotten, returns::Return},
    registry::ChannelInfo,
    reply::ReplyTo,
    topic::Topic,
    trace::Origin,
    vhost::Vhost,
};

/// A channel.
#[derive(Debug)]
pub struct Channel {
    pub number: u16,
    /// Tells a reopened channel from its predecessor of the same number.
    pub generation: u32,
    pub phase: Phase,
    pub publisher: Publisher,
    pub mode: Mode,
    pub unacked: Unacked<Held>,
    pub delivered: DeliveryTimes,
    /// What the unacknowledged deliveries hold in memory.
    pub holding: Holding,
    pub consumers: Consumers,
    /// What the next consumer may hold (`basic.qos`, not global).
    pub prefetch_count: u16,
    pub credit: Arc<ChannelCredit>,
    /// What an empty queue name means.
    pub last_queue: Option<String>,
    /// Who gets direct replies to what this channel publishes.
    pub reply_to: Option<Arc<ReplyTo>>,
    /// What traces of its messages say.
    pub origin: Arc<Origin>,
    pub content: Content,
    pub info: Arc<ChannelInfo>,
}

/// Whether the channel works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Open,
    /// We closed it and wait for `close-ok`.
    Closing,
}

/// What publishes are answered with.
#[derive(Debug)]
pub enum Mode {
    Plain,
    Confirm(Batch),
    Tx(Tx),
}

/// What a transaction holds back until its commit. Its publishes wait in the channel's [`Publisher`].
#[derive(Debug, Default)]
pub struct Tx {
    pub settlements: Vec<Settlement>,
    /// `basic.return`s of what no queue takes, as frames: they leave with the commit.
    pub returns: BytesMut,
    /// A commit is on its way into the log.
    pub committing: bool,
}

/// Deliveries that are acknowledged or rejected once the transaction commits, with their tags.
#[derive(Debug)]
pub struct Settlement {
    pub deliveries: Vec<(u64, Held)>,
    pub how: How,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Acknowledge,
    Requeue(Return),
    /// Rejected for good.
    Drop,
}

impl How {
    /// `basic.reject`.
    #[must_use]
    pub fn rejected(requeue: bool) -> Self {
        if requeue { Self::Requeue(Return::Rejected) } else { Self::Drop }
    }

    /// `basic.nack`.
    #[must_use]
    pub fn nacked(requeue: bool) -> Self {
        if requeue { Self::Requeue(Return::GivenBack) } else { Self::Drop }
    }
}

/// The publishes of a channel in confirm mode; those of the current batch by ordinal.
#[derive(Debug, Default)]
pub struct Batch {
    pub confirms: Confirms,
    /// The first publish of the batch.
    pub first: Option<u64>,
    /// Sequence numbers of those that were taken, by their ordinals.
    pub taken: Vec<u64>,
}

/// A delivery that the client has not acknowledged.
#[derive(Debug)]
pub enum Held {
    /// Of a queue; `consumer` is `None` for `basic.get`.
    Queue { queue: Arc<Queue>, consumer: Option<ConsumerId>, entry: Entry },
    /// Of a list.
    List { list: Arc<ListQueue>, consumer: Option<ConsumerId>, seq: Seq },
    /// Of a stream: settling it makes room for another.
    Stream { topic: Arc<Topic>, credit: Arc<Semaphore> },
}

/// What unacknowledged deliveries hold in memory, and up to where they were asked to hold less.
#[derive(Debug, Default)]
pub struct Holding {
    bytes: Cell<usize>,
    told: Cell<usize>,
    /// They are asked again beyond this.
    page_at: usize,
    /// The first delivery that has not been asked, or could not let go yet.
    paged_to: u64,
}

/// Above this a channel's unacknowledged deliveries let go of the bodies that the log has. Small under test, so that
/// simulated channels do.
const HELD_BYTES_MAX: usize = if cfg!(test) { 512 } else { 2 * 1024 * 1024 };

/// How much more there must be before it is worth asking again.
const HELD_BYTES_STEP: usize = HELD_BYTES_MAX / 8;

impl Held {
    fn bytes(&self) -> usize {
        match self {
            Self::Queue { entry, .. } => entry.message.held_bytes(),
            Self::List { .. } | Self::Stream { .. } => 0,
        }
    }
}

/// A content on its way in, when it does not come in one piece.
#[derive(Debug)]
pub enum Content {
    None,
    /// `basic.publish` has come; its header comes next.
    Header(Publish),
    /// The body comes.
    Body {
        publish: Publish,
        properties: Vec<u8>,
        /// Gathered where it will lie.
        body: Draft,
        /// What the header promised, and how much of it is still to come.
        size: u64,
        left: u64,
        /// More has come than was promised. Older RabbitMQs wait for ever then.
        overrun: bool,
    },
}

/// The arguments of a `basic.publish`, kept.
#[derive(Debug, Clone)]
pub struct Publish {
    pub exchange: String,
    pub routing_key: String,
    pub mandatory: bool,
    pub immediate: bool,
}

/// A consumer of the channel.
#[derive(Debug, Clone)]
pub struct Consumer {
    pub id: ConsumerId,
    pub consumer_tag: Arc<str>,
    pub no_ack: bool,
    /// How long a delivery may stay unacknowledged, if the consumer says so itself (RabbitMQ 4.3).
    pub timeout_ms: Option<u64>,
    pub feed: Feed,
}

/// Where a consumer's deliveries come from.
#[derive(Debug, Clone)]
pub enum Feed {
    Queue(Arc<Queue>),
    List(Arc<ListQueue>),
    Stream(StreamFeed),
    /// Direct replies.
    Replies(Arc<ReplyTo>),
}

/// A reader of a stream.
#[derive(Debug, Clone)]
pub struct StreamFeed {
    pub topic: Arc<Topic>,
    pub credit: Arc<Semaphore>,
    pub task: AbortHandle,
}

impl Consumer {
    /// Serves the consumer, if a queue does.
    pub fn pump(&self) {
        match &self.feed {
            Feed::Queue(queue) => queue.pump(),
            Feed::List(list) => list.pump(self.id),
            Feed::Stream(_) | Feed::Replies(_) => {}
        }
    }

    /// The name of what it consumes.
    #[must_use]
    pub fn queue_name(&self) -> &Arc<str> {
        match &self.feed {
            Feed::Queue(queue) => &queue.name,
            Feed::List(list) => &list.name,
            Feed::Stream(stream) => &stream.topic.name,
            Feed::Replies(reply_to) => &reply_to.name,
        }
    }
}

/// The channel's consumers, by tag for the client and by id for the core.
#[derive(Debug, Default)]
pub struct Consumers {
    /// Few, and ids rise: found by searching.
    by_id: Vec<Consumer>,
    by_tag: HashMap<Arc<str>, ConsumerId>,
}

impl Consumers {
    pub fn put(&mut self, consumer: Consumer) {
        self.by_tag.insert(consumer.consumer_tag.clone(), consumer.id);
        let at = self.by_id.partition_point(|other| other.id < consumer.id);
        self.by_id.insert(at, consumer);
    }

    #[inline]
    fn at(&self, id: ConsumerId) -> Option<usize> {
        self.by_id.binary_search_by_key(&id, |consumer| consumer.id).ok()
    }

    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.by_tag.contains_key(tag)
    }

    #[must_use]
    pub fn by_id(&self, id: ConsumerId) -> Option<&Consumer> {
        self.by_id.get(self.at(id)?)
    }

    #[must_use]
    pub fn by_tag(&self, tag: &str) -> Option<&Consumer> {
        self.by_id(*self.by_tag.get(tag)?)
    }

    pub fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let consumer = self.by_id.remove(self.at(id)?);
        self.by_tag.remove(&consumer.consumer_tag);
        Some(consumer)
    }

    #[must_use]
    pub fn all(&self) -> Vec<Consumer> {
        self.by_id.clone()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

impl Channel {
    #[must_use]
    pub fn new(generation: u32, vhost: Arc<Vhost>, origin: Origin) -> Self {
        let (number, origin) = (origin.channel, Arc::new(origin));
        Self {
            number,
            generation,
            phase: Phase::Open,
            publisher: Publisher::of(vhost, origin.clone()),
            mode: Mode::Plain,
            unacked: Unacked::default(),
            delivered: DeliveryTimes::default(),
            holding: Holding::default(),
            consumers: Consumers::default(),
            prefetch_count: 0,
            credit: Arc::default(),
            last_queue: None,
            reply_to: None,
            origin,
            content: Content::None,
            info: Arc::default(),
        }
    }

    /// Whether a `tx.commit` waits for its answer: nothing else may come meanwhile.
    #[must_use]
    pub fn committing(&self) -> bool {
        match &self.mode {
            Mode::Tx(tx) => tx.committing,
            Mode::Plain | Mode::Confirm(_) => false,
        }
    }

    /// Whether publishes wait to be handed on.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        match &self.mode {
            Mode::Plain => !self.publisher.is_empty(),
            Mode::Confirm(batch) => batch.first.is_some(),
            Mode::Tx(_) => false,
        }
    }

    /// Keeps a delivery until it is acknowledged.
    pub fn keep(&mut self, held: Held) {
        let bytes = held.bytes();
        self.unacked.push(held);
        let bytes = self.holding.bytes.get() + bytes;
        self.held(bytes);
        if bytes > HELD_BYTES_MAX.max(self.holding.page_at) {
            self.page();
        }
    }

    /// Lets go of the bodies of deliveries that the log has.
    fn page(&mut self) {
        let (mut freed, mut paged_to) = (0, None);
        for (tag, held) in self.unacked.iter_mut_from(self.holding.paged_to) {
            let before = held.bytes();
            let Held::Queue { queue, entry, .. } = held else { continue };
            if queue.forget_body(entry) == Forgotten::NotYet {
                paged_to.get_or_insert(tag);
            }
            freed += before - held.bytes();
        }
        self.holding.paged_to = paged_to.unwrap_or(self.unacked.next_tag());
        let bytes = self.holding.bytes.get().saturating_sub(freed);
        self.held(bytes);
        self.holding.page_at = bytes + HELD_BYTES_STEP;
    }

    /// The memory alarm counts what is held, near enough.
    fn held(&self, bytes: usize) {
        let holding = &self.holding;
        holding.bytes.set(bytes);
        if bytes.abs_diff(holding.told.get()) >= HELD_BYTES_STEP || bytes == 0 {
            let delta = bytes.cast_signed() - holding.told.replace(bytes).cast_signed();
            self.publisher.core().memory.add(delta);
        }
    }

    /// Tells the queues what became of deliveries. What goes back goes where it was, in the order it was delivered.
    pub fn settle(&self, held: impl Iterator<Item = Held>, how: How) {
        let mut lists = Vec::new();
        let held = held.filter_map(|held| match held {
            Held::List { list, consumer, seq } => {
                lists.push((list, consumer, seq));
                None
            }
            Held::Queue { .. } | Held::Stream { .. } => Some(held),
        });
        self.by_queue(held, |queue, consumer, entries| match how {
            How::Acknowledge => queue.settle(consumer, entries.iter(), true),
            How::Drop => queue.with_bodies(consumer, entries, move |queue, entries| {
                queue.reject(consumer, entries.into_iter());
            }),
            How::Requeue(how) => queue.requeue(consumer, entries.into_iter(), how),
        });
        self.settle_lists(lists, how);
    }

    /// As [`Channel::settle`], for what came from lists.
    fn settle_lists(&self, mut held: Vec<(Arc<ListQueue>, Option<ConsumerId>, Seq)>, how: How) {
        while let Some((list, consumer, _)) = held.first().cloned() {
            let is_same = |(other, of, _): &mut (Arc<ListQueue>, Option<ConsumerId>, Seq)| {
                *of == consumer && other.name == list.name
            };
            let seqs: Vec<Seq> = held.extract_if(.., is_same).map(|(_, _, seq)| seq).collect();
            let consumed = if consumer.is_some() { seqs.len() } else { 0 };
            self.credit.give_back(u32::try_from(consumed).unwrap_or(u32::MAX));
            match how {
                How::Acknowledge | How::Drop => list.settle(consumer, &seqs),
                How::Requeue(_) => list.requeue(consumer, &seqs),
            }
            self.go_on(consumed);
        }
    }

    /// The channel's shared limit has room again: any of its consumers may go on.
    fn go_on(&self, settled: usize) {
        if self.credit.limited() && settled > 0 {
            self.consumers.all().iter().for_each(Consumer::pump);
        }
    }

    /// One call per queue and consumer, however the deliveries of several lie between each other.
    pub fn by_queue(
        &self,
        held: impl Iterator<Item = Held>,
        mut each: impl FnMut(&Arc<Queue>, Option<ConsumerId>, Vec<Entry>),
    ) {
        let mut groups: Vec<(Arc<Queue>, Option<ConsumerId>, Vec<Entry>)> = Vec::new();
        let mut freed = 0;
        for held in held {
            freed += held.bytes();
            let (queue, consumer, entry) = match held {
                Held::Queue { queue, consumer, entry } => (queue, consumer, entry),
                Held::Stream { credit, .. } => {
                    credit.add_permits(1);
                    continue;
                }
                // A transaction has none, and what is settled without one has been taken aside.
                Held::List { .. } => continue,
            };
            let same = |(q, c, _): &&mut (Arc<Queue>, Option<ConsumerId>, Vec<Entry>)| {
                *c == consumer && q.id == queue.id
            };
            match groups.iter_mut().rev().find(same) {
                Some((_, _, entries)) => entries.push(entry),
                None => groups.push((queue, consumer, vec![entry])),
            }
        }
        self.held(self.holding.bytes.get().saturating_sub(freed));
        let consumed = groups
            .iter()
            .filter(|(_, consumer, _)| consumer.is_some())
            .map(|(_, _, e)| e.len())
            .sum::<usize>();
        self.credit.give_back(u32::try_from(consumed).unwrap_or(u32::MAX));
        for (queue, consumer, entries) in groups {
            each(&queue, consumer, entries);
        }
        self.go_on(consumed);
    }
}
