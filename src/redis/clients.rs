//! Who is connected to the door: what `CLIENT LIST` shows, and whom `CLIENT KILL` finds.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use parking_lot::Mutex;

use crate::{
    broker::{keyspace::waiters::Db, outlet::Outlet, queue::ConnectionId},
    data::value::{Table, Value},
    net::listener::Ends,
};

/// What others may know of a client.
#[derive(Debug)]
pub struct ClientInfo {
    pub id: ConnectionId,
    pub ends: Ends,
    pub connected_at: Instant,
    pub outlet: Arc<Outlet>,
    pub shown: Mutex<Shown>,
}

/// What changes of it.
#[derive(Debug, Clone)]
pub struct Shown {
    pub name: String,
    pub lib_name: String,
    pub lib_version: String,
    pub user: String,
    pub db: Db,
    pub channels: usize,
    pub patterns: usize,
    /// Commands in its transaction, if it is in one.
    pub queued: Option<usize>,
    pub blocked: bool,
    pub resp3: bool,
    pub command: &'static str,
    pub heard_at: Instant,
}

impl ClientInfo {
    #[must_use]
    pub fn new(id: ConnectionId, ends: Ends, outlet: Arc<Outlet>, now: Instant) -> Arc<Self> {
        let shown = Shown {
            name: String::new(),
            lib_name: String::new(),
            lib_version: String::new(),
            user: String::new(),
            db: 0,
            channels: 0,
            patterns: 0,
            queued: None,
            blocked: false,
            resp3: false,
            command: "NULL",
            heard_at: now,
        };
        Arc::new(Self { id, ends, connected_at: now, outlet, shown: Mutex::new(shown) })
    }

    /// What it says of itself, as RabbitMQ's clients say it.
    #[must_use]
    pub fn properties(&self) -> Table {
        let shown = self.shown.lock();
        let said =
            [("connection_name", &shown.name), ("product", &shown.lib_name), ("version", &shown.lib_version)];
        let said = said.into_iter().filter(|(_, text)| !text.is_empty());
        Table(said.map(|(name, text)| (name.to_owned(), Value::LongStr(text.clone().into()))).collect())
    }

    /// What kind of client it is (`CLIENT KILL TYPE`).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let shown = self.shown.lock();
        if shown.channels + shown.patterns > 0 { "pubsub" } else { "normal" }
    }

    /// Its line in `CLIENT LIST`.
    #[must_use]
    pub fn line(&self, now: Instant) -> String {
        let shown = self.shown.lock().clone();
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        let mut flags = String::new();
        for (flag, on) in
            [('P', shown.channels + shown.patterns > 0), ('x', shown.queued.is_some()), ('b', shown.blocked)]
        {
            flags.extend(on.then_some(flag));
        }
        if flags.is_empty() {
            flags.push('N');
        }
        format!(
            "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub=0 multi={} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
            self.id.0,
            self.ends.peer,
            self.ends.local,
            shown.name,
            seconds(self.connected_at),
            seconds(shown.heard_at),
            shown.db,
            shown.channels,
            shown.patterns,
            shown.queued.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX)),
            shown.command,
            shown.user,
            if shown.resp3 { 3 } else { 2 },
            shown.lib_name,
            shown.lib_version,
        )
    }
}

/// All clients of the door.
#[derive(Debug, Default)]
pub struct Clients(Mutex<BTreeMap<ConnectionId, Arc<ClientInfo>>>);

impl Clients {
    pub fn put(&self, info: Arc<ClientInfo>) {
        self.0.lock().insert(info.id, info);
    }

    pub fn remove(&self, id: ConnectionId) {
        self.0.lock().remove(&id);
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.0.lock().values().cloned().collect()
    }
}
