//! DescribeShareGroupOffsets (API key 90), versions 0-1 (KIP-932). 1 has the lag (KIP-1226).

use uuid::Uuid;

use super::message;

message! {
    message 90, flexible 0;
    pub struct DescribeShareGroupOffsetsRequest {
        groups: Vec<DescribeShareGroupOffsetsRequestGroup>,    0..;
    }

    pub struct DescribeShareGroupOffsetsRequestGroup {
        group_id: String,                                      0..;
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>>, 0..;
    }

    pub struct DescribeShareGroupOffsetsRequestTopic {
        topic_name: String,                                    0..;
        partitions: Vec<i32>,                                  0..;
    }

    message 90, flexible 0;
    pub struct DescribeShareGroupOffsetsResponse {
        throttle_time_ms: i32,                                 0..;
        groups: Vec<DescribeShareGroupOffsetsResponseGroup>,   0..;
    }

    pub struct DescribeShareGroupOffsetsResponseGroup {
        group_id: String,                                      0..;
        topics: Vec<DescribeShareGroupOffsetsResponseTopic>,   0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
    }

    pub struct DescribeShareGroupOffsetsResponseTopic {
        topic_name: String,                                    0..;
        topic_id: Uuid,                                        0..;
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition>, 0..;
    }

    pub struct DescribeShareGroupOffsetsResponsePartition {
        partition_index: i32,                                  0..;
        start_offset: i64,                                     0..;
        leader_epoch: i32,                                     0..;
        lag: i64 = -1,                                         1.., ignorable;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
    }
}
