//! Listening sockets for the doors that speak HTTP: the same limits as on the pump, under axum.
//!
//! What is asked and answered is the admin door's; here are only sockets, limits and going down.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::connect_info::Connected, serve::IncomingStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep, sleep, timeout},
};

use crate::net::{
    listener::{Bound, Ends},
    shutdown::Shutdown,
    tls::{Tls, socket::Socket},
};

/// Serves until shutdown; then lets requests under way finish, at most for `grace`.
pub async fn serve(bound: Bound, tls: Option<Arc<Tls>>, router: Router, shutdown: Shutdown, grace: Duration) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut sockets = JoinSet::new();
    for listener in bound.into_listeners() {
        let guarded = Guarded { listener, tls: tls.clone(), permits: Arc::clone(&permits) };
        let service = router.clone().into_make_service_with_connect_info::<Ends>();
        let stop = shutdown.clone();
        sockets.spawn(async move {
            let serving =
                axum::serve(guarded, service).with_graceful_shutdown(async move { stop.started().await });
            if let Err(e) = serving.await {
                tracing::error!("HTTP: {e}");
            }
        });
    }
    shutdown.started().await;
    let all = async { while sockets.join_next().await.is_some() {} };
    if timeout(grace, all).await.is_err() {
        sockets.shutdown().await;
    }
}

/// A listening socket that holds connections back while there are too many.
struct Guarded {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    permits: Arc<Semaphore>,
}

impl axum::serve::Listener for Guarded {
    type Io = Patient;
    type Addr = Ends;

    async fn accept(&mut self) -> (Patient, Ends) {
        loop {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let accepted = self.listener.accept().await;
            if let (Ok(permit), Ok((stream, peer))) = (permit, accepted)
                && let Ok(local) = stream.local_addr()
            {
                drop(stream.set_nodelay(true));
                let stream = Socket::new(stream, self.tls.as_deref());
                return (
                    Patient { stream, idle: Box::pin(sleep(IDLE_MAX)), _permit: permit },
                    Ends { local, peer, tls: None },
                );
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }

    fn local_addr(&self) -> io::Result<Ends> {
        let local = self.listener.local_addr()?;
        Ok(Ends { local, peer: SocketAddr::new(local.ip(), 0), tls: None })
    }
}

impl Connected<IncomingStream<'_, Guarded>> for Ends {
    fn connect_info(stream: IncomingStream<'_, Guarded>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A socket that gives up on a peer that says nothing.
struct Patient {
    stream: Socket,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Pending => this.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready @ Poll::Ready(_) => {
                this.idle.as_mut().reset(later());
                ready
            }
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn later() -> Instant {
    Instant::from_std(crate::clock::epoch()) + IDLE_MAX
}

/// HTTP connections of one door; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 512;

/// Nothing is heard for so long: longer than any long poll of the admin door.
const IDLE_MAX: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
