//! Direct reply-to: replies that go straight to the channel that asked, through no queue and no log.
//!
//! A channel consumes from the name [`QUEUE`]; what it then publishes with that name in `reply_to` carries a name of its
//! own there, which nobody can guess. Whoever publishes to the default exchange with that name as the key reaches the
//! channel, as long as it is there. (RabbitMQ: direct reply-to; amqp.md rows 58-61.)

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

use super::{
    message::Message,
    outlet::{Event, OUTLET_BYTES_MAX, Outlet},
    queue::{ConsumerId, Entry, Seq, returns::Count},
    vhost::server_name,
};

/// The name that stands for it.
pub const QUEUE: &str = "amq.rabbitmq.reply-to";

/// What the names of requesters begin with.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// What a requester's connection may have waiting before replies to it are unroutable: there is no queue where they
/// could wait, and the one who replies must not.
const WAITING_BYTES_MAX: usize = 32 * OUTLET_BYTES_MAX;

/// A channel that waits for replies.
#[derive(Debug)]
pub struct ReplyTo {
    /// What `reply_to` says of it.
    pub name: Arc<str>,
    pub consumer: ConsumerId,
    channel: u16,
    outlet: Arc<Outlet>,
}

impl ReplyTo {
    /// Whether a reply can be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.outlet.bytes() < WAITING_BYTES_MAX
    }

    /// Hands a reply over. If the connection is gone, so is the reply.
    pub fn deliver(&self, message: Message) {
        let bytes = message.held_bytes();
        let entry = Entry {
            seq: Seq(0),
            message,
            expires_ms: i64::MAX,
            redelivered: false,
            returns: Count::default(),
        };
        let delivery = Event::Deliver { channel: self.channel, consumer: self.consumer, entry };
        self.outlet.deliver(&mut vec![delivery], bytes);
    }
}

/// All channels that wait for replies.
#[derive(Debug, Default)]
pub struct Replies(RwLock<HashMap<Arc<str>, Arc<ReplyTo>>>);

impl Replies {
    /// A channel waits from now on.
    pub fn open(&self, consumer: ConsumerId, channel: u16, outlet: Arc<Outlet>) -> Arc<ReplyTo> {
        let name: Arc<str> = server_name(PREFIX).into();
        let reply_to = Arc::new(ReplyTo { name: name.clone(), consumer, channel, outlet });
        self.0.write().insert(name, reply_to.clone());
        reply_to
    }

    /// It waits no more.
    pub fn close(&self, reply_to: &ReplyTo) {
        self.0.write().remove(&reply_to.name);
    }

    /// Who has that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<ReplyTo>> {
        if !name.starts_with(PREFIX) {
            return None;
        }
        self.0.read().get(name).cloned()
    }

    /// Whether a declaration of that name finds something: `None` when the name is not one of these at all.
    #[must_use]
    pub fn declared(&self, name: &str) -> Option<bool> {
        if name == QUEUE {
            return Some(true);
        }
        name.starts_with(QUEUE).then(|| self.find(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requester_is_found_by_its_own_name_only_and_while_it_waits() {
        let replies = Replies::default();
        let one = replies.open(ConsumerId(1), 1, Arc::default());
        let two = replies.open(ConsumerId(2), 1, Arc::default());
        assert_ne!(one.name, two.name);
        assert_eq!(replies.find(&one.name).map(|found| found.consumer), Some(ConsumerId(1)));
        assert_eq!(replies.declared(QUEUE), Some(true));
        assert_eq!(replies.declared(&one.name), Some(true));
        assert_eq!(replies.declared("amq.rabbitmq.reply-to.bogus"), Some(false));
        assert_eq!(replies.declared("amq.rabbitmq.reply-toX"), Some(false));
        assert_eq!(replies.declared("q"), None);
        replies.close(&one);
        assert!(replies.find(&one.name).is_none() && replies.find(&two.name).is_some());
    }
}
