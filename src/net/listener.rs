//! A door's listening sockets: binding them, accepting, one task per connection, and joining those at the end.
//!
//! What a connection says is the door's; how its bytes move is [`pump`]'s.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;

use crate::{
    clock::Clock,
    data::tls::Session,
    net::{
        pump::{self, Connection},
        shutdown::Shutdown,
        tls::{Tls, peer},
    },
};

/// The two ends of one connection, and what they have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// Without TLS, nothing.
    pub tls: Option<Arc<Session>>,
}

/// What a listener needs beside its sockets.
#[derive(Clone)]
pub struct Options {
    /// The door's name, for the log.
    pub door: &'static str,
    /// Above this many connections a new one is closed at once.
    pub connections_max: usize,
    /// What the kernel takes of a connection's output before it has sent it; `None` as much as it likes.
    pub unsent_bytes_max: Option<u32>,
    /// With it, connections begin with its handshake.
    pub tls: Option<Arc<Tls>>,
    /// How long connections may take to say goodbye.
    pub grace: Duration,
    pub clock: Clock,
    pub shutdown: Shutdown,
}

/// Sockets that listen but are not yet accepted from: the kernel queues who comes.
#[derive(Debug)]
pub struct Bound(Vec<TcpListener>);

impl Bound {
    /// Binds `port` on each of `hosts`; port 0 is any free one, the same on every host.
    ///
    /// # Errors
    /// The first address that cannot be bound, and why. A machine without IPv6 is no error while another host is left.
    pub fn bind(hosts: &[IpAddr], port: u16) -> Result<Self, (SocketAddr, io::Error)> {
        let mut last = None;
        for _ in 0..FREE_PORT_TRIES {
            match Self::bind_once(hosts, port) {
                Err((address, e)) if port == 0 && e.kind() == io::ErrorKind::AddrInUse => {
                    last = Some((address, e))
                }
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| {
            (SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), io::ErrorKind::AddrInUse.into())
        }))
    }

    fn bind_once(hosts: &[IpAddr], port: u16) -> Result<Self, (SocketAddr, io::Error)> {
        let mut listeners: Vec<TcpListener> = Vec::with_capacity(hosts.len());
        let mut missing = None;
        for &host in hosts {
            let port = listeners.first().and_then(|l| l.local_addr().ok()).map_or(port, |a| a.port());
            let address = SocketAddr::new(host, port);
            match listen(address) {
                Ok(listener) => listeners.push(listener),
                Err(e) if host == Ipv6Addr::LOCALHOST && is_absent(&e) => missing = Some((address, e)),
                Err(e) => return Err((address, e)),
            }
        }
        match missing {
            Some(error) if listeners.is_empty() => Err(error),
            Some(_) | None => Ok(Self(listeners)),
        }
    }

    /// Where it listens, in the order of the hosts.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|l| l.local_addr().ok()).collect()
    }

    /// The sockets themselves, for a door that is not on the pump.
    #[must_use]
    pub fn into_listeners(self) -> Vec<TcpListener> {
        self.0
    }

    /// Accepts until shutdown, gives each connection to `open` and its task to the pump; then waits for all of
    /// them to say goodbye, at most the grace period. Owns every task it starts.
    pub async fn serve<C, F>(self, options: Options, open: F)
    where
        C: Connection,
        F: Fn(Ends) -> C + Clone + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut next = 0;
        loop {
            tokio::select! {
                biased;
                () = options.shutdown.started() => break,
                Some(ended) = connections.join_next() => report(options.door, ended),
                accepted = accept(&self.0, &mut next) => match accepted {
                    Ok((stream, ends)) if connections.len() < options.connections_max => {
                        limit_unsent(&stream, options.unsent_bytes_max);
                        let Options { door, clock, shutdown, .. } = options.clone();
                        match options.tls.clone() {
                            None => {
                                let connection = open(ends);
                                connections.spawn(async move { drop(pump::run(stream, connection, clock, &shutdown).await) });
                            }
                            Some(tls) => {
                                let open = open.clone();
                                connections.spawn(async move {
                                    let Some((stream, ends)) = agree(door, &tls, stream, ends, &shutdown).await else { return };
                                    drop(pump::run(stream, open(ends), clock, &shutdown).await);
                                });
                            }
                        }
                    }
                    Ok((_, ends)) => {
                        tracing::warn!(door = options.door, peer = %ends.peer, "refused: connections_max reached");
                    }
                    Err(e) => {
                        // Out of descriptors, mostly: whoever waits in the kernel's queue keeps waiting.
                        tracing::warn!(door = options.door, "cannot accept: {e}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.0);
        drain(&options, connections).await;
    }
}

/// Makes the handshake; with nothing there is nobody to serve.
async fn agree(
    door: &str,
    tls: &Tls,
    stream: TcpStream,
    ends: Ends,
    shutdown: &Shutdown,
) -> Option<(TlsStream<TcpStream>, Ends)> {
    let agreed = tokio::select! {
        agreed = tls.accept(stream) => agreed,
        () = shutdown.started() => return None,
    };
    match agreed {
        Ok(stream) => {
            let session = peer::session(stream.get_ref().1);
            Some((stream, Ends { tls: Some(Arc::new(session)), ..ends }))
        }
        Err(error) => {
            tracing::warn!(door, peer = %ends.peer, "no TLS handshake: {error}");
            None
        }
    }
}

async fn drain(options: &Options, mut connections: JoinSet<()>) {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(options.door, ended);
        }
    };
    if timeout(options.grace, all).await.is_err() {
        tracing::warn!(door = options.door, "{} connections did not say goodbye in time", connections.len());
        connections.shutdown().await;
    }
}

fn report(door: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended
        && e.is_panic()
    {
        tracing::error!(door, "a connection panicked: {e}");
    }
}

/// The next connection on any of the sockets, in turn, so that a busy one cannot starve the others.
async fn accept(listeners: &[TcpListener], next: &mut usize) -> io::Result<(TcpStream, Ends)> {
    let (stream, peer) = std::future::poll_fn(|cx| {
        for i in 0..listeners.len() {
            let at = (*next + i) % listeners.len();
            if let Some(listener) = listeners.get(at)
                && let std::task::Poll::Ready(accepted) = listener.poll_accept(cx)
            {
                *next = at + 1;
                return std::task::Poll::Ready(accepted);
            }
        }
        std::task::Poll::Pending
    })
    .await?;
    // Without it, small answers wait for the peer's delayed acknowledgement: p50 66 → 1,536 µs. It fails only on a
    // connection that is gone already, which the pump will find out by itself.
    drop(stream.set_nodelay(true));
    let local = stream.local_addr()?;
    Ok((stream, Ends { local, peer, tls: None }))
}

/// What lies unsent in the kernel is late and cannot be taken back, so a door whose peers count the time of each message
/// keeps it short. (TCP_NOTSENT_LOWAT: what is on its way to the peer is not limited.)
fn limit_unsent(stream: &TcpStream, bytes_max: Option<u32>) {
    #[cfg(target_os = "linux")]
    if let Some(bytes_max) = bytes_max {
        // It fails as `set_nodelay` does.
        drop(SockRef::from(stream).set_tcp_notsent_lowat(bytes_max));
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, bytes_max);
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether the machine has no such address family or address.
fn is_absent(e: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    e.kind() == io::ErrorKind::AddrNotAvailable
        || e.kind() == io::ErrorKind::Unsupported
        || e.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Connections the kernel holds for us between two accepts.
const BACKLOG: u32 = 1024;

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that is free on the first host may be taken on the second.
const FREE_PORT_TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        task::JoinHandle,
    };

    use super::*;
    use crate::net::output::Output;

    /// Says hello, and goodbye when the server goes down.
    struct Greeter(Output, bool);

    impl Connection for Greeter {
        fn on_bytes(&mut self, _now: std::time::Instant, input: &mut bytes::BytesMut) {
            input.clear();
        }
        fn poll(&mut self, _: std::time::Instant, _: &mut bytes::BytesMut, _: &mut std::task::Context<'_>) {}
        fn output(&mut self) -> &mut Output {
            &mut self.0
        }
        fn deadline(&self) -> Option<std::time::Instant> {
            None
        }
        fn on_deadline(&mut self, _now: std::time::Instant) {}
        fn reading(&self) -> bool {
            true
        }
        fn finished(&self) -> bool {
            self.1
        }
        fn on_shutdown(&mut self, _now: std::time::Instant) {
            self.0.buffer().extend_from_slice(b"bye");
            self.1 = true;
        }
        fn on_end(&mut self, _now: std::time::Instant) {}
    }

    fn greet(_: Ends) -> Greeter {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"hi");
        Greeter(output, false)
    }

    fn serve(connections_max: usize) -> (SocketAddr, Shutdown, JoinHandle<()>) {
        let bound = Bound::bind(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], 0).unwrap();
        let address = bound.addresses()[0];
        let shutdown = Shutdown::default();
        let options = Options {
            door: "test",
            connections_max,
            unsent_bytes_max: None,
            tls: None,
            grace: Duration::from_secs(5),
            clock: Clock::machine(),
            shutdown: shutdown.clone(),
        };
        (address, shutdown, tokio::spawn(bound.serve(options, greet)))
    }

    #[tokio::test]
    async fn a_free_port_is_the_same_on_every_host() {
        let bound = Bound::bind(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], 0).unwrap();
        let ports: Vec<u16> = bound.addresses().iter().map(SocketAddr::port).collect();
        assert!(ports[0] != 0 && ports.iter().all(|p| *p == ports[0]), "{ports:?}");
    }

    #[tokio::test]
    async fn a_busy_port_names_its_address() {
        let first = Bound::bind(&[Ipv4Addr::LOCALHOST.into()], 0).unwrap();
        let address = first.addresses()[0];
        let (named, error) = Bound::bind(&[address.ip()], address.port()).unwrap_err();
        assert_eq!((named, error.kind()), (address, io::ErrorKind::AddrInUse));
    }

    #[tokio::test]
    async fn shutdown_closes_politely_and_joins_every_connection() {
        let (address, shutdown, server) = serve(10);
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut hi = [0; 2];
        client.read_exact(&mut hi).await.unwrap();
        shutdown.start();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        drop(client);
        server.await.unwrap();
        assert_eq!((&hi, rest.as_str()), (b"hi", "bye"));
    }

    #[tokio::test]
    async fn one_connection_too_many_is_closed_at_once() {
        let (address, _shutdown, server) = serve(1);
        let mut first = TcpStream::connect(address).await.unwrap();
        first.read_exact(&mut [0; 2]).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read(&mut [0; 2]).await.unwrap_or(0), 0);
        first.write_all(b"still here").await.unwrap();
        server.abort();
    }
}
