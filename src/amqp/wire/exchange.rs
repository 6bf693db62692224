//! Class 40, exchange.

use super::method::methods;

methods! {
    /// Any exchange method.
    40 "exchange" Method<'a> {
        10 Declare<'a> "declare" Client {
            reserved_1: short,
            exchange: shortstr,
            r#type: shortstr,
            passive: bit,
            durable: bit,
            auto_delete: bit,
            internal: bit,
            nowait: bit,
            arguments: table,
        }
        11 DeclareOk "declare-ok" Server {}
        20 Delete<'a> "delete" Client {
            reserved_1: short,
            exchange: shortstr,
            if_unused: bit,
            nowait: bit,
        }
        21 DeleteOk "delete-ok" Server {}
        30 Bind<'a> "bind" Client {
            reserved_1: short,
            destination: shortstr,
            source: shortstr,
            routing_key: shortstr,
            nowait: bit,
            arguments: table,
        }
        31 BindOk "bind-ok" Server {}
        40 Unbind<'a> "unbind" Client {
            reserved_1: short,
            destination: shortstr,
            source: shortstr,
            routing_key: shortstr,
            nowait: bit,
            arguments: table,
        }
        /// 51, not 41: historic, and every client expects it.
        51 UnbindOk "unbind-ok" Server {}
    }
}
