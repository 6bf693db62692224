//! DescribeLogDirs (API key 35), versions 1-5; 2 is flexible.
//!
//! 3 adds an error for the whole, 4 the size of the volume (KIP-827), 5 whether it is cordoned (KIP-1066).

use super::message;

message! {
    message 35, flexible 2;
    pub struct DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>>,           0..;
    }

    pub struct DescribableLogDirTopic {
        topic: String,                                         0..;
        partitions: Vec<i32>,                                  0..;
    }

    message 35, flexible 2;
    pub struct DescribeLogDirsResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       3.., ignorable;
        results: Vec<DescribeLogDirsResult>,                   0..;
    }

    pub struct DescribeLogDirsResult {
        error_code: i16,                                       0..;
        log_dir: String,                                       0..;
        topics: Vec<DescribeLogDirsTopic>,                     0..;
        total_bytes: i64 = -1,                                 4.., ignorable;
        usable_bytes: i64 = -1,                                4.., ignorable;
        is_cordoned: bool,                                     5.., ignorable;
    }

    pub struct DescribeLogDirsTopic {
        name: String,                                          0..;
        partitions: Vec<DescribeLogDirsPartition>,             0..;
    }

    pub struct DescribeLogDirsPartition {
        partition_index: i32,                                  0..;
        partition_size: i64,                                   0..;
        offset_lag: i64,                                       0..;
        is_future_key: bool,                                   0..;
    }
}
