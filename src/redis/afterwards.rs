//! What commands leave to be done once the visit to the keys is over: that there is an exchange for the channels, and
//! that it gets what was published.
//!
//! Exchanges and queues have locks, and whoever holds one of those may want the keys: a dead letter goes to a list. So
//! nobody takes them during a visit.

use std::sync::Arc;

use crate::broker::{
    channels::EXCHANGE,
    message::{Publish, Traits},
    publish::{Body, Publisher},
    vhost::Vhost,
};

/// What one client has left, in order.
#[derive(Debug, Default)]
pub struct Afterwards {
    due: Vec<Due>,
    bytes: usize,
    publisher: Option<(Arc<Vhost>, Publisher)>,
}

#[derive(Debug)]
struct Due {
    /// A transaction may go from one to another.
    vhost: Arc<Vhost>,
    /// Its routing key and its body; with `None` the exchange must be there, for others to publish to.
    message: Option<(Box<str>, Box<[u8]>)>,
}

impl Afterwards {
    /// There is to be an exchange for the channels.
    pub fn need_exchange(&mut self, vhost: &Arc<Vhost>) {
        self.due.push(Due { vhost: vhost.clone(), message: None });
    }

    /// The exchange is to get a message that those who listen to the channel have been told.
    pub fn publish(&mut self, vhost: &Arc<Vhost>, routing_key: &str, body: &[u8]) {
        self.bytes += routing_key.len() + body.len();
        self.due.push(Due { vhost: vhost.clone(), message: Some((routing_key.into(), body.into())) });
    }

    /// Whether nothing waits, as after nearly every visit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// What waits, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The visit is over: does everything. An exchange that was deleted meanwhile is made again, as by any PUBLISH; what
    /// belongs to a vhost that is gone goes with it, and its client has its answer already.
    pub fn carry_out(&mut self, now_ms: i64) {
        self.bytes = 0;
        for Due { vhost, message } in self.due.drain(..) {
            if vhost.need_channels().is_err() {
                continue;
            }
            let Some((routing_key, body)) = message else { continue };
            if self.publisher.as_ref().is_none_or(|(of, _)| !Arc::ptr_eq(of, &vhost)) {
                flush(&mut self.publisher, now_ms);
                self.publisher = Some((vhost.clone(), Publisher::new(vhost)));
            }
            let Some((_, publisher)) = &mut self.publisher else { continue };
            let publish = Publish {
                exchange: EXCHANGE,
                routing_key: &routing_key,
                properties: &NO_PROPERTIES,
                traits: Traits::default(),
            };
            let _ = publisher.publish_heard(now_ms, &publish, &mut Body::Copied(&body));
        }
        flush(&mut self.publisher, now_ms);
    }
}

fn flush(publisher: &mut Option<(Arc<Vhost>, Publisher)>, now_ms: i64) {
    if let Some((_, publisher)) = publisher {
        publisher.flush(now_ms, None);
    }
}

/// No flag is set.
const NO_PROPERTIES: [u8; 2] = [0, 0];
