"""Across the doors: the same log seen as an AMQP stream queue and as a Kafka topic."""

import pika
import pytest
from conftest import wait_for

from kafka import KafkaConsumer, KafkaProducer

pytestmark = pytest.mark.warren


def read(address, topic, number):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=15_000, group_id=None
    )
    records = []
    for record in consumer:
        records.append(record)
        if len(records) == number:
            break
    consumer.close()
    return records


def produce(address, topic, *values, **options):
    producer = KafkaProducer(bootstrap_servers=address, acks="all")
    for value in values:
        producer.send(topic, value, **options).get(timeout=20)
    producer.close()


def consume(connection, queue, offset, number):
    """The first records of a stream queue from x-stream-offset on."""
    channel = connection.channel()
    channel.basic_qos(prefetch_count=100)
    got = []

    def on_message(ch, method, properties, body):
        got.append((properties, body))
        ch.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_message, arguments={"x-stream-offset": offset})
    wait_for(lambda: len(got) >= number, connection, 15)
    channel.close()
    return got


@pytest.fixture
def stream(channel, name):
    """A stream queue, which is a topic."""
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    return name


def test_pika_publishes_to_an_exchange_bound_to_a_topic_and_kafka_reads_it(channel, kafka_address, name):
    produce(kafka_address, name, b"made by kafka")
    channel.exchange_declare(name, "topic")
    channel.queue_bind(name, name, "orders.#")
    channel.confirm_delivery()
    for i in range(3):
        channel.basic_publish(name, f"orders.{i}", f"order {i}".encode(), mandatory=True)
    records = read(kafka_address, name, 4)
    assert [record.value for record in records] == [b"made by kafka", b"order 0", b"order 1", b"order 2"]
    assert [record.key for record in records[1:]] == [b"orders.0", b"orders.1", b"orders.2"]


def test_pika_publishes_to_a_stream_queue_and_kafka_reads_it(channel, kafka_address, stream):
    channel.confirm_delivery()
    channel.queue_bind(stream, "amq.fanout")
    channel.basic_publish("amq.fanout", "", b"through an exchange", pika.BasicProperties(headers={"a": "text"}))
    channel.basic_publish("", stream, b"by its name")
    first, second = read(kafka_address, stream, 2)
    assert (first.value, second.value) == (b"through an exchange", b"by its name")
    # An empty routing key is no key.
    assert (first.key, second.key) == (None, stream.encode())
    assert ("a", b"text") in first.headers


def test_kafka_produces_and_pika_consumes_the_stream_queue(connection, kafka_address, stream):
    produce(kafka_address, stream, *(str(i).encode() for i in range(10)), key=b"k", headers=[("h", b"1")])
    got = consume(connection, stream, "first", 10)
    assert [body for _, body in got] == [str(i).encode() for i in range(10)]
    assert [properties.headers["x-stream-offset"] for properties, _ in got] == list(range(10))
    assert got[0][0].headers["h"] in ("1", b"1")
    assert [body for _, body in consume(connection, stream, 7, 3)] == [b"7", b"8", b"9"]
    assert [body for _, body in consume(connection, stream, "last", 1)][-1] == b"9"


def test_a_topic_that_kafka_made_is_declared_and_consumed_as_a_stream(connection, channel, kafka_address, name):
    produce(kafka_address, name, b"0", b"1")
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    assert [body for _, body in consume(connection, name, "first", 2)] == [b"0", b"1"]


def test_amqp_to_amqp_through_a_stream_keeps_every_property(connection, channel, stream):
    headers = {"int": 5, "text": "t", "bool": True, "list": [1, "a"], "table": {"x": 1}}
    sent = pika.BasicProperties(
        content_type="text/plain", headers=headers, correlation_id="c", message_id="m", priority=3, timestamp=1_700_000_000
    )
    channel.confirm_delivery()
    channel.basic_publish("", stream, b"body", sent)
    ((got, body),) = consume(connection, stream, "first", 1)
    headers["x-stream-offset"] = 0
    assert body == b"body"
    assert got.headers == headers
    for field in ("content_type", "correlation_id", "message_id", "priority", "timestamp"):
        assert getattr(got, field) == getattr(sent, field), field


def test_a_null_value_is_an_empty_body_with_a_header(connection, kafka_address, stream):
    produce(kafka_address, stream, None, key=b"k")
    ((properties, body),) = consume(connection, stream, "first", 1)
    assert body == b"" and properties.headers["x-kafka-null"] is True


def test_next_sees_only_what_comes_after(connection, kafka_address, stream):
    produce(kafka_address, stream, b"before")
    channel = connection.channel()
    channel.basic_qos(prefetch_count=10)
    got = []
    channel.basic_consume(stream, lambda _, __, ___, body: got.append(body), arguments={"x-stream-offset": "next"})
    produce(kafka_address, stream, b"after")
    wait_for(lambda: got, connection)
    assert got == [b"after"]
