//! Super streams: one topic of several partitions, as RabbitMQ's clients see it.
//!
//! Exchange `t` (direct, with `x-super-stream`), streams `t-0`, `t-1`, … bound to it with their numbers as keys: in the
//! core they are topic `t` and its partitions. What no binding takes goes where Kafka's partitioner would put it, so
//! that a key leads to the same partition over both protocols. Kafka never makes the exchange.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;

use super::{
    Pending,
    exchange::{Binding, Exchange, ExchangeOptions, Target, TargetId},
    refusal::Refusal,
    stream,
    topic::{NewTopic, Topic, VhostName},
    vhost::Vhost,
};
use crate::data::value::{Table, Value};

/// The exchange's argument, and how the topic remembers that it was declared so.
pub(super) const ARGUMENT: &str = "x-super-stream";
/// The binding's argument: which partition it is.
const ORDER: &str = "x-stream-partition-order";

impl ExchangeOptions {
    /// Whether the exchange stands for the topic of its name.
    #[must_use]
    pub fn is_super_stream(&self) -> bool {
        self.kind == "direct" && self.arguments.field(ARGUMENT) == Some(&Value::Bool(true))
    }
}

impl Exchange {
    /// Whether it stands for the topic of its name.
    #[must_use]
    pub fn is_super_stream(&self) -> bool {
        self.options.is_super_stream()
    }
}

impl Topic {
    /// Whether it was declared as a super stream: then its own name is no queue's.
    #[must_use]
    pub fn is_super_stream(&self) -> bool {
        self.stream_arguments.as_ref().is_some_and(|arguments| arguments.field(ARGUMENT).is_some())
    }

    /// The streams that AMQP sees of it, if it was declared there: itself, or its partitions.
    #[must_use]
    pub fn declared_streams(self: &Arc<Self>) -> Vec<Arc<Topic>> {
        if self.is_super_stream() {
            (0..).map_while(|number| self.partition_stream(number)).collect()
        } else {
            self.stream_arguments.iter().map(|_| self.clone()).collect()
        }
    }
}

impl Vhost {
    /// The streams that definitions name, with their arguments, by name: those that AMQP declared, and of Kafka's topics
    /// those that an exchange which lasts leads to, with what they keep.
    #[must_use]
    pub fn defined_streams(&self) -> BTreeMap<Arc<str>, Table> {
        let topics = self.topics();
        let declared = topics.iter().flat_map(Topic::declared_streams);
        let mut all: BTreeMap<Arc<str>, Table> = declared
            .filter_map(|stream| Some((stream.name.clone(), stream.stream_arguments.clone()?)))
            .collect();
        for exchange in self.exchanges().iter().filter(|exchange| exchange.options.durable) {
            for binding in exchange.bindings() {
                if let Target::Topic(stream) = binding.target {
                    all.entry(stream.name.clone()).or_insert_with(|| stream::arguments_of(&stream.config()));
                }
            }
        }
        all
    }

    /// A partition by the name that RabbitMQ gives it: `t-3`.
    pub(super) fn find_partition(&self, name: &str) -> Option<Arc<Topic>> {
        let (topic, number) = name.rsplit_once('-')?;
        let number: usize = number.parse().ok().filter(|n: &usize| n.to_string() == number)?;
        let topic = self.find_topic(topic)?;
        if topic.partitions().len() > 1 || topic.is_super_stream() {
            topic.partition_stream(number)
        } else {
            None
        }
    }

    /// Where a super stream's exchange sends what no binding takes.
    pub(super) fn super_stream_of(&self, exchange: &Exchange) -> Option<Arc<Topic>> {
        if exchange.is_super_stream() { self.find_topic(&exchange.name) } else { None }
    }

    /// Declares a super stream: exchange, partitions and bindings. The arguments are a stream's.
    ///
    /// # Errors
    /// When one of the names is taken, or an argument is not a stream's.
    pub fn declare_super_stream(
        &self,
        name: &str,
        partitions: u32,
        arguments: &Table,
    ) -> Result<Pending, Refusal> {
        {
            let _topology = self.topology.lock();
            self.check_alive()?;
            let taken = (0..partitions).any(|n| {
                let partition = format!("{name}-{n}");
                self.find_queue(&partition).is_some() || self.find_topic(&partition).is_some()
            });
            if name.is_empty()
                || taken
                || self.find_exchange(name).is_some()
                || self.find_topic(name).is_some()
            {
                return Err(Refusal::Stream("there are already queues or an exchange of these names"));
            }
            let mut of_streams = arguments.clone();
            of_streams.0.retain(|(name, _)| name != ARGUMENT && name != "x-queue-type");
            of_streams.0.insert(0, ("x-queue-type".to_owned(), Value::LongStr("stream".into())));
            let config = stream::checked_config(name, &of_streams, self.core.profile)?;
            of_streams.0.push((ARGUMENT.to_owned(), Value::Bool(true)));
            let new = NewTopic {
                vhost: VhostName(self.name.clone()),
                name: name.to_owned(),
                partitions,
                config,
                stream_arguments: Some(of_streams),
                id: Uuid::new_v4(),
            };
            let (topic, _) = self.core.topics.create(new).map_err(|_| {
                Refusal::Stream("the number of partitions is not one that a super stream can have")
            })?;
            self.core.meters.queues_created.add(partitions.into());
            self.apply_policies_to_stream(&topic);
        }
        // Its bindings are made with it.
        let arguments = Table(vec![(ARGUMENT.to_owned(), Value::Bool(true))]);
        let options = ExchangeOptions {
            kind: "direct".to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
        };
        self.declare_exchange(name, options)
    }

    /// Deletes a super stream with everything in it. `None`: there is none of that name.
    pub fn delete_super_stream(&self, name: &str) -> Option<Pending> {
        let exchange = self.find_exchange(name).filter(|exchange| exchange.is_super_stream())?;
        let topic = self.find_topic(name)?;
        let deleted = self.delete_stream(&topic);
        let exchange = self.delete_exchange(&exchange.name, false).ok().flatten();
        Some(deleted.max(exchange))
    }

    /// Binds the partitions that a super stream's exchange finds when it is declared. Gives what is to be stored.
    pub(super) fn bind_partitions(
        &self,
        exchange: &Arc<Exchange>,
        topology: &mut super::topology::Topology,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(topic) = self.super_stream_of(exchange) else { return Vec::new() };
        let mut stored = Vec::new();
        for (stream, number) in (0..).map_while(|n| topic.partition_stream(n)).zip(0_i64..) {
            let binding = Binding {
                target: Target::Topic(stream),
                routing_key: number.to_string().into(),
                arguments: Table(vec![(ORDER.to_owned(), Value::I64(number))]),
            };
            // A binding to a direct exchange is never refused.
            if exchange.bind(binding.clone()).unwrap_or(false) {
                topology.bound(binding.target.id(), exchange);
                stored.extend(self.stored_binding(exchange, &binding).map(|key| (key, Vec::new())));
            }
        }
        stored
    }

    /// What bindings may lead to of a topic: itself, or its partitions.
    pub(super) fn targets_of(topic: &Arc<Topic>) -> Vec<TargetId> {
        let partitions =
            (0..).map_while(|n| topic.partition_stream(n)).map(|stream| TargetId::Topic(stream.name.clone()));
        std::iter::once(TargetId::Topic(topic.name.clone())).chain(partitions).collect()
    }
}
