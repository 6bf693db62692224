//! Class 50, queue.

use super::method::methods;

methods! {
    /// Any queue method.
    50 "queue" Method<'a> {
        10 Declare<'a> "declare" Client {
            reserved_1: short,
            queue: shortstr,
            passive: bit,
            durable: bit,
            exclusive: bit,
            auto_delete: bit,
            nowait: bit,
            arguments: table,
        }
        11 DeclareOk<'a> "declare-ok" Server {
            queue: shortstr,
            message_count: long,
            consumer_count: long,
        }
        20 Bind<'a> "bind" Client {
            reserved_1: short,
            queue: shortstr,
            exchange: shortstr,
            routing_key: shortstr,
            nowait: bit,
            arguments: table,
        }
        21 BindOk "bind-ok" Server {}
        30 Purge<'a> "purge" Client {
            reserved_1: short,
            queue: shortstr,
            nowait: bit,
        }
        31 PurgeOk "purge-ok" Server {
            message_count: long,
        }
        40 Delete<'a> "delete" Client {
            reserved_1: short,
            queue: shortstr,
            if_unused: bit,
            if_empty: bit,
            nowait: bit,
        }
        41 DeleteOk "delete-ok" Server {
            message_count: long,
        }
        /// The only one without a nowait bit.
        50 Unbind<'a> "unbind" Client {
            reserved_1: short,
            queue: shortstr,
            exchange: shortstr,
            routing_key: shortstr,
            arguments: table,
        }
        51 UnbindOk "unbind-ok" Server {}
    }
}
