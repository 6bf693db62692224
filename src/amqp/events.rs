//! What a connection tells `amq.rabbitmq.event` of itself, its channels and consumers.

use super::{
    channel::{Channel, Consumer},
    connection::Connection,
    session::Session,
};
use crate::{
    broker::{
        events::{self, Fields, text},
        registry::ConnectionInfo,
        trace::NODE,
    },
    data::{tls, value::Value},
};

impl Session {
    fn tell(&self, key: &str, fields: impl FnOnce() -> Fields) {
        let core = &self.door.broker.core;
        core.events.tell(&core.clock, key, fields);
    }

    /// The connection is open.
    pub fn tell_created(&self) {
        self.tell("connection.created", || {
            let info = &self.info;
            let mut fields = identity(info);
            fields.extend([
                ("port", Value::I64(info.local.port().into())),
                ("peer_port", Value::I64(info.peer.port().into())),
                ("host", events::address(info.local.ip())),
                ("peer_host", events::address(info.peer.ip())),
                ("ssl", Value::Bool(info.tls.is_some())),
                ("auth_mechanism", text(&info.auth_mechanism)),
                ("protocol", text("{0,9,1}")),
                ("user", text(&info.user)),
                ("vhost", text(&info.vhost)),
                ("timeout", Value::I64(info.heartbeat_s.into())),
                ("frame_max", Value::I64(info.frame_max.into())),
                ("channel_max", Value::I64(info.channel_max.into())),
                ("connected_at", Value::I64(info.connected_at_ms)),
                ("type", text("network")),
            ]);
            fields.extend(tls_fields(info.tls.as_deref()).map(|(name, value)| (name, text(value))));
            fields.extend([("user_who_performed_action", text(&info.user))]);
            fields
        });
    }

    /// The connection is closed.
    pub fn tell_closed(&self) {
        self.tell("connection.closed", || identity(&self.info));
    }

    fn channel_name(&self, channel: &Channel) -> String {
        format!("{} ({})", self.info.name(), channel.number)
    }

    pub fn tell_channel_created(&self, channel: &Channel) {
        self.tell("channel.created", || {
            vec![
                ("name", text(&self.channel_name(channel))),
                ("pid", text(&self.info.pid(Some(channel.number)))),
                ("connection", text(&self.info.pid(None))),
                ("number", Value::I64(channel.number.into())),
                ("user", text(&self.info.user)),
                ("vhost", text(&self.info.vhost)),
                ("user_who_performed_action", text(&self.info.user)),
            ]
        });
    }

    pub fn tell_channel_closed(&self, channel: &Channel) {
        self.tell("channel.closed", || {
            vec![
                ("pid", text(&self.info.pid(Some(channel.number)))),
                ("user_who_performed_action", text(&self.info.user)),
            ]
        });
    }

    fn consumer(&self, channel: &Channel, consumer: &Consumer) -> Fields {
        vec![
            ("consumer_tag", text(&consumer.consumer_tag)),
            ("channel", text(&self.info.pid(Some(channel.number)))),
            ("queue", text(consumer.queue_name())),
            ("vhost", text(&self.info.vhost)),
            ("user_who_performed_action", text(&self.info.user)),
        ]
    }

    pub fn tell_consumer_created(
        &self,
        channel: &Channel,
        consumer: &Consumer,
        method: &super::wire::basic::Consume<'_>,
    ) {
        self.tell("consumer.created", || {
            let mut fields = self.consumer(channel, consumer);
            fields.extend([
                ("exclusive", Value::Bool(method.exclusive)),
                ("ack_required", Value::Bool(!consumer.no_ack)),
                ("prefetch_count", Value::I64(channel.prefetch_count.into())),
                ("arguments", events::arguments(&method.arguments)),
            ]);
            fields
        });
    }

    pub fn tell_consumer_deleted(&self, channel: &Channel, consumer: &Consumer) {
        self.tell("consumer.deleted", || self.consumer(channel, consumer));
    }
}

impl Connection {
    /// Somebody logged in, or tried to.
    pub(super) fn tell_login(&self, key: &str, user: &str, mechanism: &str) {
        let core = &self.door.broker.core;
        core.events.tell(&core.clock, key, || {
            let name = format!("{} -> {}", self.ends.peer, self.ends.local);
            let mut fields = vec![
                ("name", text(user)),
                ("connection_type", text("network")),
                ("connection_name", text(&name)),
                ("host", events::address(self.ends.local.ip())),
                ("peer_host", events::address(self.ends.peer.ip())),
                ("peer_port", Value::I64(self.ends.peer.port().into())),
                ("protocol", text("{0,9,1}")),
                ("auth_mechanism", text(mechanism)),
                ("ssl", Value::Bool(self.ends.tls.is_some())),
            ];
            if key == "user.authentication.failure" {
                fields.push(("error", text(&format!("user '{user}' - invalid credentials"))));
            }
            fields
        });
    }
}

fn identity(info: &ConnectionInfo) -> Fields {
    let mut fields = vec![
        ("name", text(&info.name())),
        ("pid", text(&info.pid(None))),
        ("node", text(NODE)),
        ("client_properties", events::arguments(&info.client_properties)),
    ];
    let provided = info.provided_name().map(String::from_utf8_lossy);
    fields.extend(provided.map(|name| ("user_provided_name", text(&name))));
    fields
}

/// RabbitMQ has them of a connection without TLS, too.
fn tls_fields(session: Option<&tls::Session>) -> [(&'static str, &str); 7] {
    let peer = session.and_then(|session| session.peer.as_ref());
    [
        ("ssl_protocol", session.map_or("", |session| session.protocol)),
        ("ssl_key_exchange", session.map_or("", |session| session.key_exchange)),
        ("ssl_cipher", session.map_or("", |session| session.cipher)),
        ("ssl_hash", session.map_or("", |session| session.hash)),
        ("peer_cert_subject", peer.map_or("", |peer| &peer.subject)),
        ("peer_cert_issuer", peer.map_or("", |peer| &peer.issuer)),
        ("peer_cert_validity", peer.map_or("", |peer| &peer.validity)),
    ]
}
