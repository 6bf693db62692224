"""Stream queues as AMQP clients use them: declaring, offsets, filters, retention. (RabbitMQ 4.2; the filters and some
texts are younger than the oracle, so those tests are for Warren.)"""

import pika
import pytest
from conftest import wait_for

warren = pytest.mark.warren


def declare(channel, name, **arguments):
    arguments = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
    return channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream", **arguments}).method


@pytest.fixture
def stream(channel, name):
    declare(channel, name)
    channel.confirm_delivery()
    return name


def publish(channel, stream, *bodies, exchange="", **properties):
    for body in bodies:
        channel.basic_publish(exchange, stream, body, pika.BasicProperties(**properties))


def read(connection, stream, number, **arguments):
    """The first deliveries of a new consumer: (method, properties, body)."""
    channel = connection.channel()
    channel.basic_qos(prefetch_count=100)
    got = []

    def on_message(ch, method, properties, body):
        got.append((method, properties, body))
        ch.basic_ack(method.delivery_tag)

    arguments = {f"x-stream-{key.replace('_', '-')}": value for key, value in arguments.items()}
    channel.basic_consume(stream, on_message, arguments=arguments)
    wait_for(lambda: len(got) >= number, connection, 20)
    channel.close()
    return got[:number]


def refused(channel, call):
    with pytest.raises(pika.exceptions.AMQPError) as closed:
        call(channel)
    return closed.value.reply_code, closed.value.reply_text


def test_reading_leaves_the_messages_where_they_are(connection, channel, stream):
    publish(channel, stream, b"a", b"b", b"c")
    for _ in range(2):
        got = read(connection, stream, 3, offset="first")
        assert [body for _, _, body in got] == [b"a", b"b", b"c"]
        assert [p.headers["x-stream-offset"] for _, p, _ in got] == [0, 1, 2]
        assert [m.delivery_tag for m, _, _ in got] == [1, 2, 3]
        assert not any(m.redelivered for m, _, _ in got)


@pytest.mark.parametrize("offset, expected", [(1, [b"b", b"c"]), ("first", [b"a", b"b", b"c"]), ("1h", [b"a", b"b", b"c"])])
def test_a_consumer_begins_at_its_offset(connection, channel, stream, offset, expected):
    publish(channel, stream, b"a", b"b", b"c")
    assert [body for _, _, body in read(connection, stream, len(expected), offset=offset)] == expected


def test_the_exchange_and_the_routing_key_are_the_publishers(connection, channel, stream):
    channel.queue_bind(stream, "amq.topic", "orders.#")
    publish(channel, "orders.1", b"through an exchange", exchange="amq.topic")
    publish(channel, stream, b"by its name")
    got = read(connection, stream, 2, offset="first")
    assert [(m.exchange, m.routing_key) for m, _, _ in got] == [("amq.topic", "orders.1"), ("", stream)]


def test_credit_comes_back_with_each_acknowledgement(connection, channel, stream):
    publish(channel, stream, *(str(n).encode() for n in range(50)))
    reader = connection.channel()
    reader.basic_qos(prefetch_count=5)
    got = []
    reader.basic_consume(stream, lambda _, method, __, body: got.append((method.delivery_tag, body)), arguments={"x-stream-offset": "first"})
    wait_for(lambda: len(got) == 5, connection)
    connection.process_data_events(0.2)
    # RabbitMQ hands over whole chunks: it may be more than the credit, never less.
    first = len(got)
    assert first >= 5
    reader.basic_ack(got[-1][0], multiple=True)
    wait_for(lambda: len(got) > first, connection)


def test_redeclaring_with_other_arguments_is_refused(connection, name):
    channel = connection.channel()
    declare(channel, name, max_age="1h")
    assert declare(channel, name, max_age="1h").queue == name
    code, text = refused(channel, lambda ch: declare(ch, name, max_age="2h"))
    assert code == 406
    assert text == (
        f"PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue '{name}' in vhost '/': received '2h' but current is '1h'"
    )
    connection.channel().queue_delete(name)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"stream_max_segment_size_bytes": 3_000_000_001}, "Exceeded max value for x-stream-max-segment-size-bytes"),
        pytest.param({"stream_filter_size_bytes": 15}, "Invalid value for  x-stream-filter-size-bytes", marks=warren),
        pytest.param({"stream_filter_size_bytes": 256}, "Invalid value for  x-stream-filter-size-bytes", marks=warren),
    ],
)
def test_sizes_that_a_stream_cannot_have(connection, name, arguments, text):
    assert refused(connection.channel(), lambda ch: declare(ch, name, **arguments)) == (406, f"PRECONDITION_FAILED - {text}")


def test_deleting_minds_neither_readers_nor_messages(connection, channel, stream):
    publish(channel, stream, b"a")
    cancelled = []
    reader = connection.channel()
    reader.basic_qos(prefetch_count=1)
    reader.add_on_cancel_callback(cancelled.append)
    reader.basic_consume(stream, lambda *_: None)
    assert channel.queue_delete(stream, if_unused=True, if_empty=True).method.message_count == 0
    wait_for(lambda: cancelled, connection)


@warren
@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({"filter": "red"}, [b"r1", b"r2"]),
        ({"filter": ["red", "blue"]}, [b"r1", b"b1", b"r2"]),
        ({"filter": "blue", "match_unfiltered": True}, [b"n1", b"b1"]),
        ({"filter": ["red", 5]}, [b"r1", b"r2"]),
        ({"filter": 5}, [b"r1", b"n1", b"b1", b"r2"]),
    ],
)
def test_a_filter_lets_through_the_values_it_names(connection, channel, stream, arguments, expected):
    for body, value in ((b"r1", "red"), (b"n1", None), (b"b1", "blue"), (b"r2", "red"), (b"end", "end")):
        publish(channel, stream, body, headers={"x-stream-filter-value": value} if value else {})
    if "filter" in arguments and isinstance(arguments["filter"], list):
        arguments = {**arguments, "filter": [*arguments["filter"], "end"]}
    elif isinstance(arguments["filter"], str):
        arguments = {**arguments, "filter": [arguments["filter"], "end"]}
    # The last message passes every filter: nothing can follow it.
    got = read(connection, stream, len(expected) + 1, offset="first", **arguments)
    assert [body for _, _, body in got] == [*expected, b"end"]


@warren
def test_a_stream_over_its_size_loses_its_oldest_messages(connection, channel, name):
    declare(channel, name, max_length_bytes=20_000, stream_max_segment_size_bytes=10_000)
    channel.confirm_delivery()
    publish(channel, name, *(b"%03d" % n + b"x" * 1_000 for n in range(100)))

    def first():
        return read(connection, name, 1, offset="first")[0][1].headers["x-stream-offset"]

    wait_for(lambda: first() > 60, connection)
    kept = channel.queue_declare(name, passive=True).method.message_count
    assert 18 <= kept <= 40
    (_, _, body) = read(connection, name, kept, offset="first")[-1]
    assert body.startswith(b"099")
