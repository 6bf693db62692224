//! A small blocking AMQP 0-9-1 client for what the libraries hide: exact frames, confirms seen one by one, and
//! connections cut at any byte. Only what the tests use, one connection with one channel (AMQP 0-9-1 §2.3, §4.2).

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// One frame as it came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub kind: u8,
    pub channel: u16,
    pub payload: Vec<u8>,
}

/// What a test waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Confirm {
        tag: u64,
        multiple: bool,
        ack: bool,
    },
    Delivery {
        tag: u64,
        redelivered: bool,
        body: Vec<u8>,
    },
    /// Any other method, by class and method id, with its undecoded arguments.
    Method {
        class: u16,
        method: u16,
        arguments: Vec<u8>,
    },
    Heartbeat,
}

/// An open connection with channel 1 open.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
    /// A delivery whose header or body is still to come.
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    tag: u64,
    redelivered: bool,
    remaining: Option<usize>,
    body: Vec<u8>,
}

/// Frames on a socket; writes are collected until `flush`.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    parsed: usize,
    output: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, input: Vec::new(), parsed: 0, output: Vec::new() })
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        self.output.push(kind);
        self.output.extend_from_slice(&channel.to_be_bytes());
        let length = u32::try_from(payload.len()).expect("tests send small frames");
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(payload);
        self.output.push(END);
    }

    pub(crate) fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) {
        let mut payload = Vec::with_capacity(4 + arguments.len());
        payload.extend_from_slice(&class.to_be_bytes());
        payload.extend_from_slice(&method.to_be_bytes());
        payload.extend_from_slice(arguments);
        self.frame(METHOD, channel, &payload);
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// The next frame; `Ok(None)` when nothing came within the read timeout, an error at the end of the stream.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse() {
                return Ok(Some(frame));
            }
            self.input.drain(..self.parsed);
            self.parsed = 0;
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn parse(&mut self) -> Option<Frame> {
        let waiting = &self.input[self.parsed..];
        let header = waiting.get(..7)?;
        let length =
            usize::try_from(u32::from_be_bytes([header[3], header[4], header[5], header[6]])).ok()?;
        let payload = waiting.get(7..7 + length)?.to_vec();
        assert_eq!(*waiting.get(7 + length)?, END, "the broker's frame ends with 0xCE");
        self.parsed += 8 + length;
        Some(Frame { kind: header[0], channel: u16::from_be_bytes([header[1], header[2]]), payload })
    }

    /// The next method on any channel; other frames are an error of the test.
    pub(crate) fn next_method(&mut self) -> io::Result<(u16, u16, Vec<u8>)> {
        loop {
            let frame = self.next_frame()?.ok_or(io::ErrorKind::TimedOut)?;
            match frame.kind {
                HEARTBEAT => {}
                METHOD => {
                    let (class, method) = ids(&frame.payload);
                    return Ok((class, method, frame.payload[4..].to_vec()));
                }
                kind => return Err(io::Error::other(format!("a frame of type {kind} came, not a method"))),
            }
        }
    }

    fn expect(&mut self, class: u16, method: u16) -> io::Result<Vec<u8>> {
        match self.next_method()? {
            (c, m, arguments) if (c, m) == (class, method) => Ok(arguments),
            (c, m, arguments) => Err(io::Error::other(format!(
                "{c}.{m} {:?} came, not {class}.{method}",
                String::from_utf8_lossy(&arguments)
            ))),
        }
    }

    /// From the protocol header to connection.open-ok, as guest on `/`.
    pub(crate) fn log_in(&mut self) -> io::Result<()> {
        self.start()?;
        let mut start_ok = Vec::new();
        table(&mut start_ok, |t| {
            key(t, "capabilities", b'F');
            table(t, |t| {
                for name in [
                    "authentication_failure_close",
                    "basic.nack",
                    "consumer_cancel_notify",
                    "publisher_confirms",
                ] {
                    key(t, name, b't');
                    t.push(1);
                }
            });
        });
        short(&mut start_ok, "PLAIN");
        long(&mut start_ok, b"\0guest\0guest");
        short(&mut start_ok, "en_US");
        self.method(0, 10, 11, &start_ok);
        self.flush()?;
        let mut tune = self.expect(10, 30)?;
        // No heartbeats: a killed broker is noticed by its socket.
        tune.truncate(6);
        tune.extend_from_slice(&[0, 0]);
        self.method(0, 10, 31, &tune);
        let mut open = Vec::new();
        short(&mut open, "/");
        open.extend_from_slice(&[0, 0]);
        self.method(0, 10, 40, &open);
        self.flush()?;
        self.expect(10, 41).map(|_| ())
    }

    /// The protocol header, and connection.start in answer.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        self.raw(PROTOCOL);
        self.flush()?;
        self.expect(10, 10).map(|_| ())
    }

    pub(crate) fn open_channel(&mut self, channel: u16) -> io::Result<()> {
        self.method(channel, 20, 10, &[0]);
        self.flush()?;
        self.expect(20, 11).map(|_| ())
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut wire = Wire::connect(address)?;
        wire.log_in()?;
        wire.open_channel(1)?;
        Ok(Self { wire, partial: None })
    }

    /// How long `next` waits for an event.
    pub(crate) fn patience(&self, timeout: Duration) -> io::Result<()> {
        self.wire.stream.set_read_timeout(Some(timeout))
    }

    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// A durable queue; how many messages are ready in it.
    pub(crate) fn declare(&mut self, queue: &str) -> io::Result<u32> {
        self.declare_with(queue, |_| {})
    }

    /// As [`Client::declare`], with arguments.
    pub(crate) fn declare_with(&mut self, queue: &str, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<u32> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, queue);
        arguments.push(0b0000_0010);
        table(&mut arguments, fill);
        let answer = self.call(50, 10, &arguments, 11)?;
        let counts = answer.get(answer.len().saturating_sub(8)..).unwrap_or_default();
        Ok(u32::from_be_bytes(counts[..4].try_into().expect("declare-ok ends with two counts")))
    }

    /// A durable exchange.
    pub(crate) fn declare_exchange(&mut self, exchange: &str, kind: &str) -> io::Result<()> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, exchange);
        short(&mut arguments, kind);
        arguments.push(0b0000_0010);
        table(&mut arguments, |_| {});
        self.call(40, 10, &arguments, 11).map(|_| ())
    }

    pub(crate) fn delete_exchange(&mut self, exchange: &str) -> io::Result<()> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, exchange);
        arguments.push(0);
        self.call(40, 20, &arguments, 21).map(|_| ())
    }

    pub(crate) fn delete_queue(&mut self, queue: &str) -> io::Result<()> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, queue);
        arguments.push(0);
        self.call(50, 40, &arguments, 41).map(|_| ())
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) -> io::Result<()> {
        let mut arguments = binding(queue, exchange, routing_key);
        arguments.push(0);
        table(&mut arguments, |_| {});
        self.call(50, 20, &arguments, 21).map(|_| ())
    }

    pub(crate) fn unbind(&mut self, queue: &str, exchange: &str, routing_key: &str) -> io::Result<()> {
        let mut arguments = binding(queue, exchange, routing_key);
        table(&mut arguments, |_| {});
        self.call(50, 50, &arguments, 51).map(|_| ())
    }

    pub(crate) fn purge(&mut self, queue: &str) -> io::Result<()> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, queue);
        arguments.push(0);
        self.call(50, 30, &arguments, 31).map(|_| ())
    }

    pub(crate) fn confirm_select(&mut self) -> io::Result<()> {
        self.call(85, 10, &[0], 11).map(|_| ())
    }

    pub(crate) fn prefetch(&mut self, count: u16) -> io::Result<()> {
        let mut arguments = vec![0, 0, 0, 0];
        arguments.extend_from_slice(&count.to_be_bytes());
        arguments.push(0);
        self.call(60, 10, &arguments, 11).map(|_| ())
    }

    /// Deliveries may come before this returns: it only sends, and consume-ok comes as a method.
    pub(crate) fn consume(&mut self, queue: &str) -> io::Result<()> {
        self.consume_as(queue, "c")
    }

    /// As [`Client::consume`], for a channel with several consumers.
    pub(crate) fn consume_as(&mut self, queue: &str, consumer_tag: &str) -> io::Result<()> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, queue);
        short(&mut arguments, consumer_tag);
        arguments.push(0);
        table(&mut arguments, |_| {});
        self.wire.method(1, 60, 20, &arguments);
        self.flush()
    }

    /// Persistent, to the default exchange; written with the next `flush`.
    pub(crate) fn publish(&mut self, queue: &str, body: &[u8]) {
        let mut arguments = vec![0, 0];
        short(&mut arguments, "");
        short(&mut arguments, queue);
        arguments.push(0);
        self.wire.method(1, 60, 40, &arguments);
        let mut header = vec![0, 60, 0, 0];
        header.extend_from_slice(&u64::try_from(body.len()).expect("a length").to_be_bytes());
        // Only delivery-mode (bit 12), persistent.
        header.extend_from_slice(&0x1000_u16.to_be_bytes());
        header.push(2);
        self.wire.frame(HEADER, 1, &header);
        if !body.is_empty() {
            self.wire.frame(BODY, 1, body);
        }
    }

    /// Written with the next `flush`.
    pub(crate) fn ack(&mut self, tag: u64, multiple: bool) {
        let mut arguments = tag.to_be_bytes().to_vec();
        arguments.push(u8::from(multiple));
        self.wire.method(1, 60, 80, &arguments);
    }

    /// For good; written with the next `flush`.
    pub(crate) fn reject(&mut self, tag: u64) {
        let mut arguments = tag.to_be_bytes().to_vec();
        arguments.push(0);
        self.wire.method(1, 60, 90, &arguments);
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }

    fn call(&mut self, class: u16, method: u16, arguments: &[u8], ok: u16) -> io::Result<Vec<u8>> {
        self.wire.method(1, class, method, arguments);
        self.flush()?;
        loop {
            match self.next()?.ok_or(io::ErrorKind::TimedOut)? {
                Event::Method { class: c, method: m, arguments } if (c, m) == (class, ok) => {
                    return Ok(arguments);
                }
                event @ Event::Method { .. } => {
                    return Err(io::Error::other(format!("unexpected {event:?}")));
                }
                Event::Confirm { .. } | Event::Delivery { .. } | Event::Heartbeat => {}
            }
        }
    }

    /// The next event; `Ok(None)` when none came in time.
    pub(crate) fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            let Some(frame) = self.wire.next_frame()? else { return Ok(None) };
            match frame.kind {
                HEARTBEAT => return Ok(Some(Event::Heartbeat)),
                METHOD => {
                    if let Some(event) = self.on_method(&frame.payload) {
                        return Ok(Some(event));
                    }
                }
                HEADER | BODY => {
                    if let Some(event) = self.on_content(&frame) {
                        return Ok(Some(event));
                    }
                }
                kind => return Err(io::Error::other(format!("a frame of type {kind}"))),
            }
        }
    }

    fn on_method(&mut self, payload: &[u8]) -> Option<Event> {
        let (class, method) = ids(payload);
        let arguments = &payload[4..];
        match (class, method) {
            (60, 60) => {
                let rest = &arguments[1 + usize::from(arguments[0])..];
                let partial = Partial {
                    tag: u64_of(rest),
                    redelivered: rest[8] & 1 == 1,
                    remaining: None,
                    body: Vec::new(),
                };
                self.partial = Some(partial);
                None
            }
            (60, 80 | 120) => Some(Event::Confirm {
                tag: u64_of(arguments),
                multiple: arguments[8] & 1 == 1,
                ack: method == 80,
            }),
            _ => Some(Event::Method { class, method, arguments: arguments.to_vec() }),
        }
    }

    fn on_content(&mut self, frame: &Frame) -> Option<Event> {
        let partial = self.partial.as_mut().expect("content follows a delivery");
        let remaining = match partial.remaining {
            None => usize::try_from(u64_of(&frame.payload[4..])).expect("a length"),
            Some(remaining) => {
                partial.body.extend_from_slice(&frame.payload);
                remaining.checked_sub(frame.payload.len()).expect("no more body than the header said")
            }
        };
        partial.remaining = Some(remaining);
        if remaining > 0 {
            return None;
        }
        let Partial { tag, redelivered, body, .. } = self.partial.take()?;
        Some(Event::Delivery { tag, redelivered, body })
    }
}

fn binding(queue: &str, exchange: &str, routing_key: &str) -> Vec<u8> {
    let mut arguments = vec![0, 0];
    [queue, exchange, routing_key].into_iter().for_each(|name| short(&mut arguments, name));
    arguments
}

/// The protocol header of AMQP 0-9-1.
pub(crate) const PROTOCOL: &[u8] = b"AMQP\0\0\x09\x01";
pub(crate) const METHOD: u8 = 1;
pub(crate) const HEADER: u8 = 2;
pub(crate) const BODY: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

/// Class and method of a method frame's payload.
pub(crate) fn ids(payload: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]))
}

/// Code and text of connection.close or channel.close.
pub(crate) fn close_reason(arguments: &[u8]) -> (u16, String) {
    let length = usize::from(arguments[2]);
    let text = String::from_utf8_lossy(&arguments[3..3 + length]).into_owned();
    (u16::from_be_bytes([arguments[0], arguments[1]]), text)
}

pub(crate) fn short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("a short string"));
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("a long string").to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(crate) fn table(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut fields = Vec::new();
    fill(&mut fields);
    long(out, &fields);
}

pub(crate) fn key(out: &mut Vec<u8>, name: &str, kind: u8) {
    short(out, name);
    out.push(kind);
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// Arguments of a method that have not been read.
pub(crate) struct Arguments<'a>(pub &'a [u8]);

impl<'a> Arguments<'a> {
    pub(crate) fn number(&mut self, octets: usize) -> u64 {
        self.take(octets).iter().fold(0, |n, &octet| n << 8 | u64::from(octet))
    }

    /// A short string.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.part(1).0).into_owned()
    }

    /// A long string.
    pub(crate) fn long(&mut self) -> String {
        String::from_utf8_lossy(self.part(4).0).into_owned()
    }

    /// What a length of so many octets is in front of.
    pub(crate) fn part(&mut self, length_octets: usize) -> Self {
        let length = usize::try_from(self.number(length_octets)).expect("a length");
        Self(self.take(length))
    }

    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(octets);
        self.0 = rest;
        taken
    }
}
