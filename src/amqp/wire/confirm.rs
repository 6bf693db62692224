//! Class 85, confirm (RabbitMQ's extension).

use super::method::methods;

methods! {
    /// Any confirm method.
    85 "confirm" Method {
        10 Select "select" Client {
            nowait: bit,
        }
        11 SelectOk "select-ok" Server {}
    }
}
