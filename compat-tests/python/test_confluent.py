"""confluent-kafka (librdkafka) with its default settings: 2.0.2 and the newest."""

import time

import pytest

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from conftest import wait_for


@pytest.fixture
def settings(kafka_address):
    return {"bootstrap.servers": kafka_address}


@pytest.fixture
def admin(settings):
    return AdminClient(settings)


@pytest.fixture
def topic(admin, name):
    """A topic of three partitions that producers and consumers can use at once."""
    admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])[name].result(20)
    return name


@pytest.fixture
def consumer(settings):
    """Makes consumers that are closed with the test."""
    made = []

    def make(group, *topics, **more):
        more = {key.replace("_", "."): value for key, value in more.items()}
        made.append(Consumer({**settings, "group.id": group, "auto.offset.reset": "earliest", **more}))
        if topics:
            made[-1].subscribe(list(topics))
        return made[-1]

    yield make
    for one in made:
        one.close()


def produce(settings, topic, values, **more):
    """Produces and waits for every report: (partition, offset) of each."""
    reports = []

    def report(error, message):
        assert error is None, error
        reports.append((message.partition(), message.offset()))

    producer = Producer({**settings, **{key.replace("_", "."): value for key, value in more.items()}})
    for value in values:
        producer.produce(topic, value, on_delivery=report)
    assert producer.flush(20) == 0
    return reports


def read(consumer, number, seconds=20):
    messages, deadline = [], time.monotonic() + seconds
    while len(messages) < number:
        assert time.monotonic() < deadline, f"{len(messages)} of {number} messages came"
        message = consumer.poll(0.5)
        if message is not None:
            assert message.error() is None, message.error()
            messages.append(message)
    return messages


def test_key_value_headers_and_time_come_back(settings, consumer, name):
    producer = Producer(settings)
    # An hour ago: what is older than the topic's retention may be gone before it is read.
    timestamp = int(time.time() * 1000) - 3_600_000
    producer.produce(name, b"v", b"k", headers=[("a", b"1"), ("a", None)], timestamp=timestamp)
    producer.produce(name, None, b"k")
    assert producer.flush(20) == 0
    full, tombstone = read(consumer(name, name), 2)
    assert (full.key(), full.value(), full.headers()) == (b"k", b"v", [("a", b"1"), ("a", None)])
    assert full.timestamp() == (confluent_kafka.TIMESTAMP_CREATE_TIME, timestamp)
    assert (tombstone.value(), tombstone.offset()) == (None, 1)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec(settings, consumer, name, codec):
    produce(settings, name, [b"compressible %d" % i for i in range(300)], compression_type=codec)
    assert [m.value() for m in read(consumer(name, name), 300)][-1] == b"compressible 299"


def test_an_idempotent_producer(settings, consumer, name):
    reports = produce(settings, name, [b"%d" % i for i in range(500)], enable_idempotence=True)
    assert [offset for _, offset in reports] == list(range(500))


def test_a_group_goes_on_where_it_committed(settings, consumer, topic):
    produce(settings, topic, [b"%d" % i for i in range(20)])
    first = consumer("group-" + topic, topic, enable_auto_commit=False)
    read(first, 20)
    first.commit(asynchronous=False)
    first.close()
    produce(settings, topic, [b"after"])
    second = consumer("group-" + topic, topic)
    assert [m.value() for m in read(second, 1)] == [b"after"]


def test_two_members_share_a_topic_cooperatively(settings, consumer, topic):
    options = {"partition_assignment_strategy": "cooperative-sticky"}
    first = consumer("group-" + topic, topic, **options)
    second = consumer("group-" + topic, topic, **options)
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline, "the partitions were not shared"
        assert all(m is None or m.error() is None for m in (first.poll(0.1), second.poll(0.1)))
        shares = sorted(len(one.assignment()) for one in (first, second))
        if shares == [1, 2]:
            break


def test_offsets_by_time_and_watermarks(settings, consumer, name):
    producer = Producer(settings)
    for i in range(5):
        producer.produce(name, b"%d" % i, timestamp=1_000_000 + 1000 * i)
    assert producer.flush(20) == 0
    reader = consumer(name)
    assert reader.get_watermark_offsets(TopicPartition(name, 0), timeout=10) == (0, 5)
    found = reader.offsets_for_times([TopicPartition(name, 0, 1_002_500)], timeout=10)
    assert found[0].offset == 3
    reader.assign([TopicPartition(name, 0, 3)])
    assert [m.value() for m in read(reader, 2)] == [b"3", b"4"]


def test_a_transaction_is_read_whole_or_not_at_all(settings, consumer, name):
    producer = Producer({**settings, "transactional.id": name})
    producer.init_transactions(20)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(name, value)
        assert producer.flush(20) == 0
        end(20)
    assert [m.value() for m in read(consumer(name, name), 1)] == [b"committed"]
    everything = consumer(name + "-all", name, isolation_level="read_uncommitted")
    assert [m.value() for m in read(everything, 2)] == [b"aborted", b"committed"]


def test_consume_transform_produce(settings, consumer, name):
    produce(settings, name, [b"%d" % i for i in range(10)])
    reader = consumer(name, name, enable_auto_commit=False)
    producer = Producer({**settings, "transactional.id": name})
    producer.init_transactions(20)
    producer.begin_transaction()
    for message in read(reader, 10):
        producer.produce(name + "-out", b"x" + message.value())
    positions = reader.position(reader.assignment())
    producer.send_offsets_to_transaction(positions, reader.consumer_group_metadata(), 20)
    producer.commit_transaction(20)
    assert len(read(consumer(name + "-out", name + "-out"), 10)) == 10
    assert [p.offset for p in reader.committed(reader.assignment(), timeout=10)] == [10]


def test_an_old_producer_is_fenced(settings, name):
    first, second = (Producer({**settings, "transactional.id": name}) for _ in range(2))
    first.init_transactions(20)
    first.begin_transaction()
    first.produce(name, b"from the first")
    assert first.flush(20) == 0
    second.init_transactions(20)
    with pytest.raises(KafkaException) as refused:
        first.commit_transaction(20)
    assert refused.value.args[0].name() in ("_FENCED", "INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED")


def test_topics_partitions_and_metadata(admin, topic):
    with pytest.raises(KafkaException) as refused:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(20)
    assert refused.value.args[0].name() == "TOPIC_ALREADY_EXISTS"
    admin.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    # Kafka itself tells of new partitions a little later.
    wait_for(lambda: sorted(admin.list_topics(topic, timeout=10).topics[topic].partitions) == [0, 1, 2, 3, 4])
    assert len(admin.list_topics(topic, timeout=10).brokers) == 1
    admin.delete_topics([topic])[topic].result(20)


def test_groups_are_listed(admin, settings, consumer, topic):
    produce(settings, topic, [b"x"])
    read(consumer("listed-" + topic, topic), 1)
    assert "listed-" + topic in [group.id for group in admin.list_groups(timeout=10)]
