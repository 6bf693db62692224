"""Compacted topics: what is left of them, where, and what a consumer sees of it. (Kafka with log.cleaner.backoff.ms=1000.)"""

import time

import pytest
from batches import Raw, batch, batches, record
from conftest import wait_for
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

SETTINGS = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.001",
    "segment.ms": "100",
    "delete.retention.ms": "100",
}


@pytest.fixture
def producer(kafka_address):
    producer = KafkaProducer(bootstrap_servers=kafka_address, acks="all", linger_ms=0)
    yield producer
    producer.close(timeout=5)


@pytest.fixture
def make(kafka_address, name):
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    made = []

    def topic(**configs):
        made.append(f"{name}-{len(made)}")
        settings = SETTINGS | {key.replace("_", "."): value for key, value in configs.items()}
        admin.create_topics([NewTopic(made[-1], num_partitions=1, replication_factor=1, topic_configs=settings)])
        return made[-1]

    yield topic
    admin.delete_topics(made)
    admin.close()


def put(producer, topic, key, value):
    return producer.send(topic, key=key, value=value).get(10).offset


def read_all(address, topic):
    """(offset, key, value) of everything there is."""
    consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest", enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    end, seen = consumer.end_offsets([partition])[partition], []
    deadline = time.monotonic() + 20
    while consumer.position(partition) < end and time.monotonic() < deadline:
        for records in consumer.poll(500).values():
            seen += [(r.offset, r.key, r.value) for r in records]
    consumer.close()
    return seen


def roll(producer, topic, key=b"end"):
    """A record after the others' segment has become old, so that they may be compacted."""
    time.sleep(0.25)
    return put(producer, topic, key, b"")


def test_each_key_keeps_its_last_value_at_its_offset(kafka_address, producer, make):
    topic = make()
    for n in range(30):
        put(producer, topic, b"k%d" % (n % 3), b"%d" % n)
    roll(producer, topic)
    expected = [(27, b"k0", b"27"), (28, b"k1", b"28"), (29, b"k2", b"29"), (30, b"end", b"")]
    wait_for(lambda: read_all(kafka_address, topic) == expected, seconds=60)
    assert put(producer, topic, b"k0", b"next") == 31


def test_a_deleted_key_goes_and_at_last_its_mark(kafka_address, producer, make):
    topic = make()
    put(producer, topic, b"a", b"1")
    put(producer, topic, b"b", b"1")
    put(producer, topic, b"a", None)
    rolled = roll(producer, topic, b"end0")
    # The mark is there in the first round and goes in a later one, which something new must bring about.
    wait_for(lambda: (0, b"a", b"1") not in read_all(kafka_address, topic), seconds=60)
    for n in range(1, 40):
        roll(producer, topic, b"end%d" % n)
        keys = [key for _, key, _ in read_all(kafka_address, topic)]
        if b"a" not in keys:
            break
        time.sleep(0.5)
    assert b"a" not in keys and b"b" in keys
    assert rolled == 3


def test_a_batch_keeps_its_place_and_its_length_in_offsets(kafka_address, producer, make):
    topic, raw = make(), Raw(kafka_address)
    now = int(time.time() * 1000)
    values = [record(b"k%d" % (n % 2), b"%d" % n, n) for n in range(6)]
    while raw.produce(topic, batch(values, base_timestamp=now, max_timestamp=now))[0] != 0:
        time.sleep(0.1)
    roll(producer, topic)

    def compacted():
        kept = batches(raw.fetch(topic, 0))
        return kept if kept[0]["count"] == 2 else None

    first = wait_for(compacted, seconds=60)[0]
    assert (first["base_offset"], first["last_offset_delta"], first["base_timestamp"]) == (0, 5, now)
    assert first["records"] == record(b"k0", b"4", 4) + record(b"k1", b"5", 5)
    raw.close()
