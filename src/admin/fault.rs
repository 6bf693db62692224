//! The core's refusals as the management API says them: status, and RabbitMQ's text without the reply code's name.

use axum::http::StatusCode;
use serde_json::json;

use crate::{
    admin::request::Reply,
    broker::{
        parameters::ParameterRefusal,
        refusal::{Difference, Kind, Refusal, Subject},
    },
    data::{term, value::Value},
};

fn on(subject: &Subject, vhost: &str) -> String {
    named(subject.kind, &subject.name, vhost)
}

fn named(kind: Kind, name: &str, vhost: &str) -> String {
    format!("{} '{name}' in vhost '{vhost}'", kind.word())
}

/// The text, without a reply code.
#[must_use]
pub fn text(refusal: &Refusal, vhost: &str) -> String {
    let typed = |value: &Option<Value>| {
        value.as_ref().map_or_else(
            || "none".to_owned(),
            |v| format!("the value '{}' of type '{}'", term::value_text(v), v.type_name()),
        )
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest cannot come of what the admin door asks of the core"
    )]
    match refusal {
        Refusal::InvalidArgument { arg, on: subject, reason } => {
            format!("invalid arg '{arg}' for {}: {reason}", on(subject, vhost))
        }
        Refusal::ArgumentType { arg, on: subject, type_name } => {
            format!("invalid type '{type_name}' for arg '{arg}' in {}", on(subject, vhost))
        }
        Refusal::Inequivalent { arg, on: subject, difference } => {
            let (received, current) = match &**difference {
                Difference::Property { received, current } => {
                    (format!("'{received}'"), format!("'{current}'"))
                }
                Difference::Argument { received: Some(r), current: Some(c) } => {
                    (format!("'{}'", term::value_text(r)), format!("'{}'", term::value_text(c)))
                }
                Difference::Argument { received, current } => (typed(received), typed(current)),
            };
            format!(
                "inequivalent arg '{arg}' for {}: received {received} but current is {current}",
                on(subject, vhost)
            )
        }
        Refusal::UnsupportedByList { what, queue } => {
            format!("{what} not supported by list {}", named(Kind::Queue, queue, vhost))
        }
        Refusal::NoQueue(name) => format!("no {}", named(Kind::Queue, name, vhost)),
        Refusal::NoExchange(name) => format!("no {}", named(Kind::Exchange, name, vhost)),
        Refusal::UnknownExchangeType(kind) => format!("invalid exchange type '{kind}'"),
        Refusal::InUse(subject) => format!("{} in use", on(subject, vhost)),
        Refusal::NotEmpty(name) => format!("{} not empty", named(Kind::Queue, name, vhost)),
        Refusal::Locked(name) => {
            format!(
                "cannot obtain exclusive access to locked {}. It could be originally declared on another connection \
                 or the exclusive property value does not match that of the original declaration.",
                named(Kind::Queue, name, vhost)
            )
        }
        Refusal::InternalExchange(name) => {
            format!("cannot publish to internal {}", named(Kind::Exchange, name, vhost))
        }
        Refusal::QueueLimit { queue, limit } => {
            format!("cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached")
        }
        Refusal::Binding(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// The reply to a declaration or deletion that the core refused.
#[must_use]
pub fn reply(refusal: &Refusal, vhost: &str) -> Reply {
    #[expect(clippy::wildcard_enum_match_arm, reason = "everything else is the request's fault")]
    match refusal {
        Refusal::ReservedName { .. } | Refusal::DefaultExchange | Refusal::SystemExchange(_) => {
            Reply::not_authorized("Access refused.")
        }
        Refusal::NoQueue(_) | Refusal::NoExchange(_) => not_found(&text(refusal, vhost)),
        Refusal::NoVhost(_) => not_found("vhost_not_found"),
        _ => Reply::bad_request(&text(refusal, vhost)),
    }
}

/// 404 with a reason of its own.
#[must_use]
pub fn not_found(reason: &str) -> Reply {
    Reply::failed(StatusCode::NOT_FOUND, json!({"error": "not_found", "reason": reason}))
}

/// The reply to a parameter that was refused.
#[must_use]
pub fn parameter(refusal: &ParameterRefusal) -> Reply {
    match refusal {
        ParameterRefusal::Invalid(text) => Reply::bad_request(&validation(text)),
        ParameterRefusal::NoVhost => not_found("vhost_not_found"),
        ParameterRefusal::NotFound => Reply::not_found(),
    }
}

/// RabbitMQ's frame around what a validator says.
#[must_use]
pub fn validation(text: &str) -> String {
    format!("Validation failed\n\n{text}")
}
