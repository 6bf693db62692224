//! The rows of the table for bytes that are not what they should be.

use super::Code;
use crate::{
    amqp::wire::Malformed,
    data::{field, term},
};

/// Bytes that are not what they should be. RabbitMQ has no words for broken properties and unknown methods (its
/// process dies and the socket closes); ours are for those who read a log.
pub(super) fn row(malformed: &Malformed) -> (Code, String) {
    match malformed {
        Malformed::FrameTooLarge { frame_type, payload_bytes, payload_bytes_max } => (
            Code::FrameError,
            format!(
                "type {frame_type}, all octets = <<>>: {{frame_too_large,{payload_bytes},{payload_bytes_max}}}"
            ),
        ),
        Malformed::FrameEnd { frame_type, octets, end } => {
            let (extent, octets) = (octets.extent(), term::binary(octets.octets()));
            let text =
                format!("type {frame_type}, {extent} octets = {octets}: {{invalid_frame_end_marker,{end}}}");
            (Code::FrameError, text)
        }
        Malformed::UnknownFrame { frame_type, octets } => {
            let (extent, octets) = (octets.extent(), term::binary(octets.octets()));
            (Code::FrameError, format!("type {frame_type}, {extent} octets = {octets}: unknown_frame"))
        }
        Malformed::UnexpectedFrame { frame_type, octets } => {
            let (extent, octets) = (octets.extent(), term::binary(octets.octets()));
            (Code::UnexpectedFrame, format!("type {frame_type}, {extent} octets = {octets}"))
        }
        Malformed::Arguments { octets, .. } => {
            (Code::FrameError, format!("cannot decode {}", term::numbers(octets)))
        }
        Malformed::ShortStrUtf8 { .. } | Malformed::Field(field::Malformed::Utf8) => {
            (Code::FrameError, "Malformed UTF-8 in shortstr".to_owned())
        }
        Malformed::UnknownMethod(_) => (Code::CommandInvalid, malformed.to_string()),
        Malformed::Field(_) => (Code::FrameError, malformed.to_string()),
    }
}
