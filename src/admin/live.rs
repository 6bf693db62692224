//! The [`Source`] that is the broker itself: looks at it when asked, and keeps nothing.

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

use crate::{
    admin::json::{properties_key, table},
    admin::source::{
        BindingRow, ChannelDetails, ChannelRow, ClassicLengths, ConnectionDetails, ConnectionRow,
        ConsumerRow, DelayedRow, ExchangeRow, JobRow, Jobs, Later, MessageStats, NamedQueue, PartitionRow,
        Principal, QueueLengths, QueueRow, Source, TopicRow, VhostRow,
    },
    broker::{
        Broker,
        alarm::Resource,
        arguments::QueueKind,
        exchange::{Binding, Target},
        group::{Description, GroupKey, progress::Progress},
        keyspace::DBS,
        list::queue::InUse,
        message::{Publish, Traits},
        outlet::Outlet,
        publish::{Body, Publisher, Routed},
        queue::{
            ConnectionId, DelayedFigures, Queue, QueueFigures, QueueOptions, consumers::ConsumerSpec,
            load::Load, state::Got,
        },
        registry::{CHANNEL_FLOW_MS, ChannelInfo, ConnectionInfo},
        topic::{Topic, VhostName, partition::Partition},
        vhost::Vhost,
    },
    data::value::Table,
    observe::{
        Metrics,
        expose::{Figures, GroupFigures, PartitionFigures, StoreFigures, TopicFigures},
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
        let user = self.broker.users.login(user, password, from.to_canonical().is_loopback()).ok()?;
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

fn queue_row(queue: &Arc<Queue>, connections: &[Arc<ConnectionInfo>]) -> QueueRow {
    let figures = queue.figures();
    let totals = figures.totals;
    let left = totals.delivered + totals.delivered_no_ack + totals.got + totals.got_no_ack;
    let owner = queue.options.exclusive.and_then(|id| connections.iter().find(|c| c.id == id));
    let sole = queue.consumers().into_iter().find(|c| c.exclusive);
    let applied = queue.applied();
    let quorum = queue.kind == QueueKind::Quorum;
    QueueRow {
        name: queue.name.to_string(),
        vhost: queue.vhost.to_string(),
        kind: queue.kind.word().to_owned(),
        durable: queue.options.durable,
        auto_delete: queue.options.auto_delete,
        exclusive: queue.options.exclusive.is_some(),
        owner_pid_details: owner.map(|info| connection_details(info)),
        arguments: table(&queue.options.arguments),
        messages_ready: figures.ready as u64,
        messages_unacknowledged: figures.unacked as u64,
        // RabbitMQ counts what is delayed here.
        message_bytes_ready: (figures.body_bytes + figures.delayed.load.body_bytes) as u64,
        lengths: Some(lengths(&figures, quorum)),
        messages_dlx: quorum.then_some(figures.dead as u64),
        message_bytes_dlx: quorum.then_some(figures.dead_bytes as u64),
        delayed: (quorum && queue.core().profile.quorum_retry_arguments).then(|| delayed(&figures.delayed)),
        memory: figures.held_bytes as u64,
        consumers: figures.consumers as u64,
        exclusive_consumer_tag: sole.map(|c| c.consumer_tag.to_string()),
        single_active_consumer_tag: Some(queue.active_consumer_tag().map(|tag| tag.to_string())),
        policy: applied.policy.as_ref().map(|policy| policy.name.clone()),
        operator_policy: applied.operator.as_ref().map(|policy| policy.name.clone()),
        effective_policy_definition: table(&applied.definition()),
        mean_time_in_queue_ms: (left > 0).then(|| totals.waited_ms as f64 / left as f64),
        stats: MessageStats {
            publish: totals.published,
            deliver: totals.delivered,
            deliver_no_ack: totals.delivered_no_ack,
            get: totals.got,
            get_no_ack: totals.got_no_ack,
            ack: totals.acknowledged,
            redeliver: totals.redelivered,
            ..MessageStats::default()
        },
    }
}

fn delayed(figures: &DelayedFigures) -> DelayedRow {
    DelayedRow {
        messages_delayed: figures.load.messages as u64,
        next_delayed_at: figures.next_ms,
        last_delayed_at: figures.last_ms,
        delayed_retry: figures.retry.map_or_else(|| "disabled".to_owned(), |retry| retry.to_string()),
    }
}

/// What consumers hold counts as in memory, though a channel that holds much lets go of bodies. Of quorum queues RabbitMQ
/// says that nothing is (3.10.8).
fn lengths(figures: &QueueFigures, quorum: bool) -> QueueLengths {
    let unacked = Load { messages: figures.unacked, body_bytes: figures.unacked_bytes };
    let in_memory = if quorum { Load::default() } else { figures.in_memory.plus(unacked) };
    let dead_bytes = figures.dead_bytes;
    QueueLengths {
        message_bytes: (figures.all.body_bytes + dead_bytes) as u64,
        message_bytes_unacknowledged: figures.unacked_bytes as u64,
        message_bytes_persistent: (figures.persistent.body_bytes + dead_bytes) as u64,
        message_bytes_ram: in_memory.body_bytes as u64,
        messages_persistent: (figures.persistent.messages + figures.dead) as u64,
        messages_ram: in_memory.messages as u64,
        classic: (!quorum).then(|| ClassicLengths {
            messages_ready_ram: figures.in_memory.messages as u64,
            messages_unacknowledged_ram: figures.unacked as u64,
            head_message_timestamp: figures.head_timestamp,
            ..ClassicLengths::default()
        }),
    }
}

/// A list, as the queue that AMQP sees.
fn list_row(vhost: &str, list: &InUse) -> QueueRow {
    let sole = list.consumers.iter().find(|consumer| consumer.exclusive);
    QueueRow {
        name: list.name.clone(),
        vhost: vhost.to_owned(),
        kind: "list".to_owned(),
        durable: true,
        messages_ready: list.figures.ready as u64,
        messages_unacknowledged: list.figures.unacked as u64,
        message_bytes_ready: list.figures.ready_bytes as u64,
        memory: list.figures.bytes as u64,
        consumers: list.figures.consumers as u64,
        exclusive_consumer_tag: sole.map(|consumer| consumer.consumer_tag.to_string()),
        ..QueueRow::default()
    }
}

fn topic_row(topic: &Topic) -> TopicRow {
    let partition = |(number, partition): (usize, &Arc<Partition>)| {
        let offsets = partition.offsets();
        PartitionRow {
            partition: i32::try_from(number).unwrap_or(i32::MAX),
            log_start_offset: offsets.log_start.0,
            high_watermark: offsets.high_watermark.0,
            last_stable_offset: offsets.last_stable_offset.0,
        }
    };
    let overrides = topic.config();
    TopicRow {
        name: topic.name.to_string(),
        vhost: topic.vhost.0.to_string(),
        topic_id: topic.id.to_string(),
        bytes: topic.partitions().iter().map(|p| p.bytes()).sum(),
        configuration: overrides.overrides().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        partitions: topic.partitions().iter().enumerate().map(partition).collect(),
    }
}

/// A topic that was declared over AMQP, as the queue it is there.
fn stream_row(topic: &Topic) -> QueueRow {
    let left = |p: &Arc<Partition>| {
        let offsets = p.offsets();
        u64::try_from(offsets.high_watermark.0 - offsets.log_start.0).unwrap_or(0)
    };
    let applied = topic.applied();
    QueueRow {
        name: topic.name.to_string(),
        vhost: topic.vhost.0.to_string(),
        kind: "stream".to_owned(),
        durable: true,
        arguments: topic.stream_arguments.as_ref().map(table).unwrap_or_default(),
        messages_ready: topic.partitions().iter().map(left).sum(),
        message_bytes_ready: topic.partitions().iter().map(|p| p.bytes()).sum(),
        policy: applied.policy.as_ref().map(|policy| policy.name.clone()),
        operator_policy: applied.operator.as_ref().map(|policy| policy.name.clone()),
        effective_policy_definition: table(&applied.definition()),
        ..QueueRow::default()
    }
}

/// What the keys of a vhost count, as lists and for themselves.
fn add_keys(figures: &mut Figures, vhost: &Vhost) {
    for list in vhost.lists() {
        figures.queues += 1;
        figures.consumers += list.figures.consumers as u64;
        figures.messages_ready += list.figures.ready as u64;
        figures.messages_unacked += list.figures.unacked as u64;
        figures.message_bytes += list.figures.ready_bytes as u64;
        figures.keys.elements_ready += list.figures.ready as u64;
        figures.keys.elements_unacked += list.figures.unacked as u64;
    }
    let all = vhost.keyspace.enter(vhost.core.clock.now_ms());
    figures.keys.blocked_clients += all.waiting() as u64;
    figures.keys.bytes += all.held_bytes() as u64;
    for db in (0..DBS).filter(|&db| all.len(db) > 0) {
        let count = all.len(db) as u64;
        match figures.keys.by_db.iter_mut().find(|(other, _)| *other == db) {
            Some((_, sum)) => *sum += count,
            None => figures.keys.by_db.push((db, count)),
        }
    }
    all.leave_lazily();
}

fn topic_figures(topic: &Topic) -> TopicFigures {
    let figures = |partition: &Arc<Partition>| {
        let offsets = partition.offsets();
        PartitionFigures { oldest_offset: offsets.log_start.0, current_offset: offsets.high_watermark.0 }
    };
    TopicFigures {
        name: topic.name.to_string(),
        partitions: topic.partitions().iter().map(figures).collect(),
    }
}

fn add(sum: &mut MessageStats, more: &MessageStats) {
    sum.publish += more.publish;
    sum.deliver += more.deliver;
    sum.deliver_no_ack += more.deliver_no_ack;
    sum.get += more.get;
    sum.get_no_ack += more.get_no_ack;
    sum.ack += more.ack;
    sum.redeliver += more.redeliver;
}

fn binding_row(vhost: &str, source: &str, binding: &Binding) -> BindingRow {
    let destination_type = match &binding.target {
        Target::Exchange(_) => "exchange",
        // To AMQP a topic is a stream queue.
        Target::Queue(_) | Target::Topic(_) => "queue",
    };
    BindingRow {
        source: source.to_owned(),
        vhost: vhost.to_owned(),
        destination: binding.target.name().to_string(),
        destination_type: destination_type.to_owned(),
        routing_key: binding.routing_key.to_string(),
        arguments: table(&binding.arguments),
        properties_key: properties_key(&binding.routing_key, &binding.arguments),
    }
}

fn connection_details(info: &ConnectionInfo) -> ConnectionDetails {
    ConnectionDetails {
        name: info.name(),
        peer_host: info.peer.ip().to_string(),
        peer_port: info.peer.port(),
    }
}

fn connection_row(info: &ConnectionInfo, state: String) -> ConnectionRow {
    ConnectionRow {
        name: info.name(),
        pid: info.pid(None),
        vhost: info.vhost.to_string(),
        user: info.user.to_string(),
        user_who_performed_action: info.user.to_string(),
        user_provided_name: info.provided_name().map(|name| String::from_utf8_lossy(name).into_owned()),
        protocol: info.protocol.to_owned(),
        auth_mechanism: info.auth_mechanism.to_string(),
        state,
        ssl: false,
        host: info.local.ip().to_string(),
        port: info.local.port(),
        peer_host: info.peer.ip().to_string(),
        peer_port: info.peer.port(),
        channels: info.channels.lock().len() as u64,
        channel_max: info.channel_max,
        frame_max: info.frame_max,
        timeout: info.heartbeat_s,
        connected_at: info.connected_at_ms,
        client_properties: table(&info.client_properties),
    }
}

fn channel_rows(info: &ConnectionInfo, now_ms: i64) -> Vec<ChannelRow> {
    let name = info.name();
    let held_up = info.held_up(now_ms, CHANNEL_FLOW_MS);
    // Of the channels that publish nobody knows which one it was.
    let state = |channel: &ChannelInfo| match held_up && channel.published.load(Relaxed) > 0 {
        true => "flow",
        false => "running",
    };
    let channels = info.channels.lock();
    let row = |(number, channel): (&u16, &Arc<ChannelInfo>)| ChannelRow {
        name: format!("{name} ({number})"),
        number: *number,
        vhost: info.vhost.to_string(),
        user: info.user.to_string(),
        user_who_performed_action: info.user.to_string(),
        connection_details: connection_details(info),
        state: state(channel).to_owned(),
        confirm: channel.confirm.load(Relaxed),
        consumer_count: channel.consumers.load(Relaxed) as u64,
        messages_unacknowledged: channel.unacked.load(Relaxed) as u64,
        prefetch_count: u32::try_from(channel.prefetch_count.load(Relaxed)).unwrap_or(u32::MAX),
        stats: MessageStats { publish: channel.published.load(Relaxed), ..MessageStats::default() },
    };
    channels.iter().map(row).collect()
}

fn store_figures(store: &crate::store::Store) -> StoreFigures {
    let stats = store.stats();
    StoreFigures {
        turns: stats.turns,
        changes: stats.changes,
        syncs: stats.syncs,
        bytes_written: stats.bytes_written,
        checkpoints: stats.checkpoints,
        segments: stats.segments as u64,
        poisoned: store.poisoned().is_some(),
    }
}

const ALIVENESS_QUEUE: &str = "aliveness-test";
