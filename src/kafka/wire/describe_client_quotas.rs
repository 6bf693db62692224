//! DescribeClientQuotas (API key 48), versions 0-1; 1 is flexible.
//!
//! (KIP-546)

use super::{Float64, message};

message! {
    message 48, flexible 1;
    pub struct DescribeClientQuotasRequest {
        components: Vec<ComponentData>,                        0..;
        strict: bool,                                          0..;
    }

    pub struct ComponentData {
        entity_type: String,                                   0..;
        match_type: i8,                                        0..;
        match_: Option<String>,                                0..;
    }

    message 48, flexible 1;
    pub struct DescribeClientQuotasResponse {
        throttle_time_ms: i32,                                 0..;
        error_code: i16,                                       0..;
        error_message: Option<String>,                         0..;
        entries: Option<Vec<EntryData>>,                       0..;
    }

    pub struct EntryData {
        entity: Vec<EntityData>,                               0..;
        values: Vec<ValueData>,                                0..;
    }

    pub struct EntityData {
        entity_type: String,                                   0..;
        entity_name: Option<String>,                           0..;
    }

    pub struct ValueData {
        key: String,                                           0..;
        value: Float64,                                        0..;
    }
}
