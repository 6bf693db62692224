//! What the configuration says, in the words of whom it is for.

use std::{path::PathBuf, time::Duration};

use super::serve::{NODE, StartError};
use crate::{
    amqp,
    broker::{
        auth::{Permissions, User},
        group,
        profile::{self, Profile},
    },
    config::{CertLoginFrom, ClientAuth, Compat, Config, Durability, KafkaNewGroup, ZmqMapping, ZmqMode},
    kafka,
    net::tls,
    observe::process,
    redis, store, zmq,
};

pub(super) fn store(config: &Config) -> store::Options {
    let from = &config.store;
    let durability = match from.durability {
        _ if from.ephemeral => store::Durability::None,
        Durability::Fsync => store::Durability::Fsync,
        Durability::Os => store::Durability::Os,
    };
    store::Options {
        turn_bytes_max: from.turn_bytes_max,
        segment_bytes: u32::try_from(from.segment_bytes).unwrap_or(u32::MAX),
        spare_segments_busy: from.segments_spare,
        checkpoint_every_ms: from.checkpoint_interval_ms,
        checkpoint_log_bytes: from.checkpoint_log_bytes,
        ..store::Options::new(&from.data_dir, durability)
    }
}

pub(super) fn memory_limit(config: &Config) -> usize {
    let bytes = match config.memory.high_watermark_bytes {
        0 => (process::memory_total_bytes() as f64 * config.memory.high_watermark) as u64,
        bytes => bytes,
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(super) fn default_user(config: &Config) -> User {
    let users = &config.users;
    let user = User::new(&users.default_user, &users.default_pass, &["administrator"], false);
    user.with_permissions("/", Permissions::full())
}

pub(super) fn amqp(config: &Config, profile: &Profile) -> amqp::Settings {
    let from = &config.amqp;
    let anonymous = (!from.anonymous_user.is_empty()).then(|| amqp::login::Credentials {
        user: from.anonymous_user.clone(),
        password: from.anonymous_pass.clone(),
    });
    amqp::Settings {
        frame_max: from.frame_max,
        channel_max: from.channel_max,
        heartbeat_s: from.heartbeat_s,
        handshake_timeout: Duration::from_millis(from.handshake_timeout_ms),
        message_bytes_max: match from.message_bytes_max as u64 {
            0 => profile.message_bytes_max,
            bytes => bytes,
        },
        connections_max: from.connections_max,
        consumers_per_channel_max: from.consumers_per_channel_max,
        anonymous,
        cert_login_from: match from.ssl_cert_login_from {
            CertLoginFrom::Off => None,
            CertLoginFrom::DistinguishedName => Some(amqp::login::CertName::Distinguished),
            CertLoginFrom::CommonName => Some(amqp::login::CertName::Common),
        },
        consumer_timeout_ms: (from.consumer_timeout_ms > 0).then_some(from.consumer_timeout_ms),
        consumer_tick: Duration::from_millis(from.channel_tick_interval_ms),
        cluster_name: NODE.to_owned(),
    }
}

/// What `--compat` names.
pub(super) fn profile(compat: Compat) -> &'static Profile {
    match compat {
        Compat::V3_12 => &profile::V3_12,
        Compat::V3_13 => &profile::V3_13,
        Compat::V4_2 => &profile::V4_2,
        Compat::V4_3 => &profile::V4_3,
    }
}

pub(super) fn kafka(config: &Config, cluster_id: &str) -> kafka::Settings {
    let from = &config.kafka;
    kafka::Settings {
        advertised: kafka::advertised::Advertised::parse(&from.advertised),
        tls_advertised: kafka::advertised::Advertised::parse(&from.tls_advertised),
        num_partitions: from.num_partitions,
        replication_factor_clamp: from.replication_factor_clamp,
        auto_create_topics: from.auto_create_topics,
        request_bytes_max: from.socket_request_bytes_max,
        message_bytes_max: from.message_bytes_max,
        sasl: from.sasl,
        login_lifetime: match from.login_lifetime_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        },
        cluster_id: cluster_id.to_owned(),
        log_dir: match config.store.ephemeral {
            true => PathBuf::new(),
            false => std::path::absolute(&config.store.data_dir).unwrap_or_default(),
        },
    }
}

pub(super) fn redis(config: &Config, port: u16) -> redis::Settings {
    let from = &config.redis;
    redis::Settings {
        default_user: config.users.default_user.clone(),
        login_required: from.login_required,
        bulk_bytes_max: from.bulk_bytes_max,
        request_bytes_max: from.request_bytes_max,
        port,
    }
}

/// Where the certificates are, if there are to be any; those for tests are made.
pub(super) fn tls(config: &Config) -> Result<Option<tls::Files>, StartError> {
    let from = &config.tls;
    let client_auth = match from.client_auth {
        ClientAuth::None => tls::ClientAuth::None,
        ClientAuth::Requested => tls::ClientAuth::Requested,
        ClientAuth::Required => tls::ClientAuth::Required,
    };
    let given = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    let (cert, key, ca) = (given(&from.cert_file), given(&from.key_file), given(&from.ca_file));
    let wrong = |reason| Err(StartError::TlsKeys(reason));
    if config.amqp.ssl_cert_login_from != CertLoginFrom::Off && client_auth == tls::ClientAuth::None {
        return wrong(
            "amqp.ssl_cert_login_from needs tls.client_auth: without it nobody shows a certificate",
        );
    }
    if let Some(dir) = given(&from.dev_dir) {
        if cert.is_some() || key.is_some() || ca.is_some() {
            return wrong("tls.dev_dir stands instead of files: leave cert_file, key_file and ca_file out");
        }
        return Ok(Some(tls::made::in_folder(&dir, &config.server.listen, client_auth)?));
    }
    match (cert, key) {
        (None, None) if ca.is_none() && client_auth == tls::ClientAuth::None => Ok(None),
        (Some(_), Some(_)) if ca.is_none() && client_auth != tls::ClientAuth::None => {
            wrong("tls.client_auth needs tls.ca_file, the authorities whose clients are believed")
        }
        (Some(cert), Some(key)) => Ok(Some(tls::Files { cert, key, ca, client_auth })),
        _ => wrong("TLS needs both tls.cert_file and tls.key_file"),
    }
}

pub(super) fn zmq(config: &Config) -> Result<zmq::Settings, StartError> {
    let from = &config.zmq;
    let wrong = |key| move |reason| StartError::Key { key, reason };
    let curve = match from.curve_key_file.as_os_str().is_empty() {
        true => None,
        false => {
            let server = zmq::keys::Pair::load(&from.curve_key_file).map_err(wrong("curve_key_file"))?;
            let clients = (!from.curve_clients_dir.as_os_str().is_empty())
                .then(|| zmq::keys::clients(&from.curve_clients_dir).map_err(wrong("curve_clients_dir")));
            Some(zmq::Curve { server, clients: clients.transpose()? })
        }
    };
    Ok(zmq::Settings {
        default_user: config.users.default_user.clone(),
        login_required: from.login_required,
        message_bytes_max: from.message_bytes_max,
        subscriber_bytes_max: from.subscriber_bytes_max,
        handshake_timeout: Duration::from_millis(from.handshake_timeout_ms),
        heartbeat: match from.heartbeat_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        },
        curve,
    })
}

pub(super) fn zmq_mapping(from: &ZmqMapping) -> zmq::Mapping {
    zmq::Mapping {
        queue: from.queue.clone(),
        queue_messages_max: from.queue_messages_max,
        push_exchange: from.push_exchange.clone(),
        exchange: from.exchange.clone(),
        mode: match from.mode {
            ZmqMode::Ack => zmq::Mode::Ack,
            ZmqMode::Reply => zmq::Mode::Reply,
        },
        requests: from.requests.clone(),
        requests_max: from.requests_max,
    }
}

pub(super) fn groups(config: &Config) -> group::Settings {
    let from = &config.kafka.group;
    let limits = group::classic::Limits {
        initial_rebalance_delay: Duration::from_millis(from.initial_rebalance_delay_ms),
        session_timeout_min: Duration::from_millis(from.session_timeout_ms_min),
        session_timeout_max: Duration::from_millis(from.session_timeout_ms_max),
        ..group::classic::Limits::default()
    };
    let defaults =
        group::config::Defaults { consumer: timeouts(&from.consumer), ..group::config::Defaults::default() };
    group::Settings {
        limits,
        defaults,
        share_sessions_max: from.share_sessions_max,
        ..group::Settings::default()
    }
}

fn timeouts(from: &KafkaNewGroup) -> group::config::Timeouts {
    group::config::Timeouts {
        session_ms: from.session_timeout_ms.into(),
        session_ms_min: from.session_timeout_ms_min.into(),
        session_ms_max: from.session_timeout_ms_max.into(),
        heartbeat_ms: from.heartbeat_interval_ms.into(),
        heartbeat_ms_min: from.heartbeat_interval_ms_min.into(),
        heartbeat_ms_max: from.heartbeat_interval_ms_max.into(),
        ..group::config::Timeouts::default()
    }
}
