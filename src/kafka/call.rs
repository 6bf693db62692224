//! One request on its way to its handler: who asks, in which version, and what a handler may reach.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock, atomic::AtomicUsize},
    task::Poll,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    Door,
    advertised::Node,
    fault::ErrorCode,
    login::{BrokersAccounts, Identity, Login, LoginFailed},
};
use crate::{
    broker::{
        Pending,
        group::{GroupKey, Groups, share::ShareSessions},
        login::is_here,
        quotas::QuotaKey,
        topic::{Topic, Topics, VhostName},
    },
    store::StoreError,
};

/// The client at the other end of a connection.
pub struct Client {
    pub door: Arc<Door>,
    /// Where it connected from.
    pub peer: SocketAddr,
    /// Whether it came by TLS.
    pub tls: bool,
    pub node: Node,
    pub login: Mutex<Login>,
    /// Once it has logged in.
    pub identity: OnceLock<Identity>,
    pub timer: Timer,
    pub share_sessions: ShareSessions,
    /// Fetches so far: each begins with another partition, so that none starves.
    pub fetches: AtomicUsize,
}

impl Client {
    /// Takes a token. `None`: nobody asked for one.
    pub async fn log_in(&self, now: Instant, token: &[u8]) -> Option<Result<LoginStep, LoginFailed>> {
        self.door.broker.users.scram_made().await;
        let mut login = self.login.lock();
        let is_here = is_here(self.peer.ip());
        let accounts = BrokersAccounts { broker: &self.door.broker, is_here };
        let outcome = login.on_token(now, token, self.identity.get(), &accounts)?;
        Some(outcome.map(|answer| {
            let Some(identity) = answer.identity else {
                return LoginStep { token: answer.token, lifetime_ms: 0 };
            };
            tracing::info!(peer = %self.peer, user = &*identity.user, vhost = &*identity.vhost.0, "logged in");
            let _ = self.identity.set(identity);
            LoginStep { token: answer.token, lifetime_ms: login.lifetime_ms() }
        }))
    }
}

/// Kafka's name for who has not logged in.
pub(super) const ANONYMOUS: &str = "ANONYMOUS";

/// A connection that is not heard does not show its end either; Kafka closes an idle one after so long
/// (`connections.max.idle.ms`).
const MUTED_MAX: Duration = Duration::from_secs(600);

/// What a client's token is answered with.
pub struct LoginStep {
    pub token: Vec<u8>,
    /// How long the login lasts; 0: for ever, or there is more to be said first.
    pub lifetime_ms: i64,
}

/// A request without its body.
pub struct Call {
    pub client: Arc<Client>,
    pub version: i16,
    pub client_id: Option<String>,
    /// Of the whole frame.
    pub bytes: usize,
    /// When it came.
    pub now: Instant,
}

impl Call {
    #[must_use]
    pub fn door(&self) -> &Door {
        &self.client.door
    }

    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.door().broker.core.topics
    }

    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.door().broker.groups
    }

    #[must_use]
    pub fn group(&self, id: &str) -> GroupKey {
        GroupKey { vhost: self.vhost().clone(), id: id.into() }
    }

    /// Whose topics and groups it sees.
    #[must_use]
    pub fn vhost(&self) -> &VhostName {
        self.client.identity.get().map_or(&self.door().vhost, |identity| &identity.vhost)
    }

    /// Who asks; Kafka has a name for one that has not logged in.
    #[must_use]
    pub fn principal(&self) -> String {
        self.client.identity.get().map_or(ANONYMOUS, |identity| &*identity.user).to_owned()
    }

    /// Counts what the client produced or is sent; above its quota it is not heard for so long, in milliseconds.
    #[must_use]
    pub fn throttle(&self, key: QuotaKey, bytes: usize) -> i32 {
        let quotas = &self.door().broker.quotas;
        let (user, client_id) = self.quota_names();
        self.muted(quotas.record(self.client.timer.now(), key, user, client_id, bytes))
    }

    /// As [`Call::throttle`]; above the quota nothing is sent, and then it is not counted.
    #[must_use]
    pub fn throttle_unless_within(&self, key: QuotaKey, bytes: usize) -> i32 {
        let quotas = &self.door().broker.quotas;
        let (user, client_id) = self.quota_names();
        self.muted(quotas.record_if_within(self.client.timer.now(), key, user, client_id, bytes))
    }

    /// The most that the client's quota lets it be sent at once.
    #[must_use]
    pub fn quota_bytes_max(&self, key: QuotaKey) -> usize {
        let (user, client_id) = self.quota_names();
        self.door().broker.quotas.bytes_max(key, user, client_id)
    }

    fn quota_names(&self) -> (&str, &str) {
        let user = self.client.identity.get().map_or(ANONYMOUS, |identity| &*identity.user);
        (user, self.client_id.as_deref().unwrap_or_default())
    }

    fn muted(&self, duration: Duration) -> i32 {
        let ms = i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        if ms > 0 {
            self.client.timer.mute(duration.min(MUTED_MAX));
        }
        ms
    }

    /// Whether it may do what concerns more than its vhost. There are no ACLs: whoever has logged in must be an
    /// administrator; where nobody logs in, as in Kafka without an authorizer, everybody is.
    ///
    /// # Errors
    /// CLUSTER_AUTHORIZATION_FAILED
    pub fn may_administer(&self) -> Result<(), ErrorCode> {
        let Some(identity) = self.client.identity.get() else { return Ok(()) };
        let user = self.door().broker.users.user(&identity.user);
        let is_administrator = user.is_some_and(|user| user.tags.iter().any(|tag| tag == "administrator"));
        if is_administrator { Ok(()) } else { Err(ErrorCode::ClusterAuthorizationFailed) }
    }

    /// Why there are no delegation tokens: whoever has not logged in may not ask for one, and there is no master key.
    #[must_use]
    pub fn no_delegation_token(&self) -> ErrorCode {
        match self.client.identity.get() {
            Some(_) => ErrorCode::DelegationTokenAuthDisabled,
            None => ErrorCode::DelegationTokenRequestNotAllowed,
        }
    }

    /// Java's way to write an address without a name.
    #[must_use]
    pub fn client_host(&self) -> String {
        format!("/{}", self.client.peer.ip().to_canonical())
    }

    /// Domain time.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.door().broker.core.clock.now_ms()
    }

    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION
    pub fn topic_named(&self, name: &str) -> Result<Arc<Topic>, ErrorCode> {
        self.topics().find(self.vhost(), name).ok_or(ErrorCode::UnknownTopicOrPartition)
    }

    /// # Errors
    /// UNKNOWN_TOPIC_ID
    pub fn topic_of_id(&self, id: Uuid) -> Result<Arc<Topic>, ErrorCode> {
        let topic = self.topics().by_id(id).filter(|topic| topic.vhost == *self.vhost());
        topic.ok_or(ErrorCode::UnknownTopicId)
    }

    /// By name in versions before `ids_from`, by id from there on.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID
    pub fn topic(&self, ids_from: i16, name: &str, id: Uuid) -> Result<Arc<Topic>, ErrorCode> {
        if self.version >= ids_from { self.topic_of_id(id) } else { self.topic_named(name) }
    }

    /// Waits until something is on disk.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR when the store will not take it.
    pub async fn durable(&self, pending: Pending) -> Result<(), ErrorCode> {
        let Some(ticket) = pending else { return Ok(()) };
        self.door().broker.core.store.durable(ticket).await.map_err(|error: StoreError| {
            tracing::error!(%error, "a request's change is not durable");
            ErrorCode::KafkaStorageError
        })
    }
}

/// What a handler gives back.
pub enum Reply<R> {
    Answer(R),
    /// Produce with acks=0: no byte goes back.
    Silence,
    /// The connection is closed, because there is no answer to put an error into.
    Close(String),
}

impl<R> From<R> for Reply<R> {
    fn from(response: R) -> Self {
        Self::Answer(response)
    }
}

/// Time as the handlers of one connection see it. The connection sets it before it polls them, and reads back when
/// they want to be polled for the time's sake.
pub struct Timer(Mutex<Times>);

struct Times {
    now: Instant,
    wanted: Option<Instant>,
    /// No further request is begun until then.
    muted_until: Option<Instant>,
}

impl Timer {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Times { now, wanted: None, muted_until: None }))
    }

    pub fn set_now(&self, now: Instant) {
        let mut times = self.0.lock();
        times.now = now;
        times.muted_until = times.muted_until.filter(|until| *until > now);
    }

    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.lock().now
    }

    /// When a handler wants to be polled, or the connection to be heard again.
    #[must_use]
    pub fn wanted(&self) -> Option<Instant> {
        let times = self.0.lock();
        [times.wanted, times.muted_until].into_iter().flatten().min()
    }

    /// The connection is not heard for so long: its client has used up its quota (KIP-219).
    fn mute(&self, duration: Duration) {
        let mut times = self.0.lock();
        let until = times.now.checked_add(duration);
        times.muted_until = times.muted_until.max(until);
    }

    #[must_use]
    pub fn is_muted(&self) -> bool {
        self.0.lock().muted_until.is_some()
    }

    /// What comes of `future`, or nothing if `deadline` is first.
    pub async fn before<F: Future>(&self, deadline: Instant, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let done = match future.as_mut().poll(cx) {
                Poll::Ready(output) => Some(Some(output)),
                Poll::Pending => None,
            };
            let mut times = self.0.lock();
            let done = done.or((times.now >= deadline).then_some(None));
            times.wanted = done.is_none().then_some(deadline);
            done.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Nobody waits any more.
    pub fn forget(&self) {
        self.0.lock().wanted = None;
    }
}
