//! Class 20, channel.

use super::method::methods;

methods! {
    /// Any channel method.
    20 "channel" Method<'a> {
        10 Open<'a> "open" Client {
            reserved_1: shortstr,
        }
        11 OpenOk<'a> "open-ok" Server {
            reserved_1: longstr,
        }
        20 Flow "flow" Both {
            active: bit,
        }
        21 FlowOk "flow-ok" Both {
            active: bit,
        }
        40 Close<'a> "close" Both {
            reply_code: short,
            reply_text: shortstr,
            class_id: short,
            method_id: short,
        }
        41 CloseOk "close-ok" Both {}
    }
}
