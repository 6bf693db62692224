//! `warren serve`: from a configuration to a running server, and back down.
//!
//! Doors are bound first, beside the opening of the store, so that a busy port is known at once and clients that
//! come early wait in the kernel's queue. `World::open` is the one place where doors are started.

use std::{
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use tokio::task::{JoinHandle, JoinSet};

use crate::{
    admin::{self, OpenDoor, live::Live, rates::Rates},
    amqp,
    broker::{
        Broker, housekeeping,
        recovery::{RecoveryError, Settings},
        topic::tail,
        txn,
    },
    cli::{
        doors::{self, Door, DoorError, Opening, Which},
        jobs::StreamJobs,
        settings,
    },
    clock::Clock,
    config::{Config, Loaded},
    kafka,
    net::{
        http,
        listener::{self, Bound, Ends},
        shutdown::{Shutdown, Signals},
        tls::{Tls, TlsError, made::MakeError},
    },
    observe::expose::Identity,
    redis,
    store::{OpenError, Store},
    stream::run::{folder::Directory, table::Jobs},
    zmq,
};

/// Why the server does not start: one line, naming key and remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error("store.data_dir: {0}")]
    Store(#[from] OpenError),
    #[error("store.data_dir: {0}; restore the directory from a copy, or move it away to begin anew")]
    Recovery(Box<RecoveryError>),
    #[error("streams.files_dir: {0}")]
    Files(String),
    #[error("server.load_definitions: {path}: {reason}")]
    Definitions { path: String, reason: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    TlsKeys(&'static str),
    #[error("tls.dev_dir: {0}")]
    MadeTls(#[from] MakeError),
    #[error("zmq.{key}: {reason}")]
    Key { key: &'static str, reason: zmq::keys::BadKey },
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Runs a server until a signal ends it.
///
/// # Errors
/// When it cannot start.
pub fn run(loaded: Loaded, print_ready: bool) -> Result<(), StartError> {
    crate::observe::process::raise_max_fds();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores())
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::catch().map_err(StartError::Runtime)?;
        let server = Server::start(loaded, Clock::machine()).await?;
        if print_ready {
            let mut out = std::io::stdout().lock();
            // Whoever asked for the line may be gone already; that is no reason to stop serving others.
            drop(writeln!(out, "{}", server.ready_line()).and_then(|()| out.flush()));
        }
        // The line that test tools wait for, word for word.
        tracing::info!("Server startup complete");
        let signal = signals.received().await;
        tracing::info!("{signal}: saying goodbye to {} connections", server.broker.connections.len());
        server.stop().await;
        tracing::info!("stopped");
        Ok(())
    });
    runtime.shutdown_timeout(RUNTIME_GRACE);
    ended
}

/// A running server.
pub struct Server {
    pub broker: Arc<Broker>,
    open: Vec<Open>,
    doors: JoinSet<()>,
    store: Store,
    shutdown: Shutdown,
    housekeeping: JoinHandle<()>,
    jobs: Arc<Jobs>,
}

/// A door that accepts.
struct Open {
    door: Door,
    /// As the ready line has it.
    name: String,
    protocol: &'static str,
    addresses: Vec<SocketAddr>,
}

impl Open {
    fn port(&self) -> Option<u16> {
        self.addresses.first().map(SocketAddr::port)
    }
}

/// What every door is started with.
struct World {
    config: Config,
    clock: Clock,
    shutdown: Shutdown,
    admin: Arc<admin::State>,
    amqp: Arc<amqp::Door>,
    kafka: Arc<kafka::Door>,
    redis: Arc<redis::Door>,
    zmq: Arc<zmq::Door>,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Opens the store and every door.
    ///
    /// # Errors
    /// The first thing that cannot be opened and must.
    pub async fn start(loaded: Loaded, clock: Clock) -> Result<Self, StartError> {
        let Loaded { config, named, warnings } = loaded;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let started = clock.now();
        let opening = tokio::task::spawn_blocking({
            let (config, clock, runtime) = (config.clone(), clock.clone(), tokio::runtime::Handle::current());
            move || open_broker(&config, clock, runtime)
        });
        let tls = settings::tls(&config)?.map(Tls::load).transpose()?.map(Arc::new);
        let bound = doors::bind(&config, &named, tls.is_some())?;
        let (store, broker) = match opening.await {
            Ok(opened) => opened?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        if !config.server.load_definitions.as_os_str().is_empty() {
            load_definitions(&broker, &config.server.load_definitions).await?;
        }
        let files_dir = Some(&config.streams.files_dir).filter(|path| !path.as_os_str().is_empty());
        let files = files_dir.map(|path| Directory::open(path)).transpose().map_err(StartError::Files)?;
        let jobs = Jobs::recover(broker.clone(), tokio::runtime::Handle::current(), files);
        let jobs =
            jobs.map_err(RecoveryError::from).map_err(|error| StartError::Recovery(Box::new(error)))?;
        let is_open = |opening: &Opening| Open {
            door: opening.door,
            name: opening.name(),
            protocol: opening.protocol(),
            addresses: opening.bound.addresses(),
        };
        let open: Vec<_> = bound.iter().map(is_open).collect();
        let shutdown = Shutdown::default();
        let admin = Arc::new(admin_state(&config, &clock, &shutdown, &broker, &jobs, started, &open));
        let redis_port = open.iter().find(|open| open.door == Door::Redis).and_then(Open::port);
        let redis = settings::redis(&config, redis_port.unwrap_or(0));
        let world = World {
            amqp: amqp::Door::new(broker.clone(), settings::amqp(&config, broker.core.profile)),
            kafka: kafka::Door::new(broker.clone(), settings::kafka(&config, &broker.cluster_id)),
            redis: redis::Door::new(broker.clone(), redis, clock.now()),
            zmq: zmq::Door::new(broker.clone(), settings::zmq(&config)?),
            config,
            tls,
            clock,
            shutdown: shutdown.clone(),
            admin,
        };
        let mut doors = JoinSet::new();
        for opening in bound {
            world.open(opening, &mut doors);
        }
        doors.spawn(watch_disk(world));
        let housekeeping = tokio::spawn(housekeeping::run(broker.clone()));
        Ok(Self { broker, open, doors, store, shutdown, housekeeping, jobs })
    }

    /// Where each open door listens, as one line of JSON.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let first = |Open { name, addresses, .. }: &Open| {
            addresses.first().map(|address| format!("\"{name}\":\"{address}\""))
        };
        format!("{{{}}}", self.open.iter().filter_map(first).collect::<Vec<_>>().join(","))
    }

    /// Where a door listens first.
    #[must_use]
    pub fn address(&self, door: Door) -> Option<SocketAddr> {
        self.open.iter().find(|open| open.door == door).and_then(|open| open.addresses.first().copied())
    }

    /// Lets every connection say goodbye, then writes the last checkpoint.
    pub async fn stop(mut self) {
        self.shutdown.start();
        while self.doors.join_next().await.is_some() {}
        self.housekeeping.abort();
        let closed = async {
            self.jobs.stop().await;
            self.broker.note_delivered();
            self.store.close().await
        };
        // A full disk may keep the store from ever getting there; nothing that was confirmed needs it to.
        let error = match tokio::time::timeout(STORE_CLOSE_MAX, closed).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {STORE_CLOSE_MAX:?}"),
        };
        tracing::warn!("the store was not closed cleanly, the next start replays its log: {error}");
    }
}

impl World {
    /// Starts a door. Every door there is, is started here and nowhere else.
    fn open(&self, opening: Opening, doors: &mut JoinSet<()>) {
        let Opening { door, which, bound } = opening;
        let tls = self.tls.clone().filter(|_| which == Which::Tls);
        match door {
            Door::Admin => {
                let router = admin::router(self.admin.clone());
                doors.spawn(http::serve(bound, tls, router, self.shutdown.clone(), self.grace()));
            }
            Door::Metrics => {
                let router = admin::metrics_router(self.admin.clone());
                doors.spawn(http::serve(bound, tls, router, self.shutdown.clone(), self.grace()));
            }
            Door::Amqp => {
                let (door, clock) = (self.amqp.clone(), self.clock.clone());
                let open =
                    move |ends: Ends| amqp::connection::Connection::new(door.clone(), ends, clock.now());
                let sockets_max = sockets_max(self.config.amqp.connections_max);
                doors.spawn(bound.serve(self.listening(Door::Amqp, sockets_max, tls), open));
            }
            Door::Kafka => {
                let (door, clock) = (self.kafka.clone(), self.clock.clone());
                let open =
                    move |ends: Ends| kafka::connection::Connection::new(door.clone(), ends, clock.now());
                let connections_max = self.config.kafka.connections_max;
                doors.spawn(bound.serve(self.listening(Door::Kafka, connections_max, tls), open));
            }
            Door::Redis => {
                let (door, clock) = (self.redis.clone(), self.clock.clone());
                let open =
                    move |ends: Ends| redis::connection::Connection::new(door.clone(), ends, clock.now());
                let connections_max = self.config.redis.connections_max;
                doors.spawn(bound.serve(self.listening(Door::Redis, connections_max, tls), open));
            }
            Door::Zmq => self.open_zmq(which, bound, doors),
        }
    }

    /// Each address of the door has a mapping of its own.
    fn open_zmq(&self, which: Which, bound: Bound, doors: &mut JoinSet<()>) {
        let from = &self.config.zmq;
        let endpoint = match which {
            Which::Endpoint(n) => from.endpoints.get(n),
            Which::First | Which::Tls => None,
        };
        let mapping = endpoint.map_or(&from.mapping, |endpoint| &endpoint.mapping);
        let (door, mapping, clock) =
            (self.zmq.clone(), Arc::new(settings::zmq_mapping(mapping)), self.clock.clone());
        let open = move |ends: Ends| {
            let (door, mapping) = (door.clone(), mapping.clone());
            zmq::connection::Connection::new(door, mapping, &ends, clock.now())
        };
        doors.spawn(bound.serve(self.listening(Door::Zmq, from.connections_max, None), open));
    }

    fn listening(&self, door: Door, connections_max: usize, tls: Option<Arc<Tls>>) -> listener::Options {
        listener::Options {
            door: door.name(),
            connections_max,
            unsent_bytes_max: (door == Door::Amqp).then_some(UNSENT_BYTES_MAX),
            tls,
            grace: self.grace(),
            clock: self.clock.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.config.server.shutdown_grace_ms)
    }
}

/// Imports definitions, and waits until they last: doors open on what the file says.
async fn load_definitions(broker: &Arc<Broker>, path: &std::path::Path) -> Result<(), StartError> {
    let failed = |reason: String| StartError::Definitions { path: path.display().to_string(), reason };
    let pending = admin::handle::definitions::load(broker, path).map_err(failed)?;
    if let Some(ticket) = pending {
        broker.core.store.durable(ticket).await.map_err(|error| failed(error.to_string()))?;
    }
    Ok(())
}

/// Blocks: opens the store and rebuilds the broker from it.
fn open_broker(
    config: &Config,
    clock: Clock,
    runtime: tokio::runtime::Handle,
) -> Result<(Store, Arc<Broker>), StartError> {
    if config.store.ephemeral {
        tracing::warn!("ephemeral: everything is in memory only, and nothing survives a restart");
    }
    let store = Store::open(settings::store(config))?;
    store.ring_in(&runtime).map_err(StartError::Runtime)?;
    let later = runtime.clone();
    let settings = Settings {
        profile: settings::profile(config.server.compat),
        clock,
        memory_limit_bytes: settings::memory_limit(config),
        runtime: Some(runtime),
        tail_bytes_max: tail::BYTES_MAX,
        groups: settings::groups(config),
        producers: txn::Settings {
            producer_id_expiration_ms: config.kafka.producer_id_expiration_ms,
            transactional_id_expiration_ms: config.kafka.transactional_id_expiration_ms,
        },
    };
    let broker = Broker::recover(store.clone(), settings).map_err(|e| StartError::Recovery(Box::new(e)))?;
    if config.users.guest_loopback_only {
        // RabbitMQ's rule is about the user named guest, whose password everybody knows.
        broker.users.set_loopback_only(["guest".to_owned()]);
    }
    if !broker.is_seeded().map_err(RecoveryError::from).map_err(|e| StartError::Recovery(Box::new(e)))? {
        // As with RabbitMQ, whoever brings definitions brings users.
        let wanted = config.server.load_definitions.as_os_str().is_empty();
        broker.seed(wanted.then(|| settings::default_user(config)));
    }
    // Milliseconds of work, which the start does not wait for; a SCRAM login does.
    let (name, password) = (&config.users.default_user, &config.users.default_pass);
    broker.users.make_scram(&store, &later, name, password);
    Ok((store, broker))
}

/// Who is one too many must get far enough to be told; strangers beyond that are not let in.
fn sockets_max(connections_max: usize) -> usize {
    match connections_max {
        0 => usize::MAX,
        n => n + HANDSHAKES_MAX,
    }
}

fn admin_state(
    config: &Config,
    clock: &Clock,
    shutdown: &Shutdown,
    broker: &Arc<Broker>,
    jobs: &Arc<Jobs>,
    started: Instant,
    open: &[Open],
) -> admin::State {
    let disk_free_limit_bytes = Arc::new(AtomicU64::new(config.store.disk_free_limit_bytes));
    let data_dir: Option<PathBuf> = (!config.store.ephemeral).then(|| config.store.data_dir.clone());
    let source = Live {
        broker: broker.clone(),
        jobs: Arc::new(StreamJobs(jobs.clone())),
        started,
        data_dir,
        disk_free_limit_bytes: disk_free_limit_bytes.clone(),
    };
    let kafka = open.iter().find(|open| open.door == Door::Kafka).and_then(|open| open.addresses.first());
    admin::State {
        source: Arc::new(source),
        broker: broker.clone(),
        disk_free_limit_bytes,
        identity: Identity {
            node: NODE.to_owned(),
            cluster: NODE.to_owned(),
            cluster_id: broker.cluster_id.to_string(),
            rabbitmq_version: broker.core.profile.version.to_owned(),
            kafka_address: kafka.map(SocketAddr::to_string).unwrap_or_default(),
        },
        clock: clock.clone(),
        started,
        shutdown: shutdown.clone(),
        listeners: open
            .iter()
            .flat_map(|Open { protocol, addresses, .. }| {
                addresses.iter().map(|&address| OpenDoor { protocol, address })
            })
            .collect(),
        rates: Rates::default(),
        body_bytes_max: config.admin.body_bytes_max,
    }
}

/// Raises the disk alarm before the disk is full, and clears it when there is room again.
async fn watch_disk(world: World) {
    if world.config.store.ephemeral {
        return;
    }
    let watch = async {
        loop {
            world.admin.source.look_at_disk();
            tokio::time::sleep(DISK_WATCH_INTERVAL).await;
        }
    };
    tokio::select! {
        () = watch => {}
        () = world.shutdown.started() => {}
    }
    drop(world.clock);
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The node's name, as clients and dashboards see it.
pub(super) const NODE: &str = "rabbit@localhost";

/// AMQP connections that are not open yet, or are being refused.
const HANDSHAKES_MAX: usize = 1_000;

/// Of messages on their way to an AMQP consumer. A client that is slower than the broker finds them in the kernel, megabytes
/// of them, and each is late by all those before it: p99 at 100,000 messages a second 200 → 50 ms.
const UNSENT_BYTES_MAX: u32 = 64 * 1024;

/// For the last epochs of jobs and the last checkpoint.
const STORE_CLOSE_MAX: Duration = Duration::from_secs(10);

/// After everything was joined: what still runs is a reader of the log.
const RUNTIME_GRACE: Duration = Duration::from_millis(500);

/// A disk fills in seconds, not in milliseconds, and an idle server should stay idle.
const DISK_WATCH_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::config::load::Said;

    fn loaded(pairs: &[&str]) -> Loaded {
        let mut set: Vec<String> = pairs.iter().map(|&p| p.to_owned()).collect();
        for door in ["amqp", "kafka", "redis", "zmq", "admin", "metrics"] {
            set.push(format!("{door}.address=127.0.0.1:0"));
        }
        Loaded::load(&Said { set, ..Said::default() }).unwrap()
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_starts_answers_and_stops() {
        let server = Server::start(loaded(&["store.ephemeral=true"]), Clock::machine()).await.unwrap();
        let (admin, metrics) = (server.address(Door::Admin).unwrap(), server.address(Door::Metrics).unwrap());
        let ready: serde_json::Value = serde_json::from_str(&server.ready_line()).unwrap();
        assert_eq!(ready["admin"], admin.to_string());
        assert!(ready.get("redis").is_some() && ready.get("zmq").is_some());
        let overview = get(admin, "/api/overview").await;
        assert!(overview.starts_with("HTTP/1.1 200") && overview.contains("\"exchanges\":8"), "{overview}");
        let alive = get(admin, "/api/aliveness-test/%2F").await;
        assert!(alive.ends_with("{\"status\":\"ok\"}"), "{alive}");
        let queue = get(admin, "/api/queues/%2F/aliveness-test").await;
        assert!(queue.contains("\"messages\":0") && queue.contains("\"get_no_ack\":1"), "{queue}");
        assert!(get(metrics, "/metrics").await.contains("\nrabbitmq_queues 1\n"));
        server.stop().await;
        assert!(TcpStream::connect(admin).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_data_directory_in_use_or_not_ours_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = format!("store.data_dir={}", dir.path().display());
        let server = Server::start(loaded(&[&data_dir]), Clock::machine()).await.unwrap();
        let error = Server::start(loaded(&[&data_dir]), Clock::machine()).await.err().unwrap().to_string();
        assert!(error.contains("in use by another process") && error.contains("--data-dir"), "{error}");
        server.stop().await;
        let foreign = tempfile::tempdir().unwrap();
        std::fs::write(foreign.path().join("thesis.tex"), "").unwrap();
        let data_dir = format!("store.data_dir={}", foreign.path().display());
        let error = Server::start(loaded(&[&data_dir]), Clock::machine()).await.err().unwrap().to_string();
        assert!(error.contains("thesis.tex") && error.contains("--data-dir"), "{error}");
    }
}
