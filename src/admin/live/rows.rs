//! What the broker has, as rows of the API and as figures of the metrics page.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::{
    admin::json::{properties_key, table},
    admin::source::{
        BindingRow, ChannelRow, ClassicLengths, ConnectionDetails, ConnectionRow, DelayedRow, MessageStats,
        PartitionRow, QueueLengths, QueueRow, TlsRow, TopicRow,
    },
    broker::{
        arguments::QueueKind,
        exchange::{Binding, Target},
        keyspace::DBS,
        list::queue::InUse,
        queue::{
            Queue,
            figures::{DelayedFigures, QueueFigures},
            load::Load,
        },
        registry::{CHANNEL_FLOW_MS, ChannelInfo, ConnectionInfo},
        topic::{Topic, partition::Partition},
        vhost::Vhost,
    },
    observe::expose::{Figures, PartitionFigures, StoreFigures, TopicFigures},
};

pub(super) fn queue_row(queue: &Arc<Queue>, connections: &[Arc<ConnectionInfo>]) -> QueueRow {
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
pub(super) fn list_row(vhost: &str, list: &InUse) -> QueueRow {
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

pub(super) fn topic_row(topic: &Topic) -> TopicRow {
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
pub(super) fn stream_row(topic: &Topic) -> QueueRow {
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
pub(super) fn add_keys(figures: &mut Figures, vhost: &Vhost) {
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

pub(super) fn topic_figures(topic: &Topic) -> TopicFigures {
    let figures = |partition: &Arc<Partition>| {
        let offsets = partition.offsets();
        PartitionFigures { oldest_offset: offsets.log_start.0, current_offset: offsets.high_watermark.0 }
    };
    TopicFigures {
        name: topic.name.to_string(),
        partitions: topic.partitions().iter().map(figures).collect(),
    }
}

pub(super) fn add(sum: &mut MessageStats, more: &MessageStats) {
    sum.publish += more.publish;
    sum.deliver += more.deliver;
    sum.deliver_no_ack += more.deliver_no_ack;
    sum.get += more.get;
    sum.get_no_ack += more.get_no_ack;
    sum.ack += more.ack;
    sum.redeliver += more.redeliver;
}

pub(super) fn binding_row(vhost: &str, source: &str, binding: &Binding) -> BindingRow {
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

pub(super) fn connection_details(info: &ConnectionInfo) -> ConnectionDetails {
    ConnectionDetails {
        name: info.name(),
        peer_host: info.peer.ip().to_string(),
        peer_port: info.peer.port(),
    }
}

pub(super) fn connection_row(info: &ConnectionInfo, state: String) -> ConnectionRow {
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
        ssl: info.tls.is_some(),
        tls: TlsRow::of(info.tls.as_deref()),
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

pub(super) fn channel_rows(info: &ConnectionInfo, now_ms: i64) -> Vec<ChannelRow> {
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

pub(super) fn store_figures(store: &crate::store::Store) -> StoreFigures {
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
