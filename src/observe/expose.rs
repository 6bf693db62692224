//! Prometheus' text: the counters of [`Metrics`], and gauges from the broker's [`Figures`] at the time of asking.
//!
//! RabbitMQ's names where RabbitMQ has them, kafka_exporter's for topics and groups, `warren_*` for the rest.

use prometheus::{
    Encoder, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::observe::{
    metrics::{Metrics, Sample},
    process,
};

/// What the server is, for `rabbitmq_identity_info` and `rabbitmq_build_info`: dashboards join on it.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub node: String,
    pub cluster: String,
    pub cluster_id: String,
    /// RabbitMQ's version that we behave as.
    pub rabbitmq_version: String,
    /// Where Kafka clients reach us; empty while that door is shut.
    pub kafka_address: String,
}

/// Gauges, counted by the broker when asked.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub uptime_s: f64,
    pub connections: u64,
    pub channels: u64,
    pub queues: u64,
    pub exchanges: u64,
    pub consumers: u64,
    pub publishers: u64,
    pub messages_ready: u64,
    pub messages_unacked: u64,
    pub message_bytes: u64,
    pub memory_limit_bytes: u64,
    pub disk_free_limit_bytes: u64,
    pub disk_free_bytes: u64,
    pub memory_alarm: bool,
    pub disk_alarm: bool,
    pub store: StoreFigures,
    pub topics: Vec<TopicFigures>,
    pub groups: Vec<GroupFigures>,
    pub jobs: Vec<JobFigures>,
    pub keys: KeyFigures,
}

/// Keys of all vhosts.
#[derive(Debug, Clone, Default)]
pub struct KeyFigures {
    pub clients: u64,
    /// Clients that wait for a key.
    pub blocked_clients: u64,
    pub bytes: u64,
    /// By name space, those that have any.
    pub by_db: Vec<(u8, u64)>,
    /// Elements of lists that anybody may take, and those that consumers have not acknowledged.
    pub elements_ready: u64,
    pub elements_unacked: u64,
}

/// The store's own counters.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreFigures {
    pub turns: u64,
    pub changes: u64,
    pub syncs: u64,
    pub bytes_written: u64,
    pub checkpoints: u64,
    pub segments: u64,
    pub poisoned: bool,
}

/// A topic's partitions, in order.
#[derive(Debug, Clone, Default)]
pub struct TopicFigures {
    pub name: String,
    pub partitions: Vec<PartitionFigures>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct PartitionFigures {
    pub oldest_offset: i64,
    pub current_offset: i64,
}

/// A consumer group and what it has committed.
#[derive(Debug, Clone, Default)]
pub struct GroupFigures {
    pub name: String,
    pub members: u64,
    /// Topic, partition, committed offset, lag.
    pub offsets: Vec<(String, i32, i64, i64)>,
}

/// A stream job.
#[derive(Debug, Clone, Default)]
pub struct JobFigures {
    pub name: String,
    /// `running`, `pausing`, `paused`, `finished` or `failed`.
    pub state: String,
    /// Records that are there and have not been read.
    pub lag: i64,
    pub operators: Vec<OperatorFigures>,
}

/// An operator of a job. Counts are since the job was opened.
#[derive(Debug, Clone, Default)]
pub struct OperatorFigures {
    pub id: String,
    pub name: String,
    pub records_in: u64,
    pub records_out: u64,
    pub records_late: u64,
    pub records_failed: u64,
    /// Keys of its state in memory.
    pub state_keys: u64,
    pub watermark_ms: Option<i64>,
}

/// The whole page for a scrape.
#[must_use]
pub fn render(metrics: &Metrics, figures: &Figures, identity: &Identity) -> Vec<u8> {
    let mut page = Page::default();
    identify(&mut page, identity);
    for sample in metrics.samples() {
        page.count(sample);
    }
    sizes(&mut page, metrics);
    broker(&mut page, figures);
    machine(&mut page, figures);
    store(&mut page, &figures.store);
    topics(&mut page, figures, identity);
    keys(&mut page, metrics, &figures.keys);
    jobs(&mut page, &figures.jobs);
    let mut text = Vec::with_capacity(16 * 1024);
    // Writing into memory fails only for a family without metrics, and Page makes none.
    if let Err(e) = TextEncoder::new().encode(&page.0, &mut text) {
        tracing::error!("cannot render the metrics: {e}");
    }
    text
}

/// Families in the order in which they were first named.
#[derive(Default)]
struct Page(Vec<MetricFamily>);

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn gauge(&mut self, name: &str, help: &str, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.add(name, help, MetricType::GAUGE, metric);
    }

    fn counter(&mut self, name: &str, help: &str, labels: Labels<'_>, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(float(value));
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.add(name, help, MetricType::COUNTER, metric);
    }

    fn count(&mut self, sample: Sample) {
        let labels = sample.protocol.map(|protocol| ("protocol", protocol));
        self.counter(sample.name, sample.help, labels.as_slice(), sample.value);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metric: Metric) {
        if let Some(family) = self.0.last_mut()
            && family.name() == name
        {
            family.mut_metric().push(metric);
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        self.0.push(family);
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

fn identify(page: &mut Page, identity: &Identity) {
    let who = [
        ("rabbitmq_node", identity.node.as_str()),
        ("rabbitmq_cluster", &identity.cluster),
        ("rabbitmq_cluster_permanent_id", &identity.cluster_id),
        ("rabbitmq_endpoint", "aggregated"),
    ];
    page.gauge("rabbitmq_identity_info", "RabbitMQ node & cluster identity info", &who, 1.0);
    let build = [
        ("rabbitmq_version", identity.rabbitmq_version.as_str()),
        ("product_name", "Warren"),
        ("product_version", env!("CARGO_PKG_VERSION")),
        ("erlang_version", ""),
    ];
    page.gauge("rabbitmq_build_info", "RabbitMQ & Erlang/OTP version info", &build, 1.0);
}

fn sizes(page: &mut Page, metrics: &Metrics) {
    let mut histogram = Histogram::default();
    let mut buckets = Vec::new();
    let mut all = 0;
    for (bound, count) in metrics.message_sizes.cumulative() {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.map_or(f64::INFINITY, float));
        bucket.set_cumulative_count(count);
        buckets.push(bucket);
        all = count;
    }
    histogram.set_bucket(buckets);
    histogram.set_sample_count(all);
    histogram.set_sample_sum(float(metrics.message_sizes.sum()));
    let mut metric = Metric::from_label(pairs(&[("protocol", "amqp091")]));
    metric.set_histogram(histogram);
    page.add(
        "rabbitmq_message_size_bytes",
        "Size of messages received from publishers",
        MetricType::HISTOGRAM,
        metric,
    );
}

fn broker(page: &mut Page, figures: &Figures) {
    let gauges = [
        ("rabbitmq_connections", "Connections currently open", figures.connections),
        ("rabbitmq_channels", "Channels currently open", figures.channels),
        ("rabbitmq_queues", "Queues available", figures.queues),
        ("rabbitmq_exchanges", "Exchanges available", figures.exchanges),
        ("rabbitmq_consumers", "Consumers currently connected", figures.consumers),
        (
            "rabbitmq_queue_messages_ready",
            "Messages ready to be delivered to consumers",
            figures.messages_ready,
        ),
        (
            "rabbitmq_queue_messages_unacked",
            "Messages delivered to consumers but not yet acknowledged",
            figures.messages_unacked,
        ),
        (
            "rabbitmq_queue_messages",
            "Sum of ready and unacknowledged messages - total queue depth",
            figures.messages_ready + figures.messages_unacked,
        ),
        (
            "rabbitmq_queue_message_bytes",
            "Size in bytes of ready and unacknowledged messages",
            figures.message_bytes,
        ),
        (
            "rabbitmq_alarms_memory_used_watermark",
            "is 1 if VM memory watermark alarm is in effect",
            figures.memory_alarm.into(),
        ),
        (
            "rabbitmq_alarms_free_disk_space_watermark",
            "is 1 if free disk space watermark alarm is in effect",
            figures.disk_alarm.into(),
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, &[], float(value));
    }
    let amqp = [("protocol", "amqp091")];
    page.gauge(
        "rabbitmq_global_publishers",
        "Publishers currently connected",
        &amqp,
        float(figures.publishers),
    );
    page.gauge("rabbitmq_global_consumers", "Consumers currently connected", &amqp, float(figures.consumers));
}

fn machine(page: &mut Page, figures: &Figures) {
    let gauges = [
        ("rabbitmq_process_open_fds", "Open file descriptors", process::open_fds()),
        ("rabbitmq_process_max_fds", "Open file descriptors limit", process::max_fds()),
        ("rabbitmq_process_resident_memory_bytes", "Memory used in bytes", process::resident_bytes()),
        (
            "rabbitmq_resident_memory_limit_bytes",
            "Memory high watermark in bytes",
            figures.memory_limit_bytes,
        ),
        ("rabbitmq_disk_space_available_bytes", "Disk space available in bytes", figures.disk_free_bytes),
        (
            "rabbitmq_disk_space_available_limit_bytes",
            "Free disk space low watermark in bytes",
            figures.disk_free_limit_bytes,
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, &[], float(value));
    }
    page.gauge("rabbitmq_erlang_uptime_seconds", "Node uptime", &[], figures.uptime_s);
}

fn store(page: &mut Page, store: &StoreFigures) {
    let counters = [
        ("warren_store_turns_total", "Commit turns written", store.turns),
        ("warren_store_changes_total", "Changes committed", store.changes),
        ("warren_store_syncs_total", "Times the log was synced to disk", store.syncs),
        ("warren_store_written_bytes_total", "Bytes written to the log", store.bytes_written),
        ("warren_store_checkpoints_total", "Checkpoints of the index written", store.checkpoints),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, &[], value);
    }
    page.gauge("warren_store_segments", "Files of the log", &[], float(store.segments));
    page.gauge(
        "warren_store_poisoned",
        "1 after a failed sync: no write is confirmed any more",
        &[],
        float(store.poisoned.into()),
    );
}

fn topics(page: &mut Page, figures: &Figures, identity: &Identity) {
    page.gauge("kafka_brokers", "Number of Brokers in the Kafka Cluster.", &[], 1.0);
    if !identity.kafka_address.is_empty() {
        let labels = [("address", identity.kafka_address.as_str()), ("id", "1")];
        page.gauge("kafka_broker_info", "Information about the Kafka Broker.", &labels, 1.0);
    }
    for topic in &figures.topics {
        let labels = [("topic", topic.name.as_str())];
        let partitions = float(topic.partitions.len() as u64);
        page.gauge("kafka_topic_partitions", "Number of partitions for this Topic", &labels, partitions);
    }
    partitions(
        page,
        figures,
        "kafka_topic_partition_current_offset",
        "Current Offset of a Broker at Topic/Partition",
        |p| p.current_offset,
    );
    partitions(
        page,
        figures,
        "kafka_topic_partition_oldest_offset",
        "Oldest Offset of a Broker at Topic/Partition",
        |p| p.oldest_offset,
    );
    for group in &figures.groups {
        let labels = [("consumergroup", group.name.as_str())];
        page.gauge(
            "kafka_consumergroup_members",
            "Amount of members in a consumer group",
            &labels,
            float(group.members),
        );
    }
    offsets(
        page,
        figures,
        "kafka_consumergroup_current_offset",
        "Current Offset of a ConsumerGroup at Topic/Partition",
        |o| o.0,
    );
    offsets(
        page,
        figures,
        "kafka_consumergroup_lag",
        "Current Approximate Lag of a ConsumerGroup at Topic/Partition",
        |o| o.1,
    );
}

/// Under redis_exporter's names.
fn keys(page: &mut Page, metrics: &Metrics, keys: &KeyFigures) {
    let gauges = [
        ("redis_connected_clients", "Clients currently connected", keys.clients),
        ("redis_blocked_clients", "Clients that wait for a key", keys.blocked_clients),
        ("redis_memory_used_dataset_bytes", "Memory that keys take", keys.bytes),
        ("warren_list_elements_ready", "Elements of lists that anybody may take", keys.elements_ready),
        (
            "warren_list_elements_unacked",
            "Elements of lists delivered to consumers but not yet acknowledged",
            keys.elements_unacked,
        ),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, &[], float(value));
    }
    for (db, count) in &keys.by_db {
        page.gauge("redis_db_keys", "Keys of a database", &[("db", &format!("db{db}"))], float(*count));
    }
    for (name, total) in metrics.redis_calls.totals() {
        page.counter("redis_commands_total", "Commands handled, by name", &[("cmd", name)], total);
    }
    for (code, total) in metrics.redis_errors.totals() {
        page.counter("redis_errors_total", "Error replies, by their code", &[("err", code)], total);
    }
}

fn partitions(
    page: &mut Page,
    figures: &Figures,
    name: &str,
    help: &str,
    value: fn(&PartitionFigures) -> i64,
) {
    for topic in &figures.topics {
        for (index, partition) in topic.partitions.iter().enumerate() {
            let labels = [("topic", topic.name.as_str()), ("partition", &index.to_string())];
            page.gauge(name, help, &labels, signed(value(partition)));
        }
    }
}

fn offsets(page: &mut Page, figures: &Figures, name: &str, help: &str, value: fn((i64, i64)) -> i64) {
    for group in &figures.groups {
        for (topic, partition, offset, lag) in &group.offsets {
            let partition = partition.to_string();
            let labels =
                [("consumergroup", group.name.as_str()), ("topic", topic), ("partition", &partition)];
            page.gauge(name, help, &labels, signed(value((*offset, *lag))));
        }
    }
}

/// A counter of an operator: its name, its help, and where it is.
type OperatorCounter = (&'static str, &'static str, fn(&OperatorFigures) -> u64);

fn jobs(page: &mut Page, jobs: &[JobFigures]) {
    for job in jobs {
        let labels = [("job", job.name.as_str()), ("state", job.state.as_str())];
        page.gauge("warren_stream_job_state", "1 for the state that a stream job is in", &labels, 1.0);
    }
    for job in jobs {
        let labels = [("job", job.name.as_str())];
        let help = "Records that are there and that a stream job has not read";
        page.gauge("warren_stream_job_lag_records", help, &labels, signed(job.lag));
    }
    let counters: [OperatorCounter; 4] = [
        ("warren_stream_operator_records_in_total", "Rows that an operator was given", |o| o.records_in),
        ("warren_stream_operator_records_out_total", "Rows that an operator made", |o| o.records_out),
        ("warren_stream_operator_records_late_total", "Rows that came too late for it", |o| o.records_late),
        (
            "warren_stream_operator_records_failed_total",
            "Records of a source that could not be read or computed",
            |o| o.records_failed,
        ),
    ];
    for (name, help, value) in counters {
        operators(jobs, |labels, operator| page.counter(name, help, labels, value(operator)));
    }
    operators(jobs, |labels, operator| {
        let keys = float(operator.state_keys);
        page.gauge("warren_stream_operator_state_keys", "Keys of its state in memory", labels, keys);
    });
    operators(jobs, |labels, operator| {
        if let Some(watermark) = operator.watermark_ms {
            let help = "Event time that it has come to, in seconds since 1970";
            let seconds = signed(watermark) / 1_000.0;
            page.gauge("warren_stream_operator_watermark_timestamp_seconds", help, labels, seconds);
        }
    });
}

fn operators(jobs: &[JobFigures], mut each: impl FnMut(Labels<'_>, &OperatorFigures)) {
    for job in jobs {
        for operator in &job.operators {
            let labels = [
                ("job", job.name.as_str()),
                ("operator", operator.name.as_str()),
                ("id", operator.id.as_str()),
            ];
            each(&labels, operator);
        }
    }
}

fn float(n: u64) -> f64 {
    n as f64
}

fn signed(n: i64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let metrics = Metrics::default();
        metrics.received.add(3);
        metrics.message_sizes.observe(50, 3);
        metrics.redis_calls.name(["get", "lpush"].into_iter());
        metrics.redis_calls.count(1);
        let figures = Figures {
            messages_ready: 2,
            keys: KeyFigures { by_db: vec![(3, 7)], ..KeyFigures::default() },
            topics: vec![TopicFigures {
                name: "hello".into(),
                partitions: vec![PartitionFigures { oldest_offset: 1, current_offset: 9 }; 2],
            }],
            groups: vec![GroupFigures {
                name: "g".into(),
                members: 1,
                offsets: vec![("hello".into(), 1, 4, 5)],
            }],
            jobs: vec![JobFigures {
                name: "copy".into(),
                state: "running".into(),
                lag: 7,
                operators: vec![OperatorFigures {
                    id: "0a".into(),
                    name: "Rank".into(),
                    records_in: 5,
                    state_keys: 2,
                    watermark_ms: Some(1_500),
                    ..OperatorFigures::default()
                }],
            }],
            ..Figures::default()
        };
        let identity = Identity { node: "warren@here".into(), ..Identity::default() };
        String::from_utf8(render(&metrics, &figures, &identity)).unwrap()
    }

    #[test]
    fn the_page_has_rabbitmqs_and_kafka_exporters_names() {
        let page = page();
        for line in [
            "rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 3",
            "rabbitmq_queue_messages_ready 2",
            "rabbitmq_message_size_bytes_bucket{protocol=\"amqp091\",le=\"100\"} 3",
            "rabbitmq_message_size_bytes_sum{protocol=\"amqp091\"} 150",
            "kafka_topic_partition_current_offset{topic=\"hello\",partition=\"1\"} 9",
            "kafka_consumergroup_lag{consumergroup=\"g\",topic=\"hello\",partition=\"1\"} 5",
            "redis_db_keys{db=\"db3\"} 7",
            "redis_commands_total{cmd=\"lpush\"} 1",
            "# TYPE warren_store_syncs_total counter",
            "warren_stream_job_lag_records{job=\"copy\"} 7",
            "warren_stream_job_state{job=\"copy\",state=\"running\"} 1",
            "warren_stream_operator_records_in_total{job=\"copy\",operator=\"Rank\",id=\"0a\"} 5",
            "warren_stream_operator_state_keys{job=\"copy\",operator=\"Rank\",id=\"0a\"} 2",
            "warren_stream_operator_watermark_timestamp_seconds{job=\"copy\",operator=\"Rank\",id=\"0a\"} 1.5",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        assert!(page.contains("rabbitmq_identity_info{rabbitmq_node=\"warren@here\""));
    }

    #[test]
    fn every_alert_rule_names_metrics_that_exist() {
        let page = page();
        let rules = include_str!("../../config/alerts.yml");
        let names = rules
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|w| ["rabbitmq_", "kafka_", "warren_"].iter().any(|p| w.starts_with(p)));
        let mut seen = 0;
        for name in names {
            assert!(page.contains(&format!("# TYPE {name} ")), "{name}");
            seen += 1;
        }
        assert!(seen > 8);
    }
}
