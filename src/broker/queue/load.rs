//! How many messages there are, and how long their bodies are: what administrators see of a queue, of what is ready, of what
//! consumers hold, and of what no log will ever have. Counted as messages come and go; nothing is looked through.

use crate::broker::message::Message;

/// Messages, and the bytes of their bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    pub messages: usize,
    pub body_bytes: usize,
}

impl Load {
    #[inline]
    pub fn add(&mut self, message: &Message) {
        self.messages += 1;
        self.body_bytes += message.body_len();
    }

    /// How long a body is may be a guess while it is in the log only, so this stops at nothing.
    #[inline]
    pub fn remove(&mut self, message: &Message) {
        *self = self.less(Self { messages: 1, body_bytes: message.body_len() });
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, body_bytes: self.body_bytes + other.body_bytes }
    }

    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            body_bytes: self.body_bytes.saturating_sub(other.body_bytes),
        }
    }
}

/// What consumers hold, or give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unacked {
    pub all: Load,
    pub transient: Load,
}

impl Unacked {
    #[inline]
    pub fn add(&mut self, message: &Message) {
        self.all.add(message);
        if !message.persistent() {
            self.transient.add(message);
        }
    }

    #[inline]
    pub fn remove(&mut self, message: &Message) {
        self.all.remove(message);
        if !message.persistent() {
            self.transient.remove(message);
        }
    }

    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self { all: self.all.less(other.all), transient: self.transient.less(other.transient) }
    }
}
