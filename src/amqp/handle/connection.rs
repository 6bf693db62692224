//! Class 10, connection: what the handshake says, and the methods of an open connection.
//! (AMQP 0-9-1 §1.4; RabbitMQ's server properties, update-secret and authentication_failure_close.)

use crate::{
    amqp::{
        Settings,
        fault::{Bound, Fault},
        session::{Capabilities, Context},
        wire::connection::{Start, Tune, TuneOk, UpdateSecretOk},
    },
    broker::profile::Profile,
    data::value::{Table, Value},
};

/// `connection.start`: what the server is and can.
#[must_use]
pub fn start<'m>(profile: &Profile, settings: &Settings, mechanisms: &'m str) -> Start<'m> {
    let flags = [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "consumer_priorities",
        "direct_reply_to",
        "exchange_exchange_bindings",
        "per_consumer_qos",
        "publisher_confirms",
    ];
    let capabilities = Table(flags.iter().map(|&name| (name.to_owned(), Value::Bool(true))).collect());
    let text = |s: &str| Value::LongStr(s.to_owned().into());
    // RabbitMQ sorts the keys; clients branch on `product` and `version`. `warren` says who really answers.
    let properties = vec![
        ("capabilities", Value::Table(capabilities)),
        ("cluster_name", text(&settings.cluster_name)),
        ("copyright", text("Copyright (c) the Warren authors; not affiliated with RabbitMQ")),
        ("information", text("Licensed under the Apache License 2.0")),
        ("platform", text("Rust")),
        ("product", text("RabbitMQ")),
        ("version", text(profile.version)),
        ("warren", text(env!("CARGO_PKG_VERSION"))),
    ];
    let server_properties =
        Table(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    Start {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: mechanisms.as_bytes(),
        locales: b"en_US",
    }
}

/// What the client says it understands.
#[must_use]
pub fn capabilities(client_properties: &Table) -> Capabilities {
    let Some(Value::Table(table)) = client_properties.field("capabilities") else {
        return Capabilities::default();
    };
    let has = |name| table.field(name) == Some(&Value::Bool(true));
    Capabilities {
        consumer_cancel_notify: has("consumer_cancel_notify"),
        connection_blocked: has("connection.blocked"),
        authentication_failure_close: has("authentication_failure_close"),
    }
}

/// What the server proposes.
#[must_use]
pub fn tune(settings: &Settings) -> Tune {
    Tune { channel_max: settings.channel_max, frame_max: settings.frame_max, heartbeat: settings.heartbeat_s }
}

/// Whether the client's answer lies within what was proposed. Its heartbeat wins as it is.
///
/// # Errors
/// The fault with RabbitMQ's text.
pub fn check_tune(profile: &Profile, settings: &Settings, answer: &TuneOk) -> Result<(), Fault> {
    check("frame_max", settings.frame_max, profile.frame_max_min, answer.frame_max)?;
    check("channel_max", settings.channel_max.into(), 1, answer.channel_max.into())
}

fn check(field: &'static str, proposed: u32, min: u32, value: u32) -> Result<(), Fault> {
    if value != 0 && value < min {
        return Err(Fault::Negotiation { field, value, bound: Bound::Minimum(min) });
    }
    if proposed != 0 && (value == 0 || value > proposed) {
        return Err(Fault::Negotiation { field, value, bound: Bound::Maximum(proposed) });
    }
    Ok(())
}

/// `connection.update-secret`: our users' passwords do not expire, so any is as good; but what the user may do is read
/// anew.
///
/// # Errors
/// When the user may not enter the vhost any more.
pub fn update_secret(cx: &mut Context<'_>) -> Result<(), Fault> {
    let session = &mut *cx.session;
    match session.door.broker.users.user(&session.user.name).filter(|user| user.enters(&session.vhost.name)) {
        Some(user) => {
            session.user = user;
            cx.send(0, &UpdateSecretOk {});
            Ok(())
        }
        None => Err(Fault::VhostRefused {
            vhost: session.vhost.name.to_string(),
            user: session.user.name.to_string(),
        }),
    }
}
