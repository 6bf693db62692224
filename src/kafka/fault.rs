//! Kafka's error codes, and the one place where the core's and the records' refusals become them.

use crate::broker::{
    group::error::GroupError,
    topic::{CreateRefused, append::Refused, config::ConfigError, fetch::FetchError, trim::TrimRefused},
};

macro_rules! error_codes {
    ($($code:literal $variant:ident $name:literal;)+) => {
        /// An error code, by Kafka's name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {$(
            $variant,
        )+}

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self {$(
                    Self::$variant => $code,
                )+}
            }

            /// Kafka's name for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(
                    Self::$variant => $name,
                )+}
            }

            /// The error of a number.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError "UNKNOWN_SERVER_ERROR";
    0 None "NONE";
    1 OffsetOutOfRange "OFFSET_OUT_OF_RANGE";
    2 CorruptMessage "CORRUPT_MESSAGE";
    3 UnknownTopicOrPartition "UNKNOWN_TOPIC_OR_PARTITION";
    4 InvalidFetchSize "INVALID_FETCH_SIZE";
    5 LeaderNotAvailable "LEADER_NOT_AVAILABLE";
    6 NotLeaderOrFollower "NOT_LEADER_OR_FOLLOWER";
    7 RequestTimedOut "REQUEST_TIMED_OUT";
    8 BrokerNotAvailable "BROKER_NOT_AVAILABLE";
    9 ReplicaNotAvailable "REPLICA_NOT_AVAILABLE";
    10 MessageTooLarge "MESSAGE_TOO_LARGE";
    11 StaleControllerEpoch "STALE_CONTROLLER_EPOCH";
    12 OffsetMetadataTooLarge "OFFSET_METADATA_TOO_LARGE";
    13 NetworkException "NETWORK_EXCEPTION";
    14 CoordinatorLoadInProgress "COORDINATOR_LOAD_IN_PROGRESS";
    15 CoordinatorNotAvailable "COORDINATOR_NOT_AVAILABLE";
    16 NotCoordinator "NOT_COORDINATOR";
    17 InvalidTopicException "INVALID_TOPIC_EXCEPTION";
    18 RecordListTooLarge "RECORD_LIST_TOO_LARGE";
    19 NotEnoughReplicas "NOT_ENOUGH_REPLICAS";
    20 NotEnoughReplicasAfterAppend "NOT_ENOUGH_REPLICAS_AFTER_APPEND";
    21 InvalidRequiredAcks "INVALID_REQUIRED_ACKS";
    22 IllegalGeneration "ILLEGAL_GENERATION";
    23 InconsistentGroupProtocol "INCONSISTENT_GROUP_PROTOCOL";
    24 InvalidGroupId "INVALID_GROUP_ID";
    25 UnknownMemberId "UNKNOWN_MEMBER_ID";
    26 InvalidSessionTimeout "INVALID_SESSION_TIMEOUT";
    27 RebalanceInProgress "REBALANCE_IN_PROGRESS";
    28 InvalidCommitOffsetSize "INVALID_COMMIT_OFFSET_SIZE";
    29 TopicAuthorizationFailed "TOPIC_AUTHORIZATION_FAILED";
    30 GroupAuthorizationFailed "GROUP_AUTHORIZATION_FAILED";
    31 ClusterAuthorizationFailed "CLUSTER_AUTHORIZATION_FAILED";
    32 InvalidTimestamp "INVALID_TIMESTAMP";
    33 UnsupportedSaslMechanism "UNSUPPORTED_SASL_MECHANISM";
    34 IllegalSaslState "ILLEGAL_SASL_STATE";
    35 UnsupportedVersion "UNSUPPORTED_VERSION";
    36 TopicAlreadyExists "TOPIC_ALREADY_EXISTS";
    37 InvalidPartitions "INVALID_PARTITIONS";
    38 InvalidReplicationFactor "INVALID_REPLICATION_FACTOR";
    39 InvalidReplicaAssignment "INVALID_REPLICA_ASSIGNMENT";
    40 InvalidConfig "INVALID_CONFIG";
    41 NotController "NOT_CONTROLLER";
    42 InvalidRequest "INVALID_REQUEST";
    43 UnsupportedForMessageFormat "UNSUPPORTED_FOR_MESSAGE_FORMAT";
    44 PolicyViolation "POLICY_VIOLATION";
    45 OutOfOrderSequenceNumber "OUT_OF_ORDER_SEQUENCE_NUMBER";
    46 DuplicateSequenceNumber "DUPLICATE_SEQUENCE_NUMBER";
    47 InvalidProducerEpoch "INVALID_PRODUCER_EPOCH";
    48 InvalidTxnState "INVALID_TXN_STATE";
    49 InvalidProducerIdMapping "INVALID_PRODUCER_ID_MAPPING";
    50 InvalidTransactionTimeout "INVALID_TRANSACTION_TIMEOUT";
    51 ConcurrentTransactions "CONCURRENT_TRANSACTIONS";
    52 TransactionCoordinatorFenced "TRANSACTION_COORDINATOR_FENCED";
    53 TransactionalIdAuthorizationFailed "TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
    54 SecurityDisabled "SECURITY_DISABLED";
    55 OperationNotAttempted "OPERATION_NOT_ATTEMPTED";
    56 KafkaStorageError "KAFKA_STORAGE_ERROR";
    58 SaslAuthenticationFailed "SASL_AUTHENTICATION_FAILED";
    59 UnknownProducerId "UNKNOWN_PRODUCER_ID";
    61 DelegationTokenAuthDisabled "DELEGATION_TOKEN_AUTH_DISABLED";
    64 DelegationTokenRequestNotAllowed "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED";
    68 NonEmptyGroup "NON_EMPTY_GROUP";
    69 GroupIdNotFound "GROUP_ID_NOT_FOUND";
    70 FetchSessionIdNotFound "FETCH_SESSION_ID_NOT_FOUND";
    71 InvalidFetchSessionEpoch "INVALID_FETCH_SESSION_EPOCH";
    72 ListenerNotFound "LISTENER_NOT_FOUND";
    73 TopicDeletionDisabled "TOPIC_DELETION_DISABLED";
    74 FencedLeaderEpoch "FENCED_LEADER_EPOCH";
    75 UnknownLeaderEpoch "UNKNOWN_LEADER_EPOCH";
    76 UnsupportedCompressionType "UNSUPPORTED_COMPRESSION_TYPE";
    77 StaleBrokerEpoch "STALE_BROKER_EPOCH";
    78 OffsetNotAvailable "OFFSET_NOT_AVAILABLE";
    79 MemberIdRequired "MEMBER_ID_REQUIRED";
    80 PreferredLeaderNotAvailable "PREFERRED_LEADER_NOT_AVAILABLE";
    81 GroupMaxSizeReached "GROUP_MAX_SIZE_REACHED";
    82 FencedInstanceId "FENCED_INSTANCE_ID";
    83 EligibleLeadersNotAvailable "ELIGIBLE_LEADERS_NOT_AVAILABLE";
    84 ElectionNotNeeded "ELECTION_NOT_NEEDED";
    85 NoReassignmentInProgress "NO_REASSIGNMENT_IN_PROGRESS";
    86 GroupSubscribedToTopic "GROUP_SUBSCRIBED_TO_TOPIC";
    87 InvalidRecord "INVALID_RECORD";
    88 UnstableOffsetCommit "UNSTABLE_OFFSET_COMMIT";
    89 ThrottlingQuotaExceeded "THROTTLING_QUOTA_EXCEEDED";
    90 ProducerFenced "PRODUCER_FENCED";
    91 ResourceNotFound "RESOURCE_NOT_FOUND";
    92 DuplicateResource "DUPLICATE_RESOURCE";
    93 UnacceptableCredential "UNACCEPTABLE_CREDENTIAL";
    95 FeatureUpdateFailed "FEATURE_UPDATE_FAILED";
    100 UnknownTopicId "UNKNOWN_TOPIC_ID";
    103 InconsistentTopicId "INCONSISTENT_TOPIC_ID";
    105 TransactionalIdNotFound "TRANSACTIONAL_ID_NOT_FOUND";
    106 FetchSessionTopicIdError "FETCH_SESSION_TOPIC_ID_ERROR";
    110 FencedMemberEpoch "FENCED_MEMBER_EPOCH";
    111 UnreleasedInstanceId "UNRELEASED_INSTANCE_ID";
    112 UnsupportedAssignor "UNSUPPORTED_ASSIGNOR";
    113 StaleMemberEpoch "STALE_MEMBER_EPOCH";
    114 MismatchedEndpointType "MISMATCHED_ENDPOINT_TYPE";
    115 UnsupportedEndpointType "UNSUPPORTED_ENDPOINT_TYPE";
    120 TransactionAbortable "TRANSACTION_ABORTABLE";
    121 InvalidRecordState "INVALID_RECORD_STATE";
    122 ShareSessionNotFound "SHARE_SESSION_NOT_FOUND";
    123 InvalidShareSessionEpoch "INVALID_SHARE_SESSION_EPOCH";
    128 InvalidRegularExpression "INVALID_REGULAR_EXPRESSION";
    129 RebootstrapRequired "REBOOTSTRAP_REQUIRED";
    133 ShareSessionLimitReached "SHARE_SESSION_LIMIT_REACHED";
}

impl ErrorCode {
    /// What Kafka says where nothing more is known than the code (`Errors.message`); its name, where clients never see
    /// one from us.
    #[must_use]
    pub fn text(self) -> &'static str {
        let found = TEXTS.iter().find(|(code, _)| *code == self);
        found.map_or(self.name(), |(_, text)| text)
    }
}

const TEXTS: &[(ErrorCode, &str)] = &[
    (ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition."),
    (
        ErrorCode::InvalidRequest,
        "This most likely occurs because of a request being malformed by the client library or the message was sent \
         to an incompatible broker. See the broker logs for more details.",
    ),
    (ErrorCode::ClusterAuthorizationFailed, "Cluster authorization failed."),
    (ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition."),
    (ErrorCode::UnknownTopicId, "This server does not host this topic ID."),
];

impl From<&Refused> for ErrorCode {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::CorruptMessage(_) => Self::CorruptMessage,
            Refused::InvalidRecord(_) => Self::InvalidRecord,
            Refused::Records(records) if records.is_of_timestamps() => Self::InvalidTimestamp,
            Refused::Records(_) => Self::InvalidRecord,
            Refused::Unexpected(_) => Self::UnknownServerError,
            Refused::MessageTooLarge { .. } => Self::MessageTooLarge,
            Refused::NotEnoughReplicas => Self::NotEnoughReplicas,
            Refused::UnknownTopicOrPartition => Self::UnknownTopicOrPartition,
            Refused::OutOfOrderSequence => Self::OutOfOrderSequenceNumber,
            Refused::InvalidProducerEpoch => Self::InvalidProducerEpoch,
            Refused::InvalidTxnState => Self::InvalidTxnState,
            Refused::Storage(_) => Self::KafkaStorageError,
        }
    }
}

impl From<GroupError> for ErrorCode {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::CoordinatorNotAvailable => Self::CoordinatorNotAvailable,
            GroupError::IllegalGeneration => Self::IllegalGeneration,
            GroupError::InconsistentGroupProtocol => Self::InconsistentGroupProtocol,
            GroupError::InvalidGroupId => Self::InvalidGroupId,
            GroupError::UnknownMemberId => Self::UnknownMemberId,
            GroupError::InvalidSessionTimeout => Self::InvalidSessionTimeout,
            GroupError::RebalanceInProgress => Self::RebalanceInProgress,
            GroupError::GroupMaxSizeReached => Self::GroupMaxSizeReached,
            GroupError::MemberIdRequired => Self::MemberIdRequired,
            GroupError::FencedInstanceId => Self::FencedInstanceId,
            GroupError::NonEmptyGroup => Self::NonEmptyGroup,
            GroupError::GroupIdNotFound => Self::GroupIdNotFound,
            GroupError::GroupSubscribedToTopic => Self::GroupSubscribedToTopic,
            GroupError::OffsetMetadataTooLarge => Self::OffsetMetadataTooLarge,
            GroupError::InvalidRequest => Self::InvalidRequest,
            GroupError::UnsupportedVersion => Self::UnsupportedVersion,
            GroupError::FencedMemberEpoch => Self::FencedMemberEpoch,
            GroupError::UnreleasedInstanceId => Self::UnreleasedInstanceId,
            GroupError::UnsupportedAssignor => Self::UnsupportedAssignor,
            GroupError::StaleMemberEpoch => Self::StaleMemberEpoch,
            GroupError::InvalidRegularExpression => Self::InvalidRegularExpression,
        }
    }
}

impl From<&FetchError> for ErrorCode {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::OutOfRange(_) => Self::OffsetOutOfRange,
            FetchError::UnknownTopicOrPartition => Self::UnknownTopicOrPartition,
            FetchError::Storage(_) | FetchError::Damaged(_) => Self::KafkaStorageError,
        }
    }
}

impl From<&CreateRefused> for ErrorCode {
    fn from(refused: &CreateRefused) -> Self {
        match refused {
            CreateRefused::TopicAlreadyExists(_) => Self::TopicAlreadyExists,
            CreateRefused::InvalidPartitions => Self::InvalidPartitions,
            CreateRefused::InvalidTopic(_) => Self::InvalidTopicException,
        }
    }
}

impl From<&TrimRefused> for ErrorCode {
    fn from(refused: &TrimRefused) -> Self {
        match refused {
            TrimRefused::OffsetOutOfRange => Self::OffsetOutOfRange,
            TrimRefused::PolicyViolation => Self::PolicyViolation,
            TrimRefused::UnknownTopicOrPartition => Self::UnknownTopicOrPartition,
            TrimRefused::Storage(_) => Self::KafkaStorageError,
        }
    }
}

/// An error code with the text that goes with it, where the response has room for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: ErrorCode,
    pub message: String,
}

impl Fault {
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The code says it all: with Kafka's general text for it.
impl From<ErrorCode> for Fault {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.text())
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Self::new(ErrorCode::from(&refused), refused.to_string())
    }
}

impl From<CreateRefused> for Fault {
    fn from(refused: CreateRefused) -> Self {
        Self::new(ErrorCode::from(&refused), refused.to_string())
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> Self {
        error.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_come_back() {
        assert!(ErrorCode::ALL.is_sorted_by_key(|e| e.code()));
        for &error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(error), "{}", error.name());
        }
        assert_eq!(ErrorCode::from_code(1_000), None);
    }
}
