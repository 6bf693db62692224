//! Class 30, access: a relic of AMQP 0-8 that old clients still send.

use super::method::methods;

methods! {
    /// Any access method.
    30 "access" Method<'a> {
        10 Request<'a> "request" Client {
            realm: shortstr,
            exclusive: bit,
            passive: bit,
            active: bit,
            write: bit,
            read: bit,
        }
        11 RequestOk "request-ok" Server {
            ticket: short,
        }
    }
}
