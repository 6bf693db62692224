//! The admin door: RabbitMQ's management HTTP API for what exists, our own `/api/streams`, and the metrics page.
//!
//! [`routes::ROUTES`] is the table of everything it answers, [`handle`] answers one subject per file, [`fault`] has the
//! core's refusals in the API's words. What it shows of the broker comes through [`source::Source`], what it changes goes to
//! the `Broker`; sockets and limits are `net::http`'s.

pub mod body;
pub mod fault;
pub mod guard;
pub mod handle;
pub mod json;
pub mod listing;
pub mod live;
pub mod rates;
pub mod request;
pub mod routes;
pub mod source;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State as Extract},
    http::{HeaderMap, Method, StatusCode, Uri, request::Parts},
    response::Response,
};

use crate::{
    admin::{
        rates::Rates,
        request::{Done, Query, Reply, Request, segments},
        routes::{Access, Found, Handler},
        source::{Principal, Source},
    },
    broker::{Broker, events},
    clock::Clock,
    net::{listener::Ends, shutdown::Shutdown},
    observe::expose::{self, Identity},
};

/// What the handlers share.
pub struct State {
    pub source: Arc<dyn Source>,
    /// What administration changes; `source` is for looking.
    pub broker: Arc<Broker>,
    /// How much of the disk must stay free: the watch asks each time.
    pub disk_free_limit_bytes: Arc<AtomicU64>,
    pub identity: Identity,
    pub clock: Clock,
    pub started: Instant,
    pub shutdown: Shutdown,
    /// Every open door.
    pub listeners: Vec<OpenDoor>,
    pub rates: Rates,
    pub body_bytes_max: usize,
}

/// One listening socket of a door.
#[derive(Debug, Clone)]
pub struct OpenDoor {
    /// RabbitMQ's name of the protocol: `amqp`, `http`, `http/prometheus`; ours otherwise.
    pub protocol: &'static str,
    pub address: SocketAddr,
}

/// The admin door's router.
pub fn router(state: Arc<State>) -> Router {
    Router::new().fallback(answer).with_state(state)
}

/// The metrics door's router: one page, to anybody, as with RabbitMQ.
pub fn metrics_router(state: Arc<State>) -> Router {
    Router::new().fallback(metrics_page).with_state(state)
}

async fn answer(
    Extract(state): Extract<Arc<State>>,
    ConnectInfo(ends): ConnectInfo<Ends>,
    request: axum::extract::Request,
) -> Response {
    let (head, body) = request.into_parts();
    let mut reply = reply(state, &ends, &head, body).await;
    if head.method == Method::HEAD {
        reply = Reply::empty(reply.status);
    }
    reply.into_response()
}

async fn reply(state: Arc<State>, ends: &Ends, head: &Parts, body: Body) -> Reply {
    let (route, parameters) = match routes::find(&head.method, &segments(head.uri.path())) {
        Found::Route(route, parameters) => (route, parameters),
        Found::OtherMethods => return Reply::empty(StatusCode::METHOD_NOT_ALLOWED),
        Found::Nothing => return Reply::not_found(),
    };
    let admitted = guard::check_site(&head.method, &head.headers, ends)
        .and_then(|()| admit(&state, route.access, &head.headers, ends));
    let principal = match admitted {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    // Only now: nobody unknown makes us hold a body.
    let Ok(body) = axum::body::to_bytes(body, state.body_bytes_max).await else {
        return Reply::empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let reason = head.headers.get("x-reason").and_then(|h| h.to_str().ok()).map(str::to_owned);
    let request = Request { state, principal, parameters, query, body, reason };
    let user = Arc::<str>::from(request.principal.name.as_str());
    match route.handler {
        Handler::Now(handle) => events::acting(&user, || handle(&request)),
        Handler::Later(handle) => handle(request).await,
        Handler::Change(handle) => match events::acting(&user, || handle(&request)) {
            Ok(done) => lasting(&request.state, done).await,
            Err(refused) => refused,
        },
    }
}

/// The reply, once what it speaks of is durable.
async fn lasting(state: &State, done: Done) -> Reply {
    if let Some(ticket) = done.pending
        && let Err(error) = state.broker.core.store.durable(ticket).await
    {
        return Reply::failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            serde_json::json!({"error": "Internal Server Error", "reason": error.to_string()}),
        );
    }
    done.reply
}

fn admit(state: &State, access: Access, headers: &HeaderMap, ends: &Ends) -> Result<Principal, Reply> {
    if access == Access::Anybody {
        return Ok(Principal { name: String::new(), tags: Vec::new() });
    }
    let principal = guard::authenticate(&*state.source, headers, ends.peer.ip())?;
    let (allowed, refusal) = match access {
        Access::Anybody | Access::Management => (true, ""),
        Access::Monitoring => (principal.may_monitor(), "Not monitor user"),
        Access::Policymaker => (principal.makes_policies(), "User not authorised to access object"),
        Access::Administrator => (principal.is_administrator(), "Not administrator user"),
    };
    if allowed { Ok(principal) } else { Err(Reply::not_authorized(refusal)) }
}

async fn metrics_page(Extract(state): Extract<Arc<State>>, method: Method, uri: Uri) -> Response {
    let reply = match segments(uri.path()).first().map(String::as_str) {
        Some("metrics") if method == Method::GET => {
            let text = expose::render(state.source.metrics(), &state.source.figures(), &state.identity);
            Reply::page("text/plain; version=0.0.4", text)
        }
        None => Reply::page("text/html", b"<a href=\"/metrics\">metrics</a>\n".to_vec()),
        Some(_) => Reply::not_found(),
    };
    reply.into_response()
}
