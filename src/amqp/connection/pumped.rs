//! The connection as the pump sees it: bytes, wake-ups and deadlines.

use std::{
    task::Poll,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};

use super::{Connection, Heartbeat, Phase};
use crate::{
    amqp::{
        fault::Fault,
        handle,
        overdue::{self, Overdue},
        session::{Alarm, Context, Session, Waiting},
        wire::{MethodId, frame::HEARTBEAT},
    },
    broker::queue::flow::PATIENCE,
    net::pump::{self, Output},
    store::StoreError,
};

impl Session {
    /// Whether the next frame may be read.
    fn reads(&self) -> bool {
        self.waiting.is_none()
            && self.relief.is_none()
            && self.hold.is_none()
            && !matches!(self.alarm, Alarm::Blocked)
    }
}

impl Connection {
    /// Looks from time to time whether deliveries are acknowledged in time.
    fn tick(&mut self, now: Instant) {
        let now_ms = self.door.broker.core.clock.now_ms();
        let Phase::Open(session) = &mut self.phase else { return };
        if now < session.tick_at {
            return;
        }
        session.tick_at = now + session.door.settings.consumer_tick;
        let mut cx = Context { session, output: &mut self.output, now_ms };
        for Overdue { channel, fault } in overdue::check(&mut cx) {
            self.fail(now, channel, &fault, MethodId::NONE);
        }
    }

    /// Nobody is held up for ever by consumers that take nothing.
    fn lose_patience(&mut self, now: Instant) {
        let Phase::Open(session) = &mut self.phase else { return };
        if let Some((hold, until)) = &mut session.hold
            && *until <= now
        {
            *until = now + PATIENCE;
            if !hold.goes_on() {
                session.hold = None;
            }
        }
    }

    /// What has happened elsewhere.
    fn poll_open(&mut self, now: Instant, cx: &mut std::task::Context<'_>) {
        let now_ms = self.door.broker.core.clock.now_ms();
        let Phase::Open(session) = &mut self.phase else { return };
        if !session.waker.will_wake(cx.waker()) {
            session.waker = cx.waker().clone();
        }
        let was_reading = session.reads();
        let mut context = Context { session, output: &mut self.output, now_ms };
        // A full output is polled again when it has room, so nothing stays behind unnoticed.
        if context.output.is_full() {
            context.session.outlet.register(cx.waker());
        } else {
            handle::deliver::drain(&mut context, None);
        }
        handle::deliver::confirm(&mut context);
        if let Some(reason) = context.session.close_asked.take() {
            self.fail(now, 0, &Fault::Forced(reason), MethodId::NONE);
            return;
        }
        if let Err(error) = poll_commits(session, &mut self.output, now_ms, cx) {
            tracing::error!(%error, "a transaction could not be made durable");
            self.fail(now, 0, &Fault::Internal, MethodId::NONE);
            return;
        }
        if let Some(relief) = &mut session.relief
            && relief.as_mut().poll(cx).is_ready()
        {
            session.relief = None;
        }
        if let Some(Waiting::Durable { durable, reply }) = &mut session.waiting
            && let Poll::Ready(result) = durable.as_mut().poll(cx)
        {
            if result.is_ok() {
                self.output.buffer().extend_from_slice(reply);
            }
            session.waiting = None;
            if let Err(error) = result {
                tracing::error!(%error, "a request could not be made durable");
                self.fail(now, 0, &Fault::Internal, MethodId::NONE);
                return;
            }
        }
        if !was_reading && session.reads() {
            // What the peer sent meanwhile could not be seen; the pump has looked at the socket already.
            self.heartbeat.last_received = now;
            cx.waker().wake_by_ref();
        }
    }
}

/// Answers the transactions that are in the log.
fn poll_commits(
    session: &mut Session,
    output: &mut Output,
    now_ms: i64,
    cx: &mut std::task::Context<'_>,
) -> Result<(), StoreError> {
    let mut done = Vec::new();
    let mut result = Ok(());
    session.commits.retain_mut(|commit| match commit.durable.as_mut().poll(cx) {
        Poll::Pending => true,
        Poll::Ready(Ok(())) => {
            done.push((commit.channel, commit.generation));
            false
        }
        Poll::Ready(Err(error)) => {
            result = Err(error);
            false
        }
    });
    let mut cx = Context { session, output, now_ms };
    done.into_iter().for_each(|(channel, generation)| handle::tx::committed(&mut cx, channel, generation));
    result
}

impl pump::Connection for Connection {
    fn on_bytes(&mut self, now: Instant, input: &mut BytesMut) {
        self.heartbeat.last_received = now;
        let taken = self.take(now, input);
        input.advance(taken.min(input.len()));
    }

    fn poll(&mut self, now: Instant, input: &mut BytesMut, cx: &mut std::task::Context<'_>) {
        self.poll_open(now, cx);
        let may = self.reading() && !self.output.is_full();
        if matches!(self.phase, Phase::Open(_)) && may && !input.is_empty() {
            let taken = self.take(now, input);
            input.advance(taken.min(input.len()));
            if taken > 0 {
                // What was taken may wait for something, or have made something ready.
                cx.waker().wake_by_ref();
            }
        }
        if !self.output.is_empty() {
            self.heartbeat.last_sent = now;
        }
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Greeting { until }
            | Phase::Start { until }
            | Phase::Tune { until, .. }
            | Phase::Opening { until, .. }
            | Phase::Closing { until, .. }
            | Phase::Closed { until, .. }
            | Phase::Silent { until } => Some(*until),
            Phase::Open(session) => {
                let Heartbeat { interval, last_received, last_sent } = self.heartbeat;
                let beat = || (last_sent + interval / 2).min(last_received + silence_max(interval));
                let beat = (!interval.is_zero()).then(beat);
                let patience = session.hold.as_ref().map(|(_, until)| *until);
                beat.into_iter().chain(patience).chain([session.tick_at]).min()
            }
            Phase::Over => None,
        }
    }

    fn on_deadline(&mut self, now: Instant) {
        self.tick(now);
        self.lose_patience(now);
        let Heartbeat { interval, last_received, last_sent } = self.heartbeat;
        match &self.phase {
            Phase::Open(_) if interval.is_zero() => {}
            Phase::Open(session) => {
                if !session.reads() {
                    // RabbitMQ pauses its monitor, too: what is not read cannot prove anything.
                    self.heartbeat.last_received = now;
                } else if now >= last_received + silence_max(interval) {
                    tracing::warn!(peer = %self.ends.peer, "missed heartbeats from the client");
                    self.abandon();
                    return;
                }
                if now >= last_sent + interval / 2 {
                    self.output.buffer().extend_from_slice(&HEARTBEAT);
                    self.heartbeat.last_sent = now;
                }
            }
            Phase::Greeting { .. } | Phase::Start { .. } | Phase::Tune { .. } | Phase::Opening { .. } => {
                tracing::warn!(peer = %self.ends.peer, "handshake timeout");
                self.phase = Phase::Over;
            }
            Phase::Closing { .. } | Phase::Closed { .. } | Phase::Silent { .. } => self.phase = Phase::Over,
            Phase::Over => {}
        }
    }

    fn reading(&self) -> bool {
        match &self.phase {
            Phase::Open(session) => session.reads(),
            Phase::Greeting { .. }
            | Phase::Start { .. }
            | Phase::Tune { .. }
            | Phase::Opening { .. }
            | Phase::Closing { .. }
            | Phase::Closed { .. }
            | Phase::Silent { .. }
            | Phase::Over => true,
        }
    }

    /// A peer that does not read, but says that it lives, is left alone, as RabbitMQ does.
    fn wants_life(&self) -> bool {
        matches!(self.phase, Phase::Open(_)) && !self.heartbeat.interval.is_zero()
    }

    fn on_life(&mut self, now: Instant) {
        self.heartbeat.last_received = now;
    }

    fn finished(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    fn on_shutdown(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closed { .. } | Phase::Silent { .. }) {
            // Nobody waits for a word.
            self.phase = Phase::Over;
        }
        self.fail(now, 0, &Fault::Shutdown, MethodId::NONE);
    }

    fn on_end(&mut self, _: Instant) {
        self.abandon();
        self.door.broker.core.meters.connections_closed.increment();
    }
}

/// Nothing for two checks of the interval: the peer is gone.
fn silence_max(interval: Duration) -> Duration {
    interval * 2
}
