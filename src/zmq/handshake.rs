//! Greeting and security handshake, sans-IO: who the peer is, and what kind of socket it has.
//!
//! A peer names its mechanism without knowing ours, so we name the same one, if it is offered: NULL, PLAIN and CURVE
//! come to one port.
//!
//! ```text
//! Greeting ──NULL──▶ Null ─────────────────────READY──┐
//!     ├─────PLAIN──▶ Hello ──HELLO──▶ Initiate ──INITIATE──▶ introduced: the session answers READY, or ERROR
//!     └─────CURVE──▶ CurveHello ──HELLO──▶ CurveInitiate ──INITIATE──┘
//! ```

use std::{net::SocketAddr, sync::Arc};

use bytes::{Buf, BytesMut};

use super::{
    Door,
    curve::{self, Initiated, Traffic, Welcomed},
    fault::Fault,
    socket::Socket,
    wire::{
        Malformed,
        command::Command,
        curve as layout,
        frame::{self, Front, Kind},
        greeting::{self, Greeting},
        metadata, plain,
    },
};
use crate::broker::login::Login;

/// How a peer says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Null,
    Plain,
    Curve,
}

impl Mechanism {
    /// As the greeting says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Plain => "PLAIN",
            Self::Curve => "CURVE",
        }
    }
}

/// Everything a peer has said of itself.
pub struct Introduced {
    pub socket: Socket,
    /// Of ZMTP 3.
    pub minor: u8,
    pub mechanism: Mechanism,
    pub login: Login,
    pub metadata: Vec<(String, Vec<u8>)>,
    /// The keys of the connection, with CURVE.
    pub traffic: Option<Box<Traffic>>,
}

enum Stage {
    Greeting,
    Null { minor: u8 },
    Hello { minor: u8 },
    Initiate { minor: u8, login: Login },
    CurveHello { minor: u8 },
    CurveInitiate { minor: u8, welcomed: Box<Welcomed> },
}

/// How far the peer has come.
pub struct Handshake {
    door: Arc<Door>,
    peer: SocketAddr,
    stage: Stage,
}

/// A command of the handshake is no longer than this.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;

impl Handshake {
    /// Begins to greet.
    pub fn new(door: Arc<Door>, peer: SocketAddr, out: &mut BytesMut) -> Self {
        out.extend_from_slice(&greeting::HEAD);
        Self { door, peer, stage: Stage::Greeting }
    }

    /// Appends an ERROR, if both have said by now what they speak.
    pub fn refuse(&self, reason: &str, out: &mut BytesMut) {
        match self.stage {
            Stage::Greeting => {}
            Stage::Hello { .. } | Stage::Initiate { .. } => plain::put_error(reason, out),
            Stage::Null { .. } | Stage::CurveHello { .. } | Stage::CurveInitiate { .. } => {
                Command::Error { reason: reason.as_bytes() }.put(out);
            }
        }
    }

    /// Takes what belongs to the handshake from the front of `input`; what the peer is, once it has said so.
    ///
    /// # Errors
    /// Why it is not served.
    pub fn on_bytes(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<Option<Introduced>, Fault> {
        if let Stage::Greeting = self.stage {
            let Some(greeting) = greeting::decode(input)? else { return Ok(None) };
            input.advance(greeting::BYTES);
            self.greeted(&greeting, out)?;
        }
        loop {
            let Front::Whole { frame, bytes } = frame::next(input, COMMAND_BYTES_MAX)? else {
                return Ok(None);
            };
            if frame.kind != Kind::Command {
                return Err(Malformed::UnexpectedMessage.into());
            }
            let introduced = self.on_command(frame.body, out)?;
            input.advance(bytes);
            if introduced.is_some() {
                return Ok(introduced);
            }
        }
    }

    fn greeted(&mut self, greeting: &Greeting, out: &mut BytesMut) -> Result<(), Fault> {
        let minor = greeting.minor;
        let (mechanism, next) = match greeting.mechanism.as_str() {
            "NULL" => (Mechanism::Null, Stage::Null { minor }),
            "PLAIN" => (Mechanism::Plain, Stage::Hello { minor }),
            "CURVE" if self.door.settings.curve.is_some() => (Mechanism::Curve, Stage::CurveHello { minor }),
            other => {
                // The peer sees that we speak another one, and goes.
                greeting::put_rest(out, Mechanism::Null.name(), false);
                return Err(Fault::Mechanism(other.to_owned()));
            }
        };
        greeting::put_rest(out, mechanism.name(), mechanism != Mechanism::Null);
        self.stage = next;
        if greeting.as_server && mechanism != Mechanism::Null {
            return Err(Fault::TwoServers);
        }
        Ok(())
    }

    fn on_command(&mut self, body: &[u8], out: &mut BytesMut) -> Result<Option<Introduced>, Fault> {
        let command = Command::decode(body)?;
        if let Command::Error { reason } = command {
            return Err(Fault::Told(String::from_utf8_lossy(reason).into_owned()));
        }
        let unexpected = Err(Malformed::UnexpectedCommand(command.name()).into());
        match (&self.stage, command) {
            (Stage::Null { minor }, Command::Ready(data)) => {
                let login = self.door.default_login(self.peer);
                introduce(*minor, Mechanism::Null, login?, data, None).map(Some)
            }
            (Stage::Hello { minor }, Command::Hello(data)) => {
                let (name, password) = plain::hello(data)?;
                let login = self.door.log_in(name, password, self.peer)?;
                Command::Welcome(&[]).put(out);
                self.stage = Stage::Initiate { minor: *minor, login };
                Ok(None)
            }
            (Stage::Initiate { minor, login }, Command::Initiate(data)) => {
                introduce(*minor, Mechanism::Plain, login.clone(), data, None).map(Some)
            }
            (Stage::CurveHello { minor }, Command::Hello(data)) => {
                let Some(keys) = &self.door.settings.curve else { return unexpected };
                let mut said = BytesMut::new();
                let hello = layout::Hello::decode(data)?;
                let welcomed = Box::new(curve::welcome(&keys.server.secret, &hello, &mut said)?);
                Command::Welcome(&said).put(out);
                self.stage = Stage::CurveInitiate { minor: *minor, welcomed };
                Ok(None)
            }
            (Stage::CurveInitiate { minor, welcomed }, Command::Initiate(data)) => {
                let Some(keys) = &self.door.settings.curve else { return unexpected };
                let initiate = layout::Initiate::decode(data)?;
                let Initiated { traffic, client, metadata } =
                    welcomed.initiate(&keys.server.public, &initiate)?;
                let login = self.door.log_in_by_key(&client, self.peer)?;
                introduce(*minor, Mechanism::Curve, login, &metadata, Some(Box::new(traffic))).map(Some)
            }
            (
                Stage::Greeting
                | Stage::Null { .. }
                | Stage::Hello { .. }
                | Stage::Initiate { .. }
                | Stage::CurveHello { .. }
                | Stage::CurveInitiate { .. },
                _,
            ) => unexpected,
        }
    }
}

fn introduce(
    minor: u8,
    mechanism: Mechanism,
    login: Login,
    data: &[u8],
    traffic: Option<Box<Traffic>>,
) -> Result<Introduced, Fault> {
    let properties = metadata::decode(data)?;
    let name = metadata::find(&properties, metadata::SOCKET_TYPE).unwrap_or_default();
    let socket =
        Socket::find(name).ok_or_else(|| Fault::SocketType(String::from_utf8_lossy(name).into_owned()))?;
    let metadata = properties.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    Ok(Introduced { socket, minor, mechanism, login, metadata, traffic })
}
