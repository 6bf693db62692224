//! What is added to a stream is also a record of a topic, `redis.<database>.<key>`, for readers of the log. The topic
//! comes with the first entry and goes with the stream.

use uuid::Uuid;

use super::{
    Keyspace, place,
    value::Kind,
    waiters::{Db, Name},
};
use crate::broker::{
    refusal::{Refusal, Subject},
    topic::{NewTopic, VhostName, config::TopicConfig},
    vhost::Vhost,
};

impl Vhost {
    /// Appends a record to a topic of that name, which is made if there is none. It is durable with whatever is
    /// submitted next.
    ///
    /// # Errors
    /// When there can be no such topic.
    pub fn append_to_topic(
        &self,
        name: &str,
        now_ms: i64,
        (key, value): (&[u8], &[u8]),
        headers: &[(String, &[u8])],
    ) -> Result<(), Refusal> {
        let topic = match self.find_topic(name) {
            Some(topic) => topic,
            None => {
                let new = NewTopic {
                    vhost: VhostName(self.name.clone()),
                    name: name.to_owned(),
                    partitions: 1,
                    config: TopicConfig::default(),
                    stream_arguments: None,
                    id: Uuid::new_v4(),
                };
                let (topic, _) =
                    self.core.topics.create(new).map_err(|refused| Refusal::InvalidArgument {
                        arg: "name".to_owned(),
                        on: Subject::queue(name),
                        reason: refused.to_string(),
                    })?;
                topic
            }
        };
        if let Some(partition) = topic.partition(0) {
            let headers = headers.iter().map(|(name, value)| (name.as_str(), Some(*value)));
            partition.publish(now_ms, Some(key), Some(value), headers);
        }
        Ok(())
    }
}

impl Keyspace {
    /// Deletes the topics of streams that are gone, unless they are back.
    pub(super) fn drop_topics(&self, gone: Vec<(Db, Name)>) {
        let Some(vhost) = self.home.upgrade().filter(|_| !gone.is_empty()) else { return };
        for (db, key) in gone {
            let Some(topic) = vhost.find_topic(&place::name_of(db, &key)) else { continue };
            // A stream that is back by now keeps the topic, with what is in it; one that comes later makes another.
            vhost.delete_stream_if(&topic, || {
                let inner = self.inner.lock();
                (inner.state.kind(db, &key) != Some(Kind::Stream)).then_some(inner)
            });
        }
    }
}
