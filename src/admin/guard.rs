//! Who may ask, and from where a change may come.
//!
//! Basic authentication on everything but health checks. Calls that change something are refused when a browser
//! sent them from another site: by `Origin`, or by a `Host` that somebody made to point at this machine.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, header};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    admin::{
        request::Reply,
        source::{Principal, Source},
    },
    net::listener::Ends,
};

/// Who asks, from the `Authorization` header.
pub fn authenticate(source: &dyn Source, headers: &HeaderMap, from: IpAddr) -> Result<Principal, Reply> {
    let credentials = headers.get(header::AUTHORIZATION).and_then(|h| h.to_str().ok()).and_then(basic);
    let Some((user, password)) = credentials else { return Err(Reply::not_authorized("Not_Authorized")) };
    match source.authenticate(&user, &password, from) {
        Some(principal) if principal.may_manage() => Ok(principal),
        Some(_) => Err(Reply::not_authorized("Not management user")),
        None => Err(Reply::not_authorized("Login failed")),
    }
}

fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// Whether a call that changes something comes from here or from a program, not from another site's page.
pub fn check_site(method: &Method, headers: &HeaderMap, ends: &Ends) -> Result<(), Reply> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method) {
        return Ok(());
    }
    let text = |name: header::HeaderName| headers.get(name).and_then(|h| h.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    // Opened to the network on purpose, a door is reached under names we cannot know.
    if ends.local.ip().to_canonical().is_loopback() && !is_here(host_name(host)) {
        return Err(Reply::forbidden("foreign Host"));
    }
    let foreign_origin =
        text(header::ORIGIN).is_some_and(|o| o.split_once("://").map(|(_, h)| h) != Some(host));
    let cross_site = headers.get("sec-fetch-site").is_some_and(|s| s == "cross-site");
    if foreign_origin || cross_site { Err(Reply::forbidden("foreign Origin")) } else { Ok(()) }
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((inner, _)) => inner,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// An address cannot be made to point elsewhere, and `localhost` is resolved by the machine itself.
fn is_here(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(local: &str, headers: &[(&'static str, &str)], allowed: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let ends = Ends { local: local.parse().unwrap(), peer: "127.0.0.1:9".parse().unwrap(), tls: None };
        assert_eq!(check_site(&Method::DELETE, &map, &ends).is_ok(), allowed, "{local} {headers:?}");
        assert!(check_site(&Method::GET, &map, &ends).is_ok());
    }

    #[test]
    fn changes_come_from_here_or_from_a_program() {
        let here = "127.0.0.1:15672";
        check(here, &[("host", "localhost:15672")], true);
        check(here, &[("host", "[::1]:15672")], true);
        check(here, &[("host", "localhost:15672"), ("origin", "http://localhost:15672")], true);
        check(here, &[("host", "localhost:15672"), ("origin", "http://evil.example")], false);
        check(here, &[("host", "localhost:15672"), ("origin", "null")], false);
        check(here, &[("host", "localhost:15672"), ("sec-fetch-site", "cross-site")], false);
        check(here, &[("host", "evil.example:15672"), ("origin", "http://evil.example:15672")], false);
        check(here, &[], false);
        check("10.0.0.1:15672", &[("host", "warren:15672")], true);
        check("10.0.0.1:15672", &[("host", "warren:15672"), ("origin", "http://evil.example")], false);
    }

    #[test]
    fn basic_credentials_are_read_as_sent() {
        let encoded = STANDARD.encode("guest:gu:est");
        assert_eq!(basic(&format!("Basic {encoded}")), Some(("guest".into(), "gu:est".into())));
        assert_eq!(basic(&format!("basic {encoded}")), Some(("guest".into(), "gu:est".into())));
        assert_eq!(basic("Bearer x"), None);
        assert_eq!(basic("Basic !!!"), None);
    }
}
