//! Fetch sessions (KIP-227): a client names its partitions once, and then only what changes; so does the answer.
//!
//! A session is opened by a full request (epoch 0), and each incremental one must bear the next epoch. The cache is
//! bounded; when it is full, a session that was not used for two minutes makes room, else an older one that is smaller
//! than the new, else there is no session (id 0) and the client names everything each time, which it may always do.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    fault::ErrorCode,
    wire::fetch::{
        FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, ForgottenTopic,
        PartitionData,
    },
};

/// `max.incremental.fetch.session.cache.slots`
pub const SLOTS: usize = 1_000;

/// Partitions of all sessions together.
const PARTITIONS_MAX: usize = 1_000_000;

/// Kafka's `MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`.
const EVICTION: Duration = Duration::from_secs(120);

const NO_SESSION: i32 = 0;
const CLOSE: i32 = -1;
const OPEN: i32 = 0;

/// The sessions of all clients.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<i32, Session>,
    /// Of all sessions.
    partitions: usize,
}

#[derive(Debug)]
struct Session {
    /// What the next request must bear.
    epoch: i32,
    by_id: bool,
    created: Instant,
    used: Instant,
    partitions: Partitions,
}

/// A topic by its name or its id, and the number.
type Key = (String, Uuid, i32);
type Partitions = BTreeMap<Key, Cached>;

#[derive(Debug, Clone)]
struct Cached {
    asked: FetchPartition,
    /// As the client knows them; -1: it knows nothing.
    high_watermark: i64,
    log_start: i64,
}

/// What becomes of a request's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Everything, and no session.
    Sessionless,
    /// Everything, and a session if there is room.
    Full,
    /// What has changed in this session.
    Incremental(i32),
}

impl Context {
    /// Of the answer, when nothing is in it.
    #[must_use]
    pub fn session_id(self) -> i32 {
        match self {
            Self::Sessionless | Self::Full => NO_SESSION,
            Self::Incremental(id) => id,
        }
    }
}

impl FetchSessions {
    #[must_use]
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self { slots, cache: Mutex::default() })
    }

    /// What a request is, and with an incremental one all that its session asks for.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR
    pub fn open(
        &self,
        now: Instant,
        by_id: bool,
        mut request: FetchRequest,
    ) -> Result<(Context, FetchRequest), ErrorCode> {
        let cache = &mut *self.cache.lock();
        let id = request.session_id;
        if matches!(request.session_epoch, OPEN | CLOSE) {
            cache.remove(id);
            let context = if request.session_epoch == OPEN { Context::Full } else { Context::Sessionless };
            return Ok((context, request));
        }
        let Cache { sessions, partitions } = cache;
        let session = sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        session.update(std::mem::take(&mut request.topics), &request.forgotten_topics_data);
        *partitions = *partitions + session.partitions.len() - before;
        if session.partitions.is_empty() || *partitions > PARTITIONS_MAX {
            cache.remove(id);
            return Ok((Context::Sessionless, request));
        }
        session.used = now;
        session.epoch = next_epoch(session.epoch);
        request.topics = session.topics();
        Ok((Context::Incremental(id), request))
    }

    /// The answer to a request of that context; `asked` is what a new session remembers.
    pub fn answer(
        &self,
        now: Instant,
        by_id: bool,
        context: Context,
        asked: Vec<FetchTopic>,
        mut responses: Vec<FetchableTopicResponse>,
    ) -> FetchResponse {
        let session_id = match context {
            Context::Sessionless => NO_SESSION,
            Context::Full => self.create(now, by_id, asked, &responses),
            Context::Incremental(id) => {
                // One that is gone meanwhile is answered in full; the client hears of it with its next request.
                if let Some(session) = self.cache.lock().sessions.get_mut(&id) {
                    session.keep_changes(&mut responses);
                }
                id
            }
        };
        FetchResponse { session_id, responses, ..FetchResponse::default() }
    }

    fn create(
        &self,
        now: Instant,
        by_id: bool,
        asked: Vec<FetchTopic>,
        responses: &[FetchableTopicResponse],
    ) -> i32 {
        let mut session = Session {
            epoch: next_epoch(OPEN),
            by_id,
            created: now,
            used: now,
            partitions: Partitions::new(),
        };
        session.update(asked, &[]);
        for (key, data) in each(responses) {
            if let Some(cached) = session.partitions.get_mut(&key) {
                cached.is_news(data);
            }
        }
        let cache = &mut *self.cache.lock();
        let size = session.partitions.len();
        let is_full = cache.sessions.len() >= self.slots && !cache.make_room(now, size);
        if size == 0 || is_full || cache.partitions + size > PARTITIONS_MAX {
            return NO_SESSION;
        }
        loop {
            let id = rand::random_range(1..=i32::MAX);
            if let std::collections::hash_map::Entry::Vacant(vacant) = cache.sessions.entry(id) {
                vacant.insert(session);
                cache.partitions += size;
                return id;
            }
        }
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.partitions.len();
        }
    }

    /// Whether a session went for one of that size.
    fn make_room(&mut self, now: Instant, size: usize) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let idle = self.sessions.iter().min_by_key(|(_, s)| s.used).filter(|(_, s)| since(s.used) > EVICTION);
        let old = || {
            let old = self.sessions.iter().filter(|(_, s)| since(s.created) > EVICTION);
            old.min_by_key(|(_, s)| s.partitions.len()).filter(|(_, s)| s.partitions.len() < size)
        };
        let Some(id) = idle.or_else(old).map(|(id, _)| *id) else { return false };
        self.remove(id);
        true
    }
}

impl Session {
    fn update(&mut self, topics: Vec<FetchTopic>, forgotten: &[ForgottenTopic]) {
        for FetchTopic { topic, topic_id, partitions } in topics {
            for asked in partitions {
                let key = (topic.clone(), topic_id, asked.partition);
                match self.partitions.get_mut(&key) {
                    Some(cached) => cached.asked = asked,
                    None => {
                        _ = self.partitions.insert(key, Cached { asked, high_watermark: -1, log_start: -1 });
                    }
                }
            }
        }
        for ForgottenTopic { topic, topic_id, partitions } in forgotten {
            for number in partitions {
                self.partitions.remove(&(topic.clone(), *topic_id, *number));
            }
        }
    }

    fn topics(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((topic, topic_id, _), cached) in &self.partitions {
            match topics.last_mut() {
                Some(last) if last.topic == *topic && last.topic_id == *topic_id => {
                    last.partitions.push(cached.asked.clone());
                }
                Some(_) | None => topics.push(FetchTopic {
                    topic: topic.clone(),
                    topic_id: *topic_id,
                    partitions: vec![cached.asked.clone()],
                }),
            }
        }
        topics
    }

    fn keep_changes(&mut self, responses: &mut Vec<FetchableTopicResponse>) {
        for response in responses.iter_mut() {
            let (topic, topic_id) = (response.topic.clone(), response.topic_id);
            response.partitions.retain(|data| {
                let cached = self.partitions.get_mut(&(topic.clone(), topic_id, data.partition_index));
                cached.is_none_or(|cached| cached.is_news(data))
            });
        }
        responses.retain(|response| !response.partitions.is_empty());
    }
}

impl Cached {
    /// Whether the client must be told, and remembers that it is. After an error the partition is told again, whatever
    /// has become of it.
    fn is_news(&mut self, data: &PartitionData) -> bool {
        let failed = data.error_code != ErrorCode::None.code();
        let has_records = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let moved = (self.high_watermark, self.log_start) != (data.high_watermark, data.log_start_offset);
        self.high_watermark = if failed { -1 } else { data.high_watermark };
        self.log_start = data.log_start_offset;
        failed || has_records || moved
    }
}

fn each(responses: &[FetchableTopicResponse]) -> impl Iterator<Item = (Key, &PartitionData)> {
    responses.iter().flat_map(|response| {
        let key = |number| (response.topic.clone(), response.topic_id, number);
        response.partitions.iter().map(move |data| (key(data.partition_index), data))
    })
}

/// Epochs go round, past the one that opens.
fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn topics(partitions: &[i32]) -> Vec<FetchTopic> {
        let partition = |p: &i32| FetchPartition { partition: *p, ..FetchPartition::default() };
        let partitions = partitions.iter().map(partition).collect();
        vec![FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() }]
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[i32]) -> FetchRequest {
        FetchRequest { session_id, session_epoch, topics: topics(partitions), ..FetchRequest::default() }
    }

    /// Every partition asked for, at that high watermark.
    fn answers(asked: &[FetchTopic], high_watermark: i64) -> Vec<FetchableTopicResponse> {
        let data = |p: &FetchPartition| PartitionData {
            partition_index: p.partition,
            high_watermark,
            log_start_offset: 0,
            ..PartitionData::default()
        };
        let response = |t: &FetchTopic| FetchableTopicResponse {
            topic: t.topic.clone(),
            partitions: t.partitions.iter().map(data).collect(),
            ..FetchableTopicResponse::default()
        };
        asked.iter().map(response).collect()
    }

    struct World {
        sessions: Arc<FetchSessions>,
        clock: Clock,
    }

    impl World {
        fn new(slots: usize) -> Self {
            Self { sessions: FetchSessions::new(slots), clock: Clock::manual(0) }
        }

        /// The session's id and the partitions answered.
        fn fetch(&self, request: FetchRequest, high_watermark: i64) -> Result<(i32, Vec<i32>), ErrorCode> {
            let now = self.clock.now();
            let (context, asked) = self.sessions.open(now, false, request)?;
            let responses = answers(&asked.topics, high_watermark);
            let answer = self.sessions.answer(now, false, context, asked.topics, responses);
            let partitions = each(&answer.responses).map(|((_, _, number), _)| number).collect();
            Ok((answer.session_id, partitions))
        }
    }

    #[test]
    fn an_incremental_answer_has_what_changed_and_a_request_too() {
        let world = World::new(SLOTS);
        let (id, all) = world.fetch(request(0, 0, &[0, 1]), 5).unwrap();
        assert!(id > 0 && all == [0, 1]);
        assert_eq!(world.fetch(request(id, 1, &[]), 5), Ok((id, vec![])));
        assert_eq!(world.fetch(request(id, 2, &[2]), 5), Ok((id, vec![2])));
        assert_eq!(world.fetch(request(id, 3, &[]), 6), Ok((id, vec![0, 1, 2])));
        let forgotten = ForgottenTopic { topic: "t".into(), partitions: vec![0, 1], ..Default::default() };
        let fewer = FetchRequest { forgotten_topics_data: vec![forgotten], ..request(id, 4, &[]) };
        assert_eq!(world.fetch(fewer, 7), Ok((id, vec![2])));
        assert_eq!(world.sessions.cache.lock().partitions, 1);
    }

    #[test]
    fn a_session_is_known_by_id_and_epoch_and_ends_when_the_client_says_so() {
        let world = World::new(SLOTS);
        let (id, _) = world.fetch(request(0, 0, &[0]), 5).unwrap();
        assert_eq!(world.fetch(request(id, 2, &[]), 5), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(world.fetch(request(id ^ 1, 1, &[]), 5), Err(ErrorCode::FetchSessionIdNotFound));
        let by_id = world.sessions.open(world.clock.now(), true, request(id, 1, &[]));
        assert_eq!(by_id.unwrap_err(), ErrorCode::FetchSessionTopicIdError);
        assert_eq!(world.fetch(request(id, -1, &[0]), 5), Ok((0, vec![0])));
        assert_eq!(world.fetch(request(id, 1, &[]), 5), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(world.sessions.cache.lock().partitions, 0);
    }

    #[test]
    fn an_error_is_told_each_time_and_its_end_too() {
        let mut cached = Cached { asked: FetchPartition::default(), high_watermark: 5, log_start: 0 };
        let good = PartitionData { high_watermark: 5, log_start_offset: 0, ..PartitionData::default() };
        let bad = PartitionData { error_code: 3, ..good.clone() };
        let news: Vec<bool> = [&good, &bad, &bad, &good, &good].map(|data| cached.is_news(data)).into();
        assert_eq!(news, [false, true, true, true, false]);
    }

    #[test]
    fn a_full_cache_makes_room_for_what_is_larger_or_when_nobody_uses_it() {
        let world = World::new(1);
        let (first, _) = world.fetch(request(0, 0, &[0]), 5).unwrap();
        assert_eq!(world.fetch(request(0, 0, &[0, 1]), 5).unwrap().0, 0, "the first is young");
        world.clock.advance(EVICTION + Duration::from_secs(1));
        assert!(world.fetch(request(first, 1, &[]), 5).is_ok(), "in use");
        assert_eq!(world.fetch(request(0, 0, &[0]), 5).unwrap().0, 0, "not larger");
        assert!(world.fetch(request(0, 0, &[0, 1]), 5).unwrap().0 > 0);
        assert_eq!(world.fetch(request(first, 2, &[]), 5), Err(ErrorCode::FetchSessionIdNotFound));
        world.clock.advance(EVICTION + Duration::from_secs(1));
        assert!(world.fetch(request(0, 0, &[0]), 5).unwrap().0 > 0, "nobody used the other");
    }
}
