//! One client's connection, sans-IO: frames and time in, frames out.
//!
//! ```text
//! Greeting ──header──► Start ──start-ok──► Tune ──tune-ok──► Opening ──open──► Open ──close──► Closed ──► Over
//!    │                   │                   │                  │               │ fault                  ▲
//!    └──────── junk, bad login, bad tune: answered and ─────────┴───────────► Closing ──────close-ok─────┘
//! ```
//!
//! Here are frames and how things end; the handshake and what the pump asks are in files of their own. Frames are taken
//! as long as there are whole ones; one read is one batch of publishes. A declaration that must reach the log first
//! stops the connection until it has (`Waiting`). (AMQP 0-9-1 §2.2.4, §4.2; rabbit_reader.)

mod handshake;
mod partial;
mod pumped;

pub use partial::Partial;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Door,
    channel::{Content, Phase as ChannelPhase, Publish},
    fault::{Fault, Level, Reply},
    handle,
    publish::{self, whole},
    session::{Alarm, Capabilities, Context, Session},
    wire::{
        Malformed, Method, MethodId, Side, basic, channel, connection,
        frame::{self, Frame, Raw},
    },
};
use crate::{
    broker::{
        auth::User,
        events,
        profile::Profile,
        publish::{Ahead, Body},
        queue::flow::PATIENCE,
    },
    data::value::Table,
    net::{listener::Ends, pump::Output},
};

/// How long a peer may take to answer our `connection.close`, or to close the socket after our `close-ok`; no longer than
/// its heartbeat (RabbitMQ's `CLOSING_TIMEOUT`).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// RabbitMQ keeps a peer that it closes without a word waiting this long, to slow down guessing.
const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);

/// A connection.
pub struct Connection {
    pub(super) door: Arc<Door>,
    pub(super) ends: Ends,
    output: Output,
    phase: Phase,
    heartbeat: Heartbeat,
}

enum Phase {
    Greeting {
        until: Instant,
    },
    Start {
        until: Instant,
    },
    Tune {
        until: Instant,
        login: Login,
    },
    Opening {
        until: Instant,
        login: Login,
        tuned: connection::TuneOk,
    },
    Open(Box<Session>),
    /// We said `close`: everything but the answer is ignored.
    Closing {
        until: Instant,
        frame_max: u32,
    },
    /// The peer said `close` and has its answer: the socket is the peer's to close.
    Closed {
        until: Instant,
        frame_max: u32,
    },
    /// Nothing is said; the socket closes after a while.
    Silent {
        until: Instant,
    },
    Over,
}

struct Login {
    user: Arc<User>,
    client_properties: Table,
    mechanism: Arc<str>,
    capabilities: Capabilities,
}

/// Any traffic counts as a sign of life, both ways.
struct Heartbeat {
    interval: Duration,
    last_received: Instant,
    last_sent: Instant,
}

impl Connection {
    /// A connection that a client has just opened.
    #[must_use]
    pub fn new(door: Arc<Door>, ends: Ends, now: Instant) -> Self {
        door.broker.core.meters.connections_opened.increment();
        let until = now + door.settings.handshake_timeout;
        Self {
            door,
            ends,
            output: Output::default(),
            phase: Phase::Greeting { until },
            heartbeat: Heartbeat { interval: Duration::ZERO, last_received: now, last_sent: now },
        }
    }

    fn profile(&self) -> &'static Profile {
        self.door.broker.core.profile
    }

    fn frame_max(&self) -> u32 {
        match &self.phase {
            Phase::Open(session) => session.frame_max,
            Phase::Closing { frame_max, .. } | Phase::Closed { frame_max, .. } => *frame_max,
            Phase::Greeting { .. }
            | Phase::Start { .. }
            | Phase::Tune { .. }
            | Phase::Opening { .. }
            | Phase::Silent { .. }
            | Phase::Over => self.profile().frame_max_min,
        }
    }

    /// Takes what can be taken from `input`; returns how many bytes that were.
    fn take(&mut self, now: Instant, input: &[u8]) -> usize {
        let mut at = 0;
        if let Phase::Greeting { until } = self.phase {
            at = self.greet(input, until);
        }
        let now_ms = self.door.broker.core.clock.now_ms();
        while self.takes_frames() {
            let rest = input.get(at..).unwrap_or_default();
            if let Some(taken) = self.take_partial(now, now_ms, rest) {
                at += taken;
                match taken {
                    0 => break,
                    _ => continue,
                }
            }
            match frame::next(rest, self.frame_max()) {
                Ok(None) => match self.begin_partial(rest) {
                    0 => break,
                    begun => at += begun,
                },
                Ok(Some((raw, len))) => {
                    at += len;
                    let behind = rest.get(len..).unwrap_or_default();
                    at += self.on_frame(now, now_ms, raw, behind);
                }
                Err(malformed) => self.lose_place(now, malformed),
            }
        }
        self.flush(now, now_ms);
        match self.phase {
            Phase::Silent { .. } | Phase::Over => input.len(),
            Phase::Greeting { .. }
            | Phase::Start { .. }
            | Phase::Tune { .. }
            | Phase::Opening { .. }
            | Phase::Open(_)
            | Phase::Closing { .. }
            | Phase::Closed { .. } => at,
        }
    }

    /// Where the next frame starts is unknown: nothing more is looked at. RabbitMQ waits a while, so that the peer can read
    /// why.
    fn lose_place(&mut self, now: Instant, malformed: Malformed) {
        self.fail(now, 0, &malformed.into(), MethodId::NONE);
        self.phase = Phase::Silent { until: now + SILENT_CLOSE_DELAY };
    }

    fn takes_frames(&self) -> bool {
        match &self.phase {
            Phase::Start { .. }
            | Phase::Tune { .. }
            | Phase::Opening { .. }
            | Phase::Closing { .. }
            | Phase::Closed { .. } => true,
            // A publisher under an alarm is not read further than its publish.
            Phase::Open(session) => session.waiting.is_none() && session.alarm != Alarm::Blocked,
            Phase::Greeting { .. } | Phase::Silent { .. } | Phase::Over => false,
        }
    }

    /// One frame; returns how many bytes behind it were taken, too.
    fn on_frame(&mut self, now: Instant, now_ms: i64, raw: Raw<'_>, behind: &[u8]) -> usize {
        if raw.channel != 0
            && let Phase::Open(session) = &mut self.phase
            && let Some(publish) = basic::Publish::decode_payload(raw.payload).filter(|_| raw.frame_type == 1)
            && let Ok(publish) = publish
            && session.channels.get(&raw.channel).is_some_and(|c| matches!(c.content, Content::None))
            && let Some((properties, body, len)) = whole(behind, raw.channel, session.frame_max)
        {
            let published = publish::publish(
                session,
                &mut self.output,
                now_ms,
                raw.channel,
                &publish,
                properties,
                &mut Body::Copied(body),
            );
            if let Err(fault) = published {
                self.fail(now, raw.channel, &fault, MethodId { class: 60, method: 40 });
            }
            return len;
        }
        if raw.channel != 0 && self.is_stranger() {
            self.fail(now, raw.channel, &raw.unexpected().into(), MethodId::NONE);
            return 0;
        }
        let frame = match raw.frame() {
            Ok(frame) => frame,
            Err(malformed) => {
                self.fail(now, 0, &malformed.into(), MethodId::NONE);
                return 0;
            }
        };
        match frame {
            Frame::Heartbeat => {}
            Frame::Method(payload) => self.on_method_frame(now, now_ms, raw.channel, payload),
            Frame::Header(header) => {
                let result = match self.open_channel_context(now_ms, raw.channel) {
                    Some(Ok(mut cx)) => publish::on_header(&mut cx, raw.channel, &header),
                    Some(Err(fault)) => Err(fault),
                    None => return 0,
                };
                self.settle(now, raw.channel, result, MethodId { class: 60, method: 40 });
            }
            Frame::Body(part) => {
                let result = match self.open_channel_context(now_ms, raw.channel) {
                    Some(Ok(mut cx)) => publish::on_body(&mut cx, raw.channel, part),
                    Some(Err(fault)) => Err(fault),
                    None => return 0,
                };
                self.settle(now, raw.channel, result, MethodId { class: 60, method: 40 });
            }
        }
        0
    }

    fn settle(&mut self, now: Instant, channel: u16, result: Result<(), Fault>, method: MethodId) {
        if let Err(fault) = result {
            let method = if matches!(fault, Fault::MethodExpected) { MethodId::NONE } else { method };
            self.fail(now, channel, &fault, method);
        }
    }

    /// Whether the handshake is not over: then there are no channels.
    fn is_stranger(&self) -> bool {
        match &self.phase {
            Phase::Greeting { .. } | Phase::Start { .. } | Phase::Tune { .. } | Phase::Opening { .. } => true,
            Phase::Open(_)
            | Phase::Closing { .. }
            | Phase::Closed { .. }
            | Phase::Silent { .. }
            | Phase::Over => false,
        }
    }

    /// The context for a frame on a channel, unless frames on it are ignored.
    fn open_channel_context(&mut self, now_ms: i64, number: u16) -> Option<Result<Context<'_>, Fault>> {
        let Phase::Open(session) = &mut self.phase else { return None };
        match session.channels.get(&number).map(|channel| channel.phase) {
            // Only methods tell RabbitMQ that a channel is not open.
            None => Some(Err(handle::channel::room(session).err().unwrap_or(Fault::MethodExpected))),
            Some(ChannelPhase::Closing) => None,
            Some(ChannelPhase::Open) => Some(Ok(Context { session, output: &mut self.output, now_ms })),
        }
    }

    fn on_method_frame(&mut self, now: Instant, now_ms: i64, number: u16, payload: &[u8]) {
        let method = match Method::decode(payload) {
            Ok(method) => method,
            Err(Malformed::UnknownMethod(id)) => {
                // RabbitMQ's reader crashes on these: the socket closes without a word.
                tracing::warn!(peer = %self.ends.peer, method = %id, "unknown method");
                self.abandon();
                return;
            }
            Err(malformed) => {
                // What cannot be decoded is some method's, but a text that is no UTF-8 nobody's.
                let blamed = match &malformed {
                    Malformed::Arguments { method, .. } => *method,
                    Malformed::FrameTooLarge { .. }
                    | Malformed::FrameEnd { .. }
                    | Malformed::UnknownFrame { .. }
                    | Malformed::UnexpectedFrame { .. }
                    | Malformed::UnknownMethod(_)
                    | Malformed::ShortStrUtf8 { .. }
                    | Malformed::Field(_) => MethodId::NONE,
                };
                self.fail(now, number, &malformed.into(), blamed);
                return;
            }
        };
        let id = method.id();
        if matches!(self.phase, Phase::Closing { .. } | Phase::Closed { .. }) {
            self.while_closing(&method);
        } else if number == 0 {
            self.on_connection_method(now, method, id);
        } else if method.sent_by() == Side::Server {
            self.fail(now, number, &Fault::UnimplementedMethod, id);
        } else {
            self.on_channel_method(now, now_ms, number, method, id);
        }
    }

    fn while_closing(&mut self, method: &Method<'_>) {
        if matches!(method, Method::Connection(connection::Method::CloseOk(_))) {
            self.phase = Phase::Over;
        } else if matches!(method, Method::Connection(connection::Method::Close(_))) {
            // Both sides closed at once, and its answer to ours is still to come; or several of its threads did.
            frame::put_method(self.output.buffer(), 0, &connection::CloseOk {});
        }
    }

    fn on_channel_method(
        &mut self,
        now: Instant,
        now_ms: i64,
        number: u16,
        method: Method<'_>,
        id: MethodId,
    ) {
        let Phase::Open(session) = &mut self.phase else {
            self.fail(now, 0, &Fault::ConnectionState("starting"), id);
            return;
        };
        let mut cx = Context { session, output: &mut self.output, now_ms };
        let Some(mut taken) = cx.session.channels.remove(&number) else {
            if let Err(full) = handle::channel::room(cx.session) {
                self.fail(now, number, &full, MethodId::NONE);
            } else if matches!(method, Method::Channel(channel::Method::Open(_))) {
                handle::channel::open(&mut cx, number);
            } else {
                self.fail(now, number, &Fault::ChannelNotOpen, id);
            }
            return;
        };
        if taken.phase == ChannelPhase::Closing {
            if matches!(method, Method::Channel(channel::Method::Open(_))) {
                cx.session.channels.insert(number, taken);
                self.fail(now, number, &Fault::SecondChannelOpen, id);
                return;
            }
            if matches!(method, Method::Channel(channel::Method::Close(_))) {
                // Both sides closed at once, and its answer to ours is still to come; or several of its threads did.
                handle::channel::close(&mut cx, &mut taken);
            }
            if !matches!(method, Method::Channel(channel::Method::CloseOk(_))) {
                cx.session.channels.insert(number, taken);
            }
            return;
        }
        if let Method::Channel(channel::Method::Close(_)) = method {
            handle::channel::close(&mut cx, &mut taken);
            return;
        }
        let result = match &taken.content {
            Content::None => dispatch(&mut cx, &mut taken, method),
            Content::Header(_) => Err(Fault::HeaderExpected { class: CLASS_BASIC }),
            Content::Body { .. } => Err(Fault::BodyExpected),
        };
        let id = if matches!(taken.content, Content::None) { id } else { MethodId { class: 60, method: 40 } };
        cx.session.channels.insert(number, taken);
        self.settle(now, number, result, id);
    }

    /// Says what was wrong, and closes the channel or the connection.
    fn fail(&mut self, now: Instant, number: u16, fault: &Fault, method: MethodId) {
        let reply = fault.reply(self.profile());
        tracing::warn!(peer = %self.ends.peer, channel = number, code = reply.code, text = reply.text, "closing for an error");
        let now_ms = self.door.broker.core.clock.now_ms();
        if let (Level::Channel, 1.., Phase::Open(session)) = (reply.level, number, &mut self.phase)
            && let Some(mut taken) = session.channels.remove(&number)
        {
            let mut cx = Context { session, output: &mut self.output, now_ms };
            publish::flush_channel(&mut taken, &cx.session.outlet, now_ms);
            cx.wind_up(&mut taken);
            taken.phase = ChannelPhase::Closing;
            taken.content = Content::None;
            let (reply_text, class_id, method_id) = (&*reply.text, method.class, method.method);
            cx.send(number, &channel::Close { reply_code: reply.code, reply_text, class_id, method_id });
            cx.session.channels.insert(number, taken);
            return;
        }
        self.close(now, &reply, method);
    }

    fn close(&mut self, now: Instant, reply: &Reply, method: MethodId) {
        match &self.phase {
            Phase::Closing { .. } | Phase::Closed { .. } | Phase::Silent { .. } | Phase::Over => return,
            Phase::Greeting { .. } => {
                self.phase = Phase::Over;
                return;
            }
            Phase::Start { .. } | Phase::Tune { .. } if !handshake::is_told_to_strangers(reply) => {
                self.phase = Phase::Silent { until: now + SILENT_CLOSE_DELAY };
                return;
            }
            Phase::Start { .. } | Phase::Tune { .. } | Phase::Opening { .. } | Phase::Open(_) => {}
        }
        let frame_max = self.frame_max();
        self.abandon();
        self.phase = Phase::Closing { until: now + self.patience(), frame_max };
        let close = connection::Close {
            reply_code: reply.code,
            reply_text: &reply.text,
            class_id: method.class,
            method_id: method.method,
        };
        frame::put_method(self.output.buffer(), 0, &close);
    }

    /// How long a peer may take over its part of the goodbye.
    fn patience(&self) -> Duration {
        let heartbeat = self.heartbeat.interval;
        if heartbeat.is_zero() { CLOSE_TIMEOUT } else { heartbeat.min(CLOSE_TIMEOUT) }
    }

    /// The connection is over, whatever it was; the socket closes once the output is written.
    fn abandon(&mut self) {
        if let Phase::Open(session) = std::mem::replace(&mut self.phase, Phase::Over) {
            self.tear_down(session);
        }
    }

    /// Gives everything back: channels, exclusive queues, the place in the registry.
    fn tear_down(&mut self, mut session: Box<Session>) {
        let now_ms = self.door.broker.core.clock.now_ms();
        // Nobody waits any more: a message that comes for a `basic.get` stays in its queue.
        session.waiting = None;
        session.tally.tell(&session.door.broker.core.meters);
        // What is still said to the client while this happens is for nobody.
        let mut nowhere = Output::default();
        let mut cx = Context { session: &mut session, output: &mut nowhere, now_ms };
        let mut numbers: Vec<u16> = cx.session.channels.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(mut taken) = cx.session.channels.remove(&number) {
                publish::flush_channel(&mut taken, &cx.session.outlet, now_ms);
                cx.wind_up(&mut taken);
            }
        }
        for queue in std::mem::take(&mut cx.session.exclusive) {
            let _ = cx.session.vhost.delete_queue(&queue, false, false);
        }
        session.outlet.close();
        self.door.broker.connections.remove(session.id);
        session.tell_closed();
    }

    /// Publishes gathered from this read leave.
    fn flush(&mut self, now: Instant, now_ms: i64) {
        let Phase::Open(session) = &mut self.phase else { return };
        if session.tally.is_empty() {
            return;
        }
        session.tally.tell(&session.door.broker.core.meters);
        let mut waiting: smallvec::SmallVec<[u16; 4]> = smallvec::SmallVec::new();
        waiting.extend(session.channels.values().filter(|c| c.has_batch()).map(|c| c.number));
        for number in waiting {
            publish::flush(session, number, now_ms);
        }
        let store = &session.door.broker.core.store;
        if session.relief.is_none() && store.congested() {
            let store = store.clone();
            session.relief = Some(Box::pin(async move { store.relieved().await }));
        }
        for Ahead { queue, messages } in
            session.channels.values_mut().filter_map(|c| c.publisher.take_ahead())
        {
            if session.hold.is_none() {
                session.hold = queue.hold_up(&session.outlet, messages).map(|hold| (hold, now + PATIENCE));
            }
        }
        if session.relief.is_some() || session.hold.is_some() {
            session.info.held_up_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

const CLASS_BASIC: u16 = 60;

fn dispatch(
    cx: &mut Context<'_>,
    channel: &mut super::channel::Channel,
    method: Method<'_>,
) -> Result<(), Fault> {
    if let Method::Basic(basic::Method::Publish(m)) = method {
        channel.content = Content::Header(Publish {
            exchange: m.exchange.to_owned(),
            routing_key: m.routing_key.to_owned(),
            mandatory: m.mandatory,
            immediate: m.immediate,
        });
        return Ok(());
    }
    if channel.committing() {
        return Err(Fault::DuringCommit);
    }
    // What was published before is where it belongs before anything else of this channel is looked at.
    publish::flush_channel(channel, &cx.session.outlet, cx.now_ms);
    match method {
        Method::Access(_) => handle::channel::access(cx, channel),
        Method::Basic(m) => handle::basic::handle(cx, channel, &m)?,
        Method::Channel(channel::Method::Flow(m)) => handle::channel::flow(cx, channel, &m)?,
        Method::Channel(channel::Method::Open(_)) => return Err(Fault::SecondChannelOpen),
        Method::Channel(_) => return Err(Fault::UnimplementedMethod),
        Method::Confirm(super::wire::confirm::Method::Select(m)) => handle::confirm::select(cx, channel, &m)?,
        Method::Confirm(_) => return Err(Fault::UnimplementedMethod),
        Method::Connection(_) => return Err(Fault::UnimplementedMethod),
        Method::Exchange(m) => {
            let user = cx.session.user.name.clone();
            events::acting(&user, || handle::exchange::handle(cx, channel, &m))?;
        }
        Method::Queue(m) => {
            let user = cx.session.user.name.clone();
            events::acting(&user, || handle::queue::handle(cx, channel, &m))?;
        }
        Method::Tx(m) => handle::tx::handle(cx, channel, &m)?,
    }
    Ok(())
}
