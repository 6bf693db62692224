//! Body frames that do not come in one read: taken as they come, straight into the body.
//!
//! Otherwise the read buffer would have to grow until it holds the whole frame, and everything would be copied once more.
//! Only what is right so far is taken this way; a frame that is wrong anywhere but at its end is refused when it is whole.

use std::time::Instant;

use super::{Connection, Phase};
use crate::amqp::{
    channel::Phase as ChannelPhase,
    publish,
    session::Context,
    wire::{MethodId, frame},
};

/// A body frame of which something is still to come: its end octet at least.
#[derive(Debug, Clone, Copy)]
pub struct Partial {
    channel: u16,
    left: usize,
    /// How the payload begins: an error quotes it.
    began: frame::Began,
}

impl Connection {
    /// Begins with a frame that is not whole, if it is such a one; says how many bytes that took.
    pub(super) fn begin_partial(&mut self, input: &[u8]) -> usize {
        let Phase::Open(session) = &mut self.phase else { return 0 };
        let Some(head) = frame::body_head(input, session.frame_max) else { return 0 };
        let takes = session.channels.get(&head.channel).is_some_and(|channel| {
            channel.phase == ChannelPhase::Open && publish::takes_parts(channel, head.payload_bytes)
        });
        if !takes {
            return 0;
        }
        session.partial =
            Some(Partial { channel: head.channel, left: head.payload_bytes, began: head.began });
        frame::HEAD_BYTES
    }

    /// Goes on with such a frame; `None` when none is under way.
    pub(super) fn take_partial(&mut self, now: Instant, now_ms: i64, input: &[u8]) -> Option<usize> {
        let Phase::Open(session) = &mut self.phase else { return None };
        let Partial { channel, left, began } = session.partial?;
        let (part, rest) = input.split_at(left.min(input.len()));
        // The channel may have been closed by us meanwhile: then nobody wants it.
        let wanted = session.channels.get(&channel).is_some_and(|c| publish::takes_parts(c, left));
        let end = if part.len() == left { rest.first() } else { None };
        session.partial = end.is_none().then_some(Partial { channel, left: left - part.len(), began });
        let mut cx = Context { session, output: &mut self.output, now_ms };
        let mut result = if wanted { publish::on_part(&mut cx, channel, part) } else { Ok(()) };
        match end {
            Some(&frame::END) if wanted => {
                result = result.and_then(|()| publish::on_body_end(&mut cx, channel));
            }
            Some(&frame::END) | None => {}
            Some(&end) => {
                self.lose_place(now, began.bad_end(end));
                return Some(input.len());
            }
        }
        self.settle(now, channel, result, MethodId { class: 60, method: 40 });
        Some(part.len() + usize::from(end.is_some()))
    }
}
