"""kafka-python's everyday use: produce, consume, groups, offsets, rebalances, topics, admin. 2.0.2 and the newest."""

import json
import os
import threading
import time
import urllib.parse
import urllib.request

import pytest
from conftest import informed

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from conftest import wait_for

NEWEST = tuple(int(part) for part in kafka.__version__.split(".")[:2]) >= (2, 1)


def committed(offset):
    """OffsetAndMetadata got a leader epoch in kafka-python 2.1."""
    return OffsetAndMetadata(offset, "note", -1) if NEWEST else OffsetAndMetadata(offset, "note")


@pytest.fixture
def producer(kafka_address):
    producer = KafkaProducer(bootstrap_servers=kafka_address, acks="all")
    yield producer
    producer.close(timeout=5)


@pytest.fixture
def consumer(kafka_address):
    """Makes consumers that are closed with the test."""
    made = []

    def make(*topics, **options):
        options.setdefault("auto_offset_reset", "earliest")
        made.append(KafkaConsumer(*topics, bootstrap_servers=kafka_address, **options))
        return informed(made[-1], *topics)

    yield make
    for one in made:
        one.close()


@pytest.fixture
def admin(kafka_address):
    client = KafkaAdminClient(bootstrap_servers=kafka_address)
    yield client
    client.close()


@pytest.fixture
def topic(admin, name):
    """A topic of three partitions, usable."""
    admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])
    yield name
    admin.delete_topics([name])


def poll(consumer, number, seconds=20):
    """The next `number` records."""
    records, deadline = [], time.monotonic() + seconds
    while len(records) < number:
        assert time.monotonic() < deadline, f"{len(records)} of {number} records came"
        for batch in consumer.poll(timeout_ms=200).values():
            records.extend(batch)
    return records


def send(producer, topic, *values, **options):
    futures = [producer.send(topic, value, **options) for value in values]
    producer.flush()
    return [future.get(timeout=20) for future in futures]


def test_records_come_back_whole_and_in_order(producer, consumer, name):
    values = [f"value {i}".encode() for i in range(500)]
    sent = send(producer, name, *values)
    assert [metadata.offset for metadata in sent] == list(range(500))
    got = poll(consumer(name), 500)
    assert [(record.offset, record.value) for record in got] == list(enumerate(values))


def test_key_headers_timestamp_and_nulls_come_back(producer, consumer, name):
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("bytes", b"\x00\xff")]
    producer.send(name, b"value", key=b"key", headers=headers, timestamp_ms=1_700_000_000_123)
    producer.send(name, None, key=b"tombstone")
    producer.send(name, b"", key=None)
    producer.flush()
    first, second, third = poll(consumer(name), 3)
    assert (first.key, first.value, first.headers) == (b"key", b"value", headers)
    assert (first.timestamp, first.timestamp_type) == (1_700_000_000_123, 0)
    assert (second.key, second.value) == (b"tombstone", None)
    assert (third.key, third.value) == (None, b"")


@pytest.mark.parametrize("acks", [0, 1, "all"])
def test_every_acks_setting(kafka_address, consumer, name, acks):
    producer = KafkaProducer(bootstrap_servers=kafka_address, acks=acks)
    for i in range(10):
        # The first waits for the topic: with acks=0 nobody says that it was not there yet.
        producer.partitions_for(name)
        producer.send(name, str(i).encode())
    producer.flush()
    producer.close()
    assert [record.value for record in poll(consumer(name), 10)] == [str(i).encode() for i in range(10)]


def test_gzip_batches_come_back(kafka_address, consumer, name):
    producer = KafkaProducer(bootstrap_servers=kafka_address, compression_type="gzip", linger_ms=20)
    values = [b"x" * 1000 + str(i).encode() for i in range(50)]
    send(producer, name, *values)
    producer.close()
    assert [record.value for record in poll(consumer(name), 50)] == values


def test_a_large_record(producer, consumer, name):
    value = bytes(range(256)) * 3_900
    send(producer, name, value)
    assert poll(consumer(name), 1)[0].value == value


def test_the_same_key_goes_to_the_same_partition(producer, topic):
    partitions = {
        key: {producer.send(topic, b"x", key=key).get(timeout=20).partition for _ in range(5)}
        for key in (b"a", b"b", b"c", b"d", b"e", b"f")
    }
    assert all(len(found) == 1 for found in partitions.values())
    assert len(set.union(*partitions.values())) > 1


def test_a_group_goes_on_where_it_committed(producer, consumer, name):
    send(producer, name, b"0", b"1", b"2", b"3")
    first = consumer(name, group_id=name, enable_auto_commit=False, max_poll_records=2)
    got = poll(first, 2)
    first.commit()
    assert first.committed(TopicPartition(name, 0)) == 2
    first.close(autocommit=False)
    second = consumer(name, group_id=name, enable_auto_commit=False)
    assert [record.value for record in got + poll(second, 2)] == [b"0", b"1", b"2", b"3"]


def test_auto_commit_on_close(producer, consumer, name):
    send(producer, name, b"0", b"1")
    first = consumer(name, group_id=name)
    poll(first, 2)
    first.close()
    send(producer, name, b"2")
    second = consumer(name, group_id=name)
    assert [record.value for record in poll(second, 1)] == [b"2"]


def test_another_group_reads_everything_again(producer, consumer, name):
    send(producer, name, b"0", b"1")
    for group in ("one", "two"):
        one = consumer(name, group_id=name + group)
        assert [record.value for record in poll(one, 2)] == [b"0", b"1"]


def test_latest_begins_at_the_end(producer, consumer, name):
    send(producer, name, b"old")
    latest = consumer(name, auto_offset_reset="latest", group_id=name)
    partition = TopicPartition(name, 0)
    deadline = time.monotonic() + 20
    while not (latest.assignment() and latest.position(partition) == 1):
        latest.poll(timeout_ms=50)
        assert time.monotonic() < deadline
    send(producer, name, b"new")
    assert [record.value for record in poll(latest, 1)] == [b"new"]


def test_seek_positions_and_offsets(producer, consumer, name):
    send(producer, name, *(str(i).encode() for i in range(10)))
    reader = consumer()
    partition = TopicPartition(name, 0)
    reader.assign([partition])
    assert reader.beginning_offsets([partition]) == {partition: 0}
    assert reader.end_offsets([partition]) == {partition: 10}
    reader.seek(partition, 7)
    assert [record.offset for record in poll(reader, 3)] == [7, 8, 9]
    assert reader.position(partition) == 10
    reader.seek_to_beginning(partition)
    assert poll(reader, 1)[0].offset == 0


def test_offsets_for_times(producer, consumer, name):
    for i in range(5):
        producer.send(name, b"x", timestamp_ms=1_000_000 + i * 1000).get(timeout=20)
    reader = consumer()
    partition = TopicPartition(name, 0)
    reader.assign([partition])
    found = reader.offsets_for_times({partition: 1_001_500})[partition]
    assert (found.offset, found.timestamp) == (2, 1_002_000)
    assert reader.offsets_for_times({partition: 9_000_000})[partition] is None


def test_a_position_out_of_range_is_reset(producer, consumer, name):
    send(producer, name, b"0", b"1")
    reader = consumer()
    partition = TopicPartition(name, 0)
    reader.assign([partition])
    reader.seek(partition, 1000)
    assert [record.offset for record in poll(reader, 2)] == [0, 1]


def test_committed_metadata_comes_back(consumer, producer, name):
    send(producer, name, b"0")
    reader = consumer(group_id=name, enable_auto_commit=False)
    partition = TopicPartition(name, 0)
    reader.assign([partition])
    assert reader.committed(partition) is None
    reader.commit({partition: committed(1)})
    again = consumer(group_id=name, enable_auto_commit=False)
    again.assign([partition])
    assert again.committed(partition) == 1
    found = again.committed(partition, metadata=True)
    assert (found.offset, found.metadata) == (1, "note")


def test_two_members_share_a_topic_and_one_takes_over(producer, consumer, topic):
    """A rebalance when the second joins, and another when it leaves; nothing is lost or read twice."""
    members = [consumer(topic, group_id=topic, session_timeout_ms=6000, heartbeat_interval_ms=200) for _ in range(2)]
    got, stop = [[], []], [threading.Event(), threading.Event()]

    def run(member, mine, stopped):
        while not stopped.is_set():
            for batch in member.poll(timeout_ms=100).values():
                mine.extend(batch)
        member.close()

    threads = [threading.Thread(target=run, args=each) for each in zip(members, got, stop)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 30
        while sorted(len(member.assignment() or ()) for member in members) != [1, 2]:
            assert time.monotonic() < deadline, "the members never shared the three partitions"
            time.sleep(0.05)
        for i in range(30):
            producer.send(topic, str(i).encode(), partition=i % 3)
        producer.flush()
        while sum(map(len, got)) < 30:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert all(got), "both members read"
        stop[0].set()
        threads[0].join()
        for i in range(30, 60):
            producer.send(topic, str(i).encode(), partition=i % 3)
        producer.flush()
        deadline = time.monotonic() + 30
        while sum(map(len, got)) < 60:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for stopped in stop:
            stopped.set()
        for thread in threads:
            thread.join()
    assert sorted(int(record.value) for record in got[0] + got[1]) == list(range(60))


def test_topics_are_made_listed_and_deleted(admin, consumer, name):
    admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    with pytest.raises(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    reader = consumer()
    deadline = time.monotonic() + 10
    while reader.partitions_for_topic(name) != {0, 1}:
        assert time.monotonic() < deadline
    assert name in reader.topics()
    admin.delete_topics([name])
    deadline = time.monotonic() + 10
    while name in admin.list_topics():
        assert time.monotonic() < deadline


def test_a_bad_topic_name_is_refused_and_not_made(producer, admin):
    with pytest.raises(KafkaError):
        admin.create_topics([NewTopic("not a name", num_partitions=1, replication_factor=1)])
    assert "not a name" not in admin.list_topics()


def test_an_idempotent_producer(kafka_address, consumer, name):
    if not NEWEST:
        pytest.skip("kafka-python 2.0 has none")
    producer = KafkaProducer(bootstrap_servers=kafka_address, enable_idempotence=True, acks="all")
    sent = send(producer, name, *(str(i).encode() for i in range(100)))
    producer.close()
    assert [metadata.offset for metadata in sent] == list(range(100))
    assert [record.value for record in poll(consumer(name), 100)] == [str(i).encode() for i in range(100)]


def test_a_pattern_subscription(producer, consumer, name):
    send(producer, name + ".one", b"1")
    send(producer, name + ".two", b"2")
    reader = consumer(group_id=name)
    reader.subscribe(pattern=name.replace("-", "[-]") + "[.].*")
    assert sorted(record.value for record in poll(reader, 2)) == [b"1", b"2"]


def test_many_topics_in_one_fetch(producer, consumer, name):
    topics = [f"{name}-{i}" for i in range(10)]
    for one in topics:
        send(producer, one, one.encode())
    assert sorted(record.value.decode() for record in poll(consumer(*topics), 10)) == sorted(topics)


def test_a_long_poll_ends_when_a_record_comes(producer, consumer, name):
    send(producer, name, b"first")
    reader = consumer(name, fetch_max_wait_ms=5000)
    poll(reader, 1)
    timer = threading.Timer(0.3, lambda: send(producer, name, b"second"))
    timer.start()
    started = time.monotonic()
    assert poll(reader, 1)[0].value == b"second"
    timer.join()
    assert time.monotonic() - started < 4


@pytest.mark.warren
def test_the_management_api_shows_a_client_and_lets_go_of_it(kafka_address, name):
    def call(method, path):
        request = urllib.request.Request(f"{os.environ['WARREN_ADMIN']}/api/{path}", method=method)
        request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
        return urllib.request.urlopen(request, timeout=10).read()

    def rows():
        return [row for row in json.loads(call("GET", "connections")) if row["user_provided_name"] == name]

    producer = KafkaProducer(bootstrap_servers=kafka_address, client_id=name)
    producer.send(name, b"x").get(20)
    first = wait_for(rows)
    assert {(row["protocol"], row["user"], row["vhost"], row["state"]) for row in first} == {("Kafka", "ANONYMOUS", "/", "running")}
    for row in first:
        call("DELETE", f"connections/{urllib.parse.quote(row['name'], safe='')}")
    gone = {row["name"] for row in first}
    wait_for(lambda: not gone & {row["name"] for row in rows()})
    # The client comes again, and goes on.
    assert producer.send(name, b"y").get(20).offset == 1
    producer.close(timeout=5)
    wait_for(lambda: not rows())
