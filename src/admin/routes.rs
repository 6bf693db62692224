//! THE table of what the admin door answers: method, path, who may ask, handler.
//!
//! Paths are matched segment by segment after splitting, so that an encoded slash never ends a name.

use axum::http::Method;

use crate::admin::{
    handle::{
        bindings, clients, definitions, exchanges, groups, health, limits, messages, node, overview,
        parameters, permissions, policies, queues, streams, super_streams, topology, users, vhosts,
    },
    request::{Change, Reply, Request},
    source::Later,
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
    Policymaker,
    Administrator,
}

/// What answers.
#[derive(Debug, Clone, Copy)]
pub enum Handler {
    Now(fn(&Request) -> Reply),
    Later(fn(Request) -> Later<'static, Reply>),
    /// The reply leaves once the change lasts.
    Change(fn(&Request) -> Change),
}

use Access::{Administrator, Anybody, Management, Monitoring, Policymaker};
use Handler::{Change as Lasting, Later as Slow, Now};

/// Every route.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route("GET", "api/overview", Management, Now(overview::overview)),
    route("GET", "api/whoami", Management, Now(users::whoami)),
    route("GET", "api/cluster-name", Management, Now(parameters::cluster_name)),
    route("PUT", "api/cluster-name", Administrator, Lasting(parameters::put_cluster_name)),
    route("GET", "api/nodes", Monitoring, Now(overview::nodes)),
    route("GET", "api/nodes/:node", Monitoring, Now(overview::node)),
    route("PUT", "api/nodes/:node/vm_memory_high_watermark", Administrator, Now(node::set_memory_watermark)),
    route("PUT", "api/nodes/:node/disk_free_limit", Administrator, Now(node::set_disk_free_limit)),
    route("GET", "api/extensions", Management, Now(node::extensions)),
    route("GET", "api/auth", Anybody, Now(node::auth)),
    route("GET", "api/feature-flags", Management, Now(node::feature_flags)),
    route("POST", "api/rebalance/queues", Administrator, Now(node::rebalance)),
    route("DELETE", "api/reset", Administrator, Now(node::reset)),
    route("DELETE", "api/reset/:node", Administrator, Now(node::reset)),
    route("GET", "api/definitions", Administrator, Now(definitions::get)),
    route("POST", "api/definitions", Administrator, Lasting(definitions::post)),
    route("GET", "api/definitions/:vhost", Policymaker, Now(definitions::get_vhost)),
    route("POST", "api/definitions/:vhost", Administrator, Lasting(definitions::post_vhost)),
    route("GET", "api/vhosts", Management, Now(vhosts::vhosts)),
    route("GET", "api/vhosts/:vhost", Management, Now(vhosts::vhost)),
    route("PUT", "api/vhosts/:vhost", Administrator, Lasting(vhosts::put)),
    route("DELETE", "api/vhosts/:vhost", Administrator, Lasting(vhosts::delete)),
    route("GET", "api/vhosts/:vhost/permissions", Administrator, Now(permissions::of_vhost)),
    route("GET", "api/vhosts/:vhost/topic-permissions", Administrator, Now(permissions::topics_of_vhost)),
    route("GET", "api/vhosts/:vhost/connections", Management, Now(clients::connections_of_vhost)),
    route("GET", "api/vhosts/:vhost/channels", Management, Now(clients::channels_of_vhost)),
    route("POST", "api/vhosts/:vhost/start/:node", Administrator, Now(vhosts::start)),
    route("POST", "api/vhosts/:vhost/deletion/protection", Administrator, Lasting(vhosts::protect)),
    route("DELETE", "api/vhosts/:vhost/deletion/protection", Administrator, Lasting(vhosts::unprotect)),
    route("GET", "api/users", Administrator, Now(users::users)),
    route("GET", "api/users/without-permissions", Administrator, Now(users::without_permissions)),
    route("POST", "api/users/bulk-delete", Administrator, Lasting(users::bulk_delete)),
    route("GET", "api/users/:user", Administrator, Now(users::user)),
    route("PUT", "api/users/:user", Administrator, Lasting(users::put)),
    route("DELETE", "api/users/:user", Administrator, Lasting(users::delete)),
    route("GET", "api/users/:user/permissions", Administrator, Now(permissions::of_one_user)),
    route("GET", "api/users/:user/topic-permissions", Administrator, Now(permissions::topics_of_one_user)),
    route("GET", "api/permissions", Administrator, Now(permissions::permissions)),
    route("GET", "api/permissions/:vhost/:user", Administrator, Now(permissions::permission)),
    route("PUT", "api/permissions/:vhost/:user", Administrator, Lasting(permissions::put)),
    route("DELETE", "api/permissions/:vhost/:user", Administrator, Lasting(permissions::delete)),
    route("GET", "api/topic-permissions", Administrator, Now(permissions::topic_permissions)),
    route("GET", "api/topic-permissions/:vhost/:user", Administrator, Now(permissions::topic_permission)),
    route("PUT", "api/topic-permissions/:vhost/:user", Administrator, Lasting(permissions::put_topic)),
    route("DELETE", "api/topic-permissions/:vhost/:user", Administrator, Lasting(permissions::delete_topics)),
    route("DELETE", "api/topic-permissions/:vhost/:user/:exchange", Administrator, Lasting(permissions::delete_topic)),
    route("GET", "api/policies", Policymaker, Now(policies::policies)),
    route("GET", "api/policies/:vhost", Policymaker, Now(policies::policies_of_vhost)),
    route("GET", "api/policies/:vhost/:name", Policymaker, Now(policies::policy)),
    route("PUT", "api/policies/:vhost/:name", Policymaker, Lasting(policies::put_policy)),
    route("DELETE", "api/policies/:vhost/:name", Policymaker, Lasting(policies::delete_policy)),
    route("GET", "api/operator-policies", Policymaker, Now(policies::operator_policies)),
    route("GET", "api/operator-policies/:vhost", Policymaker, Now(policies::operator_policies_of_vhost)),
    route("GET", "api/operator-policies/:vhost/:name", Policymaker, Now(policies::operator_policy)),
    route("PUT", "api/operator-policies/:vhost/:name", Administrator, Lasting(policies::put_operator_policy)),
    route("DELETE", "api/operator-policies/:vhost/:name", Administrator, Lasting(policies::delete_operator_policy)),
    route("GET", "api/parameters", Policymaker, Now(parameters::parameters)),
    route("GET", "api/parameters/:component", Policymaker, Now(parameters::of_component)),
    route("GET", "api/parameters/:component/:vhost", Policymaker, Now(parameters::of_vhost)),
    route("GET", "api/parameters/:component/:vhost/:name", Policymaker, Now(parameters::parameter)),
    route("PUT", "api/parameters/:component/:vhost/:name", Policymaker, Lasting(parameters::put)),
    route("DELETE", "api/parameters/:component/:vhost/:name", Policymaker, Lasting(parameters::delete)),
    route("GET", "api/global-parameters", Policymaker, Now(parameters::global_parameters)),
    route("GET", "api/global-parameters/:name", Policymaker, Now(parameters::global_parameter)),
    route("PUT", "api/global-parameters/:name", Administrator, Lasting(parameters::put_global)),
    route("DELETE", "api/global-parameters/:name", Administrator, Lasting(parameters::delete_global)),
    route("GET", "api/vhost-limits", Management, Now(limits::vhost_limits)),
    route("GET", "api/vhost-limits/:vhost", Management, Now(limits::limits_of_vhost)),
    route("PUT", "api/vhost-limits/:vhost/:limit", Administrator, Lasting(limits::put_vhost_limit)),
    route("DELETE", "api/vhost-limits/:vhost/:limit", Administrator, Lasting(limits::delete_vhost_limit)),
    route("GET", "api/user-limits", Administrator, Now(limits::user_limits_of_all)),
    route("GET", "api/user-limits/:user", Administrator, Now(limits::limits_of_user)),
    route("PUT", "api/user-limits/:user/:limit", Administrator, Lasting(limits::put_user_limit)),
    route("DELETE", "api/user-limits/:user/:limit", Administrator, Lasting(limits::delete_user_limit)),
    route("GET", "api/exchanges", Management, Now(topology::exchanges)),
    route("GET", "api/exchanges/:vhost", Management, Now(topology::exchanges_of_vhost)),
    route("GET", "api/exchanges/:vhost/:exchange", Management, Now(topology::exchange)),
    route("PUT", "api/exchanges/:vhost/:exchange", Management, Lasting(exchanges::put)),
    route("DELETE", "api/exchanges/:vhost/:exchange", Management, Lasting(exchanges::delete)),
    route("POST", "api/exchanges/:vhost/:exchange/publish", Management, Slow(messages::publish)),
    route("GET", "api/exchanges/:vhost/:exchange/bindings/source", Management, Now(bindings::from_exchange)),
    route("GET", "api/exchanges/:vhost/:exchange/bindings/destination", Management, Now(bindings::to_exchange)),
    route("GET", "api/queues", Management, Now(topology::queues)),
    route("GET", "api/queues/:vhost", Management, Now(topology::queues_of_vhost)),
    route("GET", "api/queues/:vhost/:queue", Management, Now(topology::queue)),
    route("PUT", "api/queues/:vhost/:queue", Management, Lasting(queues::put)),
    route("DELETE", "api/queues/:vhost/:queue", Management, Lasting(queues::delete)),
    route("DELETE", "api/queues/:vhost/:queue/contents", Management, Lasting(queues::purge)),
    route("POST", "api/queues/:vhost/:queue/get", Management, Slow(messages::get)),
    route("POST", "api/queues/:vhost/:queue/actions", Policymaker, Now(queues::actions)),
    route("GET", "api/queues/:vhost/:queue/bindings", Management, Now(topology::bindings_of_queue)),
    route("GET", "api/bindings", Management, Now(topology::bindings)),
    route("GET", "api/bindings/:vhost", Management, Now(topology::bindings_of_vhost)),
    route("GET", "api/bindings/:vhost/e/:source/:kind/:destination", Management, Now(bindings::between)),
    route("POST", "api/bindings/:vhost/e/:source/:kind/:destination", Management, Lasting(bindings::post)),
    route("GET", "api/bindings/:vhost/e/:source/:kind/:destination/:props", Management, Now(bindings::binding)),
    route("DELETE", "api/bindings/:vhost/e/:source/:kind/:destination/:props", Management, Lasting(bindings::delete)),
    route("GET", "api/connections", Management, Now(clients::connections)),
    route("GET", "api/connections/username/:user", Management, Now(clients::connections_of_user)),
    route("DELETE", "api/connections/username/:user", Management, Now(clients::close_connections_of_user)),
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
    route("GET", "api/groups", Management, Now(groups::groups)),
    route("GET", "api/groups/:vhost", Management, Now(groups::groups_of_vhost)),
    route("GET", "api/groups/:vhost/:group", Management, Now(groups::group)),
    route("PUT", "api/stream/super-streams/:vhost/:name", Management, Lasting(super_streams::put)),
    route("DELETE", "api/stream/super-streams/:vhost/:name", Management, Lasting(super_streams::delete)),
    route("GET", "api/streams", Management, Now(streams::jobs)),
    route("POST", "api/streams", Administrator, Slow(streams::run)),
    route("POST", "api/streams/explain", Administrator, Slow(streams::explain)),
    route("POST", "api/streams/show", Administrator, Slow(streams::show)),
    route("GET", "api/streams/printed", Management, Slow(streams::printed)),
    route("GET", "api/streams/:job", Management, Now(streams::job)),
    route("POST", "api/streams/:job/pause", Administrator, Slow(streams::pause)),
    route("POST", "api/streams/:job/resume", Administrator, Slow(streams::resume)),
    route("POST", "api/streams/:job/reset", Administrator, Slow(streams::reset)),
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
        check(Method::GET, "/api/users/without-permissions", "api/users/without-permissions ");
        check(Method::DELETE, "/api/connections/username/u", "api/connections/username/:user u");
        check(
            Method::DELETE,
            "/api/bindings/%2F/e/x/q/y/a%2Fb",
            "api/bindings/:vhost/e/:source/:kind/:destination/:props /|x|q|y|a/b",
        );
        check(Method::GET, "/", "404");
    }

    #[test]
    fn only_health_checks_and_how_to_log_in_are_open_to_anybody() {
        for route in ROUTES {
            let open = route.path.contains("health") || route.path == "api/auth";
            assert_eq!(route.access == Access::Anybody, open, "{}", route.path);
            assert!(route.method == "GET" || route.access != Access::Anybody);
        }
    }
}
