//! `basic.consume` and `basic.cancel`: consumers of queues; those of streams are in `stream.rs`. (AMQP 0-9-1 §1.8.3.3.)

use std::sync::{Arc, atomic::Ordering};

use crate::{
    amqp::{
        channel::{Channel, Consumer, Feed},
        fault::{Fault, Resource},
        session::{Context, queue_name},
        wire::basic::{Cancel, CancelOk, Consume, ConsumeOk},
    },
    broker::{
        self,
        arguments::{self, QueueKind},
        list::queue::ListQueue,
        queue::{Queue, consumers::ConsumerSpec},
        refusal::{Access, Refusal, Subject},
        topic::Topic,
        vhost::server_name,
    },
};

/// What a queue name stands for in AMQP.
#[derive(Debug, Clone)]
pub enum Source {
    Queue(Arc<Queue>),
    List(Arc<ListQueue>),
    Stream(Arc<Topic>),
}

impl Source {
    /// Ready messages and consumers, as `declare-ok` gives them.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        match self {
            Self::Queue(queue) => queue.counts(),
            Self::List(list) => {
                let figures = list.figures();
                (figures.ready, figures.consumers)
            }
            Self::Stream(topic) => (topic.message_count(), 0),
        }
    }
}

impl Context<'_> {
    /// What a name stands for: queues come first, then the streams that AMQP sees, then lists.
    ///
    /// # Errors
    /// When there is nothing of that name, or it is another connection's exclusive queue.
    pub fn target(&self, channel: &Channel, name: &str) -> Result<Source, Fault> {
        let name = queue_name(channel, name)?;
        let vhost = &self.session.vhost;
        match vhost.queue(&name, self.session.id) {
            Ok(queue) => Ok(Source::Queue(queue)),
            Err(Refusal::NoQueue(_)) => {
                let stream = vhost.find_stream(&name).map(Source::Stream);
                let other = stream.or_else(|| vhost.find_list(&name).map(Source::List));
                other.ok_or_else(|| Fault::NotFound(Resource::queue(&name, &vhost.name)))
            }
            Err(refusal) => Err(self.fault(refusal)),
        }
    }

    /// The classic queue of that name; `what` names the method that streams and lists do not do.
    ///
    /// # Errors
    /// As [`Context::target`], and for a stream or a list.
    pub fn classic(&self, channel: &Channel, name: &str, what: &'static str) -> Result<Arc<Queue>, Fault> {
        match self.target(channel, name)? {
            Source::Queue(queue) => Ok(queue),
            Source::Stream(topic) => {
                Err(self.fault(Refusal::Unsupported { what, queue: topic.name.to_string() }))
            }
            Source::List(list) => Err(super::list::unsupported(self, what, &list)),
        }
    }
}

/// `basic.consume`.
///
/// # Errors
/// The fault that closes the channel or the connection.
pub fn consume(cx: &mut Context<'_>, channel: &mut Channel, method: &Consume<'_>) -> Result<(), Fault> {
    if method.queue == broker::reply::QUEUE {
        return super::reply::consume(cx, channel, method);
    }
    if channel.consumers.has_tag(method.consumer_tag) {
        return Err(Fault::ConsumerTagReuse(method.consumer_tag.to_owned()));
    }
    let count_max = cx.session.door.settings.consumers_per_channel_max;
    if count_max != 0 && channel.consumers.len() as u64 >= u64::from(count_max) {
        return Err(Fault::MaxConsumers(count_max));
    }
    let name = queue_name(channel, method.queue)?;
    cx.allow(Access::Read, &Subject::queue(&name))?;
    let consumer_tag: Arc<str> = match method.consumer_tag {
        "" => server_name("amq.ctag-").into(),
        tag => tag.into(),
    };
    let queue = match cx.target(channel, &name)? {
        Source::Queue(queue) => queue,
        Source::List(list) => return super::list::consume(cx, channel, method, &list, consumer_tag),
        Source::Stream(topic) => {
            let profile = cx.session.door.broker.core.profile;
            arguments::consumer(&name, QueueKind::Stream, &method.arguments, profile)
                .map_err(|refusal| cx.fault(refusal))?;
            return super::stream::consume(cx, channel, method, &topic, consumer_tag);
        }
    };
    let profile = cx.session.door.broker.core.profile;
    let asked = arguments::consumer(&name, queue.kind, &method.arguments, profile)
        .map_err(|refusal| cx.fault(refusal))?;
    if queue.kind == QueueKind::Quorum && channel.credit.limited() {
        return Err(cx.fault(Refusal::NoGlobalQos(name)));
    }
    let spec = ConsumerSpec {
        channel: channel.number,
        consumer_tag: consumer_tag.clone(),
        no_ack: method.no_ack,
        exclusive: method.exclusive,
        priority: asked.priority,
        prefetch_count: channel.prefetch_count.into(),
        outlet: cx.session.outlet.clone(),
        credit: channel.credit.clone(),
    };
    let id = queue.consume(spec).map_err(|refusal| cx.fault(refusal))?;
    let no_ack = method.no_ack;
    let feed = Feed::Queue(queue.clone());
    let consumer =
        Consumer { id, consumer_tag: consumer_tag.clone(), no_ack, timeout_ms: asked.timeout_ms, feed };
    cx.session.tell_consumer_created(channel, &consumer, method);
    channel.consumers.put(consumer);
    channel.info.consumers.store(channel.consumers.len(), Ordering::Relaxed);
    if !method.nowait {
        cx.send(channel.number, &ConsumeOk { consumer_tag: &consumer_tag });
    }
    // The queue serves it from now on: its deliveries follow the consume-ok.
    queue.pump();
    Ok(())
}

/// `basic.cancel`: nothing is delivered behind its answer; what is not acknowledged stays so.
pub fn cancel(cx: &mut Context<'_>, channel: &mut Channel, method: &Cancel<'_>) {
    if let Some(consumer) = channel.consumers.by_tag(method.consumer_tag).cloned() {
        cx.cancel(channel, &consumer);
    }
    if !method.nowait {
        cx.send(channel.number, &CancelOk { consumer_tag: method.consumer_tag });
    }
}
