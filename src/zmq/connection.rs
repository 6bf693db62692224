//! One peer's connection, sans-IO: a greeting, a handshake, then a session until one side ends it.
//!
//! ```text
//!  Handshake ──introduced──▶ Open ──fault, or the server goes down──▶ Over
//!      └───── fault: ERROR with its reason, once both have greeted ────▲
//! ```

use std::{sync::Arc, task::Context, time::Instant};

use bytes::BytesMut;

use super::{
    Door, Mapping,
    fault::Fault,
    handshake::Handshake,
    session::{Place, Session},
};
use crate::net::{
    listener::Ends,
    pump::{self, Output},
};

/// A ZeroMQ peer's connection.
pub struct Connection {
    place: Place,
    phase: Phase,
    output: Output,
}

enum Phase {
    Handshake {
        handshake: Handshake,
        until: Instant,
    },
    Open(Box<Session>),
    /// What is in the output is still written.
    Over,
}

impl Connection {
    #[must_use]
    pub fn new(door: Arc<Door>, mapping: Arc<Mapping>, ends: &Ends, now: Instant) -> Self {
        let &Ends { peer, local, .. } = ends;
        door.broker.core.meters.connections_opened.increment();
        let mut output = Output::default();
        let handshake = Handshake::new(door.clone(), peer, output.buffer());
        let until = now + door.settings.handshake_timeout;
        let place = Place { door, mapping, peer, local };
        Self { place, phase: Phase::Handshake { handshake, until }, output }
    }

    /// Goes on with the handshake; opens the session when it is done.
    fn greet(&mut self, now: Instant, input: &mut BytesMut) {
        let Phase::Handshake { handshake, .. } = &mut self.phase else { return };
        let opened = match handshake.on_bytes(input, self.output.buffer()) {
            Ok(None) => return,
            Ok(Some(introduced)) => Session::open(&self.place, introduced, &mut self.output, now),
            Err(fault) => Err(fault),
        };
        match opened {
            Ok(session) => self.phase = Phase::Open(Box::new(session)),
            Err(fault) => self.fail(&fault),
        }
    }

    fn fail(&mut self, fault: &Fault) {
        tracing::info!(peer = %self.place.peer, "zmq connection closed: {fault}");
        match &mut self.phase {
            Phase::Handshake { handshake, .. } => handshake.refuse(fault.reason(), self.output.buffer()),
            Phase::Over => {}
            Phase::Open(session) => session.end(),
        }
        self.phase = Phase::Over;
    }
}

impl pump::Connection for Connection {
    /// Nothing but that it came: what is made of it needs a waker, and `poll` follows at once.
    fn on_bytes(&mut self, now: Instant, _: &mut BytesMut) {
        self.on_life(now);
    }

    fn poll(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>) {
        self.greet(now, input);
        if let Phase::Open(session) = &mut self.phase
            && let Err(fault) = session.poll(now, input, &mut self.output, cx)
        {
            self.fail(&fault);
        }
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn on_written(&mut self) {
        if let Phase::Open(session) = &mut self.phase {
            session.on_written(self.output.written());
        }
    }

    fn on_peer_closed(&mut self) {
        if let Phase::Open(session) = &mut self.phase {
            session.on_peer_closed();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshake { until, .. } => Some(*until),
            Phase::Open(session) => session.deadline(),
            Phase::Over => None,
        }
    }

    fn on_deadline(&mut self, now: Instant) {
        let due = match &mut self.phase {
            Phase::Handshake { until, .. } if *until <= now => Err(Fault::HandshakeTimeout),
            Phase::Open(session) => session.on_deadline(now, &mut self.output),
            Phase::Handshake { .. } | Phase::Over => Ok(()),
        };
        if let Err(fault) = due {
            self.fail(&fault);
        }
    }

    fn reading(&self) -> bool {
        match &self.phase {
            Phase::Handshake { .. } => true,
            Phase::Open(session) => session.reading(),
            Phase::Over => false,
        }
    }

    fn wants_life(&self) -> bool {
        matches!(&self.phase, Phase::Open(session) if session.wants_life())
    }

    fn on_life(&mut self, now: Instant) {
        if let Phase::Open(session) = &mut self.phase {
            session.heard(now);
        }
    }

    fn finished(&self) -> bool {
        match &self.phase {
            Phase::Handshake { .. } => false,
            Phase::Open(session) => session.finished(),
            Phase::Over => true,
        }
    }

    /// ZMTP has no words for it. What is on its way to disk is still answered.
    fn on_shutdown(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Open(session) => session.wind_down(&mut self.output, now),
            Phase::Handshake { .. } | Phase::Over => self.phase = Phase::Over,
        }
    }

    fn on_end(&mut self, _: Instant) {
        if let Phase::Open(session) = &mut self.phase {
            session.end();
        }
        self.phase = Phase::Over;
        self.place.door.broker.core.meters.connections_closed.increment();
    }
}
