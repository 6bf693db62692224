//! URLs: their parts, as `java.net.URL` takes them apart, and their escapes.

use super::{Arg, Builtin, Nulls, Ret, Type_, strict, text};
use crate::stream::datum::Datum;

use Arg::Str;

const fn row(
    name: &'static str,
    accepts: &'static [&'static [Arg]],
    prepare: fn(
        &[super::Expr],
        &crate::stream::plan::types::DataType,
    ) -> Result<super::Call, super::EvalError>,
) -> Builtin {
    Builtin { name, accepts, repeats: false, returns: Ret::Is(Type_::String), nulls: Nulls::Always, prepare }
}

pub(super) const TABLE: &[Builtin] = &[
    row("PARSE_URL", &[&[Str, Str], &[Str, Str, Str]], |_, _| {
        strict(|a| {
            let key = a.get(2).map(|_| text(a, 2));
            part(text(a, 0), text(a, 1), key).map_or(Datum::Null, Datum::str)
        })
    }),
    row("URL_ENCODE", &[&[Str]], |_, _| strict(|a| Datum::str(encoded(text(a, 0))))),
    row("URL_DECODE", &[&[Str]], |_, _| strict(|a| decoded(text(a, 0)).map_or(Datum::Null, Datum::str))),
];

/// Protocols that Java knows; an URL of another is none to it.
const PROTOCOLS: &[&str] = &["file", "ftp", "http", "https", "jar", "mailto"];

fn part(url: &str, wanted: &str, key: Option<&str>) -> Option<String> {
    let (protocol, rest) = url.trim().split_once(':')?;
    if !PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str()) {
        return None;
    }
    let (rest, reference) = match rest.split_once('#') {
        Some((rest, reference)) => (rest, Some(reference)),
        None => (rest, None),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    // A port behind the host, but not one of the colons of an IPv6 address.
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => host,
    };
    if let Some(key) = key {
        let values = query?.split('&').filter_map(|pair| pair.split_once('='));
        return (wanted == "QUERY")
            .then(|| values.into_iter().find(|(k, _)| *k == key))?
            .map(|(_, v)| v.to_owned());
    }
    match wanted {
        "AUTHORITY" => Some(authority.to_owned()),
        "FILE" => Some(query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))),
        "HOST" => Some(host.to_owned()),
        "PATH" => Some(path.to_owned()),
        "PROTOCOL" => Some(protocol.to_ascii_lowercase()),
        "QUERY" => query.map(str::to_owned),
        "REF" => reference.map(str::to_owned),
        "USERINFO" => user.map(str::to_owned),
        _ => None,
    }
}

/// As for `application/x-www-form-urlencoded`: a blank is a plus.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `None` where a percent sign is no escape.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|d| u8::try_from(d).ok());
                digit()? << 4 | digit()?
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
