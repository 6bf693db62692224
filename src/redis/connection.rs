//! One client's connection, sans-IO: requests in, replies out, in the order of the requests.
//!
//! All requests that one read has brought are handled in one visit to the keys, and what they change is one Change of
//! the log. Replies to what has changed something are held until that lasts; those behind them keep their place, so a
//! client that sends many requests at once waits for the disk once.
//!
//! ```text
//!  bytes ──▶ decoder ──▶ call ──▶ keys           Ticket
//!                          └──▶ replies ──held──▶ output
//! ```

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Buf, BytesMut};

use super::{
    Door,
    call::{self, Call},
    client::{Client, Shape},
    clients::ClientInfo,
    handle::{blocking, pubsub},
    wire::{
        reply::{Reply, Resp},
        request::{Decoder, Front, Limits},
    },
};
use crate::{
    broker::{
        auth::User,
        channels::{Heard, WAITING_BYTES_MAX},
        keyspace::waiters::{Served, ServedWith},
        login::Login,
        outlet::{Event, Outlet},
        registry::{ConnectionInfo, Limits as ConnectionLimits},
        vhost::Vhost,
        vhost_settings::MAX_CONNECTIONS,
    },
    net::{listener::Ends, output::OUTPUT_BYTES_MAX, pump, pump::Output},
    store::{StoreError, Ticket, Together},
};

/// A Redis client's connection.
pub struct Connection {
    door: Arc<Door>,
    client: Client,
    decoder: Decoder,
    /// Replies as they are written.
    replies: BytesMut,
    held: VecDeque<Held>,
    held_bytes: usize,
    durable: Option<Durable>,
    /// The store has more to write than it should.
    relief: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    together: Together,
    output: Output,
    /// Input that waits while the client does.
    waiting_bytes: usize,
    /// A request that waited, and how long it may wait again.
    again: Option<Again>,
    registered: Option<Arc<ConnectionInfo>>,
}

/// A request that is done again, and until when it may wait.
type Again = (Vec<Box<[u8]>>, Option<Instant>);

/// Replies that must not leave yet.
struct Held {
    ticket: Option<Ticket>,
    bytes: BytesMut,
    /// What the client is about to be served with: if it never hears of it, it goes back.
    served: Option<ServedWith>,
}

/// The wait for the first that is held.
type Durable = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

impl Connection {
    #[must_use]
    pub fn new(door: Arc<Door>, ends: Ends, now: Instant) -> Self {
        let (id, outlet) = (door.broker.core.ids.connection(), Arc::<Outlet>::default());
        let info = ClientInfo::new(id, ends, outlet, now);
        door.clients.put(info.clone());
        door.broker.core.meters.connections_opened.increment();
        Self {
            door,
            client: Client::new(info),
            decoder: Decoder::default(),
            replies: BytesMut::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            durable: None,
            relief: None,
            together: Together::default(),
            output: Output::default(),
            waiting_bytes: 0,
            again: None,
            registered: None,
        }
    }

    /// What the core has for the client.
    fn on_events(&mut self, cx: &Context<'_>) {
        let mut events = Vec::new();
        self.client.outlet.drain(&mut events, cx.waker());
        for event in events {
            match event {
                Event::Served(served) => self.on_served(served),
                Event::Heard(heard) => self.on_heard(&heard),
                Event::Close { reason } => {
                    tracing::info!(peer = %self.client.peer(), "redis connection closed: {reason}");
                    self.client.dropped = true;
                }
                // It is asked for with every command.
                Event::Alarm(_) => {}
                // Other doors'.
                Event::Deliver { .. }
                | Event::Cancelled { .. }
                | Event::Confirm { .. }
                | Event::Reject { .. }
                | Event::GoOn
                | Event::Loaded
                | Event::Told(_) => {}
            }
        }
    }

    fn on_served(&mut self, served: Served) {
        let Some(blocked) = self.client.blocked.take_if(|blocked| blocked.waiter == served.waiter) else {
            return;
        };
        self.client.info.shown.lock().blocked = false;
        if let Shape::Again(request) = blocked.shape {
            self.again = Some((request, blocked.until));
            return;
        }
        let mut reply = Reply { out: &mut self.replies, resp: self.client.resp };
        blocking::served(&mut reply, &blocked.shape, &served.what);
        self.send(served.ticket, Some(served.what));
    }

    /// What it has stopped to listen to may still come behind the reply that said so, and would be taken for the reply to
    /// what it asks next.
    fn on_heard(&mut self, heard: &Heard) {
        let listens = match &heard.pattern {
            Some(pattern) => self.client.patterns.contains(&**pattern),
            None => self.client.channels.contains(&*heard.channel),
        };
        if !listens {
            return;
        }
        if self.output.len() + self.held_bytes > WAITING_BYTES_MAX {
            tracing::warn!(peer = %self.client.peer(), "redis connection closed: it does not read what it listens to");
            self.client.dropped = true;
            return;
        }
        pubsub::heard(&mut Reply { out: &mut self.replies, resp: self.client.resp }, heard);
        self.send(None, None);
    }

    /// Lets the replies go that were just written, once that is durable.
    fn send(&mut self, ticket: Option<Ticket>, served: Option<ServedWith>) {
        if self.replies.is_empty() {
            return;
        }
        let ticket = ticket.filter(|&ticket| ticket > self.door.broker.core.store.durable_to());
        if ticket.is_none() && self.held.is_empty() {
            write(&mut self.output, &mut self.replies);
            return;
        }
        let bytes = self.replies.split();
        self.held_bytes += bytes.len();
        self.held.push_back(Held { ticket, bytes, served });
    }

    /// Lets go what may.
    fn release(&mut self, cx: &mut Context<'_>) {
        while let Some(first) = self.held.front() {
            if first.ticket.is_some_and(|ticket| ticket > self.door.broker.core.store.durable_to()) {
                break;
            }
            let Some(mut first) = self.held.pop_front() else { return };
            self.held_bytes -= first.bytes.len();
            write(&mut self.output, &mut first.bytes);
        }
        let Some(ticket) = self.held.front().and_then(|first| first.ticket) else {
            self.durable = None;
            return;
        };
        let store = &self.door.broker.core.store;
        let durable = self.durable.get_or_insert_with(|| {
            let store = store.clone();
            Box::pin(async move { store.durable(ticket).await })
        });
        match durable.as_mut().poll(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.durable = None;
                self.release(cx);
            }
            Poll::Ready(Err(error)) => {
                tracing::error!(peer = %self.client.peer(), %error, "nothing more is confirmed; the connection is closed");
                self.held.clear();
                self.held_bytes = 0;
                self.durable = None;
                self.client.dropped = true;
            }
        }
    }

    /// Handles requests until there is no whole one, or something must be waited for; whether to try again.
    fn run(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>) -> bool {
        if self.is_over() || self.client.blocked.is_some() || self.must_wait(cx) {
            return false;
        }
        if input.is_empty() && self.again.is_none() {
            return false;
        }
        let Some(vhost) = self.identify() else {
            self.refuse("ERR this server has no vhost /");
            return false;
        };
        let limits = Limits {
            bulk_bytes_max: self.door.settings.bulk_bytes_max,
            request_bytes_max: self.door.settings.request_bytes_max,
            authenticated: self.client.login.is_some(),
        };
        let again = self.again.take();
        let mut visit = Visit { connection: self, now, handled: 0, bytes: 0, last: "NULL" };
        let (ticket, went_on) = visit.requests(&vhost, input, &limits, again);
        let (handled, bytes, last) = (visit.handled, visit.bytes, visit.last);
        input.advance(bytes);
        if !self.client.afterwards.is_empty() {
            self.client.afterwards.carry_out(self.door.broker.core.clock.now_ms());
        }
        if self.client.introduced {
            self.register();
        }
        self.show(now, last, handled);
        self.send(ticket, None);
        match went_on {
            Ok(went_on) => went_on && handled > 0,
            Err(malformed) => {
                self.refuse(&format!("ERR {malformed}"));
                false
            }
        }
    }

    fn is_over(&self) -> bool {
        self.client.closing || self.client.dropped
    }

    fn must_wait(&mut self, cx: &mut Context<'_>) -> bool {
        if self.output.is_full() || self.held_bytes >= OUTPUT_BYTES_MAX {
            return true;
        }
        let store = &self.door.broker.core.store;
        if self.relief.is_none() && store.congested() {
            let store = store.clone();
            self.relief = Some(Box::pin(async move { store.relieved().await }));
        }
        match self.relief.as_mut().map(|relief| relief.as_mut().poll(cx)) {
            Some(Poll::Pending) => true,
            Some(Poll::Ready(())) | None => {
                self.relief = None;
                false
            }
        }
    }

    /// Who the client is by now, and the vhost whose keys it sees.
    fn identify(&mut self) -> Option<Arc<Vhost>> {
        let users_version = self.door.broker.users.version();
        match &self.client.login {
            Some(login) if login.users_version == users_version => {}
            Some(login) => self.client.login = self.door.broker.renewed(login),
            None => self.client.login = self.door.default_login(self.client.peer()),
        }
        self.register();
        match &self.client.login {
            Some(login) => Some(login.vhost.clone()),
            None => self.door.broker.vhost("/").ok(),
        }
    }

    /// Shows the connection to the admin door: under whom it is logged in as, and with what it says of itself.
    fn register(&mut self) {
        let Some(Login { user, vhost, .. }) = &self.client.login else { return };
        let is_shown =
            |info: &Arc<ConnectionInfo>| Arc::ptr_eq(&info.vhost, &vhost.name) && *info.user == *user.name;
        let (is_shown, is_new) =
            (self.registered.as_ref().is_some_and(is_shown), std::mem::take(&mut self.client.introduced));
        if is_shown && !is_new {
            return;
        }
        let info = Arc::new(self.shown_as(user, vhost));
        let connections = &self.door.broker.connections;
        if is_shown {
            connections.put(info.clone());
        } else {
            let limits = ConnectionLimits {
                of_vhost: vhost.settings.connections_max(),
                of_user: user.limit(MAX_CONNECTIONS),
            };
            connections.remove(info.id);
            if connections.admit(info.clone(), &limits).is_err() {
                self.refuse("ERR max number of clients reached");
                return;
            }
        }
        self.registered = Some(info);
    }

    fn shown_as(&self, user: &User, vhost: &Vhost) -> ConnectionInfo {
        let connected_at_ms = match &self.registered {
            Some(before) => before.connected_at_ms,
            None => self.door.broker.core.clock.now_ms(),
        };
        let Ends { peer, local, tls } = &self.client.info.ends;
        ConnectionInfo {
            tls: tls.clone(),
            user: user.name.clone(),
            vhost: vhost.name.clone(),
            client_properties: self.client.info.properties(),
            auth_mechanism: "PLAIN".into(),
            outlet: self.client.outlet.clone(),
            ..ConnectionInfo::plain(self.client.info.id, PROTOCOL, (*peer, *local), connected_at_ms)
        }
    }

    fn refuse(&mut self, text: &str) {
        tracing::info!(peer = %self.client.peer(), "redis connection closed: {text}");
        Reply { out: &mut self.replies, resp: self.client.resp }.error(text);
        self.send(None, None);
        self.client.closing = true;
    }

    /// What others may know of the client by now.
    fn show(&mut self, now: Instant, command: &'static str, handled: u64) {
        if handled == 0 {
            // One that was done again may wait again.
            self.client.info.shown.lock().blocked = self.client.blocked.is_some();
            return;
        }
        self.door.broker.core.meters.redis_commands.add(handled);
        let client = &self.client;
        let mut shown = client.info.shown.lock();
        shown.heard_at = now;
        shown.command = command;
        shown.db = client.db;
        shown.channels = client.channels.len();
        shown.patterns = client.patterns.len();
        shown.queued = client.transaction.as_ref().map(|transaction| transaction.commands.len());
        shown.blocked = client.blocked.is_some();
        shown.resp3 = client.resp == Resp::V3;
        let user = client.login.as_ref().map_or("", |login| &login.user.name);
        if shown.user != user {
            user.clone_into(&mut shown.user);
        }
    }

    /// What the client was served with and did not hear of goes back, in the order in which it came.
    fn give_back(&mut self) {
        let events = self.client.outlet.close();
        let waiter = self.client.blocked.take().map(|blocked| blocked.waiter);
        let held = std::mem::take(&mut self.held).into_iter().filter_map(|held| held.served);
        let mut unheard: Vec<ServedWith> = held.collect();
        unheard.extend(events.into_iter().filter_map(|event| match event {
            Event::Served(served) => Some(served.what),
            Event::Alarm(_)
            | Event::Cancelled { .. }
            | Event::Close { .. }
            | Event::Confirm { .. }
            | Event::Deliver { .. }
            | Event::GoOn
            | Event::Heard(_)
            | Event::Loaded
            | Event::Reject { .. }
            | Event::Told(_) => None,
        }));
        pubsub::forget(&mut self.client);
        let Some(login) = &self.client.login else { return };
        if waiter.is_none() && unheard.is_empty() {
            return;
        }
        let mut keys = login.vhost.keyspace.enter(self.door.broker.core.clock.now_ms());
        if let Some(waiter) = waiter {
            keys.wait_no_more(waiter);
        }
        unheard.iter().rev().for_each(|what| keys.give_back(what));
        keys.leave();
    }
}

/// As the admin door names it.
const PROTOCOL: &str = "Redis";

/// One visit to the keys.
struct Visit<'a> {
    connection: &'a mut Connection,
    now: Instant,
    handled: u64,
    /// Input that was handled.
    bytes: usize,
    last: &'static str,
}

impl Visit<'_> {
    /// Handles what is whole. Gives the ticket of what was changed, and whether more may be handled at once; or what is
    /// no request.
    fn requests(
        &mut self,
        vhost: &Arc<Vhost>,
        input: &mut BytesMut,
        limits: &Limits,
        again: Option<Again>,
    ) -> (Option<Ticket>, Result<bool, super::wire::malformed::Malformed>) {
        let Connection { door, client, decoder, replies, .. } = &mut *self.connection;
        let mut keys = vhost.keyspace.enter(door.broker.core.clock.now_ms());
        let mut missing = 0;
        if let Some((request, until)) = again {
            let request: Vec<&[u8]> = request.iter().map(|word| &**word).collect();
            client.again_until = Some(until);
            call::handle(&mut Call::new(&request, replies, client, &mut keys, (door, self.now)), &request);
            client.again_until = None;
            if client.blocked.is_some() {
                return (keys.leave(), Ok(false));
            }
        }
        let went_on = loop {
            let rest = input.get(self.bytes..).unwrap_or_default();
            match decoder.decode(rest, limits) {
                Err(malformed) => break Err(malformed),
                Ok(Front::Incomplete { missing: bytes }) => {
                    missing = bytes;
                    break Ok(false);
                }
                Ok(Front::Whole { bytes }) => {
                    let request = decoder.arguments(rest);
                    if !request.is_empty() {
                        let mut call = Call::new(&request, replies, client, &mut keys, (door, self.now));
                        self.last = call::handle(&mut call, &request).unwrap_or("NULL");
                        keys.serve();
                        self.handled += 1;
                    }
                    drop(request);
                    decoder.next();
                    self.bytes += bytes;
                }
            }
            let same_login = client.login.as_ref().is_none_or(|login| Arc::ptr_eq(&login.vhost, vhost))
                && client.login.is_some() == limits.authenticated;
            if client.closing || client.dropped || client.blocked.is_some() || !same_login {
                break Ok(!client.closing && !client.dropped);
            }
            if replies.len() >= OUTPUT_BYTES_MAX
                || keys.changed_bytes() + client.afterwards.bytes() >= CHANGED_BYTES_MAX
                || self.handled >= REQUESTS_MAX
            {
                break Ok(true);
            }
        };
        let ticket = keys.leave();
        // Only for one request that is long: the pump sees to the others.
        if missing > RESERVED_MIN {
            input.reserve(missing.min(RESERVED_MAX));
        }
        (ticket, went_on)
    }
}

/// What one visit may change, before others have their turn.
const CHANGED_BYTES_MAX: usize = 1024 * 1024;

/// Requests of one visit.
const REQUESTS_MAX: u64 = 4096;

/// Room made for a request whose length is known, so that it does not grow step by step.
const RESERVED_MIN: usize = 64 * 1024;
const RESERVED_MAX: usize = 1024 * 1024;

/// Small replies are gathered, large ones are handed on as they are.
fn write(output: &mut Output, replies: &mut BytesMut) {
    if replies.len() <= COPIED_BYTES_MAX {
        output.buffer().extend_from_slice(replies);
        replies.clear();
    } else {
        output.push(replies.split().freeze());
    }
}

const COPIED_BYTES_MAX: usize = 16 * 1024;

impl pump::Connection for Connection {
    /// Nothing here: what waits needs a waker, and `poll` follows at once.
    fn on_bytes(&mut self, _now: Instant, _input: &mut BytesMut) {}

    fn poll(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>) {
        // Most of what a client waits for is a turn of the log.
        let waker = self.together.of(cx.waker());
        let cx = &mut Context::from_waker(&waker);
        loop {
            self.on_events(cx);
            self.release(cx);
            if !self.run(now, input, cx) {
                break;
            }
        }
        self.release(cx);
        self.waiting_bytes = input.len();
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn deadline(&self) -> Option<Instant> {
        self.client.blocked.as_ref().and_then(|blocked| blocked.until)
    }

    fn on_deadline(&mut self, now: Instant) {
        let Some(login) = &self.client.login else { return };
        let Some(blocked) = self.client.blocked.take_if(|blocked| blocked.until.is_some_and(|at| at <= now))
        else {
            return;
        };
        let mut keys = login.vhost.keyspace.enter(self.door.broker.core.clock.now_ms());
        let waited = keys.wait_no_more(blocked.waiter);
        keys.leave();
        if waited {
            Reply { out: &mut self.replies, resp: self.client.resp }.null_array();
            self.client.info.shown.lock().blocked = false;
            self.send(None, None);
        } else {
            // Served at the last moment: that is on its way.
            self.client.blocked = Some(super::client::Blocked { until: None, ..blocked });
        }
    }

    /// A client that waits is read from too: only so it is noticed when it goes.
    fn reading(&self) -> bool {
        !self.is_over()
            && self.relief.is_none()
            && self.held_bytes < OUTPUT_BYTES_MAX
            && (self.client.blocked.is_none() || self.waiting_bytes < MEANWHILE_BYTES_MAX)
    }

    fn finished(&self) -> bool {
        self.client.dropped || (self.client.closing && self.held.is_empty())
    }

    /// Redis has no words for it. What is on its way to disk is still confirmed; whoever waits is cut off.
    fn on_shutdown(&mut self, _now: Instant) {
        self.client.closing = true;
    }

    fn on_end(&mut self, _now: Instant) {
        self.relief = None;
        self.durable = None;
        self.give_back();
        self.door.clients.remove(self.client.info.id);
        self.door.broker.connections.remove(self.client.info.id);
        self.door.broker.core.meters.connections_closed.increment();
    }
}

/// What a client that waits may send meanwhile.
const MEANWHILE_BYTES_MAX: usize = 256 * 1024;
