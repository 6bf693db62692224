//! Who is connected: what the admin door shows, and how it asks a connection to close.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use parking_lot::Mutex;

use super::{outlet::Outlet, queue::ConnectionId};
use crate::data::value::Table;

/// An open connection.
#[derive(Debug)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub protocol: &'static str,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub user: Arc<str>,
    pub vhost: Arc<str>,
    pub client_properties: Table,
    pub connected_at_ms: i64,
    pub channel_max: u16,
    pub frame_max: u32,
    pub heartbeat_s: u16,
    pub outlet: Arc<Outlet>,
    pub channels: Mutex<BTreeMap<u16, Arc<ChannelInfo>>>,
}

impl ConnectionInfo {
    /// RabbitMQ's name of a connection.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} -> {}", self.peer, self.local)
    }
}

/// An open channel.
#[derive(Debug, Default)]
pub struct ChannelInfo {
    pub consumers: AtomicUsize,
    pub unacked: AtomicUsize,
    pub published: AtomicU64,
    pub confirm: std::sync::atomic::AtomicBool,
    pub prefetch_count: AtomicU64,
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Connections(Mutex<BTreeMap<ConnectionId, Arc<ConnectionInfo>>>);

impl Connections {
    pub fn put(&self, info: Arc<ConnectionInfo>) {
        self.0.lock().insert(info.id, info);
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
