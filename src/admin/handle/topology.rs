//! Queues, exchanges and bindings.

use serde_json::{Value, json};

use crate::admin::{
    State,
    handle::overview::{plain, with_rates, with_stats},
    listing::{list, one},
    request::{Reply, Request},
    source::{ExchangeRow, QueueRow},
};

/// `GET /api/queues`.
pub(crate) fn queues(request: &Request) -> Reply {
    let rows = request.state.source.queues(None);
    list(
        rows.iter().filter(|q| request.sees(&q.vhost)).map(|q| queue_row(&request.state, q)).collect(),
        &request.query,
    )
}

/// `GET /api/queues/:vhost`.
pub(crate) fn queues_of_vhost(request: &Request) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => vhost,
        Err(reply) => return reply,
    };
    let rows = request.state.source.queues(Some(vhost));
    list(rows.iter().map(|q| queue_row(&request.state, q)).collect(), &request.query)
}

/// `GET /api/queues/:vhost/:queue`.
pub(crate) fn queue(request: &Request) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => vhost,
        Err(reply) => return reply,
    };
    let name = request.parameter(1);
    let rows = request.state.source.queues(Some(vhost));
    let Some(row) = rows.iter().find(|q| q.name == name) else { return Reply::not_found() };
    let mut value = queue_row(&request.state, row);
    let consumers = request.state.source.consumers(Some(vhost));
    let of_queue: Value =
        consumers.iter().filter(|c| c.queue.name == name).map(|c| plain(&request.state, c)).collect();
    if let Value::Object(map) = &mut value {
        map.insert("consumer_details".to_owned(), of_queue);
        map.insert("incoming".to_owned(), json!([]));
        map.insert("deliveries".to_owned(), json!([]));
    }
    one(value, &request.query)
}

/// `GET /api/queues/:vhost/:queue/bindings`.
pub(crate) fn bindings_of_queue(request: &Request) -> Reply {
    let (vhost, name) = (request.parameter(0), request.parameter(1));
    if !request.state.source.queues(Some(vhost)).iter().any(|q| q.name == name) {
        return Reply::not_found();
    }
    let rows = request.state.source.bindings(Some(vhost));
    let of_queue = rows.iter().filter(|b| b.destination_type == "queue" && b.destination == name);
    list(of_queue.map(|b| json!(b)).collect(), &request.query)
}

/// `GET /api/exchanges`.
pub(crate) fn exchanges(request: &Request) -> Reply {
    let rows = request.state.source.exchanges(None);
    list(
        rows.iter().filter(|x| request.sees(&x.vhost)).map(|x| exchange_row(&request.state, x)).collect(),
        &request.query,
    )
}

/// `GET /api/exchanges/:vhost`.
pub(crate) fn exchanges_of_vhost(request: &Request) -> Reply {
    let vhost = match request.vhost() {
        Ok(vhost) => vhost,
        Err(reply) => return reply,
    };
    let rows = request.state.source.exchanges(Some(vhost));
    list(rows.iter().map(|x| exchange_row(&request.state, x)).collect(), &request.query)
}

/// `GET /api/exchanges/:vhost/:exchange`. The default exchange is asked for as `amq.default`.
pub(crate) fn exchange(request: &Request) -> Reply {
    let name = match request.parameter(1) {
        "amq.default" => "",
        name => name,
    };
    let rows = request.state.source.exchanges(Some(request.parameter(0)));
    match rows.iter().find(|x| x.name == name) {
        Some(row) => one(exchange_row(&request.state, row), &request.query),
        None => Reply::not_found(),
    }
}

/// `GET /api/bindings`.
pub(crate) fn bindings(request: &Request) -> Reply {
    let rows = request.state.source.bindings(None);
    list(rows.iter().filter(|b| request.sees(&b.vhost)).map(|b| json!(b)).collect(), &request.query)
}

/// `GET /api/bindings/:vhost`.
pub(crate) fn bindings_of_vhost(request: &Request) -> Reply {
    match request.vhost() {
        Ok(vhost) => {
            let rows = request.state.source.bindings(Some(vhost));
            list(rows.iter().map(|b| json!(b)).collect(), &request.query)
        }
        Err(reply) => reply,
    }
}

/// With dead letters that wait for their targets, and what is delayed, as in RabbitMQ.
fn messages(queue: &QueueRow) -> u64 {
    let delayed = queue.delayed.as_ref().map_or(0, |delayed| delayed.messages_delayed);
    queue.messages_ready + queue.messages_unacknowledged + queue.messages_dlx.unwrap_or(0) + delayed
}

fn queue_row(state: &State, queue: &QueueRow) -> Value {
    let object = format!("queue {} {}", queue.vhost, queue.name);
    let mut value = with_stats(state, queue, &object, &queue.stats);
    let lengths = [
        ("messages", messages(queue)),
        ("messages_ready", queue.messages_ready),
        ("messages_unacknowledged", queue.messages_unacknowledged),
    ];
    let lengths = with_rates(state, &format!("lengths {object}"), &lengths);
    if let (Value::Object(map), Value::Object(lengths)) = (&mut value, lengths) {
        map.extend(lengths);
        map.insert("state".to_owned(), "running".into());
        map.insert("leader".to_owned(), state.identity.node.clone().into());
        map.insert("members".to_owned(), json!([state.identity.node]));
        let capacity = u8::from(queue.consumers > 0);
        map.insert("consumer_capacity".to_owned(), capacity.into());
        map.insert("consumer_utilisation".to_owned(), capacity.into());
    }
    value
}

fn exchange_row(state: &State, exchange: &ExchangeRow) -> Value {
    with_stats(state, exchange, &format!("exchange {} {}", exchange.vhost, exchange.name), &exchange.stats)
}
