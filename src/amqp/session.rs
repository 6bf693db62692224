//! An open connection's state, and the small things every handler does with it.

use std::{future::Future, pin::Pin, sync::Arc, task::Waker, time::Instant};

use bytes::BytesMut;

use super::{
    Door,
    channel::{Channel, Feed, Held, How, Phase},
    channels::Channels,
    connection::Partial,
    fault::{self, Fault, Resource},
    wire::{Arguments, frame},
};
use crate::{
    broker::{
        Pending,
        auth::User,
        meters::Meters,
        outlet::Outlet,
        profile::Profile,
        queue::{ConnectionId, Queue, flow::Hold, returns::Return},
        refusal::{Access, Difference, Kind, Refusal, Subject},
        registry::ConnectionInfo,
        vhost::Vhost,
    },
    net::pump::Output,
    store::{StoreError, Ticket},
};

/// An open connection.
pub struct Session {
    pub door: Arc<Door>,
    pub id: ConnectionId,
    pub vhost: Arc<Vhost>,
    pub user: Arc<User>,
    /// What [`Users::version`](crate::broker::auth::Users::version) was when `user` was looked up.
    pub users_version: u64,
    pub outlet: Arc<Outlet>,
    pub info: Arc<ConnectionInfo>,
    pub channels: Channels,
    pub frame_max: u32,
    pub channel_max: u16,
    pub capabilities: Capabilities,
    /// Exclusive queues, to be deleted with the connection.
    pub exclusive: Vec<Arc<Queue>>,
    /// What must happen before the next frame is looked at.
    pub waiting: Option<Waiting>,
    /// Transactions on their way into the log, each answered once it is there.
    pub commits: Vec<Commit>,
    /// The store has more to write than it should: a publisher is not read until it has less.
    pub relief: Option<Relief>,
    /// A body frame of which a part has come.
    pub partial: Option<Partial>,
    /// A queue is ahead of its consumers: whoever publishes to it is not read for a moment.
    pub hold: Option<(Hold, Instant)>,
    pub generations: u32,
    /// When to look for deliveries that are not acknowledged in time.
    pub tick_at: Instant,
    /// Whether this connection publishes, and what keeps it from being read.
    pub alarm: Alarm,
    /// What was published since the last read.
    pub tally: Tally,
    pub waker: Waker,
    /// Somebody asked for the connection to be closed, with this reason.
    pub close_asked: Option<String>,
}

impl Session {
    /// What the user may do counts as it is now. What was remembered of it is forgotten when any user has changed: the
    /// price of asking is one load.
    #[inline]
    pub fn refresh_user(&mut self) {
        if self.door.broker.users.version() != self.users_version {
            self.look_up_user();
        }
    }

    #[cold]
    fn look_up_user(&mut self) {
        self.users_version = self.door.broker.users.version();
        // A deleted user's connection is about to be closed.
        if let Some(user) = self.door.broker.users.user(&self.user.name) {
            self.user = user;
        }
        self.channels.values_mut().for_each(|channel| channel.publisher.forget());
    }
}

/// What the client says it understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub consumer_cancel_notify: bool,
    pub connection_blocked: bool,
    pub authentication_failure_close: bool,
}

/// Resource alarms as this connection sees them: they concern it once it publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// It has not published yet.
    Unconcerned,
    Clear,
    /// The alarm is on, for this reason, and the next publish blocks.
    Raised(&'static str),
    /// It published while the alarm was on: it is not read.
    Blocked,
}

/// Publishes counted here first, because an atomic for each would show.
#[derive(Debug, Default)]
pub struct Tally {
    received: u64,
    received_confirm: u64,
    /// A run of bodies of one size.
    body_bytes: u64,
    bodies: u64,
}

impl Tally {
    /// One publish.
    pub fn count(&mut self, meters: &Meters, body_bytes: u64, confirm: bool) {
        self.received += 1;
        self.received_confirm += u64::from(confirm);
        if body_bytes != self.body_bytes {
            if self.bodies > 0 {
                meters.message_sizes.observe(self.body_bytes, self.bodies);
            }
            (self.body_bytes, self.bodies) = (body_bytes, 0);
        }
        self.bodies += 1;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received == 0
    }

    /// Hands it on, and starts anew.
    pub fn tell(&mut self, meters: &Meters) {
        if self.is_empty() {
            return;
        }
        let Self { received, received_confirm, body_bytes, bodies } = std::mem::take(self);
        meters.received.add(received);
        meters.received_confirm.add(received_confirm);
        meters.message_sizes.observe(body_bytes, bodies);
    }
}

/// The store has room again.
pub type Relief = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A `tx.commit` that is not answered yet. Its channel takes nothing else meanwhile; others go on.
pub struct Commit {
    pub channel: u16,
    pub generation: u32,
    pub durable: Durable,
}

pub type Durable = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Why the connection does not go on.
pub enum Waiting {
    /// A declaration must be in the log before its reply leaves.
    Durable { durable: Durable, reply: BytesMut },
    /// `basic.get` waits for a message that is being read from the log.
    Get { channel: u16, queue: Arc<Queue>, no_ack: bool },
}

/// What a handler works with: the session, where its frames go, and the time.
pub struct Context<'a> {
    pub session: &'a mut Session,
    pub output: &'a mut Output,
    pub now_ms: i64,
}

impl Context<'_> {
    /// Sends a method.
    pub fn send<'m, M: Arguments<'m>>(&mut self, channel: u16, method: &M) {
        frame::put_method(self.output.buffer(), channel, method);
    }

    /// Sends the reply to a request, once what it did is durable. `nowait`: no reply, but the next request still
    /// waits for that.
    pub fn reply<'m, M: Arguments<'m>>(&mut self, pending: Pending, channel: u16, nowait: bool, method: &M) {
        let Some(ticket) = pending else {
            if !nowait {
                self.send(channel, method);
            }
            return;
        };
        let mut reply = BytesMut::new();
        if !nowait {
            frame::put_method(&mut reply, channel, method);
        }
        let durable = self.durable(ticket);
        self.session.waiting = Some(Waiting::Durable { durable, reply });
    }

    /// Waits until that is in the log.
    #[must_use]
    pub fn durable(&self, ticket: Ticket) -> Durable {
        let store = self.session.door.broker.core.store.clone();
        Box::pin(async move { store.durable(ticket).await })
    }

    /// The fault for a refusal of the core.
    #[must_use]
    pub fn fault(&self, refusal: Refusal) -> Fault {
        fault_of(refusal, &self.session.vhost.name)
    }

    /// Whether the user may do that.
    ///
    /// # Errors
    /// The fault to answer with when not.
    pub fn allow(&mut self, access: Access, on: &Subject) -> Result<(), Fault> {
        self.session.refresh_user();
        let session = &self.session;
        if session.user.may(access, &session.vhost.name, &on.name) {
            return Ok(());
        }
        let user = session.user.name.to_string();
        Err(self.fault(Refusal::Permission { access, on: on.clone(), user }))
    }

    /// Whether the user may do any of the three things, as a passive declaration asks where the version minds.
    ///
    /// # Errors
    /// The fault to answer with when not.
    pub fn allow_any(&mut self, on: &Subject) -> Result<(), Fault> {
        if !self.profile().passive_declare_needs_access {
            return Ok(());
        }
        self.allow(Access::Read, on)
            .or_else(|_| self.allow(Access::Write, on))
            .or_else(|_| self.allow(Access::Configure, on))
    }

    /// Whether the user may bind with that routing key, where the source is a topic exchange.
    ///
    /// # Errors
    /// The fault to answer with when not.
    pub fn allow_topic(&mut self, access: Access, exchange: &str, routing_key: &str) -> Result<(), Fault> {
        self.session.refresh_user();
        let session = &self.session;
        let vhost = &session.vhost;
        if session.user.may_topic(access, &vhost.name, exchange, routing_key)
            || vhost.find_exchange(exchange).is_none_or(|exchange| exchange.options.kind != "topic")
        {
            return Ok(());
        }
        let (routing_key, exchange) = (routing_key.to_owned(), exchange.to_owned());
        let user = session.user.name.to_string();
        Err(self.fault(Refusal::TopicPermission { access, routing_key, exchange, user }))
    }

    /// The RabbitMQ that we behave as.
    #[must_use]
    pub fn profile(&self) -> &'static Profile {
        self.session.door.broker.core.profile
    }

    /// The queue that a name means on this channel, if this connection may touch it.
    ///
    /// # Errors
    /// When there is none, or it is another connection's.
    pub fn queue(&self, channel: &Channel, name: &str) -> Result<Arc<Queue>, Fault> {
        let name = queue_name(channel, name)?;
        self.session.vhost.queue(&name, self.session.id).map_err(|refusal| self.fault(refusal))
    }

    /// Ends a channel's work: consumers are cancelled, what was not acknowledged goes back.
    pub fn wind_up(&mut self, channel: &mut Channel) {
        for consumer in channel.consumers.all() {
            self.cancel(channel, &consumer);
        }
        // What a transaction holds back was never published, and never acknowledged.
        super::handle::tx::undo(channel);
        let mut held: Vec<Held> = Vec::new();
        let _ = channel.unacked.take_up_to(0, |_, entry| held.push(entry));
        channel.settle(held.into_iter(), How::Requeue(Return::Lost));
        if channel.phase == Phase::Open {
            self.session.door.broker.core.meters.channels_closed.increment();
            self.session.info.channels.lock().remove(&channel.number);
            self.session.tell_channel_closed(channel);
        }
    }

    /// Cancels one consumer; an auto-delete queue may go with it.
    pub fn cancel(&mut self, channel: &mut Channel, consumer: &super::channel::Consumer) {
        // Before its queue is told to be gone. Nobody consumes direct replies, as far as events go.
        if !matches!(consumer.feed, Feed::Replies(_)) {
            self.session.tell_consumer_deleted(channel, consumer);
        }
        match &consumer.feed {
            Feed::Queue(queue) => {
                if queue.cancel(consumer.id) {
                    // Unless somebody has come to consume meanwhile.
                    let _ = self.session.vhost.delete_queue(queue, true, false);
                }
            }
            Feed::List(list) => list.cancel(consumer.id),
            Feed::Stream(stream) => stream.task.abort(),
            Feed::Replies(reply_to) => {
                self.session.door.broker.core.replies.close(reply_to);
                channel.reply_to = None;
            }
        }
        // Deliveries that were on their way come first, so that nothing follows the cancel-ok.
        super::handle::deliver::drain(self, Some(channel));
        channel.consumers.remove(consumer.id);
        channel.info.consumers.store(channel.consumers.len(), std::sync::atomic::Ordering::Relaxed);
    }
}

/// What an empty queue name means on a channel.
///
/// # Errors
/// When nothing was declared on it.
pub fn queue_name(channel: &Channel, name: &str) -> Result<String, Fault> {
    if name.is_empty() {
        return channel.last_queue.clone().ok_or(Fault::NoPreviousQueue);
    }
    Ok(name.to_owned())
}

/// RabbitMQ strips line ends from the names of queues and exchanges, where they are declared, deleted and bound.
#[must_use]
pub fn stripped(name: &str) -> String {
    name.replace(['\r', '\n'], "")
}

fn resource(on: &Subject, vhost: &str) -> Resource {
    match on.kind {
        Kind::Exchange => Resource::exchange(&on.name, vhost),
        Kind::Queue => Resource::queue(&on.name, vhost),
    }
}

/// The core's refusals in RabbitMQ's words.
#[must_use]
pub fn fault_of(refusal: Refusal, vhost: &str) -> Fault {
    let queue = |name: &str| Resource::queue(name, vhost);
    match refusal {
        Refusal::InvalidArgument { arg, on, reason } => {
            Fault::InvalidArg { arg, on: resource(&on, vhost), reason }
        }
        Refusal::ArgumentType { arg, on, type_name } => {
            Fault::InvalidArgType { type_name, arg, on: resource(&on, vhost) }
        }
        Refusal::ArgumentOfOtherType { arg, queue: name, kind } => {
            Fault::ArgNotForType { arg, on: queue(&name), queue_type: format!("rabbit_{kind}_queue") }
        }
        Refusal::InvalidProperty { property, queue: name } => {
            Fault::InvalidProperty { property, on: queue(&name) }
        }
        Refusal::ServerNamed(kind) => Fault::ServerNamed { queue_type: format!("rabbit_{kind}_queue") },
        Refusal::Inequivalent { arg, on, difference } => {
            let difference = match *difference {
                Difference::Property { received, current } => {
                    fault::Difference::property(&received, &current)
                }
                Difference::Argument { received, current } => {
                    fault::Difference::argument(received.as_ref(), current.as_ref())
                }
            };
            Fault::Inequivalent { arg, on: Box::new(resource(&on, vhost)), difference }
        }
        Refusal::NoQueue(name) => Fault::NotFound(queue(&name)),
        Refusal::NoExchange(name) => Fault::NotFound(Resource::exchange(&name, vhost)),
        Refusal::NoVhost(name) => Fault::NoVhost(name),
        Refusal::QueueLimit { queue, limit } => {
            Fault::VhostQueueLimit { queue, vhost: vhost.to_owned(), limit }
        }
        Refusal::Locked(name) => Fault::Locked(queue(&name)),
        Refusal::ReservedName { kind, name } => Fault::ReservedName { kind: kind.word(), name },
        Refusal::DefaultExchange => Fault::DefaultExchange,
        Refusal::SystemExchange(name) => Fault::SystemExchange(Resource::exchange(&name, vhost)),
        Refusal::UnknownExchangeType(kind) => Fault::UnknownExchangeType(kind),
        Refusal::InUse(on) => Fault::InUse(resource(&on, vhost)),
        Refusal::NotEmpty(name) => Fault::NotEmpty(queue(&name)),
        Refusal::InternalExchange(name) => Fault::InternalExchange(Resource::exchange(&name, vhost)),
        Refusal::Permission { access, on, user } => {
            Fault::AccessRefused { access: access.word(), on: resource(&on, vhost), user }
        }
        Refusal::TopicPermission { access, routing_key, exchange, user } => Fault::TopicAccessRefused {
            access: access.word(),
            routing_key,
            on: Box::new(Resource::exchange(&exchange, vhost)),
            user,
        },
        Refusal::ExclusiveUse(name) => Fault::ExclusiveUse(queue(&name)),
        Refusal::Binding(text) => Fault::Binding(text),
        Refusal::Stream(text) => Fault::Binding(text.to_owned()),
        Refusal::TopicWildcards { key, count, count_max } => Fault::TopicWildcards { key, count, count_max },
        Refusal::DelayedType => Fault::BadDelayedType,
        Refusal::NoGlobalQos(name) => Fault::NoGlobalQos(queue(&name)),
        Refusal::DeleteCondition { flag, queue: name } => Fault::QuorumDeleteFlag { flag, on: queue(&name) },
        Refusal::SingleActiveGet(name) => Fault::QuorumSacGet(queue(&name)),
        Refusal::Unsupported { what, queue: name } => Fault::UnsupportedByStream { what, on: queue(&name) },
        Refusal::UnsupportedByList { what, queue: name } => {
            Fault::UnsupportedByList { what, on: queue(&name) }
        }
        Refusal::NoPrefetch(name) => Fault::NoPrefetch(queue(&name)),
        Refusal::Storage(error) => {
            tracing::error!(error, "a request failed because the store takes no more writes");
            Fault::Internal
        }
    }
}
