//! The one loop between a socket and a sans-IO connection.
//!
//! One future per connection, polled by hand: read → connection → write, a few reads per turn, then the next
//! connection's turn. A peer that does not read its output is not read from either, so what a connection holds is
//! bounded. Frames, faults and limits on what a frame may declare are the connection's own business.

#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Sleep, sleep_until, timeout},
};

pub use crate::net::output::Output;
use crate::{
    clock::Clock,
    net::{
        buffers::{self, BUFFER_BYTES},
        shutdown::{Shutdown, Watch},
    },
};

/// A protocol's connection: bytes and time come in, bytes come out; it never touches a socket or a timer.
///
/// The pump calls it from one task, so it needs no lock of its own. Events from elsewhere (a delivery, a durable
/// ticket) wake that task through the waker of the last `poll`.
pub trait Connection: Send + 'static {
    /// Takes every complete frame from the front of `input`; leaves the rest. May stop early when it must wait
    /// (for a commit, for room): then [`Connection::reading`] says false until `poll` has gone on.
    ///
    /// A frame that declares more than the limit is refused here, before its bytes have come: the pump reads as
    /// long as it is asked to. For a large frame `input.reserve(rest)` saves it from growing step by step.
    fn on_bytes(&mut self, now: Instant, input: &mut BytesMut);

    /// Handles what has happened elsewhere since the last call and registers `cx`'s waker for what comes next.
    /// Called after every wake-up and after `on_bytes`; `input` as in `on_bytes`, for a connection that stopped early.
    /// Called again once a full [`Output`] has room, so whoever held back for that needs no waker.
    fn poll(&mut self, now: Instant, input: &mut BytesMut, cx: &mut Context<'_>);

    /// What waits to be written.
    fn output(&mut self) -> &mut Output;

    /// Something of the output may have been written.
    fn on_written(&mut self) {}

    /// The peer has closed its side. What it sent before is still handled, and what is ready for it is still written; but
    /// nobody may be there to take it.
    fn on_peer_closed(&mut self) {}

    /// When `on_deadline` wants to be called.
    fn deadline(&self) -> Option<Instant>;

    /// The deadline has come.
    fn on_deadline(&mut self, now: Instant);

    /// Whether more bytes are welcome.
    fn reading(&self) -> bool;

    /// Whether it matters that a peer which does not read its output still sends: only then is the socket read while the
    /// output is full. Nothing is taken from `input` then, neither by `poll`.
    fn wants_life(&self) -> bool {
        false
    }

    /// Such a peer has sent something, or so much lies untaken already that nobody looks.
    fn on_life(&mut self, _now: Instant) {}

    /// Whether to close the socket once the output is written.
    fn finished(&self) -> bool;

    /// The server is going down: say goodbye in the protocol's words.
    fn on_shutdown(&mut self, now: Instant);

    /// The socket is gone, whoever closed it: give everything back. Called exactly once, last.
    fn on_end(&mut self, now: Instant);
}

/// Why a pump stopped.
#[derive(Debug)]
pub enum End {
    /// The connection said so; its last bytes were written, if the peer took them.
    Finished,
    /// The peer closed its side.
    PeerClosed,
    /// The socket failed.
    Broken(io::Error),
}

/// Pumps until one side closes. Dropping the future closes the socket; `on_end` is called in every case.
pub async fn run<S, C>(stream: S, connection: C, clock: Clock, shutdown: &Shutdown) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    C: Connection,
{
    let mut pump = Pump::new(stream, connection, clock, shutdown);
    let end = poll_fn(|cx| pump.turn(cx)).await;
    let output = std::mem::take(pump.connection.output());
    pump.end();
    match end {
        End::Finished => say_goodbye(&mut pump.stream, output).await,
        // Half-closed: what is ready still leaves, but nobody waits for it.
        End::PeerClosed => drop(timeout(CLOSING_MAX, write_all(&mut pump.stream, output)).await),
        End::Broken(_) => {}
    }
    end
}

struct Pump<S, C: Connection> {
    stream: S,
    connection: C,
    clock: Clock,
    input: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    /// What `timer` is set to. Not moved for a later deadline: it fires once too early, which is cheaper than
    /// moving it with every read that proves the peer alive.
    armed: Option<Instant>,
    watch: Watch,
    told: bool,
    ended: bool,
}

impl<S, C> Pump<S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Connection,
{
    fn new(stream: S, connection: C, clock: Clock, shutdown: &Shutdown) -> Self {
        Self {
            stream,
            connection,
            clock,
            input: BytesMut::new(),
            timer: None,
            armed: None,
            watch: shutdown.watch(),
            told: false,
            ended: false,
        }
    }

    /// A few rounds of read → connection → write, then the worker's next task.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = self.clock.now();
        if !self.told && self.watch.poll(cx).is_ready() {
            self.told = true;
            self.connection.on_shutdown(now);
        }
        for _ in 0..ROUNDS_PER_TURN {
            let again = match self.round(cx) {
                Ok(Round::Over(end)) => return Poll::Ready(end),
                Ok(Round::Again) => true,
                Ok(Round::Idle) => self.due(cx),
                Err(e) => return Poll::Ready(End::Broken(e)),
            };
            if !again {
                self.rest();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, cx: &mut Context<'_>) -> io::Result<Round> {
        let now = self.clock.now();
        if self.connection.deadline().is_some_and(|d| d <= now) {
            self.connection.on_deadline(now);
        }
        let read = self.read(now, cx)?;
        if read == Read::Closed {
            self.connection.on_peer_closed();
        }
        let held_back = !self.connection.reading();
        self.connection.poll(now, &mut self.input, cx);
        // The socket was not asked in this round, so nothing would wake us for what has come meanwhile.
        let reads_again = held_back && self.connection.reading();
        let was_full = self.connection.output().is_full();
        write(&mut self.stream, self.connection.output(), cx)?;
        self.connection.on_written();
        let made_room = was_full && !self.connection.output().is_full();
        Ok(if self.connection.finished() {
            Round::Over(End::Finished)
        } else if read == Read::Closed {
            Round::Over(End::PeerClosed)
        } else if read == Read::Some || made_room || reads_again {
            Round::Again
        } else {
            Round::Idle
        })
    }

    fn read(&mut self, now: Instant, cx: &mut Context<'_>) -> io::Result<Read> {
        if !self.connection.reading() {
            return Ok(Read::None);
        }
        if self.connection.output().is_full() {
            return self.listen(now, cx);
        }
        self.make_room();
        let read = self.receive(cx)?;
        if read == Read::Some {
            self.connection.on_bytes(now, &mut self.input);
        }
        Ok(read)
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<Read> {
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Pending => Ok(Read::None),
            Poll::Ready(Ok(0)) => Ok(Read::Closed),
            Poll::Ready(Ok(_)) => Ok(Read::Some),
            // Many clients close a TLS connection without saying so. The protocols above tell what was cut off.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(Read::Closed),
            Poll::Ready(Err(e)) => Err(e),
        }
    }

    /// Reads only to see that the peer lives, and not much: it is served when it has taken what is due to it.
    fn listen(&mut self, now: Instant, cx: &mut Context<'_>) -> io::Result<Read> {
        if self.input.len() >= UNTAKEN_BYTES_MAX {
            self.connection.on_life(now);
            return Ok(Read::None);
        }
        if !self.connection.wants_life() {
            return Ok(Read::None);
        }
        self.make_room();
        let read = self.receive(cx)?;
        if read == Read::Some {
            self.connection.on_life(now);
        }
        Ok(read)
    }

    fn make_room(&mut self) {
        if self.input.is_empty() && self.input.try_reclaim(BUFFER_BYTES) {
            return;
        }
        if self.input.capacity() < BUFFER_BYTES && self.input.len() < REST_COPIED_MAX {
            let mut buffer = buffers::take();
            buffer.extend_from_slice(&self.input);
            buffers::give(std::mem::replace(&mut self.input, buffer));
        } else if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(BUFFER_BYTES.max(self.input.len()));
        }
    }

    /// Before waiting: gives the read buffer back, and keeps only the bytes of a frame that has just begun.
    fn rest(&mut self) {
        if self.input.capacity() >= BUFFER_BYTES && self.input.len() < REST_COPIED_MAX {
            let kept = BytesMut::from(&self.input[..]);
            buffers::give(std::mem::replace(&mut self.input, kept));
        }
    }

    /// Arms the timer for the connection's deadline; true when that has already come.
    fn due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.connection.deadline() else { return false };
        if deadline <= self.clock.now() {
            return true;
        }
        if self.armed.is_none_or(|armed| armed > deadline) {
            self.arm(deadline);
        }
        while self.timer.as_mut().is_some_and(|t| t.as_mut().poll(cx).is_ready()) {
            if deadline <= self.clock.now() {
                self.armed = None;
                return true;
            }
            // Fired for an earlier deadline, or the clock is manual and moves behind the timer's back.
            let fired = self.armed.unwrap_or(deadline);
            self.arm(deadline.max(fired + MANUAL_CLOCK_STEP));
        }
        false
    }

    fn arm(&mut self, at: Instant) {
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(at.into()),
            None => self.timer = Some(Box::pin(sleep_until(at.into()))),
        }
        self.armed = Some(at);
    }
}

impl<S, C: Connection> Pump<S, C> {
    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.connection.on_end(self.clock.now());
            buffers::give(std::mem::take(&mut self.input));
        }
    }
}

impl<S, C: Connection> Drop for Pump<S, C> {
    fn drop(&mut self) {
        // The task was aborted, or the connection's own code panicked: what it held must go back all the same, and
        // a second panic here would take the whole process down.
        if catch_unwind(AssertUnwindSafe(|| self.end())).is_err() {
            tracing::error!("a connection panicked while giving back what it held");
        }
    }
}

enum Round {
    Again,
    Idle,
    Over(End),
}

#[derive(PartialEq)]
enum Read {
    Closed,
    None,
    Some,
}

/// Writes as long as the socket takes it. Under TLS what was taken may still be held: it leaves with the flush.
fn write<S: AsyncWrite + Unpin>(stream: &mut S, output: &mut Output, cx: &mut Context<'_>) -> io::Result<()> {
    while !output.is_empty() {
        let written = {
            let slices: SmallVec<[IoSlice<'_>; SLICES_MAX]> =
                output.chunks().take(SLICES_MAX).map(IoSlice::new).collect();
            match &slices[..] {
                [one] => Pin::new(&mut *stream).poll_write(cx, one),
                many => Pin::new(&mut *stream).poll_write_vectored(cx, many),
            }
        };
        match written {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(n)) => output.advance(n),
            Poll::Ready(Err(e)) => return Err(e),
        }
    }
    match Pin::new(stream).poll_flush(cx) {
        Poll::Ready(Err(e)) => Err(e),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}

async fn write_all<S: AsyncWrite + Unpin>(stream: &mut S, mut output: Output) -> io::Result<()> {
    poll_fn(|cx| match write(stream, &mut output, cx) {
        Ok(()) if output.is_empty() => Poll::Ready(Ok(())),
        Ok(()) => Poll::Pending,
        Err(e) => Poll::Ready(Err(e)),
    })
    .await?;
    stream.flush().await
}

/// Writes what is left, closes our side and reads on for a moment: closing with unread input in the kernel would
/// reset the connection, and the peer might lose our last frame.
async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, output: Output) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let goodbye = async {
        write_all(&mut writer, output).await?;
        writer.shutdown().await
    };
    let discard = async {
        let mut discarded = 0;
        let mut buffer = buffers::take();
        while let Ok(n @ 1..) = reader.read_buf(&mut buffer).await {
            buffer.clear();
            discarded += n;
            if discarded > DISCARDED_BYTES_MAX {
                break;
            }
        }
        buffers::give(buffer);
    };
    // Both sides at once: a peer that is itself stuck writing would never come to read our goodbye.
    let both = async { tokio::join!(goodbye, discard).0 };
    drop(timeout(CLOSING_MAX, both).await);
}

/// Rounds before other connections of the same worker have their turn.
const ROUNDS_PER_TURN: usize = 4;

/// A read is not started for less room than this.
const READ_BYTES_MIN: usize = 8 * 1024;

/// What may lie unread while the output is full, beyond one read.
const UNTAKEN_BYTES_MAX: usize = 16 * 1024;

/// The beginning of a frame up to this size is copied out, so that its connection holds no whole buffer.
const REST_COPIED_MAX: usize = 4 * 1024;

/// Slices handed to one vectored write; more than some dozens save nothing.
const SLICES_MAX: usize = 64;

/// How long closing may take: last bytes out, the peer's close in.
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// What a closing connection may still send before it is cut off.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How often a deadline on a manual clock is looked at.
const MANUAL_CLOCK_STEP: Duration = Duration::from_millis(10);
