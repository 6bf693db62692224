"""kafka-python's transactional producer: commit, abort, fencing, and exactly once through kill -9. 2.0.2 has none."""

import pytest

import kafka
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in kafka.__version__.split(".")[:2]) < (2, 1),
    reason="kafka-python has had transactions since 2.1",
)


def transactional(address, name, **options):
    producer = KafkaProducer(bootstrap_servers=address, transactional_id=name, **options)
    producer.init_transactions()
    return producer


def values(address, topic, number, isolation="read_committed", seconds=10):
    """Everything there is to read in the topic, until nothing has come for a while."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=address,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        consumer_timeout_ms=1_500 if number is None else seconds * 1_000,
    )
    got = []
    for record in consumer:
        got.append(record.value)
        if number is not None and len(got) >= number:
            break
    consumer.close()
    return got


def test_committed_records_are_read_and_aborted_ones_are_not(kafka_address, name):
    producer = transactional(kafka_address, name)
    for value, end in ((b"a", "commit"), (b"b", "abort"), (b"c", "commit")):
        producer.begin_transaction()
        producer.send(name, value)
        producer.send(name, value * 2)
        # An abort drops what the client has not sent yet.
        producer.flush()
        getattr(producer, f"{end}_transaction")()
    producer.begin_transaction()
    producer.send(name, b"open").get(timeout=10)
    assert values(kafka_address, name, None) == [b"a", b"aa", b"c", b"cc"]
    everything = values(kafka_address, name, 7, "read_uncommitted")
    assert everything == [b"a", b"aa", b"b", b"bb", b"c", b"cc", b"open"]
    producer.abort_transaction()
    producer.close()


def test_a_second_instance_fences_the_first(kafka_address, name):
    first = transactional(kafka_address, name)
    first.begin_transaction()
    first.send(name, b"first").get(timeout=10)
    second = transactional(kafka_address, name)
    with pytest.raises(kafka.errors.KafkaError):
        first.send(name, b"late").get(timeout=10)
        first.commit_transaction()
    second.begin_transaction()
    second.send(name, b"second")
    second.commit_transaction()
    assert values(kafka_address, name, None) == [b"second"]
    first.close(timeout=1)
    second.close()


@pytest.mark.warren
def test_consume_transform_produce_is_exactly_once_through_kills(warren, name):
    source, sink, total = f"{name}-in", f"{name}-out", 60
    feed = KafkaProducer(bootstrap_servers=warren.kafka)
    for n in range(total):
        feed.send(source, str(n).encode())
    feed.flush()
    feed.close()
    at = TopicPartition(source, 0)
    for attempt in range(20):
        producer = transactional(warren.kafka, name)
        consumer = KafkaConsumer(
            bootstrap_servers=warren.kafka, group_id=name, enable_auto_commit=False, max_poll_records=5
        )
        consumer.assign([at])
        consumer.seek(at, consumer.committed(at) or 0)
        for _ in range(4):
            records = [r for batch in consumer.poll(timeout_ms=2_000).values() for r in batch]
            if not records:
                break
            producer.begin_transaction()
            for record in records:
                producer.send(sink, record.value + b"!")
            offset = OffsetAndMetadata(records[-1].offset + 1, "", -1)
            producer.send_offsets_to_transaction({at: offset}, name)
            producer.commit_transaction()
        # What is under way when it dies must leave nothing.
        producer.begin_transaction()
        producer.send(sink, b"never").get(timeout=10)
        done = consumer.committed(at) == total
        warren.restart()
        producer.close(timeout=0)
        consumer.close()
        if done:
            break
    transactional(warren.kafka, name).close()
    assert values(warren.kafka, sink, None) == [f"{n}!".encode() for n in range(total)]


@pytest.mark.warren
def test_an_open_transaction_goes_on_after_a_kill(warren, name):
    producer = transactional(warren.kafka, name)
    producer.begin_transaction()
    producer.send(name, b"before").get(timeout=10)
    warren.restart()
    assert values(warren.kafka, name, None) == []
    producer.send(name, b"after").get(timeout=20)
    producer.commit_transaction()
    assert values(warren.kafka, name, None) == [b"before", b"after"]
    producer.close()


@pytest.mark.warren
def test_an_amqp_consumer_sees_committed_records_only(kafka_address, channel, name):
    producer = transactional(kafka_address, name)
    for value, end in ((b"a", "commit"), (b"b", "abort"), (b"c", "commit")):
        producer.begin_transaction()
        producer.send(name, value).get(timeout=10)
        getattr(producer, f"{end}_transaction")()
    producer.begin_transaction()
    producer.send(name, b"open").get(timeout=10)
    channel.basic_qos(prefetch_count=10)
    consuming = channel.consume(name, arguments={"x-stream-offset": "first"}, inactivity_timeout=2)
    bodies = []
    for method, _, body in consuming:
        if method is None:
            break
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
    channel.cancel()
    assert bodies == [b"a", b"c"]
    producer.abort_transaction()
    producer.close()
