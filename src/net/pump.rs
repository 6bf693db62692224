//! The one loop between a socket and a sans-IO connection.
//!
//! One future per connection, polled by hand: read → connection → write, a few reads per turn, then the next
//! connection's turn. A peer that does not read its output is not read from either, so what a connection holds is
//! bounded. Frames, faults and limits on what a frame may declare are the connection's own business.

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
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Pending => Ok(Read::None),
            Poll::Ready(Ok(0)) => Ok(Read::Closed),
            Poll::Ready(Ok(_)) => {
                self.connection.on_bytes(now, &mut self.input);
                Ok(Read::Some)
            }
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
        match pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
            Poll::Pending => Ok(Read::None),
            Poll::Ready(Ok(0)) => Ok(Read::Closed),
            Poll::Ready(Ok(_)) => {
                self.connection.on_life(now);
                Ok(Read::Some)
            }
            Poll::Ready(Err(e)) => Err(e),
        }
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

/// Writes as long as the socket takes it.
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
    Ok(())
}

async fn write_all<S: AsyncWrite + Unpin>(stream: &mut S, mut output: Output) -> io::Result<()> {
    poll_fn(|cx| match write(stream, &mut output, cx) {
        Ok(()) if output.is_empty() => Poll::Ready(Ok(())),
        Ok(()) => Poll::Pending,
        Err(e) => Poll::Ready(Err(e)),
    })
    .await
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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use bytes::Buf;
    use tokio::{
        io::{DuplexStream, duplex},
        task::{JoinHandle, yield_now},
    };

    use super::*;
    use crate::net::output::OUTPUT_BYTES_MAX;

    /// Answers every line; `quit` ends it.
    #[derive(Default)]
    struct Echo {
        output: Output,
        deadline: Option<Instant>,
        finished: bool,
        ends: Arc<AtomicUsize>,
    }

    impl Connection for Echo {
        fn on_bytes(&mut self, _now: Instant, input: &mut BytesMut) {
            while let Some(at) = input.iter().position(|&b| b == b'\n') {
                let line = input.split_to(at + 1);
                self.output.buffer().extend_from_slice(&line);
                self.finished |= &line[..] == b"quit\n";
            }
        }
        fn poll(&mut self, _now: Instant, _input: &mut BytesMut, _cx: &mut Context<'_>) {}
        fn output(&mut self) -> &mut Output {
            &mut self.output
        }
        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }
        fn on_deadline(&mut self, _now: Instant) {
            self.deadline = None;
            self.output.buffer().extend_from_slice(b"late\n");
        }
        fn reading(&self) -> bool {
            true
        }
        fn finished(&self) -> bool {
            self.finished
        }
        fn on_shutdown(&mut self, _now: Instant) {
            self.output.buffer().extend_from_slice(b"going down\n");
            self.finished = true;
        }
        fn on_end(&mut self, _now: Instant) {
            self.ends.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Answers each byte, and stops reading behind it until it is let on.
    struct Gate {
        output: Output,
        held_back: bool,
        let_on: Arc<tokio::sync::Semaphore>,
    }

    impl Connection for Gate {
        fn on_bytes(&mut self, _now: Instant, input: &mut BytesMut) {
            self.output.buffer().extend_from_slice(&input.split());
            self.held_back = true;
        }
        fn poll(&mut self, _now: Instant, _input: &mut BytesMut, cx: &mut Context<'_>) {
            if self.held_back
                && let Poll::Ready(Ok(permit)) = pin!(self.let_on.acquire()).poll(cx)
            {
                permit.forget();
                self.held_back = false;
            }
            // Dropping the acquisition forgets the waker: asked for again, as whoever is woken from elsewhere would be.
            if self.held_back {
                cx.waker().wake_by_ref();
            }
        }
        fn output(&mut self) -> &mut Output {
            &mut self.output
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn on_deadline(&mut self, _now: Instant) {}
        fn reading(&self) -> bool {
            !self.held_back
        }
        fn finished(&self) -> bool {
            false
        }
        fn on_shutdown(&mut self, _now: Instant) {}
        fn on_end(&mut self, _now: Instant) {}
    }

    #[tokio::test]
    async fn a_connection_that_reads_again_hears_of_what_came_meanwhile() {
        let (mut client, server) = duplex(16 * 1024);
        let let_on = Arc::new(tokio::sync::Semaphore::new(0));
        let gate = Gate { output: Output::default(), held_back: false, let_on: let_on.clone() };
        let pump =
            tokio::spawn(async move { run(server, gate, Clock::machine(), &Shutdown::default()).await });
        client.write_all(b"a").await.unwrap();
        reads(&mut client, "a").await;
        let_on.add_permits(1);
        for _ in 0..100 {
            yield_now().await;
        }
        // It has gone on without a read, and must be waiting for one.
        client.write_all(b"b").await.unwrap();
        timeout(Duration::from_secs(5), reads(&mut client, "b")).await.unwrap();
        drop(client);
        let_on.add_permits(1);
        assert!(matches!(pump.await.unwrap(), End::PeerClosed));
    }

    struct Rig {
        client: DuplexStream,
        pump: JoinHandle<End>,
        shutdown: Shutdown,
        ends: Arc<AtomicUsize>,
    }

    fn rig(deadline: Option<Duration>) -> Rig {
        let (client, server) = duplex(16 * 1024);
        let shutdown = Shutdown::default();
        let clock = Clock::machine();
        let echo = Echo { deadline: deadline.map(|d| clock.now() + d), ..Echo::default() };
        let ends = Arc::clone(&echo.ends);
        let pump = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { run(server, echo, clock, &shutdown).await }
        });
        Rig { client, pump, shutdown, ends }
    }

    async fn reads(client: &mut DuplexStream, expected: &str) {
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    #[tokio::test]
    async fn a_frame_that_comes_in_pieces_is_answered_once_it_is_whole() {
        let mut rig = rig(None);
        for piece in ["hel", "lo\nwor", "ld\n"] {
            rig.client.write_all(piece.as_bytes()).await.unwrap();
            yield_now().await;
        }
        reads(&mut rig.client, "hello\nworld\n").await;
        drop(rig.client);
        assert!(matches!(rig.pump.await.unwrap(), End::PeerClosed));
        assert_eq!(rig.ends.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_last_bytes_leave_before_the_socket_closes() {
        let mut rig = rig(None);
        rig.client.write_all(b"one\nquit\nunread").await.unwrap();
        reads(&mut rig.client, "one\nquit\n").await;
        assert_eq!(rig.client.read(&mut [0; 8]).await.unwrap(), 0);
        drop(rig.client);
        assert!(matches!(rig.pump.await.unwrap(), End::Finished));
        assert_eq!(rig.ends.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_not_read_from() {
        let mut rig = rig(None);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let mut sent = 0;
        let stuck = async {
            for _ in 0..10_000 {
                yield_now().await;
            }
        };
        let flood = async {
            loop {
                rig.client.write_all(&line).await.unwrap();
                sent += line.len();
            }
        };
        tokio::select! { biased; () = stuck => {}, () = flood => {} }
        assert!((OUTPUT_BYTES_MAX..OUTPUT_BYTES_MAX + 4 * BUFFER_BYTES).contains(&sent), "{sent}");
        // Once the peer reads again, everything goes on.
        let mut got = vec![0; sent];
        rig.client.read_exact(&mut got).await.unwrap();
        assert!(got == line.repeat(sent / line.len()));
    }

    #[tokio::test]
    async fn a_deadline_is_told() {
        let mut rig = rig(Some(Duration::from_millis(5)));
        reads(&mut rig.client, "late\n").await;
    }

    #[tokio::test]
    async fn shutdown_lets_the_connection_say_goodbye() {
        let mut rig = rig(None);
        rig.client.write_all(b"hello\n").await.unwrap();
        reads(&mut rig.client, "hello\n").await;
        rig.shutdown.start();
        reads(&mut rig.client, "going down\n").await;
    }

    #[tokio::test]
    async fn an_aborted_connection_still_gives_everything_back() {
        let rig = rig(None);
        yield_now().await;
        rig.pump.abort();
        assert!(rig.pump.await.unwrap_err().is_cancelled());
        assert_eq!(rig.ends.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_idle_connection_holds_no_buffer_and_a_begun_frame_only_its_bytes() {
        let (mut client, server) = duplex(16 * 1024);
        let mut pump = Pump::new(server, Echo::default(), Clock::machine(), &Shutdown::default());
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        client.write_all(b"whole\n").await.unwrap();
        assert!(pump.turn(cx).is_pending());
        assert_eq!((pump.input.capacity(), pump.connection.output.len()), (0, 0));
        client.write_all(b"begun").await.unwrap();
        assert!(pump.turn(cx).is_pending());
        assert!(pump.input.chunk() == b"begun" && pump.input.capacity() < BUFFER_BYTES);
    }
}
