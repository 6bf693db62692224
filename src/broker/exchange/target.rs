//! What bindings lead to, and what tells one binding from another.

use std::sync::Arc;

use super::Exchange;
use crate::{
    broker::{
        queue::{Queue, QueueId},
        topic::Topic,
    },
    data::value::Table,
};

/// What a binding leads to.
#[derive(Debug, Clone)]
pub enum Target {
    Exchange(Arc<Exchange>),
    Queue(Arc<Queue>),
    Topic(Arc<Topic>),
}

/// A target's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetId {
    Exchange(Arc<str>),
    Queue(QueueId),
    Topic(Arc<str>),
}

impl Target {
    #[must_use]
    pub fn id(&self) -> TargetId {
        match self {
            Self::Exchange(exchange) => TargetId::Exchange(exchange.name.clone()),
            Self::Queue(queue) => TargetId::Queue(queue.id),
            Self::Topic(topic) => TargetId::Topic(topic.name.clone()),
        }
    }

    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Exchange(exchange) => &exchange.name,
            Self::Queue(queue) => &queue.name,
            Self::Topic(topic) => &topic.name,
        }
    }

    /// As AMQP calls it: an exchange or a queue.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exchange(_) => "exchange",
            Self::Queue(_) | Self::Topic(_) => "queue",
        }
    }

    /// Whether a binding to it can survive a restart.
    #[must_use]
    pub fn survives(&self) -> bool {
        match self {
            Self::Exchange(exchange) => exchange.options.durable,
            Self::Queue(queue) => queue.survives(),
            Self::Topic(_) => true,
        }
    }
}

/// A binding, seen from its source.
#[derive(Debug, Clone)]
pub struct Binding {
    pub target: Target,
    pub routing_key: Arc<str>,
    pub arguments: Table,
}

/// A binding's identity: target, key and arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingId(TargetId, Arc<str>, String);

impl Binding {
    /// Arguments count whatever their order: RabbitMQ sorts them by name.
    #[must_use]
    pub fn id(&self) -> BindingId {
        let arguments = match self.arguments.0.len() {
            0 => String::new(),
            1 => format!("{:?}", self.arguments.0),
            _ => {
                let mut fields: Vec<_> = self.arguments.0.iter().collect();
                fields.sort_by(|(a, _), (b, _)| a.cmp(b));
                format!("{fields:?}")
            }
        };
        BindingId(self.target.id(), self.routing_key.clone(), arguments)
    }
}

impl BindingId {
    /// No binding to the target comes before it.
    #[must_use]
    pub(super) fn first_of(target: &TargetId) -> Self {
        Self(target.clone(), "".into(), String::new())
    }

    /// No binding with the same target and key comes before it.
    #[must_use]
    pub(super) fn same_key(&self) -> Self {
        Self(self.0.clone(), self.1.clone(), String::new())
    }

    #[must_use]
    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        self.0 == other.0 && self.1 == other.1
    }

    #[must_use]
    pub(super) fn is_to(&self, target: &TargetId) -> bool {
        self.0 == *target
    }

    /// The target it leads to.
    #[must_use]
    pub fn target(&self) -> &TargetId {
        &self.0
    }
}
