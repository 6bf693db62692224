//! Counters of the whole broker, counted in batches where it is hot: the core's share of `observe`'s one table.

pub use crate::observe::metrics::{Counter, Metrics as Meters};
