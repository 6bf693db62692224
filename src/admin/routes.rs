//! THE table of what the admin door answers: method, path, who may ask, handler.
//!
//! Paths are matched segment by segment after splitting, so that an encoded slash never ends a name.

use axum::http::Method;

use crate::admin::{
    clients, health, overview, people,
    request::{Reply, Request},
    source::Later,
    streams, topology,
};

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    /// Segments; those that begin with `:` match anything.
    pub path: &'static str,
    pub access: Access,
    pub handler: Handler,
}

/// Who may ask: RabbitMQ's user tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Anybody,
    Management,
    Monitoring,
    Administrator,
}

/// What answers.
#[derive(Debug, Clone, Copy)]
pub enum Handler {
    Now(fn(&Request) -> Reply),
    Later(fn(Request) -> Later<'static, Reply>),
}

use Access::{Administrator, Anybody, Management, Monitoring};
use Handler::{Later as Slow, Now};

/// Every route.
pub const ROUTES: &[Route] = &[
    route("GET", "api/overview", Management, Now(overview::overview)),
    route("GET", "api/whoami", Management, Now(people::whoami)),
    route("GET", "api/cluster-name", Management, Now(overview::cluster_name)),
    route("GET", "api/nodes", Monitoring, Now(overview::nodes)),
    route("GET", "api/nodes/:node", Monitoring, Now(overview::node)),
    route("GET", "api/vhosts", Management, Now(people::vhosts)),
    route("GET", "api/vhosts/:vhost", Management, Now(people::vhost)),
    route("GET", "api/users", Administrator, Now(people::users)),
    route("GET", "api/users/:user", Administrator, Now(people::user)),
    route("GET", "api/exchanges", Management, Now(topology::exchanges)),
    route("GET", "api/exchanges/:vhost", Management, Now(topology::exchanges_of_vhost)),
    route("GET", "api/exchanges/:vhost/:exchange", Management, Now(topology::exchange)),
    route("GET", "api/queues", Management, Now(topology::queues)),
    route("GET", "api/queues/:vhost", Management, Now(topology::queues_of_vhost)),
    route("GET", "api/queues/:vhost/:queue", Management, Now(topology::queue)),
    route("GET", "api/queues/:vhost/:queue/bindings", Management, Now(topology::bindings_of_queue)),
    route("GET", "api/bindings", Management, Now(topology::bindings)),
    route("GET", "api/bindings/:vhost", Management, Now(topology::bindings_of_vhost)),
    route("GET", "api/connections", Management, Now(clients::connections)),
    route("GET", "api/connections/:name", Management, Now(clients::connection)),
    route("DELETE", "api/connections/:name", Management, Now(clients::close_connection)),
    route("GET", "api/connections/:name/channels", Management, Now(clients::channels_of_connection)),
    route("GET", "api/channels", Management, Now(clients::channels)),
    route("GET", "api/channels/:name", Management, Now(clients::channel)),
    route("GET", "api/consumers", Management, Now(clients::consumers)),
    route("GET", "api/consumers/:vhost", Management, Now(clients::consumers_of_vhost)),
    route("GET", "api/topics", Management, Now(streams::topics)),
    route("GET", "api/topics/:vhost", Management, Now(streams::topics_of_vhost)),
    route("GET", "api/topics/:vhost/:topic", Management, Now(streams::topic)),
    route("GET", "api/streams", Management, Now(streams::jobs)),
    route("POST", "api/streams", Administrator, Slow(streams::run)),
    route("POST", "api/streams/explain", Administrator, Slow(streams::explain)),
    route("GET", "api/streams/printed", Management, Slow(streams::printed)),
    route("GET", "api/streams/:job", Management, Now(streams::job)),
    route("DELETE", "api/streams/:job", Administrator, Slow(streams::drop_job)),
    route("GET", "api/health/checks/alarms", Anybody, Now(health::alarms)),
    route("GET", "api/health/checks/local-alarms", Anybody, Now(health::alarms)),
    route("GET", "api/health/checks/port-listener/:port", Anybody, Now(health::port_listener)),
    route("GET", "api/health/checks/protocol-listener/:protocol", Anybody, Now(health::protocol_listener)),
    route("GET", "api/health/checks/virtual-hosts", Anybody, Now(health::virtual_hosts)),
    route("GET", "api/health/checks/ready-to-serve-clients", Anybody, Now(health::ready)),
    route("GET", "api/health/checks/is-in-service", Anybody, Now(health::ready)),
    route("GET", "api/health/checks/node-is-quorum-critical", Anybody, Now(health::quorum_critical)),
    route("GET", "api/healthchecks/node", Anybody, Now(health::node)),
    route("GET", "api/aliveness-test/:vhost", Management, Slow(health::aliveness)),
];

const fn route(method: &'static str, path: &'static str, access: Access, handler: Handler) -> Route {
    Route { method, path, access, handler }
}

/// What the table has for a request.
#[derive(Debug)]
pub enum Found {
    Route(&'static Route, Vec<String>),
    OtherMethods,
    Nothing,
}

/// The first route of that method and path. HEAD is answered as GET.
#[must_use]
pub fn find(method: &Method, segments: &[String]) -> Found {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let mut other = Found::Nothing;
    for route in ROUTES {
        if let Some(parameters) = parameters(route.path, segments) {
            if route.method == method.as_str() {
                return Found::Route(route, parameters);
            }
            other = Found::OtherMethods;
        }
    }
    other
}

fn parameters(path: &str, segments: &[String]) -> Option<Vec<String>> {
    let mut parameters = Vec::new();
    let mut given = segments.iter();
    for wanted in path.split('/') {
        let segment = given.next()?;
        if wanted.starts_with(':') {
            parameters.push(segment.clone());
        } else if wanted != segment {
            return None;
        }
    }
    given.next().is_none().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::request::segments;

    fn check(method: Method, path: &str, expected: &str) {
        let found = match find(&method, &segments(path)) {
            Found::Route(route, parameters) => format!("{} {}", route.path, parameters.join("|")),
            Found::OtherMethods => "405".to_owned(),
            Found::Nothing => "404".to_owned(),
        };
        assert_eq!(found, expected, "{method} {path}");
    }

    #[test]
    fn routes_are_found_by_whole_segments() {
        check(Method::GET, "/api/queues/%2F/a%2Fb", "api/queues/:vhost/:queue /|a/b");
        check(Method::HEAD, "/api/overview/", "api/overview ");
        check(Method::GET, "/api/streams/printed", "api/streams/printed ");
        check(Method::GET, "/api/streams/mine", "api/streams/:job mine");
        check(Method::PATCH, "/api/overview", "405");
        check(Method::GET, "/api/queues/a/b/c/d", "404");
        check(Method::GET, "/", "404");
    }

    #[test]
    fn only_health_checks_are_open_to_anybody() {
        for route in ROUTES {
            assert_eq!(route.access == Access::Anybody, route.path.contains("health"), "{}", route.path);
            assert!(route.method == "GET" || route.access != Access::Anybody);
        }
    }
}
