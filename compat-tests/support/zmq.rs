//! A small ZMTP 3.1 peer without security, for what must not be done again behind a test's back: libzmq connects anew and
//! sends what it has kept.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// One connection, of one type of socket.
#[derive(Debug)]
pub(crate) struct Zmq {
    stream: BufReader<TcpStream>,
}

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

impl Zmq {
    /// Connects and greets as a `PUSH`, `DEALER` or whatever.
    pub(crate) fn connect(address: SocketAddr, socket_type: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let mut peer = Self { stream: BufReader::new(stream) };
        let mut greeting = [0; 64];
        greeting[0] = 0xFF;
        greeting[9..12].copy_from_slice(&[0x7F, 3, 1]);
        greeting[12..16].copy_from_slice(b"NULL");
        let mut ready = b"\x05READY".to_vec();
        for (name, value) in [("Socket-Type", socket_type), ("Identity", "")] {
            ready.push(u8::try_from(name.len()).expect("a short name"));
            ready.extend(name.bytes());
            ready.extend(u32::try_from(value.len()).expect("a short value").to_be_bytes());
            ready.extend(value.bytes());
        }
        let mut hello = greeting.to_vec();
        put(&mut hello, COMMAND, &ready);
        peer.stream.get_mut().write_all(&hello)?;
        peer.stream.read_exact(&mut greeting)?;
        match peer.frame()? {
            (COMMAND, body) if body.starts_with(b"\x05READY") => Ok(peer),
            (_, body) => Err(io::Error::other(format!("no READY: {}", String::from_utf8_lossy(&body)))),
        }
    }

    pub(crate) fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut message = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            put(&mut message, if at + 1 < parts.len() { MORE } else { 0 }, part);
        }
        self.stream.get_mut().write_all(&message)
    }

    /// The next message, part by part.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut parts = Vec::new();
        loop {
            let (flags, body) = self.frame()?;
            if flags & COMMAND == 0 {
                parts.push(body);
                if flags & MORE == 0 {
                    return Ok(parts);
                }
            }
        }
    }

    /// Closes the connection; then the other side knows.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)?;
        self.stream.read_to_end(&mut Vec::new()).map(drop)
    }

    /// A frame's flags, but for that of its length, and its body.
    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut flags = [0];
        self.stream.read_exact(&mut flags)?;
        let mut size = [0; 8];
        self.stream.read_exact(if flags[0] & LONG == 0 { &mut size[7..] } else { &mut size })?;
        let mut body = vec![0; usize::try_from(u64::from_be_bytes(size)).map_err(io::Error::other)?];
        self.stream.read_exact(&mut body)?;
        Ok((flags[0] & !LONG, body))
    }
}

fn put(out: &mut Vec<u8>, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(size) => out.extend([flags, size]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend((body.len() as u64).to_be_bytes());
        }
    }
    out.extend(body);
}
