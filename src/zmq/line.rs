//! How frames are written to one peer: as they are, or sealed with CURVE; and in which of ZMTP 3's versions.

use bytes::{Bytes, BytesMut};

use super::{
    curve::Traffic,
    wire::{
        command::Command,
        frame::{self, Kind},
    },
};
use crate::net::pump::Output;

/// Parts up to this size are copied into the output; larger ones go as slices of the message.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// The way to a peer.
pub struct Line {
    /// Of ZMTP 3: since 1, subscriptions are commands, and there are heartbeats.
    pub minor: u8,
    pub traffic: Option<Box<Traffic>>,
    /// Whole messages since they were counted last.
    sent: u64,
}

impl Line {
    #[must_use]
    pub fn new(minor: u8, traffic: Option<Box<Traffic>>) -> Self {
        Self { minor, traffic, sent: 0 }
    }

    /// Messages since the last time.
    pub fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// A part of a message.
    #[inline]
    pub fn part(&mut self, output: &mut Output, part: &[u8], more: bool) {
        self.sent += u64::from(!more);
        self.frame(output.buffer(), Kind::Message { more }, part);
    }

    /// A part that may be large.
    pub fn part_of(&mut self, output: &mut Output, part: Bytes, more: bool) {
        if part.len() <= COPIED_BYTES_MAX || self.traffic.is_some() {
            self.part(output, &part, more);
            return;
        }
        self.sent += u64::from(!more);
        frame::put_head(output.buffer(), Kind::Message { more }, part.len());
        output.push(part);
    }

    /// A whole message.
    pub fn message(&mut self, output: &mut Output, parts: &[&[u8]]) {
        for (at, part) in parts.iter().enumerate() {
            self.part(output, part, at + 1 < parts.len());
        }
    }

    /// A command behind the handshake.
    pub fn command(&mut self, output: &mut Output, command: &Command<'_>) {
        let mut body = BytesMut::new();
        command.put_body(&mut body);
        self.frame(output.buffer(), Kind::Command, &body);
    }

    #[inline]
    fn frame(&mut self, out: &mut BytesMut, kind: Kind, body: &[u8]) {
        match &mut self.traffic {
            None => frame::put(out, kind, body),
            Some(traffic) => traffic.seal(kind, body, out),
        }
    }
}
