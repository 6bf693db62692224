//! What a group must know of topics: which there are, and how many partitions they have.

use std::sync::Arc;

use uuid::Uuid;

use crate::broker::topic::{Topic, Topics, VhostName};

/// A topic as groups see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub id: Uuid,
    pub name: Arc<str>,
    pub partitions: i32,
}

/// The topics of a group's vhost.
pub trait TopicView {
    fn by_name(&self, name: &str) -> Option<TopicInfo>;
    fn by_id(&self, id: Uuid) -> Option<TopicInfo>;
    /// Every topic's name, for patterns.
    fn names(&self) -> Vec<Arc<str>>;
    /// Changes whenever `names` does.
    fn version(&self) -> u64;
}

/// The broker's topics.
pub struct VhostTopics<'a> {
    pub topics: &'a Topics,
    pub vhost: &'a VhostName,
}

impl TopicView for VhostTopics<'_> {
    fn by_name(&self, name: &str) -> Option<TopicInfo> {
        self.topics.find(self.vhost, name).map(|topic| info(&topic))
    }

    fn by_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.topics.by_id(id).filter(|topic| topic.vhost == *self.vhost).map(|topic| info(&topic))
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.topics.list(self.vhost).iter().map(|topic| topic.name.clone()).collect()
    }

    fn version(&self) -> u64 {
        self.topics.version()
    }
}

fn info(topic: &Topic) -> TopicInfo {
    let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    TopicInfo { id: topic.id, name: topic.name.clone(), partitions }
}
