//! CURVE (26/CURVEZMQ), the server's side: who the peer is, and frames that nobody else can read or change.
//!
//! The client knows our public key beforehand. Both make a pair of keys for this connection only; the client's lasting
//! key vouches for its own. Whether that lasting key is known here is not for this file.
//!
//! ```text
//! client                                       server
//!   ── HELLO: C', [64 zeros](C'→S) ───────────▶
//!   ◀─ WELCOME: [S', cookie](S→C') ────────────
//!   ── INITIATE: cookie, [C, vouch, metadata](C'→S') ▶     vouch = [C', S](C→S')
//!   ◀─ READY: [metadata](S'→C') ───────────────
//!   ◀─ MESSAGE: [flags, part](C'↔S') ─────────▶
//! ```
//!
//! CurveZMQ's cookie lets a server forget the client between WELCOME and INITIATE. A connection here remembers it for as
//! long as a handshake may take, so the cookie is only random, and compared.

use bytes::{BufMut, BytesMut};
use crypto_box::{PublicKey, SalsaBox, SecretKey, Tag, aead::AeadInPlace};
use subtle::ConstantTimeEq;

use super::wire::{
    Malformed,
    curve::{COOKIE_BYTES, Hello, Initiate, KEY_BYTES, Key, TAG_BYTES, Vouched, message},
    frame::{self, Kind},
};

type Nonce = [u8; 24];

/// A handshake between WELCOME and INITIATE.
pub struct Welcomed {
    /// C': the client's key for this connection.
    client: Key,
    /// s': ours.
    own: SecretKey,
    cookie: [u8; COOKIE_BYTES],
}

/// What INITIATE says.
pub struct Initiated {
    pub traffic: Traffic,
    /// C: the client's lasting key.
    pub client: Key,
    pub metadata: Vec<u8>,
}

/// An open connection's keys and counts.
pub struct Traffic {
    with: SalsaBox,
    sent: u64,
    received: u64,
}

/// Takes a HELLO, and appends what WELCOME says.
///
/// # Errors
/// The client does not know our key.
pub fn welcome(secret: &SecretKey, hello: &Hello<'_>, out: &mut BytesMut) -> Result<Welcomed, Malformed> {
    let with = SalsaBox::new(&hello.client.into(), secret);
    let zeros = open(&with, &short_nonce(b"CurveZMQHELLO---", hello.nonce), hello.signature)
        .ok_or(Malformed::Sealed("HELLO"))?;
    if zeros != [0; 64] {
        return Err(Malformed::Sealed("HELLO"));
    }
    let own = SecretKey::from(rand::random::<Key>());
    let mut cookie = [0; COOKIE_BYTES];
    rand::fill(&mut cookie[..]);
    let random: [u8; 16] = rand::random();
    out.put_slice(&random);
    let mut said = [0; KEY_BYTES + COOKIE_BYTES];
    for (to, from) in said.iter_mut().zip(own.public_key().as_bytes().iter().chain(&cookie)) {
        *to = *from;
    }
    seal(&with, &long_nonce(b"WELCOME-", &random), &said, out);
    Ok(Welcomed { client: hello.client, own, cookie })
}

impl Welcomed {
    /// Takes an INITIATE.
    ///
    /// # Errors
    /// The cookie is not ours, or the client cannot show that its lasting key is its own.
    pub fn initiate(&self, public: &PublicKey, initiate: &Initiate<'_>) -> Result<Initiated, Malformed> {
        let wrong = Malformed::Sealed("INITIATE");
        if !bool::from(initiate.cookie.ct_eq(&self.cookie)) {
            return Err(wrong);
        }
        let with = SalsaBox::new(&self.client.into(), &self.own);
        let said =
            open(&with, &short_nonce(b"CurveZMQINITIATE", initiate.nonce), initiate.sealed).ok_or(wrong)?;
        let vouched = Vouched::decode(&said)?;
        let from_client = SalsaBox::new(&vouched.client.into(), &self.own);
        let vouch =
            open(&from_client, &long_nonce(b"VOUCH---", vouched.nonce), vouched.vouch).ok_or(wrong)?;
        let keys = [self.client, *public.as_bytes()].concat();
        if !bool::from(vouch.ct_eq(&keys)) {
            return Err(wrong);
        }
        let (client, metadata) = (vouched.client, vouched.metadata.to_vec());
        let received = u64::from_be_bytes(initiate.nonce.try_into().map_err(|_| wrong)?);
        Ok(Initiated { traffic: Traffic { with, sent: 0, received }, client, metadata })
    }
}

impl Traffic {
    /// Appends what READY says.
    pub fn ready(&mut self, metadata: &[u8], out: &mut BytesMut) {
        let count = self.next();
        out.put_slice(&count);
        seal(&self.with, &short_nonce(b"CurveZMQREADY---", &count), metadata, out);
    }

    /// Appends a frame, sealed, in a frame of its own.
    pub fn seal(&mut self, kind: Kind, body: &[u8], out: &mut BytesMut) {
        let count = self.next();
        let bytes = NAME.len() + count.len() + TAG_BYTES + 1 + body.len();
        out.reserve(frame::HEAD_BYTES_MAX + bytes);
        frame::put_head(out, Kind::Message { more: false }, bytes);
        out.put_slice(NAME);
        out.put_slice(&count);
        let from = out.len();
        out.put_bytes(0, TAG_BYTES);
        out.put_u8(frame::inner_flags(kind));
        out.put_slice(body);
        seal_in_place(
            &self.with,
            &short_nonce(b"CurveZMQMESSAGES", &count),
            out.get_mut(from..).unwrap_or_default(),
        );
    }

    /// Opens the frame that a MESSAGE seals, into `body`.
    ///
    /// # Errors
    /// It was not sealed by the peer, or comes a second time.
    pub fn open(&mut self, data: &[u8], body: &mut Vec<u8>) -> Result<Kind, Malformed> {
        let wrong = Malformed::Sealed("MESSAGE");
        let (count, sealed) = message(data)?;
        if count <= self.received {
            return Err(wrong);
        }
        let nonce = short_nonce(b"CurveZMQMESSAGEC", &count.to_be_bytes());
        open_into(&self.with, &nonce, sealed, body).ok_or(wrong)?;
        self.received = count;
        let flags = body.first().copied().ok_or(wrong)?;
        frame::inner_kind(flags)
    }

    fn next(&mut self) -> [u8; 8] {
        self.sent += 1;
        self.sent.to_be_bytes()
    }
}

/// The name MESSAGE, as commands have it.
const NAME: &[u8] = b"\x07MESSAGE";

/// What a message's frame has besides its part.
pub const OVERHEAD_BYTES: usize = NAME.len() + 8 + TAG_BYTES + 1;

/// Whether the body of a frame is a MESSAGE, and what it seals. Peers send it as a message, not as a command.
#[must_use]
pub fn sealed(body: &[u8]) -> Option<&[u8]> {
    body.strip_prefix(NAME)
}

fn short_nonce(prefix: &[u8; 16], short: &[u8]) -> Nonce {
    nonce(prefix, short)
}

fn long_nonce(prefix: &[u8; 8], long: &[u8]) -> Nonce {
    nonce(prefix, long)
}

fn nonce(prefix: &[u8], rest: &[u8]) -> Nonce {
    let mut nonce = [0; 24];
    for (to, from) in nonce.iter_mut().zip(prefix.iter().chain(rest)) {
        *to = *from;
    }
    nonce
}

/// Appends a box: its tag, then what it seals.
fn seal(with: &SalsaBox, nonce: &Nonce, plain: &[u8], out: &mut BytesMut) {
    let from = out.len();
    out.put_bytes(0, TAG_BYTES);
    out.put_slice(plain);
    seal_in_place(with, nonce, out.get_mut(from..).unwrap_or_default());
}

/// `sealed`: room for the tag, then what is to be sealed.
fn seal_in_place(with: &SalsaBox, nonce: &Nonce, sealed: &mut [u8]) {
    let Some((tag, plain)) = sealed.split_at_mut_checked(TAG_BYTES) else { return };
    let made = with
        .encrypt_in_place_detached(nonce.into(), &[], plain)
        .expect("without associated data nothing can go wrong");
    tag.copy_from_slice(&made);
}

fn open(with: &SalsaBox, nonce: &Nonce, sealed: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    open_into(with, nonce, sealed, &mut plain)?;
    Some(plain)
}

fn open_into(with: &SalsaBox, nonce: &Nonce, sealed: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let (tag, sealed) = sealed.split_at_checked(TAG_BYTES)?;
    plain.clear();
    plain.extend_from_slice(sealed);
    with.decrypt_in_place_detached(nonce.into(), &[], plain, Tag::from_slice(tag)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::zmq::wire::{command::Command, frame::Front, greeting, z85};

    fn capture(name: &str, who: &str) -> String {
        let rows = include_str!("../../fixtures/zmq/captures.tsv").lines();
        let row =
            rows.map(|row| row.split('\t').collect::<Vec<_>>()).find(|row| row.starts_with(&[name, who]));
        row.unwrap()[2].to_owned()
    }

    fn key_of(who: &str) -> Key {
        z85::decode(&capture("keys", who)).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_hello_of_libzmq_opens_with_the_key_it_was_meant_for_and_with_no_other() {
        let text = capture("curve", "client");
        let octet = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..text.len() / 2).map(octet).collect();
        let Front::Whole { frame, .. } = frame::next(&bytes[greeting::BYTES..], 1_000).unwrap() else {
            panic!()
        };
        let Ok(Command::Hello(data)) = Command::decode(frame.body) else { panic!() };
        let hello = Hello::decode(data).unwrap();
        let secret = SecretKey::from(key_of("server-secret"));
        assert_eq!(secret.public_key().as_bytes(), &key_of("server-public"));
        let mut out = BytesMut::new();
        assert!(welcome(&secret, &hello, &mut out).is_ok() && out.len() == 160);
        let other = SecretKey::from(key_of("client-secret"));
        assert!(welcome(&other, &hello, &mut out).is_err());
    }

    /// A client, as far as it takes to reach READY and to speak.
    pub(in crate::zmq) struct Peer {
        server: PublicKey,
        lasting: SecretKey,
        own: SecretKey,
        with: Option<SalsaBox>,
        sent: u64,
    }

    impl Peer {
        pub(in crate::zmq) fn new(server: PublicKey, lasting: SecretKey) -> Self {
            Self { server, lasting, own: SecretKey::from(rand::random::<Key>()), with: None, sent: 0 }
        }

        pub(in crate::zmq) fn hello(&self) -> BytesMut {
            let mut out = BytesMut::from(&[1, 0][..]);
            out.put_bytes(0, 72);
            out.put_slice(self.own.public_key().as_bytes());
            out.put_slice(&1u64.to_be_bytes());
            let with = SalsaBox::new(&self.server, &self.own);
            seal(&with, &short_nonce(b"CurveZMQHELLO---", &1u64.to_be_bytes()), &[0; 64], &mut out);
            out
        }

        pub(in crate::zmq) fn initiate(&mut self, welcome: &[u8], metadata: &[u8]) -> BytesMut {
            let (random, sealed) = welcome.split_at(16);
            let with = SalsaBox::new(&self.server, &self.own);
            let said = open(&with, &long_nonce(b"WELCOME-", random), sealed).unwrap();
            let (server, cookie) = said.split_at(KEY_BYTES);
            let server = PublicKey::from_slice(server).unwrap();
            let mut vouched = BytesMut::from(&self.lasting.public_key().as_bytes()[..]);
            vouched.put_bytes(7, 16);
            let keys = [*self.own.public_key().as_bytes(), *self.server.as_bytes()].concat();
            seal(
                &SalsaBox::new(&server, &self.lasting),
                &long_nonce(b"VOUCH---", &[7; 16]),
                &keys,
                &mut vouched,
            );
            vouched.put_slice(metadata);
            let with = SalsaBox::new(&server, &self.own);
            let mut out = BytesMut::from(cookie);
            out.put_slice(&2u64.to_be_bytes());
            seal(&with, &short_nonce(b"CurveZMQINITIATE", &2u64.to_be_bytes()), &vouched, &mut out);
            (self.with, self.sent) = (Some(with), 2);
            out
        }

        pub(in crate::zmq) fn message(&mut self, flags: u8, part: &[u8]) -> BytesMut {
            self.sent += 1;
            let nonce = self.sent.to_be_bytes();
            let mut out = BytesMut::from(NAME);
            out.put_slice(&nonce);
            let plain = [&[flags], part].concat();
            seal(self.with.as_ref().unwrap(), &short_nonce(b"CurveZMQMESSAGEC", &nonce), &plain, &mut out);
            out
        }

        pub(in crate::zmq) fn opens(&self, prefix: &[u8; 16], data: &[u8]) -> Vec<u8> {
            let (nonce, sealed) = data.split_at(8);
            open(self.with.as_ref().unwrap(), &short_nonce(prefix, nonce), sealed).unwrap()
        }
    }

    #[test]
    fn a_handshake_ends_in_keys_that_both_know_and_a_message_opens_once() {
        let (secret, lasting) = (SecretKey::from([1; 32]), SecretKey::from([2; 32]));
        let mut peer = Peer::new(secret.public_key(), lasting.clone());
        let (mut out, hello) = (BytesMut::new(), peer.hello());
        let welcomed = welcome(&secret, &Hello::decode(&hello).unwrap(), &mut out).unwrap();
        let initiate = peer.initiate(&out, b"metadata");
        let decoded = Initiate::decode(&initiate).unwrap();
        let Initiated { mut traffic, client, metadata } =
            welcomed.initiate(&secret.public_key(), &decoded).unwrap();
        assert_eq!((&client, &metadata[..]), (lasting.public_key().as_bytes(), &b"metadata"[..]));
        let mut ready = BytesMut::new();
        traffic.ready(b"ours", &mut ready);
        assert_eq!(peer.opens(b"CurveZMQREADY---", &ready), b"ours");
        let (message, mut body) = (peer.message(1, b"part"), Vec::new());
        let data = sealed(&message).unwrap();
        assert_eq!(traffic.open(data, &mut body), Ok(Kind::Message { more: true }));
        assert_eq!(body, b"\x01part");
        assert!(traffic.open(data, &mut body).is_err(), "it comes a second time");
        let mut changed = peer.message(0, b"part").to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(traffic.open(sealed(&changed).unwrap(), &mut body).is_err());
    }
}
