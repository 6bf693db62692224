//! The pump between a connection that echoes and a socket in memory.

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
    let pump = tokio::spawn(async move { run(server, gate, Clock::machine(), &Shutdown::default()).await });
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
