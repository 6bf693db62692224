//! Class 10, connection: handshake, tuning, closing, alarms.

use super::method::methods;

methods! {
    /// Any connection method.
    10 "connection" Method<'a> {
        10 Start<'a> "start" Server {
            version_major: octet,
            version_minor: octet,
            server_properties: table,
            mechanisms: longstr,
            locales: longstr,
        }
        11 StartOk<'a> "start-ok" Client {
            client_properties: table,
            mechanism: shortstr,
            response: longstr,
            locale: shortstr,
        }
        20 Secure<'a> "secure" Server {
            challenge: longstr,
        }
        21 SecureOk<'a> "secure-ok" Client {
            response: longstr,
        }
        30 Tune "tune" Server {
            channel_max: short,
            frame_max: long,
            heartbeat: short,
        }
        31 TuneOk "tune-ok" Client {
            channel_max: short,
            frame_max: long,
            heartbeat: short,
        }
        40 Open<'a> "open" Client {
            virtual_host: shortstr,
            reserved_1: shortstr,
            reserved_2: bit,
        }
        41 OpenOk<'a> "open-ok" Server {
            reserved_1: shortstr,
        }
        50 Close<'a> "close" Both {
            reply_code: short,
            reply_text: shortstr,
            class_id: short,
            method_id: short,
        }
        51 CloseOk "close-ok" Both {}
        /// RabbitMQ's extension: publishers are not being read.
        60 Blocked<'a> "blocked" Server {
            reason: shortstr,
        }
        61 Unblocked "unblocked" Server {}
        /// RabbitMQ's extension: a new credential.
        70 UpdateSecret<'a> "update-secret" Client {
            new_secret: longstr,
            reason: shortstr,
        }
        71 UpdateSecretOk "update-secret-ok" Server {}
    }
}
