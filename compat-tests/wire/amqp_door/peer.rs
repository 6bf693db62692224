//! A client that shows every frame it gets as a short line: `deliver 1 c x`, `channel.close 404 50.10 NOT_FOUND - …`.

use std::{
    io,
    net::{Shutdown, SocketAddr},
};

use super::{
    frames::{get_barrier, method_on, open_channel, open_vhost, start_ok, tune_ok},
    support::amqp::{Arguments, BODY, Frame, HEADER, HEARTBEAT, METHOD, Wire, close_reason, ids},
};

pub(crate) struct Peer {
    wire: Wire,
    state: State,
    payload_max: usize,
}

#[derive(PartialEq)]
enum State {
    Open,
    ChannelClosed,
    Closed,
}

impl Peer {
    /// After `connection.start` and our answer.
    pub(crate) fn started(address: SocketAddr, response: &str) -> Self {
        let mut wire = Wire::connect(address).expect("it accepts");
        wire.start().expect("connection.start");
        wire.raw(&start_ok("PLAIN", response.as_bytes(), true));
        wire.flush().expect("it is sent");
        Self { wire, state: State::ChannelClosed, payload_max: 0 }
    }

    /// With channel 1 open.
    pub(crate) fn tuned(address: SocketAddr, channel_max: u16, frame_max: u32, heartbeat_s: u16) -> Self {
        let mut peer = Self::started(address, "\0guest\0guest");
        peer.check("tune", &[], &["tune 2047 131072 60"]);
        let input = [tune_ok(channel_max, frame_max, heartbeat_s), open_vhost("/"), open_channel(1)];
        peer.send(&input.concat());
        assert_eq!((peer.next("open").0, peer.next("open").0), ("10.41".to_owned(), "20.11".to_owned()));
        peer.state = State::Open;
        peer
    }

    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::tuned(address, 2047, 131_072, 0)
    }

    pub(crate) fn send(&mut self, input: &[u8]) {
        self.wire.raw(input);
        self.wire.flush().expect("it is sent");
    }

    /// Sends, and expects these lines and no more.
    pub(crate) fn check(&mut self, what: &str, input: &[u8], expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        self.check_lines(what, input, &expected);
    }

    pub(crate) fn check_lines(&mut self, what: &str, input: &[u8], expected: &[String]) {
        self.send(input);
        for line in expected {
            let (found, _) = self.next(what);
            assert_eq!(found, *line, "{what}");
            if found == "20.11" {
                self.state = State::Open;
            } else if found.starts_with("channel.close") {
                self.state = State::ChannelClosed;
            } else if found.starts_with("connection.close") {
                self.state = State::Closed;
            }
        }
        // Twice: what the first made ready may come behind its answer.
        for _ in 0..2 {
            if self.state == State::Open {
                self.send(&get_barrier());
                assert_eq!(self.next(what).0, "20.21", "{what}: nothing more");
            }
        }
    }

    /// Closes politely, whatever happened.
    pub(crate) fn leave(mut self, what: &str) {
        if self.state == State::Closed {
            self.send(&method_on(0, 10, 51, &[]));
        } else {
            self.send(&method_on(0, 10, 50, &[0; 7]));
            assert_eq!(self.next(what).0, "10.51", "{what}");
        }
        // RabbitMQ leaves the socket to the client, and ends with it.
        self.wire.stream().shutdown(Shutdown::Write).expect("the socket is open");
        let end = self.wire.next_frame().map(|frame| frame.is_some());
        assert!(matches!(&end, Err(e) if e.kind() == io::ErrorKind::UnexpectedEof), "{what}: {end:?}");
    }

    /// The longest payload that has come.
    pub(crate) fn frame_payload_max(&self) -> usize {
        self.payload_max
    }

    /// The next thing that comes, as a line, and its body if it has one.
    pub(crate) fn next(&mut self, what: &str) -> (String, Vec<u8>) {
        self.read().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// As `next`, or `None` at the end of the stream.
    pub(crate) fn next_or_end(&mut self, what: &str) -> Option<String> {
        match self.read() {
            Ok((line, _)) => Some(line),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => panic!("{what}: {error}"),
        }
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let frame = self.wire.next_frame()?.ok_or(io::ErrorKind::TimedOut)?;
        self.payload_max = self.payload_max.max(frame.payload.len());
        Ok(frame)
    }

    fn read(&mut self) -> io::Result<(String, Vec<u8>)> {
        let frame = self.frame()?;
        if frame.kind == HEARTBEAT {
            return Ok(("heartbeat".to_owned(), Vec::new()));
        }
        assert_eq!(frame.kind, METHOD, "a method comes next");
        let mut arguments = Arguments(&frame.payload[4..]);
        let content = matches!(ids(&frame.payload), (60, 50 | 60 | 71));
        let body = if content { self.content()? } else { Vec::new() };
        let mut line = line(ids(&frame.payload), &mut arguments);
        if content && body.len() < 40 {
            line = format!("{line} {}", String::from_utf8_lossy(&body));
        }
        if !matches!(frame.channel, 0 | 1) {
            line = format!("{}: {line}", frame.channel);
        }
        Ok((line, body))
    }

    fn content(&mut self) -> io::Result<Vec<u8>> {
        let header = self.frame()?;
        assert_eq!(header.kind, HEADER, "a header follows");
        let mut body = Vec::new();
        let body_bytes = Arguments(&header.payload[4..]).number(8);
        while (body.len() as u64) < body_bytes {
            let part = self.frame()?;
            assert_eq!(part.kind, BODY, "a body follows");
            body.extend_from_slice(&part.payload);
        }
        Ok(body)
    }
}

fn line((class, method): (u16, u16), arguments: &mut Arguments<'_>) -> String {
    let multiple = |flags: u64| if flags & 1 == 1 { " multiple" } else { "" };
    let redelivered = |flags: u64| if flags & 1 == 1 { " redelivered" } else { "" };
    match (class, method) {
        (10, 30) => {
            format!("tune {} {} {}", arguments.number(2), arguments.number(4), arguments.number(2))
        }
        (10, 50) | (20, 40) => {
            let name = if class == 10 { "connection" } else { "channel" };
            let (code, text) = close_reason(arguments.0);
            arguments.number(2);
            arguments.text();
            format!("{name}.close {code} {}.{} {text}", arguments.number(2), arguments.number(2))
        }
        (50, 11) => {
            format!("declare-ok {} {} {}", arguments.text(), arguments.number(4), arguments.number(4))
        }
        (50, 31) => format!("purge-ok {}", arguments.number(4)),
        (50, 41) => format!("delete-ok {}", arguments.number(4)),
        (60, 21) => format!("consume-ok {}", arguments.text()),
        (60, 30) => format!("cancel {}", arguments.text()),
        (60, 31) => format!("cancel-ok {}", arguments.text()),
        (60, 50) => {
            let (code, text, _exchange) = (arguments.number(2), arguments.text(), arguments.text());
            format!("return {code} {text} {}", arguments.text())
        }
        (60, 60) => {
            let (tag, delivery_tag) = (arguments.text(), arguments.number(8));
            format!("deliver {delivery_tag} {tag}{}", redelivered(arguments.number(1)))
        }
        (60, 71) => {
            let (delivery_tag, flags) = (arguments.number(8), arguments.number(1));
            let _exchange_and_key = (arguments.text(), arguments.text());
            format!("get-ok {delivery_tag}{} {}", redelivered(flags), arguments.number(4))
        }
        (60, 80) => format!("ack {}{}", arguments.number(8), multiple(arguments.number(1))),
        (60, 120) => format!("nack {}{}", arguments.number(8), multiple(arguments.number(1))),
        _ => format!("{class}.{method}"),
    }
}
