//! AlterClientQuotas (API key 49), versions 0-1; 1 is flexible.
//!
//! (KIP-546)

use super::{Float64, message};

message! {
    message 49, flexible 1;
    pub struct AlterClientQuotasRequest {
        entries: Vec<EntryData>,                               0..;
        validate_only: bool,                                   0..;
    }

    pub struct EntryData {
        entity: Vec<EntityData>,                               0..;
        ops: Vec<OpData>,                                      0..;
    }

    pub struct EntityData {
        entity_type: String,                                   0..;
        entity_name: Option<String>,                           0..;
    }

    pub struct OpData {
        key: String,                                           0..;
        value: Float64,                                        0..;
        remove: bool,                                          0..;
    }

    message 49, flexible 1;
    pub struct AlterClientQuotasResponse {
        throttle_time_ms: i32,                                 0..;
        entries: Vec<EntryDataResult>,                         0..;
    }

    pub struct EntryDataResult {
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        entity: Vec<EntityData>,                               0..;
    }
}
