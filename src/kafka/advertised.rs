//! What a client is told to connect to.
//!
//! Kafka asks its operator for `advertised.listeners`, and every container set-up gets it wrong once. The address that
//! the client has just reached is right by construction, so that is the answer unless the configuration knows better
//! (port mapping).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// `kafka.advertised`: HOST, or HOST:PORT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    pub host: String,
    /// Without one, the port the client connected to.
    pub port: Option<u16>,
}

impl Advertised {
    /// Reads HOST or HOST:PORT; an IPv6 address may stand in brackets. Nothing for an empty text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            Some(_) | None => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

/// The node as Metadata and FindCoordinator show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub host: String,
    pub port: i32,
}

impl Node {
    /// For a client that reached `local`.
    #[must_use]
    pub fn seen_at(local: SocketAddr, advertised: Option<&Advertised>) -> Self {
        let port = advertised.and_then(|a| a.port).unwrap_or(local.port()).into();
        let host = match (advertised, local.ip().to_canonical()) {
            (Some(advertised), _) => advertised.host.clone(),
            // Clients choke on a bare IPv6 address in many ways, and every machine knows this name for ::1.
            (None, IpAddr::V6(Ipv6Addr::LOCALHOST)) => "localhost".to_owned(),
            (None, ip) => ip.to_string(),
        };
        Self { host, port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_the_address_it_reached_unless_one_is_configured() {
        fn check(local: &str, advertised: &str, expected: (&str, i32)) {
            let node = Node::seen_at(local.parse().unwrap(), Advertised::parse(advertised).as_ref());
            assert_eq!((node.host.as_str(), node.port), expected);
        }
        check("127.0.0.1:9092", "", ("127.0.0.1", 9092));
        check("[::1]:9092", "", ("localhost", 9092));
        check("[::ffff:10.0.0.7]:9092", "", ("10.0.0.7", 9092));
        check("10.0.0.7:19092", "broker", ("broker", 19092));
        check("10.0.0.7:19092", "broker:9093", ("broker", 9093));
        check("10.0.0.7:19092", "[fe80::1]:9093", ("fe80::1", 9093));
        check("10.0.0.7:19092", "fe80::1", ("fe80::1", 19092));
    }
}
