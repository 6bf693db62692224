//! What serves a peer, by what its socket is: one file for each pattern.

pub mod publish;
pub mod pull;
pub mod push;
pub mod request;
pub mod subscribe;
pub mod work;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{
    Door, Mapping, fault::Fault, line::Line, publishing::Publishing, socket::Socket, wire::Malformed,
};
use crate::{
    broker::{
        events,
        login::Login,
        outlet::{Event, Outlet},
        queue::{ConnectionId, Queue, QueueOptions, consumers::ConsumerSpec},
        refusal::{Access, Refusal, Subject},
    },
    data::value::{Table, Value},
    net::pump::Output,
};

/// Makes what serves a peer.
pub type Open = fn(&mut Context<'_>) -> Result<Box<dyn Handle>, Fault>;

/// What a handler works with.
pub struct Context<'a> {
    pub door: &'a Arc<Door>,
    pub mapping: &'a Mapping,
    pub id: ConnectionId,
    pub peer: SocketAddr,
    pub socket: Socket,
    pub login: &'a Login,
    pub outlet: &'a Arc<Outlet>,
    pub line: &'a mut Line,
    pub output: &'a mut Output,
    pub now: Instant,
    pub now_ms: i64,
}

/// What serves a peer.
pub trait Handle: Send {
    /// What is said behind READY, unasked.
    fn begin(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Whether the peer may still do what it does: users have changed.
    ///
    /// # Errors
    /// The fault that ends the connection.
    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault>;

    /// A message has come, whole.
    ///
    /// # Errors
    /// The fault that ends the connection.
    fn on_message(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Fault>;

    /// A subscription, or the end of one.
    ///
    /// # Errors
    /// The fault that ends the connection; nobody but SUB subscribes.
    fn on_subscription(&mut self, cx: &mut Context<'_>, prefix: &[u8], on: bool) -> Result<(), Fault> {
        let _ = (cx, prefix);
        Err(Malformed::UnexpectedCommand(if on { "SUBSCRIBE" } else { "CANCEL" }).into())
    }

    /// The core has something; room again, only where nothing is published by [`Handle::publishing`].
    ///
    /// # Errors
    /// The fault that ends the connection.
    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) -> Result<(), Fault> {
        let _ = (cx, event);
        Ok(())
    }

    /// Whatever was gathered leaves.
    fn flush(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// So many bytes of the output have been written.
    fn on_written(&mut self, written: u64) {
        let _ = written;
    }

    /// The peer has closed its side: what is not written yet would reach nobody.
    fn on_peer_closed(&mut self) {}

    /// What it publishes by, if it does: alarms concern it, and it waits when that does.
    fn publishing(&self) -> Option<&Publishing> {
        None
    }

    fn publishing_mut(&mut self) -> Option<&mut Publishing> {
        None
    }

    /// Whether nothing more may be read for now.
    fn waits(&self) -> bool {
        self.publishing().is_some_and(Publishing::waits)
    }

    /// When it wants to be looked at.
    fn deadline(&self) -> Option<Instant> {
        self.publishing().and_then(Publishing::deadline)
    }

    /// That time has come.
    fn on_deadline(&mut self, now: Instant) {
        if let Some(publishing) = self.publishing_mut() {
            publishing.on_deadline(now);
        }
    }

    /// The server goes down: nothing new is begun.
    fn wind_down(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// Whether the peer is owed anything that it waits for.
    fn owes(&self) -> bool {
        false
    }

    /// The connection is gone, and with it what of `events` it did not hear of.
    fn end(&mut self, ended: &Ended<'_>, events: Vec<Event>);
}

/// What is left of a connection.
pub struct Ended<'a> {
    pub door: &'a Arc<Door>,
    pub login: &'a Login,
    pub id: ConnectionId,
}

impl Context<'_> {
    /// The queue of that name, made if there is none and the user may; `messages_max`: how many it is made for, if that is
    /// limited.
    ///
    /// # Errors
    /// What the user may not, or the core refuses.
    pub fn queue(&self, name: &str, access: Access, messages_max: u64) -> Result<Arc<Queue>, Fault> {
        let (vhost, subject) = (&self.login.vhost, Subject::queue(name));
        self.login.allow(access, &subject)?;
        match vhost.queue(name, self.id) {
            Ok(queue) => return Ok(queue),
            Err(Refusal::NoQueue(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        self.login.allow(Access::Configure, &subject)?;
        let mut arguments = Table::default();
        if messages_max > 0 {
            let messages_max = i64::try_from(messages_max).unwrap_or(i64::MAX);
            arguments.0.push(("x-max-length".to_owned(), Value::I64(messages_max)));
            let overflow = Value::LongStr("reject-publish".into());
            arguments.0.push(("x-overflow".to_owned(), overflow));
        }
        let options = QueueOptions { durable: true, auto_delete: false, exclusive: None, arguments };
        let user = self.login.user.name.clone();
        Ok(events::acting(&user, || vhost.declare_queue(name, self.id, options))?.queue)
    }

    /// The consumer that this peer is to a queue.
    #[must_use]
    pub fn consumer(&self, prefetch_count: u32) -> ConsumerSpec {
        ConsumerSpec {
            channel: 0,
            consumer_tag: format!("zmq-{}", self.id.0).into(),
            no_ack: false,
            exclusive: false,
            priority: 0,
            prefetch_count,
            outlet: self.outlet.clone(),
            credit: Arc::default(),
        }
    }
}
