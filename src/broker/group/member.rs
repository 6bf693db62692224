//! One member of a classic group, and what it asks for when it joins.

use std::{
    borrow::Borrow,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    classic::{Effects, Reply},
    error::GroupError,
};

/// A member's id: made by the coordinator, opaque to the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub Arc<str>);

impl From<&str> for MemberId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl Borrow<str> for MemberId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request that waits for its answer; made by the shell, unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// An assignment protocol and the member's subscription in its terms (opaque here).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    pub name: String,
    pub metadata: Bytes,
}

/// JoinGroup, without a version: what differs between versions is in flags.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Empty on a member's first join.
    pub member_id: String,
    /// The id to give if the coordinator makes one: ids come from outside, so that a simulation can repeat itself.
    pub new_member_id: MemberId,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout: Duration,
    pub session_timeout: Duration,
    pub protocol_type: String,
    pub protocols: Vec<Protocol>,
    /// v4 and later: a new dynamic member first gets MEMBER_ID_REQUIRED and its id.
    pub require_known_member_id: bool,
    /// v9 and later: a returning static leader may be told to skip the assignment.
    pub supports_skipping_assignment: bool,
}

/// The answer to a JoinGroup that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub generation_id: i32,
    pub protocol_type: String,
    pub protocol_name: String,
    pub leader: MemberId,
    pub skip_assignment: bool,
    pub member_id: MemberId,
    /// Everyone, for the leader; nobody, for a follower.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: MemberId,
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}

/// A JoinGroup that failed. The member id is the new one with `MemberIdRequired`, else what the client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefused {
    pub error: GroupError,
    pub member_id: MemberId,
}

pub type JoinResult = Result<Joined, JoinRefused>;

/// The answer to a SyncGroup that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol_name: String,
    pub assignment: Bytes,
}

pub type SyncResult = Result<Synced, GroupError>;

/// SyncGroup: the leader's carries everyone's assignment.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    pub member_id: String,
    pub generation_id: i32,
    pub group_instance_id: Option<String>,
    /// v5 and later.
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub assignments: Vec<(String, Bytes)>,
}

/// Which answer a member is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Nothing,
    Join(Token),
    Sync(Token),
}

impl Waiting {
    /// Answers whoever waits with an error.
    pub(super) fn refuse(self, member_id: &MemberId, error: GroupError, effects: &mut Effects) {
        match self {
            Self::Nothing => {}
            Self::Join(token) => {
                let refused = JoinRefused { error, member_id: member_id.clone() };
                effects.replies.push(Reply::Join(token, Err(refused)));
            }
            Self::Sync(token) => effects.replies.push(Reply::Sync(token, Err(error))),
        }
    }
}

/// One member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) waiting: Waiting,
    /// Its first join has not been answered: it cannot heartbeat yet, so only `NEW_MEMBER_JOIN_TIMEOUT` removes it.
    pub(super) is_new: bool,
    /// The generation began and its SyncGroup has not come.
    pub(super) owes_sync: bool,
    /// When its session ends unless it is heard from.
    pub(super) session_ends: Instant,
}

impl Member {
    pub(super) fn awaits_join(&self) -> bool {
        matches!(self.waiting, Waiting::Join(_))
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|p| p.name == protocol)
    }

    /// Its subscription in the protocol that won.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|p| Some(p.name.as_str()) == protocol)
            .map(|p| p.metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.session_ends = now + self.session_timeout;
    }
}
