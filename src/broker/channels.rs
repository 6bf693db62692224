//! Channels: who listens to what is published now. Nothing is kept, and nobody waits for a listener.
//!
//! They hang on the topic exchange [`EXCHANGE`]: what is published there reaches them with its routing key as the channel,
//! and what Redis clients publish goes there, so that queues can be bound to it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;

use super::{
    exchange::ExchangeOptions,
    outlet::{Event, Outlet},
    queue::ConnectionId,
    refusal::Refusal,
    vhost::Vhost,
};
use crate::data::glob;

/// The exchange of a vhost's channels. It is made when somebody first needs it.
pub const EXCHANGE: &str = "redis.pubsub";

/// Bytes a listener may have waiting, before it is let go (Redis' `client-output-buffer-limit pubsub`).
pub const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a listener hears.
#[derive(Debug)]
pub struct Heard {
    /// The pattern by which it listens, if it does by one.
    pub pattern: Option<Arc<[u8]>>,
    pub channel: Arc<[u8]>,
    pub message: Arc<[u8]>,
}

/// The channels of a vhost.
#[derive(Debug, Default)]
pub struct Channels {
    inner: RwLock<Inner>,
    /// How many listen at all: most vhosts have none.
    listening: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    by_channel: HashMap<Arc<[u8]>, Listeners>,
    by_pattern: HashMap<Arc<[u8]>, Listeners>,
}

type Listeners = Vec<(ConnectionId, Weak<Outlet>)>;

/// Who hears, and by which pattern.
type Hearer = (Weak<Outlet>, Option<Arc<[u8]>>);

/// A channel's name, or a pattern of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Channel,
    Pattern,
}

impl Inner {
    fn of(&mut self, by: By) -> &mut HashMap<Arc<[u8]>, Listeners> {
        match by {
            By::Channel => &mut self.by_channel,
            By::Pattern => &mut self.by_pattern,
        }
    }
}

impl Channels {
    pub fn listen(&self, by: By, name: &[u8], id: ConnectionId, outlet: &Arc<Outlet>) {
        let mut inner = self.inner.write();
        inner.of(by).entry(name.into()).or_default().push((id, Arc::downgrade(outlet)));
        self.listening.fetch_add(1, Ordering::Relaxed);
    }

    pub fn listen_no_more(&self, by: By, name: &[u8], id: ConnectionId) {
        let mut inner = self.inner.write();
        let Some(listeners) = inner.of(by).get_mut(name) else { return };
        let before = listeners.len();
        listeners.retain(|(other, _)| *other != id);
        self.listening.fetch_sub(before - listeners.len(), Ordering::Relaxed);
        if listeners.is_empty() {
            inner.of(by).remove(name);
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn any(&self) -> bool {
        self.listening.load(Ordering::Relaxed) > 0
    }

    /// Channels that somebody listens to by their names.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<[u8]>> {
        self.inner.read().by_channel.keys().cloned().collect()
    }

    /// How many listen to a channel by its name.
    #[must_use]
    pub fn listeners(&self, channel: &[u8]) -> usize {
        self.inner.read().by_channel.get(channel).map_or(0, Vec::len)
    }

    /// Patterns that somebody listens by.
    #[must_use]
    pub fn patterns(&self) -> usize {
        self.inner.read().by_pattern.len()
    }

    /// Tells everybody who listens; how many that were.
    pub fn tell(&self, channel: &[u8], message: &[u8]) -> usize {
        if !self.any() {
            return 0;
        }
        let (channel, message): (Arc<[u8]>, Arc<[u8]>) = (channel.into(), message.into());
        let mut hearers: Vec<Hearer> = Vec::new();
        {
            let inner = self.inner.read();
            let by_name = inner.by_channel.get(&channel).into_iter().flatten();
            hearers.extend(by_name.map(|(_, outlet)| (outlet.clone(), None)));
            for (pattern, listeners) in &inner.by_pattern {
                if glob::matches(pattern, &channel) {
                    hearers
                        .extend(listeners.iter().map(|(_, outlet)| (outlet.clone(), Some(pattern.clone()))));
                }
            }
        }
        let count = hearers.len();
        for (outlet, pattern) in hearers {
            let Some(outlet) = outlet.upgrade() else { continue };
            if outlet.bytes() > WAITING_BYTES_MAX {
                outlet.push(Event::Close { reason: "it does not read what it listens to".to_owned() });
                continue;
            }
            let heard = Heard { pattern, channel: channel.clone(), message: message.clone() };
            outlet.deliver(&mut vec![Event::Heard(heard)], message.len());
        }
        count
    }
}

impl Vhost {
    /// Makes sure that there is an exchange for the channels. Whatever has its name is taken as it is.
    ///
    /// # Errors
    /// When nothing can be declared here.
    pub fn need_channels(&self) -> Result<(), Refusal> {
        match self.find_exchange(EXCHANGE) {
            Some(_) => Ok(()),
            None => self.declare_exchange(EXCHANGE, ExchangeOptions::durable("topic")).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_hears_once_for_each_way() {
        let (channels, outlet) = (Channels::default(), Arc::<Outlet>::default());
        channels.listen(By::Channel, b"news", ConnectionId(1), &outlet);
        channels.listen(By::Pattern, b"n*", ConnectionId(1), &outlet);
        let tell = |channel: &[u8]| channels.tell(channel, b"hello");
        assert_eq!((tell(b"news"), tell(b"nothing"), tell(b"x")), (2, 1, 0));
        channels.listen_no_more(By::Pattern, b"n*", ConnectionId(1));
        assert_eq!((tell(b"news"), channels.patterns()), (1, 0));
        let heard = outlet.close();
        assert_eq!(heard.iter().filter(|event| matches!(event, Event::Heard(_))).count(), 4);
    }
}
