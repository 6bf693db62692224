//! PUSH: every message goes into the queue, to wait for a PULL, or a consumer over AMQP. (30/PIPELINE.)
//!
//! Messages are persistent; PUSH is told nothing of them, so that it never waits for a disk.

use std::borrow::Cow;

use bytes::BytesMut;

use super::{Context, Ended, Handle};
use crate::{
    broker::{
        message::{Publish, Traits},
        outlet::Event,
        publish::{Headers, Routed},
        refusal::{Access, Refusal, Subject},
    },
    data::{field::Properties, multipart},
    zmq::{fault::Fault, publishing::Publishing},
};

struct Push {
    publishing: Publishing,
}

/// A PUSH has come.
///
/// # Errors
/// What it may not.
pub fn open(cx: &mut Context<'_>) -> Result<Box<dyn Handle>, Fault> {
    let push = Push { publishing: Publishing::new(cx.login.vhost.clone()) };
    target(cx)?;
    Ok(Box::new(push))
}

/// Makes sure that there is somewhere to publish to, and that the peer may.
fn target(cx: &Context<'_>) -> Result<(), Fault> {
    let mapping = cx.mapping;
    if mapping.push_exchange.is_empty() {
        return cx.queue(&mapping.queue, Access::Write, mapping.queue_messages_max).map(drop);
    }
    cx.login.allow(Access::Write, &Subject::exchange(&mapping.push_exchange))?;
    cx.login.vhost.exchange(&mapping.push_exchange)?;
    Ok(())
}

/// `delivery_mode` 2 and nothing else.
const PERSISTENT: [u8; 3] = [0x10, 0, 2];

/// A message as AMQP's properties and its body.
pub(super) fn mapped<'p>(parts: &[&'p [u8]], properties: &Properties<'_>) -> (BytesMut, Cow<'p, [u8]>) {
    let mut out = BytesMut::new();
    let headers = multipart::headers(parts);
    Properties { headers: (parts.len() > 1).then_some(&headers[..]), ..*properties }.encode(&mut out);
    (out, multipart::body(parts))
}

/// The headers, for exchanges that route by them, and for topics.
pub(super) fn headers(properties: &[u8]) -> Option<Headers> {
    let table = Properties::decode(properties).ok()?.header_table().ok()?;
    Some(Headers { table, alone: false })
}

impl Push {
    fn put(&mut self, cx: &Context<'_>, parts: &[&[u8]]) -> Result<Routed, Fault> {
        let traits = Traits { persistent: true, ..Traits::default() };
        let (exchange, routing_key) = (&*cx.mapping.push_exchange, &*cx.mapping.queue);
        match parts {
            [body] => {
                let publish = Publish { exchange, routing_key, properties: &PERSISTENT, traits };
                self.publishing.put(cx.now_ms, &publish, || None, body)
            }
            parts => {
                let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
                let (properties, body) = mapped(parts, &properties);
                let publish = Publish { exchange, routing_key, properties: &properties, traits };
                self.publishing.put(cx.now_ms, &publish, || headers(&properties), &body)
            }
        }
    }
}

impl Handle for Push {
    fn allow(&self, cx: &Context<'_>) -> Result<(), Fault> {
        target(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, parts: &[&[u8]]) -> Result<(), Fault> {
        if let Some(error) = cx.door.broker.core.store.poisoned() {
            // It is told of nothing else, and would go on into nowhere.
            return Err(Refusal::Storage(error.to_string()).into());
        }
        if self.put(cx, parts)? == Routed::Unroutable {
            if cx.mapping.push_exchange.is_empty() {
                // The queue was deleted: another one.
                target(cx)?;
                self.put(cx, parts)?;
            } else {
                cx.door.broker.core.meters.unroutable_dropped.increment();
            }
        }
        if self.publishing.is_large() {
            self.publishing.flush(cx);
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        self.publishing.flush(cx);
    }

    fn publishing(&self) -> Option<&Publishing> {
        Some(&self.publishing)
    }

    fn publishing_mut(&mut self) -> Option<&mut Publishing> {
        Some(&mut self.publishing)
    }

    fn end(&mut self, _: &Ended<'_>, _: Vec<Event>) {
        if self.publishing.keeps() {
            tracing::warn!("a full queue did not take what a PUSH had sent before it was gone");
        }
    }
}
