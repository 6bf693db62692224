//! PLAIN (24/ZMTP-PLAIN): a name and a password, in the client's HELLO.

use bytes::BytesMut;
use nom::{IResult, Parser, combinator::all_consuming};

use super::{
    Malformed,
    command::{put_short, short},
    frame::{self, Kind},
};

/// Reads what follows the name HELLO: user and password.
///
/// # Errors
/// When it is anything else.
pub fn hello(data: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let parsed: IResult<_, _> = all_consuming((short, short)).parse(data);
    parsed.map(|(_, both)| both).map_err(|_| Malformed::Command("HELLO"))
}

/// Appends an ERROR as libzmq 4.3 writes it and, in PLAIN alone, reads it: the octet of the name's length and its first
/// letter have become one there (`"\x5ERROR"`). To its clients anything else is a protocol error, not a refused login
/// (`ZMQ_EVENT_HANDSHAKE_FAILED_AUTH`).
pub fn put_error(reason: &str, out: &mut BytesMut) {
    let mut body = BytesMut::from(&b"\x5ERROR"[..]);
    put_short(&mut body, reason.as_bytes());
    frame::put(out, Kind::Command, &body);
}
