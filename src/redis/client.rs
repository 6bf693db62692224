//! What a connection knows of its client.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    afterwards::Afterwards,
    clients::{ClientInfo, Shown},
    wire::reply::Resp,
};
use crate::broker::{
    channels::By,
    keyspace::{
        state::Watch,
        waiters::{Db, WaiterId},
    },
    list::End,
    login::Login,
    outlet::Outlet,
};

/// One client.
pub struct Client {
    pub info: Arc<ClientInfo>,
    pub outlet: Arc<Outlet>,
    pub login: Option<Login>,
    /// Its name, or what it is made with, is another than the admin door shows.
    pub introduced: bool,
    /// Nobody is there without a login: it has given none, or nobody may be.
    pub db: Db,
    pub resp: Resp,
    pub transaction: Option<Transaction>,
    pub watch: Option<Watch>,
    pub blocked: Option<Blocked>,
    pub channels: BTreeSet<Vec<u8>>,
    pub patterns: BTreeSet<Vec<u8>>,
    /// What is due to it is still written; then the socket closes.
    pub closing: bool,
    pub afterwards: Afterwards,
    /// A request that waited is done again, and waits until then at most.
    pub again_until: Option<Option<Instant>>,
    /// Nobody is to hear of it: the socket closes at once.
    pub dropped: bool,
    pub silence: Silence,
}

/// Whether replies are sent (`CLIENT REPLY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    #[default]
    Off,
    /// The reply to the next command is not.
    Next,
    On,
}

/// Commands between `MULTI` and `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    pub commands: Vec<Vec<Box<[u8]>>>,
    pub bytes: usize,
    /// One was refused, so none will be done.
    pub failed: bool,
}

/// What a client waits for.
#[derive(Debug)]
pub struct Blocked {
    pub waiter: WaiterId,
    pub until: Option<Instant>,
    pub shape: Shape,
}

/// What the reply to a client that waited looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// The key and its element (`BLPOP`).
    KeyAndElement,
    /// The key and a list of elements (`BLMPOP`).
    KeyAndElements,
    /// The element (`BLMOVE`).
    Element,
    /// Whatever this request gives now (`XREAD`).
    Again(Vec<Box<[u8]>>),
}

/// Which end, as commands name it.
#[must_use]
pub fn end(word: &[u8]) -> Option<End> {
    if word.eq_ignore_ascii_case(b"left") {
        Some(End::Left)
    } else if word.eq_ignore_ascii_case(b"right") {
        Some(End::Right)
    } else {
        None
    }
}

impl Client {
    #[must_use]
    pub fn new(info: Arc<ClientInfo>) -> Self {
        Self {
            outlet: info.outlet.clone(),
            info,
            login: None,
            introduced: false,
            db: 0,
            resp: Resp::default(),
            transaction: None,
            watch: None,
            blocked: None,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            closing: false,
            afterwards: Afterwards::default(),
            again_until: None,
            dropped: false,
            silence: Silence::default(),
        }
    }

    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.info.ends.peer
    }

    /// Whether somebody touched a key that it watches.
    #[must_use]
    pub fn watched_was_touched(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.load(Ordering::Relaxed))
    }

    /// Changes what it says of itself.
    pub fn introduce(&mut self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.info.shown.lock());
        self.introduced = true;
    }

    /// What it listens to.
    pub fn listens(&mut self, by: By) -> &mut BTreeSet<Vec<u8>> {
        match by {
            By::Channel => &mut self.channels,
            By::Pattern => &mut self.patterns,
        }
    }

    /// Channels and patterns it listens to.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}
