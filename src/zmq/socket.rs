//! THE table of socket types (28/REQREP, 29/PUBSUB, 30/PIPELINE): what a peer's socket is, what we are to it, and what
//! serves it.
//!
//! A type that is not here is refused. PAIR and the draft types (CLIENT, SERVER, RADIO, DISH, GATHER, SCATTER, PEER,
//! CHANNEL) have no meaning between many peers and a broker.

use super::handle::{Open, publish, pull, push, request, subscribe, work};

macro_rules! sockets {
    ($($socket:ident $name:literal $counterpart:literal $open:path;)*) => {
        /// A peer's type of socket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Socket {
            $($socket,)*
        }

        impl Socket {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$socket),*];

            /// As READY says it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$socket => $name,)*
                }
            }

            /// What we are to it.
            #[must_use]
            pub fn counterpart(self) -> &'static str {
                match self {
                    $(Self::$socket => $counterpart,)*
                }
            }

            /// What serves it.
            #[must_use]
            pub fn open(self) -> Open {
                match self {
                    $(Self::$socket => $open,)*
                }
            }
        }
    };
}

//  peer    as it says  we are    served by
sockets! {
    Dealer  "DEALER"    "ROUTER"  request::open;
    Pub     "PUB"       "XSUB"    publish::open;
    Pull    "PULL"      "PUSH"    pull::open;
    Push    "PUSH"      "PULL"    push::open;
    Rep     "REP"       "DEALER"  work::open;
    Req     "REQ"       "ROUTER"  request::open;
    Router  "ROUTER"    "DEALER"  work::open;
    Sub     "SUB"       "XPUB"    subscribe::open;
    XPub    "XPUB"      "XSUB"    publish::open;
    XSub    "XSUB"      "XPUB"    subscribe::open;
}

impl Socket {
    /// The type of that name.
    #[must_use]
    pub fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|socket| socket.name().as_bytes() == name)
    }
}
