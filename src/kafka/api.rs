//! THE table of APIs: what is advertised, what is dispatched, which header a request has.
//!
//! A row stands here only when its API has a handler. `for_each_api!` hands the rows to another macro, so that the
//! dispatch has no list of its own.

use super::wire::{Message, api_versions::ApiVersion};

/// Gives the table to the macro `$use_rows`: key, name, module in `wire` and `handle`, request, response, versions
/// advertised, first version served.
///
/// Produce 0-2 and JoinGroup 0-1 are advertised because librdkafka takes features from them (KAFKA-18659);
/// Produce 0-2 are refused with UNSUPPORTED_VERSION, as Kafka does.
macro_rules! for_each_api {
    ($use_rows:ident) => {
        $use_rows! {
            0  Produce                     produce                       ProduceRequest                     ProduceResponse                     0..=13 from 3;
            1  Fetch                       fetch                         FetchRequest                       FetchResponse                       4..=18 from 4;
            2  ListOffsets                 list_offsets                  ListOffsetsRequest                 ListOffsetsResponse                 1..=11 from 1;
            3  Metadata                    metadata                      MetadataRequest                    MetadataResponse                    0..=13 from 0;
            8  OffsetCommit                offset_commit                 OffsetCommitRequest                OffsetCommitResponse                2..=10 from 2;
            9  OffsetFetch                 offset_fetch                  OffsetFetchRequest                 OffsetFetchResponse                 1..=10 from 1;
            10 FindCoordinator             find_coordinator              FindCoordinatorRequest             FindCoordinatorResponse             0..=6  from 0;
            11 JoinGroup                   join_group                    JoinGroupRequest                   JoinGroupResponse                   0..=9  from 0;
            12 Heartbeat                   heartbeat                     HeartbeatRequest                   HeartbeatResponse                   0..=4  from 0;
            13 LeaveGroup                  leave_group                   LeaveGroupRequest                  LeaveGroupResponse                  0..=5  from 0;
            14 SyncGroup                   sync_group                    SyncGroupRequest                   SyncGroupResponse                   0..=5  from 0;
            15 DescribeGroups              describe_groups               DescribeGroupsRequest              DescribeGroupsResponse              0..=6  from 0;
            16 ListGroups                  list_groups                   ListGroupsRequest                  ListGroupsResponse                  0..=5  from 0;
            17 SaslHandshake               sasl_handshake                SaslHandshakeRequest               SaslHandshakeResponse               0..=1  from 0;
            18 ApiVersions                 api_versions                  ApiVersionsRequest                 ApiVersionsResponse                 0..=4  from 0;
            19 CreateTopics                create_topics                 CreateTopicsRequest                CreateTopicsResponse                2..=7  from 2;
            20 DeleteTopics                delete_topics                 DeleteTopicsRequest                DeleteTopicsResponse                1..=6  from 1;
            21 DeleteRecords               delete_records                DeleteRecordsRequest               DeleteRecordsResponse               0..=2  from 0;
            22 InitProducerId              init_producer_id              InitProducerIdRequest              InitProducerIdResponse              0..=5  from 0;
            23 OffsetForLeaderEpoch        offset_for_leader_epoch       OffsetForLeaderEpochRequest        OffsetForLeaderEpochResponse        2..=4  from 2;
            24 AddPartitionsToTxn          add_partitions_to_txn         AddPartitionsToTxnRequest          AddPartitionsToTxnResponse          0..=5  from 0;
            25 AddOffsetsToTxn             add_offsets_to_txn            AddOffsetsToTxnRequest             AddOffsetsToTxnResponse             0..=4  from 0;
            26 EndTxn                      end_txn                       EndTxnRequest                      EndTxnResponse                      0..=5  from 0;
            27 WriteTxnMarkers             write_txn_markers             WriteTxnMarkersRequest             WriteTxnMarkersResponse             1..=2  from 1;
            28 TxnOffsetCommit             txn_offset_commit             TxnOffsetCommitRequest             TxnOffsetCommitResponse             0..=5  from 0;
            29 DescribeAcls                describe_acls                 DescribeAclsRequest                DescribeAclsResponse                1..=3  from 1;
            30 CreateAcls                  create_acls                   CreateAclsRequest                  CreateAclsResponse                  1..=3  from 1;
            31 DeleteAcls                  delete_acls                   DeleteAclsRequest                  DeleteAclsResponse                  1..=3  from 1;
            32 DescribeConfigs             describe_configs              DescribeConfigsRequest             DescribeConfigsResponse             1..=4  from 1;
            33 AlterConfigs                alter_configs                 AlterConfigsRequest                AlterConfigsResponse                0..=2  from 0;
            35 DescribeLogDirs             describe_log_dirs             DescribeLogDirsRequest             DescribeLogDirsResponse             1..=5  from 1;
            36 SaslAuthenticate            sasl_authenticate             SaslAuthenticateRequest            SaslAuthenticateResponse            0..=2  from 0;
            37 CreatePartitions            create_partitions             CreatePartitionsRequest            CreatePartitionsResponse            0..=3  from 0;
            38 CreateDelegationToken       create_delegation_token       CreateDelegationTokenRequest       CreateDelegationTokenResponse       1..=3  from 1;
            39 RenewDelegationToken        renew_delegation_token        RenewDelegationTokenRequest        RenewDelegationTokenResponse        1..=2  from 1;
            40 ExpireDelegationToken       expire_delegation_token       ExpireDelegationTokenRequest       ExpireDelegationTokenResponse       1..=2  from 1;
            41 DescribeDelegationToken     describe_delegation_token     DescribeDelegationTokenRequest     DescribeDelegationTokenResponse     1..=3  from 1;
            42 DeleteGroups                delete_groups                 DeleteGroupsRequest                DeleteGroupsResponse                0..=2  from 0;
            43 ElectLeaders                elect_leaders                 ElectLeadersRequest                ElectLeadersResponse                0..=2  from 0;
            44 IncrementalAlterConfigs     incremental_alter_configs     IncrementalAlterConfigsRequest     IncrementalAlterConfigsResponse     0..=1  from 0;
            45 AlterPartitionReassignments alter_partition_reassignments AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse 0..=1  from 0;
            46 ListPartitionReassignments  list_partition_reassignments  ListPartitionReassignmentsRequest  ListPartitionReassignmentsResponse  0..=0  from 0;
            47 OffsetDelete                offset_delete                 OffsetDeleteRequest                OffsetDeleteResponse                0..=0  from 0;
            48 DescribeClientQuotas          describe_client_quotas        DescribeClientQuotasRequest        DescribeClientQuotasResponse        0..=1  from 0;
            49 AlterClientQuotas             alter_client_quotas           AlterClientQuotasRequest           AlterClientQuotasResponse           0..=1  from 0;
            50 DescribeUserScramCredentials  describe_user_scram_credentials DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse 0..=0 from 0;
            51 AlterUserScramCredentials     alter_user_scram_credentials  AlterUserScramCredentialsRequest   AlterUserScramCredentialsResponse   0..=0  from 0;
            55 DescribeQuorum              describe_quorum               DescribeQuorumRequest              DescribeQuorumResponse              0..=2  from 0;
            57 UpdateFeatures              update_features               UpdateFeaturesRequest              UpdateFeaturesResponse              0..=2  from 0;
            60 DescribeCluster             describe_cluster              DescribeClusterRequest             DescribeClusterResponse             0..=2  from 0;
            61 DescribeProducers           describe_producers            DescribeProducersRequest           DescribeProducersResponse           0..=0  from 0;
            65 DescribeTransactions        describe_transactions         DescribeTransactionsRequest        DescribeTransactionsResponse        0..=0  from 0;
            66 ListTransactions            list_transactions             ListTransactionsRequest            ListTransactionsResponse            0..=2  from 0;
            68 ConsumerGroupHeartbeat      consumer_group_heartbeat      ConsumerGroupHeartbeatRequest      ConsumerGroupHeartbeatResponse      0..=1  from 0;
            69 ConsumerGroupDescribe       consumer_group_describe       ConsumerGroupDescribeRequest       ConsumerGroupDescribeResponse       0..=1  from 0;
            74 ListConfigResources         list_config_resources         ListConfigResourcesRequest         ListConfigResourcesResponse         0..=1  from 0;
            75 DescribeTopicPartitions     describe_topic_partitions     DescribeTopicPartitionsRequest     DescribeTopicPartitionsResponse     0..=0  from 0;
            76 ShareGroupHeartbeat         share_group_heartbeat         ShareGroupHeartbeatRequest         ShareGroupHeartbeatResponse         1..=1  from 1;
            77 ShareGroupDescribe          share_group_describe          ShareGroupDescribeRequest          ShareGroupDescribeResponse          1..=1  from 1;
            78 ShareFetch                  share_fetch                   ShareFetchRequest                  ShareFetchResponse                  1..=2  from 1;
            79 ShareAcknowledge            share_acknowledge             ShareAcknowledgeRequest            ShareAcknowledgeResponse            1..=2  from 1;
            90 DescribeShareGroupOffsets   describe_share_group_offsets  DescribeShareGroupOffsetsRequest   DescribeShareGroupOffsetsResponse   0..=1  from 0;
            91 AlterShareGroupOffsets      alter_share_group_offsets     AlterShareGroupOffsetsRequest      AlterShareGroupOffsetsResponse      0..=0  from 0;
            92 DeleteShareGroupOffsets     delete_share_group_offsets    DeleteShareGroupOffsetsRequest     DeleteShareGroupOffsetsResponse     0..=0  from 0;
        }
    };
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    pub key: ApiKey,
    pub number: i16,
    pub name: &'static str,
    /// The first version advertised.
    pub version_min: i16,
    pub version_max: i16,
    /// The first version that is answered in full.
    pub served_from: i16,
    pub flexible_from: i16,
}

impl Api {
    /// Whether a request of that version is answered in full.
    #[must_use]
    pub fn serves(&self, version: i16) -> bool {
        (self.served_from..=self.version_max).contains(&version)
    }
}

macro_rules! table {
    ($($number:literal $name:ident $module:ident $request:ident $response:ident $min:literal..=$max:literal from $served:literal;)+) => {
        /// An API that is spoken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ApiKey {$(
            $name,
        )+}

        /// The table, in the order of the keys.
        pub const APIS: &[Api] = &[$({
            use super::wire::$module::{$request, $response};
            const { assert!(<$request as Message>::KEY == $number && <$response as Message>::KEY == $number) };
            Api {
                key: ApiKey::$name,
                number: $number,
                name: stringify!($name),
                version_min: $min,
                version_max: $max,
                served_from: $served,
                flexible_from: <$request as Message>::FLEXIBLE_FROM,
            }
        },)+];

        /// The row of a key.
        #[must_use]
        pub fn api(number: i16) -> Option<&'static Api> {
            APIS.binary_search_by_key(&number, |api| api.number).ok().and_then(|at| APIS.get(at))
        }
    };
}
for_each_api!(table);

/// From which version on a key's requests have the flexible header; nothing for a key that is not spoken.
#[must_use]
pub fn flexible_from(number: i16) -> Option<i16> {
    api(number).map(|api| api.flexible_from)
}

/// What the ApiVersions answer lists.
#[must_use]
pub fn advertised() -> Vec<ApiVersion> {
    let entry = |api: &Api| ApiVersion {
        api_key: api.number,
        min_version: api.version_min,
        max_version: api.version_max,
    };
    APIS.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_every_row_is_found() {
        assert!(APIS.is_sorted_by(|a, b| a.number < b.number));
        for row in APIS {
            assert_eq!(api(row.number), Some(row));
            assert!(row.version_min <= row.served_from && row.served_from <= row.version_max);
        }
        assert_eq!((api(-1), api(4)), (None, None));
    }

    #[test]
    fn librdkafka_finds_the_old_versions_that_it_takes_features_from() {
        for key in [0, 10, 11, 12, 13, 14, 18] {
            assert_eq!(api(key).unwrap().version_min, 0, "{key}");
        }
        assert!(!api(0).unwrap().serves(2));
        assert!(api(0).unwrap().serves(3));
    }
}
