//! Class 60, basic: publishing, consuming, acknowledging. Content frames are in `content.rs`.

use super::{Arguments, Malformed, method::methods};

methods! {
    /// Any basic method.
    60 "basic" Method<'a> {
        10 Qos "qos" Client {
            prefetch_size: long,
            prefetch_count: short,
            global: bit,
        }
        11 QosOk "qos-ok" Server {}
        20 Consume<'a> "consume" Client {
            reserved_1: short,
            queue: shortstr,
            consumer_tag: shortstr,
            no_local: bit,
            no_ack: bit,
            exclusive: bit,
            nowait: bit,
            arguments: table,
        }
        21 ConsumeOk<'a> "consume-ok" Server {
            consumer_tag: shortstr,
        }
        /// From the server too: the queue went away (RabbitMQ's consumer_cancel_notify).
        30 Cancel<'a> "cancel" Both {
            consumer_tag: shortstr,
            nowait: bit,
        }
        31 CancelOk<'a> "cancel-ok" Both {
            consumer_tag: shortstr,
        }
        40 Publish<'a> "publish" Client {
            reserved_1: short,
            exchange: shortstr,
            routing_key: shortstr,
            mandatory: bit,
            immediate: bit,
        }
        50 Return<'a> "return" Server {
            reply_code: short,
            reply_text: shortstr,
            exchange: shortstr,
            routing_key: shortstr,
        }
        60 Deliver<'a> "deliver" Server {
            consumer_tag: shortstr,
            delivery_tag: longlong,
            redelivered: bit,
            exchange: shortstr,
            routing_key: shortstr,
        }
        70 Get<'a> "get" Client {
            reserved_1: short,
            queue: shortstr,
            no_ack: bit,
        }
        71 GetOk<'a> "get-ok" Server {
            delivery_tag: longlong,
            redelivered: bit,
            exchange: shortstr,
            routing_key: shortstr,
            message_count: long,
        }
        72 GetEmpty<'a> "get-empty" Server {
            reserved_1: shortstr,
        }
        /// From the server: a publisher confirm.
        80 Ack "ack" Both {
            delivery_tag: longlong,
            multiple: bit,
        }
        90 Reject "reject" Client {
            delivery_tag: longlong,
            requeue: bit,
        }
        100 RecoverAsync "recover-async" Client {
            requeue: bit,
        }
        110 Recover "recover" Client {
            requeue: bit,
        }
        111 RecoverOk "recover-ok" Server {}
        /// From the server: a publish that was refused.
        120 Nack "nack" Both {
            delivery_tag: longlong,
            multiple: bit,
            requeue: bit,
        }
    }
}

impl<'a> Publish<'a> {
    /// The way past [`super::Method`] for the one method that comes a million times a second: `None` when the payload
    /// of the method frame is another's.
    #[inline]
    #[must_use]
    pub fn decode_payload(payload: &'a [u8]) -> Option<Result<Self, Malformed>> {
        payload.strip_prefix(&[0, 60, 0, 40]).map(Self::decode_all)
    }
}
