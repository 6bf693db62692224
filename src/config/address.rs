//! Where a door listens: `off`, a port, or `HOST:PORT`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A door's address option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    Off,
    On {
        /// Without one, the door listens where every door does (`server.listen`).
        host: Option<String>,
        port: u16,
    },
}

impl Address {
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::On { host: None, port }
    }

    /// The hosts and the port to bind, or nothing when the door is off.
    ///
    /// # Errors
    /// When the host's name has no address.
    pub fn resolve(&self, listen: &[IpAddr]) -> std::io::Result<Option<(Vec<IpAddr>, u16)>> {
        let (host, port) = match self {
            Self::Off => return Ok(None),
            Self::On { host, port } => (host, *port),
        };
        let hosts = match host.as_deref() {
            None => listen.to_vec(),
            // By hand, because what the machine's resolver says for it varies, and clients try both.
            Some("localhost") => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Some(name) => match name.parse() {
                Ok(ip) => vec![ip],
                Err(_) => (name, port).to_socket_addrs()?.map(|a| a.ip()).collect(),
            },
        };
        Ok(Some((hosts, port)))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = port.parse().map_err(|_| format!("`{text}` is not HOST:PORT, PORT or `off`"))?;
        let host = match host.strip_prefix('[').map(|h| h.strip_suffix(']')) {
            Some(Some(inner)) => inner,
            Some(None) => return Err(format!("`{text}` lacks a `]`")),
            None if host.contains(':') => {
                return Err(format!("write the IPv6 address in `{text}` in brackets"));
            }
            None => host,
        };
        Ok(Self::On { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On { host: None, port } => write!(f, "{port}"),
            Self::On { host: Some(host), port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::On { host: Some(host), port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(Option<&str>, u16), ()>) {
        let got = text.parse::<Address>().map_err(|_| ());
        let expected = expected.map(|(host, port)| Address::On { host: host.map(str::to_owned), port });
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn addresses_as_people_write_them() {
        check("5672", Ok((None, 5672)));
        check(":0", Ok((None, 0)));
        check("127.0.0.1:5672", Ok((Some("127.0.0.1"), 5672)));
        check("localhost:1", Ok((Some("localhost"), 1)));
        check("[::1]:9092", Ok((Some("::1"), 9092)));
        check("::1:9092", Err(()));
        check("[::1:9092", Err(()));
        check("here", Err(()));
        check("127.0.0.1:66000", Err(()));
        assert_eq!("off".parse(), Ok(Address::Off));
    }

    #[test]
    fn without_a_host_a_door_listens_where_every_door_does() {
        let everywhere: Vec<IpAddr> = vec![[0, 0, 0, 0].into()];
        assert_eq!(Address::port(7).resolve(&everywhere).unwrap(), Some((everywhere, 7)));
        assert_eq!(Address::Off.resolve(&[]).unwrap(), None);
    }
}
