//! What comes back, as lines: `channel.close 404 50.10 NOT_FOUND - no queue 'q' in vhost '/'`.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    time::Duration,
};

use super::{
    speak::{bytes, start_ok},
    support::amqp::{Arguments, BODY, Frame, HEADER, HEARTBEAT, METHOD, PROTOCOL, Wire, ids},
    support::now,
};

/// One connection of a script.
pub(crate) struct Peer {
    wire: Wire,
    /// Properties are shown as hex digits behind bodies.
    pub(crate) shows_properties: bool,
    /// And headers as scripts write them.
    pub(crate) shows_headers: bool,
    /// Channel 1 is open as far as we know: what is not expected can be asked for.
    pub(crate) open: bool,
    sent: std::time::Instant,
}

/// How to open a connection; what a script does not say is as most clients have it.
pub(crate) struct Opening {
    pub(crate) mechanism: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) heartbeat_s: u16,
    pub(crate) without: String,
}

impl Default for Opening {
    fn default() -> Self {
        let guest = || "guest".to_owned();
        Self {
            mechanism: "PLAIN".to_owned(),
            user: guest(),
            password: guest(),
            vhost: "/".to_owned(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat_s: 0,
            without: String::new(),
        }
    }
}

impl Peer {
    /// A socket, and nothing said on it.
    pub(crate) fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            wire: Wire::connect(address)?,
            shows_properties: false,
            shows_headers: false,
            open: false,
            sent: now(),
        })
    }

    /// From the protocol header to channel 1, as far as it gets: what answers is left to be read.
    pub(crate) fn open(address: SocketAddr, how: &Opening) -> io::Result<Self> {
        let mut peer = Self::tcp(address)?;
        peer.send(PROTOCOL)?;
        peer.expect("connection.start")?;
        let capabilities: Vec<&str> =
            ["authentication_failure_close", "basic.nack", "connection.blocked", "consumer_cancel_notify"]
                .into_iter()
                .filter(|name| *name != how.without)
                .collect();
        let response = format!("\0{}\0{}", how.user, how.password);
        peer.send(&start_ok(&how.mechanism, response.as_bytes(), &capabilities))?;
        peer.expect("connection.tune")?;
        let Opening { channel_max, frame_max, heartbeat_s, vhost, .. } = how;
        peer.send(&bytes(&format!("connection.tune-ok {channel_max} {frame_max} {heartbeat_s}")))?;
        peer.send(&bytes(&format!("connection.open {vhost}")))?;
        peer.expect("connection.open-ok")?;
        peer.send(&bytes("channel.open"))?;
        peer.expect("channel.open-ok")?;
        peer.open = true;
        Ok(peer)
    }

    fn expect(&mut self, start: &str) -> io::Result<()> {
        let line = self.line()?;
        if line.starts_with(start) { Ok(()) } else { Err(io::Error::other(format!("{line}, not {start}"))) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.raw(bytes);
        self.sent = now();
        self.wire.flush()
    }

    /// RabbitMQ's name of the connection, as a part of a path.
    pub(crate) fn name(&self) -> io::Result<String> {
        let stream = self.wire.stream();
        let name = format!("{} -> {}", stream.local_addr()?, stream.peer_addr()?);
        Ok(name.replace(':', "%3A").replace(' ', "%20").replace('>', "%3E"))
    }

    /// How long nothing has been sent.
    pub(crate) fn silence(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Octets as they come, to the end.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        match self.wire.stream().read_to_end(&mut octets) {
            // What we said was not read to its end: as good an end.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            Ok(_) | Err(_) => Ok(octets),
        }
    }

    /// The next thing that comes; `end` at the end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let frame = match self.wire.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok("nothing".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok("end".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok("end".to_owned()),
            Err(error) => return Err(error),
        };
        if frame.kind == HEARTBEAT {
            return Ok("heartbeat".to_owned());
        }
        if frame.kind != METHOD {
            return Err(io::Error::other(format!("a frame of type {} where a method comes", frame.kind)));
        }
        let ids = ids(&frame.payload);
        let mut line = told(ids, &mut Arguments(&frame.payload[4..]));
        if matches!(ids, (60, 50 | 60 | 71)) {
            let (properties, body) = self.content()?;
            let body = match body.len() {
                0..60 => String::from_utf8_lossy(&body).into_owned(),
                length => format!("{length} octets"),
            };
            line = format!("{line} {body}").trim_end().to_owned();
            if self.shows_properties {
                let hex: String = properties.iter().map(|octet| format!("{octet:02x}")).collect();
                line = format!("{line} {hex}");
            }
            if self.shows_headers {
                line = format!("{line} {}", headers(&properties));
            }
        }
        Ok(if matches!(frame.channel, 0 | 1) { line } else { format!("#{} {line}", frame.channel) })
    }

    fn content(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let header = self.part(HEADER)?;
        let size = Arguments(&header.payload[4..]).number(8);
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            body.extend(self.part(BODY)?.payload);
        }
        Ok((header.payload[12..].to_vec(), body))
    }

    fn part(&mut self, kind: u8) -> io::Result<Frame> {
        match self.wire.next_frame()? {
            Some(frame) if frame.kind == kind => Ok(frame),
            other => Err(io::Error::other(format!("{other:?} where a frame of type {kind} comes"))),
        }
    }
}

fn told((class, method): (u16, u16), a: &mut Arguments<'_>) -> String {
    let flag = |octet: u64, word: &str| if octet & 1 == 1 { format!(" {word}") } else { String::new() };
    match (class, method) {
        (10, 10) => {
            let version = (a.number(1), a.number(1));
            let length = usize::try_from(a.number(4)).expect("a length");
            a.0 = &a.0[length..];
            format!("connection.start {}-{} {} {}", version.0, version.1, a.long(), a.long())
        }
        (10, 30) => format!("connection.tune {} {} {}", a.number(2), a.number(4), a.number(2)),
        (10, 41) => "connection.open-ok".to_owned(),
        (10, 50) | (20, 40) => {
            let name = if class == 10 { "connection" } else { "channel" };
            let (code, text) = (a.number(2), a.text());
            // A text of several lines is shown on one.
            let text = text.replace('\n', "\\n");
            format!("{name}.close {code} {}.{} {text}", a.number(2), a.number(2))
        }
        (10, 60) => format!("connection.blocked {}", a.text()),
        (20, 21) => format!("channel.flow-ok {}", a.number(1)),
        (30, 11) => format!("access.request-ok {}", a.number(2)),
        (50, 11) => format!("queue.declare-ok {} {} {}", a.text(), a.number(4), a.number(4)),
        (50, 31) => format!("queue.purge-ok {}", a.number(4)),
        (50, 41) => format!("queue.delete-ok {}", a.number(4)),
        (60, 21) => format!("basic.consume-ok {}", a.text()),
        (60, 30) => format!("basic.cancel {}{}", a.text(), flag(a.number(1), "nowait")),
        (60, 31) => format!("basic.cancel-ok {}", a.text()),
        (60, 50) => {
            let (code, text) = (a.number(2), a.text());
            format!("basic.return {code} {text} '{}' {}", a.text(), a.text())
        }
        (60, 60) => {
            let (tag, number, redelivered) = (a.text(), a.number(8), a.number(1));
            let redelivered = flag(redelivered, "redelivered");
            format!("basic.deliver {number} {tag}{redelivered} '{}' {}", a.text(), a.text())
        }
        (60, 71) => {
            let (number, redelivered) = (a.number(8), a.number(1));
            let redelivered = flag(redelivered, "redelivered");
            format!("basic.get-ok {number}{redelivered} '{}' {} {}", a.text(), a.text(), a.number(4))
        }
        (60, 80) => format!("basic.ack {}{}", a.number(8), flag(a.number(1), "multiple")),
        (60, 120) => format!("basic.nack {}{}", a.number(8), flag(a.number(1), "multiple")),
        _ => OTHERS
            .iter()
            .find(|(c, m, _)| (*c, *m) == (class, method))
            .map_or_else(|| format!("{class}.{method}"), |(_, _, name)| (*name).to_owned()),
    }
}

/// Answers that say nothing but their name.
const OTHERS: &[(u16, u16, &str)] = &[
    (10, 51, "connection.close-ok"),
    (10, 61, "connection.unblocked"),
    (10, 71, "connection.update-secret-ok"),
    (20, 11, "channel.open-ok"),
    (20, 41, "channel.close-ok"),
    (40, 11, "exchange.declare-ok"),
    (40, 21, "exchange.delete-ok"),
    (40, 31, "exchange.bind-ok"),
    (40, 51, "exchange.unbind-ok"),
    (50, 21, "queue.bind-ok"),
    (50, 51, "queue.unbind-ok"),
    (60, 11, "basic.qos-ok"),
    (60, 72, "basic.get-empty"),
    (60, 111, "basic.recover-ok"),
    (85, 11, "confirm.select-ok"),
    (90, 11, "tx.select-ok"),
    (90, 21, "tx.commit-ok"),
    (90, 31, "tx.rollback-ok"),
];

/// The headers among a message's properties, `{}` without any.
fn headers(properties: &[u8]) -> String {
    let mut a = Arguments(properties);
    let flags = a.number(2);
    for bit in [15, 14] {
        if flags & 1 << bit != 0 {
            a.text();
        }
    }
    if flags & 1 << 13 == 0 { "{}".to_owned() } else { a.table() }
}

impl Arguments<'_> {
    fn table(&mut self) -> String {
        let mut fields = self.part(4);
        let mut parts = Vec::new();
        while !fields.0.is_empty() {
            let name = fields.text();
            parts.push(format!("{name}={}", fields.value()));
        }
        format!("{{{}}}", parts.join(","))
    }

    /// The type's letter, then the value.
    fn value(&mut self) -> String {
        let kind = char::from(self.number(1).to_be_bytes()[7]);
        let text = match kind {
            'S' | 'x' => self.long(),
            't' | 'b' | 'B' => self.number(1).to_string(),
            's' | 'u' => self.number(2).to_string(),
            'I' => u32::try_from(self.number(4)).expect("four octets").cast_signed().to_string(),
            'i' | 'f' => self.number(4).to_string(),
            'l' | 'L' => self.number(8).cast_signed().to_string(),
            'T' | 'd' => self.number(8).to_string(),
            'F' => self.table(),
            'V' => String::new(),
            'A' => {
                let mut items = self.part(4);
                let mut values = Vec::new();
                while !items.0.is_empty() {
                    values.push(items.value());
                }
                format!("[{}]", values.join(","))
            }
            other => panic!("no type {other}"),
        };
        format!("{kind}{text}")
    }
}
