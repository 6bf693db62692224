//! The bottom: values and records that every layer may name, and that name nothing themselves.

pub mod expiration;
pub mod field;
pub mod glob;
pub mod long_double;
pub mod multipart;
pub mod record;
pub mod term;
pub mod tls;
pub mod value;
