//! Event time: how far each input has come.

pub mod watermark;
