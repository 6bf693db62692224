//! Who is connected: what the admin door shows, and how it asks a connection to close.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::{outlet::Outlet, queue::ConnectionId, trace::NODE};
use crate::data::{tls::Session, value::Table};

/// An open connection.
#[derive(Debug)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub protocol: &'static str,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Without TLS, nothing.
    pub tls: Option<Arc<Session>>,
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub client_properties: Table,
    /// What it logged in by.
    pub auth_mechanism: Arc<str>,
    pub connected_at_ms: i64,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat_s: u16,
    pub outlet: Arc<Outlet>,
    /// It published while an alarm was on, and is not read until that is over.
    pub blocked: AtomicBool,
    /// When it was held up last because it published faster than others could follow.
    pub held_up_ms: AtomicI64,
    pub channels: Mutex<BTreeMap<u16, Arc<ChannelInfo>>>,
}

impl ConnectionInfo {
    /// A connection of a protocol that agrees on nothing that AMQP does; nobody's yet.
    #[must_use]
    pub fn plain(
        id: ConnectionId,
        protocol: &'static str,
        (peer, local): (SocketAddr, SocketAddr),
        connected_at_ms: i64,
    ) -> Self {
        Self {
            id,
            protocol,
            peer,
            local,
            tls: None,
            user: Arc::default(),
            vhost: Arc::default(),
            client_properties: Table::default(),
            auth_mechanism: Arc::default(),
            connected_at_ms,
            channel_max: 0,
            frame_max: 0,
            heartbeat_s: 0,
            outlet: Arc::default(),
            blocked: AtomicBool::default(),
            held_up_ms: AtomicI64::default(),
            channels: Mutex::default(),
        }
    }

    /// RabbitMQ's name of a connection.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }

    /// The name that the client gave it.
    #[must_use]
    pub fn provided_name(&self) -> Option<&[u8]> {
        self.client_properties.field("connection_name")?.octets()
    }

    /// What stands for the pid of its process in RabbitMQ (`channel`: of that channel's): never given twice.
    #[must_use]
    pub fn pid(&self, channel: Option<u16>) -> String {
        format!("<{NODE}.1.{}.{}>", self.id.0, channel.unwrap_or(0))
    }

    /// What RabbitMQ calls its state, while an alarm is on or not. One that is held up again and again is in `flow` all
    /// the time: it counts for a while.
    #[must_use]
    pub fn state(&self, now_ms: i64, alarm: bool) -> &'static str {
        match (self.blocked.load(Ordering::Relaxed), alarm) {
            (true, _) => "blocked",
            (false, true) => "blocking",
            (false, false) if self.held_up(now_ms, CONNECTION_FLOW_MS) => "flow",
            (false, false) => "running",
        }
    }

    /// Whether it was held up within the last milliseconds, so many.
    #[must_use]
    pub fn held_up(&self, now_ms: i64, within_ms: i64) -> bool {
        now_ms.saturating_sub(self.held_up_ms.load(Ordering::Relaxed)) < within_ms
    }
}

/// For so long a connection that was held up is in `flow` (rabbit_reader: `last_blocked_at` within 5 s).
const CONNECTION_FLOW_MS: i64 = 5_000;

/// For so long its channels are (credit_flow: `STATE_CHANGE_INTERVAL`).
pub const CHANNEL_FLOW_MS: i64 = 1_000;

/// An open channel.
#[derive(Debug, Default)]
pub struct ChannelInfo {
    pub consumers: AtomicUsize,
    pub unacked: AtomicUsize,
    pub published: AtomicU64,
    pub confirm: AtomicBool,
    pub prefetch_count: AtomicU64,
}

impl ChannelInfo {
    /// One more publish. Only the channel's own connection counts, so that no atomic addition is needed.
    #[inline]
    pub fn count_publish(&self) {
        self.published.store(self.published.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Connections(Mutex<BTreeMap<ConnectionId, Arc<ConnectionInfo>>>);

impl Connections {
    pub fn put(&self, info: Arc<ConnectionInfo>) {
        self.0.lock().insert(info.id, info);
    }

    /// Adds a connection, unless its vhost or its user has as many as they may.
    ///
    /// # Errors
    /// [`LimitReached`].
    pub fn admit(&self, info: Arc<ConnectionInfo>, limits: &Limits) -> Result<(), LimitReached> {
        let mut all = self.0.lock();
        limits.check(&all, &info.vhost, &info.user)?;
        all.insert(info.id, info);
        Ok(())
    }

    /// Whether one connection more would be admitted.
    ///
    /// # Errors
    /// [`LimitReached`].
    pub fn check(&self, vhost: &str, user: &str, limits: &Limits) -> Result<(), LimitReached> {
        limits.check(&self.0.lock(), vhost, user)
    }

    /// Channels that a user has open, on all its connections.
    #[must_use]
    pub fn channels_of(&self, user: &str) -> usize {
        let mine = self.all().into_iter().filter(|info| *info.user == *user);
        mine.map(|info| info.channels.lock().len()).sum()
    }

    pub fn remove(&self, id: ConnectionId) {
        self.0.lock().remove(&id);
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConnectionInfo>> {
        self.0.lock().values().cloned().collect()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How many connections a vhost and a user may have; absent ones do not limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub of_vhost: Option<u64>,
    pub of_user: Option<u64>,
}

/// A limit on connections is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitReached {
    User(u64),
    Vhost(u64),
}

impl Limits {
    fn check(
        self,
        all: &BTreeMap<ConnectionId, Arc<ConnectionInfo>>,
        vhost: &str,
        user: &str,
    ) -> Result<(), LimitReached> {
        // Nobody counts who need not.
        let count =
            |same: &dyn Fn(&ConnectionInfo) -> bool| all.values().filter(|info| same(info)).count() as u64;
        match self {
            Self { of_vhost: Some(limit), .. } if count(&|info| *info.vhost == *vhost) >= limit => {
                Err(LimitReached::Vhost(limit))
            }
            Self { of_user: Some(limit), .. } if count(&|info| *info.user == *user) >= limit => {
                Err(LimitReached::User(limit))
            }
            Self { .. } => Ok(()),
        }
    }
}
