//! FindCoordinator (API key 10), versions 0-6.
//!
//! 1 adds the kind of key (0 group, 1 transaction, 2 share), 3 is flexible, 4 asks for several keys at once, 5 allows the
//! error TRANSACTION_ABORTABLE, 6 share groups.

use super::message;

message! {
    message 10, flexible 3;
    pub struct FindCoordinatorRequest {
        key: String,                                           0..=3;
        key_type: i8,                                          1..;
        coordinator_keys: Vec<String>,                         4..;
    }

    message 10, flexible 3;
    pub struct FindCoordinatorResponse {
        throttle_time_ms: i32,                                 1.., ignorable;
        error_code: i16,                                       0..=3;
        error_message: Option<String>,                         1..=3, ignorable;
        node_id: i32,                                          0..=3;
        host: String,                                          0..=3;
        port: i32,                                             0..=3;
        coordinators: Vec<Coordinator>,                        4..;
    }

    pub struct Coordinator {
        key: String,                                           4..;
        node_id: i32,                                          4..;
        host: String,                                          4..;
        port: i32,                                             4..;
        error_code: i16,                                       4..;
        error_message: Option<String>,                         4.., ignorable;
    }
}
