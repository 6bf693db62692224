//! The [`Source`] that is the broker itself: looks at it when asked, and keeps nothing.

mod rows;

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use serde_json::Map;

use self::rows::{
    add, add_keys, binding_row, channel_rows, connection_row, list_row, queue_row, store_figures, stream_row,
    topic_figures, topic_row,
};
use crate::{
    admin::json::{properties_key, table},
    admin::source::{
        BindingRow, ChannelDetails, ChannelRow, ConnectionRow, ConsumerRow, ExchangeRow, JobRow, Jobs, Later,
        MessageStats, NamedQueue, Principal, QueueRow, Source, TopicRow, VhostRow,
    },
    broker::{
        Broker,
        alarm::Resource,
        exchange::Binding,
        group::{Description, GroupKey, progress::Progress},
        login::is_here,
        message::{Publish, Traits},
        outlet::Outlet,
        publish::{Body, Publisher, Routed},
        queue::{ConnectionId, QueueOptions, consumers::ConsumerSpec, serving::Got},
        registry::ConnectionInfo,
        topic::VhostName,
        vhost::Vhost,
    },
    data::value::Table,
    observe::{
        Metrics,
        expose::{Figures, GroupFigures},
        process,
    },
};

/// The running broker.
pub struct Live {
    pub broker: Arc<Broker>,
    pub jobs: Arc<dyn Jobs>,
    pub started: Instant,
    /// Where the store lies, unless it is in memory only.
    pub data_dir: Option<PathBuf>,
    pub disk_free_limit_bytes: Arc<AtomicU64>,
}

/// Connections by the address of their outlet, which is what a consumer knows of its connection.
type ByOutlet = HashMap<usize, Arc<ConnectionInfo>>;

impl Live {
    fn vhosts_named(&self, name: Option<&str>) -> Vec<Arc<Vhost>> {
        match name {
            None => self.broker.vhosts(),
            Some(name) => self.broker.vhost(name).into_iter().collect(),
        }
    }

    fn groups_of(&self, vhost: &Vhost) -> Vec<GroupFigures> {
        let vhost = VhostName(vhost.name.clone());
        let group = |described: Description| {
            let key = GroupKey { vhost: vhost.clone(), id: described.id.clone() };
            let offset = |p: Progress| (p.topic.to_string(), p.partition, p.offset, p.lag);
            GroupFigures {
                name: described.id.to_string(),
                members: described.members.len() as u64,
                offsets: self.broker.groups.progress(&key).into_iter().map(offset).collect(),
            }
        };
        self.broker.groups.list(&vhost).into_iter().map(group).collect()
    }

    fn connection_of(&self, connections: &ByOutlet, outlet: &Arc<Outlet>) -> ChannelDetails {
        let Some(info) = connections.get(&Arc::as_ptr(outlet).addr()) else {
            return ChannelDetails::default();
        };
        ChannelDetails {
            connection_name: info.name(),
            peer_host: info.peer.ip().to_string(),
            peer_port: info.peer.port(),
            user: info.user.to_string(),
            ..ChannelDetails::default()
        }
    }

    fn consumer_row(
        &self,
        (queue, vhost): (&str, &str),
        spec: &ConsumerSpec,
        connections: &ByOutlet,
    ) -> ConsumerRow {
        let mut channel = self.connection_of(connections, &spec.outlet);
        channel.number = spec.channel;
        channel.name = format!("{} ({})", channel.connection_name, spec.channel);
        ConsumerRow {
            consumer_tag: spec.consumer_tag.to_string(),
            queue: NamedQueue { name: queue.to_owned(), vhost: vhost.to_owned() },
            channel_details: channel,
            ack_required: !spec.no_ack,
            prefetch_count: spec.prefetch_count,
            exclusive: spec.exclusive,
            active: true,
            activity_status: "up".to_owned(),
            arguments: Map::new(),
        }
    }
}

impl Source for Live {
    fn authenticate(&self, user: &str, password: &str, from: IpAddr) -> Option<Principal> {
        let user = self.broker.users.login(user, password, is_here(from)).ok()?;
        Some(Principal { name: user.name.to_string(), tags: user.tags.clone() })
    }

    fn vhosts(&self) -> Vec<VhostRow> {
        let row = |vhost: &Arc<Vhost>| {
            let queues = vhost.queues();
            let (mut ready, mut unacked, mut stats) = (0, 0, MessageStats::default());
            for list in vhost.lists() {
                ready += list.figures.ready as u64;
                unacked += list.figures.unacked as u64;
            }
            for queue in &queues {
                let row = queue_row(queue, &[]);
                ready += row.messages_ready;
                unacked += row.messages_unacknowledged;
                add(&mut stats, &row.stats);
            }
            let metadata = vhost.settings.metadata();
            VhostRow {
                name: vhost.name.to_string(),
                description: metadata.description.clone(),
                default_queue_type: metadata
                    .default_queue_type
                    .clone()
                    .unwrap_or_else(|| "classic".to_owned()),
                tags: metadata.tags.clone(),
                tracing: metadata.tracing,
                protected_from_deletion: metadata.protected_from_deletion,
                messages_ready: ready,
                messages_unacknowledged: unacked,
                stats,
            }
        };
        self.broker.vhosts().iter().map(row).collect()
    }

    fn queues(&self, vhost: Option<&str>) -> Vec<QueueRow> {
        let connections = self.broker.connections.all();
        let mut rows: Vec<QueueRow> = self
            .vhosts_named(vhost)
            .iter()
            .flat_map(|v| v.queues())
            .map(|queue| queue_row(&queue, &connections))
            .collect();
        for vhost in self.vhosts_named(vhost) {
            rows.extend(vhost.lists().iter().map(|list| list_row(&vhost.name, list)));
        }
        let topics = self.vhosts_named(vhost).into_iter().flat_map(|v| v.topics());
        rows.extend(topics.flat_map(|t| t.declared_streams()).map(|topic| stream_row(&topic)));
        rows.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
        rows
    }

    fn exchanges(&self, vhost: Option<&str>) -> Vec<ExchangeRow> {
        let mut rows = Vec::new();
        for vhost in self.vhosts_named(vhost) {
            for exchange in vhost.exchanges() {
                rows.push(ExchangeRow {
                    name: exchange.name.to_string(),
                    vhost: vhost.name.to_string(),
                    kind: exchange.options.kind.clone(),
                    durable: exchange.options.durable,
                    auto_delete: exchange.options.auto_delete,
                    internal: exchange.options.internal,
                    arguments: table(&exchange.options.arguments),
                    policy: exchange.applied().policy.as_ref().map(|policy| policy.name.clone()),
                    user_who_performed_action: "rmq-internal".to_owned(),
                    ..ExchangeRow::default()
                });
            }
        }
        rows.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
        rows
    }

    fn bindings(&self, vhost: Option<&str>) -> Vec<BindingRow> {
        let mut rows = Vec::new();
        for vhost in self.vhosts_named(vhost) {
            // Every queue is bound to the default exchange by its name, though nobody stored that.
            rows.extend(vhost.queues().iter().map(|queue| BindingRow {
                vhost: vhost.name.to_string(),
                destination: queue.name.to_string(),
                destination_type: "queue".to_owned(),
                routing_key: queue.name.to_string(),
                properties_key: properties_key(&queue.name, &Table::default()),
                ..BindingRow::default()
            }));
            for exchange in vhost.exchanges() {
                let row = |binding: &Binding| binding_row(&vhost.name, &exchange.name, binding);
                rows.extend(exchange.bindings().iter().map(row));
            }
        }
        rows
    }

    fn consumers(&self, vhost: Option<&str>) -> Vec<ConsumerRow> {
        let connections = self.broker.connections.all();
        let connections: ByOutlet =
            connections.into_iter().map(|info| (Arc::as_ptr(&info.outlet).addr(), info)).collect();
        let mut rows = Vec::new();
        for queue in self.vhosts_named(vhost).iter().flat_map(|v| v.queues()) {
            let named = (&*queue.name, &*queue.vhost);
            let specs = queue.consumers();
            rows.extend(specs.iter().map(|spec| self.consumer_row(named, spec, &connections)));
        }
        for vhost in self.vhosts_named(vhost) {
            for list in vhost.lists() {
                let row = |spec| self.consumer_row((&list.name, &vhost.name), spec, &connections);
                rows.extend(list.consumers.iter().map(row));
            }
        }
        rows
    }

    fn connections(&self) -> Vec<ConnectionRow> {
        let (now_ms, alarm) = (self.broker.core.clock.now_ms(), self.broker.core.memory.reason().is_some());
        let state = |info: &ConnectionInfo| info.state(now_ms, alarm).to_owned();
        self.broker.connections.all().iter().map(|info| connection_row(info, state(info))).collect()
    }

    fn channels(&self) -> Vec<ChannelRow> {
        let now_ms = self.broker.core.clock.now_ms();
        self.broker.connections.all().iter().flat_map(|info| channel_rows(info, now_ms)).collect()
    }

    fn topics(&self, vhost: Option<&str>) -> Vec<TopicRow> {
        let mut rows = Vec::new();
        for vhost in self.vhosts_named(vhost) {
            rows.extend(vhost.topics().iter().map(|topic| topic_row(topic)));
        }
        rows.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
        rows
    }

    fn close_connection(&self, name: &str, reason: &str) -> bool {
        self.broker.close_connections(reason, |info| info.name() == name) > 0
    }

    fn look_at_disk(&self) {
        if let Some(free) = self.data_dir.as_deref().and_then(process::disk_free_bytes) {
            let limit = self.disk_free_limit_bytes.load(Relaxed);
            self.broker.core.memory.set(Resource::Disk, free < limit);
        }
    }

    fn totals(&self) -> MessageStats {
        let meters = self.metrics();
        MessageStats {
            publish: meters.received.total(),
            confirm: meters.confirmed.total(),
            return_unroutable: meters.unroutable_returned.total(),
            drop_unroutable: meters.unroutable_dropped.total(),
            deliver: meters.delivered_manual_ack.total(),
            deliver_no_ack: meters.delivered_auto_ack.total(),
            get: meters.got_manual_ack.total(),
            get_no_ack: meters.got_auto_ack.total(),
            get_empty: meters.get_empty.total(),
            ack: meters.acknowledged.total(),
            redeliver: meters.redelivered.total(),
            ..MessageStats::default()
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.broker.core.meters
    }

    fn figures(&self) -> Figures {
        let core = &self.broker.core;
        let mut figures = Figures {
            uptime_s: core.clock.now().saturating_duration_since(self.started).as_secs_f64(),
            memory_limit_bytes: core.memory.limit_bytes() as u64,
            memory_alarm: core.memory.reason().is_some_and(|r| r.contains("memory")),
            disk_alarm: core.memory.reason().is_some_and(|r| r.contains("disk")),
            disk_free_limit_bytes: self.disk_free_limit_bytes.load(Relaxed),
            disk_free_bytes: self.data_dir.as_deref().and_then(process::disk_free_bytes).unwrap_or(0),
            store: store_figures(&core.store),
            jobs: self.jobs.all().iter().map(JobRow::figures).collect(),
            ..Figures::default()
        };
        for info in self.broker.connections.all() {
            figures.connections += 1;
            figures.keys.clients += u64::from(info.protocol == "Redis");
            let channels = info.channels.lock();
            figures.channels += channels.len() as u64;
            figures.publishers += channels.values().filter(|c| c.published.load(Relaxed) > 0).count() as u64;
        }
        for vhost in self.broker.vhosts() {
            let topics = vhost.topics();
            figures.exchanges += vhost.exchanges().len() as u64;
            add_keys(&mut figures, &vhost);
            figures.queues += topics.iter().map(|t| t.declared_streams().len() as u64).sum::<u64>();
            figures.groups.extend(self.groups_of(&vhost));
            figures.topics.extend(topics.iter().map(|topic| topic_figures(topic)));
            for queue in vhost.queues() {
                let of_queue = queue.figures();
                figures.queues += 1;
                figures.consumers += of_queue.consumers as u64;
                figures.messages_ready += of_queue.ready as u64;
                figures.messages_unacked += of_queue.unacked as u64;
                figures.message_bytes += of_queue.body_bytes as u64;
            }
        }
        figures
    }

    fn aliveness(&self, vhost: &str) -> Later<'_, Result<(), String>> {
        let vhost = self.broker.vhost(vhost);
        Box::pin(async move {
            let vhost = vhost.map_err(|refusal| format!("{refusal:?}"))?;
            publish_and_get(&vhost, self.broker.core.clock.now_ms())
        })
    }

    fn jobs(&self) -> &dyn Jobs {
        &*self.jobs
    }
}

/// Declares RabbitMQ's `aliveness-test` queue, publishes to it and takes the message out again.
fn publish_and_get(vhost: &Arc<Vhost>, now_ms: i64) -> Result<(), String> {
    let options =
        QueueOptions { durable: false, auto_delete: false, exclusive: None, arguments: Table::default() };
    // Connection ids begin with 1: this queue belongs to nobody.
    let declared = vhost.declare_queue(ALIVENESS_QUEUE, ConnectionId(0), options);
    let queue = declared.map_err(|refusal| format!("{refusal:?}"))?.queue;
    let mut publisher = Publisher::new(vhost.clone());
    let publish = Publish {
        exchange: "",
        routing_key: ALIVENESS_QUEUE,
        properties: &[0, 0],
        traits: Traits::default(),
    };
    match publisher.publish(now_ms, &publish, || None, &mut Body::Copied(b"test_message")) {
        Ok(Routed::Taken) => {}
        Ok(Routed::Unroutable | Routed::Delayed) => {
            return Err("the test message could not be routed".to_owned());
        }
        Err(refusal) => return Err(format!("{refusal:?}")),
    }
    publisher.flush(now_ms, None);
    match queue.get(true, &Arc::new(Outlet::default())) {
        Got::Message { .. } => Ok(()),
        Got::Empty | Got::Wait => Err("the test message did not come back".to_owned()),
    }
}

const ALIVENESS_QUEUE: &str = "aliveness-test";
