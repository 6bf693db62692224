//! Truncated, oversized and garbage bytes on the AMQP, Kafka, Redis, ZeroMQ and admin doors, before and after login: the peer gets
//! the original's error or a close, another client notices nothing, and memory stays bounded.
//!
//! Errors and texts as RabbitMQ gives them (its table of framing errors); Kafka closes the connection.
#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use support::{
    Seeded,
    amqp::{self, Client, Event, Wire},
    broker::Broker,
    eventually, kafka, pause,
    redis::Redis,
    report,
};

/// Someone else's connections, which must notice nothing.
struct Bystander {
    amqp: Client,
    kafka: kafka::Client,
    produced: i64,
}

const QUEUE: &str = "bystander";

impl Bystander {
    fn new(broker: &Broker) -> Self {
        let mut amqp = Client::connect(broker.doors().amqp).expect("AMQP accepts");
        amqp.declare(QUEUE).expect("it declares");
        amqp.purge(QUEUE).expect("it purges");
        amqp.confirm_select().expect("confirms");
        amqp.consume(QUEUE).expect("it consumes");
        let mut kafka = kafka::Client::connect(broker.doors().kafka).expect("Kafka accepts");
        kafka.create_topic(QUEUE).expect("a topic");
        let produced = kafka.latest_offset(QUEUE).expect("an offset");
        Self { amqp, kafka, produced }
    }

    /// A message through each door, on the connections made before.
    fn works(&mut self, after: &str) {
        self.amqp.publish(QUEUE, after.as_bytes());
        self.amqp.flush().expect("the connection is open");
        let (mut confirmed, mut delivered) = (false, false);
        while !(confirmed && delivered) {
            match self
                .amqp
                .next()
                .expect("the connection is open")
                .unwrap_or_else(|| panic!("{after}: no answer"))
            {
                Event::Confirm { ack, .. } => confirmed = ack,
                Event::Delivery { tag, body, .. } => {
                    assert_eq!(body, after.as_bytes());
                    self.amqp.ack(tag, false);
                    delivered = true;
                }
                Event::Method { class: 60, method: 21, .. } | Event::Heartbeat => {}
                event @ Event::Method { .. } => panic!("{after}: {event:?}"),
            }
        }
        let correlation =
            self.kafka.produce(QUEUE, &[after.as_bytes().to_vec()]).expect("the connection is open");
        let produced = self.kafka.produced(correlation).expect("the connection is open");
        assert_eq!((produced.error, produced.base_offset), (0, self.produced), "{after}");
        self.produced += 1;
    }
}

/// What the peer must see of an AMQP connection.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// connection.close with this code and a text that contains this.
    Close(u16, &'static str),
    /// The protocol header the broker would have liked, and a close.
    Header,
    /// The end of the stream, whatever came before it.
    End,
}

#[test]
fn amqp_before_login() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let cases: &[(&str, &[u8], Answer)] = &[
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Answer::Header),
        ("another version", b"AMQP\0\0\x08\0", Answer::Header),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Answer::Header),
        ("a huge frame", b"AMQP\0\0\x09\x01\x01\0\0\xff\xff\xff\xff", Answer::End),
        ("a frame over the limit before tune", b"AMQP\0\0\x09\x01\x01\0\0\0\x10\0\0", Answer::End),
        (
            "a method on a channel before open",
            b"AMQP\0\0\x09\x01\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce",
            Answer::End,
        ),
        (
            "a table longer than its frame",
            b"AMQP\0\0\x09\x01\x01\0\0\0\0\0\x08\0\x0a\0\x0b\xff\xff\xff\xff\xce",
            Answer::End,
        ),
    ];
    // All at once: whoever is told why waits ten seconds for an answer, as with RabbitMQ.
    let mut wires = Vec::new();
    for (what, bytes, answer) in cases {
        let mut wire = Wire::connect(broker.doors().amqp).expect("it accepts");
        wire.raw(bytes);
        // The broker may have closed already.
        let _ = wire.flush();
        bystander.works(what);
        wires.push((what, wire, *answer));
    }
    for (what, mut wire, answer) in wires {
        check_amqp(what, &mut wire, answer);
        bystander.works(what);
    }
}

#[test]
fn amqp_after_login() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let cases: &[(&str, &[u8], Answer)] = &[
        (
            "an unknown frame type",
            b"\x09\0\x01\0\0\0\0\xce",
            Answer::Close(501, "FRAME_ERROR - type 9, all octets = <<>>: unknown_frame"),
        ),
        (
            "a wrong frame end",
            b"\x01\0\x01\0\0\0\x04\0\x14\0\x0a\0",
            Answer::Close(
                501,
                "FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}",
            ),
        ),
        (
            "a frame over frame_max",
            b"\x03\0\x01\0\x10\0\0",
            Answer::Close(501, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,1048576,"),
        ),
        (
            "a frame of 4 GiB",
            b"\x01\0\x01\xff\xff\xff\xff",
            Answer::Close(501, "{frame_too_large,4294967295,"),
        ),
        (
            "a heartbeat on a channel",
            b"\x08\0\x01\0\0\0\0\xce",
            Answer::Close(505, "UNEXPECTED_FRAME - type 8, all octets = <<>>"),
        ),
        (
            "a body without a publish",
            b"\x03\0\x01\0\0\0\x01x\xce",
            Answer::Close(505, "UNEXPECTED_FRAME - expected method frame, got non method frame instead"),
        ),
        (
            "a channel that is not open",
            b"\x01\0\x09\0\0\0\x05\0\x55\0\x0a\0\xce",
            Answer::Close(504, "CHANNEL_ERROR - expected 'channel.open'"),
        ),
        (
            "a channel opened twice",
            b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce",
            Answer::Close(504, "CHANNEL_ERROR - second 'channel.open' seen"),
        ),
        ("an unknown method", b"\x01\0\x01\0\0\0\x04\0\x63\0\x63\xce", Answer::End),
        (
            "a method for the server only",
            b"\x01\0\x01\0\0\0\x0d\0\x32\0\x0b\x00\0\0\0\0\0\0\0\0\xce",
            Answer::Close(503, "COMMAND_INVALID - unimplemented method"),
        ),
        (
            "a string longer than its method",
            b"\x01\0\x01\0\0\0\x09\0\x32\0\x0a\0\0\xff\x61\x62\xce",
            Answer::Close(501, "FRAME_ERROR - cannot decode"),
        ),
    ];
    for (what, bytes, answer) in cases {
        let mut wire = Wire::connect(broker.doors().amqp).expect("it accepts");
        wire.log_in().and_then(|()| wire.open_channel(1)).expect("it logs in");
        wire.raw(bytes);
        let _ = wire.flush();
        check_amqp(what, &mut wire, *answer);
        bystander.works(what);
    }
}

fn check_amqp(what: &str, wire: &mut Wire, answer: Answer) {
    match answer {
        Answer::Close(code, text) => {
            let (class, method, arguments) =
                wire.next_method().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((class, method), (10, 50), "{what}: connection.close");
            let (found_code, found) = amqp::close_reason(&arguments);
            assert!(found_code == code && found.contains(text), "{what}: {found_code} {found}");
        }
        Answer::Header => {
            let mut header = [0; 8];
            wire.stream().read_exact(&mut header).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(&header[..4], b"AMQP", "{what}");
            ends(what, wire.stream());
        }
        Answer::End => ends(what, wire.stream()),
    }
}

/// The broker closes; answers before that are read over.
fn ends(what: &str, mut stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout can be set");
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("{what}: the broker did not close")
            }
            // Reset: closed with our bytes unread.
            Err(_) => return,
        }
    }
}

#[test]
fn amqp_tables_as_deep_as_a_frame_allows() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    // { "a": { "a": … } } until a frame is full.
    let mut nested = Vec::new();
    for _ in 0..9_000 {
        let mut outer = Vec::new();
        amqp::key(&mut outer, "a", b'F');
        amqp::long(&mut outer, &nested);
        nested = outer;
    }
    let mut arguments = vec![0, 0];
    amqp::short(&mut arguments, "deep");
    arguments.push(0);
    amqp::long(&mut arguments, &nested);
    let mut wire = Wire::connect(broker.doors().amqp).expect("it accepts");
    wire.log_in().and_then(|()| wire.open_channel(1)).expect("it logs in");
    wire.method(1, 50, 10, &arguments);
    wire.flush().expect("it is sent");
    // Accepted or refused, but answered.
    wire.next_method().map(|_| ()).or_else(closed).expect("an answer or a close");
    bystander.works("a deep table");
}

fn closed(error: io::Error) -> io::Result<()> {
    let by_close = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    if by_close.contains(&error.kind()) { Ok(()) } else { Err(error) }
}

#[test]
fn kafka_requests_that_are_none() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let header = |key: i16, version: i16| {
        let mut request = key.to_be_bytes().to_vec();
        request.extend_from_slice(&version.to_be_bytes());
        request.extend_from_slice(&7_i32.to_be_bytes());
        kafka::string(&mut request, "bad");
        request
    };
    let with = |mut request: Vec<u8>, body: &[u8]| {
        request.extend_from_slice(body);
        request
    };
    let framed: Vec<(&str, Vec<u8>)> = vec![
        ("an unknown API", header(9999, 0)),
        ("a negative API", header(-1, 0)),
        ("an unknown version of Metadata", header(3, 99)),
        ("an unknown version of Produce", header(0, 1000)),
        ("half a header", vec![0, 3]),
        ("an empty frame", vec![]),
        ("a client id longer than its frame", vec![0, 3, 0, 1, 0, 0, 0, 7, 0x7F, 0xFF]),
        ("an array of two thousand million topics", with(header(3, 1), &i32::MAX.to_be_bytes())),
        (
            "a compact array of four thousand million topics",
            with(header(3, 9), &[0, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ),
        ("a varint without an end", with(header(3, 9), &[0xFF; 40])),
        ("four thousand million tagged fields", with(header(3, 9), &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F])),
        ("Produce cut in the middle", with(header(0, 7), &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0])),
    ];
    for (what, request) in framed {
        let mut client = kafka::Client::connect(broker.doors().kafka).expect("it accepts");
        client.send_frame(&request).expect("it is sent");
        ends(what, client.stream());
        bystander.works(what);
    }
    for (what, length) in [("a frame of 2 GiB", i32::MAX), ("a negative length", -5)] {
        let mut client = kafka::Client::connect(broker.doors().kafka).expect("it accepts");
        client.stream().write_all(&length.to_be_bytes()).expect("it is sent");
        ends(what, client.stream());
        bystander.works(what);
    }
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let broker = Broker::ephemeral(&[]);
    let mut client = kafka::Client::connect(broker.doors().kafka).expect("it accepts");
    let mut request = vec![0, 18, 0, 99, 0, 0, 0, 7];
    kafka::string(&mut request, "new");
    // As every client that knows it sends it: a flexible header and version 3's body.
    request.extend_from_slice(b"\0\x02n\x021\0");
    client.send_frame(&request).expect("it is sent");
    let answer = client.receive_frame().expect("an answer");
    assert_eq!(answer[..6], [0, 0, 0, 7, 0, 35], "correlation id 7, UNSUPPORTED_VERSION");
}

#[test]
fn redis_requests_that_are_none() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let long = "x".repeat(70_000);
    let before = broker.rss_bytes();
    for (what, bytes, answer) in [
        ("HTTP", "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""),
        ("HTTP behind its first line", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "-ERR wrong number"),
        ("a count that is none", "*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("a huge count", "*2147483647\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("a huge argument", "*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("another type", "*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        ("quotes without an end", "set k \"v\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ("a line without an end", long.as_str(), "-ERR Protocol error: too big inline request\r\n"),
    ] {
        let mut redis = Redis::connect(broker.doors().redis).expect("it accepts");
        redis.raw(bytes.as_bytes()).expect("it is read");
        let heard = String::from_utf8(redis.rest()).expect("texts are ASCII");
        assert!(heard.starts_with(answer) && (heard.is_empty() == answer.is_empty()), "{what}: {heard}");
        bystander.works(what);
    }
    // What is promised costs nothing until it comes.
    let promising: Vec<Redis> = (0..100)
        .map(|_| {
            let mut redis = Redis::connect(broker.doors().redis).expect("it accepts");
            redis.raw(b"*1000000\r\n$100000000\r\nx").expect("it is read");
            redis
        })
        .collect();
    bystander.works("promises");
    if let (Some(before), Some(after)) = (before, broker.rss_bytes()) {
        assert!(after < before + (256 << 20), "{before} → {after}");
    }
    drop(promising);
    let mut seeded = Seeded::from_env("redis noise");
    for _ in 0..50 {
        let mut redis = Redis::connect(broker.doors().redis).expect("it accepts");
        let noise = seeded.bytes(2_000);
        // It may be closed by then.
        let _ = redis.raw(&noise);
    }
    bystander.works("noise");
}

/// What a ZeroMQ peer says until it may speak: a greeting with NULL, and READY as a socket of that type.
fn zmq_hello(socket_type: &str) -> Vec<u8> {
    let mut hello = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
    hello.resize(64, 0);
    let size = u8::try_from(socket_type.len()).expect("short");
    hello.extend_from_slice(&[4, 22 + size]);
    hello.extend_from_slice(b"\x05READY\x0bSocket-Type\0\0\0");
    hello.push(size);
    hello.extend_from_slice(socket_type.as_bytes());
    hello
}

#[test]
fn zmq_bytes_that_are_no_zmtp() {
    let broker = Broker::ephemeral(&["--set", "zmq.message_bytes_max=1MiB"]);
    let mut bystander = Bystander::new(&broker);
    let before = broker.rss_bytes();
    let behind = |socket_type: &str, bytes: &[u8]| [&zmq_hello(socket_type), bytes].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("ZMTP 1.0", b"\x01\0".to_vec()),
        ("ZMTP 2.0", b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x01\0\0".to_vec()),
        ("a mechanism that is none", {
            let mut greeting = zmq_hello("PUSH");
            greeting[12..16].copy_from_slice(b"NOPE");
            greeting
        }),
        ("a socket type that is none", zmq_hello("CIRCLE")),
        ("a message before READY", [&zmq_hello("PUSH")[..64], b"\0\x01a"].concat()),
        ("a huge command before READY", [&zmq_hello("PUSH")[..64], b"\x06\0\0\0\0\x10\0\0\0"].concat()),
        (
            "metadata longer than their frame",
            [&zmq_hello("PUSH")[..64], b"\x04\x0b\x05READY\x01a\xff\xff\xff"].concat(),
        ),
        ("flags that mean nothing", behind("PUSH", b"\xf0\0")),
        ("a frame of 2^63 bytes", behind("PUSH", b"\x02\x80\0\0\0\0\0\0\0")),
        ("a message over the limit", behind("PUSH", b"\x02\0\0\0\0\x10\0\0\0")),
        ("a command without a name", behind("PUSH", b"\x04\x01\xff")),
        ("a second READY", behind("PUSH", b"\x04\x06\x05READY")),
        ("a subscription of a PUSH", behind("PUSH", b"\x04\x0a\x09SUBSCRIBE")),
        ("a message of a PULL", behind("PULL", b"\0\x01a")),
        ("parts without an end", behind("PUSH", &b"\x01\0".repeat(20_000))),
    ];
    for (what, bytes) in cases {
        let mut stream = TcpStream::connect(broker.doors().zmq).expect("it accepts");
        // It may be closed before all is sent.
        let _ = stream.write_all(&bytes);
        ends(what, &stream);
        bystander.works(what);
    }
    // What is promised costs nothing until it comes.
    let promising: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(broker.doors().zmq).expect("it accepts");
            stream.write_all(&behind("PUSH", b"\x02\0\0\0\0\0\x0f\0\0x")).expect("it is read");
            stream
        })
        .collect();
    bystander.works("promises");
    if let (Some(before), Some(after)) = (before, broker.rss_bytes()) {
        assert!(after < before + (256 << 20), "{before} → {after}");
    }
    drop(promising);
    let mut seeded = Seeded::from_env("zmq noise");
    for n in 0..60 {
        let mut stream = TcpStream::connect(broker.doors().zmq).expect("it accepts");
        let hello = zmq_hello(["PUSH", "SUB", "REQ"][n % 3]);
        let said = [&hello[..[0, 64, hello.len()][n / 3 % 3]], &seeded.bytes(2_000)].concat();
        // It may be closed by then.
        let _ = stream.write_all(&said);
    }
    bystander.works("noise");
}

#[test]
fn kafka_record_batches_that_are_broken() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let whole = kafka::batch(&[b"value".to_vec()]);
    let at = |position: usize, byte: u8| {
        let mut batch = whole.clone();
        batch[position] ^= byte;
        batch
    };
    let cases = [
        ("a flipped bit in a record", at(whole.len() - 3, 1)),
        ("a wrong checksum", at(17, 0xFF)),
        ("an old magic byte", at(16, 2 ^ 1)),
        ("a length beyond the batch", at(8, 0x7F)),
        ("a count of records beyond the batch", at(57, 0x7F)),
        ("half a batch", whole[..whole.len() / 2].to_vec()),
        ("nothing", Vec::new()),
    ];
    for (what, batch) in cases {
        let mut client = kafka::Client::connect(broker.doors().kafka).expect("it accepts");
        match produce_raw(&mut client, &batch) {
            Ok(error) => assert_ne!(error, 0, "{what} was accepted"),
            Err(error) => closed(error).expect("an error or a close"),
        }
        bystander.works(what);
    }
}

/// Produce v7 of bytes as they are; the partition's error code.
fn produce_raw(client: &mut kafka::Client, batch: &[u8]) -> io::Result<i16> {
    let mut request = vec![0, 0, 0, 7, 0, 0, 0, 7];
    kafka::string(&mut request, "bad");
    request.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0x27, 0x10, 0, 0, 0, 1]);
    kafka::string(&mut request, QUEUE);
    request.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    request.extend_from_slice(&i32::try_from(batch.len()).expect("small").to_be_bytes());
    request.extend_from_slice(batch);
    client.send_frame(&request)?;
    let answer = client.receive_frame()?;
    // Correlation id, one topic, its name, one partition, its index, the error.
    let at = 4 + 4 + 2 + QUEUE.len() + 4 + 4;
    let code = answer.get(at..at + 2).ok_or(io::ErrorKind::InvalidData)?;
    Ok(i16::from_be_bytes([code[0], code[1]]))
}

#[test]
fn admin_requests_that_are_none() {
    let broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let long_header = format!("GET /api/overview HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no HTTP", b"\0\xff\0\xff\r\n\r\n".to_vec()),
        ("a header of 1 MiB", long_header.into_bytes()),
        (
            "a body of 1 TiB announced",
            b"POST /api/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nContent-Length: 1099511627776\r\nConnection: close\r\n\r\nSELECT".to_vec(),
        ),
        ("no login", b"GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".to_vec()),
        (
            "a path out of the tree",
            b"GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nConnection: close\r\n\r\n".to_vec(),
        ),
    ];
    for (what, request) in cases {
        let answer = http(broker.doors().admin, &request);
        let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        assert!(
            answer.is_empty() || status.starts_with(b"4"),
            "{what}: {}",
            String::from_utf8_lossy(&answer)
        );
        bystander.works(what);
    }
    assert!(
        http(
            broker.doors().admin,
            b"GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        .starts_with(b"HTTP/1.1 401")
    );
}

fn http(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    // A reset or a timeout ends the answer as well as a close does.
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Noise on every door, connections cut at every byte of a good one, and many half-open ones.
#[test]
fn garbage_and_truncation_leave_memory_bounded() {
    let mut broker = Broker::ephemeral(&[]);
    let mut bystander = Bystander::new(&broker);
    let mut random = Seeded::from_env("wire");
    let doors = broker.doors();
    let before = broker.rss_bytes();
    report::suite("wire: garbage", || {
        for round in 0_usize..300 {
            let address = [doors.amqp, doors.kafka, doors.admin][round % 3];
            let length = usize::try_from(random.below(2000)).unwrap_or(0);
            let mut noise = random.bytes(length);
            match round % 9 {
                // Past the protocol header, and inside a frame of a plausible length.
                3 => noise = [amqp::PROTOCOL, &noise[..]].concat(),
                4 => noise = [&[0, 0, 1, 0], &noise[..]].concat(),
                _ => {}
            }
            let mut stream = TcpStream::connect(address).expect("it accepts");
            let _ = stream.write_all(&noise);
        }
        bystander.works("noise");
        for length in 0..amqp::PROTOCOL.len() {
            let mut stream = TcpStream::connect(doors.amqp).expect("it accepts");
            let _ = stream.write_all(&amqp::PROTOCOL[..length]);
        }
        let mut logged_in = Vec::new();
        for length in 0_usize..60 {
            let mut wire = Wire::connect(doors.amqp).expect("it accepts");
            wire.log_in().and_then(|()| wire.open_channel(1)).expect("it logs in");
            // A publish whose header promises a gigabyte, cut at every length.
            let publish: &[u8] = b"\x01\0\x01\0\0\0\x0f\0\x3c\0\x28\0\0\0\x03abc\0\0\0\0\xce\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\x1f\0\0\0\0\0\xce";
            wire.raw(&publish[..length.min(publish.len())]);
            wire.flush().expect("it is sent");
            logged_in.push(wire);
        }
        bystander.works("half a publish on 60 connections");
        // 200 frames that promise 100 MB and send nothing.
        let mut promised = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(doors.kafka).expect("it accepts");
            stream.write_all(&100_000_000_i32.to_be_bytes()).expect("it is sent");
            promised.push(stream);
        }
        pause(Duration::from_millis(300));
        bystander.works("200 promises of 100 MB");
        if let (Some(before), Some(after)) = (before, broker.rss_bytes()) {
            let grown = after.saturating_sub(before) >> 20;
            assert!(grown < 64, "{grown} MiB more for input that was never sent");
        }
    });
    assert!(broker.is_running());
    drop(bystander);
    eventually("it stops politely after all that", Duration::from_secs(20), || broker.stop().success());
}
