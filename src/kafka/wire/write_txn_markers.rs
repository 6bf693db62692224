//! WriteTxnMarkers (API key 27), versions 1-2; 1 is flexible.
//!
//! 2 carries the protocol of the transaction (KIP-1228).

use super::message;

message! {
    message 27, flexible 1;
    pub struct WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker>,                       0..;
    }

    pub struct WritableTxnMarker {
        producer_id: i64,                                      0..;
        producer_epoch: i16,                                   0..;
        transaction_result: bool,                              0..;
        topics: Vec<WritableTxnMarkerTopic>,                   0..;
        coordinator_epoch: i32,                                0..;
        transaction_version: i8,                               2.., ignorable;
    }

    pub struct WritableTxnMarkerTopic {
        name: String,                                          0..;
        partition_indexes: Vec<i32>,                           0..;
    }

    message 27, flexible 1;
    pub struct WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult>,                 0..;
    }

    pub struct WritableTxnMarkerResult {
        producer_id: i64,                                      0..;
        topics: Vec<WritableTxnMarkerTopicResult>,             0..;
    }

    pub struct WritableTxnMarkerTopicResult {
        name: String,                                          0..;
        partitions: Vec<WritableTxnMarkerPartitionResult>,     0..;
    }

    pub struct WritableTxnMarkerPartitionResult {
        partition_index: i32,                                  0..;
        error_code: i16,                                       0..;
    }
}
