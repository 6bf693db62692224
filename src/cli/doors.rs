//! The doors: which there are, and binding them before anything else is slow.

use std::{collections::BTreeSet, io, net::SocketAddr};

use crate::{
    config::{Address, Config},
    net::listener::Bound,
};

macro_rules! doors {
    ($($door:ident $name:ident $protocol:literal $required:literal $login:literal $tls:expr;)*) => {
        /// A way in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Door {
            $($door,)*
        }

        impl Door {
            pub const ALL: [Self; [$($required),*].len()] = [$(Self::$door),*];

            /// As in options, keys and the ready line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$door => stringify!($name),)*
                }
            }

            /// RabbitMQ's name of the protocol, where it has one.
            #[must_use]
            pub fn protocol(self) -> &'static str {
                match self {
                    $(Self::$door => $protocol,)*
                }
            }

            /// The same behind TLS, where it knows that: ZeroMQ has CURVE.
            fn tls_protocol(self) -> Option<&'static str> {
                match self {
                    $(Self::$door => $tls,)*
                }
            }

            /// Whether a busy port is fatal even when nobody named it.
            fn required(self) -> bool {
                match self {
                    $(Self::$door => $required,)*
                }
            }

            /// Whether whoever reaches it from another machine must log in.
            fn has_login(self) -> bool {
                match self {
                    $(Self::$door => $login,)*
                }
            }

            fn address(self, config: &Config) -> &Address {
                match self {
                    $(Self::$door => &config.$name.address,)*
                }
            }
        }
    };
}

// THE table of doors.
//  door    key     protocol          required login behind TLS
doors! {
    Amqp    amqp    "amqp"            true  true   Some("amqp/ssl");
    Kafka   kafka   "kafka"           true  false  Some("kafka/ssl");
    Redis   redis   "redis"           false true   Some("redis/ssl");
    Zmq     zmq     "zmq"             false true   None;
    Admin   admin   "http"            true  true   Some("https");
    Metrics metrics "http/prometheus" false false  Some("https/prometheus");
}

impl Door {
    /// Where it listens for TLS, if it knows it.
    fn tls_address(self, config: &Config) -> Option<&Address> {
        match self {
            Self::Amqp => Some(&config.amqp.tls_address),
            Self::Kafka => Some(&config.kafka.tls_address),
            Self::Redis => Some(&config.redis.tls_address),
            Self::Admin => Some(&config.admin.tls_address),
            Self::Metrics => Some(&config.metrics.tls_address),
            Self::Zmq => None,
        }
    }
}

/// Which of a door's addresses it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `DOOR.address`
    First,
    /// `DOOR.tls_address`
    Tls,
    /// `zmq.endpoints`: that one of the further addresses.
    Endpoint(usize),
}

/// A door whose sockets are bound.
#[derive(Debug)]
pub struct Opening {
    pub door: Door,
    pub which: Which,
    pub bound: Bound,
}

impl Opening {
    /// As the ready line names it.
    #[must_use]
    pub fn name(&self) -> String {
        match self.which {
            Which::First => self.door.name().to_owned(),
            Which::Tls => format!("{}.tls", self.door.name()),
            Which::Endpoint(n) => format!("{}.{n}", self.door.name()),
        }
    }

    /// RabbitMQ's name of the protocol, where it has one.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        let tls = self.door.tls_protocol().filter(|_| self.which == Which::Tls);
        tls.unwrap_or_else(|| self.door.protocol())
    }
}

/// Why a door cannot open: one line, naming the key and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error(
        "{key}: {address} is in use by another program; stop that one, or choose another with `{option}HOST:PORT`, or `{option}off`"
    )]
    Busy { key: String, option: String, address: SocketAddr },
    #[error("{key}: cannot listen on {address}: {reason}; choose another with `{option}HOST:PORT`")]
    Unusable { key: String, option: String, address: SocketAddr, reason: io::Error },
    #[error("{key}: `{address}` has no address: {reason}; write an IP address or a name this machine knows")]
    Unresolved { key: String, address: Address, reason: io::Error },
    #[error("zmq.endpoints: {address}: {reason}; write an address that is free, or leave the endpoint out")]
    Endpoint { address: Address, reason: io::Error },
}

/// Binds every door that is on; with `tls` their addresses for TLS, too.
///
/// # Errors
/// The first door that must open and cannot. Others are warned of and left out.
pub fn bind(config: &Config, named: &BTreeSet<String>, tls: bool) -> Result<Vec<Opening>, DoorError> {
    let mut open = Vec::new();
    let first = Door::ALL.map(|door| (door, Which::First, Some(door.address(config))));
    let second = Door::ALL.map(|door| (door, Which::Tls, door.tls_address(config).filter(|_| tls)));
    for (door, which, address) in first.into_iter().chain(second) {
        let Some(address) = address else { continue };
        let (key, option) = match which {
            Which::First | Which::Endpoint(_) => {
                (format!("{}.address", door.name()), format!("--{} ", door.name()))
            }
            Which::Tls => {
                (format!("{}.tls_address", door.name()), format!("--set {}.tls_address=", door.name()))
            }
        };
        match bind_one(door, (&key, &option), address, config) {
            Ok(Some(bound)) => open.push(Opening { door, which, bound }),
            Ok(None) => {}
            Err(error) if door.required() || named.contains(&key) => return Err(error),
            Err(error) => tracing::warn!("goes on without the {} door: {error}", door.name()),
        }
    }
    for (n, endpoint) in config.zmq.endpoints.iter().enumerate() {
        let bound = bind_endpoint(&endpoint.address, config)
            .map_err(|reason| DoorError::Endpoint { address: endpoint.address.clone(), reason })?;
        open.extend(bound.map(|bound| Opening { door: Door::Zmq, which: Which::Endpoint(n), bound }));
    }
    Ok(open)
}

fn bind_endpoint(address: &Address, config: &Config) -> io::Result<Option<Bound>> {
    let Some((hosts, port)) = address.resolve(&config.server.listen)? else { return Ok(None) };
    Bound::bind(&hosts, port).map(Some).map_err(|(_, reason)| reason)
}

/// `key` and `option`: where that address is set.
fn bind_one(
    door: Door,
    (key, option): (&str, &str),
    address: &Address,
    config: &Config,
) -> Result<Option<Bound>, DoorError> {
    let resolved = address.resolve(&config.server.listen);
    let resolved = resolved.map_err(|reason| DoorError::Unresolved {
        key: key.to_owned(),
        address: address.clone(),
        reason,
    })?;
    let Some((hosts, port)) = resolved else { return Ok(None) };
    if !door.has_login()
        && let Some(open) = hosts.iter().find(|h| !h.to_canonical().is_loopback())
    {
        tracing::warn!(
            "the {} door has no login and listens on {open}: whoever reaches it may use it",
            door.name()
        );
    }
    let bound = Bound::bind(&hosts, port).map_err(|(address, reason)| {
        let (key, option) = (key.to_owned(), option.to_owned());
        if reason.kind() == io::ErrorKind::AddrInUse {
            DoorError::Busy { key, option, address }
        } else {
            DoorError::Unusable { key, option, address, reason }
        }
    })?;
    Ok(Some(bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(port: u16) -> Config {
        let mut config = Config::default();
        let address = Address::On { host: Some("127.0.0.1".into()), port };
        for door in [
            &mut config.amqp.address,
            &mut config.kafka.address,
            &mut config.admin.address,
            &mut config.metrics.address,
            &mut config.redis.address,
            &mut config.zmq.address,
        ] {
            *door = Address::On { host: Some("127.0.0.1".into()), port: 0 };
        }
        config.metrics.address = address;
        config
    }

    #[tokio::test]
    async fn a_busy_port_is_fatal_where_the_user_named_it_and_a_warning_elsewhere() {
        let taken = Bound::bind(&[[127, 0, 0, 1].into()], 0).unwrap();
        let config = config(taken.addresses()[0].port());
        let open = bind(&config, &BTreeSet::new(), false).unwrap();
        assert!(open.iter().all(|opening| opening.door != Door::Metrics));
        drop(open);
        let named = BTreeSet::from(["metrics.address".to_owned()]);
        let error = bind(&config, &named, false).unwrap_err().to_string();
        assert!(
            error.starts_with("metrics.address: 127.0.0.1:") && error.contains("--metrics off"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_door_that_is_off_is_absent_and_each_endpoint_is_there() {
        let mut config = config(0);
        config.metrics.address = Address::Off;
        config.zmq.address = Address::Off;
        let address = Address::On { host: Some("127.0.0.1".into()), port: 0 };
        config.zmq.endpoints.push(crate::config::ZmqEndpoint { address, mapping: Default::default() });
        let open = bind(&config, &BTreeSet::new(), false).unwrap();
        let names: Vec<String> = open.iter().map(Opening::name).collect();
        assert_eq!(names, ["amqp", "kafka", "redis", "admin", "zmq.0"]);
        let taken = open[4].bound.addresses()[0].port();
        config.zmq.endpoints[0].address = Address::On { host: Some("127.0.0.1".into()), port: taken };
        let error = bind(&config, &BTreeSet::new(), false).err().unwrap().to_string();
        assert!(error.starts_with("zmq.endpoints: 127.0.0.1:"), "{error}");
    }
}
