//! Topology under kills: queues, exchanges and bindings that come and go, one request at a time.
//!
//! What was answered before the kill holds after it: what was declared exists, what was deleted stays deleted, and so
//! do the bindings that went with it. Only the request that was under way may have happened or not.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use serde_json::Value as Json;

use crate::support::{Seeded, amqp::Client};

const QUEUES: u64 = 6;
const EXCHANGES: u64 = 4;
const KEYS: u64 = 3;

/// What there is to be made and deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Queue(u64),
    Exchange(u64),
    Binding { exchange: u64, queue: u64, key: u64 },
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Request {
    Make(Thing),
    Delete(Thing),
}

type Topology = BTreeSet<Thing>;

/// What is known to exist, and the request that was not answered.
#[derive(Debug)]
pub(crate) struct Model {
    amqp: SocketAddr,
    admin: SocketAddr,
    known: Mutex<(Topology, Option<Request>)>,
    answered: Mutex<u64>,
}

impl Model {
    pub(crate) fn new(amqp: SocketAddr, admin: SocketAddr) -> Self {
        Self { amqp, admin, known: Mutex::default(), answered: Mutex::default() }
    }

    pub(crate) fn answered_total(&self) -> u64 {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares and deletes until the broker is gone.
    pub(crate) fn work(&self, seed: u64) {
        // The end is always an error: the kill.
        let _ = self.change(seed ^ 0x7000);
    }

    fn change(&self, seed: u64) -> io::Result<()> {
        let mut random = Seeded::from(seed);
        let mut client = Client::connect(self.amqp)?;
        loop {
            let request = {
                let mut known = self.known.lock().expect("not poisoned");
                let request = choose(&known.0, &mut random);
                known.1 = Some(request.clone());
                request
            };
            send(&mut client, &request)?;
            let mut known = self.known.lock().expect("not poisoned");
            known.1 = None;
            known.0 = after(&known.0, &request);
            *self.answered.lock().expect("not poisoned") += 1;
        }
    }

    /// Compares with what the broker says there is; then knows it.
    pub(crate) fn verify(&self, round: u32) {
        let found = self.found();
        let mut known = self.known.lock().expect("not poisoned");
        let with = known.1.take().map_or_else(|| known.0.clone(), |request| after(&known.0, &request));
        assert!(
            found == known.0 || found == with,
            "round {round}: gone {:?}, come back {:?}",
            known.0.difference(&found).collect::<Vec<_>>(),
            found.difference(&with).collect::<Vec<_>>(),
        );
        known.0 = found;
    }

    fn found(&self) -> Topology {
        let number =
            |name: &Json, prefix: &str| -> Option<u64> { name.as_str()?.strip_prefix(prefix)?.parse().ok() };
        let mut found = Topology::new();
        found.extend(
            self.list("queues").iter().filter_map(|row| number(&row["name"], "top-q").map(Thing::Queue)),
        );
        let exchanges = self.list("exchanges");
        found.extend(exchanges.iter().filter_map(|row| number(&row["name"], "top-x").map(Thing::Exchange)));
        for row in self.list("bindings") {
            if let Some(exchange) = number(&row["source"], "top-x") {
                let queue = number(&row["destination"], "top-q").expect("only such queues are bound to it");
                let key = number(&row["routing_key"], "k").expect("only such keys");
                found.insert(Thing::Binding { exchange, queue, key });
            }
        }
        found
    }

    fn list(&self, what: &str) -> Vec<Json> {
        let url = format!("http://{}/api/{what}/%2F", self.admin);
        let answer = ureq::get(url).header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=").call();
        let text = answer.expect("the admin door answers").into_body().read_to_string().expect("it is text");
        serde_json::from_str(&text).expect("it is a list")
    }
}

/// Mostly things that can be done; deleting what is not there is answered, too.
fn choose(known: &Topology, random: &mut Seeded) -> Request {
    let (queue, exchange, key) = (random.below(QUEUES), random.below(EXCHANGES), random.below(KEYS));
    let both = known.contains(&Thing::Queue(queue)) && known.contains(&Thing::Exchange(exchange));
    match random.below(10) {
        0..=1 => Request::Make(Thing::Queue(queue)),
        2 => Request::Delete(Thing::Queue(queue)),
        3 => Request::Make(Thing::Exchange(exchange)),
        4 if random.below(2) == 0 => Request::Delete(Thing::Exchange(exchange)),
        5..=7 if both => Request::Make(Thing::Binding { exchange, queue, key }),
        8 if both => Request::Delete(Thing::Binding { exchange, queue, key }),
        _ => Request::Make(Thing::Queue(queue)),
    }
}

/// What there is once the request is answered.
fn after(known: &Topology, request: &Request) -> Topology {
    let mut topology = known.clone();
    match request {
        Request::Make(thing) => {
            topology.insert(thing.clone());
        }
        Request::Delete(thing) => topology.retain(|other| match (other, thing) {
            (Thing::Binding { queue, .. }, Thing::Queue(deleted)) => queue != deleted,
            (Thing::Binding { exchange, .. }, Thing::Exchange(deleted)) => exchange != deleted,
            (other, thing) => other != thing,
        }),
    }
    topology
}

fn send(client: &mut Client, request: &Request) -> io::Result<()> {
    let (queue, exchange, key) =
        (|n: &u64| format!("top-q{n}"), |n: &u64| format!("top-x{n}"), |n: &u64| format!("k{n}"));
    match request {
        Request::Make(Thing::Queue(n)) => client.declare(&queue(n)).map(|_| ()),
        Request::Delete(Thing::Queue(n)) => client.delete_queue(&queue(n)),
        Request::Make(Thing::Exchange(n)) => {
            client.declare_exchange(&exchange(n), if n % 2 == 0 { "direct" } else { "topic" })
        }
        Request::Delete(Thing::Exchange(n)) => client.delete_exchange(&exchange(n)),
        Request::Make(Thing::Binding { exchange: x, queue: q, key: k }) => {
            client.bind(&queue(q), &exchange(x), &key(k))
        }
        Request::Delete(Thing::Binding { exchange: x, queue: q, key: k }) => {
            client.unbind(&queue(q), &exchange(x), &key(k))
        }
    }
}
