"""Super streams: one topic with its partitions over Kafka, an exchange and its streams over AMQP."""

import json
import time
import urllib.parse
import urllib.request

import pika
import pytest
from conftest import refused, wait_for
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from test_streams import read

pytestmark = pytest.mark.warren


@pytest.fixture
def api():
    import base64
    import os

    def call(method, path, body=None):
        request = urllib.request.Request(f"{os.environ['WARREN_ADMIN']}/api/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        data = json.dumps(body).encode() if body is not None else None
        try:
            with urllib.request.urlopen(request, data, 10) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    return call


@pytest.fixture
def super_stream(api, name):
    at = f"stream/super-streams/{urllib.parse.quote('/', safe='')}/{name}"
    status, _ = api("PUT", at, {"partitions": 3, "arguments": {"max-age": "1h"}})
    assert status == 201
    yield name
    api("DELETE", at)


def consume(kafka_address, topic, number):
    consumer = KafkaConsumer(topic, bootstrap_servers=kafka_address, auto_offset_reset="earliest")
    got = []
    deadline = time.monotonic() + 20
    while len(got) < number and time.monotonic() < deadline:
        for records in consumer.poll(200).values():
            got += records
    consumer.close()
    return got


def test_the_partitions_are_streams_and_the_whole_is_a_topic(kafka_address, channel, api, super_stream):
    for n in range(3):
        assert channel.queue_declare(f"{super_stream}-{n}", passive=True).method.message_count == 0
    refused(channel, 404, f"NOT_FOUND - no queue '{super_stream}-3' in vhost '/'", lambda: channel.queue_declare(f"{super_stream}-3", passive=True))
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    (described,) = admin.describe_topics([super_stream])
    assert len(described["partitions"]) == 3
    admin.close()
    _, bindings = api("GET", f"exchanges/%2F/{super_stream}/bindings/source")
    assert sorted((b["routing_key"], b["destination"], b["arguments"]) for b in bindings) == [
        (str(n), f"{super_stream}-{n}", {"x-stream-partition-order": n}) for n in range(3)
    ]
    _, queues = api("GET", "queues/%2F?columns=name,type")
    assert {q["name"] for q in queues if q["name"].startswith(super_stream)} == {f"{super_stream}-{n}" for n in range(3)}


def test_a_number_names_a_partition_and_any_other_key_goes_where_kafka_puts_it(kafka_address, connection, channel, super_stream):
    channel.confirm_delivery()
    for n in range(3):
        channel.basic_publish(super_stream, str(n), b"to %d" % n, mandatory=True)
    for n in range(20):
        channel.basic_publish(super_stream, f"key-{n}", b"", mandatory=True)
    producer = KafkaProducer(bootstrap_servers=kafka_address)
    placed = {f"key-{n}".encode(): producer.send(super_stream, key=b"key-%d" % n).get(10).partition for n in range(20)}
    producer.close()
    got = consume(kafka_address, super_stream, 43)
    assert {r.partition for r in got if r.value and r.value.startswith(b"to ")} == {0, 1, 2}
    assert all(r.value == b"to %d" % r.partition for r in got if r.value)
    keyed = [(r.key, r.partition) for r in got if not r.value]
    assert len(keyed) == 40 and all(placed[key] == partition for key, partition in keyed)


def test_offsets_are_the_same_on_both_sides(kafka_address, connection, super_stream):
    producer = KafkaProducer(bootstrap_servers=kafka_address)
    for n in range(5):
        producer.send(super_stream, b"%d" % n, partition=1).get(10)
    producer.close()
    got = read(connection, f"{super_stream}-1", 3, offset=2)
    assert [(p.headers["x-stream-offset"], body) for _, p, body in got] == [(n, b"%d" % n) for n in (2, 3, 4)]


def test_messages_without_a_key_are_spread(kafka_address, channel, super_stream):
    channel.confirm_delivery()
    for _ in range(9):
        channel.basic_publish(super_stream, "", b"x", mandatory=True)
    counts = [channel.queue_declare(f"{super_stream}-{n}", passive=True).method.message_count for n in range(3)]
    assert counts == [3, 3, 3]


def test_an_exchange_may_stand_for_a_topic_that_kafka_made(kafka_address, channel, name):
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    channel.exchange_declare(name, "direct", durable=True, arguments={"x-super-stream": True})
    channel.confirm_delivery()
    channel.basic_publish(name, "1", b"one", mandatory=True)
    assert [(r.partition, r.key, r.value) for r in consume(kafka_address, name, 1)] == [(1, b"1", b"one")]
    # Without it there is no exchange.
    admin.delete_topics([name])
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish(name, "1", b"nobody", mandatory=True)
    channel.exchange_delete(name)
    admin.close()


def test_a_partition_goes_with_the_whole_only(connection, channel, api, super_stream):
    text = "PRECONDITION_FAILED - a partition is deleted with its super stream"
    refused(channel, 406, text, lambda: channel.queue_delete(f"{super_stream}-0"))
    status, _ = api("DELETE", f"stream/super-streams/%2F/{super_stream}")
    assert status == 204
    assert api("GET", f"exchanges/%2F/{super_stream}")[0] == 404
    channel = connection.channel()
    refused(channel, 404, f"NOT_FOUND - no queue '{super_stream}-0' in vhost '/'", lambda: channel.queue_declare(f"{super_stream}-0", passive=True))


def test_it_is_there_after_a_kill(warren):
    import base64

    request = urllib.request.Request(f"http://{warren.doors['admin']}/api/stream/super-streams/%2F/s", method="PUT")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    urllib.request.urlopen(request, b'{"partitions": 2}', 10).close()
    for round in range(2):
        connection = pika.BlockingConnection(pika.URLParameters(warren.amqp_url))
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("s", "1", b"%d" % round, mandatory=True)
        channel.basic_publish("s", "some key", b"", mandatory=True)
        assert wait_for(lambda: channel.queue_declare("s-1", passive=True).method.message_count) >= round + 1
        connection.close()
        warren.restart()
    partition = TopicPartition("s", 1)
    consumer = KafkaConsumer(bootstrap_servers=warren.kafka)
    assert consumer.partitions_for_topic("s") == {0, 1}
    assert consumer.end_offsets([partition])[partition] >= 2
    consumer.close()


def test_retention_is_one_setting_seen_from_both_sides(kafka_address, connection, channel, api, name):
    from kafka.admin import ConfigResource, ConfigResourceType

    admin = KafkaAdminClient(bootstrap_servers=kafka_address)

    def shown(topic):
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        try:
            return {entry[0]: entry[1] for answer in described for entry in answer.resources[0][4]}
        except (AttributeError, KeyError, TypeError):
            configs = described[0] if isinstance(described, list) else described
            configs = next(iter(next(iter(configs.values())).values()))
            return {key: value["value"] if isinstance(value, dict) else value for key, value in configs.items()}

    arguments = {"x-queue-type": "stream", "x-max-age": "2h", "x-max-length-bytes": 5_000_000}
    channel.queue_declare(name, durable=True, arguments=arguments)
    configs = shown(name)
    assert (configs["retention.ms"], configs["retention.bytes"]) == ("7200000", "5000000")
    status, _ = api("PUT", f"policies/%2F/{name}", {"pattern": f"^{name}$", "definition": {"max-age": "1h"}, "apply-to": "streams"})
    assert status in (201, 204)
    wait_for(lambda: shown(name)["retention.ms"] == "3600000")
    api("DELETE", f"policies/%2F/{name}")
    channel.queue_delete(name)

    made = f"{name}-kafka"
    admin.create_topics([NewTopic(made, num_partitions=1, replication_factor=1, topic_configs={"retention.ms": "7200000"})])
    channel.queue_declare(made, durable=True, arguments={"x-queue-type": "stream", "x-max-age": "2h"})
    text = f"PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue '{made}' in vhost '/': received '1h' but current is '7200s'"
    other = {"x-queue-type": "stream", "x-max-age": "1h"}
    refused(channel, 406, text, lambda: channel.queue_declare(made, durable=True, arguments=other))
    admin.delete_topics([made])
    admin.close()


def partitions_of(kafka_address, name):
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    (described,) = admin.describe_topics([name])
    admin.close()
    return len(described["partitions"])


def of(definitions, name):
    """What of a vhost's definitions belongs to the super stream."""
    mine = {kind: [row for row in definitions[kind] if row["name"].startswith(name)] for kind in ("queues", "exchanges")}
    return mine | {"bindings": [row for row in definitions["bindings"] if row["source"] == name]}


def test_definitions_bring_it_back_as_one_topic(kafka_address, channel, api, super_stream):
    before = of(api("GET", "definitions/%2F")[1], super_stream)
    assert [row["name"] for row in before["queues"]] == [f"{super_stream}-{n}" for n in range(3)]
    assert api("DELETE", f"stream/super-streams/%2F/{super_stream}")[0] == 204
    for _ in range(2):
        assert api("POST", "definitions/%2F", before)[0] == 204
        assert of(api("GET", "definitions/%2F")[1], super_stream) == before
        assert partitions_of(kafka_address, super_stream) == 3
    retention = api("GET", f"queues/%2F/{super_stream}-1")[1]["arguments"]
    assert retention == {"x-queue-type": "stream", "x-max-age": "1h"}
    channel.confirm_delivery()
    channel.basic_publish(super_stream, "2", b"two", mandatory=True)
    assert [(r.partition, r.value) for r in consume(kafka_address, super_stream, 1)] == [(2, b"two")]


def test_rabbitmqs_definitions_of_one_make_one_topic(kafka_address, api, name):
    arguments = {"x-queue-type": "stream", "x-queue-leader-locator": "balanced", "x-max-length-bytes": 5_000_000}
    document = {
        "queues": [
            {"name": f"{name}-{n}", "vhost": "/", "durable": True, "auto_delete": False, "arguments": arguments}
            for n in range(2)
        ],
        "exchanges": [
            {"name": name, "vhost": "/", "type": "direct", "durable": True, "auto_delete": False, "internal": False,
             "arguments": {"x-super-stream": True}}
        ],
        "bindings": [
            {"source": name, "vhost": "/", "destination": f"{name}-{n}", "destination_type": "queue",
             "routing_key": str(n), "arguments": {"x-stream-partition-order": n}}
            for n in range(2)
        ],
    }
    assert api("POST", "definitions", document)[0] == 204
    assert partitions_of(kafka_address, name) == 2
    _, bindings = api("GET", f"exchanges/%2F/{name}/bindings/source")
    assert sorted((b["destination"], b["routing_key"]) for b in bindings) == [(f"{name}-{n}", str(n)) for n in range(2)]
    assert api("DELETE", f"stream/super-streams/%2F/{name}")[0] == 204


def test_a_topic_that_kafka_made_comes_with_its_exchange(kafka_address, channel, api, name):
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    admin.create_topics(
        [NewTopic(name, num_partitions=2, replication_factor=1, topic_configs={"retention.ms": "7200000"})]
    )
    channel.exchange_declare(name, "direct", durable=True, arguments={"x-super-stream": True})
    before = of(api("GET", "definitions/%2F")[1], name)
    assert [row["arguments"] for row in before["queues"]] == [{"x-queue-type": "stream", "x-max-age": "7200s"}] * 2
    admin.delete_topics([name])
    channel.exchange_delete(name)
    assert api("POST", "definitions/%2F", before)[0] == 204
    assert partitions_of(kafka_address, name) == 2
    assert api("DELETE", f"stream/super-streams/%2F/{name}")[0] == 204
    admin.close()
