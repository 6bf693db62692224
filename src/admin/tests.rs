//! The door over a real socket, against a broker of fixed rows.

use std::{net::IpAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    source::{
        BindingRow, ChannelRow, ConnectionRow, ConsumerRow, ExchangeRow, JobRow, Jobs, Later, MessageStats,
        Printed, QueueRow, TopicRow, VhostRow,
    },
    *,
};
use crate::{
    net::listener::Bound,
    observe::{Metrics, expose::Figures},
};

/// One vhost, one queue, one connection; remembers which connection it was told to close.
#[derive(Default)]
struct Fixed {
    closed: Mutex<Vec<String>>,
    metrics: Metrics,
}

impl Source for Fixed {
    fn authenticate(&self, user: &str, password: &str, _from: IpAddr) -> Option<Principal> {
        let tags: &[&str] = match user {
            "guest" => &["administrator"],
            "reader" => &["management"],
            _ => &[],
        };
        let tags = tags.iter().map(|&t| t.to_owned()).collect();
        (password == "guest").then(|| Principal { name: user.to_owned(), tags })
    }
    fn vhosts(&self) -> Vec<VhostRow> {
        vec![VhostRow { name: "/".into(), ..VhostRow::default() }]
    }
    fn look_at_disk(&self) {}
    fn queues(&self, vhost: Option<&str>) -> Vec<QueueRow> {
        let queue = QueueRow {
            name: "a/b".into(),
            vhost: "/".into(),
            kind: "classic".into(),
            messages_ready: 3,
            messages_unacknowledged: 1,
            stats: MessageStats { publish: 4, ..MessageStats::default() },
            ..QueueRow::default()
        };
        if vhost.is_none_or(|v| v == "/") { vec![queue] } else { vec![] }
    }
    fn exchanges(&self, _vhost: Option<&str>) -> Vec<ExchangeRow> {
        vec![ExchangeRow { kind: "direct".into(), vhost: "/".into(), ..ExchangeRow::default() }]
    }
    fn bindings(&self, _vhost: Option<&str>) -> Vec<BindingRow> {
        vec![]
    }
    fn consumers(&self, _vhost: Option<&str>) -> Vec<ConsumerRow> {
        vec![]
    }
    fn connections(&self) -> Vec<ConnectionRow> {
        let name = "127.0.0.1:1 -> 127.0.0.1:5672".to_owned();
        vec![ConnectionRow { name, user: "guest".into(), ..ConnectionRow::default() }]
    }
    fn channels(&self) -> Vec<ChannelRow> {
        vec![]
    }
    fn topics(&self, _vhost: Option<&str>) -> Vec<TopicRow> {
        vec![]
    }
    fn close_connection(&self, name: &str, reason: &str) -> bool {
        self.closed.lock().push(format!("{name}: {reason}"));
        true
    }
    fn totals(&self) -> MessageStats {
        MessageStats::default()
    }
    fn figures(&self) -> Figures {
        Figures { queues: 1, messages_ready: 3, ..Figures::default() }
    }
    fn aliveness(&self, _vhost: &str) -> Later<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
    fn jobs(&self) -> &dyn Jobs {
        self
    }
}

impl Jobs for Fixed {
    fn run(&self, _vhost: &str, sql: String, _replace: bool) -> Later<'_, Result<Vec<JobRow>, String>> {
        Box::pin(async move {
            if sql.starts_with("INSERT") {
                Ok(vec![JobRow { name: "job".into(), state: "running".into(), ..JobRow::default() }])
            } else {
                Err("1:1: expected a statement".to_owned())
            }
        })
    }
    fn show(&self, _vhost: &str, sql: String) -> Later<'_, Result<String, String>> {
        Box::pin(async move { Ok(sql) })
    }

    fn explain(&self, _vhost: &str, sql: String) -> Later<'_, Result<String, String>> {
        Box::pin(async move { Ok(format!("plan of {sql}")) })
    }
    fn pause(&self, name: &str, pause: bool) -> Later<'_, Option<JobRow>> {
        let state = if pause { "paused" } else { "running" };
        let row = JobRow { name: name.to_owned(), state: state.to_owned(), ..JobRow::default() };
        Box::pin(async move { (row.name == "job").then_some(row) })
    }
    fn reset(&self, name: &str, to: Option<String>) -> Later<'_, Result<Option<JobRow>, String>> {
        let row = JobRow { name: name.to_owned(), state: to.unwrap_or_default(), ..JobRow::default() };
        Box::pin(async move { Ok((row.name == "job").then_some(row)) })
    }
    fn all(&self) -> Vec<JobRow> {
        vec![]
    }
    fn remove(&self, name: &str) -> Later<'_, Result<bool, String>> {
        let found = name == "job";
        Box::pin(async move { Ok(found) })
    }
    fn printed(&self, after: Option<u64>) -> Later<'_, Printed> {
        Box::pin(async move { Printed { next: after.unwrap_or(7), lines: vec![] } })
    }
}

struct Door {
    address: SocketAddr,
    source: Arc<Fixed>,
    shutdown: Shutdown,
}

fn open() -> Door {
    let bound = Bound::bind(&[[127, 0, 0, 1].into()], 0).unwrap();
    let address = bound.addresses()[0];
    let (source, shutdown, clock) = (Arc::new(Fixed::default()), Shutdown::default(), Clock::machine());
    let settings = crate::broker::recovery::Settings {
        runtime: Some(tokio::runtime::Handle::current()),
        memory_limit_bytes: 1 << 30,
        tail_bytes_max: 0,
        ..crate::broker::recovery::Settings::of_tests(&clock)
    };
    let store = crate::store::Store::open(crate::store::Options::ephemeral()).unwrap();
    let broker = Broker::recover(store, settings).unwrap();
    let guest = crate::broker::auth::User::new("guest", "guest", &["administrator"], true);
    let full = crate::broker::auth::Permissions::full();
    broker.seed(Some(guest.with_permissions("/", full.clone())));
    let reader = crate::broker::auth::User::new("reader", "guest", &["management"], true);
    broker.users.put(reader.with_permissions("/", full));
    let state = State {
        broker,
        disk_free_limit_bytes: Arc::default(),
        source: Arc::clone(&source) as Arc<dyn Source>,
        identity: Identity { node: "warren@test".into(), ..Identity::default() },
        started: clock.now(),
        clock,
        shutdown: shutdown.clone(),
        listeners: vec![OpenDoor { protocol: "amqp", address: "127.0.0.1:5672".parse().unwrap() }],
        rates: Rates::default(),
        body_bytes_max: 2048,
    };
    let served = crate::net::http::serve(
        bound,
        None,
        router(Arc::new(state)),
        shutdown.clone(),
        Duration::from_secs(1),
    );
    tokio::spawn(served);
    Door { address, source, shutdown }
}

impl Door {
    async fn ask(&self, user: &str, request: &str, more: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let (line, body) = request.split_once('\n').unwrap_or((request, ""));
        let auth = match user {
            "" => String::new(),
            user => format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:guest"))),
        };
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{auth}{more}\r\n{body}"
        );
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask("guest", &format!("GET {path}"), "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[tokio::test]
async fn each_call_is_answered_with_its_status() {
    let door = open();
    let cases = [
        ("guest", "GET /api/overview", 200),
        ("guest", "GET /api/overview/", 200),
        ("guest", "HEAD /api/overview", 200),
        ("", "GET /api/overview", 401),
        ("nobody", "GET /api/overview", 401),
        ("reader", "GET /api/users", 401),
        ("reader", "GET /api/connections/127.0.0.1%3A1%20-%3E%20127.0.0.1%3A5672", 401),
        ("", "GET /api/health/checks/alarms", 200),
        ("", "GET /api/health/checks/port-listener/5672", 200),
        ("", "GET /api/health/checks/port-listener/5673", 503),
        ("", "GET /api/health/checks/protocol-listener/amqp", 200),
        ("", "GET /api/health/checks/protocol-listener/mqtt", 503),
        ("guest", "GET /api/aliveness-test/%2F", 200),
        ("guest", "GET /api/aliveness-test/none", 404),
        ("guest", "GET /api/queues/%2F/a%2Fb", 200),
        ("guest", "GET /api/queues/%2F/none", 404),
        ("guest", "GET /api/queues/none", 404),
        ("guest", "GET /api/exchanges/%2F/amq.default", 200),
        ("guest", "GET /api/nodes/warren@test", 200),
        ("guest", "PUT /api/overview", 405),
        ("guest", "GET /nothing", 404),
        ("guest", "POST /api/streams\nINSERT INTO a SELECT * FROM b", 201),
        ("guest", "POST /api/streams\nnonsense", 400),
        ("reader", "POST /api/streams\nINSERT INTO a SELECT * FROM b", 401),
        ("guest", "DELETE /api/streams/job", 204),
        ("guest", "DELETE /api/streams/none", 404),
    ];
    for (user, request, expected) in cases {
        let (status, body) = door.ask(user, request, "").await;
        assert_eq!(status, expected, "{user} {request}: {body}");
    }
    let (status, _) = door.ask("guest", "POST /api/streams\nINSERT", "Origin: http://evil.example\r\n").await;
    assert_eq!(status, 403);
    let (status, _) = door.ask("guest", &format!("POST /api/streams\n{}", "x".repeat(4096)), "").await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn rows_have_rabbitmqs_fields() {
    let door = open();
    let queue = door.json("/api/queues/%2F/a%2Fb").await;
    assert_eq!(
        (&queue["messages"], &queue["messages_ready"], &queue["type"]),
        (&4.into(), &3.into(), &"classic".into())
    );
    assert_eq!(queue["message_stats"]["publish"], 4);
    assert_eq!(queue["message_stats"]["publish_details"]["rate"], 0.0);
    assert_eq!(queue["node"], "warren@test");
    let overview = door.json("/api/overview").await;
    assert_eq!(
        (&overview["object_totals"]["queues"], &overview["listeners"][0]["port"]),
        (&1.into(), &5672.into())
    );
    let paged = door.json("/api/queues?page=1&page_size=10&columns=name").await;
    assert_eq!((&paged["total_count"], &paged["items"][0]["name"]), (&1.into(), &"a/b".into()));
}

#[tokio::test]
async fn a_connection_is_closed_with_the_reason_given() {
    let door = open();
    let request = "DELETE /api/connections/127.0.0.1%3A1%20-%3E%20127.0.0.1%3A5672";
    assert_eq!(door.ask("guest", request, "X-Reason: test over\r\n").await.0, 204);
    assert_eq!(*door.source.closed.lock(), ["127.0.0.1:1 -> 127.0.0.1:5672: test over"]);
}

#[tokio::test]
async fn after_shutdown_nobody_is_let_in() {
    let door = open();
    door.ask("guest", "GET /api/overview", "").await;
    door.shutdown.start();
    while TcpStream::connect(door.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
