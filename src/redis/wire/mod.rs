//! RESP, the Redis serialization protocol, versions 2 and 3: requests in, replies out.

pub mod malformed;
pub mod number;
pub mod reply;
pub mod request;
