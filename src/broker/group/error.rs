//! Why a group refuses: Kafka's names, one for each error code a client can be given. The codes are the door's.

/// A refusal of the group coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("the generation id is not the group's current one")]
    IllegalGeneration,
    #[error("the member's protocols do not agree with those of the group's members")]
    InconsistentGroupProtocol,
    #[error("the group id is invalid")]
    InvalidGroupId,
    #[error("the coordinator is not aware of this member")]
    UnknownMemberId,
    #[error("the session timeout is not within the range the broker allows")]
    InvalidSessionTimeout,
    #[error("the group is rebalancing, so a rejoin is needed")]
    RebalanceInProgress,
    #[error("the group has reached its maximum size")]
    GroupMaxSizeReached,
    #[error("the group member needs to have a valid member id before entering the group")]
    MemberIdRequired,
    #[error("another member with the same group.instance.id has taken this member's place")]
    FencedInstanceId,
    #[error("the group is not empty")]
    NonEmptyGroup,
    #[error("the group id does not exist")]
    GroupIdNotFound,
    #[error("the group is subscribed to this topic")]
    GroupSubscribedToTopic,
    #[error("the committing offset's metadata is too large")]
    OffsetMetadataTooLarge,
    #[error("the request is not valid")]
    InvalidRequest,
    #[error("the version of the API is not supported for this member")]
    UnsupportedVersion,
    #[error("the member epoch is fenced by the coordinator")]
    FencedMemberEpoch,
    #[error("the instance id is still used by another member")]
    UnreleasedInstanceId,
    #[error("the assignor is not supported")]
    UnsupportedAssignor,
    #[error("the member epoch is stale")]
    StaleMemberEpoch,
    #[error("the regular expression is not valid")]
    InvalidRegularExpression,
}

/// A refusal with the text that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    pub error: GroupError,
    pub text: String,
}

impl Refused {
    #[must_use]
    pub fn new(error: GroupError, text: impl Into<String>) -> Self {
        Self { error, text: text.into() }
    }
}

/// The error says it all.
impl From<GroupError> for Refused {
    fn from(error: GroupError) -> Self {
        Self::new(error, error.to_string())
    }
}
