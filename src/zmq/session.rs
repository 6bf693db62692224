//! An open connection: frames become messages and commands, what the core has becomes frames.
//!
//! What a peer's socket is decides what becomes of its messages ([`handle`](super::handle)); everything here is the same
//! for all of them.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, task, time::Instant};

use bytes::{Buf, BytesMut};
use smallvec::SmallVec;

use super::{
    Door, Mapping, curve,
    fault::Fault,
    handle::{Context, Ended, Handle},
    handshake::Introduced,
    heartbeat::{Due, Heartbeat},
    line::Line,
    socket::Socket,
    wire::{
        Malformed,
        command::Command,
        frame::{self, Frame, Front, Kind},
        metadata,
    },
};
use crate::{
    broker::{
        login::Login,
        outlet::{Event, Outlet},
        queue::ConnectionId,
        registry::{ConnectionInfo, Limits},
        vhost_settings::MAX_CONNECTIONS,
    },
    data::{
        multipart::Joined,
        value::{Table, Value},
    },
    net::pump::Output,
};

/// An open connection.
pub struct Session {
    door: Arc<Door>,
    mapping: Arc<Mapping>,
    id: ConnectionId,
    peer: SocketAddr,
    socket: Socket,
    login: Login,
    outlet: Arc<Outlet>,
    line: Line,
    handle: Box<dyn Handle>,
    heartbeat: Heartbeat,
    /// Domain time of the last poll: asked once, not for each message.
    now_ms: i64,
    /// Input that lies there while the peer must wait.
    untaken_bytes: usize,
    /// The parts of a message that is not whole yet.
    gathered: Joined,
    /// What CURVE opened last.
    opened: Vec<u8>,
    /// The store has more to write than it should.
    relief: Option<Relief>,
    /// Memory or disk run low: whoever publishes is not read.
    alarm: Option<&'static str>,
    closing: bool,
}

type Relief = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The two ends of a connection, and what it is connected to.
#[derive(Clone)]
pub struct Place {
    pub door: Arc<Door>,
    pub mapping: Arc<Mapping>,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Why no further frame is taken.
enum Stopped {
    /// The peer must wait.
    Early,
    /// So much of the next is missing, at least.
    At { missing: usize },
}

type Parts<'a> = SmallVec<[&'a [u8]; 8]>;

/// Parts of one message: a header with the size of each must fit into a frame of AMQP.
const PARTS_MAX: usize = 10_000;

/// A message in parts that was larger leaves no memory behind.
const GATHERED_KEPT_MAX: usize = 64 * 1024;

impl Session {
    /// Opens a session for a peer, and says READY.
    ///
    /// # Errors
    /// Why it is not served.
    pub fn open(
        place: &Place,
        introduced: Introduced,
        output: &mut Output,
        now: Instant,
    ) -> Result<Self, Fault> {
        let Place { door, mapping, peer, .. } = place.clone();
        let core = &door.broker.core;
        let (id, outlet, now_ms) = (core.ids.connection(), Arc::<Outlet>::default(), core.clock.now_ms());
        let info = shown(place, &introduced, id, &outlet, now_ms);
        let Introduced { socket, minor, login, traffic, .. } = introduced;
        let limits = Limits {
            of_vhost: login.vhost.settings.connections_max(),
            of_user: login.user.limit(MAX_CONNECTIONS),
        };
        door.broker.connections.admit(Arc::new(info), &limits).map_err(|_| Fault::TooMany)?;
        // A vhost that was deleted meanwhile did not see this connection.
        if login.vhost.settings.is_gone() {
            outlet.push(Event::Close { reason: format!("vhost '{}' is deleted", login.vhost.name) });
        }
        let mut line = Line::new(minor.min(1), traffic);
        let mut cx = Context {
            door: &door,
            mapping: &mapping,
            id,
            peer,
            socket,
            login: &login,
            outlet: &outlet,
            line: &mut line,
            output,
            now,
            now_ms,
        };
        let opened = socket.open()(&mut cx);
        let mut handle = opened.inspect_err(|_| door.broker.connections.remove(id))?;
        ready(&mut cx);
        handle.begin(&mut cx);
        let alarm =
            if handle.publishing().is_some() { core.memory.subscribe(Arc::downgrade(&outlet)) } else { None };
        // Only who speaks 3.1 answers.
        let heartbeat = Heartbeat::new(door.settings.heartbeat.filter(|_| line.minor >= 1), now);
        Ok(Self {
            door,
            mapping,
            id,
            peer,
            socket,
            login,
            outlet,
            line,
            handle,
            heartbeat,
            now_ms,
            untaken_bytes: 0,
            gathered: Joined::default(),
            opened: Vec::new(),
            relief: None,
            alarm,
            closing: false,
        })
    }

    fn split<'a>(&'a mut self, output: &'a mut Output, now: Instant) -> (&'a mut dyn Handle, Context<'a>) {
        let cx = Context {
            door: &self.door,
            mapping: &self.mapping,
            id: self.id,
            peer: self.peer,
            socket: self.socket,
            login: &self.login,
            outlet: &self.outlet,
            line: &mut self.line,
            output,
            now,
            now_ms: self.now_ms,
        };
        (&mut *self.handle, cx)
    }

    /// What has happened elsewhere, and then what has come.
    ///
    /// # Errors
    /// The fault that ends the connection.
    pub fn poll(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        output: &mut Output,
        cx: &mut task::Context<'_>,
    ) -> Result<(), Fault> {
        self.now_ms = self.door.broker.core.clock.now_ms();
        self.refresh(output, now)?;
        loop {
            self.drain(output, now, cx)?;
            if !self.take(now, input, output, cx)? {
                break;
            }
        }
        self.untaken_bytes = input.len();
        let sent = self.line.take_sent();
        if sent > 0 {
            self.door.broker.core.meters.zmq_sent.add(sent);
        }
        Ok(())
    }

    /// What the user may do counts as it is now.
    fn refresh(&mut self, output: &mut Output, now: Instant) -> Result<(), Fault> {
        if self.door.broker.users.version() == self.login.users_version {
            return Ok(());
        }
        self.login = self.door.broker.renewed(&self.login).ok_or(Fault::Denied)?;
        let (handle, cx) = self.split(output, now);
        handle.allow(&cx)
    }

    fn drain(&mut self, output: &mut Output, now: Instant, cx: &task::Context<'_>) -> Result<(), Fault> {
        // A full output is polled again when it has room.
        if output.is_full() {
            self.outlet.register(cx.waker());
            return Ok(());
        }
        let mut events = Vec::new();
        let outlet = self.outlet.clone();
        let resumed = outlet.drain(&mut events, cx.waker());
        if !events.is_empty() {
            let mut events = events.into_iter();
            let drained = self.on_events(&mut events, output, now);
            if drained.is_err() {
                // The others must go back, too.
                self.put_back(events);
                return drained;
            }
        }
        resumed.into_iter().for_each(|queue| queue.resume(&outlet));
        Ok(())
    }

    fn on_events(
        &mut self,
        events: &mut impl Iterator<Item = Event>,
        output: &mut Output,
        now: Instant,
    ) -> Result<(), Fault> {
        for event in events {
            match event {
                Event::Close { reason } => return Err(Fault::Asked(reason)),
                Event::Alarm(reason) => self.alarm = reason,
                event @ (Event::Cancelled { .. }
                | Event::Confirm { .. }
                | Event::Deliver { .. }
                | Event::GoOn
                | Event::Heard(_)
                | Event::Loaded
                | Event::Reject { .. }
                | Event::Served(_)
                | Event::Told(_)) => {
                    let (handle, mut cx) = self.split(output, now);
                    match (&event, handle.publishing_mut()) {
                        (Event::GoOn, Some(publishing)) => publishing.go_on(cx.now_ms, cx.outlet),
                        _ => handle.on_event(&mut cx, event)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn put_back(&self, events: impl Iterator<Item = Event>) {
        events.for_each(|event| self.outlet.push(event));
    }

    /// Takes whole frames while they may be; whether to try again at once.
    fn take(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        output: &mut Output,
        cx: &mut task::Context<'_>,
    ) -> Result<bool, Fault> {
        if self.must_wait(cx) || output.is_full() || input.is_empty() {
            return Ok(false);
        }
        let mut taken = 0;
        let stopped = self.take_frames(now, input, output, &mut taken);
        input.advance(taken);
        // What came before something that is wrong is no less there.
        let (handle, mut context) = self.split(output, now);
        handle.flush(&mut context);
        match stopped? {
            Stopped::Early => Ok(true),
            Stopped::At { missing } => {
                // Only for one part that is long: the pump sees to the others.
                if missing > RESERVED_MIN {
                    input.reserve(missing.min(RESERVED_MAX));
                }
                Ok(false)
            }
        }
    }

    fn take_frames(
        &mut self,
        now: Instant,
        input: &[u8],
        output: &mut Output,
        taken: &mut usize,
    ) -> Result<Stopped, Fault> {
        loop {
            let rest = input.get(*taken..).unwrap_or_default();
            match frame::next(rest, self.frame_bytes_max())? {
                Front::Incomplete { missing } => return Ok(Stopped::At { missing }),
                Front::Whole { frame, bytes } => {
                    self.on_frame(frame, output, now)?;
                    *taken += bytes;
                }
            }
            if self.waits() || output.is_full() {
                return Ok(Stopped::Early);
            }
        }
    }

    fn frame_bytes_max(&self) -> usize {
        let sealed = if self.line.traffic.is_some() { curve::OVERHEAD_BYTES } else { 0 };
        self.door.settings.message_bytes_max.saturating_sub(self.gathered.bytes_len()) + sealed
    }

    fn on_frame(&mut self, frame: Frame<'_>, output: &mut Output, now: Instant) -> Result<(), Fault> {
        let Some(traffic) = &mut self.line.traffic else {
            return self.on_plain(frame.kind, frame.body, output, now);
        };
        let sealed = curve::sealed(frame.body).ok_or(Malformed::Sealed("MESSAGE"))?;
        let mut opened = std::mem::take(&mut self.opened);
        let kind = traffic.open(sealed, &mut opened)?;
        let handled = self.on_plain(kind, opened.get(1..).unwrap_or_default(), output, now);
        if opened.capacity() <= GATHERED_KEPT_MAX {
            self.opened = opened;
        }
        handled
    }

    #[inline]
    fn on_plain(&mut self, kind: Kind, body: &[u8], output: &mut Output, now: Instant) -> Result<(), Fault> {
        match kind {
            Kind::Command => self.on_command(body, output, now),
            Kind::Message { more: false } if self.gathered.is_empty() => {
                let (handle, mut cx) = self.split(output, now);
                handle.on_message(&mut cx, &[body])
            }
            Kind::Message { more } => {
                if self.gathered.len() == PARTS_MAX {
                    return Err(Fault::TooManyParts(PARTS_MAX));
                }
                self.gathered.push(body);
                if more {
                    return Ok(());
                }
                let mut gathered = std::mem::take(&mut self.gathered);
                let (handle, mut cx) = self.split(output, now);
                let handled = handle.on_message(&mut cx, &gathered.iter().collect::<Parts<'_>>());
                gathered.clear(GATHERED_KEPT_MAX);
                self.gathered = gathered;
                handled
            }
        }
    }

    fn on_command(&mut self, body: &[u8], output: &mut Output, now: Instant) -> Result<(), Fault> {
        let command = Command::decode(body)?;
        match command {
            Command::Subscribe(prefix) | Command::Cancel(prefix) => {
                let on = matches!(command, Command::Subscribe(_));
                let (handle, mut cx) = self.split(output, now);
                handle.on_subscription(&mut cx, prefix, on)
            }
            Command::Ping { ttl, context } => {
                self.heartbeat.set_ttl(ttl);
                self.line.command(output, &Command::Pong { context });
                Ok(())
            }
            // That it came is all it says.
            Command::Pong { .. } => Ok(()),
            Command::Error { reason } => Err(Fault::Told(String::from_utf8_lossy(reason).into_owned())),
            // A later version's.
            Command::Other(_) => Ok(()),
            Command::Hello(_)
            | Command::Welcome(_)
            | Command::Initiate(_)
            | Command::Ready(_)
            | Command::Message(_) => Err(Malformed::UnexpectedCommand(command.name()).into()),
        }
    }

    fn must_wait(&mut self, cx: &mut task::Context<'_>) -> bool {
        let store = &self.door.broker.core.store;
        if self.relief.is_none() && self.handle.publishing().is_some() && store.congested() {
            let store = store.clone();
            self.relief = Some(Box::pin(async move { store.relieved().await }));
        }
        if let Some(relief) = &mut self.relief
            && relief.as_mut().poll(cx).is_ready()
        {
            self.relief = None;
        }
        self.waits()
    }

    fn waits(&self) -> bool {
        self.is_held_up() || self.handle.waits()
    }

    fn is_held_up(&self) -> bool {
        self.closing || self.relief.is_some() || self.alarm.is_some()
    }

    /// Something has come, whatever it is.
    pub fn heard(&mut self, now: Instant) {
        self.heartbeat.heard(now);
    }

    /// Whether it matters that a peer which does not read lives.
    #[must_use]
    pub fn wants_life(&self) -> bool {
        self.heartbeat.is_on()
    }

    /// A peer that waits for long is read from too, a little: so it is noticed when it goes.
    #[must_use]
    pub fn reading(&self) -> bool {
        !self.is_held_up() && (!self.handle.waits() || self.untaken_bytes < MEANWHILE_BYTES_MAX)
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.heartbeat.deadline().into_iter().chain(self.handle.deadline()).min()
    }

    /// That time has come.
    ///
    /// # Errors
    /// [`Fault::Silent`].
    pub fn on_deadline(&mut self, now: Instant, output: &mut Output) -> Result<(), Fault> {
        self.handle.on_deadline(now);
        match self.heartbeat.on_deadline(now, self.reading()) {
            Due::Nothing => Ok(()),
            Due::Ask => {
                self.line.command(output, &Command::Ping { ttl: 0, context: &[] });
                Ok(())
            }
            Due::Dead => Err(Fault::Silent),
        }
    }

    pub fn on_written(&mut self, written: u64) {
        self.handle.on_written(written);
    }

    pub fn on_peer_closed(&mut self) {
        self.handle.on_peer_closed();
    }

    /// The server goes down.
    pub fn wind_down(&mut self, output: &mut Output, now: Instant) {
        self.closing = true;
        let (handle, mut cx) = self.split(output, now);
        handle.wind_down(&mut cx);
    }

    /// Whether nothing keeps it open.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.closing && !self.handle.owes()
    }

    /// The connection is gone: everything goes back.
    pub fn end(&mut self) {
        self.relief = None;
        let events = self.outlet.close();
        let ended = Ended { door: &self.door, login: &self.login, id: self.id };
        self.handle.end(&ended, events);
        self.door.broker.connections.remove(self.id);
    }
}

/// What the admin door shows of a connection.
fn shown(
    place: &Place,
    introduced: &Introduced,
    id: ConnectionId,
    outlet: &Arc<Outlet>,
    now_ms: i64,
) -> ConnectionInfo {
    let protocol = if introduced.minor == 0 { "ZMTP 3.0" } else { "ZMTP 3.1" };
    // Never by TLS: it has CURVE instead.
    ConnectionInfo {
        user: introduced.login.user.name.clone(),
        vhost: introduced.login.vhost.name.clone(),
        client_properties: properties(&introduced.metadata),
        auth_mechanism: introduced.mechanism.name().into(),
        outlet: outlet.clone(),
        ..ConnectionInfo::plain(id, protocol, (place.peer, place.local), now_ms)
    }
}

/// Says READY, sealed if everything is.
fn ready(cx: &mut Context<'_>) {
    let mut said = BytesMut::new();
    let counterpart = cx.socket.counterpart();
    metadata::put(&mut said, metadata::SOCKET_TYPE, counterpart.as_bytes());
    if matches!(counterpart, "DEALER" | "ROUTER") {
        metadata::put(&mut said, metadata::IDENTITY, &[]);
    }
    let mut sealed = BytesMut::new();
    let data = match &mut cx.line.traffic {
        None => &said,
        Some(traffic) => {
            traffic.ready(&said, &mut sealed);
            &sealed
        }
    };
    Command::Ready(data).put(cx.output.buffer());
}

/// What a peer says of itself, for whoever looks at connections.
fn properties(metadata: &[(String, Vec<u8>)]) -> Table {
    let property = |(name, value): &(String, Vec<u8>)| (name.clone(), Value::LongStr(value.clone().into()));
    Table(metadata.iter().map(property).collect())
}

/// What a peer that waits may send meanwhile.
const MEANWHILE_BYTES_MAX: usize = 64 * 1024;

/// Room made for a part whose length is known, so that it does not grow step by step.
const RESERVED_MIN: usize = 64 * 1024;
const RESERVED_MAX: usize = 1024 * 1024;
