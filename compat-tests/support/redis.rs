//! A small RESP client, for what no client library lets a test do: requests as typed, replies byte for byte.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// One connection.
#[derive(Debug)]
pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a request as a client library would.
    pub(crate) fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.raw(&request)
    }

    /// A request of words between spaces, and its reply.
    pub(crate) fn ask(&mut self, request: &str) -> io::Result<Vec<u8>> {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        self.send(&words)?;
        self.reply()
    }

    /// The next reply, whole, as it came.
    pub(crate) fn reply(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        self.read_into(&mut reply)?;
        Ok(reply)
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // However it ends.
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    fn read_into(&mut self, reply: &mut Vec<u8>) -> io::Result<()> {
        let from = reply.len();
        if self.stream.read_until(b'\n', reply)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&reply[from..]).into_owned();
        let (marker, number) = line.split_at(1);
        let number: i64 = number.trim_end().parse().unwrap_or(0);
        let count = usize::try_from(number).unwrap_or(0);
        match marker {
            "$" | "=" if number >= 0 => {
                let mut bulk = vec![0; count + 2];
                self.stream.read_exact(&mut bulk)?;
                reply.extend(bulk);
            }
            "*" | "~" | ">" => (0..count).try_for_each(|_| self.read_into(reply))?,
            "%" => (0..2 * count).try_for_each(|_| self.read_into(reply))?,
            _ => {}
        }
        Ok(())
    }
}
