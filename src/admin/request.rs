//! One request taken apart, and one reply put together.
//!
//! Path segments are decoded one by one, after the path was split: `%2F` in a vhost's name stays in its segment
//! (RabbitMQ's clients rely on it), and trailing slashes are tolerated.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use crate::{
    admin::{State, fault, source::Principal},
    broker::{Pending, auth::User, refusal::Access, vhost::Vhost},
};

/// What a handler gets.
pub struct Request {
    pub state: Arc<State>,
    pub principal: Principal,
    /// The values of the route's `:names`, in order.
    pub parameters: Vec<String>,
    pub query: Query,
    pub body: Bytes,
    /// `X-Reason`, which clients send when they close a connection.
    pub reason: Option<String>,
}

impl Request {
    /// A parameter of the route; empty when the route has none at that place.
    #[must_use]
    pub fn parameter(&self, at: usize) -> &str {
        self.parameters.get(at).map_or("", String::as_str)
    }

    /// The route's vhost, when there is one of that name and who asks may see it.
    pub fn vhost(&self) -> Result<&str, Reply> {
        let name = self.parameter(0);
        self.state.broker.vhost(name).map_err(|_| Reply::not_found())?;
        if self.sees(name) { Ok(name) } else { Err(Reply::not_authorized(NO_ACCESS_TO_VHOST)) }
    }

    /// The route's vhost itself, for what changes something in it.
    pub fn open_vhost(&self) -> Result<Arc<Vhost>, Reply> {
        let name = self.parameter(0);
        let vhost = self.state.broker.vhost(name).map_err(|_| fault::not_found("vhost_not_found"))?;
        let enters = self.user().is_some_and(|user| user.enters(name));
        if enters || self.principal.is_administrator() {
            Ok(vhost)
        } else {
            Err(Reply::not_authorized(NO_ACCESS_TO_VHOST))
        }
    }

    /// Whether who asks may see what is in a vhost: those who monitor see everything.
    #[must_use]
    pub fn sees(&self, vhost: &str) -> bool {
        self.principal.may_monitor() || self.user().is_some_and(|user| user.enters(vhost))
    }

    /// Whether who asks may do that, as the AMQP door would decide. Administrators may: `rabbitmqctl` is one.
    pub fn allow(&self, access: Access, vhost: &str, resource: &str) -> Result<(), Reply> {
        let may = self.user().is_some_and(|user| user.may(access, vhost, resource));
        if may || self.principal.is_administrator() {
            Ok(())
        } else {
            Err(Reply::not_authorized("Access refused."))
        }
    }

    /// Whether who asks may use these routing keys with an exchange, where that is a topic exchange.
    pub fn allow_topics<'a>(
        &self,
        access: Access,
        vhost: &Vhost,
        exchange: &str,
        mut keys: impl Iterator<Item = &'a String>,
    ) -> Result<(), Reply> {
        let of_topics = vhost.find_exchange(exchange).is_some_and(|found| found.options.kind == "topic");
        let may =
            |key: &String| self.user().is_some_and(|user| user.may_topic(access, &vhost.name, exchange, key));
        if !of_topics || self.principal.is_administrator() || keys.all(may) {
            Ok(())
        } else {
            Err(Reply::not_authorized("Access refused."))
        }
    }

    fn user(&self) -> Option<Arc<User>> {
        self.state.broker.users.user(&self.principal.name)
    }

    /// The body as text.
    pub fn text(&self) -> Result<String, Reply> {
        String::from_utf8(self.body.to_vec()).map_err(|_| Reply::bad_request("the body is not UTF-8"))
    }
}

/// The query's names and values, decoded.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
        };
        Self(text.split('&').filter(|p| !p.is_empty()).take(QUERY_PAIRS_MAX).map(pair).collect())
    }

    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The path's segments, decoded one by one.
#[must_use]
pub fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|s| !s.is_empty()).map(decode).collect()
}

/// Undoes `%XX`; what is no such sequence stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.split_at_checked(2).filter(|_| first == b'%');
        let (byte, behind) = match escaped.and_then(|(digits, behind)| Some((hex(digits)?, behind))) {
            Some(decoded) => decoded,
            None => (first, after),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// A change that was made, and what goes back once it lasts.
#[derive(Debug)]
pub struct Done {
    pub pending: Pending,
    pub reply: Reply,
}

/// What a handler that changes something says.
pub type Change = Result<Done, Reply>;

impl Done {
    /// 201 for what is new, 204 for what was there.
    pub fn put((new, pending): (bool, Pending)) -> Change {
        let status = if new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        Ok(Self { pending, reply: Reply::empty(status) })
    }

    /// 204, or 404 for what was not there.
    pub fn deleted(pending: Option<Pending>) -> Change {
        match pending {
            Some(pending) => Ok(Self { pending, reply: Reply::empty(StatusCode::NO_CONTENT) }),
            None => Err(Reply::not_found()),
        }
    }

    /// 204.
    pub fn nothing(pending: Pending) -> Change {
        Ok(Self { pending, reply: Reply::empty(StatusCode::NO_CONTENT) })
    }
}

const NO_ACCESS_TO_VHOST: &str = "User not authorised to access virtual host";

/// What goes back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    content: Content,
    location: Option<String>,
}

#[derive(Debug)]
enum Content {
    Empty,
    Json(Value),
    Page(&'static str, Vec<u8>),
}

impl Reply {
    #[must_use]
    pub fn json(value: Value) -> Self {
        Self { status: StatusCode::OK, content: Content::Json(value), location: None }
    }

    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, content: Content::Empty, location: None }
    }

    /// Bytes of some other type than JSON.
    #[must_use]
    pub fn page(content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content: Content::Page(content_type, bytes), location: None }
    }

    #[must_use]
    pub fn failed(status: StatusCode, value: Value) -> Self {
        Self { status, content: Content::Json(value), location: None }
    }

    #[must_use]
    pub fn not_found() -> Self {
        Self::failed(StatusCode::NOT_FOUND, json!({"error": "Object Not Found", "reason": "Not Found"}))
    }

    #[must_use]
    pub fn bad_request(reason: &str) -> Self {
        Self::failed(StatusCode::BAD_REQUEST, json!({"error": "bad_request", "reason": reason}))
    }

    /// A reason that is a list, as RabbitMQ writes some of its terms.
    #[must_use]
    pub fn bad_request_json(reason: Value) -> Self {
        Self::failed(StatusCode::BAD_REQUEST, json!({"error": "bad_request", "reason": reason}))
    }

    /// 201, and where what was made is found.
    #[must_use]
    pub fn created_at(location: String) -> Self {
        Self { location: Some(location), ..Self::empty(StatusCode::CREATED) }
    }

    #[must_use]
    pub fn not_authorized(reason: &str) -> Self {
        Self::failed(StatusCode::UNAUTHORIZED, json!({"error": "not_authorized", "reason": reason}))
    }

    #[must_use]
    pub fn forbidden(reason: &str) -> Self {
        Self::failed(StatusCode::FORBIDDEN, json!({"error": "forbidden", "reason": reason}))
    }

    /// The reason that a refusal gives.
    #[must_use]
    pub fn reason(&self) -> Value {
        match &self.content {
            Content::Json(value) => value.get("reason").cloned().unwrap_or_default(),
            Content::Empty | Content::Page(..) => Value::Null,
        }
    }

    #[must_use]
    pub fn into_response(self) -> Response {
        let (kind, bytes) = match self.content {
            Content::Empty => (None, Vec::new()),
            Content::Json(value) => (Some("application/json"), value.to_string().into_bytes()),
            Content::Page(kind, bytes) => (Some(kind), bytes),
        };
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(kind) = kind {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(location) = self.location.and_then(|l| HeaderValue::from_str(&l).ok()) {
            headers.insert(header::LOCATION, location);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::UNAUTHORIZED {
            let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            headers.insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// A query with more names than this is cut.
const QUERY_PAIRS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &[&str]) {
        assert_eq!(segments(path), expected, "{path}");
    }

    #[test]
    fn an_encoded_slash_stays_in_its_segment_and_trailing_slashes_do_not_count() {
        check("/api/queues/%2F/hello", &["api", "queues", "/", "hello"]);
        check("/api/queues/%2f/a%2Fb/", &["api", "queues", "/", "a/b"]);
        check("/api/nodes//", &["api", "nodes"]);
        check("/api/x%20y%zz%", &["api", "x y%zz%"]);
        check("/api/%+5", &["api", "%+5"]);
        check("/api/%E2%82%AC/%ff", &["api", "€", "\u{fffd}"]);
    }

    #[test]
    fn a_query_is_decoded() {
        let query = Query::parse("page=1&name=a%26b+c&flag");
        assert_eq!(query.value("name"), Some("a&b c"));
        assert_eq!((query.value("flag"), query.value("none")), (Some(""), None));
    }
}
