//! A way to a door that is as slow as one likes, and that can be cut: every connection over it ends in the middle, as when
//! a client's machine goes down.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::pause;

/// What is taken at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Listens for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Link {
    address: SocketAddr,
    /// Both ends of every connection since the last cut.
    open: Arc<Mutex<Vec<TcpStream>>>,
    rest_us: Arc<AtomicU64>,
}

impl Link {
    /// A link to a door, which does not rest.
    pub(crate) fn to(door: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let open = Arc::<Mutex<Vec<TcpStream>>>::default();
        let rest_us = Arc::<AtomicU64>::default();
        let (connections, rest) = (open.clone(), rest_us.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                // A door that is closed closes the link's end too.
                let Ok(server) = TcpStream::connect(door) else { continue };
                let both = [&client, &server].map(|end| {
                    // As its client has it, or what is forwarded waits for more.
                    end.set_nodelay(true).and_then(|()| end.try_clone()).expect("an open socket")
                });
                connections.lock().expect("not poisoned").extend(both);
                let ends = [&client, &server].map(|end| end.try_clone().expect("an open socket"));
                let [other_client, other_server] = ends;
                for (from, to) in [(client, other_server), (server, other_client)] {
                    let rest = rest.clone();
                    std::thread::spawn(move || forward(from, to, &rest));
                }
            }
        });
        Self { address, open, rest_us }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it rests for so long after each read.
    pub(crate) fn rest(&self, us: u64) {
        self.rest_us.store(us, Ordering::Relaxed);
    }

    /// Ends every connection, whatever is on its way.
    pub(crate) fn cut(&self) {
        for end in self.open.lock().expect("not poisoned").drain(..) {
            // It may have ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, rest_us: &AtomicU64) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
        match rest_us.load(Ordering::Relaxed) {
            0 => {}
            us => pause(Duration::from_micros(us)),
        }
    }
    // Whoever closes a connection, and waits for its end, knows that the other side has been told.
    for end in [to, from] {
        // The other direction may have done so.
        let _ = end.shutdown(Shutdown::Both);
    }
}
