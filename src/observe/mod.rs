//! What the server says about itself: counters, their exposition, the process' own figures, the log.
//!
//! Nothing here decides anything, and nothing here knows a protocol.

pub mod expose;
pub mod metrics;
pub mod process;
pub mod trace;

pub use metrics::Metrics;
