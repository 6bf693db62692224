//! `basic.publish` with its content: the checks in RabbitMQ's order, then into the channel's batch.
//!
//! Order (rabbit_channel, 4.2): immediate, size, permission, exchange, internal, properties, reply-to, expiration, CC
//! and BCC, user-id, route.
//! `basic.return` comes before the confirm of the same publish. Batches leave in [`flush`], at the latest when the
//! bytes of one read are handled.

use std::sync::Arc;

use super::{
    Settings,
    channel::{Batch, Channel, Content, Mode, Phase, Publish},
    copies::{self, Copies},
    fault::{Fault, NO_ROUTE, Resource},
    handle::tx::TX_BYTES_MAX,
    session::{Alarm, Context, Session, fault_of},
    wire::{Properties, basic, connection, content, frame, header::Header},
};
use crate::{
    broker::{
        auth::User,
        message::{self, Draft, Traits},
        publish::{Body, Headers, Routed},
        receipt::Receipt,
        refusal::{Access, Refusal, Subject},
        reply::{self, ReplyTo},
        vhost::Vhost,
    },
    data::{expiration, term},
    net::pump::Output,
};

/// Messages that a batch may gather before it leaves, in bytes; reads are smaller, large bodies leave by themselves.
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Takes one whole publish.
///
/// # Errors
/// The fault that closes the channel or the connection.
pub fn publish(
    session: &mut Session,
    output: &mut Output,
    now_ms: i64,
    number: u16,
    method: &basic::Publish<'_>,
    raw_properties: &[u8],
    body: &mut Body<'_>,
) -> Result<(), Fault> {
    session.refresh_user();
    let Some(channel) = session.channels.get_mut(&number) else { return Err(Fault::ChannelNotOpen) };
    if channel.phase == Phase::Closing {
        return Ok(());
    }
    if channel.committing() {
        return Err(Fault::DuringCommit);
    }
    let desk = Desk { vhost: &session.vhost, user: &session.user, settings: &session.door.settings };
    let body_bytes = body.bytes().len() as u64;
    desk.admit(channel, method, body_bytes)?;
    let placed = channel.publisher.len();
    let (routed, rewritten) = desk.route(channel, now_ms, method, raw_properties, body)?;
    let raw_properties = rewritten.as_deref().unwrap_or(raw_properties);
    let meters = &session.door.broker.core.meters;
    session.tally.count(meters, body_bytes, matches!(channel.mode, Mode::Confirm(_)));
    match routed {
        Routed::Taken => {}
        // RabbitMQ's plugin routes a delayed message to nothing, and so it is returned.
        Routed::Delayed | Routed::Unroutable if method.mandatory => {
            meters.unroutable_returned.increment();
            give_back(channel, output, session.frame_max, method, raw_properties, body.bytes());
        }
        Routed::Delayed => {}
        Routed::Unroutable => meters.unroutable_dropped.increment(),
    }
    channel.info.count_publish();
    note(channel, placed)?;
    if channel.publisher.bytes_len() >= BATCH_BYTES_MAX {
        flush(session, number, now_ms);
    }
    if session.alarm != Alarm::Clear {
        concern(session, output);
    }
    Ok(())
}

/// What a publish is judged by.
struct Desk<'a> {
    vhost: &'a Vhost,
    user: &'a User,
    settings: &'a Settings,
}

impl Desk<'_> {
    /// What is asked before the exchange is looked for.
    #[inline]
    fn admit(&self, channel: &Channel, method: &basic::Publish<'_>, bytes: u64) -> Result<(), Fault> {
        if method.immediate {
            return Err(Fault::Immediate);
        }
        let bytes_max = self.settings.message_bytes_max;
        if bytes > bytes_max {
            return Err(Fault::MessageSize { bytes, bytes_max });
        }
        if channel.publisher.remembers(method.exchange, method.routing_key)
            || self.user.may(Access::Write, &self.vhost.name, method.exchange)
        {
            return Ok(());
        }
        let (on, user) = (Subject::exchange(method.exchange), self.user.name.to_string());
        Err(self.fault(Refusal::Permission { access: Access::Write, on, user }))
    }

    /// From the properties on: into the channel's batch, if anything takes it. The properties, too, where they are not as
    /// they came.
    #[inline]
    fn route(
        &self,
        channel: &mut Channel,
        now_ms: i64,
        method: &basic::Publish<'_>,
        raw_properties: &[u8],
        body: &mut Body<'_>,
    ) -> Result<(Routed, Option<bytes::BytesMut>), Fault> {
        let decoded = Properties::decode(raw_properties).map_err(|e| Fault::Malformed(e.into()));
        let user_id_first = self.vhost.core.profile.user_id_checked_first;
        let asks_for_reply = decoded.as_ref().is_ok_and(|p| p.reply_to == Some(reply::QUEUE.as_bytes()));
        let looked = decoded.and_then(|p| look(p, self.user, user_id_first, channel.reply_to.as_deref()));
        let (properties, traits, copies) = looked.map_err(|wrong| self.exchange_first(method, wrong))?;
        if self.user.topic_permissions.contains_key(&self.vhost.name)
            && (copies.is_some() || !channel.publisher.remembers(method.exchange, method.routing_key))
        {
            self.may_write_topics(method, copies.as_ref())?;
        }
        if !user_id_first {
            check_user_id(&properties, self.user).map_err(|wrong| self.exchange_first(method, wrong))?;
        }
        let rewritten = asks_for_reply.then(|| encoded(&properties));
        let raw_properties = rewritten.as_deref().unwrap_or(raw_properties);
        let mut publish = message::Publish {
            exchange: method.exchange,
            routing_key: method.routing_key,
            properties: raw_properties,
            traits,
        };
        let routed = match &copies {
            None => {
                channel.publisher.publish(now_ms, &publish, || headers(&properties, raw_properties), body)
            }
            Some(Copies { keys, hidden, properties: shown }) => {
                publish.properties = shown;
                let shown = || headers(&Properties::decode(shown).ok()?, shown);
                channel.publisher.publish_copies(now_ms, &publish, (keys, hidden), shown, body)
            }
        }
        .map_err(|refusal| self.fault(refusal))?;
        Ok((routed, rewritten))
    }

    /// Whether the user may use all of a publish's routing keys with its exchange, where that is a topic exchange.
    fn may_write_topics(&self, method: &basic::Publish<'_>, copies: Option<&Copies>) -> Result<(), Fault> {
        let vhost = self.vhost;
        if vhost.find_exchange(method.exchange).is_none_or(|exchange| exchange.options.kind != "topic") {
            return Ok(());
        }
        let more = copies
            .into_iter()
            .flat_map(|copies| copies.keys.iter().chain(&copies.hidden).map(String::as_str));
        for key in std::iter::once(method.routing_key).chain(more) {
            if !self.user.may_topic(Access::Write, &vhost.name, method.exchange, key) {
                let (routing_key, exchange) = (key.to_owned(), method.exchange.to_owned());
                let user = self.user.name.to_string();
                return Err(self.fault(Refusal::TopicPermission {
                    access: Access::Write,
                    routing_key,
                    exchange,
                    user,
                }));
            }
        }
        Ok(())
    }

    /// A missing or internal exchange is reported before anything that is wrong with the properties.
    fn exchange_first(&self, method: &basic::Publish<'_>, wrong: Fault) -> Fault {
        match self.vhost.exchange(method.exchange) {
            Err(refusal) => self.fault(refusal),
            Ok(exchange) if exchange.options.internal => {
                Fault::InternalExchange(Resource::exchange(&exchange.name, &self.vhost.name))
            }
            Ok(_) => wrong,
        }
    }

    fn fault(&self, refusal: Refusal) -> Fault {
        fault_of(refusal, &self.vhost.name)
    }
}

/// `basic.return` of what nothing takes: at once, and with the commit in a transaction.
fn give_back(
    channel: &mut Channel,
    output: &mut Output,
    frame_max: u32,
    method: &basic::Publish<'_>,
    raw_properties: &[u8],
    body: &[u8],
) {
    let (reply_code, reply_text) = NO_ROUTE;
    let (exchange, routing_key) = (method.exchange, method.routing_key);
    let basic_return = basic::Return { reply_code, reply_text, exchange, routing_key };
    let out = match &mut channel.mode {
        Mode::Tx(tx) => &mut tx.returns,
        Mode::Plain | Mode::Confirm(_) => output.buffer(),
    };
    content::encode(out, channel.number, &basic_return, raw_properties, body, frame_max);
}

/// What the channel owes the client for a publish: a confirm, or its place in the transaction.
#[inline]
fn note(channel: &mut Channel, placed: usize) -> Result<(), Fault> {
    match &mut channel.mode {
        Mode::Plain => {}
        Mode::Confirm(batch) => {
            let n = batch.confirms.publish();
            batch.first.get_or_insert(n);
            // What went to topics alone has no ordinal.
            if channel.publisher.len() > placed {
                batch.taken.push(n);
            }
        }
        Mode::Tx(tx) => {
            let bytes = tx.returns.len() + channel.publisher.bytes_len() + channel.publisher.records_bytes();
            if bytes > TX_BYTES_MAX {
                return Err(Fault::TxSize { bytes, bytes_max: TX_BYTES_MAX });
            }
        }
    }
    Ok(())
}

/// A connection that publishes minds the resource alarms, and is not read while one is on.
fn concern(session: &mut Session, output: &mut Output) {
    let reason = match session.alarm {
        Alarm::Clear | Alarm::Blocked => return,
        Alarm::Raised(reason) => reason,
        Alarm::Unconcerned => {
            session.alarm = Alarm::Clear;
            match session.door.broker.core.memory.subscribe(Arc::downgrade(&session.outlet)) {
                Some(reason) => reason,
                None => return,
            }
        }
    };
    session.alarm = Alarm::Blocked;
    session.info.blocked.store(true, std::sync::atomic::Ordering::Relaxed);
    if session.capabilities.connection_blocked {
        frame::put_method(output.buffer(), 0, &connection::Blocked { reason });
    }
}

/// What the properties ask of us, in the order in which RabbitMQ checks them.
fn look<'a>(
    mut properties: Properties<'a>,
    user: &User,
    user_id_first: bool,
    reply_to: Option<&'a ReplyTo>,
) -> Result<(Properties<'a>, Traits, Option<Copies>), Fault> {
    if user_id_first {
        check_user_id(&properties, user)?;
    }
    if properties.reply_to == Some(reply::QUEUE.as_bytes()) {
        properties.reply_to = Some(reply_to.ok_or(Fault::NoFastReplyConsumer)?.name.as_bytes());
    }
    let expiration_ms = properties.expiration.map(to_live_ms).transpose()?;
    let copies = copies::of(&properties)?;
    let traits = Traits { persistent: properties.persistent(), priority: properties.priority, expiration_ms };
    Ok((properties, traits, copies))
}

pub(super) fn to_live_ms(given: &[u8]) -> Result<u64, Fault> {
    expiration::parse(given).map_err(|reason| Fault::Expiration { value: term::text(given), reason })
}

/// Properties as they are on the wire.
fn encoded(properties: &Properties<'_>) -> bytes::BytesMut {
    let mut out = bytes::BytesMut::new();
    properties.encode(&mut out);
    out
}

fn check_user_id(properties: &Properties<'_>, user: &User) -> Result<(), Fault> {
    match properties.user_id {
        Some(claimed) if claimed != user.name.as_bytes() && !user.impersonates() => {
            let claimed = String::from_utf8_lossy(claimed).into_owned();
            Err(Fault::UserId { claimed, user: user.name.to_string() })
        }
        Some(_) | None => Ok(()),
    }
}

/// The headers, where somebody asks for them. Flags with nothing but the headers' bit say that they are alone.
fn headers(properties: &Properties<'_>, raw: &[u8]) -> Option<Headers> {
    let alone = matches!(raw, [0x20 | 0, 0, ..]);
    Some(Headers { table: properties.header_table().ok()?, alone })
}

/// Hands a channel's batch to its queues; its confirms follow once everything is where it must be.
pub fn flush(session: &mut Session, number: u16, now_ms: i64) {
    let Some(channel) = session.channels.get_mut(&number) else { return };
    flush_channel(channel, &session.outlet, now_ms);
}

/// As [`flush`], for a channel in hand.
pub fn flush_channel(channel: &mut Channel, outlet: &Arc<crate::broker::outlet::Outlet>, now_ms: i64) {
    match &mut channel.mode {
        Mode::Plain => {
            if !channel.publisher.is_empty() {
                channel.publisher.flush(now_ms, None);
            }
        }
        Mode::Confirm(Batch { confirms, first, taken }) => {
            let Some(first) = first.take() else { return };
            let last = confirms.published();
            if channel.publisher.is_empty() {
                confirms.confirm(first, last);
                return;
            }
            let receipt = Receipt::new(outlet.clone(), channel.number, channel.generation, (first, last));
            let refused = channel.publisher.flush(now_ms, Some(&receipt));
            for ordinal in refused.rejected {
                if let Some(&n) = taken.get(ordinal as usize) {
                    confirms.nack(n, n);
                }
            }
            taken.clear();
            receipt.done();
        }
        // Waits for its commit.
        Mode::Tx(_) => {}
    }
}

/// The next frame of a content that does not come in one piece.
///
/// # Errors
/// The fault that closes the connection, or what [`publish`] says.
pub fn on_header(cx: &mut Context<'_>, number: u16, header: &Header<'_>) -> Result<(), Fault> {
    let bytes_max = cx.session.door.settings.message_bytes_max;
    let checked = cx.profile().content_size_checked;
    let Some(channel) = cx.session.channels.get_mut(&number) else { return Err(Fault::ChannelNotOpen) };
    let publish = match std::mem::replace(&mut channel.content, Content::None) {
        Content::Header(publish) => publish,
        Content::None => return Err(Fault::MethodExpected),
        Content::Body { .. } => return Err(Fault::BodyExpected),
    };
    let class = 60;
    if header.class_id != class {
        return Err(Fault::HeaderOfOtherClass { expected: class, got: header.class_id });
    }
    if header.weight != 0 {
        return Err(Fault::HeaderExpected { class });
    }
    if checked && header.body_bytes > CONTENT_BYTES_MAX {
        return Err(Fault::ContentSize { bytes: header.body_bytes, bytes_max: CONTENT_BYTES_MAX });
    }
    if header.body_bytes == 0 {
        return finish(cx, number, &publish, header.properties, &mut Body::Copied(&[]));
    }
    // What will be refused for its size is counted, not kept.
    let kept =
        if header.body_bytes > bytes_max { 0 } else { usize::try_from(header.body_bytes).unwrap_or(0) };
    // A header may promise much, on each of many channels: room for the rest is made once the body comes.
    let mut body = Draft::gather(&publish.exchange, &publish.routing_key, header.properties);
    body.reserve_body(kept.min(BODY_BYTES_FIRST));
    channel.content = Content::Body {
        publish,
        properties: header.properties.to_vec(),
        body,
        size: header.body_bytes,
        left: header.body_bytes,
        overrun: false,
    };
    Ok(())
}

/// The room that a body gets for its next part: for all of the rest, too, if that stands in some proportion to what has
/// come. Growing by and by would copy it again and again, and hold it twice meanwhile.
fn room(there: usize, part: usize, left: usize) -> usize {
    part + left.min(BODY_GROWTH * (there + part))
}

/// The room that a body has before anything of it is there, and by how much of what is there it grows.
const BODY_BYTES_FIRST: usize = 256 * 1024;
const BODY_GROWTH: usize = 16;

/// A body of this size is a batch by itself, in the memory in which it was gathered; smaller ones are copied into the batch.
const ADOPTED_BYTES_MIN: usize = if cfg!(test) { 256 } else { 64 * 1024 };

/// RabbitMQ's limit of a content whatever is configured (4.2).
const CONTENT_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A body frame.
///
/// # Errors
/// As [`on_header`].
pub fn on_body(cx: &mut Context<'_>, number: u16, part: &[u8]) -> Result<(), Fault> {
    on_part(cx, number, part)?;
    on_body_end(cx, number)
}

/// Whether a body frame of that size may be taken as it comes: nothing is wrong with it, if only it ends where it should.
#[must_use]
pub fn takes_parts(channel: &Channel, payload_bytes: usize) -> bool {
    match &channel.content {
        Content::Body { left, overrun, .. } => !overrun && payload_bytes as u64 <= *left,
        Content::None | Content::Header(_) => false,
    }
}

/// The next part of a body.
///
/// # Errors
/// The fault that closes the connection.
pub fn on_part(cx: &mut Context<'_>, number: u16, part: &[u8]) -> Result<(), Fault> {
    let bytes_max = cx.session.door.settings.message_bytes_max;
    let checked = cx.profile().content_size_checked;
    let Some(channel) = cx.session.channels.get_mut(&number) else { return Err(Fault::ChannelNotOpen) };
    let (size, left, body) = match &mut channel.content {
        Content::Body { overrun: true, .. } => return Ok(()),
        Content::Body { left, body, overrun, .. } if !checked && part.len() as u64 > *left => {
            *overrun = true;
            *body = Draft::default();
            return Ok(());
        }
        Content::Body { size, left, body, .. } => (*size, left, body),
        Content::None => return Err(Fault::MethodExpected),
        Content::Header(_) => return Err(Fault::HeaderExpected { class: 60 }),
    };
    *left = left.checked_sub(part.len() as u64).ok_or(Fault::BodyBeyondContentSize)?;
    if size <= bytes_max {
        if body.room() < part.len() {
            body.reserve_body(room(body.gathered().len(), part.len(), usize::try_from(*left).unwrap_or(0)));
        }
        body.body(part);
    }
    Ok(())
}

/// A body frame has ended, and with the last of them the publish.
///
/// # Errors
/// As [`publish`].
pub fn on_body_end(cx: &mut Context<'_>, number: u16) -> Result<(), Fault> {
    let bytes_max = cx.session.door.settings.message_bytes_max;
    let Some(channel) = cx.session.channels.get_mut(&number) else { return Ok(()) };
    let whole = matches!(channel.content, Content::Body { left: 0, overrun: false, .. });
    let content = if whole { std::mem::replace(&mut channel.content, Content::None) } else { Content::None };
    let Content::Body { publish, properties, body, size, .. } = content else { return Ok(()) };
    if size > bytes_max {
        return Err(Fault::MessageSize { bytes: size, bytes_max });
    }
    if body.gathered().len() < ADOPTED_BYTES_MIN {
        return finish(cx, number, &publish, &properties, &mut Body::Copied(body.gathered()));
    }
    // Before it what waits already: it is a batch by itself.
    flush(cx.session, number, cx.now_ms);
    finish(cx, number, &publish, &properties, &mut Body::Gathered(body))
}

fn finish(
    cx: &mut Context<'_>,
    number: u16,
    kept: &Publish,
    properties: &[u8],
    body: &mut Body<'_>,
) -> Result<(), Fault> {
    let method = basic::Publish {
        reserved_1: 0,
        exchange: &kept.exchange,
        routing_key: &kept.routing_key,
        mandatory: kept.mandatory,
        immediate: kept.immediate,
    };
    publish(cx.session, cx.output, cx.now_ms, number, &method, properties, body)
}

/// A publish whose frames all lie in `rest` already (which starts behind its method frame): the usual case, without
/// a copy. Returns properties, body and how many bytes they took.
#[must_use]
pub fn whole(rest: &[u8], channel: u16, frame_max: u32) -> Option<(&[u8], &[u8], usize)> {
    let (raw, header_len) = frame::next(rest, frame_max).ok()??;
    let frame::Frame::Header(header) = raw.frame().ok()? else { return None };
    if raw.channel != channel || header.class_id != 60 {
        return None;
    }
    if header.body_bytes == 0 {
        return Some((header.properties, &[], header_len));
    }
    let (raw, body_len) = frame::next(rest.get(header_len..)?, frame_max).ok()??;
    let frame::Frame::Body(body) = raw.frame().ok()? else { return None };
    (raw.channel == channel && body.len() as u64 == header.body_bytes).then_some((
        header.properties,
        body,
        header_len + body_len,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_body_stands_in_proportion_to_what_has_come() {
        const BODY: usize = 128 << 20;
        let (mut capacity, mut grown) = (BODY_BYTES_FIRST, 0);
        for there in (0..BODY).step_by(8_192) {
            if capacity - there < 8_192 {
                capacity = there + room(there, 8_192, BODY - there - 8_192);
                grown += 1;
            }
            assert!(capacity <= BODY_BYTES_FIRST.max((BODY_GROWTH + 1) * (there + 8_192)));
        }
        assert_eq!((capacity, grown), (BODY, 3));
    }
}
