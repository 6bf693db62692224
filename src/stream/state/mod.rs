//! What a job leaves in the store, written with the outputs in one commit, so that reading it back is the whole of
//! recovery: positions and phase (`job`), and the operators' keyed state, each under its operator's id.

pub mod bucket;
pub mod encode;
mod job;
pub mod keyed;
mod left;
pub mod timed;

pub use job::{Failure, FilesState, JobState, OpenFile, PartitionState, Phase, STATE_VERSION, SourceState};
