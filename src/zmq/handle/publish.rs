//! PUB and XPUB: every message goes to the exchange, whose subscribers hear it, and whose queues get it. (29/PUBSUB.)
//!
//! The routing key is the first part as text, or as much of it as a routing key can hold: 255 bytes, and what is no UTF-8
//! replaced. Subscribers compare the part itself. A message of one part says so (an empty `zmq-parts`), because one that
//! says nothing is heard as its routing key and its body. Messages are transient, as ZeroMQ keeps none for whoever comes
//! later.

use std::borrow::Cow;

use bytes::BytesMut;

use super::{Context, Ended, Handle, push::headers};
use crate::{
    broker::{
        events,
        exchange::ExchangeOptions,
        message::{Publish as Message, Traits},
        outlet::Event,
        publish::Routed,
        refusal::{Access, Subject},
    },
    data::{field::Properties, multipart},
    zmq::{fault::Fault, publishing::Publishing, wire::command::Command},
};

struct Publish {
    publishing: Publishing,
}

/// A PUB has come.
///
/// # Errors
/// What it may not.
pub fn open(cx: &mut Context<'_>) -> Result<Box<dyn Handle>, Fault> {
    exchange(cx, Access::Write)?;
    Ok(Box::new(Publish { publishing: Publishing::new(cx.login.vhost.clone()) }))
}

/// Makes sure that there is an exchange, and that the peer may.
pub(super) fn exchange(cx: &Context<'_>, access: Access) -> Result<(), Fault> {
    let (vhost, name) = (&cx.login.vhost, &cx.mapping.exchange);
    let subject = Subject::exchange(name);
    cx.login.allow(access, &subject)?;
    if vhost.find_exchange(name).is_none() {
        cx.login.allow(Access::Configure, &subject)?;
        let user = cx.login.user.name.clone();
        events::acting(&user, || vhost.declare_exchange(name, ExchangeOptions::durable("topic")))?;
    }
    Ok(())
}

/// The longest routing key.
const ROUTING_KEY_BYTES_MAX: usize = 255;

/// What a first part is as a routing key.
fn routing_key(first: &[u8]) -> Cow<'_, str> {
    // No more than four times as much can come of replacing.
    let text = String::from_utf8_lossy(first.get(..ROUTING_KEY_BYTES_MAX + 1).unwrap_or(first));
    if text.len() <= ROUTING_KEY_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(ROUTING_KEY_BYTES_MAX);
    Cow::Owned(text.get(..end).unwrap_or_default().to_owned())
}

impl Publish {
    fn put(&mut self, cx: &Context<'_>, parts: &[&[u8]]) -> Result<Routed, Fault> {
        let key = routing_key(parts.first().copied().unwrap_or_default());
        let mut properties = BytesMut::new();
        let said = multipart::headers(parts);
        Properties { headers: Some(&said), ..Properties::default() }.encode(&mut properties);
        let message = Message {
            exchange: &cx.mapping.exchange,
            routing_key: &key,
            properties: &properties,
            traits: Traits::default(),
        };
        self.publishing.put(cx.now_ms, &message, || headers(&properties), &multipart::body(parts))
    }
}

impl Handle for Publish {
    /// A PUB sends only what somebody subscribes to; here that is for the exchange to know.
    fn begin(&mut self, cx: &mut Context<'_>) {
        if cx.line.minor >= 1 {
            cx.line.command(cx.output, &Command::Subscribe(&[]));
        } else {
            cx.line.part(cx.output, &[1], false);
        }
    }

    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault> {
        exchange(cx, Access::Write)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Fault> {
        let topic = parts.first().copied().unwrap_or_default();
        cx.login.allow_topic(Access::Write, &cx.mapping.exchange, topic)?;
        // Nobody need be there to hear it.
        self.put(cx, parts)?;
        if self.publishing.is_large() {
            self.flush(cx);
        }
        Ok(())
    }

    /// What a full queue refuses is lost to it: a PUB waits for nobody.
    fn flush(&mut self, cx: &mut Context<'_>) {
        self.publishing.hand_over(cx, None);
    }

    fn publishing(&self) -> Option<&Publishing> {
        Some(&self.publishing)
    }

    fn publishing_mut(&mut self) -> Option<&mut Publishing> {
        Some(&mut self.publishing)
    }

    fn end(&mut self, _: &Ended<'_>, _: Vec<Event>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_first_part_is_a_routing_key() {
        assert_eq!(routing_key(b"weather.rain"), "weather.rain");
        assert_eq!(routing_key(b"\xff"), "\u{fffd}");
        assert_eq!(routing_key(&[b'a'; 300]), "a".repeat(255));
        let long = "ä".repeat(200);
        assert_eq!(routing_key(long.as_bytes()), "ä".repeat(127));
    }
}
